"""Failures before authentication: in full, then counted, never dropped."""

from datetime import timedelta

import pytest
from caller_world import NOW, FakeLog

from gateway.caller.failures import ALL_OTHERS, MOST_ADDRESSES, Failures
from gateway.errors import AuditDown
from gateway.ports import Entry

pytestmark = pytest.mark.anyio


def failure(address: str, after_s: float = 0) -> Entry:
    at = NOW + timedelta(seconds=after_s)
    return Entry("refusal", at, "failure", None, address=address, detail={"reason": "no-token"})


async def test_ten_a_second_are_recorded_in_full_and_the_rest_as_one_count() -> None:
    log = FakeLog()
    failures = Failures(log)
    for _ in range(25):
        await failures.record(failure("192.0.2.1"))
    assert len(log.entries) == 10
    await failures.flush(NOW)
    assert len(log.entries) == 10, "the second is not over"
    await failures.flush(NOW + timedelta(seconds=1))
    counted = log.entries[-1]
    assert (len(log.entries), counted.address, counted.detail["count"]) == (11, "192.0.2.1", 15)
    await failures.flush(NOW + timedelta(seconds=2))
    assert len(log.entries) == 11


async def test_a_new_second_and_another_address_start_afresh() -> None:
    log = FakeLog()
    failures = Failures(log)
    for _ in range(12):
        await failures.record(failure("192.0.2.1"))
    await failures.record(failure("192.0.2.2"))
    await failures.record(failure("192.0.2.1", after_s=1))
    assert [entry.address for entry in log.entries] == ["192.0.2.1"] * 10 + ["192.0.2.2", "192.0.2.1"]


async def test_an_attack_that_does_not_pause_is_still_written_every_second() -> None:
    log = FakeLog()
    failures = Failures(log)
    for second in range(3):
        for _ in range(30):
            await failures.record(failure("192.0.2.1", after_s=second))
        await failures.flush(NOW + timedelta(seconds=second))
    await failures.flush(NOW + timedelta(seconds=10))
    full = sum(1 for entry in log.entries if entry.detail["reason"] == "no-token")
    counted = sum(entry.detail.get("count", 0) for entry in log.entries)
    assert (full, full + counted) == (30, 90)


async def test_a_count_that_cannot_be_written_waits_and_is_not_lost() -> None:
    log = FakeLog()
    failures = Failures(log)
    for _ in range(15):
        await failures.record(failure("192.0.2.1"))
    log.down = True
    with pytest.raises(AuditDown):
        await failures.flush(NOW + timedelta(seconds=1))
    with pytest.raises(AuditDown):
        await failures.record(failure("192.0.2.1", after_s=1))
    log.down = False
    await failures.flush(NOW + timedelta(seconds=2))
    assert log.entries[-1].detail["count"] == 5


async def test_more_addresses_than_can_be_kept_share_one_counter() -> None:
    log = FakeLog()
    failures = Failures(log)
    for number in range(MOST_ADDRESSES + 30):
        await failures.record(failure(f"198.51.100.{number}"))
    assert len(log.entries) == MOST_ADDRESSES + 10
    await failures.flush(NOW + timedelta(seconds=1))
    assert (log.entries[-1].address, log.entries[-1].detail["count"]) == (ALL_OTHERS, 20)

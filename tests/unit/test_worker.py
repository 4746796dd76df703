"""The worker: what is due is done again and again, and nothing that arrives from outside can stop it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import worker
from gateway.errors import StoreDown
from gateway.flows import upkeep
from gateway.worker import Worker
from tests import fakes

pytestmark = pytest.mark.anyio


class Standing:
    """Upkeep's own state, counting how often it is kept."""

    def __init__(self) -> None:
        self.checks = 0
        self.purged_at = fakes.NOW
        self.fault: Exception | None = None

    async def check(self, _: Any) -> None:
        self.checks += 1
        if self.fault:
            raise self.fault

    async def flush(self, _: Any) -> None:
        return None

    async def unconfirmed(self, _: Any) -> list[Any]:
        return []


class Poisoned:
    """An intake whose reader breaks in a way that no error of ours names."""

    def __init__(self) -> None:
        self.looks = 0

    async def arrivals(self) -> AsyncIterator[Any]:
        self.looks += 1
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        yield


class Endless:
    """An intake with a delivery that takes for ever."""

    async def arrivals(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield


async def settled(*_: Any) -> None:
    pass


def at_work(intake: Any, standing: Standing) -> Worker:
    source = SimpleNamespace(intake=intake, settings=SimpleNamespace(name="child-health"))
    parts: Any = SimpleNamespace(
        now=lambda: fakes.NOW + timedelta(seconds=1),
        standing=standing,
        caller=SimpleNamespace(failures=standing),
        accounts=SimpleNamespace(settle=settled),
        registry=SimpleNamespace(sources={"child-health": source}, routes={}),
        parcels=standing,
    )
    return Worker(parts)


async def ticking(working: Worker, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await working.run()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TICK_S", 0.01)


async def test_a_delivery_that_breaks_its_reader_stops_neither_upkeep_nor_the_next_look():
    standing, poisoned = Standing(), Poisoned()
    await ticking(at_work(poisoned, standing), 0.2)
    assert standing.checks > 2
    assert poisoned.looks > 2


async def test_upkeep_goes_on_while_a_delivery_is_taken():
    standing = Standing()
    await ticking(at_work(Endless(), standing), 0.2)
    assert standing.checks > 2


@pytest.mark.parametrize("fault", [StoreDown(reason="down"), OverflowError()])
async def test_upkeep_that_fails_is_tried_again(fault: Exception):
    standing = Standing()
    standing.fault = fault
    await ticking(at_work(None, standing), 0.2)
    assert standing.checks > 2


class Batch:
    """An intake that gives some messages and then breaks."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def arrivals(self) -> AsyncIterator[Any]:
        for number in range(self.count):
            yield SimpleNamespace(name=f"m{number}", snapshot=False, fault=None), ()
        raise OverflowError


async def test_messages_are_recorded_together_and_one_that_breaks_its_reader_holds_up_none_before_it(
    monkeypatch: pytest.MonkeyPatch,
):
    together: list[int] = []

    async def took(_parts: Any, _source: Any, waiting: Any) -> list[str]:
        together.append(len(waiting))
        return ["taken"] * len(waiting)

    monkeypatch.setattr(worker, "intake_each", took)
    await at_work(Batch(worker.TOGETHER + 3), Standing()).tick()
    assert together == [worker.TOGETHER, 3]


class Activation:
    """Which policy is the active one."""

    def __init__(self) -> None:
        self.hash: str | None = None

    async def active(self) -> str | None:
        return self.hash


async def test_a_worker_that_does_not_hold_the_active_policy_says_so_at_its_start_and_once_for_each_change():
    activation: Any = Activation()
    registry: Any = SimpleNamespace(sources={})
    standing = upkeep.Standing(activation, registry, registry, "held here")
    said = []
    for active in (None, None, "held here", "held here", "another", "another", "held here"):
        activation.hash = active
        with capture_logs() as logs:
            await standing.check(fakes.NOW)
        assert standing.holds(fakes.NOW) is (active == "held here")
        said.append([(line["event"], line["log_level"], line.get("reason")) for line in logs])
    not_held = ("policy.not_held", "error")
    assert said == [
        [(*not_held, upkeep.NONE_ACTIVE)],
        [],
        [("policy.held", "info", None)],
        [],
        [(*not_held, upkeep.OTHER_ACTIVE)],
        [],
        [("policy.held", "info", None)],
    ]
    assert all("`gateway policy activate`" in reason for reason in (upkeep.NONE_ACTIVE, upkeep.OTHER_ACTIVE))


async def test_a_worker_that_holds_the_active_policy_from_its_start_on_says_nothing_of_it():
    activation: Any = Activation()
    activation.hash = "held here"
    registry: Any = SimpleNamespace(sources={})
    with capture_logs() as logs:
        await upkeep.Standing(activation, registry, registry, "held here").check(fakes.NOW)
    assert logs == []

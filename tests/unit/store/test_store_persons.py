"""Person rows on both databases."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from store_world import CHILD, NOW, OTHER, entry, version

from gateway.model import PersonId
from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion, Traced
from gateway.store import Keys, Store, open_store

pytestmark = pytest.mark.anyio

THIRD = NhsNumber("9990000034")
PLAIN = Traced(
    number=CHILD,
    birth_date=date(2020, 2, 29),
    deceased=False,
    restricted=False,
    practice="ods:A99901",
    patient={"resourceType": "Patient", "name": [{"family": "Exampleperson"}]},
    version="3",
)


async def test_the_first_trace_makes_a_row_and_the_next_finds_it(store: Store) -> None:
    assert await store.persons.by_number(CHILD) is None
    person = await store.persons.admit(PLAIN, NOW)
    assert len(person) == 26
    assert person.isalnum()
    assert person == person.lower()
    row = await store.persons.by_number(CHILD)
    assert row is not None
    assert (row.person, row.number, row.status, row.successor, row.expired) == (person, CHILD, "live", None, False)
    assert row.trace == PLAIN
    assert row.traced_at == NOW
    assert await store.persons.by_id(person) == row
    assert await store.persons.admit(PLAIN, NOW) == person


async def test_two_workers_at_the_same_instant_make_one_row(store: Store) -> None:
    people = await asyncio.gather(*(store.persons.admit(PLAIN, NOW) for _ in range(20)))
    assert len(set(people)) == 1


async def test_a_retrace_replaces_the_trace_of_the_same_number_only(store: Store) -> None:
    person = await store.persons.admit(PLAIN, NOW)
    await store.persons.expire(CHILD)
    row = await store.persons.by_id(person)
    assert row is not None
    assert row.expired
    newer = replace(PLAIN, version="4", deceased=True)
    await store.persons.retrace(person, newer, NOW + timedelta(hours=1))
    row = await store.persons.by_id(person)
    assert row is not None
    assert (row.trace, row.traced_at, row.expired) == (newer, NOW + timedelta(hours=1), False)
    await store.persons.retrace(person, replace(PLAIN, number=OTHER), NOW + timedelta(hours=2))
    row = await store.persons.by_id(person)
    assert row is not None
    assert row.trace == newer


async def test_a_superseded_number_leads_to_the_new_ones_row_through_every_step(store: Store) -> None:
    first = await store.persons.admit(PLAIN, NOW)
    second = await store.persons.supersede(CHILD, replace(PLAIN, number=OTHER), NOW)
    third = await store.persons.supersede(OTHER, replace(PLAIN, number=THIRD), NOW)
    assert len({first, second, third}) == 3
    for old in (first, second):
        row = await store.persons.by_id(old)
        assert row is not None
        assert (row.status, row.successor, row.trace) == ("superseded", third, None)
    row = await store.persons.by_number(CHILD)
    assert row is not None
    assert (row.person, row.successor, row.replaced) == (first, third, ())
    for newest in (await store.persons.by_number(THIRD), await store.persons.by_id(third)):
        assert newest is not None
        assert set(newest.replaced) == {CHILD, OTHER}
    assert await store.persons.supersede(OTHER, replace(PLAIN, number=THIRD), NOW) == third


async def test_facts_and_crosswalk_of_a_superseded_number_count_for_the_new_one(store: Store) -> None:
    before = await version(store)
    await store.consents.put(
        CHILD, scope="direct-care", decision="deny", given_by="p", recorded_by="x", starts=NOW, ends=None, evidence="e"
    )
    await store.protections.assert_locks("authority", {CHILD: frozenset({"refuge"})}, NOW, snapshot=False)
    await store.persons.supersede(CHILD, replace(PLAIN, number=OTHER), NOW)  # nobody had asked by the old number before
    facts = await store.facts.read(OTHER, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    assert facts.objection
    assert facts.locks == {"refuge"}
    assert facts.version > before


async def test_a_sealed_row_answers_nothing_and_is_linked_to_nothing(store: Store) -> None:
    old = await store.persons.admit(PLAIN, NOW)
    await store.consents.put(
        CHILD, scope="store", decision="permit", given_by="p", recorded_by="x", starts=NOW, ends=None, evidence="e"
    )
    live = await store.persons.supersede(CHILD, replace(PLAIN, number=OTHER), NOW)
    await store.log.append([entry(person=CHILD, request_id="under-the-old")])
    await store.persons.seal(OTHER, NOW)
    for person in (old, live):
        row = await store.persons.by_id(person)
        assert row is not None
        assert (row.status, row.successor, row.trace) == ("sealed", None, None)
    new = await store.persons.admit(replace(PLAIN, number=THIRD), NOW)
    assert new not in (old, live)
    facts = await store.facts.read(THIRD, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    assert facts.consents == frozenset()
    assert await store.log.ask(LogQuestion(person=THIRD)) == []
    (sealing,) = await store.log.ask(LogQuestion(person=OTHER))
    assert sealing.body["detail"]["act"] == "number-invalidated"


async def test_an_auditor_finds_a_living_persons_events_by_any_number_or_id(store: Store) -> None:
    old = await store.persons.admit(PLAIN, NOW)
    await store.log.append([entry(person=CHILD, request_id="before")])
    new = await store.persons.supersede(CHILD, replace(PLAIN, number=OTHER), NOW)
    await store.log.append([entry(person=OTHER, request_id="after")])
    await store.log.append([entry(person=THIRD, request_id="somebody-else")])
    for question in (
        LogQuestion(person=CHILD),
        LogQuestion(person=OTHER),
        LogQuestion(person_id=old),
        LogQuestion(person_id=new),
    ):
        assert [event.body["request_id"] for event in await store.log.ask(question)] == ["after", "before"]
    assert await store.log.ask(LogQuestion(person=THIRD, person_id=new)) == []


async def test_a_number_that_is_live_again_gets_a_new_id(store: Store) -> None:
    old = await store.persons.admit(PLAIN, NOW)
    await store.persons.seal(CHILD, NOW)
    again = await store.persons.admit(PLAIN, NOW + timedelta(days=1))
    assert again != old
    row = await store.persons.by_number(CHILD)
    assert row is not None
    assert (row.person, row.status) == (again, "live")


async def test_the_trace_bucket_gives_a_second_its_worth_and_then_makes_wait(url: str, keys: Keys) -> None:
    store = await open_store(url, keys, name="t", traces_per_second=5)
    try:
        assert all([await store.persons.take_trace_token(NOW, wait_s=0) for _ in range(5)])
        assert not await store.persons.take_trace_token(NOW, wait_s=0)
        assert not await store.persons.take_trace_token(NOW, wait_s=0.1)
        assert await store.persons.take_trace_token(NOW, wait_s=0.2)  # the sixth comes up after 200 ms
        assert not await store.persons.take_trace_token(NOW + timedelta(milliseconds=200), wait_s=0)
        assert await store.persons.take_trace_token(NOW + timedelta(milliseconds=400), wait_s=0)
    finally:
        await store.close()


async def test_a_client_that_floods_leaves_others_half_of_the_trace_rate(url: str, keys: Keys) -> None:
    store = await open_store(url, keys, name="t", traces_per_second=5)

    async def asks(whose: str, at: timedelta, times: int) -> int:
        return sum([await store.persons.take_trace_token(NOW + at, wait_s=0, whose=whose) for _ in range(times)])

    try:
        assert await asks("flood", timedelta(0), 20) == 5  # alone it may have all
        flooded = patient = 0
        for tenth in range(1, 101):
            at = timedelta(milliseconds=100 * tenth)
            flooded += await asks("flood", at, 5)
            patient += await asks("patient", at, 1 if tenth % 5 == 0 else 0)  # two a second
        assert patient == 20
        assert 28 <= flooded <= 31  # the rate is spent, and no more of it
    finally:
        await store.close()


async def test_a_flood_leaves_our_own_intake_its_share(url: str, keys: Keys) -> None:
    store = await open_store(url, keys, name="t", traces_per_second=5)
    try:
        for tenth in range(50):
            at = NOW + timedelta(milliseconds=100 * tenth)
            for _ in range(5):
                await store.persons.take_trace_token(at, wait_s=0, whose="flood")
        assert await store.persons.take_trace_token(at + timedelta(milliseconds=200), wait_s=0.4, whose="our-intake")
    finally:
        await store.close()


@pytest.fixture
async def on_disk(tmp_path: Path, keys: Keys) -> AsyncIterator[tuple[Store, Path]]:
    store = await open_store(f"sqlite:///{tmp_path / 'g.db'}", keys, name="t")
    yield store, tmp_path / "g.db"
    await store.close()


async def test_at_a_high_rate_tokens_are_paid_for_by_the_handful_and_their_sum_stays_the_rate(url: str, keys: Keys) -> None:
    one = await open_store(url, keys, name="t", traces_per_second=100)
    two = await open_store(url, keys, name="t", traces_per_second=100, serve=False)
    try:
        taken = [await store.persons.take_trace_token(NOW, wait_s=0) for _ in range(80) for store in (one, two)]
        assert sum(taken) == 100
        later = NOW + timedelta(seconds=5)  # what was left in a hand is not spent so late; the bucket is full again
        taken = [await store.persons.take_trace_token(later, wait_s=0) for _ in range(80) for store in (one, two)]
        assert sum(taken) == 100
    finally:
        await two.close()
        await one.close()


async def test_no_number_name_or_reference_is_readable_on_disk(on_disk: tuple[Store, Path]) -> None:
    store, path = on_disk
    await store.persons.admit(PLAIN, NOW)
    await store.consents.put(
        CHILD, scope="store", decision="deny", given_by="Exampleperson", recorded_by="x", starts=NOW, ends=None, evidence="e"
    )
    await store.relationships.put(
        "allocated-worker", CHILD, organisation="o", staff="s|1", case_reference="CASE-77", starts=NOW, ends=None
    )
    await store.log.append([entry(detail={"slip": CHILD.value, "worse": CHILD, "nested": [{"9990000018": "9990000018"}]})])
    assert await store.verify() == []
    with sqlite3.connect(path) as reader:
        reader.execute("PRAGMA wal_checkpoint(FULL)")
    everything = b"".join(file.read_bytes() for file in path.parent.glob("g.db*"))
    assert len(everything) > 50_000
    for secret in (CHILD.value, "Exampleperson", "CASE-77"):
        assert secret.encode() not in everything


async def test_a_supersession_that_pds_takes_back_makes_the_first_row_live_again(store: Store) -> None:
    first = await store.persons.admit(PLAIN, NOW)
    second = await store.persons.supersede(CHILD, replace(PLAIN, number=OTHER), NOW)
    assert await store.persons.supersede(OTHER, PLAIN, NOW) == first
    row, other = await store.persons.by_id(first), await store.persons.by_id(second)
    assert row is not None
    assert other is not None
    assert (row.status, row.successor, row.trace) == ("live", None, PLAIN)
    assert (other.status, other.successor) == ("superseded", first)


async def test_a_number_that_supersedes_itself_is_only_traced_again(store: Store) -> None:
    first = await store.persons.admit(PLAIN, NOW)
    assert await store.persons.supersede(CHILD, PLAIN, NOW) == first


async def test_what_was_sealed_is_never_linked_again(store: Store) -> None:
    old = await store.persons.admit(PLAIN, NOW)
    await store.consents.put(
        CHILD, scope="store", decision="permit", given_by="p", recorded_by="x", starts=NOW, ends=None, evidence="e"
    )
    await store.persons.seal(CHILD, NOW)
    await store.persons.seal(CHILD, NOW)
    new = await store.persons.supersede(CHILD, replace(PLAIN, number=OTHER), NOW)
    row = await store.persons.by_id(old)
    assert row is not None
    assert (row.status, row.successor) == ("sealed", None)
    facts = await store.facts.read(OTHER, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    assert facts.consents == frozenset()
    assert new != old


async def test_an_unknown_number_or_id_is_nobody_and_may_be_sealed_or_expired(store: Store) -> None:
    await store.persons.seal(CHILD, NOW)
    await store.persons.expire(CHILD)
    assert await store.persons.by_number(CHILD) is None
    for text in ("a" * 26, "", "\x00", "\ud800"):
        assert await store.persons.by_id(PersonId(text)) is None

"""A person linked after a delivery is protected by what that delivery said of them, and by nothing else, on both databases."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from store_world import CHILD, NOW, OTHER, entry

from gateway.adapter import Arrival, Claim, SourceRecord
from gateway.flows import linking
from gateway.flows.identify import Custodian, Matcher, identify
from gateway.flows.intake import intake
from gateway.flows.linking import AWAITING, Heard, Linking
from gateway.flows.shelving import shelved
from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkRow, ShelfRow, Traced
from gateway.store import Store
from tests import fakes

pytestmark = pytest.mark.anyio

BORN = date(2021, 2, 3)
SENDER = "gss:E08999901"
DELIVERED = NOW - timedelta(hours=7)


def row(local_id: str, number: NhsNumber = CHILD) -> CrosswalkRow:
    return CrosswalkRow("authority", local_id, number, BORN, NOW.date(), "matching")


def arrival(local_id: str, *locks: str) -> Arrival:
    about = Claim(local_id=local_id, birth_date=BORN)
    record = SourceRecord("dfe-cin-child", {"_id": local_id}, "Child 1", DELIVERED, about)
    return Arrival("cin-child", local_id, SENDER, DELIVERED, about, record, protected=frozenset(locks))


def given(store: Store) -> Linking:
    return Linking(store.crosswalk, store.protections, store.shelf, lambda: NOW)


async def deliver(store: Store, *arrivals: Arrival | tuple[Arrival, bytes]) -> None:
    """Each with its copy, or with the bytes of another."""
    each = [(one, shelved(one)) if isinstance(one, Arrival) else one for one in arrivals]
    rows = [
        ShelfRow("authority", SENDER, one.kind, one.business_id, one.about.local_id or "", one.as_of, body, NOW + timedelta(9))
        for one, body in each
    ]
    await store.shelf.replace("authority", rows, DELIVERED, entry(kind="intake", person=None))


async def locks(store: Store, number: NhsNumber = CHILD) -> frozenset[str]:
    facts = await store.facts.read(number, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    return facts.locks


async def test_whom_the_newest_delivery_does_not_list_is_not_protected_by_it(store: Store) -> None:
    await deliver(store, arrival("LA-2", "refuge"))
    assert await linking.link(given(store), [row("LA-1")]) == (1, Heard())
    assert await locks(store) == frozenset()


async def test_whom_it_lists_has_exactly_the_locks_it_said(store: Store) -> None:
    await deliver(store, arrival("LA-1", "refuge", "adoption"), arrival("LA-2"))
    assert await linking.link(given(store), [row("LA-1"), row("LA-2", OTHER)]) == (2, Heard(protected=1))
    assert await locks(store) == {"refuge", "adoption"}
    assert await locks(store, OTHER) == frozenset()


async def test_a_copy_of_before_locks_were_kept_with_it_protects_until_the_next_delivery(store: Store) -> None:
    old = json.loads(shelved(arrival("LA-1")) or b"")
    del old["protected"]
    await deliver(store, (arrival("LA-1"), json.dumps(old).encode()))
    assert await linking.link(given(store), [row("LA-1")]) == (1, Heard(awaiting=1))
    assert await locks(store) == {AWAITING}
    await store.protections.assert_locks("authority", {}, datetime.now(UTC) + timedelta(hours=17), snapshot=True)
    assert await locks(store) == frozenset()


async def test_a_link_that_was_there_before_and_a_source_that_never_delivered_change_nothing(store: Store) -> None:
    assert await linking.link(given(store), [row("LA-1")]) == (1, Heard())
    await deliver(store, arrival("LA-1", "refuge"))
    assert await linking.link(given(store), [row("LA-1")]) == (0, Heard())
    assert await locks(store) == frozenset(), "the delivery itself asserts the locks of those it knows"


async def stopped_between(store: Store) -> None:
    """The process dies after the link and before what was said: the lock is on the shelf alone."""
    fresh, waiting = await linking.unheard(given(store), [row("LA-1")])
    await store.crosswalk.put(fresh, waiting=waiting)
    assert await locks(store) == {AWAITING}


@pytest.mark.parametrize("then", [row("LA-1"), row("LA-2"), row("LA-2", OTHER)], ids=["the same", "another id", "another child"])
async def test_stopped_between_the_link_and_what_was_said_it_is_heard_by_whoever_links_next(
    store: Store, then: CrosswalkRow
) -> None:
    await deliver(store, arrival("LA-1", "refuge"), arrival("LA-2"))
    await stopped_between(store)
    _, heard = await linking.link(given(store), [then])
    assert heard.protected >= 1
    assert heard.awaiting == 0
    assert await locks(store) == {"refuge"}
    assert await locks(store, OTHER) == frozenset()


async def test_another_link_of_the_same_child_made_while_the_first_is_heard_is_heard_of_too_though_its_process_died(
    store: Store,
) -> None:
    class Meanwhile:
        """The shelf; as it is read, another command links the child by another id and is killed before it has heard anything."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store.shelf, name)

        async def heard(self, *asked: Any) -> Any:
            said = await store.shelf.heard(*asked)
            fresh, waiting = await linking.unheard(given(store), [row("LA-2")])
            await store.crosswalk.put(fresh, waiting=waiting)
            return said

    await deliver(store, arrival("LA-1"), arrival("LA-2", "refuge"))
    shelf: Any = Meanwhile()
    await linking.link(replace(given(store), shelf=shelf), [row("LA-1")])
    assert await locks(store) == {AWAITING}, "in doubt a person is protected"
    assert (await linking.hear_again(given(store), "authority")).protected == 1
    assert await locks(store) == {"refuge"}


async def test_whoever_is_linked_waits_from_the_very_transaction_on_that_links_them(store: Store) -> None:
    await deliver(store, arrival("LA-1", "refuge"))
    before = await store.facts.read(CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    assert await store.crosswalk.put([row("LA-1")], waiting=AWAITING) == 1
    after = await store.facts.read(CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    assert (after.locks, after.version > before.version) == ({AWAITING}, True)
    pupil = replace(row("U-1", OTHER), kind="upn")
    assert await store.crosswalk.put([pupil, row("LA-1")], waiting=AWAITING) == 1
    assert await locks(store, OTHER) == frozenset(), "of a pupil number no copy is kept"


async def test_stopped_between_it_is_heard_by_the_next_run_of_the_matching_too(store: Store) -> None:
    await deliver(store, arrival("LA-1", "refuge"))
    await stopped_between(store)
    custodian = Custodian("authority", "person", "owner", "guardian")
    unasked: Any = None  # nobody waits: PDS is not asked
    matcher = Matcher(
        custodian,
        store.local_records,
        store.crosswalk,
        store.work,
        unasked,
        unasked,
        store.protections,
        store.shelf,
        5,
        lambda: NOW,
    )
    progress = await identify(matcher, told=lambda _: None)
    assert (progress.waiting, progress.protected, progress.awaiting) == (0, 1, 0)
    assert await locks(store) == {"refuge"}


async def test_another_id_of_the_same_child_does_not_end_the_doubt_about_the_first(store: Store) -> None:
    old = json.loads(shelved(arrival("LA-1")) or b"")
    del old["protected"]
    await deliver(store, (arrival("LA-1"), json.dumps(old).encode()), arrival("LA-2"))
    assert await linking.link(given(store), [row("LA-1")]) == (1, Heard(awaiting=1))
    assert await linking.link(given(store), [row("LA-2")]) == (1, Heard(awaiting=1))
    assert await locks(store) == {AWAITING}


@pytest.mark.parametrize(("first", "second", "said"), [("LA-1", "LA-2", {"refuge"}), ("LA-2", "LA-1", set())])
async def test_what_is_held_of_two_people_is_shown_to_nobody_and_protects_both(
    store: Store, first: str, second: str, said: set[str]
) -> None:
    both = [arrival("LA-1", "refuge"), arrival("LA-2")]
    one_record = [replace(one, business_id="REC-9") for one in both]
    await deliver(store, *one_record)
    assert await store.shelf.newest("authority", "LA-1", NOW) == []
    assert [copy.contested for copy in await store.shelf.heard("authority", first, NOW)] == [True]
    assert await linking.link(given(store), [row(first)]) == (1, Heard(protected=len(said), awaiting=1))
    assert await locks(store) == {AWAITING, *said}
    await linking.link(given(store), [row(second, OTHER)])
    assert AWAITING in await locks(store)
    assert await locks(store, OTHER) == {AWAITING, *({"refuge"} - said)}


async def test_what_a_buried_id_is_told_of_protects_nobody_else(store: Store) -> None:
    await deliver(store, arrival("LA-1", "adoption"))
    fresh, waiting = await linking.unheard(given(store), [row("LA-1", OTHER)])
    await store.crosswalk.put([row("LA-1")], waiting=waiting)  # it went to somebody else after all
    assert await linking.hear(given(store), fresh) == Heard()
    assert await locks(store, OTHER) == frozenset()


async def test_who_is_linked_while_their_delivery_is_taken_is_protected_all_the_same(store: Store) -> None:
    class Meanwhile:
        """The shelf; somebody links the child, and reads the shelf, just before the delivery is on it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store.shelf, name)

        async def replace(self, *arguments: Any, **named: Any) -> int:
            await deliver(store, arrival("LA-2"))
            assert await linking.link(given(store), [row("LA-1")]) == (1, Heard())
            return await store.shelf.replace(*arguments, **named)

    parts: Any = SimpleNamespace(
        log=store.log, shelf=Meanwhile(), protections=store.protections, crosswalk=store.crosswalk, now=lambda: NOW,
        policy=SimpleNamespace(hash="h"),
    )  # fmt: skip
    active = fakes.active("authority", fakes.FakeSource(), custodian=SENDER, feeds_protection=True)
    delivery: Any = SimpleNamespace(
        name="d", snapshot=True, as_of=DELIVERED + timedelta(hours=1), fault=None, doubts={}, done=lambda: None
    )
    assert await intake(parts, active, delivery, [arrival("LA-1", "refuge"), arrival("LA-2")]) == "taken"
    assert await locks(store) == {"refuge"}


async def test_an_id_verified_for_another_number_moves_by_a_persons_word_alone(store: Store) -> None:
    await store.crosswalk.put([row("LA-1")])
    wanted = [row("LA-1", OTHER), row("LA-2"), row("LA-3", OTHER)]
    sifted = await linking.sift(given(store), store.persons, wanted, moves=False)
    assert sifted.refused == {"LA-1": linking.OTHER_NUMBER}
    assert sifted.wanted == wanted[1:]
    assert sifted.twice == {"LA-2", "LA-3"}, "LA-1 holds the child; the file says two of the other"
    assert (await linking.sift(given(store), store.persons, wanted, moves=True)).refused == {}


async def test_a_number_that_pds_replaced_is_that_of_its_successor_in_the_file_as_in_what_is_held(store: Store) -> None:
    await store.crosswalk.put([row("LA-1", OTHER)])
    await store.persons.admit(Traced(CHILD, BORN, False, False, None, {}, "1"), NOW)
    await store.persons.supersede(CHILD, Traced(OTHER, BORN, False, False, None, {}, "1"), NOW)
    for rows, twice in (([row("LA-2")], {"LA-2"}), ([row("LA-2"), row("LA-3", OTHER)], {"LA-2", "LA-3"}), ([row("LA-1")], set())):
        sifted = await linking.sift(given(store), store.persons, rows, moves=False)
        assert (sifted.refused, sifted.twice) == ({}, twice)
        assert {one.number for one in sifted.wanted} == {OTHER}


async def test_one_kind_of_lock_ends_for_these_people_and_every_other_stays(store: Store) -> None:
    for source in ("authority", "elsewhere"):
        await store.protections.add_locks(source, {CHILD: frozenset({AWAITING, "refuge"}), OTHER: frozenset({AWAITING})}, NOW)
    since = await store.protections.since("authority", AWAITING, [CHILD])
    assert since == {CHILD: NOW}
    await store.protections.lift_each("authority", AWAITING, since)
    assert await locks(store) == {AWAITING, "refuge"}, "the other source still waits"
    await store.protections.lift_each("elsewhere", AWAITING, {CHILD: NOW - timedelta(seconds=1)})
    assert await locks(store) == {AWAITING, "refuge"}, "not as it was read"
    await store.protections.lift_each("elsewhere", AWAITING, since)
    assert await locks(store) == {"refuge"}
    assert await locks(store, OTHER) == {AWAITING}

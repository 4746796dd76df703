"""A person linked after a delivery is protected by what that delivery said of them, and by nothing else, on both databases."""

import json
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from store_world import CHILD, NOW, OTHER, entry

from gateway.adapter import Arrival, Claim, SourceRecord
from gateway.flows import linking
from gateway.flows.intake import intake
from gateway.flows.linking import AWAITING, Heard, Linking
from gateway.flows.shelving import shelved
from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkRow, ShelfRow
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


async def deliver(store: Store, *arrivals: Arrival, body: bytes | None = None) -> None:
    rows = [
        ShelfRow(
            "authority", SENDER, one.kind, one.business_id, one.business_id, one.as_of, body or shelved(one), NOW + timedelta(9)
        )
        for one in arrivals
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
    await deliver(store, arrival("LA-1"), body=json.dumps(old).encode())
    assert await linking.link(given(store), [row("LA-1")]) == (1, Heard(awaiting=1))
    assert await locks(store) == {AWAITING}
    await store.protections.assert_locks("authority", {}, NOW + timedelta(hours=17), snapshot=True)
    assert await locks(store) == frozenset()


async def test_a_link_that_was_there_before_and_a_source_that_never_delivered_change_nothing(store: Store) -> None:
    assert await linking.link(given(store), [row("LA-1")]) == (1, Heard())
    await deliver(store, arrival("LA-1", "refuge"))
    assert await linking.link(given(store), [row("LA-1")]) == (0, Heard())
    assert await locks(store) == frozenset(), "the delivery itself asserts the locks of those it knows"


async def test_stopped_between_the_link_and_what_was_said_the_person_stays_protected(store: Store) -> None:
    await deliver(store, arrival("LA-1", "refuge"))
    fresh = await linking.hold_back(given(store), [row("LA-1")])
    await store.crosswalk.put(fresh)
    assert await locks(store) == {AWAITING}


async def test_what_a_buried_id_is_told_of_protects_nobody_else(store: Store) -> None:
    await deliver(store, arrival("LA-1", "adoption"))
    fresh = await linking.hold_back(given(store), [row("LA-1", OTHER)])
    await store.crosswalk.put([row("LA-1")])  # it went to somebody else after all
    assert await linking.hear(given(store), fresh) == Heard()
    assert await locks(store, OTHER) == frozenset()


async def test_who_is_linked_while_their_delivery_is_taken_is_protected_all_the_same(store: Store) -> None:
    class Meanwhile:
        """The shelf; somebody links the child, and reads the shelf, just before the delivery is on it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store.shelf, name)

        async def replace(self, *arguments: Any) -> int:
            await deliver(store, arrival("LA-2"))
            assert await linking.link(given(store), [row("LA-1")]) == (1, Heard())
            return await store.shelf.replace(*arguments)

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
    sifted = await linking.sift(given(store), wanted, moves=False)
    assert sifted.refused == {"LA-1": linking.OTHER_NUMBER}
    assert sifted.wanted == wanted[1:]
    assert sifted.twice == {"LA-2", "LA-3"}, "LA-1 holds the child; the file says two of the other"
    assert (await linking.sift(given(store), wanted, moves=True)).refused == {}


async def test_one_kind_of_lock_ends_for_these_people_and_every_other_stays(store: Store) -> None:
    for source in ("authority", "elsewhere"):
        await store.protections.add_locks(source, {CHILD: frozenset({AWAITING, "refuge"}), OTHER: frozenset({AWAITING})}, NOW)
    await store.protections.lift_each("authority", AWAITING, [CHILD])
    assert await locks(store) == {AWAITING, "refuge"}, "the other source still waits"
    await store.protections.lift_each("elsewhere", AWAITING, [CHILD])
    assert await locks(store) == {"refuge"}
    assert await locks(store, OTHER) == {AWAITING}

"""Parcels and mandates on both databases: once for each identifier, leased, sealed, forgotten when settled."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from store_world import CHILD, NOW, OTHER

from gateway.model import Content, LeasedParcel, Mandate, NewParcel, ParcelState, Purpose
from gateway.store import Store
from gateway.store.database import Statement
from gateway.store.parcel_tables import PARCEL

pytestmark = pytest.mark.anyio

LEASE_S = 30
LATER = NOW + timedelta(hours=1)
RESOURCE = {"resourceType": "ServiceRequest", "status": "active", "note": [{"text": "a family that would like to come"}]}


def mandate(**given: Any) -> Mandate:
    values: dict[str, Any] = {
        "id": "m-1",
        "organisation": "dfe-urn:199901",
        "role": "urn:x|centre-worker",
        "purpose": Purpose.COC,
        "agreement": "referral-health-centre",
        "route": "centre/referral",
        "scopes": frozenset({"system/ServiceRequest.rs", "system/Patient.rs"}),
        "starts": NOW,
        "expires": NOW + timedelta(days=14),
    }
    return Mandate(**{**values, **given})


def parcel(**given: Any) -> NewParcel:
    values: dict[str, Any] = {
        "id": "p-1",
        "route": "centre/referral",
        "sender": "ods:RXX99",
        "client": "meadowvale-system",
        "key": "urn:meadowvale|R-1",
        "state": ParcelState.QUEUED,
        "reason": "",
        "content": Content(CHILD, date(2024, 3, 14), RESOURCE),
        "created_at": NOW,
        "confirm_by": NOW + timedelta(hours=24),
        "keep_until": NOW + timedelta(days=14),
    }
    return NewParcel(**{**values, **given})


async def claimed(store: Store, **given: Any) -> LeasedParcel:
    (leased,) = await store.parcels.claim(**{"now": NOW, "lease_s": LEASE_S, **given})
    return leased


async def test_what_was_submitted_comes_out_as_it_went_in(store: Store) -> None:
    accepted = await store.parcels.put(parcel(), mandate())
    assert (accepted.new, accepted.same, accepted.parcel.state) == (True, True, ParcelState.QUEUED)
    leased = await claimed(store)
    assert leased.content == Content(CHILD, date(2024, 3, 14), RESOURCE)
    assert (leased.parcel.id, leased.parcel.attempts) == ("p-1", 1)
    assert await store.mandates.get("m-1") == mandate()
    assert await store.mandates.get("m-2") is None


async def test_the_same_identifier_stands_for_one_parcel_and_another_content_under_it_is_noticed(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    again = await store.parcels.put(parcel(id="p-2"), mandate(id="m-2"))
    other = await store.parcels.put(parcel(id="p-3", content=Content(OTHER, date(2024, 3, 14), RESOURCE)), mandate(id="m-3"))
    assert [(one.parcel.id, one.new, one.same) for one in (again, other)] == [("p-1", False, True), ("p-1", False, False)]
    assert await store.mandates.get("m-2") is None
    elsewhere = await store.parcels.put(parcel(id="p-4", client="another-system"), mandate(id="m-4"))
    assert elsewhere.new


async def test_a_lease_keeps_others_away_and_comes_back_by_time_alone(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    dead = await claimed(store)
    assert await store.parcels.claim(now=NOW, lease_s=LEASE_S) == []
    back = await claimed(store, now=NOW + timedelta(seconds=LEASE_S))
    assert back.parcel.attempts == 2
    assert not await store.parcels.sending(dead, NOW)
    assert not await store.parcels.settle(dead, ParcelState.ACKNOWLEDGED, at=NOW, reason="")
    assert not await store.parcels.retry(dead, ParcelState.QUEUED, due=NOW, reason="")
    assert await store.parcels.sending(back, NOW + timedelta(seconds=LEASE_S))
    assert await store.parcels.settle(back, ParcelState.ACKNOWLEDGED, at=LATER, reason="", reference="WC-77")


async def test_a_lease_that_ran_out_may_send_nothing(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    slow = await claimed(store)
    assert not await store.parcels.sending(slow, NOW + timedelta(seconds=LEASE_S))


@pytest.mark.parametrize(
    ("state", "keeps"),
    [
        (ParcelState.ACKNOWLEDGED, False),
        (ParcelState.WITHHELD, False),
        (ParcelState.LAPSED, False),
        (ParcelState.HELD, True),
        (ParcelState.REFUSED, True),
    ],
)
async def test_content_is_kept_only_where_somebody_may_still_send_it(store: Store, state: ParcelState, keeps: bool) -> None:
    await store.parcels.put(parcel(), mandate())
    await store.parcels.settle(await claimed(store), state, at=LATER, reason="a reason", reference="WC-77")
    held = await store.parcels.get("p-1")
    assert held is not None
    assert (held.state, held.settled_at, held.reason, held.reference) == (state, LATER, "a reason", "WC-77")
    ((sealed,),) = await store.database.read(Statement(PARCEL.select().with_only_columns(PARCEL.c.content_sealed)), {})
    assert (sealed is not None) is keeps
    assert await store.parcels.claim(now=LATER, lease_s=LEASE_S) == []
    assert await store.parcels.again("p-1", LATER) is keeps
    assert len(await store.parcels.claim(now=LATER, lease_s=LEASE_S)) == keeps


async def test_nothing_of_the_person_or_the_content_is_in_the_clear(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    await store.parcels.settle(await claimed(store), ParcelState.HELD, at=LATER, reason="", reference="WC-77")
    (row,) = await store.database.read(Statement(PARCEL.select()), {})
    kept = b"".join(bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in row)
    for secret in (CHILD.value, "R-1", "would like to come", "2024-03-14", "WC-77"):
        assert secret.encode() not in kept


async def test_a_retry_waits_for_its_time(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    assert await store.parcels.retry(await claimed(store), ParcelState.SENT, due=LATER, reason="no answer")
    assert await store.parcels.claim(now=NOW + timedelta(minutes=59), lease_s=LEASE_S) == []
    leased = await claimed(store, now=LATER)
    assert (leased.parcel.state, leased.parcel.attempts, leased.parcel.reason) == (ParcelState.SENT, 2, "no answer")


async def test_what_nobody_acknowledged_in_time_is_told_once(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    await store.parcels.put(parcel(id="p-2", key="R-2"), mandate(id="m-2"))
    first, second = await store.parcels.claim(now=NOW, lease_s=LEASE_S, limit=2)
    await store.parcels.settle(first, ParcelState.ACKNOWLEDGED, at=NOW, reason="")
    await store.parcels.settle(second, ParcelState.WITHHELD, at=NOW, reason="consent")
    tomorrow = NOW + timedelta(hours=24)
    assert await store.parcels.unconfirmed(tomorrow - timedelta(seconds=1)) == []
    (late,) = await store.parcels.unconfirmed(tomorrow)
    assert late.id == second.parcel.id
    await store.parcels.warned(late.id)
    assert await store.parcels.unconfirmed(tomorrow) == []


async def test_a_recalled_parcel_is_never_claimed_nor_sent(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    leased = await claimed(store)
    was = await store.parcels.recall("p-1", at=NOW)
    assert was is not None
    assert was.state is ParcelState.QUEUED
    assert not await store.parcels.sending(leased, NOW)
    assert await store.parcels.claim(now=LATER, lease_s=LEASE_S) == []
    assert not await store.parcels.again("p-1", LATER)
    assert await store.parcels.recall("p-9", at=NOW) is None


async def test_recall_does_not_rewrite_what_has_been_acknowledged(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    await store.parcels.settle(await claimed(store), ParcelState.ACKNOWLEDGED, at=NOW, reason="")
    await store.parcels.recall("p-1", at=LATER)
    held = await store.parcels.get("p-1")
    assert held is not None
    assert held.state is ParcelState.ACKNOWLEDGED


async def test_when_a_number_dies_its_parcels_die_with_it(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    other = Content(OTHER, date(2024, 3, 14), RESOURCE)
    await store.parcels.put(parcel(id="p-2", key="R-2", content=other), mandate(id="m-2"))
    await store.persons.seal(CHILD, NOW)
    assert [one.parcel.id for one in await store.parcels.claim(now=NOW, lease_s=LEASE_S, limit=9)] == ["p-2"]


async def test_what_is_past_its_time_lapses_and_is_forgotten_later(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    over = NOW + timedelta(days=14)
    assert await store.parcels.purge(over - timedelta(seconds=1)) == 0
    assert await store.parcels.purge(over) == 1
    held = await store.parcels.get("p-1")
    assert held is not None
    assert held.state is ParcelState.LAPSED
    assert await store.parcels.purge(over + timedelta(days=90)) == 0
    assert await store.parcels.get("p-1") is None
    assert await store.mandates.get("m-1") is None


async def test_an_operator_sees_parcels_by_state(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    await store.parcels.put(parcel(id="p-2", key="R-2", created_at=LATER), mandate(id="m-2"))
    assert [one.id for one in await store.parcels.list()] == ["p-2", "p-1"]
    await store.parcels.settle(await claimed(store), ParcelState.HELD, at=NOW, reason="")
    assert [one.id for one in await store.parcels.list(state=ParcelState.HELD)] == ["p-1"]


async def test_a_mandate_is_revoked_once(store: Store) -> None:
    await store.parcels.put(parcel(), mandate())
    assert await store.mandates.revoke("m-1", LATER)
    assert not await store.mandates.revoke("m-1", LATER)
    held = await store.mandates.get("m-1")
    assert held == replace(mandate(), revoked_at=LATER)
    assert held.in_force(NOW)
    assert not held.in_force(LATER)
    assert not mandate().in_force(NOW - timedelta(seconds=1))
    assert not mandate().in_force(NOW + timedelta(days=14))

"""Recalls on both databases: once for each delivery, leased apart from deliveries; whose facts moved is found by every number."""

from dataclasses import replace
from datetime import timedelta

import pytest
from store_world import CHILD, NOW, OTHER
from test_store_parcels import LEASE_S, claimed, mandate, parcel
from test_store_persons import PLAIN

from gateway.model import Because, Notice, Parcel, ParcelState
from gateway.nhs_number import NhsNumber
from gateway.store import Store

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(hours=1)


async def consent(store: Store, number: NhsNumber = CHILD) -> None:
    given = {"given_by": "parent", "recorded_by": "centre", "starts": NOW, "ends": None, "evidence": "form"}
    await store.consents.put(number, scope="share-centres", decision="permit", **given)  # type: ignore[arg-type]


async def delivered(store: Store, *, receipt: str = "e" * 32) -> Parcel:
    await store.persons.admit(replace(PLAIN, number=CHILD), NOW)
    await store.parcels.put(parcel(), mandate())
    leased = await claimed(store)
    assert await store.parcels.sending(leased, NOW, receipt=receipt)
    assert await store.parcels.settle(leased, ParcelState.ACKNOWLEDGED, at=NOW, reason="", reference="WC-77")
    found = await store.parcels.get("p-1")
    assert found is not None
    return found


async def moved(store: Store) -> list[str]:
    return [one.parcel.id for one in await store.recalls.moved()]


async def test_a_recall_is_made_once_for_each_reason_and_names_the_delivery_its_receipt_and_the_reason(store: Store) -> None:
    original = await delivered(store)
    first = await store.recalls.put(original, Because.WRONG_PERSON, at=LATER)
    assert await store.recalls.put(original, Because.WRONG_PERSON, at=LATER) == first
    assert await store.recalls.made("p-1", Because.WRONG_PERSON) == first
    assert await store.recalls.made("p-1", Because.ENTERED_IN_ERROR) is None
    assert (first.kind, first.recalls, first.mandate, first.sender) == ("recall", "p-1", "m-1", "ods:RXX99")
    assert first.confirm_by - first.created_at == original.confirm_by - original.created_at
    assert await store.parcels.claim(now=LATER, lease_s=LEASE_S, limit=8) == []  # it is no delivery
    (leased,) = await store.recalls.claim(now=LATER, lease_s=LEASE_S, limit=8)
    assert leased.notice == Notice("p-1", Because.WRONG_PERSON, "e" * 32, LATER)
    assert leased.number == CHILD
    second = await store.recalls.put(original, Because.ENTERED_IN_ERROR, at=LATER)
    assert (second.id != first.id, second.recalls) == (True, "p-1")


async def test_a_recall_is_leased_sent_and_settled_like_any_parcel(store: Store) -> None:
    made = await store.recalls.put(await delivered(store), Because.WRONG_PERSON, at=NOW)
    (dead,) = await store.recalls.claim(now=NOW, lease_s=LEASE_S)
    assert await store.recalls.claim(now=NOW, lease_s=LEASE_S) == []
    (back,) = await store.recalls.claim(now=NOW + timedelta(seconds=LEASE_S), lease_s=LEASE_S)
    assert not await store.parcels.sending(dead, NOW)
    assert await store.parcels.sending(back, NOW + timedelta(seconds=LEASE_S))
    assert await store.parcels.retry(back, ParcelState.SENT, due=LATER, reason="slow")
    (again,) = await store.recalls.claim(now=LATER, lease_s=LEASE_S)
    assert await store.parcels.settle(again, ParcelState.ACKNOWLEDGED, at=LATER, reason="")
    held = await store.parcels.get(made.id)
    assert held is not None
    assert (held.state, held.attempts) == (ParcelState.ACKNOWLEDGED, 3)
    assert await store.recalls.claim(now=LATER, lease_s=LEASE_S) == []


async def test_what_changed_of_a_person_since_their_facts_were_read_is_found_until_it_was_looked_at(store: Store) -> None:
    await consent(store)
    await delivered(store)
    assert await moved(store) == []
    await store.consents.withdraw(CHILD, "share-centres", NOW)
    (found,) = await store.recalls.moved()
    assert (found.parcel.id, found.number) == ("p-1", CHILD)
    await store.recalls.looked_at("p-1", found.version)
    assert await moved(store) == []
    await consent(store, OTHER)
    assert await moved(store) == []


async def test_what_changed_between_the_claim_and_the_end_is_not_missed(store: Store) -> None:
    await store.persons.admit(replace(PLAIN, number=CHILD), NOW)
    await consent(store)
    await store.parcels.put(parcel(), mandate())
    leased = await claimed(store)
    await store.consents.withdraw(CHILD, "share-centres", NOW)
    await store.parcels.settle(leased, ParcelState.ACKNOWLEDGED, at=NOW, reason="")
    assert await moved(store) == ["p-1"]


async def test_a_number_that_replaced_theirs_counts_too_and_one_that_is_out_of_use_is_nobodys(store: Store) -> None:
    await delivered(store)
    await store.persons.supersede(CHILD, replace(PLAIN, number=OTHER), NOW)
    for one in await store.recalls.moved():
        await store.recalls.looked_at(one.parcel.id, one.version)
    await consent(store, OTHER)
    (found,) = await store.recalls.moved()
    assert found.parcel.id == "p-1"
    assert [one.id for one in await store.recalls.of(OTHER)] == ["p-1"]
    await store.persons.seal(OTHER, NOW)
    await store.persons.seal(CHILD, NOW)
    assert await moved(store) == []
    assert await store.recalls.whose("p-1") is None


async def test_only_what_left_is_found_by_person_and_a_senders_own_by_its_identifier(store: Store) -> None:
    await delivered(store)
    await store.parcels.put(parcel(id="p-2", key="urn:meadowvale|R-2"), mandate(id="m-2"))
    assert [one.id for one in await store.recalls.of(CHILD)] == ["p-1"]
    assert await store.recalls.of(OTHER) == []
    sent = await store.recalls.sent_by("ods:RXX99", "meadowvale-system", "urn:meadowvale|R-2", CHILD)
    assert sent is not None
    assert sent.id == "p-2"
    assert await store.recalls.sent_by("ods:RXX99", "another-system", "urn:meadowvale|R-2", CHILD) is None
    assert await store.recalls.sent_by("ods:RXX99", "meadowvale-system", "urn:meadowvale|R-2", OTHER) is None

"""A parcel owed by an event is queued in its transaction: both or neither, and once for each key."""

from dataclasses import replace

import pytest
from store_world import CHILD, NOW
from test_store_parcels import claimed, mandate, parcel

from gateway.ports import Entry, OwedParcel
from gateway.store import Store

pytestmark = pytest.mark.anyio

LOOK = Entry("disclosure", NOW, "success", CHILD, detail={})


async def test_what_an_event_owes_is_queued_with_it_and_leaves_under_its_mandate(store: Store) -> None:
    assert await store.log.append([LOOK], [OwedParcel(parcel(), mandate())])
    leased = await claimed(store)
    assert (leased.parcel.id, leased.content.number) == ("p-1", CHILD)
    assert await store.mandates.get("m-1") == mandate()


async def test_the_same_key_owed_twice_is_one_parcel(store: Store) -> None:
    await store.log.append([LOOK], [OwedParcel(parcel(), mandate())])
    await store.log.append([LOOK], [OwedParcel(parcel(id="p-2"), mandate(id="m-2"))])
    assert [one.id for one in await store.parcels.list()] == ["p-1"]
    assert await store.mandates.get("m-2") is None


async def test_an_event_that_is_not_written_owes_nothing(store: Store) -> None:
    moved = (CHILD, 99)  # the facts are at another version
    assert await store.log.append([replace(LOOK)], [OwedParcel(parcel(), mandate())], unless_moved=moved) is None
    assert await store.parcels.list() == []

"""The accounting of all workers adds up on both databases."""

import asyncio
from datetime import timedelta

import pytest
from store_world import NOW

from gateway.ports import Counted
from gateway.store import Store
from gateway.store.drifts import StoredDrifts

pytestmark = pytest.mark.anyio

ONE = Counted("school", "visits-1", 2, 10, 3, 1, 4, {"outcome": 2, "*": 1})


async def test_what_two_workers_count_adds_up_and_one_of_them_is_told_of_a_new_path(store: Store) -> None:
    beside = StoredDrifts(store.database)
    told = await asyncio.gather(*(worker.add([ONE], NOW) for worker in (store.drifts, beside) for _ in range(10)))
    new = [row for rows in told for row in rows]
    assert sorted(new) == [("school", "visits-1", "*"), ("school", "visits-1", "outcome")]
    assert await store.drifts.counted() == [Counted("school", "visits-1", 40, 200, 60, 20, 80, {})]
    assert {row.path: row.records for row in await store.drifts.drift()} == {"*": 20, "outcome": 40}


async def test_first_and_last_are_remembered_and_what_is_cleared_is_new_when_it_comes_again(store: Store) -> None:
    later = NOW + timedelta(days=2)
    await store.drifts.add([ONE], NOW)
    await store.drifts.add([ONE], later)
    assert {(row.first_seen, row.last_seen) for row in await store.drifts.drift()} == {(NOW, later)}
    assert await store.drifts.clear("another") == 0
    assert await store.drifts.clear("school") == 2
    assert await store.drifts.drift() == []
    assert len(await store.drifts.add([ONE], later)) == 2

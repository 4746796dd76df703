"""The verifier finds what was done to a log behind its back."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_world import CHILD, OTHER, entry

from gateway.store import Keys, Store, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log(tmp_path: Path, keys: Keys) -> AsyncIterator[tuple[Store, Path]]:
    store = await open_store(f"sqlite:///{tmp_path / 'g.db'}", keys, name="t")
    for n in range(10):
        await store.log.append([entry(request_id=f"r-{n}", person=CHILD if n % 2 else OTHER)])
    assert await store.verify() == []
    yield store, tmp_path / "g.db"
    await store.close()


@pytest.mark.parametrize(
    ("done", "found"),
    [
        ("UPDATE event SET canonical = replace(canonical, 'permit', 'deny') WHERE position = 4", "commitment"),
        ("UPDATE event SET salt = zeroblob(16) WHERE position = 4", "commitment"),
        ("UPDATE event SET canonical = x'00' WHERE position = 4", "cannot be read"),
        ("UPDATE event SET organisation = 'ods:X' WHERE position = 4", "column of organisation"),
        ("UPDATE event SET outcome = 'deny' WHERE position = 4", "column of outcome"),
        ("UPDATE event SET request_id = 'x' WHERE position = 4", "column of request_id"),
        (
            "UPDATE event SET person_key = (SELECT person_key FROM event WHERE position = 5) WHERE position = 4",
            "column of person",
        ),
        ("UPDATE event SET person_key = NULL WHERE position = 4", "column of person"),
        ("UPDATE event SET recorded_at = recorded_at + 1 WHERE position = 4", "column of recorded_at"),
        ("UPDATE event SET writer_seq = 99 WHERE position = 4", "not dense"),
        ("DELETE FROM event WHERE position = 4", "missing before index 5"),
        ("DELETE FROM event WHERE position = 0", "missing before index 1"),
        ("UPDATE event SET position = NULL WHERE position = 9", "without an index"),
        (
            "UPDATE event SET position = -position WHERE position > 3;"
            "UPDATE event SET position = 13 + position WHERE position < 0",
            "not dense",
        ),
        ("UPDATE event SET recorded_at = recorded_at - 60000000 WHERE position = 4", "clock ran back"),
        ("UPDATE event SET writer = 'w-other' WHERE position = 4", "sequence has gaps"),
    ],
)
async def test_a_change_behind_the_logs_back_is_found(log: tuple[Store, Path], done: str, found: str) -> None:
    store, path = log
    with sqlite3.connect(path) as other:
        other.executescript(
            done.replace("replace(canonical,", "CAST(replace(CAST(canonical AS TEXT),").replace("'deny')", "'deny') AS BLOB)")
        )
    assert any(found in fault.what for fault in await store.verify())


async def test_an_event_written_in_by_hand_is_found(log: tuple[Store, Path]) -> None:
    store, path = log
    with sqlite3.connect(path) as other:
        columns = [row[1] for row in other.execute("PRAGMA table_info(event)")]
        values = {**{name: name for name in columns}, "event": "'forged'", "position": "10", "writer_seq": "11"}
        other.execute(f"INSERT INTO event SELECT {', '.join(values[name] for name in columns)} FROM event WHERE position = 9")
    faults = await store.verify()
    assert {fault.index for fault in faults} == {10}

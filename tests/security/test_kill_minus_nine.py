"""kill -9 at random instants under load: no acknowledged event is ever missing, and the log stays dense.

Run as a program, this file is the victim's parent: it forks one short-lived server after another over one database,
kills each, and prints every event id whose append had returned. (A kill shows that nothing is acknowledged early and
that a torn group leaves no trace; loss of power is what WAL with synchronous=FULL is for.)
"""

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy

from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.store import Keys, Store, open_store
from gateway.store.database import Statement
from gateway.store.tables import EVENT

KILLS = 200
LONGEST_LIFE_S = 0.12
AT_ONCE = 8
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CHILD = NhsNumber("9990000018")

pytestmark = pytest.mark.anyio


async def test_two_hundred_kills_under_load_lose_no_acknowledged_event(tmp_path: Path) -> None:
    keys = Keys.create_sandbox(tmp_path / "keys")
    acknowledged = await asyncio.to_thread(_acknowledged_by_the_killed, tmp_path)
    assert len(acknowledged) == len(set(acknowledged))
    assert len(acknowledged) > 10 * KILLS, "the load was too small to prove anything"
    store = await open_store(f"sqlite:///{tmp_path / 'gateway.db'}", keys, name="after")
    try:
        assert await store.verify() == []
        rows = await store.database.read(Statement(sqlalchemy.select(EVENT.c.event, EVENT.c.writer)), {})
        assert set(acknowledged) <= {row[0] for row in rows}
        assert len({row[1] for row in rows}) > KILLS // 2, "too few of the killed had written anything"
    finally:
        await store.close()


def _acknowledged_by_the_killed(folder: Path) -> list[str]:
    command = [sys.executable, __file__, str(folder), str(KILLS)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.split()


async def _work(store: Store, out: int) -> None:
    async def one(n: int) -> None:
        while True:
            entries = [Entry("decision", NOW, "permit", CHILD, request_id=f"{n}", detail={"rules": ["r"] * 20})]
            if n % 2:
                entries.append(Entry("disclosure", NOW, "success", CHILD, detail={"items": list(range(50))}))
            receipts = await store.log.append(entries, unless_moved=(CHILD, 0) if n % 4 == 3 else None)
            assert receipts is not None
            os.write(out, "".join(f"{receipt.event}\n" for receipt in receipts).encode())

    await asyncio.gather(*(one(n) for n in range(AT_ONCE)))


def _victim(folder: Path, out: int) -> None:
    async def live() -> None:
        keys = Keys.load(folder / "keys", mode="sandbox")
        await _work(await open_store(f"sqlite:///{folder / 'gateway.db'}", keys, name="victim"), out)

    asyncio.run(live())


def _one_life(folder: Path, life_s: float, *, from_birth: bool) -> bytes:
    """Fork a server, let it work until a random instant, kill it, and return what it had acknowledged."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            _victim(folder, write)
        finally:
            os._exit(1)
    os.close(write)
    started = time.monotonic()
    told, killed = bytearray(), False
    dies_at = started + life_s if from_birth else None
    while True:
        now = time.monotonic()
        if not killed and (now - started > 20 or (dies_at is not None and now >= dies_at)):
            os.kill(child, signal.SIGKILL)
            killed = True
        wait_s = 1.0 if killed or dies_at is None else max(0.0, dies_at - now)
        if select.select([read], [], [], wait_s)[0]:
            piece = os.read(read, 65536)
            if not piece:
                break
            told += piece
            # Mostly its life is counted from the first answer, so that a slow start on a busy machine does not spare it.
            dies_at = dies_at or time.monotonic() + life_s
    os.close(read)
    os.waitpid(child, 0)
    whole, _, _ = bytes(told).rpartition(b"\n")  # a line cut by the kill was not said
    return whole + b"\n"


def main(folder: Path, kills: int) -> None:
    """Kill `kills` servers; print the ids of every acknowledged event."""
    chance = random.Random(20260302)
    for _ in range(kills):
        life_s, from_birth = chance.uniform(0, LONGEST_LIFE_S), chance.random() < 0.2
        sys.stdout.write(_one_life(folder, life_s, from_birth=from_birth).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

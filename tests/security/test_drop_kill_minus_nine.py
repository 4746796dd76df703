"""kill -9 at random instants while deliveries are taken: nothing left in a drop is lost, and nothing reaches the shelf twice.

Run as a program, this file is one life of the gateway's intake: the real drop, the real flow, the real store on SQLite.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy

from gateway.adapter import Arrival, Claim, Manifest, SourceRecord, SourceSettings
from gateway.connectors import kept
from gateway.connectors.drop import Drop, Opened
from gateway.flows.intake import intake
from gateway.registry import ActiveSource
from gateway.store import Keys, open_store
from gateway.store.database import Statement
from gateway.store.tables import SHELF

FILES = 120
KILLS = 12
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SENDER = "ods:RXX99"

pytestmark = pytest.mark.anyio


async def test_twelve_kills_while_deliveries_are_taken_lose_none_and_shelve_none_twice(tmp_path: Path) -> None:
    keys = Keys.create_sandbox(tmp_path / "keys")
    drop = tmp_path / "drop"
    drop.mkdir()
    bodies = set()
    for number in range(FILES):
        bodies.add(f"<m><id>{number:03}</id></m>".encode())
        (drop / f"m{number:03}.xml").write_bytes(f"<m><id>{number:03}</id></m>".encode())
        os.utime(drop / f"m{number:03}.xml", times=(NOW.timestamp() - 60,) * 2)
    chance, cut_short = random.Random(20261122), 0
    for life in range(KILLS):
        cut_short += await asyncio.to_thread(_one_life, tmp_path, life, chance.uniform(0.0, 0.06))
    assert cut_short >= KILLS // 2, "too few were killed at work to prove anything"
    assert await asyncio.to_thread(_one_life, tmp_path, KILLS, None) == 0
    assert [path for folder in (drop, drop / "taken", drop / "refused") for path in folder.iterdir() if path.is_file()] == []
    done = [path for path in (drop / "done").iterdir() if path.suffix == kept.SUFFIX]
    assert {b"".join(kept.opened(lambda sealed: keys.open("file-sealing", sealed, b"pushed"), path)) for path in done} == bodies
    assert len(done) == FILES
    store = await open_store(f"sqlite:///{tmp_path / 'gateway.db'}", keys, name="after")
    try:
        rows = await store.database.read(Statement(sqlalchemy.select(SHELF.c.business_key, SHELF.c.as_of)), {})
        assert len(rows) == FILES
        held = [await store.shelf.newest("pushed", f"L{number:03}", NOW) for number in range(FILES)]
        assert [len(records) for records in held] == [1] * FILES
        assert await store.verify() == []
    finally:
        await store.close()


def _one_life(folder: Path, life: int, life_s: float | None) -> int:
    """Start a life, let it take deliveries for `life_s` from its first, kill it -> 1 when there was work left for it."""
    command = [sys.executable, __file__, str(folder), str(life)]
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert victim.stdout is not None
    victim.stdout.readline()
    if life_s is not None:
        time.sleep(life_s)
        victim.send_signal(signal.SIGKILL)
    code = victim.wait(60)
    victim.stdout.close()
    assert code in (0, -signal.SIGKILL)
    return int(code != 0)


async def _live(folder: Path, life: int) -> None:
    keys = Keys.load(folder / "keys", mode="sandbox")
    store = await open_store(f"sqlite:///{folder / 'gateway.db'}", keys, name="victim")
    now = NOW + timedelta(minutes=5 * life)  # what an earlier life held has been held too long by then
    drop = Drop(
        folder / "drop",
        suffixes=frozenset((".xml",)),
        cap_bytes=1000,
        keep_days=7,
        snapshot=False,
        now=lambda: now,
        seal=lambda plain: keys.seal("file-sealing", plain, b"pushed"),
    )
    settings = SourceSettings("pushed", "pushed", SENDER, "A", "Pushed", 1.0, None, 7, {})
    manifest = Manifest("pushed", "", None, "", "local_id", "child-health", ("s",), {}, frozenset(), frozenset(), False, 1.0)
    adapter: Any = None
    source = ActiveSource(manifest, settings, adapter)
    parts: Any = SimpleNamespace(
        log=store.log,
        shelf=store.shelf,
        protections=store.protections,
        crosswalk=store.crosswalk,
        identity=None,
        now=lambda: now,
        allow_test_numbers=True,
        policy=SimpleNamespace(hash="hash"),
    )
    print("ready", flush=True)
    async for delivery, arrivals in drop.arrivals(_read):
        assert await intake(parts, source, delivery, arrivals) == "taken"
    await store.close()


def _read(body: bytes) -> Opened:
    number = body.decode().removeprefix("<m><id>").partition("<")[0]
    about = Claim(local_id=f"L{number}")
    record = SourceRecord("s", {"number": number}, "m 1", NOW, about)
    return Opened(NOW, [Arrival("m", f"B{number}", SENDER, NOW, about, record)])


if __name__ == "__main__":
    asyncio.run(_live(Path(sys.argv[1]), int(sys.argv[2])))

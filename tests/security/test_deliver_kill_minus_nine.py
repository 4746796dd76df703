"""kill -9 while parcels are delivered: each arrives, and arrives once.

Run as a program, this file is the parent of one short-lived worker after another over one database. Each delivers into the
centre's table with the real connector until it is killed; time passes between two lives, so that leases run out.
"""

import asyncio
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter import DeliverSettings, SourceSettings, Tools
from gateway.connectors.sql_delivery import build_delivery
from gateway.flows.deliver import deliver, due
from gateway.flows.submit import submit
from gateway.model import ParcelState, Purpose
from gateway.store import Keys
from tests import delivery_world as place

ROOT = Path(__file__).resolve().parents[2]
KILLS = 16
PARCELS = 40
LONGEST_LIFE_S = 0.15
TABLE = """create table referral_in (referral_id text primary key, nhs_number text not null, status text not null,
  kind text not null, priority text, requested_at text not null, service text, reason text, from_org text not null,
  from_name text, contact_name text, contact_phone text, note text)"""

pytestmark = pytest.mark.anyio


async def test_a_delivery_survives_every_kill_and_is_made_once(tmp_path: Path) -> None:
    names = await _submitted(tmp_path)
    command = [sys.executable, __file__, str(tmp_path), str(KILLS)]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = await asyncio.to_thread(subprocess.run, command, env=here, check=True, capture_output=True, text=True, timeout=120)
    killed_at_work = int(done.stdout)
    assert killed_at_work > KILLS // 8, "too few of the killed had begun to deliver"
    world = await _world(tmp_path, life=KILLS + 1)
    try:
        for life in range(3):
            world.later(hours=1)
            while leased := await due(world.parts):
                for one in leased:
                    assert await deliver(world.parts, one) is ParcelState.ACKNOWLEDGED, life
        parcels = await world.store.parcels.list(limit=1000)
        assert {parcel.id for parcel in parcels} == names
        assert {parcel.state for parcel in parcels} == {ParcelState.ACKNOWLEDGED}
        assert sum(parcel.attempts for parcel in parcels) > PARCELS, "no delivery was broken off"
        assert await world.store.verify() == []
    finally:
        await world.store.close()
    with closing(sqlite3.connect(tmp_path / "centre.db")) as centre:
        arrived = [row[0] for row in centre.execute("select referral_id from referral_in")]
    assert sorted(arrived) == sorted(names)


async def _submitted(folder: Path) -> set[str]:
    """Parcels that wait for a worker."""
    Keys.create_sandbox(folder / "keys")
    with closing(sqlite3.connect(folder / "centre.db")) as centre:
        centre.execute(TABLE)
    world = await _world(folder, life=0)
    try:
        await place.relates(world, "caseload", "ods:RXX99")
        await place.consents(world, "share-centres")
        for number in range(PARCELS):
            asked = await place.request(world, "health", Purpose.COC, "ServiceRequest")
            await submit(world.parts, asked, place.submission("ServiceRequest", place.CENTRE, f"R-{number}"))
        return {parcel.id for parcel in await world.store.parcels.list(limit=1000)}
    finally:
        await world.store.close()


async def _world(folder: Path, *, life: int) -> place.World:
    """The place as a worker meets it, an hour later in each life."""
    nothing: Any = None
    now = place.NOW + timedelta(hours=life)
    tools = Tools(nothing, nothing, nothing, nothing, lambda: now, folder, lambda plain: plain)
    table = place.route("centre/referral", place.Taker()).table
    options = {"database_url": f"sqlite:///{folder / 'centre.db'}"}
    held = SourceSettings("centre", "a", "c", "g", "t", 2.0, None, 7, {}, deliver={"referral": DeliverSettings((), options)})
    keys = Keys.load(folder / "keys", mode="sandbox")
    return await place.opened(folder, keys=keys, deliverer=build_delivery(table, held, tools), now=now)


def _victim(folder: Path, life: int, out: int) -> None:
    async def live() -> None:
        world = await _world(folder, life=life)
        os.write(out, b"b")
        while True:
            for leased in await due(world.parts):
                os.write(out, b"d")
                await deliver(world.parts, leased)
            await asyncio.sleep(0)

    asyncio.run(live())


def _one_life(folder: Path, life: int, life_s: float) -> bool:
    """Fork a worker, kill it a random time after it began -> whether it was killed with a delivery begun."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            _victim(folder, life, write)
        finally:
            os._exit(1)
    os.close(write)
    told, dies_at, started = b"", None, time.monotonic()
    while dies_at is None or time.monotonic() < dies_at:
        wait_s = 0.01 if dies_at is None else max(0.0, dies_at - time.monotonic())
        if select.select([read], [], [], wait_s)[0]:
            piece = os.read(read, 65536)
            if not piece:
                break
            told += piece
            dies_at = dies_at or time.monotonic() + life_s
        elif time.monotonic() - started > 20:
            break
    os.kill(child, signal.SIGKILL)
    os.close(read)
    os.waitpid(child, 0)
    return b"d" in told


def main(folder: Path, kills: int) -> None:
    """Kill `kills` workers; print how many had begun a delivery."""
    place.rules(), place.maps()  # once, before the first is forked
    chance = random.Random(20261122)
    print(sum(_one_life(folder, life, chance.uniform(0.005, LONGEST_LIFE_S)) for life in range(1, kills + 1)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

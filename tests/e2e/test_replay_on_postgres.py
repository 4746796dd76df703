"""One assertion, a hundred times at once, over four processes on PostgreSQL: accepted exactly once.

Run as a program, this file is one of the four.
"""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgres_server
import pytest

from gateway.ports import Entry, LogQuestion
from gateway.store import Keys, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PROCESSES = 4
REPLAYS = 25
ROUNDS = 3
NOW = datetime.now(UTC)


async def test_a_hundred_parallel_replays_over_four_processes_are_accepted_once(tmp_path: Path) -> None:
    keys = Keys.create_sandbox(tmp_path / "keys")
    with postgres_server.server() as url:
        store = await open_store(url, keys, name="judge")
        try:
            assert _accepted(url, tmp_path, [f"jti-{number}" for number in range(ROUNDS)]) == [1] * ROUNDS
            assert len(await store.log.ask(LogQuestion(kind="token", limit=1000))) == ROUNDS
            assert await store.verify() == []
        finally:
            await store.close()


def _accepted(url: str, folder: Path, jtis: Sequence[str]) -> list[int]:
    """How often each was accepted, all processes together."""
    command = [sys.executable, __file__, url, str(folder)]
    racers = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(sys.path)}
        )
        for _ in range(PROCESSES)
    ]
    for racer in racers:
        assert _said(racer) == "ready"
    counts = []
    for jti in jtis:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(jti + "\n")
            racer.stdin.flush()
        counts.append(sum(int(_said(racer)) for racer in racers))
    for racer in racers:
        racer.communicate(timeout=60)
    assert all(racer.returncode == 0 for racer in racers)
    return counts


def _said(racer: "subprocess.Popen[str]") -> str:
    assert racer.stdout is not None
    return racer.stdout.readline().strip()


async def _race(url: str, folder: Path) -> None:
    store = await open_store(url, Keys.load(folder / "keys", mode="sandbox"), name="racer")

    async def bring(jti: str) -> bool:
        entry = Entry("token", NOW, "success", None, system="client")
        return await store.log.append_once(entry, client="client", jti=jti, expires=NOW + timedelta(minutes=5)) is not None

    try:
        print("ready", flush=True)
        while jti := (await asyncio.to_thread(sys.stdin.readline)).strip():
            print(sum(await asyncio.gather(*(bring(jti) for _ in range(REPLAYS)))), flush=True)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(_race(sys.argv[1], Path(sys.argv[2])))

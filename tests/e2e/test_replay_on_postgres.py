"""One assertion, a hundred times at once, over four processes on PostgreSQL: accepted exactly once.

Run as a program, this file is one of the four.
"""

import asyncio
import subprocess
import sys
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
            for number in range(ROUNDS):
                assert _accepted(url, tmp_path, f"jti-{number}") == 1
            assert len(await store.log.ask(LogQuestion(kind="token", limit=1000))) == ROUNDS
            assert await store.verify() == []
        finally:
            await store.close()


def _accepted(url: str, folder: Path, jti: str) -> int:
    command = [sys.executable, __file__, url, str(folder), jti]
    racers = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": ":".join(sys.path)}
        )
        for _ in range(PROCESSES)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=60)[0] for racer in racers]
    assert all(racer.returncode == 0 for racer in racers)
    return sum(int(answer) for answer in answers)


async def _race(url: str, folder: Path, jti: str) -> None:
    store = await open_store(url, Keys.load(folder / "keys", mode="sandbox"), name="racer")

    async def bring() -> bool:
        entry = Entry("token", NOW, "success", None, system="client")
        return await store.log.append_once(entry, client="client", jti=jti, expires=NOW + timedelta(minutes=5)) is not None

    try:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(sum(await asyncio.gather(*(bring() for _ in range(REPLAYS)))), flush=True)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(_race(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))

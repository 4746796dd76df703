"""An assertion is good once, whatever the number of processes that see it."""

import asyncio
import json
import os
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import postgres_server
import pytest
from caller_world import CLIENT, assertion

from gateway.ports import LogQuestion
from gateway.store import Keys, open_store, utc_now

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
PROCESSES, EACH = 4, 25


@pytest.mark.postgres
async def test_of_a_hundred_replays_over_four_processes_exactly_one_is_accepted(tmp_path: Path) -> None:
    keys = Keys.create_sandbox(tmp_path / "keys")
    with postgres_server.server() as url:
        store = await open_store(url, keys, name="test")
        await store.clients.put(CLIENT)
        command = (sys.executable, str(HERE / "replay_worker.py"), url, str(tmp_path / "keys"), str(EACH))
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        starting = [create_subprocess_exec(*command, env=environment, stdin=PIPE, stdout=PIPE) for _ in range(PROCESSES)]
        workers = await asyncio.gather(*starting)
        for worker in workers:
            assert worker.stdout is not None
            assert await asyncio.wait_for(worker.stdout.readline(), 60) == b"ready\n"
        # All four stand at the line. Only the signed text travels: its private key stays in this process.
        text = assertion(utc_now()).encode()
        said = await asyncio.wait_for(asyncio.gather(*(worker.communicate(text) for worker in workers)), 60)
        counts = [json.loads(out) for out, _ in said]
        assert sum(count["granted"] for count in counts) == 1
        assert sum(count["refused"].get("jti-spent", 0) for count in counts) == PROCESSES * EACH - 1
        events = await store.log.ask(LogQuestion(kind="token"))
        assert len(events) == 1
        await store.close()

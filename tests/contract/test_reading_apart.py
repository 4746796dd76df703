"""Large bodies read in a process of their own: real processes, real records."""

import asyncio
import os
import pickle
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from adapters.gp import answer
from adapters.gp.kinds import OTHER, SCHEMAS, UNREADABLE
from adapters.gp.record import pieces, split
from gateway.adapter import SourceContractBroken, SourceUnavailable
from gateway.connectors.apart import Apart
from gateway.connectors.room import Room
from gateway.resource import TOGETHER
from tests.perf.gp_record import structured

pytestmark = pytest.mark.anyio
ALL = frozenset({*SCHEMAS.values(), OTHER, UNREADABLE})
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def apart() -> AsyncIterator[Apart]:
    reader = Apart(Room(1000))
    yield reader
    await reader.close()


def words(body: bytes) -> Iterable[str]:
    return body.decode().split()


def whose(_: bytes) -> Iterable[int]:
    return [os.getpid()]


def slowly(body: bytes) -> Iterable[float]:
    started = time.monotonic()
    time.sleep(0.2)
    return [started, time.monotonic()]


def leaves_word(path: Path) -> None:
    path.write_text(str(os.nice(0)), "utf-8")


def priority(_: bytes) -> Iterable[int]:
    return [os.nice(0)]


def lost(_: bytes) -> Iterable[int]:
    os._exit(9)


async def all_of(reader: Apart, read: object, body: bytes) -> list:
    return [item async for item in reader(read, body)]


async def test_a_body_is_read_in_another_process_in_its_order(apart: Apart) -> None:
    many = " ".join(str(number) for number in range(1000))
    assert await all_of(apart, words, many.encode()) == many.split()
    assert await all_of(apart, whose, b"") != [os.getpid()]


async def test_the_process_is_ready_before_any_body_comes_and_gives_way_only_then(tmp_path: Path) -> None:
    word = tmp_path / "word"
    reader = Apart(Room(1000), partial(leaves_word, word))
    try:
        reader.start()
        for _ in range(3000):
            if word.exists() and word.read_text("utf-8"):
                break
            await asyncio.sleep(0.02)
        at_start = int(word.read_text("utf-8"))
        assert at_start == os.nice(0)
        assert await all_of(reader, priority, b"") == [min(at_start + 10, 19)]
    finally:
        await reader.close()


async def test_everybody_else_has_a_turn_meanwhile(apart: Apart) -> None:
    await all_of(apart, whose, b"")  # the process is there
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    task = asyncio.create_task(others())
    await all_of(apart, slowly, b"x")
    task.cancel()
    assert turns >= 10


async def test_bodies_in_flight_share_one_budget_and_one_larger_than_it_still_goes_alone(apart: Apart) -> None:
    first, second = await asyncio.gather(*(all_of(apart, slowly, b"x" * 900) for _ in range(2)))
    assert second[0] >= first[1] or first[0] >= second[1]
    assert len(await all_of(apart, words, b"y" * 5000)) == 1


async def test_what_is_wrong_with_a_body_is_heard_and_a_lost_process_is_replaced(apart: Apart) -> None:
    with pytest.raises(SourceContractBroken):
        await all_of(apart, partial(pieces, as_of=NOW, schemas=ALL), b"{}")
    with pytest.raises(SourceUnavailable):
        await all_of(apart, lost, b"")
    assert await all_of(apart, words, b"still here") == ["still", "here"]


async def test_a_structured_record_read_apart_is_the_same_record(apart: Apart) -> None:
    body = structured("amara", 300_000)
    about, facts, *kept = await all_of(apart, partial(pieces, as_of=NOW, schemas=ALL), body)
    here = split(answer.bundle(body), as_of=NOW)
    records = [record for some in kept for record in pickle.loads(some.data.records)]
    assert all(some.about == about and some.schema == TOGETHER for some in kept)
    assert (about, facts, tuple(records)) == (here.about, here.facts, here.records)

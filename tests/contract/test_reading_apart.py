"""Large bodies read in a process of their own: real processes, real records."""

import asyncio
import os
import pickle
import resource
import signal
import subprocess
import sys
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
from gateway.connectors.apart_there import UNREADABLE as COULD_NOT
from gateway.connectors.room import LARGE_BYTES, Room
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


def trips(body: bytes) -> Iterable[int]:
    return [int(body)]


def lets_go(_: bytes) -> Iterable[int]:
    """How often it let go of its core of its own will while it had work to do."""
    before, until = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, time.monotonic() + 20
    while (often := resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before) < 10 and time.monotonic() < until:
        pass
    return [often]


def for_ever(_: bytes) -> Iterable[int]:
    while True:
        time.sleep(1)


def busy(_: bytes) -> Iterable[int]:
    while True:
        pass


def chatters(_: bytes) -> Iterable[str]:
    print("said to nobody")
    return ["heard"]


async def all_of(reader: Apart, read: object, body: bytes) -> list:
    return [item async for item in reader(read, body)]


def is_gone(pid: int) -> bool:
    """Also where nobody collects it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def ends(pid: int) -> bool:
    for _ in range(500):
        if is_gone(pid):
            return True
        await asyncio.sleep(0.01)
    return False


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


async def test_it_lets_go_of_its_core_while_it_reads(apart: Apart) -> None:
    assert (await all_of(apart, lets_go, b""))[0] >= 10


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


async def test_what_a_body_trips_is_the_sources_fault_and_says_nothing_of_the_body(apart: Apart) -> None:
    with pytest.raises(SourceContractBroken) as raised:
        await all_of(apart, trips, b"Amara")
    assert str(raised.value) == COULD_NOT
    assert raised.value.__cause__ is None
    assert await all_of(apart, trips, b"7") == [7]
    assert await all_of(apart, chatters, b"") == ["heard"]


async def test_the_process_starts_as_soon_as_a_large_answer_is_announced_and_not_before() -> None:
    room = Room()
    reader = Apart(room)
    try:
        async with room.holding():
            await room.take(LARGE_BYTES - 1)
            assert reader._process is None
            await room.take(LARGE_BYTES)
            for _ in range(500):
                if reader._process is not None:
                    break
                await asyncio.sleep(0.02)
            assert reader._process is not None
            pid = reader._process.pid
        assert await all_of(reader, whose, b"") == [pid]
    finally:
        await reader.close()


async def test_after_so_many_bodies_another_process_is_there_and_none_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connectors.apart._BODIES", 2)
    reader = Apart(Room())
    pids = [(await all_of(reader, whose, b""))[0] for _ in range(4)]
    await reader.close()
    assert (pids[0], pids[2]) == (pids[1], pids[3])
    assert pids[0] != pids[2]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_process_that_nobody_sends_to_any_more_ends_by_itself() -> None:
    reader = Apart(Room())
    await all_of(reader, whose, b"")
    process = reader._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # as when the gateway is killed
    assert await asyncio.to_thread(process.wait, 30) == 0
    await reader.close()


async def test_a_gateway_that_closes_does_not_wait_for_a_body(apart: Apart) -> None:
    await all_of(apart, whose, b"")
    reading = asyncio.create_task(all_of(apart, for_ever, b""))
    await asyncio.sleep(0.2)
    await apart.close()
    with pytest.raises(SourceUnavailable):
        await reading


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_body_nobody_waits_for_any_more_holds_nobody_up(
    apart: Apart, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    monkeypatch.setattr("gateway.connectors.apart._STILL_S", 0.1)
    (pid,) = await all_of(apart, whose, b"")
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    hostile = asyncio.create_task(asyncio.wait_for(all_of(apart, busy, b"x"), 0.3))
    await asyncio.sleep(0.05)
    waits = asyncio.create_task(all_of(apart, whose, b"x" * 10))
    with pytest.raises(TimeoutError):
        await hostile
    assert await waits not in ([pid], [os.getpid()])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_who_gives_up_in_the_line_ends_nobody_elses_body(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connectors.apart._STILL_S", 0.0)
    pid = await all_of(apart, whose, b"")
    first = asyncio.create_task(all_of(apart, slowly, b"x"))
    await asyncio.sleep(0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(all_of(apart, busy, b"x"), 0.05)
    assert len(await first) == 2
    assert await all_of(apart, whose, b"") == pid


async def test_a_process_lost_while_it_had_nothing_to_do_is_replaced_unnoticed(apart: Apart) -> None:
    (pid,) = await all_of(apart, whose, b"")
    assert apart._process is not None
    os.kill(pid, signal.SIGKILL)
    assert await ends(pid)
    assert await all_of(apart, whose, b"") != [pid]


_GATEWAY = """
import asyncio, sys
from gateway.connectors.apart import Apart
from gateway.connectors.room import Room
import test_reading_apart as bodies

async def main():
    apart = Apart(Room())
    print((await bodies.all_of(apart, bodies.whose, b""))[0], flush=True)
    await bodies.all_of(apart, bodies.busy, b"")

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system ends a process with its parent")
@pytest.mark.parametrize("stopped", [False, True])
async def test_the_process_ends_with_the_gateway_even_when_it_is_busy_or_stopped(stopped: bool) -> None:
    places = os.pathsep.join([str(Path(__file__).parent), *(place for place in sys.path if place)])
    gateway = await asyncio.to_thread(
        subprocess.Popen, [sys.executable, "-c", _GATEWAY], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": places}
    )
    assert gateway.stdout is not None
    pid = int(await asyncio.to_thread(gateway.stdout.readline))
    await asyncio.sleep(0.2)
    if stopped:
        os.kill(pid, signal.SIGSTOP)
    gateway.kill()
    await asyncio.to_thread(gateway.wait)
    gateway.stdout.close()
    gone = await ends(pid)
    if not gone:
        os.kill(pid, signal.SIGKILL)
    assert gone


async def test_a_structured_record_read_apart_is_the_same_record(apart: Apart) -> None:
    body = structured("amara", 300_000)
    about, facts, *kept = await all_of(apart, partial(pieces, as_of=NOW, schemas=ALL), body)
    here = split(answer.bundle(body), as_of=NOW)
    records = [record for some in kept for record in pickle.loads(some.data.records)]
    assert all(some.about == about and some.schema == TOGETHER for some in kept)
    assert (about, facts, tuple(records)) == (here.about, here.facts, here.records)

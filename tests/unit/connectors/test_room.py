"""Room for large answers: who waits, who does not, and that it is given back however a request ends."""

import asyncio
from concurrent.futures import Future

import pytest

from gateway.connectors.room import LARGE_BYTES, Room

pytestmark = pytest.mark.anyio
SIZE = LARGE_BYTES * 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def room() -> Room:
    return Room(SIZE * 3)  # a body counts three times: one of these, and no other


async def reads(room: Room, size: int, gone: asyncio.Event, let_in: asyncio.Event) -> None:
    async with room.holding():
        await room.take(size)
        let_in.set()
        await gone.wait()


async def test_a_second_large_answer_waits_for_the_end_of_the_first_and_a_small_one_for_nobody(room: Room) -> None:
    gone, first, second, small = (asyncio.Event() for _ in range(4))
    tasks = [asyncio.create_task(reads(room, SIZE, gone, let_in)) for let_in in (first, second)]
    tasks.append(asyncio.create_task(reads(room, LARGE_BYTES - 1, gone, small)))
    await asyncio.sleep(0.01)
    assert (first.is_set(), second.is_set(), small.is_set()) == (True, False, True)
    gone.set()
    await asyncio.gather(*tasks)
    assert second.is_set()
    assert room.free == SIZE * 3


async def test_a_read_that_is_cancelled_gives_its_bytes_back_also_while_it_waits(room: Room) -> None:
    gone, first, second = (asyncio.Event() for _ in range(3))
    holds = asyncio.create_task(reads(room, SIZE, gone, first))
    waits = asyncio.create_task(reads(room, SIZE, gone, second))
    await asyncio.sleep(0.01)
    assert room.free == 0
    for task in (waits, holds):
        task.cancel()
    await asyncio.gather(waits, holds, return_exceptions=True)
    assert room.free == SIZE * 3


async def test_a_request_that_was_let_in_is_not_made_to_wait_for_itself(room: Room) -> None:
    async with room.holding():
        await asyncio.wait_for(asyncio.gather(room.take(SIZE), room.take(SIZE)), 1)
        assert room.free < 0
    assert room.free == SIZE * 3


async def test_bytes_that_another_process_still_has_are_there_again_only_when_it_has_ended(room: Room) -> None:
    work: Future[None] = Future()
    async with room.holding() as held:
        await room.take(SIZE)
        held.stays_until(work)
    assert room.free == 0
    work.set_result(None)
    await asyncio.sleep(0.01)
    assert room.free == SIZE * 3


async def test_outside_a_request_nobody_waits(room: Room) -> None:
    for _ in range(3):
        await asyncio.wait_for(room.take(SIZE), 1)
    assert room.held() is None

"""How many bytes of large answers may be here at once: one budget for everybody, given back when a request ends.

What was downloaded is held as bytes, as records and as resources, so it counts three times. Who has been let in once is not
made to wait again within the same request: two that wait for each other would both wait for ever.
See docs/architecture.md, "Large bodies, apart".
"""

import asyncio
import contextlib
import ctypes
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final

from gateway.errors import OUR_FAULT

IN_FLIGHT_BYTES: Final = 64_000_000
LARGE_BYTES: Final = 256 * 1024  # what is smaller needs no leave
TIMES: Final = 3
_M_MMAP_THRESHOLD: Final = -3  # malloc.h of glibc
_LARGE_BLOCK: Final = 1_000_000


class Held:
    """What one request holds: `async with` it around all that may hold a large answer."""

    __slots__ = ("_before", "_room", "_work", "taken")

    def __init__(self, room: "Room") -> None:
        self._room = room
        self.taken = 0
        self._before: Token[Held | None] | None = None
        self._work: Future[Any] | None = None

    async def __aenter__(self) -> "Held":
        self._before = _HELD.set(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            _HELD.reset(self._before)
        self.give_back()

    def stays_until(self, work: Future[Any]) -> None:
        """What is given back before this work has ended is there again only then."""
        self._work = work

    def give_back(self) -> None:
        """All of it."""
        size, self.taken, work, room = self.taken, 0, self._work, self._room
        if not size:
            return
        if work is None or work.done():
            room.give(size)
        else:
            loop = asyncio.get_running_loop()
            work.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(room.give, size))


_HELD: ContextVar[Held | None] = ContextVar("held", default=None)


class Room:
    """One for each process."""

    def __init__(self, most: int = IN_FLIGHT_BYTES) -> None:
        self._most, self.free = most, most
        self._announced: Callable[[], object] = tuple
        self._waiting: deque[asyncio.Future[None]] = deque()

    def when_large(self, announced: Callable[[], object]) -> None:
        """What is called as soon as a large answer is on its way."""
        self._announced = announced

    def holding(self) -> Held:
        """For one request."""
        return Held(self)

    def held(self) -> Held | None:
        """What this request holds, where it has been let in with a large answer already."""
        held = _HELD.get()
        return held if held is not None and held.taken else None

    async def take(self, size_bytes: int) -> None:
        """Waits until there is room for a large answer to this request. Outside a request, or for a small one: not at all."""
        held = _HELD.get()
        if held is not None and size_bytes >= LARGE_BYTES:
            self._announced()
            await self.let_in(held, size_bytes)

    async def let_in(self, held: Held, size_bytes: int) -> None:
        """Waits until there is room, and notes who holds it."""
        size = min(size_bytes * TIMES, self._most)
        while not held.taken and self.free < size:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            OUR_FAULT.set(True)  # whoever gives up here has its answer, and no room for it
            try:
                await turn
                OUR_FAULT.set(False)
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
        held.taken += size
        self.free -= size
        self._wake()  # another answer to the same request may go on now

    def give(self, size: int) -> None:
        """The bytes of a request that has ended."""
        self.free += size
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)


def large_blocks_go_back() -> None:
    """Large blocks go back to the system as soon as they are free. Else glibc keeps what was freed for the next, in each thread.

    Source: mallopt(3), M_MMAP_THRESHOLD: setting it ends its growing. Another C library has no such call, and needs none.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)

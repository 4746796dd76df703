"""How many bytes of large answers may be here at once: one budget for everybody, given back when a request ends.

What was downloaded is held as bytes, as records and as resources, so it counts three times. Who has been let in once is not
made to wait again within the same request: two that wait for each other would both wait for ever.
Source: DESIGN, "The parts": adapters.
"""

import asyncio
from collections import deque
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final

IN_FLIGHT_BYTES: Final = 64_000_000
LARGE_BYTES: Final = 256 * 1024  # what is smaller needs no leave
TIMES: Final = 3


class Held:
    """What one request holds: `async with` it around all that may hold a large answer."""

    __slots__ = ("_before", "_room", "taken")

    def __init__(self, room: "Room") -> None:
        self._room = room
        self.taken = 0
        self._before: Token[Held | None] | None = None

    async def __aenter__(self) -> "Held":
        self._before = _HELD.set(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before is not None:
            _HELD.reset(self._before)
        self.give_back()

    def give_back(self) -> None:
        """All of it."""
        if self.taken:
            self._room.give(self.taken)
            self.taken = 0


_HELD: ContextVar[Held | None] = ContextVar("held", default=None)


class Room:
    """One for each process."""

    def __init__(self, most: int = IN_FLIGHT_BYTES) -> None:
        self._most, self.free = most, most
        self._waiting: deque[asyncio.Future[None]] = deque()

    def holding(self) -> Held:
        """For one request."""
        return Held(self)

    def is_held(self) -> bool:
        """Whether a request has been let in with a large answer already."""
        held = _HELD.get()
        return held is not None and bool(held.taken)

    async def take(self, size_bytes: int) -> None:
        """Waits until there is room for a large answer to this request. Outside a request, or for a small one: not at all."""
        held = _HELD.get()
        if held is not None and size_bytes >= LARGE_BYTES:
            await self.let_in(held, size_bytes)

    async def let_in(self, held: Held, size_bytes: int) -> None:
        """Waits until there is room, and notes who holds it."""
        size = min(size_bytes * TIMES, self._most)
        while not held.taken and self.free < size:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
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

"""Large bodies are read, and their records mapped, in a process of their own, which gives way to every other.

Once it is ready it runs at a lower priority, so that a small read keeps its time whatever the other does. What was made comes
back in pieces, and between two pieces everybody else has a turn. How many bytes may be here at once is the room's to say.
See docs/architecture.md, "Large bodies, apart".
"""

import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Final

from gateway.adapter import SourceUnavailable
from gateway.connectors.room import Held, Room, large_blocks_go_back

_GIVES_WAY: Final = 10  # about a tenth of a core that others want as well; at 19 it would get next to nothing
_PIECE: Final = 100  # records: about a millisecond of work
_PIECES: Final = 40
_TASKS: Final = 640  # bodies that one process reads before another takes its place, so that no memory stays taken


class Apart:
    """`gateway.adapter.ReadApart` over one process, started ahead (`start`), else with the first large body."""

    def __init__(self, room: Room, ready: Callable[[], object] = tuple) -> None:
        """`ready` is what each new process does first, at full priority. It can be pickled."""
        self._room = room
        self._ready = ready
        self._pool: ProcessPoolExecutor | None = None

    async def __call__(self, read: Callable[[bytes], Iterable[Any]], body: bytes) -> AsyncIterator[Any]:
        """What `read` makes of the body, one at a time. `read` and what it makes can be pickled.

        Raises whatever `read` raises; `SourceUnavailable` when the process was lost.
        """
        request, alone = self._room.held(), self._room.holding()  # `alone`: for this body, where no request holds it
        try:
            if request is None:
                await self._room.let_in(alone, len(body))
            pieces = await self._read(read, body, request or alone)
            pieces.reverse()
            while pieces:
                for item in pickle.loads(pieces.pop()):  # noqa: S301 - made by our own process from our own classes
                    yield item
                await asyncio.sleep(0)
        finally:
            alone.give_back()

    def start(self) -> None:
        """The process, in the background: the first large body then need not wait for it."""
        if self._pool is None:
            self._process().submit(_nothing)

    async def close(self) -> None:
        """Let the process go."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def _read(self, read: Callable[[bytes], Iterable[Any]], body: bytes, held: Held) -> list[bytes]:
        try:
            work = self._process().submit(_in_pieces, read, body)
            held.stays_until(work)  # whoever gives up waiting does not end it, and it has the bytes
            return await asyncio.wrap_future(work)
        except BrokenProcessPool:
            await self.close()
            raise SourceUnavailable("the process that reads large bodies was lost") from None

    def _process(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1,
                mp_context=get_context("spawn"),
                max_tasks_per_child=_TASKS,
                initializer=_begin,
                initargs=(self._ready, _give_way),
            )
        return self._pool


def _in_pieces(read: Callable[[bytes], Iterable[Any]], body: bytes) -> list[bytes]:
    """In the other process: what `read` makes, pickled in pieces."""
    made = list(read(body))
    size = min(_PIECE, max(1, len(made) // _PIECES))  # of few, each may be large
    return [pickle.dumps(made[start : start + size], pickle.HIGHEST_PROTOCOL) for start in range(0, len(made), size)]


def _begin(ready: Callable[[], object], give_way: Callable[[], None]) -> None:
    """In the other process, before all else. It gives way only once it is ready: a body may be waiting for it."""
    large_blocks_go_back()
    ready()
    give_way()


def _give_way() -> None:
    os.nice(_GIVES_WAY)


def _nothing() -> None:
    """In the other process: no more than that it is there."""

"""Large bodies are read in a process of their own: what would stop everybody else for a quarter of a second stops nobody.

The bytes in flight share one budget, so that several full records at once wait for each other instead of for memory. What was
read comes back in pieces, and between two pieces everybody else has a turn. Source: DESIGN, "The parts": adapters.
"""

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Final

from gateway.adapter import SourceUnavailable

LARGE_BYTES: Final = 256 * 1024  # smaller ones are read where they are: the way there and back would cost more
IN_FLIGHT_BYTES: Final = 64_000_000
_PIECE: Final = 100  # records: about a millisecond of work
_TASKS: Final = 64  # bodies that one process reads before another takes its place, so that no memory stays taken


class Apart:
    """`gateway.adapter.ReadApart` over one process, started with the first large body."""

    def __init__(self, *, in_flight_bytes: int = IN_FLIGHT_BYTES) -> None:
        self._most, self._free = in_flight_bytes, in_flight_bytes
        self._room = asyncio.Condition()
        self._pool: ProcessPoolExecutor | None = None

    async def __call__(self, read: Callable[[bytes], Iterable[Any]], body: bytes) -> AsyncIterator[Any]:
        """What `read` makes of the body, one at a time. `read` and what it makes can be pickled.

        Raises whatever `read` raises; `SourceUnavailable` when the process was lost.
        """
        size = min(len(body), self._most)
        async with self._room:
            await self._room.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            for piece in await self._read(read, body):
                for item in pickle.loads(piece):  # noqa: S301 - made by our own process from our own classes
                    yield item
                await asyncio.sleep(0)
        finally:
            async with self._room:
                self._free += size
                self._room.notify_all()

    async def close(self) -> None:
        """Let the process go."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def _read(self, read: Callable[[bytes], Iterable[Any]], body: bytes) -> list[bytes]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=_TASKS)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _in_pieces, read, body)
        except BrokenProcessPool:
            await self.close()
            raise SourceUnavailable("the process that reads large bodies was lost") from None


def _in_pieces(read: Callable[[bytes], Iterable[Any]], body: bytes) -> list[bytes]:
    """In the other process: what `read` makes, pickled in pieces."""
    made = list(read(body))
    return [pickle.dumps(made[start : start + _PIECE], pickle.HIGHEST_PROTOCOL) for start in range(0, len(made), _PIECE)]

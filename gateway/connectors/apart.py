"""Large bodies are read, and their records mapped, in a process of their own, which gives way to every other.

It is started when the first large body is announced, or ahead of it (`start`), and runs at a lower priority once it is ready,
so that a small read keeps its time whatever the other does. A body for which nobody waits any more ends with the process, and
another takes its place. What was made comes back in pieces, and between two pieces everybody
else has a turn. How many bytes may be here at once is the room's to say. See docs/architecture.md, "Large bodies, apart".
"""

import asyncio
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from gateway.adapter import SourceError, SourceUnavailable
from gateway.connectors.apart_there import receive, rests, send
from gateway.connectors.room import Held, Room
from gateway.errors import OUR_FAULT

_GIVES_WAY: Final = 10  # about a tenth of a core that others want as well; at 19 it would get next to nothing
_BODIES: Final = 640  # that one process reads before another takes its place, so that no memory stays taken
_AUTOGROUP: Final = Path("/proc/self/autogroup")
_STILL_S: Final = 1.0  # that a body is read on when whoever asked has given up: nearly done is sooner done than another is ready
_PIPE_BYTES: Final = 1_000_000
_RUN: Final = "from gateway.connectors.apart_there import main; main()"


class _Turn:
    """Of one body."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False


class Apart:
    """`gateway.adapter.ReadApart` over one process."""

    def __init__(self, room: Room, ready: Callable[[], object] = tuple) -> None:
        """`ready` is what each new process does first, at full priority. It can be pickled."""
        self._room = room
        self._ready = ready
        self._line: ThreadPoolExecutor | None = None  # one thread: one body at a time
        self._process: subprocess.Popen[bytes] | None = None
        self._bodies = 0
        self._turn: _Turn | None = None  # whose body is there
        self._turns = threading.Lock()
        room.when_large(self.start)

    async def __call__(self, read: Callable[[bytes], Iterable[Any]], body: bytes) -> AsyncIterator[Any]:
        """What `read` makes of the body, one at a time. `read` and what it makes can be pickled.

        Raises the `SourceError` that `read` raises, and `SourceContractBroken` for whatever else it trips over;
        `SourceUnavailable` when the process was lost.
        """
        request, alone = self._room.held(), self._room.holding()  # `alone`: for this body, where no request holds it
        try:
            if request is None:
                await self._room.let_in(alone, len(body))
            pieces = await self._read(read, body, request or alone)
            pieces.reverse()
            while pieces:
                made = pickle.loads(pieces.pop())  # noqa: S301 - made by our own process from our own classes
                if isinstance(made, SourceError):
                    raise made
                for item in made:
                    yield item
                await asyncio.sleep(0)
        finally:
            alone.give_back()

    def start(self) -> None:
        """The process, in the background: the first large body then need not wait for it."""
        if self._line is None:
            self._thread().submit(self._started)

    async def close(self) -> None:
        """Let the process go, whatever it does just now."""
        line, self._line = self._line, None
        if line is not None:
            line.shutdown(wait=False, cancel_futures=True)
            if self._process is not None:
                self._process.kill()  # whoever waits for it hears of its end
            await asyncio.to_thread(line.shutdown)
            self._let_go()

    async def _read(self, read: Callable[[bytes], Iterable[Any]], body: bytes, held: Held) -> list[bytes]:
        turn = _Turn()
        work = self._thread().submit(self._asked, turn, pickle.dumps(read), body)
        held.stays_until(work)  # it has the bytes until it ends
        OUR_FAULT.set(True)
        try:
            pieces = await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(_STILL_S, self._end, turn)
            raise
        OUR_FAULT.set(False)
        return pieces

    def _end(self, turn: _Turn) -> None:
        """One body that nobody waits for must not hold up those that somebody does."""
        with self._turns:
            turn.over = True
            if self._turn is turn and self._process is not None:
                self._process.kill()

    def _thread(self) -> ThreadPoolExecutor:
        if self._line is None:
            self._line = ThreadPoolExecutor(1, "apart")
        return self._line

    def _asked(self, turn: _Turn, order: bytes, body: bytes) -> list[bytes]:
        """In the thread: one body there, and what was made of it back. Raises `SourceUnavailable`."""
        try:
            process = self._started()
            with self._turns:
                if turn.over:
                    raise SourceUnavailable("nobody waits for this body any more")
                self._turn = turn
            try:
                pieces = _answered(process, order, body)
            finally:
                with self._turns:
                    self._turn = None
        except (EOFError, OSError):
            self._replace()
            raise SourceUnavailable("the process that reads large bodies was lost") from None
        self._bodies += 1
        if self._bodies >= _BODIES:
            self._replace()
        return pieces

    def _replace(self) -> None:
        """In the thread: another gets ready before anybody needs it."""
        self._let_go()
        if self._line is not None:
            with contextlib.suppress(OSError):  # then with the next body
                self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        """In the thread: the process, which gets ready by itself."""
        if self._process is not None and self._process.poll() is not None:  # it died while it had nothing to do
            self._let_go()
        if self._process is None:
            places = os.pathsep.join(place for place in sys.path if place)
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-P", "-c", _RUN, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": places},
                start_new_session=True,  # see `_give_way`
                pipesize=_PIPE_BYTES,
            )
            assert self._process.stdin is not None
            send(self._process.stdin, pickle.dumps((self._ready, _give_way)))
        return self._process

    def _let_go(self) -> None:
        process, self._process, self._bodies = self._process, None, 0
        if process is not None:
            process.kill()
            for line in (process.stdin, process.stdout):
                if line is not None:
                    with contextlib.suppress(OSError):
                        line.close()
            process.wait()


def _answered(process: subprocess.Popen[bytes], order: bytes, body: bytes) -> list[bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    send(process.stdin, order, body)
    return [receive(process.stdout) for _ in range(int.from_bytes(receive(process.stdout)))]


def _give_way() -> None:
    """To every process, also of other sessions: where Linux groups them, `nice` alone acts within one session only.

    Source: sched(7), "The autogroup feature".
    """
    os.nice(_GIVES_WAY)
    with contextlib.suppress(OSError):
        _AUTOGROUP.write_text(str(_GIVES_WAY), "utf-8")
    rests()

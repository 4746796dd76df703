"""The other process of `gateway.connectors.apart`: it reads one body after another until nobody sends any more.

It begins with nothing of the gateway: what it is sent to do names the modules that it needs. It ends with the process that
started it, whatever that one died of: on Linux at once, elsewhere when it looks for the next body.
"""

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, Any, Final

from gateway.adapter import SourceContractBroken, SourceError
from gateway.connectors.room import large_blocks_go_back

UNREADABLE: Final = "the process that reads large bodies could not read this one"
_UNFORESEEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_PIECE: Final = 100  # records: about a millisecond of work
_PIECES: Final = 40
_PR_SET_PDEATHSIG: Final = 1  # sys/prctl.h
_LENGTH: Final = 8  # bytes, before each frame
_EVERY_S: Final = 0.0005
_REST_S: Final = 0.0001


def send(line: IO[bytes], *frames: bytes) -> None:
    """Each with its length before it."""
    for frame in frames:
        line.write(len(frame).to_bytes(_LENGTH))
        line.write(frame)
    line.flush()


def receive(line: IO[bytes]) -> bytes:
    """The next frame. Raises `EOFError` when nothing more comes."""
    length = line.read(_LENGTH)
    frame = line.read(int.from_bytes(length))
    if len(length) < _LENGTH or len(frame) < int.from_bytes(length):
        raise EOFError
    return frame


def rests() -> None:
    """From now on it lets go of its core a thousand times a second while it reads.

    Whoever wakes up meanwhile, the log's commit before all, else waits for the end of its turn, which is several milliseconds
    at whatever priority.
    """
    signal.signal(signal.SIGALRM, lambda _number, _frame: time.sleep(_REST_S))


def _ends_with(parent: int) -> None:
    """From now on the kernel kills this process when its parent ends, also while it is busy or stopped.

    Strictly, when the thread ends that started it: that one lives until the gateway lets this process go. Another system than
    Linux has no such call. Source: prctl(2), PR_SET_PDEATHSIG.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:  # it ended before we had asked
        sys.exit()


def main() -> None:
    """Get ready at full priority, give way, then read what comes."""
    _ends_with(int(sys.argv[1]))
    orders, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not speak to the gateway
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    large_blocks_go_back()
    ready, give_way = pickle.loads(receive(orders))  # noqa: S301 - sent by the process that started us
    ready()
    gc.collect()
    gc.freeze()
    gc.disable()  # of a large body there are a million parts, and looking through them took a quarter of the time
    give_way()
    try:
        while True:
            pieces = _read(receive(orders), orders)
            send(answers, len(pieces).to_bytes(_LENGTH), *pieces)
            del pieces
            gc.collect()
    except (EOFError, BrokenPipeError):
        return


def _read(order: bytes, orders: IO[bytes]) -> list[bytes]:
    """What the order makes of the body after it, pickled in pieces; what is wrong with it, in the first."""
    body = receive(orders)
    try:
        read: Callable[[bytes], Iterable[Any]] = pickle.loads(order)  # noqa: S301 - sent by the process that started us
        signal.setitimer(signal.ITIMER_REAL, _EVERY_S, _EVERY_S)
        made = list(read(body))
    except SourceError as error:
        return [pickle.dumps(error)]
    except _UNFORESEEN:  # nothing of what it tripped over goes on
        return [pickle.dumps(SourceContractBroken(UNREADABLE))]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    size = min(_PIECE, max(1, len(made) // _PIECES))  # of few, each may be large
    slices = (made[start : start + size] for start in range(0, len(made), size))
    return [pickle.dumps(some, pickle.HIGHEST_PROTOCOL) for some in slices]

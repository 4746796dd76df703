"""What reads of 20 MB records cost everybody else: the p95 of 64 KB reads, and the memory of all processes of the gateway.

The whole place runs. One caller reads 64 KB, one answer after another; four callers, in a process of their own, read 20 MB all
the time, or wait. Turns with them and without them follow each other, so that what else the machine does meanwhile falls on both
alike; a turn without begins only when the last of theirs has ended. The simulator makes each body once and replays it.
"""

import contextlib
import io
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from queue import Empty
from typing import Any

import httpx

from sandbox import demo
from sandbox.families import BY_KEY
from tests.perf.load import cpu_s, listener

TURNS = 4  # with them; one more without
ALONE_READS = 120  # in a turn
BESIDE_S = 10.0  # a turn with them: several of their reads end in it
BIG_CALLERS = 4
SETTLE_S = 1.0  # until all four have begun


@dataclass
class _Seen:
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    big: list[tuple[float, str]] = field(default_factory=list)
    peak_mb: float = 0.0
    small_kb: float = 0.0


class _Patient(demo.Place):
    """A place that waits for a full record as long as a setting may say: four at once are read one after another."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "GATEWAY_DEADLINE_S": "30", "GATEWAY_SOURCES__GP__BUDGET_S": "30"}


def beside() -> dict[str, float]:
    """p95 of 64 KB reads alone and beside four readers of 20 MB; memory of the serving processes at its worst."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        place = _Patient(Path(folder) / "place", random.randrange(20_000, 30_000))
        with demo.running(place):
            _order(place, "64-kb", "amara")
            _order(place, "20-mb", "ben")
            return _figures(*_measured(place))


def _measured(place: demo.Place) -> tuple[_Seen, float]:
    seen, context = _Seen(), get_context("spawn")
    headers = {"authorization": f"Bearer {demo.token(place, demo.GP)}", "accept": "application/fhir+json"}
    go, end, busy, done = context.Event(), context.Event(), context.Value("i", 0), context.Queue()
    big = context.Process(target=_callers, args=(place.base, headers, go, end, busy, done), daemon=True)
    big.start()
    server = listener(place.port)
    watched = threading.Event()
    watching = threading.Thread(target=_watch, args=(server, watched, seen), daemon=True)
    watching.start()
    with httpx.Client(base_url=place.base, headers=headers, timeout=60) as http:
        read(http, "ben")  # the process for large bodies is there
        for _ in range(ALONE_READS):
            read(http, "amara")
        pids = [server, listener(place.sandbox_port), os.getpid(), *([big.pid] if big.pid else [])]
        started, machine, ours = time.monotonic(), _machine_s(), _all_s(pids)
        for _ in range(TURNS):
            _alone(http, seen)
            go.set()
            time.sleep(SETTLE_S)
            until = time.monotonic() + BESIDE_S
            while time.monotonic() < until:
                seen.beside.append(read(http, "amara")[0])
            go.clear()
            while busy.value:
                time.sleep(0.1)
        others = (_machine_s() - machine - (_all_s(pids) - ours)) / (time.monotonic() - started)
        _alone(http, seen)
        seen.small_kb = read(http, "amara")[2]
    end.set()
    go.set()
    _ended(big, done, seen)
    watched.set()
    watching.join()
    return seen, others


def _figures(seen: _Seen, others: float) -> dict[str, float]:
    states = [state for _, state in seen.big]
    return {
        "small_kb": seen.small_kb,
        "small_alone": len(seen.alone),
        "small_beside": len(seen.beside),
        "p50_alone_ms": statistics.median(seen.alone),
        "p50_beside_ms": statistics.median(seen.beside),
        "p95_alone_ms": _p95(seen.alone),
        "p95_beside_ms": _p95(seen.beside),
        "growth": _p95(seen.beside) / _p95(seen.alone) - 1,
        "big_reads": len(states),
        "big_answered": states.count("answered"),
        "big_median_ms": statistics.median(taken for taken, _ in seen.big),
        "memory_mb": seen.peak_mb,
        "cores_of_others": others,
    }


def read(http: httpx.Client, key: str) -> tuple[float, str, float]:
    """One read of a child's observations -> milliseconds, what the GP's system did, KB of the answer."""
    form = {"patient:identifier": f"https://fhir.nhs.uk/Id/nhs-number|{BY_KEY[key].nhs_number}"}
    started = time.perf_counter()
    came = http.post("/fhir/Observation/_search", data=form)
    taken = (time.perf_counter() - started) * 1000
    came.raise_for_status()
    state = came.headers["gateway-sources"].partition("gp=")[2].partition(";")[0].partition(",")[0]
    return taken, state, len(came.content) / 1024


def _alone(http: httpx.Client, seen: _Seen) -> None:
    seen.alone += [read(http, "amara")[0] for _ in range(ALONE_READS)]


def _callers(base: str, headers: dict[str, str], go: Event, end: Event, busy: Any, done: Any) -> None:
    """In a process of their own: four who read the large record whenever they may."""

    def one() -> None:
        with httpx.Client(base_url=base, headers=headers, timeout=60) as http:
            while go.wait() and not end.is_set():
                with busy.get_lock():
                    busy.value += 1
                try:
                    done.put(read(http, "ben")[:2])
                except httpx.HTTPError:
                    done.put((0.0, "error"))
                with busy.get_lock():
                    busy.value -= 1

    callers = [threading.Thread(target=one) for _ in range(BIG_CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def _ended(big: BaseProcess, done: Any, seen: _Seen) -> None:
    with contextlib.suppress(Empty):
        while True:
            seen.big.append(done.get(timeout=1))
    big.join(30)


def _watch(pid: int, stop: threading.Event, seen: _Seen) -> None:
    while not stop.is_set():
        seen.peak_mb = max(seen.peak_mb, sum(_rss_mb(one) for one in (pid, *_children(pid))))
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    """Those that any of its threads started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def _rss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def _machine_s() -> float:
    """CPU that anybody had."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return float(sum(ticks[:3]) + sum(ticks[5:8])) / os.sysconf("SC_CLK_TCK")


def _all_s(pids: list[int]) -> float:
    """CPU that these had, and what they started."""
    return sum(_cpu_s(one) for one in {other for pid in pids for other in (pid, *_children(pid))})


def _cpu_s(pid: int) -> float:
    try:
        return cpu_s(pid)
    except OSError:
        return 0.0


def _order(place: demo.Place, fault: str, key: str) -> None:
    order = {"simulator": "gp", "nhs_number": BY_KEY[key].nhs_number, "fault": fault, "seconds": 3600}
    httpx.post(f"http://127.0.0.1:{place.sandbox_port}/control/faults", json=order, timeout=5).raise_for_status()


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


@contextmanager
def _quiet() -> Iterator[None]:
    """The place says what it starts; a benchmark says figures only."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def main() -> None:
    print(", ".join(f"{name} {value:.2f}" for name, value in beside().items()))


if __name__ == "__main__":
    main()

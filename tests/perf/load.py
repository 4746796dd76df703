"""One run of wrk against one server -> its figure: latency as wrk saw it, CPU as the kernel counted it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.perf.place import HERE

CORES = sorted(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Figure:
    """One run of wrk against one server."""

    name: str
    concurrency: int
    delay_ms: float
    requests: int
    errors: int
    cpu_ms: float  # CPU of the server for each request
    p50_ms: float
    p95_ms: float
    p99_ms: float
    rate: float
    body_kb: float
    rss_mb: float


def pinned(core: int) -> tuple[str, ...]:
    return ("taskset", "-c", str(CORES[core % len(CORES)]))


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def wrk(base: str, folder: Path, *, concurrency: int, seconds: float) -> list[str]:
    """The command that asks for the folder's paths with the folder's tokens, a new one every ten reads."""
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{round(seconds)}s", "--timeout", "30s", "-s", str(HERE / "load.lua")]
    return [*pinned(1), *command, base, "--", str(folder / "paths"), str(folder / "tokens")]


def load(name: str, pid: int, base: str, folder: Path, *, concurrency: int, seconds: float, delay_ms: float = 0) -> Figure:
    """Run wrk for so long -> its figure."""
    before = cpu_s(pid)
    command = wrk(base, folder, concurrency=concurrency, seconds=seconds)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent = cpu_s(pid) - before
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    requests, micros, errors, p50, p95, p99, size = (float(word) for word in line.split()[1:])
    count = max(requests, 1)
    return Figure(
        name,
        concurrency,
        delay_ms,
        int(requests),
        int(errors),
        spent / count * 1000,
        p50,
        p95,
        p99,
        count / (micros / 1e6),
        size / count / 1024,
        rss_mb(pid),
    )


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def by_median(figures: list[Figure]) -> Figure:
    """The figure in the middle by CPU."""
    return sorted(figures, key=lambda figure: figure.cpu_ms)[len(figures) // 2]


def listener(port: int) -> int:
    """The process of ours that listens on a port."""
    sockets = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if listens(line, port)}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link).removeprefix("socket:[").removesuffix("]") in sockets:
                return int(link.parts[2])
        except OSError:
            continue
    raise SystemExit(f"nothing listens on {port}")


def listens(line: str, port: int) -> bool:
    cells = line.split()
    return cells[3] == "0A" and int(cells[1].split(":")[1], 16) == port

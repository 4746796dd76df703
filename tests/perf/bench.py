"""`make bench`: the gateway beside floor, lean and naive, on this machine, in this run. Ratios are the result.

The server under test is pinned to one core; wrk and the byte-replaying simulators share the other. Needs wrk
(Debian package wrk). Figures go to standard output, docs/performance.json and docs/performance.svg (`--record`).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from tests.perf import baselines, people
from tests.perf.place import HERE, Place

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


def load(name: str, pid: int, base: str, folder: Path, *, concurrency: int, seconds: float, delay_ms: float = 0) -> Figure:
    """Run wrk for so long -> its figure."""
    before = cpu_s(pid)
    command = [
        *pinned(1),
        "wrk",
        "-t1",
        f"-c{concurrency}",
        f"-d{round(seconds)}s",
        "--timeout",
        "30s",
        "-s",
        str(HERE / "load.lua"),
        base,
    ]
    done = subprocess.run(
        [*command, "--", str(folder / "paths"), str(folder / "tokens")], capture_output=True, text=True, check=True
    )
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


class Bench:
    """The whole run: simulators once for each delay, servers one after another."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.folder, self.full = folder, full
        self.people = people.numbers(50)
        self.figures: list[Figure] = []
        self.running: list[subprocess.Popen[bytes]] = []

    def simulators(self, port: int, delay_ms: float) -> str:
        process = subprocess.Popen(
            [
                *pinned(1),
                sys.executable,
                "-m",
                "tests.perf.replay",
                "--port",
                str(port),
                "--people",
                "50",
                "--delay-ms",
                str(delay_ms),
            ],
            stdout=subprocess.PIPE,
        )
        self.running.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return f"http://127.0.0.1:{port}"

    def baseline(self, kind: str, sources: str, port: int) -> tuple[int, str, Path]:
        folder = self.folder / kind
        folder.mkdir(exist_ok=True)
        (folder / "paths").write_text("\n".join(f"/read/p{number}" for number in self.people))
        (folder / "tokens").write_text("\n".join(baselines.token(n) for n in range(400)))
        command = [
            sys.executable,
            "-m",
            "tests.perf.baselines",
            kind,
            "--port",
            str(port),
            "--sources",
            sources,
            "--var",
            str(folder),
        ]
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen([*pinned(0), *command], stdout=out, stderr=out)
        self.running.append(process)
        token = baselines.token(0)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                answer = httpx.get(
                    f"http://127.0.0.1:{port}/read/p{self.people[0]}", headers={"authorization": f"Bearer {token}"}, timeout=20
                )
                if answer.status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        else:
            raise SystemExit(f"{kind} did not start: {log.read_text()[-2000:]}")
        return process.pid, f"http://127.0.0.1:{port}", folder

    def gateway(self, sources: str, port: int) -> tuple[int, str, Path]:
        folder = self.folder / f"gateway-{port}"
        place = Place(folder, port, sources)
        place.set_up(self.people)
        process = place.serve(pinned(0))
        self.running.append(process)
        tokens = place.tokens(400)
        persons = place.persons(self.people, tokens[0])
        (folder / "paths").write_text(
            "\n".join(f"/fhir/Patient/{person}/$everything?_type=Immunization,Observation" for person in persons)
        )
        (folder / "tokens").write_text("\n".join(tokens))
        return process.pid, place.base, folder

    def run(self) -> None:
        sources = self.simulators(9310, 0)
        servers = {
            "gateway": self.gateway(sources, 9320),
            "lean": self.baseline("lean", sources, 9330),
            "floor": self.baseline("floor", sources, 9340),
            "naive": self.baseline("naive", sources, 9350),
        }
        rounds, seconds = (5, 6.0) if self.full else (3, 4.0)
        for name, (pid, base, folder) in servers.items():
            load(name, pid, base, folder, concurrency=16, seconds=2)  # warm
        for number in range(rounds):
            for name, (pid, base, folder) in servers.items():
                print(f"round {number + 1} of {rounds}: {name} ...", flush=True)
                self.figures.append(
                    load(name, pid, base, folder, concurrency=16, seconds=seconds if name != "naive" else seconds + 4)
                )
        for concurrency in (1, 64):
            for name, (pid, base, folder) in servers.items():
                print(f"concurrency {concurrency}: {name} ...", flush=True)
                self.figures.append(load(name, pid, base, folder, concurrency=concurrency, seconds=seconds))
        delayed = self.simulators(9311, 100)
        pid, base, folder = self.gateway(delayed, 9324)
        load("gateway", pid, base, folder, concurrency=16, seconds=2)
        for concurrency in (1, 16, 64):
            print(f"sources at 100 ms, concurrency {concurrency}: gateway ...", flush=True)
            self.figures.append(load("gateway", pid, base, folder, concurrency=concurrency, seconds=seconds, delay_ms=100))

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(20)


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def summary(figures: list[Figure]) -> dict[str, float]:
    """Medians at concurrency 16 with sources at 0 ms -> the ratios DESIGN speaks of."""
    at = {
        name: [f for f in figures if f.name == name and f.concurrency == 16 and f.delay_ms == 0]
        for name in ("gateway", "lean", "floor", "naive")
    }
    cpu = {name: median([f.cpu_ms for f in runs]) for name, runs in at.items()}
    slow = [f for f in figures if f.delay_ms and f.concurrency == 1]
    return {
        **{f"cpu_ms_{name}": round(value, 3) for name, value in cpu.items()},
        "naive_over_gateway": round(cpu["naive"] / cpu["gateway"], 1),
        "gateway_over_lean": round(cpu["gateway"] / cpu["lean"], 2),
        "gateway_over_floor": round(cpu["gateway"] / cpu["floor"], 2),
        "p99_over_p50": round(median([f.p99_ms / f.p50_ms for f in at["gateway"]]), 2),
        "added_to_100ms_p50": round(slow[0].p50_ms - 100, 1) if slow else 0.0,
        "added_to_100ms_p95": round(slow[0].p95_ms - 120, 1) if slow else 0.0,
        "errors": sum(f.errors for f in figures),
    }


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--full", action="store_true")
    reader.add_argument("--record", action="store_true", help="write docs/performance.json and docs/performance.svg")
    asked = reader.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing: apt-get install wrk", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), full=asked.full)
        try:
            bench.run()
        finally:
            bench.stop()
    heads = ("server", "c", "delay", "req/s", "CPU ms", "p50", "p95", "p99", "KB", "RSS", "errors")
    print("\n" + " ".join(f"{head:>8}" for head in heads))
    for f in bench.figures:
        cells = (f.rate, f.cpu_ms, f.p50_ms, f.p95_ms, f.p99_ms, f.body_kb, f.rss_mb)
        numbers = " ".join(f"{cell:8.1f}" for cell in cells)
        print(f"{f.name:>8} {f.concurrency:8} {f.delay_ms:8.0f} {numbers} {f.errors:8}")
    found = summary(bench.figures)
    print("\n" + "\n".join(f"{name:22} {value}" for name, value in found.items()))
    if asked.record:
        from tests.perf.plot import draw

        docs = Path("docs")
        kept = {"summary": found, "figures": [asdict(figure) for figure in bench.figures]}
        (docs / "performance.json").write_text(json.dumps(kept, indent=1) + "\n")
        draw(bench.figures, docs / "performance.svg")
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

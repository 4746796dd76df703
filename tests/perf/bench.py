"""`make bench`: the gateway beside floor, lean and naive, on this machine, in this run. Ratios are the result.

The server under test is pinned to one core; wrk and the byte-replaying simulators share the other. Needs wrk
(Debian package wrk). Figures go to standard output, docs/performance.json and docs/performance.svg (`--record`).
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from sandbox import demo
from tests.perf import baselines, gp_bench, identity_bench, intake_bench, people
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
        self.places: dict[int, Place] = {}
        self.held: dict[int, float] = {}  # requests -> MB
        self.mapped_resources = 0

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

    def gateway(self, sources: str, port: int, *, dead: str = "") -> tuple[int, str, Path]:
        folder = self.folder / f"gateway-{port}"
        place = Place(folder, port, sources, dead=dead)
        place.set_up(self.people)
        process = place.serve(pinned(0))
        self.running.append(process)
        self.places[process.pid] = place
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
        self.beside_a_dead_source(sources, seconds)
        self.shipped_sources(seconds)
        if self.full:
            self.memory(*servers["gateway"])
        delayed = self.simulators(9311, 100)
        pid, base, folder = self.gateway(delayed, 9324)
        load("gateway", pid, base, folder, concurrency=16, seconds=2)
        for concurrency in (1, 16, 64):
            print(f"sources at 100 ms, concurrency {concurrency}: gateway ...", flush=True)
            self.figures.append(load("gateway", pid, base, folder, concurrency=concurrency, seconds=seconds, delay_ms=100))

    def beside_a_dead_source(self, sources: str, seconds: float) -> None:
        """Requests that do not ask it, alone and while four others wait for a source that accepts and never answers."""
        with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
            pid, base, folder = self.gateway(sources, 9360, dead=f"http://127.0.0.1:{silent.getsockname()[1]}")
            load("warm", pid, base, folder, concurrency=16, seconds=2)
            waiting = folder / "waiting"
            waiting.mkdir()
            asked = (folder / "paths").read_text().replace("_type=Immunization,Observation", "_type=Condition")
            (waiting / "paths").write_text(asked)
            (waiting / "tokens").write_text((folder / "tokens").read_text())
            for number in range(3):
                print(f"a dead source, round {number + 1} of 3 ...", flush=True)
                self.figures.append(load("alone", pid, base, folder, concurrency=16, seconds=seconds))
                command = (
                    *pinned(1),
                    "wrk",
                    "-t1",
                    "-c4",
                    f"-d{round(seconds) + 2}s",
                    "--timeout",
                    "30s",
                    "-s",
                    str(HERE / "load.lua"),
                )
                others = subprocess.Popen(
                    [*command, base, "--", str(waiting / "paths"), str(waiting / "tokens")], stdout=subprocess.DEVNULL
                )
                time.sleep(1)
                self.figures.append(load("beside", pid, base, folder, concurrency=16, seconds=seconds))
                others.wait()

    def shipped_sources(self, seconds: float) -> None:
        """The four shipped adapters (STU3, messages on the shelf, SQL, XML) of the demonstration's place, mapped."""
        os.environ.update({"GATEWAY_CLIENT_PER_MINUTE": "10000000", "GATEWAY_ADDRESS_PER_MINUTE": "10000000"})
        place = demo.Place(self.folder / "demo", 9390)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), demo.running(place):
            pid = listener(place.port)
            os.sched_setaffinity(pid, {CORES[0]})
            os.sched_setaffinity(listener(place.sandbox_port), {CORES[1 % len(CORES)]})
            bearer = demo.token(place, demo.VISITOR)
            number = demo.BY_KEY["amara"].nhs_number
            with httpx.Client(base_url=place.base, headers={"authorization": f"Bearer {bearer}"}, timeout=20) as http:
                found = http.post("/fhir/Patient/_search", data={"identifier": f"{people.SYSTEM}|{number}"}).json()
                person = found["entry"][0]["resource"]["id"]
                entries = http.get(f"/fhir/Patient/{person}/$everything").json()["entry"]
            self.mapped_resources = len(entries) - 1
            folder = self.folder / "demo"
            (folder / "paths").write_text(f"/fhir/Patient/{person}/$everything")
            (folder / "tokens").write_text(bearer)
            load("warm", pid, place.base, folder, concurrency=16, seconds=2)
            for _ in range(3):
                self.figures.append(load("shipped", pid, place.base, folder, concurrency=16, seconds=seconds))

    def memory(self, pid: int, base: str, folder: Path) -> None:
        """What the process holds after 10,000 requests and after 100,000."""
        done = 0
        for wanted in (10_000, 100_000):
            while done < wanted:
                print(f"memory: {done} of {wanted} requests ...", flush=True)
                (folder / "tokens").write_text("\n".join(self.places[pid].tokens(400)))
                done += load("memory", pid, base, folder, concurrency=16, seconds=60).requests
            self.held[wanted] = rss_mb(pid)

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(20)


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
    p95 = {name: median([f.p95_ms for f in figures if f.name == name]) for name in ("alone", "beside")}
    return {
        **{f"cpu_ms_{name}": round(value, 3) for name, value in cpu.items()},
        "naive_over_gateway": round(cpu["naive"] / cpu["gateway"], 1),
        "gateway_over_lean": round(cpu["gateway"] / cpu["lean"], 2),
        "gateway_over_floor": round(cpu["gateway"] / cpu["floor"], 2),
        "p99_over_p50": round(median([f.p99_ms / f.p50_ms for f in at["gateway"]]), 2),
        "added_to_100ms_p50": round(slow[0].p50_ms - 100, 1) if slow else 0.0,
        "added_to_100ms_p95": round(slow[0].p95_ms - 120, 1) if slow else 0.0,
        "p95_beside_a_dead_source": round(p95["beside"] / p95["alone"], 2),
        "cpu_ms_shipped_sources": round(median([f.cpu_ms for f in figures if f.name == "shipped"]), 3),
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
    print("CPU by step ...", flush=True)
    done = subprocess.run([*pinned(0), sys.executable, "-m", "tests.perf.steps", "--json"], capture_output=True, check=True)
    steps: dict[str, float] = json.loads(done.stdout)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), full=asked.full)
        try:
            bench.run()
        finally:
            bench.stop()
    taken = intake_bench.report()
    people_taken = identity_bench.report(full=asked.full)
    gp_taken = gp_bench.report()
    heads = ("server", "c", "delay", "req/s", "CPU ms", "p50", "p95", "p99", "KB", "RSS", "errors")
    print("\n" + " ".join(f"{head:>8}" for head in heads))
    for f in bench.figures:
        cells = (f.rate, f.cpu_ms, f.p50_ms, f.p95_ms, f.p99_ms, f.body_kb, f.rss_mb)
        numbers = " ".join(f"{cell:8.1f}" for cell in cells)
        print(f"{f.name:>8} {f.concurrency:8} {f.delay_ms:8.0f} {numbers} {f.errors:8}")
    found = summary(bench.figures)
    found["resources_of_shipped_sources"] = bench.mapped_resources
    found["messages_a_second"], found["messages_lost"] = taken["rate"], taken["lost"]
    found["people_a_second"] = round(people_taken["import"]["rows_a_second"])
    found["crosswalk_p50_large_over_small"] = {
        dialect: round(figures["p50_largest_over_smallest"], 2) for dialect, figures in people_taken["look_up"].items()
    }
    found |= gp_taken
    if bench.held:
        found["memory_100000_over_10000"] = round(bench.held[100_000] / bench.held[10_000], 3)
    print("\nCPU by step, one request at a time, microseconds (the best of 12 batches)")
    for name, micros in steps.items():
        print(f"{name:36} {micros:8.0f}")
    print("\n" + "\n".join(f"{name:22} {value}" for name, value in found.items()))
    if asked.record:
        from tests.perf.plot import draw

        docs = Path("docs")
        kept = {
            "summary": found,
            "steps_us": {name: round(micros) for name, micros in steps.items()},
            "figures": [asdict(figure) for figure in bench.figures],
        }
        (docs / "performance.json").write_text(json.dumps(kept, indent=1) + "\n")
        draw(bench.figures, docs / "performance.svg")
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`make bench`: the gateway beside floor, lean and naive, on this machine, in this run. Ratios are the result.

The server under test is pinned to one core; wrk and the byte-replaying simulators share the other. Needs wrk (Debian
package wrk). Figures go to standard output and to docs/performance.json, .md and .svg (`--no-record`: only to the first).
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.perf import baselines, gp_bench, identity_bench, intake_bench, more, people, written
from tests.perf.load import Figure, load, pinned, wrk
from tests.perf.place import Place

KINDS = ("gateway", "lean", "floor", "naive")


@dataclass
class Server:
    """A server under test: its process, its address, and the folder with the paths and tokens it is asked with."""

    name: str
    pid: int
    base: str
    folder: Path
    place: Place | None = None  # of the gateway


class Bench:
    """The whole run: simulators once for each delay, servers one after another."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self.folder, self.full = folder, full
        self.people = people.numbers(50)
        self.figures: list[Figure] = []
        self.found: dict[str, float] = {}  # what is no figure of wrk's
        self.running: list[subprocess.Popen[bytes]] = []
        self._tokens = 0

    def simulators(self, port: int, delay_ms: float) -> str:
        arguments = ["--port", str(port), "--people", "50", "--delay-ms", str(delay_ms)]
        command = [*pinned(1), sys.executable, "-m", "tests.perf.replay", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.running.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return f"http://127.0.0.1:{port}"

    def baseline(self, kind: str, sources: str, port: int, *arguments: str) -> Server:
        folder = self.folder / f"{kind}-{port}"
        folder.mkdir(exist_ok=True)
        (folder / "paths").write_text("\n".join(f"/read/p{number}" for number in self.people))
        server = Server(kind, 0, f"http://127.0.0.1:{port}", folder)
        self.new_tokens(server, 10)
        command = [sys.executable, "-m", "tests.perf.baselines", kind, "--port", str(port), "--sources", sources]
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen([*pinned(0), *command, "--var", str(folder), *arguments], stdout=out, stderr=out)
        self.running.append(process)
        server.pid = process.pid
        headers = {"authorization": f"Bearer {baselines.token(0)}"}
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if httpx.get(f"{server.base}/read/p{self.people[0]}", headers=headers, timeout=20).status_code == 200:
                    return server
            except httpx.TransportError:
                time.sleep(0.2)
        raise SystemExit(f"{kind} did not start: {log.read_text()[-2000:]}")

    def gateway(self, sources: str, port: int, *, dead: str = "", database_url: str = "", others: int = 0) -> Server:
        """`others`: how many people beside the fifty the database knows."""
        place = Place(self.folder / f"gateway-{port}", port, sources, database_url, dead)
        place.set_up(self.people)
        if others:
            place.populate(others)
        return self.served(place)

    def served(self, place: Place) -> Server:
        """A place set up -> a server that has traced its people."""
        process = place.serve(pinned(0))
        self.running.append(process)
        persons = place.persons(self.people, place.tokens(1)[0])
        (place.folder / "paths").write_text(
            "\n".join(f"/fhir/Patient/{person}/$everything?_type=Immunization,Observation" for person in persons)
        )
        server = Server("gateway", process.pid, place.base, place.folder, place)
        self.new_tokens(server, 10)
        return server

    def new_tokens(self, server: Server, count: int) -> None:
        """Tokens that the server has not seen: the gateway's by the real exchange."""
        if server.place is not None:
            made = server.place.tokens(count)
        else:
            made = [baselines.token(self._tokens + n) for n in range(count)]
            self._tokens += count
        (server.folder / "tokens").write_text("\n".join(made))

    def measure(
        self, server: Server, name: str = "", *, seconds: float, concurrency: int = 16, delay_ms: float = 0, keep: bool = True
    ) -> Figure:
        """One round, with a new token every ten reads."""
        self.new_tokens(server, round(seconds * (60 if server.place else 100)))
        return self.loaded(server, name, concurrency=concurrency, seconds=seconds, delay_ms=delay_ms, keep=keep)

    def loaded(
        self, server: Server, name: str = "", *, seconds: float, concurrency: int = 16, delay_ms: float = 0, keep: bool = True
    ) -> Figure:
        """The same, with the tokens that are there."""
        name, what = name or server.name, {"concurrency": concurrency, "seconds": seconds, "delay_ms": delay_ms}
        if keep:
            print(f"{name}, concurrency {concurrency}, sources at {delay_ms:.0f} ms ...", flush=True)
        figure = load(name, server.pid, server.base, server.folder, **what)  # type: ignore[arg-type]
        if keep:
            self.figures.append(figure)
        return figure

    def run(self) -> None:
        sources = self.simulators(9310, 0)
        servers = [self.gateway(sources, 9320)]
        servers += [self.baseline(kind, sources, 9330 + 10 * n) for n, kind in enumerate(KINDS[1:])]
        rounds, seconds = (5, 6.0) if self.full else (3, 4.0)
        for server in servers:
            self.measure(server, seconds=2, keep=False)  # warm
        for _ in range(rounds):
            for server in servers:
                self.measure(server, seconds=seconds if server.name != "naive" else seconds + 4)
        for concurrency in (1, 64):
            for server in servers:
                self.measure(server, concurrency=concurrency, seconds=seconds)
        self.beside_a_dead_source(sources, seconds)
        self.delayed(seconds)
        more.mapped(self, seconds)
        more.two_workers(self, sources, seconds)
        if self.full:
            more.memory(self, servers[0])
            more.many_people(self, sources, seconds)

    def delayed(self, seconds: float) -> None:
        """Sources at 100 ms: what the gateway adds, and what the floor does, which waits for the same four answers."""
        delayed = self.simulators(9311, 100)
        servers = [self.gateway(delayed, 9324), self.baseline("floor", delayed, 9344)]
        for server in servers:
            self.measure(server, seconds=2, keep=False)
        for concurrency in (1, 16, 64):
            for server in servers if concurrency < 64 else servers[:1]:
                self.measure(server, concurrency=concurrency, seconds=seconds + 2, delay_ms=100)

    def beside_a_dead_source(self, sources: str, seconds: float) -> None:
        """Requests that do not ask it, alone and while four others wait for a source that accepts and never answers."""
        with socket.create_server(("127.0.0.1", 0), backlog=512) as silent:
            server = self.gateway(sources, 9360, dead=f"http://127.0.0.1:{silent.getsockname()[1]}")
            self.measure(server, seconds=2, keep=False)
            waiting = server.folder / "waiting"
            waiting.mkdir()
            asked = (server.folder / "paths").read_text().replace("_type=Immunization,Observation", "_type=Condition")
            (waiting / "paths").write_text(asked)
            for _ in range(3):
                self.measure(server, "alone", seconds=seconds)
                (waiting / "tokens").write_text((server.folder / "tokens").read_text())
                command = wrk(server.base, waiting, concurrency=4, seconds=seconds + 3)
                others = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                time.sleep(1)
                self.measure(server, "beside", seconds=seconds)
                others.wait()

    def stop(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(20)


def others(*, full: bool, record: bool) -> dict[str, Any]:
    """What the other benchmarks found: messages taken in, people imported and looked up, one GP record."""
    taken, known = intake_bench.report(), identity_bench.report(full=full)
    if record:
        identity_bench.record(known, Path("docs/identity.md"))
    flat = {name: round(one["p50_largest_over_smallest"], 2) for name, one in known["look_up"].items()}
    return {
        "messages_a_second": taken["rate"],
        "messages_lost": taken["lost"],
        "people_a_second": round(known["import"]["rows_a_second"]),
        "crosswalk_p50_large_over_small": flat,
        **gp_bench.report(),
    }


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--full", action="store_true", help="more rounds; memory over 100,000 requests; ten million people")
    reader.add_argument("--no-record", action="store_true", help="leave docs/ as it is")
    asked = reader.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing: apt-get install wrk", file=sys.stderr)
        return 1
    began = time.time()
    print("CPU by step ...", flush=True)
    done = subprocess.run([*pinned(0), sys.executable, "-m", "tests.perf.steps", "--json"], capture_output=True, check=True)
    steps: dict[str, float] = json.loads(done.stdout)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), full=asked.full)
        try:
            bench.run()
        finally:
            bench.stop()
    found = written.summary(bench.figures, {**bench.found, **others(full=asked.full, record=not asked.no_record)})
    print("\n" + written.table(bench.figures))
    print("\nCPU by step, one request at a time, microseconds (the best of 12 batches)")
    for name, micros in steps.items():
        print(f"{name:36} {micros:8.0f}")
    print("\n" + "\n".join(f"{name:34} {value}" for name, value in found.items()))
    print(f"\nin {time.time() - began:.0f} s")
    if not asked.no_record:
        kept = {
            "summary": found,
            "steps_us": {name: round(micros) for name, micros in steps.items()},
            "figures": [asdict(figure) for figure in bench.figures],
        }
        written.record(kept, bench.figures, Path("docs"))
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

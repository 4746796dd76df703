"""Measurements beside the four R4 sources: mapped sources, two workers on PostgreSQL, memory, ten million people."""

import contextlib
import json
import os
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx

from sandbox import demo
from sandbox.families import BY_KEY
from tests import postgres_server
from tests.perf import people
from tests.perf.load import CORES, cpu_s, listener, pinned, rss_mb, wrk

if TYPE_CHECKING:
    from tests.perf.bench import Bench, Server

CHILD = "amara"


def mapped(bench: "Bench", seconds: float) -> None:
    """The four shipped adapters (STU3, messages on the shelf, SQL, XML), and a naive mapper that makes as many resources."""
    from tests.perf.bench import Server

    os.environ.update({"GATEWAY_CLIENT_PER_MINUTE": "10000000", "GATEWAY_ADDRESS_PER_MINUTE": "10000000"})
    os.environ.update({"GATEWAY_TOKEN_PER_MINUTE": "1000000"})
    place = demo.Place(bench.folder / "demo", 9390)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), demo.running(place):
        pid = listener(place.port)
        os.sched_setaffinity(pid, {CORES[0]})
        os.sched_setaffinity(listener(place.sandbox_port), {CORES[1 % len(CORES)]})
        bearer = demo.token(place, demo.VISITOR)
        resources, person = _everything(place.base, bearer)
        bench.found["mapped_resources"] = len(resources)
        folder = bench.folder / "demo"
        (folder / "paths").write_text(f"/fhir/Patient/{person}/$everything")
        (folder / "tokens").write_text(bearer)  # one: what a new one costs is nothing beside this
        (folder / "held.json").write_text(json.dumps(_by_source(resources)))
        sources = bench.simulators(9312, 0)
        naive = bench.baseline("naive-mapped", sources, 9370, "--held", str(folder / "held.json"))
        gateway = Server("mapped", pid, place.base, folder)
        for number in range(4):
            for server in (gateway, naive):
                if server is naive:
                    bench.measure(naive, seconds=seconds if number else 2, keep=bool(number))
                    continue
                bench.loaded(gateway, seconds=seconds if number else 2, keep=bool(number))


def _everything(base: str, bearer: str) -> tuple[list[dict[str, Any]], str]:
    number = BY_KEY[CHILD].nhs_number
    with httpx.Client(base_url=base, headers={"authorization": f"Bearer {bearer}"}, timeout=20) as http:
        found = http.post("/fhir/Patient/_search", data={"identifier": f"{people.SYSTEM}|{number}"}).json()
        person: str = found["entry"][0]["resource"]["id"]
        entries = http.get(f"/fhir/Patient/{person}/$everything?_count=500").json()["entry"]
    resources = [entry["resource"] for entry in entries]
    return [one for one in resources if one["resourceType"] not in ("OperationOutcome", "Provenance")], person


def _by_source(resources: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The kind of source stands in the middle of our ids."""
    held: dict[str, list[dict[str, Any]]] = {}
    for resource in resources:
        parts = resource["id"].split(".")
        held.setdefault(parts[1] if len(parts) > 1 else "trace", []).append(resource)
    return held


def two_workers(bench: "Bench", sources: str, seconds: float) -> None:
    """One worker and two on one PostgreSQL. Left out, and said, where PostgreSQL is not installed."""
    from tests.perf.bench import Server

    if postgres_server.programs() is None:
        print("two workers: left out, PostgreSQL is not installed (apt-get install postgresql)", flush=True)
        return
    with postgres_server.server() as url:
        one = bench.gateway(sources, 9400, database_url=url)
        assert one.place is not None
        other = replace(one.place, port=9410, public=one.place.base, processes=[])
        process = other.serve(pinned(1))
        bench.running.append(process)
        two = Server("gateway", process.pid, f"http://127.0.0.1:{other.port}", one.folder)
        bench.measure(one, seconds=2, keep=False)
        rates: dict[int, list[float]] = {1: [], 2: []}
        cpu: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(3):
            for servers in ([one], [one, two]):
                print(f"PostgreSQL, {len(servers)} worker(s) ...", flush=True)
                bench.new_tokens(one, round(seconds * 60))
                rate, spent = _at_once(servers, seconds)
                rates[len(servers)].append(rate)
                cpu[len(servers)].append(spent)
        bench.found["postgres_cpu_ms_one_worker"] = round(sorted(cpu[1])[1], 3)
        bench.found["postgres_cpu_ms_two_workers"] = round(sorted(cpu[2])[1], 3)
        bench.found["two_workers_rate"] = round(sorted(rates[2])[1] / sorted(rates[1])[1], 2)
        bench.found["two_workers_by_cpu"] = round(2 * sorted(cpu[1])[1] / sorted(cpu[2])[1], 2)
        for server in (process, next(running for running in bench.running if running.pid == one.pid)):
            server.terminate()
            server.wait(20)


def _at_once(servers: "list[Server]", seconds: float) -> tuple[float, float]:
    """Load on all of them together -> requests a second, and CPU ms of the workers for each."""
    before = sum(cpu_s(server.pid) for server in servers)
    loads = [
        subprocess.Popen(wrk(server.base, server.folder, concurrency=16, seconds=seconds), stdout=subprocess.PIPE, text=True)
        for server in servers
    ]
    answers = [load.communicate()[0] for load in loads]
    spent = sum(cpu_s(server.pid) for server in servers) - before
    rows = [next(line for line in answer.splitlines() if line.startswith("RESULT")).split() for answer in answers]
    if any(int(row[3]) for row in rows):
        raise SystemExit("a worker on PostgreSQL gave errors")
    return sum(int(row[1]) / (float(row[2]) / 1e6) for row in rows), spent * 1000 / max(1, sum(int(row[1]) for row in rows))


def memory(bench: "Bench", server: "Server") -> None:
    """What the process holds after 10,000 requests and after 100,000."""
    done, held = 0, {}
    for wanted in (10_000, 100_000):
        while done < wanted:
            print(f"memory: {done} of {wanted} requests ...", flush=True)
            done += bench.measure(server, seconds=30, keep=False).requests
        held[wanted] = rss_mb(server.pid)
    bench.found["memory_mb_10000"], bench.found["memory_mb_100000"] = round(held[10_000]), round(held[100_000])
    bench.found["memory_100000_over_10000"] = round(held[100_000] / held[10_000], 3)


def many_people(bench: "Bench", sources: str, seconds: float) -> None:
    """CPU of a request where the database knows ten thousand people, and where it knows ten million."""
    most = int(os.environ.get("BENCH_PEOPLE", "10000000"))
    few, many = (bench.gateway(sources, port, others=count) for port, count in ((9420, 10_000), (9430, most)))
    cpu: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(4):
        for name, server in (("few", few), ("many", many)):
            figure = bench.measure(server, f"{name} people", seconds=seconds if number else 2, keep=bool(number))
            if number:
                cpu[name].append(figure.cpu_ms)
    bench.found["people"] = most
    bench.found["many_people_over_10000"] = round(sorted(cpu["many"])[1] / sorted(cpu["few"])[1], 3)

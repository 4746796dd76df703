"""CPU by step of one request, in this process: `python -m tests.perf.steps`. Sources are the byte-replaying simulators.

One request at a time, so the thread's CPU clock between a step's start and end is that step's own (and its sockets').
What uvicorn, the middleware and the log's writer thread spend is not in it.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway import app
from gateway.app import serving
from tests.perf import people
from tests.perf.place import Place

BATCHES = 12  # the best of them counts: whatever else the machine does only adds


def measured(port: int = 9380, rounds: int = 60) -> dict[str, float]:
    """Step -> microseconds of CPU for each request; "fetch: parse" is a part of "fetch"."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.perf.replay", "--port", str(port), "--people", "50"]
        simulators = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert simulators.stdout is not None
            simulators.stdout.readline()
            place = Place(Path(folder), port + 1, f"http://127.0.0.1:{port}")
            numbers = people.numbers(50)
            place.set_up(numbers)
            os.environ.update(place.environment)
            with serving.uvloop():
                return asyncio.run(_measured(numbers, rounds))
        finally:
            simulators.terminate()
            simulators.wait(20)


async def _measured(numbers: list[str], rounds: int) -> dict[str, float]:
    from gateway import bundle
    from gateway.caller.claims import Claimed
    from gateway.caller.remembered import Held
    from gateway.caller.token import authenticated
    from gateway.connectors import fhir_rest
    from gateway.flows import read as flow
    from gateway.flows.upkeep import upkeep
    from gateway.model import AccessRequest, Coding, Organisation, OrganisationKind, Purpose, Query, Staff
    from gateway.nhs_number import NhsNumber
    from gateway.settings import Settings
    from gateway.systems import SDS_JOB_ROLE, SDS_USER_ID

    spent: dict[str, int] = defaultdict(int)

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def waited(*args: Any, **named: Any) -> Any:
            started = time.thread_time_ns()
            try:
                return await call(*args, **named)
            finally:
                spent[name] += time.thread_time_ns() - started

        def at_once(*args: Any, **named: Any) -> Any:
            started = time.thread_time_ns()
            try:
                return call(*args, **named)
            finally:
                spent[name] += time.thread_time_ns() - started

        return waited if asyncio.iscoroutinefunction(call) else at_once

    settings = Settings.load() if hasattr(Settings, "load") else Settings()
    async with app.opened(settings) as (parts, _):
        await upkeep(parts)
        organisation = parts.policy.organisation("ods:RXX99") or Organisation("ods:RXX99", "", OrganisationKind.COMMUNITY_HEALTH)
        who = Claimed(organisation, Staff(SDS_USER_ID, "100000000002", "H"), Coding(SDS_JOB_ROLE, "R0690"), Purpose.TREAT, None)
        caller = authenticated(Held("bench", 1, who, frozenset({"system/*.rs"}), "t", 9e12, None), "127.0.0.1")
        types = frozenset({"Immunization", "Observation"})

        async def once(n: int) -> None:
            now = app.utc_now()
            number = NhsNumber(numbers[n % len(numbers)])
            query = Query("everything", number, types, digest="x")
            answer = await flow.read(parts, AccessRequest(caller, caller.purpose, query, "r", "c", now))
            assert answer.status == 200
            assert len(answer.body) > 50_000, answer.body[:2000]

        for n in range(60):
            await once(n)
        for name in ("_who", "decide", "record_decision", "plan", "_map", "disclose_in_turns", "record_disclosure"):
            setattr(flow, name, timed(name, getattr(flow, name)))
        bundle.answer = timed("bundle.answer", bundle.answer)
        real_fetch = parts.fetch
        object.__setattr__(parts, "fetch", timed("fetch", real_fetch.__call__))
        fhir_rest.read_structs = timed("fetch: parse", fhir_rest.read_structs)
        fhir_rest.of_structs = timed("fetch: whose it is", fhir_rest.of_structs)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        best: dict[str, float] = {}
        for _ in range(BATCHES):
            await upkeep(parts)
            spent.clear()
            started, process = time.thread_time_ns(), time.process_time_ns()
            for n in range(rounds):
                await once(n)
            spent["whole line"] = time.thread_time_ns() - started
            spent["whole line with the writer thread"] = time.process_time_ns() - process
            for name, value in spent.items():
                best[name] = min(best.get(name, float("inf")), value / rounds / 1000)
    return best


def main() -> None:
    found = measured()
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for name, micros in found.items():
        print(f"{name:36} {micros:8.0f} us")


if __name__ == "__main__":
    main()

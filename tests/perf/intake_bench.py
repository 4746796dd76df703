"""Messages taken in a second: published into the drop, shelved with their audit event, durable before they are acknowledged.

    python -m tests.perf.intake_bench [COUNT]

The worker is the gateway's own, in a process of its own, over SQLite with its durability on; the persons are traced already.
A message counts once its file has been moved out of the drop, which is its acknowledgement.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import adapters.child_health
from gateway.adapter import SourceSettings
from gateway.connectors import message_drop
from gateway.identity import Ages, Identity
from gateway.nhs_number import NhsNumber
from gateway.ports import Traced
from gateway.registry import ActiveSource, Registry, load_manifest
from gateway.store import Keys, open_store
from gateway.worker import Worker
from sandbox.child_publisher import WHO, publish, published, vaccinations
from sandbox.families import BY_KEY

COUNT = 10_000
AT_LEAST = 500  # a second
SOURCE = "child-health"


def measure(count: int = COUNT) -> dict[str, Any]:
    """So many messages -> how many a second, and whether each is on the shelf with its event."""
    folder = Path(tempfile.mkdtemp(prefix="intake-bench-"))
    try:
        files = published(vaccinations(count), {})
        publish(folder / "drop", files)
        past = time.time() - 60  # long enough ago that none is still being written
        for name, _ in files:
            os.utime(folder / "drop" / name, (past, past))
        done = subprocess.run(
            [sys.executable, "-m", "tests.perf.intake_bench", "--worker", str(folder)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        result["acknowledged"] = sum(1 for path in (folder / "drop" / "done").iterdir() if path.suffix == ".sealed")
        return result | {"published": count}
    finally:
        shutil.rmtree(folder)


async def worker(folder: Path, *, ahead: timedelta = timedelta(0)) -> dict[str, Any]:
    """Take everything that lies in the drop, then look at what is held. `ahead`: how far its clock is from ours."""
    keys = Keys.create_sandbox(folder / "keys")
    store = await open_store(f"sqlite:///{folder / 'gateway.db'}", keys, name="bench")

    def now() -> datetime:
        return datetime.now(UTC) + ahead

    for key in WHO:
        person = BY_KEY[key]
        traced = Traced(NhsNumber(person.nhs_number), person.birth_date, False, False, "ods:A99901", {}, "1")
        await store.persons.admit(traced, now())
    nobody: Any = None  # a tracer that is asked would end the run
    settings = SourceSettings(SOURCE, "child_health", "ods:RXX99", "a", "t", 1.0, None, 7, {"drop": str(folder / "drop")})
    tools: Any = SimpleNamespace(
        var=folder,
        now=now,
        seal=lambda plain: keys.seal("file-sealing", plain, SOURCE.encode()),
        shelf=None,
    )
    manifest = load_manifest(adapters.child_health)
    source = ActiveSource(manifest, settings, message_drop.build(manifest, settings, tools))
    parts: Any = SimpleNamespace(
        log=store.log, shelf=store.shelf, protections=store.protections, suppressions=store.suppressions,
        crosswalk=store.crosswalk, registry=Registry({SOURCE: source}), now=tools.now, allow_test_numbers=True,
        identity=Identity(store.persons, nobody, Ages(timedelta(minutes=15), timedelta(hours=24))),
        policy=SimpleNamespace(hash="bench"),
    )  # fmt: skip
    print("ready", flush=True)
    began, cpu = time.perf_counter(), time.process_time()
    await Worker(parts)._deliveries()
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    shelf = 0
    for key in WHO:
        shelf += len(await store.shelf.newest(SOURCE, NhsNumber(BY_KEY[key].nhs_number), now()))
    faults = await store.verify()
    await store.close()
    return {"seconds": round(took, 2), "cpu_s": round(spent, 2), "shelf": shelf, "log_faults": len(faults)}


def report(count: int = COUNT) -> dict[str, Any]:
    """The figure, in words and for the record: called by `make bench`."""
    result = measure(count)
    result["rate"] = round(result["published"] / result["seconds"])
    lost = result["published"] - min(result["shelf"], result["acknowledged"])
    print(
        f"intake: {result['published']} messages at {result['rate']} a second ({result['cpu_s']} s of CPU), {lost} lost, "
        f"{result['log_faults']} faults in the log; wanted: {AT_LEAST} a second, none lost"
    )
    return result | {"lost": lost}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        import logging

        import structlog

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        with contextlib.suppress(KeyboardInterrupt):
            ahead = timedelta(minutes=float(sys.argv[3]) if sys.argv[3:] else 0)
            print(json.dumps(asyncio.run(worker(Path(sys.argv[2]), ahead=ahead))))
    else:
        report(int(sys.argv[1]) if sys.argv[1:] else COUNT)

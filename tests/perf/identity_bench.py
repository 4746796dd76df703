"""A custodian's people taken in and linked, and how long a look-up by NHS number takes in a small and a large crosswalk.

    python -m tests.perf.identity_bench [--full]

The import is the operator's command in a process of its own against the sandbox's PDS in another, each row traced and linked with
its event, each chunk durable. Look-ups are the store's own, on both databases; "cold" are the first after the database was opened
anew, with the file's pages dropped from the system's cache where it is ours to drop (SQLite).
"""

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkRow
from gateway.store import Keys, Store, open_store
from gateway.store.crosswalk import _PUT, local_key
from gateway.store.database import Call, Work
from sandbox import crowd

HERE = Path(__file__).resolve().parent.parent
ROWS, ROWS_FULL = 10_000, 100_000
SMALL, LARGE, LARGE_FULL = 10_000, 1_000_000, 10_000_000
LOOKED_UP, COLD = 2_000, 200
AT_LEAST = 1_000  # rows a second
MOST_MB = 300
MOST_SLOWER = 1.5
AT_ONCE = 20_000
ROUNDS = 5


def report(*, full: bool = False) -> dict[str, Any]:
    """Measure, print, and give the figures; what misses its mark says so."""
    print("A custodian's people ...", flush=True)
    found: dict[str, Any] = {"import": measure_import(ROWS_FULL if full else ROWS)}
    taken = found["import"]
    print(
        f"import: {taken['linked']} of {taken['rows']} linked, {taken['rows_a_second']:.0f} rows a second"
        f" ({_mark(taken['rows_a_second'] >= AT_LEAST)}), {taken['cpu_ms_a_row']:.2f} ms of CPU a row,"
        f" peak {taken['peak_mb']:.0f} MB ({_mark(taken['peak_mb'] < MOST_MB)})"
    )
    found["look_up"] = {}
    with tempfile.TemporaryDirectory() as folder:
        for dialect, url in _databases(Path(folder)):
            found["look_up"][dialect] = asyncio.run(_look_ups(url, Path(folder) / dialect, LARGE_FULL if full else LARGE))
            for size, figures in found["look_up"][dialect]["sizes"].items():
                print(
                    f"look-up, {dialect}, {size} rows: " + ", ".join(f"{name} {value:.3f} ms" for name, value in figures.items())
                )
            ratio = found["look_up"][dialect]["p50_largest_over_smallest"]
            print(f"look-up, {dialect}: p50 of the largest over the smallest {ratio:.2f} ({_mark(ratio <= MOST_SLOWER)})")
    return found


def measure_import(rows: int) -> dict[str, Any]:
    """So many rows that carry a number, by the command -> rows a second, peak memory."""
    sys.path.insert(0, str(HERE))
    from identity_lists import registry, row, write

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "sandbox", "--port", "0", "--var", str(folder / "sandbox"), "--people", str(rows)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulators:
            try:
                assert simulators.stdout is not None
                ready = next(line for line in simulators.stdout if line.startswith("ready on "))
                place = registry(folder / "gateway", ready.split()[-1], per_second=100_000)
                people = (crowd.person(number) for number in crowd.numbers(rows))
                file = write(folder / "list.csv", (row(person, f"LA{at:07}", number=True) for at, person in enumerate(people)))
                before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
                done = place.run("identity", "import", str(file), "--source", "authority")
                seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
            finally:
                simulators.terminate()
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rows": rows,
        "linked": int(done.stdout.split(" newly linked")[0].rsplit(None, 1)[-1]),
        "rows_a_second": rows / seconds,
        "cpu_ms_a_row": spent / rows * 1000,
        "peak_mb": after.ru_maxrss / 1024,  # the largest of all children so far: the command, which is the largest
    }


@contextmanager
def _postgres() -> Iterator[str | None]:
    sys.path.insert(0, str(HERE))
    import postgres_server

    if postgres_server.programs() is None:
        print("PostgreSQL is not here, so nothing is said of it: apt-get install postgresql")
        yield None
        return
    with postgres_server.server() as url:
        yield url


def _databases(folder: Path) -> Iterator[tuple[str, str]]:
    yield "sqlite", f"sqlite:///{folder / 'sqlite.db'}"
    with _postgres() as url:
        if url is not None:
            yield "postgresql", url


async def _look_ups(url: str, folder: Path, large: int) -> dict[str, Any]:
    keys = Keys.create_sandbox(folder / "keys")
    figures: dict[int, dict[str, float]] = {}
    filled = 0
    for size in (SMALL, large):
        store = await open_store(url, keys, name="bench", serve=False)
        await _fill(store, url, filled, size)
        filled = size
        await store.close()
        _forget_pages(url)
        store = await open_store(url, keys, name="bench", serve=False)
        chosen = random.Random(7).sample(range(size), COLD + LOOKED_UP)
        cold = await _timed(store, [_number(at) for at in chosen[:COLD]])
        warm_numbers = [_number(at) for at in chosen[COLD:]]
        await _timed(store, warm_numbers)
        rounds = [await _timed(store, warm_numbers) for _ in range(ROUNDS)]
        warm = min(rounds, key=lambda taken: _at(taken, 50))  # whatever else the machine does only adds
        await store.close()
        figures[size] = {"p50": _at(warm, 50), "p99": _at(warm, 99), "cold p50": _at(cold, 50), "cold p99": _at(cold, 99)}
    return {"sizes": figures, "p50_largest_over_smallest": figures[large]["p50"] / figures[SMALL]["p50"]}


async def _fill(store: Store, url: str, start: int, end: int) -> None:
    """Rows straight into the table: their events are the import's matter."""
    for first in range(start, end, AT_ONCE):
        rows = [_row(store, at) for at in range(first, min(first + AT_ONCE, end))]
        if store.database.dialect == "postgresql":
            connection = await asyncpg.connect(url)
            names = ("source", "local_key", "number_key", "row_sealed", "kind")
            await connection.copy_records_to_table("crosswalk", records=[[row[n] for n in names] for row in rows], columns=names)
            await connection.close()
        else:
            await store.database.write(_put(rows))
    if store.database.dialect == "postgresql":
        connection = await asyncpg.connect(url)
        await connection.execute("VACUUM ANALYZE crosswalk")
        await connection.close()


def _put(rows: Sequence[dict[str, object]]) -> Work[None]:
    yield Call(_PUT, {}, rows)


def _row(store: Store, at: int) -> dict[str, object]:
    link = CrosswalkRow("authority", f"LA{at:08}", _number(at), date(2020, 1, 1), datetime.now(UTC).date(), "bench")
    return store.crosswalk._row(link, local_key(store.keys, "authority", "person", link.local_id))


def _number(at: int) -> NhsNumber:
    """A number for each place. There are not enough of the 999 range for ten million: 9 and seven digits of the place."""
    nine = 900_000_000 + at * 7 % 99_999_989  # another for each place below that prime
    while True:
        digits = f"{nine:09}"
        check = (11 - sum(int(d) * w for d, w in zip(digits, range(10, 1, -1), strict=True)) % 11) % 11
        if check != 10:
            return NhsNumber(f"{digits}{check}")
        nine += 1  # its neighbour is seven places away, so nobody else has it


async def _timed(store: Store, numbers: Sequence[NhsNumber]) -> list[float]:
    taken = []
    for number in numbers:
        began = time.perf_counter()
        (found,) = await store.crosswalk.local_ids("authority", number)
        taken.append((time.perf_counter() - began) * 1000)
        assert found[0].startswith("LA")
    return taken


def _forget_pages(url: str) -> None:
    if url.startswith("sqlite:///"):
        handle = os.open(url.removeprefix("sqlite:///"), os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _at(taken: list[float], percent: int) -> float:
    return statistics.quantiles(taken, n=100)[percent - 1]


def _mark(holds: bool) -> str:
    return "holds" if holds else "MISSED"


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--full", action="store_true")
    print(json.dumps(report(full=reader.parse_args().full), indent=1))

"""A custodian's people taken in and linked, and how long a look-up by NHS number takes in a small and a large crosswalk.

    python -m tests.perf.identity_bench [--full] [--only import|long|look-up] [--record]

The import is the operator's command in a process of its own against the sandbox's PDS in another, each row traced and linked with
its event, each chunk durable. The long run is killed with -9 half way, taken up again, and run once more. Look-ups are the
store's own, on both databases; "cold" are the first after the database was opened anew, with the file's pages dropped from the
system's cache where it is ours to drop (SQLite).
"""

import argparse
import asyncio
import json
import os
import random
import re
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkRow
from gateway.store import Keys, Store, open_store
from gateway.store.crosswalk import local_key
from sandbox import crowd

HERE = Path(__file__).resolve().parent.parent
ROWS, ROWS_LONG = 10_000, 100_000
BAD_EVERY = 500  # of the long run: a number that fails its check, and so a task
SMALL, LARGE, LARGE_FULL = 10_000, 1_000_000, 10_000_000
LOOKED_UP, COLD = 1_000, 200
AT_LEAST = 1_000  # rows a second
MOST_MB = 300
MOST_SLOWER = 1.5
AT_ONCE = 20_000
COLUMNS = ("source", "local_key", "number_key", "row_sealed", "kind")
ROUNDS = 25
BEGIN, END = "<!-- figures: written by python -m tests.perf.identity_bench --record -->", "<!-- end of figures -->"


def report(*, full: bool = False, only: str = "") -> dict[str, Any]:
    """Measure, print, and give the figures; what misses its mark says so."""
    print("A custodian's people ...", flush=True)
    found: dict[str, Any] = {}
    if only in ("", "import"):
        taken = found["import"] = measure_import(ROWS)
        print(
            f"import: {taken['linked']} of {taken['rows']} linked, {taken['rows_a_second']:.0f} rows a second"
            f" ({_mark(taken['rows_a_second'] >= AT_LEAST)}), {taken['cpu_ms_a_row']:.2f} ms of CPU a row,"
            f" peak {taken['peak_mb']:.0f} MB ({_mark(taken['peak_mb'] < MOST_MB)})"
        )
    if only == "long" or (full and not only):
        run = found["long"] = measure_long(ROWS_LONG)
        print(f"long run: {json.dumps(run)}")
    if only in ("", "look-up"):
        found["look_up"] = {}
        with tempfile.TemporaryDirectory() as folder:
            for dialect, url in _databases(Path(folder)):
                one = found["look_up"][dialect] = asyncio.run(
                    _look_ups(url, Path(folder) / dialect, LARGE_FULL if full else LARGE)
                )
                for size, figures in one["sizes"].items():
                    times = ", ".join(f"{name} {value:.3f} ms" for name, value in figures.items())
                    print(f"look-up, {dialect}, {size} rows: {times}", flush=True)
                ratio = one["p50_largest_over_smallest"]
                print(f"look-up, {dialect}: p50 of the largest over the smallest {ratio:.2f} ({_mark(ratio <= MOST_SLOWER)})")
    return found


def measure_import(rows: int) -> dict[str, Any]:
    """So many rows that carry a number, by the command -> rows a second, peak memory."""
    with _place(rows) as (place, file):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = place.run("identity", "import", str(file), "--source", "authority")
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rows": rows,
        "linked": _newly_linked(done.stdout),
        "rows_a_second": rows / seconds,
        "cpu_ms_a_row": spent / rows * 1000,
        "peak_mb": after.ru_maxrss / 1024,  # the largest of all children so far: the command, which is the largest
        "beside": _beside(),
    }


def measure_long(rows: int) -> dict[str, Any]:
    """The same with bad rows among the good, killed half way, taken up again, and once more when it is done."""
    with _place(rows, bad_every=BAD_EVERY) as (place, file):
        command = ("identity", "import", str(file), "--source", "authority")
        began = time.monotonic()
        first = place.start(*command)
        assert first.stderr is not None
        said = ""
        for line in first.stderr:  # "41000 of 100000 settled, 41000 linked; at 80000 questions a second until 14:05"
            settled = re.match(r"(\d+) of (\d+) settled", line)
            said = line.strip()
            if settled and int(settled[1]) * 2 > int(settled[2]):
                break
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        until_killed = time.monotonic() - began
        held = asyncio.run(_counts(place))
        began = time.monotonic()
        rest = place.run(*command)
        after = time.monotonic() - began
        if rest.returncode != 0:
            raise RuntimeError(rest.stderr)
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        counts = asyncio.run(_counts(place))
        began = time.monotonic()
        again = place.run(*command)
        verified = place.run("log", "verify").returncode == 0
    return {
        "rows": rows,
        "seconds_until_killed": round(until_killed, 1),
        "said_before": said,
        "linked_when_killed": held["Match"],
        "seconds_after": round(after, 1),
        "linked_after": _newly_linked(rest.stdout),
        "rows_a_second": round(rows / (until_killed + after)),
        "linked": counts["Match"],
        "bad_rows": counts["bad-row"],
        "tasks": counts["tasks"],
        "newly_linked_by_the_same_file_again": _newly_linked(again.stdout),
        "peak_mb": round(peak_mb),
        "log_verifies": verified,
        "beside": _beside(),
    }


def _beside() -> str:
    """What else the machine did, for whoever reads the figures."""
    return f"load average {os.getloadavg()[0]:.0f} on {len(os.sched_getaffinity(0))} cores"


@contextmanager
def _place(rows: int, *, bad_every: int = 0) -> Iterator[tuple[Any, Path]]:
    """An authority's gateway, the sandbox that knows its people, and their list."""
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
                people = [row(crowd.person(number), f"LA{at:07}", number=True) for at, number in enumerate(crowd.numbers(rows))]
                for at in range(bad_every - 1, rows, bad_every) if bad_every else ():
                    people[at]["nhs_number"] = people[at]["nhs_number"][:-1] + str((int(people[at]["nhs_number"][-1]) + 1) % 10)
                yield place, write(folder / "list.csv", people)
            finally:
                simulators.terminate()


async def _counts(place: Any) -> Mapping[str, int]:
    """What the store holds of the source: outcomes, and open tasks by kind."""
    keys = Keys.load(place.folder / "keys", mode="sandbox")
    store = await open_store(f"sqlite:///{place.folder / 'gateway.db'}", keys, name="bench", serve=False)
    try:
        items = await store.work.list(limit=10_000)
        kinds = {"bad-row": sum(item.kind == "bad-row" for item in items), "tasks": len(items)}
        return {"Match": 0, **await store.local_records.counts("authority"), **kinds}
    finally:
        await store.close()


def _newly_linked(said: str) -> int:
    return int(said.split(" newly linked")[0].rsplit(None, 1)[-1])


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


def _databases(folder: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Of each kind two that are empty."""
    yield "sqlite", (f"sqlite:///{folder / 'small.db'}", f"sqlite:///{folder / 'large.db'}")
    with _postgres() as url:
        if url is not None:
            asyncio.run(_make_database(url, "small"))
            yield "postgresql", (url.rsplit("/", 1)[0] + "/small", url)


async def _make_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


async def _look_ups(urls: Sequence[str], folder: Path, large: int) -> dict[str, Any]:
    """A small and a large crosswalk, asked by turns, so that whatever else the machine does happens to both."""
    keys = Keys.create_sandbox(folder / "keys")
    stores: dict[int, Store] = {}
    numbers: dict[int, list[NhsNumber]] = {}
    cold: dict[int, list[float]] = {}
    for size, url in zip((SMALL, large), urls, strict=True):
        chosen = random.Random(7).sample(range(size), COLD + LOOKED_UP)
        store = await open_store(url, keys, name="bench", serve=False)
        await _fill(store, url, size, frozenset(chosen))
        await store.close()
        _forget_pages(url)
        stores[size] = await open_store(url, keys, name="bench")  # as a server has it: it is requests that look up
        cold[size] = await _timed(stores[size], [_number(at) for at in chosen[:COLD]])
        numbers[size] = [_number(at) for at in chosen[COLD:]]
        await _timed(stores[size], numbers[size])
    rounds: dict[int, list[list[float]]] = {size: [] for size in stores}
    for _ in range(ROUNDS):
        for size, store in stores.items():
            rounds[size].append(await _timed(store, numbers[size]))
    figures = {}
    for size, store in stores.items():
        warm = min(rounds[size], key=lambda taken: _at(taken, 50))  # whatever else the machine does only adds
        figures[size] = {name: _at(of, int(name[-2:])) for name, of in (("p50", warm), ("p99", warm))}
        figures[size] |= {f"cold p{percent}": _at(cold[size], percent) for percent in (50, 99)}
        await store.close()
    return {"sizes": figures, "p50_largest_over_smallest": figures[large]["p50"] / figures[SMALL]["p50"]}


async def _fill(store: Store, url: str, size: int, asked: frozenset[int]) -> None:
    """Rows straight into the table: their events are the import's matter.

    Among a million and more, rows nobody asks for are random bytes of the length that hashes and sealed values have, their keys
    in rising order, so that ten million take minutes to write; to the look-ups it is the same index.
    """
    length = len(_row(store, 0)[3])
    connection = await asyncpg.connect(url) if store.database.dialect == "postgresql" else _raw(url)
    for first in range(0, size, AT_ONCE):
        places = range(first, min(first + AT_ONCE, size))
        rows = [_row(store, at) if at in asked or size == SMALL else _stranger(at / size, length) for at in places]
        if isinstance(connection, sqlite3.Connection):
            connection.executemany(f"INSERT INTO crosswalk ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?)", rows)
        else:
            await connection.copy_records_to_table("crosswalk", records=rows, columns=COLUMNS)
    if isinstance(connection, sqlite3.Connection):
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return
    await connection.execute("VACUUM ANALYZE crosswalk")
    await connection.close()


def _raw(url: str) -> sqlite3.Connection:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")
    return connection


def _row(store: Store, at: int) -> tuple[str, bytes, bytes, bytes, str]:
    link = CrosswalkRow("authority", f"LA{at:08}", _number(at), date(2020, 1, 1), datetime.now(UTC).date(), "bench")
    row: dict[str, Any] = store.crosswalk._row(link, local_key(store.keys, "authority", "person", link.local_id))
    return row["source"], row["local_key"], row["number_key"], row["row_sealed"], row["kind"]


def _stranger(place: float, length: int) -> tuple[str, bytes, bytes, bytes, str]:
    rising, chance = int(place * 2**64).to_bytes(8, "big"), os.urandom(48 + length)
    return "authority", rising + chance[:24], rising + chance[24:48], chance[48:], "person"


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


def record(found: Mapping[str, Any], page: Path) -> None:
    """The figures -> their lines between the marks of the page; a line of what was not measured this time stays."""
    text = page.read_text("utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    held = dict(re.findall(r"^(\| [^|]+\|)(.*)$", text[start:end], re.MULTILINE))
    heads = "| what | found |\n|---|---|\n"
    held = {what: rest for what, rest in held.items() if what not in ("| what |",)} | dict(_lines(found))
    order = sorted(held, key=lambda what: (what.startswith("| look-up"), what))
    page.write_text(
        text[:start] + "\n\n" + heads + "".join(f"{what}{held[what]}\n" for what in order) + "\n" + text[end:], "utf-8"
    )


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    day = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    if "import" in found:
        one = found["import"]
        yield (
            f"| import of {one['rows']:,} rows, each traced and linked |",
            f" {one['rows_a_second']:.0f} rows a second (goal {AT_LEAST:,}: {_mark(one['rows_a_second'] >= AT_LEAST)}),"
            f" {one['cpu_ms_a_row']:.2f} ms of CPU a row, peak {one['peak_mb']:.0f} MB"
            f" (goal {MOST_MB}: {_mark(one['peak_mb'] < MOST_MB)}); {one['beside']}; {day} |",
        )
    if "long" in found:
        one = found["long"]
        yield (
            f"| import of {one['rows']:,} rows, killed with -9 half way |",
            f" {one['linked_when_killed']:,} linked when it was killed after {one['seconds_until_killed']} s, the rest in"
            f" {one['seconds_after']} s more: {one['linked']:,} linked, {one['rows_a_second']} rows a second,"
            f" {one['bad_rows']} bad rows and {one['tasks'] - one['bad_rows']} others on the work list; the same file again:"
            f" {one['newly_linked_by_the_same_file_again']} newly linked; peak {one['peak_mb']} MB; the log"
            f" {'verifies' if one['log_verifies'] else 'DOES NOT VERIFY'}; {one['beside']}; {day} |",
        )
    for dialect, one in found.get("look_up", {}).items():
        large = max(one["sizes"])
        times = "; ".join(
            f"{size:,} rows: " + ", ".join(f"{name} {value:.3f}" for name, value in of.items()) + " ms"
            for size, of in one["sizes"].items()
        )
        ratio = one["p50_largest_over_smallest"]
        yield (
            f"| look-up by NHS number, {dialect}, {large:,} rows |",
            f" {times}; p50 of the largest over the smallest {ratio:.2f}"
            f" (goal {MOST_SLOWER}: {_mark(ratio <= MOST_SLOWER)}); {day} |",
        )


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--full", action="store_true", help="the long run too, and look-ups among ten million")
    reader.add_argument("--only", choices=("import", "long", "look-up"), default="", help="one part")
    reader.add_argument("--record", action="store_true", help="write the figures into docs/identity.md")
    asked = reader.parse_args()
    found = report(full=asked.full, only=asked.only)
    print(json.dumps(found, indent=1))
    if asked.record:
        record(found, Path("docs/identity.md"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

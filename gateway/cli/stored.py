"""How commands reach the store: beside a serving gateway, one short transaction at a time."""

import asyncio
import csv
import gc
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from gateway import nhs_number
from gateway.cli.say import fail, lacking, repeated, settings, unreadable
from gateway.errors import AuditDown, StartupRefused, StoreDown
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.settings import Settings
from gateway.store import Keys, Store, open_store

T = TypeVar("T")


def run(work: Callable[[Store, Settings], Awaitable[T]], *, long: bool = False, alone: bool = False) -> T:
    """Open the store, do the work, close it; one clear line when that cannot be.

    `long`: worth the faster event loop. `alone`: not beside a server; on PostgreSQL not beside any command either.
    """
    held = settings()
    if long:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

    async def inside() -> T:
        if long:
            gc.freeze()  # a collection over the heap of start-up finds nothing
            gc.set_threshold(50_000, 20, 100)
        keys = Keys.load(held.keys, mode=held.mode)
        url, rate = held.database(), held.pds.per_second
        store = await open_store(url, keys, name=held.name, serve=False, alone=alone, traces_per_second=rate)
        try:
            return await work(store, held)
        finally:
            await store.close()

    try:
        return asyncio.run(inside())
    except StartupRefused as refused:
        fail(str(refused))
    except (StoreDown, AuditDown):
        fail("the database cannot be read or written just now: is its disk full, or is PostgreSQL down?")


def rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """A UTF-8 CSV with these columns -> line number and row. One clear line when the file is not that."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            repeated(path, reader.fieldnames or ())
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                lacking(path, reader.fieldnames or (), missing)
            for row in reader:
                yield reader.line_num, {name: (row.get(name) or "").strip() for name in reader.fieldnames or ()}
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        unreadable(path, fault)


def number(path: Path, line: int, text: str, held: Settings) -> NhsNumber:
    """A cell -> `NhsNumber`, or one clear line that names the place and never the value."""
    try:
        return nhs_number.parse(text, allow_test=held.mode == "sandbox")
    except nhs_number.NotAnNhsNumber:
        fail(f"{path.name}, line {line}: not an NHS number")


def day(path: Path, line: int, text: str) -> date | None:
    """A cell -> date, None when empty, or one clear line."""
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"{path.name}, line {line}: dates are written YYYY-MM-DD")


def start(path: Path, line: int, text: str) -> datetime | None:
    """A cell -> the start of that day, UTC."""
    found = day(path, line, text)
    return datetime(found.year, found.month, found.day, tzinfo=UTC) if found else None


async def record(store: Store, act: str, detail: Mapping[str, object], *, by: str = "") -> None:
    """What an operator did, and who it was where a command asks -> the log."""
    entry = Entry("administration", datetime.now(UTC), "success", None, staff=by, detail={"act": act, **detail})
    await store.log.append([entry])

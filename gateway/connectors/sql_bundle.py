"""A bundle of CSV files, one a table, in one ZIP -> the rows of each table, and the list of files that proves it whole.

Loose files in a folder are a bundle too, as soon as the list `manifest.csv` is there and every file is as it says.
"""

import csv
import hashlib
import io
import os
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final
from zoneinfo import ZoneInfo

from gateway.adapter import SourceContractBroken
from gateway.connectors import archive
from gateway.connectors.csv_rows import CELLS_DIFFER, NO_HEADER, NOT_CSV, ROWS, TOO_MANY_ROWS, TWO_ALIKE, fault_of
from gateway.connectors.drop import decoded
from gateway.connectors.returns_shape import spelt
from gateway.connectors.sql_tables import Table, TableRows, Tables, tidied

LONGEST_NAME: Final = 120  # of a file; more than any table's, less than any file system's
UNKNOWN: Final = "not a bundle of the tables this source sends"
LACKS_TABLE: Final = "a bundle that lacks a table"
TWO_TABLES: Final = "one table twice in a bundle"
NO_LIST: Final = "a bundle without the list of its files"
NOT_AS_LISTED: Final = "a file of the bundle that is not as its list says"

LIST: Final = "manifest.csv"
LIST_BYTES: Final = 1_000_000

_LIST = frozenset(("file", "rows", "sha256"))

Cells = Sequence[tuple[int, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle, read."""

    rows: TableRows
    as_of: datetime | None


def read_bundle(tables: Tables, body: bytes, *, whole: bool) -> Bundle:
    """A ZIP of CSV files -> its rows. `whole`: it is a delivery, and must bring its list and every table.

    Raises `SourceContractBroken`: a file that is damaged, missing, of another length or digest than the list says.
    """
    if not body.startswith(archive.MAGIC):
        raise SourceContractBroken(UNKNOWN)
    found: TableRows = {}
    lists: list[Mapping[str, str]] = []
    members: dict[str, tuple[int, str]] = {}
    written = []
    for member in archive.unpacked(body):
        header, cells = _csv(member.body)
        names = {spelt(name) for name in header}
        members[PurePosixPath(member.name).name] = len(cells), hashlib.sha256(member.body).hexdigest()
        written += [member.written] if member.written is not None else []
        if names == _LIST:
            lists += [dict(zip(map(spelt, header), row, strict=True)) for _, row in cells]
            continue
        table = _table(tables, names)
        if table is None:
            continue  # relationships and whatever else nobody asked for: not read
        if table.name in found:
            raise SourceContractBroken(TWO_TABLES)
        found[table.name] = tidied(tables, table, (_row(table, header, row) for _, row in cells))
    if not found:
        raise SourceContractBroken(UNKNOWN)
    if whole and set(found) != set(tables.by_name):
        raise SourceContractBroken(LACKS_TABLE)
    if whole and not lists:
        raise SourceContractBroken(NO_LIST)
    for line in lists:
        if members.get(line["file"]) != (_count(line["rows"]), line["sha256"].lower()):
            raise SourceContractBroken(NOT_AS_LISTED)
    if lists and len(lists) != len(members) - 1:
        raise SourceContractBroken(NOT_AS_LISTED)
    newest = max(written, default=None)
    return Bundle(found, None if newest is None else newest.replace(tzinfo=ZoneInfo(tables.zone)).astimezone(UTC))


def gather(folder: Path, zone: str) -> Path | None:
    """Loose files and their list -> one ZIP of them in the same folder; None while they are not all there, and whole.

    The ZIP is whole on the disk, under its own name, before any file goes: a crash brings the bundle once more, not half of it.
    """
    listed = folder / LIST
    if not _plain(listed) or listed.stat().st_size > LIST_BYTES:
        return None
    try:
        header, cells = _csv(listed.read_bytes())
    except SourceContractBroken:
        return None  # still being written
    lines = [dict(zip(map(spelt, header), row, strict=True)) for _, row in cells]
    paths = [folder / line.get("file", "") for line in lines]
    if any(path.name != line.get("file") or len(path.name) > LONGEST_NAME for path, line in zip(paths, lines, strict=True)):
        return None  # only plain names: what a list says is nobody's path
    if not paths or any(path.parent != folder or path.suffix.lower() != ".csv" or not _plain(path) for path in paths):
        return None
    if sum(path.stat().st_size for path in paths) > archive.CAP_BYTES:
        return None
    bodies = {path.name: path.read_bytes() for path in paths}
    if any(hashlib.sha256(bodies[line["file"]]).hexdigest() != line.get("sha256", "").lower() for line in lines):
        return None
    newest = max(path.stat().st_mtime for path in (*paths, listed))
    local = datetime.fromtimestamp(newest, ZoneInfo(zone)).timetuple()
    made = folder / f"set-{uuid.uuid4().hex}.zip"
    part = made.with_name(f".{made.name}.part")
    with part.open("xb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, body in (*bodies.items(), (LIST, listed.read_bytes())):
                packed.writestr(zipfile.ZipInfo(name, (*local[:5], local.tm_sec)), body)
        file.flush()
        os.fsync(file.fileno())
    os.utime(part, (newest, newest))
    os.rename(part, made)
    for path in (*paths, listed):
        path.unlink(missing_ok=True)
    return made


def _count(text: str) -> int:
    """A list's number of rows; -1, which no table has, for what is none."""
    return int(text) if text.isdecimal() and len(text) < 12 else -1


def _plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _table(tables: Tables, names: set[str]) -> Table | None:
    """The table whose columns a file has; of several the one with the most."""
    fits = [table for table in tables.by_name.values() if {spelt(name) for name in table.columns} <= names]
    return max(fits, key=lambda table: len(table.columns), default=None)


def _csv(body: bytes) -> tuple[Sequence[str], Cells]:
    lines = csv.reader(io.StringIO(decoded(body, "utf-8"), newline=""), strict=True)
    try:
        rows = [(number, cells) for number, cells in enumerate(lines, start=1) if any(cell.strip() for cell in cells)]
    except csv.Error:
        raise SourceContractBroken(NOT_CSV) from None
    if not rows:
        raise SourceContractBroken(NO_HEADER)
    if len(rows) > ROWS:
        raise SourceContractBroken(TOO_MANY_ROWS)
    header = [name.strip() for name in rows[0][1]]
    if len({spelt(name) for name in header}) < len(header):
        raise SourceContractBroken(TWO_ALIKE)
    if any(len(cells) != len(header) for _, cells in rows[1:]):
        raise SourceContractBroken(CELLS_DIFFER)
    return header, rows[1:]


def _row(table: Table, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    wanted = {spelt(name) for name in table.columns}
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if spelt(name) in wanted}
    for cell in row.values():
        fault = fault_of(cell)
        if fault is not None:
            raise SourceContractBroken(fault)
    return row

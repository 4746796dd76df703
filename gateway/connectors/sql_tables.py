"""Tables that come as CSV files or as JSON -> a small database in memory, which the same statements ask.

    [tables.consent]
    file = "consents"               the name of its rows in a REST answer; a CSV file is known by its columns
    columns = { consent_id = "whole", obtained_on = "day", sensitive = "flag", starts_at = "time", scope = "text" }
    of = "select ... where nhs_number = :nhs_number"      the rows of one person: nothing else of a bundle is kept
    fresh = true                    rows of a delivery past its age prove nothing any more, and are not read

    [files]                         of CSV files
    days = "%d/%m/%Y"               beside ISO 8601
    times = "%d/%m/%Y %H:%M"
    zone = "Europe/London"

Only columns that are listed are read. Names are compared without case and punctuation (`nhsNumber` is `nhs_number`). Blank is
absent; a cell that cannot be read refuses the whole: half a consent is another consent.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.adapter import Manifest, SourceContractBroken
from gateway.connectors.returns_shape import spelt
from gateway.connectors.sql_drivers import Asked, Rows
from gateway.connectors.sql_statements import check
from gateway.errors import StartupRefused

BAD_CELL: Final = "a cell that cannot be read as what its column holds"
BAD_ROW: Final = "rows are not where the manifest says"
LACKS_COLUMN: Final = "a row without a column that its table needs"

TableRows: TypeAlias = dict[str, list[dict[str, Any]]]

_KINDS: Final = {"text": "text", "whole": "integer", "day": "text", "time": "text", "flag": "integer"}
_TRUE = frozenset(("true", "y", "yes", "1"))
_FALSE = frozenset(("false", "n", "no", "0"))


@dataclass(frozen=True, slots=True)
class Table:
    """One `[tables.NAME]`."""

    name: str
    file: str
    columns: Mapping[str, str]
    of: str
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Tables:
    """All of them, and how their files write days."""

    by_name: Mapping[str, Table]
    days: str = ""
    times: str = ""
    zone: str = "Europe/London"


def read_tables(manifest: Manifest) -> Tables:
    """`[tables.*]` and `[files]` of the manifest -> `Tables`. Raises `StartupRefused` naming the table and what to mend."""
    where, made = f"adapters/{manifest.name}/manifest.toml", {}
    given = manifest.options.get("tables", {})
    if not given:
        raise StartupRefused(f"{where}: a source that is no database needs [tables.NAME]")
    for name, table in given.items():
        if set(table) - {"fresh"} != {"file", "columns", "of"} or not set(table["columns"].values()) <= _KINDS.keys():
            raise StartupRefused(f"{where}: [tables.{name}] has file, columns and of; a column is one of {', '.join(_KINDS)}")
        if not all(part.isascii() and part.isidentifier() for part in (name, *table["columns"])):
            raise StartupRefused(f"{where}: [tables.{name}] names are letters, digits and underscores")
        check(where, f"tables.{name}", table["of"], frozenset({manifest.identity}), needs=manifest.identity)
        made[name] = Table(name, table["file"], table["columns"], table["of"], table.get("fresh") is True)
    files = manifest.options.get("files", {})
    try:
        ZoneInfo(files.get("zone", "Europe/London"))
    except (ZoneInfoNotFoundError, ValueError):
        raise StartupRefused(f"{where}: [files] zone is not a time zone") from None
    return Tables(made, **files)


class Loaded:
    """A database in memory that holds these rows and nothing else: a `Driver`, and a plain way to ask."""

    def __init__(self, tables: Tables, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        for table in tables.by_name.values():
            columns = ", ".join(f"{name} {_KINDS[kind]}" for name, kind in table.columns.items())
            self._database.execute(f"create table {table.name} ({columns})")
            alike = dict.fromkeys(tuple(row.get(name) for name in table.columns) for row in rows.get(table.name, ()))
            places = ", ".join("?" * len(table.columns))
            self._database.executemany(f"insert into {table.name} values ({places})", alike)  # noqa: S608 - an identifier
            for name in table.columns:
                if name.endswith("_id") or name in ("nhs_number", "local_id"):
                    self._database.execute(f"create index {table.name}_{name} on {table.name} ({name})")
        self._database.execute("pragma query_only = on")

    def ask(self, sql: str, binds: Mapping[str, object]) -> Rows:
        """One statement -> its rows. Raises `SourceContractBroken` for one that these tables cannot answer."""
        values = {name: value.isoformat() if isinstance(value, date) else value for name, value in binds.items()}
        try:
            return [dict(row) for row in self._database.execute(sql, values)]
        except sqlite3.Error:
            raise SourceContractBroken("the tables do not have the columns that the manifest asks for") from None

    async def __call__(self, asked: Asked) -> Sequence[Rows]:
        return [self.ask(sql, binds) for sql, binds in asked]

    async def close(self) -> None:
        """Let go of the rows."""
        self._database.close()


def of_person(tables: Tables, loaded: Loaded, key: str, whose: str) -> TableRows:
    """A whole bundle, loaded -> the rows of one person, blank cells left out."""
    kept: TableRows = {}
    for table in tables.by_name.values():
        found = loaded.ask(table.of, {key: whose})
        kept[table.name] = [{name: row[name] for name in table.columns if row[name] is not None} for row in found]
    return kept


def tidied(tables: Tables, table: Table, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows as they came -> rows as the statements read them. Raises `SourceContractBroken`."""
    made = []
    for row in rows:
        named = {spelt(name): value for name, value in row.items()}
        made.append({name: _value(tables, kind, named.get(spelt(name))) for name, kind in table.columns.items()})
    return made


def of_answer(tables: Tables, answer: Mapping[str, Any]) -> TableRows:
    """One JSON record -> its rows, by table. Raises `SourceContractBroken` where a table is absent or is no list of rows."""
    named = {spelt(name): value for name, value in answer.items()}
    kept: TableRows = {}
    for table in tables.by_name.values():
        rows = named.get(spelt(table.file))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SourceContractBroken(BAD_ROW)
        if any({spelt(name) for name in table.columns} - {spelt(name) for name in row} for row in rows):
            raise SourceContractBroken(LACKS_COLUMN)  # absent is said as null: a mark that was forgotten would read as none
        kept[table.name] = tidied(tables, table, rows)
    return kept


def together(parts: Iterable[Mapping[str, Sequence[Mapping[str, Any]]]]) -> TableRows:
    """Several records of one person -> their rows by table."""
    kept: TableRows = {}
    for part in parts:
        for name, rows in part.items():
            kept.setdefault(name, []).extend(dict(row) for row in rows)
    return kept


def _value(tables: Tables, kind: str, given: Any) -> str | int | None:
    if given is None or given == "":
        return None
    if isinstance(given, bool):
        if kind != "flag":
            raise SourceContractBroken(BAD_CELL)
        return int(given)
    if not isinstance(given, str | int | Decimal):
        raise SourceContractBroken(BAD_CELL)
    text = str(given).strip()
    try:
        match kind:
            case "whole":
                return int(text)
            case "day":
                return _moment(text, tables.days).date().isoformat()
            case "time":
                return _moment(text, tables.times).isoformat()
    except ValueError:
        raise SourceContractBroken(BAD_CELL) from None
    if kind == "flag":
        if text.lower() not in _TRUE | _FALSE:
            raise SourceContractBroken(BAD_CELL)
        return int(text.lower() in _TRUE)
    return text


def _moment(text: str, form: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.strptime(text, form)  # noqa: DTZ007 - the maps know the zone

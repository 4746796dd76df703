"""Returns that lie in a database instead of a folder: every `every_h` hours all of its tables, at one moment, are a delivery.

    [sources.NAME.options]
    format = "ssd"                      one whose tables have names: [returns.ssd.tables.ssd_person]
    database_url = "postgresql://reader@host/database"     of an account that may read and nothing else
    schema = "ssd_development"          where the tables are not in the account's own
    every_h = 24                        how often they are read
    as_of = "select max(...) from ..."  when a nightly copy was made; without it the tables are of the moment they are read

What is read is read like a set of files: the same tables required, the same locks, the same shelf. A database that is away or
has other tables is a delivery that failed, and is read again after a quarter of an hour; the last good one stands meanwhile.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.adapter import Arrival, Delivery, SourceContractBroken, SourceError, SourceSettings, Tools
from gateway.connectors.drop import NO_DATE
from gateway.connectors.returns_people import everyone
from gateway.connectors.returns_read import Reading, Rows, read_tables
from gateway.connectors.returns_shape import Format
from gateway.connectors.sql_statements import check
from gateway.connectors.sql_whole import WholeDatabase, WholeTable
from gateway.errors import StartupRefused

EVERY_H: Final = 24.0
AGAIN: Final = timedelta(minutes=15)
NO_TEXT: Final = "a column that holds no text, number or day"


@dataclass(slots=True)
class Taken:
    """One reading of the database: `gateway.adapter.Delivery`."""

    as_of: datetime
    fault: str | None
    _source: "ReturnsDatabase"
    name: str = "database"
    snapshot: bool = True
    doubts: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[tuple[str, str]] = ()

    def done(self) -> None:
        """Taken: read again when it is due."""
        if self.fault is None:
            self._source.taken()

    def refuse(self, reason: str) -> None:
        """Nothing lies anywhere: it is read again soon, and its owner has the reason as a task."""


class ReturnsDatabase:
    """The intake of one source."""

    def __init__(self, form: Format, source: SourceSettings, tools: Tools) -> None:
        where, options = f"sources.{source.name}.options", source.options
        if not form.tables or not all(name.isidentifier() for name in form.tables):
            raise StartupRefused(f"{where}: format {form.name} is no set of tables that a database has")
        self._database = WholeDatabase(f"{where}.database_url", options.get("database_url"))
        self._schema, self._as_of = options.get("schema"), options.get("as_of")
        if self._schema is not None and not str(self._schema).isidentifier():
            raise StartupRefused(f"{where}: schema is a name")
        if self._as_of is not None:
            check(where, "as_of", str(self._as_of), frozenset(), needs=None)
        every = str(options.get("every_h", EVERY_H))
        if not every.replace(".", "", 1).isdigit() or float(every) <= 0:
            raise StartupRefused(f"{where}: every_h must be a number of hours")
        self._every = timedelta(hours=float(every))
        self._form, self._source, self._tools = form, source, tools
        self._next: datetime | None = None

    async def arrivals(self) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """The tables with everyone in them, when they are due; what cannot be read comes with nobody and its reason."""
        now = self._tools.now()
        if self._next is None:  # what another process of ours read a while ago need not be read again
            delivered = await self._tools.shelf.delivered_at()
            self._next = now if delivered is None or delivered > now else delivered + self._every
        if now < self._next:
            return
        self._next = now + AGAIN
        try:
            tables, as_of = await self._database.tables(self._schema, tuple(self._form.tables), self._as_of)
            reading = read_whole(self._form, tables, _moment(self._form, as_of) if self._as_of is not None else now)
            arrivals = everyone(reading, self._source.custodian)
        except SourceError as fault:
            yield Taken(now, fault.reason, self), ()
            return
        yield Taken(reading.as_of or now, None, self), arrivals

    def taken(self) -> None:
        """What was read is on the shelf."""
        self._next = self._tools.now() + self._every


def read_whole(form: Format, tables: Mapping[str, WholeTable], as_of: datetime) -> Reading:
    """Tables of a database -> whose records they hold. Raises `SourceContractBroken`."""
    sheets: list[tuple[str, Rows]] = []
    for name in form.tables:  # a locator tells the table by its place in the manifest's own list
        if name in tables:
            whole = tables[name]
            rows: list[tuple[int, Sequence[str | None]]] = [(0, list(whole.columns))]
            rows += [(number, [_text(form, cell) for cell in row]) for number, row in enumerate(whole.rows, start=1)]
            sheets.append((f"{name}, ", rows))
    return read_tables(form, sheets, as_of)


def _text(form: Format, cell: Any) -> str | None:
    """A value as a file would have it: days in ISO 8601, whole numbers without a point, times in the format's own zone."""
    if cell is None:
        return None
    if isinstance(cell, bool):
        return "1" if cell else "0"
    if isinstance(cell, datetime):
        local = cell.astimezone(ZoneInfo(form.zone)).replace(tzinfo=None) if cell.tzinfo else cell
        return local.date().isoformat() if local.time() == time(0) else local.isoformat(sep=" ")
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float | Decimal):
        return str(int(cell)) if cell == cell // 1 else str(cell)
    if isinstance(cell, bytes | bytearray | memoryview):
        raise SourceContractBroken(NO_TEXT)
    return str(cell).strip() or None


def _moment(form: Format, said: Any) -> datetime:
    """What `as_of` answered -> aware UTC. Raises `SourceContractBroken`."""
    try:
        moment = datetime.fromisoformat(said) if isinstance(said, str) else said
    except ValueError:
        raise SourceContractBroken(NO_DATE) from None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(0))
    if not isinstance(moment, datetime):
        raise SourceContractBroken(NO_DATE)
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(form.zone))).astimezone(UTC)

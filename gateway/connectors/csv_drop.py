"""Connector `csv-drop`: CSV files from a drop folder to the shelf, and from there to the line.

    [csv]
    schema = "..."                  of mappings/<adapter>/source.yaml
    kind = "contact"                of the shelf's rows
    delivers = "increments"         or "snapshot": who is no longer listed is gone
    columns = ["Pupil", "NHS No", "Born", "Contact", "Seen", "Written"]     each of them, in any order, and no other
    unread = ["Remarks"]            those of them that are not looked at and come into no record; default: none
    identity = "NHS No"             whose record it is; what kind of key this is says the manifest's own `identity`
    birth_date = "Born"
    key = "Contact"                 the sender's own key of a record; the newest of one key wins
    as_of = "Written"               when the record, or the whole snapshot, was true: every row says it
    group = false                   true: all rows of one key are one record, { rows = [...] }
    delimiter = ","
    quote = '"'                     empty: nothing is quoted
    encoding = "utf-8"              or "cp1252"; a byte order mark outranks it
    dates = "%d/%m/%Y"              of `birth_date`; default: ISO 8601
    times = "%d/%m/%Y %H:%M"        of `as_of`; default: ISO 8601
    zone = "Europe/London"          of times that name none
    lock = "Address lock"           column: any word in it, but those of `no_lock`, is a lock on the person
    locked = "Restricted"           column: any word in it, but those of `no_lock`, is the source's own lock on the record
    no_lock = ["N"]
    moves = true                    increments by NHS number only: a key newer under another number is that record corrected
    deleted = { column = "State", values = ["D"] }      increments only: the sender deleted the record
    period = { start = "Begun", end = "Ended", tail_months = 12, deleted = "Void" }     period_now.py; `deleted` may be left out

Cells are text, trimmed, and absent when blank. The connector adds `_locks` (kinds of lock), `_period` (where it stands today)
and, past its age, `_stale`, which source.yaml lists like any other field. A row that cannot be used is refused by its place
("row 14") and the others go on; in a snapshot it refuses the whole file, since who is in that row would count as gone.
Increments that are the sender's whole list each time say so beside `[csv]`, `lists_all = true`: then a row that cannot be taken
makes the source incomplete for everybody until a list is whole (docs/adr/0022).
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import structs

from gateway.adapter import (
    Arrival,
    Claim,
    Delivery,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Want,
)
from gateway.connectors.csv_rows import ENCODINGS, Row, rows_of
from gateway.connectors.drop import Opened, opened_drop, records_of
from gateway.connectors.from_shelf import LOCKS, from_shelf, lock_of
from gateway.connectors.period_now import PERIOD, period_now, voided
from gateway.errors import StartupRefused

CAP_BYTES: Final = 64_000_000
MAX_AGE_H: Final = 48.0  # of a snapshot, where the source's settings say nothing

NO_IDENTITY: Final = "a row without its identity"
NO_KEY: Final = "a row without its key"
NO_TIME: Final = "a row without a readable date of its own"
BAD_BIRTH_DATE: Final = "a birth date that cannot be read"
TWO_PEOPLE: Final = "rows of one record that name two people"
TWO_DATES: Final = "rows of one extract with different dates of it"
TWICE: Final = "one key listed twice"

_NEEDED = frozenset(("schema", "kind", "delivers", "columns", "identity", "key", "as_of"))


class _Refused(Exception):
    """A row, or a group of rows, that cannot be used."""


@dataclass(frozen=True, slots=True)
class Shape:
    """`[csv]` of a manifest."""

    schema: str
    kind: str
    delivers: str
    columns: Sequence[str]
    identity: str
    key: str
    as_of: str
    birth_date: str = ""
    unread: Sequence[str] = ()
    group: bool = False
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    dates: str = ""
    times: str = ""
    zone: str = "Europe/London"
    lock: str = ""
    locked: str = ""
    no_lock: Sequence[str] = ()
    moves: bool = False
    deleted: Mapping[str, Any] = field(default_factory=dict)
    period: Mapping[str, Any] = field(default_factory=dict)


class CsvDrop:
    """One source: `Adapter` over its shelf, `Intake` over its folder."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._source, self._tools = manifest, source, tools
        self._shape = read_shape(manifest)
        snapshot = self._shape.delivers == "snapshot"
        self._max_age_h = MAX_AGE_H if snapshot else None
        self._drop = opened_drop(source, tools, suffixes=frozenset((".csv", ".txt")), cap_bytes=CAP_BYTES, snapshot=snapshot)

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's records on the shelf, how fresh it is, which locks they assert."""
        today = self._tools.now().astimezone(ZoneInfo(self._shape.zone)).date()
        async for item in from_shelf(self._manifest, self._source, self._tools, patient, want, max_age_h=self._max_age_h):
            yield _placed(self._shape, item, today) if isinstance(item, SourceRecord) else item

    def arrivals(self) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """Each waiting file with its records; one that is not usable comes empty and ends in refused/."""
        return self._drop.arrivals(self._read)

    def _read(self, body: bytes) -> Opened:
        return read_delivery(self._shape, self._manifest.identity, body, self._source.custodian)


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> CsvDrop:
    """A manifest and a source -> its adapter, which is its intake too. Raises `StartupRefused`."""
    return CsvDrop(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """A whole file -> its records. Raises `SourceContractBroken` for its form, `RowsRefused` where rows cannot be used."""
    shape = read_shape(manifest)
    opened = read_delivery(shape, manifest.identity, body, "")
    return records_of(
        Opened(opened.as_of, [_placed_arrival(shape, arrival) for arrival in opened.arrivals], opened.refused_rows),
        snapshot=shape.delivers == "snapshot",
    )


def read_delivery(shape: Shape, identity: str, body: bytes, sender: str) -> Opened:
    """A whole file -> its records, and the rows refused. Raises `SourceContractBroken` when it is unusable as a whole."""
    snapshot = shape.delivers == "snapshot"
    refused: list[tuple[str, str]] = []
    found: dict[tuple[str, datetime | None], list[tuple[Arrival, Sequence[Row]]]] = {}
    for rows in _groups(shape, body, refused):
        try:
            arrival = _arrival(shape, identity, rows, sender)
        except _Refused as refusal:
            refused += [(row.where, str(refusal)) for row in rows]
            continue
        found.setdefault((arrival.business_id, None if snapshot else arrival.as_of), []).append((arrival, rows))
    arrivals = []
    for alike in found.values():  # of one key, and of one time: which of them is true nobody can say
        if len(alike) == 1:
            arrivals.append(alike[0][0])
        else:
            refused += [(row.where, TWICE) for _, rows in alike for row in rows]
    dates = {arrival.as_of for arrival in arrivals}
    if snapshot and len(dates) > 1:
        raise SourceContractBroken(TWO_DATES)
    return Opened(max(dates, default=None), arrivals, refused)


def read_shape(manifest: Manifest) -> Shape:
    """`[csv]` of the manifest -> `Shape`. Raises `StartupRefused` naming what is missing, unknown or does not fit."""
    where = f"adapters/{manifest.name}/manifest.toml: [csv]"
    table = manifest.options.get("csv", {})
    missing = sorted(_NEEDED - set(table))
    if missing:
        raise StartupRefused(f"{where} needs {', '.join(missing)}")
    unknown = sorted(set(table) - {item.name for item in fields(Shape)})
    if unknown:
        raise StartupRefused(f"{where} does not know {', '.join(unknown)}")
    shape = Shape(**table)
    if shape.schema not in manifest.reads:
        raise StartupRefused(f"{where} gives a schema that `reads` does not list")
    if shape.delivers not in ("increments", "snapshot"):
        raise StartupRefused(f'{where} delivers "increments" or "snapshot"')
    if shape.deleted and (shape.delivers == "snapshot" or shape.group or set(shape.deleted) != {"column", "values"}):
        raise StartupRefused(f"{where} deleted is {{ column, values }}, of increments with one row a record")
    if shape.moves and (shape.delivers == "snapshot" or shape.group or manifest.identity != "nhs_number"):
        raise StartupRefused(f"{where} moves is for increments by NHS number, of one row a record")
    if shape.period and (shape.group or set(shape.period) - {"deleted"} != {"start", "end", "tail_months"}):
        raise StartupRefused(f"{where} period is {{ start, end, tail_months, deleted }}, of one row a record")
    used = {
        shape.period.get("start", ""),
        shape.period.get("end", ""),
        shape.period.get("deleted", ""),
        shape.identity,
        shape.key,
        shape.as_of,
        shape.birth_date,
        shape.lock,
        shape.locked,
        shape.deleted.get("column", ""),
    } - {""}
    if (used | set(shape.unread)) - set(shape.columns):
        unlisted = sorted((used | set(shape.unread)) - set(shape.columns))
        raise StartupRefused(f"{where} uses columns that `columns` does not list: {', '.join(unlisted)}")
    if used & set(shape.unread):
        raise StartupRefused(f"{where} uses columns that `unread` lists: {', '.join(sorted(used & set(shape.unread)))}")
    if shape.encoding not in ENCODINGS:
        raise StartupRefused(f"{where} encoding is one of {', '.join(sorted(ENCODINGS))}")
    if len(shape.delimiter) != 1 or len(shape.quote) > 1 or shape.delimiter in (shape.quote, "\r", "\n", " "):
        raise StartupRefused(f"{where} delimiter is one character, quote another or none")
    try:
        ZoneInfo(shape.zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise StartupRefused(f"{where} zone is not a time zone") from None
    return shape


def _groups(shape: Shape, body: bytes, refused: list[tuple[str, str]]) -> Iterator[Sequence[Row]]:
    """The rows of each record. Where one row of a record is refused, so are the others: half a record is another record."""
    form = {"encoding": shape.encoding, "delimiter": shape.delimiter, "quote": shape.quote}
    rows = rows_of(body, columns=shape.columns, unread=shape.unread, **form)
    by_key: dict[str, list[Row]] = {}
    for row in rows:
        fault = row.fault or (None if shape.key in row.cells else NO_KEY)
        if shape.group:
            if fault is not None and shape.key not in row.cells:  # which record lacks it, nobody can say
                raise SourceContractBroken(fault)
            by_key.setdefault(row.cells[shape.key], []).append(row)
        elif fault is not None:
            refused.append((row.where, fault))
        else:
            yield (row,)
    for group in by_key.values():
        fault = next((row.fault for row in group if row.fault), None)
        if fault is None:
            yield group
        else:
            refused += [(row.where, fault) for row in group]


def _arrival(shape: Shape, identity: str, rows: Sequence[Row], sender: str) -> Arrival:
    first = rows[0]
    abouts = {_claim(shape, identity, row.cells) for row in rows}
    if len(abouts) > 1:
        raise _Refused(TWO_PEOPLE)
    about = abouts.pop()
    as_of = max(_time(shape, row.cells) for row in rows)
    locks = frozenset(lock_of(word.lower()) for word in _words(shape, shape.lock, rows))
    if _known_day(shape, first.cells.get(shape.period.get("deleted", ""))) is not None:
        locks = frozenset()  # what was entered in error protects nobody; what merely ended may have to
    data: dict[str, Any] = {"rows": [dict(row.cells) for row in rows]} if shape.group else dict(first.cells)
    if locks:
        data[LOCKS] = sorted(locks)
    record = SourceRecord(shape.schema, data, first.where, as_of, about, bool(_words(shape, shape.locked, rows)))
    gone = bool(shape.deleted) and first.cells.get(shape.deleted["column"], "") in shape.deleted["values"]
    key = first.cells[shape.key]
    return Arrival(shape.kind, key, sender, as_of, about, None if gone else record, protected=locks, moves=shape.moves)


def _placed_arrival(shape: Shape, arrival: Arrival) -> Arrival:
    """An arrival whose period stands where it stood on the record's own day."""
    record = arrival.record
    return arrival if record is None else replace(arrival, record=_placed(shape, record, record.as_of.date()))


def _placed(shape: Shape, record: SourceRecord, today: date) -> SourceRecord:
    """A record -> the same with where its period stands today; it is not stored, for tomorrow it stands elsewhere."""
    if not shape.period:
        return record
    start, end = (_known_day(shape, record.data.get(shape.period[name])) for name in ("start", "end"))
    stands = period_now(start, end, today, shape.period["tail_months"])
    if (deleted := record.data.get(shape.period.get("deleted", ""))) is not None:
        stands = voided(stands, _known_day(shape, deleted))
    return structs.replace(record, data={**record.data, PERIOD: stands})


def _known_day(shape: Shape, text: str | None) -> date | None:
    """A day of a period; None where it cannot be read, so that it neither begins nor ends anything."""
    try:
        return _day(shape, text)
    except _Refused:
        return None


def _words(shape: Shape, column: str, rows: Sequence[Row]) -> set[str]:
    return {row.cells[column] for row in rows if column in row.cells} - set(shape.no_lock)


def _claim(shape: Shape, identity: str, cells: Mapping[str, str]) -> Claim:
    key = cells.get(shape.identity)
    if key is None:
        raise _Refused(NO_IDENTITY)
    born = _day(shape, cells.get(shape.birth_date))
    if identity == "nhs_number":
        return Claim(nhs_number=key.replace(" ", "").replace("-", ""), birth_date=born)
    return Claim(local_id=key, birth_date=born)


def _day(shape: Shape, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, shape.dates).date() if shape.dates else date.fromisoformat(text)  # noqa: DTZ007 - a day
    except ValueError:
        raise _Refused(BAD_BIRTH_DATE) from None


def _time(shape: Shape, cells: Mapping[str, str]) -> datetime:
    text = cells.get(shape.as_of)
    if text is None:
        raise _Refused(NO_TIME)
    try:
        moment = datetime.strptime(text, shape.times) if shape.times else datetime.fromisoformat(text)  # noqa: DTZ007 - see zone
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(shape.zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Refused(NO_TIME) from None

"""A file of returns -> whose records it holds, in one of the formats of the manifest: the file itself says which.

XML is told by its root, a CSV file by its columns, a sheet by its columns too, a ZIP by what is in it. Names of files and
sheets are never asked: they differ from place to place. Rows of all tables of one person become one tree,
`{table: [row, ...]}`; an element of an XML format becomes the tree that it is.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from gateway.adapter import SourceContractBroken, Tree
from gateway.connectors import archive, workbook
from gateway.connectors.csv_rows import CELLS_DIFFER, NOT_CSV, ROWS, TOO_MANY_ROWS, fault_of, unstorable
from gateway.connectors.drop import NO_DATE, decoded
from gateway.connectors.returns_shape import Format, Table, spelt
from gateway.connectors.xml_tree import Element, below, parse, text_at, tree_of

UNKNOWN_FORMAT: Final = "not a return of a format this source takes"
TWO_TABLES: Final = "one table twice in a delivery"
MIXED: Final = "tables of two formats in one delivery"
LACKS_TABLE: Final = "a delivery that lacks a table it cannot be read without"
TWO_COLUMNS: Final = "two columns of one name"

Rows: TypeAlias = Sequence[tuple[int, Sequence[str | None]]]

_HEADER_ROWS = 12  # titles and notes may stand above a sheet's header


@dataclass(frozen=True, slots=True)
class Person:
    """One person's record as the format has it, before anything is worked out."""

    where: str
    tree: dict[str, Tree]
    identity: str
    said: Sequence[Sequence[str]] = ()  # of XML: for each lock of the format, what its elements say; a blank one says ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One delivery, read."""

    format: Format
    as_of: datetime | None
    sender: str | None
    people: Sequence[Person]


@dataclass(slots=True)
class _Tables:
    """The tables of one delivery: rows with their places."""

    format: Format
    rows: dict[str, list[tuple[str, dict[str, str]]]] = field(default_factory=dict)
    _by: dict[tuple[str, str], dict[str, dict[str, str]]] = field(default_factory=dict)

    def by(self, table: str, key: str) -> Mapping[str, dict[str, str]]:
        """The rows of a table by one of its columns."""
        if (table, key) not in self._by:
            self._by[table, key] = {row[key]: row for _, row in self.rows.get(table, ()) if key in row}
        return self._by[table, key]


def read(formats: Mapping[str, Format], body: bytes, *, whole: bool) -> Reading:
    """A file -> what it holds. `whole`: it is a delivery, and must have every table that its format requires.

    Raises `SourceContractBroken` for a file that no format of these knows, or that is broken in any part.
    """
    if body.startswith(archive.MAGIC):
        members = archive.unpacked(body)
        if workbook.is_workbook(members):
            return _workbook(formats, body, members, whole=whole)
        return _set(formats, members, whole=whole)
    if _looks_like_xml(body):
        return _xml(formats, body, None)
    return _gathered(formats, [("", _csv(body))], None, whole=whole)


def _set(formats: Mapping[str, Format], members: Sequence[archive.Member], *, whole: bool) -> Reading:
    """A ZIP of CSV files, or of one XML file: as of the newest of them."""
    written = max((member.written for member in members if member.written is not None), default=None)
    if len(members) == 1 and _looks_like_xml(members[0].body):
        return _xml(formats, members[0].body, written)
    tables = [("", _csv(member.body)) for member in members]
    return _gathered(formats, tables, written, whole=whole)


def _workbook(formats: Mapping[str, Format], body: bytes, members: Sequence[archive.Member], *, whole: bool) -> Reading:
    book = workbook.read(body, members)
    return _gathered(formats, [(f"sheet {sheet.number}, ", sheet.rows) for sheet in book.sheets], book.saved, whole=whole)


def _looks_like_xml(body: bytes) -> bool:
    return body[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").startswith(b"<")


# ------------------------------------------------------------------------------------------------------------------ XML


def _xml(formats: Mapping[str, Format], body: bytes, written: datetime | None) -> Reading:
    root = parse(body)
    found = [one for one in formats.values() if one.record.split("/")[0] == root.tag]
    if not found:
        raise SourceContractBroken(UNKNOWN_FORMAT)
    form = found[0]
    _, *path = form.record.split("/")
    elements = list(enumerate(below(root, path), start=1))
    as_of = _said(form, root) or _local(form, written)
    if form.tables:
        tables = _Tables(form)
        for number, element in elements:
            _rows_of_element(tables, element, f"{path[-1]} {number}")
        return Reading(form, as_of, None, _people(tables))
    people = []
    for number, element in elements:
        tree = tree_of(element)
        said = [[one.get("kind") or one.text or "" for one in below(element, lock.at.split("/"))] for lock in form.locks]
        whose = text_at(element, form.identity) or ""
        people.append(Person(f"{path[-1]} {number}", tree if isinstance(tree, dict) else {}, whose, said))
    return Reading(form, as_of, text_at(root, form.sender), people)


def _rows_of_element(tables: _Tables, element: Element, where: str) -> None:
    """A person's element -> rows of tables: its own id goes into each."""
    form = tables.format
    person = text_at(element, form.identity) or ""
    for at, name in form.elements.items():
        for found in below(element, at.split("/")):
            inner = {path.split("/")[-1] for path in form.elements if path.startswith(f"{at}/")}
            cells = [(str(child.tag), (child.text or "").strip()) for child in found if child.tag not in inner]
            row = {form.renamed.get(tag, tag): text for tag, text in cells if text and text not in form.absent}
            if row:
                row.setdefault(form.tables[name].person, person)
                tables.rows.setdefault(name, []).append((where, _tidied(form, form.tables[name], row)))


def _said(form: Format, root: Element) -> datetime | None:
    for path in form.as_of:
        text = text_at(root, path)
        if text is None:
            continue
        try:
            return _aware(form, datetime.fromisoformat(text))
        except (ValueError, OverflowError):
            raise SourceContractBroken(NO_DATE) from None
    return None


# --------------------------------------------------------------------------------------------------------------- tables


def _csv(body: bytes) -> Rows:
    """CSV, UTF-8 or, where it is not that, as spreadsheets on Windows write it -> rows of cells. Blank rows are left out."""
    try:
        text = decoded(body, "utf-8")
    except SourceContractBroken:
        text = decoded(body, "cp1252")
    rows: list[tuple[int, Sequence[str | None]]] = []
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1):
            if number > ROWS:
                raise SourceContractBroken(TOO_MANY_ROWS)
            trimmed = [cell.strip() or None for cell in cells]
            if any(cell is not None for cell in trimmed):
                rows.append((number, trimmed))
    except csv.Error:
        raise SourceContractBroken(NOT_CSV) from None
    if rows and any(len(cells) != len(rows[0][1]) for _, cells in rows):
        raise SourceContractBroken(CELLS_DIFFER)
    return rows


def _gathered(
    formats: Mapping[str, Format],
    sheets: Sequence[tuple[str, Rows]],
    written: datetime | None,
    *,
    whole: bool,
    fault: Callable[[str], str | None] = fault_of,
) -> Reading:
    tables: _Tables | None = None
    strange = False
    for place, rows in sheets:
        known = _recognised(formats, rows)
        if known is None:
            strange = strange or bool(rows and (not place or _lists_people(formats, rows)))  # a workbook may hold notes
            continue
        form, name, start, header = known
        tables = tables or _Tables(form)
        if tables.format is not form:
            raise SourceContractBroken(MIXED)
        if name in tables.rows:
            raise SourceContractBroken(TWO_TABLES)
        tables.rows[name] = [
            (f"{place}row {number}", _tidied(form, form.tables[name], _row(form, header, cells, fault)))
            for number, cells in rows[start:]
        ]
    if tables is None or (strange and not tables.format.more_tables):
        raise SourceContractBroken(UNKNOWN_FORMAT)
    lacking = [name for name, table in tables.format.tables.items() if table.required and name not in tables.rows]
    is_workbook = any(place for place, _ in sheets)  # one has every list, or nobody can say who is not in it
    if lacking and (whole or is_workbook):
        raise SourceContractBroken(f"{LACKS_TABLE}: {lacking[0]}")
    return Reading(tables.format, _local(tables.format, written), None, _people(tables))


def read_tables(form: Format, tables: Sequence[tuple[str, Rows]], as_of: datetime) -> Reading:
    """Whole tables that no file held, each with its header as its first row -> what they hold. Raises `SourceContractBroken`.

    A cell of a database is nobody's formula.
    """
    return _gathered({form.name: form}, tables, as_of, whole=True, fault=unstorable)


def _recognised(formats: Mapping[str, Format], rows: Rows) -> tuple[Format, str, int, Sequence[str]] | None:
    """(format, table, where its rows begin, its columns): of the tables that fit, the one that asks for the most columns."""
    best: tuple[int, Format, str, int, Sequence[str]] | None = None
    for start, (_, cells) in enumerate(rows[:_HEADER_ROWS], start=1):
        words = [cell or "" for cell in cells]
        for form in formats.values():
            header = [_column(form, word) for word in words]
            for name, table in form.tables.items():
                if table.columns <= set(header) and (best is None or len(table.columns) > best[0]):
                    best = (len(table.columns), form, name, start, header)
        if best is not None:
            break
    if best is None:
        return None
    named = [word for word in best[4] if word]
    if len(set(named)) < len(named):
        raise SourceContractBroken(TWO_COLUMNS)
    return best[1:]


def _lists_people(formats: Mapping[str, Format], rows: Rows) -> bool:
    """Whether a sheet that is no known table names people all the same: one column misspelt, and everybody in it is gone."""
    people = {spelt(table.person) for form in formats.values() for table in form.tables.values() if table.person}
    return any(spelt(cell or "") in people for _, cells in rows[:_HEADER_ROWS] for cell in cells)


def _column(form: Format, word: str) -> str:
    """A header's cell -> the column it means: as the manifest spells it, whatever its case, blanks and punctuation."""
    return form.spellings.get(spelt(word), " ".join(word.split()))


def _row(form: Format, header: Sequence[str], cells: Sequence[str | None], fault: Callable[[str], str | None]) -> dict[str, str]:
    row = {}
    for column, cell in zip(header, cells, strict=False):
        if column and cell is not None and cell not in form.absent:
            found = fault(cell)
            if found is not None:
                raise SourceContractBroken(found)
            row[column] = cell
    return row


def _tidied(form: Format, table: Table, row: dict[str, str]) -> dict[str, str]:
    """Days in ISO 8601 where they can be read; what cannot stays as it came, and its map refuses it."""
    for column in table.days:
        if column in row:
            day = day_of(form, row[column])
            row[column] = day.isoformat() if day is not None else row[column]
    return row


def _people(tables: _Tables) -> list[Person]:
    """Rows of every table -> one tree a person, in the order of first mention; rows of nobody are nobody's."""
    form, found = tables.format, dict[str, Person]()
    for name, table in form.tables.items():
        if not table.person:
            continue
        for where, row in tables.rows.get(name, ()):
            whose = row.get(table.person, "")
            if whose in form.nobody:
                continue
            person = found.setdefault(whose, Person(where, {}, whose))
            person.tree.setdefault(name, []).append(_looked_up(tables, table, row))
    return list(found.values())


def _looked_up(tables: _Tables, table: Table, row: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = dict(row)
    for look in table.look:
        wanted = row.get(look.by)
        there = tables.by(look.table, look.key).get(wanted) if wanted is not None else None
        if there is not None:
            made[look.as_] = dict(there)
    return made


# ----------------------------------------------------------------------------------------------------------------- days


def day_of(form: Format, text: str) -> date | None:
    """A cell -> the day it says; None when it cannot be read."""
    for shape in ("", *form.forms):
        try:
            return datetime.strptime(text, shape).date() if shape else date.fromisoformat(text)  # noqa: DTZ007 - a day
        except ValueError:
            continue
    return None


def _local(form: Format, written: datetime | None) -> datetime | None:
    return None if written is None else _aware(form, written)


def _aware(form: Format, moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(form.zone))).astimezone(UTC)


def elements_of(tree: Tree, path: Sequence[str]) -> Iterator[Any]:
    """What lies at a path of names, lists entered."""
    if isinstance(tree, list):
        for item in tree:
            yield from elements_of(item, path)
    elif not path:
        if tree is not None:
            yield tree
    elif isinstance(tree, dict):
        yield from elements_of(tree.get(path[0]), path[1:])

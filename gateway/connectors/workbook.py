"""Workbooks (.xlsx) as the drops take them: bytes -> sheets of rows of text, read only, nothing computed, nothing fetched.

A workbook is an archive of XML, so it is opened as one first: size, document types, macros and links to other files are
looked for before the reader of spreadsheets sees it.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from io import BytesIO
from typing import Any, Final

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from gateway.adapter import SourceContractBroken
from gateway.connectors.archive import Member

NOT_WORKBOOK: Final = "not a sound workbook"
DOCTYPE: Final = "a workbook with an XML document type, which is not taken"
OTHER_TEXT: Final = "a workbook in another encoding than UTF-8"
MACROS: Final = "a workbook with macros"
LINKED: Final = "a workbook with links to other files"
TOO_LARGE: Final = "a sheet with more rows or columns than any list has"

CONTENT_TYPES: Final = "[Content_Types].xml"
ROWS: Final = 200_000
COLUMNS: Final = 400
SHEETS: Final = 60

OUT_OF_ORDER: Final = "a row or cell that does not come after the one before it"
OTHER_FORM: Final = "in a form of the format that is not read (Strict Open XML)"

_XML = (".xml", ".rels", ".vml")
_SHEET = re.compile(rb"<(?:\w+:)?sheet\s")
_CELLS = re.compile(rb"<(?:\w+:)?(row|c)(?=[\s/>])([^>]*)")
_PLACE = re.compile(rb"""(?<![\w:.-])r\s*=\s*["']([^"']*)""")
_CELL_AT = re.compile(rb"([A-Z]{1,3})([1-9][0-9]{0,6})")
_SHEET_DATA = re.compile(rb"<(?:\w+:)?sheetData")
_SHEET_NUMBER = re.compile(r"sheet([0-9]{1,3})\.xml$")
_NAMESPACE = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_ENCODING = re.compile(rb"""encoding\s*=\s*["']([^"']*)""")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet: rows as a spreadsheet counts them, cells as trimmed text, None where blank."""

    number: int
    rows: Sequence[tuple[int, Sequence[str | None]]]


@dataclass(frozen=True, slots=True)
class Workbook:
    """Every sheet, and when the workbook was last saved."""

    saved: datetime | None
    sheets: Sequence[Sheet]


def is_workbook(members: Sequence[Member]) -> bool:
    """Whether an archive is a workbook."""
    return any(member.name == CONTENT_TYPES for member in members)


def read(body: bytes, members: Sequence[Member]) -> Workbook:
    """A workbook, already unpacked within its cap -> its sheets. Raises `SourceContractBroken`."""
    for member in members:
        _refuse_unfit(member)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
            book = openpyxl.load_workbook(BytesIO(body), read_only=True, data_only=True, keep_links=False)
            try:
                if len(book.worksheets) > SHEETS:
                    raise SourceContractBroken(TOO_LARGE)
                if len(book.worksheets) != _named(members):  # the library passes over a sheet that is not there
                    raise SourceContractBroken(NOT_WORKBOOK)
                sheets = [Sheet(number, list(_rows(sheet))) for number, sheet in enumerate(book.worksheets, start=1)]
            finally:
                book.close()
    except (
        *(InvalidFileException, zipfile.BadZipFile, SyntaxError, EOFError, OSError, RuntimeError),  # SyntaxError: a ParseError
        *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    ):
        raise SourceContractBroken(NOT_WORKBOOK) from None
    saved = book.properties.modified
    return Workbook(saved.replace(tzinfo=UTC) if saved is not None and saved.tzinfo is None else saved, sheets)


def _refuse_unfit(member: Member) -> None:
    name = member.name.lower()
    if "vbaproject" in name or (name.endswith((".bin", ".exe", ".dll")) and "printersettings" not in name):
        raise SourceContractBroken(MACROS)
    if "externallinks/" in name:
        raise SourceContractBroken(LINKED)
    if name.endswith(_XML):
        said = _ENCODING.search(member.body[:200])
        if b"\x00" in member.body[:4] or (said is not None and said[1].lower() not in (b"utf-8", b"us-ascii")):
            raise SourceContractBroken(OTHER_TEXT)
        if b"<!DOCTYPE" in member.body or b"<!ENTITY" in member.body:
            raise SourceContractBroken(DOCTYPE)
        if _SHEET_DATA.search(member.body):
            said_number = _SHEET_NUMBER.search(name)
            _refuse_unread(member.body, f"sheet {said_number[1]}: " if said_number else "")


def _refuse_unread(sheet: bytes, where: str) -> None:
    """The library passes over what it does not expect: rows in another namespace, numbered below 1, twice or backwards."""
    if _NAMESPACE not in sheet:
        raise SourceContractBroken(f"{where}{OTHER_FORM}")
    row = column = 0
    for found in _CELLS.finditer(sheet):
        name, said = found[1], _PLACE.search(found[2])
        if name == b"row":
            number = row + 1 if said is None else int(said[1]) if said[1].isdigit() else 0
            if number <= row:
                raise SourceContractBroken(f"{where}{OUT_OF_ORDER}, after row {row}")
            row, column = number, 0
            continue
        place = None if said is None else _CELL_AT.fullmatch(said[1])
        across = column + 1 if said is None else _column(place[1]) if place and int(place[2]) == row else 0
        if across <= column:
            raise SourceContractBroken(f"{where}{OUT_OF_ORDER}, in row {row}")
        column = across


def _column(letters: bytes) -> int:
    """A -> 1, AA -> 27."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _named(members: Sequence[Member]) -> int:
    """How many sheets the workbook says it has."""
    return sum(len(_SHEET.findall(member.body)) for member in members if member.name.endswith("/workbook.xml"))


def _rows(sheet: Any) -> Iterator[tuple[int, Sequence[str | None]]]:
    sheet.reset_dimensions()  # what a sheet says of its own size is not believed
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number > ROWS or len(cells) > COLUMNS:
            raise SourceContractBroken(TOO_LARGE)
        texts = [_text(cell) for cell in cells]
        if any(text is not None for text in texts):
            yield number, texts


def _text(cell: Any) -> str | None:
    """A cell as CSV would write it: days and times in ISO 8601, whole numbers without a point."""
    if cell is None:
        return None
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time(0) else cell.isoformat()
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip() or None

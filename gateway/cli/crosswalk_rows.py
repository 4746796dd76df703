"""A CSV of verified matches -> links, and the rows that are none with why. No value of a row is ever quoted.

A file that contradicts itself about an id says nothing of that id: every one of its rows is refused.
"""

from collections.abc import Mapping, Sequence
from csv import DictReader
from csv import Error as CsvError
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from gateway import nhs_number
from gateway.cli.local_records import LONGEST, LOOKS_ALIKE, NO_DATE, NO_ID, NOT_PRINTED, RAGGED, looks_alike
from gateway.cli.say import lacking, repeated, unreadable
from gateway.matching import NOT_VALID
from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkRow

NEEDED: Final = ("local_id", "nhs_number")
READ: Final = (*NEEDED, "birth_date", "verified_on", "verified_by")
TWO_NUMBERS: Final = "one local id with two NHS numbers"
TWO_DATES: Final = "one local id with two birth dates"
NO_NUMBER: Final = "no NHS number"
NO_DAY: Final = "a day of verification that is none, or is to come"


@dataclass(frozen=True, slots=True)
class Line:
    """One row: where it stands, its local id where it can be said, and the link it asks for or why it is none."""

    number: int
    local_id: str
    link: CrosswalkRow | None = None
    reason: str = ""


def read(path: Path, source: str, *, today: date, allow_test: bool) -> Sequence[Line]:
    """The file's rows in their order. One clear line when it is no such file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = DictReader(file, strict=True)
            repeated(path, reader.fieldnames or ())
            missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
            if missing:
                lacking(path, reader.fieldnames or (), missing)
            lines = [_line(row, reader.line_num, source, today, allow_test=allow_test) for row in reader]
    except (OSError, UnicodeDecodeError, CsvError) as fault:
        unreadable(path, fault)
    contradicted = _contradicted(lines)
    return [
        Line(line.number, line.local_id, reason=contradicted[line.local_id])
        if line.link is not None and line.local_id in contradicted
        else line
        for line in lines
    ]


def _line(row: Mapping[str | None, str | list[str] | None], number: int, source: str, today: date, *, allow_test: bool) -> Line:
    cells = {name: str(row.get(name) or "").strip() for name in READ}
    local_id = cells["local_id"]
    if not all(cell.isprintable() for cell in cells.values()):
        return Line(number, "", reason=NOT_PRINTED)
    if any(looks_alike(column, cell) for column, cell in cells.items()):
        return Line(number, "", reason=LOOKS_ALIKE)
    if None in row or None in row.values() or any(len(cell) > LONGEST for cell in cells.values()):
        return Line(number, local_id[:LONGEST], reason=RAGGED)
    if not local_id:
        return Line(number, "", reason=NO_ID)
    if not cells["nhs_number"]:
        return Line(number, local_id, reason=NO_NUMBER)
    try:
        whose: NhsNumber = nhs_number.parse(cells["nhs_number"], allow_test=allow_test)
    except nhs_number.NotAnNhsNumber:
        return Line(number, local_id, reason=NOT_VALID)
    try:
        born = date.fromisoformat(cells["birth_date"]) if cells["birth_date"] else None
    except ValueError:
        return Line(number, local_id, reason=NO_DATE)
    try:
        verified_on = date.fromisoformat(cells["verified_on"]) if cells["verified_on"] else today
    except ValueError:
        return Line(number, local_id, reason=NO_DAY)
    if verified_on > today:
        return Line(number, local_id, reason=NO_DAY)
    by = cells["verified_by"] or "import"
    return Line(number, local_id, CrosswalkRow(source, local_id, whose, born, verified_on, by, came_from="import"))


def _contradicted(lines: Sequence[Line]) -> Mapping[str, str]:
    """Ids of which the file says two things -> which."""
    said: dict[str, CrosswalkRow] = {}
    found: dict[str, str] = {}
    for link in (line.link for line in lines if line.link is not None):
        first = said.setdefault(link.local_id, link)
        if first.number != link.number:
            found[link.local_id] = TWO_NUMBERS
        elif first.birth_date != link.birth_date:
            found.setdefault(link.local_id, TWO_DATES)
    return found

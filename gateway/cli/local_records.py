"""A custodian's list of people as CSV -> local records, or why a row cannot be one. No value of a row is ever quoted."""

import csv
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from gateway import nhs_number
from gateway.cli.say import lacking, repeated, unreadable
from gateway.matching import NOT_VALID
from gateway.nhs_number import NhsNumber
from gateway.ports import LocalRecord

# Our column, and the names it has in national and authority lists.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "local_id": ("local_id", "sourceid", "source_id", "lachildid", "child", "member_id", "person_id"),
    "nhs_number": ("nhs_number", "nhsnumber", "pers_single_unique_id", "pers_common_child_id"),
    "family": ("family", "surname", "family_name", "lastname", "last_name"),
    "given": ("given", "forename", "given_name", "firstname", "first_name"),
    "birth_date": ("birth_date", "dob", "birthdate", "dateofbirth", "date_of_birth"),
    "birth_date_status": ("birth_date_status", "dob_estimated", "dob_status"),
    "gender": ("gender", "sex"),
    "postcode": ("postcode", "post_code"),
    "upn": ("upn",),
}
NEEDED: Final = ("local_id", "birth_date")
IDS: Final = frozenset(("local_id", "upn", "nhs_number"))
NO_ID: Final = "no local id"
TWICE: Final = "the same local id in more than one row"
NO_DATE: Final = "a birth date that is none"
RAGGED: Final = "another number of columns than the header"
NOT_PRINTED: Final = "a character that is not printed"
LOOKS_ALIKE: Final = "an id in characters that look like others: it may be another id's"
LONGEST: Final = 200  # characters of a cell
_GENDERS: Final = {"m": "male", "male": "male", "1": "male", "f": "female", "female": "female", "2": "female"}
_DOUBTS: Final = {"": "", "n": "", "no": "", "0": "", "false": "", "actual": "", "expected": "expected", "unborn": "expected"}


@dataclass(frozen=True, slots=True)
class Survey:
    """A whole file, looked through once."""

    digest: str
    rows: int
    twice: frozenset[str]
    columns: Mapping[str, str]  # ours -> the file's


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is nobody yet: where it is, and what is wrong with it."""

    line: int
    local_id: str
    reason: str


def survey(path: Path) -> Survey:
    """The file's digest, how many rows, which ids come twice. One clear line when it is no such file."""
    ids: Counter[str] = Counter()
    try:
        with path.open("rb") as raw:
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            repeated(path, reader.fieldnames or ())
            columns = _columns(path, reader.fieldnames or ())
            for row in reader:
                ids[(row.get(columns["local_id"]) or "").strip()] += 1
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        unreadable(path, fault)
    twice = frozenset(local_id for local_id, count in ids.items() if count > 1 and local_id)
    return Survey(digest, ids.total(), twice, columns)


def records(path: Path, surveyed: Survey, source: str, *, after: int, allow_test: bool) -> Iterator[LocalRecord | BadRow]:
    """The rows behind the first `after`, in their order."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        for place, row in enumerate(reader):
            if place >= after:
                yield _record(row, reader.line_num, surveyed, source, allow_test=allow_test)


def _record(
    row: Mapping[str | None, str | list[str] | None], line: int, surveyed: Survey, source: str, *, allow_test: bool
) -> LocalRecord | BadRow:
    cells = {ours: str(row.get(theirs) or "").strip() for ours, theirs in surveyed.columns.items()}
    local_id = cells["local_id"][:LONGEST]
    if any(is_odd(column, cell) for column, cell in cells.items()):
        return BadRow(line, "", NOT_PRINTED)
    if any(looks_alike(column, cell) for column, cell in cells.items()):
        return BadRow(line, "", LOOKS_ALIKE)
    if None in row or None in row.values() or any(len(cell) > LONGEST for cell in cells.values()):
        return BadRow(line, local_id, RAGGED)
    if not local_id:
        return BadRow(line, "", NO_ID)
    if local_id in surveyed.twice:
        return BadRow(line, local_id, TWICE)
    number: NhsNumber | None = None
    if cells.get("nhs_number"):
        try:
            number = nhs_number.parse(cells["nhs_number"], allow_test=allow_test)
        except nhs_number.NotAnNhsNumber:
            return BadRow(line, local_id, NOT_VALID)
    try:
        born = _day(cells["birth_date"])
    except (ValueError, OverflowError):
        return BadRow(line, local_id, NO_DATE)
    return LocalRecord(
        source=source,
        local_id=local_id,
        number=number,
        family=cells.get("family", ""),
        given=cells.get("given", ""),
        birth_date=born,
        birth_date_doubt=_DOUBTS.get(cells.get("birth_date_status", "").casefold(), "estimated"),
        gender=_GENDERS.get(cells.get("gender", "").casefold(), ""),
        postcode=cells.get("postcode", ""),
        upn=cells.get("upn", ""),
    )


def is_odd(column: str, cell: str) -> bool:
    """Whether a cell holds what nobody typed: an id, anything that is not printed; another cell, a control character."""
    return not cell.isprintable() and (column in IDS or any(unicodedata.category(letter) == "Cc" for letter in cell))


def looks_alike(column: str, cell: str) -> bool:
    """Whether an id is another one to every reader but a person: full-width letters and digits, ligatures (Unicode NFKC)."""
    return column in IDS and unicodedata.normalize("NFKC", cell) != cell


def _day(text: str) -> date | None:
    """ISO or dd/mm/yyyy. Raises `ValueError` for anything else that is not empty."""
    if not text:
        return None
    if text[2:3] == "/":
        day, month, year = text.split("/")
        return date(int(year), int(month), int(day))
    return date.fromisoformat(text)


def _columns(path: Path, header: object) -> Mapping[str, str]:
    names = {str(name).strip().casefold(): str(name) for name in header} if isinstance(header, list | tuple) else {}
    found = {ours: names[known] for ours, theirs in COLUMNS.items() for known in theirs[::-1] if known in names}
    missing = [name for name in NEEDED if name not in found]
    if missing:
        lacking(path, list(names.values()), missing)
    return found

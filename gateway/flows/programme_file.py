"""The file of the Healthy Child Programme -> the reviews and the schedule, read whole or not at all.

A key that is not known is refused with its line: a review whose `by` is misspelt would never be overdue.
Source: mappings/healthy-child-programme.toml, dated rows.
"""

import calendar
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from gateway.errors import StartupRefused

FILE: Final = "healthy-child-programme.toml"
_AGE: Final = re.compile(r"([0-9]{1,3})(d|wk|mo|y)")
_LINE: Final = re.compile(r"at (line [0-9]+)")
_KEYS: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {  # of each kind of row: what it must say, what it may
    "": (frozenset(("version", "review", "vaccine", "immunisation")), frozenset(("reviewed", "source", "other_vaccines"))),
    "review": (frozenset(("id", "title", "due", "by")), frozenset(("types", "scores", "scored_from", "of", "until"))),
    "vaccine": (frozenset(("title", "procedures", "diseases")), frozenset(("ordinals",))),
    "immunisation": (frozenset(("vaccine", "dose", "due")), frozenset(("from", "to", "until"))),
}


@dataclass(frozen=True, slots=True)
class Review:
    """One review every child is to have."""

    id: str
    title: str
    types: frozenset[str]  # codes of the visit's type; compared as text: 0010 is not 10
    scores: frozenset[str]  # codes of what is scored at this review and at no other
    scored_from: str  # the age from which such a score is of this review
    of_mother: bool
    due: str
    by: str
    until: str  # from this age it is not made any more; "" where no age ends it


@dataclass(frozen=True, slots=True)
class Vaccine:
    """One vaccine, by the codes it is recorded under."""

    id: str
    title: str
    procedures: frozenset[str]
    diseases: frozenset[str]
    ordinals: Mapping[str, int]  # procedure codes that say which dose it was


@dataclass(frozen=True, slots=True)
class Dose:
    """One dose of the schedule, for those whose due date falls in its time."""

    vaccine: Vaccine
    number: int
    due: str
    until: str  # from this age it is not given any more; "" where no age ends it
    starts: date
    ends: date


@dataclass(frozen=True, slots=True)
class Programme:
    """The whole configuration of one version."""

    version: str
    reviews: tuple[Review, ...]
    doses: tuple[Dose, ...]
    known: frozenset[str]  # codes of vaccines: of these, and of those outside the schedule


def load_programme(folder: Traversable | Path) -> Programme:
    """The configuration of a mappings folder. Raises `StartupRefused`, with the file and the key."""
    place = folder.joinpath(FILE)
    try:
        text = place.read_text("utf-8")
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = _LINE.search(str(error))
        raise _refused(place, f"is not TOML{f' at {line[1]}' if line else ''}") from None
    except (OSError, UnicodeDecodeError):
        raise _refused(place, "cannot be read") from None
    if fault := _fault(table, text):
        raise _refused(place, fault)
    try:
        return _programme(table)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _refused(place, "has a value that is not of its kind") from None


def _refused(place: Traversable | Path, why: str) -> StartupRefused:
    return StartupRefused(f"{place} {why}: write it as docs/healthy-child-programme.md shows")


def _fault(table: Mapping[str, Any], text: str) -> str:
    """What is wrong with the keys and ages of the file; "" where nothing is."""
    rows: list[tuple[str, str, Any]] = [("", "the file", table)]
    for kind in ("review", "immunisation"):
        listed = table.get(kind, ())
        if not isinstance(listed, list | tuple):
            return f"has no [[{kind}]] rows"
        rows += [(kind, f"[[{kind}]] number {place}", row) for place, row in enumerate(listed, 1)]
    vaccines = table.get("vaccine", {})
    if not isinstance(vaccines, dict):
        return "has no [vaccine.X] tables"
    rows += [("vaccine", f"[vaccine.{name}]", row) for name, row in vaccines.items()]
    for kind, title, row in rows:
        must, may = _KEYS[kind]
        if not isinstance(row, dict):
            return f"has in {title} no table"
        if unknown := sorted(row.keys() - must - may):
            return f"has in {title} a key that is not known: {unknown[0]}{_line_of(unknown[0], text)}"
        if missing := sorted(must - row.keys()):
            return f"misses in {title} the key {missing[0]}"
        for key in ("due", "by", "until", "scored_from"):
            if key in row and not (isinstance(row[key], str) and _AGE.fullmatch(row[key])):
                return f"has in {title} under {key} no age such as 10d, 8wk, 18mo or 1y"
        if kind == "immunisation" and row["vaccine"] not in vaccines:
            return f"names in {title} a vaccine that has no [vaccine.X]"
    return ""


def _line_of(key: str, text: str) -> str:
    starts = re.compile(rf"\s*(\[+)?\"?{re.escape(key)}\"?\s*[=.\]]")
    found = next((number for number, line in enumerate(text.splitlines(), 1) if starts.match(line)), None)
    return f" (line {found})" if found else ""


def _programme(table: Mapping[str, Any]) -> Programme:
    vaccines = {
        name: Vaccine(
            id=name,
            title=row["title"],
            procedures=frozenset(row["procedures"]),
            diseases=frozenset(row["diseases"]),
            ordinals={str(code): int(number) for code, number in row.get("ordinals", {}).items()},
        )
        for name, row in table["vaccine"].items()
    }
    if any(one.ordinals.keys() - one.procedures for one in vaccines.values()):
        raise ValueError("an ordinal of a code that is no procedure of its vaccine")
    if not all(type(row["dose"]) is int and row["dose"] > 0 for row in table["immunisation"]):
        raise ValueError("a dose is counted from 1")
    reviews = tuple(
        Review(
            id=row["id"],
            title=row["title"],
            types=frozenset(row.get("types", ())),
            scores=frozenset(row.get("scores", ())),
            scored_from=row.get("scored_from", row["due"]),
            of_mother=row.get("of") == "mother",
            due=row["due"],
            by=row["by"],
            until=row.get("until", ""),
        )
        for row in table["review"]
    )
    doses = tuple(
        Dose(
            vaccine=vaccines[row["vaccine"]],
            number=row["dose"],
            due=row["due"],
            until=row.get("until", ""),
            starts=row.get("from", date.min),
            ends=row.get("to", date.max),
        )
        for row in table["immunisation"]
    )
    known = frozenset(table.get("other_vaccines", ())).union(*(one.procedures for one in vaccines.values()))
    return Programme(table["version"], reviews, doses, known)


def at_age(born: date, age: str) -> date:
    """Birth date and an age -> the day. The month after one without that day: its last day. Raises `ValueError`."""
    parted = _AGE.fullmatch(age)
    if parted is None:
        raise ValueError("an age is a number of d, wk, mo or y")
    count, unit = int(parted[1]), parted[2]
    if unit in ("d", "wk"):
        return born + timedelta(days=count * (7 if unit == "wk" else 1))
    months = born.month - 1 + count * (12 if unit == "y" else 1)
    year, month = born.year + months // 12, months % 12 + 1
    return date(year, month, min(born.day, calendar.monthrange(year, month)[1]))

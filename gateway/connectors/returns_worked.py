"""What a record of a return says only between its lines: locks, which of several alike items, whether ended, stretches of time.

Nothing is judged here that the manifest does not spell out. What is worked out stands beside what came, under names that
begin with `_`, and source.yaml lists it like any other field.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from gateway.adapter import Tree
from gateway.connectors.from_shelf import LOCKS, lock_of
from gateway.connectors.returns_read import Person, day_of, elements_of
from gateway.connectors.returns_shape import Format, Spells

BAD_BIRTH_DATE: Final = "a birth date that cannot be read"
TWO_BIRTH_DATES: Final = "one identity with two birth dates"

IDENTITY: Final = "_id"  # absent where nobody can say whose record it is: then its map makes nothing of it
UNBORN: Final = "_unborn"
KEY: Final = "_key"
ENDED: Final = "_ended"
VALUE: Final = "value"
OR_NONE: Final = " or none"

_CODED = re.compile(r"\s*([A-Za-z]{0,2}\d{1,2}[A-Za-z]?)\s*(?:[-–—:.)]|$)")
SPELLS: Final = "_spells"


@dataclass(frozen=True, slots=True)
class Worked:
    """What was worked out of one record beside its tree."""

    birth_date: date | None
    locks: frozenset[str]
    closed: bool  # the source's own lock on the whole record
    doubt: str  # why nobody can say whose it is; empty: somebody can


def work_out(form: Format, person: Person, today: date) -> Worked:
    """One person's tree, changed in place -> its locks and birth date. `today` is the delivery's."""
    tree = person.tree
    born, doubt = _birth_date(form, tree)
    if person.identity and not doubt:
        tree[IDENTITY] = person.identity
    if form.expected and not born and not doubt and next(elements_of(tree, form.expected.split("/")), None) is not None:
        tree[UNBORN] = True
    for path in form.coded:
        _code_alone(tree, path.split("/"))
    for path in form.values:
        _as_items(tree, path.split("/"))
    if form.spells is not None and form.spells.table in tree:
        tree[SPELLS] = list(_spells(form, form.spells, tree, today))
    for line in form.numbered:
        _number(tree, *_told(line.removesuffix(OR_NONE)), needed=not line.endswith(OR_NONE))
    for line in form.ended:
        _end(form, tree, *_told(line), today)
    locks, closed = _locks(form, person)
    for other in form.others:
        _part(tree, other.at.split("/"), other.into, frozenset(other.own))
    if locks:
        tree[LOCKS] = sorted(locks)
    return Worked(born, locks, closed, doubt)


def _told(line: str) -> tuple[Sequence[str], str]:
    at, _, name = line.partition(": ")
    return at.split("/"), name


def _items(tree: Tree, path: Sequence[str]) -> Iterator[dict[str, Any]]:
    return (item for item in elements_of(tree, path) if isinstance(item, dict))


def _number(tree: dict[str, Any], path: Sequence[str], start: str, *, needed: bool) -> None:
    """Each item gets a key of its own: the person's, the day it begins or its id, and which of those alike it is, as listed."""
    seen: dict[str, int] = {}
    for item in _items(tree, path):
        begun = str(item.get(start, "")).strip()
        seen[begun] = seen.get(begun, 0) + 1
        if IDENTITY in tree and (begun or not needed):
            item[KEY] = f"{tree[IDENTITY]}/{begun}/{seen[begun]}"


def _end(form: Format, tree: Tree, path: Sequence[str], end: str, today: date) -> None:
    """Only a day that can be read and has come ends something: in doubt it goes on, and is shown."""
    for item in _items(tree, path):
        day = day_of(form, str(item.get(end, "")).strip())
        if day is not None and day <= today:
            item[ENDED] = True


def _locks(form: Format, person: Person) -> tuple[frozenset[str], bool]:
    kinds: set[str] = set()
    closed = False
    for number, lock in enumerate(form.locks):
        wanted = {value.casefold() for value in lock.values}
        said = person.said[number] if person.said else [str(value) for value in elements_of(person.tree, lock.at.split("/"))]
        for word in (one.strip().casefold() for one in said):
            if not wanted or word in wanted:
                kinds.add(lock.kind or lock_of(word))
                closed = closed or lock.closes
    return frozenset(kinds), closed


def _code_alone(tree: Tree, path: Sequence[str]) -> None:
    """`V4: short breaks` -> `V4`: places write a code with its label, and only the code is the same everywhere."""
    *above, name = path
    for item in _items(tree, above):
        said = _CODED.match(str(item.get(name, "")))
        if said is not None:
            item[name] = said[1].upper()


def _as_items(tree: Tree, path: Sequence[str]) -> None:
    """Values of a list -> items that hold a value each, so that a map can go through them."""
    *above, name = path
    for item in _items(tree, above):
        if name in item:
            listed = item[name] if isinstance(item[name], list) else [item[name]]
            item[name] = [{VALUE: value} for value in listed]


def _part(tree: Tree, path: Sequence[str], into: str, own: frozenset[str]) -> None:
    """Items that are not known to be about the child are put under another name: marks are of fields, not of values."""
    *above, name = path
    for item in _items(tree, above):
        listed = item.pop(name, [])
        ours = [one for one in listed if str(one[VALUE]).strip().upper() in own]
        theirs = [one for one in listed if one not in ours]
        item |= {key: kept for key, kept in ((name, ours), (into, theirs)) if kept}


def _birth_date(form: Format, tree: Tree) -> tuple[date | None, str]:
    """The birth date, and why it is none that anybody can rely on."""
    found: set[date] = set()
    for path in form.birth_date:
        for text in elements_of(tree, path.split("/")):
            day = day_of(form, str(text).strip())
            if day is None:
                return None, BAD_BIRTH_DATE
            found.add(day)
    return (None, TWO_BIRTH_DATES) if len(found) > 1 else (next(iter(found), None), "")


def _spells(form: Format, spells: Spells, tree: Mapping[str, Any], today: date) -> Iterator[dict[str, Any]]:
    """Rows in order of their first day -> stretches. A stretch ends by a row that says so, on a day that can be read."""
    open_: list[Mapping[str, Any]] = []
    for row in sorted(tree[spells.table], key=lambda one: str(one.get(spells.start, ""))):
        if open_ and _is(row, spells.begins):
            yield _spell(form, spells, open_, tree, today)
            open_ = []
        open_.append(row)
        if _last(spells, row):
            yield _spell(form, spells, open_, tree, today)
            open_ = []
    if open_:
        yield _spell(form, spells, open_, tree, today)


def _spell(
    form: Format, spells: Spells, rows: Sequence[Mapping[str, Any]], tree: Mapping[str, Any], today: date
) -> dict[str, Any]:
    newest = rows[-1]
    told = tree.get(spells.apart.get("table", ""), ()) if "table" in spells.apart else rows
    apart = bool(spells.apart) and bool(told) and all(_is(row, spells.apart) for row in told)
    made: dict[str, Any] = {"kind": spells.apart["says"] if apart else spells.says}
    if spells.start in rows[0]:
        made["start"] = rows[0][spells.start]
    if _last(spells, newest) and spells.end in newest:
        made["end"] = newest[spells.end]
        day = day_of(form, str(newest[spells.end]))
        if day is not None and day <= today:
            made[ENDED] = True
    made |= {name: newest[column] for name, column in spells.carries.items() if column in newest}
    return made


def _last(spells: Spells, row: Mapping[str, Any]) -> bool:
    """Whether a row ends its stretch: it says why, and not that another row follows."""
    return row.get(spells.goes_on["column"]) is not None and not _is(row, spells.goes_on)


def _is(row: Mapping[str, Any], test: Mapping[str, Any]) -> bool:
    return row.get(test["column"]) in test["values"]

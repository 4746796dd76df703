"""`[returns.*]` of a manifest: which formats of returns a source sends, and what of each the connector has to know.

[returns.cin]                                    the format's name, which a source's option `format` chooses
schema = "dfe-cin-child"                         of mappings/<adapter>/source.yaml
kind = "cin-child"                               of the shelf's rows
record = "Message/Children/Child"                XML: the elements that are one person's record each
identity = "ChildIdentifiers/LAchildID"          below the record
birth_date = ["ChildIdentifiers/PersonBirthDate"]
number = "..."                                   below the record: the NHS number where the format has one
as_of = ["Header/Source/DateTime"]               XML, below the root: the first that is there
sender = "Header/Source/LEA"                     XML, below the root; must be the source's option `sender`
zone = "Europe/London"                           of times that name none
forms = ["%d/%m/%Y"]                             of days that are not ISO 8601
absent = ["NULL"]                                words that say a cell is blank
numbered = ["CINdetails: CINreferralDate"]       items that begin alike are told apart by `_n`: 1, 2 ...
ended = ["CINdetails: CINclosureDate"]           `_ended` where that day can be read and is not after the extract's
locks = [{ at = "CINdetails/ReasonForClosure", values = ["RC1"], kind = "adoption", closes = true }]
                                                 `values` absent: any; `kind` absent: the value itself; `closes`: the
                                                 source's own lock on the whole record
others = [{ at = "CINdetails/Assessments/.../Factor", into = "Others", own = ["7A"] }]
                                                 values that are not `own` are about somebody else: under another name
elements = { "HEADER" = "header" }               XML of a format of tables: which element is a row of which table
renamed = { PL = "PLACE" }                       names of columns and elements that mean a known one

[returns.NAME.tables.episodes]                   one CSV file or one sheet
columns = ["CHILD", "DECOM", "RNE"]              without these it is not this table; others are kept as they are
person = "CHILD"                                 absent: a table that others look things up in
days = ["DECOM"]                                 columns that hold days
required = true                                  a delivery without this table is refused
look = [{ table = "staff", key = "id", by = "worker", as = "worker_" }]

[returns.NAME.spells]                            several rows that are one stretch of time: `_spells`
table = "episodes"
start = "DECOM"
end = "DEC"
begins = { column = "RNE", values = ["S"] }
goes_on = { column = "REC", values = ["X1"] }    any other word there ends it
apart = { column = "LS", values = ["V3", "V4"], says = "short-breaks" }
says = "looked-after"
carries = { legal_status = "LS" }                of its newest row
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.adapter import Manifest
from gateway.errors import StartupRefused

_NEEDED: Final = frozenset(("schema", "kind"))
_BETWEEN: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Lock:
    """Which value, where, locks the person or the record."""

    at: str
    values: Sequence[str] = ()
    kind: str = ""
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Others:
    """Values of one list that are about somebody other than the child, unless they are `own`."""

    at: str
    into: str
    own: Sequence[str]


@dataclass(frozen=True, slots=True)
class Look:
    """What a row takes from another table: the columns of the row there whose `key` is our `by`, under `as_`."""

    table: str
    key: str
    by: str
    as_: str


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file, one sheet, or the elements that mean the same."""

    columns: frozenset[str]
    person: str = ""
    days: Sequence[str] = ()
    required: bool = False
    look: Sequence[Look] = ()


@dataclass(frozen=True, slots=True)
class Spells:
    """How rows become stretches of time."""

    table: str
    start: str
    end: str
    begins: Mapping[str, Any]
    goes_on: Mapping[str, Any]
    says: str
    apart: Mapping[str, Any] = field(default_factory=dict)
    carries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Format:
    """One `[returns.NAME]`."""

    name: str
    schema: str
    kind: str
    record: str = ""
    identity: str = ""
    birth_date: Sequence[str] = ()
    expected: str = ""
    number: str = ""
    as_of: Sequence[str] = ()
    sender: str = ""
    zone: str = "Europe/London"
    forms: Sequence[str] = ()
    absent: frozenset[str] = frozenset()
    nobody: Sequence[str] = ()
    coded: Sequence[str] = ()
    values: Sequence[str] = ()
    numbered: Sequence[str] = ()
    ended: Sequence[str] = ()
    locks: Sequence[Lock] = ()
    others: Sequence[Others] = ()
    elements: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    more_tables: bool = False
    tables: Mapping[str, Table] = field(default_factory=dict)
    spells: Spells | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)  # worked out here: `spelt` -> the column's own name

    @property
    def dated(self) -> bool:
        """Whether a file of it says itself when it was true."""
        return bool(self.as_of)


def read_formats(manifest: Manifest) -> Mapping[str, Format]:
    """`[returns]` of the manifest -> its formats by name. Raises `StartupRefused` naming what is missing or not known."""
    where = f"adapters/{manifest.name}/manifest.toml"
    table = manifest.options.get("returns", {})
    if not table:
        raise StartupRefused(f"{where}: [returns.NAME] is missing")
    return {name: _format(f"{where}: [returns.{name}]", name, given, manifest.reads) for name, given in table.items()}


def spelt(word: str) -> str:
    """A column's name without what differs from place to place: case, blanks, punctuation."""
    return _BETWEEN.sub("", word.lower())


def _format(where: str, name: str, given: Mapping[str, Any], reads: Sequence[str]) -> Format:
    _known(where, given, Format, _NEEDED)
    if given["schema"] not in reads:
        raise StartupRefused(f"{where} gives a schema that `reads` does not list")
    tables = {key: _table(f"{where} tables.{key}", one) for key, one in given.get("tables", {}).items()}
    if not tables and not {"record", "identity", "as_of"} <= set(given):
        raise StartupRefused(f"{where} needs tables, or record, identity and as_of")
    try:
        ZoneInfo(given.get("zone", "Europe/London"))
    except (ZoneInfoNotFoundError, ValueError):
        raise StartupRefused(f"{where} zone is not a time zone") from None
    spells = given.get("spells")
    if spells is not None:
        _known(f"{where} spells", spells, Spells, frozenset(("table", "start", "end", "begins", "goes_on", "says")))
        if spells["table"] not in tables:
            raise StartupRefused(f"{where} spells are of a table that is not listed")
    made: dict[str, Any] = {key: value for key, value in given.items() if key not in ("tables", "spells")}
    made["absent"] = frozenset(given.get("absent", ()))
    made["locks"] = tuple(_made(f"{where} locks", Lock, one) for one in given.get("locks", ()))
    made["others"] = tuple(_made(f"{where} others", Others, one) for one in given.get("others", ()))
    columns = {column for table in tables.values() for column in (*table.columns, *table.days)}
    spellings = {spelt(column): column for column in sorted(columns)}
    spellings |= {spelt(other): column for other, column in given.get("renamed", {}).items()}
    return Format(name=name, tables=tables, spells=Spells(**spells) if spells is not None else None, spellings=spellings, **made)


def _table(where: str, given: Mapping[str, Any]) -> Table:
    _known(where, given, Table, frozenset(("columns",)))
    looks = tuple(Look(one["table"], one["key"], one["by"], one["as"]) for one in given.get("look", ()))
    return Table(**{**given, "columns": frozenset(given["columns"]), "look": looks})


def _made(where: str, kind: type[Any], given: Mapping[str, Any]) -> Any:
    needed = frozenset(one.name for one in fields(kind)) - {"values", "kind", "closes"}
    _known(where, given, kind, needed)
    return kind(**given)


def _known(where: str, given: Mapping[str, Any], kind: type[Any], needed: frozenset[str]) -> None:
    missing = sorted(needed - set(given))
    if missing:
        raise StartupRefused(f"{where} needs {', '.join(missing)}")
    unknown = sorted(set(given) - {one.name for one in fields(kind)} | (set(given) & {"name", "spellings"}))
    if unknown:
        raise StartupRefused(f"{where} does not know {', '.join(unknown)}")

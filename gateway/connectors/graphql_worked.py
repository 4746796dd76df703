"""What an answer of `graphql` says between its lines, as the manifest spells it out. All of it is optional, in [graphql]:

redacted = ["RedactedResult"]           `__typename` of results that say no more than that something is kept back
kept_back = ["$.data.x.removed"]        numbers of results that the service left out or redacted: more than 0 is the same
total = "$.data.x.totalSize"            how many results there are: more than came is a broken contract
birth_date_in_doubt = [{ "born.mask" = ["MONTH", "YEAR"] }]     any of these holds: the record's birth date is no evidence
[[graphql.protect]]                     what of a record protects the person, for each result or each item of a list in it
each = "warnings"
when = { type = ["RISK_23"] }           every path has one of these values
ends = "endDate"                        a day that has passed: it protects no more. None, or one that cannot be read: it does
kind = "disclosure-lock"
locks = true                            the whole record is the source's own secret
[graphql.means]                         what the source's own words mean
each = "classifications"
code = "classification.codePath"
into = "_means"                         the name under which it stands beside what came
code_map = "eclipse-classification"     of the source's option `code_maps`: its words are its own, so it has no default
words = ["looked-after", ...]           what a row may lead to
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from gateway.adapter import SourceContractBroken, Tree
from gateway.connectors.from_shelf import KINDS_OF_LOCK, OTHER_LOCK
from gateway.connectors.json_records import MORE_PAGES, number_of
from gateway.connectors.json_tree import JsonPath, at, read_path
from gateway.errors import StartupRefused

NAMES: Final = frozenset(("redacted", "kept_back", "total", "birth_date_in_doubt", "protect", "means"))
NO_NUMBER: Final = "a number of results that is no number"

Condition = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class When:
    """Paths, each with the values that it may have."""

    paths: tuple[tuple[JsonPath, tuple[Any, ...]], ...]

    def holds(self, one: Tree) -> bool:
        """Whether every path has one of its values. True is not 1 here."""
        return all(any(_same(at(path, one, one), value) for value in values) for path, values in self.paths)


@dataclass(frozen=True, slots=True)
class Protect:
    """One `[[graphql.protect]]`."""

    each: JsonPath | None
    when: When
    ends: JsonPath | None
    kind: str
    locks: bool

    def holds(self, record: Tree, today: date) -> bool:
        """Whether anything of the record protects the person today."""
        there = record if self.each is None else at(self.each, record, record)
        listed = there if isinstance(there, list) else [there]
        return any(self.when.holds(one) and not _ended(self.ends, one, today) for one in listed)


@dataclass(frozen=True, slots=True)
class Means:
    """`[graphql.means]`."""

    each: JsonPath
    code: JsonPath
    into: str
    code_map: str
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Worked:
    """Everything of [graphql] that is worked out."""

    redacted: frozenset[str] = frozenset()
    kept_back: tuple[JsonPath, ...] = ()
    total: JsonPath | None = None
    in_doubt: tuple[When, ...] = ()
    protect: tuple[Protect, ...] = ()
    means: Means | None = None

    def without_redacted(self, listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The results that say something."""
        return [one for one in listed if str(one.get("__typename")) not in self.redacted]

    def keeps_back(self, answer: Tree, listed: Sequence[dict[str, Any]]) -> bool:
        """Whether the service holds something that it does not show us. Raises `SourceContractBroken`, for more than came too."""
        numbers = [_number(at(path, answer, answer)) for path in self.kept_back]
        if self.total is not None and _number(at(self.total, answer, answer)) > len(listed) + sum(numbers):
            raise SourceContractBroken(MORE_PAGES)
        return len(self.without_redacted(listed)) < len(listed) or any(numbers)

    def protections(self, record: Tree, today: date) -> frozenset[str]:
        """The kinds of lock that a record asserts about the person."""
        return frozenset(rule.kind for rule in self.protect if rule.holds(record, today))

    def locks(self, record: Tree, today: date) -> bool:
        """Whether the whole record is kept back by the source's own lock."""
        return any(rule.locks and rule.holds(record, today) for rule in self.protect)

    def doubts_birth_date(self, record: Tree) -> bool:
        """Whether the record's birth date is an estimate, or no day."""
        return any(when.holds(record) for when in self.in_doubt)

    def understood(self, record: Mapping[str, Any], meanings: Mapping[str, str]) -> dict[str, Any]:
        """A record -> the same with what its own words mean beside them; a word nobody reviewed stands alone."""
        if self.means is None:
            return dict(record)
        return _put(record, self.means.each.steps, lambda item: _meant(item, self.means, meanings))


def read_worked(where: str, table: Mapping[str, Any]) -> Worked:
    """[graphql] -> what is worked out. Raises `StartupRefused` naming what to mend."""

    def path(text: Any) -> JsonPath:
        try:
            return read_path(text)
        except (ValueError, AttributeError, TypeError):
            raise StartupRefused(f"{where} has something that is no path such as a.b or $.a.b") from None

    def when(table: Any) -> When:
        if not isinstance(table, Mapping) or not table or not all(isinstance(values, list) for values in table.values()):
            raise StartupRefused(f"{where} asks by tables of paths, each with a list of values")
        return When(tuple((path(name), tuple(values)) for name, values in table.items()))

    def protect(table: Any) -> Protect:
        if not isinstance(table, Mapping) or not {"when", "kind"} <= set(table) <= {"each", "when", "ends", "kind", "locks"}:
            raise StartupRefused(f"{where} protect needs when and kind, and knows each, ends and locks")
        if table["kind"] not in KINDS_OF_LOCK | {OTHER_LOCK}:
            raise StartupRefused(f"{where} protects by {', '.join(sorted(KINDS_OF_LOCK | {OTHER_LOCK}))}")
        each, ends = (path(table[name]) if name in table else None for name in ("each", "ends"))
        return Protect(each, when(table["when"]), ends, table["kind"], table.get("locks", False) is True)

    means = table.get("means")
    if means is not None and set(means) != {"each", "code", "into", "code_map", "words"}:
        raise StartupRefused(f"{where} means needs each, code, into, code_map and words, and nothing else")
    return Worked(
        redacted=frozenset(table.get("redacted", ())),
        kept_back=tuple(path(one) for one in table.get("kept_back", ())),
        total=path(table["total"]) if "total" in table else None,
        in_doubt=tuple(when(one) for one in table.get("birth_date_in_doubt", ())),
        protect=tuple(protect(one) for one in table.get("protect", ())),
        means=None
        if means is None
        else Means(path(means["each"]), path(means["code"]), means["into"], means["code_map"], frozenset(means["words"])),
    )


def read_meanings(where: str, means: Means | None, folder: object) -> Mapping[str, str]:
    """The source's option `code_maps` -> its own word to ours. Raises `StartupRefused`: nothing about a code is guessed."""
    if means is None:
        return {}
    if not isinstance(folder, str):
        raise StartupRefused(f"{where}: add code_maps, a folder with {means.code_map}.csv: these codes are the source's own")
    try:
        text = (Path(folder) / f"{means.code_map}.csv").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise StartupRefused(f"{where}: code_maps has no readable {means.code_map}.csv") from None
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    meanings = {(row.get("source") or "").strip(): (row.get("target") or "").strip() for row in rows}
    if "" in meanings or len(meanings) < len(rows) or not set(meanings.values()) <= means.words:
        known = ", ".join(sorted(means.words))
        raise StartupRefused(f"{where}: in {means.code_map}.csv each source stands once, and each target is one of {known}")
    return meanings


def _meant(item: Mapping[str, Any], means: Means | None, meanings: Mapping[str, str]) -> dict[str, Any]:
    code = at(means.code, item, item) if means is not None else None
    word = meanings.get(code.strip()) if isinstance(code, str) else None
    return dict(item) if means is None or word is None else {**item, means.into: word}


def _put(record: Mapping[str, Any], steps: Sequence[str], change: Any) -> dict[str, Any]:
    first, *others = steps
    there = record.get(first)
    if others:
        return {**record, first: _put(there, others, change)} if isinstance(there, Mapping) else dict(record)
    if not isinstance(there, list):
        return dict(record)
    return {**record, first: [change(one) if isinstance(one, Mapping) else one for one in there]}


def _same(said: Tree, value: Any) -> bool:
    return bool(said == value) and isinstance(said, bool) is isinstance(value, bool)


def _ended(path: JsonPath | None, one: Tree, today: date) -> bool:
    said = at(path, one, one) if path is not None else None
    try:
        return isinstance(said, str) and datetime.fromisoformat(said).date() < today
    except ValueError:
        return False


def _number(said: Tree) -> int:
    number = 0 if said is None else number_of(said)
    if number is None or number < 0:
        raise SourceContractBroken(NO_NUMBER)
    return number


def kinds_kept_back(gives: Iterable[str], word: str) -> tuple[tuple[str, str], ...]:
    """The categories a source gives -> a warning for each that it keeps something back."""
    return tuple((category, word) for category in sorted(set(gives)))

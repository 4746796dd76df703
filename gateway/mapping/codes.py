"""Code maps: reviewed CSV -> look-up tables and FHIR ConceptMaps. Columns: docs/mapping-language.md."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.mapping.tree import Fault
from gateway.systems import OURS

COLUMNS: Final = (
    "source",
    "source_display",
    "target_system",
    "target",
    "target_display",
    "equivalence",
    "note",
    "approved_by",
    "on",
)
EQUIVALENCES: Final = frozenset(
    {"equivalent", "equal", "wider", "narrower", "inexact", "subsumes", "specializes", "relatedto", "unmatched"}
)
SAME: Final = frozenset({"equivalent", "equal"})
COMMENTS: Final = frozenset({"title", "licence", "source_system", "unmapped"})


@dataclass(frozen=True, slots=True)
class CodeRow:
    """One reviewed row."""

    source: str
    source_display: str
    system: str
    code: str
    display: str
    equivalence: str
    note: str
    approved_by: str
    on: str
    line: int


@dataclass(frozen=True, slots=True)
class Reverse:
    """A code map read backwards: from target to source, by rows of one meaning only."""

    by_coding: Mapping[tuple[str, str], str]  # (system, code) -> source code
    by_code: Mapping[str, str]
    doubtful: tuple[tuple[CodeRow, CodeRow], ...]  # two rows that lead to one target: neither is the way back


@dataclass(frozen=True, slots=True)
class CodeMap:
    """One code map. `keep_text`: an unknown code becomes text instead of refusing the resource."""

    name: str
    file: str
    title: str
    licence: str
    source_system: str
    keep_text: bool
    rows: Mapping[str, CodeRow]
    back: Reverse

    def concept_map(self, *, backwards: bool = False) -> dict[str, Any]:
        """This map as an R4 ConceptMap. `backwards`: from target to source, by the rows of one meaning."""
        if backwards:
            return self._backwards()
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows.values():
            target = {"equivalence": row.equivalence}
            if row.code:
                target |= {"code": row.code, "display": row.display}
            if row.note:
                target["comment"] = row.note
            element = {"code": row.source, "display": row.source_display, "target": [_filled(target)]}
            groups.setdefault(row.system, []).append(_filled(element))
        made = [_filled({"source": self.source_system, "target": system, "element": rows}) for system, rows in groups.items()]
        return self._concept_map(self.name, made)

    def _backwards(self) -> dict[str, Any]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows.values():
            if self.back.by_coding.get((row.system, row.code)) == row.source:
                target = _filled({"code": row.source, "display": row.source_display, "equivalence": row.equivalence})
                groups.setdefault(row.system, []).append(_filled({"code": row.code, "display": row.display, "target": [target]}))
        made = [{"source": system, "target": self.source_system, "element": rows} for system, rows in groups.items()]
        return self._concept_map(f"{self.name}-back", made)

    def _concept_map(self, name: str, groups: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "resourceType": "ConceptMap",
            "id": name,
            "url": f"{OURS}ConceptMap:{name}",
            "name": name.replace("-", "_"),
            "title": self.title or self.name,
            "status": "active",
            "copyright": self.licence,
            "group": groups,
        }


def _reverse(rows: Iterable[CodeRow]) -> Reverse:
    """A row whose target means more or less than its source is no way back: only equal ones are."""
    by_coding: dict[tuple[str, str], CodeRow] = {}
    doubtful: list[tuple[CodeRow, CodeRow]] = []
    for row in rows:
        if row.code and row.equivalence in SAME:
            first = by_coding.setdefault((row.system, row.code), row)
            if first is not row:
                doubtful.append((first, row))
    by_code: dict[str, CodeRow] = {}
    for row in by_coding.values():
        first = by_code.setdefault(row.code, row)
        if first is not row:
            doubtful.append((first, row))
    return Reverse(
        {coding: row.source for coding, row in by_coding.items()},
        {code: row.source for code, row in by_code.items()},
        tuple(doubtful),
    )


def read_code_map(name: str, file: str, text: str) -> tuple[CodeMap, list[Fault]]:
    """A CSV's text -> the code map and what is wrong with it."""
    faults: list[Fault] = []
    comments: dict[str, str] = {}
    lines = text.lstrip("\ufeff").splitlines()
    skip = 0
    while skip < len(lines) and lines[skip].startswith("#"):
        key, _, value = lines[skip][1:].partition(":")
        if key.strip() in COMMENTS:
            comments[key.strip()] = value.strip()
        skip += 1
    reader = csv.DictReader(lines[skip:])
    if tuple(reader.fieldnames or ()) != COLUMNS:
        faults.append(Fault(file, skip + 1, 1, "the header row must be: " + ",".join(COLUMNS)))
    if not comments.get("licence"):
        faults.append(Fault(file, 1, 1, "a '# licence:' line is missing"))
    if comments.get("unmapped", "keep-text") != "keep-text":
        faults.append(Fault(file, 1, 1, "'# unmapped:' is keep-text or absent"))
    rows: dict[str, CodeRow] = {}
    if not faults:
        for raw in reader:
            line = skip + reader.line_num
            row = _row(raw, line)
            starts = _starts(lines[line - 1])
            faults += [
                Fault(file, line, starts[min(COLUMNS.index(column), len(starts) - 1)], message)
                for column, message in _row_faults(row, rows)
            ]
            rows.setdefault(row.source, row)
    system = comments.get("source_system") or f"{OURS}CodeSystem:{name}"
    keep = comments.get("unmapped") == "keep-text"
    title, licence = comments.get("title", ""), comments.get("licence", "")
    return CodeMap(name, file, title, licence, system, keep, rows, _reverse(rows.values())), faults


def _row(raw: Mapping[str | None, Any], line: int) -> CodeRow:
    source, shown, system, code, display, equivalence, note, approved_by, on = (
        str(raw.get(name) or "").strip() for name in COLUMNS
    )
    return CodeRow(source, shown, system, code, display, equivalence, note, approved_by, on, line)


def _row_faults(row: CodeRow, rows: Mapping[str, CodeRow]) -> list[tuple[str, str]]:
    """What is wrong with a row, each with the column it is about."""
    faults = []
    if not row.source:
        faults.append(("source", "a row needs its source code"))
    if row.source in rows:
        faults.append(("source", f"this source code stands here twice: line {rows[row.source].line} has it already"))
    if row.equivalence not in EQUIVALENCES:
        faults.append(("equivalence", "equivalence is one of " + ", ".join(sorted(EQUIVALENCES))))
    if row.equivalence == "inexact" and not row.note:
        faults.append(("note", "an inexact row needs a note: say what gets lost"))
    if (row.equivalence == "unmatched") == bool(row.code):
        faults.append(("target", "an unmatched row has no target, every other has one"))
    if row.code and not row.system:
        faults.append(("target_system", "a target code needs its target_system"))
    if not row.approved_by or not row.on:
        lacks = "approved_by" if not row.approved_by else "on"
        faults.append((lacks, "a row needs approved_by and on: who reviewed it, and when"))
    return faults


def _starts(line: str) -> list[int]:
    """Where each cell of a CSV line starts, from 1."""
    starts, quoted = [1], False
    for place, sign in enumerate(line, start=1):
        quoted = quoted != (sign == '"')
        if sign == "," and not quoted:
            starts.append(place + 1)
    return starts


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if part}

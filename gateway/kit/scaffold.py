"""A sample of a source -> the files of a new adapter: guessed where a guess is safe, undecided where it is not.

A sample is somebody's data. No value of it is copied: the case holds invented ones in their place. A field whose class cannot
be guessed is `special`: it reaches nobody until a person has looked at it.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.model import CareClass, Mark
from gateway.nhs_number import NotAnNhsNumber, parse

TABLES: Final = {"csv-drop": "csv", "http-json": "json", "message-drop": "json"}
NUMBER: Final = "9990000107"  # of the range that is never given to anybody
FORMS: Final = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d %b %Y")
TIMES: Final = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S")
WORDS: Final[tuple[tuple[str, CareClass, frozenset[Mark]], ...]] = (
    (
        r"nhs|upn|(^|_| )id$|(^|_| )ref$|number$|dob|birth|born|forename|surname|(^|_| )name$|gender|sex",
        CareClass.IDENTITY,
        frozenset(),
    ),
    (
        r"address|postcode|phone|mobile|email|school|practice|venue|site|centre|place",
        CareClass.OPERATIONAL,
        frozenset({Mark.LOCATING}),
    ),
    (
        r"worker|staff|practitioner|nurse|seen_by|seen by|author|written_by|user",
        CareClass.OPERATIONAL,
        frozenset({Mark.LOCATING, Mark.THIRD_PARTY}),
    ),
    (
        r"note|comment|remark|text|narrative|summary|reason|detail",
        CareClass.SPECIAL,
        frozenset({Mark.LOCATING, Mark.THIRD_PARTY, Mark.OPINION}),
    ),
)
NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,39}")


class SampleRefused(Exception):
    """The sample or the name cannot be used; the text says why, and holds no value."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What one field seems to be."""

    name: str
    type: str
    care_class: CareClass
    marks: frozenset[Mark]
    form: str  # of a date, where it is not ISO's
    sure: bool  # False: a person must look at its class
    invented: Any
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """The files of a new adapter: path below adapters/ or mappings/ -> text; and what was guessed."""

    adapter: dict[str, str]
    mapping: dict[str, str]
    guesses: tuple[Guess, ...]

    def confirm(self) -> int:
        """How many classes are no more than a guess at the safest."""
        return sum(not guess.sure for guess in self.guesses)


def scaffold(name: str, connector: str, sample: bytes, *, title: str = "") -> Made:
    """A name, a connector and a sample -> the files. Raises `SampleRefused`."""
    if not NAME.fullmatch(name):
        raise SampleRefused("a name is lower-case letters, digits and _: early_help")
    kind = TABLES.get(connector)
    if kind is None:
        raise SampleRefused(f"a sample can be read for {', '.join(sorted(TABLES))}")
    rows = _csv(sample) if kind == "csv" else _json(sample)
    guesses = tuple(
        _guess(field, [row.get(field) for row in rows]) for field in dict.fromkeys(key for row in rows for key in row)
    )
    schema = f"{name.replace('_', '-')}-1"
    manifest = _manifest(name, connector, schema, title or name.replace("_", " ").capitalize(), guesses, rows, sample)
    record = {guess.name: guess.invented for guess in guesses if guess.invented is not None}
    case = {"schema": schema, "as_of": "2026-01-05T09:00:00Z", "where": "row 1", "data": record}
    return Made(
        {
            "__init__.py": f'"""Adapter: {title or name}. The manifest is the whole adapter."""\n',
            "manifest.toml": manifest,
            "quality.yaml": _QUALITY,
            "README.md": _README.format(
                name=name, source=name.replace("_", "-")[:14].rstrip("-"), title=title or name, connector=connector
            ),
        },
        {
            "source.yaml": _source(schema, guesses),
            f"{name}.yaml": _map(name, schema, guesses),
            "cases/first.in.json": json.dumps(case, indent=2, ensure_ascii=False) + "\n",
        },
        guesses,
    )


def _csv(sample: bytes) -> list[dict[str, Any]]:
    try:
        text = sample.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = sample.decode("cp1252", errors="replace")
    reader = csv.DictReader(io.StringIO(text), delimiter=_delimiter(text))
    names = reader.fieldnames or []
    if len(names) < 2 or len(set(names)) != len(names) or any(not column.strip() for column in names):
        raise SampleRefused("the sample's first line must name its columns, each once")
    rows = [{column: (value or "").strip() or None for column, value in row.items() if column is not None} for row in reader]
    if not rows:
        raise SampleRefused("the sample has no row below its column names")
    return rows


def _json(sample: bytes) -> list[dict[str, Any]]:
    try:
        read = json.loads(sample)
    except (ValueError, RecursionError):
        raise SampleRefused("the sample is not JSON") from None
    listed = read if isinstance(read, list) else [read]
    if not listed or not all(isinstance(row, dict) for row in listed):
        raise SampleRefused("a JSON sample is one record, or a list of records")
    return listed


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t|", key=first.count)


def _guess(name: str, values: Sequence[Any]) -> Guess:
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, dict) for value in present):
        return Guess(name, "object", CareClass.SPECIAL, frozenset(), "", False, None)
    repeats = any(isinstance(value, list) for value in present)
    flat = [part for value in present for part in (value if isinstance(value, list) else [value])]
    texts = [str(value) for value in flat]
    care_class, marks, sure = _labels(name)
    type_, form, invented = _type(texts, flat)
    if texts and all(map(_is_number, texts)):
        type_, care_class, marks, sure, invented = "string", CareClass.IDENTITY, frozenset(), True, NUMBER
    return Guess(name, type_, care_class, marks, form, sure, [invented] if repeats else invented, repeats)


def _labels(name: str) -> tuple[CareClass, frozenset[Mark], bool]:
    for pattern, care_class, marks in WORDS:
        if re.search(pattern, name.lower()):
            return care_class, marks, True
    return CareClass.SPECIAL, frozenset(), False


def _type(texts: Sequence[str], values: Sequence[Any]) -> tuple[str, str, Any]:
    if values and all(isinstance(value, bool) for value in values):
        return "boolean", "", True
    if values and all(isinstance(value, int) for value in values):
        return "integer", "", 1
    if values and all(isinstance(value, int | float) for value in values):
        return "decimal", "", 1.5
    for form in FORMS:
        if texts and all(_dated(text, form) for text in texts):
            return ("date" if form == FORMS[0] else "string"), form, _DAY.strftime(form)
    for form in TIMES:
        if texts and all(_dated(text, form) for text in texts):
            return ("dateTime" if form == TIMES[0] else "string"), form, _DAY.strftime(form)
    if any(texts.count(text) > 1 and len(text) <= 20 for text in texts) and len(set(texts)) <= max(2, len(texts) // 2):
        return "code", "", "invented"
    return "string", "", "invented"


def _dated(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only whether it fits
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        parse(text, allow_test=True)
    except NotAnNhsNumber:
        return False
    return True


def _manifest(
    name: str, connector: str, schema: str, title: str, guesses: Sequence[Guess], rows: list[dict[str, Any]], sample: bytes
) -> str:
    number = next((guess for guess in guesses if guess.invented == NUMBER), None)
    local = next((guess for guess in guesses if re.search(r"(^|_| )(id|ref)$", guess.name.lower())), None)
    identity = number or local
    out = [
        f'name = "{name}"',
        f"title = {json.dumps(title, ensure_ascii=False)}",
        f'connector = "{connector}"',
        'owner = "TODO"',
        f'identity = "{"nhs_number" if number is not None else "local_id"}"',
        'kind = "other" # how a protected person\'s sources are named: a kind, never a place',
        f'reads = ["{schema}"]',
        'gives = {} # R4 type = category, as the maps make them: { Encounter = "centre-attendance" }',
        'purposes = [] # what the source\'s own terms allow: ["TREAT", "COC"]. Empty: it is asked for nothing',
        "feeds_protection = false",
        "budget_s = 1.0",
    ]
    if connector == "csv-drop":
        out += ["", *_csv_table(schema, guesses, rows, identity, sample)]
    else:
        out += ["", f"# The connector's own table: gateway/connectors/{connector.replace('-', '_')}.py shows it whole."]
    return "\n".join(out) + "\n"


def _csv_table(
    schema: str, guesses: Sequence[Guess], rows: list[dict[str, Any]], identity: Guess | None, sample: bytes
) -> Iterator[str]:
    dates = [guess for guess in guesses if guess.form]
    born = next((guess for guess in dates if re.search(r"dob|birth|born", guess.name.lower())), None)
    written = next((guess for guess in dates if re.search(r"updat|written|extract|as.of|modif", guess.name.lower())), None)
    as_of = written or next((guess for guess in reversed(dates) if guess is not born), None)
    alone = [guess for guess in guesses if len({str(row.get(guess.name)) for row in rows}) == len(rows) and guess is not identity]
    key = next((guess for guess in alone if re.search(r"id$|ref$|number$|no$", guess.name.lower())), alone[0] if alone else None)
    yield "[csv]"
    yield f'schema = "{schema}"'
    yield 'kind = "record"'
    yield 'delivers = "increments" # or "snapshot": who is no longer listed is gone'
    yield f"columns = {json.dumps([guess.name for guess in guesses], ensure_ascii=False)}"
    for setting, guess in (("identity", identity), ("birth_date", born), ("key", key), ("as_of", as_of)):
        if guess is not None:
            yield f"{setting} = {json.dumps(guess.name, ensure_ascii=False)}"
        elif setting != "birth_date":
            yield f'{setting} = "TODO" # no column of the sample looks like it'
    delimiter = _delimiter(sample.decode("utf-8-sig", errors="replace"))
    if delimiter != ",":
        yield f"delimiter = {json.dumps(delimiter)}"
    if born is not None and born.form != FORMS[0]:
        yield f'dates = "{born.form}"'
    if as_of is not None and as_of.form not in (FORMS[0], TIMES[0]):
        yield f'times = "{as_of.form}"'


def _source(schema: str, guesses: Sequence[Guess]) -> str:
    out = [
        "# Guessed from a sample. Confirm each class and each mark; one that says GUESSED is at its safest and reaches nobody.",
        "schemas:",
    ]
    out += [f"  - schema: {schema}", "    about: one record of the source", "    fields:"]
    for guess in guesses:
        parts = [f"type: {guess.type}"]
        parts += ["repeats: true"] if guess.repeats else []
        parts += [f"class: {guess.care_class}"]
        parts += [f"marks: [{', '.join(sorted(guess.marks))}]"] if guess.marks else []
        form = f"a date written {guess.form}" if guess.form and guess.type == "string" else ""
        meaning = "; ".join(filter(None, [form, "" if guess.sure else "GUESSED"]))
        parts += [f"meaning: {json.dumps(meaning)}"] if meaning else []
        out.append(f"      {_key(guess.name)}: {{{', '.join(parts)}}}")
    return "\n".join(out) + "\n"


def _map(name: str, schema: str, guesses: Sequence[Guess]) -> str:
    undecided = "\n".join(f"  - {json.dumps(guess.name, ensure_ascii=False)}" for guess in guesses)
    top = [f"map: {name}/{name}", "version: 0.1.0", f"reads: {schema}", "because: TODO which agreement lets this leave"]
    return "\n".join([*top, "resources:", "ignore:", "undecided:", undecided]) + "\n"


def _key(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][\w-]*", name) is not None
    return name if plain else json.dumps(f"`{name}`", ensure_ascii=False)


_DAY: Final = datetime(2026, 1, 5, 9, 0)  # noqa: DTZ001 - an invented day, written in the sample's own form
_QUALITY: Final = """\
# What this adapter is ready for, rule by rule: gateway check says what the next tier needs.
tier: sandbox
done: {}
exempt: {}
missing:
  pilot: everything but the scaffold
"""
_README: Final = """\
# {title}

What the source is, who owns it, how it delivers: to be written. It is read by the connector `{connector}`.

## Settings

```toml
[sources.{source}]
adapter = "{name}"
custodian = "ods:TODO"
agreement = "TODO"
title = "{title}"
```
"""

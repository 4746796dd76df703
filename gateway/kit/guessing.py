"""What the fields of some records seem to be: names, types, repeats, care classes. No value goes any further than here.

A field whose class cannot be guessed is `special`: it reaches nobody until a person has looked at it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gateway.model import CareClass, Mark
from gateway.nhs_number import NhsNumber, NotAnNhsNumber, parse

NUMBER: Final = "9990000107"  # of the range that is never given to anybody
FORMS: Final = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d %b %Y", "%Y%m%d")
TIMES: Final = (
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
)
WORDS: Final[tuple[tuple[str, CareClass, frozenset[Mark]], ...]] = (
    (
        r"nhs|upn|(^|_| )id$|(^|_| )ref$|number$|dob|birth|born|forename|surname|(^|_| )name$|gender|sex|family|given",
        CareClass.IDENTITY,
        frozenset(),
    ),
    (
        r"address|postcode|phone|mobile|email|school|practice|venue|site|centre|place|ward|clinic",
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
DEPTH: Final = 12
KEYS: Final = r"nhs|upn|(^|_| )id$|(^|_| )ref$|number$|code|phone|mobile|postcode"
WRITTEN_NUMBERS: Final = (  # a number as text, and one invented in its place
    ("integer", re.compile(r"-?\d{1,9}", re.ASCII), "1"),
    ("decimal", re.compile(r"-?\d{1,12}\.\d{1,9}|-?\d{1,9}", re.ASCII), "1.5"),
)

_DAY: Final = datetime(2026, 1, 5, 9, 0)  # noqa: DTZ001 - an invented day, written in the sample's own form
_INVENTED: Final[Mapping[str, Any]] = {
    "boolean": True,
    "integer": 1,
    "decimal": 1.5,
    "date": "2026-01-05",
    "dateTime": "2026-01-05T09:00:00",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """What one field seems to be."""

    path: tuple[str, ...]
    type: str
    care_class: CareClass
    marks: frozenset[Mark]
    form: str  # of a date, where it is not ISO's
    sure: bool  # False: a person must look at its class
    invented: Any
    repeats: bool = False

    @property
    def name(self) -> str:
        """As people say it: `child.born`."""
        return ".".join(self.path)

    @property
    def key(self) -> str:
        """As source.yaml and maps write it: names that are odd stand in back quotes."""
        return ".".join(part if re.fullmatch(r"[A-Za-z_][\w-]*", part, re.ASCII) else f"`{part}`" for part in self.path)

    @property
    def is_leaf(self) -> bool:
        """True for what holds a value."""
        return self.type != "object"

    def looks(self, pattern: str) -> bool:
        """Whether its own name does."""
        return re.search(pattern, self.path[-1].lower()) is not None


def guess_all(records: Sequence[Mapping[str, Any]], types: Mapping[tuple[str, ...], str] | None = None) -> tuple[Guess, ...]:
    """Records -> every field of them, objects before their parts. `types`: what a schema says already."""
    return tuple(_fields((), records, types or {}))


def example(guesses: Sequence[Guess]) -> dict[str, Any]:
    """An invented record with every field."""
    out: dict[str, Any] = {}
    for guess in guesses:
        here: Any = out
        for depth, part in enumerate(guess.path[:-1], start=1):
            parent = next((one for one in guesses if one.path == guess.path[:depth]), None)
            inner = here.setdefault(part, [{}] if parent is not None and parent.repeats else {})
            here = inner[0] if isinstance(inner, list) else inner
        if guess.is_leaf:
            here[guess.path[-1]] = guess.invented
    return out


def is_number(text: str) -> bool:
    """Whether a text is an NHS number."""
    try:
        parse(text, allow_test=True)
    except NotAnNhsNumber:
        return False
    return True


def _fields(base: tuple[str, ...], records: Sequence[Any], types: Mapping[tuple[str, ...], str]) -> Iterator[Guess]:
    for name in dict.fromkeys(str(key) for record in records if isinstance(record, Mapping) for key in record):
        values = [record.get(name) for record in records if isinstance(record, Mapping)]
        path = (*base, name)
        guess = _guess(path, values, types.get(path))
        yield guess
        if guess.type == "object" and len(path) < DEPTH:
            inner = [part for value in values for part in (value if isinstance(value, list) else [value])]
            yield from _fields(path, inner, types)


def _guess(path: tuple[str, ...], values: Sequence[Any], known: str | None) -> Guess:
    present = [value for value in values if value is not None]
    repeats = any(isinstance(value, list) for value in present)
    flat = [part for value in present for part in (value if isinstance(value, list) else [value]) if part is not None]
    if flat and any(isinstance(value, Mapping) for value in flat):
        return Guess(path, "object", CareClass.SPECIAL, frozenset(), "", False, None, repeats)
    texts = [value.value if isinstance(value, NhsNumber) else str(value) for value in flat]
    care_class, marks, sure = _labels(path[-1])
    if known is not None:
        return Guess(path, known, care_class, marks, "", sure, _INVENTED.get(known, "invented"), repeats)
    type_, form, invented = _type(path[-1], texts, flat)
    if texts and all(map(is_number, texts)):
        type_, care_class, marks, sure, invented = "string", CareClass.IDENTITY, frozenset(), True, NUMBER
    return Guess(path, type_, care_class, marks, form, sure, [invented] if repeats else invented, repeats)


def _labels(name: str) -> tuple[CareClass, frozenset[Mark], bool]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    for pattern, care_class, marks in WORDS:
        if re.search(pattern, spaced):
            return care_class, marks, True
    return CareClass.SPECIAL, frozenset(), False


def _type(name: str, texts: Sequence[str], values: Sequence[Any]) -> tuple[str, str, Any]:
    if values and all(isinstance(value, bool) for value in values):
        return "boolean", "", True
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer", "", 1
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "decimal", "", 1.5
    for form in FORMS:
        if texts and all(_dated(text, form) for text in texts):
            return ("date" if form == FORMS[0] else "string"), form, _DAY.strftime(form)
    for form in TIMES:
        if texts and all(_dated(text, form) for text in texts):
            return ("dateTime" if form in TIMES[:2] else "string"), form, _DAY.strftime(form) + ("Z" if "%z" in form else "")
    for type_, pattern, invented in WRITTEN_NUMBERS:
        if texts and all(pattern.fullmatch(text) for text in texts):
            if re.search(KEYS, name.lower()) is None and not any(re.match(r"0\d", text) for text in texts):
                return type_, "", invented
            return "code" if _few(texts) else "string", "", invented  # what names something is no number, and keeps its zeros
    if _few(texts):
        return "code", "", "invented"
    return "string", "", "invented"


def _few(texts: Sequence[str]) -> bool:
    """Whether a few short texts come again and again, as codes do."""
    return any(texts.count(text) > 1 and len(text) <= 20 for text in texts) and len(set(texts)) <= max(2, len(texts) // 2)


def _dated(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only whether it fits
    except ValueError:
        return False
    return form != "%Y%m%d" or len(text) == 8  # else any number of six or seven digits is a day

"""Simple values of a source -> R4 primitives, and the names of R4 types as Python types."""

import datetime as clock
import re
from decimal import Clamped, Context, Inexact, InvalidOperation, Overflow, Rounded, Subnormal
from decimal import Decimal as Number
from functools import cache
from typing import Any, Final, NewType, TypeGuard, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.mapping.context import Unusable
from gateway.mapping.r4 import PRIMITIVES

Primitive = NewType("Primitive", object)  # any text, number, boolean or date of a source
Anything = NewType("Anything", object)
Text = NewType("Text", str)
Code = NewType("Code", str)
Uri = NewType("Uri", str)
Date = NewType("Date", str)
DateTime = NewType("DateTime", str)
Instant = NewType("Instant", str)
Time = NewType("Time", str)
Boolean = NewType("Boolean", int)  # a bool; NewType cannot be made of one
Integer = NewType("Integer", int)
Decimal = NewType("Decimal", Number)
CodeableConcept = NewType("CodeableConcept", dict[str, Any])
Coding = NewType("Coding", dict[str, Any])
Identifier = NewType("Identifier", dict[str, Any])
Quantity = NewType("Quantity", dict[str, Any])
Period = NewType("Period", dict[str, Any])
Reference = NewType("Reference", dict[str, Any])
Annotation = NewType("Annotation", dict[str, Any])
HumanName = NewType("HumanName", dict[str, Any])
Address = NewType("Address", dict[str, Any])
ContactPoint = NewType("ContactPoint", dict[str, Any])
Dosage = NewType("Dosage", dict[str, Any])

FHIR_NAMES: Final = {
    "Text": "string",
    "Code": "code",
    "Uri": "uri",
    "Date": "date",
    "DateTime": "dateTime",
    "Instant": "instant",
    "Time": "time",
    "Boolean": "boolean",
    "Integer": "integer",
    "Decimal": "decimal",
}
ISO_SHORT: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_SIGN: Final = re.compile("(%[dmYHMS])")
_PARTS: Final = {
    "%d": r"(?P<day>\d\d)",
    "%m": r"(?P<month>\d\d)",
    "%Y": r"(?P<year>\d{4})",
    "%H": r"(?P<hour>\d\d)",
    "%M": r"(?P<minute>\d\d)",
    "%S": r"(?P<second>\d\d)",
}
TRUE: Final = frozenset({"true", "1"})
FALSE: Final = frozenset({"false", "0"})
_LARGEST: Final = 2_147_483_647
_DIGITS: Final = 40  # R4 asks for 18 of every reader; nothing that is measured has more, and thousands are more than readers take
_fits: Final = Context(
    prec=_DIGITS, Emin=-_DIGITS, Emax=_DIGITS, traps=[InvalidOperation, Clamped, Inexact, Overflow, Rounded, Subnormal]
).plus
_N = TypeVar("_N", bound=int | Number)
BEYOND: Final = "a number of more digits than anything has"
_CODE: Final = PRIMITIVES["code"]
_DAY: Final = r"(?!0000)\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_USUAL_DAY: Final = re.compile(_DAY, re.ASCII)  # every day of the calendar but the 29th of February
_TIME: Final = r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|\+0[01]:00)"
_USUAL_MOMENT: Final = re.compile(_DAY + _TIME, re.ASCII)  # of such a day, in a zone of this country
_USUAL: Final = re.compile(f"{_DAY}(?:{_TIME})?", re.ASCII)  # either


def text(value: Primitive) -> Text | None:
    """Any simple value as text, trimmed.

    >>> text(Primitive("  a rash "))
    'a rash'
    """
    if isinstance(value, str):
        return Text(value.strip()) or None
    if isinstance(value, bool) or not isinstance(value, int | Number | float):
        raise Unusable("not a text")
    return Text(str(value))


def code(value: Primitive) -> Code | None:
    """A text as a code; the element's own codes are checked after it."""
    found = text(value)
    if found is None:
        return None
    if not _CODE.fullmatch(found):
        raise Unusable("not a code")
    return Code(found)


def date(value: Primitive, form: str = "") -> Date | None:
    """ISO text, a date, or a text of another form -> date. Partial dates stay partial.

    >>> date(Primitive("14/03/2024"), "%d/%m/%Y")
    '2024-03-14'
    """
    if not form and _is_whole_day(value):  # nearly every date there is
        return Date(value)
    if isinstance(value, clock.datetime):
        return Date(value.date().isoformat())
    if isinstance(value, clock.date):
        return Date(value.isoformat())
    given = _given(value, "not a date")
    if not given:
        return None
    if form:
        return Date(_strptime(given, form).date().isoformat())
    if not PRIMITIVES["date"].fullmatch(given):
        raise Unusable("not a date")
    _real_day(given)
    return Date(given)


def dateTime(value: Primitive, form: str = "", zone: str = "") -> DateTime | None:  # noqa: N802 - FHIR's name
    """ISO text, a date or a datetime -> dateTime. A time without zone is refused unless `zone` says which.

    >>> dateTime(Primitive("2024-07-01 10:30"), "", "Europe/London")
    '2024-07-01T10:30:00+01:00'
    """
    if not form and isinstance(value, str) and _USUAL.fullmatch(value) is not None:
        return DateTime(value)
    if isinstance(value, clock.datetime):
        return DateTime(_zoned(value, zone).isoformat())
    if isinstance(value, clock.date):
        return DateTime(value.isoformat())
    given = _given(value, "not a date and time")
    if not given:
        return None
    if form:
        return DateTime(_zoned(_strptime(given, form), zone).isoformat())
    if PRIMITIVES["dateTime"].fullmatch(given):
        _real_day(given[:10])
        return DateTime(given)
    short = ISO_SHORT.fullmatch(given)
    if short is None:
        raise Unusable("not a date and time")
    day, minute, second, offset = short.groups()
    _real_day(day)
    if offset:
        whole = f"{day}T{minute}{second or ':00'}{offset}"
        if not PRIMITIVES["dateTime"].fullmatch(whole):
            raise Unusable("not a date and time")
        return DateTime(whole)
    try:
        naive = clock.datetime.fromisoformat(f"{day}T{minute}{second or ':00'}")
    except ValueError:
        raise Unusable("not a date and time") from None
    return DateTime(_zoned(naive, zone).isoformat())


def instant(value: Primitive) -> Instant | None:
    """ISO text with time and zone, or an aware datetime -> instant."""
    if _is_usual_moment(value):
        return Instant(value)
    found = dateTime(value)
    if found is not None and not PRIMITIVES["instant"].fullmatch(found):
        raise Unusable("not an instant")
    return None if found is None else Instant(found)


def decimal(value: Primitive) -> Decimal | None:
    """A number, or its text, with the digits it came with."""
    if isinstance(value, Number) and value.is_finite():
        return Decimal(readable(value))
    if isinstance(value, bool):
        raise Unusable("not a number")
    if isinstance(value, float):
        value = Primitive(repr(value))
    if isinstance(value, str) and not value.strip():
        return None
    try:
        found = Number(value.strip() if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (InvalidOperation, TypeError, ValueError):
        raise Unusable("not a number") from None
    if not found.is_finite():
        raise Unusable("not a number")
    return Decimal(readable(found))


def readable(number: _N) -> _N:
    """The same number, as it was written. Raises `Unusable` where it has more digits, or another size, than readers take.

    One such number makes a whole answer unreadable to whoever asked, not only the record it stands in.
    Source: FHIR R4, datatypes.html#decimal: at least 18 digits are to be read.
    """
    try:
        _fits(number)
    except ArithmeticError:
        raise Unusable(BEYOND) from None
    return number


def is_int32(number: int) -> bool:
    """Whether R4's integer holds a number."""
    return -_LARGEST - 1 <= number <= _LARGEST


def integer(value: Primitive) -> Integer | None:
    """A whole number, or its text."""
    if isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST:
        return Integer(value)
    found = decimal(value)
    if found is None:
        return None
    if found != found.to_integral_value() or abs(found) > _LARGEST:
        raise Unusable("not a whole number")
    return Integer(int(found))


def boolean(value: Primitive, yes: str = "", no: str = "") -> Boolean | None:
    """true and false, 1 and 0, or the two texts named."""
    if isinstance(value, bool):
        return Boolean(value)
    given = text(value)
    if given is None:
        return None
    if given in ({yes} if yes else TRUE):
        return Boolean(True)
    if given in ({no} if yes else FALSE):
        return Boolean(False)
    raise Unusable("neither of the two texts of this boolean")


def _given(value: object, message: str) -> str:
    if not isinstance(value, str):
        raise Unusable(message)
    return value.strip()


def _is_whole_day(value: object) -> TypeGuard[str]:
    """A day of the calendar, just as ISO 8601 has it: what no rule below would change or refuse."""
    return isinstance(value, str) and _USUAL_DAY.fullmatch(value) is not None


def _is_usual_moment(value: object) -> TypeGuard[str]:
    """A moment in a zone of this country, just as ISO 8601 has it: what no rule below would change or refuse."""
    return isinstance(value, str) and _USUAL_MOMENT.fullmatch(value) is not None


def _real_day(given: str) -> None:
    if len(given) == 10:
        try:
            clock.date.fromisoformat(given)
        except ValueError:
            raise Unusable("not a day of the calendar") from None


def _strptime(given: str, form: str) -> clock.datetime:
    plain = _pattern(form)
    found = plain.fullmatch(given) if plain is not None else None
    if found is not None:  # several times faster than strptime, which goes on with whatever does not fit this
        try:
            if found.re.groups == 3:
                year, month, day = found.group("year", "month", "day")
                return clock.datetime(int(year), int(month), int(day))  # noqa: DTZ001 - as below
            parts = {name: int(part) for name, part in found.groupdict().items()}
            return clock.datetime(**parts)  # type: ignore[arg-type]  # noqa: DTZ001 - the zone is the caller's
        except (ValueError, TypeError):
            raise Unusable("not a date of the form named") from None
    try:
        return clock.datetime.strptime(given, form)  # noqa: DTZ007 - the zone is the caller's
    except ValueError:
        raise Unusable("not a date of the form named") from None


@cache
def _pattern(form: str) -> re.Pattern[str] | None:
    """A form of whole numbers alone -> what fits it; None for any other form."""
    signs = _SIGN.split(form)
    if (
        "%" in "".join(signs[::2])
        or any(signs.count(sign) != 1 for sign in ("%d", "%m", "%Y"))
        or len(set(signs[1::2])) < len(signs[1::2])
    ):
        return None
    return re.compile("".join(_PARTS.get(part, re.escape(part)) for part in signs), re.ASCII)


def _zoned(moment: clock.datetime, zone: str) -> clock.datetime:
    if moment.tzinfo is not None:
        return moment
    if not zone:
        raise Unusable("a time without its zone")
    try:
        return moment.replace(tzinfo=ZoneInfo(zone))
    except ZoneInfoNotFoundError:
        raise Unusable("an unknown time zone") from None

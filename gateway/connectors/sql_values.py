"""A value as an outward map writes it -> the value that a typed column of PostgreSQL takes, by the type the server says it has.

Maps write days and times as ISO text; the driver takes them as dates. A time with its zone does not go into a column without
one, nor the reverse: either would be another time. The map says which zone is written: `dateTime('', 'Europe/London')`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from gateway.adapter import SourceContractBroken

NOT_OF_TYPE: Final = "a value that is not of its column's type"

_TRUE = frozenset(("true", "y", "yes", "1"))
_FALSE = frozenset(("false", "n", "no", "0"))


def typed(kind: str, value: Any) -> Any:
    """A value for a column of type `kind` (`pg_type.typname`). Raises `SourceContractBroken` where it cannot be one."""
    to = _TO.get(kind)
    if value is None or to is None:  # a type of the recipient's own: the server says whether the text is one
        return value
    try:
        return to(value)
    except (ValueError, InvalidOperation):
        raise SourceContractBroken(NOT_OF_TYPE) from None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        raise ValueError
    return value if isinstance(value, date) else date.fromisoformat(_text(value))


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))


def _with_zone(value: Any) -> datetime:
    text = _text(value)
    if len(text) == len("2026-01-01"):  # a day alone: its first moment, which is of that day in London too
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    moment = _moment(value)
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _without_zone(value: Any) -> datetime:
    moment = _moment(value)
    if moment.tzinfo is not None:
        raise ValueError
    return moment


def _flag(value: Any) -> bool:
    word = _text(value).lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    return int(_text(value))


def _number(value: Any) -> Decimal:
    return Decimal(_text(value))


_TO: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("text", "varchar", "bpchar"), _text),
    **dict.fromkeys(("int2", "int4", "int8"), _whole),
    "numeric": _number,
    "bool": _flag,
    "date": _day,
    "timestamptz": _with_zone,
    "timestamp": _without_zone,
}

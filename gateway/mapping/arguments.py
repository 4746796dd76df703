"""The constants that a function is given in a map: of the right kind, and ones that can ever do anything."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from gateway.mapping.functions import Function
from gateway.mapping.r4 import suggestion
from gateway.mapping.tree import Bad, Call

DATED: Final = frozenset({"date", "dateTime"})
KINDS: Final[Mapping[type, str]] = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


def check_arguments(call: Call, function: Function) -> None:
    """A call and its function -> nothing. Raises `Bad` for constants that it cannot use."""
    if not function.least <= len(call.arguments) <= len(function.arguments):
        raise Bad(call.pos, f"{call.name} takes {', '.join(function.arguments) or 'no arguments'}")
    for name, kind, given in zip(function.arguments, function.kinds, call.arguments, strict=False):
        if type(given) is not kind and not (kind is float and type(given) is int):
            raise Bad(call.pos, f"{call.name} takes {KINDS[kind]} as {name}, this is {KINDS[type(given)]}")
        ours = call.name in DATED and function.call.__module__.startswith("gateway.")
        if ours and given != "" and (wrong := SENSE[name](str(given))):
            raise Bad(call.pos, f"{call.name}: {wrong}")


def _form(given: str) -> str:
    try:
        example = datetime(2026, 1, 5, 9, 0).strftime(given)  # noqa: DTZ001 - only whether its own words can be read again
        datetime.strptime(example, given)  # noqa: DTZ007
    except ValueError:
        example = given
    return "" if example != given else f"'{given}' is no form of a date: write %d, %m, %Y, %H, %M for its parts"


def _zone(given: str) -> str:
    try:
        ZoneInfo(given)
    except (KeyError, ValueError, OSError):
        return f"there is no time zone '{given}'{suggestion(given, available_timezones())}"
    return ""


SENSE: Final[Mapping[str, Callable[[str], str]]] = {"form": _form, "zone": _zone}

"""What a mapping function's annotations say of it: the static types that the checker works with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from gateway.mapping.context import Run, Targets, Writing
from gateway.mapping.values import FHIR_NAMES


@dataclass(frozen=True, slots=True)
class Function:
    """A function as the checker and compiler see it."""

    call: Callable[..., Any]
    takes_run: bool
    takes: str  # R4 type name, "Primitive" or "Anything"
    gives: str  # R4 type name, or "Anything" for the type that came in
    arguments: tuple[str, ...]  # names of those an author gives
    least: int  # how many of them are needed
    kinds: tuple[type, ...] = ()  # what each of them is


def describe(call: Callable[..., Any]) -> Function:
    """A Python function -> what its annotations say. Raises `TypeError` where one is missing."""
    hints = get_type_hints(call)
    gives = _fhir_name(hints.pop("return"))
    names = list(hints)
    takes_run = bool(names) and hints[names[0]] in (Run, Writing)
    value, *arguments = names[1:] if takes_run else names
    for name in arguments:
        if hints[name] not in (str, int, float, bool, Targets):
            raise TypeError("an argument of a mapping function is a constant")
    least = len(arguments) - len(call.__defaults__ or ())
    kinds = tuple(hints[name] for name in arguments)
    return Function(call, takes_run, _fhir_name(hints[value]), gives, tuple(arguments), least, kinds)


def _fhir_name(hint: Any) -> str:
    for part in getattr(hint, "__args__", (hint,)):
        if part is not type(None) and hasattr(part, "__supertype__"):
            name = str(part.__name__)
            return FHIR_NAMES.get(name, name)
    raise TypeError("a mapping function needs the types of gateway.mapping.functions")

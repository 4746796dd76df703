"""What compiled maps call to walk a record. A list where the field dictionary promises one value is refused, never cut."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.mapping.context import Run, Unusable

_BLANK = re.compile(r"\s")
REPEATS = "a field repeats where the field dictionary says it does not"
NO_PARTS = "a text stands where the field dictionary has fields"


def box(item: Any) -> dict[str, Any]:
    """An item that is no object, for those who ask it for fields: it has none where it is absent, else it is refused."""
    if item is not None:
        _blank(item)
    return {}


def one(box: Any, name: str) -> Any:
    """The single value of a field; None where it is absent."""
    if box is None:
        return None
    if box.__class__ is not dict:
        _blank(box)
        return None
    value = box.get(name)
    if value.__class__ is list:
        if len(value) > 1:
            raise Unusable(REPEATS)
        return value[0] if value else None
    return value


def many(box: Any, name: str) -> list[Any]:
    """Every value of a field that repeats; a single one counts as a list of one."""
    if box is None:
        return []
    if box.__class__ is not dict:
        _blank(box)
        return []
    value = box.get(name)
    if value is None:
        return []
    return [part for part in value if part is not None] if value.__class__ is list else [value]


def each_one(boxes: list[Any], name: str) -> list[Any]:
    """The single value of a field, for each of several."""
    return [value for box in boxes if (value := one(box, name)) is not None]


def each_many(boxes: list[Any], name: str) -> list[Any]:
    """Every value of a field, for each of several."""
    return [value for box in boxes for value in many(box, name)]


def where(boxes: Any, tests: Sequence[tuple[str, str]]) -> list[Any]:
    """Those whose fields equal these."""
    listed = boxes if boxes.__class__ is list else ([] if boxes is None else [boxes])
    return [box for box in listed if all(_same(one(box, name), wanted) for name, wanted in tests)]


def ext_one(box: Any, urls: frozenset[str]) -> Any:
    """The one extension with one of these URLs."""
    if box.__class__ is dict and (listed := box.get("extension")).__class__ is list:  # nearly always
        met = None
        for part in listed:
            if part.__class__ is dict and part.get("url") in urls:
                if met is not None:
                    raise Unusable(REPEATS)
                met = part
        return met
    found = ext_many(box, urls)
    if len(found) > 1:
        raise Unusable(REPEATS)
    return found[0] if found else None


def ext_many(box: Any, urls: frozenset[str]) -> list[Any]:
    """Every extension with one of these URLs."""
    return [part for part in many(box, "extension") if part.__class__ is dict and part.get("url") in urls]


def each_ext(boxes: list[Any], urls: frozenset[str]) -> list[Any]:
    """Every extension with one of these URLs, of each of several."""
    return [part for box in boxes for part in ext_many(box, urls)]


def head(values: Any) -> Any:
    """The first of several."""
    if values.__class__ is not list:
        return values
    return values[0] if values else None


def present(value: Any) -> bool:
    """True for anything but absent, blank and empty."""
    if value.__class__ is list:
        return any(present(part) for part in value)
    if value.__class__ is str:
        return bool(value.strip())
    return value is not None and value != {}


def among(value: Any, wanted: Sequence[Any]) -> bool:
    """True where the value, or any of several, is one of these; text is trimmed, 1 is not true."""
    if value.__class__ is list:
        return any(among(part, wanted) for part in value)
    if value.__class__ is str:
        return value.strip() in wanted
    return any(value == part and isinstance(value, bool) == isinstance(part, bool) for part in wanted)


def bound(code: Any, codes: frozenset[str]) -> None:
    """A code of a required binding, or `Unusable`."""
    if code not in codes:
        raise Unusable("a code outside the element's required codes")


def bound_concept(concept: Any, codes: Mapping[str, frozenset[str]]) -> None:
    """A CodeableConcept or Coding of a required binding, or `Unusable`."""
    for coding in concept.get("coding", (concept,)):
        if coding.get("code") in codes.get(coding.get("system", ""), ()):
            return
    raise Unusable("no coding of the element's required codes")


def positive(number: int, least: int) -> None:
    """A positiveInt or unsignedInt, or `Unusable`."""
    if number < least:
        raise Unusable("a number below what the element allows")


def spaceless(text: str) -> None:
    """A uri, or `Unusable`."""
    if not text or _BLANK.search(text):
        raise Unusable("not a URI")


def missing(path: str) -> None:
    """A required element that the source gave nothing for."""
    raise Unusable(f"{path} is required and the source gave none")


def only_one(made: Mapping[str, Any], names: Sequence[str], path: str) -> None:
    """At most one form of a choice element, or `Unusable`."""
    if sum(name in made or f"_{name}" in made for name in names) > 1:
        raise Unusable(f"{path} has more than one value")


def own_ref(run: Run, label: str) -> dict[str, str] | None:
    """`= ref('Block')`: the resource that block makes from this record."""
    made = run.own.get(label)
    return None if made is None else {"reference": f"{label.partition('#')[0]}/{made}"}


def from_context(run: Run, name: str) -> Any:
    """`%ctx.name`."""
    ctx = run.ctx
    return ctx.number if name == "nhs_number" else getattr(ctx, name)


def _blank(box: Any) -> None:
    """A blank text where fields belong is absent; anything else is `Unusable`."""
    if box.__class__ is not str or box.strip():
        raise Unusable(NO_PARTS)


def _same(value: Any, wanted: str) -> bool:
    if value.__class__ is str:
        return bool(value.strip() == wanted)
    return (
        value is not None and str(value).lower() == wanted
        if value.__class__ is bool
        else value is not None and str(value) == wanted
    )

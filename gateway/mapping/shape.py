"""Is a resource R4 and UK Core by shape: names, lists, types, what is required, codes, fixed values, slices, invariants.

For tests and goldens, not for the line: compiled maps are checked at load, the rewriter refuses what R4 does not know.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from gateway.mapping.invariants import rules_of
from gateway.mapping.r4 import OFFICIAL, PRIMITIVE_NAMES, PRIMITIVES, UK_CORE, Element, Narrowing, Slice, index, places


def shape_faults(resource: Mapping[str, Any]) -> list[str]:
    """A resource -> what is wrong with it, by element path; never a value."""
    type_ = resource.get("resourceType")
    if not isinstance(type_, str) or not index().is_resource(type_):
        return ["resourceType is not of R4"]
    profiles = [UK_CORE + type_]
    meta = resource.get("meta")
    if isinstance(meta, Mapping) and isinstance(meta.get("profile"), list):
        profiles += [url for url in meta["profile"] if isinstance(url, str)]
    narrowing: dict[str, Narrowing] = {}
    for url in profiles:
        narrowing |= index().profile(url) or {}
    body = {name: value for name, value in resource.items() if name != "resourceType"}
    claimed = {url.partition("|")[0]: None for url in profiles}
    found = list(_object(body, type_, type_, "", narrowing))
    found += [fault for url in claimed for one in index().slices(url) for fault in _slice(body, one, type_)]
    return found + [text for url in claimed for text, holds in rules_of(url) if not holds(resource)]


def _slice(body: Mapping[str, Any], one: Slice, type_: str) -> Iterator[str]:
    """Entries that fixed values tell apart: how many there are, and what each has."""
    *above, last = one.path.split(".")
    for parent in _at([body], above):
        entries = [entry for entry in _at([parent], [last]) if isinstance(entry, Mapping)]
        own = [entry for entry in entries if all(value in _at([entry], name.split(".")) for name, value in one.fixed.items())]
        if len(own) < one.min or (one.max is not None and len(own) > one.max):
            yield f"{type_}.{one}: {len(own)} where UK Core wants {one.min} to {'*' if one.max is None else one.max}"
        for name in one.needs:
            stem = name.removesuffix("[x]")
            if any(not any(part == name or (stem != name and part.startswith(stem)) for part in entry) for entry in own):
                yield f"{type_}.{one}: no {name}"


def _at(values: list[Any], names: list[str]) -> list[Any]:
    """Every value at a path of names, through lists."""
    for name in names:
        found = [value[name] for value in values if isinstance(value, Mapping) and name in value]
        values = [part for value in found for part in (value if isinstance(value, list) else [value])]
    return values


def _object(value: Any, type_: str, shown: str, path: str, narrowing: Mapping[str, Narrowing]) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{shown} is not an element with parts"
        return
    if not value:
        yield f"{shown} is empty"
    elements = index().elements(type_)
    forms: dict[str, list[str]] = {}
    for name, part in value.items():
        element = elements.get(name.removeprefix("_"))
        if element is None or (name.startswith("_") and not element.primitive):
            yield f"{shown}.{name}: {type_} has no such element"
            continue
        rule = narrowing.get(_below(path, element.name)) or narrowing.get(_below(path, element.choice or element.name))
        if element.choice:
            forms.setdefault(element.choice, []).append(element.name)
        if name.startswith("_"):
            yield from _beside(part, element, f"{shown}.{name}")
        else:
            yield from _element(part, element, f"{shown}.{name}", path, narrowing, rule)
    for choice, names in forms.items():
        if len(set(names)) > 1:
            yield f"{shown}.{choice} has more than one value"
    for name, choices in _needed(elements, path, narrowing).items():
        if not any(one in value or f"_{one}" in value for one in choices):
            yield f"{shown}.{name} is required"


def _needed(elements: Mapping[str, Element], path: str, narrowing: Mapping[str, Narrowing]) -> dict[str, list[str]]:
    needed: dict[str, list[str]] = {}
    for element in elements.values():
        name = element.choice or element.name
        rule = narrowing.get(_below(path, name))
        if element.min or (rule is not None and rule.min):
            needed.setdefault(name, []).append(element.name)
        own = narrowing.get(_below(path, element.name)) if element.choice else None
        if own is not None and own.min:  # a slice by type: this one of the choice's forms
            needed[element.name] = [element.name]
    return needed


def _element(
    value: Any, element: Element, shown: str, path: str, narrowing: Mapping[str, Narrowing], rule: Narrowing | None
) -> Iterator[str]:
    if rule is not None and rule.max == 0:
        yield f"{shown}: UK Core does not use it"
    if rule is not None and rule.types and element.choice and element.type not in rule.types:
        yield f"{shown}: UK Core has another type"
    if element.many:
        if not isinstance(value, list) or not value:
            yield f"{shown} is not a list with something in it"
            return
        if rule is not None and rule.max is not None and len(value) > rule.max > 0:
            yield f"{shown} has more entries than UK Core allows"
        for number, part in enumerate(value):
            yield from _one(part, element, f"{shown}[{number}]", path, narrowing, rule)
    elif isinstance(value, list):
        yield f"{shown} is a list and must not be"
    else:
        yield from _one(value, element, shown, path, narrowing, rule)


def _one(
    value: Any, element: Element, shown: str, path: str, narrowing: Mapping[str, Narrowing], rule: Narrowing | None
) -> Iterator[str]:
    codes = rule.codes if rule is not None and rule.codes is not None else element.codes
    if element.type in PRIMITIVE_NAMES:
        if value is None and element.many:
            return  # a gap beside an extension
        if not _primitive(value, element.type):
            yield f"{shown} is not a {element.type}"
        elif codes is not None and element.type == "code" and value not in frozenset().union(*codes.values()):
            yield f"{shown} is outside its required codes"
        if rule is not None and rule.fixed is not None and value != rule.fixed:
            yield f"{shown} is not UK Core's fixed value"
    elif element.type == "Resource":
        yield from shape_faults(value) if isinstance(value, Mapping) else [f"{shown} is not a resource"]
    elif element.type == "Extension":
        yield from _extension(value, shown, None)
    else:
        yield from _object(value, element.type, shown, _below(path, element.choice or element.name), narrowing)
        if codes is not None and isinstance(value, Mapping):
            codings = value.get("coding", []) if element.type == "CodeableConcept" else [value]
            listed = [one for one in codings if isinstance(one, Mapping)] if isinstance(codings, list) else []
            if not any(one.get("code") in codes.get(str(one.get("system")), ()) for one in listed):
                yield f"{shown} has no coding of its required codes"


def _extension(value: Any, shown: str, parent: str | None) -> Iterator[str]:
    yield from _object({name: part for name, part in value.items() if name != "extension"}, "Extension", shown, "-", {})
    url = str(value.get("url", ""))
    values = [name for name in value if name.lstrip("_").startswith("value")]
    parts = value.get("extension", [])
    if bool(values) == bool(parts):
        yield f"{shown} has a value or parts, one of the two"
    outer = index().extension(parent) if parent is not None else None
    known = index().extension(url) if parent is None else None
    allowed = known.value if known is not None else outer.parts.get(url) if outer is not None else None
    if outer is not None and url not in outer.parts:
        yield f"{shown}: its extension has no such part"
    if parent is None and known is None and url.startswith(OFFICIAL):
        yield f"{shown}: no such extension is published"
    if known is not None and known.contexts and not known.contexts & _where(shown):
        yield f"{shown}: this extension stands elsewhere"
    types = index().elements("Extension")
    for name in values:
        element = types.get(name.lstrip("_"))
        if allowed is not None and element is not None and element.type not in allowed.types:
            yield f"{shown}.{name}: the extension's value is of another type"
        elif allowed is not None and allowed.codes and not name.startswith("_") and not _among(value[name], allowed.codes):
            yield f"{shown}.{name}: outside the extension's required codes"
    said = [part.get("url") for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    for name, row in known.parts.items() if known is not None else ():
        if (row.needed and name not in said) or (row.once and said.count(name) > 1):
            yield f"{shown}: its part {name} must be there, or is there too often"
    if isinstance(parts, list):
        for number, part in enumerate(parts):
            yield from _extension(part, f"{shown}.extension[{number}]", url)
    else:
        yield f"{shown}.extension is not a list"


def _among(value: Any, codes: Mapping[str, frozenset[str]]) -> bool:
    """Whether a code, Coding or CodeableConcept is one of these."""
    if isinstance(value, str):
        return any(value in listed for listed in codes.values())
    codings = value.get("coding", [value]) if isinstance(value, Mapping) else []
    return any(isinstance(one, Mapping) and one.get("code") in codes.get(str(one.get("system")), ()) for one in codings)


def _where(shown: str) -> frozenset[str]:
    """An extension's place as faults say it -> everything that its context may call the element it stands on."""
    type_, *names = [re.sub(r"^_|\[\d+\]$", "", name) for name in shown.split(".")][:-1]
    return places(index(), type_, ".".join(names))


def _beside(value: Any, element: Element, shown: str) -> Iterator[str]:
    """`_name`: ids and extensions of a primitive."""
    for part in value if element.many and isinstance(value, list) else [value]:
        if part is None:
            continue
        if not isinstance(part, Mapping) or not part or part.keys() - {"id", "extension"}:
            yield f"{shown} holds id and extension only"
            continue
        for number, one in enumerate(part.get("extension", ())):
            yield from _extension(one, f"{shown}.extension[{number}]", None)


def _primitive(value: Any, type_: str) -> bool:
    if type_ == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if type_ == "decimal":
        return isinstance(value, int | float | Decimal)
    if type_ in ("integer", "positiveInt", "unsignedInt"):
        return isinstance(value, int) and value >= {"integer": -2_147_483_648, "positiveInt": 1, "unsignedInt": 0}[type_]
    return isinstance(value, str) and PRIMITIVES[type_].fullmatch(value) is not None


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

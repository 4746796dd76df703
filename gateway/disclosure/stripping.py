"""Taking marked elements out of a resource, by path, without touching the original.

The marks name paths; for a person whose whereabouts are protected that is not trusted alone: everything that commonly
says where somebody lives, is cared for or goes to school is swept out of every resource as well.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.disclosure.required import NOTE_NEEDS, REQUIRED_INSIDE, complete, has
from gateway.model import Mark, Resource

WHOLE = ("*",)
PLACES_AND_PEOPLE = frozenset(
    {"Organization", "Location", "Practitioner", "PractitionerRole", "HealthcareService", "RelatedPerson", "Endpoint", "CareTeam"}
)
PATIENT_PATHS: Mapping[Mark, tuple[tuple[str, ...], ...]] = {
    Mark.LOCATING: (
        ("address",),
        ("telecom",),
        ("generalPractitioner",),
        ("managingOrganization",),
        ("extension",),
        ("contact",),
    ),
    Mark.THIRD_PARTY: (("contact",),),
}  # of the trace's Patient
PATIENT_KEEPS = frozenset(
    {
        *("resourceType", "identifier", "active", "name", "telecom", "gender", "birthDate", "_birthDate", "deceasedBoolean"),
        *("deceasedDateTime", "address", "communication", "generalPractitioner", "managingOrganization", "extension", "contact"),
        *("multipleBirthBoolean", "multipleBirthInteger", "maritalStatus"),
    }
)

_SWEPT = frozenset(
    {
        *("address", "telecom", "contact", "generalPractitioner", "managingOrganization", "serviceProvider", "custodian"),
        *("hospitalization", "origin", "destination", "valueAddress", "valueContactPoint", "valueContactDetail"),
    }
)  # wherever they stand
_SWEPT_AT_TOP = _SWEPT | {"text", "contained", "identifier", "location", "facility"}
_ONLY_NAMED = frozenset({"display", "identifier", "type"})


def strip(body: Resource, paths: Iterable[tuple[str, ...]], *, sweep: bool) -> dict[str, Any] | None:
    """A resource without the elements at `paths` -> a new resource, or None when what is left would not be whole.

    `sweep`: take out whatever locates, marked or not.
    """
    kind = body["resourceType"]
    if sweep and kind in PLACES_AND_PEOPLE:
        return None
    left: Any = dict(body)
    for path in paths:
        if path == WHOLE or not path:
            return None
        left = _without(left, path)
        if left is None:
            return None
    if sweep:
        left = _swept(left, "", top=True)
        if left is None:
            return None
    tidy = {name: value for name, element in left.items() if (value := _mended(kind, name, element)) is not None}
    return tidy if complete(kind, tidy) else None


def _without(element: Any, path: tuple[str, ...]) -> Any:
    """An element without what lies at `path`; None when nothing of it is left. A list is entered item by item."""
    if isinstance(element, list | tuple):
        if path[0].isdigit():
            return _without_item(element, int(path[0]), path[1:])
        items = [left for item in element if (left := _without(item, path)) is not None]
        return items or None
    if not isinstance(element, Mapping):
        return element
    name, rest = path[0], path[1:]
    left = {key: value for key, value in element.items() if rest or key not in (name, f"_{name}")}
    for key in (name, f"_{name}") if rest else ():
        if key in left:
            inside = _without(left.pop(key), rest)
            if inside is not None:
                left[key] = inside
    return left or None


def _without_item(element: list[Any] | tuple[Any, ...], index: int, rest: tuple[str, ...]) -> list[Any] | None:
    items = list(element)
    if index < len(items):
        inside = _without(items[index], rest) if rest else None
        items[index : index + 1] = [] if inside is None else [inside]
    return items or None


def _swept(element: Any, name: str, *, top: bool = False) -> Any:
    """An element without anything that commonly locates; None when nothing is left."""
    if isinstance(element, list | tuple):
        items = [left for item in element if (left := _swept(item, name)) is not None]
        return items or None
    if not isinstance(element, Mapping):
        return element
    if name != "coding" and _names_a_place(element):
        return None
    gone = _SWEPT_AT_TOP if top else _SWEPT
    left = {}
    for key, value in element.items():
        if key.lstrip("_") not in gone and (inside := _swept(value, key)) is not None:
            left[key] = inside
    return None if not left or (name == "extension" and left.keys() == {"url"}) else left


def _names_a_place(element: Mapping[str, Any]) -> bool:
    """A reference to a place, a body or a professional, or one by name alone, which could be any of them."""
    target = element.get("reference")
    if isinstance(target, str):
        return target.startswith(("#", "urn:")) or not PLACES_AND_PEOPLE.isdisjoint(target.split("/"))
    return bool(element) and element.keys() <= _ONLY_NAMED


def _mended(kind: str, name: str, element: Any) -> Any:
    """An element whose items have lost what they cannot do without -> without those items; None when none is left."""
    needs = NOTE_NEEDS if name == "note" else REQUIRED_INSIDE.get((kind, name))
    if needs is None:
        return element
    if isinstance(element, list):
        return [item for item in element if _whole(item, needs)] or None
    return element if _whole(element, needs) else None


def _whole(item: Any, needs: frozenset[str]) -> bool:
    return isinstance(item, Mapping) and all(has(item, need) for need in needs)

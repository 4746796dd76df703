"""Taking marked elements out of a resource, by path, without touching the original.

The marks name paths; for a person whose whereabouts are protected that is not trusted alone: everything that commonly
says where somebody lives, is cared for or goes to school is swept out of every resource as well.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET

from gateway.disclosure import vouched
from gateway.disclosure.required import NOTE_NEEDS, REQUIRED, REQUIRED_INSIDE, complete, has
from gateway.model import Mark, Resource, Unless
from gateway.resource import Typed, probe

Branches: TypeAlias = tuple[tuple[str, str, "Branches | None"], ...]  # a name, the name of what is beside it, what lies below
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
        *("authorString", "hospitalization", "origin", "destination", "valueAddress", "valueContactPoint", "valueContactDetail"),
    }
)  # wherever they stand
_SWEPT_AT_TOP = _SWEPT | {"text", "contained", "identifier", "location", "facility"}
_SWEPT_IN_META = _SWEPT | {"source", "tag"}
_ALL_OF_IT: Branches = (("*", "_*", None),)
_GONE = object()  # an item of a list of which nothing is left
_ONLY_NAMED = frozenset({"display", "identifier", "type"})
_DISPLAY = frozenset({"display"})
_TYPED = frozenset({"valueString", "valueMarkdown"})  # of an extension
_ONLY_IF: Mapping[str, Callable[[object], bool]] = {"contentType": vouched.is_content_type, "lotNumber": vouched.is_lot}


def strip(body: Resource, paths: Iterable[tuple[str, ...]], branches: Branches | None = None) -> Resource | None:
    """A resource without the elements at `paths`; itself when nothing is there, None when what is left is not whole.

    `branches`: of these paths, for those who strip many resources of them.
    """
    if body.__class__ is not dict and isinstance(body, Typed):
        return _strip_typed(body, tuple(paths))
    branches = branches_of(paths) if branches is None else branches
    if branches is _ALL_OF_IT:
        return None
    kind = body["resourceType"]
    left: dict[str, Any] | None = None
    lost = False
    for first, beside, inner in branches:
        for name in (first, beside):
            element = (body if left is None else left).get(name)
            if element is None or (first.__class__ is Unless and _is_own(element, first)):
                continue
            inside = None if inner is None else _without(element, inner)
            if inside is element:
                continue
            if left is None:
                left = dict(body)
            inside = None if inside is None else _mended(kind, name, inside)
            if inside is None:
                del left[name]
                lost = True
            else:
                left[name] = inside
    if left is None:
        return body
    return left if not lost or complete(kind, left) else None


def branches_of(paths: Iterable[tuple[str, ...]]) -> Branches:
    """Paths -> each first name of them once, with what is beside it and the branches below; None: the whole of it goes."""
    ends: list[str] = []
    longer: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        if path == WHOLE or not path:
            return _ALL_OF_IT
        if len(path) == 1:
            ends.append(path[0])
        else:
            longer.setdefault(path[0], []).append(path[1:])
    below = [(name, f"_{name}", branches_of(rest)) for name, rest in longer.items()]
    return (*((name, f"_{name}", None) for name in ends), *below)


def _strip_typed(body: Typed, paths: tuple[tuple[str, ...], ...]) -> Resource | None:
    """The same for a typed resource; it is taken apart only where something inside one of its elements has to go."""
    whole, tops, inner = fields_of(body.form.__class__, paths)
    if whole:
        return None
    form = body.form
    for name in inner:
        if getattr(form, name) is not UNSET:
            plain = body.plain()
            stripped = strip(plain, paths)
            return body if stripped is plain else stripped
    left: Typed | None = None
    for name in tops:
        if getattr(form, name) is not UNSET:
            left = body.copy() if left is None else left
            setattr(left.form, name, UNSET)
    if left is None:
        return body
    return left if is_whole(left) else None


@lru_cache(maxsize=1024)
def fields_of(form: type[msgspec.Struct], paths: tuple[tuple[str, ...], ...]) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """Paths as one struct has them: whether all of it goes, the fields that go, the fields that something inside may go from."""
    known = form.__struct_fields__
    names = [
        (name, len(path) > 1 or path[0].__class__ is Unless)
        for path in paths
        if path
        for name in (path[0], f"_{path[0]}")
        if name in known
    ]
    whole = any(path in ((), WHOLE) for path in paths)
    return whole, tuple(name for name, inner in names if not inner), tuple(name for name, inner in names if inner)


def is_whole(body: Typed) -> bool:
    """Whether a typed resource has what its type requires. A type we know nothing of never has."""
    return whole(body.kind, body.form.__class__)(body.form)


@lru_cache(maxsize=1024)
def whole(kind: str, form: type[msgspec.Struct]) -> Callable[[Any], bool]:
    """A type and its struct -> what tells of a struct whether it has all that the type requires."""
    required = REQUIRED.get(kind)
    if required is None:
        return lambda form: False
    fields = [tuple(field for field in form.__struct_fields__ if has((field,), name)) for name in required]
    alone, _ = probe([names[0] for names in fields if len(names) == 1])
    choices = tuple(probe(names) for names in fields if len(names) != 1)  # an element that one of several fields holds
    if not choices:
        return lambda form: UNSET not in alone(form)
    return lambda form: UNSET not in alone(form) and not any(any_of(form) == nothing for any_of, nothing in choices)


def sweep(body: Resource) -> Resource | None:
    """A resource without anything that commonly locates, marked or not; None when what is left is not whole."""
    if isinstance(body, Typed):
        whole = body.plain()
        swept = sweep(whole)
        return body if swept is whole else swept
    kind = body["resourceType"]
    left = None if kind in PLACES_AND_PEOPLE else _swept(body, "", top=True)
    if left is None or left == body:
        return None if left is None else body
    tidy = {name: value for name, element in left.items() if (value := _mended(kind, name, element)) is not None}
    return tidy if complete(kind, tidy) else None


def _without(element: Any, branches: Branches) -> Any:
    """An element without what lies at the ends of `branches`: itself when nothing does, None when nothing of it is left.

    A list is entered item by item.
    """
    if element.__class__ is not dict:
        if isinstance(element, list | tuple):
            return _items_without(element, branches)
        if not isinstance(element, Mapping):
            return element
    left: dict[str, Any] | None = None
    for first, beside, inner in branches:
        for name in (first, beside):
            said = (element if left is None else left).get(name)
            if said is None or (first.__class__ is Unless and _is_own(said, first)):
                continue
            inside = None if inner is None else _without(said, inner)
            if inside is not said:
                left = dict(element) if left is None else left
                del left[name]
                if inside is not None:
                    left[name] = inside
    return element if left is None else left or None


def _is_own(element: Any, last: str) -> bool:
    """Whether what stands at the end of a path is the map's own words alone."""
    said = element if isinstance(element, list | tuple) else (element,)
    words = last.words if isinstance(last, Unless) else frozenset()
    return all(isinstance(each, str) and each in words for each in said)


def _items_without(listed: list[Any] | tuple[Any, ...], branches: Branches) -> Any:
    """The same of a list. A branch that is a number is of the item at that place."""
    of_each = branches
    by_place: dict[int, Branches] = {}
    for branch in branches:
        if branch[0].isdigit():
            by_place = {int(first): inner or _ALL_OF_IT for first, _, inner in reversed(branches) if first.isdigit()}
            of_each = tuple(branch for branch in branches if not branch[0].isdigit())
            break
    items: list[Any] | None = None
    for place, item in enumerate(listed):
        inside = _without(item, of_each)
        if by_place and inside is not None and (own := by_place.get(place)) is not None:
            inside = None if own is _ALL_OF_IT else _without(inside, own)
        if inside is not item:
            items = [*listed] if items is None else items
            items[place] = _GONE if inside is None else inside
    return listed if items is None else [item for item in items if item is not _GONE] or None


def _swept(element: Any, name: str, *, top: bool = False) -> Any:
    """An element without anything that commonly locates; None when nothing is left."""
    if isinstance(element, list | tuple):
        items = [left for item in element if (left := _swept(item, name)) is not None]
        return items or None
    if not isinstance(element, Mapping):
        only_if = _ONLY_IF.get(name)
        return element if only_if is None or only_if(element) else None
    if name != "coding" and _names_a_place(element):
        return None
    if not top and vouched.is_quantity(element):
        return vouched.quantity(element)
    if not top and vouched.is_coding(element, name):
        return vouched.coding(element)
    gone = _SWEPT_AT_TOP if top else _SWEPT_IN_META if name == "meta" else _SWEPT
    if "display" in element:
        gone = gone | _DISPLAY
    if name == "extension":
        gone = gone | _TYPED
    if isinstance(element.get("reference"), str):  # the link stays; a name beside it can be of a place
        gone = gone | _ONLY_NAMED
    left = {}
    for key, value in element.items():
        if key.lstrip("_") not in gone and (inside := _swept(value, key)) is not None:
            left[key] = inside
    if vouched.is_halved(element, left):
        return None
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

"""Where the references of a structured record lead: to keys that outlive the answer, to a name, or nowhere.

The same tree comes back where nothing in it refers to anything: a record of a megabyte is walked once and copied hardly at all.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = dict[str, Any]

_GONE: Any = object()  # a reference that is left out
_NEVER = frozenset(  # elements of STU3 that are codes, times and amounts wherever they stand: nothing in them refers to anything
    (
        *("category", "clinicalStatus", "code", "coding", "dosage", "dosageInstruction", "effectivePeriod", "emptyReason"),
        *("identifier", "interpretation", "length", "manifestation", "meta", "orderedBy", "period", "quantity", "reasonCode"),
        *("referenceRange", "targetDisease", "text", "type", "vaccineCode", "validityPeriod", "valueCodeableConcept"),
        *("valuePeriod", "valueQuantity"),
    )
)
_UNREAD = {  # elements that hold much and of which no map reads a reference: the maps are asked by a test
    "Immunization": _NEVER | {"extension"},
    "MedicationRequest": _NEVER | {"extension"},
    "MedicationStatement": _NEVER | {"extension"},
}
_FAMILY = frozenset({"RelatedPerson", "Patient"})  # neither given nor named; the record's one Patient is told apart before
_MODIFIER = "modifierExtension"
_NAMED = frozenset({"Practitioner", "PractitionerRole", "Organization", "Location", "HealthcareService"})
_NONE: Mapping[str, str] = {}
LONGEST = 256  # characters of an id or a name: each stands wherever it is referred to; megabytes of one would fill memory
_WORDS = msgspec.json.Encoder(decimal_format="number", order="deterministic")


class Modified(Exception):
    """An extension changes what an element means: nobody may read it without that."""


@dataclass(frozen=True, slots=True)
class Leads:
    """Where what a reference says leads: to a key, to a name, or, of a type that is given, nowhere."""

    links: Mapping[str, str]
    names: Mapping[str, str]
    given: frozenset[str]
    patient: str = ""  # what a reference to the record's one Patient says: most there are, and it stays
    inside: Mapping[str, str] = field(default_factory=lambda: _NONE)  # of one List: what it contains
    names_inside: Mapping[str, str] = field(default_factory=lambda: _NONE)  # and the staff and places among it


def relinked(resource: Json, leads: Leads) -> Json:
    """A resource with each reference to a `given` type leading to its key, and each to staff or a place bearing its name.

    A reference that leads nowhere is left out: it must not tell that something withheld exists. Raises `Modified`.
    """
    made = _walk(resource, leads, _UNREAD.get(resource["resourceType"], _NEVER))
    return {} if made is _GONE else made


def staff_names(resources: list[Json]) -> dict[str, str]:
    """People and places of a record -> what a reference to each may show. One without a name is not listed."""
    by_reference: dict[str, str] = {}
    roles: list[tuple[str, str]] = []
    for resource in resources:
        kind = resource["resourceType"]
        if kind not in _NAMED or not (local := own_id(resource)):
            continue
        if kind == "PractitionerRole":
            roles.append((f"{kind}/{local}", reference_of(resource.get("practitioner"))))
            continue
        name = _person(resource) if kind == "Practitioner" else text_of(resource.get("name"))
        if 0 < len(name.strip()) <= LONGEST:
            by_reference[f"{kind}/{local}"] = name.strip()
    by_reference |= {role: by_reference[person] for role, person in roles if person in by_reference}
    return by_reference


def own_id(resource: Json) -> str:
    """The id of this answer, without the mark of a contained one. One longer than any is counts as none."""
    found = resource.get("id", "")
    found = (found if found.__class__ is str else str(found)).removeprefix("#")
    return found if len(found) <= LONGEST else ""


def business_identifier(resource: Json) -> str:
    """The identifier that outlives an answer: the first with a system and a value."""
    for identifier in dicts(resource, "identifier"):
        system, value = identifier.get("system"), identifier.get("value")
        if system and value:
            return f"{system}|{value}"
    return ""


def token(*parts: str) -> str:
    """Any texts -> a short key made of them."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=15).hexdigest()


def digest(resource: Json) -> bytes:
    """A resource -> what only another equal to it word for word but for its id has as well."""
    words = _WORDS.encode({name: value for name, value in resource.items() if name != "id"})
    return hashlib.blake2b(words, digest_size=32).digest()


def reference_of(value: Any) -> str:
    """What a Reference says, or nothing."""
    return text_of(value.get("reference")) if value.__class__ is dict else ""


def text_of(value: Any) -> str:
    """A text, or nothing."""
    return value if value.__class__ is str else ""


def dicts(parent: Any, name: str) -> list[Json]:
    """The objects of a list, whatever else stands there."""
    children = parent.get(name) if parent.__class__ is dict else None
    return [child for child in children if child.__class__ is dict] if children.__class__ is list else []


def _walk(value: Json, leads: Leads, never: frozenset[str] = _NEVER) -> Any:
    said = value.get("reference")
    if said.__class__ is str:
        return _led(value, said, leads)
    changed: Json | None = None
    itself = leads.patient
    for name, child in value.items():
        kind = child.__class__
        if kind is str:
            continue
        if kind is dict:
            if name in never:
                continue
            said = child.get("reference")
            new = _walk(child, leads) if said.__class__ is not str else child if said == itself else _led(child, said, leads)
        elif kind is list:
            if name in never:
                if name == "referenceRange" and any(_MODIFIER in part for part in child if part.__class__ is dict):
                    raise Modified
                continue
            if name == _MODIFIER:
                raise Modified
            new = _each(child, leads)
        else:
            continue
        if new is not child:
            changed = dict(value) if changed is None else changed
            if new is _GONE:
                del changed[name]
            else:
                changed[name] = new
    return value if changed is None else changed


def _each(listed: list[Any], leads: Leads) -> list[Any]:
    made: list[Any] | None = None
    for place, child in enumerate(listed):
        kind = child.__class__
        if kind is dict:
            said = child.get("reference")
            new = _led(child, said, leads) if said.__class__ is str else _walk(child, leads)
        elif kind is list:
            new = _each(child, leads)
        else:
            continue
        if new is not child:
            made = list(listed) if made is None else made
            made[place] = new
    return listed if made is None else [new for new in made if new is not _GONE]


def _led(value: Json, said: str, leads: Leads) -> Any:
    if said == leads.patient:
        return value
    found = leads.links.get(said)
    if found is None and leads.inside:
        found = leads.inside.get(said)
    if found is not None:
        return value if found == said else {**value, "reference": found}
    shown = leads.names.get(said)
    if shown is None and leads.names_inside:
        shown = leads.names_inside.get(said)
    if shown is not None:
        return value if value.get("display") else {**value, "display": shown}
    kind = said.partition("/")[0]
    if said.strip() == leads.patient:
        return value
    return _GONE if kind in leads.given or kind in _FAMILY else value


def _person(practitioner: Json) -> str:
    for name in dicts(practitioner, "name"):
        if text_of(name.get("text")):
            return text_of(name["text"])
        parts = [text_of(part) for part in (*_texts(name, "prefix"), *_texts(name, "given"), name.get("family"))]
        return " ".join(part for part in parts if part)
    return ""


def _texts(parent: Json, name: str) -> list[Any]:
    found = parent.get(name)
    return found if isinstance(found, list) else []

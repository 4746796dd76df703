"""What a security label of a structured record covers.

A label of the Bundle is a label of everything in it, one of a List, or of what contains others, of everything that it holds.
NOPAT (not for the patient, the family or a carer to see) is known and travels; every other label locks.

Source: GP Connect Access Record Structured 1.6.2, "NOPAT".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.gp.links import Json, dicts, own_id, reference_of, text_of

_ACT_CODE = frozenset({"http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"})
_NOT_FOR_FAMILY: Final = {"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}


@dataclass(frozen=True, slots=True)
class Covered:
    """References to what a label of the Bundle or of a List covers; `all_*`: everything."""

    locked: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    all_locked: bool = False
    all_hidden: bool = False

    def locks(self, name: str, resource: Json) -> bool:
        """Whether the provider keeps this back: a label that we do not know, of its own or over it."""
        own = labels_of(resource)
        return self.all_locked or name in self.locked or (bool(own) and any(not _is_nopat(label) for label in own))

    def shown(self, name: str, resource: Json) -> Json:
        """The resource with the label over it as its own; the same one where there is none, or it has its own."""
        if not (self.all_hidden or name in self.hidden) or any(_is_nopat(label) for label in labels_of(resource)):
            return resource
        meta = resource.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        return {**resource, "meta": {**meta, "security": [*dicts(meta, "security"), _NOT_FOR_FAMILY]}}


def covered(bundle: Mapping[str, Any], holding: list[tuple[str, Json]]) -> Covered:
    """A Bundle, and what holds others, with what a reference to each says -> what their labels cover, Lists of Lists included."""
    over = dicts(bundle.get("meta"), "security")
    labelled = [(name, labels) for name, listed in holding if (labels := labels_of(listed))]
    if not over and not labelled:
        return Covered()
    holds: dict[str, list[str]] = {}
    for name, listed in holding:  # some share an id: then each covers what any of them holds
        holds.setdefault(name, []).extend(_names_in(name, listed))
    locked = {name for name, labels in labelled if any(not _is_nopat(label) for label in labels)}
    hidden = {name for name, labels in labelled if any(_is_nopat(label) for label in labels)}
    return Covered(
        _all_below(locked, holds),
        _all_below(hidden, holds),
        any(not _is_nopat(label) for label in over),
        any(_is_nopat(label) for label in over),
    )


def labels_of(resource: Json) -> list[Json]:
    """The security labels of a resource itself: of its meta, and of a document's own element."""
    meta = resource.get("meta")
    if "securityLabel" not in resource and (meta.__class__ is not dict or "security" not in meta):
        return []  # nearly every one there is
    return dicts(meta, "security") + [coding for label in dicts(resource, "securityLabel") for coding in dicts(label, "coding")]


def _names_in(name: str, listed: Json) -> list[str]:
    said = [reference_of(entry.get("item")).strip() for entry in dicts(listed, "entry")]
    return said + [f"{name}#{own_id(inner)}" for inner in dicts(listed, "contained")]


def _all_below(lists: set[str], holds: Mapping[str, list[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(lists)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += holds.get(name, [])
    return frozenset(found)


def _is_nopat(label: Json) -> bool:
    return text_of(label.get("system")).strip() in _ACT_CODE and text_of(label.get("code")).strip() == "NOPAT"

"""The labels a resource leaves with, and what the labels it came with mean. Source: HL7 v3-Confidentiality, v3-ActCode."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from gateway import systems
from gateway.model import CareClass, Resource
from gateway.resource import Typed

NOT_FOR_FAMILY_LABEL = "NOPAT"  # no disclosure to patient, family or caregivers without the attending provider
ORDER: Mapping[CareClass, int] = {care_class: rank for rank, care_class in enumerate(CareClass)}

_CONFIDENTIALITY: Mapping[CareClass, str] = {
    CareClass.IDENTITY: "N",
    CareClass.OPERATIONAL: "N",
    CareClass.HEALTH: "N",
    CareClass.SOCIAL_CARE: "R",
    CareClass.SAFEGUARDING: "R",
    CareClass.SPECIAL: "V",
}
_ACT_CODES = (
    "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "http://hl7.org/fhir/v3/ActCode",
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    "http://hl7.org/fhir/v3/Confidentiality",
)
_MEANS_NOTHING_MORE = frozenset({"U", "L", "M", "N", NOT_FOR_FAMILY_LABEL})


def raised(care_class: CareClass, labels: Sequence[Mapping[str, Any]]) -> CareClass:
    """The class of a resource with the labels it came with: one that we do not know means the most restricted."""
    known = all(label.get("system") in _ACT_CODES and label.get("code") in _MEANS_NOTHING_MORE for label in labels)
    return care_class if known else CareClass.SPECIAL


def labels_of(body: Resource) -> Sequence[Mapping[str, Any]]:
    """meta.security as the mapping left it."""
    meta = body.get("meta")
    if meta.__class__ is dict and "security" not in meta:
        return ()  # nearly always
    labels = meta.get("security", ()) if meta else ()
    return labels if isinstance(labels, list | tuple) else ({},)  # a shape that is no list is a label we do not know


def not_for_family(labels: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a label keeps the resource from the person's family."""
    return any(label.get("code") == NOT_FOR_FAMILY_LABEL for label in labels)


def labelled(body: Resource, care_class: CareClass, labels: Sequence[Mapping[str, Any]] = (), *, ours: bool = False) -> Resource:
    """A resource with its labels in meta.security. `ours`: a typed copy made here, which may take them in place."""
    meta = body.get("meta")
    if not isinstance(body, Typed):
        return {**body, "meta": _meta(meta, care_class, labels)}
    made = body if ours else body.copy()
    form: Any = made.form
    form.meta = _meta(meta, care_class, labels) if meta else _alone(care_class)
    return made


def _meta(meta: Mapping[str, Any] | None, care_class: CareClass, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {**(meta or {}), "security": [*security_of(care_class), *labels]}


@lru_cache(maxsize=16)
def security_of(care_class: CareClass) -> tuple[dict[str, str], ...]:
    """The labels that say a class to callers."""
    return (
        {"system": systems.V3_CONFIDENTIALITY, "code": _CONFIDENTIALITY[care_class]},
        {"system": systems.CARE_CLASS, "code": care_class.value},
    )


@lru_cache(maxsize=16)
def _alone(care_class: CareClass) -> Mapping[str, Any]:
    """The whole meta of a resource that has no other."""
    return _meta(None, care_class, ())

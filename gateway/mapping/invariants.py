"""The invariants of UK Core of severity error, one by one: FHIRPath is not run here. A test counts them against the profiles.

Source: constraint.expression of the UK Core StructureDefinitions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from gateway.mapping.r4 import UK_CORE

Holds: TypeAlias = Callable[[Mapping[str, Any]], bool]

_R5: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-"


def _reason_of_not_done(one: Mapping[str, Any]) -> bool:
    return one.get("status") != "not-done" or "statusReason" in one


def _has_loinc(one: Mapping[str, Any]) -> bool:
    code = one.get("code")
    codings = code.get("coding", ()) if isinstance(code, Mapping) else ()
    return any(isinstance(coding, Mapping) and coding.get("system") == "http://loinc.org" for coding in codings)


def _one_collector(one: Mapping[str, Any]) -> bool:
    collection = one.get("collection")
    collector = collection.get("collector") if isinstance(collection, Mapping) else None
    if not isinstance(collector, Mapping):
        return True
    return "reference" not in collector or not _has_extension(collector, "Specimen.collection.collector")


def _one_link(one: Mapping[str, Any]) -> bool:
    media = [part for part in one.get("media", ()) if isinstance(part, Mapping)]
    linked = any("reference" in part.get("link", {}) for part in media)
    return not (linked and any(_has_extension(part, "DiagnosticReport.media.link") for part in media))


def _has_extension(element: Mapping[str, Any], name: str) -> bool:
    return any(isinstance(each, Mapping) and each.get("url") == _R5 + name for each in element.get("extension", ()))


RULES: Final[Mapping[str, tuple[str, str, Holds]]] = {  # key -> profile (those that build on it begin so), text, rule
    "ukcore-imm-001": ("Immunization", "Immunization.statusReason is required of what was not done", _reason_of_not_done),
    "ukcore-obs-vs-001": ("Observation-VitalSigns", "Observation.code of a vital sign has a LOINC coding", _has_loinc),
    "ukcore-spec-001": ("Specimen", "Specimen.collection.collector is said in one way", _one_collector),
    "ukcore-diag-lab-002": ("DiagnosticReport", "DiagnosticReport.media.link is said in one way", _one_link),
}


def rules_of(profile: str) -> Iterator[tuple[str, Holds]]:
    """A profile -> what is wrong where a rule does not hold, and the rule."""
    name = profile.removeprefix(UK_CORE)
    for key, (of, text, holds) in RULES.items():
        if name == of or name.startswith(f"{of}-"):
            yield f"{text} ({key})", holds

"""What a resource cannot do without, so that one stripped too far is withheld whole. Source: FHIR R4, min = 1 elements."""

from collections.abc import Collection, Mapping

# Type -> required elements; a name ending in [x] stands for any of its choices. A type that is not here is withheld
# whole as soon as anything has to be taken out of it.
REQUIRED: Mapping[str, frozenset[str]] = {
    "AllergyIntolerance": frozenset({"patient"}),
    "Appointment": frozenset({"status", "participant"}),
    "AuditEvent": frozenset({"type", "recorded", "agent", "source"}),
    "CarePlan": frozenset({"status", "intent", "subject"}),
    "CareTeam": frozenset(),
    "ClinicalImpression": frozenset({"status", "subject"}),
    "Communication": frozenset({"status"}),
    "Condition": frozenset({"subject"}),
    "Consent": frozenset({"status", "scope", "category"}),
    "DiagnosticReport": frozenset({"status", "code"}),
    "DocumentReference": frozenset({"status", "content"}),
    "Encounter": frozenset({"status", "class"}),
    "EpisodeOfCare": frozenset({"status", "patient"}),
    "Flag": frozenset({"status", "code", "subject"}),
    "Immunization": frozenset({"status", "vaccineCode", "patient", "occurrence[x]"}),
    "List": frozenset({"status", "mode"}),
    "Medication": frozenset(),
    "MedicationRequest": frozenset({"status", "intent", "medication[x]", "subject"}),
    "MedicationStatement": frozenset({"status", "medication[x]", "subject"}),
    "Observation": frozenset({"status", "code"}),
    "Patient": frozenset(),
    "Procedure": frozenset({"status", "subject"}),
    "QuestionnaireResponse": frozenset({"status"}),
    "RelatedPerson": frozenset({"patient"}),
    "ServiceRequest": frozenset({"status", "intent", "subject"}),
    "Specimen": frozenset(),
    "Task": frozenset({"status", "intent"}),
}

# Element of a resource -> what each of its items cannot do without: an item that loses it goes as a whole.
REQUIRED_INSIDE: Mapping[tuple[str, str], frozenset[str]] = {
    ("AllergyIntolerance", "reaction"): frozenset({"manifestation"}),
    ("Communication", "payload"): frozenset({"content[x]"}),
    ("Encounter", "diagnosis"): frozenset({"condition"}),
    ("Encounter", "location"): frozenset({"location"}),
    ("Encounter", "statusHistory"): frozenset({"status", "period"}),
    ("EpisodeOfCare", "diagnosis"): frozenset({"condition"}),
    ("EpisodeOfCare", "statusHistory"): frozenset({"status", "period"}),
    ("Immunization", "performer"): frozenset({"actor"}),
    ("Immunization", "protocolApplied"): frozenset({"doseNumber[x]"}),
    ("Observation", "component"): frozenset({"code"}),
    ("Patient", "communication"): frozenset({"language"}),
    ("Procedure", "performer"): frozenset({"actor"}),
}
NOTE_NEEDS = frozenset({"text"})  # Annotation, wherever a `note` is


def has(element: Collection[str], name: str) -> bool:
    """Whether an element is there, with its value or with an extension in its place."""
    if name.endswith("[x]"):
        stem = name[:-3]
        return any(key.lstrip("_").startswith(stem) for key in element)
    return name in element or f"_{name}" in element


def complete(kind: str, body: Mapping[str, object]) -> bool:
    """Whether a resource that something was taken out of still has all that its type requires."""
    needs = REQUIRED.get(kind)
    return needs is not None and all(has(body, name) for name in needs)

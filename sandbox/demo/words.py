"""What the demonstration says of a record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WHEN = (
    *("occurrenceDateTime", "effectiveDateTime", "onsetDateTime", "authoredOn", "authored", "dateAsserted", "recordedDate"),
    *("dateTime", "created", "issued", "date", "receivedTime"),
)
KINDS = {
    "gp": "GP",
    "child-health": "child health",
    "childrens-centre": "centre",
    "local-authority": "authority",
    "cp-is": "CP-IS",
}


def record(resources: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A record as lines a person can read: one for each type; what is in it in words, when, and held by whom."""
    words: dict[str, list[str]] = {}
    holders: dict[tuple[str, str], set[str]] = {}
    by_reference = {f"{resource['resourceType']}/{resource['id']}": resource for resource in resources}
    for resource in resources:
        kind = resource["resourceType"]
        if kind != "Provenance":
            said, (day, holder) = in_words(resource, by_reference), _told_by(resource)
            words.setdefault(kind, []).append(", ".join(filter(None, (said, day, holder))))
            holders.setdefault((kind, said), set()).add(holder)
    for kind, lines in words.items():
        yield f"{kind}: {'; '.join(sorted(lines))}"
    if any(len(several) > 1 for (kind, _), several in holders.items() if kind == "Immunization"):
        yield "(One dose that two sources hold stands twice, as each of them tells it: compare days before you count.)"


def _told_by(resource: dict[str, Any]) -> tuple[str, str]:
    """When it was, by the first element that says so, and which kind of source holds it: two sources may hold the same event."""
    if resource["resourceType"] == "Patient":
        return "", ""
    _, kind, *_ = f"{resource['id']}..".split(".")
    periods = (resource.get(name, {}).get("start") for name in ("period", "effectivePeriod", "performedPeriod", "context"))
    said = next(filter(None, [*(resource.get(name) for name in WHEN), *periods]), "")
    return str(said)[:10], KINDS.get(kind, kind)


def in_words(resource: dict[str, Any], others: Mapping[str, dict[str, Any]]) -> str:
    """What one resource says first."""
    if resource["resourceType"] == "Patient":
        name = resource.get("name", [{}])[0]
        where = "address shown" if resource.get("address") else "no address"
        return f"{' '.join(name.get('given', []))} {name.get('family', '')}, born {resource.get('birthDate', '-')}, {where}"
    if resource["resourceType"] == "List":
        return str(resource.get("title", "see the resource"))
    if resource["resourceType"] == "CareTeam":
        reached = [resource.get("name"), *(one.get("value") for one in resource.get("telecom", []))]
        return ", ".join(filter(None, [*map(text_of, resource.get("category", [])), *reached]))
    if resource["resourceType"] == "Consent":
        return (
            f"{text_of(resource['category'][-1])} ({resource.get('provision', {}).get('type', 'unsaid')}, {resource['status']})"
        )
    candidates = [resource.get(name) for name in ("code", "medicationCodeableConcept", "vaccineCode", "type", "reasonCode")]
    medication = others.get(resource.get("medicationReference", {}).get("reference", ""), {})
    candidates[0:0] = [medication.get("code")]
    candidates[3:3] = [item.get("valueCodeableConcept") for item in resource.get("extension", [])]
    texts = [text for text in map(text_of, candidates) if text and text != "unknown"]
    said = texts[0] if texts else "see the resource"
    status = resource.get("status", "")
    return f"{said} ({status})" if status in ("not-done", "inactive", "cancelled", "finished") else said


def text_of(value: Any) -> str:
    """The words of a CodeableConcept, or of the first of several."""
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, dict):
        return ""
    displays = [coding.get("display", "") for coding in value.get("coding", [])]
    return str(value.get("text") or next((display for display in displays if display), ""))

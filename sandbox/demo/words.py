"""What the demonstration says of a record."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def record(resources: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A record as lines a person can read: one for each type, what is in it in words."""
    words: dict[str, list[str]] = {}
    by_reference = {f"{resource['resourceType']}/{resource['id']}": resource for resource in resources}
    for resource in resources:
        kind = resource["resourceType"]
        if kind != "Provenance":
            words.setdefault(kind, []).append(in_words(resource, by_reference))
    for kind, lines in words.items():
        yield f"{kind}: {'; '.join(sorted(lines))}"


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

"""A structured record, split: STU3 Bundle -> one `SourceRecord` for each clinical resource, and what its Lists warn of.

Three things that only the whole Bundle shows are done here, because a mapping sees one record: whose record it is, which
allergies have ended, and which business key each reference leads to. Lists are told apart by code, never by title.

Source: GP Connect Access Record Structured 1.6.2, "Using the List resource", "Resource population".
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from gateway.adapter import Claim, SourceContractBroken, SourceFacts, SourceRecord

Json: TypeAlias = dict[str, Any]

SCHEMAS = {
    "AllergyIntolerance": "gpc-allergyintolerance-stu3",
    "Immunization": "gpc-immunization-stu3",
    "Condition": "gpc-condition-stu3",
    "MedicationRequest": "gpc-medicationrequest-stu3",
    "MedicationStatement": "gpc-medicationstatement-stu3",
    "Medication": "gpc-medication-stu3",
}
OTHERS = frozenset(
    {
        "DiagnosticReport",
        "DocumentReference",
        "Encounter",
        "HealthcareService",
        "Location",
        "Observation",
        "Organization",
        "Practitioner",
        "PractitionerRole",
        "ProcedureRequest",
        "QuestionnaireResponse",
        "ReferralRequest",
        "Specimen",
    }
)
OTHER = "gpc-other-stu3"  # what a record may hold beside: not given by this adapter, so accounted for and not translated
UNREADABLE = "gpc-unreadable-entry"  # an entry without a resource: no map reads it, so it is refused with its place

_FRAME = frozenset({"Patient", "List", "OperationOutcome"})  # read here: whose record, which list, which area is missing
_NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
_SNOMED = "http://snomed.info/sct"
_ALLERGIES = "886921000000105"
_ENDED_ALLERGIES = "1103671000000101"
_CATEGORY_OF_LIST = {
    _ALLERGIES: "allergies",
    _ENDED_ALLERGIES: "allergies",
    "933361000000108": "medications",
    "1102181000000102": "immunisations",
    "717711000000103": "problems",
}
_CATEGORY_OF_PARAMETER = {
    "includeAllergies": "allergies",
    "includeMedication": "medications",
    "includeImmunisations": "immunisations",
    "includeProblems": "problems",
}
_UNKNOWN = "another type"  # a foreign word never becomes a locator
_ELSEWHERE = "other-health"
_WARNING = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-CareConnect-GPC-ListWarningCode-1"
_WARNING_CODES = frozenset({"confidential-items", "data-in-transit", "data-awaiting-filing"})
_ACT_CODE = frozenset({"http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"})


@dataclass(frozen=True, slots=True)
class Split:
    """A structured record in parts."""

    about: Claim
    facts: SourceFacts
    records: tuple[SourceRecord, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    where: str
    resource: Json
    contained_in: str = ""  # code of the List that contains it, and that List's id
    contained_by: str = ""


def split(bundle: Mapping[str, Any], *, as_of: datetime | None = None) -> Split:
    """A Bundle -> its parts. `as_of` None: the Bundle's own time, or that of its newest List.

    Raises `SourceContractBroken` when it does not hold exactly one Patient with one NHS number, or names another Patient.
    """
    try:
        return _split(bundle, as_of)
    except RecursionError:
        raise SourceContractBroken("the record is nested deeper than any record is") from None


def _split(bundle: Mapping[str, Any], as_of: datetime | None) -> Split:
    entries = list(_entries(bundle["entry"]))
    patient = _one_patient(entries)
    about = _claim(patient)
    lists = [entry.resource for entry in entries if entry.resource["resourceType"] == "List"]
    when = as_of or _time_of(bundle, lists)
    clinical = [entry for entry in entries if entry.resource["resourceType"] not in _FRAME]
    for entry in entries:
        _check_subject(entry.resource, patient)
    links = _links(clinical)
    membership = _membership(lists)
    records = tuple(_records(clinical, links, membership, when, about))
    return Split(about, SourceFacts(warnings=_warnings(entries), as_of=when), records)


def _entries(listed: list[Any]) -> Iterator[_Entry]:
    for number, item in enumerate(listed, start=1):
        resource = item.get("resource") if isinstance(item, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            yield _Entry(f"entry {number}", {"resourceType": UNREADABLE, "position": number})
            continue
        kind = resource["resourceType"]
        label = kind if kind in SCHEMAS or kind in _FRAME or kind in OTHERS else _UNKNOWN
        yield _Entry(f"entry {number}, {label}", resource)
        if kind == "List":
            code = _list_code(resource)
            for inner, contained in enumerate(_dicts(resource, "contained"), start=1):
                if contained.get("resourceType") == "AllergyIntolerance":
                    where = f"entry {number}, List, contained {inner}, AllergyIntolerance"
                    yield _Entry(where, contained, code, _own_id(resource))


def _one_patient(entries: list[_Entry]) -> Json:
    patients = [entry.resource for entry in entries if entry.resource["resourceType"] == "Patient"]
    if len(patients) != 1:
        raise SourceContractBroken("the record does not hold exactly one Patient")
    return patients[0]


def _claim(patient: Json) -> Claim:
    numbers = {
        _text(identifier.get("value"))
        for identifier in _dicts(patient, "identifier")
        if identifier.get("system") == _NHS_NUMBER and identifier.get("use") != "old"
    }
    number = numbers.pop() if len(numbers) == 1 else None
    if not number:
        raise SourceContractBroken("the record's Patient does not name one NHS number")
    born = patient.get("birthDate")
    try:
        return Claim(nhs_number=number.replace(" ", ""), birth_date=date.fromisoformat(born) if born else None)
    except (TypeError, ValueError):
        raise SourceContractBroken("the record's Patient has a birth date that is none") from None


def _check_subject(resource: Json, patient: Json) -> None:
    for name in ("patient", "subject"):
        reference = _reference(resource.get(name))
        if "Patient/" in reference and reference != f"Patient/{patient.get('id')}":
            raise SourceContractBroken("a resource of the record names another Patient")


def _links(clinical: list[_Entry]) -> dict[str, str]:
    """What a reference to each given resource may say (or, without id, its place) -> `Type/key`.

    The business identifier outlives a request, the id need not. Two different resources under one identifier keep
    apart by their ids; two equal ones are one.
    """
    links: dict[str, str] = {}
    owner: dict[str, bytes] = {}
    for entry in clinical:
        resource = entry.resource
        kind = resource["resourceType"]
        if kind not in SCHEMAS:
            continue
        business, own_id = _business_identifier(resource), _own_id(resource)
        target = f"{kind}/{_token(business or own_id or entry.where)}"
        content = _canonical(resource)
        if owner.setdefault(target, content) != content:
            target = f"{kind}/{_token(business, own_id or entry.where)}"
        links[_name(entry)] = target
        if entry.contained_by:
            links[f"List/{entry.contained_by}#{own_id}"] = target
    return links


def _membership(lists: list[Json]) -> dict[str, str]:
    """Reference -> the allergy List that names it. One that both name counts as active: shown rather than hidden."""
    member: dict[str, str] = {}
    for code in (_ENDED_ALLERGIES, _ALLERGIES):
        for listed in lists:
            if _list_code(listed) == code:
                for item in _dicts(listed, "entry"):
                    member[_reference(item.get("item"))] = code
    return member


def _records(
    clinical: list[_Entry], links: Mapping[str, str], membership: Mapping[str, str], when: datetime, about: Claim
) -> Iterator[SourceRecord]:
    seen: set[str] = set()
    for entry in clinical:
        kind, name = entry.resource["resourceType"], _name(entry)
        if kind == UNREADABLE:
            data: Json = {"entry": entry.resource["position"]}
            yield SourceRecord(schema=UNREADABLE, data=data, where=entry.where, as_of=when, about=about)
            continue
        if kind not in SCHEMAS:
            data = {kind if kind in OTHERS else _UNKNOWN: entry.resource}
            yield SourceRecord(schema=OTHER, data=data, where=entry.where, as_of=when, about=about)
            continue
        data = {"resource": _relinked(entry.resource, links)}
        if name in links:
            if links[name] in seen:
                continue  # sent twice, word for word
            seen.add(links[name])
            data["key"] = links[name].partition("/")[2]
        if _ENDED_ALLERGIES in (entry.contained_in, membership.get(name)):
            data["list"] = "ended"
        if kind == "Immunization" and not entry.resource.get("date"):
            data["undated"] = "unknown"  # R4 wants an occurrence; the day of recording is never one
        locked = _is_locked(entry.resource)
        yield SourceRecord(schema=SCHEMAS[kind], data=data, where=entry.where, as_of=when, about=about, locked=locked)


def _is_locked(resource: Json) -> bool:
    """A security label that we do not know is a lock. NOPAT is known: it is carried to the mark not-for-family."""
    return any(
        _text(label.get("system")) not in _ACT_CODE or label.get("code") != "NOPAT"
        for label in _dicts(resource.get("meta"), "security")
    )


def _warnings(entries: list[_Entry]) -> tuple[tuple[str, str], ...]:
    found: set[tuple[str, str]] = set()
    for entry in entries:
        resource = entry.resource
        if resource["resourceType"] == "List":
            category = _CATEGORY_OF_LIST.get(_list_code(resource), _ELSEWHERE)
            for extension in _dicts(resource, "extension"):
                if extension.get("url") == _WARNING:
                    code = _text(extension.get("valueCode"))
                    found.add((category, code if code in _WARNING_CODES else "unknown-warning"))
        elif resource["resourceType"] == "OperationOutcome":
            for issue in _dicts(resource, "issue"):
                found.add((_CATEGORY_OF_PARAMETER.get(str(issue.get("diagnostics")), _ELSEWHERE), "not-supported"))
    return tuple(sorted(found))


def _time_of(bundle: Mapping[str, Any], lists: list[Json]) -> datetime:
    meta = bundle.get("meta")
    stamped = [meta.get("lastUpdated")] if isinstance(meta, dict) else []
    for text in (*stamped, *sorted((str(listed.get("date", "")) for listed in lists), reverse=True)):
        try:
            when = datetime.fromisoformat(str(text))
        except ValueError:
            continue
        if when.tzinfo is not None:
            return when.astimezone(UTC)
    return datetime.now(UTC)  # an undated file is as old as its reading: nothing else is known


def _relinked(value: Any, links: Mapping[str, str]) -> Any:
    """The same tree with each reference to a given type leading to its key; one that leads nowhere is left out.

    A reference to something withheld must not tell that it exists.
    """
    if isinstance(value, dict):
        children = {name: _relinked(child, links) for name, child in value.items() if not _is_dangling(child, links)}
        return {
            name: links.get(child, child) if name == "reference" and isinstance(child, str) else child
            for name, child in children.items()
        }
    if isinstance(value, list):
        return [_relinked(child, links) for child in value if not _is_dangling(child, links)]
    return value


def _is_dangling(value: Any, links: Mapping[str, str]) -> bool:
    reference = _reference(value)
    return reference.partition("/")[0] in SCHEMAS and reference not in links


def _name(entry: _Entry) -> str:
    own_id = _own_id(entry.resource)
    return f"{entry.resource['resourceType']}/{own_id}" if own_id else entry.where


def _own_id(resource: Json) -> str:
    return str(resource.get("id", "")).removeprefix("#")


def _business_identifier(resource: Json) -> str:
    for identifier in _dicts(resource, "identifier"):
        if identifier.get("system") and identifier.get("value"):
            return f"{identifier['system']}|{identifier['value']}"
    return ""


def _token(*parts: str) -> str:
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    return base64.b32encode(digest[:15]).decode().lower()


def _canonical(resource: Json) -> bytes:
    return json.dumps({name: value for name, value in resource.items() if name != "id"}, sort_keys=True, default=str).encode()


def _list_code(resource: Json) -> str:
    codes = [coding.get("code") for coding in _dicts(resource.get("code"), "coding") if coding.get("system") == _SNOMED]
    return codes[0] if codes and isinstance(codes[0], str) else ""


def _reference(value: Any) -> str:
    return _text(value.get("reference")) if isinstance(value, dict) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dicts(parent: Any, name: str) -> list[Json]:
    children = parent.get(name) if isinstance(parent, dict) else None
    return [child for child in children if isinstance(child, dict)] if isinstance(children, list) else []

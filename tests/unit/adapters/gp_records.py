"""Synthetic structured records for the tests of the GP adapter. Nobody in them exists."""

from datetime import UTC, date, datetime
from typing import Any

from gateway.model import PatientIdentity
from gateway.nhs_number import NhsNumber

NUMBER = "9990000107"
SNOMED = "http://snomed.info/sct"
WARNING = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-CareConnect-GPC-ListWarningCode-1"

ALLERGY: dict[str, Any] = {
    "resourceType": "AllergyIntolerance",
    "id": "a1",
    "identifier": [{"system": "https://provider.test/id", "value": "allergy-1"}],
    "clinicalStatus": "active",
    "code": {"coding": [{"system": SNOMED, "code": "91935009", "display": "Allergy to peanut"}]},
    "patient": {"reference": "Patient/p1"},
    "assertedDate": "2025-05-01",
}


def patient(number: str = NUMBER, **parts: Any) -> dict[str, Any]:
    identifier = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": number}
    return {"resourceType": "Patient", "id": "p1", "identifier": [identifier], "birthDate": "2024-03-14", **parts}


def record(*resources: dict[str, Any], number: str = NUMBER, **parts: Any) -> dict[str, Any]:
    entries = [{"resource": resource} for resource in (patient(number), *resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries, **parts}


def listed(code: str, *references: str, **parts: Any) -> dict[str, Any]:
    return {
        "resourceType": "List",
        "title": "a title that nobody may rely on",
        "code": {"coding": [{"system": SNOMED, "code": code}]},
        "subject": {"reference": "Patient/p1"},
        "entry": [{"item": {"reference": reference}} for reference in references],
        **parts,
    }


def traced(**parts: Any) -> PatientIdentity:
    known: dict[str, Any] = {
        "number": NhsNumber(NUMBER),
        "superseded": (),
        "person": None,
        "alias": None,
        "birth_date": date(2024, 3, 14),
        "deceased": False,
        "restricted": False,
        "practice": "ods:A99901",
        "patient": {},
        "traced_at": datetime(2026, 1, 5, 8, 59, tzinfo=UTC),
        "stale": False,
    }
    return PatientIdentity(**(known | parts))

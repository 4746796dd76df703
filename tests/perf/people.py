"""The people and bodies of the benchmark: synthetic, of the 999 range, the same in every run."""

import json
from dataclasses import dataclass
from typing import Any

SOURCES = ("one", "two", "three", "four")
RESOURCES = 20  # of each source: 80 resources and about 64 KB in all
SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"
BORN = "2024-03-14"


@dataclass(frozen=True, slots=True)
class Body:
    """One person's answer from one source, and from PDS."""

    number: str
    sources: tuple[bytes, ...]
    pds: bytes


def numbers(count: int, *, start: int = 50_000) -> list[str]:
    """`count` NHS numbers of the 999 range that pass Modulus 11."""
    found: list[str] = []
    candidate = start
    while len(found) < count:
        nine = f"999{candidate:06d}"
        check = (11 - sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)) % 11) % 11
        if check != 10:
            found.append(f"{nine}{check}")
        candidate += 1
    return found


def body(number: str) -> Body:
    """An NHS number -> what the four sources and PDS say of it, as bytes to replay."""
    return Body(number, tuple(_bundle(number, source) for source in SOURCES), _pds(number))


def _bundle(number: str, source: str) -> bytes:
    entries = [{"resource": _resource(number, source, n)} for n in range(RESOURCES)]
    return json.dumps(
        {"resourceType": "Bundle", "type": "searchset", "total": RESOURCES, "entry": entries}, separators=(",", ":")
    ).encode()


def _resource(number: str, source: str, n: int) -> dict[str, Any]:
    subject = {"reference": f"Patient/{source}-p1", "identifier": {"system": SYSTEM, "value": number}}
    base: dict[str, Any] = {"id": f"{source}-{n}", "meta": {"versionId": "3", "lastUpdated": "2026-03-01T09:30:00+00:00"}}
    when = f"2026-0{n % 9 + 1}-1{n % 10}"
    if n % 2:
        return {
            "resourceType": "Immunization",
            **base,
            "identifier": [{"system": f"https://{source}.example.org/id", "value": f"imm-{number[-6:]}-{n}"}],
            "status": "completed",
            "vaccineCode": {
                "coding": [
                    {
                        "system": "http://snomed.info/sct",
                        "code": "871726005",
                        "display": "Vaccine product containing only Rotavirus antigen",
                    },
                    {"system": f"https://{source}.example.org/codes", "code": f"V{n:03d}", "display": "Rotavirus first dose"},
                ],
                "text": "Rotavirus vaccine",
            },
            "patient": subject,
            "occurrenceDateTime": f"{when}T10:15:00+00:00",
            "primarySource": True,
            "lotNumber": f"LOT-{n:05d}",
            "doseQuantity": {"value": 1.50, "unit": "mL", "system": "http://unitsofmeasure.org", "code": "mL"},
            "note": [{"text": "Given at the clinic, no reaction seen within the observation time afterwards."}],
        }
    return {
        "resourceType": "Observation",
        **base,
        "identifier": [{"system": f"https://{source}.example.org/id", "value": f"obs-{number[-6:]}-{n}"}],
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "vital-signs",
                        "display": "Vital Signs",
                    }
                ]
            }
        ],
        "code": {
            "coding": [{"system": "http://snomed.info/sct", "code": "27113001", "display": "Body weight"}],
            "text": "Body weight",
        },
        "subject": subject,
        "effectiveDateTime": f"{when}T10:15:00+00:00",
        "valueQuantity": {"value": 11.20, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        "interpretation": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                        "code": "N",
                        "display": "Normal",
                    }
                ]
            }
        ],
        "note": [{"text": "Weighed without clothes on the clinic's scale."}],
    }


def _pds(number: str) -> bytes:
    patient = {
        "resourceType": "Patient",
        "id": number,
        "meta": {
            "versionId": "2",
            "security": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "U", "display": "unrestricted"}
            ],
        },
        "identifier": [{"system": SYSTEM, "value": number}],
        "name": [{"id": "1", "use": "usual", "given": ["Bench"], "family": "Mark"}],
        "gender": "female",
        "birthDate": BORN,
        "generalPractitioner": [
            {
                "id": "2",
                "type": "Organization",
                "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A99901"},
            }
        ],
    }
    return json.dumps(patient, separators=(",", ":")).encode()

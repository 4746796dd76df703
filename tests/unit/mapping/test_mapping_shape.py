"""A golden is accepted only if it is R4 UK Core itself: slices, invariants of severity error, and where extensions stand."""

from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.mapping import shape_faults
from gateway.mapping.invariants import RULES
from gateway.systems import UK_CORE

GIVEN: dict[str, Any] = {
    "resourceType": "Immunization",
    "status": "completed",
    "vaccineCode": {"text": "A vaccine"},
    "patient": {"reference": "Patient/p"},
    "occurrenceDateTime": "2026-01-05",
    "primarySource": True,
}
SITE = {"system": "https://fhir.nhs.uk/Id/ods-site-code", "value": "A99901"}


def test_what_keeps_every_rule_has_no_fault():
    assert shape_faults(GIVEN) == []
    assert shape_faults({"resourceType": "Location", "identifier": [SITE, {"system": "urn:x", "value": "1"}]}) == []


@pytest.mark.parametrize(
    ("resource", "fault"),
    [
        ({**GIVEN, "status": "not-done"}, "Immunization.statusReason is required of what was not done (ukcore-imm-001)"),
        (
            {"resourceType": "Location", "identifier": [SITE, SITE]},
            "Location.identifier with system 'https://fhir.nhs.uk/Id/ods-site-code': 2 where UK Core wants 0 to 1",
        ),
        (
            {"resourceType": "Location", "identifier": [{"system": SITE["system"]}]},
            "Location.identifier with system 'https://fhir.nhs.uk/Id/ods-site-code': no value",
        ),
        (
            {
                **GIVEN,
                "extension": [{"url": f"{UK_CORE}Extension-UKCore-CareSettingType", "valueCodeableConcept": {"text": "x"}}],
            },
            "Immunization.extension[0]: this extension stands elsewhere",
        ),
        (
            {
                **GIVEN,
                "_status": {"extension": [{"url": f"{UK_CORE}Extension-UKCore-ParentPresent", "valueBoolean": True}]},
            },
            "Immunization._status.extension[0]: this extension stands elsewhere",
        ),
        (
            {
                "resourceType": "Specimen",
                "collection": {
                    "collector": {
                        "reference": "Practitioner/p",
                        "extension": [
                            {
                                "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Specimen.collection.collector",
                                "valueString": "x",
                            }
                        ],
                    }
                },
            },
            "Specimen.collection.collector is said in one way (ukcore-spec-001)",
        ),
        (
            {
                "resourceType": "Observation",
                "meta": {"profile": [f"{UK_CORE}UKCore-Observation-VitalSigns-BodyWeight"]},
                "status": "final",
                "code": {"coding": [{"system": "http://snomed.info/sct", "code": "27113001"}]},
                "subject": {"reference": "Patient/p"},
                "effectiveDateTime": "2026-01-05",
            },
            "Observation.code of a vital sign has a LOINC coding (ukcore-obs-vs-001)",
        ),
    ],
)
def test_what_breaks_a_rule_is_named_by_path(resource: dict[str, Any], fault: str):
    assert fault in shape_faults(resource)


def test_an_extension_where_it_belongs_has_no_fault():
    place = {"url": f"{UK_CORE}Extension-UKCore-ParentPresent", "valueBoolean": True}
    absent = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    assert shape_faults({**GIVEN, "extension": [place], "_recorded": {"extension": [absent]}}) == []


@pytest.mark.samples
def test_every_invariant_of_uk_core_of_severity_error_is_here(samples: Path):
    folder = samples / "NHSDigital__FHIR-R4-UKCORE-STAGING-MAIN" / "structuredefinitions"
    fhir = "{http://hl7.org/fhir}"
    found = set()
    for file in folder.glob("*.xml"):
        for one in etree.parse(str(file)).getroot().iter(f"{fhir}constraint"):
            said = {str(part.tag).removeprefix(fhir): part.get("value") for part in one}
            if said.get("severity") == "error":
                found.add(said["key"])
    assert found == set(RULES)

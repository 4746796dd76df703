"""Measurements that are no numbers, and blood spot outcomes: what is added beside what was sent, and what is never changed."""

import pytest

from gateway.mapping.context import Unusable
from gateway.mapping.functions import CodeableConcept, Quantity
from mappings.child_health.functions import measured
from mappings.child_health.functions_coded import outcome_in_snomed

SNOMED = "http://snomed.info/sct"
OWN = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-BloodSpotOutcome"


def test_a_measurement_that_is_no_number_is_refused() -> None:
    for odd in ("9.4", True, [9]):
        with pytest.raises(Unusable):
            measured(Quantity({"value": odd, "code": "kg"}))


def codings(*sent: tuple[str, str]) -> list[tuple[str, str]]:
    concept = CodeableConcept({"coding": [{"system": system, "code": code} for system, code in sent]})
    return [(coding["system"], coding["code"]) for coding in outcome_in_snomed(concept)["coding"]]


@pytest.mark.parametrize("system", [f"{OWN}-1", f"{OWN}PKU-1", f"{OWN}-1".replace("CodeSystem", "ValueSet"), f" {OWN}-1 "])
@pytest.mark.parametrize("code", ["429106008", "428655008", "429726000", "946621000000102"])
def test_a_snomed_code_under_the_services_own_system_comes_under_snomeds_first_and_stays_as_sent(system: str, code: str) -> None:
    assert codings((system, code)) == [(SNOMED, code), (system, code)]


@pytest.mark.parametrize("code", ["8", "04", "301", "429106009", "not a code", ""])
def test_a_laboratorys_status_code_or_one_whose_check_digit_fails_stays_as_sent_alone(code: str) -> None:
    assert codings((f"{OWN}-1", code)) == [(f"{OWN}-1", code)]


def test_where_snomed_is_there_already_nothing_is_added() -> None:
    both = [(SNOMED, "429106008"), (f"{OWN}-1", "429106008")]
    assert codings(*both) == both

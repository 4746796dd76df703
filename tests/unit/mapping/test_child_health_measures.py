"""Units, plausibility and blood spot outcomes of child health: what is added beside what was sent, and what is never changed."""

from decimal import Decimal
from typing import Any

import pytest

from gateway.mapping.context import Unusable
from gateway.mapping.functions import CodeableConcept, Quantity
from mappings.child_health.functions import implausible, measured, outcome_in_snomed, ucum

UCUM = "http://unitsofmeasure.org"
SNOMED = "http://snomed.info/sct"
OWN = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-BloodSpotOutcome"


@pytest.mark.parametrize(
    ("word", "code"),
    [
        *((word, "g") for word in ("g", "gram", "Grams ")),
        *((word, "kg") for word in ("kg", "kilogram", "Kilograms")),
        *((word, "wk") for word in ("wk", "week", "weeks")),
        *((word, "d") for word in ("d", "day", "Days")),
        *((word, "cm") for word in ("cm", "centimetre", "centimeters")),
    ],
)
def test_a_unit_in_words_gets_its_code_beside_it_and_number_and_word_stay_as_sent(word: str, code: str) -> None:
    sent = {"value": Decimal("3640.50"), "unit": word}
    made = ucum(Quantity(dict(sent)))
    assert made == {**sent, "system": UCUM, "code": code}
    assert str(made["value"]) == "3640.50"


@pytest.mark.parametrize(
    "sent",
    [
        {"value": 8, "unit": "lb"},
        {"value": 8, "unit": "stone"},
        {"value": 3640},
        {"value": 3640, "unit": "grams", "code": "kg", "system": UCUM},  # a code that was sent outweighs the word beside it
        {"value": 3, "unit": "weeks", "system": "https://tests.example/units"},
    ],
)
def test_a_unit_that_nobody_can_read_or_that_has_a_code_stays_as_it_is(sent: dict[str, Any]) -> None:
    assert ucum(Quantity(dict(sent))) == sent


def kind(value: Any, unit: str, measure: str) -> str | None:
    flagged = implausible(Quantity({"value": Decimal(value), "code": unit}), measure)
    return None if flagged is None else str(flagged["coding"][0]["code"])


@pytest.mark.parametrize(
    ("value", "unit", "measure", "flag"),
    [
        ("3640", "g", "birth weight", None),
        ("3.64", "kg", "birth weight", None),
        ("3640", "kg", "birth weight", "outside-plausible-range"),  # a gram that was called a kilogram
        ("3.64", "g", "birth weight", "outside-plausible-range"),
        ("12", "kg", "birth weight", "outside-plausible-range"),
        ("12", "kg", "weight", None),
        ("40", "wk", "gestation", None),
        ("281", "d", "gestation", None),
        ("281", "wk", "gestation", "outside-plausible-range"),  # days that were called weeks
        ("40", "d", "gestation", "outside-plausible-range"),
        ("74.5", "cm", "length", None),
        ("0.745", "m", "length", None),
        ("745", "mm", "length", None),
        ("745", "cm", "length", "outside-plausible-range"),
        ("461", "mm", "head", None),
        ("46.1", "furlong", "head", "unit-unclear"),
        ("60", "", "score", None),
        ("61", "", "score", "outside-plausible-range"),
        ("-1", "", "score", "outside-plausible-range"),
    ],
)
def test_what_cannot_be_is_flagged_and_never_corrected(value: str, unit: str, measure: str, flag: str | None) -> None:
    assert kind(value, unit, measure) == flag
    sent = {"value": Decimal(value), "code": unit}
    assert ucum(measured(Quantity(dict(sent)))) == sent


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

"""Of a protected person what was typed into a code or an amount goes; what a terminology or a list vouches for stays."""

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from gateway.disclosure import vouched
from gateway.disclosure.stripping import sweep

SNOMED, UCUM, WEIGHT = "http://snomed.info/sct", "http://unitsofmeasure.org", "27113001"
CODE = {"coding": [{"system": SNOMED, "code": WEIGHT, "display": "Body weight"}]}
OBSERVATION = {"resourceType": "Observation", "id": "o", "status": "final", "code": CODE}


def _swept(**elements):
    return sweep({**OBSERVATION, **elements})


def test_of_a_coding_its_system_code_and_display_stay_and_what_was_typed_beside_them_goes():
    typed = {"version": "Willow", "extension": [{"url": "urn:x", "valueString": "Willow"}], "_code": {"id": "Willow"}}
    assert _swept(code={"coding": [{**CODE["coding"][0], **typed}]}) == OBSERVATION


def test_a_coding_of_a_system_nobody_knows_goes_wholly_and_with_it_what_cannot_do_without():
    willow = {"system": "https://willow.example/codes", "code": "x1", "display": "Willow"}
    assert _swept(code={"coding": [willow, *CODE["coding"]]}) == OBSERVATION
    assert _swept(code={"coding": [willow]}) is None
    assert (
        _swept(method={"coding": [willow]}, valueCoding=willow, interpretation=[{"coding": [{"system": "urn:willow"}]}])
        == OBSERVATION
    )


@pytest.mark.parametrize(
    ("system", "code", "is_one"),
    [
        (SNOMED, "1", False),
        (SNOMED, "27113002", False),
        (SNOMED, "07700900123", False),
        (SNOMED, "886921000000105", True),
        ("https://dmd.nhs.uk", "39720311000001101", True),
        ("http://loinc.org", "29463-7", True),
        ("http://loinc.org", "willow", False),
        ("http://read.info/readv2", "H33..", True),
        ("http://read.info/ctv3", "XE0Uc", True),
        ("http://read.info/ctv3", "Willow", False),
        (UCUM, "mL/min/{1.73_m2}", True),
        (UCUM, "10*9/L", True),
        (UCUM, "{willow}", False),
        (UCUM, "Willow", False),
        ("http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", ">", True),
        ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "Willow refuge", False),
    ],
)
def test_a_code_has_the_form_that_its_terminology_gives_its_codes(system, code, is_one):
    assert vouched.is_of_terminology(system, code) is is_one


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ({"unit": "kg", "system": UCUM, "code": "kg"}, {"unit": "kg", "system": UCUM, "code": "kg"}),
        ({"unit": "Willow", "system": UCUM, "code": "kg"}, {"system": UCUM, "code": "kg"}),
        ({"unit": "ml", "system": SNOMED, "code": "258773002"}, {"unit": "ml", "system": SNOMED, "code": "258773002"}),
        ({"unit": "Willow", "system": SNOMED, "code": "258773002"}, {"system": SNOMED, "code": "258773002"}),
        ({"unit": "Willow", "system": SNOMED, "code": "Willow"}, None),
        ({"unit": "tablet(s)"}, {"unit": "tablet(s)"}),
        ({"unit": "Tablets", "system": "https://willow", "code": "x", "extension": [{"url": "urn:willow"}]}, {"unit": "Tablets"}),
        ({"unit": "Willow"}, None),
        ({"system": "https://willow", "code": "kg"}, None),
        ({"extension": [{"url": "urn:quantity-in-words", "valueString": "28 tablets at Willow"}]}, None),
        ({}, {}),
        ({"comparator": "<"}, {"comparator": "<"}),
    ],
)
def test_an_amount_keeps_a_unit_that_is_vouched_for_and_never_stands_there_without_one(sent, left):
    value = {"value": Decimal("7.5")}
    expected = OBSERVATION if left is None else {**OBSERVATION, "valueQuantity": {**value, **left}}
    assert _swept(valueQuantity={**value, **sent}) == expected


def test_of_a_range_or_ratio_no_half_stays():
    typed, plain = {"value": 5, "unit": "Willow"}, {"value": 5, "unit": "ml"}
    assert _swept(valueRatio={"numerator": plain, "denominator": typed}) == OBSERVATION
    assert _swept(referenceRange=[{"low": typed, "high": plain}]) == OBSERVATION
    assert _swept(referenceRange=[{"low": plain}])["referenceRange"] == [{"low": plain}]


@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ("T8K21A", True),
        ("AHAVB946BA", True),
        ("AB-12/3.4", True),
        ("Willow", False),
        ("Willow12", False),
        ("ZZ99 3AA", False),
        ("ZZ993AA", False),
        ("1" * 21, False),
        ("", False),
    ],
)
def test_a_lot_number_stays_where_it_can_be_nothing_else(said, is_one):
    jab = {"resourceType": "Immunization", "status": "completed", "vaccineCode": CODE, "patient": {"reference": "Patient/p"}}
    jab["occurrenceDateTime"] = "2025-03-01"
    assert sweep({**jab, "lotNumber": said}) == (jab | ({"lotNumber": said} if is_one else {}))


def test_a_content_type_is_one_of_the_usual_ones():
    letter = {"resourceType": "DocumentReference", "status": "current"}
    for said, left in (("application/pdf", {"contentType": "application/pdf"}), ("text/willow", {})):
        swept = sweep({**letter, "content": [{"attachment": {"size": 1, "contentType": said}}]})
        assert swept == {**letter, "content": [{"attachment": {"size": 1, **left}}]}


def test_words_in_an_extension_go():
    worded = [
        {
            "url": "urn:ended",
            "extension": [{"url": "reasonEnded", "valueString": "moved to Willow"}, {"url": "n", "valueInteger": 1}],
        }
    ]
    assert _swept(extension=worded)["extension"] == [{"url": "urn:ended", "extension": [{"url": "n", "valueInteger": 1}]}]


def test_every_unit_that_is_converted_is_vouched_for():
    units = yaml.safe_load(Path("mappings/child_health/units.yaml").read_text(encoding="utf-8"))["units"]
    words = [word for code, unit in units.items() for word in (code, unit["unit"], *unit["words"])]
    assert [word for word in words if not vouched.is_unit(word)] == []
    assert not any(vouched.is_unit(word) for word in ("Willow", "Leeds", "Hill", "bags of sugar", "ml at Willow", None))

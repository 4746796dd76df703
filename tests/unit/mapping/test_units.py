"""Measurements are given in one unit for each kind, exactly, or as they were sent; the table of units is checked when read."""

import sys
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mapping.tree import MappingFaults
from gateway.mapping.unit_tables import read_units
from gateway.mapping.units import UCUM, Units

SNOMED = "http://snomed.info/sct"
BIRTH_WEIGHT, WEIGHT, HEAD, LENGTH, GESTATION = "364589006", "27113001", "363812007", "248334005", "412726003"
TABLE = (files("mappings") / "child_health" / "units.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def table() -> Units:
    made, faults = read_units(TABLE, "child_health/units.yaml")
    assert faults == []
    return made


def observation(code: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o", "code": {"coding": [{"system": SNOMED, "code": code}]}, **elements}


def quantity(value: Any, unit: str | None = None, code: str | None = None, **rest: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"value": Decimal(value) if isinstance(value, str) else value, **rest}
    if unit is not None:
        made["unit"] = unit
    return made if code is None else {**made, "system": UCUM, "code": code}


def flags(resource: dict[str, Any]) -> list[str]:
    return [one["coding"][0]["code"] for one in resource.get("interpretation", ())]


@pytest.mark.parametrize(
    ("code", "value", "unit", "came", "as_"),
    [
        (BIRTH_WEIGHT, "3450", "g", "3.450", "kg"),  # four digits were measured, and four are given
        (BIRTH_WEIGHT, "3.450", "kg", "3.450", "kg"),
        (BIRTH_WEIGHT, "3.5", "kg", "3.5", "kg"),
        (WEIGHT, "9400.5", "g", "9.4005", "kg"),
        (HEAD, "351", "mm", "35.1", "cm"),
        (HEAD, "0.35", "m", "35", "cm"),
        (LENGTH, "0.510", "m", "51.0", "cm"),
        (LENGTH, "2", "m", "200", "cm"),
        (GESTATION, "39", "wk", "273", "d"),
        (GESTATION, "39.0", "wk", "273", "d"),
        (GESTATION, "277", "d", "277", "d"),
    ],
)
def test_a_value_is_given_in_its_kinds_unit_with_the_digits_it_had(
    table: Units, code: str, value: str, unit: str, came: str, as_: str
) -> None:
    made = observation(code, valueQuantity=quantity(value, code=unit))
    table.given(made)
    assert (str(made["valueQuantity"]["value"]), made["valueQuantity"]["code"]) == (came, as_)
    assert made["valueQuantity"]["system"] == UCUM
    assert flags(made) == []


def test_what_was_sent_is_told_whole_and_given_again_nothing_changes(table: Units) -> None:
    sent = quantity("3450", "Grams ", comparator="<")
    made = observation(BIRTH_WEIGHT, valueQuantity=sent)
    (original,) = table.given(made)
    assert original.sent == (("valueQuantity", {"value": Decimal(3450), "comparator": "<", "unit": "Grams "}),)
    assert original.gave == made["valueQuantity"] == quantity("3.450", "kilogram", "kg", comparator="<")
    assert original.element == "value"
    before = repr(made)
    assert table.given(made) == ()
    assert repr(made) == before


@pytest.mark.parametrize(
    ("code", "sent", "flag"),
    [
        (WEIGHT, quantity("20", "lb"), "unit-unclear"),
        (WEIGHT, quantity("20", "pounds", "[lb_av]"), "unit-unclear"),
        (WEIGHT, quantity("3.5"), "unit-unclear"),
        (WEIGHT, quantity("3450", "kg", "g"), "unit-unclear"),  # the word says another than the code
        (WEIGHT, quantity("3.5", "kg", "kg") | {"system": "http://tests.example/units"}, "unit-unclear"),
        (HEAD, quantity("35", "kg", "kg"), "unit-unclear"),
        (GESTATION, quantity("39.4", "weeks", "wk"), "unit-unclear"),  # perhaps 39 weeks and 4 days
        (BIRTH_WEIGHT, quantity("12", "kg", "kg"), "outside-plausible-range"),
        (BIRTH_WEIGHT, quantity("12000", "g", "g"), "outside-plausible-range"),
        (BIRTH_WEIGHT, quantity("3640", "kg", "kg"), "outside-plausible-range"),  # a gram that was called a kilogram
        (BIRTH_WEIGHT, quantity("3.64", "g", "g"), "outside-plausible-range"),
        (GESTATION, quantity("281", "wk", "wk"), "outside-plausible-range"),  # days that were called weeks
        (GESTATION, quantity("3.9", "wk", "wk"), "outside-plausible-range"),
        (GESTATION, quantity("40", "d", "d"), "outside-plausible-range"),
        (LENGTH, quantity("745", "cm", "cm"), "outside-plausible-range"),
        (WEIGHT, quantity("1E+999999999", "g", "g"), "unit-unclear"),  # and nothing is made of it that takes its time
        (GESTATION, quantity("1E+999999999", "wk", "wk"), "unit-unclear"),
        (WEIGHT, quantity("3" * 70, "g", "g"), "unit-unclear"),  # more digits than are worked with exactly
    ],
)
def test_what_is_in_doubt_or_cannot_be_stays_as_sent_and_says_so(
    table: Units, code: str, sent: dict[str, Any], flag: str
) -> None:
    made = observation(code, valueQuantity=dict(sent), interpretation=[{"text": "the sender's own"}])
    assert table.given(made) == ()
    assert made["valueQuantity"] == sent
    assert str(made["valueQuantity"]["value"]) == str(sent["value"])
    assert made["interpretation"][0] == {"text": "the sender's own"}
    assert flags({"interpretation": made["interpretation"][1:]}) == [flag]


def test_an_implausible_value_in_words_gets_the_code_of_its_unit_and_nothing_else(table: Units) -> None:
    made = observation(BIRTH_WEIGHT, valueQuantity=quantity("12", "kilos"))
    table.given(made)
    assert made["valueQuantity"] == quantity("12", "kilos")
    made = observation(BIRTH_WEIGHT, valueQuantity=quantity("12", "KG"))
    table.given(made)
    assert made["valueQuantity"] == quantity("12", "KG", "kg")


def test_of_two_kinds_that_one_measurement_names_the_first_counts(table: Units) -> None:
    made = observation(BIRTH_WEIGHT, valueQuantity=quantity("12", code="kg"))
    made["code"]["coding"].insert(0, {"system": "http://loinc.org", "code": "29463-7"})
    table.given(made)
    assert flags(made) == ["outside-plausible-range"]


@pytest.mark.parametrize("said", ["39+4", " 39 + 4 ", "39 weeks 4 days", "39wk4d", "39 Weeks and 4 Days", "39+4 days"])
def test_weeks_and_days_in_words_are_days(table: Units, said: str) -> None:
    made = observation(GESTATION, valueString=said)
    (original,) = table.given(made)
    assert made["valueQuantity"] == quantity(277, "day", "d")
    assert "valueString" not in made
    assert original.sent == (("valueString", said),)


@pytest.mark.parametrize(
    "said", ["39", "39 4", "39+9", "394", "39/40", "about 39+4", "39+4 at 12 High Street", "39 moons 4 days"]
)
def test_other_words_stay_words(table: Units, said: str) -> None:
    made = observation(GESTATION, valueString=said)
    assert table.given(made) == ()
    assert made == observation(GESTATION, valueString=said)


def test_weeks_and_days_as_two_parts_are_one_value(table: Units) -> None:
    code = {"coding": [{"system": SNOMED, "code": GESTATION}]}
    other = {"code": {"text": "counted from"}, "valueString": "last period"}
    parts = [{"code": code, "valueQuantity": quantity(39, code="wk")}, {"code": code, "valueQuantity": quantity(4, "days")}]
    made = observation(GESTATION, component=[parts[0], other, parts[1]])
    (original,) = table.given(made)
    assert made["valueQuantity"] == quantity(277, "day", "d")
    assert made["component"] == [other]
    assert original.sent == (("valueQuantity", quantity(39, code="wk")), ("valueQuantity", quantity(4, "days")))
    for odd in (quantity(9, "days"), quantity(4, "days", comparator="<"), quantity("1.5", "days"), {"unit": "days"}):
        made = observation(GESTATION, component=[parts[0], {"code": code, "valueQuantity": odd}])
        assert table.given(made) == ()
        assert flags(made) == ["unit-unclear"]
        assert made["component"][0]["valueQuantity"] == parts[0]["valueQuantity"]


def test_parts_and_limits_are_given_in_their_own_kinds_units(table: Units) -> None:
    part = {"code": {"coding": [{"system": SNOMED, "code": HEAD}]}, "valueQuantity": quantity("351", "mm")}
    limits = {"low": quantity("2500", "g"), "high": quantity("4.5", "kg", "kg"), "text": "usual"}
    made = observation(WEIGHT, valueQuantity=quantity("3.6", "kilogram", "kg"), component=[part], referenceRange=[limits])
    assert [one.element for one in table.given(made)] == ["component[0].value", "referenceRange[0].low", "referenceRange[0].high"]
    assert made["component"][0]["valueQuantity"] == quantity("35.1", "centimeter", "cm")
    assert made["referenceRange"][0]["low"] == quantity("2.500", "kilogram", "kg")


def test_of_no_kind_of_ours_a_known_word_gets_its_code_and_a_form_is_no_measurement(table: Units) -> None:
    made = observation("33747003", valueQuantity=quantity("70", "Grams"))
    assert table.given(made) == ()
    assert made["valueQuantity"] == quantity("70", "Grams", "g")
    answer = {"valueQuantity": quantity("3450", "g")}
    form = {
        "resourceType": "QuestionnaireResponse",
        "item": [{"item": [{"answer": [answer]}]}, {"answer": [{"valueString": "x"}]}],
    }
    assert table.given(form) == ()
    assert answer["valueQuantity"] == quantity("3450", "g", "g")


@settings(max_examples=200, deadline=None)
@given(st.decimals(min_value=Decimal("0.2"), max_value=Decimal("8"), places=None, allow_nan=False, allow_infinity=False))
def test_whatever_is_converted_leads_back_to_exactly_what_was_sent(kilograms: Decimal) -> None:
    table, _ = read_units(TABLE, "units.yaml")
    grams = kilograms.scaleb(3)
    made = observation(BIRTH_WEIGHT, valueQuantity=quantity(0) | {"value": grams, "unit": "g"})
    if table.given(made):
        assert made["valueQuantity"]["value"] * 1000 == grams
        assert made["valueQuantity"]["value"].as_tuple().digits == grams.as_tuple().digits or grams == grams.to_integral_value()


def test_no_exact_number_of_the_table_was_read_as_a_float(table: Units) -> None:
    assert all(isinstance(factor, Decimal) for kind in table.kinds for factor in kind.factors.values())
    assert sys.float_info.dig < 64


WRONG = [
    ("kg: 1, g: 0.001}", "kg: 1, g: a bit}", "this must be a number above 0"),
    ("kg: 1, g: 0.001}", "kg: 1, g: 0}", "this must be a number above 0"),
    ("kg: 1, g: 0.001}", "kg: 1, g: 0.01}", "not what UCUM says: one g is 0.001 kg"),
    ("cm: 1, mm: 0.1, m: 100}", "cm: 1, mm: 0.1, m: 10}", "not what UCUM says: one m is 100 cm"),
    ("cm: 1, mm: 0.1, m: 100}", "cm: 1, mm: 0.1, g: 100}", "g and cm do not measure the same"),
    ("gives: d\n    from: {d: 1, wk: 7}", "gives: wk\n    from: {wk: 1, d: 0.142857}", "one d is no exact number of wk"),
    ("kg: 1, g: 0.001}", "kg: 1, oz: 0.03}", "units: has no 'oz'"),
    ("kg: 1, g: 0.001}", "kg: 2, g: 0.001}", "the unit given stands under 'from:' with 1"),
    ("words: [g, gram,", "words: [g, kg,", "this word means kg already: only words that mean one thing"),
    ("words: [g, gram,", "words: [G, gram,", "a word stands here in small letters"),
    ("words: [g, gram, grams, gramme, grammes]", "words: g", "words: is a list in [ ]"),
    ("{unit: gram,", "{unit: ,", "a unit says how it is written"),
    ('snomed: ["27113001",', 'snomed: ["364589006",', "this code is one of birth weight already"),
    ("{snomed: [", "{snowmed: [", "codes are of snomed or loinc (did you mean 'snomed'?)"),
    ("least: 0.2\n", "least: 9\n", "least is more than most"),
    ("most: 8\n", "most: many\n", "this must be a number"),
    ("gives: d\n", "gives: wk\n", "the unit given stands under 'from:' with 1"),
    ("whole: [wk]", "whole: [mm]", "'whole:' names units under 'from:' that come to a whole number"),
    ("weeks_and_days: true", "weeks_and_days: maybe", "weeks_and_days is true or false"),
    ("    note: UK Core body weight fixes kilogram\n", "", "weight needs 'note:'"),
    ('on: "2026-11-22"\n', "", "'on:' is missing"),
    ("kinds:\n", "kind:\n", "units.yaml has no 'kind'"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), WRONG)
def test_each_fault_of_a_table_is_named_with_its_place(right: str, wrong: str, message: str) -> None:
    assert right in TABLE
    _, faults = read_units(TABLE.replace(right, wrong, 1), "child_health/units.yaml")
    found = [fault for fault in faults if message in fault.message]
    assert found, faults
    assert all(fault.file == "child_health/units.yaml" and fault.line > 0 and fault.column > 0 for fault in found)


def test_a_table_that_is_not_yaml_is_a_fault() -> None:
    with pytest.raises(MappingFaults):
        read_units("kinds: [", "units.yaml")

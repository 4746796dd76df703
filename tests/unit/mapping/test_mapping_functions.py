"""The functions after `|`: what each gives, and what each refuses without saying the value."""

import datetime as clock
import doctest
from decimal import Decimal
from typing import Any

import pytest

import gateway.mapping.functions
import gateway.mapping.stu3
from gateway.mapping import Context, Unusable
from gateway.mapping import functions as f
from gateway.mapping.context import Run
from gateway.mapping.stu3 import system_in_r4


@pytest.fixture
def run(context: Context) -> Run:
    return Run(context, {})


@pytest.mark.parametrize("module", [gateway.mapping.functions, gateway.mapping.stu3])
def test_the_examples_in_the_docstrings_hold(module: Any):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (("2024-03-14",), "2024-03-14"),
        (("2024-03",), "2024-03"),
        (("2024",), "2024"),
        (("14/03/2024", "%d/%m/%Y"), "2024-03-14"),
        ((clock.date(2024, 3, 14),), "2024-03-14"),
        (("  ",), None),
    ],
)
def test_date(given: Any, wanted: Any):
    assert f.date(*given) == wanted


@pytest.mark.parametrize(
    "given", ["2024-02-30", "2024-13-01", "14/03/2024", "2024-3-1", "20240314", 20240314, "2024-03-14T10:00:00Z", "٢٠٢٤"]
)
def test_a_date_that_is_none_is_refused_without_its_value(given: Any):
    with pytest.raises(Unusable) as caught:
        f.date(given)
    assert str(given) not in caught.value.reason


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (("2024-03-14T10:30:00+00:00",), "2024-03-14T10:30:00+00:00"),
        (("2024-03-14T10:30:00.123Z",), "2024-03-14T10:30:00.123Z"),
        (("2024-03-14T10:30Z",), "2024-03-14T10:30:00Z"),
        (("2024-03-14",), "2024-03-14"),
        (("2024-07-01 10:30", "", "Europe/London"), "2024-07-01T10:30:00+01:00"),
        (("01/12/2024 10:30", "%d/%m/%Y %H:%M", "Europe/London"), "2024-12-01T10:30:00+00:00"),
        ((clock.datetime(2024, 7, 1, 10, tzinfo=clock.UTC),), "2024-07-01T10:00:00+00:00"),
        ((clock.datetime(2024, 7, 1, 10), "", "Europe/London"), "2024-07-01T10:00:00+01:00"),
    ],
)
def test_date_time(given: Any, wanted: str):
    assert f.dateTime(*given) == wanted


@pytest.mark.parametrize(
    "given",
    [
        "2024-07-01T10:30:00",
        "2024-07-01 10:30",
        "2024-02-30T10:00:00Z",
        "2024-07-01T25:00:00Z",
        "soon",
        clock.datetime(2024, 7, 1),
    ],
)
def test_a_time_without_zone_or_sense_is_refused(given: Any):
    with pytest.raises(Unusable):
        f.dateTime(given)


def test_an_instant_needs_its_time():
    assert f.instant("2024-03-14T10:30:00Z") == "2024-03-14T10:30:00Z"
    with pytest.raises(Unusable):
        f.instant("2024-03-14")


def test_numbers_keep_their_digits_and_refuse_what_is_none():
    assert str(f.decimal(Decimal("9.80"))) == "9.80"
    assert str(f.decimal(" 9.80 ")) == "9.80"
    assert str(f.decimal(0.1)) == "0.1"
    assert f.integer("7") == 7
    for odd in ("9,8", "NaN", "Infinity", True, [], {}):
        with pytest.raises(Unusable):
            f.decimal(odd)
    for odd in ("7.5", "99999999999"):
        with pytest.raises(Unusable):
            f.integer(odd)


@pytest.mark.parametrize(
    "given", ["9" * 41, "1." + "0" * 60, "1E+41", "1e-41", Decimal("1E+999999999"), Decimal("0E-5000"), 10**41]
)
def test_a_number_that_would_make_the_answer_unreadable_is_refused(given: Any):
    with pytest.raises(Unusable, match="more digits than anything has"):
        f.decimal(given)
    for usual in (Decimal("-0.00"), Decimal("1E+3"), Decimal("9" * 40)):
        assert str(f.decimal(usual)) == str(usual)


def test_booleans_know_their_two_texts():
    assert f.boolean(True) is True
    assert f.boolean("0") is False
    assert f.boolean("Y", "Y", "N") is True
    assert f.boolean("N", "Y", "N") is False
    for given in (("maybe",), ("true", "Y", "N")):
        with pytest.raises(Unusable):
            f.boolean(*given)


def test_identifiers_and_quantities():
    assert f.identifier(" 12 ", "urn:x") == {"system": "urn:x", "value": "12"}
    assert f.quantity("9.8", "kg") == {"value": Decimal("9.8"), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}
    assert f.quantity(9, "week", "wk") == {"value": 9, "unit": "week", "system": "http://unitsofmeasure.org", "code": "wk"}
    assert f.nhsNumber("999 000 0107") == {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000107"}
    with pytest.raises(Unusable):
        f.nhsNumber("9990000108")


def test_an_stu3_concept_keeps_every_coding_in_order_and_userselected(run: Run):
    made = f.codeableSTU3(
        run,
        {
            "coding": [
                {"system": "http://read.info/readv2", "code": "H33..", "display": "Asthma", "userSelected": True},
                {"system": " http://snomed.info/sct ", "code": "195967001"},
                {"system": "http://hl7.org/fhir/v3/NullFlavor ", "code": "UNK"},
            ],
            "text": "Asthma",
        },
    )
    assert made == {
        "coding": [
            {"system": "http://read.info/readv2", "code": "H33..", "display": "Asthma", "userSelected": True},
            {"system": "http://snomed.info/sct", "code": "195967001"},
            {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"},
        ],
        "text": "Asthma",
    }


@pytest.mark.parametrize(
    "url",
    [
        "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-coding-sctdescid",
        "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-coding-sctdescid",
        "http://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-coding-sctdecsid",
    ],
)
@pytest.mark.parametrize("part", ["descriptionDisplay", "DescriptionDisplay"])
def test_the_snomed_description_becomes_uk_cores_in_every_spelling(run: Run, url: str, part: str):
    extension = {"url": url, "extension": [{"url": "descriptionId", "valueId": "1"}, {"url": part, "valueString": "Asthma NOS"}]}
    made = f.codingSTU3(run, {"system": "http://snomed.info/sct", "code": "195967001", "extension": [extension]})
    assert made is not None
    assert made["extension"] == [
        {"url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-CodingSCTDescDisplay", "valueString": "Asthma NOS"}
    ]


@pytest.mark.parametrize(
    ("stu3", "r4"),
    [
        ("http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"),
        ("http://hl7.org/fhir/v2/0443", "http://terminology.hl7.org/CodeSystem/v2-0443"),
        ("http://hl7.org/fhir/v2/0078", "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"),
        ("http://hl7.org/fhir/observation-category", "http://terminology.hl7.org/CodeSystem/observation-category"),
        ("http://hl7.org/fhir/list-order", "http://terminology.hl7.org/CodeSystem/list-order"),
        ("http://hl7.org/fhir/administrative-gender", "http://hl7.org/fhir/administrative-gender"),
        (
            "https://fhir.nhs.uk/STU3/CodeSystem/CareConnect-ListEmptyReasonCode-1",
            "https://fhir.hl7.org.uk/CodeSystem/UKCore-ListEmptyReasonCode",
        ),
        (
            "https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-SDSJobRoleName-1",
            "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName",
        ),
        ("https://fhir.hl7.org.uk/Id/emis-drug-codes", "https://fhir.hl7.org.uk/Id/emis-drug-codes"),
        ("HTTP://SNOMED.info/SCT", "http://snomed.info/sct"),
        ("http://read.info/ReadV2", "http://read.info/readv2"),
        ("http://hl7.org/fhir/V3/nullflavor", "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"),
        ("https://provider.test/Codes", "https://provider.test/Codes"),
    ],
)
def test_code_systems_get_their_r4_spelling(stu3: str, r4: str):
    assert system_in_r4(stu3) == system_in_r4(f"{stu3} ") == r4


def test_what_stu3_does_not_have_in_a_concept_is_refused_not_dropped(run: Run):
    for odd in ({"coding": [{"codee": "1"}]}, {"colour": "red"}, "text", {"coding": [7]}):
        with pytest.raises(Unusable):
            f.codeableSTU3(run, odd)


def test_a_reference_to_another_patient_is_refused(run: Run):
    targets = f.Targets(frozenset({"Patient"}))
    assert f.reference(run, {"reference": "Patient/1"}, targets) == {"reference": "Patient/" + "p" * 26}
    with pytest.raises(Unusable, match="two different patients"):
        f.reference(run, {"reference": "Patient/2"}, targets)


def test_a_referral_of_stu3_is_a_service_request_of_r4(run: Run):
    made = f.reference(run, {"reference": "ReferralRequest/4"}, f.Targets(frozenset({"ServiceRequest"})))
    assert made == {"reference": "ServiceRequest/p.clinic.ServiceRequest-4"}


def test_a_period_is_checked_at_both_ends(run: Run):
    assert f.period(run, {"start": "2024-01-01", "end": ""}) == {"start": "2024-01-01"}
    with pytest.raises(Unusable):
        f.period(run, {"start": "soon"})


def test_keys_of_several_parts_do_not_run_into_each_other():
    assert f.block_key("", ("a|b", "c")) != f.block_key("", ("a", "b|c"))
    assert f.block_key("plan", ("a",)) == "plan/a"


DESCRIBED = "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-coding-sctdescid"


@pytest.mark.parametrize(
    ("extension", "more", "kept"),
    [
        ([{"url": "descriptionDisplay", "valueString": "Dry cough"}], {}, {"valueString": "Dry cough"}),
        (
            [{"url": "descriptionId", "valueId": "1"}, {"url": "descriptionDisplay", "valueString": " x "}],
            {},
            {"valueString": " x "},
        ),
        ([{"url": "descriptionDisplay", "valueString": "Dry cough"}], {"code": " 272039006 "}, {"valueString": "Dry cough"}),
        ([{"url": "descriptionDisplay", "valueString": "Dry cough"}], {"display": ""}, {"valueString": "Dry cough"}),
    ],
)
def test_a_coding_with_its_snomed_description_is_the_same_by_the_short_way_and_the_long(run, extension, more, kept):
    coding = {"system": "http://snomed.info/sct", "code": "272039006", "display": "Cough", **more}
    described = {"url": DESCRIBED, "extension": extension}
    short = f.codingSTU3(run, {**coding, "extension": [described]})
    long = f.codingSTU3(run, {**coding, "extension": described})  # no list: it goes the long way
    assert short == long
    assert short["code"] == "272039006"
    assert short["extension"][0].items() >= kept.items()


@pytest.mark.parametrize("text", ["2026-02-30T09:45:00Z", "2026-01-14T24:00:00Z", "2026-01-14T09:45:00+01:99"])
def test_a_moment_that_the_calendar_or_the_clock_does_not_have_is_no_date_time(text):
    with pytest.raises(Unusable):
        f.dateTime(text)
    with pytest.raises(Unusable):
        f.instant(text)


@pytest.mark.parametrize(
    "text", ["2026-01-14T09:45:00Z", "2026-07-14T09:45:00+01:00", "2026-01-14T09:45:00.5Z", "2016-12-31T23:59:60Z"]
)
def test_a_moment_stays_as_it_was_written(text):
    assert f.dateTime(text) == f.instant(text) == text

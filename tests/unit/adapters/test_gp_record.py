"""How the GP adapter splits a structured record: whose it is, what has ended, where references lead, what Lists warn of."""

import json
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, date, datetime
from typing import Any

import pytest

import adapters.gp
from adapters.gp.answer import bundle
from adapters.gp.record import split
from gateway.adapter import SourceContractBroken, SourceRecord
from gateway.registry import load_manifest
from tests.unit.adapters.gp_records import ALLERGY, NUMBER, WARNING, listed, patient, record

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ALLERGIES, ENDED, PROBLEMS = "886921000000105", "1103671000000101", "717711000000103"


def records(*resources: dict[str, Any]) -> tuple[SourceRecord, ...]:
    """All but the Lists."""
    return tuple(item for item in split(record(*resources), as_of=NOW).records if item.schema != "gpc-list-stu3")


def like(base: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**deepcopy(base), **parts}


def test_each_clinical_resource_is_one_record_with_its_place_and_its_owner():
    (item,) = records(ALLERGY)
    assert item.schema == "gpc-allergyintolerance-stu3"
    assert item.where == "entry 2, AllergyIntolerance"
    assert item.as_of == NOW
    assert (item.about.nhs_number, item.about.birth_date) == (NUMBER, date(2024, 3, 14))
    assert item.data["resource"]["code"] == ALLERGY["code"]
    assert item.locked is False


def test_the_key_is_the_business_identifier_not_the_id_of_one_answer():
    (first,) = records(ALLERGY)
    (second,) = records(like(ALLERGY, id="another-id"))
    (other,) = records(like(ALLERGY, identifier=[{"system": "https://provider.test/id", "value": "allergy-2"}]))
    assert first.data["key"] == second.data["key"] != other.data["key"]


def test_references_lead_to_the_key_of_what_they_name():
    plan = {"resourceType": "MedicationRequest", "id": "m1", "identifier": [{"system": "s", "value": "plan"}]}
    issue = {"resourceType": "MedicationRequest", "id": "m2", "basedOn": [{"reference": "MedicationRequest/m1"}]}
    first, second = records(plan, issue)
    assert second.data["resource"]["basedOn"] == [{"reference": f"MedicationRequest/{first.data['key']}"}]


def test_a_reference_to_something_withheld_does_not_tell_that_it_exists():
    issue = {
        "resourceType": "MedicationRequest",
        "id": "m2",
        "basedOn": [{"reference": "MedicationRequest/withheld", "display": "secret"}],
        "priorPrescription": {"reference": "MedicationRequest/withheld"},
    }
    (item,) = records(issue)
    assert item.data["resource"]["basedOn"] == []
    assert "priorPrescription" not in item.data["resource"]


def test_two_different_resources_under_one_identifier_stay_apart():
    first, second = records(ALLERGY, like(ALLERGY, id="a2", clinicalStatus="inactive"))
    assert first.data["key"] != second.data["key"]


def test_the_same_resource_sent_twice_is_one_and_references_to_either_lead_to_it():
    medicine = {"resourceType": "Medication", "id": "d1", "identifier": [{"system": "s", "value": "1"}], "code": {"text": "x"}}
    statement = {"resourceType": "MedicationStatement", "id": "m1", "medicationReference": {"reference": "Medication/d2"}}
    first, second = records(medicine, like(medicine, id="d2"), statement)
    assert first.schema == "gpc-medication-stu3"
    assert second.data["resource"]["medicationReference"] == {"reference": f"Medication/{first.data['key']}"}


def test_an_allergy_contained_in_the_ended_list_is_a_record_that_has_ended():
    inner = like(ALLERGY, id="#old", identifier=[{"system": "s", "value": "old"}])
    ended = listed(ENDED, "#old", id="ended-allergies", contained=[inner])
    problem = {
        "resourceType": "Condition",
        "id": "c1",
        "extension": [{"url": "x", "valueReference": {"reference": "List/ended-allergies#old"}}],
    }
    allergy, condition = records(ended, problem)
    assert allergy.where == "entry 2, List, contained 1, AllergyIntolerance"
    assert allergy.data["list"] == "ended"
    linked = condition.data["resource"]["extension"][0]["valueReference"]["reference"]
    assert linked == f"AllergyIntolerance/{allergy.data['key']}"


def test_an_allergy_that_the_ended_list_names_has_ended_and_is_given_once():
    ended = listed(ENDED, "AllergyIntolerance/a1", contained=[deepcopy(ALLERGY)])
    (item,) = records(ALLERGY, ended)
    assert item.data["list"] == "ended"


def test_an_allergy_that_both_lists_name_is_shown_as_active():
    (item,) = records(ALLERGY, listed(ENDED, "AllergyIntolerance/a1"), listed(ALLERGIES, "AllergyIntolerance/a1"))
    assert "list" not in item.data


def test_a_list_is_known_by_its_code_and_never_by_its_title():
    wrong_title = listed(ALLERGIES, "AllergyIntolerance/a1", title="Ended allergies")
    (item,) = records(ALLERGY, wrong_title)
    assert "list" not in item.data


@pytest.mark.parametrize(
    ("code", "category"),
    [
        (ALLERGIES, "allergies"),
        (ENDED, "allergies"),
        ("933361000000108", "medications"),
        ("1102181000000102", "immunisations"),
        (PROBLEMS, "problems"),
        ("1149501000000101", "other-health"),
    ],
)
def test_what_a_list_warns_of_is_said_with_its_category(code: str, category: str):
    warned = [{"url": WARNING, "valueCode": "confidential-items"}, {"url": WARNING, "valueCode": "data-in-transit"}]
    facts = split(record(listed(code, extension=warned)), as_of=NOW).facts
    assert facts.warnings == ((category, "confidential-items"), (category, "data-in-transit"))


def test_a_warning_nobody_knows_is_still_a_warning_and_its_word_is_not_repeated():
    facts = split(record(listed(PROBLEMS, extension=[{"url": WARNING, "valueCode": "9990000107"}])), as_of=NOW).facts
    assert facts.warnings == (("problems", "unknown-warning"),)


def test_an_area_the_practice_has_switched_off_is_a_warning():
    issue = {"severity": "warning", "code": "not-supported", "diagnostics": "includeImmunisations"}
    facts = split(record({"resourceType": "OperationOutcome", "issue": [issue]}), as_of=NOW).facts
    assert facts.warnings == (("immunisations", "not-supported"),)


NOPAT = {"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}


def test_a_label_that_hides_a_record_from_the_family_survives():
    (item,) = records(like(ALLERGY, meta={"security": [NOPAT]}))
    assert item.data["resource"]["meta"]["security"] == [NOPAT]
    assert item.locked is False


@pytest.mark.parametrize(
    "label", [{"system": "http://hl7.org/fhir/v3/Confidentiality", "code": "R"}, {"system": NOPAT["system"], "code": "NEW"}, {}]
)
def test_a_security_label_that_nobody_knows_locks_the_record(label: dict[str, str]):
    (item,) = records(like(ALLERGY, meta={"security": [NOPAT, label]}))
    assert item.locked is True


def test_an_entry_without_a_resource_is_its_own_record_and_the_rest_go_on():
    broken = record(ALLERGY)
    broken["entry"][1:1] = [{"resourceType": "Condition"}, 7]
    first, second, third = split(broken, as_of=NOW).records
    assert (first.schema, first.where, first.data) == ("gpc-unreadable-entry", "entry 2", {})
    assert second.where == "entry 3"
    assert third.where == "entry 4, AllergyIntolerance"


@pytest.mark.parametrize(
    ("kind", "label", "schema"),
    [("Practitioner", "Practitioner", "gpc-other-stu3"), ("9990000107", "another type", "gpc-unreadable-entry")],
)
def test_what_is_not_given_is_counted_or_refused_and_a_foreign_word_never_becomes_its_name(kind: str, label: str, schema: str):
    (item,) = records({"resourceType": kind, "id": "e1", "subject": {"reference": "Patient/p1"}})
    assert (item.schema, item.where, list(item.data)) == (schema, f"entry 2, {label}", [label])


@pytest.mark.parametrize(
    "broken",
    [
        {"resourceType": "Bundle", "type": "collection", "entry": []},
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient()}, {"resource": patient()}]},
        record(like(ALLERGY, patient={"reference": "Patient/p2"})),
        record(like(ALLERGY, patient={"reference": "https://provider.test/Patient/p1"})),
        record({"resourceType": "Encounter", "subject": {"reference": "Patient/p2"}}),
        record(listed(ALLERGIES, subject={"reference": "Patient/p2"})),
    ],
    ids=[
        "no patient",
        "two patients",
        "another patient",
        "patient elsewhere",
        "another patient's encounter",
        "another patient's list",
    ],
)
def test_a_record_that_is_not_plainly_of_one_person_is_refused_whole(broken: dict[str, Any]):
    with pytest.raises(SourceContractBroken):
        split(broken, as_of=NOW)


@pytest.mark.parametrize(
    "parts",
    [
        {"identifier": []},
        {"identifier": [{"system": "https://provider.test/id", "value": NUMBER}]},
        {"identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number"}]},
        {
            "identifier": [
                {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER},
                {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990001111"},
            ]
        },
        {"birthDate": "14/03/2024"},
        {"birthDate": 20240314},
    ],
    ids=["none", "other system", "no value", "two numbers", "odd date", "number for a date"],
)
def test_a_patient_without_one_number_and_a_true_birth_date_is_refused(parts: dict[str, Any]):
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient(**parts)}]}
    with pytest.raises(SourceContractBroken):
        split(bundle, as_of=NOW)


def test_a_saved_record_has_the_time_of_its_newest_list():
    saved = record(
        ALLERGY, listed(ALLERGIES, date="2025-12-01T10:00:00+00:00"), listed(PROBLEMS, date="2025-12-01T11:30:00+01:00")
    )
    items = list(adapters.gp.read_file(load_manifest(adapters.gp), "record.json", json.dumps(saved).encode()))
    assert items[0].as_of == datetime(2025, 12, 1, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize("body", [b"{% highlight json %}{}", b"\x00", b"{}", b"[]"])
def test_a_file_that_is_no_structured_record_is_refused_whole(body: bytes):
    with pytest.raises(SourceContractBroken):
        list(adapters.gp.read_file(load_manifest(adapters.gp), "record.json", body))


def test_a_saved_record_may_begin_with_a_byte_order_mark():
    body = b"\xef\xbb\xbf" + json.dumps(record(ALLERGY)).encode()
    assert len(list(adapters.gp.read_file(load_manifest(adapters.gp), "record.json", body))) == 1


def places(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [*([here] if here else []), *(place for name, child in inside for place in places(child, (*here, name)))]


DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]
RICH = record(
    like(ALLERGY, meta={"security": [NOPAT]}, recorder={"reference": "Practitioner/x"}),
    {"resourceType": "MedicationRequest", "id": "m1", "basedOn": [{"reference": "MedicationRequest/m0"}]},
    {"resourceType": "Encounter", "id": "e1"},
    {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "includeProblems"}]},
    listed(ALLERGIES, "AllergyIntolerance/a1", date="2025-12-01T10:00:00+00:00"),
    listed(
        ENDED, "#a2", id="l1", contained=[like(ALLERGY, id="#a2")], extension=[{"url": WARNING, "valueCode": "data-in-transit"}]
    ),
    meta={"lastUpdated": "2025-12-02T10:00:00+00:00"},
)


@pytest.mark.parametrize(
    "odd", [None, 7, True, "", "x", [], [[]], {}, {"a": 1}, [{"a": []}], DEEP], ids=lambda odd: str(odd)[:12]
)
def test_an_odd_value_anywhere_is_a_broken_contract_or_goes_to_the_map_and_nothing_else(odd: Any):
    for place in places(RICH):
        if place == ("entry",):
            continue  # the reader has already seen that it is a list
        spoiled = deepcopy(RICH)
        box = spoiled
        for name in place[:-1]:
            box = box[name]
        box[place[-1]] = odd
        with suppress(SourceContractBroken):
            split(spoiled)


def empty(code: str, **parts: Any) -> dict[str, Any]:
    nothing = {"coding": [{"code": "no-content-recorded"}]}
    return {name: value for name, value in listed(code, emptyReason=nothing, **parts).items() if name != "entry"}


def test_nothing_recorded_nothing_known_and_something_withheld_are_three_states():
    withheld = [{"url": WARNING, "valueCode": "confidential-items"}]
    known = like(ALLERGY, code={"coding": [{"system": "http://snomed.info/sct", "code": "716186003"}]})
    none_recorded = split(record(empty(ALLERGIES), empty(ENDED)), as_of=NOW)
    none_known = split(record(known, listed(ALLERGIES, "AllergyIntolerance/a1"), empty(ENDED)), as_of=NOW)
    kept_back = split(record(empty(ALLERGIES, extension=withheld), empty(ENDED)), as_of=NOW)
    half = split(record(empty(ALLERGIES)), as_of=NOW)
    assert none_recorded.facts.warnings == (("allergies", "none-recorded"),)
    assert none_known.facts.warnings == half.facts.warnings == ()
    assert kept_back.facts.warnings == (("allergies", "confidential-items"),)


def test_none_recorded_is_not_said_beside_an_allergy_nor_of_a_record_that_is_late():
    nothing = (empty(ALLERGIES), empty(ENDED))
    late = [{"url": WARNING.upper() + " ", "valueCode": "Data-In-Transit "}]
    off = {"severity": "warning", "code": "not-supported", "details": {"text": "includeAllergies has been disabled"}}
    assert split(record(ALLERGY, *nothing), as_of=NOW).facts.warnings == ()
    assert split(record(empty(ALLERGIES, extension=late), empty(ENDED)), as_of=NOW).facts.warnings == (
        ("allergies", "data-in-transit"),
    )
    assert split(record({"resourceType": "OperationOutcome", "issue": [off]}, *nothing), as_of=NOW).facts.warnings == (
        ("allergies", "disabled"),
    )


@pytest.mark.parametrize(("kind", "is_temporary"), [("T", True), ("T ", True), ("R", False)])
def test_somebody_registered_for_a_time_only_has_their_record_elsewhere(kind: str, is_temporary: bool):
    url = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-CareConnect-GPC-RegistrationDetails-1"
    system = "https://fhir.nhs.uk/STU3/CodeSystem/CareConnect-RegistrationType-1"
    said = {"url": "registrationType", "valueCodeableConcept": {"coding": [{"system": system, "code": kind}]}}
    period = {"url": "registrationPeriod", "valuePeriod": {"start": "2026-01-01"}}
    person = patient(extension=[{"url": url, "extension": [period, said]}])
    whole = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": person}]}
    areas = ("allergies", "immunisations", "medications", "other-health", "problems")
    expected = tuple((area, "temporary-registration") for area in areas) if is_temporary else ()
    assert split(whole, as_of=NOW).facts.warnings == expected


def test_an_area_that_is_missing_and_not_named_may_be_any():
    issue = {"severity": "warning", "code": "not-supported", "details": {"text": "an unrecognised parameter"}}
    areas = {"allergies", "immunisations", "medications", "other-health", "problems"}
    said = split(record({"resourceType": "OperationOutcome", "issue": [issue]}), as_of=NOW).facts.warnings
    assert said == tuple((area, "not-supported") for area in sorted(areas))
    told = issue | {"severity": "information"}
    assert split(record({"resourceType": "OperationOutcome", "issue": [told]}), as_of=NOW).facts.warnings == ()


@pytest.mark.parametrize(
    ("display", "code"),
    [("Referral items have been disabled", "disabled"), ("Referral items are not supported", "not-supported"), ("Eczema", None)],
)
def test_a_placeholder_for_what_a_practice_does_not_give_is_a_warning(display: str, code: str | None):
    held = {**listed("792931000000107"), "entry": [{"item": {"display": display}}]}
    problem = {"resourceType": "Condition", "extension": [{"url": "x", "valueReference": {"display": display}}]}
    expected = (("other-health", code),) if code else ()
    assert split(record(held), as_of=NOW).facts.warnings == expected
    assert split(record(problem), as_of=NOW).facts.warnings == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [("includeReferrals has been disabled", "disabled"), ("includeReferrals is an unrecognised parameter", "not-supported")],
)
def test_switched_off_and_not_supported_are_told_apart(text: str, code: str):
    issue = {"severity": "warning", "code": "not-supported", "details": {"text": text}, "diagnostics": "includeReferrals"}
    assert split(record({"resourceType": "OperationOutcome", "issue": [issue]}), as_of=NOW).facts.warnings == (
        ("other-health", code),
    )


@pytest.mark.parametrize(
    ("code", "area"),
    [
        ("consultations-medications-contained-in-consultations", "medications"),
        ("consultations-allergies-contained-in-consultations", "allergies"),
        ("problems-linked-problems-not-relating-to-the-primary-query", "problems"),
        ("consultations-outbound-referrals-in-consultations", "other-health"),
    ],
)
def test_a_secondary_list_warns_of_the_area_its_code_names(code: str, area: str):
    named = {"coding": [{"system": "https://fhir.hl7.org.uk/STU3/CodeSystem/GPConnect-SecondaryListValues-1", "code": code}]}
    warned = listed("", extension=[{"url": WARNING, "valueCode": "confidential-items"}]) | {"code": named}
    assert split(record(warned), as_of=NOW).facts.warnings == ((area, "confidential-items"),)


def test_systems_in_the_wrong_case_and_with_blanks_are_known_all_the_same():
    odd = patient(f"{NUMBER[:3]} {NUMBER[3:6]} {NUMBER[6:]} ", birthDate="2024-03-14 ")
    odd["identifier"][0]["system"] = "https://fhir.nhs.uk/Id/NHS-Number "
    ended = listed(ENDED, "AllergyIntolerance/a1")
    ended["code"]["coding"] = [{"system": "HTTP://snomed.info/SCT ", "code": ENDED + " "}]
    entries = [{"resource": resource} for resource in (odd, ALLERGY, ended)]
    came = split({"resourceType": "Bundle", "type": "collection", "entry": entries}, as_of=NOW)
    assert (came.about.nhs_number, came.about.birth_date) == (NUMBER, date(2024, 3, 14))
    assert came.records[0].data["list"] == "ended"


def test_a_document_that_a_label_locks_is_locked_and_one_not_for_the_family_is_not():
    def document(**coding: str) -> dict[str, Any]:
        return {"resourceType": "DocumentReference", "id": "d1", "securityLabel": [{"coding": [coding]}]}

    (hidden,) = records(document(**NOPAT))
    (locked,) = records(document(system="http://hl7.org/fhir/v3/Confidentiality", code="V"))
    assert (hidden.locked, locked.locked) == (False, True)


def test_referral_and_diary_entry_under_one_identifier_are_two():
    identifier = [{"system": "s", "value": "1"}]
    first, second = records(
        {"resourceType": "ReferralRequest", "id": "r", "identifier": identifier},
        {"resourceType": "ProcedureRequest", "id": "p", "identifier": identifier},
    )
    assert first.data["key"] != second.data["key"]


def test_a_record_is_left_as_it_was_read():
    before = deepcopy(RICH)
    split(RICH, as_of=NOW)
    assert before == RICH


def test_the_family_is_neither_given_nor_named_where_staff_are():
    staff = {"resourceType": "Practitioner", "id": "d1", "name": [{"text": "Dr Ada Test"}]}
    role = {"resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": "Practitioner/d1"}}
    place = {"resourceType": "Location", "id": "l1", "name": " Riverside Surgery "}
    told = [{"individual": {"reference": name}} for name in ("Practitioner/d1", "PractitionerRole/r1", "RelatedPerson/m1")]
    told += [{"individual": {"reference": "RelatedPerson/m1", "display": "Mother"}}]
    contact = {
        "resourceType": "Encounter",
        "id": "e1",
        "participant": told,
        "location": [{"location": {"reference": "Location/l1"}}],
    }
    (item,) = (item for item in records(staff, role, place, contact) if item.schema == "gpc-encounter-stu3")
    assert item.data["resource"]["participant"] == [
        {"individual": {"reference": "Practitioner/d1", "display": "Dr Ada Test"}},
        {"individual": {"reference": "PractitionerRole/r1", "display": "Dr Ada Test"}},
        {},
        {},
    ]
    assert item.data["resource"]["location"][0]["location"]["display"] == "Riverside Surgery"


def of_a_file(read: Any) -> list[SourceRecord]:
    return list(adapters.gp.read_file(load_manifest(adapters.gp), "saved.json", json.dumps(read).encode()))


def test_one_resource_saved_by_itself_is_read_from_a_file_and_is_nobodys():
    (item,) = of_a_file(ALLERGY)
    (in_a_record,) = records(ALLERGY)
    assert item.where == "by itself, AllergyIntolerance"
    assert (item.schema, item.data) == (in_a_record.schema, in_a_record.data)
    assert (item.about.nhs_number, item.about.local_id) == (None, None)


def test_the_service_never_takes_a_resource_by_itself():
    with pytest.raises(SourceContractBroken, match="not a FHIR Bundle"):
        bundle(json.dumps(ALLERGY).encode())


def test_a_collection_cut_out_of_a_record_is_read_from_a_file_and_is_nobodys():
    plan = {"resourceType": "MedicationRequest", "id": "m1", "subject": {"reference": "Patient/p9"}}
    issue = {"resourceType": "MedicationRequest", "id": "m2", "basedOn": [{"reference": "MedicationRequest/m1"}]}
    cut: dict[str, Any] = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": plan}, {"resource": issue}]}
    first, second = of_a_file(cut)
    assert (first.where, first.about.nhs_number) == ("entry 1, MedicationRequest", None)
    assert second.data["resource"]["basedOn"] == [{"reference": f"MedicationRequest/{first.data['key']}"}]
    with pytest.raises(SourceContractBroken, match="exactly one Patient"):
        split(cut, as_of=NOW)  # the service never takes it
    issue["subject"] = {"reference": "Patient/p8"}
    with pytest.raises(SourceContractBroken, match="more than one Patient"):
        of_a_file(cut)
    with pytest.raises(SourceContractBroken, match="exactly one Patient"):
        of_a_file({**cut, "entry": [{"resource": {"resourceType": "Slot"}}]})


def test_an_example_between_the_marks_of_its_web_page_is_read_from_a_file_and_by_nobody_else():
    shown = b"{% highlight json %}\n" + json.dumps(record(ALLERGY)).encode() + b"\n{% endhighlight %}\n"
    assert len(list(adapters.gp.read_file(load_manifest(adapters.gp), "shown.json", shown))) == 1
    with pytest.raises(SourceContractBroken, match="not JSON"):
        bundle(shown)


def test_a_number_beyond_what_any_decimal_holds_breaks_the_contract():
    with pytest.raises(SourceContractBroken, match="not JSON"):
        bundle(b'{"resourceType": "Bundle", "x": 1e99999999999999999999}')


def measured(**more: Any) -> dict[str, Any]:
    code = {"coding": [{"system": "http://snomed.info/sct", "code": "271649006", "display": "Systolic"}]}
    return {"resourceType": "Observation", "id": "o1", "code": code, "valueQuantity": {"value": 120}, **more}


@pytest.mark.parametrize(
    ("observation", "kept", "doubt"),
    [
        (measured(), True, None),
        (measured(component=[{"code": {"coding": [{"code": "other"}]}, "valueQuantity": {"value": 80}}]), True, None),
        (measured(component=[{"code": measured()["code"], "valueQuantity": {"value": 120}}]), False, None),
        (measured(component=[{"code": measured()["code"], "valueQuantity": {"value": 80}}]), True, "told-otherwise"),
        (measured(dataAbsentReason={"text": "machine broken"}), True, "absent-and-there"),
    ],
)
def test_a_value_told_twice_is_told_once_or_in_doubt(observation: dict[str, Any], kept: bool, doubt: str | None):
    (item,) = records(observation)
    assert ("valueQuantity" in item.data["resource"], item.data.get("doubt")) == (kept, doubt)


def asked(depth: int, *, below_the_answer: bool) -> dict[str, Any]:
    inner = [asked(depth - 1, below_the_answer=not below_the_answer)] if depth > 1 else []
    if inner and not below_the_answer:
        return {"linkId": str(depth), "item": inner}
    return {"linkId": str(depth), "answer": [{"valueString": "yes", **({"item": inner} if inner else {})}]}


def test_a_question_with_an_answer_and_questions_below_it_has_no_place_in_r4():
    fork = {"linkId": "1", "item": [{"linkId": "2"}], "answer": [{"valueBoolean": True}]}
    for items in ([fork], [{"linkId": "0", "item": [fork]}], [{"linkId": "0", "answer": [{"item": [fork]}]}]):
        (item,) = records({"resourceType": "QuestionnaireResponse", "id": "q", "item": items})
        assert item.data["deeper"] == "fork"


@pytest.mark.parametrize("below_the_answer", [True, False])
def test_a_questionnaire_deeper_than_its_map_says_so(below_the_answer: bool):
    for depth, deeper in ((1, None), (3, None), (4, "depth")):
        form = {"resourceType": "QuestionnaireResponse", "id": "q", "item": [asked(depth, below_the_answer=below_the_answer)]}
        (item,) = records(form)
        assert item.data.get("deeper") == deeper


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        ({"resourceType": "Patient"}, "a Patient or an OperationOutcome by itself"),
        ({"resourceType": "Slot"}, "of a type that a structured record does not have"),
        ({"resourceType": "Bundle", "type": "searchset", "entry": []}, "a collection with entries"),
        ({"name": "x"}, "not a FHIR resource in JSON"),
    ],
)
def test_a_file_of_anything_else_is_refused_with_its_reason(read: dict[str, Any], reason: str):
    with pytest.raises(SourceContractBroken, match=reason):
        of_a_file(read)

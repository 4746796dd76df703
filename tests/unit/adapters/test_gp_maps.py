"""The GP reader and the GP maps together: what a structured record becomes, where a mistake would hurt."""

import doctest
import importlib.util
import json
from collections import Counter
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhirclient.models.fhirelementfactory import FHIRElementFactory

import mappings
from adapters.gp.record import split
from gateway.adapter import SourceContractBroken, SourceRecord
from gateway.disclosure.stripping import strip
from gateway.mapping import Context, MapResult, Maps, load, map_record, shape_faults
from gateway.mapping.cases import cases, context
from gateway.mapping.rewrite import encode
from gateway.model import Mark
from gateway.nhs_number import NhsNumber
from tests.unit.adapters.gp_records import ALLERGY, NUMBER, listed, record

FOLDER = Path(mappings.__path__[0])
ENDED = "1103671000000101"
UNKNOWN = {"coding": [{"system": "http://hl7.org/fhir/v3/NullFlavor", "code": "UNK"}]}
PATIENT = {"reference": "Patient/p1"}
VACCINATION: dict[str, Any] = {
    "resourceType": "Immunization",
    "id": "i1",
    "extension": [
        {
            "url": "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-VaccinationProcedure-1",
            "valueCodeableConcept": {"coding": [{"system": "http://snomed.info/sct", "code": "38598009"}]},
        }
    ],
    "status": "completed",
    "notGiven": False,
    "vaccineCode": UNKNOWN,
    "patient": PATIENT,
    "date": "2025-05-14",
    "primarySource": True,
}
MEDICINE = {"resourceType": "Medication", "id": "d1", "code": {"text": "Salbutamol inhaler"}}
PLAN: dict[str, Any] = {
    "resourceType": "MedicationRequest",
    "id": "m1",
    "identifier": [{"system": "https://provider.test/id", "value": "plan-1"}],
    "status": "active",
    "intent": "plan",
    "medicationReference": {"reference": "Medication/d1"},
    "subject": PATIENT,
}
TOPIC = listed("25851000000105", "AllergyIntolerance/a1", id="l1", status="current", mode="snapshot")
MEASURED: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "27113001", "display": "Body weight"}]},
    "subject": PATIENT,
    "effectivePeriod": {"start": "2025-05-01", "end": "2025-05-02"},
    "issued": "2025-05-01T10:00:00Z",
    "valueQuantity": {"value": 9.5, "unit": "kg"},
    "related": [{"type": "has-member", "target": {"reference": "Observation/o1"}}],
}


@pytest.fixture(scope="module")
def maps() -> Maps:
    return load(FOLDER)


def become(maps: Maps, *resources: dict[str, Any]) -> list[MapResult]:
    records = split(record(*resources), as_of=datetime(2026, 1, 5, 9, 0, tzinfo=UTC)).records
    return [map_record(maps, "gp", item, context("gp"), account=True) for item in records]


def bodies(maps: Maps, *resources: dict[str, Any]) -> list[dict[str, Any]]:
    made = [dict(resource.body) for result in become(maps, *resources) for resource in result.resources]
    for body in made:
        assert shape_faults(body) == []
    return made


def like(base: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**deepcopy(base), **parts}


@pytest.mark.parametrize(
    ("status", "not_given", "shown"),
    [
        ("completed", False, "completed"),
        ("completed", True, "not-done"),
        ("entered-in-error", True, "entered-in-error"),
        ("entered-in-error", False, "entered-in-error"),
    ],
)
def test_a_refused_vaccine_is_never_shown_as_given(maps: Maps, status: str, not_given: bool, shown: str):
    (body,) = bodies(maps, like(VACCINATION, status=status, notGiven=not_given))
    assert body["status"] == shown


@pytest.mark.parametrize("parts", [{"notGiven": None}, {"notGiven": "perhaps"}, {"notGiven": 7}, {"status": "9990000107"}])
def test_a_vaccination_that_does_not_plainly_say_whether_it_was_given_is_refused(maps: Maps, parts: dict[str, Any]):
    (result,) = become(maps, like(VACCINATION, **parts))
    assert result.resources == ()
    (refusal,) = result.refused
    assert refusal.where == "entry 2, Immunization"
    assert NUMBER not in refusal.reason


def test_what_was_given_is_said_even_where_the_vaccine_code_says_nothing(maps: Maps):
    (body,) = bodies(maps, VACCINATION)
    assert body["vaccineCode"]["coding"][0]["code"] == "UNK"
    (extension,) = body["extension"]
    assert extension["url"] == "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-VaccinationProcedure"
    assert extension["valueCodeableConcept"]["coding"][0]["code"] == "38598009"


def test_a_vaccination_without_a_date_does_not_borrow_the_day_it_was_recorded(maps: Maps):
    recorded = {
        "url": "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-DateRecorded-1",
        "valueDateTime": "2025-06-01",
    }
    undated = like(VACCINATION, extension=[*VACCINATION["extension"], recorded])
    del undated["date"]
    (body,) = bodies(maps, undated)
    assert body["occurrenceString"] == "unknown"
    assert "occurrenceDateTime" not in body
    assert body["recorded"] == "2025-06-01"


def test_an_allergy_of_the_ended_list_is_resolved_whatever_it_says_itself(maps: Maps):
    (body,) = bodies(maps, listed(ENDED, "#a1", contained=[like(ALLERGY, id="#a1")]))
    assert body["clinicalStatus"]["coding"][0]["code"] == "resolved"


@pytest.mark.parametrize("time", ["assertedDate", "onsetDateTime", "lastOccurrence"])
def test_a_time_without_zone_does_not_hide_an_allergy_and_is_not_guessed(maps: Maps, time: str):
    (body,) = bodies(maps, like(ALLERGY, **{time: "2025-05-01T09:00:00"}))
    shown = {"assertedDate": "recordedDate"}.get(time, time)
    assert shown not in body
    assert body[f"_{shown}"]["extension"][0]["valueCode"] == "error"
    assert "09:00" not in json.dumps(body)


def test_references_lead_to_what_was_made_and_to_the_person(maps: Maps):
    issue = like(PLAN, id="m2", identifier=[], intent="order", basedOn=[{"reference": "MedicationRequest/m1"}])
    medicine, plan, order = bodies(maps, MEDICINE, PLAN, issue)
    assert plan["medicationReference"] == order["medicationReference"] == {"reference": f"Medication/{medicine['id']}"}
    assert order["basedOn"] == [{"reference": f"MedicationRequest/{plan['id']}"}]
    assert plan["subject"] == {"reference": f"Patient/{context('gp').person}"}


def test_the_same_record_in_another_answer_keeps_its_id(maps: Maps):
    (first,) = bodies(maps, ALLERGY)
    (second,) = bodies(maps, like(ALLERGY, id="another"))
    assert first["id"] == second["id"]


def test_one_bad_resource_is_refused_and_the_others_go_on(maps: Maps):
    bad = like(PLAN, id="m9", identifier=[], status=NUMBER)
    results = become(maps, ALLERGY, MEDICINE, bad, VACCINATION)
    assert [len(result.resources) for result in results] == [1, 1, 0, 1]
    (refusal,) = results[2].refused
    assert refusal.where == "entry 4, MedicationRequest"
    assert NUMBER not in refusal.reason


def test_a_lock_of_the_source_and_the_label_against_the_family_travel_with_the_resource(maps: Maps):
    nopat = {"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}
    other = {"system": "http://hl7.org/fhir/v3/Confidentiality", "code": "V"}
    (hidden,), (locked,) = (
        result.resources
        for result in become(maps, like(ALLERGY, meta={"security": [nopat]}), like(VACCINATION, meta={"security": [other]}))
    )
    assert hidden.body["meta"]["security"] == [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}]
    assert not hidden.locked
    assert locked.locked


def test_identifiers_and_free_text_are_marked_so_that_they_can_be_taken_out(maps: Maps):
    ((resource,),) = (result.resources for result in become(maps, like(ALLERGY, note=[{"text": "lives near the school"}])))
    assert ("identifier", "system") in resource.paths[Mark.LOCATING]
    assert ("note", "text") in resource.paths[Mark.LOCATING]
    assert ("note", "text") in resource.paths[Mark.THIRD_PARTY]


def test_staff_and_places_are_named_where_they_are_referred_to_and_each_name_is_marked_as_locating(maps: Maps):
    staff = {"resourceType": "Practitioner", "id": "x", "name": [{"prefix": ["Dr"], "given": ["Ada"], "family": "Secret"}]}
    told = {"reference": "Practitioner/x"}
    resources = [
        like(ALLERGY, text={"status": "generated", "div": "<div>Secret</div>"}, recorder=told, asserter=told),
        like(VACCINATION, practitioner=[{"actor": told}], location={"display": "Secret Surgery"}),
        like(PLAN, requester={"agent": told}, recorder=told, dispenseRequest={"performer": told}),
        {"resourceType": "Encounter", "id": "e1", "status": "finished", "participant": [{"individual": told}]},
        {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}, "performer": [told]},
    ]
    found = 0
    for result in become(maps, staff, MEDICINE, *resources):
        for made in result.resources:
            for place in places(dict(made.body)):
                if "Secret" in str(value_at(made.body, place)) and not isinstance(value_at(made.body, place), dict | list):
                    named = tuple(str(part) for part in place if isinstance(part, str))
                    assert any(named[: len(path)] == path for path in made.paths[Mark.LOCATING]), named
                    found += 1
    assert found == 9


def test_a_title_a_question_an_onset_and_every_other_typed_word_is_marked_as_locating(maps: Maps):
    ended = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-CareConnect-GPC-AllergyIntoleranceEnd-1"
    why = {
        "url": ended,
        "extension": [{"url": "endDate", "valueDateTime": "2024-01-01"}, {"url": "reasonEnded", "valueString": "Secret"}],
    }
    inner = {"linkId": "2", "text": "Secret", "answer": [{"valueBoolean": True}]}
    resources = [
        like(ALLERGY, onsetString="Secret", extension=[why], reaction=[{"manifestation": [UNKNOWN], "description": "Secret"}]),
        like(VACCINATION, vaccinationProtocol=[{"doseSequence": 1, "series": "Secret"}]),
        like(PLAN, dosageInstruction=[{"text": "one a day", "patientInstruction": "Secret"}]),
        like(MEASURED, referenceRange=[{"text": "Secret"}]),
        {
            "resourceType": "QuestionnaireResponse",
            "id": "q",
            "status": "completed",
            "subject": PATIENT,
            "item": [inner, {"linkId": "1", "text": "Secret", "item": [inner]}],
        },
        listed("25851000000105", "AllergyIntolerance/a1", id="l1", status="current", mode="snapshot", title="Secret"),
    ]
    found = set()
    for result in become(maps, MEDICINE, *resources):
        for made in result.resources:
            said = "Secret" in str(made.body)
            left = strip(dict(made.body), made.paths.get(Mark.LOCATING, ()))
            assert "Secret" not in str(left), made.body["resourceType"]
            found |= {made.body["resourceType"]} if said else set()
    assert found == {"AllergyIntolerance", "Immunization", "MedicationRequest", "Observation", "QuestionnaireResponse", "List"}


def value_at(tree: Any, place: tuple[Any, ...]) -> Any:
    for name in place:
        tree = tree[name]
    return tree


@pytest.mark.parametrize(
    "note", ["Information not available", "Items excluded due to confidentiality and/or patient preferences."]
)
def test_the_caveat_of_a_list_is_given_and_any_other_note_of_it_is_not(maps: Maps, note: str):
    area = listed("886921000000105", status="current", mode="snapshot", note=[{"text": note}, {"text": "ask the neighbour"}])
    (body,) = bodies(maps, {name: value for name, value in area.items() if name != "entry"})
    assert body["note"] == [{"text": note}]


@pytest.mark.parametrize(
    ("day", "given"), [("01-Sep-2026", True), ("1 September 2026", True), ("01/09/2026", True), ("01/Willow/2020", False)]
)
def test_a_caveat_that_names_a_day_names_nothing_else(maps: Maps, day: str, given: bool):
    said = "Patient record transfer from previous GP practice not yet complete; information recorded before {} may be missing."
    area = listed("886921000000105", status="current", mode="snapshot", note=[{"text": said.format(day)}])
    (body,) = bodies(maps, {name: value for name, value in area.items() if name != "entry"})
    assert ("note" in body) is given


def test_a_consultation_keeps_its_topics_its_headings_and_what_stands_under_each(maps: Maps):
    consultation = {"resourceType": "Encounter", "id": "e1", "status": "finished", "subject": PATIENT}
    shown = {"status": "current", "mode": "snapshot", "encounter": {"reference": "Encounter/e1"}}
    area = listed("1149501000000101", "Encounter/e1", status="current", mode="snapshot")
    whole = listed("325851000000107", "List/l2", id="l1", **shown)
    topic = listed("25851000000105", "List/l3", "Condition/withheld", id="l2", **shown)
    heading = listed("24781000000107", "AllergyIntolerance/a1", id="l3", **shown)
    made = {
        made["code"]["coding"][0]["code"]: made
        for made in bodies(maps, consultation, area, whole, topic, heading)
        if "code" in made
    }
    allergy, *_ = [
        made
        for made in bodies(maps, ALLERGY, consultation, whole, topic, heading)
        if made["resourceType"] == "AllergyIntolerance"
    ]
    (encounter,) = bodies(maps, consultation)

    def leads(code: str) -> list[str]:
        return [entry["item"]["reference"] for entry in made[code]["entry"]]

    assert leads("1149501000000101") == [f"Encounter/{encounter['id']}"]
    assert leads("325851000000107") == [f"List/{made['25851000000105']['id']}"]
    assert leads("25851000000105") == [f"List/{made['24781000000107']['id']}"]
    assert "entry" not in made["24781000000107"]  # the allergy is not in this record: nothing tells that it exists
    assert made["24781000000107"]["encounter"] == {"reference": f"Encounter/{encounter['id']}"}
    whole_record = bodies(maps, ALLERGY, consultation, whole, topic, heading)
    (under,) = [body for body in whole_record if body.get("code", {}).get("coding", [{}])[0].get("code") == "24781000000107"]
    assert under["entry"] == [{"item": {"reference": f"AllergyIntolerance/{allergy['id']}"}}]


def test_lists_without_an_id_are_kept_apart_by_their_codes(maps: Maps):
    areas = [listed(code, status="current", mode="snapshot") for code in ("886921000000105", "717711000000103")]
    assert len({body["id"] for body in bodies(maps, *areas)}) == 2


def test_reading_our_own_output_again_changes_nothing(maps: Maps):
    read: Counter[str] = Counter()
    for case in cases(FOLDER, "gp"):
        for made in case.run(maps).resources:
            person = made.body["id"].partition(".")[0]
            again = Context(
                "gp", lambda _, key: key, person, NhsNumber(NUMBER), datetime(2026, 1, 5, 9, 0, tzinfo=UTC), "ods:A99901"
            )
            record_again = SourceRecord("fhir-r4", json.loads(encode(made.body)), "again", made.as_of, None)
            (same,) = map_record(maps, "gp", record_again, again).resources
            assert json.loads(encode(same.body)) == json.loads(encode(made.body)), case.name
            read[made.body["resourceType"]] += 1
    assert len(read) == 14


@pytest.mark.parametrize("odd", [None, 7, "", NUMBER, [], [[]], {}, {"a": NUMBER}], ids=str)
def test_an_odd_value_anywhere_is_mapped_or_refused_and_never_repeated_in_a_reason(maps: Maps, odd: Any):
    for resource in (ALLERGY, VACCINATION, PLAN, TOPIC, MEASURED):
        for place in places(resource):
            spoiled = deepcopy(resource)
            box = spoiled
            for name in place[:-1]:
                box = box[name]
            box[place[-1]] = odd
            with suppress(SourceContractBroken):
                for result in become(maps, MEDICINE, spoiled):
                    assert all(NUMBER not in refusal.reason + refusal.where for refusal in result.refused)
                    assert [fault for made in result.resources for fault in shape_faults(made.body)] == [], place


def places(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [*([here] if here else []), *(place for name, child in inside for place in places(child, (*here, name)))]


def test_every_case_comes_out_as_its_golden_and_the_goldens_are_r4(maps: Maps):
    kinds: Counter[str] = Counter()
    for case in cases(FOLDER, "gp"):
        came = case.run(maps)
        assert case.differences(came) == [], case.name
        for resource in came.resources:
            assert shape_faults(resource.body) == [], case.name
            kinds[resource.body["resourceType"]] += 1
        for accounting in came.accounting:
            assert came.refusals or accounting.unmapped == (), case.name
    assert min(kinds.values()) >= 2
    assert len(kinds) == 14


def test_the_examples_of_the_functions_hold():
    spec = importlib.util.spec_from_file_location("gp_functions", FOLDER / "gp" / "functions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tried = doctest.testmod(module)
    assert tried.attempted > 0
    assert tried.failed == 0


def readable(value: Any) -> Any:
    """Without `_value[x]` of extensions: R4 has it (2.4.1), and the models of fhir.resources 8.3 do not."""
    if isinstance(value, dict):
        return {name: readable(item) for name, item in value.items() if not ("url" in value and name.startswith("_value"))}
    return [readable(item) for item in value] if isinstance(value, list) else value


def test_common_client_libraries_read_every_golden(maps: Maps):
    for case in cases(FOLDER, "gp"):
        for body in readable(json.loads(case.run(maps).out())):
            get_fhir_model_class(body["resourceType"]).model_validate(body)
            FHIRElementFactory.instantiate(body["resourceType"], body)

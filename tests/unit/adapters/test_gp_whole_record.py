"""What the whole of a structured record shows: labels over it, what contains what, shared ids, what is about somebody else."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.gp.record import split
from gateway.adapter import SourceContractBroken, SourceRecord
from tests.unit.adapters.gp_records import ALLERGY, NUMBER, listed, record

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ALLERGIES, ENDED, TOPIC = "886921000000105", "1103671000000101", "25851000000105"
NOPAT = {"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}
VERY = {"system": "http://hl7.org/fhir/v3/Confidentiality", "code": "V"}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/p1"}}


def like(base: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**deepcopy(base), **parts}


def all_of(*resources: dict[str, Any], **parts: Any) -> tuple[SourceRecord, ...]:
    return split(record(*resources, **parts), as_of=NOW).records


def of(kind: str, *resources: dict[str, Any], **parts: Any) -> tuple[SourceRecord, ...]:
    return tuple(item for item in all_of(*resources, **parts) if item.schema == f"gpc-{kind}-stu3")


def labels(item: SourceRecord) -> list[Any]:
    found: list[Any] = item.data["resource"].get("meta", {}).get("security", [])
    return found


def test_a_label_of_the_bundle_is_a_label_of_everything_in_it():
    (hidden,) = all_of(ALLERGY, meta={"security": [NOPAT]})
    (locked,) = all_of(ALLERGY, meta={"security": [VERY]})
    assert (labels(hidden), hidden.locked) == ([NOPAT], False)
    assert locked.locked


def test_a_label_of_a_list_covers_what_it_holds_lists_of_lists_and_what_they_contain():
    other = like(OBSERVATION, id="o2")
    consultation = listed("325851000000107", "List/topic", id="consultation", meta={"security": [NOPAT]})
    topic = listed(TOPIC, "Observation/o1", "#a", id="topic", contained=[like(ALLERGY, id="a")])
    ring = like(topic, entry=[*topic["entry"], {"item": {"reference": "List/consultation"}}])
    held = {item.where.split(", ")[-1]: item for item in all_of(OBSERVATION, consultation, ring)}
    assert [labels(held[kind]) for kind in ("Observation", "AllergyIntolerance", "List")] == [[NOPAT]] * 3
    assert not any(item.locked for item in held.values())
    beside, held_by_it = of("observation", other, OBSERVATION, consultation, topic)
    assert (labels(beside), labels(held_by_it)) == ([], [NOPAT])


def test_a_list_that_is_locked_locks_what_it_holds():
    (held,) = of("observation", OBSERVATION, listed(TOPIC, "Observation/o1", meta={"security": [VERY]}))
    assert held.locked


def test_a_label_of_its_own_is_not_told_twice():
    (held,) = of("observation", like(OBSERVATION, meta={"security": [NOPAT]}), meta={"security": [NOPAT]})
    assert labels(held) == [NOPAT]


@pytest.mark.parametrize("first", [True, False])
def test_an_ended_allergy_that_also_stands_by_itself_has_ended(first: bool):
    ended = listed(ENDED, "#a1", id="ended-allergies", contained=[like(ALLERGY, id="#a1")])
    for beside in (ALLERGY, like(ALLERGY, id="a9", verificationStatus="unconfirmed")):
        found = of("allergyintolerance", *((beside, ended) if first else (ended, beside)))
        assert {item.data.get("list") for item in found} == {"ended"}


def test_an_ended_allergy_that_the_active_list_names_counts_as_active():
    ended = listed(ENDED, "#a1", contained=[like(ALLERGY, id="#a1")])
    (found,) = of("allergyintolerance", ALLERGY, ended, listed(ALLERGIES, "AllergyIntolerance/a1"))
    assert "list" not in found.data


def test_what_any_resource_contains_is_given_by_itself_and_led_to():
    plan = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "contained": [
            {"resourceType": "Medication", "id": "d", "code": {"text": "Amoxicillin"}},
            {"resourceType": "Practitioner", "id": "w", "name": [{"text": "Dr Ada Test"}]},
            {"resourceType": "Device", "id": "x"},
            7,
        ],
        "medicationReference": {"reference": "#d"},
        "recorder": {"reference": "#w"},
    }
    found = {item.where.partition(", ")[2]: item for item in all_of(plan)}
    medicine = found["MedicationRequest, contained 1, Medication"]
    data = found["MedicationRequest"].data["resource"]
    assert data["medicationReference"] == {"reference": f"Medication/{medicine.data['key']}"}
    assert data["recorder"]["display"] == "Dr Ada Test"
    assert "contained" not in data
    refused = ("MedicationRequest, contained 3, another type", "MedicationRequest, contained 4")
    assert {found[where].schema for where in refused} == {"gpc-unreadable-entry"}


def test_the_same_local_id_in_two_lists_means_two_things():
    one = listed(ENDED, "#1", contained=[like(ALLERGY, id="1", identifier=[{"system": "s", "value": "1"}])])
    two = listed(ALLERGIES, "#1", contained=[like(ALLERGY, id="1", identifier=[{"system": "s", "value": "2"}])])
    first, second = of("allergyintolerance", one, two)
    assert (first.data.get("list"), second.data.get("list")) == ("ended", None)
    ended, active = of("list", one, two)
    assert [item["item"]["reference"].partition("/")[2] for item in ended.data["resource"]["entry"]] == [first.data["key"]]
    assert [item["item"]["reference"].partition("/")[2] for item in active.data["resource"]["entry"]] == [second.data["key"]]


def test_any_number_of_different_resources_under_one_identifier_and_one_id_are_all_given():
    states = ("active", "inactive", "resolved")
    found = of("allergyintolerance", *(like(ALLERGY, clinicalStatus=state) for state in states))
    assert [item.data["resource"]["clinicalStatus"] for item in found] == list(states)
    assert len({item.data["key"] for item in found}) == 3


def test_an_id_that_two_medicines_share_leads_to_neither():
    one, other = ({"resourceType": "Medication", "id": "d", "code": {"text": text}} for text in ("Amoxicillin", "Penicillamine"))
    statement = {"resourceType": "MedicationStatement", "id": "m", "medicationReference": {"reference": "Medication/d"}}
    (item,) = of("medicationstatement", one, other, statement)
    assert "medicationReference" not in item.data["resource"]


@pytest.mark.parametrize(
    "parts",
    [
        {"modifierExtension": [{"url": "https://provider.test/not", "valueBoolean": True}]},
        {"component": [{"modifierExtension": [{"url": "https://provider.test/not"}]}]},
        {"referenceRange": [{"modifierExtension": [{"url": "https://provider.test/not"}]}]},
        {"component": [{"referenceRange": [{"modifierExtension": [{"url": "https://provider.test/not"}]}]}]},
    ],
)
def test_what_an_extension_gives_another_meaning_is_refused_with_its_place(parts: dict[str, Any]):
    refused, kept = all_of(like(OBSERVATION, **parts), ALLERGY)
    assert (refused.schema, refused.where) == ("gpc-unreadable-entry", "entry 2, Observation, with a modifier extension")
    assert kept.schema == "gpc-allergyintolerance-stu3"


def test_what_is_about_a_thing_is_refused_by_itself():
    refused, kept = all_of(like(OBSERVATION, subject={"reference": "Device/d1"}), ALLERGY)
    assert (refused.schema, refused.where) == ("gpc-unreadable-entry", "entry 2, Observation, not about a person")
    assert kept.schema == "gpc-allergyintolerance-stu3"


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/other"},
        {"reference": "urn:uuid:0fc72ee2-9b4c-4d3e-8ae0-0d8a7b0a3a51"},
        {"reference": "#p"},
        {"reference": "RelatedPerson/mother"},
        {"identifier": {"system": "https://fhir.nhs.uk/Id/NHS-number ", "value": "999 000 0999"}},
    ],
)
def test_a_record_with_something_about_anybody_else_is_refused_whole(subject: dict[str, Any]):
    with pytest.raises(SourceContractBroken, match="another"):
        all_of(ALLERGY, like(OBSERVATION, subject=subject))


def test_a_record_whose_resource_contains_another_patient_is_refused_whole():
    with pytest.raises(SourceContractBroken, match="a Patient"):
        all_of(like(OBSERVATION, contained=[{"resourceType": "Patient", "id": "p"}]))


def test_the_persons_own_number_beside_the_reference_is_no_offence():
    own = {"reference": "Patient/p1 ", "identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER}}
    (item,) = all_of(like(OBSERVATION, subject=own))
    assert item.data["resource"]["subject"] == own


def test_a_patient_who_is_not_the_records_own_is_never_taken_for_them():
    (item,) = all_of(
        like(
            OBSERVATION,
            performer=[{"reference": "Patient/mother", "display": "Mother"}, {"reference": "Patient/p1"}],
        )
    )
    assert item.data["resource"]["performer"] == [{"reference": "Patient/p1"}]


@pytest.mark.parametrize("spelling", ["reasonNotGiven", "notGivenReason"])
def test_a_vaccine_said_to_be_given_with_a_reason_why_not_is_in_doubt(spelling: str):
    vaccine = {"resourceType": "Immunization", "id": "i", "notGiven": False, "explanation": {spelling: [{"text": "declined"}]}}
    (doubtful,) = all_of(vaccine)
    (plain,) = all_of(vaccine | {"notGiven": True})
    (given,) = all_of(vaccine | {"explanation": {"reason": [{"text": "travel"}]}})
    assert (doubtful.data["doubt"], "doubt" in plain.data, "doubt" in given.data) == ("given-and-not", False, False)

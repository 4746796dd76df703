"""Every event of NEMS and Digital Child Health by its code: taken, news of a person, or refused for its owner with a reason."""

import json
from typing import Any, Final

import pytest
from test_message_drop import BEN, EVENT, NHS, OLD_EVENT, body, header, message

import adapters.child_health
from gateway.adapter import Manifest
from gateway.connectors import message_drop
from gateway.connectors.message_bundle import SAME_NUMBER
from gateway.errors import SourceContractBroken
from gateway.registry import load_manifest

MANIFEST: Final[Manifest] = load_manifest(adapters.child_health)
LIVE: Final = (  # what NEMS has put live
    *("blood-spot-test-outcome-1", "newborn-hearing-1", "nipe-outcome-1", "professional-contacts-1", "vaccinations-1"),
    *("pds-birth-notification-1", "pds-change-of-address-1", "pds-change-of-gp-1", "pds-death-notification-1"),
    "pds-record-change-1",
)
TAKEN: Final = {  # code of EventType-1 -> that of the older list
    "vaccinations-1": "CH015",
    "observations-1": "CH018",
    "assessment-scales-1": "CH004",
    "feeding-status-1": "CH014",
    "early-years-progress-1": "CH010",
    "developmental-skills-1": "CH020",
    "blood-spot-sample-taken-1": "CH006",
    "blood-spot-card-received-1": "CH034",
    "blood-spot-test-outcome-1": "CH035",
    "newborn-hearing-1": "CH021",
    "nipe-outcome-1": "CH024",
    "professional-contacts-1": "CH027",
    "personal-contacts-1": "CH023",
    "birth-details-1": "CH005",
    "allergies-and-adverse-reactions-1": "CH003",
    "problem-list-1": "CH008",
    "individual-requirements-1": "CH016",
    "medication-statement-1": "CH019",
    "safety-alerts-1": "CH029",
    "social-context-household-1": "CH030",
    "social-context-1": "CH031",
    "legal-information-1": "CH033",
}
BIRTH: Final = "pds-birth-notification-1"
ASKED_FOR: Final = ("gp", "hvs", "bloodspot-outcome", "nipe-newborn", "newborn-hearing")
WORK: Final = (
    *(f"failsafe-message-{what}-1" for what in ASKED_FOR),
    *(f"failsafe-message-response-{what}-1" for what in ASKED_FOR),
    *("national-population-failsafe-alert-1", "national-population-failsafe-alert-nullify-1"),
)
LATER: Final = (
    *("additional-demographics-1", "admission-details-1", "clinical-risk-factors-1", "discharge-details-1"),
    *("educational-history-1", "emergency-care-attendance-1", "examination-findings-1", "family-history-1"),
    *("information-and-advice-given-1", "investigation-results-1", "medication-administration-1"),
    *("parent-guardian-or-personal-comment-1", "plan-and-requested-actions-1", "professional-summary-1", "referral-1"),
)


def told(code: str, system: str = EVENT) -> dict[str, Any]:
    """A message of this event about Ben: its focus, and one resource of each type that the event is read for."""
    events = message_drop._events(MANIFEST)
    kinds = set(events[code].reads.values()) if code in events else {"Encounter"}
    focus = sorted(events[code].focus & kinds or events[code].focus)[0] if code in events else "Encounter"
    held = {kind.lower(): {"resourceType": kind, **_about(kind)} for kind in sorted(kinds | {focus})}
    head = header(event={"system": system, "code": code}, focus=[{"reference": f"urn:uuid:{focus.lower()}"}])
    return message(**{"head": head, "imm": None, "visit": None, "prac": None, **held})


def _about(kind: str) -> dict[str, Any]:
    whose = "patient" if kind in ("AllergyIntolerance", "EpisodeOfCare", "Immunization", "RelatedPerson") else "subject"
    return {whose: {"reference": "urn:uuid:ben"}, "identifier": [{"system": "https://tests.example/id", "value": f"{kind}-1"}]}


def came_of(bundle: dict[str, Any]) -> str:
    """The schema of the one record, "" for none, or the reason it was refused for."""
    try:
        found = list(message_drop.read_file(MANIFEST, "m.json", json.dumps(bundle, default=float).encode()))
    except SourceContractBroken as broken:
        return broken.reason
    return found[0].schema if found else ""


@pytest.mark.parametrize("code", [*TAKEN, *TAKEN.values()])
def test_an_event_that_is_taken_gives_a_record_of_a_kind_that_a_map_reads(code: str) -> None:
    assert came_of(told(code, OLD_EVENT if code.startswith("CH") else EVENT)) in MANIFEST.reads


@pytest.mark.parametrize("code", [code for code in LIVE if code.startswith("pds-") and code != BIRTH])
def test_news_of_a_person_leaves_no_record(code: str) -> None:
    assert came_of(told(code)) == ""


@pytest.mark.parametrize("code", WORK)
def test_work_for_a_service_waits_for_its_owner_and_says_so(code: str) -> None:
    assert came_of(told(code)) == message_drop.OWNERS_WORK


@pytest.mark.parametrize("code", [*LATER, "CH001", "CH037"])
def test_an_event_known_and_not_taken_waits_for_its_owner(code: str) -> None:
    assert came_of(told(code)) == f"{message_drop.NOT_MAPPED}: {code}"


def test_an_event_that_nobody_knows_waits_for_its_owner() -> None:
    assert came_of(told("teething-1")) == message_drop.NOT_KNOWN
    assert came_of(told("CH038", OLD_EVENT)) == message_drop.NOT_KNOWN


def test_every_code_of_both_lists_is_decided_once() -> None:
    taken = set(message_drop._events(MANIFEST))
    decided = [*taken, *MANIFEST.options["expires_trace"], *MANIFEST.options["work"], *MANIFEST.options["not_mapped"]]
    assert len(decided) == len(set(decided))
    assert {code for code in decided if not code.startswith("CH")} == {*TAKEN, *LIVE, *WORK, *LATER}
    assert {code for code in decided if code.startswith("CH")} == {f"CH{number:03}" for number in range(1, 38)}
    assert len({*TAKEN, *LIVE, *WORK, *LATER}) == 54  # EventType-1, version 1.3.0
    assert {new: old for new, old in TAKEN.items() if _kind(new) == _kind(old)} == TAKEN


def _kind(code: str) -> str:
    return message_drop._events(MANIFEST)[code].kind


def contact(**changes: Any) -> dict[str, Any]:
    mother = {
        **_about("RelatedPerson"),
        "resourceType": "RelatedPerson",
        "relationship": {"coding": [{"system": "http://hl7.org/fhir/v3/RoleCode", "code": "MTH"}]},
        "name": [{"family": "Sampleson", "given": ["Morag"]}],
        "identifier": [{"system": NHS, "value": "9990022321"}],
        "address": [{"line": ["1 No Street"]}],
        "telecom": [{"system": "phone", "value": "01632960999"}],
        "birthDate": "1994-04-04",
        **changes,
    }
    return told("personal-contacts-1") | {"entry": _with(told("personal-contacts-1")["entry"], mother)}


def _with(entries: list[dict[str, Any]], mother: dict[str, Any]) -> list[dict[str, Any]]:
    own = {"fullUrl": "urn:uuid:relatedperson", "resource": {**mother, "id": "relatedperson"}}
    return [own if entry["fullUrl"] == own["fullUrl"] else entry for entry in entries]


def test_of_a_member_of_the_family_no_number_address_telephone_or_birth_date_is_kept() -> None:
    (record,) = message_drop.read_file(MANIFEST, "m.json", json.dumps(contact()).encode())
    (kept,) = record.data["people"]
    assert kept.keys() == {"key", "relationship", "name"}
    assert kept["key"] == "relatedperson"  # never their NHS number
    assert "9990022321" not in str(record.data)


@pytest.mark.parametrize("number", [BEN, f"{BEN[:3]} {BEN[3:6]} {BEN[6:]}"])
def test_a_member_of_the_family_with_the_childs_own_number_refuses_the_message(number: str) -> None:
    assert came_of(contact(identifier=[{"system": NHS, "value": number}])) == SAME_NUMBER


def test_a_member_of_somebody_elses_family_refuses_the_message() -> None:
    other = {"resourceType": "Patient", "identifier": [{"system": NHS, "value": "9990000107"}], "birthDate": "2024-03-14"}
    bundle = contact(patient={"reference": "urn:uuid:other"})
    bundle["entry"].append({"fullUrl": "urn:uuid:other", "resource": {"id": "other", **other}})
    assert came_of(bundle) == "the NHS numbers in the message differ"


def value(code: str, number: int) -> dict[str, Any]:
    return {"code": {"coding": [{"system": "http://snomed.info/sct", "code": code}]}, "valueQuantity": {"value": number}}


@pytest.mark.parametrize(
    ("observation", "kept", "doubt"),
    [
        (value("27113001", 9), True, None),
        (value("27113001", 9) | {"component": [value("8306-3", 70)]}, True, None),
        (value("27113001", 9) | {"component": [value("27113001", 9)]}, False, None),
        (value("27113001", 9) | {"component": [value("27113001", 10)]}, True, "told-otherwise"),
        (value("27113001", 9) | {"component": [{"code": value("27113001", 9)["code"]}]}, True, "told-otherwise"),
        (value("27113001", 9) | {"dataAbsentReason": {"text": "cried"}}, True, "absent-and-there"),
        ({"code": {"text": "Weight"}, "dataAbsentReason": {"text": "cried"}}, False, None),
    ],
)
def test_a_value_told_twice_is_told_once_or_in_doubt(observation: dict[str, Any], kept: bool, doubt: str | None) -> None:
    bundle = message(
        head=header(event={"system": EVENT, "code": "observations-1"}, focus=[{"reference": "urn:uuid:visit"}]),
        imm=None,
        visit=body("visit", identifier=[{"system": "https://tests.example/id", "value": "E1"}]),
        weight={"resourceType": "Observation", "status": "final", "subject": {"reference": "urn:uuid:ben"}, **observation},
    )
    (record,) = message_drop.read_file(MANIFEST, "m.json", json.dumps(bundle).encode())
    (read,) = record.data["observations"]
    assert ("valueQuantity" in read, read.get("doubt")) == (kept, doubt)

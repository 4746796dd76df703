"""A birth notification is the mother's to send and the baby's to keep: nothing of hers ends in the child's record."""

import json
from decimal import Decimal
from typing import Any

import pytest

import adapters.child_health
from gateway.adapter import SourceRecord
from gateway.connectors import message_birth, message_drop
from gateway.errors import SourceContractBroken
from gateway.registry import load_manifest

MANIFEST = load_manifest(adapters.child_health)
BABY, MOTHER = "9990001111", "9990000107"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
UK = "https://fhir.hl7.org.uk/STU3/StructureDefinition/"
ROUTING = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-RoutingDemographics-1"
CHANGE = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-MessageEventType-1"
INDICATOR = "https://fhir.nhs.uk/STU3/CodeSystem/EMS-PDS-StillBornIndicator-1"


def to(key: str, **more: Any) -> dict[str, Any]:
    return {"reference": f"urn:uuid:{key}", **more}


def seen(subject: str, code: str, **value: Any) -> dict[str, Any]:
    coding = [{"system": "http://snomed.info/sct", "code": code}]
    return {"resourceType": "Observation", "status": "final", "code": {"coding": coding}, "subject": to(subject), **value}


def still(answer: str) -> dict[str, Any]:
    return seen("baby", "237364002", valueCodeableConcept={"coding": [{"system": INDICATOR, "code": answer}]})


def routed(number: str | None) -> dict[str, Any]:
    said = [{"url": "nhsNumber", "valueIdentifier": {"system": NHS, "value": number}}] if number else []
    about = [{"url": ROUTING, "extension": [*said, {"url": "birthDateTime", "valueDateTime": "1995-03-04T00:00:00+00:00"}]}]
    return {
        "resourceType": "MessageHeader",
        "meta": {"lastUpdated": "2026-03-02T10:00:00+00:00"},
        "extension": [*about, {"url": CHANGE, "valueCodeableConcept": {"coding": [{"code": "new"}]}}],
        "event": {"system": "https://fhir.nhs.uk/STU3/CodeSystem/EventType-1", "code": "pds-birth-notification-1"},
        "source": {"endpoint": "urn:nhs-uk:addressing:ods:X26"},
        "focus": [to("told")],
    }


def person(number: str | None, born: str, **more: Any) -> dict[str, Any]:
    identifier = {"identifier": [{"system": NHS, "value": number}]} if number else {}
    return {"resourceType": "Patient", **identifier, "name": [{"family": "MOMSON"}], "birthDate": born, **more}


def related(code: str = "NMTH", system: str = "http://hl7.org/fhir/v3/RoleCode") -> dict[str, Any]:
    coding = [{"system": system, "code": code}]
    return {
        "resourceType": "RelatedPerson",
        "patient": to("baby"),
        "relationship": {"coding": coding},
        "name": [{"family": "MOMSON"}],
    }


def status(code: str) -> dict[str, Any]:
    inner = {"url": "deathNotificationStatus", "valueCodeableConcept": {"coding": [{"code": code}]}}
    return {"url": UK + "Extension-CareConnect-DeathNotificationStatus-1", "extension": [inner]}


def birth(**changes: Any) -> dict[str, Any]:
    """A live birth; `changes` replace whole resources by their key (None takes one away)."""
    resources: dict[str, Any] = {
        "head": routed(MOTHER),
        "told": {"resourceType": "Communication", "status": "completed", "subject": to("mum", display="MOMSON, Mary")},
        "mum": person(MOTHER, "1995-03-04", link=[{"other": to("kin"), "type": "seealso"}]),
        "kin": related(),
        "baby": person(BABY, "2026-03-01", multipleBirthInteger=1),
        "weight": seen(
            "baby", "364589006", valueQuantity={"value": 3640, "unit": "g"}, performer=[to("mum", display="MOMSON, Mary")]
        ),
        "live": still("1"),
        "hers": seen("mum", "382341000000101", valueQuantity={"value": 1}),
        "stay": {"resourceType": "Encounter", "status": "finished", "subject": to("mum")},
    }
    resources |= changes
    entries = [
        {"fullUrl": f"urn:uuid:{key}", "resource": {"id": key, **value}} for key, value in resources.items() if value is not None
    ]
    return {"resourceType": "Bundle", "type": "message", "entry": entries}


def records(bundle: dict[str, Any]) -> list[SourceRecord]:
    return list(message_drop.read_file(load_manifest(adapters.child_health), "m", json.dumps(bundle, default=float).encode()))


def refused(**changes: Any) -> str:
    with pytest.raises(SourceContractBroken) as caught:
        records(birth(**changes))
    return caught.value.reason.removeprefix("message: ")


@pytest.mark.parametrize("kin", [related(), related("12", "https://fhir.nhs.uk/STU3/CodeSystem/PersonRelationshipType-1")])
@pytest.mark.parametrize("number", [MOTHER, None])
def test_a_live_birth_is_the_babys_and_holds_nothing_of_the_mothers(kin: dict[str, Any], number: str | None) -> None:
    mum = person(number, "1995-03-04", link=[{"other": to("kin")}])
    (record,) = records(birth(kin=kin, mum=mum, head=routed(number)))
    assert record.about.nhs_number == BABY
    assert str(record.about.birth_date) == "2026-03-01"
    (weight,) = record.data["observations"]
    assert weight["valueQuantity"] == {"value": Decimal(3640), "unit": "g"}
    assert weight["subject"] == {"reference": "Patient"}
    told = repr(record)
    assert not any(word in told for word in (MOTHER, "MOMSON", "1995", "382341000000101", "237364002", "urn:uuid:mum"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"live": None}, message_birth.NOT_SURE),
        ({"live": seen("mum", "237364002", valueCodeableConcept={"coding": [{"code": "1"}]})}, message_birth.NOT_SURE),
        ({"live": seen("baby", "237364002")}, message_birth.NOT_SURE),
        ({"also": still("3")}, message_birth.NOT_SURE),
        ({"baby": person(BABY, "2026-03-01", extension=[status("U")])}, message_birth.NOT_SURE),
        ({"kin": None}, message_birth.NO_BABY),
        ({"kin": related("FTH")}, message_birth.NO_BABY),
        ({"kin": {**related(), "patient": to("mum")}}, message_birth.NO_BABY),
        ({"mum": None}, message_birth.NO_BABY),
        ({"told": None}, message_birth.NO_BABY),
        ({"twin": person("9990000018", "2026-03-01")}, message_birth.OTHERS),
        ({"baby": person(MOTHER, "2026-03-01")}, message_birth.ONE_NUMBER),
        ({"head": routed(BABY)}, "the NHS numbers in the message differ"),
        ({"head": routed("9990000018")}, "the NHS numbers in the message differ"),
        ({"head": routed(BABY), "mum": person(None, "1995-03-04", link=[{"other": to("kin")}])}, message_birth.ONE_NUMBER),
        ({"baby": person(None, "2026-03-01")}, "no NHS number in the message"),
        ({"baby": person("9990001112", "2026-03-01")}, "an NHS number that fails its check digit"),
        (
            {"baby": {name: part for name, part in person(BABY, "").items() if name != "birthDate"}},
            "no birth date in the message",
        ),
    ],
)
def test_a_birth_that_is_not_surely_one_living_babys_is_for_a_person_to_read(changes: dict[str, Any], reason: str) -> None:
    assert refused(**changes) == reason


def opened(**changes: Any) -> message_drop.Opened:
    body = json.dumps(birth(**changes), default=float).encode()
    return message_drop._opened(MANIFEST, message_drop._events(MANIFEST), message_drop.read_stu3(body))


def losses(read: message_drop.Opened) -> set[tuple[str, str]]:
    return {(loss.nhs_number, loss.kind) for arrival in read.arrivals for loss in arrival.losses}


NUMBERLESS = person(None, "2026-03-01", multipleBirthInteger=1)


@pytest.mark.parametrize("answer", ["2", "3", "4"])
def test_a_stillbirth_stops_contact_about_mother_and_baby_and_nothing_of_it_is_shelved(answer: str) -> None:
    read = opened(live=still(answer))
    assert losses(read) == {(BABY, "stillbirth"), (MOTHER, "pregnancy-loss")}
    assert [(arrival.record, arrival.expires_trace) for arrival in read.arrivals] == [(None, True)]
    assert read.refused_rows == ()
    assert records(birth(live=still(answer))) == []


def test_a_stillborn_child_without_a_number_stops_contact_with_the_mother() -> None:
    assert losses(opened(live=still("2"), baby=NUMBERLESS)) == {(MOTHER, "pregnancy-loss")}
    silent = {"head": routed(None), "mum": person(None, "1995-03-04", link=[{"other": to("kin")}])}
    assert refused(live=still("2"), baby=NUMBERLESS, **silent) == message_birth.OF_NOBODY


@pytest.mark.parametrize(
    "said",
    [{"deceasedDateTime": "2026-03-02"}, {"deceasedBoolean": True}, {"extension": [status("1")]}, {"extension": [status("9")]}],
)
def test_a_child_who_died_after_birth_keeps_its_record_and_is_contacted_about_no_more(said: dict[str, Any]) -> None:
    read = opened(baby=person(BABY, "2026-03-01", **said))
    assert losses(read) == {(BABY, "death"), (MOTHER, "child-loss")}
    assert [arrival.record is not None for arrival in read.arrivals] == [True]


@pytest.mark.parametrize(
    "changes", [{"live": None}, {"also": still("3")}, {"baby": person(BABY, "2026-03-01", extension=[status("U")])}]
)
def test_in_doubt_whether_a_child_lives_contact_stops_and_a_person_reads_the_message(changes: dict[str, Any]) -> None:
    read = opened(**changes)
    assert losses(read) == {(BABY, "outcome-unknown"), (MOTHER, "outcome-unknown")}
    assert read.refused_rows == (("message", message_birth.NOT_SURE),)
    assert [arrival.record for arrival in read.arrivals] == [None]


def test_of_twins_the_living_one_is_spoken_of_as_before() -> None:
    lost, living = opened(live=still("3")), opened(baby=person("9990000018", "2026-03-01", multipleBirthInteger=2))
    assert (losses(living), [arrival.record is not None for arrival in living.arrivals]) == (set(), [True])
    assert "9990000018" not in {number for number, _ in losses(lost)}
    (of_mother,) = [loss for arrival in lost.arrivals for loss in arrival.losses if loss.nhs_number == MOTHER]
    assert of_mother.episode == BABY  # a pregnancy of its own, not the woman for ever


def test_a_live_birth_tells_of_no_loss() -> None:
    assert losses(opened()) == set()

"""What a message tells of a death: early notices count, a status nobody knows counts, and only "taken back" is taken back."""

from pathlib import Path
from typing import Any

import pytest
import test_message_drop as message_tests
from test_message_birth import status

import adapters.child_health
from gateway.connectors import message_drop
from gateway.connectors.message_losses import death_told, screening_says_died
from gateway.registry import load_manifest

MANIFEST = load_manifest(adapters.child_health)
SPOT = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-BloodSpotOutcome"


@pytest.mark.parametrize(
    ("person", "told"),
    [
        ({}, None),
        ({"deceasedBoolean": False}, None),
        ({"extension": [{"url": "https://example.org/other"}]}, None),
        ({"deceasedBoolean": True}, "died"),
        ({"deceasedDateTime": "2026-03-02"}, "died"),
        ({"extension": [status("1")]}, "died"),
        ({"extension": [status("2")]}, "died"),
        ({"extension": [status("3")]}, "died"),
        ({"extension": [{"url": status("1")["url"]}]}, "died"),
        ({"extension": [status("U")]}, "taken-back"),
        ({"extension": [status("U"), status("2")]}, "died"),
        ({"extension": [status("U")], "deceasedDateTime": "2026-03-02"}, "died"),
    ],
)
def test_a_death_is_told_unless_it_is_taken_back(person: dict[str, Any], told: str | None) -> None:
    assert death_told(person) == told


@pytest.mark.parametrize(
    ("system", "code", "died"),
    [
        (f"{SPOT}-1", "946621000000102", True),
        ("http://snomed.info/sct", "946621000000102", True),
        (f"{SPOT}PKU-1", "905", True),
        (f"{SPOT}Phenylketonuria-1", "905", True),  # as the published code system calls itself
        (f"{SPOT}-1 ", " 905", True),
        (f"{SPOT}-1", "904", False),
        ("https://example.org/other", "905", False),
        (f"{SPOT}-1", "428655008", False),
    ],
)
def test_a_blood_spot_that_came_too_late_tells_of_a_death(system: str, code: str, died: bool) -> None:
    assert screening_says_died({"Procedure": [{"outcome": {"coding": [{"system": system, "code": code}]}}]}) is died


def test_a_test_without_an_outcome_tells_of_nothing() -> None:
    assert not screening_says_died({"Procedure": [{}, {"outcome": {"text": "x"}}, None], "Immunization": [{}, None]})


BABY_DIED = "not screened for or screening incomplete, baby died (finding)"


@pytest.mark.parametrize(
    ("kind", "node"),
    [
        ("Procedure", {"outcome": {"coding": [{"system": f"{SPOT}-1", "code": "948801000000106", "display": "x"}]}}),
        ("Procedure", {"outcome": {"coding": [{"system": f"{SPOT}CHT-1", "code": "0905"}]}}),  # some lists have a leading nought
        ("Procedure", {"outcome": {"coding": [{"system": f"{SPOT}-1", "code": "1", "display": f"Cystic fibrosis {BABY_DIED}"}]}}),
        ("Procedure", {"outcome": {"text": "Incomplete - Baby Deceased"}}),
        ("Procedure", {"notDone": True, "notDoneReason": {"text": "infant has died"}}),
        ("DiagnosticReport", {"codedDiagnosis": [{"text": "Screening incomplete, baby died"}]}),
        ("Immunization", {"notGiven": True, "explanation": {"reasonNotGiven": [{"text": "Patient deceased"}]}}),
    ],
)
def test_every_condition_has_a_way_of_its_own_to_say_that_the_baby_died(kind: str, node: dict[str, Any]) -> None:
    assert screening_says_died({kind: [node]})


@pytest.mark.parametrize("words", ["Declined", "Moved out of area", "Family history: dead languages", "screening died down"])
def test_other_reasons_why_nothing_was_done_tell_of_no_death(words: str) -> None:
    assert not screening_says_died({"Procedure": [{"outcome": {"text": words}, "notDoneReason": {"text": words}}]})


@pytest.mark.samples
def test_the_published_example_in_which_one_of_nine_tests_says_that_the_baby_died_stops_contact(samples: Path) -> None:
    folder = samples / "nhsconnect__STU3-FHIR-Assets/Examples"
    body = (folder / "DCH-BloodSpotTestOutcome-Bundle-Example-1.xml").read_bytes()
    (arrival,) = message_drop._opened(MANIFEST, message_drop._events(MANIFEST), message_drop.read_stu3(body)).arrivals
    assert [loss.kind for loss in arrival.losses] == ["death"]


@pytest.mark.parametrize(
    ("said", "taken_back"),
    [({"extension": [status("2")]}, False), ({}, False), ({"extension": [status("U")]}, True)],
)
def test_a_death_notification_stops_contact_even_when_it_says_no_more_than_that(said: dict[str, Any], taken_back: bool) -> None:
    ben = message_tests.body("ben", identifier=[{"system": message_tests.NHS, "value": message_tests.BEN}], **said)
    (arrival,) = opened(message_tests.change("pds-death-notification-1", ben=ben)).arrivals
    assert [(loss.nhs_number, loss.kind, loss.taken_back) for loss in arrival.losses] == [
        (message_tests.BEN, "death", taken_back)
    ]
    assert (arrival.expires_trace, arrival.record) == (True, None)


def test_any_message_about_a_person_who_has_died_stops_contact_and_is_kept() -> None:
    ben = message_tests.body("ben", deceasedDateTime="2026-03-01")
    (arrival,) = opened(message_tests.message(ben=ben)).arrivals
    assert [loss.kind for loss in arrival.losses] == ["death"]
    assert arrival.record is not None
    (moved,) = opened(message_tests.change("pds-change-of-address-1")).arrivals
    assert moved.losses == ()


def opened(bundle: dict[str, Any]) -> message_drop.Opened:
    return message_drop._opened(MANIFEST, message_drop._events(MANIFEST), message_drop.read_stu3(message_tests.as_bytes(bundle)))

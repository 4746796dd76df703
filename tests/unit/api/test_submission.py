"""What is submitted for delivery: read strictly, checked against R4, and nothing of it is echoed."""

import json
from typing import Any

import pytest

from gateway.api.submission import MOST_BYTES, read_submission
from gateway.errors import (
    BadRequest,
    GatewayError,
    InvalidNhsNumber,
    InvalidParameter,
    MissingElement,
    TooLarge,
    UnknownElement,
    UnusableText,
)

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000107"}],
    "birthDate": "2024-03-14",
}
RING = {"resourceType": "PractitionerRole", "id": "r", "telecom": [{"system": "phone", "value": "01632 960001"}]}
REFERRAL = {
    "resourceType": "ServiceRequest",
    "id": "mine",
    "text": {"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>secret</div>"},
    "contained": [PATIENT, RING],
    "identifier": [{"system": "urn:sender", "value": "R-1"}],
    "status": "active",
    "intent": "order",
    "subject": {"reference": "#p"},
    "performer": [{"identifier": {"system": "urn:centre", "value": "1"}}],
}


def read(resource: Any = REFERRAL, kind: str = "ServiceRequest", *, allow_test: bool = True) -> Any:
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    return read_submission(kind, body, allow_test=allow_test)


def test_a_referral_is_read_without_its_patient_its_narrative_and_its_own_id() -> None:
    found = read()
    assert (found.type, found.recipient, found.identifier) == ("ServiceRequest", "urn:centre|1", "urn:sender|R-1")
    assert (found.content.number.value, found.content.birth_date.isoformat()) == ("9990000107", "2024-03-14")
    assert found.content.resource["contained"] == [RING]
    assert not {"id", "text", "meta"} & set(found.content.resource)


def test_a_task_names_its_person_and_its_owner() -> None:
    task = {
        "resourceType": "Task",
        "contained": [PATIENT],
        "identifier": [{"system": "urn:sender", "value": "T-1"}],
        "status": "requested",
        "intent": "order",
        "for": {"reference": "#p"},
        "owner": {"identifier": {"system": "urn:practice", "value": "2"}},
    }
    found = read(task, "Task")
    assert (found.recipient, "contained" in found.content.resource) == ("urn:practice|2", False)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"contained": [RING]}, "ServiceRequest.contained"),
        ({"contained": [PATIENT, {**PATIENT, "id": "q"}]}, "ServiceRequest.contained"),
        ({"contained": [PATIENT, RING, {**RING, "id": "s"}]}, "ServiceRequest.contained"),
        ({"contained": [PATIENT, {"resourceType": "Organization", "id": "o", "name": "x"}]}, "ServiceRequest.contained"),
        ({"contained": [{**PATIENT, "birthDate": "2024"}]}, "Patient.birthDate"),
        ({"contained": [{name: value for name, value in PATIENT.items() if name != "birthDate"}]}, "Patient.birthDate"),
        ({"subject": {"reference": "#r"}}, "ServiceRequest.subject"),
        ({"subject": {"display": "somebody"}}, "ServiceRequest.subject"),
        ({"performer": []}, "ServiceRequest.performer"),
        ({"performer": [{"display": "a"}, {"display": "b"}]}, "ServiceRequest.performer"),
        ({"performer": [{"display": "a"}]}, "ServiceRequest.performer.identifier"),
        ({"performer": [{"identifier": {"value": "1"}}]}, "ServiceRequest.performer.identifier"),
        ({"identifier": [{"system": "urn:x", "value": "a b"}]}, "ServiceRequest.identifier"),
        ({"identifier": [{"system": "urn:x", "value": "1" * 201}]}, "ServiceRequest.identifier"),
        ({"status": 7}, "ServiceRequest.status"),
        ({"contained": [PATIENT, {"resourceType": "Bananas"}]}, "ServiceRequest"),
        ({"nonsense": True}, "ServiceRequest"),
        ({"implicitRules": "urn:x"}, "ServiceRequest"),
        ({"note": [{"text": "x", "modifierExtension": [{"url": "urn:x"}]}]}, "ServiceRequest"),
    ],
)
def test_what_is_missing_or_of_another_kind_is_named_by_its_element(change: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        read({**REFERRAL, **change})
    assert refused.value.expression == where


def without(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({**REFERRAL, "contained": [without("birthDate", PATIENT)]}, "Patient.birthDate"),
        (without("performer", REFERRAL), "ServiceRequest.performer"),
        ({**REFERRAL, "performer": []}, "ServiceRequest.performer"),
        ({**REFERRAL, "performer": [{"display": "a"}]}, "ServiceRequest.performer.identifier"),
        (without("identifier", REFERRAL), "ServiceRequest.identifier"),
        (without("subject", REFERRAL), "ServiceRequest.subject"),
        (without("status", REFERRAL), "ServiceRequest.status"),
        ({**REFERRAL, "note": [{"text": "x"}, {}], "sujbect": {}}, "ServiceRequest.note[1].text"),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(given: dict[str, Any], where: str) -> None:
    with pytest.raises(MissingElement) as refused:
        read(given)
    assert (refused.value.expression, refused.value.issue_code) == (where, "required")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"secretname": True}, "ServiceRequest"),
        ({"code": {"coding": [{"code": "x"}, {"secretname": "x"}]}}, "ServiceRequest.code.coding[1]"),
        ({"contained": [{**PATIENT, "name": [{"secretname": "x"}]}, RING]}, "ServiceRequest.contained[0].name[0]"),
    ],
)
def test_an_unknown_element_is_placed_by_the_deepest_one_known_and_its_name_is_not_echoed(
    change: dict[str, Any], where: str
) -> None:
    with pytest.raises(UnknownElement) as refused:
        read({**REFERRAL, **change})
    assert refused.value.expression == where
    assert "secretname" not in f"{refused.value} {refused.value.public_text} {refused.value.__cause__}"


@pytest.mark.parametrize(
    "identifier", [[], [{"system": "urn:x", "value": "9990000107"}], "twice", [{"value": "9990000107"}], "bad"]
)
def test_a_number_that_is_none_or_two_is_refused(identifier: Any) -> None:
    given = PATIENT["identifier"]
    identifier = {"twice": [*given, *given], "bad": [{**given[0], "value": "9990000108"}]}.get(str(identifier), identifier)  # type: ignore[dict-item]
    with pytest.raises(InvalidNhsNumber):
        read({**REFERRAL, "contained": [{**PATIENT, "identifier": identifier}]})


def test_a_test_number_is_refused_where_people_are_served() -> None:
    with pytest.raises(InvalidNhsNumber):
        read(allow_test=False)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", BadRequest),
        (b"[]", BadRequest),
        (b'{"resourceType": "Task"}', BadRequest),
        (b'{"resourceType": "ServiceRequest", "status": "active", "status": "draft"}', BadRequest),
        (b'{"resourceType": "ServiceRequest", "quantityQuantity": {"value": NaN}}', BadRequest),
        (b"\xff{}", BadRequest),
        (b" " * (MOST_BYTES + 1), TooLarge),
        (json.dumps({**REFERRAL, "note": json.loads("[" * 17 + "1" + "]" * 17)}).encode(), TooLarge),
        (b'{"resourceType": "ServiceRequest", "note": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", GatewayError),
    ],
)
def test_hostile_bodies_are_refused(body: bytes, error: type[GatewayError]) -> None:
    with pytest.raises(error):
        read(body)


def test_a_request_not_to_do_something_is_refused_and_never_sent_as_one_to_do_it() -> None:
    with pytest.raises(InvalidParameter) as refused:
        read({**REFERRAL, "doNotPerform": True})
    assert refused.value.reason == "modifier-not-understood"
    assert read({**REFERRAL, "doNotPerform": False}).type == "ServiceRequest"


def test_a_contained_resource_without_a_type_is_refused() -> None:
    with pytest.raises(GatewayError):
        read({**REFERRAL, "contained": [PATIENT, {"id": "x"}]})


ODD = "\x00 \x07 \x1b \x7f \x85 \xad \u061c \u200b \u200e \u200f \u2028 \u2029 \u202a \u202e \u2066 \u2069"
ODD += " \ufdd0 \ufeff \ufff9 \uffff \U0001fffe \U000e0041"


@pytest.mark.parametrize("odd", ODD.split(" "))
@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda text: {"note": [{"text": "fine"}, {"text": text}]}, "ServiceRequest.note[1].text"),
        (lambda text: {"reasonCode": [{"text": text}]}, "ServiceRequest.reasonCode[0].text"),
        (lambda text: {"requester": {"display": text}}, "ServiceRequest.requester.display"),
        (
            lambda text: {"contained": [PATIENT, {**RING, "practitioner": {"display": text}}]},
            "ServiceRequest.contained[1].practitioner.display",
        ),
    ],
)
def test_text_that_no_screen_shows_as_it_is_stored_is_refused_with_its_place_alone(change: Any, where: str, odd: str) -> None:
    with pytest.raises(UnusableText) as refused:
        read({**REFERRAL, **change(f"a se{odd}cret")})
    assert refused.value.expression == where
    assert "cret" not in f"{refused.value} {refused.value.public_text}"


def test_half_of_a_pair_is_no_text() -> None:
    with pytest.raises(InvalidParameter):
        read({**REFERRAL, "note": [{"text": "\ud800"}]})


def test_line_ends_tabs_and_other_scripts_are_text() -> None:
    told = "Une mère\ttold us:\r\n- مرحبا שלום می\u200cخواهم ශ්\u200dරී \U0001f469\u200d\U0001f466 \ue000"
    assert read({**REFERRAL, "note": [{"text": told}]}).content.resource["note"] == [{"text": told}]


def test_a_name_that_is_none_of_r4_is_never_part_of_a_place() -> None:
    with pytest.raises(InvalidParameter) as refused:
        read({**REFERRAL, "Jane Doe": "\x00"})
    assert refused.value.expression == "ServiceRequest"

"""Delivery between systems over the whole place: three routes, decided for the recipient when it leaves, once and only once."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx
import pytest
from lxml import etree
from whole_place import World, eventually, holds_a_number

from sandbox.demo import CENTRE, GP, VISITOR, Asker
from sandbox.families import BY_KEY, UNKNOWN, Person

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
SUPPORT = "urn:shared-care-gateway:CodeSystem:family-support"
FRONT_DOOR = "urn:shared-care-gateway:CodeSystem:front-door-request"
OUR_CENTRE = {"system": "urn:shared-care-gateway:dfe-urn", "value": "199901"}
AUTHORITY = {"system": "https://fhir.nhs.uk/Id/gss-code", "value": "E08999901"}
RIVERSIDE = {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A99901"}
HILLTOP = {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A99902"}
SCOPES = ("system/ServiceRequest.c", "system/Task.cr")
RING = {
    "resourceType": "PractitionerRole",
    "id": "ring",
    "practitioner": {"display": "Hazel Visitor"},
    "telecom": [{"system": "phone", "value": "01632 960001"}],
}


@pytest.fixture(scope="module")
def senders(world: World) -> Mapping[str, Asker]:
    """Systems that may send, each for one purpose."""
    return {
        "health": world.register(replace(VISITOR, purpose="COC"), "meadowvale-refers", *SCOPES),
        "worried-health": world.register(replace(VISITOR, purpose="MASH"), "meadowvale-worries", *SCOPES),
        "centre": world.register(replace(CENTRE, purpose="COC"), "willow-tells", *SCOPES),
        "worried-centre": world.register(replace(CENTRE, purpose="MASH"), "willow-worries", *SCOPES),
    }


def patient(person: Person, **given: Any) -> dict[str, Any]:
    number = {"system": NHS_NUMBER, "value": person.nhs_number}
    return {"resourceType": "Patient", "id": "p", "identifier": [number], "birthDate": person.birth_date.isoformat(), **given}


def referral(key: str, name: str, **given: Any) -> dict[str, Any]:
    """A health visitor asks the centre to reach out to a family."""
    return {
        "resourceType": "ServiceRequest",
        "contained": [patient(BY_KEY[key]), RING],
        "identifier": [{"system": "https://meadowvale.example.org/referral", "value": name}],
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "code": {"coding": [{"system": SUPPORT, "code": "play", "display": "Play session"}]},
        "subject": {"reference": "#p"},
        "authoredOn": "2026-11-20T09:30:00Z",
        "requester": {"reference": "#ring", "display": "Meadowvale Community Health"},
        "performer": [{"identifier": OUR_CENTRE}],
        "reasonCode": [{"text": "New to the area"}],
        "note": [{"text": "Would like to come on Tuesdays"}],
        **given,
    }


def concern(key: str, name: str, **given: Any) -> dict[str, Any]:
    """Somebody is worried about a child."""
    code = {"coding": [{"system": FRONT_DOOR, "code": "child-protection"}]}
    worry = {
        "code": code,
        "priority": "stat",
        "performer": [{"identifier": AUTHORITY}],
        "reasonCode": [{"text": "Unexplained bruises"}],
    }
    return {**referral(key, name), **worry, **given}


def notice(key: str, name: str, **given: Any) -> dict[str, Any]:
    """The centre tells the practice that a family comes, and whom to ring."""
    return {
        "resourceType": "Task",
        "contained": [patient(BY_KEY[key]), RING],
        "identifier": [{"system": "https://willow.example.org/task", "value": name}],
        "status": "requested",
        "intent": "order",
        "code": {"text": "For information"},
        "description": "This family comes to Willow Children's Centre",
        "for": {"reference": "#p"},
        "authoredOn": "2026-11-20T09:30:00Z",
        "requester": {"display": "Willow Children's Centre"},
        "owner": {"identifier": RIVERSIDE},
        **given,
    }


def send(world: World, asker: Asker, resource: Mapping[str, Any]) -> httpx.Response:
    headers = world.headers(asker, **{"content-type": "application/fhir+json"})
    return world.http.post(f"/fhir/{resource['resourceType']}", content=json.dumps(resource), headers=headers)


def accepted(world: World, asker: Asker, resource: Mapping[str, Any]) -> str:
    """The parcel that stands for a submission that was accepted."""
    answer = send(world, asker, resource)
    assert answer.status_code == 202, answer.text
    parcel: str = answer.json()["id"]
    return parcel


def state(world: World, asker: Asker, parcel: str) -> dict[str, Any]:
    answer = world.get(asker, f"/fhir/Task/{parcel}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def row(world: World, parcel: str, *columns: str) -> tuple[Any, ...]:
    (found,) = world.ask_database(f"select {', '.join(columns)} from parcel where id = ?", parcel)
    return tuple(found)


def becomes(world: World, parcel: str, wanted: str) -> Callable[[], bool]:
    return lambda: row(world, parcel, "state") == (wanted,)


def at_the_centre(world: World, parcel: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(world.place.folder / "sandbox" / "centretrack.db", timeout=10)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(found) for found in connection.execute("select * from referral_in where referral_id = ?", (parcel,))]
    finally:
        connection.close()


def at(world: World, simulator: str, parcel: str) -> list[dict[str, Any]]:
    held = httpx.get(f"http://127.0.0.1:{world.place.sandbox_port}/control/received", timeout=5).json()[simulator]
    return [one for one in held if one["key"] == parcel]


def now_due(world: World, parcel: str) -> None:
    world.change("update parcel set due = 0 where id = ?", parcel)


# ------------------------------------------------------------------------------------------------------- the three routes


def test_health_refers_a_family_to_the_centre_and_nothing_is_lost_on_the_way(world: World, senders: Mapping[str, Asker]) -> None:
    parcel = accepted(world, senders["health"], referral("amara", "R-1"))
    eventually(becomes(world, parcel, "acknowledged"))
    (taken,) = at_the_centre(world, parcel)
    assert taken == {
        "referral_id": parcel,
        "nhs_number": BY_KEY["amara"].nhs_number,
        "status": "open",
        "kind": "referral",
        "priority": "routine",
        "requested_at": taken["requested_at"],
        "service": "PLAY",
        "reason": "New to the area",
        "from_org": "ods:RXX99",
        "from_name": "Meadowvale Community Health",
        "contact_name": "Hazel Visitor",
        "contact_phone": "01632 960001",
        "note": "Would like to come on Tuesdays",
    }
    assert taken["requested_at"].startswith("2026-11-20T09:30:00")
    told = state(world, senders["health"], parcel)
    assert (told["status"], told["businessStatus"]["text"]) == ("completed", "The recipient's system has it.")
    assert row(world, parcel, "content_sealed") == (None,)


def test_health_and_centre_tell_the_front_door_of_a_concern(world: World, senders: Mapping[str, Asker]) -> None:
    for sender, organisation in (("worried-health", "ods:RXX99"), ("worried-centre", "dfe-urn:199901")):
        parcel = accepted(world, senders[sender], concern("ben", f"C-{sender}"))
        eventually(becomes(world, parcel, "acknowledged"))
        (taken,) = at(world, "front-door", parcel)
        document = etree.fromstring(taken["body"].encode())
        said = {path: document.findtext(path) for path in ("Reference", "Child/NHSNumber", "Child/Surname", "Child/BirthDate")}
        ben = BY_KEY["ben"]
        assert said == {
            "Reference": parcel,
            "Child/NHSNumber": ben.nhs_number,
            "Child/Surname": ben.family,
            "Child/BirthDate": ben.birth_date.isoformat(),
        }
        assert document.findtext("Referral/Concern/Text") == "Unexplained bruises"
        assert document.findtext("Referral/Note/Text") == "Would like to come on Tuesdays"
        assert document.findtext("Referral/Urgency") == "same-day"
        assert document.findtext("Referrer/OrganisationCode") == organisation
        assert document.findtext("Referrer/Phone") == "01632 960001"


def test_the_centre_tells_the_practice_that_a_family_comes_and_whom_to_ring(world: World, senders: Mapping[str, Asker]) -> None:
    parcel = accepted(world, senders["centre"], notice("amara", "T-1"))
    eventually(becomes(world, parcel, "acknowledged"))
    (taken,) = at(world, "inbox", parcel)
    task = json.loads(taken["body"])
    assert task["for"]["identifier"]["value"] == BY_KEY["amara"].nhs_number
    assert task["description"] == "This family comes to Willow Children's Centre"
    assert task["requester"] == {
        "identifier": {"system": "urn:shared-care-gateway:organisation", "value": "dfe-urn:199901"},
        "display": "Willow Children's Centre",
    }
    assert {item["type"]["text"]: item["valueString"] for item in task["input"]} == {
        "contact name": "Hazel Visitor",
        "contact phone": "01632 960001",
    }


# ------------------------------------------------------------------------------------------- what the recipient may not have


def test_a_consent_withdrawn_between_queueing_and_sending_stops_it(world: World, senders: Mapping[str, Asker]) -> None:
    asker, number = senders["centre"], BY_KEY["chloe"].nhs_number
    world.sandbox("500", "inbox")
    parcel = accepted(world, asker, notice("chloe", "T-2"))
    eventually(lambda: row(world, parcel, "attempts") >= (1,) and row(world, parcel, "lease") == ("",))
    world.withdraw("share-health", number)
    world.heal()
    now_due(world, parcel)
    eventually(becomes(world, parcel, "withheld"))
    assert at(world, "inbox", parcel) == []
    assert row(world, parcel, "content_sealed") == (None,)


def test_of_a_protected_child_the_locating_facts_stay_here_and_the_concern_arrives(
    world: World, senders: Mapping[str, Asker]
) -> None:
    parcel = accepted(world, senders["worried-health"], concern("kiran", "C-kiran"))
    eventually(becomes(world, parcel, "acknowledged"))
    (taken,) = at(world, "front-door", parcel)
    document = etree.fromstring(taken["body"].encode())
    assert document.findtext("Child/NHSNumber") == BY_KEY["kiran"].nhs_number
    assert (document.findtext("Referral/Request"), document.findtext("Referral/Urgency")) == ("CP", "same-day")
    assert "left out" in (document.findtext("Referral/Note/Text") or "")
    for gone in ("RXX99", "Meadowvale", "Hazel", "01632", "Tuesdays", "bruises"):
        assert gone not in taken["body"]
    assert document.findtext("Referrer/OrganisationCode") == "community-health"


def test_a_child_of_another_practice_is_not_told_of_and_the_sender_cannot_tell(
    world: World, senders: Mapping[str, Asker]
) -> None:
    answers = {
        "of another practice": notice("amara", "T-3", owner={"identifier": HILLTOP}),
        "restricted": notice("dara", "T-4"),
        "refused at the centre": notice("jonah", "T-5"),
        "not registered": notice("petra", "T-6"),
        "nobody": notice("amara", "T-7", contained=[patient(replace(BY_KEY["amara"], nhs_number=UNKNOWN[0])), RING]),
        "somebody else's birth date": notice("amara", "T-8", contained=[patient(BY_KEY["amara"], birthDate="2020-01-01"), RING]),
        "out of use": notice("eli-before", "T-9"),
    }
    told = {}
    for why, resource in answers.items():
        answer = send(world, senders["centre"], resource)
        assert answer.status_code == 202, (why, answer.text)
        parcel = answer.json()["id"]
        eventually(lambda parcel=parcel: row(world, parcel, "state")[0] in ("withheld", "held"))
        told[why] = (answer, state(world, senders["centre"], parcel), parcel)
    good = send(world, senders["centre"], notice("grace", "T-10"))
    told["delivered"] = (good, None, good.json()["id"])
    shapes = {why: shape(answer.json()) for why, (answer, _, _) in told.items()}
    assert len({json.dumps(one, sort_keys=True) for one in shapes.values() if one["owner"] != "Hilltop Surgery"}) == 1
    assert {answer.status_code for answer, _, _ in told.values()} == {202}
    assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer, _, _ in told.values()}) == 1
    assert all(later is None or shape(later) == shapes[why] for why, (_, later, _) in told.items())
    inbox = {one["key"] for one in held(world, "inbox")}
    assert not inbox & {parcel for why, (_, _, parcel) in told.items() if why != "delivered"}


def held(world: World, simulator: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"http://127.0.0.1:{world.place.sandbox_port}/control/received", timeout=5).json()[
        simulator
    ]
    return found


def shape(task: Mapping[str, Any]) -> dict[str, Any]:
    """A Task as its sender reads it, without what is of this one parcel alone."""
    return {
        "status": task["status"],
        "words": task["businessStatus"]["text"],
        "owner": task["owner"]["display"],
        "elements": sorted(task),
        "since the beginning": task["lastModified"] == task["authoredOn"],
    }


def test_a_caller_is_told_what_is_the_same_for_every_person(world: World, senders: Mapping[str, Asker]) -> None:
    unscoped = send(world, replace(VISITOR), referral("amara", "R-2"))
    wrong_role = send(world, world.register(replace(GP, purpose="MASH"), "riverside-worries", *SCOPES), concern("ben", "C-gp"))
    wrong_purpose = send(world, senders["worried-health"], referral("amara", "R-3"))
    nowhere = send(world, senders["health"], referral("amara", "R-4", performer=[{"identifier": HILLTOP}]))
    assert [answer.status_code for answer in (unscoped, wrong_role, wrong_purpose, nowhere)] == [403, 403, 403, 400]
    assert "No agreement in force" in wrong_role.text
    assert nowhere.json()["issue"][0]["expression"] == ["ServiceRequest.performer"]


def test_what_the_recipients_form_cannot_say_is_held_for_its_owner(world: World, senders: Mapping[str, Asker]) -> None:
    parcel = accepted(world, senders["health"], referral("amara", "R-10", status="draft"))
    eventually(becomes(world, parcel, "held"))
    assert at_the_centre(world, parcel) == []
    opened = world.ask_database("select kind, source, reason from work_item where kind = 'parcel-held' and source = 'centre'")
    assert ("parcel-held", "centre", "what was to be delivered does not fit the recipient's form") in {
        tuple(one) for one in opened
    }


# ------------------------------------------------------------------------------------------------------ once and only once


def test_a_submission_sent_twice_is_delivered_once(world: World, senders: Mapping[str, Asker]) -> None:
    asker, body = senders["health"], referral("grace", "R-5")
    first, second = (accepted(world, asker, body) for _ in range(2))
    assert first == second
    eventually(becomes(world, first, "acknowledged"))
    assert accepted(world, asker, body) == first
    assert len(at_the_centre(world, first)) == 1
    changed = send(world, asker, referral("grace", "R-5", priority="urgent"))
    assert changed.status_code == 409


def test_a_recipient_that_is_down_is_tried_again_until_it_takes_it(world: World, senders: Mapping[str, Asker]) -> None:
    world.sandbox("down", "front-door")
    parcel = accepted(world, senders["worried-health"], concern("noor", "C-noor"))
    eventually(lambda: row(world, parcel, "attempts", "reason") == (1, "the recipient's service is not able to take it now"))
    assert state(world, senders["worried-health"], parcel)["status"] == "requested"
    world.heal()
    now_due(world, parcel)
    eventually(becomes(world, parcel, "acknowledged"))
    (taken,) = at(world, "front-door", parcel)
    assert taken["attempts"] >= 2


def test_an_answer_lost_after_the_recipient_took_it_makes_no_second_one(world: World, senders: Mapping[str, Asker]) -> None:
    world.sandbox("reset", "front-door")
    parcel = accepted(world, senders["worried-health"], concern("oscar", "C-oscar"))
    eventually(becomes(world, parcel, "sent"))
    eventually(lambda: len(at(world, "front-door", parcel)) == 1)
    world.heal()
    eventually(lambda: row(world, parcel, "lease") == ("",))
    now_due(world, parcel)
    eventually(becomes(world, parcel, "acknowledged"))
    (taken,) = at(world, "front-door", parcel)
    assert taken["attempts"] >= 2
    assert row(world, parcel, "reference_sealed") != (None,)


def test_what_nobody_acknowledges_in_time_is_somebodys_task_and_its_sender_is_told(
    world: World, senders: Mapping[str, Asker]
) -> None:
    world.sandbox("500", "inbox")
    waits = accepted(world, senders["centre"], notice("hugo", "T-11"))
    withheld = accepted(world, senders["centre"], notice("jonah", "T-12"))
    eventually(becomes(world, withheld, "withheld"))
    world.change("update parcel set confirm_by = created_at where id in (?, ?)", waits, withheld)
    eventually(lambda: row(world, waits, "warned") == row(world, withheld, "warned") == (1,))
    opened = world.ask_database(
        "select kind, source, owner from work_item where kind = 'parcel-unconfirmed' and closed_at is null"
    )
    assert len(opened) >= 2
    assert {tuple(one) for one in opened} == {("parcel-unconfirmed", "gp", "Integration team")}
    said = [state(world, senders["centre"], parcel) for parcel in (waits, withheld)]
    assert {one["status"] for one in said} == {"on-hold"}
    assert shape(said[0]) == shape(said[1])


def test_an_operator_sees_parcels_retries_what_was_held_and_takes_one_back(world: World, senders: Mapping[str, Asker]) -> None:
    world.sandbox("500", "inbox")
    parcel = accepted(world, senders["centre"], notice("mia", "T-13"))
    eventually(lambda: row(world, parcel, "attempts") >= (1,) and row(world, parcel, "lease") == ("",))
    (line,) = [one for one in world.command("parcel", "list").stdout.splitlines() if parcel in one]
    became, attempts, route = line.split()[1:4]
    assert (became, route) == ("sent", "gp/notice")
    assert int(attempts) >= 1
    shown = json.loads(world.command("parcel", "show", parcel, "--json").stdout)
    assert (shown["sender"], shown["recipient"], shown["purpose"]) == ("dfe-urn:199901", "ods:A99901", "COC")
    assert holds_a_number(json.dumps(shown)) is None
    world.heal()
    assert world.command("parcel", "retry", parcel).stdout == "due now\n"
    eventually(becomes(world, parcel, "acknowledged"))
    assert world.command("parcel", "retry", parcel).returncode == 1
    world.sandbox("500", "inbox")
    other = accepted(world, senders["centre"], notice("mia", "T-14"))
    eventually(lambda: row(world, other, "attempts") >= (1,) and row(world, other, "lease") == ("",))
    said = world.command("parcel", "recall", other).stdout  # bytes left, and nobody knows whether they arrived
    assert said.startswith(f"{other} recalled; its recipient is told by parcel-")
    assert state(world, senders["centre"], other)["status"] == "cancelled"
    assert world.command("parcel", "retry", other).returncode == 1
    assert world.command("parcel", "recall", "parcel-nobody").returncode == 1


# ----------------------------------------------------------------------------------------------------------------- recall


def recalled_at_the_centre(world: World, parcel: str) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(world.place.folder / "sandbox" / "centretrack.db", timeout=10)
    try:
        return connection.execute("select recall_id, because, receipt from recall_in where referral_id = ?", (parcel,)).fetchall()
    finally:
        connection.close()


def receipt_of(world: World, parcel: str) -> str:
    (event,) = [event for event in world.events(kind="disclosure") if event["request_id"] == parcel]
    found: str = event["event"]
    return found


def test_a_consent_withdrawn_after_the_delivery_calls_it_back_and_only_the_recipient_is_told(
    world: World, senders: Mapping[str, Asker]
) -> None:
    parcel = accepted(world, senders["health"], referral("noor", "R-20"))
    eventually(becomes(world, parcel, "acknowledged"))
    world.withdraw("share-centres", BY_KEY["noor"].nhs_number)
    try:
        eventually(lambda: len(recalled_at_the_centre(world, parcel)) == 1, seconds=30)
        ((recall, because, receipt),) = recalled_at_the_centre(world, parcel)
        assert (because, receipt) == ("consent-withdrawn", receipt_of(world, parcel))
        eventually(becomes(world, recall, "acknowledged"))
        assert state(world, senders["health"], parcel)["status"] == "completed"
    finally:
        world.consent("share-centres", BY_KEY["noor"].nhs_number)


def test_an_operator_calls_back_all_that_left_about_somebody_and_each_recipient_is_told_in_its_own_form(
    world: World, senders: Mapping[str, Asker]
) -> None:
    told = accepted(world, senders["worried-health"], concern("oscar", "C-20"))
    notified = accepted(world, senders["centre"], notice("oscar", "T-20"))
    for parcel in (told, notified):
        eventually(becomes(world, parcel, "acknowledged"))
    done = world.command("parcel", "recall", "-", "--because", "wrong-person", stdin=BY_KEY["oscar"].nhs_number + "\n")
    assert done.returncode == 0
    assert holds_a_number(done.stdout) is None
    said = {line.split()[0]: line.rsplit(" ", 1)[1] for line in done.stdout.splitlines()}  # what other tests delivered too
    recalls = {parcel: said[parcel] for parcel in (told, notified)}
    for recall in recalls.values():
        eventually(becomes(world, recall, "acknowledged"))
    ((document,), (task,)) = (at(world, "front-door", recalls[told]), at(world, "inbox", recalls[notified]))
    read = etree.fromstring(document["body"].encode())
    assert {part.tag: part.text for part in read if part.tag in ("Recalls", "Because", "Receipt")} == {
        "Recalls": told,
        "Because": "wrong-person",
        "Receipt": receipt_of(world, told),
    }
    assert json.loads(task["body"])["focus"]["identifier"]["value"] == notified
    assert holds_a_number(document["body"] + task["body"]) is None
    events = [event for event in world.events(kind="recall") if event["request_id"] in (told, notified, *recalls.values())]
    assert len(events) == 6  # called back, leaving, settled: of each


def test_a_sender_takes_back_what_it_entered_in_error(world: World, senders: Mapping[str, Asker]) -> None:
    asker, parcel = senders["health"], accepted(world, senders["health"], referral("hugo", "R-21"))
    eventually(becomes(world, parcel, "acknowledged"))
    recall = accepted(world, asker, referral("hugo", "R-21", status="entered-in-error"))
    assert recall != parcel
    eventually(lambda: state(world, asker, recall)["status"] == "completed")
    assert [because for _, because, _ in recalled_at_the_centre(world, parcel)] == ["entered-in-error"]
    assert send(world, asker, referral("hugo", "R-never", status="entered-in-error")).status_code == 400


# ---------------------------------------------------------------------------------------------------- who may know, and log


def test_only_its_sender_may_ask_what_became_of_a_parcel(world: World, senders: Mapping[str, Asker]) -> None:
    parcel = accepted(world, senders["health"], referral("hugo", "R-6"))
    for asker in (senders["centre"], senders["worried-health"]):
        other = world.get(asker, f"/fhir/Task/{parcel}")
        nobody = world.get(asker, "/fhir/Task/parcel-aaaaaaaaaaaaaaaaaaaaaaaaaa")
        assert (other.status_code, other.json()) == (nobody.status_code, nobody.json())
        assert other.status_code == 404
    assert world.get(VISITOR, f"/fhir/Task/{parcel}").status_code in (403, 404)


def test_the_log_shows_who_sent_and_who_received(world: World, senders: Mapping[str, Asker]) -> None:
    parcel = accepted(world, senders["health"], referral("chloe", "R-7"))
    eventually(becomes(world, parcel, "acknowledged"))
    events = [event for event in world.events() if event["request_id"] == parcel or event["detail"].get("parcel") == parcel]
    by_kind = {event["kind"]: event for event in events}
    assert {"submission", "decision", "disclosure", "delivery"} <= set(by_kind)
    assert (by_kind["submission"]["organisation"], by_kind["submission"]["detail"]["recipient"]) == (
        "ods:RXX99",
        "dfe-urn:199901",
    )
    assert by_kind["submission"]["staff_name"] == VISITOR.name
    assert by_kind["disclosure"]["organisation"] == "dfe-urn:199901"
    assert {item["type"] for item in by_kind["disclosure"]["detail"]["items"]} == {
        "Patient",
        "ServiceRequest",
        "PractitionerRole",
    }
    assert (by_kind["delivery"]["outcome"], by_kind["delivery"]["detail"]["state"]) == ("success", "acknowledged")
    at_disclosure = by_kind["disclosure"]["detail"]["decision"]
    assert any(event["event"] == at_disclosure for event in events)


def test_no_number_is_in_an_id_an_answer_or_a_log_of_deliveries(world: World, senders: Mapping[str, Asker]) -> None:
    answer = send(world, senders["health"], referral("mia", "R-8"))
    assert holds_a_number(answer.text) is None
    assert holds_a_number(answer.headers["location"]) is None
    assert holds_a_number(world.log_text()) is None


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"contained": []}, "ServiceRequest.contained"),
        ({"subject": {"reference": "Patient/1"}}, "ServiceRequest.subject"),
        ({"identifier": []}, "ServiceRequest.identifier"),
        ({"performer": [{"display": "Willow"}]}, "ServiceRequest.performer.identifier"),
        ({"unknown": 1}, "ServiceRequest"),
        ({"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}, "ServiceRequest"),
        ({"note": [{"text": "two\u202eowt"}]}, "ServiceRequest.note[0].text"),
    ],
)
def test_a_body_that_is_not_what_it_should_be_is_refused_and_not_echoed(
    world: World, senders: Mapping[str, Asker], change: dict[str, Any], where: str
) -> None:
    answer = send(world, senders["health"], referral("mia", "R-9", **change))
    assert (answer.status_code, answer.json()["issue"][0].get("expression")) == (400, [where])
    assert "R-9" not in answer.text

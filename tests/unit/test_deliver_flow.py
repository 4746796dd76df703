"""Submitting and delivering: what the sender is told, what the recipient is given, and what happens when things move or break."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.bundle.task import FREE_TEXT
from gateway.errors import (
    AlreadySent,
    InvalidParameter,
    NotAuthenticated,
    NotFound,
    PolicyNotActive,
    Refused,
    SourceContractBroken,
    SourceRefused,
    SourceTimedOut,
    TracerDown,
)
from gateway.flows.deliver import BACKOFF_S, LEASE_S, LEFT_OUT, deliver, due, remind
from gateway.flows.parcel_state import parcel_state
from gateway.flows.submit import submit
from gateway.model import LeasedParcel, Parcel, ParcelState, Purpose
from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion, StoredEvent, Suppression
from tests import delivery_world as place
from tests.delivery_world import CENTRE, CHILD, NOW, PRACTICE, World

pytestmark = pytest.mark.anyio

NOBODY = NhsNumber("9990020302")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await place.opened(tmp_path)
    await place.relates(made, "caseload", "ods:RXX99")
    await place.relates(made, "centre-registration", "dfe-urn:199901")
    await place.consents(made, "share-centres", "share-health")
    # The authority's extract says of nobody that they are protected, and said so a moment ago.
    await made.store.protections.assert_locks("authority", {}, NOW, snapshot=True)
    yield made
    await made.store.close()


async def sent(world: World, **given: Any) -> tuple[int, dict[str, Any]]:
    asked = await place.request(world, "health", Purpose.COC, "ServiceRequest", given.get("number", CHILD))
    answer = await submit(world.parts, asked, place.submission("ServiceRequest", CENTRE, **given))
    return answer.status, json.loads(answer.body)


async def told(world: World, **given: Any) -> tuple[int, dict[str, Any]]:
    asked = await place.request(world, "centre", Purpose.COC, "Task", given.get("number", CHILD))
    answer = await submit(world.parts, asked, place.submission("Task", PRACTICE, **given))
    return answer.status, json.loads(answer.body)


async def tried(world: World) -> ParcelState | None:
    (leased,) = await due(world.parts)
    return await deliver(world.parts, leased)


async def parcel(world: World, name: str) -> Parcel:
    found = await world.store.parcels.get(name)
    assert found is not None
    return found


async def events(world: World, kind: str) -> list[StoredEvent]:
    found = await world.store.log.ask(LogQuestion(kind=kind, limit=100))
    return list(found)[::-1]


async def owed(world: World) -> list[tuple[str, str]]:
    return [(item.kind, item.reason) for item in await world.store.work.list()]


# --------------------------------------------------------------------------------------------------------- as it should be


async def test_what_is_submitted_is_delivered_in_the_recipients_form_and_forgotten(world: World) -> None:
    status, task = await sent(world)
    assert (status, task["status"]) == (202, "requested")
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    data = world.taker.taken[task["id"]]
    assert (data["referral_id"], data["nhs_number"], data["service"], data["from_org"]) == (
        task["id"],
        CHILD.value,
        "PLAY",
        "ods:RXX99",
    )
    held = await parcel(world, task["id"])
    assert (held.reference, held.attempts) == ("theirs-1", 1)
    assert not await world.store.parcels.again(task["id"], NOW)


async def test_it_is_recorded_who_sent_and_who_received_before_a_byte_leaves(world: World) -> None:
    seen: list[int] = []

    async def look(_: Any) -> None:
        seen.append(len(await events(world, "disclosure")))

    world.taker.before = look
    _, task = await sent(world)
    await tried(world)
    assert seen == [1]
    (submission,) = await events(world, "submission")
    (disclosure,) = await events(world, "disclosure")
    (delivery,) = await events(world, "delivery")
    assert submission.body["organisation"] == "ods:RXX99"
    assert (disclosure.body["organisation"], disclosure.body["request_id"]) == ("dfe-urn:199901", task["id"])
    assert {item["type"] for item in disclosure.body["detail"]["items"]} == {"Patient", "ServiceRequest"}
    assert (delivery.body["outcome"], delivery.body["detail"]["recipient"]) == ("success", "dfe-urn:199901")
    assert CHILD.value not in json.dumps([event.body for event in (submission, disclosure, delivery)])


async def test_a_sender_asks_what_became_of_it(world: World) -> None:
    _, task = await sent(world)
    asked = await place.request(world, "health", Purpose.COC, "ServiceRequest")
    before = await parcel_state(world.parts, asked.caller, task["id"], request_id="r", correlation_id="c")
    world.later(minutes=1)
    await tried(world)
    after = await parcel_state(world.parts, asked.caller, task["id"], request_id="r", correlation_id="c")
    assert [json.loads(one.body)["status"] for one in (before, after)] == ["requested", "completed"]
    assert json.loads(after.body)["lastModified"] == (NOW + timedelta(minutes=1)).isoformat()
    other = replace(asked.caller, system="another-system")
    with pytest.raises(NotAuthenticated):
        await parcel_state(world.parts, other, task["id"], request_id="r", correlation_id="c")
    centre = (await place.request(world, "centre", Purpose.COC, "Task")).caller
    for name in (task["id"], "parcel-" + "a" * 26):
        with pytest.raises(NotFound):
            await parcel_state(world.parts, centre, name, request_id="r", correlation_id="c")
    unscoped = replace(asked.caller, scopes=frozenset({"system/Patient.rs"}))
    with pytest.raises(Refused):
        await parcel_state(world.parts, unscoped, task["id"], request_id="r", correlation_id="c")


# ------------------------------------------------------------------------------------------- what depends on the person


@pytest.mark.parametrize(
    ("why", "given", "state"),
    [
        ("nobody", {"number": NOBODY}, ParcelState.HELD),
        ("another birth date", {"born": date(2020, 1, 1)}, ParcelState.HELD),
    ],
)
async def test_a_doubtful_person_looks_accepted_and_is_somebodys_task(
    world: World, why: str, given: dict[str, Any], state: ParcelState
) -> None:
    good = (await sent(world, name="good"))[1]
    status, task = await sent(world, name=why, **given)
    assert status == 202
    unlike = {"id"}
    assert {name: value for name, value in task.items() if name not in unlike} == {
        name: value for name, value in good.items() if name not in unlike
    }
    assert (await parcel(world, task["id"])).state is state
    assert [kind for kind, _ in await owed(world)] == ["parcel-held"]


async def test_a_sender_without_a_relationship_sees_an_accepted_parcel_that_nobody_confirms(world: World) -> None:
    await world.store.relationships.end(
        "caseload", CHILD, organisation="ods:RXX99", staff=None, case_reference=None, at=NOW - timedelta(minutes=1)
    )
    status, task = await sent(world)
    assert (status, task["status"]) == (202, "requested")
    assert (await parcel(world, task["id"])).state is ParcelState.WITHHELD
    assert await due(world.parts) == []
    world.later(hours=24)
    asked = await place.request(world, "health", Purpose.COC, "ServiceRequest")
    later = await parcel_state(world.parts, asked.caller, task["id"], request_id="r", correlation_id="c")
    assert json.loads(later.body)["status"] == "on-hold"


async def test_a_number_that_is_out_of_use_is_never_kept_for_another_try(world: World) -> None:
    world.tracer.people[CHILD.value] = "invalidated"
    _, task = await sent(world)
    assert (await parcel(world, task["id"])).state is ParcelState.WITHHELD
    assert not await world.store.parcels.again(task["id"], NOW)


async def test_consent_withdrawn_after_it_was_queued_stops_it(world: World) -> None:
    _, task = await sent(world)
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    assert await tried(world) is ParcelState.WITHHELD
    assert world.taker.attempts == 0
    assert (await parcel(world, task["id"])).reason == "centre-consent-missing-or-refused"
    assert await owed(world) == []


async def test_consent_withdrawn_while_it_is_being_decided_stops_it(world: World) -> None:
    await sent(world)
    append, moved = world.parts.log.append, []

    async def withdraw_first(entries: Any, *rest: Any, **given: Any) -> Any:
        if entries[0].kind == "disclosure" and not moved:
            moved.append(await world.store.consents.withdraw(CHILD, "share-centres", NOW))
        return await append(entries, *rest, **given)

    world.parts.log = type("Log", (), {"append": staticmethod(withdraw_first), "ask": world.store.log.ask})()
    assert await tried(world) is ParcelState.WITHHELD
    assert (moved, world.taker.attempts) == ([1], 0)


@pytest.mark.parametrize(
    ("traced", "reason"),
    [
        ({"deceased": True}, "centre-stops-at-a-death"),
        ({"birth_date": date(2020, 1, 1)}, "the trace has another birth date"),
    ],
)
async def test_what_the_tracer_says_since_counts(world: World, traced: dict[str, Any], reason: str) -> None:
    _, task = await sent(world)
    world.tracer.people[CHILD.value] = place.child(**traced)
    assert await tried(world) in (ParcelState.WITHHELD, ParcelState.HELD)
    assert (await parcel(world, task["id"])).reason == reason
    assert world.taker.attempts == 0


async def test_a_child_who_changed_practice_since_is_not_told_of_at_the_old_one(world: World) -> None:
    _, task = await told(world)
    world.tracer.people[CHILD.value] = place.child(practice="ods:A99902")
    assert await tried(world) is ParcelState.WITHHELD
    assert (await parcel(world, task["id"])).reason == "no-relationship"


async def test_a_loss_stops_what_invites_contact_and_not_a_concern(world: World) -> None:
    _, task = await sent(world)
    await world.store.suppressions.put([Suppression(CHILD, "child-loss", "child-health", NOW)])
    assert await tried(world) is ParcelState.WITHHELD
    assert (await parcel(world, task["id"])).reason == "suppressed"
    asked = await place.request(world, "health", Purpose.MASH, "ServiceRequest")
    await submit(world.parts, asked, place.submission("ServiceRequest", place.AUTHORITY, "C-1", code=place.CONCERN))
    assert await tried(world) is ParcelState.ACKNOWLEDGED


async def test_a_loss_told_of_the_newer_number_stops_what_was_sent_under_the_older(world: World) -> None:
    _, task = await sent(world)
    newer = NhsNumber("9990003130")
    world.tracer.people[CHILD.value] = place.child(number=newer)
    await place.consents(world, "share-centres")
    await world.store.suppressions.put([Suppression(newer, "child-loss", "child-health", NOW)])
    assert await tried(world) is ParcelState.WITHHELD
    assert (await parcel(world, task["id"])).reason == "suppressed"


async def test_an_agreement_that_ended_since_holds_it_for_its_owner(world: World) -> None:
    await sent(world)
    route = world.parts.registry.routes["centre/referral"]
    gone = replace(route, settings=replace(route.settings, agreements=()))
    world.parts.registry.routes["centre/referral"] = gone
    assert await tried(world) is ParcelState.HELD
    assert await owed(world) == [("parcel-held", "no agreement lets its recipient have it any more")]
    world.parts.registry.routes["centre/referral"] = route
    assert world.taker.attempts == 0


@pytest.mark.parametrize("lock", [True, False])
async def test_of_a_protected_child_nothing_that_locates_is_sent(world: World, lock: bool) -> None:
    if lock:
        await world.store.protections.add_locks("authority", {CHILD: frozenset({"refuge"})}, NOW)
    else:
        world.tracer.people[CHILD.value] = place.child(restricted=True)
    asked = await place.request(world, "health", Purpose.MASH, "ServiceRequest")
    ring = {"resourceType": "PractitionerRole", "telecom": [{"system": "phone", "value": "01632 960001"}]}
    told = {
        "code": {"coding": [{**place.CONCERN["coding"][0], "display": "Seen at 1 Haven Lane"}], "text": "Seen at 1 Haven Lane"},
        "category": [{"text": "Seen at 1 Haven Lane"}],
        "reasonCode": [{"text": "Seen at 1 Haven Lane"}, {"coding": [{"code": "x", "display": "Seen at 1 Haven Lane"}]}],
        "note": [{"text": "Seen at 1 Haven Lane"}],
        "priority": "stat",
    }
    body = place.submission("ServiceRequest", place.AUTHORITY, "C-1", contained=[ring], **told)
    await submit(world.parts, asked, body)
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    (document,) = world.taker.taken.values()
    assert (document["Referral"]["Request"], document["Referral"]["Urgency"]) == ("CP", "same-day")  # what is coded goes
    assert document["Referrer"] == {"OrganisationCode": "community-health"}
    assert document["Referral"]["Note"] == [{"Text": LEFT_OUT}]
    assert "Concern" not in document["Referral"]
    assert "Haven" not in json.dumps(document)


async def test_of_a_protected_child_a_practice_is_told_what_is_coded_and_that_words_were_left_out(world: World) -> None:
    await world.store.protections.add_locks("authority", {CHILD: frozenset({"address-lock"})}, NOW)
    known = {"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}
    odd = {"system": "urn:the-refuge", "version": "At the refuge", "code": "At the refuge, NR1", "userSelected": True}
    named = {**known, "version": "the refuge", "display": "At the refuge", "userSelected": True, "id": "refuge"}
    unknown = [{**known, "code": "refuge"}, {"display": "At the refuge"}, {**odd, "system": "http://snomed.info/sct"}]
    code = {"id": "refuge", "coding": [odd, named, *unknown], "text": "At the refuge"}
    await told(world, code=code, description="At the refuge")
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    (task,) = world.taker.taken.values()
    assert (task["code"], task["note"]) == ({"coding": [known]}, [{"text": LEFT_OUT}])
    assert "refuge" not in json.dumps(task)


async def test_a_code_that_nobody_knows_is_left_out_for_a_protected_child_alone_and_what_is_left_still_goes(world: World) -> None:
    odd = {"coding": [{"system": "urn:refuge-lane", "code": "Refuge Lane 12"}]}
    await told(world, name="open", code=odd)
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    await world.store.protections.add_locks("authority", {CHILD: frozenset({"refuge"})}, NOW)
    await told(world, name="protected", code=odd)
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    first, second = world.taker.taken.values()
    assert first["code"] == odd
    assert "code" not in second
    assert "refuge" not in json.dumps(second).lower()


def test_the_codes_that_travel_for_everybody_are_those_of_the_recipients_own_lists() -> None:
    maps, lane = place.maps()
    for name in ("centre-service", "front-door-request"):
        rows = maps.codes[name].rows.values()
        assert {(row.system, row.code) for row in rows} == {(row.system, code) for row in rows for code in lane.codes[row.system]}


async def test_every_sender_is_told_alike_that_free_text_may_be_left_out(world: World) -> None:
    open_, _ = await sent(world, name="open"), await tried(world)
    await world.store.protections.add_locks("authority", {CHILD: frozenset({"refuge"})}, NOW)
    protected = await sent(world, name="protected")
    assert open_[1]["note"] == protected[1]["note"] == [{"text": FREE_TEXT}]


# ------------------------------------------------------------------------------------------------- what is the same for all


async def test_what_no_agreement_covers_is_refused_with_its_reason(world: World) -> None:
    asked = await place.request(world, "centre", Purpose.COC, "ServiceRequest")
    answer = await submit(world.parts, asked, place.submission("ServiceRequest", CENTRE))
    assert (answer.status, "No agreement in force" in answer.body.decode()) == (403, True)
    unscoped = await place.request(world, "health", Purpose.COC, "Task")
    narrowed = replace(unscoped, caller=replace(unscoped.caller, scopes=frozenset({"system/Task.r"})))
    assert (await submit(world.parts, narrowed, place.submission("Task", PRACTICE))).status == 403
    with pytest.raises(InvalidParameter):
        await submit(world.parts, asked, place.submission("ServiceRequest", "urn:x|nobody"))
    assert await world.store.parcels.list() == []


async def test_another_content_under_the_same_identifier_is_refused(world: World) -> None:
    first = (await sent(world))[1]
    assert (await sent(world))[1]["id"] == first["id"]
    with pytest.raises(AlreadySent):
        await sent(world, priority="urgent")
    assert len(await world.store.parcels.list()) == 1


async def test_without_the_active_policy_nothing_is_accepted_and_nothing_leaves(world: World) -> None:
    await sent(world)
    world.parts.holds_policy = lambda _: False
    with pytest.raises(PolicyNotActive):
        await sent(world, name="R-2")
    assert await tried(world) is ParcelState.QUEUED
    assert world.taker.attempts == 0


async def test_with_the_tracer_down_nothing_is_accepted_whoever_it_is_about(world: World) -> None:
    await sent(world)
    world.tracer.error = TracerDown(reason="down")
    for number in (CHILD, NOBODY):
        with pytest.raises(TracerDown):
            await sent(world, name="R-2", number=number)
    assert await tried(world) is ParcelState.QUEUED


# --------------------------------------------------------------------------------------------------------- when things break


async def test_a_recipient_that_does_not_answer_is_tried_again_later_and_later(world: World) -> None:
    _, task = await sent(world)
    world.taker.error = SourceTimedOut("slow")
    for wait_s in (*BACKOFF_S, BACKOFF_S[-1]):
        assert await tried(world) is ParcelState.SENT
        world.later(seconds=wait_s - 1)
        assert await due(world.parts) == []
        world.later(seconds=1)
    world.taker.error = None
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    assert (await parcel(world, task["id"])).attempts == len(BACKOFF_S) + 2


async def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(world: World) -> None:
    await sent(world)
    world.taker.lost_answer = SourceTimedOut("reset")
    assert await tried(world) is ParcelState.SENT
    world.taker.lost_answer = None
    world.later(seconds=BACKOFF_S[0])
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    assert (world.taker.attempts, len(world.taker.taken)) == (2, 1)


async def test_a_recipient_that_refuses_the_content_is_not_asked_again_until_somebody_says_so(world: World) -> None:
    _, task = await sent(world)
    world.taker.error = SourceContractBroken("not taken")
    assert await tried(world) is ParcelState.REFUSED
    assert await owed(world) == [("parcel-refused", "not taken")]
    world.later(hours=1)
    assert await due(world.parts) == []
    world.taker.error = None
    assert await world.store.parcels.again(task["id"], world.clock[0])
    assert await tried(world) is ParcelState.ACKNOWLEDGED


async def test_credentials_that_are_refused_are_tried_again(world: World) -> None:
    await sent(world)
    world.taker.error = SourceRefused("no")
    assert await tried(world) is ParcelState.SENT


async def test_a_worker_that_lost_its_lease_sends_nothing(world: World) -> None:
    await sent(world)
    (slow,) = await due(world.parts)
    world.later(seconds=LEASE_S)
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    assert await deliver(world.parts, slow) is None
    assert world.taker.attempts == 1


async def test_a_parcel_taken_back_while_it_is_being_decided_is_not_sent(world: World) -> None:
    _, task = await sent(world)
    (leased,) = await due(world.parts)
    await world.store.parcels.recall(task["id"], at=NOW)
    assert await deliver(world.parts, leased) is None
    assert world.taker.attempts == 0
    assert (await parcel(world, task["id"])).state is ParcelState.RECALLED


async def test_a_mandate_that_is_over_or_a_route_that_is_gone_sends_nothing(world: World) -> None:
    _, task = await sent(world)
    (leased,) = await due(world.parts)
    await world.store.mandates.revoke(leased.parcel.mandate, NOW)
    assert await deliver(world.parts, leased) is ParcelState.LAPSED
    _, other = await sent(world, name="R-2")
    (held,) = await due(world.parts)
    gone = LeasedParcel(replace(held.parcel, route="centre/gone"), held.lease, held.content)
    assert await deliver(world.parts, gone) is ParcelState.HELD
    assert world.taker.attempts == 0
    assert (await parcel(world, task["id"])).reason == "its mandate is over"
    assert (await parcel(world, other["id"])).reason == "its way of delivery is not set any more"


async def test_what_is_not_acknowledged_in_time_is_told_once_to_its_owner(world: World) -> None:
    await sent(world)
    world.taker.error = SourceTimedOut("slow")
    await tried(world)
    assert await remind(world.parts) == 0
    world.later(hours=24)
    assert (await remind(world.parts), await remind(world.parts)) == (1, 0)
    assert await owed(world) == [("parcel-unconfirmed", "sent")]


async def test_a_content_that_cannot_be_said_in_the_recipients_form_is_held(world: World) -> None:
    await sent(world, status="draft")
    assert await tried(world) is ParcelState.HELD
    assert [kind for kind, _ in await owed(world)] == ["parcel-held"]
    assert world.taker.attempts == 0

"""Recall: whoever was given something that should not be with them is told so, once, and what nobody confirms is a task."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from gateway.bundle.task import TAKEN_OUT
from gateway.errors import InvalidParameter, NotAuthenticated, Refused, SourceContractBroken, SourceTimedOut, TracerDown
from gateway.flows import recall
from gateway.flows.deliver import deliver, due, remind
from gateway.flows.parcel_state import parcel_state
from gateway.flows.submit import submit
from gateway.model import Because, Parcel, ParcelState, Purpose
from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion, StoredEvent
from gateway.store.database import Call, Statement
from gateway.store.parcel_tables import PARCEL
from gateway.worker import Worker
from tests import delivery_world as place
from tests.delivery_world import CENTRE, CHILD, NOW, PRACTICE, World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await place.opened(tmp_path)
    await place.relates(made, "caseload", "ods:RXX99")
    await place.relates(made, "centre-registration", "dfe-urn:199901")
    await place.consents(made, "share-centres", "share-health")
    await made.store.protections.assert_locks("authority", {}, NOW, snapshot=True)
    yield made
    await made.store.close()


async def submitted(world: World, **given: Any) -> dict[str, Any]:
    asked = await place.request(world, "health", Purpose.COC, "ServiceRequest")
    answer = await submit(world.parts, asked, place.submission("ServiceRequest", CENTRE, **given))
    assert answer.status == 202
    told: dict[str, Any] = json.loads(answer.body)
    return told


async def delivered(world: World, **given: Any) -> str:
    task = await submitted(world, **given)
    (leased,) = await due(world.parts)
    assert await deliver(world.parts, leased) is ParcelState.ACKNOWLEDGED
    name: str = task["id"]
    return name


async def called_back(world: World, name: str, because: Because = Because.WRONG_PERSON) -> Parcel | None:
    parts, held = world.parts, await parcel(world, name)
    return await recall.call_back(parts.parcels, parts.recalls, parts.log, held, because, at=world.clock[0], by="operator")


async def tried(world: World) -> ParcelState | None:
    (leased,) = await recall.due(world.parts)
    return await recall.recall(world.parts, leased)


async def parcel(world: World, name: str) -> Parcel:
    found = await world.store.parcels.get(name)
    assert found is not None
    return found


async def state(world: World, name: str) -> dict[str, Any]:
    asked = await place.request(world, "health", Purpose.COC, "ServiceRequest")
    answer = await parcel_state(world.parts, asked.caller, name, request_id="r", correlation_id="c")
    told: dict[str, Any] = json.loads(answer.body)
    return told


async def events(world: World, kind: str) -> list[StoredEvent]:
    return list(await world.store.log.ask(LogQuestion(kind=kind, limit=100)))[::-1]


async def owed(world: World) -> list[tuple[str, str]]:
    return [(item.kind, item.reason) for item in await world.store.work.list()]


# ------------------------------------------------------------------------------------------------------ what is called back


async def test_what_was_delivered_is_called_back_by_its_key_its_receipt_and_a_reason_and_names_nobody(world: World) -> None:
    name = await delivered(world)
    (disclosure,) = await events(world, "disclosure")
    made = await called_back(world, name)
    assert made is not None
    assert (made.kind, made.recalls, made.state) == ("recall", name, ParcelState.QUEUED)
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    assert world.taker.taken[made.id] == {
        "recall_id": made.id,
        "referral_id": name,
        "status": "requested",
        "because": "wrong-person",
        "receipt": disclosure.event,
        "recalled_at": NOW.isoformat(),
    }
    assert (await parcel(world, name)).state is ParcelState.ACKNOWLEDGED


async def test_it_is_recorded_for_the_person_it_is_about_before_a_byte_leaves(world: World) -> None:
    name, seen = await delivered(world), []

    async def look(_: Any) -> None:
        seen.append(len(await events(world, "recall")))

    world.taker.before = look
    await called_back(world, name)
    await tried(world)
    assert seen == [2]  # that it was called back, and that it leaves
    about = await world.store.log.ask(LogQuestion(person=CHILD, kind="recall"))
    assert len(about) == 3
    assert about[-1].body["staff_name"] == "operator"
    assert CHILD.value not in json.dumps([event.body for event in about])


async def test_it_is_called_back_once_however_often_somebody_asks(world: World) -> None:
    name = await delivered(world)
    first, second = [await called_back(world, name) for _ in range(2)]
    assert first == second
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    assert await recall.due(world.parts) == []
    assert first is not None
    with pytest.raises(InvalidParameter):
        await called_back(world, first.id)


async def test_what_never_left_is_taken_back_and_nobody_is_told(world: World) -> None:
    task = await submitted(world)
    assert await called_back(world, task["id"]) is None
    assert await due(world.parts) == await recall.due(world.parts) == []
    assert (await parcel(world, task["id"])).state is ParcelState.RECALLED


async def test_where_nobody_knows_whether_it_arrived_the_recipient_is_told_too(world: World) -> None:
    task = await submitted(world)
    world.taker.lost_answer = SourceTimedOut("reset")
    (leased,) = await due(world.parts)
    assert await deliver(world.parts, leased) is ParcelState.SENT
    world.taker.lost_answer = None
    made = await called_back(world, task["id"])
    assert made is not None
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    world.later(hours=1)
    assert await due(world.parts) == []  # and is not sent the thing itself again


async def test_a_practice_is_told_by_a_task_that_names_another_and_nobody(world: World) -> None:
    asked = await place.request(world, "centre", Purpose.COC, "Task")
    task = json.loads((await submit(world.parts, asked, place.submission("Task", PRACTICE))).body)
    (leased,) = await due(world.parts)
    await deliver(world.parts, leased)
    made = await called_back(world, task["id"], Because.ENTERED_IN_ERROR)
    assert made is not None
    await tried(world)
    told = world.taker.taken[made.id]
    assert (told["focus"]["identifier"]["value"], told["reasonCode"]["coding"][0]["code"]) == (task["id"], "entered-in-error")
    assert "for" not in told
    assert CHILD.value not in json.dumps(told)


async def test_everything_that_left_about_a_person_is_found_by_each_of_their_numbers(world: World) -> None:
    names = [await delivered(world, name="R-1"), await delivered(world, name="R-2")]
    await submitted(world, name="R-3")
    assert {one.id for one in await world.store.recalls.of(CHILD)} == set(names)


# --------------------------------------------------------------------------------------------------- a consent that is gone


async def test_a_consent_withdrawn_after_the_delivery_calls_it_back_by_itself(world: World) -> None:
    name = await delivered(world)
    assert (await recall.recheck(world.parts)).called == 0
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    assert (await recall.recheck(world.parts)).called == 1
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    (told,) = [data for key, data in world.taker.taken.items() if key != name]
    assert (told["referral_id"], told["because"]) == (name, "consent-withdrawn")
    assert (await recall.recheck(world.parts)).called == 0
    assert (await state(world, name))["status"] == "completed"  # that a parent withdrew is not its sender's to know


async def test_a_consent_withdrawn_while_the_bytes_are_on_their_way_is_not_missed(world: World) -> None:
    await submitted(world)

    async def withdraw(_: Any) -> None:
        await world.store.consents.withdraw(CHILD, "share-centres", NOW)

    world.taker.before = withdraw
    (leased,) = await due(world.parts)
    assert await deliver(world.parts, leased) is ParcelState.ACKNOWLEDGED
    assert (await recall.recheck(world.parts)).called == 1


async def test_what_no_consent_was_needed_for_is_not_called_back(world: World) -> None:
    asked = await place.request(world, "health", Purpose.MASH, "ServiceRequest")
    await submit(world.parts, asked, place.submission("ServiceRequest", place.AUTHORITY, "C-1", code=place.CONCERN))
    (leased,) = await due(world.parts)
    assert await deliver(world.parts, leased) is ParcelState.ACKNOWLEDGED
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    await place.consents(world, "share-authority", decision="deny")
    assert (await recall.recheck(world.parts)).called == 0


async def test_a_relationship_that_ends_or_a_death_makes_nothing_wrong_that_was_right(world: World) -> None:
    await delivered(world)
    world.tracer.people[CHILD.value] = place.child(deceased=True)
    await world.store.relationships.end(
        "caseload", CHILD, organisation="ods:RXX99", staff=None, case_reference=None, at=NOW - timedelta(minutes=1)
    )
    world.later(hours=1)
    assert (await recall.recheck(world.parts)).called == 0


async def test_with_the_tracer_down_it_is_looked_at_again_later(world: World) -> None:
    await delivered(world)
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    world.later(hours=1)
    world.tracer.error = TracerDown(reason="down")
    assert await recall.recheck(world.parts) == recall.Rechecked(failed=1, reason="down")
    with capture_logs() as logged:
        await Worker(world.parts)._recheck()
    assert logged == [{"event": "recheck.failed", "log_level": "error", "count": 1, "reason": "down"}]
    world.tracer.error = None
    assert await recall.recheck(world.parts) == recall.Rechecked(called=1)


async def test_one_whose_trace_fails_holds_up_nobody_after_them_however_many_they_are(world: World) -> None:
    names = sorted([await delivered(world, name=f"R-{at}") for at in range(recall.MOST_FAILED + 2)])
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    trace, failing = world.parts.identity.trace, {*names[:-1]}

    async def fails(number: Any, *, correlation_id: str, **given: Any) -> Any:
        if correlation_id in failing:
            raise TracerDown(reason="down")
        return await trace(number, correlation_id=correlation_id, **given)

    world.parts.identity.trace = fails
    first = await recall.recheck(world.parts)
    assert (first.called, first.failed, first.after) == (0, recall.MOST_FAILED, names[recall.MOST_FAILED - 1])
    assert await recall.recheck(world.parts, first.after) == recall.Rechecked(called=1, failed=1, reason="down")
    failing.clear()
    assert await recall.recheck(world.parts) == recall.Rechecked(called=len(names) - 1)


# ------------------------------------------------------------------------------------------------------ its sender's own word


async def test_a_sender_that_submits_it_again_as_entered_in_error_calls_it_back_and_sees_what_becomes_of_that(
    world: World,
) -> None:
    name = await delivered(world)
    told = await submitted(world, status="entered-in-error")
    assert (told["status"], told["code"]["text"]) == ("requested", "Recall of a delivery")
    assert told["id"] != name
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    assert (await state(world, told["id"]))["status"] == "completed"


async def test_taking_it_back_shows_nothing_of_a_consent_that_was_withdrawn_and_its_recipient_hears_the_new_reason(
    world: World,
) -> None:
    open_, gone = await delivered(world, name="open"), await delivered(world, name="gone")
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    assert (await recall.recheck(world.parts)).called == 2
    for leased in await recall.due(world.parts):
        assert await recall.recall(world.parts, leased) is ParcelState.ACKNOWLEDGED
    assert (await state(world, gone))["status"] == "completed"
    told = await submitted(world, name="gone", status="entered-in-error")
    assert (told["status"], told["code"]["text"]) == ("requested", "Recall of a delivery")
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    notices = [data for data in world.taker.taken.values() if data.get("because") and data["referral_id"] == gone]
    assert [one["because"] for one in notices] == ["consent-withdrawn", "entered-in-error"]
    assert (await state(world, open_))["status"] == "completed"


async def test_what_its_sender_took_back_is_shown_as_taken_back_when_asked_for_or_sent_again(world: World) -> None:
    name = await delivered(world)
    await submitted(world, status="entered-in-error")
    for told in (await state(world, name), await submitted(world)):
        assert (told["id"], told["status"], told["businessStatus"]["text"]) == (name, "cancelled", TAKEN_OUT)


async def test_what_names_another_child_or_type_takes_nothing_back_and_is_refused_like_what_was_never_sent(world: World) -> None:
    name, refused = await delivered(world), []
    asked = await place.request(world, "health", Purpose.COC, "ServiceRequest")
    other = place.submission("ServiceRequest", CENTRE, status="entered-in-error", number=NhsNumber("9990000204"))
    typed = replace(place.submission("ServiceRequest", CENTRE, status="entered-in-error"), type="Task")
    never = place.submission("ServiceRequest", CENTRE, "never", status="entered-in-error")
    for odd in (other, typed, never):
        with pytest.raises(InvalidParameter) as error:
            await submit(world.parts, asked, odd)
        refused.append(error.value.reason)
    assert set(refused) == {"nothing-to-take-back"}
    assert await recall.due(world.parts) == []
    assert (await state(world, name))["status"] == "completed"


async def test_before_it_is_confirmed_taking_it_back_looks_alike_whatever_became_of_it(world: World) -> None:
    waits = await submitted(world, name="waits")
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    withheld = await submitted(world, name="withheld")
    (leased, _) = sorted(
        await world.store.parcels.claim(now=NOW, lease_s=90, limit=8), key=lambda one: one.parcel.id != withheld["id"]
    )
    assert await deliver(world.parts, leased) is ParcelState.WITHHELD
    unknown = await submitted(world, name="unknown", born=NOW.date())
    told = [await submitted(world, name=name, status="entered-in-error") for name in ("waits", "withheld", "unknown")]
    assert [one["id"] for one in told] == [waits["id"], withheld["id"], unknown["id"]]
    assert len({json.dumps({**one, "id": ""}, sort_keys=True) for one in told}) == 1
    assert told[0]["status"] == "cancelled"


async def test_only_what_this_client_sent_can_be_taken_back_and_only_with_the_scope_for_it(world: World) -> None:
    with pytest.raises(InvalidParameter) as refused:
        await submitted(world, name="never-sent", status="entered-in-error")
    assert refused.value.expression == "ServiceRequest.identifier"
    asked = await place.request(world, "health", Purpose.COC, "ServiceRequest")
    again = place.submission("ServiceRequest", CENTRE, status="entered-in-error")
    with pytest.raises(Refused):
        await submit(world.parts, replace(asked, caller=replace(asked.caller, scopes=frozenset({"system/Task.c"}))), again)
    with pytest.raises(NotAuthenticated):
        await submit(world.parts, replace(asked, caller=replace(asked.caller, client_version=99)), again)


# --------------------------------------------------------------------------------------------------------- when things break


async def test_a_recall_that_its_recipient_does_not_confirm_is_tried_again_and_becomes_somebodys_task(world: World) -> None:
    name = await delivered(world)
    world.taker.error = SourceTimedOut("slow")
    made = await called_back(world, name)
    assert await tried(world) is ParcelState.SENT
    assert await remind(world.parts) == 0
    world.later(hours=24)
    assert (await remind(world.parts), await remind(world.parts)) == (1, 0)
    assert await owed(world) == [("recall-unconfirmed", "sent")]
    world.taker.error = None
    assert await tried(world) is ParcelState.ACKNOWLEDGED
    assert made is not None
    assert (await parcel(world, made.id)).attempts == 2


async def test_a_recipient_that_refuses_a_recall_or_has_no_form_for_one_is_told_by_a_person(world: World) -> None:
    name = await delivered(world)
    world.taker.error = SourceContractBroken("not taken")
    made = await called_back(world, name)
    assert made is not None
    assert await tried(world) is ParcelState.REFUSED
    assert await owed(world) == [("recall-unconfirmed", "not taken")]
    route = world.parts.registry.routes["centre/referral"]
    world.parts.registry.routes["centre/referral"] = replace(route, recall=None)
    assert await world.store.parcels.again(made.id, world.clock[0])
    assert await tried(world) is ParcelState.HELD
    del world.parts.registry.routes["centre/referral"]
    assert await world.store.parcels.again(made.id, world.clock[0])
    assert await tried(world) is ParcelState.HELD
    assert (await parcel(world, made.id)).reason == recall.NO_ROUTE


async def test_what_was_delivered_before_receipts_were_kept_is_called_back_by_a_person(world: World) -> None:
    name = await delivered(world)
    await world.store.database.write(_one(Call(Statement(update(PARCEL).values(receipt="").returning(PARCEL.c.id)), {})))
    assert [one.id for one in await world.store.recalls.of(CHILD)] == [name]
    assert await called_back(world, name) is not None
    assert await tried(world) is ParcelState.HELD
    assert await owed(world) == [("recall-unconfirmed", recall.NOT_WRITTEN)]


async def test_without_the_active_policy_nothing_is_decided_anew(world: World) -> None:
    await delivered(world)
    await world.store.consents.withdraw(CHILD, "share-centres", NOW)
    world.parts.holds_policy = lambda _: False
    assert (await recall.recheck(world.parts)).called == 0
    world.parts.holds_policy = lambda _: True
    assert (await recall.recheck(world.parts)).called == 1


def _one(call: Call) -> Any:
    return (yield call)

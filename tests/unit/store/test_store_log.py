"""The log on both databases: what is acknowledged is there, once, in order, and says nobody's number."""

import asyncio
import base64
import hashlib
import random
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files

import pytest
from store_world import CHILD, NOW, OTHER, entry, version

from gateway.audit.canonical import signed_bytes
from gateway.errors import AuditDown
from gateway.ports import Job, LogQuestion, OwedParcel
from gateway.store import Keys, Store

pytestmark = pytest.mark.anyio


async def test_what_is_acknowledged_is_in_the_log_dense_and_faultless(store: Store) -> None:
    receipts = []

    async def one(n: int) -> None:
        got = await store.log.append([entry(request_id=f"r-{n}"), entry(kind="disclosure", request_id=f"r-{n}")])
        assert got is not None
        receipts.extend(got)

    await asyncio.gather(*(one(n) for n in range(200)))
    events = await store.log.ask(LogQuestion(limit=1000))
    assert [event.index for event in events] == list(range(399, -1, -1))
    assert {event.event for event in events} == {receipt.event for receipt in receipts}
    assert sorted(event.writer_seq for event in events) == list(range(1, 401))
    assert await store.verify() == []


async def test_a_receipt_verifies_with_the_public_key_and_names_the_stored_commitment(store: Store, keys: Keys) -> None:
    receipts = await store.log.append([entry()])
    assert receipts is not None
    (receipt,) = receipts
    event = await store.log.event(receipt.event)
    assert event is not None
    assert event.commitment == receipt.commitment
    assert event.writer_seq == 1
    assert event.recorded_at == receipt.recorded_at
    signature = base64.urlsafe_b64decode(receipt.signature + "==")
    text = signed_bytes(
        event=receipt.event,
        commitment_text=receipt.commitment,
        writer=receipt.writer,
        recorded_at=receipt.recorded_at,
    )
    keys.receipt_signing.public()[keys.receipt_signing.id].verify(signature, text)


async def test_an_event_is_read_back_as_it_was_said_without_the_number(store: Store) -> None:
    receipts = await store.log.append([entry(detail={"note": "asked for 9990000018 by mistake", "n": [1, 2]})])
    assert receipts is not None
    event = await store.log.event(receipts[0].event)
    assert event is not None
    assert event.body["outcome"] == "permit"
    assert event.body["staff"] == "https://fhir.nhs.uk/Id/sds-user-id|555"
    assert event.body["detail"] == {"note": "asked for ********** by mistake", "n": [1, 2]}
    assert CHILD.value not in str(event)


@pytest.mark.parametrize(
    "kind",
    ["decision", "disclosure", "token", "refusal", "failure", "audit-read", "intake", "administration"],
)
async def test_every_event_of_any_kind_names_the_definitions_its_maps_were_checked_against(store: Store, kind: str) -> None:
    receipts = await store.log.append([entry(kind=kind)])
    assert receipts is not None
    event = await store.log.event(receipts[0].event)
    assert event is not None
    packed = files("gateway.mapping").joinpath("r4_index.json.gz").read_bytes()
    assert event.body["r4_index"] == f"4.0.1-{hashlib.sha256(packed).hexdigest()[:12]}"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (LogQuestion(person=CHILD), {"a", "b"}),
        (LogQuestion(person=OTHER), {"c"}),
        (LogQuestion(organisation="ods:Z"), {"b", "c"}),
        (LogQuestion(staff="s|2"), {"c"}),
        (LogQuestion(outcome="deny"), {"b"}),
        (LogQuestion(purpose="S47", person=OTHER), {"c"}),
        (LogQuestion(kind="token"), {"d"}),
        (LogQuestion(person=CHILD, organisation="ods:Z", outcome="permit"), set()),
        (LogQuestion(), {"a", "b", "c", "d"}),
        (LogQuestion(limit=2), {"c", "d"}),
        (LogQuestion(before_index=2), {"a", "b"}),
    ],
)
async def test_an_auditors_criteria_hold_together(store: Store, question: LogQuestion, expected: set[str]) -> None:
    await store.log.append([entry(request_id="a")])
    await store.log.append([entry(request_id="b", organisation="ods:Z", outcome="deny")])
    await store.log.append([entry(request_id="c", organisation="ods:Z", person=OTHER, purpose="S47", staff="s|2")])
    await store.log.append([entry(request_id="d", kind="token", person=None)])
    events = await store.log.ask(question)
    assert {event.body["request_id"] for event in events} == expected
    assert [event.index for event in events] == sorted((event.index for event in events), reverse=True)


async def test_since_and_until_bound_the_time_of_recording(store: Store) -> None:
    receipts = await store.log.append([entry()])
    assert receipts is not None
    at = receipts[0].recorded_at
    assert len(await store.log.ask(LogQuestion(since=at, until=at + timedelta(seconds=1)))) == 1
    assert await store.log.ask(LogQuestion(until=at)) == []
    assert await store.log.ask(LogQuestion(since=at + timedelta(seconds=1))) == []


async def test_an_assertion_is_taken_once_however_many_bring_it_at_once(store: Store) -> None:
    async def bring() -> bool:
        kept = await store.log.append_once(entry(kind="token"), client="c", jti="j", expires=NOW + timedelta(days=400))
        return kept is not None

    assert sum(await asyncio.gather(*(bring() for _ in range(100)))) == 1
    assert len(await store.log.ask(LogQuestion(kind="token", limit=1000))) == 1
    other = await store.log.append_once(entry(kind="token"), client="d", jti="j", expires=NOW + timedelta(days=400))
    assert other is not None


async def test_a_disclosure_is_not_written_when_the_facts_moved(store: Store) -> None:
    before = await version(store)
    receipts = await store.log.append([entry(kind="disclosure")], unless_moved=(CHILD, before))
    assert receipts is not None
    await store.consents.put(
        CHILD, scope="store", decision="deny", given_by="mother", recorded_by="x", starts=NOW, ends=None, evidence="form"
    )
    assert await store.log.append([entry(kind="disclosure")], unless_moved=(CHILD, before)) is None
    assert await store.log.append([entry(kind="disclosure")], unless_moved=(CHILD, await version(store))) is not None
    assert len(await store.log.ask(LogQuestion(kind="disclosure"))) == 2
    assert await store.verify() == []


async def test_a_moved_disclosure_does_not_take_its_neighbours_in_the_flight_with_it(store: Store) -> None:
    results = await asyncio.gather(
        *(store.log.append([entry(kind="disclosure")], unless_moved=(CHILD, n % 2)) for n in range(20))
    )
    assert [result is not None for result in results] == [n % 2 == 0 for n in range(20)]
    assert await store.verify() == []


async def test_jobs_are_written_with_their_event_and_leased_one_worker_at_a_time(store: Store) -> None:
    job = Job(kind="notify", key="n-1", due=NOW, body={"event": "e"})
    await store.log.append([entry()], [job, replace(job, key="n-2", due=NOW + timedelta(hours=1))])
    await store.log.append([entry()], [job])  # the same key: owed once
    (leased,) = await store.queue.claim("notify", now=NOW, lease_s=30, limit=10)
    assert leased.job == job
    assert leased.attempt == 1
    assert await store.queue.claim("notify", now=NOW, lease_s=30) == []
    (again,) = await store.queue.claim("notify", now=NOW + timedelta(seconds=31), lease_s=30)
    assert (again.id, again.attempt) == (leased.id, 2)
    assert not await store.queue.done(leased, NOW)
    assert await store.queue.retry(again, due=NOW + timedelta(minutes=5), reason="recipient down")
    assert await store.queue.claim("notify", now=NOW + timedelta(minutes=4), lease_s=30) == []
    (third,) = await store.queue.claim("notify", now=NOW + timedelta(minutes=5), lease_s=30)
    assert await store.queue.done(third, NOW + timedelta(minutes=5))
    (late,) = await store.queue.claim("notify", now=NOW + timedelta(hours=2), lease_s=30, limit=10)
    assert late.job.key == "n-2"


async def test_a_cancelled_callers_event_is_in_the_log_all_the_same(store: Store) -> None:
    task = asyncio.create_task(store.log.append([entry(request_id="gone")]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.log.landed()
    assert [event.body["request_id"] for event in await store.log.ask(LogQuestion())] == ["gone"]


async def test_a_flight_that_cannot_be_written_leaves_nobody_waiting_and_the_next_one_lands(store: Store) -> None:
    unknown = OwedParcel(None, None)  # type: ignore[arg-type]  # a fault of ours: what no caller can bring about
    refused = await asyncio.gather(
        store.log.append([entry()], [unknown]), store.log.append([entry(request_id="aboard")]), return_exceptions=True
    )
    assert all(isinstance(one, AuditDown) for one in refused)
    assert await store.log.append([entry(request_id="next")])
    assert [event.body["request_id"] for event in await store.log.ask(LogQuestion())] == ["next"]


async def test_any_mix_of_groups_leaves_a_dense_log(store: Store) -> None:
    chance = random.Random(7)

    async def some(n: int) -> int:
        await asyncio.sleep(chance.random() / 200)
        receipts = await store.log.append([entry(request_id=f"{n}-{k}") for k in range(chance.randint(1, 4))])
        assert receipts is not None
        return len(receipts)

    total = sum(await asyncio.gather(*(some(n) for n in range(150))))
    events = await store.log.ask(LogQuestion(limit=1000))
    assert [event.index for event in reversed(events)] == list(range(total))
    assert await store.verify() == []

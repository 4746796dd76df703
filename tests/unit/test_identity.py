"""Step 3: which trace is used, which is asked for again, and what an outage may not tell."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gateway.errors import InternalFault, TracerDown
from gateway.identity import BRIEF_WAIT_S, NOBODY, WAIT_S, Ages, Identity, admit
from gateway.model import (
    AccessRequest,
    Caller,
    Coding,
    Facts,
    NotUsable,
    Organisation,
    OrganisationKind,
    PatientIdentity,
    Permit,
    PersonId,
    Purpose,
    Query,
    Receipt,
    Recorded,
    Staff,
)
from gateway.nhs_number import NhsNumber
from gateway.ports import PersonRow, Traced, TraceFailure

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
ANNA = NhsNumber("9990000107")
OLD, NEW = NhsNumber("9990002126"), NhsNumber("9990003130")
AGES = Ages(timedelta(minutes=15), timedelta(hours=24))


def traced(number: NhsNumber = ANNA, *, restricted: bool = False, version: str = "2") -> Traced:
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "meta": {"versionId": version},
        "name": [{"family": "Testwell"}],
        "address": [{"postalCode": "ZZ99 1AZ"}],
        "telecom": [{"value": "07700900000"}],
        "generalPractitioner": [{"identifier": {"value": "A99901"}}],
    }
    return Traced(number, date(2024, 3, 14), False, restricted, "ods:A99901", patient, version)


class FakePersons:
    """Rows in a dictionary, with the rules of the store."""

    def __init__(self) -> None:
        self.rows: dict[PersonId, PersonRow] = {}
        self.tokens = 1_000
        self.waits: list[float] = []
        self.retraced = 0

    def add(self, name: str, number: NhsNumber, **fields: Any) -> PersonId:
        person = PersonId(name)
        row = PersonRow(person, number, "live", None, traced(number), NOW - timedelta(minutes=1), False)
        self.rows[person] = replace(row, **fields)
        return person

    async def by_number(self, number: NhsNumber) -> PersonRow | None:
        found = [row for row in self.rows.values() if row.number == number]
        return self.whole(min(found, key=lambda row: row.status == "sealed", default=None))

    async def by_id(self, person: PersonId) -> PersonRow | None:
        return self.whole(self.rows.get(person))

    def whole(self, row: PersonRow | None) -> PersonRow | None:
        if row is None or row.status != "live":
            return row
        return replace(row, replaced=tuple(old.number for old in self.rows.values() if old.successor == row.person))

    async def admit(self, traced: Traced, at: datetime) -> PersonId:
        row = await self.by_number(traced.number)
        if row is not None and row.status == "live":
            return row.person
        return self.add(f"made-{len(self.rows)}", traced.number, trace=traced, traced_at=at)

    async def retrace(self, person: PersonId, traced: Traced, at: datetime) -> None:
        self.retraced += 1
        self.rows[person] = replace(self.rows[person], trace=traced, traced_at=at, expired=False)

    async def supersede(self, old: NhsNumber, traced: Traced, at: datetime) -> PersonId:
        survivor = await self.admit(traced, at)
        row = await self.by_number(old)
        name = row.person if row is not None else PersonId(f"alias-{len(self.rows)}")
        self.rows[name] = PersonRow(name, old, "superseded", survivor, None, None, False)
        return survivor

    async def seal(self, number: NhsNumber, at: datetime) -> None:
        row = await self.by_number(number)
        if row is not None:
            self.rows[row.person] = replace(row, status="sealed", trace=None)

    async def expire(self, number: NhsNumber) -> None:
        raise NotImplementedError

    async def take_trace_token(self, now: datetime, *, wait_s: float, whose: str = "") -> bool:
        self.waits.append(wait_s)
        self.tokens -= 1
        return self.tokens >= 0


class FakeTracer:
    """Answers by number; None is an outage."""

    def __init__(self, answers: dict[NhsNumber, Traced | TraceFailure] | None = None) -> None:
        self.answers = answers if answers is not None else {ANNA: traced(version="3")}
        self.down = False
        self.asked: list[NhsNumber] = []
        self.hold: asyncio.Event | None = None

    async def trace(self, number: NhsNumber, correlation_id: str) -> Traced | TraceFailure:
        self.asked.append(number)
        if self.hold is not None:
            await self.hold.wait()
        if self.down:
            raise TracerDown(reason="tracer not reached")
        return self.answers.get(number, "unknown")


class World:
    def __init__(self) -> None:
        self.persons, self.tracer = FakePersons(), FakeTracer()
        self.identity = Identity(self.persons, self.tracer, AGES)

    async def trace(self, key: NhsNumber | PersonId, *, again: bool = False) -> PatientIdentity | NotUsable:
        return await self.identity.trace(key, now=NOW, correlation_id="c", again=again)

    async def person(self, key: NhsNumber | PersonId, *, again: bool = False) -> PatientIdentity:
        found = await self.trace(key, again=again)
        assert isinstance(found, PatientIdentity)
        return found


@pytest.fixture
def world() -> World:
    return World()


def shown(identity: PatientIdentity) -> set[str]:
    return set(identity.patient) & {"address", "telecom", "generalPractitioner", "name"}


async def test_a_fresh_stored_trace_is_used_without_asking(world: World) -> None:
    world.persons.add("p1", ANNA, traced_at=NOW - timedelta(minutes=14, seconds=59))
    identity = await world.person(ANNA)
    assert (identity.person, identity.stale, world.tracer.asked) == ("p1", False, [])
    assert shown(identity) == {"address", "telecom", "generalPractitioner", "name"}


async def test_a_trace_of_fifteen_minutes_is_replaced_and_stored_once(world: World) -> None:
    world.persons.add("p1", ANNA, traced_at=NOW - timedelta(minutes=15))
    identity = await world.person(ANNA)
    assert (identity.stale, identity.traced_at, identity.patient["meta"]["versionId"]) == (False, NOW, "3")
    assert (world.tracer.asked, world.persons.waits, world.persons.retraced) == ([ANNA], [BRIEF_WAIT_S], 1)
    assert world.persons.rows[PersonId("p1")].traced_at == NOW


async def test_without_a_token_an_older_trace_serves_without_locating_facts(world: World) -> None:
    then = NOW - timedelta(hours=23, minutes=59)
    world.persons.add("p1", ANNA, traced_at=then)
    world.persons.tokens = 0
    identity = await world.person(ANNA)
    assert (identity.stale, identity.traced_at, shown(identity)) == (True, then, {"name"})
    assert world.tracer.asked == []


async def test_with_a_token_an_unreachable_tracer_is_an_outage_even_where_an_older_trace_is_stored(world: World) -> None:
    world.persons.add("p1", ANNA, traced_at=NOW - timedelta(hours=1))
    world.tracer.down = True
    with pytest.raises(TracerDown):
        await world.trace(ANNA)


@pytest.mark.parametrize(
    "fields",
    [
        {"traced_at": NOW - timedelta(hours=24)},
        {"expired": True},
        {"trace": None, "traced_at": None},
        {"traced_at": NOW + timedelta(minutes=1)},
        {"trace": traced(restricted=True), "traced_at": NOW - timedelta(hours=1)},
        {"trace": traced(restricted=True)},
    ],
    ids=["a day old", "expired by an event", "never traced", "from the future", "restricted and older", "restricted and fresh"],
)
async def test_some_stored_traces_are_never_used(world: World, fields: dict[str, Any]) -> None:
    world.persons.add("p1", ANNA, **fields)
    world.persons.tokens = 0
    with pytest.raises(TracerDown):
        await world.trace(ANNA)
    assert world.persons.waits == [WAIT_S]
    world.persons.tokens = 1
    assert (await world.person(ANNA)).patient["meta"]["versionId"] == "3"


async def test_a_flow_may_ask_again_for_someone_a_source_protects(world: World) -> None:
    world.persons.add("p1", ANNA)
    assert (await world.person(ANNA, again=True)).traced_at == NOW
    world.tracer.down = True
    with pytest.raises(TracerDown):
        await world.trace(ANNA, again=True)


async def test_a_restricted_person_has_no_practice_and_no_locating_fact(world: World) -> None:
    world.tracer.answers[ANNA] = traced(restricted=True)  # even if PDS forgot to leave them out
    identity = await world.person(ANNA)
    assert (identity.restricted, identity.practice, shown(identity)) == (True, None, {"name"})


@pytest.mark.parametrize("key", [ANNA, NEW, PersonId("known"), PersonId("sealed"), PersonId("nobody-has-this-id")])
async def test_an_outage_is_the_same_error_for_every_number_and_every_id(world: World, key: NhsNumber | PersonId) -> None:
    world.persons.add("known", OLD, traced_at=NOW - timedelta(days=2))
    world.persons.add("sealed", NEW, status="sealed", trace=None)
    world.tracer.down = True
    with pytest.raises(TracerDown):
        await world.trace(key)


@pytest.mark.parametrize("key", [ANNA, NEW, PersonId("known"), PersonId("sealed"), PersonId("nobody-has-this-id")])
async def test_a_spent_rate_is_the_same_error_for_every_number_and_every_id(world: World, key: NhsNumber | PersonId) -> None:
    world.persons.add("known", OLD, traced_at=NOW - timedelta(days=2))
    world.persons.add("sealed", NEW, status="sealed", trace=None)
    world.persons.tokens = 0
    with pytest.raises(TracerDown):
        await world.trace(key)


async def test_an_unknown_id_costs_one_question_as_an_unknown_number_does(world: World) -> None:
    assert await world.trace(PersonId("nobody")) == NotUsable("no-such-id", None)
    assert await world.trace(NEW) == NotUsable("unknown", NEW)
    assert world.tracer.asked == [NOBODY, NEW]


async def test_nobody_is_stored_before_the_first_permit(world: World) -> None:
    identity = await world.person(ANNA)
    assert identity.person is None
    assert world.persons.rows == {}


async def test_invalidated_seals_the_row_and_its_id_answers_nothing(world: World) -> None:
    person = world.persons.add("p1", ANNA, traced_at=NOW - timedelta(hours=1))
    world.tracer.answers[ANNA] = "invalidated"
    assert await world.trace(ANNA) == NotUsable("invalidated", ANNA)
    assert world.persons.rows[person].status == "sealed"
    assert await world.trace(person) == NotUsable("sealed", ANNA)


async def test_an_id_that_was_sealed_stays_silent_when_its_number_lives_again(world: World) -> None:
    person = world.persons.add("p1", ANNA, status="sealed", trace=None)
    assert await world.trace(person) == NotUsable("sealed", ANNA)
    assert (await world.person(ANNA)).person is None  # a new row, and a new id, at the next permit


@pytest.mark.parametrize("failure", ["unknown", "bad-number"])
async def test_a_number_pds_does_not_know_is_unknown_and_seals_nothing(world: World, failure: TraceFailure) -> None:
    person = world.persons.add("p1", ANNA, expired=True)
    world.tracer.answers[ANNA] = failure
    assert await world.trace(ANNA) == NotUsable("unknown", ANNA)
    assert world.persons.rows[person].status == "live"


async def test_a_superseded_number_answers_as_the_new_one(world: World) -> None:
    old = world.persons.add("old", OLD, traced_at=NOW - timedelta(hours=2))
    world.tracer.answers[OLD] = traced(NEW)
    identity = await world.person(OLD)
    assert (identity.number, identity.superseded, identity.alias) == (NEW, (OLD,), None)
    assert identity.person != old
    assert world.persons.rows[old].successor == identity.person


async def test_two_numbers_of_different_birth_dates_are_never_joined(world: World) -> None:
    old = world.persons.add("old", OLD, traced_at=NOW - timedelta(hours=2))
    world.tracer.answers[OLD] = replace(traced(NEW), birth_date=date(2020, 1, 1))
    with pytest.raises(TracerDown):
        await world.trace(OLD, again=True)
    assert world.persons.rows[old].status == "live"


async def test_an_old_id_answers_as_an_alias_of_the_new_row(world: World) -> None:
    old = world.persons.add("old", OLD, traced_at=NOW - timedelta(hours=2))
    world.tracer.answers[OLD] = traced(NEW)
    found = await world.person(old)  # superseded during this very request
    later = await world.person(old)  # and known to be, at the next
    for identity in (found, later):
        assert (identity.number, identity.superseded, identity.alias) == (NEW, (OLD,), old)
        assert identity.person not in (None, old)
    assert world.tracer.asked == [OLD]


async def test_supersession_is_stored_even_where_nobody_asked_before(world: World) -> None:
    world.tracer.answers[OLD] = traced(NEW)
    identity = await world.person(OLD)
    alias = await world.persons.by_number(OLD)
    assert identity.person is not None
    assert alias is not None
    assert alias.successor == identity.person


async def test_whoever_asks_by_the_new_number_is_given_the_old_ones_that_sources_may_still_keep(world: World) -> None:
    world.tracer.answers[OLD] = traced(NEW)
    await world.person(OLD)
    world.tracer.answers[NEW] = traced(NEW)
    by_number = await world.person(NEW)
    assert by_number.person is not None
    by_id = await world.person(by_number.person)
    assert by_number.superseded == by_id.superseded == (OLD,)


async def test_rows_that_supersede_in_a_circle_answer_nothing(world: World) -> None:
    world.persons.add("a", OLD, status="superseded", successor=PersonId("b"))
    world.persons.add("b", NEW, status="superseded", successor=PersonId("a"))
    found = await world.trace(PersonId("a"))
    assert isinstance(found, NotUsable)
    assert found.reason == "sealed"


async def test_concurrent_traces_of_one_number_are_one_question(world: World) -> None:
    world.persons.add("p1", ANNA, expired=True)
    world.tracer.hold = asyncio.Event()
    waiting = [asyncio.create_task(world.person(ANNA)) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    world.tracer.hold.set()
    found = await asyncio.gather(*waiting)
    assert {identity.person for identity in found} == {"p1"}
    assert (world.tracer.asked, len(world.persons.waits), world.persons.retraced) == ([ANNA], 1, 1)
    await world.trace(ANNA, again=True)
    assert world.tracer.asked == [ANNA, ANNA]  # the map forgets what is over


async def test_one_who_leaves_takes_nobodys_trace_along(world: World) -> None:
    world.tracer.hold = asyncio.Event()
    leaving, staying = asyncio.create_task(world.person(ANNA)), asyncio.create_task(world.person(ANNA))
    for _ in range(5):
        await asyncio.sleep(0)
    leaving.cancel()
    world.tracer.hold.set()
    assert (await staying).number == ANNA
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_an_outage_reaches_everyone_who_waits(world: World) -> None:
    world.tracer.hold, world.tracer.down = asyncio.Event(), True
    waiting = [asyncio.create_task(world.trace(ANNA)) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    world.tracer.hold.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, TracerDown) for outcome in outcomes)


async def test_neither_a_trace_nor_an_identity_prints_who_it_is(world: World) -> None:
    identity = await world.person(ANNA)
    for printed in (repr(identity), repr(world.tracer.answers), str(identity)):
        assert not [word for word in ("Testwell", ANNA.value, "ZZ99") if word in printed]


# --------------------------------------------------------------------------------------------------------- admit


def permit_for(who: PatientIdentity | NotUsable) -> Recorded[Permit]:
    organisation = Organisation("ods:A99901", "Riverside Surgery", OrganisationKind.GP_PRACTICE)
    caller = Caller(
        organisation, "client", Staff("s", "1", "Robin"), Coding("r", "R"), Purpose.TREAT, frozenset(), "t", None, 1, "127.0.0.1"
    )
    request = AccessRequest(caller, Purpose.TREAT, Query("everything", ANNA, frozenset({"Patient"})), "r", "c", NOW)
    facts = Facts(
        organisation.code,
        organisation.kind,
        "r|R",
        "gp",
        Purpose.TREAT,
        frozenset(),
        False,
        True,
        frozenset(),
        frozenset(),
        False,
        False,
        False,
        "1-4",
        who,
        request,
    )
    permit = Permit(facts, {}, frozenset(), frozenset(), frozenset(), (), "hash")
    return Recorded(permit, Receipt("e", "c", "w", NOW, "s"))


async def test_the_first_permit_makes_the_row_with_the_trace_as_it_was(world: World) -> None:
    identity = await world.person(ANNA)
    admitted = await admit(identity, permit_for(identity), world)
    assert admitted.person is not None
    assert replace_person(admitted, None) == identity
    assert world.persons.rows[admitted.person].trace == world.tracer.answers[ANNA]
    assert (await world.person(ANNA)).person == admitted.person


async def test_a_person_who_has_a_row_is_admitted_without_writing(world: World) -> None:
    world.persons.add("p1", ANNA)
    identity = await world.person(ANNA)
    assert await admit(identity, permit_for(identity), world) is identity


async def test_a_permit_for_one_person_admits_no_other(world: World) -> None:
    identity = await world.person(ANNA)
    world.tracer.answers[NEW] = traced(NEW)
    other = await world.person(NEW)
    with pytest.raises(InternalFault):
        await admit(other, permit_for(identity), world)
    nobody = NotUsable("unknown", ANNA)
    with pytest.raises(InternalFault):
        await admit(nobody, permit_for(nobody), world)


def replace_person(identity: PatientIdentity, person: PersonId | None) -> PatientIdentity:
    return replace(identity, person=person)

"""Steps 7 and 8: which sources are asked, and what becomes of each. Wrong person is the worst hazard."""

import time
from collections.abc import AsyncIterator, Sequence
from datetime import date

import pytest

from gateway.adapter import Claim, SourceFacts, SourceRecord, Want
from gateway.errors import OUR_FAULT, SourceContractBroken, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.fetch import OPENS_AFTER, Fetch, Fetched
from gateway.model import Category, PatientIdentity, Purpose, SourceState
from gateway.nhs_number import NhsNumber
from gateway.plan import plan
from gateway.registry import REGISTERED_PRACTICE, Registry
from tests import fakes

pytestmark = pytest.mark.anyio

OTHER = "9990001111"


class Local:
    def __init__(self, *claims: Claim) -> None:
        self.claims = claims

    async def of(self, patient: PatientIdentity) -> Sequence[Claim]:
        return self.claims


async def run(
    registry: Registry, local: dict[str, Local] | None = None, who: PatientIdentity | None = None, asked=None
) -> Fetched:
    who = who or fakes.identity()
    facts = fakes.facts(asked, who)
    permit = fakes.permit(facts, sources=list(registry.sources), categories=[Category.ALLERGIES])
    return await Fetch(registry, local or {})(plan(permit, who, registry), deadline_s=1.0)


def one(source: fakes.FakeSource, **options) -> Registry:
    return Registry({"gp": fakes.active("gp", source, **options)})


async def test_records_about_the_person_are_taken():
    fetched = await run(one(fakes.FakeSource(fakes.record(), fakes.record())))
    assert len(fetched.records) == 2
    assert fetched.reports[0].state is SourceState.ANSWERED


@pytest.mark.parametrize(
    "claim",
    [
        Claim(nhs_number=OTHER, birth_date=fakes.BORN),
        Claim(nhs_number=fakes.AMARA.value, birth_date=date(2020, 1, 1)),
        Claim(),
        Claim(birth_date=fakes.BORN),
        Claim(local_id="LA1", birth_date=fakes.BORN),
    ],
    ids=["another number", "another birth date", "no key", "birth date alone", "a local id nobody verified"],
)
async def test_one_record_about_somebody_else_discards_the_whole_answer(claim):
    fetched = await run(one(fakes.FakeSource(fakes.record(), fakes.record(claim), fakes.record())))
    assert fetched.records == []
    assert fetched.wrong_person == {"gp"}
    assert (fetched.reports[0].state, fetched.reports[0].reason) == (SourceState.FAILED, "identity-mismatch")


@pytest.mark.parametrize("fault", [TypeError(), KeyError(), UnicodeDecodeError("utf-8", b"", 0, 1, ""), RecursionError()])
async def test_an_adapter_that_trips_over_its_sources_answer_fails_alone(fault):
    registry = Registry({"gp": fakes.active("gp", fakes.FakeSource(fakes.record(), error=fault)), **one_more()})
    fetched = await run(registry)
    assert [(report.source, report.state) for report in fetched.reports] == [
        ("centre", SourceState.ANSWERED),
        ("gp", SourceState.FAILED),
    ]
    assert [source for source, _ in fetched.records] == ["centre"]


def one_more() -> dict:
    return {"centre": fakes.active("centre", fakes.FakeSource(fakes.record()))}


async def test_an_empty_answer_about_somebody_else_is_discarded_like_any_other():
    fetched = await run(one(fakes.FakeSource(SourceFacts(warnings=(("allergies", "x"),), about=Claim(nhs_number=OTHER)))))
    assert fetched.wrong_person == {"gp"}
    assert fetched.reports[0].warnings == ()


async def test_a_superseded_number_is_still_this_person():
    who = fakes.identity(superseded=(NhsNumber(OTHER),))
    fetched = await run(one(fakes.FakeSource(fakes.record(Claim(nhs_number=OTHER, birth_date=fakes.BORN)))), who=who)
    assert len(fetched.records) == 1


@pytest.mark.parametrize(
    ("verified", "claim", "taken"),
    [
        (Claim(local_id="LA1", birth_date=fakes.BORN), Claim(local_id="LA1", birth_date=fakes.BORN), True),
        (Claim(local_id="LA1"), Claim(local_id="LA1"), True),
        (Claim(local_id="LA1"), Claim(local_id="LA2"), False),
        (Claim(local_id="LA1", birth_date=date(2020, 1, 1)), Claim(local_id="LA1"), False),
        (Claim(local_id="LA1"), Claim(local_id="LA1", birth_date=date(2020, 1, 1)), False),
    ],
)
async def test_a_local_id_counts_only_as_the_crosswalk_verified_it(verified, claim, taken):
    fetched = await run(one(fakes.FakeSource(fakes.record(claim)), identity="local_id"), {"gp": Local(verified)})
    assert bool(fetched.records) is taken
    assert (fetched.wrong_person == {"gp"}) is not taken


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SourceUnavailable("down"), SourceState.FAILED),
        (SourceRefused("no"), SourceState.FAILED),
        (SourceContractBroken("nonsense"), SourceState.FAILED),
        (SourceTimedOut("slow"), SourceState.TIMED_OUT),
    ],
)
async def test_what_a_source_gave_before_it_failed_is_not_used_and_the_others_answer(error, state):
    good, bad = fakes.FakeSource(fakes.record()), fakes.FakeSource(fakes.record(), error=error)
    fetched = await run(Registry({"bad": fakes.active("bad", bad), "good": fakes.active("good", good)}))
    assert [(report.source, report.state) for report in fetched.reports] == [("bad", state), ("good", SourceState.ANSWERED)]
    assert [source for source, _ in fetched.records] == ["good"]


async def test_a_slow_source_stops_at_its_budget_and_is_closed():
    slow = fakes.FakeSource(fakes.record(), wait_s=5)
    started = time.monotonic()
    fetched = await run(one(slow, budget_s=0.05))
    assert time.monotonic() - started < 1
    assert fetched.reports[0].state is SourceState.TIMED_OUT
    assert slow.closed


async def test_a_source_that_keeps_failing_rests_and_is_not_asked():
    source = fakes.FakeSource(error=SourceUnavailable("down"))
    registry = one(source)
    who = fakes.identity()
    permit = fakes.permit(fakes.facts(None, who), sources=["gp"], categories=[Category.ALLERGIES])
    fetch = Fetch(registry, {})
    for _ in range(OPENS_AFTER + 3):
        fetched = await fetch(plan(permit, who, registry), deadline_s=1.0)
    assert source.asked == OPENS_AFTER
    assert fetched.reports[0].reason == "resting-after-failures"


async def test_a_practice_that_is_down_does_not_rest_the_others():
    source = fakes.FakeSource(error=SourceUnavailable("down"))
    registry = one(source, custodian=REGISTERED_PRACTICE)
    fetch = Fetch(registry, {})

    async def ask(practice: str) -> Fetched:
        who = fakes.identity(practice=practice)
        permit = fakes.permit(fakes.facts(None, who), sources=["gp"], categories=[Category.ALLERGIES])
        return await fetch(plan(permit, who, registry), deadline_s=1.0)

    for _ in range(OPENS_AFTER + 1):
        await ask("ods:A99901")
    assert (await ask("ods:A99901")).reports[0].reason == "resting-after-failures"
    assert (await ask("ods:A99902")).reports[0].reason == "down"


async def test_a_refusal_by_the_source_never_opens_the_breaker():
    source = fakes.FakeSource(error=SourceRefused("no"))
    registry = one(source)
    who = fakes.identity()
    permit = fakes.permit(fakes.facts(None, who), sources=["gp"], categories=[Category.ALLERGIES])
    fetch = Fetch(registry, {})
    for _ in range(OPENS_AFTER + 3):
        await fetch(plan(permit, who, registry), deadline_s=1.0)
    assert source.asked == OPENS_AFTER + 3


class ReadByUs(fakes.FakeSource):
    """Its answer came, and a process of ours could not read it, or not in time."""

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        OUR_FAULT.set(True)
        async for item in super().fetch(patient, want):
            yield item


@pytest.mark.parametrize(("options", "state"), [({"wait_s": 5}, "timed-out"), ({"error": SourceUnavailable("lost")}, "failed")])
async def test_a_fault_of_our_own_never_rests_a_source(options, state):
    source = ReadByUs(**options)
    registry = one(source, budget_s=0.01)
    who = fakes.identity()
    permit = fakes.permit(fakes.facts(None, who), sources=["gp"], categories=[Category.ALLERGIES])
    fetch = Fetch(registry, {})
    for _ in range(OPENS_AFTER + 3):
        fetched = await fetch(plan(permit, who, registry), deadline_s=1.0)
        assert fetched.reports[0].state is SourceState(state)
    assert source.asked == OPENS_AFTER + 3


async def test_an_empty_answer_is_empty_and_not_an_error():
    fetched = await run(one(fakes.FakeSource(SourceFacts())))
    assert fetched.reports[0].state is SourceState.NOTHING


@pytest.mark.parametrize(
    ("options", "who", "purpose", "reason"),
    [
        ({"custodian": REGISTERED_PRACTICE}, {"practice": None}, Purpose.TREAT, "no-registered-practice"),
        ({}, {}, Purpose.S47, "outside-source-terms"),
        ({"never_for": frozenset({"TREAT"})}, {}, Purpose.TREAT, "outside-source-terms"),
        ({"gives": {"Flag": "child-protection"}}, {}, Purpose.TREAT, "not-permitted"),
    ],
)
async def test_a_source_that_may_not_be_asked_is_not_asked_and_still_shows(options, who, purpose, reason):
    source = fakes.FakeSource(fakes.record())
    fetched = await run(one(source, **options), who=fakes.identity(**who), asked=fakes.request(purpose=purpose))
    assert source.asked == 0
    assert [(report.state, report.reason) for report in fetched.reports] == [(SourceState.NOTHING, reason)]


async def test_a_source_is_asked_for_no_more_than_permit_scope_and_question_cover():
    source = fakes.FakeSource()
    gives = {"AllergyIntolerance": "allergies", "Immunization": "immunisations", "Flag": "child-protection"}
    await run(one(source, gives=gives))
    assert source.want is not None
    assert source.want.types == {"AllergyIntolerance"}
    narrowed = fakes.FakeSource()
    await run(one(narrowed, gives=gives), asked=fakes.request(scopes=frozenset({"system/Flag.rs"})))
    assert narrowed.asked == 0

"""Scheduled or unscheduled: said for each request, never assumed, and a fact that rules may read."""

from dataclasses import replace

import pytest
from test_reading import NOW, PERSON, TYPES, caller

from gateway.api.reading import Asked, Reading, read_request
from gateway.audit.entries import decision_entry
from gateway.consent import NO_ACCESS, NO_RULE, decide
from gateway.errors import InvalidParameter
from gateway.facts import gather
from gateway.model import Access, CareClass, Category, Coding, Deny, Permit, Purpose, SourceTerms
from gateway.policy import from_plain, of
from gateway.systems import LOCAL_ROLE
from tests.policy_world import SOURCES, facts, identity, person_facts, policy, request

CP_IS = SourceTerms(
    "cp-is",
    "cp-is",
    "cp-is",
    frozenset({(Category.CP_IS, CareClass.SAFEGUARDING)}),
    frozenset({"TREAT", "ETREAT", "COC"}),
    frozenset(),
    frozenset({("Flag", Category.CP_IS)}),
    "gss:E08999901",
    "CP-IS",
)


class Rows:
    """A store with one answer."""

    async def read(self, *_: object, **__: object) -> object:
        return person_facts()


async def decided(access: Access, *, types: frozenset[str] = frozenset({"Flag"})) -> Permit | Deny:
    """What a clinician in a hospital's emergency department gets of a child nobody there knows."""
    asked = request(types=types)
    organisation = policy().organisation("ods:RXX98")
    assert organisation is not None
    hospital = replace(
        asked.caller, organisation=organisation, role=Coding(LOCAL_ROLE, "unscheduled-care"), purpose=Purpose.ETREAT
    )
    asked = replace(asked, caller=hospital, purpose=Purpose.ETREAT, access=access)
    facts = await gather(identity(), asked, store=Rows(), policy=policy(), feeds={}, now=NOW)
    return decide(facts, policy(), {**SOURCES, "cp-is": CP_IS})


@pytest.mark.anyio
async def test_who_does_not_say_it_is_told_that_it_must_be_said_whoever_the_person_is() -> None:
    made = await decided(Access.UNSAID)
    assert isinstance(made, Deny)
    assert (made.caller_level, made.reason, made.public_reason) == (True, "access-unsaid", NO_ACCESS)


async def of_a_gp(access: Access, *, view: str = "", person: object = None, **own: object) -> Permit | Deny:
    """What a GP gets of Flags, or of who looked at the plan: of a patient of the practice, or of whom `own` says."""
    asked = request(types=frozenset({"Flag"}))
    asked = replace(asked, access=access, query=replace(asked.query, view=view, interaction="everything" if view else "search"))
    gathered = await gather(identity(), asked, store=Rows(), policy=policy(), feeds={}, now=NOW)
    return decide(replace(gathered, **own), policy(), {**SOURCES, "cp-is": CP_IS})


@pytest.mark.anyio
async def test_who_looked_is_refused_to_whoever_does_not_say_it_whatever_else_they_may_see_and_whoever_it_is_about() -> None:
    for own in ({}, {"usable": False, "relationships": frozenset()}, {"protected": True}):
        made = await of_a_gp(Access.UNSAID, view="cp-is-access-history", **own)
        assert isinstance(made, Deny)
        assert (made.caller_level, made.public_reason) == (True, NO_ACCESS)
    made = await of_a_gp(Access.SCHEDULED, view="cp-is-access-history", relationships=frozenset({"registered-practice"}))
    assert isinstance(made, Permit)
    assert (set(made.allowed), made.sources) == ({Category.CP_IS}, {"cp-is"})  # and no other source of Flags is asked


@pytest.mark.anyio
@pytest.mark.parametrize("access", list(Access))
async def test_of_a_wider_question_it_is_known_that_CP_IS_was_left_out_alike_for_everybody(access: Access) -> None:  # noqa: N802
    registered = {"relationships": frozenset({"registered-practice"})}
    for own in (registered, {"usable": False, "relationships": frozenset()}, {**registered, "objection": True}):
        made = await of_a_gp(access, **own)
        assert isinstance(made, Permit) or not made.caller_level
        assert made.access_unsaid == (access is Access.UNSAID)


@pytest.mark.anyio
async def test_an_unscheduled_look_is_permitted_obliges_a_notice_and_the_audit_says_what_was_said() -> None:
    made = await decided(Access.UNSCHEDULED)
    assert isinstance(made, Permit)
    assert (set(made.allowed), made.obligations) == ({Category.CP_IS}, ("access-notice",))
    assert decision_entry(made, NOW).detail["facts"]["access"] == "unscheduled"


@pytest.mark.anyio
async def test_unscheduled_care_that_calls_the_visit_scheduled_is_refused() -> None:
    made = await decided(Access.SCHEDULED)
    assert isinstance(made, Deny)
    assert (made.caller_level, made.public_reason) == (True, NO_RULE)


def test_every_rule_that_shows_CP_IS_at_an_unscheduled_visit_obliges_the_notice() -> None:  # noqa: N802
    rules = policy().rules.by_id.values()
    showing = [rule for rule in rules if rule.file == "cp-is.cedar" and rule.effect == "permit" and "cp-is" in rule.id]
    assert {rule.id: rule.obliges for rule in showing} == {
        "cp-is-unscheduled": "access-notice",
        "cp-is-unscheduled-own-patient": "access-notice",
        "cp-is-scheduled": "",
    }


def test_a_decision_of_before_anybody_could_say_it_can_still_be_explained() -> None:
    plain = {
        **dict.fromkeys(("organisation", "organisation_kind", "role", "role_group", "purpose"), "x"),
        **dict.fromkeys(("has_case_reference", "usable", "objection", "protected", "deceased"), False),
        **{key: [] for key in ("agreements", "relationships", "consents")},
        "age_band": "unknown",
    }
    assert from_plain(plain).access == "unsaid"


def asked(**headers: str) -> Access:
    read = Asked(["Flag"], f"patient={PERSON}".encode(), b"", headers, "r", "c")
    return read_request(read, caller(), Reading(TYPES, True, 100, lambda _: None), NOW).access


def test_the_header_says_it_for_one_request_and_silence_is_neither() -> None:
    assert asked() is Access.UNSAID
    assert asked(**{"gateway-access-event": " unscheduled "}) is Access.UNSCHEDULED
    assert asked(**{"gateway-access-event": "scheduled"}) is Access.SCHEDULED


@pytest.mark.parametrize(
    "word",
    ["", "true", "unsaid", "Unscheduled", "scheduled, unscheduled", "unscheduled\u00a0", "\x85scheduled", "scheduled\u3000"],
)
def test_any_other_word_is_refused_and_taken_for_neither(word: str) -> None:
    with pytest.raises(InvalidParameter):
        asked(**{"gateway-access-event": word})


def test_the_facts_carry_what_was_said_to_the_rules() -> None:
    assert of(replace(facts(), access=Access.UNSCHEDULED)).access == "unscheduled"

"""May this be sent: what is the same for all is said, what depends on the person is not; and whom a mandate makes the Caller."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from gateway import consent
from gateway.caller.mandated import mandated, mandated_request
from gateway.consent import decide_sending
from gateway.errors import Refused
from gateway.flows.route_terms import kind_of, terms_of
from gateway.model import Category, Deny, Facts, Mandate, Permit, Purpose, Query, SourceTerms
from gateway.registry import Route
from gateway.systems import LOCAL_ROLE
from tests import fakes
from tests.delivery_world import NOW, SCOPES, Taker, route, rules

HEALTH, CENTRE, AUTHORITY = "ods:RXX99", "dfe-urn:199901", "gss:E08999901"


def facts(purpose: Purpose, organisation: str = HEALTH, group: str = "health-visitor", **given: Any) -> Facts:
    party = rules().organisation(organisation)
    assert party is not None
    asked = fakes.request(Query("send", fakes.AMARA, frozenset({"ServiceRequest"})), organisation=party, scopes=SCOPES)
    asked = replace(asked, purpose=purpose, received_at=NOW)
    values = {
        "organisation": organisation,
        "organisation_kind": party.kind,
        "role_group": group,
        "purpose": purpose,
        "agreements": rules().agreements_in_force(organisation, NOW.date()),
        "relationships": frozenset({"caseload"}),
    }
    return fakes.facts(asked, **{**values, **given})


def decided(held: Facts, name: str = "centre/referral", to: str = CENTRE) -> Permit | Deny:
    way: Route = route(name, Taker())
    return decide_sending(held, rules(), *kind_of(way), terms_of(way, held.organisation, rules()), to)


def refused(held: Facts, name: str = "centre/referral", to: str = CENTRE) -> Deny:
    decision = decided(held, name, to)
    assert isinstance(decision, Deny)
    return decision


def test_a_permit_names_its_rule_its_route_and_strips_nothing() -> None:
    permit = decided(facts(Purpose.COC))
    assert isinstance(permit, Permit)
    assert {category: [use.id for use in uses] for category, uses in permit.allowed.items()} == {
        Category.REFERRAL: ["health-sends-referral"]
    }
    assert (permit.sources, permit.strip, permit.may_know_withheld) == ({"centre/referral"}, frozenset(), frozenset())
    assert (permit.policy_hash, set(permit.terms)) == (rules().hash, {"centre/referral"})


def unscoped() -> Facts:
    held = facts(Purpose.COC)
    request = replace(held.request, caller=replace(held.request.caller, scopes=frozenset({"system/*.rs"})))
    return replace(held, request=request)


@pytest.mark.parametrize(
    ("held", "name", "to", "reason", "public"),
    [
        (unscoped(), "centre/referral", CENTRE, "scope", consent.NO_SEND_SCOPE.format("ServiceRequest")),
        (facts(Purpose.COC, group="unknown"), "centre/referral", CENTRE, "role-unknown", consent.NO_ROLE),
        (facts(Purpose.COC), "centre/referral", AUTHORITY, "no-agreement", consent.NO_SEND_AGREEMENT),
        (facts(Purpose.TREAT), "centre/referral", CENTRE, "no-agreement", consent.NO_SEND_AGREEMENT),
        (facts(Purpose.MASH), "centre/referral", CENTRE, "no-agreement", consent.NO_SEND_AGREEMENT),
        (facts(Purpose.MASH, group="social-worker"), "authority/concern", AUTHORITY, "no-rule", consent.NO_SEND_RULE),
        (facts(Purpose.COC, CENTRE, "centre-worker"), "centre/referral", CENTRE, "no-agreement", consent.NO_SEND_AGREEMENT),
    ],
)
def test_what_is_the_same_for_every_person_is_said(held: Facts, name: str, to: str, reason: str, public: str) -> None:
    for other in (held, replace(held, usable=False, relationships=frozenset())):
        deny = refused(other, name, to)
        assert (deny.caller_level, deny.reason, deny.public_reason) == (True, reason, public)
        assert deny.contact
        assert deny.rules
        assert (deny.sources, deny.policy_hash) == (frozenset(), rules().hash)


def test_a_missing_scope_is_named_in_full() -> None:
    assert "it needs system/ServiceRequest.c." in refused(unscoped(), "centre/referral", CENTRE).public_reason


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"relationships": frozenset()}, "no-relationship"),
        ({"usable": False, "relationships": frozenset()}, "send-not-traced"),
        ({"usable": False}, "send-not-traced"),
    ],
)
def test_what_depends_on_the_person_is_for_the_log_alone(given: dict[str, Any], reason: str) -> None:
    deny = refused(facts(Purpose.COC, **given))
    assert (deny.caller_level, deny.reason, deny.public_reason) == (False, reason, "")
    assert deny.contact
    assert deny.rules
    assert (deny.sources, deny.policy_hash) == ({"centre/referral"}, rules().hash)


def test_a_concern_needs_no_relationship_and_an_agreement_needs_its_days() -> None:
    concern = facts(Purpose.MASH, relationships=frozenset())
    assert isinstance(decided(concern, "authority/concern", AUTHORITY), Permit)
    early = replace(concern, request=replace(concern.request, received_at=NOW.replace(year=2025)))
    assert refused(early, "authority/concern", AUTHORITY).reason == "no-agreement"


def test_an_agreement_counts_only_between_its_giver_and_who_signed_it() -> None:
    terms = terms_of(route("centre/referral", Taker()), HEALTH, rules())
    on = date(2026, 11, 22)

    def agreed(**given: Any) -> bool:
        held: SourceTerms = replace(terms, **given)
        return rules().agreed_with(CENTRE, "COC", Category.REFERRAL, held, on)

    assert agreed()
    assert not agreed(custodian="ods:A99901")
    assert not agreed(agreement="referral-health-authority")
    assert not agreed(purposes=frozenset({"EARLYHELP"}))
    assert not rules().agreed_with(CENTRE, "COC", Category.ALLERGIES, terms, on)
    assert terms_of(route("centre/referral", Taker()), "ods:A99901", rules()).agreement == ""


# ------------------------------------------------------------------------------------------------------------- mandates


def mandate(**given: Any) -> Mandate:
    values: dict[str, Any] = {
        "id": "mandate-1",
        "organisation": CENTRE,
        "role": f"{LOCAL_ROLE}|centre-worker",
        "purpose": Purpose.COC,
        "agreement": "a",
        "route": "centre/referral",
        "scopes": frozenset({"system/ServiceRequest.rs"}),
        "starts": NOW,
        "expires": NOW + timedelta(days=1),
    }
    return Mandate(**{**values, **given})


def test_a_mandate_in_force_makes_its_recipient_the_caller_and_nobody_else() -> None:
    caller = mandated(mandate(), rules().organisation, NOW)
    assert (caller.organisation.code, caller.role.code, caller.purpose) == (CENTRE, "centre-worker", Purpose.COC)
    assert (caller.mandate, caller.client_version, caller.may_ask_for) == ("mandate-1", None, {"ServiceRequest"})
    assert (caller.may_send, caller.may_read) == (frozenset(), {"ServiceRequest"})
    query = Query("deliver", fakes.AMARA, frozenset({"ServiceRequest", "Patient"}))
    request = mandated_request(caller, query, request_id="r", correlation_id="c", at=NOW)
    assert (request.purpose, request.types_in_scope) == (Purpose.COC, {"ServiceRequest"})


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({}, NOW - timedelta(seconds=1)),
        ({}, NOW + timedelta(days=1)),
        ({"revoked_at": NOW}, NOW),
        ({"organisation": "ods:NOBODY"}, NOW),
    ],
)
def test_a_mandate_that_is_not_in_force_makes_nobody(given: dict[str, Any], at: Any) -> None:
    with pytest.raises(Refused):
        mandated(mandate(**given), rules().organisation, at)


def test_a_caller_of_a_token_makes_no_due_request() -> None:
    with pytest.raises(Refused):
        mandated_request(fakes.caller(), Query("deliver", fakes.AMARA, frozenset()), request_id="", correlation_id="", at=NOW)

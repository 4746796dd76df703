import random
from dataclasses import fields, replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_world import FOLDER, SOURCES, facts, policy

from gateway import systems
from gateway.model import CareClass, Category, Coding, Facts, Grain, Mark, OrganisationKind, Purpose, SourceTerms
from gateway.policy import DEFAULT_DENY, Broken, Circumstances, as_plain, check, from_plain, load, of
from gateway.policy import engine as engine_module
from gateway.policy.circumstances import ACCESSES, cedar_context
from gateway.policy.rules import ACTIONS

RELATIONSHIPS = ("registered-practice", "caseload", "allocated-worker", "centre-registration")
SCOPES = ("direct-care", "share-health", "share-authority", "share-centres")
BASES = policy().agreements_in_force("ods:A99901", date(2026, 11, 21))
LAW = frozenset(name for name in BASES if name.startswith("law:"))
NO_TERMS = SourceTerms("a-source", "", "gp-record", frozenset(), frozenset(Purpose))
PURPOSES = [purpose.value for purpose in Purpose]

circumstances = st.builds(
    Circumstances,
    organisation=st.just("ods:A99901"),
    organisation_kind=st.sampled_from([kind.value for kind in OrganisationKind]),
    role=st.just("r|c"),
    role_group=st.sampled_from(
        ["gp", "health-visitor", "centre-worker", "social-worker", "unscheduled-care", "auditor", "unknown"]
    ),
    purpose=st.sampled_from(PURPOSES),
    agreements=st.just(LAW),
    has_case_reference=st.booleans(),
    usable=st.booleans(),
    relationships=st.frozensets(st.sampled_from(RELATIONSHIPS)),
    consents=st.frozensets(st.tuples(st.sampled_from(SCOPES), st.sampled_from(["permit", "deny"]))),
    objection=st.booleans(),
    protected=st.booleans(),
    deceased=st.booleans(),
    age_band=st.sampled_from(["under-1", "1-4", "adult", "unknown"]),
    access=st.sampled_from(ACCESSES),
)


def context_of(here, care_class, *, locked, agreed, allow, not_early_years=False):
    return {
        **cedar_context(here),
        "care_class": {"__entity": {"type": "CareClass", "id": care_class}},
        "locked": locked,
        "not_early_years": not_early_years,
        "agreed": agreed,
        "source_terms_allow": allow,
    }


# ---------------------------------------------------------------------------------------------- the differential test

CARE = {"TREAT", "ETREAT", "COC"}
HEALTH = {"demographics", "allergies", "medications", "problems", "immunisations", "child-health-reviews", "other-health"}
CENTRE = {"centre-involvement", "centre-attendance", "childcare-offer"}
BY_CONSENT_ALONE = {"centre-consent", "childcare-offer"}  # no enquiry opens them
WARNINGS = {"child-protection", "social-care-involvement"}


def oracle(here, category, care_class, *, locked, agreed, allow, not_early_years=False):
    """The rules again, by hand: whether `see` is allowed. None stands for an attribute that is missing."""
    if None in (here.purpose, here.role_group, care_class, locked, agreed, allow, here.usable, here.objection):
        return False
    who, why, what, given_ = here.role_group, here.purpose, here.relationships, here.consents_given
    if locked or not agreed or not allow or not here.usable:
        return False
    if not_early_years and (here.organisation_kind == "childrens-centre" or here.purpose == "EARLYHELP"):
        return False
    if category == "cp-is":  # no consent is asked and no objection counts: a word about the visit is
        return oracle_cp_is(here, care_class)
    if (why in CARE and here.objection) or (care_class == "special" and why != "S47"):
        return False
    kin = {"gp": "registered-practice", "health-visitor": "caseload"}.get(who)
    home = {"gp": "gp-practice", "health-visitor": "community-health"}.get(who)
    if kin and why == "BTG" and here.has_case_reference:  # the reason; neither relationship nor consent, and locks as ever
        return here.organisation_kind == home and category in HEALTH and care_class in {"identity", "operational", "health"}
    if kin and why in CARE and kin in what:
        if here.organisation_kind == home and category in HEALTH and care_class in {"identity", "operational", "health"}:
            return True
        if here.organisation_kind == home and category in WARNINGS:
            return True
        plain = care_class in {"identity", "operational", "social-care"}
        asked = category == "centre-involvement" and here.organisation_kind == home and why in {"TREAT", "COC"}
        return asked and plain and "share-health" in given_
    if who == "centre-worker" and why in {"COC", "EARLYHELP"} and here.organisation_kind == "childrens-centre":
        mine = {"demographics", "immunisations", "child-health-reviews", "social-care-involvement"} | CENTRE | BY_CONSENT_ALONE
        held = mine if "centre-registration" in what else set()
        sent = {"referral", "demographics"} if "addressed" in what else set()
        fit = "share-centres" in given_ and not here.deceased
        return fit and category in held | sent and care_class not in {"safeguarding", "special"}
    if who == "social-worker" and here.organisation_kind == "local-authority" and why == "MASH":
        return "addressed" in what and category in {"referral", "demographics", "access-notice"}
    if who == "social-worker" and here.organisation_kind == "local-authority":
        if not here.has_case_reference or "allocated-worker" not in what:
            return False
        if why == "S47":
            return category not in {"access-log", "access-notice"} | BY_CONSENT_ALONE
        if why == "S17" and category in CENTRE:
            return "share-authority" in given_ and care_class not in {"safeguarding", "special"}
        return (
            why == "S17"
            and category in {"demographics", "immunisations", "child-health-reviews", "social-care-record"} | WARNINGS
        )
    return False


def oracle_cp_is(here, care_class):
    """Who sees that a plan is known, by hand."""
    if care_class == "special" or here.access == "unsaid":
        return False
    if here.role_group == "unscheduled-care":
        return here.organisation_kind == "hospital" and here.purpose == "ETREAT" and here.access == "unscheduled"
    kin = {"gp": "registered-practice", "health-visitor": "caseload"}.get(here.role_group)
    if kin not in here.relationships or here.organisation_kind != KINDS[here.role_group]:
        return False
    return here.purpose in (CARE if here.access == "unscheduled" else {"TREAT", "COC"})


@settings(max_examples=400, deadline=None)
@given(
    here=circumstances,
    category=st.sampled_from([category.value for category in Category]),
    care_class=st.sampled_from([care_class.value for care_class in CareClass]),
    locked=st.sampled_from([False, False, True]),
    not_early_years=st.booleans(),
    agreed=st.sampled_from([True, True, False]),
    allow=st.sampled_from([True, True, False]),
    missing=st.sampled_from(
        [
            "",
            "",
            "",
            "",
            "care_class",
            "locked",
            "not_early_years",
            "agreed",
            "source_terms_allow",
            "purpose",
            "objection",
            "traced",
        ]
    ),
)
def test_the_rules_decide_as_the_same_rules_written_by_hand(
    here, category, care_class, locked, not_early_years, agreed, allow, missing
):
    labels = {"locked": locked, "agreed": agreed, "allow": allow, "not_early_years": not_early_years}
    context = context_of(here, care_class, **labels)
    context.pop(missing, None)
    verdict = policy().rules.ask("see", here.purpose, here.role_group, ("Category", category), context)
    assert verdict.allowed is (not missing and oracle(here, category, care_class, **labels))
    assert bool(verdict.errors) is bool(missing)


def oracle_sends(here, category, *, agreed):
    """Who may send what, by hand."""
    kin = {"gp": "registered-practice", "health-visitor": "caseload", "centre-worker": "centre-registration"}.get(here.role_group)
    if not agreed or not here.usable or kin is None or here.organisation_kind != KINDS[here.role_group]:
        return False
    if here.purpose == "MASH":
        return category == "referral"
    if here.role_group == "centre-worker":
        return here.purpose == "COC" and category == "centre-involvement" and kin in here.relationships
    return here.purpose in {"COC", "EARLYHELP"} and category == "referral" and kin in here.relationships


@settings(max_examples=300, deadline=None)
@given(here=circumstances, category=st.sampled_from(list(Category)), agreed=st.booleans())
def test_the_rules_of_sending_decide_as_the_same_rules_written_by_hand(here, category, agreed):
    decision = policy().rulings(here).send(category, CareClass.SOCIAL_CARE, agreed=agreed)
    assert decision.allowed is oracle_sends(here, category.value, agreed=agreed)
    assert not decision.errors


def oracle_keeps(here, mark):
    """The marks again, by hand."""
    enquiry = here.role_group == "social-worker" and here.purpose == "S47" and "allocated-worker" in here.relationships
    return {
        "locating": not here.protected,
        "third-party": enquiry,
        "intelligence": enquiry,
        "opinion": here.purpose in CARE | {"BTG", "S17", "S47"} and here.role_group in {"gp", "health-visitor", "social-worker"},
        "not-for-family": here.purpose not in {"FAMRQT", "PATRQT"},
    }[mark]


def oracle_knows(here):
    """Who may know that something is withheld, by hand."""
    mine = here.role_group == "social-worker" and "allocated-worker" in here.relationships
    return mine and here.purpose == "S47" and here.has_case_reference


def oracle_audits(here, category, *, agreed):
    """Who may read the log, by hand."""
    mine = here.role_group == "auditor" and here.organisation_kind == "governance" and here.purpose == "HCOMPL"
    return mine and category == "access-log" and agreed


KINDS = {
    "gp": "gp-practice",
    "health-visitor": "community-health",
    "centre-worker": "childrens-centre",
    "social-worker": "local-authority",
    "unscheduled-care": "hospital",
    "auditor": "governance",
}
CONSENTED = frozenset((scope, "permit") for scope in SCOPES)
FITTING = {"locked": False, "agreed": True, "allow": True}


def personas():
    """One caller of each role, with everything in place and nothing against; in turn for each purpose."""
    for role, kind in KINDS.items():
        for purpose in PURPOSES:
            yield Circumstances(
                "o", kind, "r|c", role, purpose, LAW, True, True, frozenset(RELATIONSHIPS), CONSENTED, False, False, False, "1-4",
                "unscheduled",
            )  # fmt: skip


def neighbours(here):
    """Every change of one fact."""
    for role in (*KINDS, "unknown"):
        yield here._replace(role_group=role)
    for kind in OrganisationKind:
        yield here._replace(organisation_kind=kind.value)
    for name in RELATIONSHIPS:
        yield here._replace(relationships=here.relationships - {name})
    for scope in SCOPES:
        yield here._replace(consents=here.consents - {(scope, "permit")})
        yield here._replace(consents=here.consents | {(scope, "deny")})
    for access in ACCESSES:
        yield here._replace(access=access)
    for name in ("has_case_reference", "usable", "objection", "protected", "deceased"):
        yield here._replace(**{name: not getattr(here, name)})


def seen(here, category, care_class, **labels):
    context = context_of(here, care_class, **labels)
    return policy().rules.ask("see", here.purpose, here.role_group, ("Category", category), context).allowed


def test_every_category_class_and_purpose_is_decided_as_by_hand():
    for here in personas():
        for category in Category:
            for care_class in CareClass:
                wanted = oracle(here, category.value, care_class.value, **FITTING)
                assert seen(here, category, care_class, **FITTING) is wanted, (here, category, care_class)


def test_every_change_of_one_fact_is_decided_as_by_hand():
    for here in personas():
        for category in Category:
            care_class = CareClass.OPERATIONAL if category.startswith("centre") else CareClass.IDENTITY
            for other in neighbours(here) if oracle(here, category.value, care_class.value, **FITTING) else ():
                wanted = oracle(other, category.value, care_class.value, **FITTING)
                assert seen(other, category, care_class, **FITTING) is wanted, (other, category)
            for name in FITTING:
                assert seen(here, category, care_class, **{**FITTING, name: not FITTING[name]}) is False


def test_marks_the_log_and_what_may_be_known_are_decided_as_by_hand():
    rules = policy().rules
    for start in personas():
        near = neighbours(start) if start.purpose in ("TREAT", "S47", "HCOMPL") else ()
        for here in (start, *near):
            asked = here.purpose, here.role_group
            for mark in Mark:
                kept = rules.ask("keep", *asked, ("Mark", mark), cedar_context(here)).allowed
                assert kept is oracle_keeps(here, mark.value), (here, mark)
            for category in (Category.ACCESS_LOG, Category.ALLERGIES):
                for agreed in (True, False):
                    context = context_of(here, "operational", locked=False, agreed=agreed, allow=True)
                    read = rules.ask("audit", *asked, ("Category", category), context).allowed
                    assert read is oracle_audits(here, category.value, agreed=agreed), (here, category)
                    assert rules.ask("know", *asked, ("Category", category), context).allowed is oracle_knows(here), here


def test_slice_and_whole_agree_on_ten_thousand_random_requests():
    rng = random.Random(20261121)
    rules = policy().rules
    for _ in range(10_000):
        here = Circumstances(
            organisation="o",
            organisation_kind=rng.choice(list(OrganisationKind)).value,
            role="r|c",
            role_group=rng.choice(sorted(rules.enums["Role"])),
            purpose=rng.choice(PURPOSES),
            agreements=frozenset(),
            has_case_reference=rng.random() < 0.7,
            usable=rng.random() < 0.9,
            relationships=frozenset(rng.sample(RELATIONSHIPS, rng.randint(0, 4))),
            consents=frozenset((scope, rng.choice(["permit", "deny"])) for scope in rng.sample(SCOPES, rng.randint(0, 4))),
            objection=rng.random() < 0.2,
            protected=rng.random() < 0.3,
            deceased=rng.random() < 0.2,
            age_band="unknown",
            access=rng.choice(ACCESSES),
        )
        action = rng.choice(ACTIONS)
        context = cedar_context(here)
        resource = ("Mark", rng.choice(list(Mark)))
        if action != "keep":
            resource = ("Category", rng.choice(list(Category)))
            labels = {"locked": rng.random() < 0.1, "agreed": rng.random() < 0.9, "allow": rng.random() < 0.9}
            context = context_of(here, rng.choice(list(CareClass)), **labels)
        asked = (action, here.purpose, here.role_group, resource, context)
        assert rules.ask(*asked) == rules.ask(*asked, whole=True)


def test_slices_are_smaller_than_the_whole():
    rules = policy().rules
    assert len(rules.whole) == len(rules.by_id)
    assert all(len(part) < len(rules.whole) for part in rules.slices.values())
    assert set(rules.slices) == {(action, purpose) for action in ACTIONS for purpose in PURPOSES}


@settings(max_examples=150, deadline=None)
@given(here=circumstances, category=st.sampled_from(list(Category)), care_class=st.sampled_from(list(CareClass)))
def test_a_relationship_or_a_consent_more_never_takes_anything_away(here, category, care_class):
    more = here._replace(
        relationships=frozenset(RELATIONSHIPS),
        consents=frozenset((scope, "permit") for scope in policy().rules.enums["Scope"]),
        objection=False,
        usable=True,
    )
    flows = frozenset(flow for _, flow in policy()._flows.get((here.organisation, here.purpose, category), ()))
    grain = Grain(category, care_class, "a-source")
    before = policy().rulings(here._replace(agreements=LAW | flows)).see(grain)
    after = policy().rulings(more._replace(agreements=LAW | flows)).see(grain)
    assert after.allowed or not before.allowed


# --------------------------------------------------------------------------------------------------- closed in doubt


def test_a_forbid_outranks_every_permit():
    decision = policy().evaluate(facts(), Grain(Category.ALLERGIES, CareClass.HEALTH, "gp", locked=True), SOURCES["gp"])
    assert (decision.allowed, [use.id for use in decision.forbidden_by]) == (False, ["source-lock"])


def test_an_evaluation_error_is_never_allowed():
    wrong = replace(facts(), relationships=frozenset({"registered-practice", "a-kind-nobody-listed"}))
    decision = policy().evaluate(wrong, Grain(Category.ALLERGIES, CareClass.HEALTH, "gp"), SOURCES["gp"])
    assert decision.allowed is False
    assert decision.errors


def test_a_purpose_nobody_listed_has_no_rules():
    verdict = policy().rules.ask("see", "WHIM", "gp", ("Category", "allergies"), {})
    assert (verdict.allowed, verdict.errors) == (False, ("unknown-purpose",))


def test_what_no_rule_permits_is_denied_by_default():
    decision = policy().evaluate(
        facts(relationships=frozenset()), Grain(Category.ALLERGIES, CareClass.HEALTH, "gp"), SOURCES["gp"]
    )
    assert decision.forbidden_by == (DEFAULT_DENY,)


def test_a_permit_whose_basis_in_law_is_not_in_force_does_not_count():
    here = of(facts())
    before = policy().rulings(here._replace(agreements=here.agreements - {"law:hsca2012-s251b"}))
    decision = before.see(Grain(Category.ALLERGIES, CareClass.HEALTH, "gp"), SOURCES["gp"])
    assert (decision.allowed, decision.forbidden_by) == (False, (DEFAULT_DENY,))


def test_the_agreement_asked_is_the_sources_own():
    grain = Grain(Category.ALLERGIES, CareClass.HEALTH, "gp")
    assert policy().evaluate(facts(), grain, replace(SOURCES["gp"], agreement="child-health-record")).allowed is False
    assert policy().evaluate(facts(), grain, replace(SOURCES["gp"], custodian="ods:RXX99")).allowed is False
    assert policy().evaluate(facts(), grain, SOURCES["gp"]).allowed is True


# ------------------------------------------------------------------------------------------------------------ memory


def test_what_policy_reads_is_exactly_the_comparable_part_of_facts():
    assert [item.name for item in fields(Facts) if item.compare] == list(Circumstances._fields)


def test_a_decision_is_made_once_for_the_same_circumstances():
    rulings = policy().rulings(of(facts()))
    assert policy().rulings(of(facts())) is rulings
    grain = Grain(Category.ALLERGIES, CareClass.HEALTH, "gp")
    assert rulings.see(grain, SOURCES["gp"]) is rulings.see(grain, SOURCES["gp"])
    assert rulings.keep(Mark.LOCATING) is rulings.keep(Mark.LOCATING)
    assert rulings.may_know(Category.ALLERGIES) is rulings.may_know(Category.ALLERGIES)


def test_the_memory_of_decisions_is_bounded(monkeypatch):
    monkeypatch.setattr(engine_module, "REMEMBERED", 3)
    fresh = load(FOLDER)
    here = of(facts())
    for number in range(10):
        other = here._replace(role=f"r|{number}")
        fresh.rulings(other)
        fresh.kindest(other)
        fresh.agreements_in_force("ods:A99901", date(2026, 1, number + 1))
    assert len(fresh._rulings) <= 3
    assert len(fresh._kindest) <= 3
    assert len(fresh._in_force) <= 3


def test_circumstances_survive_the_audit_log():
    here = of(facts())._replace(consents=frozenset({("share-health", "permit"), ("share-centres", "deny")}))
    assert from_plain(as_plain(here)) == here


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": 1},
        {"usable": "yes"},
        {"agreements": "law:x"},
        {"relationships": [1]},
        {"consents": [["share-health", "perhaps"]]},
        {"consents": "none"},
        {"extra": True},
    ],
)
def test_facts_of_another_shape_are_refused(change):
    with pytest.raises(Broken):
        from_plain({**as_plain(of(facts())), **change})


# ------------------------------------------------------------------------------------------ organisations and others


@pytest.mark.parametrize(
    "name",
    ["ods:A99901", f"{systems.ODS_CODE}|A99901"],
)
def test_an_organisation_is_known_by_each_of_its_identifiers(name):
    found = policy().organisation(name)
    assert found is not None
    assert found.code == "ods:A99901"


def test_the_authority_is_known_by_gss_and_lea_code_and_the_centre_by_urn():
    authority = policy().organisation(f"{systems.GSS_CODE}|E08999901")
    assert authority is policy().organisation("urn:shared-care-gateway:dfe-lea|999")
    centre = policy().organisation("urn:shared-care-gateway:dfe-urn|199901")
    assert centre is not None
    assert centre.code == "dfe-urn:199901"
    assert policy().organisation("A99901") is None


def test_a_role_is_known_by_system_and_code_together():
    assert policy().role_group(Coding(systems.SDS_JOB_ROLE, "R0260")) == "gp"
    assert policy().role_group(Coding(systems.LOCAL_ROLE, "R0260")) == "unknown"


def test_the_contact_is_the_one_agreements_or_the_callers_own():
    assert policy().contact("ods:A99901", {Category.CENTRE_INVOLVEMENT}) == "Centre Manager, Willow Children's Centre"
    assert policy().contact("ods:A99901", set(Category)) == "Caldicott Guardian, Riverside Surgery"
    assert policy().contact("ods:NOBODY", set(Category)) == "The governance lead of your own organisation"


def test_the_shipped_policy_decides_its_own_cases_as_written():
    assert check(policy()) == []


def test_an_agreement_is_found_by_its_id():
    found = policy().agreement("gp-record")
    assert found is not None
    assert found.gives == "registered-practice"
    assert policy().agreement("none") is None

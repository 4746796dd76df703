import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_world import EVERY_TYPE, FOLDER, HOMES, PERSON, SOURCES, facts, identity, policy, request

from gateway.consent import NO_AGREEMENT, NO_CASE, NO_REASON, NO_ROLE, NO_RULE, NO_SCOPE, NO_SOURCE, decide
from gateway.model import Category, ConsentFact, Deny, Mark, NotUsable, Permit, Purpose
from gateway.policy import DEFAULT_DENY, load

SHARE = {scope: ConsentFact(scope, "permit") for scope in ("share-health", "share-authority", "share-centres")}


def permit(*args, **kwargs) -> Permit:
    made = decide(facts(*args, **kwargs), policy(), SOURCES)
    assert isinstance(made, Permit), made
    return made


def deny(*args, **kwargs) -> Deny:
    made = decide(facts(*args, **kwargs), policy(), SOURCES)
    assert isinstance(made, Deny), made
    return made


def test_the_registered_gp_is_permitted_the_health_record_and_warnings():
    made = permit()
    assert set(made.allowed) == {
        Category.DEMOGRAPHICS,
        Category.ALLERGIES,
        Category.PROBLEMS,
        Category.IMMUNISATIONS,
        Category.CHILD_HEALTH_REVIEWS,
        Category.CHILD_PROTECTION,
        Category.SOCIAL_CARE_INVOLVEMENT,
    }
    assert [use.id for use in made.allowed[Category.ALLERGIES]] == ["direct-care-gp"]
    assert [use.id for use in made.allowed[Category.CHILD_PROTECTION]] == ["warnings-to-gp"]
    assert made.sources == frozenset(SOURCES)
    assert made.terms == SOURCES
    assert made.policy_hash == policy().hash
    assert made.may_know_withheld == frozenset()
    assert made.obligations == ()


def test_the_centre_is_named_to_the_gp_whether_or_not_a_parent_agreed():
    assert permit().sources == permit(consents=frozenset({SHARE["share-health"]})).sources


def test_consent_opens_the_centres_involvement_to_the_gp():
    made = permit(consents=frozenset({SHARE["share-health"]}))
    assert [use.id for use in made.allowed[Category.CENTRE_INVOLVEMENT]] == ["centre-involvement-to-health"]


def test_a_refusal_outweighs_a_consent_of_the_same_scope():
    both = frozenset({SHARE["share-health"], ConsentFact("share-health", "deny")})
    assert Category.CENTRE_INVOLVEMENT not in permit(consents=both).allowed


def test_a_centre_with_consent_sees_its_categories_and_no_more():
    made = permit("centre-worker", Purpose.COC, consents=frozenset({SHARE["share-centres"]}))
    assert set(made.allowed) == {
        Category.DEMOGRAPHICS,
        Category.IMMUNISATIONS,
        Category.CHILD_HEALTH_REVIEWS,
        Category.CENTRE_INVOLVEMENT,
        Category.CENTRE_ATTENDANCE,
    }
    assert made.sources == {"child-health", "centre"}


def test_a_centre_without_consent_gets_the_empty_answer_of_the_same_sources():
    made = deny("centre-worker", Purpose.COC)
    assert (made.caller_level, made.reason) == (False, "centre-consent-missing-or-refused")
    assert made.public_reason == ""
    assert made.sources == {"child-health", "centre"}


def test_the_allocated_social_worker_of_a_section_47_enquiry_needs_no_consent():
    made = permit("social-worker", Purpose.S47, case="CASE-1", consents=frozenset({ConsentFact("share-authority", "deny")}))
    assert {Category.CHILD_PROTECTION, Category.CENTRE_ATTENDANCE, Category.CHILD_HEALTH_REVIEWS} <= set(made.allowed)
    assert "gp" not in made.sources
    assert Category.CENTRE_ATTENDANCE in made.may_know_withheld
    assert made.strip == frozenset()


def test_a_section_17_assessment_is_narrower_than_a_section_47_enquiry():
    enquiry = permit("social-worker", Purpose.S47, case="CASE-1")
    assessment = permit("social-worker", Purpose.S17, case="CASE-1")
    assert set(assessment.allowed) < set(enquiry.allowed)
    assert {Mark.THIRD_PARTY, Mark.INTELLIGENCE} <= assessment.strip


def test_an_enquiry_without_a_case_reference_is_refused_for_every_person_alike():
    made = deny("social-worker", Purpose.S47)
    assert (made.caller_level, made.reason, made.public_reason) == (True, "no-case-reference", NO_CASE)
    assert made.sources == frozenset()


def test_the_auditor_gets_the_log_and_no_record():
    log = request("auditor", Purpose.HCOMPL, types=frozenset({"AuditEvent"}), interaction="audit-search")
    made = permit(asked=log)
    assert set(made.allowed) == {Category.ACCESS_LOG}
    assert made.sources == frozenset()
    assert deny("auditor", Purpose.HCOMPL).reason == "no-agreement"


def test_the_auditor_reads_the_log_of_a_number_that_leads_to_nobody():
    log = request("auditor", Purpose.HCOMPL, types=frozenset({"AuditEvent"}), interaction="audit-search")
    assert set(permit(asked=log, of=NotUsable("unknown", None)).allowed) == {Category.ACCESS_LOG}


def test_a_gp_is_refused_the_log():
    log = request("gp", Purpose.TREAT, types=frozenset({"AuditEvent"}), interaction="audit-search")
    assert deny(asked=log).caller_level is True


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"relationships": frozenset()}, "no-relationship"),
        ({"of": NotUsable("unknown", None)}, "not-traced"),
        ({"objection": True}, "objection-to-direct-care-sharing"),
    ],
)
def test_what_depends_on_the_person_is_an_empty_answer_naming_the_same_sources(changes, reason):
    made = deny(**changes)
    assert (made.caller_level, made.reason, made.public_reason) == (False, reason, "")
    assert made.sources == permit().sources


def test_an_objection_is_named_though_the_relationship_is_missing_too():
    made = deny(objection=True, relationships=frozenset())
    assert (made.reason, [use.id for use in made.rules]) == (
        "objection-to-direct-care-sharing",
        ["objection-to-direct-care-sharing", "centre-to-health-consent-missing-or-refused"],
    )


def test_the_centre_sees_nothing_of_a_child_who_died_whatever_consent_says():
    made = deny("centre-worker", Purpose.COC, consents=frozenset({SHARE["share-centres"]}), deceased=True)
    assert (made.caller_level, made.reason) == (False, "centre-stops-at-a-death")


def test_an_unknown_role_is_refused_for_every_person_alike():
    made = deny("nobody")
    assert (made.caller_level, made.reason, made.public_reason) == (True, "role-unknown", NO_ROLE)


def test_no_agreement_is_refused_with_the_callers_own_contact():
    made = deny(agreements=frozenset())
    assert (made.caller_level, made.reason, made.public_reason) == (True, "no-agreement", NO_AGREEMENT)
    assert [use.id for use in made.rules] == ["no-agreement"]
    assert made.contact == "Caldicott Guardian, Riverside Surgery"


def test_a_purpose_nobody_granted_to_this_role_is_refused_for_every_person_alike():
    made = deny(
        "social-worker", Purpose.S17, asked=request("social-worker", Purpose.S17, types=frozenset({"Patient"})), role_group="gp"
    )
    assert (made.caller_level, made.reason, made.public_reason) == (True, "no-rule", NO_RULE)
    assert made.rules == (DEFAULT_DENY,)


def test_breaking_the_glass_without_a_reason_is_refused_for_every_person_alike():
    made = deny("gp", Purpose.BTG)
    assert (made.caller_level, made.reason, made.public_reason) == (True, "no-reason", NO_REASON)


def test_breaking_the_glass_needs_no_relationship_and_obliges_a_notice():
    made = permit("gp", Purpose.BTG, case="unconscious, nothing known", objection=True, relationships=frozenset())
    assert made.obligations == ("break-glass-notice",)
    assert {use.id for uses in made.allowed.values() for use in uses} == {"break-glass"}


def test_a_scope_that_covers_none_of_the_types_is_refused_for_every_person_alike():
    made = deny(asked=request(types=frozenset({"Flag"}), scopes=frozenset({"system/Immunization.rs"})))
    assert (made.caller_level, made.reason, made.public_reason) == (True, "scope", NO_SCOPE)
    assert made.rules == (DEFAULT_DENY,)


def test_an_auditor_whose_scopes_leave_out_the_log_is_refused():
    asked = request(
        "auditor",
        Purpose.HCOMPL,
        types=frozenset({"AuditEvent"}),
        scopes=frozenset({"system/Patient.rs"}),
        interaction="audit-search",
    )
    assert deny(asked=asked).reason == "scope"


def test_a_type_that_no_source_gives_is_refused_for_every_person_alike():
    made = deny(asked=request(types=frozenset({"Provenance"})))
    assert (made.caller_level, made.reason, made.public_reason) == (True, "no-source", NO_SOURCE)


def test_scopes_and_types_narrow_what_is_permitted_and_which_sources_are_named():
    made = permit(asked=request(scopes=frozenset({"system/Immunization.rs", "system/Patient.rs"})))
    assert set(made.allowed) == {Category.DEMOGRAPHICS, Category.IMMUNISATIONS}
    assert made.sources == {"child-health"}


def test_a_source_that_does_not_list_types_is_not_narrowed_by_them():
    loose = {name: replace(terms, types=frozenset()) for name, terms in SOURCES.items()}
    made = decide(facts(asked=request(types=frozenset({"Flag"}))), policy(), loose)
    assert isinstance(made, Permit)
    assert made.sources == frozenset(SOURCES)


def test_a_read_by_id_is_a_question_to_the_kind_of_source_that_the_id_names():
    def of(kind: str) -> Permit | Deny:
        asked = request(types=frozenset({"Flag", "Encounter"}), interaction="read", resource_id=f"{PERSON}.{kind}.x")
        return decide(facts(asked=asked), policy(), SOURCES)

    assert of("child-health").sources == {"child-health"}
    assert of("local-authority").sources == {"authority"}
    refused = of("gp")  # which gives neither type
    assert isinstance(refused, Deny)
    assert (refused.caller_level, refused.reason) == (True, "no-source")
    assert of("nothing").sources >= {"child-health", "authority"}  # no kind of ours: as wide as it was asked


def test_a_protected_person_is_stripped_of_what_locates_and_keeps_the_record():
    made = permit(protected=True)
    assert Mark.LOCATING in made.strip
    assert Category.ALLERGIES in made.allowed
    assert Mark.LOCATING not in permit().strip


def test_a_stale_trace_strips_what_locates():
    assert Mark.LOCATING in permit(of=identity(stale=True)).strip


def test_a_source_outside_its_own_terms_is_not_covered():
    narrow = {"gp": replace(SOURCES["gp"], purposes=frozenset({"ETREAT"}))}
    made = decide(facts(asked=request(types=frozenset({"AllergyIntolerance"}))), policy(), narrow)
    assert isinstance(made, Deny)
    assert made.caller_level is True


def test_a_source_of_another_custodian_than_its_agreement_names_is_not_covered():
    other = {"centre": replace(SOURCES["child-health"], agreement="centre-record")}
    made = decide(
        facts("centre-worker", Purpose.COC, asked=request("centre-worker", Purpose.COC, types=frozenset({"Immunization"}))),
        policy(),
        other,
    )
    assert isinstance(made, Deny)
    assert made.caller_level is True


def test_without_any_source_demographics_alone_are_decided():
    made = decide(facts(), policy(), {})
    assert isinstance(made, Permit)
    assert set(made.allowed) == {Category.DEMOGRAPHICS}


def test_a_reference_counts_each_rule_once_where_two_classes_are_allowed():
    two = {"gp": replace(SOURCES["gp"], gives=SOURCES["gp"].gives | {(Category.ALLERGIES, "operational")})}
    made = decide(facts(), policy(), two)
    assert isinstance(made, Permit)
    assert [use.id for use in made.allowed[Category.ALLERGIES]] == ["direct-care-gp"]


def test_an_obligation_of_a_rule_travels_with_the_permit():
    rules = policy().rules
    obliging = {**rules.by_id, "direct-care-gp": replace(rules.by_id["direct-care-gp"], obliges="tell-somebody")}
    made = decide(facts(), replace(policy(), rules=replace(rules, by_id=obliging), _rulings={}, _kindest={}), SOURCES)
    assert isinstance(made, Permit)
    assert made.obligations == ("tell-somebody",)


def test_a_rule_for_one_age_refuses_by_the_person_and_not_by_the_caller(tmp_path):
    folder = tmp_path / "consent_policy"
    shutil.copytree(FOLDER, folder)
    rule = folder / "direct-care.cedar"
    text = rule.read_text("utf-8")
    narrowed = text.replace("\nwhen {", '\nwhen { context.age_band == AgeBand::"adult" }\nwhen {', 1)
    rule.write_text(narrowed, "utf-8")
    aged = load(folder)
    asked = request(types=frozenset({"AllergyIntolerance"}))
    child = decide(facts(asked=asked), aged, SOURCES)
    assert isinstance(child, Deny)
    assert (child.caller_level, child.reason, child.rules) == (False, "default-deny", (DEFAULT_DENY,))
    assert child.sources == {"gp"}
    assert isinstance(decide(facts(asked=asked, age_band="adult"), aged, SOURCES), Permit)


def test_a_decision_is_never_a_truth_value():
    with pytest.raises(TypeError):
        bool(permit())
    with pytest.raises(TypeError):
        bool(deny("nobody"))


RELATIONSHIPS = st.frozensets(st.sampled_from(["registered-practice", "caseload", "allocated-worker", "centre-registration"]))
CONSENTS = st.frozensets(
    st.builds(
        ConsentFact, st.sampled_from(["share-health", "share-authority", "share-centres"]), st.sampled_from(["permit", "deny"])
    )
)


@settings(max_examples=150, deadline=None)
@given(
    role=st.sampled_from(sorted(HOMES)),
    purpose=st.sampled_from(list(Purpose)),
    case=st.sampled_from([None, "CASE-1"]),
    types=st.frozensets(st.sampled_from(sorted(EVERY_TYPE)), min_size=1),
    people=st.lists(
        st.fixed_dictionaries(
            {
                "relationships": RELATIONSHIPS,
                "consents": CONSENTS,
                "objection": st.booleans(),
                "protected": st.booleans(),
                "deceased": st.booleans(),
                "usable": st.booleans(),
                "age_band": st.sampled_from(["under-1", "1-4", "16-17", "adult", "unknown"]),
            }
        ),
        min_size=3,
        max_size=3,
    ),
)
def test_a_refusal_told_to_the_caller_and_the_sources_named_never_depend_on_the_person(role, purpose, case, types, people):
    asked = request(role, purpose, case=case, types=types)
    made = [decide(facts(asked=asked, **person), policy(), SOURCES) for person in people]
    told = [one for one in made if isinstance(one, Deny) and one.caller_level]
    assert len(told) in (0, len(made))
    assert len({one.sources for one in made}) == 1
    assert len({(one.reason, one.public_reason, one.contact, one.rules) for one in told}) <= 1

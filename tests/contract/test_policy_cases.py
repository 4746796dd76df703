"""Every case of consent_policy/cases, run against the real engine; and every rule has one on each side."""

from importlib.resources import files

import pytest

from gateway.policy import check, load, run

POLICY = load(files("consent_policy"))


@pytest.mark.parametrize("case", POLICY.cases, ids=lambda case: f"{'permit' if case.permit else 'deny'}/{case.name}")
def test_the_case_is_decided_as_it_says(case):
    assert run(POLICY, case) is None


def test_every_rule_is_shown_to_apply_and_not_to_apply():
    assert check(POLICY) == []


def test_the_name_of_a_case_is_a_sentence():
    assert [case.name for case in POLICY.cases if len(case.name.split("-")) < 4] == []


def test_every_agreement_has_a_dpia_an_owner_and_the_signature_of_each_party():
    for agreement in POLICY.agreements.values():
        assert agreement.dpia
        assert agreement.owner
        signed = {mark.organisation for mark in agreement.signatures}
        assert {to for flow in agreement.flows for to in flow.to} <= signed


def test_a_law_without_a_commencement_date_is_relied_on_by_no_rule_or_agreement():
    off = {name for name, row in POLICY.law.items() if row.starts is None}
    assert off == {"ca2004-s16la", "ca2004-s16lc"}
    assert not [rule.id for rule in POLICY.rules.by_id.values() if {name.removeprefix("law:") for name in rule.basis} & off]
    assert not [flow.id for agreement in POLICY.agreements.values() for flow in agreement.flows if flow.basis & off]

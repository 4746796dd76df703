"""Every case of consent_policy/cases, run against the real engine; and every rule has one on each side."""

import json
import re
from importlib.resources import files
from pathlib import Path

import cedarpy
import pytest

from gateway.policy import check, load, read_case, run

POLICY = load(files("consent_policy"))
GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "writing-a-policy.md").read_text("utf-8")


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


def test_the_rule_in_the_guide_fits_the_schema():
    (rule,) = re.findall(r"```cedar\n(.*?)```", GUIDE, re.DOTALL)
    assert cedarpy.validate_policies(rule, files("consent_policy").joinpath("schema.cedarschema").read_text("utf-8"))


def test_the_case_in_the_guide_is_decided_as_it_says(tmp_path):
    (text,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    file = tmp_path / "the-case-of-the-guide.json"
    file.write_text(json.dumps(json.loads(text)))
    assert run(POLICY, read_case(file, permit=True)) is None


def test_the_guide_names_every_field_a_case_may_have_and_every_annotation_of_a_rule():
    for name in (
        "case_reference",
        "traced",
        "consents",
        "objection",
        "protected",
        "deceased",
        "age_band",
        "locked",
        "source_terms",
    ):
        assert f"`{name}`" in GUIDE
    for name in ("id", "because", "basis", "owner", "review_by", "needs_consent", "obliges"):
        assert f"@{name}" in GUIDE

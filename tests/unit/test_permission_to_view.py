"""Permission to view: an agreement that wants it is closed unless the caller asserts it for this one request."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gateway.audit.entries import decision_entry
from gateway.consent import NO_PERMISSION, decide
from gateway.facts import gather
from gateway.model import Category, Deny, Permit
from gateway.policy import Policy
from gateway.policy.agreements import read_agreement
from gateway.policy.faults import Broken
from tests.policy_world import FOLDER, NOW, SOURCES, identity, person_facts, policy, request

pytestmark = pytest.mark.anyio


class Rows:
    """A store with one answer."""

    async def read(self, *_: object, **__: object) -> object:
        return person_facts(relationships=frozenset({"registered-practice"}))


def wanting(*names: str) -> Policy:
    agreements = {
        name: replace(agreement, permission_to_view="required") if name in names else agreement
        for name, agreement in policy().agreements.items()
    }
    return replace(policy(), agreements=agreements, _in_force={}, _rulings={}, _kindest={})


async def decided(rules: Policy, *, given: bool, types: frozenset[str]) -> Permit | Deny:
    asked = replace(request(types=types), permission_to_view=given)
    facts = await gather(identity(), asked, store=Rows(), policy=rules, feeds={}, now=NOW)
    return decide(facts, rules, SOURCES)


ALLERGIES = frozenset({"AllergyIntolerance"})
BOTH = frozenset({"AllergyIntolerance", "Immunization"})


async def test_an_agreement_that_wants_permission_is_closed_without_it_whoever_the_person_is():
    made = await decided(wanting("gp-record"), given=False, types=ALLERGIES)
    assert isinstance(made, Deny)
    assert (made.caller_level, made.reason, made.public_reason) == (True, "no-permission-to-view", NO_PERMISSION)


async def test_it_opens_for_the_request_that_asserts_permission_and_the_audit_says_so():
    made = await decided(wanting("gp-record"), given=True, types=ALLERGIES)
    assert isinstance(made, Permit)
    assert decision_entry(made, NOW).detail["permission_to_view"] is True


async def test_what_other_agreements_give_stays_open_without_permission():
    made = await decided(wanting("gp-record"), given=False, types=BOTH)
    assert isinstance(made, Permit)
    assert set(made.allowed) == {Category.IMMUNISATIONS}
    assert made.sources == {"child-health"}
    assert decision_entry(made, NOW).detail["permission_to_view"] is False


async def test_an_agreement_that_does_not_want_permission_is_open_without_it():
    assert isinstance(await decided(policy(), given=False, types=ALLERGIES), Permit)


@pytest.mark.parametrize(("said", "holds"), [("required", True), ("not_required", True), ("sometimes", False)])
def test_an_agreement_says_required_or_not_required_and_no_other_word(said: str, holds: bool, tmp_path: Path):
    tree = yaml.safe_load((FOLDER / "agreements" / "gp-record.yaml").read_text("utf-8"))
    file = tmp_path / "gp-record.yaml"
    file.write_text(yaml.safe_dump({**tree, "permission_to_view": said}), "utf-8")
    parties = frozenset(
        name for one in policy().parties.values() for name in one.organisation.all_codes | {one.organisation.code}
    )
    if holds:
        assert read_agreement(file, policy().law, parties).permission_to_view == said
    else:
        with pytest.raises(Broken):
            read_agreement(file, policy().law, parties)

"""The answer: how sources are named when locating facts go from it."""

import json

import pytest
from policy_world import PERSON, SOURCES, facts, identity, policy, recorded

from gateway.bundle import Look, answer
from gateway.consent import decide
from gateway.disclosure import Page, disclose
from gateway.model import Permit, PersonId, SourceReport, SourceState
from tests import fakes

LOOK = Look("http://gateway", {name: (terms.kind, f"The house of {name}") for name, terms in SOURCES.items()}, lambda _: "", {})


@pytest.mark.parametrize(
    ("changes", "hidden"), [({}, False), ({"protected": True}, True), ({"stale": True}, True)], ids=["open", "protected", "stale"]
)
def test_where_locating_facts_go_no_source_is_named_by_its_organisation(changes: dict[str, bool], hidden: bool) -> None:
    who = identity(stale=changes.pop("stale", False), person=PersonId(PERSON))
    permit = decide(facts(person_ref=who, **changes), policy(), SOURCES)
    assert isinstance(permit, Permit)
    reports = [SourceReport(name, SourceState.ANSWERED) for name in SOURCES]
    disclosure = disclose([], reports, (), recorded(permit), who, policy(), page=Page(500, 1_000_000))
    made = answer(fakes.Recorded(disclosure, fakes.RECEIPT), LOOK)
    named = json.dumps([json.loads(made.body), made.headers])
    assert ("The house of" in named) is not hidden

"""The answer: how sources are named when locating facts go from it."""

import json
from dataclasses import replace
from uuid import UUID

import pytest
from policy_world import PERSON, SOURCES, facts, identity, policy, recorded

from gateway.bundle import Look, answer, view
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


def test_what_is_worked_out_bears_another_name_in_each_answer() -> None:
    permit = decide(facts(), policy(), SOURCES)
    assert isinstance(permit, Permit)
    disclosure = disclose([], (), (), recorded(permit), identity(), policy(), page=Page(500, 1_000_000))

    def names(event: str) -> list[str]:
        receipt = replace(fakes.RECEIPT, event=event)
        made = view(fakes.Recorded(disclosure, receipt), [{"resourceType": "CarePlan"}, {"resourceType": "CarePlan"}], LOOK)
        return [entry["fullUrl"] for entry in json.loads(made.body)["entry"] if entry["resource"]["resourceType"] == "CarePlan"]

    assert len({*names("one"), *names("two")}) == 4  # whoever keeps answers by fullUrl keeps one child's plan from another's
    assert names("one") == names("one")
    assert all(name.startswith("urn:uuid:") and UUID(name.removeprefix("urn:uuid:")) for name in names("one"))

"""The answer: how sources are named when locating facts go from it."""

import json
from dataclasses import replace
from uuid import UUID

import pytest
from policy_world import PERSON, SOURCES, facts, identity, policy, recorded

from gateway.bundle import Answer, Delivered, Look, answer, denied, view
from gateway.consent import decide
from gateway.disclosure import Page, disclose
from gateway.errors import Incomplete, NotFound
from gateway.model import Deny, Permit, PersonId, SourceReport, SourceState
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


def of_everybody(last: Delivered, state: SourceState = SourceState.NOTHING, **query: object) -> tuple[Answer, Answer]:
    """One question: of a protected person of whom nothing is shown, and of one whom the caller has nothing to do with."""
    look = replace(LOOK, deliveries={"child-health": last})
    of, who = facts(protected=True), identity(person=PersonId(PERSON))
    request = replace(of.request, query=replace(of.request.query, **query))
    permit, deny = (decide(replace(one, request=request), policy(), SOURCES) for one in (of, facts(relationships=frozenset())))
    assert isinstance(permit, Permit)
    assert isinstance(deny, Deny)
    reports = [SourceReport(name, state if name == "child-health" else SourceState.NOTHING) for name in permit.sources]
    shown = disclose([], reports, (), recorded(permit), who, policy(), page=Page(500, 1_000_000))
    shown = replace(shown, resources=())
    return answer(fakes.Recorded(shown, fakes.RECEIPT), look), denied(fakes.Recorded(deny, fakes.RECEIPT), look)


def said(made: Answer) -> list[str]:
    issues = json.loads(made.body)["entry"][-1]["resource"]["issue"]
    return [issue["details"]["text"] for issue in issues if "child-health" in issue["details"]["text"]]


def test_a_source_whose_list_could_not_be_read_whole_says_of_nobody_that_there_is_nothing() -> None:
    whole, unread = Delivered(fakes.NOW, stale=False), Delivered(fakes.NOW, stale=False, unread=True)
    assert all("none shareable by this route" in said(made)[0] for made in of_everybody(whole))
    for state in (SourceState.NOTHING, SourceState.FAILED):  # of a record of theirs that no map reads, too
        shown, refused = of_everybody(unread, state)
        assert (shown.body, shown.headers) == (refused.body, refused.headers)
        assert "child-health=failed" in dict(shown.headers)["Gateway-Sources"]
        first, second = said(shown)
        assert "could not be read. What it may hold is missing" in first
        assert "does not mean that there is nothing" in second
    late = Delivered(fakes.NOW, stale=True, unread=True)
    shown, refused = of_everybody(late)
    assert (shown.body, shown.headers) == (refused.body, refused.headers)
    assert "child-health=stale" in dict(shown.headers)["Gateway-Sources"]


@pytest.mark.parametrize("query", [{"strict": True}, {"interaction": "read", "resource_id": f"{PERSON}.child-health.x"}])
def test_whoever_asks_for_all_or_one_is_refused_alike_as_long_as_a_list_is_not_whole(query: dict[str, object]) -> None:
    look = replace(LOOK, deliveries={"child-health": Delivered(fakes.NOW, stale=False, unread=True)})
    who, request = identity(person=PersonId(PERSON)), facts().request
    request = replace(request, query=replace(request.query, **query))
    permit, deny = (
        decide(replace(one, request=request), policy(), SOURCES) for one in (facts(), facts(relationships=frozenset()))
    )
    assert isinstance(permit, Permit)
    assert isinstance(deny, Deny)
    nothing = [SourceReport(name, SourceState.NOTHING) for name in permit.sources]
    shown = replace(disclose([], nothing, (), recorded(permit), who, policy(), page=Page(500, 1_000_000)), resources=())
    for answering, lacking in ((look, Incomplete), (LOOK, NotFound)):
        if lacking is NotFound and "strict" in query:
            continue
        with pytest.raises(lacking):
            answer(fakes.Recorded(shown, fakes.RECEIPT), answering)
        with pytest.raises(lacking):
            denied(fakes.Recorded(deny, fakes.RECEIPT), answering)

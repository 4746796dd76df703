"""The answer says how many parameters were not used, and its self link what was asked, also where nothing is shown."""

import json
from dataclasses import replace
from typing import Any

import pytest
from policy_world import PERSON, SOURCES, facts, policy

from gateway.bundle import Look, denied
from gateway.consent import decide
from gateway.model import Deny, PersonId, Query
from tests import fakes

LOOK = Look("http://gateway", {name: (terms.kind, "A source") for name, terms in SOURCES.items()}, lambda _: "", {})


def made_for(query: Query) -> dict[str, Any]:
    """The answer to a denial that follows from the person: what everybody sees."""
    asked = replace(facts().request, query=query)
    deny = decide(facts(request=asked, relationships=frozenset()), policy(), SOURCES)
    assert isinstance(deny, Deny)
    body: dict[str, Any] = json.loads(denied(fakes.Recorded(deny, fakes.RECEIPT), LOOK).body)
    return body


@pytest.mark.parametrize("interaction", ["search", "everything"])
def test_parameters_that_were_not_used_are_counted_and_the_self_link_shows_what_was(interaction: Any) -> None:
    plain = Query(interaction, PersonId(PERSON), frozenset({"Flag"}), count=7)
    said, silent = made_for(replace(plain, not_used=("", "code"))), made_for(plain)
    (outcome,) = [entry["resource"] for entry in said["entry"]]
    texts = [issue["details"]["text"] for issue in outcome["issue"]]
    assert any(text.startswith("2 parameters of this request were not used, ") and "by them: code. " in text for text in texts)
    assert "were not used" not in json.dumps(silent)
    assert "_count=7" in said["link"][0]["url"]
    assert PERSON in said["link"][0]["url"]

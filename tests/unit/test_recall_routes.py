"""How a manifest says that its system takes recalls: a schema of its own and the connector's options, nothing else."""

from importlib import import_module
from typing import Any

import pytest

from gateway.errors import StartupRefused
from gateway.registry import _deliver, load_manifest

TABLE: dict[str, Any] = {
    "connector": "http-json",
    "schema": "in-1",
    "types": ["ServiceRequest"],
    "category": "referral",
    "class": "social-care",
    "purposes": ["COC"],
    "role": "urn:x|centre-worker",
    "acknowledge_within_h": 1,
    "keep_days": 1,
    "invites_contact": True,
    "path": "referrals",
}


def test_a_recall_goes_by_the_same_connector_to_a_place_of_its_own() -> None:
    made = _deliver("m", "referral", {**TABLE, "recall": {"schema": "recall-in-1", "path": "recalls"}})
    assert made.recall is not None
    assert (made.recall.name, made.recall.connector, made.recall.schema) == ("referral", "http-json", "recall-in-1")
    assert (made.options, made.recall.options) == ({"path": "referrals"}, {"path": "recalls"})
    assert _deliver("m", "referral", TABLE).recall is None


@pytest.mark.parametrize("recall", [True, {}, {"path": "recalls"}, {"schema": 1}, {"schema": "in-1", "purposes": ["S47"]}])
def test_a_recall_that_says_less_or_more_stops_the_start(recall: Any) -> None:
    with pytest.raises(StartupRefused, match=r"\[deliver.referral.recall\]"):
        _deliver("m", "referral", {**TABLE, "recall": recall})


@pytest.mark.parametrize(
    ("adapter", "name"), [("childrens_centre", "referral"), ("local_authority", "concern"), ("gp", "notice")]
)
def test_each_way_of_delivery_that_ships_takes_recalls(adapter: str, name: str) -> None:
    assert load_manifest(import_module(f"adapters.{adapter}")).deliver[name].recall is not None

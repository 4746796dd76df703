"""The conformance kit on every adapter that ships, rule by rule; a claimed tier that is not met fails."""

import importlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

from gateway.connectors import CONNECTORS
from gateway.kit.conformance import RULES, TIERS, Subject, examine, subject
from gateway.mapping import load
from gateway.registry import installed, load_manifest

FOLDER = Path(str(files("mappings")))
ADAPTERS = sorted(installed())


def connector(name: str) -> ModuleType:
    return importlib.import_module(CONNECTORS[name])


@lru_cache
def one(adapter: str) -> Subject:
    package = installed()[adapter]
    return subject(adapter, package, load_manifest(package), load(FOLDER), FOLDER, connector)


def claimed(adapter: str) -> list[str]:
    """The rules that an adapter's own tier asks of it."""
    order = list(TIERS)
    return [rule for tier in order[: order.index(one(adapter).quality["tier"]) + 1] for rule in TIERS[tier]]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("rule", list(RULES))
def test_an_adapter_keeps_each_rule_of_the_tier_it_claims(adapter: str, rule: str):
    if rule not in claimed(adapter) or rule in one(adapter).quality["exempt"]:
        pytest.skip("a rule of a higher tier than the adapter claims")
    assert list(RULES[rule](one(adapter))) == []


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_tier_that_an_adapter_claims_is_met(adapter: str):
    report = examine(one(adapter))
    assert report.holds, report.needs()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_of_every_shipped_map_cases_exercise_every_line(adapter: str):
    assert list(RULES["lines"](one(adapter))) == []
    assert list(RULES["mutation"](one(adapter))) == []

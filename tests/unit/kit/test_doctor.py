"""`gateway adapter doctor`: what stands between the settings and a source; no person is asked for, no address is told."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gateway import policy, registry
from gateway.kit.doctor import Finding, examine
from gateway.policy import Policy
from gateway.settings import Source


@pytest.fixture(scope="module")
def rules() -> Policy:
    return policy.load(files("consent_policy"))


def centre(**changes: Any) -> Source:
    known = {"adapter": "childrens_centre", "custodian": "dfe-urn:199901", "agreement": "centre-record", "title": "Centre"}
    return Source(**{**known, **changes})


def found(source: Source, rules: Policy, var: Path = Path("/nowhere")) -> dict[str, Finding]:
    return {one.what: one for one in examine(source, registry.installed(), rules, var, has_directory=False)}


def test_a_source_whose_every_step_holds_is_fine(rules: Policy, tmp_path: Path):
    (tmp_path / "centre.db").touch()
    seen = found(centre(options={"database_url": f"sqlite:///{tmp_path}/centre.db"}), rules)
    assert list(seen) == ["manifest", "connector", "agreement", "tier", "database_url"]
    assert all(one.fine for one in seen.values())


def test_an_adapter_that_is_not_installed_is_the_end(rules: Policy):
    seen = found(centre(adapter="nobody"), rules)
    assert [(one.what, one.fine) for one in seen.values()] == [("adapter", False)]


def test_a_source_that_looks_practices_up_without_sds_is_told_which_setting_is_missing(rules: Policy):
    assert found(centre(adapter="gp"), rules)["directory"] == Finding(
        "directory", False, "it looks practices up in SDS: give [sds] with base_url"
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"agreement": "none"}, "agreement"),
        ({"custodian": "ods:A99901"}, "agreement"),
        ({"options": {"database_url": "sqlite:////nowhere/secret.db"}}, "database_url"),
        ({"options": {"database_url": "postgresql://user:secret@"}}, "database_url"),
        ({"options": {"base_url": "http://127.0.0.1:99999/secret"}}, "base_url"),
        ({"options": {"drop": "/nowhere/secret"}}, "drop"),
    ],
)
def test_what_stands_in_the_way_is_named_and_no_address_or_secret_is(rules: Policy, changes: dict[str, Any], what: str):
    seen = found(centre(**changes), rules)
    assert not seen[what].fine
    assert "secret" not in "".join(one.said for one in seen.values())


@pytest.mark.parametrize("options", [{"drop": "incoming"}, {}])
def test_a_relative_drop_is_looked_for_where_the_server_looks(rules: Policy, tmp_path: Path, options: dict[str, Any]):
    health = Source(
        adapter="child_health", custodian="ods:RXX99", agreement="child-health-record", title="Child health", options=options
    )
    assert not found(health, rules, tmp_path)["drop"].fine
    (tmp_path / options.get("drop", "drop")).mkdir()
    assert found(health, rules, tmp_path)["drop"].fine


def test_a_tier_below_live_is_said(rules: Policy):
    assert found(centre(), rules)["tier"].said == "pilot: live mode will refuse it"


def test_a_folder_that_can_be_written_is_fine(rules: Policy, tmp_path: Path):
    assert found(centre(options={"drop": str(tmp_path)}), rules)["drop"].fine

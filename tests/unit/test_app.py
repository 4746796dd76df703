"""The composition root: what it refuses to start with, and what it says to do next."""

from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from gateway import policy, registry
from gateway.app import refuse_uncovered, refuse_untried
from gateway.app.refusals import refuse_unfit, refuse_without_directory
from gateway.errors import StartupRefused
from gateway.registry import Registry
from tests import fakes


def source(agreement: str, custodian: str) -> Registry:
    made = fakes.active("child-health", fakes.FakeSource(), custodian=custodian)
    settings = SimpleNamespace(agreement=agreement, custodian=custodian)
    return Registry({"child-health": SimpleNamespace(settings=settings, manifest=made.manifest, adapter=made.adapter)})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("agreement", "custodian", "says"),
    [("no-such", "ods:RXX99", "write it there first"), ("child-health-record", "ods:A99901", "another custodian")],
)
def test_a_source_without_its_own_agreement_does_not_start(agreement, custodian, says):
    with pytest.raises(StartupRefused, match=says):
        refuse_uncovered(source(agreement, custodian), policy.load(files("consent_policy")))


def test_a_source_under_its_custodians_agreement_starts():
    refuse_uncovered(source("child-health-record", "ods:RXX99"), policy.load(files("consent_policy")))


def live(**changes: object) -> SimpleNamespace:
    values = {
        "mode": "live",
        "adapters": None,
        "proxy": None,
        "public_base": lambda: "https://gateway.example.nhs.uk",
        "pds": SimpleNamespace(base_url="https://pds", sign_in=None),
        "sds": None,
        "sources": {},
    }
    return SimpleNamespace(**{**values, **changes})


def test_a_source_that_looks_practices_up_does_not_start_without_a_directory():
    manifests = {name: registry.load_manifest(package) for name, package in registry.installed().items()}
    with pytest.raises(StartupRefused, match=r"sources\.surgery .*sds\.base_url"):
        refuse_without_directory(live(sources={"surgery": SimpleNamespace(adapter="gp")}), manifests)  # type: ignore[arg-type]
    refuse_without_directory(live(sources={"centre": SimpleNamespace(adapter="childrens_centre")}), manifests)  # type: ignore[arg-type]


def test_fit_live_settings_are_not_refused():
    refuse_unfit(live())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"public_base": lambda: "http://gateway"}, "GATEWAY_BASE_URL"),
        ({"adapters": "folder"}, "GATEWAY_ADAPTERS"),
        ({"pds": SimpleNamespace(base_url="http://127.0.0.1", sign_in=None)}, "pds.base_url"),
        (
            {"pds": SimpleNamespace(base_url="https://p", sign_in=SimpleNamespace(token_url="http://t"))},
            "pds.sign_in.token_url",
        ),
        ({"sds": SimpleNamespace(base_url="http://127.0.0.1")}, "sds.base_url"),
        ({"sources": {"gp": SimpleNamespace(options={"ssp": "http://127.0.0.1/ssp"}, deliver={})}}, "sources.gp.options.ssp"),
        ({"sources": {"gp": SimpleNamespace(options={"ssp": " HTTP://127.0.0.1"}, deliver={})}}, "sources.gp.options.ssp"),
        (
            {"sources": {"gp": SimpleNamespace(options={}, deliver={"x": SimpleNamespace(options={"base_url": "http://h"})})}},
            "sources.gp.deliver.x.options.base_url",
        ),
    ],
)
def test_live_mode_refuses_what_is_for_the_sandbox_and_names_it(changes, says):
    with pytest.raises(StartupRefused, match=says):
        refuse_unfit(live(**changes))  # type: ignore[arg-type]


def adapter_at(tier: str, folder: Path) -> ModuleType:
    """A package whose quality.yaml says this."""
    (folder / "quality.yaml").write_text(tier, "utf-8")
    (folder / "__init__.py").touch()
    spec = spec_from_file_location("clinic", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    return module_from_spec(spec)


@pytest.mark.parametrize(
    ("quality", "told"),
    [
        ("tier: sandbox", "tier sandbox"),
        ("tier: pilot", "tier pilot"),
        ("tier: best", "tier none"),
        ("- [", "tier none"),
        ("", "tier none"),
    ],
)
def test_live_mode_takes_no_adapter_below_tier_live(tmp_path: Path, quality: str, told: str):
    settings = live(sources={"clinic": SimpleNamespace(adapter="clinic")})
    with pytest.raises(
        StartupRefused, match=f"sources.clinic uses adapter clinic, which is at {told}, not live: gateway check clinic"
    ):
        refuse_untried(settings, {"clinic": adapter_at(quality, tmp_path)})  # type: ignore[arg-type]


@pytest.mark.parametrize("tier", ["live", "exemplary"])
def test_live_mode_takes_an_adapter_at_tier_live_or_above(tmp_path: Path, tier: str):
    settings = live(sources={"clinic": SimpleNamespace(adapter="clinic")})
    refuse_untried(settings, {"clinic": adapter_at(f"tier: {tier}", tmp_path)})  # type: ignore[arg-type]

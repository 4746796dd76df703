"""What an adapter's README shows can be used as it stands: its agreements exist, and its example is read."""

import re
from pathlib import Path

import adapters.child_health
from gateway import registry
from gateway.connectors import message_drop

ROOT = Path(__file__).parents[3]
AGREEMENTS = {path.stem for path in (ROOT / "consent_policy" / "agreements").glob("*.yaml")}
NAMED = re.compile(r"^agreements? = (.+)$", re.MULTILINE)


def test_every_agreement_that_an_adapters_readme_names_exists() -> None:
    pages = sorted((ROOT / "adapters").glob("*/README.md"))
    named = {page.parent.name: re.findall(r'"([^"]+)"', " ".join(NAMED.findall(page.read_text("utf-8")))) for page in pages}
    assert {"gp", "child_health", "childrens_centre", "local_authority"} <= {name for name, found in named.items() if found}
    assert {name: sorted(set(found) - AGREEMENTS) for name, found in named.items() if set(found) - AGREEMENTS} == {}


def test_the_example_message_of_child_health_gives_its_vaccination() -> None:
    manifest = registry.load_manifest(adapters.child_health)
    example = ROOT / "adapters" / "child_health" / "example-vaccination.json"
    assert f"]({example.name})" in example.with_name("README.md").read_text("utf-8")
    (record,) = message_drop.read_file(manifest, example.name, example.read_bytes())
    assert record.schema == "dch-vaccinations-1"
    assert record.about.nhs_number == "9990001111"

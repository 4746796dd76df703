"""docs/conformance.md is there and whole, no verdict waits to be mended, and the judges that can run here find what is seeded."""

import re
import shutil

import pytest
import yaml

from gateway.registry import installed
from tests.conformance import judges, run
from tests.conformance.gathering import ROOT, SEEDED

PAGE = ROOT / "docs" / "conformance.md"
ROWS = yaml.safe_load((judges.HERE / "verdicts.yaml").read_text("utf-8"))


def test_the_page_names_every_adapter_and_every_judge():
    page = PAGE.read_text("utf-8")
    adapters = re.findall(r"^\| (\w+) \| (\d+) \|$", page, re.MULTILINE)
    assert {name for name, count in adapters if int(count)} == set(installed())
    for judge in ("HAPI", "medplum", "fhir"):
        assert re.search(rf"^\| {judge} \| R4", page, re.MULTILINE), "a page written where a judge was absent"


def test_the_page_holds_no_finding_without_a_verdict_and_no_undecided_leaf():
    page = PAGE.read_text("utf-8")
    assert "**none**" not in page
    assert "**ours**" not in page
    assert not re.search(r"\b\d{10}(?!\d)", page), "a number of a person in the name of a sample"
    summary = page.split("| leaves not mapped |")[1].split("\n\n")[0]
    assert re.findall(r"\| (\d+) \|$", summary, re.MULTILINE)
    assert set(re.findall(r"\| (\d+) \|$", summary, re.MULTILINE)) == {"0"}


def test_every_sample_that_is_unusable_as_a_whole_is_explained():
    page = PAGE.read_text("utf-8")
    unusable = re.findall(r"^\| \w+ \| (\S+) \| 2 \|", page, re.MULTILINE)
    explained = dict(re.findall(r"^- (\S+): (.+)$", page, re.MULTILINE))
    assert unusable
    assert {name for name in unusable if len(explained.get(name, "")) > 60} == set(unusable)


@pytest.mark.parametrize("row", ROWS, ids=[f"{number}" for number, _ in enumerate(ROWS, start=1)])
def test_a_verdict_clears_what_it_speaks_of_and_says_why(row: dict[str, str]):
    verdict = run.Verdict(**row)
    assert verdict.verdict in run.EXCUSES
    assert len(verdict.because) > 40
    assert not re.search(verdict.said, ""), "a row that fits whatever is said"


def test_an_error_is_cleared_by_no_verdict_of_a_warning():
    error = judges.Finding("HAPI", "error", "Flag.code", "wrong", "x")
    assert not run._cleared(error, run.Verdict("HAPI", "wrong", "source", "as said"))
    assert not run._cleared(error, None)
    assert run._cleared(error, run.Verdict("HAPI", "wrong", "theirs", "as said"))


@pytest.mark.node
def test_both_judges_of_npm_find_every_seeded_fault_that_they_can_see():
    if shutil.which("node") is None or not (judges.HERE / "node" / "node_modules").is_dir():
        pytest.skip("the validators are not here: make node (needs nodejs, npm)")
    verdicts = [run.Verdict(**row) for row in ROWS]
    assert run.missed_by(("medplum", "fhir"), judges.node(SEEDED), verdicts) == []
    assert len(run.missed_by(("medplum", "fhir"), (), verdicts)) == 5, "a judge that says nothing has missed all it can see"

"""The data-flow matrix: what may reach whom, and what a change lets through."""

import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import policy, registry
from gateway.adapter import Manifest
from gateway.cli import main as whole
from gateway.kit.flow import Matrix, Recipient, matrix, news, page
from gateway.kit.flow_picture import picture
from gateway.mapping import load
from gateway.model import Coding
from gateway.policy import Policy
from tests.unit.kit.clinic import MAP, make

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def rules() -> Policy:
    return policy.load(files("consent_policy"))


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return [registry.load_manifest(package) for package in registry.installed().values()]


@pytest.fixture(scope="module")
def shipped(rules: Policy, manifests: list[Manifest]) -> Matrix:
    return matrix(load(files("mappings")), rules, manifests)


def clinic(manifests: list[Manifest]) -> Manifest:
    known = next(one for one in manifests if one.name == "child_health")
    return replace(known, name="clinic", reads=("clinic-1",), gives={"Encounter": "child-health-reviews"})


def reached(made: Matrix, marks: tuple[str, ...]) -> set[str]:
    return {str(one) for row, cells in made.cells.items() if row.marks == marks for one in cells}


def test_the_committed_page_and_picture_are_what_mappings_and_policy_say(shipped: Matrix):
    assert news(shipped, (DOCS / "flow-matrix.md").read_text("utf-8")) == []
    assert page(shipped) == (DOCS / "flow-matrix.md").read_text("utf-8")
    assert picture(shipped) == (DOCS / "flow-matrix.svg").read_text("utf-8")


def test_child_protection_reaches_those_who_care_and_never_a_childrens_centre(shipped: Matrix):
    row = next(row for row in shipped.cells if (row.source, row.category) == ("local_authority", "child-protection"))
    assert {str(one) for one in shipped.cells[row]} == {
        "gp at gp-practice",
        "health-visitor at community-health",
        "social-worker at local-authority",
    }


def test_nothing_reaches_an_auditor_or_an_organisation_without_agreement(shipped: Matrix):
    assert not any(one.role == "auditor" or one.organisation == "governance" for one in shipped.reached())


def test_a_mark_that_no_rule_keeps_for_anybody_reaches_nobody(tmp_path: Path, rules: Policy, manifests: list[Manifest]):
    made = matrix(load(make(tmp_path)), rules, [clinic(manifests)])
    assert reached(made, ()) == {
        "centre-worker at childrens-centre",
        "gp at gp-practice",
        "health-visitor at community-health",
    }
    assert reached(made, ("locating", "third-party")) == set()


def test_a_mark_taken_off_a_field_is_told_as_a_new_recipient(tmp_path: Path, rules: Policy, manifests: list[Manifest]):
    before = page(matrix(load(make(tmp_path / "before")), rules, [clinic(manifests)]))
    folder = make(tmp_path / "after")
    source = folder / "clinic" / "source.yaml"
    source.write_text(source.read_text("utf-8").replace("[locating, third-party]", "[locating]"), "utf-8")
    found = news(matrix(load(folder), rules, [clinic(manifests)]), before)
    assert found
    assert all("locating would newly reach" in one and "third-party" not in one for one in found)


def test_a_class_that_is_lowered_is_told_as_new_recipients(tmp_path: Path, rules: Policy, manifests: list[Manifest]):
    folder = make(tmp_path)
    source = folder / "clinic" / "source.yaml"
    lowered = source.read_text("utf-8")
    source.write_text(lowered.replace("kind: {type: code, class: health}", "kind: {type: code, class: safeguarding}"), "utf-8")
    before = matrix(load(folder), rules, [clinic(manifests)])
    assert before.reached() == []  # one field of the condition makes the whole resource safeguarding
    source.write_text(lowered, "utf-8")
    found = news(matrix(load(folder), rules, [clinic(manifests)]), page(before))
    assert "clinic: child-health-reviews, health, no mark would newly reach centre-worker at childrens-centre for COC" in found


def test_make_check_fails_when_a_mark_reaches_a_new_recipient_and_the_matrix_was_not_written_anew(
    tmp_path: Path, rules: Policy, manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
):
    """`make check` runs `gateway check`, which compares the committed matrix with what mappings and policy say now."""
    assert "/gateway check" in (DOCS.parent / "Makefile").read_text("utf-8").partition("\ncheck:")[2].partition("\n\n")[0]
    shutil.copytree(Path(str(files("mappings"))), tmp_path / "mappings", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    before = matrix(load(tmp_path / "mappings"), rules, manifests)
    (tmp_path / "docs" / "flow-matrix.md").write_text(page(before), "utf-8")
    (tmp_path / "docs" / "flow-matrix.svg").write_text(picture(before), "utf-8")
    monkeypatch.chdir(tmp_path)
    given = ["--mappings", "mappings"]
    first = CliRunner().invoke(whole, ["check", *given])
    assert "would newly reach" not in first.stderr
    source = tmp_path / "mappings" / "local_authority" / "source.yaml"
    text = source.read_text("utf-8")
    assert "class: safeguarding" in text
    source.write_text(text.replace("class: safeguarding", "class: operational"), "utf-8")
    second = CliRunner().invoke(whole, ["check", *given])
    assert second.exit_code == 1
    assert "would newly reach" in second.stderr
    assert "gateway map flow --write docs" in second.stderr


def test_nothing_new_is_told_of_the_same_matrix(shipped: Matrix):
    assert news(shipped, page(shipped)) == []
    reached = sum(len(purposes) for cells in shipped.cells.values() for purposes in cells.values())
    assert len(news(shipped, "")) == reached + len(shipped.told)


def test_what_no_line_passes_on_is_counted(tmp_path: Path, rules: Policy, manifests: list[Manifest]):
    made = matrix(load(make(tmp_path)), rules, [clinic(manifests)])
    assert {(care_class, marks): count for (_, care_class, marks), count in made.kept.items()} == {
        ("operational", ()): 1,  # visit: the key alone
        ("health", ()): 1,  # kind: a condition alone
        ("social-care", ()): 1,
    }


def test_a_condition_on_a_marked_field_marks_every_line(tmp_path: Path, rules: Policy, manifests: list[Manifest]):
    folder = make(tmp_path, map_=MAP.replace("when: day.exists()", "when: seen_by.exists()"))
    made = matrix(load(folder), rules, [clinic(manifests)])
    assert {row.marks for row in made.cells} == {("locating", "third-party")}
    assert made.reached() == []


def test_whatever_a_policy_case_permits_of_a_source_the_matrix_shows(rules: Policy, shipped: Matrix, manifests: list[Manifest]):
    """The cases are written by hand and run on the real engine: the matrix may be wider, never narrower."""
    known = {manifest.name: manifest for manifest in manifests}
    compared = 0
    for case in rules.cases:
        organisation = rules.organisation(case.organisation)
        if not case.permit or case.action != "see" or case.agreement is None or organisation is None:
            continue
        system, _, code = case.role.rpartition("|")
        recipient = Recipient(rules.role_group(Coding(system, code)), organisation.kind.value)
        for row, cells in shipped.cells.items():
            alike = (row.category, row.care_class, row.marks) == (case.category, case.care_class, ())
            if alike and case.purpose in known[row.source].purposes and _gives(rules, case.agreement, known[row.source]):
                compared += 1
                assert case.purpose in cells.get(recipient, ()), case.name
    assert compared > 5


def _gives(rules: Policy, agreement: str, manifest: Manifest) -> bool:
    """Whether a source of this kind is under the agreement of a case."""
    gives = rules.agreements[agreement].gives
    kinds = {"registered-practice": "gp", "ods:RXX99": "child-health", "dfe-urn:199901": "childrens-centre"}
    return kinds.get(gives, "local-authority") == manifest.kind

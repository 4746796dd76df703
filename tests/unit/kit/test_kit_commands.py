"""The kit's commands: exit codes, one JSON object a line for machines, no escape codes when piped, one clear line for a fault."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.adapter import app as adapter
from gateway.cli.check import _seen
from gateway.cli.map import app
from tests.unit.kit.clinic import MAP, ROW, make


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(part) for part in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "maps")


def test_explain_gives_an_object_for_machines(folder: Path):
    result = run("explain", "clinic/visit", "a-visit", "--field", "Encounter.period.end", "--json", "--mappings", folder)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "element": "Encounter.period.end",
        "value": "2026-01-03",
        "from": ["line 16 first() choice 1", "left of record 1"],
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("explain", "visit", "a-visit", "--field", "Encounter.status"), 0),
        (("explain", "visit", "a-visit", "--field", "Encounter.type"), 1),
        (("explain", "visit", "no-such-case", "--field", "Encounter.status"), 2),
        (("explain", "no-such-map", "a-visit", "--field", "Encounter.status"), 2),
        (("docs",), 0),
        (("docs", "clinic"), 0),
        (("docs", "visit.yaml"), 0),
        (("docs", "nobody"), 2),
        (("mutate",), 1),
        (("mutate", "clinic", "--least", "50"), 0),
        (("mutate", "nobody"), 2),
        (("diff", "HEAD"), 2),
        (("export", "visit"), 1),
        (("export", "nobody"), 2),
    ],
)
def test_exit_codes_are_those_of_the_help_and_nothing_is_coloured(folder: Path, arguments: tuple[str, ...], code: int):
    result = run(*arguments, "--mappings", folder)
    assert result.exit_code == code
    assert "\x1b" not in result.output
    if code == 2:
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1


def test_mutate_gives_an_object_a_map_for_machines(folder: Path):
    read = json.loads(run("mutate", "--json", "--mappings", folder).stdout)
    assert read["map"] == "clinic/visit@1.0.0"
    assert {"line": 16, "change": "choice 2 of first() dropped"} in read["missed"]


def test_export_writes_json_alone_to_standard_output(folder: Path):
    result = run("export", "visit", "--mappings", folder)
    assert json.loads(result.stdout)["resourceType"] == "Bundle"
    assert "by hand: line 14: = ref('Patient')" in result.stderr


def test_mappings_with_faults_are_said_with_their_places(tmp_path: Path):
    folder = make(tmp_path, map_=MAP.replace("period.start", "perod.start"))
    result = run("docs", "--mappings", folder)
    assert result.exit_code == 2
    assert result.stderr.startswith("clinic/visit.yaml:15:7: Encounter has no element 'perod'")


def test_an_adapter_that_exists_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("sample.csv").write_text("Ref,Seen\nR-1,2026-01-01\n", "utf-8")
    given = ["new", "clinic", "--connector", "csv-drop", "--from", "sample.csv"]
    first = CliRunner().invoke(adapter, given)
    manifest = tmp_path / "adapters" / "clinic" / "manifest.toml"
    manifest.write_text("mine", "utf-8")
    second = CliRunner().invoke(adapter, given)
    assert (first.exit_code, second.exit_code) == (0, 2)
    assert manifest.read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    "given",
    [
        ["new", "clinic", "--connector", "csv-drop", "--from", "absent.csv"],
        ["new", "Clinic", "--connector", "csv-drop", "--from", "sample.csv"],
        ["new", "clinic", "--connector", "telepathy", "--from", "sample.csv"],
    ],
)
def test_a_sample_that_cannot_be_used_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]):
    monkeypatch.chdir(tmp_path)
    Path("sample.csv").write_text("Ref,Seen\nR-1,2026-01-01\n", "utf-8")
    result = CliRunner().invoke(adapter, given)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "adapters").exists()


def test_watching_sees_a_change_of_any_file(folder: Path):
    before = _seen(folder, None)
    assert _seen(folder, None) == before
    (folder / "clinic" / "cases" / "another.in.json").write_text(json.dumps(ROW), "utf-8")
    assert _seen(folder, None) != before

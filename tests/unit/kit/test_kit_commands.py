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


def said(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_case_without_a_golden_is_new_and_how_to_make_one_is_said(folder: Path):
    first = run("cases", "clinic", "--mappings", folder)
    assert first.exit_code == 1
    assert first.stdout == (
        "new  clinic/a-visit\n"
        "     no golden yet: gateway map cases clinic --accept writes what comes out, for you to read in the diff\n"
    )
    assert run("cases", "clinic", "--accept", "--mappings", folder).stdout == "ok   clinic/a-visit\n"
    assert run("cases", "clinic", "--mappings", folder).exit_code == 0
    assert run("cases", "nobody", "--mappings", folder).exit_code == 2


def test_a_sample_that_is_not_there_and_a_connector_that_is_not_are_each_called_so(tmp_path: Path):
    def new(connector: str, sample: Path) -> str:
        given = ["new", "visiting", "--connector", connector, "--from", str(sample), "--adapters", str(tmp_path)]
        result = CliRunner().invoke(adapter, given)
        assert result.exit_code == 2
        return result.stderr

    assert new("csv-drop", tmp_path / "nosuch.csv") == "gateway: --from: there is no such file\n"
    (tmp_path / "a.csv").write_text("a,b\n1,2\n", "utf-8")
    assert new("csv", tmp_path / "a.csv").startswith("gateway: no such connector (did you mean csv-drop?): a sample can be ")


def test_cases_gives_an_object_a_case_for_machines(folder: Path):
    (new,) = said(run("cases", "--json", "--mappings", folder))
    assert (new["adapter"], new["case"], new["golden"]) == ("clinic", "a-visit", "new")
    run("cases", "--accept", "--mappings", folder)
    golden = folder / "clinic" / "cases" / "a-visit.out.json"
    assert said(run("cases", "--json", "--mappings", folder))[0]["golden"] == "equal"
    golden.write_text(golden.read_text("utf-8").replace("finished", "planned"), "utf-8")
    (differs,) = said(run("cases", "--json", "--mappings", folder))
    assert (differs["golden"], differs["faults"]) == ("differs", ["resources[0].status: differs"])


def test_check_gives_an_object_for_machines_with_and_without_faults(folder: Path, tmp_path: Path):
    (sound,) = said(run("check", "--json", "--mappings", folder))
    assert sound == {"maps": {"clinic": ["clinic/visit@1.0.0"]}, "faults": [], "warnings": []}
    broken = make(tmp_path / "broken", map_=MAP.replace("period.start", "perod.start"))
    result = run("check", "--json", "--mappings", broken)
    assert result.exit_code == 2
    (told,) = said(result)
    assert told["faults"] == [
        {
            "file": "clinic/visit.yaml",
            "line": 15,
            "column": 7,
            "message": "Encounter has no element 'perod' (did you mean 'period'?)",
        }
    ]


def test_check_says_what_somebody_should_look_at(tmp_path: Path):
    made = make(tmp_path, map_=MAP.replace("class.code: = 'AMB'", "class.code: = 'XYZ'"))
    result = run("check", "--mappings", made)
    assert result.exit_code == 0
    assert "warning: clinic/visit.yaml:13:7: this code is none of those that R4 or UK Core asks for here" in result.stdout
    (told,) = said(run("check", "--json", "--mappings", made))
    assert [one["line"] for one in told["warnings"]] == [13]  # type: ignore[attr-defined]


def test_docs_gives_an_object_a_map_for_machines(folder: Path):
    (told,) = said(run("docs", "--json", "--mappings", folder))
    assert told["map"] == "clinic/visit@1.0.0"
    assert told["ignored"] == [{"field": "remark", "why": "not for anybody"}]
    assert told["lines"][-1] == {  # type: ignore[index]
        "target": "Encounter.participant[0].individual.display",
        "from": "seen_by",
        "type": "string",
        "when": "",
        "class": "operational",
        "marks": ["locating", "third-party"],
        "line": 17,
    }


def test_docs_says_in_which_unit_a_measurement_is_given_of_a_map_that_makes_measurements_alone():
    (told,) = said(run("docs", "child_health/review", "--json"))
    gestation = next(one for one in told["units"] if one["kind"] == "gestation")  # type: ignore[attr-defined]
    codes = ["http://snomed.info/sct|412726003"]
    assert gestation == {
        **{"kind": "gestation", "codes": codes, "given": "d", "from": {"d": "1", "wk": "7"}, "least": "140", "most": "315"}
    }
    page = run("docs", "child_health/review").stdout
    assert "| gestation | http://snomed.info/sct\\|412726003 | d | d (times 1), wk (times 7) | 140 | 315 |" in page
    (told,) = said(run("docs", "child_health/contact", "--json"))
    assert "units" not in told


def test_new_gives_an_object_for_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("sample.csv").write_text("Ref,Seen\nR-1,2026-01-01\n", "utf-8")
    given = ["new", "clinic", "--connector", "csv-drop", "--from", "sample.csv", "--json"]
    told = json.loads(CliRunner().invoke(adapter, given).stdout)
    assert told["fields"] == told["undecided"] == 2
    assert "adapters/clinic/manifest.toml" in told["wrote"]


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

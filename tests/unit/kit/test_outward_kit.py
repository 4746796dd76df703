"""The kit and outward maps: their tables, where a value came from, what the flow page says, export, mutants, commands."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway import policy, registry
from gateway.cli.map import app
from gateway.kit.explain import NotThere
from gateway.kit.flow import matrix, news, page
from gateway.kit.mutate import score_outward
from gateway.kit.outward import outward_lines, outward_tables
from gateway.kit.outward_explain import explain_written
from gateway.kit.outward_export import export_outward
from gateway.mapping import Maps, load, shape_faults
from gateway.mapping.outward.cases import WriteCase, write_cases
from gateway.mapping.outward.plan import OutwardPlan

FOLDER = Path(str(files("mappings")))
CENTRE = ("childrens_centre", "centre-referral-in-1")
VACCINE = ("child_health", "dch-vaccinations-1")


@pytest.fixture(scope="module")
def maps() -> Maps:
    return load(FOLDER)


def case(adapter: str, name: str) -> WriteCase:
    return next(one for one in write_cases(FOLDER, adapter) if one.name == name)


def plans(maps: Maps) -> list[OutwardPlan]:
    return [one.plan for one in maps.outward.values()]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(part) for part in arguments])


def test_the_tables_say_what_leaves_what_is_kept_back_and_why(maps: Maps):
    told = outward_tables(maps.outward[CENTRE].plan)
    assert "from: one ServiceRequest, optional PractitionerRole" in told
    assert "| `nhs_number` | `%ctx.nhs_number \\| nhsNumber` | string |  | identity | 11 |" in told
    assert "| `ServiceRequest.encounter` | leads to the health record |" in told
    assert "| `ServiceRequest.performer` | the row is in the table of the centre that is asked |" in told


def test_every_line_has_its_field_and_class(maps: Maps):
    for plan in plans(maps):
        for line in outward_lines(plan):
            assert line.type, (plan.source.map, line.target)
            assert line.care_class is not None, (plan.source.map, line.target)


def test_a_value_that_is_sent_comes_from_its_line_its_element_and_its_row(maps: Maps):
    one = case("childrens_centre", "referral-of-a-family-with-whom-to-ring")
    (status,) = explain_written(FOLDER, maps, maps.outward[CENTRE].plan, one, "status")
    assert str(status) == (
        "\"open\" <- line 12 translate('centre-referral-status') <- ServiceRequest.status"
        " <- codes/centre-referral-status.csv:4 backwards (equivalent, approved 2026-11-22)"
    )
    (key,) = explain_written(FOLDER, maps, maps.outward[CENTRE].plan, one, "referral_id")
    assert key.came[-1] == "%ctx.key, of the gateway"


def test_of_two_lines_of_one_field_the_one_that_wrote_it_is_named(maps: Maps):
    plan = maps.outward[VACCINE].plan
    told = explain_written(
        FOLDER, maps, plan, case("child_health", "vaccination-recorded-elsewhere-told"), "immunizations[0].identifier[1].value"
    )
    assert [origin.came[-1] for origin in told] == ["value in identifier in Immunization"]
    own = explain_written(
        FOLDER,
        maps,
        plan,
        case("child_health", "vaccination-without-a-number-of-its-own-told"),
        "immunizations[0].identifier[0].value",
    )
    assert [origin.came[-1] for origin in own] == ["%ctx.key, of the gateway"]


def test_a_field_that_a_case_does_not_write_is_said_to_be_missing(maps: Maps):
    one = case("childrens_centre", "request-to-get-in-touch-with-the-least-there-is")
    with pytest.raises(NotThere, match=r"this case writes no such value; it would come from line 16 \(ServiceRequest\.code"):
        explain_written(FOLDER, maps, maps.outward[CENTRE].plan, one, "service")
    with pytest.raises(NotThere, match="no line of this map writes it"):
        explain_written(FOLDER, maps, maps.outward[CENTRE].plan, one, "colour")


def test_an_export_is_r4_and_every_line_is_said_or_named(maps: Maps):
    for plan in plans(maps):
        made = export_outward(maps, plan)
        structure, *tables = [entry["resource"] for entry in made.bundle["entry"]]
        assert [fault for one in (structure, *tables) for fault in shape_faults(one)] == []
        said = json.dumps(structure)
        for line in outward_lines(plan):
            number = line.line.pos.line
            assert f'"line{number}"' in said or any(text.startswith(f"line {number}:") for text in made.by_hand), number


def test_an_exported_code_map_leads_from_target_to_source(maps: Maps):
    made = export_outward(maps, maps.outward[CENTRE].plan)
    table = next(entry["resource"] for entry in made.bundle["entry"] if entry["resource"]["id"] == "centre-referral-status-back")
    assert table["group"][0]["source"] == "http://hl7.org/fhir/request-status"
    assert table["group"][0]["element"][0]["target"][0]["code"] == "open"


def test_a_line_that_no_case_shows_survives_as_a_mutant(maps: Maps):
    plan = maps.outward[CENTRE].plan
    least = [case("childrens_centre", "request-to-get-in-touch-with-the-least-there-is")]
    assert {(one.line, one.what) for one in score_outward(FOLDER, maps, plan, least).survived} >= {
        (16, "dropped"),
        (21, "dropped"),
    }


def test_the_flow_page_says_what_is_written_to_whom_and_a_new_field_is_news(maps: Maps):
    rules = policy.load(files("consent_policy"))
    manifests = [registry.load_manifest(package) for package in registry.installed().values()]
    made = matrix(maps, rules, manifests)
    told = page(made)
    assert "| childrens_centre/referral-out | `reason` | `ServiceRequest.reasonCode.text.first()` | health | opinion |" in told
    assert "| childrens_centre/referral-out | `ServiceRequest.encounter` | leads to the health record |" in told
    assert news(made, told) == []
    fewer = page(replace(made, told=tuple(one for one in made.told if one.target != "reason")))
    assert news(made, fewer) == ["childrens_centre: reason, health, opinion would newly be written"]


# ------------------------------------------------------------------------------------------------------------- commands


def given(name: str) -> Path:
    return FOLDER / "childrens_centre" / "cases" / f"{name}.write.json"


def test_write_prints_the_record_with_its_accounting_and_delivers_nothing():
    result = run("write", *CENTRE, given("referral-of-a-family-with-whom-to-ring"), "--sender", "ods:A99901", "--key", "k-1")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert (said["data"]["referral_id"], said["data"]["from_org"]) == ("k-1", "ods:A99901")
    assert said["accounting"]["withheld_leaves"] == 4
    assert said["refused"] == []


def test_write_takes_a_bundle_and_a_list_and_one_resource_alone(tmp_path: Path):
    resources = json.loads(given("request-to-get-in-touch-with-the-least-there-is").read_text("utf-8"))["resources"]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]}
    outs = []
    for number, body in enumerate((resources, bundle, resources[0])):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(body), "utf-8")
        result = run("write", *CENTRE, file)
        assert result.exit_code == 0
        outs.append(json.loads(result.stdout)["data"])
    assert outs[0] == outs[1] == outs[2]


def test_write_says_why_a_record_is_refused():
    result = run("write", *CENTRE, given("draft-of-a-referral-is-refused"))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["refused"][0]["reason"].startswith("a code that the code map cannot turn back")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("gp", "no-such-schema", "x.json"), "no map writes this: there are"),
        ((*CENTRE, "no-such-file.json"), "the file cannot be read"),
        ((*CENTRE, "odd.json"), "the file is not sound JSON"),
        ((*CENTRE, "numbers.json"), "the file holds something else than R4 resources"),
    ],
)
def test_write_refuses_what_it_cannot_use_in_one_line(tmp_path: Path, arguments: tuple[str, str, str], text: str):
    (tmp_path / "odd.json").write_text("{", "utf-8")
    (tmp_path / "numbers.json").write_text("[1]", "utf-8")
    result = run("write", *arguments[:2], tmp_path / arguments[2])
    assert result.exit_code == 2
    assert text in result.output


def test_check_cases_docs_explain_and_export_know_outward_maps():
    assert "childrens_centre/referral-out@1.0.0" in run("check").stdout
    assert "ok   childrens_centre/referral-of-a-family-with-whom-to-ring" in run("cases", "childrens_centre").stdout
    assert "why the recipient must not have it" in run("docs", "childrens_centre/referral-out").stdout
    told = run("explain", "childrens_centre/referral-out", "referral-of-a-family-with-whom-to-ring", "--field", "service")
    assert told.stdout.startswith('"FEED" <- line 16')
    exported = run("export", "childrens_centre/referral-out")
    assert exported.exit_code == 1
    assert "by hand: line 10: %ctx.key" in exported.output

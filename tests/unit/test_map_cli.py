"""`gateway map`: one JSON object on standard output, an exit code that says what happened, one clear line for a bad file."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway import registry
from gateway.cli import main as whole
from gateway.cli.map import app
from tests.unit.connectors.test_message_batch import ROW, batch

AMARA = "9990000107"
BEN = "9990001111"
CIN = """<?xml version="1.0" encoding="utf-8"?>
<Message><Header><CollectionDetails><ReferenceDate>2026-01-04</ReferenceDate></CollectionDetails>
<Source><LEA>999</LEA><DateTime>2026-01-05T01:00:00</DateTime></Source></Header><Children>{children}</Children></Message>"""
CHILD = """<Child><ChildIdentifiers><LAchildID>{id}</LAchildID><PersonBirthDate>{born}</PersonBirthDate></ChildIdentifiers>
<CINdetails><CINreferralDate>2025-10-01</CINreferralDate><ReferralNFA>0</ReferralNFA></CINdetails></Child>"""


def run(*arguments: str | Path, number: str | None = None) -> Result:
    given = ["run", *map(str, arguments), *(["--nhs-number", "-"] if number is not None else [])]
    return CliRunner().invoke(app, given, input=number)


def said(result: Result) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(result.stdout)
    assert read.keys() == {"bundle", "accounting", "unmapped_codes", "refused"}
    assert read["accounting"].keys() == {"mapped", "ignored", "withheld", "unmapped"}
    return read


def kinds(read: dict[str, Any]) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in read["bundle"].get("entry", ())]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A structured record as a GP system answers it: one allergy, of Amara."""
    allergy = {
        "resourceType": "AllergyIntolerance",
        "id": "1",
        "identifier": [{"system": "https://gp.example", "value": "A1"}],
        "clinicalStatus": "active",
        "verificationStatus": "unconfirmed",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "91934008", "display": "Allergy to nut"}]},
        "patient": {"reference": "Patient/2"},
        "assertedDate": "2024-03-14",
    }
    patient = {
        "resourceType": "Patient",
        "id": "2",
        "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": AMARA}],
    }
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient}, {"resource": allergy}]}
    file = tmp_path / "record.json"
    file.write_text(json.dumps(bundle), "utf-8")
    return file


@pytest.fixture
def extract(tmp_path: Path) -> Path:
    file = tmp_path / "extract.xml"
    children = CHILD.format(id="LA00001", born="2024-03-14") + CHILD.format(id="LA00002", born="2025-01-09")
    file.write_text(CIN.format(children=children), "utf-8")
    return file


@pytest.fixture
def crosswalk(tmp_path: Path) -> Path:
    file = tmp_path / "crosswalk.csv"
    file.write_text(f"local_id,nhs_number,birth_date\nLA00001,{AMARA},2024-03-14\nLA00002,{BEN},2025-01-09\n", "utf-8")
    return file


def test_a_file_is_mapped_and_accounted_for(record: Path):
    result = run("gp", record, number=AMARA)
    read = said(result)
    assert result.exit_code == 0
    assert kinds(read) == ["AllergyIntolerance"]
    assert read["refused"] == []
    assert read["accounting"]["mapped"] > 5


def test_a_record_of_another_number_is_refused_with_its_place(record: Path):
    result = run("gp", record, number=BEN)
    read = said(result)
    assert result.exit_code == 1
    assert kinds(read) == []
    assert "the record carries another NHS number" in {one["reason"] for one in read["refused"]}
    assert AMARA not in result.stdout


def test_a_resource_of_a_type_that_no_record_has_is_refused_with_its_place(record: Path):
    bundle = json.loads(record.read_text("utf-8"))
    bundle["entry"].append({"resource": {"resourceType": "Foo", "id": "3", "bar": "baz"}})
    record.write_text(json.dumps(bundle), "utf-8")
    result = run("gp", record, number=AMARA)
    read = said(result)
    assert result.exit_code == 1
    assert kinds(read) == ["AllergyIntolerance"]
    assert read["refused"] == [{"where": "entry 3, another type", "reason": "no map reads this kind of record"}]


def test_only_the_records_that_the_crosswalk_gives_to_the_number_are_mapped(extract: Path, crosswalk: Path):
    result = run("local_authority", extract, "--crosswalk", crosswalk, number=AMARA)
    read = said(result)
    assert result.exit_code == 1
    assert kinds(read) == ["EpisodeOfCare", "ServiceRequest"]
    assert [one["reason"] for one in read["refused"]] == ["the crosswalk gives the record's local id to somebody else"]


def test_a_local_id_that_the_crosswalk_does_not_know_is_refused(extract: Path):
    read = said(run("local_authority", extract, number=AMARA))
    assert {one["reason"] for one in read["refused"]} == {"the crosswalk does not know the record's local id"}
    assert kinds(read) == []


def test_a_birth_date_other_than_the_one_recorded_at_matching_is_refused(extract: Path, crosswalk: Path):
    crosswalk.write_text(f"local_id,nhs_number,birth_date\nLA00001,{AMARA},2024-03-15\n", "utf-8")
    read = said(run("local_authority", extract, "--crosswalk", crosswalk, number=AMARA))
    assert "the record's birth date is not the one recorded at matching" in {one["reason"] for one in read["refused"]}
    assert kinds(read) == []


def test_without_a_number_every_person_of_the_file_has_a_placeholder_of_their_own(extract: Path):
    result = run("local_authority", extract)
    assert result.exit_code == 0
    read = said(result)
    assert kinds(read) == ["EpisodeOfCare", "ServiceRequest"] * 2
    resources = [entry["resource"] for entry in read["bundle"]["entry"]]
    persons = [resource["id"].partition(".")[0] for resource in resources]
    assert persons[0] == persons[1] != persons[2] == persons[3]  # two records of one child, two of another
    subjects = [resource.get("patient", resource.get("subject"))["reference"] for resource in resources]
    assert subjects == [f"Patient/{person}" for person in persons]
    assert run("local_authority", extract).stdout == result.stdout


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"<Other/>", b"PK\x03\x04"])
@pytest.mark.parametrize("source", ["gp", "local_authority"])
def test_an_unusable_file_gives_one_clear_line_and_its_reason_for_machines(tmp_path: Path, source: str, body: bytes):
    file = tmp_path / "bad"
    file.write_bytes(body)
    result = run(source, file)
    assert result.exit_code == 2
    read = said(result)
    assert kinds(read) == []
    [refused] = read["refused"]
    assert refused["where"] == "the file as a whole"
    assert result.stderr == f"gateway: the file is unusable: {refused['reason']}\n"


def test_an_event_that_is_known_and_not_mapped_is_refused_with_that_reason(tmp_path: Path):
    event = {"system": "https://fhir.nhs.uk/STU3/CodeSystem/EventType-1", "code": "additional-demographics-1"}
    header = {"resourceType": "MessageHeader", "event": event}
    file = tmp_path / "message.json"
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "message", "entry": [{"resource": header}]}), "utf-8")
    result = run("child_health", file)
    assert result.exit_code == 2
    reason = "an event that is known but not mapped yet: additional-demographics-1"
    assert said(result)["refused"] == [{"where": "the file as a whole", "reason": reason}]


def plans(*rows: str) -> str:
    header = (
        "RecordId,RecordType,NHSNumber,BirthDate,StartDate,EndDate,DeleteDate,AuthorityCode,AuthorityName,OfficePhone,"
        "EmergencyDutyPhone,CategoryOfAbuse,Reason,DisclosureLock,Extracted"
    )
    return "\n".join((header, *rows, ""))


def plan(number: str = AMARA, *, id: str = "P1", extracted: str = "2026-01-05T01:00:00") -> str:
    return f"{id},CPP,{number},2024-03-14,2025-10-01,,,999,Northshire,020 7946 0000,020 7946 0001,NEG,,,{extracted}"


def test_every_row_that_a_delivery_would_refuse_is_refused_by_its_place_and_the_others_are_mapped(tmp_path: Path):
    file = tmp_path / "plans.csv"
    rows = plan(), plan("", id="P2"), "P3,CPP", plan(extracted="soon", id="P4"), plan("1234567890", id="P5")
    file.write_text(plans(*rows), "utf-8")
    result = run("local_authority_cpis", file)
    read = said(result)
    assert result.exit_code == 1
    assert {one["where"]: one["reason"] for one in read["refused"]} == {
        "row 3": "a row without its identity",
        "row 4": "a row with more or fewer cells than the header",
        "row 5": "a row without a readable date of its own",
        "row 6": "its NHS number has no valid check digit, or is of no range in use here: the record can be nobody's",
    }
    file.write_text(plans(plan()), "utf-8")
    whole = run("local_authority_cpis", file)
    assert whole.exit_code == 0
    assert kinds(read) == kinds(said(whole)) != []


def test_a_batch_of_immunisations_with_one_bad_row_gives_the_others(tmp_path: Path):
    file = tmp_path / "batch.csv"
    file.write_bytes(batch(ROW, {**ROW, "UNIQUE_ID": "V2", "NHS_NUMBER": ""}, {**ROW, "UNIQUE_ID": "V3", "PERSON_DOB": ""}))
    result = run("child_health", file)
    read = said(result)
    assert result.exit_code == 1
    assert kinds(read) == ["Immunization"]
    assert [one["where"] for one in read["refused"]] == ["row 3", "row 4"]


def test_a_file_whose_one_patient_has_no_valid_number_is_refused_once_with_what_to_do(record: Path):
    bundle = json.loads(record.read_text("utf-8"))
    bundle["entry"][0]["resource"]["identifier"][0]["value"] = "9990000108"
    bundle["entry"].append({"resource": {**bundle["entry"][1]["resource"], "id": "3", "identifier": []}})
    record.write_text(json.dumps(bundle), "utf-8")
    result = run("gp", record)
    [refused] = said(result)["refused"]
    assert result.exit_code == 1
    assert refused["where"] == "every record"
    assert "Patient" in refused["reason"]
    assert "999 range" in refused["reason"]
    assert "9990000108" not in result.output


def test_a_file_with_other_columns_is_told_which_are_missing_and_where_others_stand(tmp_path: Path):
    file = tmp_path / "plans.csv"
    file.write_text(plans(plan()).replace("BirthDate", "Born of 9990000107"), "utf-8")
    result = run("local_authority_cpis", file)
    assert result.exit_code == 2
    reason = "other columns than the manifest lists: missing: BirthDate; not known: column 4"
    assert result.stderr == f"gateway: the file is unusable: {reason}\n"


def test_the_help_names_every_adapter_that_is_installed():
    said_ = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "300"}).stdout
    assert all(name in said_ for name in registry.installed())


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("nobody", "record.json"), None),
        (("gp", "absent.json"), None),
        (("gp", "record.json"), "9990000108"),
        (("gp", "record.json"), ""),
        (("gp", "record.json", "--nhs-number", AMARA), None),
        (("gp", "record.json", "--crosswalk", "absent.csv"), None),
        (("gp", "record.json", "--crosswalk", "record.json"), None),
        (("gp", "record.json", "--mappings", "absent"), None),
    ],
)
def test_what_cannot_be_done_gives_one_clear_line(
    record: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], number: Any
):
    monkeypatch.chdir(record.parent)
    result = run(*arguments, number=number)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert AMARA not in result.stderr


@pytest.mark.parametrize(
    "rows",
    [
        f"LA1,{AMARA}\nLA1,{BEN}\n",
        "LA1,9990000108\n",
        "LA1,\n",
        f",{AMARA}\n",
    ],
)
def test_a_crosswalk_that_contradicts_itself_is_not_used(extract: Path, crosswalk: Path, rows: str):
    crosswalk.write_text("local_id,nhs_number\n" + rows, "utf-8")
    result = run("local_authority", extract, "--crosswalk", crosswalk)
    assert result.exit_code == 2
    assert result.stderr.startswith("gateway: the crosswalk's line ")


def test_check_lists_every_map_and_cases_are_as_their_goldens():
    checked = CliRunner().invoke(app, ["check"])
    assert checked.exit_code == 0
    assert "gp/allergy@" in checked.stdout
    compared = CliRunner().invoke(app, ["cases"])
    assert compared.exit_code == 0, compared.stdout


def test_faults_in_a_mapping_are_listed_with_their_places(tmp_path: Path):
    folder = tmp_path / "maps" / "clinic"
    folder.mkdir(parents=True)
    (folder / "source.yaml").write_text("schema: s\nfields:\n  a: {type: string}\n", "utf-8")
    result = CliRunner().invoke(app, ["check", "--mappings", str(tmp_path / "maps")])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0].startswith("clinic/source.yaml:3:3: a field needs its class: one of identity, ")


def test_the_programmes_file_of_the_folder_is_checked_and_a_key_that_is_not_known_is_named(tmp_path: Path):
    shipped = files("mappings").joinpath("healthy-child-programme.toml").read_text("utf-8")
    own = tmp_path / "healthy-child-programme.toml"
    own.write_text(shipped.replace('by = "14d"', 'bye = "14d"'))
    checked = CliRunner().invoke(app, ["check", "--mappings", str(tmp_path)])
    assert checked.exit_code == 2
    assert f"{own} has in [[review]] number 2 a key that is not known: bye (line " in checked.stderr
    everything = CliRunner().invoke(whole, ["check", "--mappings", str(tmp_path)])
    assert everything.exit_code == 1
    assert f"{own} has in [[review]] number 2" in everything.stderr

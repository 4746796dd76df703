"""`gateway adapter new` for every connector, each from a sample of what it reads."""

import importlib
import json
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter import Manifest
from gateway.connectors import CONNECTORS as THERE
from gateway.connectors import csv_drop, graphql, hl7v2_drop, http_json, xml_drop
from gateway.connectors.fhir_rest import read_searches
from gateway.connectors.sql import read_statements
from gateway.kit.scaffold import CONNECTORS, Made, SampleRefused, scaffold
from gateway.mapping import MappingFaults, load
from gateway.registry import load_manifest
from tests.unit.kit.test_conformance_rules import package

SECRET = "Zzyzxqwv"
XML = f"""<?xml version="1.0"?>
<Export xmlns="urn:x"><Header><Created>2026-01-05T09:00:00</Created><Team>{SECRET}</Team></Header>
<Pupils>
<Pupil kind="{SECRET}"><PupilID>{SECRET}1</PupilID><Born>2019-04-03</Born><Visits>
<Visit><On>2026-01-02</On><Note>{SECRET}</Note></Visit>
<Visit><On>2026-01-03</On></Visit></Visits></Pupil>
<Pupil><PupilID>{SECRET}2</PupilID><Born>2018-04-03</Born></Pupil>
</Pupils></Export>""".encode()
JSON = json.dumps(
    {
        "data": {
            "page": 1,
            "contacts": [
                {
                    "id": SECRET,
                    "child": {"nhsNo": "9990000107", "born": "2024-03-14"},
                    "seen": "2026-01-02",
                    "tags": [SECRET],
                    "n": 3,
                },
                {"id": f"{SECRET}2", "child": {"nhsNo": "9990001111"}, "open": True, "items": [{"code": SECRET}]},
            ],
        }
    }
).encode()
INTROSPECTION = json.dumps(
    {
        "data": {
            "__schema": {
                "queryType": {"name": "Query"},
                "types": [
                    {"kind": "SCALAR", "name": "ID"},
                    {"kind": "ENUM", "name": "Outcome"},
                    {
                        "kind": "OBJECT",
                        "name": "Query",
                        "fields": [{"name": "child", "type": {"kind": "OBJECT", "name": "Visit"}}],
                    },
                    {
                        "kind": "OBJECT",
                        "name": "Visit",
                        "fields": [
                            {"name": "id", "type": {"kind": "NON_NULL", "ofType": {"kind": "SCALAR", "name": "ID"}}},
                            {"name": "count", "type": {"kind": "SCALAR", "name": "Int"}},
                            {"name": "outcome", "type": {"kind": "ENUM", "name": "Outcome"}},
                            {"name": "nhsNumber", "type": {"kind": "SCALAR", "name": "String"}},
                            {"name": "tags", "type": {"kind": "LIST", "ofType": {"kind": "SCALAR", "name": "String"}}},
                        ],
                    },
                ],
            }
        }
    }
).encode()
DDL = f"""-- {SECRET}
create table public.visits (
  visit_id serial primary key, nhs_number varchar(10) not null, seen_on date, changed timestamp,
  weight numeric(5,2), is_open boolean, foreign key (visit_id) references other (id)
);
CREATE TABLE "staff" (id integer, name text);""".encode()
HL7 = (
    f"MSH|^~\\&|LAB|X99901|GW|GW|20260105090000||ORU^R01|{SECRET}|P|2.4\r"
    f"PID|1||9990000107^^^NHS^NH||{SECRET}^Amara||20240314|F\rOBR|1||{SECRET}|26604007^FBC|||20260104\r"
    f"OBX|1|NM|718-7^Haemoglobin||{SECRET}|g/L|||||F\rOBX|2|NM|1^x||7|g/L|||||F\r"
).encode()
CSV = f"Ref;NHS No;Born;Seen on\n{SECRET};9990000107;14/03/2024;02/12/2025\n{SECRET}2;9990001111;01/02/2023;03/12/2025\n".encode()
MESSAGE = json.dumps(
    {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [
            {
                "resource": {
                    "resourceType": "MessageHeader",
                    "event": {"system": "https://fhir.nhs.uk/STU3/CodeSystem/EventType-1", "code": "vaccinations-1"},
                }
            },
            {"resource": {"resourceType": "Patient", "name": [{"family": SECRET}]}},
            {"resource": {"resourceType": "Immunization", "status": SECRET, "date": "2026-01-05", "note": [{"text": SECRET}]}},
        ],
    }
).encode()
FHIR = json.dumps(
    {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Observation", "id": SECRET}}, {"resource": {"resourceType": "Patient"}}],
    }
).encode()


def sqlite_file(folder: Path) -> bytes:
    file = folder / "sample.db"
    with sqlite3.connect(file) as held:
        held.execute("create table visits (visit_id integer, nhs_number text, seen_on date, outcome text)")
        held.executemany(
            "insert into visits values (?, ?, ?, ?)", [(1, "9990000107", "2026-01-02", SECRET), (2, "9990001111", None, SECRET)]
        )
    held.close()
    return file.read_bytes()


SAMPLES = {
    "csv-drop": CSV,
    "fhir-rest": FHIR,
    "graphql": JSON,
    "hl7v2-drop": HL7,
    "http-json": JSON,
    "message-drop": MESSAGE,
    "sql": DDL,
    "xml-drop": XML,
}
READ: dict[str, Any] = {
    "csv-drop": csv_drop.read_shape,
    "fhir-rest": read_searches,
    "graphql": graphql.read_shape,
    "hl7v2-drop": hl7v2_drop.read_shape,
    "http-json": http_json.read_routes,
    "sql": read_statements,
    "xml-drop": xml_drop.read_shape,
}


def manifest(made: Made, folder: Path) -> Manifest:
    place = folder / "clinic"
    place.mkdir()
    (place / "manifest.toml").write_text(
        made.adapter["manifest.toml"].replace('"TODO"', '"other"').replace('= "other" }', '= "child-health-reviews" }'), "utf-8"
    )
    return load_manifest(package(place))


def fields(made: Made) -> dict[str, str]:
    return {guess.name: guess.type for guess in made.guesses}


def test_a_sample_can_be_given_for_every_connector_that_maps_fields():
    assert set(SAMPLES) == set(CONNECTORS)
    assert set(CONNECTORS) | {"returns-drop"} == set(THERE)


@pytest.mark.parametrize("connector", SAMPLES)
def test_no_value_of_any_sample_is_copied(connector: str):
    made = scaffold("clinic", connector, SAMPLES[connector])
    written = "".join([*made.adapter.values(), *made.mapping.values()])
    for value in (SECRET, "9990001111", "Amara", "2019-04-03", "14/03/2024", "26604007"):
        assert value not in written


@pytest.mark.parametrize("connector", SAMPLES)
def test_the_manifest_is_one_that_its_connector_reads(connector: str, tmp_path: Path):
    made = manifest(scaffold("clinic", connector, SAMPLES[connector]), tmp_path)
    assert made.connector == connector
    assert made.purposes == frozenset()
    importlib.import_module(THERE[connector])
    if connector in READ:
        assert READ[connector](made)


@pytest.mark.parametrize("connector", sorted(set(SAMPLES) - {"fhir-rest"}))
def test_every_field_is_undecided_and_nothing_else_keeps_the_maps_from_loading(connector: str, tmp_path: Path):
    made = scaffold("clinic", connector, SAMPLES[connector])
    for name, text in made.mapping.items():
        file = tmp_path / "clinic" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    with pytest.raises(MappingFaults) as faults:
        load(tmp_path)
    messages = [fault.message for fault in faults.value.faults]
    assert all(" fields are still undecided: " in message for message in messages), messages
    assert sum(int(message.split()[0]) for message in messages) == made.undecided()
    assert json.loads(made.mapping[next(name for name in made.mapping if name.startswith("cases/"))])["data"]


def test_xml_gives_nested_fields_that_repeat_its_record_and_the_day_of_the_extract():
    made = scaffold("clinic", "xml-drop", XML)
    table = tomllib.loads(made.adapter["manifest.toml"])
    assert table["identity"] == "local_id"
    assert table["xml"]["record"] == "Export/Pupils/Pupil"
    assert (table["xml"]["identity"], table["xml"]["birth_date"], table["xml"]["as_of"]) == (
        "PupilID",
        "Born",
        ["Header/Created"],
    )
    found = {guess.name: guess for guess in made.guesses}
    assert found["Visits.Visit"].repeats
    assert found["Visits.Visit.On"].type == "date"
    assert found["@kind"].key == "`@kind`"
    case = json.loads(made.mapping["cases/first.in.json"])
    assert case["data"]["Visits"]["Visit"] == [{"On": "2026-01-05", "Note": "invented"}]


def test_json_is_searched_for_its_records_and_their_nested_parts():
    made = scaffold("clinic", "http-json", JSON)
    route = tomllib.loads(made.adapter["manifest.toml"])["route"]["records"]
    assert (route["records"], route["identity"], route["birth_date"]) == ("$.data.contacts", "child.nhsNo", "child.born")
    assert fields(made)["items.code"] == "string"
    assert fields(made)["n"] == "integer"


def test_an_introspection_gives_the_types_that_the_service_says():
    made = scaffold("clinic", "graphql", INTROSPECTION)
    assert fields(made) == {"id": "string", "count": "integer", "outcome": "code", "nhsNumber": "string", "tags": "string"}
    table = tomllib.loads(made.adapter["manifest.toml"])
    assert table["identity"] == "nhs_number"
    assert table["graphql"]["query"] == "query ($key: ID!) { visits(key: $key) { id count outcome nhsNumber tags } }"


def test_ddl_and_a_sqlite_file_give_a_statement_and_a_schema_for_each_table(tmp_path: Path):
    made = scaffold("clinic", "sql", DDL)
    table = tomllib.loads(made.adapter["manifest.toml"])
    assert table["reads"] == ["clinic-visits-1", "clinic-staff-1"]
    assert table["query"]["visits"]["sql"].endswith("from public.visits where nhs_number = :nhs_number")
    types = fields(made)
    assert [types[name] for name in ("visit_id", "seen_on", "changed", "weight", "is_open")] == [
        "integer",
        "date",
        "dateTime",
        "decimal",
        "boolean",
    ]
    assert {"visits.yaml", "staff.yaml", "cases/first-visits.in.json"} <= set(made.mapping)
    of_file = scaffold("clinic", "sql", sqlite_file(tmp_path))
    assert fields(of_file)["seen_on"] == "date"
    assert SECRET not in "".join([*of_file.adapter.values(), *of_file.mapping.values()])


def test_an_hl7_message_gives_its_paths_names_and_its_results_as_items():
    made = scaffold("clinic", "hl7v2-drop", HL7)
    event = tomllib.loads(made.adapter["manifest.toml"])["hl7"]["events"]["ORU^R01"]
    assert event["key"] == "OBR-3"
    assert event["fields"]["birth_date"] == "PID-7"
    assert event["each"]["segment"] == "OBX"
    assert event["each"]["fields"]["value"] == "OBX-5"
    assert fields(made)["results.unit"] == "code"


def test_a_message_gives_its_event_and_what_it_holds():
    made = scaffold("clinic", "message-drop", MESSAGE)
    event = tomllib.loads(made.adapter["manifest.toml"])["events"]["vaccinations-1"]
    assert (event["focus"], event["reads"]) == (["Immunization"], {"immunization": "Immunization"})
    assert "immunization.note.text" in fields(made)


def test_fhir_needs_no_map_and_gets_one_search_a_type():
    made = scaffold("clinic", "fhir-rest", FHIR)
    table = tomllib.loads(made.adapter["manifest.toml"])
    assert made.mapping == {}
    assert table["reads"] == ["fhir-r4"]
    assert list(table["search"]) == ["observation"]


@pytest.mark.parametrize("connector", SAMPLES)
@pytest.mark.parametrize(
    "sample",
    [
        b"",
        b"{",
        b"<a>" * 50_000,
        b"[" * 100_000,
        b"SQLite format 3\0broken",
        bytes(range(128, 256)),
        b"<!DOCTYPE a [<!ENTITY b 'Zzyzxqwv'>]><a>&b;</a>",
    ],
)
def test_a_sample_of_another_kind_is_refused_without_a_word_of_it(connector: str, sample: bytes):
    with pytest.raises(SampleRefused) as refused:
        scaffold("clinic", connector, sample)
    assert SECRET not in str(refused.value)

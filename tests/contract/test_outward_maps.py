"""Every shipped outward map and its cases: golden, accounted for, and read back without loss, as trees and as files."""

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from gateway.adapter import SourceContractBroken, Tree
from gateway.connectors.csv_rows import rows_of
from gateway.connectors.csv_writer import csv_of
from gateway.connectors.message_drop import read_file
from gateway.connectors.message_writer import message_of, message_xml
from gateway.connectors.xml_tree import parse as parse_xml
from gateway.connectors.xml_tree import tree_of
from gateway.connectors.xml_writer import xml_of
from gateway.kit.mutate import score_outward
from gateway.mapping import Maps, WriteContext, Written, encode, load, parse, shape_faults, write_record
from gateway.mapping.cases import NUMBER, context
from gateway.mapping.outward.cases import WriteCase, write_cases
from gateway.mapping.outward.readback import lost
from gateway.registry import installed, load_manifest
from tests.contract.test_maps import leaves, texts

FOLDER = Path(str(files("mappings")))
CASES = list(write_cases(FOLDER))
WHEN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.adapter}-{case.name}" for case in CASES])


@pytest.fixture(scope="module")
def maps() -> Maps:
    return load(files("mappings"))


def test_five_kinds_of_system_are_written_to(maps: Maps):
    assert {adapter for adapter, _ in maps.outward} == {
        *("gp", "child_health", "childrens_centre", "local_authority", "local_authority_cpis")
    }


def test_every_outward_map_has_a_case_that_is_written_and_one_that_is_refused(maps: Maps):
    for key in maps.outward:
        came = [case.run(maps) for case in CASES if (case.adapter, case.given()["schema"]) == key]
        assert any(one.data is not None for one in came), key
        assert any(one.refused for one in came), key


@each_case
def test_what_is_written_equals_the_golden(case: WriteCase, maps: Maps):
    assert case.differences(case.run(maps)) == []


@each_case
def test_every_leaf_is_sent_ignored_withheld_or_said_not_to_be_sent(case: WriteCase, maps: Maps):
    came = case.run(maps)
    assert came.accounting is not None
    assert came.accounting.leaves == sum(leaves(one) for one in case.given()["resources"])


@each_case
def test_what_is_written_is_read_back_without_loss(case: WriteCase, maps: Maps):
    assert case.lost(maps, case.run(maps)) == []


@each_case
def test_what_is_withheld_is_nowhere_in_what_is_written(case: WriteCase, maps: Maps):
    came = case.run(maps)
    assert came.accounting is not None
    written = set(texts(came.data))
    for path, _ in came.accounting.withheld:
        for value in values_of(case.given()["resources"], path):
            assert value not in written, path


@each_case
def test_no_refusal_to_write_holds_a_value(case: WriteCase, maps: Maps):
    words = [text for text in texts(case.given()["resources"]) if len(text) > 5 and " " in text]
    for refused in case.run(maps).refused:
        assert not any(word in refused.reason for word in words)


@each_case
def test_no_address_and_no_id_of_ours_is_written(case: WriteCase, maps: Maps):
    written = json.loads(encode(case.run(maps).data))
    assert not any(text.startswith(("Patient/", "Encounter/", "Location/")) for text in texts(written))


@pytest.mark.parametrize("title", ["gp", "child_health", "childrens_centre", "local_authority"])
def test_cases_notice_nearly_every_change_of_an_outward_map(title: str, maps: Maps):
    for plan in maps.outward_plans(title):
        assert score_outward(FOLDER, maps, plan, [case for case in CASES if case.adapter == title]).percent >= 95


def test_what_is_only_written_is_in_no_answer(maps: Maps):
    for adapter in maps.adapters():
        manifest = load_manifest(installed()[adapter])
        assert {block.block.type for plan in maps.plans(adapter) for block in plan.blocks} == set(manifest.gives)
        assert not {plan.source.reads for plan in maps.plans(adapter)} & {schema for _, schema in maps.readback}


def test_what_is_read_back_is_r4_uk_core(maps: Maps):
    from gateway.adapter import Claim, SourceRecord
    from gateway.mapping import map_record

    for case in CASES:
        came = case.run(maps)
        if came.data is not None:
            record = SourceRecord(case.given()["schema"], came.data, "read back", WHEN, Claim(nhs_number=NUMBER.value))
            back = map_record(maps.for_reading_back(), case.adapter, record, context(case.adapter))
            assert back.resources
            assert [fault for made in back.resources for fault in shape_faults(made.body)] == []


# ------------------------------------------------------------------------------------------------------------- as files


def through_xml_message(data: Tree) -> Tree:
    manifest = load_manifest(installed()["child_health"])
    (record,) = read_file(manifest, "message.xml", message_xml(data))
    return record.data


def through_json_message(data: Tree) -> Tree:
    manifest = load_manifest(installed()["child_health"])
    (record,) = read_file(manifest, "message.json", encode(message_of(data)))
    assert record.about.nhs_number == NUMBER.value
    return record.data


def through_xml(data: Tree) -> Tree:
    return tree_of(parse_xml(xml_of(data, root="FrontDoorReferral")))


def through_csv(data: Tree) -> Tree:
    body = csv_of([data], columns=list(data))
    (row,) = rows_of(body, columns=list(data), encoding="utf-8", delimiter=",", quote='"')
    assert row.fault is None
    return dict(row.cells)


def through_a_table(data: Tree) -> Tree:
    held = sqlite3.connect(":memory:")
    held.execute(f"create table referral_in ({', '.join(f'{name} text' for name in data)})")
    held.execute(f"insert into referral_in values ({', '.join('?' * len(data))})", list(data.values()))
    found = held.execute("select * from referral_in").fetchone()
    return dict(zip(data, found, strict=True))


def through_json(data: Tree) -> Tree:
    return parse(encode(data))


WAYS: list[tuple[str, Callable[[Tree], Tree]]] = [
    ("child_health", through_xml_message),
    ("child_health", through_json_message),
    ("childrens_centre", through_csv),
    ("childrens_centre", through_a_table),
    ("local_authority", through_xml),
    ("gp", through_json),
]


@pytest.mark.parametrize(("adapter", "way"), WAYS, ids=[f"{adapter}-{way.__name__}" for adapter, way in WAYS])
def test_nothing_is_lost_on_the_way_through_a_file_or_a_table(adapter: str, way: Callable[[Tree], Tree], maps: Maps):
    written = [(case, case.run(maps)) for case in CASES if case.adapter == adapter]
    assert sum(came.data is not None for _, came in written) >= 2
    for case, came in written:
        if came.data is None:
            continue
        assert came.accounting is not None
        given_ = case.given()
        back = lost(maps, adapter, given_["schema"], way(came.data), given_["resources"], came.accounting, context(adapter))
        assert back == [], case.name


def test_a_repeat_is_the_same_message_by_the_same_ids(maps: Maps):
    case = next(case for case in CASES if case.name == "vaccination-recorded-elsewhere-told")
    assert message_xml(case.run(maps).data) == message_xml(case.run(maps).data)


def test_elements_of_a_message_stand_in_the_order_of_stu3(maps: Maps):
    case = next(case for case in CASES if case.name == "vaccination-recorded-elsewhere-told")
    body = message_xml(case.run(maps).data).decode()
    names = ["<extension", "<identifier", "<status", "<notGiven", "<vaccineCode", "<patient", "<date", "<primarySource"]
    focus = body[body.index("<Immunization>") :]
    places = [focus.index(name) for name in names]
    assert places == sorted(places)


def test_a_sender_without_an_ods_code_sends_no_message(maps: Maps):
    case = next(case for case in CASES if case.name == "vaccination-recorded-elsewhere-told")
    data = msgspec.json.decode(encode(case.run(maps).data))
    data["envelope"]["sender"] = "dfe-urn:199901"
    with pytest.raises(SourceContractBroken, match="ODS"):
        message_of(data)


# ---------------------------------------------------------------------------------------------------------- any request

words = some.text(
    some.characters(codec="utf-8", categories=("L", "N", "P", "Zs"), exclude_characters="\u00a0\u2028\u2029"),
    min_size=1,
    max_size=40,
).filter(lambda text: text.strip() == text and text != "")
moments = some.datetimes(datetime(2000, 1, 1), datetime(2026, 1, 1), timezones=some.just(UTC)).map(
    lambda at: at.replace(microsecond=0).isoformat()
)
support = some.sampled_from(["antenatal", "infant-feeding", "play", "parenting", "speech", "home-support", "advice"])
requests = some.fixed_dictionaries(
    {
        "resourceType": some.just("ServiceRequest"),
        "id": some.just("s"),
        "status": some.sampled_from(["active", "revoked", "completed"]),
        "intent": some.sampled_from(["order", "proposal"]),
        "authoredOn": moments,
        "code": support.map(
            lambda code: {"coding": [{"system": "urn:shared-care-gateway:CodeSystem:family-support", "code": code}]}
        ),
    },
    optional={
        "priority": some.sampled_from(["routine", "urgent"]),
        "reasonCode": some.lists(words.map(lambda text: {"text": text}), min_size=1, max_size=1),
        "note": some.lists(words.map(lambda text: {"text": text}), min_size=1, max_size=1),
        "requester": words.map(lambda text: {"display": text}),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(request=requests)
def test_any_request_a_centre_can_take_comes_back_as_it_was(request: dict[str, Any]):
    found = shipped()
    ctx = WriteContext(NUMBER, "dfe-urn:199901", "ods:RXX99", WHEN, "any-key")
    came: Written = write_record(found, "childrens_centre", "centre-referral-in-1", [request], ctx, account=True)
    assert came.refused == ()
    assert came.not_sent == ()
    assert came.accounting is not None
    at = context("childrens_centre")
    assert lost(found, "childrens_centre", "centre-referral-in-1", came.data, [request], came.accounting, at) == []


def shipped() -> Maps:
    return _SHIPPED[0] if _SHIPPED else _SHIPPED.append(load(files("mappings"))) or _SHIPPED[0]


_SHIPPED: list[Maps] = []


def values_of(resources: list[dict[str, Any]], path: str) -> list[str]:
    """Every text at a path of names."""
    type_, *names = path.split(".")
    found: list[Any] = [one for one in resources if one["resourceType"] == type_]
    for name in names:
        found = [
            part
            for one in found
            if isinstance(one, dict) and name in one
            for part in (one[name] if isinstance(one[name], list) else [one[name]])
        ]
    return [one for one in found if isinstance(one, str)]

"""Writers: what they write, their reader reads; what the form cannot hold is refused without a value."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.adapter import SourceContractBroken
from gateway.connectors.csv_rows import fault_of, rows_of
from gateway.connectors.csv_writer import csv_of
from gateway.connectors.forms import form_of
from gateway.connectors.message_writer import message_of
from gateway.connectors.xml_tree import parse, tree_of
from gateway.connectors.xml_writer import xml_of
from gateway.errors import StartupRefused

words = some.text(some.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=30)
names = some.sampled_from(["a", "b", "Some-Name", "x_1"])


@given(
    some.recursive(
        words,
        lambda inner: some.dictionaries(names, some.one_of(inner, some.lists(words, min_size=2, max_size=3)), min_size=1),
        max_leaves=8,
    )
)
def test_a_tree_comes_back_from_xml_as_it_was(tree: Any):
    record = {"top": tree, "@kind": "k"}
    assert tree_of(parse(xml_of(record, root="Record"))) == record


def test_markup_in_a_text_stays_a_text():
    body = xml_of({"Words": "<Child/>&amp;]]>", "@kind": '"<'}, root="Record")
    assert tree_of(parse(body)) == {"Words": "<Child/>&amp;]]>", "@kind": '"<'}


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"Words": "secret\x00"}, "a text that XML cannot hold"),
        ({"@kind": "secret\x01"}, "a text that XML cannot hold"),
        ({"no name": "x"}, "a field whose name is no element of XML"),
        ({"x": 1.5}, "a record that is no tree of texts"),
    ],
)
def test_what_xml_cannot_say_is_refused_without_its_value(tree: Any, reason: str):
    with pytest.raises(SourceContractBroken) as caught:
        xml_of(tree, root="Record")
    assert caught.value.reason == reason


def test_a_namespace_is_written_and_read_away():
    body = xml_of({"a": "1"}, root="Record", namespace="urn:x")
    assert b'<Record xmlns="urn:x"><a>1</a></Record>' in body
    assert tree_of(parse(body)) == {"a": "1"}


@given(some.lists(some.dictionaries(some.sampled_from(["a", "b"]), words, min_size=1), min_size=1, max_size=4))
def test_rows_come_back_from_csv_as_they_were_or_are_refused_as_formulas(rows: list[dict[str, str]]):
    if any(fault_of(cell) for row in rows for cell in row.values()):
        with pytest.raises(SourceContractBroken, match="a cell that is a formula"):
            csv_of(rows, columns=["a", "b"])
        return
    body = csv_of(rows, columns=["a", "b"])
    read = list(rows_of(body, columns=["a", "b"], encoding="utf-8", delimiter=",", quote='"'))
    assert [dict(row.cells) for row in read] == rows
    assert all(row.fault is None for row in read)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"a": "=secret"}, "a cell that is a formula"),
        ({"a": "x", "c": "secret"}, "a column that the manifest does not list"),
        ({"a": ["secret"]}, "a cell that is no single value"),
        ({"a": "\u2603 secret"}, "a cell that this encoding cannot hold"),
    ],
)
def test_what_csv_cannot_hold_is_refused_without_its_value(row: Any, reason: str):
    with pytest.raises(SourceContractBroken) as caught:
        csv_of([row], columns=["a", "b"], encoding="cp1252")
    assert caught.value.reason == reason


def test_simple_values_are_written_as_their_readers_spell_them():
    assert csv_of([{"a": True, "b": date(2026, 1, 5)}], columns=["a", "b"]) == b'"a","b"\r\n"true","2026-01-05"\r\n'
    assert b"<a>false</a><b>1.50</b>" in xml_of({"a": False, "b": Decimal("1.50")}, root="R")


ENVELOPE = {
    "nhs_number": "9990000107",
    "birth_date": "2024-02-11",
    "sender": "ods:A99901",
    "sent_at": "2026-01-05T09:00:00+00:00",
}
MESSAGE = {
    "event": "vaccinations-1",
    "change": "new",
    "message": "k",
    "envelope": ENVELOPE,
    "immunizations": [{"status": "completed"}],
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"immunizations": []}, "a message says one thing: the record holds none, or more"),
        ({"encounters": [{"status": "finished"}]}, "a message says one thing: the record holds none, or more"),
        ({"envelope": {**ENVELOPE, "sender": "gss:E08999901"}}, "a message is sent by an organisation with an ODS code"),
        (
            {"envelope": {name: value for name, value in ENVELOPE.items() if name != "birth_date"}},
            "the record does not say whom it is about, or who sends it",
        ),
        ({"envelope": None}, "the record does not say whom it is about, or who sends it"),
    ],
)
def test_a_record_that_is_no_message_is_refused(change: dict[str, Any], reason: str):
    with pytest.raises(SourceContractBroken) as caught:
        message_of({**MESSAGE, **change})
    assert caught.value.reason == reason


def test_two_deliveries_are_two_messages_and_one_is_itself_again():
    first, second = message_of(MESSAGE), message_of({**MESSAGE, "message": "k2"})
    assert first == message_of(MESSAGE)
    assert {entry["fullUrl"] for entry in first["entry"]}.isdisjoint(entry["fullUrl"] for entry in second["entry"])


@pytest.mark.parametrize(
    ("options", "record", "begins"),
    [
        ({"suffix": "json"}, {"a": Decimal("1.50")}, b'{"a":1.50}'),
        ({"suffix": "xml", "root": "Ask"}, {"a": "1"}, b"<?xml"),
        ({"suffix": "csv", "columns": ["a"]}, {"a": "1"}, b'"a"\r\n'),
        ({"suffix": "json", "message": True}, MESSAGE, b'{"resourceType":"Bundle"'),
        ({"suffix": "xml", "message": True}, MESSAGE, b"<?xml"),
    ],
)
def test_a_delivery_as_a_file_has_the_form_of_its_options(options: dict[str, Any], record: Any, begins: bytes):
    assert form_of("[deliver.x]", options)(record).startswith(begins)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"suffix": "pdf"},
        {"suffix": "xml"},
        {"suffix": "csv", "message": True},
        {"suffix": "json", "root": "x"},
        {"suffix": "csv", "columns": "a"},
    ],
)
def test_options_that_make_no_file_are_refused_at_start(options: dict[str, Any]):
    with pytest.raises(StartupRefused, match=r"\[deliver\.x\]"):
        form_of("[deliver.x]", options)

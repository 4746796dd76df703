"""Canonical bytes: the same for the same event, and never an NHS number."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_world import CHILD, NOW, entry

from gateway.audit.canonical import body_digest, commitment, event_bytes, settled
from gateway.ports import Entry

KEY = b"k" * 32


def body(said: Entry) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(settled(said, KEY)[1])
    return read


def test_keys_are_sorted_at_every_depth_whatever_order_they_came_in() -> None:
    one = settled(entry(detail={"b": {"y": 1, "x": 2}, "a": [1]}), KEY)[1]
    two = settled(entry(detail={"a": [1], "b": {"x": 2, "y": 1}}), KEY)[1]
    assert one == two
    assert one.index(b'"a":') < one.index(b'"b":')


def test_the_person_is_a_keyed_hash_and_nothing_else() -> None:
    assert body(entry())["person"] == KEY.hex()
    assert json.loads(settled(entry(person=None), None)[1])["person"] is None
    assert CHILD.value not in json.dumps(body(entry()))


@pytest.mark.parametrize(
    "detail",
    [
        {"a": "9990000018"},
        {"a": "number 9990000018, please"},
        {"9990000018": 1},
        {"a": [{"b": ["x", "9990000018"]}]},
        {"a": CHILD},
        {"a": '"9990000018"'},
        {"a": "https://fhir.nhs.uk/Id/nhs-number|9990000018"},
    ],
)
def test_a_number_that_slips_into_free_detail_is_starred(detail: dict[str, Any]) -> None:
    encoded = settled(entry(detail=detail), KEY)[1]
    assert b"9990000018" not in encoded
    assert b"**********" in encoded


@pytest.mark.parametrize("name", ["system", "request_id", "correlation_id", "staff_name", "address", "purpose"])
def test_a_number_in_a_text_from_outside_is_starred_in_the_entry_and_so_in_its_column(name: str) -> None:
    said, encoded = settled(entry(**{name: "x 9990000018"}), KEY)
    assert getattr(said, name) == "x **********"
    assert b"9990000018" not in encoded


@pytest.mark.parametrize("text", ["9990000019", "99900000181", "1234567890", "a9990000018f", "7" * 64])
def test_what_is_no_nhs_number_standing_alone_is_kept(text: str) -> None:
    assert body(entry(detail={"a": text}))["detail"] == {"a": text}


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "x" * 5000])
@pytest.mark.parametrize("name", ["request_id", "system", "organisation", "purpose"])
def test_hostile_text_is_recorded_made_harmless(name: str, text: str) -> None:
    said, encoded = settled(entry(**{name: text}), KEY)
    kept = getattr(said, name)
    assert len(kept) <= 255
    assert "\x00" not in kept
    assert json.loads(encoded)[name] == kept
    kept.encode()


def test_broken_unicode_deep_in_detail_is_recorded_made_harmless() -> None:
    assert body(entry(detail={"a": ["\ud800"], "\udfff": ("b\x00",)}))["detail"] == {"a": ["?"], "?": ["b\ufffd"]}


def test_a_value_that_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError):
        settled(entry(detail={"a": object()}), KEY)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(), st.lists)))
def test_any_detail_can_be_recorded_and_read_back(detail: dict[str, Any]) -> None:
    said, encoded = settled(entry(detail=detail), KEY)
    assert json.loads(encoded)["detail"] == json.loads(json.dumps(json.loads(encoded)["detail"]))
    assert settled(said, KEY)[1] == encoded


def test_the_log_adds_its_five_facts_last_and_the_result_is_one_json_object() -> None:
    at = datetime(2026, 3, 2, 9, 0, 0, 1, tzinfo=UTC)
    whole = event_bytes(settled(entry(), KEY)[1], r4_index="4.0.1-x", event="e1", recorded_at=at, writer="w-1", writer_seq=7)
    read = json.loads(whole)
    assert list(read)[-5:] == ["r4_index", "event", "recorded_at", "writer", "writer_seq"]
    assert read["writer_seq"] == 7
    assert datetime.fromisoformat(read["recorded_at"]) == at


def test_a_commitment_changes_with_the_salt_and_with_every_byte() -> None:
    base = commitment(b"s" * 16, b"bytes")
    assert len(base) == 32
    assert base not in (commitment(b"t" * 16, b"bytes"), commitment(b"s" * 16, b"bytez"))


def test_a_digest_proves_a_copy_whatever_the_order_of_its_keys_and_disproves_any_other() -> None:
    held = {"resourceType": "Observation", "id": "1", "valueQuantity": {"value": Decimal("1.50"), "unit": "kg"}}
    copy = {"valueQuantity": {"unit": "kg", "value": Decimal("1.50")}, "id": "1", "resourceType": "Observation"}
    assert body_digest(b"salt", held) == body_digest(b"salt", copy)
    assert body_digest(b"salt", held) != body_digest(b"pepper", held)
    assert body_digest(b"salt", held) != body_digest(b"salt", {**copy, "id": "2"})
    assert body_digest(b"salt", held) != body_digest(b"salt", {**copy, "valueQuantity": {"value": Decimal("1.5"), "unit": "kg"}})


def test_the_time_of_the_entry_is_kept_beside_the_time_of_recording() -> None:
    assert datetime.fromisoformat(body(replace(entry(), at=NOW))["at"]) == NOW


def test_a_read_only_mapping_is_recorded_like_any_other() -> None:
    held = MappingProxyType({"a": MappingProxyType({"b": 1})})
    assert body(entry(detail=held))["detail"] == {"a": {"b": 1}}
    assert body_digest(b"s", held) == body_digest(b"s", {"a": {"b": 1}})


def test_numbers_beside_broken_unicode_are_kept() -> None:
    assert body(entry(detail={"a": ["\ud800", 1, None, True]}))["detail"] == {"a": ["?", 1, None, True]}

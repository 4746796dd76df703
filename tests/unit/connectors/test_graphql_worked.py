"""What an answer says between its lines: locks, what is kept back, doubtful birth dates, what the source's own words mean."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter import SourceContractBroken, StartupRefused
from gateway.connectors.graphql_worked import kinds_kept_back, read_meanings, read_worked
from gateway.connectors.json_records import MORE_PAGES

TODAY = date(2026, 11, 22)
TABLE: dict[str, Any] = {
    "redacted": ["Redacted"],
    "kept_back": ["$.cursor.removed", "$.cursor.secured"],
    "total": "$.cursor.total",
    "birth_date_in_doubt": [{"born.mask": ["YEAR", "NONE"]}, {"estimated": [True]}],
    "protect": [
        {"when": {"access.allowed": [False]}, "kind": "disclosure-lock", "locks": True},
        {"each": "warnings", "when": {"type": ["RISK_23"]}, "ends": "end", "kind": "refuge"},
        {"each": "things", "when": {"why": ["ADOPTED"], "status": ["ACTIVE"]}, "kind": "adoption"},
    ],
    "means": {"each": "things", "code": "kind.code", "into": "_means", "code_map": "kinds", "words": ["plan", "not-told"]},
}
ROWS = "# title: t\nsource,target\n A.B ,plan\nA.C,not-told\n"


def worked(**changes: Any):
    return read_worked("here", {name: value for name, value in {**TABLE, **changes}.items() if value is not None})


@pytest.mark.parametrize(
    ("record", "kinds", "locked"),
    [
        ({}, set(), False),
        ({"access": {"allowed": True}}, set(), False),
        ({"access": {"allowed": False}}, {"disclosure-lock"}, True),
        ({"access": {"allowed": 0}}, set(), False),
        ({"warnings": [{"type": "RISK_1"}, {"type": "RISK_23"}]}, {"refuge"}, False),
        ({"warnings": [{"type": "RISK_23", "end": "2026-11-21"}]}, set(), False),
        ({"warnings": [{"type": "RISK_23", "end": "2026-11-22"}]}, {"refuge"}, False),
        ({"warnings": [{"type": "RISK_23", "end": "2026-11-21T09:00:00Z"}]}, set(), False),
        ({"warnings": [{"type": "RISK_23", "end": "soon"}]}, {"refuge"}, False),
        ({"warnings": [{"type": "RISK_23", "end": None}]}, {"refuge"}, False),
        ({"warnings": {"type": "RISK_23"}}, {"refuge"}, False),
        ({"things": [{"why": "ADOPTED", "status": "ACTIVE"}]}, {"adoption"}, False),
        ({"things": [{"why": "ADOPTED", "status": "DELETED"}, {"status": "ACTIVE"}]}, set(), False),
    ],
)
def test_a_rule_protects_where_every_path_has_one_of_its_values_and_it_has_not_ended(
    record: dict[str, Any], kinds: set[str], locked: bool
):
    assert worked().protections(record, TODAY) == kinds
    assert worked().locks(record, TODAY) is locked


@pytest.mark.parametrize(
    ("cursor", "listed", "kept"),
    [
        ({"total": 1}, [{"__typename": "Person"}], False),
        ({"total": 1, "removed": 0, "secured": None}, [{"__typename": "Person"}], False),
        ({"total": 2, "removed": 1}, [{"__typename": "Person"}], True),
        ({"total": 0, "removed": 1}, [], True),
        ({"total": 1, "secured": 1}, [{"__typename": "Redacted"}], True),
        ({}, [{"__typename": "Redacted"}, {"__typename": ["odd"]}], True),
    ],
)
def test_what_is_redacted_or_removed_is_kept_back(cursor: dict[str, Any], listed: list[dict[str, Any]], kept: bool):
    assert worked().keeps_back({"cursor": cursor}, listed) is kept
    assert [one for one in worked().without_redacted(listed) if one.get("__typename") == "Redacted"] == []


@pytest.mark.parametrize(
    "cursor", [{"total": 2}, {"total": "1"}, {"total": 1, "removed": -1}, {"removed": True}, {"secured": "no"}]
)
def test_more_results_than_came_or_a_number_that_is_none_breaks_the_contract(cursor: dict[str, Any]):
    with pytest.raises(SourceContractBroken) as raised:
        worked().keeps_back({"cursor": cursor}, [{"__typename": "Person"}])
    assert (raised.value.reason == MORE_PAGES) is (cursor == {"total": 2})


def test_without_numbers_in_the_manifest_nothing_is_counted():
    assert (
        worked(kept_back=None, total=None, redacted=None).keeps_back({"cursor": {"total": 9}}, [{"__typename": "Redacted"}])
        is False
    )


@pytest.mark.parametrize(
    ("record", "doubted"),
    [
        ({"born": {"mask": "DAY"}, "estimated": False}, False),
        ({"born": {"mask": "YEAR"}}, True),
        ({"born": {"mask": "DAY"}, "estimated": True}, True),
        ({"born": {"mask": "DAY"}, "estimated": 1}, False),
        ({}, False),
    ],
)
def test_an_estimate_or_a_year_is_a_birth_date_in_doubt(record: dict[str, Any], doubted: bool):
    assert worked().doubts_birth_date(record) is doubted


def test_a_word_is_understood_by_the_sources_own_code_map_and_one_nobody_reviewed_stands_alone(tmp_path: Path):
    (tmp_path / "kinds.csv").write_text(ROWS, "utf-8")
    meanings = read_meanings("sources.x.options", worked().means, str(tmp_path))
    assert meanings == {"A.B": "plan", "A.C": "not-told"}
    things = [{"kind": {"code": "A.B"}}, {"kind": {"code": "A.X"}}, {"kind": {"code": 3}}, {}, "odd"]
    record = {"id": 1, "things": things}
    assert worked().understood(record, meanings) == {
        "id": 1,
        "things": [{"kind": {"code": "A.B"}, "_means": "plan"}, {"kind": {"code": "A.X"}}, {"kind": {"code": 3}}, {}, "odd"],
    }
    assert things[0] == {"kind": {"code": "A.B"}}, "what came is not changed"
    assert worked().understood({"things": None}, meanings) == {"things": None}
    assert worked(means=None).understood(record, meanings) == record


def test_a_word_further_in_is_found_there():
    inner = worked(means={**TABLE["means"], "each": "file.things"})
    assert inner.understood({"file": {"things": [{"kind": {"code": "A"}}]}}, {"A": "plan"}) == {
        "file": {"things": [{"kind": {"code": "A"}, "_means": "plan"}]}
    }
    assert inner.understood({"file": None}, {"A": "plan"}) == {"file": None}


@pytest.mark.parametrize(
    "rows", [None, "source,target\nA,secret\n", "source,target\nA,plan\nA,not-told\n", "source,target\n,plan\n", b"\xff"]
)
def test_code_maps_that_say_nothing_sure_are_refused_at_start(tmp_path: Path, rows: str | bytes | None):
    if rows is not None:
        (tmp_path / "kinds.csv").write_bytes(rows if isinstance(rows, bytes) else rows.encode())
    with pytest.raises(StartupRefused, match=r"sources\.x\.options"):
        read_meanings("sources.x.options", worked().means, str(tmp_path))


def test_a_source_with_words_of_its_own_does_not_start_without_its_code_maps():
    with pytest.raises(StartupRefused, match="add code_maps"):
        read_meanings("sources.x.options", worked().means, None)
    assert read_meanings("sources.x.options", None, None) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"total": 3},
        {"kept_back": ["$..x"]},
        {"birth_date_in_doubt": [{}]},
        {"birth_date_in_doubt": [{"a": True}]},
        {"protect": [{"when": {"a": [1]}}]},
        {"protect": [{"kind": "refuge"}]},
        {"protect": ["x"]},
        {"protect": [{"when": {"a": [1]}, "kind": "hidden"}]},
        {"protect": [{"when": {"a": [1]}, "kind": "refuge", "colour": "red"}]},
        {"means": {"each": "things"}},
        {"means": {**TABLE["means"], "more": 1}},
    ],
)
def test_a_manifest_that_cannot_be_kept_is_refused(changes: dict[str, Any]):
    with pytest.raises(StartupRefused, match="here"):
        worked(**changes)


def test_each_category_of_a_source_is_warned_of_once():
    assert kinds_kept_back(["b", "a", "b"], "w") == (("a", "w"), ("b", "w"))

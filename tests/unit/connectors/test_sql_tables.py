"""Tables that come as files or as JSON: what a manifest may say of them, and what a cell may be."""

from dataclasses import replace
from typing import Any

import pytest

import adapters.childrens_centre
from gateway.adapter import SourceContractBroken
from gateway.connectors.sql_tables import Loaded, Tables, of_answer, of_person, read_tables, tidied, together
from gateway.errors import StartupRefused
from gateway.registry import load_manifest

MANIFEST = load_manifest(adapters.childrens_centre)
VISIT = {
    "file": "visits",
    "columns": {"visit_id": "whole", "nhs_number": "text", "on_day": "day", "at": "time", "secret": "flag"},
    "of": "select * from visit where nhs_number = :nhs_number",
}
FILES = {"days": "%d/%m/%Y", "times": "%d/%m/%Y %H:%M"}
WHOLE = {"visitId": 1, "nhsNumber": "9990000107", "onDay": "2026-01-02", "at": None, "secret": False}


def tables(**changes: Any) -> Tables:
    return read_tables(replace(MANIFEST, options={"tables": {"visit": {**VISIT, **changes}}, "files": FILES}))


def one(**cells: Any) -> dict[str, Any]:
    made = tables()
    (row,) = tidied(made, made.by_name["visit"], [cells])
    return row


@pytest.mark.parametrize(
    "changes",
    [
        {"of": "select * from visit"},  # of everyone
        {"of": "delete from visit where nhs_number = :nhs_number"},
        {"of": "select 1 where :nhs_number = :today"},
        {"columns": {"visit_id": "blob"}},
        {"columns": {"visit_id; drop table visit": "text"}},
        {"more": 1},
    ],
)
def test_a_table_that_says_more_or_less_than_it_may_is_refused_at_start(changes: dict[str, Any]) -> None:
    with pytest.raises(StartupRefused):
        tables(**changes)


def test_a_zone_that_is_none_and_no_tables_at_all_are_refused_at_start() -> None:
    with pytest.raises(StartupRefused):
        read_tables(replace(MANIFEST, options={"tables": {"visit": VISIT}, "files": {"zone": "Mars/Olympus"}}))
    with pytest.raises(StartupRefused):
        read_tables(replace(MANIFEST, options={}))


@pytest.mark.parametrize(
    ("column", "said", "read"),
    [
        ("visit_id", "12", 12),
        ("on_day", "31/12/2026", "2026-12-31"),
        ("on_day", "2026-12-31", "2026-12-31"),
        ("at", "31/12/2026 09:30", "2026-12-31T09:30:00"),
        ("secret", "Y", 1),
        ("secret", "no", 0),
        ("secret", True, 1),
        ("secret", 0, 0),
        ("secret", "", None),
        ("nhs_number", 9990000107, "9990000107"),
        ("nhs_number", " 9990000107 ", "9990000107"),
    ],
)
def test_a_cell_is_read_as_what_its_column_holds(column: str, said: Any, read: Any) -> None:
    assert one(**{column: said})[column] == read


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("visit_id", "one"),
        ("on_day", "12/31/2026"),
        ("at", "half past nine"),
        ("secret", "perhaps"),
        ("secret", 2),
        ("nhs_number", True),
        ("nhs_number", ["9990000107"]),
        ("on_day", {"day": 1}),
    ],
)
def test_a_cell_that_is_something_else_refuses_the_whole_without_a_word_of_it(column: str, said: Any) -> None:
    with pytest.raises(SourceContractBroken) as refused:
        one(**{column: said})
    assert str(said) not in str(refused.value)


def test_an_answer_says_every_column_and_every_table() -> None:
    made = tables()
    assert of_answer(made, {"visits": [WHOLE], "others": "anything"})["visit"][0]["secret"] == 0
    forgotten = {name: value for name, value in WHOLE.items() if name != "secret"}
    for answer in ({}, {"visits": None}, {"visits": ["x"]}, {"visits": [forgotten]}):
        with pytest.raises(SourceContractBroken):
            of_answer(made, answer)


def test_a_person_gets_their_own_rows_once_and_nothing_can_be_written() -> None:
    made = tables()
    row = of_answer(made, {"visits": [WHOLE, WHOLE, WHOLE | {"nhsNumber": "9990001111"}]})
    loaded = Loaded(made, together([row, row]))
    assert of_person(made, loaded, "nhs_number", "9990000107") == {
        "visit": [{"visit_id": 1, "nhs_number": "9990000107", "on_day": "2026-01-02", "secret": 0}]
    }
    for statement in ("insert into visit (visit_id) values (9)", "select * from nowhere"):
        with pytest.raises(SourceContractBroken):
            loaded.ask(statement, {})

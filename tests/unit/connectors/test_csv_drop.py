"""The csv-drop connector: rows become records of the person they name, or are refused by their place and nothing else."""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapter import (
    Arrival,
    Claim,
    Manifest,
    Purpose,
    ShelfRecord,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    StartupRefused,
    Want,
)
from gateway.connectors import csv_drop, csv_rows, drop
from gateway.connectors.drop import Opened

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AMARA, BEN = "9990000107", "9990000115"
HEADER = "Visit,NHS No,Born,Seen,Note,Written"
CSV = {
    "schema": "visit-1",
    "kind": "visit",
    "delivers": "increments",
    "columns": HEADER.split(","),
    "identity": "NHS No",
    "birth_date": "Born",
    "key": "Visit",
    "as_of": "Written",
}


def manifest(identity: str = "nhs_number", **changes: Any) -> Manifest:
    table = {name: value for name, value in {**CSV, **changes}.items() if value is not None}
    gives = {"Encounter": "child-health-reviews"}
    terms = frozenset({"TREAT"})
    return Manifest(
        "school", "A school", "csv-drop", "nobody", identity, "child-health", ("visit-1",), gives, terms, frozenset(), False, 1.0,
        {"csv": table},
    )  # fmt: skip


def row(visit: str = "V1", number: str = AMARA, born: str = "2024-03-14", note: str = "well", at: str = "2026-11-20") -> str:
    return f"{visit},{number},{born},2026-11-19,{note},{at}"


def file(*rows: str, header: str = HEADER) -> bytes:
    return "\r\n".join([header, *rows, ""]).encode()


def read(body: bytes, identity: str = "nhs_number", **changes: Any) -> Opened:
    shape = csv_drop.read_shape(manifest(identity, **changes))
    return csv_drop.read_delivery(shape, identity, body, "ods:RXX99")


def refused(*rows: str, **changes: Any) -> list[tuple[str, str]]:
    return list(read(file(row("V0"), *rows), **changes).refused_rows)


def test_a_row_is_a_record_of_the_person_it_names():
    opened = read(file(row(), row("V2", "999 000 0115", "", "  ")))
    assert opened.refused_rows == []
    first, second = opened.arrivals
    at = datetime(2026, 11, 20, tzinfo=UTC)
    about = Claim(nhs_number=AMARA, birth_date=date(2024, 3, 14))
    data = {"Visit": "V1", "NHS No": AMARA, "Born": "2024-03-14", "Seen": "2026-11-19", "Note": "well", "Written": "2026-11-20"}
    assert first == Arrival("visit", "V1", "ods:RXX99", at, about, SourceRecord("visit-1", data, "row 2", at, about))
    assert second.about == Claim(nhs_number=BEN)
    assert second.record is not None
    assert set(second.record.data) == {"Visit", "NHS No", "Seen", "Written"}


def test_a_local_id_is_kept_as_it_is_written():
    [arrival] = read(file(row(number="LA 0-1")), identity="local_id").arrivals
    assert arrival.about == Claim(local_id="LA 0-1", birth_date=date(2024, 3, 14))


def test_columns_may_stand_in_another_order_and_a_quoted_cell_may_hold_anything_of_text():
    body = (
        'Written,Note,Seen,Born,NHS No,Visit\n2026-11-20,"a ""b"", c\nd",,,9990000107,V1\n,,,,,\n2026-11-20,e,,,9990000115,V2\n'
    )
    first, second = read(body.encode()).arrivals
    assert first.record is not None
    assert first.record.data["Note"] == 'a "b", c\nd'
    assert second.record is not None
    assert second.record.where == "row 4"  # as a spreadsheet counts, whatever the lines of a cell


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (file(row(note="é")), {}),
        (b"\xef\xbb\xbf" + file(row(note="é")), {}),
        (file(row(note="é")).decode().encode("utf-16"), {}),
        (file(row(note="é")).decode().encode("cp1252"), {"encoding": "cp1252"}),
        (b"\xef\xbb\xbf" + file(row(note="é")), {"encoding": "cp1252"}),
        (file(row(note="é")).replace(b",", b";"), {"delimiter": ";"}),
        (file(row(note="é")).replace(b",", b"\t"), {"delimiter": "\t", "quote": ""}),
        (file(row(note="'é'")), {"quote": "'"}),
    ],
)
def test_encoding_delimiter_and_quote_are_as_agreed(body: bytes, changes: dict[str, str]):
    [arrival] = read(body, **changes).arrivals
    assert arrival.record is not None
    assert arrival.record.data["Note"] == "é"


@pytest.mark.parametrize(
    ("body", "reason", "changes"),
    [
        (b"", csv_rows.NO_HEADER, {}),
        (b"\n\n", csv_rows.NO_HEADER, {}),
        (b",,\n", csv_rows.NO_HEADER, {}),
        (file(header=HEADER + ",Note"), csv_rows.TWO_ALIKE, {}),
        (file(header=HEADER + ",Mother"), csv_rows.COLUMNS_DIFFER, {}),
        (file(header="Visit,NHS No,Born"), csv_rows.COLUMNS_DIFFER, {}),
        (file(header=HEADER.lower()), csv_rows.COLUMNS_DIFFER, {}),
        (file(row(note="é")).decode().encode("cp1252"), "not UTF-8 text", {}),
        (file(row()).replace(b"well", b"\x81"), "not text in the encoding agreed", {"encoding": "cp1252"}),
        (file(row(note='"cut')), csv_rows.NOT_CSV, {}),
        (file(row(note='"a"b')), csv_rows.NOT_CSV, {}),
        (file(row(note='"' + "x" * 200_000 + '"')), csv_rows.NOT_CSV, {}),
        (b"PK\x03\x04\x14\x00", "", {}),
        (file(row(at="2026-11-20"), row("V2", at="2026-11-19")), csv_drop.TWO_DATES, {"delivers": "snapshot"}),
    ],
)
def test_a_file_of_another_form_is_refused_as_a_whole(body: bytes, reason: str, changes: dict[str, str]):
    with pytest.raises(SourceContractBroken) as raised:
        read(body, **changes)
    if reason:
        assert raised.value.reason.startswith(reason)
    else:
        assert raised.value.reason == f"{csv_rows.COLUMNS_DIFFER}: missing: {', '.join(CSV['columns'])}; not known: column 1"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(note="=1+1"), csv_rows.FORMULA),
        (row(note=" =HYPERLINK(1)"), csv_rows.FORMULA),
        (row(note="@SUM(A1)"), csv_rows.FORMULA),
        (row(note="-2+3+cmd|'/C calc'!A0"), csv_rows.FORMULA),
        (row(note="+cmd|x"), csv_rows.FORMULA),
        (row(note='"\t=1"'), csv_rows.FORMULA),
        (row(note="a\x00b"), csv_rows.NUL),
        (row(note="x" * 32_768), csv_rows.TOO_LONG),
        (row() + ",more", csv_rows.CELLS_DIFFER),
        ("V1," + AMARA, csv_rows.CELLS_DIFFER),
        (row(""), csv_drop.NO_KEY),
        (row(number=""), csv_drop.NO_IDENTITY),
        (row(born="14/03/2024"), csv_drop.BAD_BIRTH_DATE),
        (row(at=""), csv_drop.NO_TIME),
        (row(at="soon"), csv_drop.NO_TIME),
        (row(at="0001-01-01T00:00:00+14:00"), csv_drop.NO_TIME),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_its_place_and_the_others_go_on(bad: str, reason: str):
    opened = read(file(row("V8"), bad, row("V9")))
    assert list(opened.refused_rows) == [("row 3", reason)]
    assert [arrival.business_id for arrival in opened.arrivals] == ["V8", "V9"]
    with pytest.raises(drop.RowsRefused, match=f"^row 3: {reason}$") as some:
        csv_drop.read_file(manifest(), "f.csv", file(row("V8"), bad))
    assert [record.data["Visit"] for record in some.value.records or ()] == ["V8"]
    with pytest.raises(drop.RowsRefused) as whole:
        csv_drop.read_file(manifest(delivers="snapshot"), "f.csv", file(row("V8"), bad))
    assert whole.value.records is None


@pytest.mark.parametrize("note", ["-3.5", "+44 20 7946 0000", "-", "1=1", "a@b", "- 7"])
def test_a_number_or_a_dash_is_no_formula(note: str):
    assert refused(row(note=note)) == []


def test_times_and_dates_are_read_as_agreed_and_a_time_without_a_zone_is_of_the_zone():
    changes = {"dates": "%d/%m/%Y", "times": "%d/%m/%Y %H:%M"}
    [arrival] = read(file(row(born="14/03/2024", at="01/07/2026 00:30")), **changes).arrivals
    assert arrival.about.birth_date == date(2024, 3, 14)
    assert arrival.as_of == datetime(2026, 6, 30, 23, 30, tzinfo=UTC)


def test_two_versions_of_one_key_both_arrive_and_two_of_one_time_are_both_refused():
    opened = read(file(row(at="2026-11-19"), row(note="later"), row("V2"), row("V2", note="other")))
    assert [arrival.as_of.day for arrival in opened.arrivals] == [19, 20]
    assert list(opened.refused_rows) == [("row 4", csv_drop.TWICE), ("row 5", csv_drop.TWICE)]


def test_the_rows_of_one_key_are_one_record_where_the_manifest_says_so():
    opened = read(file(row(at="2026-11-19"), row("V2", BEN, ""), row(note="later")), group=True)
    first, second = opened.arrivals
    assert first.record is not None
    assert [one["Note"] for one in first.record.data["rows"]] == ["well", "later"]
    assert (first.as_of.day, first.record.where, second.business_id) == (20, "row 2", "V2")


def test_half_a_record_is_never_taken():
    opened = read(file(row(), row("V2"), row(note="=1")), group=True)
    assert [arrival.business_id for arrival in opened.arrivals] == ["V2"]
    assert [where for where, _ in opened.refused_rows] == ["row 2", "row 4"]
    with pytest.raises(SourceContractBroken):
        read(file(row(), "V1,cut"), group=True)


def test_one_record_of_two_people_is_refused():
    assert refused(row(), row(number=BEN), group=True) == [("row 3", csv_drop.TWO_PEOPLE), ("row 4", csv_drop.TWO_PEOPLE)]
    assert refused(row(), row(born="2024-03-15"), group=True)[0][1] == csv_drop.TWO_PEOPLE


@pytest.mark.parametrize(
    ("word", "kinds"),
    [("", set()), ("N", set()), ("Y", {"disclosure-lock"}), ("Refuge", {"refuge"}), ("12 Hidden Street", {"disclosure-lock"})],
)
def test_any_word_but_the_agreed_ones_is_a_lock_on_the_person(word: str, kinds: set[str]):
    [arrival] = read(file(row(note=word)), lock="Note", no_lock=["N"]).arrivals
    assert arrival.protected == kinds
    assert arrival.record is not None
    assert arrival.record.data.get("_locks", []) == sorted(kinds)


@pytest.mark.parametrize(("word", "locked"), [("", False), ("N", False), ("Y", True), ("?", True)])
def test_any_word_but_the_agreed_ones_locks_the_record(word: str, locked: bool):
    [arrival] = read(file(row(note=word)), locked="Note", no_lock=["N"]).arrivals
    assert arrival.record is not None
    assert arrival.record.locked is locked


def test_a_row_that_deletes_has_no_record():
    opened = read(file(row(note="D"), row("V2", note="U")), deleted={"column": "Note", "values": ["D"]})
    assert [arrival.record is None for arrival in opened.arrivals] == [True, False]
    assert list(csv_drop.read_file(manifest(deleted={"column": "Note", "values": ["D"]}), "x", file(row(note="D")))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "other"},
        {"delivers": "sometimes"},
        {"as_of": "Number"},
        {"lock": "Lock"},
        {"encoding": "latin-1"},
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"quote": "''"},
        {"zone": "Europe/Londres"},
        {"zone": "../etc/passwd"},
        {"colour": "red"},
        {"key": None},
        {"deleted": {"column": "Note", "values": ["D"]}, "delivers": "snapshot"},
        {"deleted": {"column": "Note"}},
    ],
)
def test_a_manifest_that_cannot_be_kept_is_refused_at_start(changes: dict[str, Any]):
    with pytest.raises(StartupRefused, match=r"adapters/school/manifest\.toml: \[csv\]"):
        csv_drop.read_shape(manifest(**changes))


REASONS = {value for module in (csv_rows, csv_drop) for value in vars(module).values() if isinstance(value, str)} | {
    "not UTF-8 text"
}


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_whatever_follows_the_header_is_read_or_refused_and_nothing_of_it_is_said(tail: bytes):
    faults = []
    try:
        faults = [f"{where}: {reason}" for where, reason in read(file() + tail).refused_rows]
    except SourceContractBroken as broken:
        faults = ["row 0: " + broken.reason]
    assert all(fault.partition(": ")[2] in REASONS and fault[4:].partition(":")[0].isdigit() for fault in faults)


# ------------------------------------------------------------------------------------------------------- as a source


class Shelf:
    def __init__(self, delivered: datetime | None = None, *records: ShelfRecord) -> None:
        self.delivered, self.records = delivered, records

    async def newest(self, holder: object) -> Sequence[ShelfRecord]:
        return [one for one in self.records if holder in (one.about.nhs_number, one.about.local_id)]

    async def delivered_at(self) -> datetime | None:
        return self.delivered

    async def of(self, patient: object) -> Sequence[Claim]:
        return [Claim(local_id="L1"), Claim(local_id="L2")]


def source(
    folder: Path, shelf: Shelf | None = None, identity: str = "nhs_number", max_age_h: float | None = None, **changes: Any
) -> csv_drop.CsvDrop:
    shelf = shelf or Shelf()
    tools: Any = SimpleNamespace(now=lambda: NOW, shelf=shelf, local_ids=shelf, var=folder, seal=bytes)
    options = SourceSettings("school", "school", "ods:RXX99", "A", "School", 1.0, max_age_h, 7, {"drop": "in"})
    return csv_drop.build(manifest(identity, **changes), options, tools)


async def taken(made: csv_drop.CsvDrop, folder: Path, body: bytes, name: str = "f.csv") -> tuple[Any, Sequence[Arrival]]:
    (folder / "in" / name).write_bytes(body)
    os.utime(folder / "in" / name, (NOW.timestamp() - 60,) * 2)
    [(delivery, arrivals)] = [pair async for pair in made.arrivals()]
    return delivery, arrivals


@pytest.mark.parametrize("note", ["=1+1", "- alleged by neighbour", "a\x00b", "x" * 32_768, "well"])
def test_a_cell_that_is_not_read_decides_about_no_row_and_comes_into_no_record(note: str):
    opened = read(file(row(note=note)), unread=["Note"])
    (arrival,) = opened.arrivals
    assert (arrival.business_id, list(opened.refused_rows)) == ("V1", [])
    assert arrival.record is not None
    assert "Note" not in arrival.record.data


def test_a_record_moves_where_the_manifest_says_so_and_only_of_increments_by_nhs_number():
    assert [one.moves for moves in (None, True) for one in read(file(row()), moves=moves).arrivals] == [False, True]
    for changes in ({"delivers": "snapshot"}, {"group": True}):
        with pytest.raises(StartupRefused):
            csv_drop.read_shape(manifest(moves=True, **changes))
    with pytest.raises(StartupRefused):
        csv_drop.read_shape(manifest("local_id", moves=True))


@pytest.mark.parametrize("unread", [["Nowhere"], ["NHS No"], ["Written"]])
def test_a_column_that_is_used_is_read(unread: list[str]):
    with pytest.raises(StartupRefused):
        csv_drop.read_shape(manifest(unread=unread))


@pytest.mark.anyio
async def test_increments_bring_the_good_rows_and_name_the_others(tmp_path: Path):
    made = source(tmp_path)
    delivery, arrivals = await taken(made, tmp_path, file(row(), row("V2", note="=1")))
    assert (delivery.snapshot, delivery.fault, len(arrivals)) == (False, None, 1)
    assert delivery.doubts == {csv_rows.FORMULA: 1}
    delivery.done()
    [note] = (tmp_path / "in" / "done").glob("*.rows")
    assert note.read_text("utf-8") == f"row 3: {csv_rows.FORMULA}\n"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (file(row(), row("V2")), None),
        (file(row(), row("V2", note="=1")), csv_rows.FORMULA),
        (file(row(), row()), csv_drop.TWICE),
        (file(), drop.NO_DATE),
        (file(row(at="")), csv_drop.NO_TIME),
        (file(row(at="2026-11-22")), drop.FROM_THE_FUTURE),
    ],
)
@pytest.mark.anyio
async def test_a_snapshot_is_taken_whole_or_not_at_all(tmp_path: Path, body: bytes, fault: str | None):
    delivery, arrivals = await taken(source(tmp_path, delivers="snapshot"), tmp_path, body)
    assert (delivery.snapshot, delivery.fault, len(arrivals)) == (True, fault, 0 if fault else 2)


def shelved(arrival: Arrival) -> ShelfRecord:
    one = arrival.record
    assert one is not None
    return ShelfRecord(
        "visit", arrival.business_id, "x", arrival.as_of, one.data, arrival.about, one.where, one.schema, one.locked
    )


async def fetched(made: csv_drop.CsvDrop, *types: str) -> tuple[list[Any], SourceFacts]:
    patient: Any = SimpleNamespace(number=AMARA, superseded=(BEN,))
    *items, facts = [item async for item in made.fetch(patient, Want(frozenset(types), Purpose.TREAT, {}, "c"))]
    assert isinstance(facts, SourceFacts)
    return items, facts


@pytest.mark.anyio
async def test_the_shelf_answers_for_every_number_with_its_locks_and_its_age(tmp_path: Path):
    opened = read(file(row(note="refuge"), row("V2", BEN), row("V3", "9990001111")), lock="Note", no_lock=["well"], locked="Note")
    records = [shelved(arrival) for arrival in opened.arrivals]
    got, facts = await fetched(source(tmp_path, Shelf(NOW - timedelta(hours=40), *records)), "Encounter")
    assert [(one.data["Visit"], one.locked) for one in got] == [("V1", True), ("V2", False)]
    assert facts == SourceFacts(protected=frozenset({"refuge"}), as_of=NOW - timedelta(hours=40))
    nothing, facts = await fetched(source(tmp_path, Shelf(NOW, *records)), "Flag")
    assert (nothing, facts.protected) == ([], {"refuge"})


@pytest.mark.parametrize(
    ("hours", "max_age_h", "delivers", "stale"),
    [(49, None, "snapshot", True), (49, None, "increments", False), (3, 2, "increments", True), (49, 50, "snapshot", False)],
)
@pytest.mark.anyio
async def test_past_its_age_a_shelf_is_stale(tmp_path: Path, hours: int, max_age_h: float | None, delivers: str, stale: bool):
    [arrival] = read(file(row(number="L1")), identity="local_id").arrivals
    shelf = Shelf(NOW - timedelta(hours=hours), replace(shelved(arrival)))
    got, facts = await fetched(source(tmp_path, shelf, "local_id", max_age_h, delivers=delivers), "*")
    assert facts.stale is stale
    assert [one.data.get("_stale", False) for one in got] == [stale]

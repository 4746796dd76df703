"""Where a period stands is asked every time: what was told yesterday may be told no more today."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from test_csv_drop import AMARA, NOW, Shelf, fetched, file, manifest, read, row, shelved, source

from gateway.adapter import StartupRefused
from gateway.connectors import csv_drop
from gateway.connectors.period_now import period_now, voided

PERIOD = {"start": "Seen", "end": "Note", "tail_months": 12}


@pytest.mark.parametrize(
    ("start", "end", "today", "stands"),
    [
        (date(2026, 3, 6), None, date(2026, 11, 21), "current"),
        (date(2026, 3, 6), date(2026, 11, 21), date(2026, 11, 21), "current"),  # its last day is part of it
        (date(2026, 3, 6), date(2026, 11, 20), date(2026, 11, 21), "ended"),
        (None, date(2025, 11, 21), date(2026, 11, 21), "ended"),  # the same day twelve months on is the last of the tail
        (None, date(2025, 11, 20), date(2026, 11, 21), "over"),
        (None, date(2024, 2, 29), date(2025, 2, 28), "ended"),
        (None, date(2024, 2, 29), date(2025, 3, 1), "over"),
        (None, date(2025, 12, 31), date(2026, 12, 31), "ended"),
        (date(2026, 11, 22), None, date(2026, 11, 21), "to-come"),
        (date(2026, 3, 6), date(2027, 1, 1), date(2026, 11, 21), "current"),
        (None, None, date(2026, 11, 21), "current"),
    ],
)
def test_a_period_is_to_come_current_just_ended_or_over(start: date | None, end: date | None, today: date, stands: str):
    assert period_now(start, end, today, 12) == stands


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("note", "stands"), [("2026-11-01", "ended"), ("2025-11-01", "over"), ("soon", "current"), ("", "current")]
)
async def test_it_is_worked_out_of_what_is_shelved_when_it_is_asked_for(tmp_path: Path, note: str, stands: str):
    records = [shelved(arrival) for arrival in read(file(row(note=note)), period=PERIOD).arrivals]
    assert all("_period" not in record.data for record in records)
    got, _ = await fetched(source(tmp_path, Shelf(NOW - timedelta(hours=1), *records), period=PERIOD), "Encounter")
    assert [one.data["_period"] for one in got] == [stands]
    assert {one.about.nhs_number for one in got} == {AMARA}


@pytest.mark.parametrize(
    "period", [{"start": "Seen"}, {**PERIOD, "zone": "x"}, {**PERIOD, "end": "Nowhere"}, {"start": "Seen", "end": "Note"}]
)
def test_a_period_names_two_columns_there_are_and_its_tail(period: dict[str, object]):
    with pytest.raises(StartupRefused):
        csv_drop.read_shape(manifest(period=period))


@pytest.mark.anyio
@pytest.mark.parametrize(("note", "stands"), [("2026-11-01", "deleted"), ("n/a", "doubtful"), ("0", "doubtful"), ("", "ended")])
async def test_a_deletion_counts_where_its_day_can_be_read_and_is_doubtful_where_it_cannot(
    tmp_path: Path, note: str, stands: str
):
    period = {"start": "Born", "end": "Seen", "tail_months": 12, "deleted": "Note"}
    records = [shelved(arrival) for arrival in read(file(row(note=note)), period=period).arrivals]
    got, _ = await fetched(source(tmp_path, Shelf(NOW - timedelta(hours=1), *records), period=period), "Encounter")
    assert [one.data["_period"] for one in got] == [stands]


def test_what_is_not_told_of_anyhow_is_not_doubtful():
    assert [voided(stands, None) for stands in ("to-come", "over", "current")] == ["to-come", "over", "doubtful"]


@pytest.mark.parametrize(("note", "protects"), [("2026-11-01", False), ("n/a", True), ("", True)])
def test_a_record_made_in_error_protects_nobody_and_one_that_ended_or_is_doubtful_does(note: str, protects: bool):
    period = {"start": "Born", "end": "Seen", "tail_months": 12, "deleted": "Note"}
    (arrival,) = read(file(row("refuge", note=note)), period=period, lock="Visit").arrivals
    assert arrival.record is not None
    assert (arrival.protected, "_locks" in arrival.record.data) == ({"refuge"} if protects else frozenset(), protects)

"""Contacts and activities of the community service: two files, held apart, joined when a child is asked about."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.adapter import Claim, ShelfRecord
from gateway.connectors import message_csds
from gateway.connectors.message_csds import ACTIVITY, CONTACT, contacts_of, extract_of, read_extract
from gateway.errors import SourceContractBroken

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTACTS, ACTIVITIES = (each.columns for each in message_csds._EXTRACTS)


def file(columns: tuple[str, ...], *rows: dict[str, str], encoding: str = "utf-8") -> bytes:
    lines = [",".join(row.get(name, "") for name in columns) for row in rows]
    return "\n".join([",".join(columns), *lines, ""]).encode(encoding)


def opened(body: bytes) -> Any:
    extract = extract_of(body)
    assert extract is not None
    return read_extract(extract, body, "ods:RXX99", NOW)


def test_a_contact_is_the_childs_by_its_local_id_which_goes_no_further() -> None:
    row = {"CCI": "C1", "LPI": "L7", "CContactDate": "2025-07-20", "CContactTime": "10:15:00", "AttendCode": "5"}
    (arrival,) = opened(file(CONTACTS, row)).arrivals
    assert (arrival.kind, arrival.business_id, arrival.about) == (CONTACT, "C1", Claim(local_id="L7"))
    assert arrival.record.data == {"CCI": "C1", "AttendCode": "5", "began": "2025-07-20T10:15:00+01:00"}


def test_an_activity_is_held_with_its_contact_and_never_under_a_childs_own_id() -> None:
    (arrival,) = opened(file(ACTIVITIES, {"CAI": "A1", "CCI": "L7", "ActivityCode": "08"})).arrivals
    assert (arrival.kind, arrival.business_id, arrival.about) == (ACTIVITY, "A1", Claim(local_id="contact L7"))


@pytest.mark.parametrize(
    ("columns", "row", "reason"),
    [
        (CONTACTS, {"LPI": "L7", "CContactDate": "2025-07-20"}, message_csds.NO_KEY),
        (CONTACTS, {"CCI": "C1", "CContactDate": "2025-07-20"}, message_csds.NO_CHILD),
        (CONTACTS, {"CCI": "C1", "LPI": "L7"}, message_csds.NO_DATE),
        (CONTACTS, {"CCI": "C1", "LPI": "L7", "CContactDate": "20/07/2025"}, message_csds.NO_DATE),
        (CONTACTS, {"CCI": "C1", "LPI": "L7", "CContactDate": "2025-07-20", "CContactTime": "morning"}, message_csds.NO_DATE),
        (CONTACTS, {"CCI": "C1", "LPI": "=L7", "CContactDate": "2025-07-20"}, "a cell that is a formula"),
        (ACTIVITIES, {"CCI": "C1"}, message_csds.NO_KEY),
        (ACTIVITIES, {"CAI": "A1"}, message_csds.NO_KEY),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_its_place(columns: tuple[str, ...], row: dict[str, str], reason: str) -> None:
    assert list(opened(file(columns, row)).refused_rows) == [("row 2", reason)]


def test_only_the_two_extracts_are_taken_for_one_and_an_empty_one_is_none() -> None:
    assert extract_of(b"CCI,LPI\n1,2\n") is None
    assert extract_of(b"<Bundle/>") is None
    assert extract_of(file(CONTACTS[::-1])) is not None  # in any order
    with pytest.raises(SourceContractBroken):
        opened(file(CONTACTS))


def test_a_file_in_windows_letters_is_read() -> None:
    row = {"CCI": "C1", "LPI": "L\xe9", "CContactDate": "2025-07-20"}
    (arrival,) = opened(file(CONTACTS, row, encoding="cp1252")).arrivals
    assert arrival.about == Claim(local_id="L\xe9")


async def test_a_child_is_answered_with_contacts_and_the_activities_of_those_alone() -> None:
    held = {
        "L7": [shelved(CONTACT, "L7", {"CCI": "C1", "began": "2025-07-20"}), shelved("other", "L7", {})],
        "contact C1": [shelved(ACTIVITY, "contact C1", {"CAI": name, "CCI": "C1"}) for name in ("A2", "A1")],
        "contact C2": [shelved(ACTIVITY, "contact C2", {"CAI": "A9", "CCI": "C2"})],
    }

    async def newest(holder: str) -> list[ShelfRecord]:
        return held.get(holder, [])

    tools: Any = SimpleNamespace(shelf=SimpleNamespace(newest=newest))
    (record,) = [each async for each in contacts_of(tools, Claim(local_id="L7"), date(2025, 7, 20))]
    assert record.about == Claim(local_id="L7")
    assert [each["CAI"] for each in record.data["activities"]] == ["A1", "A2"]
    assert "before_birth" not in record.data
    assert [each async for each in contacts_of(tools, Claim(local_id="C1"), None)] == []


async def test_a_contact_of_before_the_birth_says_so() -> None:
    async def newest(holder: str) -> list[ShelfRecord]:
        return [shelved(CONTACT, "L7", {"CCI": "C1", "began": "2025-07-20T10:15:00+01:00"})] if holder == "L7" else []

    tools: Any = SimpleNamespace(shelf=SimpleNamespace(newest=newest))
    (record,) = [each async for each in contacts_of(tools, Claim(local_id="L7"), date(2025, 7, 21))]
    assert record.data["before_birth"] is True


def shelved(kind: str, holder: str, data: dict[str, str]) -> ShelfRecord:
    return ShelfRecord(kind, "b", "ods:RXX99", NOW, data, Claim(local_id=holder), "row 2", message_csds.SCHEMA)

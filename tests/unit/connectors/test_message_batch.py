"""Immunisations by batch file and as R4: whose they are, which counts, and what is refused by its place."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

import adapters.child_health
from gateway.connectors import message_batch, message_drop
from gateway.connectors.message_batch import COLUMNS
from gateway.errors import SourceContractBroken
from gateway.registry import load_manifest

MANIFEST = load_manifest(adapters.child_health)
BEN = "9990001111"
ROW = {
    "NHS_NUMBER": BEN, "PERSON_FORENAME": "Ben", "PERSON_SURNAME": "SAMPLESON", "PERSON_DOB": "20250109",
    "PERSON_GENDER_CODE": "1", "PERSON_POSTCODE": "ZZ99 1AZ", "DATE_AND_TIME": "20250306T101500", "SITE_CODE": "RXX99",
    "SITE_CODE_TYPE_URI": "https://fhir.nhs.uk/Id/ods-organization-code", "UNIQUE_ID": "V1", "UNIQUE_ID_URI": "https://tests.example/v",
    "ACTION_FLAG": "NEW", "PERFORMING_PROFESSIONAL_SURNAME": "O\\'Placeholder", "RECORDED_DATE": "20250306",
    "PRIMARY_SOURCE": "TRUE", "VACCINATION_PROCEDURE_CODE": "1082441000000108", "VACCINATION_PROCEDURE_TERM": "First hexavalent",
    "DOSE_SEQUENCE": "1",
}  # fmt: skip


def batch(*rows: dict[str, str], header: str = "|".join(COLUMNS), encoding: str = "utf-8") -> bytes:
    lines = ["|".join(f'"{row.get(name, "")}"' for name in COLUMNS) for row in rows]
    return "\n".join([header, *lines, ""]).encode(encoding)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def opened(body: bytes, now: datetime = NOW) -> message_drop.Opened:
    return message_drop._read_any(MANIFEST, message_drop._events(MANIFEST), body, "ods:RXX99", now)


def only(body: bytes, now: datetime = NOW) -> Any:
    read = opened(body, now)
    assert read.refused_rows == () or list(read.refused_rows) == []
    (arrival,) = read.arrivals
    return arrival


def test_a_row_is_the_childs_and_holds_nothing_of_who_the_child_is() -> None:
    arrival = only(batch(ROW))
    assert (arrival.about.nhs_number, arrival.about.birth_date) == (BEN, date(2025, 1, 9))
    assert (arrival.sender, arrival.business_id) == ("ods:RXX99", "https://tests.example/v|V1")
    assert not any(word in repr(arrival.record.data) for word in (BEN, "SAMPLESON", "Ben", "ZZ99", "20250109"))
    assert arrival.record.data["PERFORMING_PROFESSIONAL_SURNAME"] == "O'Placeholder"
    assert arrival.record.schema == message_batch.BATCH


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("20250306T101500", "2025-03-06T10:15:00+00:00"),
        ("20250306T10150000", "2025-03-06T10:15:00+00:00"),
        ("20250706T10150001", "2025-07-06T10:15:00+01:00"),
    ],
)
def test_the_time_is_utc_or_summer_time_as_its_suffix_says(text: str, moment: str) -> None:
    assert only(batch({**ROW, "DATE_AND_TIME": text})).record.data["occurred"] == moment


@pytest.mark.parametrize("flag", ["delete", "DELETE", "Delete"])
def test_a_deletion_has_no_record_and_outranks_what_was_recorded_the_same_day(flag: str) -> None:
    gone = only(batch({**ROW, "ACTION_FLAG": flag, "DATE_AND_TIME": ""}))
    new, update = (only(batch({**ROW, "ACTION_FLAG": each})) for each in ("new", "UPDATE"))
    assert gone.record is None
    assert new.as_of < update.as_of < gone.as_of
    assert only(batch({**ROW, "RECORDED_DATE": "20250307"})).as_of > gone.as_of
    assert new.as_of.date() == date(2025, 3, 6)


def test_of_two_updates_of_one_recorded_date_the_one_delivered_later_counts_and_a_file_come_again_changes_nothing_else() -> None:
    first, second = ({**ROW, "ACTION_FLAG": "update", "BATCH_NUMBER": lot} for lot in ("A", "B"))
    week = NOW + timedelta(days=7)
    assert only(batch(first)).as_of < only(batch(second), week).as_of < only(batch({**ROW, "ACTION_FLAG": "delete"})).as_of
    assert only(batch(ROW), datetime(2130, 1, 1, tzinfo=UTC)).as_of < only(batch(first)).as_of  # new, however late, is no update


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_file_is_read_in_the_encoding_it_is_in(encoding: str) -> None:
    arrival = only(batch({**ROW, "PERFORMING_PROFESSIONAL_SURNAME": "Zoë"}, encoding=encoding))
    assert arrival.record.data["PERFORMING_PROFESSIONAL_SURNAME"] == "Zoë"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"NHS_NUMBER": ""}, message_batch.NO_NUMBER),
        ({"PERSON_DOB": "2025-01-09"}, message_batch.NO_BIRTH_DATE),
        ({"UNIQUE_ID": ""}, message_batch.NO_KEY),
        ({"UNIQUE_ID_URI": ""}, message_batch.NO_KEY),
        ({"ACTION_FLAG": "merge"}, message_batch.NO_FLAG),
        ({"RECORDED_DATE": ""}, message_batch.NO_RECORDED),
        ({"DATE_AND_TIME": "20250306"}, message_batch.NO_TIME),
        ({"DATE_AND_TIME": "20250306T10150002"}, message_batch.NO_TIME),
        ({"DATE_AND_TIME": "20251306T101500"}, message_batch.NO_TIME),
        ({"BATCH_NUMBER": "=cmd()"}, "a cell that is a formula"),
        ({"RECORDED_DATE": "20260103"}, message_batch.NOT_YET),
        ({"DATE_AND_TIME": "20260103T101500"}, message_batch.NOT_YET),
        ({"DATE_AND_TIME": "00010101T00000001"}, message_batch.BEFORE_BIRTH),
        ({"DATE_AND_TIME": "20250107T235900"}, message_batch.BEFORE_BIRTH),
        ({"RECORDED_DATE": "00010101"}, message_batch.BEFORE_BIRTH),
        *(({"BATCH_NUMBER": f"AB{odd}12"}, message_batch.UNSEEN) for odd in "\x1b\x0b\u2028\u202e\x85"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_by_its_place_and_the_others_go_on(changes: dict[str, str], reason: str) -> None:
    read = opened(batch({**ROW, **changes}, {**ROW, "UNIQUE_ID": "V2"}))
    assert list(read.refused_rows) == [("row 2", reason)]
    assert [arrival.business_id for arrival in read.arrivals] == ["https://tests.example/v|V2"]


@pytest.mark.parametrize("header", ["|".join(COLUMNS[:-1]), "|".join((*COLUMNS[1:], COLUMNS[0])), "|".join((*COLUMNS, "MORE"))])
def test_other_columns_or_another_order_refuse_the_file(header: str) -> None:
    with pytest.raises(SourceContractBroken):
        message_batch.read_batch(batch(ROW, header=header), "ods:RXX99", NOW)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("NHS_NO", *COLUMNS[1:]), "column 1 should be NHS_NUMBER"),
        ((*COLUMNS[:3], "DOB of 9990001111", *COLUMNS[4:]), "column 4 should be PERSON_DOB"),
        (COLUMNS[:-1], "column 34 should be LOCATION_CODE_TYPE_URI"),
        ((*COLUMNS, "MORE"), "there are 34 columns, and it has more"),
    ],
)
def test_a_batch_with_a_wrong_header_is_called_one_and_the_first_wrong_column_is_named(columns: Any, said: str) -> None:
    with pytest.raises(SourceContractBroken) as broken:
        opened(batch(ROW, header="|".join(columns)))
    assert broken.value.reason == f"{message_batch.WRONG_HEADER}: {said}"


def status(code: str) -> dict[str, Any]:
    inner = {"url": "deathNotificationStatus", "valueCodeableConcept": {"coding": [{"code": code}]}}
    url = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-DeathNotificationStatus"
    return {"url": url, "extension": [inner]}


PATIENT = {
    "resourceType": "Patient", "id": "Pat1", "identifier": [{"system": message_batch.NHS_NUMBER, "value": BEN}],
    "name": [{"family": "Sampleson"}], "birthDate": "2025-01-09",
}  # fmt: skip


def r4(**changes: Any) -> dict[str, Any]:
    people: list[Any] = [
        {"resourceType": "Practitioner", "id": "Pract1", "name": [{"family": "Placeholder", "given": ["Sam"]}]},
        PATIENT,
    ]
    return {
        "resourceType": "Immunization", "id": "x", "contained": people, "patient": {"reference": "#Pat1"},
        "identifier": [{"system": "https://tests.example/v", "value": "V1"}], "status": "completed",
        "vaccineCode": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}, "occurrenceDateTime": "2025-03-06",
        "recorded": "2025-03-06T10:15:00Z", "performer": [{"actor": {"reference": "#Pract1"}}], **changes,
    }  # fmt: skip


def as_bytes(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource).encode()


def test_an_r4_immunization_is_the_same_record_as_the_row_that_tells_of_it() -> None:
    one, row = only(as_bytes(r4())), only(batch(ROW))
    assert (one.kind, one.business_id, one.about) == (row.kind, row.business_id, row.about)
    assert one.record.data["performer"] == [{"actor": {"display": "Sam Placeholder"}}]
    assert not any(word in repr(one.record.data) for word in (BEN, "Sampleson", "Pat1"))
    assert only(as_bytes(r4(meta={"lastUpdated": "2025-04-01T00:00:00Z"}))).as_of == datetime(2025, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"contained": []}, message_batch.NOT_ONE_PATIENT),
        ({"patient": {"reference": "#Pract1"}}, message_batch.NOT_ONE_PATIENT),
        ({"identifier": []}, message_batch.NO_IDENTIFIER),
        ({"recorded": "2025-03-06T10:15:00"}, "a time without its offset from UTC"),
        ({"contained": [{"resourceType": "Patient", "id": "Pat1"}]}, "no NHS number in the message"),
        ({"contained": [{**PATIENT, "birthDate": "2025"}]}, message_batch.NO_BIRTH_DATE_R4),
        (
            {"contained": [{name: value for name, value in PATIENT.items() if name != "birthDate"}]},
            message_batch.NO_BIRTH_DATE_R4,
        ),
        *(
            (
                {"contained": [PATIENT, {"resourceType": "Practitioner", "id": "Pract1", "name": [name]}]},
                "a name of the wrong shape",
            )
            for name in ({"given": 5}, {"given": "Sam"}, {"given": [{}]}, {"family": 7})
        ),
    ],
)
def test_an_r4_immunization_of_nobody_or_without_a_name_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SourceContractBroken) as refused:
        opened(as_bytes(r4(**changes)))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("said", "taken"),
    [("0001-01-01", False), ("2024", False), ("2024-12", False), ("2025-01", True), ("2025-01-08T23:30:00Z", True)],
)
def test_an_r4_immunization_of_before_the_birth_is_refused(said: str, taken: bool) -> None:
    body = as_bytes(r4(occurrenceDateTime=said))
    if taken:
        assert only(body).record is not None
        return
    with pytest.raises(SourceContractBroken, match=message_batch.BEFORE_BIRTH):
        opened(body)


def test_a_label_on_an_r4_immunization_locks_it() -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    assert only(as_bytes(r4(meta={"security": [label]}))).record.locked
    assert not only(as_bytes(r4())).record.locked


@pytest.mark.parametrize("meta", [[{"security": [{"code": "R"}]}], "R", {"security": {"code": "R"}}, {"security": "R"}])
def test_a_label_that_stands_where_nobody_would_see_it_refuses_the_immunization(meta: Any) -> None:
    with pytest.raises(SourceContractBroken, match="wrong shape"):
        opened(as_bytes(r4(recorded="2025-03-06T10:15:00Z", meta=meta)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"contained": [{**PATIENT, "deceasedDateTime": "2025-04-01"}]}, [("death", False)]),
        ({"contained": [{**PATIENT, "deceasedBoolean": True}]}, [("death", False)]),
        ({"contained": [{**PATIENT, "deceasedBoolean": False}]}, []),
        ({"contained": [{**PATIENT, "extension": [status("1")]}]}, [("death", False)]),
        ({"contained": [{**PATIENT, "extension": [status("U")]}]}, [("death", True)]),
        ({"status": "not-done", "statusReason": {"text": "Patient deceased"}}, [("death", False)]),
        ({"status": "not-done", "statusReason": {"text": "Declined"}}, []),
    ],
)
def test_an_r4_immunization_of_a_child_who_died_stops_contact(changes: dict[str, Any], told: list[tuple[str, bool]]) -> None:
    arrival = only(as_bytes(r4(**changes)))
    assert [(loss.kind, loss.taken_back) for loss in arrival.losses] == told
    assert all(loss.nhs_number == BEN for loss in arrival.losses)

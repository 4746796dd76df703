"""HL7 v2 by our own splitter, and the hl7v2-drop connector: whose a message is, what it tells, why it is refused."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
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
from gateway.connectors import drop, hl7v2, hl7v2_drop
from gateway.connectors.drop import Opened
from gateway.connectors.hl7v2 import messages_of, read_path

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AMARA, BEN = "9990000107", "9990000115"
HEAD = r"MSH|^~\&|LAB|{sender}|GW|A99901|{at}||{event}|{id}|{processing}|2.5.1||||||{characters}"
HL7: dict[str, Any] = {
    "sender": "MSH-4.1",
    "number_type": ["NH"],
    "not_mapped": ["ADT^A40"],
    "events": {
        "ORU^R01": {
            "schema": "result-1",
            "kind": "result",
            "key": "OBR-3.1",
            "fields": {"test": "OBR-4.1", "name": "OBR-4.2", "message": "MSH-10", "absent": "NTE-3"},
            "each": {"segment": "OBX", "as": "results", "fields": {"code": "OBX-3.1", "value": "OBX-5", "of": "OBR-4.1"}},
        },
        "ADT^A01": {"schema": "visit-1", "kind": "visit", "fields": {"ward": "PV1-3.1"}, "lock": "PD1-12"},
        "ADT^A11": {"schema": "visit-1", "kind": "visit", "key": "PV1-19", "fields": {}, "deletes": True},
    },
}


def manifest(keyed: str = "nhs_number", **changes: Any) -> Manifest:
    table = {name: value for name, value in {**HL7, **changes}.items() if value is not None}
    return Manifest(
        "lab", "A lab", "hl7v2-drop", "nobody", keyed, "child-health", ("result-1", "visit-1"), {"Observation": "other-health"},
        frozenset({"TREAT"}), frozenset(), False, 1.0, {"hl7": table},
    )  # fmt: skip


def head(event: str = "ORU^R01", at: str = "20261120101500+0000", **changes: str) -> str:
    values = {"sender": "RXX99", "event": event, "at": at, "id": "M1", "processing": "P", "characters": "", **changes}
    return HEAD.format(**values)


def pid(ids: str = "L7^^^LAB^MR~999 000 0107^^^NHS^NH", born: str = "20240314") -> str:
    return f"PID|1||{ids}||Bright^Amara||{born}|F"


ORDER = [
    "OBR|1|P1|F1^LAB|FBC^Full blood count",
    "OBX|1|NM|HB^Haemoglobin||112|g/L",
    'OBX|2|ST|RD||""',
    "OBX|3|ST|TX||a\\F\\b\\.br\\c",
]


def oru(*lines: str, **changes: str) -> bytes:
    return "\r".join([head(**changes), *(lines or (pid(), *ORDER))]).encode() + b"\r"


def read(body: bytes, keyed: str = "nhs_number", **changes: Any) -> Opened:
    return hl7v2_drop.read_delivery(hl7v2_drop.read_shape(manifest(keyed, **changes)), body, "ods:RXX99", NOW)


def refusal(body: bytes, **changes: Any) -> str:
    with pytest.raises(SourceContractBroken) as raised:
        read(body, **changes)
    return raised.value.reason


# --------------------------------------------------------------------------------------------------------- the splitter


@pytest.mark.parametrize(
    ("path", "text"),
    [("PID-3", "a"), ("PID-3.2", "b"), ("PID-3.2.2", "c"), ("PID-5.1", "O&B|^~\\"), ("PID-9", None), ("PID-3.9", None),
     ("PID-6", None), ("PID-7", "é"), ("PID-8", "x\ny"), ("MSH-1", "|"), ("MSH-2", "^~\\&"), ("MSH-3", "LAB"), ("ZZZ-1", None)],
)  # fmt: skip
def test_a_path_finds_its_text_with_escapes_read(path: str, text: str | None):
    line = r'PID|1||a^b&c~second||O\T\B\F\\S\\R\\E\|""|\XC3A9\|\H\x\.br\y\N\ '
    [message] = messages_of((head() + "\r" + line).encode(), "utf-8")
    assert message.text(read_path(path)) == text


def test_other_delimiters_are_those_the_message_names():
    [message] = messages_of(b"MSH#*~!%#LAB\rPID#1##a*b%c~d", "utf-8")
    assert message.text(read_path("PID-3.2.2")) == "c"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_lines_end_as_they_end_and_framing_is_let_go(end: str):
    body = "\x0b" + end.join([head(), pid(), ""]) + "\x1c\r" + "\x0b" + end.join([head(), pid()]) + "\x1c\r"
    assert [len(message.segments) for message in messages_of(body.encode(), "utf-8")] == [2, 2]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", hl7v2.NOT_HL7),
        (b"\r\n", hl7v2.NOT_HL7),
        (b"PID|1\rMSH|^~\\&|x", hl7v2.NOT_HL7),
        (b"MSH|^~\\&|a\x00b", hl7v2.NOT_HL7),
        (b"MSH", hl7v2.BAD_DELIMITERS),
        (b"MSH|", hl7v2.BAD_DELIMITERS),
        (b"MSH|^~\\|x", hl7v2.BAD_DELIMITERS),
        (b"MSH|^^\\&|x", hl7v2.BAD_DELIMITERS),
        (b"MSH|^~\\|&|x", hl7v2.BAD_DELIMITERS),
        (b"MSH|^~a&|x", hl7v2.BAD_DELIMITERS),
        (b"MSH|^~\\&|x\rpid|1", hl7v2.BAD_SEGMENT),
        (b"MSH|^~\\&|x\r9990000107", hl7v2.BAD_SEGMENT),
        (b"MSH|^~\\&|a\\Zx\\", hl7v2.BAD_ESCAPE),
        (b"MSH|^~\\&|a\\F", hl7v2.BAD_ESCAPE),
        (b"MSH|^~\\&|a\\XFF\\", hl7v2.BAD_ESCAPE),
        (b"MSH|^~\\&|a\\X00\\", hl7v2.BAD_ESCAPE),
        (b"MSH|^~\\&|a\\XF\\", hl7v2.BAD_ESCAPE),
        (b"MSH|^~\\&|\xff", "not UTF-8 text"),
        (head(characters="8859/1").encode(), hl7v2.OTHER_CHARACTERS),
        (head(characters="UNICODE UTF-16").encode(), hl7v2.OTHER_CHARACTERS),
        (b"BHS|^~\\&\r" + head().encode(), hl7v2.WRONG_COUNT),
        (b"FHS|^~\\&\rBHS|^~\\&\r" + head().encode() + b"\rBTS|2\rFTS|1", hl7v2.WRONG_COUNT),
        (b"FHS|^~\\&\r" + head().encode(), hl7v2.WRONG_COUNT),
        ((head() + "\r").encode() * 10_001, hl7v2.TOO_MANY),
        ((head() + "\rNTE|1" * 5_000).encode(), hl7v2.TOO_MANY),
    ],
)
def test_what_is_not_sound_hl7_is_refused_as_a_whole(body: bytes, reason: str):
    with pytest.raises(SourceContractBroken) as raised:
        messages_of(body, "utf-8")
    assert raised.value.reason == reason


def test_the_character_set_may_be_said_and_must_be_the_one_agreed():
    body = (head(characters="8859/1") + "\rNTE|1||é\\XE9\\").encode("cp1252")
    [message] = messages_of(body, "cp1252")
    assert message.text(read_path("NTE-3")) == "éé"
    assert len(messages_of(head(characters="UNICODE UTF-8~ASCII").encode(), "utf-8")) == 1


def test_a_whole_batch_is_its_messages():
    body = "\r".join(["FHS|^~\\&", "BHS|^~\\&", head(), pid(), head(), pid(), "BTS|02", "BHS|^~\\&", head(), "BTS|1", "FTS|2"])
    assert len(messages_of(body.encode(), "utf-8")) == 3


@given(st.text(alphabet="MSHPID|^~\\&\r\n019AXF.", max_size=80) | st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")))
@settings(max_examples=200, deadline=None)
def test_whatever_a_message_holds_is_read_or_refused(tail: str):
    reasons = {value for value in (*vars(hl7v2).values(), *vars(hl7v2_drop).values()) if isinstance(value, str)}
    told = []
    try:
        told = [reason for _, reason in read(oru(pid(), tail)).refused_rows]
    except SourceContractBroken as broken:
        told = [broken.reason]
    assert set(told) <= reasons


# -------------------------------------------------------------------------------------------------------- the connector


def test_a_result_arrives_under_its_order_with_whose_it_is():
    [arrival] = read(oru()).arrivals
    at = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
    about = Claim(nhs_number=AMARA, birth_date=date(2024, 3, 14))
    data = {
        "test": "FBC",
        "name": "Full blood count",
        "message": "M1",
        "results": [
            {"code": "HB", "value": "112", "of": "FBC"},
            {"code": "RD", "of": "FBC"},
            {"code": "TX", "value": "a|b\nc", "of": "FBC"},
        ],
    }
    assert arrival == Arrival("result", "F1", "ods:RXX99", at, about, SourceRecord("result-1", data, "message 1", at, about))


def test_an_item_is_of_the_nearest_segment_before_it():
    [arrival] = read(oru("OBX|0|ST|X", pid(), *ORDER[:2], "OBR|2|P2|F2|UE", "OBX|1|ST|NA||140")).arrivals
    assert arrival.record is not None
    assert [one.get("of") for one in arrival.record.data["results"]] == [None, "FBC", "UE"]


def test_without_a_key_every_message_stands_by_itself_and_a_lock_locks():
    for word, locks in (("Y", {"disclosure-lock"}), ("N", set()), ("", set()), ("12 Hidden Street", {"disclosure-lock"})):
        body = oru(pid(), "PD1|" + "|" * 11 + word, "PV1|1|I|W3^4", event="ADT^A01")
        [arrival] = read(body).arrivals
        assert (arrival.kind, arrival.business_id, arrival.protected) == ("visit", "M1", locks)
        assert arrival.record is not None
        assert arrival.record.data == {"ward": "W3"} | ({"_locks": sorted(locks)} if locks else {})


def test_an_event_that_deletes_has_no_record():
    [arrival] = read(oru(pid(), "PV1|" + "|" * 18 + "V1", event="ADT^A11")).arrivals
    assert (arrival.business_id, arrival.record) == ("V1", None)
    assert list(hl7v2_drop.read_file(manifest(), "x", oru(pid(), "PV1|" + "|" * 18 + "V1", event="ADT^A11"))) == []


def test_a_local_id_is_found_by_its_type_or_its_authority():
    [arrival] = read(oru(), keyed="local_id", number_type=["MR"]).arrivals
    assert arrival.about == Claim(local_id="L7", birth_date=date(2024, 3, 14))
    [arrival] = read(oru(pid("L 7^^^LAB"), *ORDER), keyed="local_id", number_type=["LAB"]).arrivals
    assert arrival.about.local_id == "L 7"


@pytest.mark.parametrize(
    ("at", "moment"),
    [
        ("20260701", datetime(2026, 6, 30, 23, tzinfo=UTC)),
        ("202607011200", datetime(2026, 7, 1, 11, tzinfo=UTC)),
        ("20260701120000.25", datetime(2026, 7, 1, 11, 0, 0, 250_000, tzinfo=UTC)),
        ("20260701120000-0130", datetime(2026, 7, 1, 13, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_an_offset_is_of_the_zone(at: str, moment: datetime):
    assert read(oru(at=at)).as_of == moment


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (oru(event="MDM^T02"), hl7v2_drop.NOT_TAKEN),
        (oru(event=""), hl7v2_drop.NOT_TAKEN),
        (oru(event="ADT^A40"), hl7v2_drop.NOT_MAPPED),
        (oru(event="ADT^A99"), hl7v2_drop.NOT_KNOWN),
        (oru(event="ORU"), hl7v2_drop.NOT_KNOWN),
        (oru(processing="T"), hl7v2_drop.NOT_PRODUCTION),
        (oru(processing=""), hl7v2_drop.NOT_PRODUCTION),
        (oru(id=""), hl7v2_drop.NO_ID),
        (oru(pid()), hl7v2_drop.NO_KEY),
        (oru(at=""), hl7v2_drop.NO_TIME),
        (oru(at="2026"), hl7v2_drop.NO_TIME),
        (oru(at="20261345"), hl7v2_drop.NO_TIME),
        (oru(at="20261120101500+9900"), hl7v2_drop.NO_TIME),
        (oru(at="00010101000000+1400"), hl7v2_drop.NO_TIME),
        (oru(sender=""), hl7v2_drop.NO_SENDER),
        (oru(sender="9 Hidden Street"), hl7v2_drop.NO_SENDER),
        (oru(*ORDER), hl7v2_drop.UNKEYED),
        (oru(pid(), pid(), *ORDER), hl7v2_drop.TWO_PEOPLE),
        (oru(pid(f"{AMARA}^^^NHS^NH~{BEN}^^^NHS^NH"), *ORDER), hl7v2_drop.TWO_PEOPLE),
        (oru(pid("L7^^^LAB^MR"), *ORDER), hl7v2_drop.UNKEYED),
        (oru(pid('""'), *ORDER), hl7v2_drop.UNKEYED),
        (oru(pid("^^^NHS^NH"), *ORDER), hl7v2_drop.UNKEYED),
        (oru(pid(born="2024"), *ORDER), hl7v2_drop.BAD_BIRTH_DATE),
        (oru(pid(born="2024314"), *ORDER), hl7v2_drop.BAD_BIRTH_DATE),
        (oru(pid(born="20241314"), *ORDER), hl7v2_drop.BAD_BIRTH_DATE),
    ],
)
def test_a_message_that_cannot_be_trusted_is_refused_with_its_reason(body: bytes, reason: str):
    assert refusal(body) == reason


def test_a_birth_date_may_have_a_time_or_be_absent():
    assert read(oru(pid(born="202403140830"), *ORDER)).arrivals[0].about.birth_date == date(2024, 3, 14)
    for absent in ("", '""'):
        assert read(oru(pid(born=absent), *ORDER)).arrivals[0].about.birth_date is None


def test_of_several_messages_the_good_ones_go_on():
    opened = read(oru() + oru(processing="T") + oru(id="M3"))
    assert len(opened.arrivals) == 2
    assert list(opened.refused_rows) == [("message 2", hl7v2_drop.NOT_PRODUCTION)]
    with pytest.raises(SourceContractBroken, match=f"^message 2: {hl7v2_drop.NOT_PRODUCTION}$"):
        hl7v2_drop.read_file(manifest(), "x.hl7", oru() + oru(processing="T"))
    assert len(list(hl7v2_drop.read_file(manifest(), "x.hl7", oru() + oru()))) == 2


def test_where_no_sender_is_named_it_is_the_custodian():
    assert read(oru(sender=""), sender=None).arrivals[0].sender == "ods:RXX99"


EVENT = HL7["events"]["ORU^R01"]


@pytest.mark.parametrize(
    "changes",
    [
        {"events": None},
        {"number_type": None},
        {"encoding": "latin-1"},
        {"zone": "Europe/Londres"},
        {"sender": "MSH.4"},
        {"colour": "red"},
        {"events": {"MDM^T02": EVENT}},
        {"events": {"ORU^R01": {**EVENT, "schema": "other"}}},
        {"events": {"ORU^R01": {**EVENT, "key": "OBR-0"}}},
        {"events": {"ORU^R01": {**EVENT, "fields": {"a": "OBR"}}}},
        {"events": {"ORU^R01": {**EVENT, "each": {"segment": "OBX"}}}},
        {"events": {"ORU^R01": {**EVENT, "colour": "red"}}},
        {"events": {"ORU^R01": {"schema": "result-1", "kind": "result", "fields": {}, "deletes": True}}},
    ],
)
def test_a_manifest_that_cannot_be_kept_is_refused_at_start(changes: dict[str, Any]):
    with pytest.raises(StartupRefused, match=r"adapters/lab/manifest\.toml: \[hl7"):
        hl7v2_drop.read_shape(manifest(**changes))


class Shelf:
    def __init__(self, *records: ShelfRecord) -> None:
        self.records = records

    async def newest(self, holder: object) -> Sequence[ShelfRecord]:
        return [one for one in self.records if holder in (one.about.nhs_number, one.about.local_id)]

    async def delivered_at(self) -> datetime | None:
        return NOW


def source(folder: Path, *records: ShelfRecord) -> hl7v2_drop.Hl7Drop:
    tools: Any = SimpleNamespace(now=lambda: NOW, shelf=Shelf(*records), var=folder, seal=bytes)
    return hl7v2_drop.build(manifest(), SourceSettings("lab", "lab", "ods:RXX99", "A", "Lab", 1.0, 24, 7, {"drop": "in"}), tools)


@pytest.mark.parametrize(
    ("body", "fault", "arrived", "doubts"),
    [
        (oru(), None, 1, {}),
        (oru() + oru(processing="D"), None, 1, {hl7v2_drop.NOT_PRODUCTION: 1}),
        (oru(processing="D"), hl7v2_drop.NOT_PRODUCTION, 0, {}),
        (oru(at="20261122"), drop.FROM_THE_FUTURE, 0, {}),
        (b"<xml/>", hl7v2.NOT_HL7, 0, {}),
    ],
)
@pytest.mark.anyio
async def test_a_file_is_taken_or_refused_with_its_reason(
    tmp_path: Path, body: bytes, fault: str | None, arrived: int, doubts: dict[str, int]
):
    made = source(tmp_path)
    (tmp_path / "in" / "m.hl7").write_bytes(body)
    os.utime(tmp_path / "in" / "m.hl7", (NOW.timestamp() - 60,) * 2)
    [(delivery, arrivals)] = [pair async for pair in made.arrivals()]
    assert (delivery.fault, len(arrivals), delivery.doubts) == (fault, arrived, doubts)
    delivery.done()
    [kept] = (tmp_path / "in" / ("refused" if fault else "done")).glob("*.sealed")
    assert kept.name.startswith("delivery-")


@pytest.mark.anyio
async def test_the_shelf_answers_for_the_person(tmp_path: Path):
    [arrival] = read(oru()).arrivals
    one = arrival.record
    assert one is not None
    held = ShelfRecord("result", "F1", "ods:RXX99", arrival.as_of, one.data, arrival.about, one.where, one.schema)
    patient: Any = SimpleNamespace(number=AMARA, superseded=())
    want = Want(frozenset({"Observation"}), Purpose.TREAT, {}, "c")
    assert [item async for item in source(tmp_path, held).fetch(patient, want)] == [one, SourceFacts(as_of=NOW)]

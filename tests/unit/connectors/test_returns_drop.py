"""The returns-drop connector: a whole return or none of it, whatever its form; what lies between its lines; whose it is."""

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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
    Want,
)
from gateway.connectors import drop as drop_folder
from gateway.connectors import returns_drop, returns_read
from gateway.connectors.csv_rows import CELLS_DIFFER, FORMULA
from gateway.connectors.returns_shape import read_formats
from gateway.connectors.xml_tree import DOCTYPE, NOT_XML
from gateway.errors import StartupRefused
from gateway.nhs_number import NhsNumber

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
AMARA, OTHER = NhsNumber("9990000107"), NhsNumber("9990001111")
XML: dict[str, Any] = {
    "schema": "bird-1",
    "kind": "bird",
    "record": "Birds/Flock/Bird",
    "identity": "Ring/Number",
    "birth_date": ["Ring/Hatched"],
    "expected": "Ring/Expected",
    "as_of": ["Header/At", "Header/Day"],
    "sender": "Header/Sender",
    "values": ["Flights/Note"],
    "numbered": ["Flights: Day", "Flights/Stops: Place or none"],
    "ended": ["Flights: Landed"],
    "others": [{"at": "Flights/Note", "into": "OfOthers", "own": ["A"]}],
    "locks": [{"at": "Locks/Lock"}, {"at": "Flights/Fate", "values": ["GONE"], "kind": "adoption", "closes": True}],
}
TABLES: dict[str, Any] = {
    "schema": "nest-1",
    "kind": "nest",
    "record": "Nests/Nest",
    "identity": "Head/Id",
    "birth_date": ["birds/Hatched"],
    "number": "birds/Number",
    "forms": ["%d/%m/%Y"],
    "absent": ["NULL"],
    "nobody": ["-1"],
    "coded": ["stays/Kind"],
    "elements": {"Head": "birds", "Head/Visit": "visits", "Stay": "stays"},
    "renamed": {"Id": "Bird", "From day": "From"},
    "numbered": ["_spells: start"],
    "ended": ["stays: Until"],
    "locks": [{"at": "stays/Kind", "values": ["X9"], "kind": "adoption"}],
    "tables": {
        "birds": {"columns": ["Bird", "Hatched"], "person": "Bird", "days": ["Hatched"], "required": True},
        "stays": {
            "columns": ["Bird", "From", "Why", "Kind", "End reason"],
            "person": "Bird",
            "days": ["From", "Until"],
            "look": [{"table": "keepers", "key": "Keeper", "by": "By", "as": "keeper"}],
        },
        "visits": {"columns": ["Bird", "Visited"], "person": "Bird", "days": ["Visited"]},
        "keepers": {"columns": ["Keeper", "Keeper name"]},
    },
    "spells": {
        "table": "stays",
        "start": "From",
        "end": "Until",
        "begins": {"column": "Why", "values": ["S"]},
        "goes_on": {"column": "End reason", "values": ["X1"]},
        "apart": {"column": "Kind", "values": ["V3"], "says": "breaks"},
        "says": "stay",
        "carries": {"kind_of_stay": "Kind"},
    },
}
BIRDS = "Bird,Hatched\nB1,14/03/2024\nB2,NULL\n-1,01/01/1900\n"
STAYS = (
    "Bird,From day,Why,Kind,Until,End reason,By\n"
    "B1,01/01/2026,S,C2,01/02/2026,X1,K1\nB1,01/02/2026,P,C2 - long,,,K1\nB2,01/03/2026,S,V3: short,,,K2\n"
)
KEEPERS = "keeper,KEEPER NAME\nK1,Wren\n"


def manifest(*, xml: Mapping[str, Any] = {}, tables: Mapping[str, Any] = {}) -> Manifest:
    return Manifest(
        name="aviary",
        title="An aviary",
        connector="returns-drop",
        owner="nobody",
        identity="local_id",
        kind="local-authority",
        reads=("bird-1", "nest-1"),
        gives={"Flag": "child-protection"},
        purposes=frozenset({"S47"}),
        never_for=frozenset(),
        feeds_protection=True,
        budget_s=1.0,
        options={"returns": {"flock": {**XML, **xml}, "nests": {**TABLES, **tables}}},
    )


def bird(number: str = "B1", hatched: str = "2024-03-14", extra: str = "") -> str:
    born = f"<Hatched>{hatched}</Hatched>" if hatched else ""
    return f"<Bird><Ring><Number>{number}</Number>{born}</Ring>{extra}</Bird>"


def extract(*birds: str, at: str = "<At>2026-11-21T02:00:00</At>", sender: str = "999") -> bytes:
    return f"<Birds><Header>{at}<Sender>{sender}</Sender></Header><Flock>{''.join(birds)}</Flock></Birds>".encode()


def zipped(at: datetime = NOW - timedelta(hours=4), **files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, text in files.items():
            made.writestr(zipfile.ZipInfo(f"{name}.csv", at.timetuple()[:6]), text)
    return out.getvalue()


def everyone(body: bytes, one: Manifest | None = None) -> list[Arrival]:
    formats = read_formats(one or manifest())
    return list(returns_drop.everyone(returns_read.read(formats, body, whole=True), "gss:E08999901"))


def data_of(body: bytes, one: Manifest | None = None) -> dict[str, Any]:
    arrivals = everyone(body, one)
    return {arrival.business_id: arrival.record.data for arrival in arrivals if arrival.record is not None}


def reason(body: bytes, one: Manifest | None = None) -> str:
    with pytest.raises(SourceContractBroken) as refused:
        everyone(body, one)
    return refused.value.reason


class FakeShelf:
    def __init__(self, delivered: datetime | None, *records: ShelfRecord) -> None:
        self._delivered, self._records = delivered, records

    async def newest(self, holder: object) -> Sequence[ShelfRecord]:
        return [record for record in self._records if record.about.local_id == holder]

    async def delivered_at(self) -> datetime | None:
        return self._delivered


class FakeIds:
    async def of(self, patient: object) -> Sequence[Claim]:
        return [Claim(local_id=local_id) for local_id in ("B1", "B2")]


def source(tmp_path: Path, shelf: FakeShelf | None = None, **options: Any) -> returns_drop.ReturnsDrop:
    tools: Any = SimpleNamespace(now=lambda: NOW, shelf=shelf or FakeShelf(None), local_ids=FakeIds(), var=tmp_path, seal=bytes)
    settings = SourceSettings("aviary", "aviary", "gss:E08999901", "A", "Aviary", 1.0, None, 7, options)
    return returns_drop.build(manifest(), settings, tools)


def shelved(arrival: Arrival) -> ShelfRecord:
    record = arrival.record
    assert record is not None
    return ShelfRecord(
        arrival.kind, arrival.business_id, arrival.sender, arrival.as_of, record.data, arrival.about, record.where, record.schema
    )


async def fetched(made: returns_drop.ReturnsDrop, number: NhsNumber = AMARA) -> tuple[list[SourceRecord], SourceFacts]:
    patient: Any = SimpleNamespace(number=number, superseded=())
    items = [item async for item in made.fetch(patient, Want(frozenset({"Flag"}), Purpose.S47, {}, "c-1"))]
    facts = items.pop()
    assert isinstance(facts, SourceFacts)
    return [item for item in items if isinstance(item, SourceRecord)], facts


def put(folder: Path, name: str, body: bytes, *, ago_s: float = 600) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(body)
    os.utime(folder / name, (NOW.timestamp() - ago_s, NOW.timestamp() - ago_s))


async def taken(made: returns_drop.ReturnsDrop) -> list[tuple[Any, Sequence[Arrival]]]:
    return [pair async for pair in made.arrivals()]


# ------------------------------------------------------------------------------------------------------------- reading


def test_an_extract_in_xml_is_everyone_in_it_with_claim_date_and_place():
    one, two = everyone(extract(bird(), bird("B2", hatched="")))
    assert one.about == Claim(local_id="B1", birth_date=date(2024, 3, 14))
    assert (one.kind, one.business_id, one.sender) == ("bird", "B1", "gss:E08999901")
    assert one.as_of == datetime(2026, 11, 21, 2, tzinfo=UTC)
    assert two.record is not None
    assert (two.record.where, two.record.schema) == ("Bird 2", "bird-1")
    assert two.record.data["_sender"] == "E08999901"


def test_what_begins_alike_is_told_apart_and_what_begins_on_no_day_has_no_key_unless_it_may():
    flight = "<Flights><Day>2026-01-01</Day><Stops><Place>Kew</Place></Stops><Stops/></Flights>"
    told = data_of(extract(bird(extra=f"{flight}{flight}<Flights><Landed>2026-01-02</Landed></Flights>")))["B1"]
    assert [one.get("_key") for one in told["Flights"]] == ["B1/2026-01-01/1", "B1/2026-01-01/2", None]
    assert [one["Stops"]["_key"] for one in told["Flights"][:2]] == ["B1/Kew/1", "B1/Kew/2"]


@pytest.mark.parametrize(("landed", "ended"), [("2026-11-21", True), ("2026-11-22", None), ("soon", None), ("", None)])
def test_only_a_day_that_can_be_read_and_has_come_ends_anything(landed: str, ended: bool | None):
    told = data_of(extract(bird(extra=f"<Flights><Day>2026-01-01</Day><Landed>{landed}</Landed></Flights>")))["B1"]
    assert told["Flights"].get("_ended") is ended


def test_values_that_are_not_known_to_be_the_childs_own_go_under_another_name():
    told = data_of(extract(bird(extra="<Flights><Day>d</Day><Note>A</Note><Note>B</Note><Note>?</Note></Flights>")))["B1"][
        "Flights"
    ]
    assert (told["Note"], told["OfOthers"]) == ([{"value": "A"}], [{"value": "B"}, {"value": "?"}])


def test_an_expected_birth_without_a_birth_date_is_an_unborn_child_and_with_one_it_is_not():
    expected = "<Ring><Number>B1</Number><Expected>2027-01-01</Expected>{}</Ring>"
    unborn = extract(f"<Bird>{expected.format('')}</Bird>")
    born = extract(f"<Bird>{expected.format('<Hatched>2026-01-01</Hatched>')}</Bird>")
    odd = extract(f"<Bird>{expected.format('<Hatched>soon</Hatched>')}</Bird>")
    assert [data_of(body)["B1"].get("_unborn") for body in (unborn, born, odd)] == [True, None, None]


@pytest.mark.parametrize(
    ("extra", "locks", "closed"),
    [
        ('<Locks><Lock kind="refuge"/></Locks>', {"refuge"}, False),
        ("<Locks><Lock>refuge</Lock></Locks>", {"refuge"}, False),
        ("<Locks><Lock/></Locks>", {"disclosure-lock"}, False),
        ('<Locks><Lock kind="a word of their own"/></Locks>', {"disclosure-lock"}, False),
        ("<Flights><Day>d</Day><Fate>GONE</Fate></Flights>", {"adoption"}, True),
        ("<Flights><Day>d</Day><Fate> gone </Fate></Flights>", {"adoption"}, True),
        ("<Flights><Day>d</Day><Fate>HERE</Fate></Flights>", set(), False),
    ],
)
def test_locks_come_with_the_delivery_and_one_that_closes_locks_the_record(extra: str, locks: set[str], closed: bool):
    (arrival,) = everyone(extract(bird(extra=extra)))
    assert arrival.protected == locks
    assert arrival.record is not None
    assert arrival.record.locked is closed
    assert arrival.record.data.get("_locks", []) == sorted(locks)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (extract(at=""), drop_folder.NO_DATE),
        (extract(bird(), at="<At>someday</At>"), drop_folder.NO_DATE),
        (extract(), drop_folder.NO_RECORDS),
        (extract(bird(), bird("")), returns_drop.NO_IDENTITY),
        (extract(bird(), bird()), returns_drop.TWICE),
        (b"<Others/>", returns_read.UNKNOWN_FORMAT),
        (b"<Birds>", NOT_XML),
        (b"<!DOCTYPE x><Birds/>", DOCTYPE),
        (b"", returns_read.UNKNOWN_FORMAT),
        (b"\x00\x01\x02 9990000107", returns_read.UNKNOWN_FORMAT),
        (b"Bird,Colour\nB1,red\n", returns_read.UNKNOWN_FORMAT),
        (zipped(birds=BIRDS, strange="a,b\n1,2\n"), returns_read.UNKNOWN_FORMAT),
        (zipped(stays=STAYS), f"{returns_read.LACKS_TABLE}: birds"),
        (zipped(birds=BIRDS, again=BIRDS), returns_read.TWO_TABLES),
        (zipped(birds="Bird,Hatched,hatched\nB1,a,b\n"), returns_read.TWO_COLUMNS),
        (zipped(birds="Bird,Hatched\nB1,a,b\n"), CELLS_DIFFER),
        (zipped(birds="Bird,Hatched\nB1,=1+1\n"), FORMULA),
        (BIRDS.encode(), drop_folder.NO_DATE),
    ],
)
def test_a_delivery_that_is_doubtful_in_any_part_is_refused_whole(body: bytes, told: str):
    assert reason(body) == told


def test_tables_of_one_person_become_one_record_whatever_their_names_case_and_order():
    told = data_of(zipped(zz=BIRDS, b=STAYS, a=KEEPERS))
    assert set(told) == {"B1", "B2"}  # -1 is nobody
    assert told["B1"]["birds"] == [{"Bird": "B1", "Hatched": "2024-03-14"}]
    first, second = told["B1"]["stays"]
    assert (first["From"], first["_ended"], first["keeper"]) == ("2026-01-01", True, {"Keeper": "K1", "Keeper name": "Wren"})
    assert second["Kind"] == "C2"
    assert "_ended" not in second
    assert "keeper" not in told["B2"]["stays"][0]


def test_rows_that_follow_each_other_are_one_stretch_and_those_apart_are_of_their_own_kind():
    told = data_of(zipped(birds=BIRDS, stays=STAYS))
    assert told["B1"]["_spells"] == [{"kind": "stay", "start": "2026-01-01", "kind_of_stay": "C2", "_key": "B1/2026-01-01/1"}]
    assert told["B2"]["_spells"][0]["kind"] == "breaks"


@pytest.mark.parametrize(
    ("until", "why", "spell"),
    [
        ("01/02/2026", "E4", {"end": "2026-02-01", "_ended": True}),
        ("01/02/2027", "E4", {"end": "2027-02-01"}),
        ("soon", "E4", {"end": "soon"}),
        ("", "E4", {}),
        ("01/02/2026", "", {}),
    ],
)
def test_a_stretch_ends_by_a_reason_and_a_day_that_has_come(until: str, why: str, spell: dict[str, Any]):
    stays = f"Bird,From,Why,Kind,Until,End reason\nB1,01/01/2026,S,C2,{until},{why}\n"
    (told,) = data_of(zipped(birds=BIRDS, stays=stays))["B1"]["_spells"]
    assert {name: told[name] for name in ("end", "_ended") if name in told} == spell


def test_a_stretch_that_begins_again_is_another_one():
    stays = "Bird,From,Why,Kind,Until,End reason\nB1,01/03/2026,S,C2,,\nB1,01/01/2026,S,C2,,\n"
    assert [one["start"] for one in data_of(zipped(birds=BIRDS, stays=stays))["B1"]["_spells"]] == ["2026-01-01", "2026-03-01"]


def test_the_xml_form_of_a_format_of_tables_is_the_same_tables():
    xml = (
        "<Nests><Nest><Head><Id>B1</Id><Hatched>2024-03-14</Hatched><Colour/><Visit><Visited>2026-01-05</Visited></Visit></Head>"
        "<Stay><From>2026-01-01</From><Why>S</Why><Kind>X9</Kind></Stay></Nest></Nests>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(zipfile.ZipInfo("return.xml", (2026, 11, 20, 2, 0, 0)), xml)
    (arrival,) = everyone(out.getvalue())
    assert arrival.protected == {"adoption"}
    assert arrival.record is not None
    assert arrival.record.data["birds"] == [{"Bird": "B1", "Hatched": "2024-03-14"}]
    assert arrival.record.data["visits"] == [{"Visited": "2026-01-05", "Bird": "B1"}]
    assert arrival.record.data["stays"][0]["Bird"] == "B1"
    assert arrival.as_of == datetime(2026, 11, 20, 2, tzinfo=UTC)


def test_one_file_of_a_set_is_read_by_itself_where_nothing_hangs_on_who_is_absent():
    (one, two) = returns_drop.read_file(manifest(), "any.csv", STAYS.encode())
    assert (one.about.local_id, two.about.local_id) == ("B1", "B2")
    assert one.where == "row 2"


@pytest.mark.parametrize("body", ["Bird,Hatched\nB1,14/03/2024\nB1,15/03/2024\n", "Bird,Hatched\nB1,some day\n"])
def test_a_record_with_two_birth_dates_or_one_that_cannot_be_read_has_no_identity(body: str):
    (record,) = returns_drop.read_file(manifest(), "any.csv", body.encode())
    assert "_id" not in record.data
    assert record.about.birth_date is None


def test_csv_as_a_spreadsheet_on_windows_writes_it_is_read():
    (record,) = returns_drop.read_file(manifest(), "any.csv", "Bird,Hatched,Hedge\r\nB1,14/03/2024,Zoë\r\n".encode("cp1252"))
    assert record.data["birds"][0]["Hedge"] == "Zoë"


# ------------------------------------------------------------------------------------------------------- drop and shelf


async def test_a_dated_extract_is_taken_and_one_of_another_sender_is_refused(tmp_path: Path):
    made = source(tmp_path, drop=str(tmp_path / "drop"), sender="999")
    put(tmp_path / "drop", "a.xml", extract(bird()))
    put(tmp_path / "drop", "b.xml", extract(bird(), sender="998"))
    outcomes = sorted((delivery.fault or "", len(arrivals)) for delivery, arrivals in await taken(made))
    assert outcomes == [("", 1), (returns_drop.WRONG_SENDER, 0)]


async def test_a_return_of_another_format_than_the_source_sends_is_refused(tmp_path: Path):
    made = source(tmp_path, drop=str(tmp_path / "drop"), format="flock")
    out = io.BytesIO(zipped(birds=BIRDS))
    put(tmp_path / "drop", "a.xml", out.getvalue())
    ((delivery, arrivals),) = await taken(made)
    assert (delivery.fault, arrivals) == (returns_drop.OTHER_FORMAT, ())


async def test_loose_files_wait_until_the_folder_rests_and_then_are_one_delivery(tmp_path: Path):
    made = source(tmp_path, drop=str(tmp_path / "drop"), format="nests")
    put(tmp_path / "drop", "their name of birds.csv", BIRDS.encode())
    put(tmp_path / "drop", "stays.csv", STAYS.encode(), ago_s=30)
    put(tmp_path / "drop", ".hidden.csv", b"half")
    assert await taken(made) == []
    os.utime(tmp_path / "drop" / "stays.csv", (NOW.timestamp() - 300, NOW.timestamp() - 300))
    ((delivery, arrivals),) = await taken(made)
    assert delivery.fault is None
    assert {arrival.business_id for arrival in arrivals} == {"B1", "B2"}
    assert {arrival.as_of for arrival in arrivals} == {NOW - timedelta(seconds=300)}
    delivery.done()
    assert not list((tmp_path / "drop").glob("[!.]*.csv"))
    assert await taken(made) == []


async def test_one_worker_gathers_at_a_time_and_the_claim_of_one_that_died_ends(tmp_path: Path):
    made = source(tmp_path, drop=str(tmp_path / "drop"), format="nests")
    put(tmp_path / "drop", "birds.csv", BIRDS.encode())
    put(tmp_path / "drop", ".gathering", b"", ago_s=60)
    put(tmp_path / "drop", ".set-1.zip.part", b"half of a set")
    assert await taken(made) == []
    put(tmp_path / "drop", ".gathering", b"", ago_s=700)
    ((delivery, arrivals),) = await taken(made)
    assert (delivery.fault, len(arrivals)) == (None, 2)
    assert not list((tmp_path / "drop").glob(".set-*"))
    assert not (tmp_path / "drop" / ".gathering").exists()


async def test_a_set_that_lacks_a_table_is_refused_and_kept_aside_with_its_reason(tmp_path: Path):
    made = source(tmp_path, drop=str(tmp_path / "drop"), format="nests", quiet_s=0)
    put(tmp_path / "drop", "stays.csv", STAYS.encode())
    ((delivery, arrivals),) = await taken(made)
    assert (delivery.fault, arrivals) == (f"{returns_read.LACKS_TABLE}: birds", ())
    delivery.done()
    (note,) = (tmp_path / "drop" / "refused").glob("*.reason")
    assert note.read_text().startswith(returns_read.LACKS_TABLE)


async def test_what_is_on_the_shelf_is_given_with_its_locks_and_its_age(tmp_path: Path):
    (arrival,) = everyone(extract(bird(extra='<Locks><Lock kind="refuge"/></Locks>')))
    fresh, old = NOW - timedelta(hours=1), NOW - timedelta(hours=49)
    (record,), facts = await fetched(source(tmp_path, FakeShelf(fresh, shelved(arrival))))
    assert (facts.protected, facts.stale, facts.as_of) == ({"refuge"}, False, fresh)
    assert "_stale" not in record.data
    (record,), facts = await fetched(source(tmp_path, FakeShelf(old, shelved(arrival))))
    assert facts.stale is True
    assert record.data["_stale"] is True


async def test_a_record_whose_birth_date_is_in_doubt_answers_nobody(tmp_path: Path):
    (arrival,) = everyone(extract(bird(hatched="some day")))
    with pytest.raises(SourceContractBroken) as refused:
        await fetched(source(tmp_path, FakeShelf(NOW, shelved(arrival))))
    assert refused.value.reason == returns_drop.WHOSE


@pytest.mark.parametrize(
    ("written", "asked", "answers"),
    [
        (AMARA.value, AMARA, True),
        ("999 000 0107", AMARA, True),
        ("NULL", AMARA, True),
        (AMARA.value, OTHER, False),
        ("not a number", AMARA, False),
        ("0000107", AMARA, False),
    ],
)
async def test_a_records_own_nhs_number_must_be_the_persons_or_absent(
    tmp_path: Path, written: str, asked: NhsNumber, answers: bool
):
    (arrival,) = everyone(zipped(birds=f"Bird,Hatched,Number\nB1,14/03/2024,{written}\n"))
    made = source(tmp_path, FakeShelf(NOW, shelved(arrival)), format="nests")
    if answers:
        records, _ = await fetched(made, asked)
        assert len(records) == 1
        return
    with pytest.raises(SourceContractBroken) as refused:
        await fetched(made, asked)
    assert refused.value.reason == returns_drop.OTHER_NUMBER


# -------------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("options", [{"format": "eggs"}, {"quiet_s": "soon"}, {"quiet_s": "-1"}])
def test_an_option_that_cannot_be_used_stops_the_start(tmp_path: Path, options: dict[str, Any]):
    with pytest.raises(StartupRefused):
        source(tmp_path, **options)


@pytest.mark.parametrize(
    ("xml", "tables", "told"),
    [
        ({"schema": "egg-1"}, {}, "gives a schema that `reads` does not list"),
        ({"colour": "red"}, {}, "does not know colour"),
        ({"name": "other"}, {}, "does not know name"),
        ({"zone": "Europe/Nowhere"}, {}, "zone is not a time zone"),
        ({"locks": [{"kind": "refuge"}]}, {}, "locks needs at"),
        ({"others": [{"at": "a", "into": "b"}]}, {}, "others needs own"),
        ({}, {"tables": {"birds": {"person": "Bird"}}}, "tables.birds needs columns"),
        ({}, {"spells": {**TABLES["spells"], "table": "eggs"}}, "spells are of a table that is not listed"),
        ({}, {"tables": {}, "as_of": []}, "needs tables, or record, identity and as_of"),
    ],
)
def test_a_manifest_that_cannot_be_used_stops_the_start_and_says_why(xml: dict[str, Any], tables: dict[str, Any], told: str):
    base = {key: value for key, value in TABLES.items() if not (tables.get("tables") == {} and key == "spells")}
    one = manifest(xml=xml)
    options = {"returns": {"flock": {**XML, **xml}, "nests": {**base, **{k: v for k, v in tables.items() if k != "as_of"}}}}
    with pytest.raises(StartupRefused) as refused:
        read_formats(replace(one, options=options))
    assert told in str(refused.value)


def test_a_manifest_without_formats_stops_the_start():
    with pytest.raises(StartupRefused):
        read_formats(replace(manifest(), options={}))

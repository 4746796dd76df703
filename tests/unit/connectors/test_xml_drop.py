"""The xml-drop connector: a whole extract or none of it, then the shelf, with its age and its locks."""

import os
from collections.abc import Sequence
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
from gateway.connectors import xml_drop, xml_tree
from gateway.errors import StartupRefused

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
XML = {
    "schema": "bird-1",
    "kind": "bird",
    "record": "Birds/Flock/Bird",
    "identity": "Ring/Number",
    "birth_date": "Ring/Hatched",
    "as_of": ["Header/At", "Header/Day"],
    "locks": "Locks/Lock",
    "sender": "Header/Sender",
}


def manifest(**changes: Any) -> Manifest:
    return Manifest(
        name="aviary",
        title="An aviary",
        connector="xml-drop",
        owner="nobody",
        identity="local_id",
        kind="local-authority",
        reads=("bird-1",),
        gives={"Flag": "child-protection"},
        purposes=frozenset({"S47"}),
        never_for=frozenset(),
        feeds_protection=True,
        budget_s=1.0,
        options={"xml": {**XML, **changes}},
    )


def bird(number: str = "B1", hatched: str = "2024-03-14", extra: str = "") -> str:
    return f"<Bird><Ring><Number>{number}</Number><Hatched>{hatched}</Hatched></Ring>{extra}</Bird>"


def extract(*birds: str, at: str = "<At>2026-11-21T02:00:00</At>", sender: str = "999") -> bytes:
    header = f"<Header>{at}<Day>2026-03-31</Day><Sender>{sender}</Sender></Header>"
    return f"<Birds>{header}<Flock>{''.join(birds)}</Flock></Birds>".encode()


def read(body: bytes, **changes: Any) -> xml_drop.Extract:
    return xml_drop.read_extract(xml_drop.read_shape(manifest(**changes)), body, "gss:E08999901")


class FakeShelf:
    def __init__(self, delivered: datetime | None, *records: ShelfRecord) -> None:
        self._delivered = delivered
        self._records = records

    async def newest(self, holder: object) -> Sequence[ShelfRecord]:
        return [record for record in self._records if record.about.local_id == holder]

    async def delivered_at(self) -> datetime | None:
        return self._delivered


class FakeIds:
    def __init__(self, *ids: str) -> None:
        self._ids = ids

    async def of(self, patient: object) -> Sequence[Claim]:
        return [Claim(local_id=local_id) for local_id in self._ids]


def source(tmp_path: Path, shelf: FakeShelf, *ids: str, max_age_h: float | None = None, **options: Any) -> xml_drop.XmlDrop:
    tools: Any = SimpleNamespace(now=lambda: NOW, shelf=shelf, local_ids=FakeIds(*ids), var=tmp_path, seal=bytes)
    settings = SourceSettings("aviary", "aviary", "gss:E08999901", "A", "Aviary", 1.0, max_age_h, 7, options)
    return xml_drop.build(manifest(), settings, tools)


def shelved(arrival: Arrival) -> ShelfRecord:
    record = arrival.record
    assert record is not None
    return ShelfRecord(
        arrival.kind, arrival.business_id, arrival.sender, arrival.as_of, record.data, arrival.about, record.where, record.schema
    )


def drop(folder: Path, body: bytes, name: str = "birds.xml") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(body)
    os.utime(folder / name, (NOW.timestamp() - 60, NOW.timestamp() - 60))


async def taken(made: xml_drop.XmlDrop) -> list[tuple[Any, Sequence[Arrival]]]:
    return [pair async for pair in made.arrivals()]


async def fetched(made: xml_drop.XmlDrop) -> tuple[list[SourceRecord], SourceFacts]:
    patient: Any = None
    items = [item async for item in made.fetch(patient, Want(frozenset({"Flag"}), Purpose.S47, {}, "c-1"))]
    facts = items.pop()
    assert isinstance(facts, SourceFacts)
    return [item for item in items if isinstance(item, SourceRecord)], facts


def test_each_record_arrives_under_its_own_identity():
    got = read(extract(bird("B1"), bird("B2", "")))
    assert got.as_of == datetime(2026, 11, 21, 2, tzinfo=UTC)
    assert got.sender == "999"
    assert [arrival.about for arrival in got.arrivals] == [
        Claim(local_id="B1", birth_date=date(2024, 3, 14)),
        Claim(local_id="B2"),
    ]
    first = got.arrivals[0]
    assert (first.kind, first.business_id, first.sender, first.as_of) == ("bird", "B1", "gss:E08999901", got.as_of)
    assert first.record == SourceRecord(
        "bird-1",
        {"Ring": {"Number": "B1", "Hatched": "2024-03-14"}, "_sender": "E08999901"},
        "Bird 1",
        got.as_of,
        first.about,
    )


def test_a_time_without_a_zone_is_of_the_zone_in_the_manifest():
    assert read(extract(bird(), at="<At>2026-07-01T02:00:00</At>")).as_of == datetime(2026, 7, 1, 1, tzinfo=UTC)
    assert read(extract(bird(), at="<At>2026-07-01T02:00:00+02:00</At>")).as_of == datetime(2026, 7, 1, tzinfo=UTC)


def test_the_day_of_the_header_stands_in_where_no_time_is_given():
    assert read(extract(bird(), at="<At> </At>")).as_of == datetime(2026, 3, 30, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("locks", "kinds"),
    [
        ('<Locks><Lock kind="refuge"/></Locks>', {"refuge"}),
        ("<Locks><Lock>adoption</Lock><Lock kind='placement'>x</Lock></Locks>", {"adoption", "placement"}),
        ("<Locks><Lock/></Locks>", {"disclosure-lock"}),
        ('<Locks><Lock kind="12 Hidden Street"/></Locks>', {"disclosure-lock"}),
        ("<Locks/>", set()),
    ],
)
def test_a_lock_protects_whatever_it_is_called_and_an_unknown_word_goes_no_further(locks: str, kinds: set[str]):
    assert read(extract(bird(extra=locks))).arrivals[0].protected == kinds


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", xml_tree.NOT_XML),
        (b"not xml", xml_tree.NOT_XML),
        (extract(bird())[:-5], xml_tree.NOT_XML),
        (b"<!DOCTYPE Birds>" + extract(bird()), xml_tree.DOCTYPE),
        (b'<!DOCTYPE Birds [<!ENTITY a "b">]>' + extract(bird("&a;")), xml_tree.DOCTYPE),
        (b'<!DOCTYPE Birds [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + extract(bird("&a;")), xml_tree.DOCTYPE),
        (extract(bird("&a;")), xml_tree.NOT_XML),
        (extract(bird(extra="<a>" * 30 + "</a>" * 30)), xml_tree.TOO_DEEP),
        (extract(bird(extra="<a>" * 3000 + "</a>" * 3000)), xml_tree.NOT_XML),
        (extract(), drop_folder.NO_RECORDS),
        (extract(bird("")), xml_drop.NO_IDENTITY),
        (extract(bird("B1"), bird("B1")), xml_drop.TWICE),
        (extract(bird(), at="<At>yesterday</At>"), drop_folder.NO_DATE),
        (extract(bird(), at="<At>9999-12-31T23:59:59-14:00</At>"), drop_folder.NO_DATE),
        (b"<Fish/>", xml_drop.OTHER_ROOT),
        (b"<Birds/>", drop_folder.NO_DATE),
        (extract(bird()).replace(b"Birds", b"Fishes"), xml_drop.OTHER_ROOT),
    ],
)
def test_an_extract_that_is_doubtful_in_any_part_is_not_used(body: bytes, reason: str):
    with pytest.raises(SourceContractBroken) as raised:
        read(body)
    assert raised.value.reason == reason


def test_an_entity_bomb_is_refused_quickly():
    layers = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    with pytest.raises(SourceContractBroken):
        read(f'<!DOCTYPE Birds [<!ENTITY e0 "ha">{layers}]>'.encode() + extract(bird("&e11;")))


def test_elements_become_plain_trees():
    body = '<b xmlns="urn:x" xmlns:y="urn:y"><!-- c --><y:one a="1"> text </y:one><two/><three>1</three><three>2</three>stray</b>'
    assert xml_tree.tree_of(xml_tree.parse(body.encode())) == {
        "one": {"@a": "1", "_text": "text"},
        "three": ["1", "2"],
        "_text": "stray",
    }


async def test_a_good_extract_is_a_snapshot_and_ends_in_done(tmp_path: Path):
    made = source(tmp_path, FakeShelf(None), drop="in", sender=999)
    drop(tmp_path / "in", extract(bird("B1"), bird("B2")))
    [(delivery, arrivals)] = await taken(made)
    assert delivery.snapshot is True
    assert delivery.as_of == datetime(2026, 11, 21, 2, tzinfo=UTC)
    assert [arrival.business_id for arrival in arrivals] == ["B1", "B2"]
    delivery.done()
    assert [path.suffixes for path in (tmp_path / "in" / "done").iterdir()] == [[".xml", ".sealed"]]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (extract(bird(), sender="998"), xml_drop.WRONG_SENDER),
        (extract(bird(), at="<At>2026-11-22T02:00:00</At>"), drop_folder.FROM_THE_FUTURE),
        (extract(), drop_folder.NO_RECORDS),
        (b"<", xml_tree.NOT_XML),
    ],
)
async def test_an_extract_that_is_not_usable_brings_nobody_and_ends_in_refused(tmp_path: Path, body: bytes, reason: str):
    made = source(tmp_path, FakeShelf(None), drop="in", sender="999")
    drop(tmp_path / "in", body)
    [(delivery, arrivals)] = await taken(made)
    assert list(arrivals) == []
    delivery.done()
    [note] = [path for path in (tmp_path / "in" / "refused").iterdir() if path.suffix == ".reason"]
    assert note.read_text().startswith(reason)


async def test_a_fresh_shelf_answers_for_every_local_id(tmp_path: Path):
    records = [shelved(arrival) for arrival in read(extract(bird("B1"), bird("B2"), bird("B3"))).arrivals]
    delivered = NOW - timedelta(hours=47)
    got, facts = await fetched(source(tmp_path, FakeShelf(delivered, *records), "B1", "B3", "B9"))
    assert [record.about.local_id for record in got] == ["B1", "B3"]
    assert all("_stale" not in record.data for record in got)
    assert facts == SourceFacts(as_of=delivered)


@pytest.mark.parametrize(("hours", "max_age_h"), [(49.0, None), (3.0, 2.0)])
async def test_past_its_age_the_shelf_is_stale_and_every_record_says_so(tmp_path: Path, hours: float, max_age_h: float | None):
    records = [shelved(arrival) for arrival in read(extract(bird("B1"))).arrivals]
    delivered = NOW - timedelta(hours=hours)
    got, facts = await fetched(source(tmp_path, FakeShelf(delivered, *records), "B1", max_age_h=max_age_h))
    assert [record.data["_stale"] for record in got] == [True]
    assert facts == SourceFacts(as_of=delivered, stale=True)
    assert "_stale" not in records[0].data


async def test_a_source_that_never_delivered_is_stale(tmp_path: Path):
    assert await fetched(source(tmp_path, FakeShelf(None), "B1")) == ([], SourceFacts(stale=True))


async def test_the_locks_of_the_shelved_record_are_said_again(tmp_path: Path):
    records = [shelved(arrival) for arrival in read(extract(bird(extra='<Locks><Lock kind="refuge"/></Locks>'))).arrivals]
    _, facts = await fetched(source(tmp_path, FakeShelf(NOW, *records), "B1"))
    assert facts.protected == {"refuge"}


async def test_a_birth_date_that_cannot_be_read_is_never_taken_for_none(tmp_path: Path):
    records = [shelved(arrival) for arrival in read(extract(bird(hatched="14/03/2024"))).arrivals]
    assert records[0].about == Claim(local_id="B1")
    with pytest.raises(SourceContractBroken, match="birth date") as raised:
        await fetched(source(tmp_path, FakeShelf(NOW, *records), "B1"))
    assert "2024" not in str(raised.value)


def test_a_file_is_read_without_a_source():
    records = list(xml_drop.read_file(manifest(), "x.xml", extract(bird("B1"), bird("B2"))))
    assert [record.where for record in records] == ["Bird 1", "Bird 2"]
    assert "_sender" not in records[0].data


def test_a_file_is_read_more_kindly_than_a_delivery():
    body = b"<Birds><Flock>" + (bird("") + bird("B1") + bird("B1") + "<Bird/>").encode() + b"</Flock></Birds>"
    records = list(xml_drop.read_file(manifest(), "x.xml", body))
    assert [(record.where, record.about.local_id) for record in records] == [
        ("Bird 1", ""),
        ("Bird 2", "B1"),
        ("Bird 3", "B1"),
        ("Bird 4", ""),
    ]
    with pytest.raises(SourceContractBroken):
        read(body)


@pytest.mark.parametrize("change", [{"schema": "other"}, {"unknown": "x"}])
def test_a_manifest_that_says_something_else_is_refused_at_start(change: dict[str, str]):
    with pytest.raises(StartupRefused, match=r"adapters/aviary/manifest\.toml"):
        xml_drop.read_shape(manifest(**change))


def test_a_manifest_that_says_too_little_is_refused_at_start():
    with pytest.raises(StartupRefused, match="identity"):
        xml_drop.read_shape(replace(manifest(), options={"xml": {"schema": "bird-1"}}))

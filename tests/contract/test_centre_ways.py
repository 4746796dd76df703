"""One register of a children's centre, shared in three ways: as a database, as bundles of CSV, as a service. One answer."""

import asyncio
import io
import os
import sqlite3
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

import adapters.childrens_centre
from gateway import mapping
from gateway.adapter import (
    Adapter,
    Arrival,
    HttpAnswer,
    Intake,
    Purpose,
    ShelfRecord,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    Want,
)
from gateway.connectors import sql, sql_bundle
from gateway.errors import StartupRefused
from gateway.nhs_number import NhsNumber
from gateway.registry import load_manifest
from sandbox import centre
from sandbox.families import BY_KEY, PEOPLE
from sandbox.faults import Faults

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
GP = {"organisation": "ods:A99901", "organisation_kind": "gp-practice"}
AUTHORITY = {"organisation": "gss:E08999901", "organisation_kind": "local-authority"}
OWN = {"organisation": "dfe-urn:199901", "organisation_kind": "childrens-centre"}
MANIFEST = load_manifest(adapters.childrens_centre)
KNOWN = [person.key for person in PEOPLE if person.centre_id]


class Shelf:
    """What intake would have kept of the newest bundle, and given back as JSON would."""

    def __init__(self) -> None:
        self.held: dict[str, Arrival] = {}
        self.delivered: datetime | None = None

    async def newest(self, holder: Any) -> Sequence[ShelfRecord]:
        one = self.held.get(holder.value)
        if one is None or one.record is None:
            return []
        return [ShelfRecord(one.kind, one.business_id, one.sender, one.as_of, one.record.data, one.about, "w", one.record.schema)]

    async def delivered_at(self) -> datetime | None:
        return self.delivered


class Wire:
    """The service's own application, asked as over HTTP; keeps the addresses it was asked at."""

    def __init__(self, application: Starlette) -> None:
        self.application, self.asked = application, list[str]()

    async def request(self, method: str, url: str, *, headers: Any, body: bytes | None = None, **limits: Any) -> HttpAnswer:
        self.asked.append(url)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=self.application)) as client:
            answer = await client.request(method, url, headers=headers, content=body)
        return HttpAnswer(answer.status_code, dict(answer.headers), answer.content)


class Place:
    """One register and one source that reads it in one of the three ways."""

    def __init__(self, way: str, folder: Path) -> None:
        self.way, self.now, self.shelf = way, NOW, Shelf()
        self.path = folder / "centretrack.db"
        centre.write(self.path, NOW.date())
        self.held = sqlite3.connect(self.path, check_same_thread=False)
        self.wire = Wire(Starlette(routes=centre.Register(Faults(), self.held).routes()))
        options = {
            "database": {"database_url": f"sqlite:///{self.path}"},
            "bundle": {"drop": "drop"},
            "service": {"base_url": "https://register.example/centre", "credential": centre.CENTRE_TOKEN},
        }[way]
        settings = SourceSettings("centre", "childrens_centre", OWN["organisation"], "A", "Willow", 5.0, None, 7, options)
        tools: Any = SimpleNamespace(now=lambda: self.now, shelf=self.shelf, http=self.wire, var=folder, seal=bytes, apart=None)
        self.source: Adapter = sql.build(MANIFEST, settings, tools)
        self.folder = folder / "drop"
        self.delivers()

    def delivers(self, body: bytes | None = None) -> str | None:
        """What a night brings: a bundle, taken in. The fault for which it was refused."""
        if self.way != "bundle":
            return None
        assert isinstance(self.source, Intake)
        body = centre.bundle(self.held, self.now - timedelta(hours=2)) if body is None else body
        (self.folder / "night.zip").write_bytes(body)
        stamp = (self.now - timedelta(minutes=5)).timestamp()
        os.utime(self.folder / "night.zip", (stamp, stamp))

        (fault,) = self.takes_in()
        return fault

    def takes_in(self) -> list[str | None]:
        """What lies in the drop, taken in like intake does -> of each delivery the fault for which it was refused."""

        async def take() -> list[str | None]:
            faults = []
            async for delivery, arrivals in self.source.arrivals():  # type: ignore[attr-defined]
                faults.append(delivery.fault)
                if delivery.fault is None:
                    self.shelf.held = {one.business_id: one for one in arrivals}
                    self.shelf.delivered = delivery.as_of
                delivery.done()
            return faults

        return asyncio.run(take())

    def changes(self, statement: str, *values: object) -> None:
        self.held.execute(statement, values)
        self.held.commit()

    def said(
        self, key: str, requester: dict[str, str] = GP, purpose: Purpose = Purpose.TREAT, *types: str
    ) -> tuple[list[SourceRecord], SourceFacts]:
        patient: Any = SimpleNamespace(number=NhsNumber(BY_KEY[key].nhs_number), superseded=())

        async def run() -> list[SourceRecord | SourceFacts]:
            want = Want(frozenset(types or ("*",)), purpose, requester, "c-1")
            return [item async for item in self.source.fetch(patient, want)]

        *records, facts = asyncio.run(run())
        assert isinstance(facts, SourceFacts)
        return [one for one in records if isinstance(one, SourceRecord)], facts


@pytest.fixture(scope="module")
def maps() -> mapping.Maps:
    return mapping.load(files("mappings"))


Opens = Callable[[str], Place]


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    places: list[Place] = []

    def one(way: str) -> Place:
        folder = tmp_path / way
        folder.mkdir()
        places.append(Place(way, folder))
        return places[-1]

    yield one
    for place in places:
        place.held.close()


WAYS = ("database", "bundle", "service")
every_way = pytest.mark.parametrize("way", WAYS)


def mapped(maps: mapping.Maps, records: Sequence[SourceRecord]) -> list[bytes]:
    context = mapping.Context("childrens_centre", lambda type_, key: f"p.x.{abs(hash(key))}", "p", None, NOW, "")
    made = []
    for record in records:
        result = mapping.map_record(maps, "childrens_centre", record, context)
        assert result.refused == ()
        made += [mapping.encode(resource.body) for resource in result.resources]
    return made


def test_all_three_ways_give_the_same_fhir_the_same_locks_and_the_same_claims(opens: Opens, maps: mapping.Maps) -> None:
    places = [opens(way) for way in WAYS]
    for place in places:
        place.changes("update address set confidential = 1 where family_id = 'WC500013'")  # noor's
        place.delivers()
    for key in (*KNOWN, "leah", "ben"):
        for requester in (GP, AUTHORITY, OWN):
            first, *others = [place.said(key, requester) for place in places]
            assert bool(first[0]) is (key != "ben")
            for records, facts in others:
                assert mapped(maps, records) == mapped(maps, first[0])
                assert [(one.about, one.locked, one.schema) for one in records] == [
                    (one.about, one.locked, one.schema) for one in first[0]
                ]
                assert facts.protected == first[1].protected == ({"address-lock"} if key == "noor" else set())


@every_way
def test_withdrawal_acts_on_the_next_read_or_with_the_next_bundle(opens: Opens, way: str) -> None:
    place = opens(way)
    assert {one.locked for one in place.said("amara")[0]} == {False}
    place.changes("update consent set withdrawn_on = '2026-11-21' where scope = 'share_health'")
    assert {one.locked for one in place.said("amara")[0]} == {way != "bundle"}  # what lies on a shelf is as of its delivery
    place.delivers()
    assert {one.locked for one in place.said("amara")[0]} == {True}
    assert {one.locked for one in place.said("amara", AUTHORITY)[0]} == {False}  # another scope
    assert {one.locked for one in place.said("amara", OWN)[0]} == {False}


@every_way
def test_each_scope_is_its_own(opens: Opens, way: str) -> None:
    place = opens(way)
    place.changes("update consent set decision = 'deny' where scope = 'share_la'")
    place.changes("update consent set withdrawn_on = '2026-11-20' where scope = 'store' and subject_member_id = 'WC000003'")
    place.delivers()
    other = {"organisation": "dfe-urn:199902", "organisation_kind": "childrens-centre"}
    locked = {who["organisation"]: {one.locked for one in place.said("amara", who)[0]} for who in (GP, AUTHORITY, other)}
    assert locked == {"ods:A99901": {False}, "gss:E08999901": {True}, "dfe-urn:199902": {False}}
    assert {one.locked for one in place.said("chloe", GP)[0]} == {True}  # nothing may be kept, so nothing is shared


@every_way
def test_the_two_year_old_offer_is_the_authoritys_by_consent_alone(opens: Opens, way: str) -> None:
    place = opens(way)
    (open_,) = place.said("amara", AUTHORITY, Purpose.S17, "Flag")[0]
    (shut,) = place.said("jonah", AUTHORITY, Purpose.S17, "Flag")[0]
    assert (open_.locked, shut.locked) == (False, True)
    assert not {"basis", "code_dern"} & open_.data.keys()


@every_way
def test_sensitive_sessions_never_leave_for_any_purpose(opens: Opens, way: str) -> None:
    place = opens(way)
    place.changes("update event set sensitive = null where event_id = 'E002'")  # nobody said that it is not
    place.delivers()
    for purpose in Purpose:
        assert place.said("leah", AUTHORITY, purpose, "Encounter")[0] == []
        assert "E002" not in {one.data["event_id"] for one in place.said("amara", OWN, purpose, "Encounter")[0]}
    for kept in place.shelf.held.values():
        assert kept.record is not None
        assert not {"E002", "E004"} & {row["event_id"] for row in (*kept.record.data["event"], *kept.record.data["attendance"])}


def test_a_bundle_keeps_no_name_street_title_or_ground_of_anybody(opens: Opens) -> None:
    place = opens("bundle")
    assert set(place.shelf.held) == {BY_KEY[key].nhs_number for key in (*KNOWN, "leah")}
    said = str([one.record for one in place.shelf.held.values()])
    for word in ("Testwell", "Amara", "Sample Lane", "Weigh", "ECO", "50012345678", "reception", "Quill"):
        assert word not in said
    alone = place.shelf.held[BY_KEY["amara"].nhs_number].record
    assert alone is not None
    assert {row["member_id"] for row in alone.data["member"]} == {"WC000001"}
    assert {row["subject_member_id"] for row in alone.data["consent"]} == {"WC000001"}


def test_a_bundle_past_its_age_is_called_stale_and_its_consents_prove_nothing(opens: Opens) -> None:
    place = opens("bundle")
    place.now = NOW + timedelta(hours=45)
    records, facts = place.said("amara")
    assert (facts.stale, {one.locked for one in records}) == (False, {False})
    place.now = NOW + timedelta(hours=49)
    records, facts = place.said("amara")
    assert facts.stale
    assert {one.locked for one in records} == {True}
    assert {one.as_of for one in records} == {NOW - timedelta(hours=2)}
    assert "centre-consent-1" not in {one.schema for one in records}
    assert {one.locked for one in place.said("amara", AUTHORITY, Purpose.S47)[0]} == {False}  # where consent is not the basis


def repacked(body: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        files_ = {name: archive.read(name) for name in archive.namelist()}
    change(files_)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files_.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 21, 4, 0, 0)), content)
    return made.getvalue()


def without_list(files_: dict[str, bytes]) -> None:
    del files_["manifest.csv"]


def shortened(files_: dict[str, bytes]) -> None:
    files_["consents.csv"] = files_["consents.csv"].rsplit(b"\r\n", 2)[0] + b"\r\n"


def lacking(files_: dict[str, bytes]) -> None:
    del files_["consents.csv"]


def with_one_more(files_: dict[str, bytes]) -> None:
    files_["more.csv"] = b"a,b\r\n1,2\r\n"


def twice(files_: dict[str, bytes]) -> None:
    files_["again.csv"] = files_["members.csv"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_list, sql_bundle.NO_LIST),
        (shortened, sql_bundle.NOT_AS_LISTED),
        (lacking, sql_bundle.LACKS_TABLE),
        (with_one_more, sql_bundle.NOT_AS_LISTED),
        (twice, sql_bundle.TWO_TABLES),
    ],
)
def test_a_bundle_that_is_not_what_its_list_says_is_refused_and_the_last_good_one_stands(
    opens: Opens, change: Callable[[dict[str, bytes]], None], reason: str
) -> None:
    place = opens("bundle")
    before = place.said("amara")
    assert place.delivers(repacked(centre.bundle(place.held, NOW), change)) == reason
    assert place.said("amara") == before


def test_loose_files_are_a_bundle_once_each_is_as_the_list_says(opens: Opens) -> None:
    place = opens("bundle")
    place.changes("update consent set decision = 'deny' where scope = 'share_health'")
    with zipfile.ZipFile(io.BytesIO(centre.bundle(place.held, NOW))) as archive:
        for name in archive.namelist():
            (place.folder / name).write_bytes(archive.read(name))
    (place.folder / "consents.csv").write_bytes(b"half a fi")
    for path in place.folder.glob("*.csv"):
        os.utime(path, ((NOW - timedelta(hours=1)).timestamp(),) * 2)
    assert place.takes_in() == []
    assert {one.locked for one in place.said("amara")[0]} == {False}
    with zipfile.ZipFile(io.BytesIO(centre.bundle(place.held, NOW))) as archive:
        (place.folder / "consents.csv").write_bytes(archive.read("consents.csv"))
    os.utime(place.folder / "consents.csv", ((NOW - timedelta(minutes=50)).timestamp(),) * 2)
    assert place.takes_in() == [None]
    assert {one.locked for one in place.said("amara")[0]} == {True}
    assert place.shelf.delivered == NOW - timedelta(minutes=50)
    assert not list(place.folder.glob("*.*"))


@pytest.mark.parametrize(
    ("file", "said", "instead"),
    [
        ("events.csv", b",N,", b",perhaps,"),
        ("consents.csv", b",permit,", b",permit,31-"),
        ("addresses.csv", b",N\r\n", b",?\r\n"),
        ("families.csv", b",1,", b",one,"),
    ],
)
def test_a_cell_that_cannot_be_read_refuses_the_whole(opens: Opens, file: str, said: bytes, instead: bytes) -> None:
    whole = centre.bundle(opens("bundle").held, NOW)

    def unlisted(files_: dict[str, bytes]) -> None:
        del files_["manifest.csv"]

    def changed(files_: dict[str, bytes]) -> None:
        unlisted(files_)
        assert said in files_[file]
        files_[file] = files_[file].replace(said, instead)

    assert list(sql.read_file(MANIFEST, "night.zip", repacked(whole, unlisted)))
    with pytest.raises(SourceContractBroken):
        list(sql.read_file(MANIFEST, "night.zip", repacked(whole, changed)))


def test_a_bundle_is_recognised_as_a_file_and_comes_out_locked(opens: Opens) -> None:
    records = list(sql.read_file(MANIFEST, "any name", centre.bundle(opens("bundle").held, NOW)))
    database = list(sql.read_file(MANIFEST, "any name", opens("database").path.read_bytes()))
    assert {one.schema for one in records} == set(MANIFEST.reads)
    assert {one.locked for one in records} == {True}
    assert sorted((one.schema, str(one.about)) for one in records) == sorted((one.schema, str(one.about)) for one in database)


def test_the_service_is_never_told_a_number_in_an_address(opens: Opens) -> None:
    place = opens("service")
    place.said("amara")
    assert place.wire.asked == ["https://register.example/centre/members/search?size=20&page=1"]


def test_a_service_that_answers_about_another_child_or_without_its_marks_is_no_source(opens: Opens) -> None:
    place = opens("service")
    amara, ben = BY_KEY["amara"].nhs_number, BY_KEY["ben"].nhs_number
    register = place.wire.application.routes[0].endpoint.__self__  # type: ignore[attr-defined]
    real = register._item
    register._item = lambda member: real(member) | {"nhsNumber": ben}
    with pytest.raises(SourceContractBroken):
        place.said("amara")
    register._item = lambda member: {name: value for name, value in real(member).items() if name != "consents"}
    with pytest.raises(SourceContractBroken):
        place.said("amara")
    register._item = real
    assert {one.about.nhs_number for one in place.said("amara")[0]} == {amara}


def test_a_service_that_does_not_accept_us_says_so(tmp_path: Path) -> None:
    place = Place("service", tmp_path)
    place.held.close()
    settings = SourceSettings(
        "c",
        "childrens_centre",
        "dfe-urn:199901",
        "A",
        "W",
        5.0,
        None,
        7,
        {"base_url": "https://r.example/centre", "credential": "x"},
    )
    tools: Any = SimpleNamespace(now=lambda: NOW, http=place.wire)
    place.source = sql.build(MANIFEST, settings, tools)
    with pytest.raises(SourceRefused):
        place.said("amara")


def test_a_source_reads_in_one_way(tmp_path: Path) -> None:
    both = {"drop": "drop", "database_url": "sqlite:///x.db"}
    settings = SourceSettings("centre", "childrens_centre", "dfe-urn:199901", "A", "Willow", 5.0, None, 7, both)
    with pytest.raises(StartupRefused):
        sql.build(MANIFEST, settings, SimpleNamespace(now=lambda: NOW))  # type: ignore[arg-type]

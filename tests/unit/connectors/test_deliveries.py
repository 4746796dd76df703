"""The writing sides: a declared row, one POST, one file; a key that came before is success, and nothing else is written."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import postgres_server
import pytest

import adapters.childrens_centre
from gateway.adapter import (
    DeliverSettings,
    DeliverTable,
    HttpAnswer,
    Outgoing,
    SourceContractBroken,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    Tools,
)
from gateway.connectors import http_delivery, message_outbox, sql_delivery
from gateway.errors import StartupRefused
from gateway.registry import load_manifest
from tests import fakes

pytestmark = pytest.mark.anyio

KEY = "parcel-abcdefghijklmnopqrstuvwxyz"
COLUMNS = ["referral_id", "nhs_number", "reason"]
ROW = {"referral_id": KEY, "nhs_number": "9990000107", "reason": "stay and play"}
SQL = {"table": "referral_in", "key": "referral_id", "columns": COLUMNS}


def outgoing(data: Any = ROW, key: str = KEY) -> Outgoing:
    return Outgoing(key, "centre-referral-in-1", data, "correlation-1")


def table(connector: str, **options: Any) -> DeliverTable:
    of = frozenset({"ServiceRequest"})
    return DeliverTable(
        "referral", connector, "s", of, "referral", "social-care", frozenset({"COC"}), "r|c", 24, 7, True, options
    )


def settings(reading: Mapping[str, Any] | None = None, **options: Any) -> SourceSettings:
    deliver = {"referral": DeliverSettings(("agreement",), options)}
    return SourceSettings("centre", "a", "dfe-urn:199901", "agreement", "Centre", 1.0, None, 7, reading or {}, deliver=deliver)


@dataclass
class Http:
    """Answers as told, and keeps what it was asked."""

    status: int = 201
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    asked: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    error: Exception | None = None

    async def request(self, method: str, url: str, *, headers: Any, body: Any = None, deadline_s: float, cap_bytes: int) -> Any:
        self.asked.append((method, url, headers, body))
        if self.error is not None:
            raise self.error
        return HttpAnswer(self.status, self.headers, self.body)


def tools(http: Any = None) -> Tools:
    nothing: Any = None
    return Tools(http, nothing, nothing, nothing, lambda: fakes.NOW, Path("."), lambda plain: plain)


# ------------------------------------------------------------------------------------------------------------------ sql


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "centre.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table referral_in (referral_id text primary key, nhs_number text not null, reason text)")
        connection.execute("create table member (name text)")
        connection.execute("insert into member values ('kept')")
    return path


def rows(path: Path) -> list[Any]:
    with sqlite3.connect(path) as connection:
        return connection.execute("select * from referral_in").fetchall()


async def test_a_row_is_written_once_however_often_it_is_delivered(database: Path) -> None:
    to = sql_delivery.build_delivery(table("sql", **SQL), settings(database_url=f"sqlite:///{database}"), tools())
    first = await to.deliver("referral", outgoing())
    again = await to.deliver("referral", outgoing({**ROW, "reason": "another reason"}))
    assert rows(database) == [(KEY, "9990000107", "stay and play")]
    assert (first.reference, first.at) == (again.reference, again.at) == (KEY, fakes.NOW)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({**ROW, "surname": "x"}, sql_delivery.NOT_DECLARED),
        ({**ROW, "reason": ["a"]}, sql_delivery.NOT_A_ROW),
        ([ROW], sql_delivery.NOT_A_ROW),
        ({**ROW, "referral_id": "another"}, sql_delivery.NOT_ITS_KEY),
        ({"referral_id": KEY}, sql_delivery.NOT_TAKEN),
    ],
)
async def test_what_is_not_the_declared_row_is_never_written(database: Path, data: Any, reason: str) -> None:
    to = sql_delivery.build_delivery(table("sql", **SQL), settings(database_url=f"sqlite:///{database}"), tools())
    with pytest.raises(SourceContractBroken) as refused:
        await to.deliver("referral", outgoing(data))
    assert refused.value.reason == reason
    assert rows(database) == []


async def test_the_writing_connection_can_neither_read_nor_change_nor_write_elsewhere(database: Path) -> None:
    to: Any = sql_delivery.build_delivery(table("sql", **SQL), settings(database_url=f"sqlite:///{database}"), tools())
    with sqlite3.connect(database) as connection:
        connection.set_authorizer(to._only_inserts)
        for statement in (
            "select * from member",
            "select * from referral_in",
            "update referral_in set reason = 'x'",
            "delete from referral_in",
            "insert into member values ('x')",
            "drop table member",
            "pragma writable_schema = 1",
        ):
            with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|prohibited"):
                connection.execute(statement)
        connection.set_authorizer(None)
    assert rows(database) == []


async def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "gone.db"
    to = sql_delivery.build_delivery(table("sql", **SQL), settings(database_url=f"sqlite:///{path}"), tools())
    with pytest.raises(SourceUnavailable):
        await to.deliver("referral", outgoing())
    assert not path.exists()


async def test_a_table_that_is_not_there_is_the_owners_to_mend(database: Path) -> None:
    what = table("sql", **{**SQL, "table": "referrals"})
    to = sql_delivery.build_delivery(what, settings(database_url=f"sqlite:///{database}"), tools())
    with pytest.raises(SourceContractBroken):
        await to.deliver("referral", outgoing())


@pytest.mark.parametrize(
    "options",
    [
        {**SQL, "table": "referral_in; drop table member"},
        {**SQL, "columns": [*COLUMNS, "a b"]},
        {**SQL, "key": "id"},
        {**SQL, "columns": [*COLUMNS, "reason"]},
        {**SQL, "where": "1"},
        {"table": "referral_in", "key": "referral_id"},
    ],
)
def test_a_manifest_that_does_not_declare_plain_names_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(StartupRefused, match=r"\[deliver.referral\]"):
        sql_delivery.build_delivery(table("sql", **options), settings(database_url="sqlite:///x.db"), tools())


@pytest.mark.parametrize("url", [None, "not a url", "mysql://h/d"])
def test_an_address_that_is_no_database_we_write_to_is_refused(url: str | None) -> None:
    with pytest.raises(StartupRefused, match="database_url"):
        sql_delivery.build_delivery(table("sql", **SQL), settings(database_url=url), tools())


def test_the_account_that_reads_may_not_be_the_account_that_writes() -> None:
    reading = {"database_url": "postgresql://reader:a@h/d"}
    with pytest.raises(StartupRefused, match="another account"):
        sql_delivery.build_delivery(table("sql", **SQL), settings(reading, database_url="postgresql://reader:a@h/d"), tools())
    sql_delivery.build_delivery(table("sql", **SQL), settings(reading, database_url="postgresql://writer:b@h/d"), tools())


# ----------------------------------------------------------------------------------------------------------------- http


def http_to(http: Http, connector: str = "http-json", **options: Any) -> Any:
    own = {"path": "referrals", "duplicate": [409], **options}
    at = settings(base_url="https://front.example/api/", credential="secret")
    return http_delivery.build_delivery(table(connector, **own), at, tools(http))


async def test_one_document_is_posted_under_its_key() -> None:
    http = Http(body=b'{"id": "FD-7"}')
    to = http_to(http, auth={"header": "Authorization", "prefix": "Bearer "})
    taken = await to.deliver("referral", outgoing({"child": {"nhs": "9990000107"}}))
    ((method, url, headers, body),) = http.asked
    assert (method, url, json.loads(body)) == ("POST", "https://front.example/api/referrals", {"child": {"nhs": "9990000107"}})
    assert (headers["Idempotency-Key"], headers["Authorization"]) == (KEY, "Bearer secret")
    assert "If-None-Exist" not in headers
    assert (taken.reference, taken.at) == ("FD-7", fakes.NOW)


async def test_a_document_may_be_xml() -> None:
    http = Http()
    await http_to(http, suffix="xml", root="FrontDoorReferral").deliver("referral", outgoing({"Child": {"@status": "open"}}))
    assert http.asked[0][2]["Content-Type"] == "application/xml"
    assert http.asked[0][3].endswith(b'<FrontDoorReferral><Child status="open"/></FrontDoorReferral>')


async def test_fhir_says_the_same_key_in_its_own_way_and_takes_the_name_from_location() -> None:
    http = Http(headers={"location": "https://front.example/fhir/Task/77/_history/1"}, body=b"{}")
    taken = await http_to(http, "fhir-rest").deliver("notice", outgoing({"resourceType": "Task"}))
    assert http.asked[0][2]["If-None-Exist"] == f"identifier={http_delivery.KEY_SYSTEM}|{KEY}"
    assert http.asked[0][2]["Content-Type"] == "application/fhir+json"
    assert taken.reference == "Task/77"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id": 7}', b'{"id": "a b\\n"}'])
async def test_a_name_that_cannot_be_used_is_none_and_the_delivery_stands(body: bytes) -> None:
    assert (await http_to(Http(body=body)).deliver("referral", outgoing())).reference is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, SourceRefused),
        (403, SourceRefused),
        (400, SourceContractBroken),
        (404, SourceContractBroken),
        (422, SourceContractBroken),
        (408, SourceUnavailable),
        (429, SourceUnavailable),
        (500, SourceUnavailable),
        (503, SourceUnavailable),
        (302, SourceUnavailable),
    ],
)
async def test_each_status_says_what_to_do(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        await http_to(Http(status)).deliver("referral", outgoing())


async def test_a_duplicate_was_taken_before_where_the_manifest_says_so() -> None:
    assert (await http_to(Http(409, body=b'{"id": "FD-7"}')).deliver("referral", outgoing())).reference == "FD-7"
    with pytest.raises(SourceContractBroken):
        await http_to(Http(409), duplicate=[]).deliver("referral", outgoing())


async def test_what_the_network_does_is_passed_on() -> None:
    with pytest.raises(SourceTimedOut):
        await http_to(Http(error=SourceTimedOut("slow"))).deliver("referral", outgoing())


@pytest.mark.parametrize(
    "options",
    [
        {"path": "/a"},
        {"path": "a?b=1"},
        {"path": "../a"},
        {"path": "a", "duplicate": [404]},
        {"path": "a", "x": 1},
        {},
        {"path": "a", "suffix": "csv"},
    ],
)
def test_an_address_that_is_not_constant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(StartupRefused):
        http_delivery.build_delivery(table("http-json", **options), settings(base_url="https://f.example"), tools(Http()))


def test_a_credential_that_the_manifest_sends_must_be_set() -> None:
    what = table("http-json", path="a", auth={"header": "X-Key"})
    with pytest.raises(StartupRefused, match="credential"):
        http_delivery.build_delivery(what, settings(base_url="https://f.example"), tools(Http()))


# --------------------------------------------------------------------------------------------------------------- outbox


def list_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def outbox_to(folder: Path) -> Any:
    return message_outbox.build_delivery(table("message-drop", suffix="json"), settings(outbox=str(folder)), tools())


async def test_a_file_appears_whole_once_and_under_its_key(tmp_path: Path) -> None:
    to = outbox_to(tmp_path)
    for _ in range(2):
        assert (await to.deliver("referral", outgoing())).reference is None
    (file,) = list_of(tmp_path)
    assert (file.name, json.loads(file.read_bytes())) == (f"{KEY}.json", ROW)
    assert file.stat().st_mode & 0o077 == 0


async def test_a_file_that_was_collected_is_not_made_again(tmp_path: Path) -> None:
    to = outbox_to(tmp_path)
    await to.deliver("referral", outgoing())
    (tmp_path / "taken").mkdir()
    (tmp_path / f"{KEY}.json").rename(tmp_path / "taken" / f"{KEY}.json")
    await to.deliver("referral", outgoing())
    assert [path.name for path in list_of(tmp_path)] == ["taken"]


async def test_a_key_that_is_no_plain_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceContractBroken):
        await outbox_to(tmp_path).deliver("referral", outgoing(key="../../etc/x"))
    assert list_of(tmp_path) == []


async def test_an_outbox_that_went_away_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    folder.mkdir()
    to = outbox_to(folder)
    folder.rmdir()
    with pytest.raises(SourceUnavailable):
        await to.deliver("referral", outgoing())


def test_an_outbox_that_is_not_there_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(StartupRefused, match="outbox"):
        outbox_to(tmp_path / "nowhere")


# ----------------------------------------------------------------------------------------------------------- postgresql


@pytest.fixture(scope="module")
def running_postgres() -> Iterator[str]:
    with postgres_server.server() as url:
        yield url


@pytest.mark.postgres
async def test_postgresql_takes_a_row_once_from_an_account_that_may_insert_and_read_no_row(running_postgres: str) -> None:
    admin = await asyncpg.connect(running_postgres)
    try:
        await admin.execute("create table referral_in (referral_id text primary key, nhs_number text not null, reason text)")
        await admin.execute("create role writer login")
        await admin.execute("grant insert on referral_in to writer")
        await admin.execute("grant select (referral_id) on referral_in to writer")  # what ON CONFLICT compares
        url = running_postgres.replace("postgres@", "writer@")
        to = sql_delivery.build_delivery(table("sql", **SQL), settings(database_url=url), tools())
        for reason in ("stay and play", "another reason"):
            assert (await to.deliver("referral", outgoing({**ROW, "reason": reason}))).reference == KEY
        assert [tuple(row) for row in await admin.fetch("select * from referral_in")] == [(KEY, "9990000107", "stay and play")]
        writer = await asyncpg.connect(url)
        try:
            for statement in ("select * from referral_in", "update referral_in set reason = ''", "delete from referral_in"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await writer.execute(statement)
        finally:
            await writer.close()
        with pytest.raises(SourceContractBroken):
            await to.deliver("referral", outgoing({"referral_id": KEY + "-2"}, KEY + "-2"))
        await admin.execute("revoke insert on referral_in from writer")
        with pytest.raises(SourceRefused):
            await to.deliver("referral", outgoing())
        await admin.execute("drop table referral_in")
        with pytest.raises(SourceContractBroken):
            await to.deliver("referral", outgoing())
    finally:
        await admin.close()


CASES = [
    case.read_text("utf-8")
    for case in files("mappings").joinpath("childrens_centre/cases").iterdir()
    if case.name.endswith(".written.json") and not case.name.startswith("recall")
]
TYPED = """create table typed_in (referral_id varchar(64) primary key, nhs_number char(10) not null, requested_at timestamptz,
  seen_on date, local_at timestamp, urgent boolean, children int, weight numeric(6, 2), reason text)"""
TYPED_COLUMNS = ["referral_id", "nhs_number", "requested_at", "seen_on", "local_at", "urgent", "children", "weight", "reason"]
TYPED_ROW = {
    "referral_id": KEY,
    "nhs_number": "9990000107",
    "requested_at": "2026-07-01T10:30:00+01:00",
    "seen_on": "2026-06-30",
    "local_at": "2026-07-01T10:30:00",
    "urgent": "Y",
    "children": "2",
    "weight": Decimal("11.40"),
    "reason": date(2026, 7, 1),
}


@pytest.mark.postgres
async def test_postgresql_takes_days_times_and_numbers_into_typed_columns(running_postgres: str) -> None:
    admin = await asyncpg.connect(running_postgres)
    try:
        await admin.execute(TYPED)
        what = table("sql", table="typed_in", key="referral_id", columns=TYPED_COLUMNS)
        to = sql_delivery.build_delivery(what, settings(database_url=running_postgres), tools())
        for row in (TYPED_ROW, {**TYPED_ROW, "urgent": False}):
            assert (await to.deliver("referral", outgoing(row))).reference == KEY
        assert [tuple(row) for row in await admin.fetch("select * from typed_in")] == [
            (
                *(KEY, "9990000107", datetime(2026, 7, 1, 9, 30, tzinfo=UTC), date(2026, 6, 30), datetime(2026, 7, 1, 10, 30)),
                *(True, 2, Decimal("11.40"), "2026-07-01"),
            )
        ]
        day = {"referral_id": "other-key", "nhs_number": "9990000107", "requested_at": "2026-07-01"}
        await to.deliver("referral", outgoing(day, "other-key"))
        assert await admin.fetchval("select requested_at from typed_in where referral_id = 'other-key'") == datetime(
            2026, 7, 1, tzinfo=UTC
        )
        for column, bad in (
            ("requested_at", "2026-07-01T10:30:00"),  # in no zone
            ("requested_at", "2026-07"),
            ("local_at", "2026-07-01T10:30:00Z"),  # in a zone that the column forgets
            ("seen_on", "2026-07-01T10:30:00Z"),
            ("urgent", "perhaps"),
            ("children", "two"),
            ("children", True),
            ("weight", "heavy"),
        ):
            with pytest.raises(SourceContractBroken):
                await to.deliver("referral", outgoing({**TYPED_ROW, "referral_id": "k", column: bad}, "k"))
        assert await admin.fetchval("select count(*) from typed_in") == 2
    finally:
        await admin.close()


@pytest.mark.postgres
async def test_what_the_centres_map_writes_goes_into_its_table_with_typed_columns(running_postgres: str) -> None:
    admin = await asyncpg.connect(running_postgres)
    try:
        manifest = load_manifest(adapters.childrens_centre)
        what = manifest.deliver["referral"]
        names = what.options["columns"]
        kinds = dict.fromkeys(names, "text") | {"requested_at": "timestamptz", "nhs_number": "char(10)"}
        kinds["referral_id"] = "text primary key"
        await admin.execute(f"create table referral_in ({', '.join(f'{name} {kind}' for name, kind in kinds.items())})")
        to = sql_delivery.build_delivery(what, settings(database_url=running_postgres), tools())
        for number, case in enumerate(CASES):
            data = json.loads(case)["data"] | {"referral_id": f"key-{number}"}
            await to.deliver("referral", outgoing(data, f"key-{number}"))
        assert await admin.fetchval("select count(*) from referral_in") == len(CASES) > 2
    finally:
        await admin.execute("drop table if exists referral_in")
        await admin.close()

"""The sql connector: what a manifest may say, what comes of rows, and how a database's failures are sorted."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from gateway.adapter import (
    Claim,
    Manifest,
    Purpose,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    Want,
)
from gateway.connectors import sql
from gateway.connectors.sql_drivers import driver_for
from gateway.errors import StartupRefused
from gateway.nhs_number import NhsNumber

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ONE, TWO, OLD = "9990000107", "9990001111", "9990002126"
VISITS = {
    "schema": "visits-1",
    "types": ["Encounter"],
    "person": "nhs_number",
    "birth_date": "dob",
    "sql": "select id, nhs_number, dob, kind from visit where nhs_number = :nhs_number order by id",
}


def manifest(identity: str = "nhs_number", **options: Any) -> Manifest:
    return Manifest(
        name="lake",
        title="A lake",
        connector="sql",
        owner="nobody",
        identity=identity,
        kind="childrens-centre",
        reads=("visits-1",),
        gives={"Encounter": "centre-attendance"},
        purposes=frozenset({"TREAT"}),
        never_for=frozenset(),
        feeds_protection=False,
        budget_s=1.0,
        options=options or {"query": {"visits": VISITS}},
    )


def settings(url: str, budget_s: float = 2.0) -> SourceSettings:
    return SourceSettings("lake", "lake", "dfe-urn:199901", "A1", "Lake", budget_s, None, 7, {"database_url": url})


def person(number: str = ONE, *superseded: str) -> Any:
    return SimpleNamespace(number=NhsNumber(number), superseded=tuple(NhsNumber(old) for old in superseded))


def want(*types: str, purpose: Purpose = Purpose.TREAT, **requester: str) -> Want:
    return Want(frozenset(types or ("Encounter",)), purpose, requester, "c-1")


class Ids:
    def __init__(self, *claims: Claim) -> None:
        self._claims = claims

    async def of(self, patient: object) -> Sequence[Claim]:
        return self._claims


def tools(*claims: Claim) -> Any:
    return SimpleNamespace(now=lambda: NOW, local_ids=Ids(*claims))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a lake#1.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            f"""
            create table visit (id text, nhs_number text, dob text, kind text, local_id text);
            insert into visit values ('v1', '{ONE}', '2024-03-14', 'play', 'L1'), ('v2', '{ONE}', '2024-03-14', null, 'L1'),
              ('v3', '{TWO}', '2025-01-09', 'play', 'L2'), ('v4', '{OLD}', null, 'old', null);
            create table closed (nhs_number text, organisation text, until text);
            insert into closed values ('{ONE}', 'ods:A99901', '2026-12-31'), ('{TWO}', 'ods:A99901', '2026-01-01');
            """
        )
    connection.close()
    return path


async def said(source: sql.SqlSource, patient: Any, wanted: Want) -> tuple[list[SourceRecord], SourceFacts]:
    items = [item async for item in source.fetch(patient, wanted)]
    await source.close()
    facts = items.pop()
    assert isinstance(facts, SourceFacts)
    return items, facts


async def test_rows_become_records_that_carry_their_own_claim(database: Path):
    source = sql.build(manifest(), settings(f"sqlite:///{database}"), tools())
    records, facts = await said(source, person(), want())
    assert records == [
        SourceRecord(
            "visits-1",
            {"id": "v1", "nhs_number": ONE, "dob": "2024-03-14", "kind": "play"},
            "visits, row 1",
            NOW,
            Claim(nhs_number=ONE, birth_date=date(2024, 3, 14)),
        ),
        SourceRecord(
            "visits-1",
            {"id": "v2", "nhs_number": ONE, "dob": "2024-03-14"},
            "visits, row 2",
            NOW,
            Claim(nhs_number=ONE, birth_date=date(2024, 3, 14)),
        ),
    ]
    assert facts == SourceFacts()


async def test_nobody_there_is_empty_and_not_an_error(database: Path):
    source = sql.build(manifest(), settings(f"sqlite:///{database}"), tools())
    assert await said(source, person("9990003130"), want()) == ([], SourceFacts())


async def test_a_superseded_number_is_asked_for_too(database: Path):
    source = sql.build(manifest(), settings(f"sqlite:///{database}"), tools())
    records, _ = await said(source, person("9990003130", OLD), want())
    assert [record.about for record in records] == [Claim(nhs_number=OLD)]


async def test_a_query_whose_types_are_not_wanted_is_not_run(database: Path):
    broken = {**VISITS, "sql": "select * from no_such_table where nhs_number = :nhs_number"}
    source = sql.build(manifest(query={"visits": broken}), settings(f"sqlite:///{database}"), tools())
    assert await said(source, person(), want("Observation")) == ([], SourceFacts())


async def test_a_local_id_is_asked_by_every_id_the_crosswalk_holds(database: Path):
    query = {**VISITS, "person": "local_id", "sql": "select id, local_id, dob from visit where local_id = :local_id order by id"}
    shape = manifest("local_id", query={"visits": query})
    source = sql.build(shape, settings(f"sqlite:///{database}"), tools(Claim(local_id="L1"), Claim(local_id="L2")))
    records, _ = await said(source, person(), want())
    assert [record.about.local_id for record in records] == ["L1", "L1", "L2"]


@pytest.mark.parametrize(
    ("number", "organisation", "locked"), [(ONE, "ods:A99901", True), (ONE, "x", False), (TWO, "ods:A99901", False)]
)
async def test_any_row_of_the_lock_statement_locks_every_record(database: Path, number: str, organisation: str, locked: bool):
    lock = "select 1 from closed where nhs_number = :nhs_number and organisation = :organisation and until > :today"
    shape = manifest(query={"visits": VISITS}, lock={"sql": lock})
    source = sql.build(shape, settings(f"sqlite:///{database}"), tools())
    records, _ = await said(source, person(number), want(organisation=organisation))
    assert {record.locked for record in records} == {locked}


async def test_a_row_of_a_protect_statement_is_a_lock_on_the_person(database: Path):
    protect = {
        "refuge": {"sql": "select 1 from closed where nhs_number = :nhs_number"},
        "address-lock": {"sql": "select 1 from closed where nhs_number = :nhs_number and :purpose = 'S47'"},
    }
    source = sql.build(manifest(query={"visits": VISITS}, protect=protect), settings(f"sqlite:///{database}"), tools())
    _, facts = await said(source, person(), want())
    assert facts.protected == {"refuge"}


async def test_a_row_that_does_not_say_whose_it_is_breaks_the_contract(database: Path):
    query = {**VISITS, "sql": "select id, null as nhs_number, dob from visit where nhs_number = :nhs_number"}
    source = sql.build(manifest(query={"visits": query}), settings(f"sqlite:///{database}"), tools())
    with pytest.raises(SourceContractBroken, match="whose"):
        await said(source, person(), want())


async def test_a_birth_date_that_cannot_be_read_breaks_the_contract_without_being_said(database: Path):
    query = {**VISITS, "birth_date": "kind"}
    source = sql.build(manifest(query={"visits": query}), settings(f"sqlite:///{database}"), tools())
    with pytest.raises(SourceContractBroken) as raised:
        await said(source, person(), want())
    assert "play" not in str(raised.value)


async def test_a_column_that_went_away_breaks_the_contract(database: Path):
    query = {**VISITS, "sql": "select id, gone, nhs_number from visit where nhs_number = :nhs_number"}
    source = sql.build(manifest(query={"visits": query}), settings(f"sqlite:///{database}"), tools())
    with pytest.raises(SourceContractBroken):
        await said(source, person(), want())


async def test_a_database_file_that_was_replaced_is_read_anew(database: Path):
    source = sql.build(manifest(), settings(f"sqlite:///{database}"), tools())
    wanted, patient = want(), person()
    assert len([item async for item in source.fetch(patient, wanted)]) == 3
    with sqlite3.connect(database.with_name("new.db")) as connection:
        connection.execute("create table visit (id text, nhs_number text, dob text, kind text)")
    connection.close()
    database.with_name("new.db").rename(database)
    assert [item async for item in source.fetch(patient, wanted)] == [SourceFacts()]
    await source.close()


async def test_a_database_that_is_not_there_is_unavailable_and_is_not_made(tmp_path: Path):
    path = tmp_path / "none.db"
    source = sql.build(manifest(), settings(f"sqlite:///{path}"), tools())
    with pytest.raises(SourceUnavailable):
        await said(source, person(), want())
    assert not path.exists()


async def test_a_file_that_is_no_database_breaks_the_contract(tmp_path: Path):
    path = tmp_path / "text.db"
    path.write_text("hello " * 1000)
    source = sql.build(manifest(), settings(f"sqlite:///{path}"), tools())
    with pytest.raises(SourceContractBroken):
        await said(source, person(), want())


async def test_a_query_that_runs_too_long_is_stopped_at_the_budget(database: Path):
    counting = "with recursive n(i) as (select 1 union all select i + 1 from n)"
    endless = counting + " select count(*) as nhs_number from n where :nhs_number <> ''"
    source = sql.build(manifest(query={"visits": {**VISITS, "sql": endless}}), settings(f"sqlite:///{database}", 0.2), tools())
    started = time.monotonic()
    with pytest.raises(SourceTimedOut):
        await said(source, person(), want())
    assert time.monotonic() - started < 2


async def test_a_number_is_a_bind_and_never_text(database: Path):
    shape = manifest(
        "local_id", query={"v": {**VISITS, "person": "local_id", "sql": "select local_id from visit where local_id = :local_id"}}
    )
    source = sql.build(shape, settings(f"sqlite:///{database}"), tools(Claim(local_id="x' or '1'='1")))
    assert await said(source, person(), want()) == ([], SourceFacts())


@pytest.mark.parametrize("statement", ["delete from visit", "create table x (y text)"])
async def test_the_session_itself_refuses_to_write(database: Path, statement: str):
    drive = driver_for(make_url(f"sqlite:///{database}"), 2.0)
    with pytest.raises(SourceRefused):
        await drive([(statement, {})])
    await drive.close()


@pytest.mark.parametrize(
    "statement",
    [
        "delete from visit where nhs_number = :nhs_number",
        "select 1 where '' <> :nhs_number; drop table visit",
        "with gone as (delete from visit where nhs_number = :nhs_number returning id) select * from gone",
        "select * into copy from visit where nhs_number = :nhs_number",
        "select * from visit where nhs_number = :nhs_number for update",
        "-- select\ndelete from visit where nhs_number = :nhs_number",
        "select * from visit",
        "select * from visit where nhs_number = :nhs_number and kind = :kind",
        "selected",
        "",
    ],
)
def test_a_statement_that_is_not_one_select_for_one_person_is_refused_at_start(statement: str):
    with pytest.raises(StartupRefused, match=r"query\.visits"):
        sql.read_statements(manifest(query={"visits": {**VISITS, "sql": statement}}))


@pytest.mark.parametrize(
    "statement",
    [
        "select id, 'please delete; update' as kind from visit where nhs_number = :nhs_number",
        "with mine as (select * from visit where nhs_number = :nhs_number) select * from mine;",
        'select id as "set" from visit where nhs_number = :nhs_number -- into',
        "select created_at, nhs_number::text from visit where nhs_number = :nhs_number",
    ],
)
def test_words_in_texts_names_and_comments_do_not_make_a_select_a_write(statement: str):
    sql.read_statements(manifest(query={"visits": {**VISITS, "sql": statement}}))


@pytest.mark.parametrize(
    "options",
    [
        {"query": {}},
        {"query": {"visits": {"sql": VISITS["sql"]}}},
        {"query": {"visits": {**VISITS, "schema": "other"}}},
        {"query": {"visits": VISITS}, "lock": {"sql": "select 1"}},
        {"query": {"visits": VISITS}, "protect": {"refuge": {"sql": "select 1"}}},
        {"query": {"visits": VISITS}, "everyone": {"sql": "delete from visit"}},
    ],
)
def test_a_manifest_that_says_too_little_is_refused_at_start(options: Mapping[str, Any]):
    with pytest.raises(StartupRefused, match=r"adapters/lake/manifest\.toml"):
        sql.read_statements(manifest(**options))


@pytest.mark.parametrize("url", [None, "not a url"])
def test_settings_without_a_database_url_are_refused_at_start(url: str | None):
    with pytest.raises(StartupRefused, match=r"sources\.lake\.options"):
        sql.build(manifest(), settings(url), tools())


def test_a_whole_database_file_is_read_person_by_person(database: Path):
    shape = manifest(query={"visits": VISITS}, everyone={"sql": "select distinct nhs_number from visit order by 1"})
    records = list(sql.read_file(shape, "lake.db", database.read_bytes()))
    assert [record.about.nhs_number for record in records] == [ONE, ONE, TWO, OLD]


@pytest.mark.parametrize("body", [b"", b"id,nhs_number\r\n", b"SQLite format 3\x00" + b"\x00" * 200])
def test_a_file_that_is_no_database_is_not_usable_as_a_whole(body: bytes):
    shape = manifest(query={"visits": VISITS}, everyone={"sql": "select distinct nhs_number from visit"})
    with pytest.raises(SourceContractBroken):
        list(sql.read_file(shape, "x.db", body))

"""The children's centre adapter is only a manifest: its statements against a register of its shape, on SQLite and PostgreSQL."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

import adapters.childrens_centre
from gateway.adapter import Claim, Manifest, Purpose, SourceFacts, SourceRecord, SourceSettings, Want
from gateway.connectors import sql
from gateway.nhs_number import NhsNumber
from gateway.registry import load_manifest

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CHILD, PARENT, REFUSED, LOCKED, BIRTH_LIST = "9990000107", "9990001111", "9990013233", "9990014248", "9990012229"
NOT_STORED = "9990016267"

REGISTER = """
create table setting (setting_id int, prefix char(2), name text, urn text, la_code text, postcode text, phone text,
  active boolean);
create table family (family_id text, setting_id int, registered_on date, source text, status text, left_on date);
create table member (member_id text, family_id text, role text, first_name text, dob date, nhs_number char(10), nhs_status text);
create table address (family_id text, member_id text, line1 text, from_date date, to_date date, confidential boolean);
create table relationship (child_member_id text, carer_member_id text, type text, parental_responsibility char(1),
  lives_with boolean, from_date date, to_date date);
create table eligibility (eligibility_id int, member_id text, scheme text, basis text, code_dern text, status text,
  valid_from date, valid_to date);
create table consent (consent_id int, subject_member_id text, given_by_member_id text, scope text, decision text,
  obtained_on date, expires_on date, withdrawn_on date, capacity text, form_version text, evidence text, given_in text,
  helped_by text, recorded_by text);
create table event (event_id text, setting_id int, category text, title text, starts_at timestamp, ends_at timestamp,
  sensitive boolean, venue text);
create table attendance (event_id text, member_id text, status text);

insert into setting values (1, 'WC', 'Willow', '199901', 'E08999901', 'ZZ99 1AZ', '01632 960190', true);
insert into family values ('WC1', 1, '2024-04-01', 'hv', 'registered', null),
  ('WC2', 1, '2023-01-01', 'self', 'left', '2025-01-01'),
  ('WC3', 1, '2024-01-01', 'self', 'registered', null),
  ('WC4', 1, '2024-01-01', 'birth_list', 'prospective', null);
insert into member values
  ('c', 'WC1', 'child', 'A', '2024-03-14', '9990000107', 'traced'),
  ('p', 'WC1', 'carer', 'B', '1995-05-08', '9990001111', 'stated'),
  ('r', 'WC2', 'child', 'J', '2023-12-01', '9990013233', 'traced'),
  ('l', 'WC3', 'child', 'K', '2022-01-26', '9990014248', 'traced'),
  ('x', 'WC3', 'child', 'X', '2022-01-26', '9990000107', 'rejected'),
  ('b', 'WC4', 'child', 'I', '2023-04-17', '9990012229', 'traced'),
  ('s', 'WC1', 'expectant', 'S', '2008-02-02', '9990016267', 'stated');
insert into address values ('WC3', null, 'Hidden House', '2024-01-01', null, true),
  ('WC1', null, 'Old House', '2024-01-01', '2024-06-01', true);
insert into consent (consent_id, subject_member_id, given_by_member_id, scope, decision, obtained_on, expires_on, withdrawn_on)
values
  (1, 'c', 'p', 'share_health', 'permit', '2024-04-01', null, null),
  (2, 'c', 'p', 'share_la', 'permit', '2024-04-01', null, '2026-11-21'),
  (3, 'c', 'p', 'share_centres', 'permit', '2024-04-01', '2026-11-21', null),
  (4, 'r', 'p', 'share_health', 'permit', '2024-01-01', null, null),
  (5, 'r', 'p', 'share_health', 'deny', '2025-01-01', null, null),
  (6, 'l', 'p', 'share_health', 'permit', '2024-01-01', null, '2026-11-22'),
  (7, 's', 's', 'share_health', 'permit', '2024-01-01', null, null),
  (8, 's', 's', 'store', 'permit', '2024-01-01', null, '2026-11-21');
update consent set capacity = 'PR', form_version = '2024', evidence = 'paper', given_in = 'en', helped_by = 'none',
  recorded_by = 'X';
update consent set capacity = 'self' where subject_member_id = 's';
insert into relationship (child_member_id, carer_member_id, type) values ('c', 'p', 'mother');
insert into eligibility values (1, 'c', '2YO', 'ECO', '500', 'taken-up', '2026-09-01', '2027-03-31'),
  (2, 'c', '30H', 'ECO', '501', 'eligible', '2026-09-01', null),
  (3, 'r', '2YO', 'LAA', '502', 'eligible', '2025-12-01', '2026-11-20');
insert into event values ('e1', 1, 'stay-and-play', 'Play', '2024-06-01 10:00:00', '2024-06-01 11:00:00', false, 'Hall'),
  ('e2', 1, 'group', 'Freedom', '2024-06-02 10:00:00', null, true, 'Room'),
  ('e3', 1, 'group', 'Unmarked', '2024-06-03 10:00:00', null, null, 'Room'),
  ('e4', 1, 'weigh-in', 'Clinic', '2024-06-04 10:00:00', null, false, 'Room');
insert into attendance values ('e1', 'c', 'attended'), ('e1', 'p', 'attended'), ('e2', 'c', 'attended'), ('e3', 'c', 'attended'),
  ('e4', 'c', 'dna'), ('e4', 'p', 'cancelled'), ('e1', 'r', 'booked');
"""


@pytest.fixture(scope="session")
def sqlite_register(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("centre") / "centretrack.db"
    connection = sqlite3.connect(path)
    connection.executescript(REGISTER)
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL is not here: apt-get install postgresql")
    bin_folder, owner = programs[-1].parent, "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if owner:
        shutil.chown(folder, owner)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, user=owner, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run(str(bin_folder / "initdb"), "-D", f"{folder}/data", "-U", "reader", "--auth=trust", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run(str(bin_folder / "pg_ctl"), "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        yield f"postgresql://reader@/postgres?host={folder}"
    finally:
        run(str(bin_folder / "pg_ctl"), "-D", f"{folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def register(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_register"))
    url = str(request.getfixturevalue("postgres_server"))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("drop schema public cascade; create schema public")
        await connection.execute(REGISTER)
    finally:
        await connection.close()
    return url


def manifest() -> Manifest:
    return load_manifest(adapters.childrens_centre)


@pytest.fixture
async def centre(register: str) -> AsyncIterator[sql.SqlSource]:
    settings = SourceSettings(
        "centre", "childrens_centre", "dfe-urn:199901", "A", "Willow", 5.0, None, 7, {"database_url": register}
    )
    tools: Any = SimpleNamespace(now=lambda: NOW)
    source = sql.build(manifest(), settings, tools)
    assert isinstance(source, sql.SqlSource)
    yield source
    await source.close()


async def said(
    centre: sql.SqlSource,
    number: str,
    *,
    kind: str = "gp-practice",
    purpose: Purpose = Purpose.TREAT,
    organisation: str = "ods:A99901",
    types: frozenset[str] = frozenset({"EpisodeOfCare", "Encounter"}),
) -> tuple[list[SourceRecord], SourceFacts]:
    patient: Any = SimpleNamespace(number=NhsNumber(number), superseded=())
    want = Want(types, purpose, {"organisation": organisation, "organisation_kind": kind}, "c-1")
    items = [item async for item in centre.fetch(patient, want)]
    facts = items.pop()
    assert isinstance(facts, SourceFacts)
    return [item for item in items if isinstance(item, SourceRecord)], facts


async def test_a_child_is_registered_and_came_once(centre: sql.SqlSource):
    records, facts = await said(centre, CHILD)
    assert [(record.schema, record.where) for record in records] == [
        ("centre-registration-1", "registration, row 1"),
        ("centre-attendance-1", "attendance, row 1"),
    ]
    assert {record.about for record in records} == {Claim(nhs_number=CHILD, birth_date=date(2024, 3, 14))}
    assert records[0].data["centre_name"] == "Willow"
    assert records[1].data["event_id"] == "e1"
    assert "title" not in records[1].data
    assert facts.protected == frozenset()  # the confidential address is a former one
    assert not any(record.locked for record in records)


async def test_whom_to_ring_is_the_centre_and_only_of_a_family_that_is_registered_now(centre: sql.SqlSource):
    records, _ = await said(centre, CHILD, types=frozenset({"CareTeam"}))
    assert [(record.data["centre_name"], record.data["centre_phone"]) for record in records] == [("Willow", "01632 960190")]
    assert await said(centre, REFUSED, types=frozenset({"CareTeam"})) == ([], SourceFacts())


async def test_the_two_year_old_offer_says_no_grounds_and_ends_with_its_last_day(centre: sql.SqlSource):
    records, _ = await said(centre, CHILD, types=frozenset({"Flag"}))
    assert [(record.data["eligibility_id"], record.data["status"]) for record in records] == [(1, "taken-up")]
    assert not {"basis", "code_dern", "scheme"} & records[0].data.keys()
    ended, _ = await said(centre, REFUSED, types=frozenset({"Flag"}))
    assert [record.data["status"] for record in ended] == ["ended"]


async def test_each_decision_of_the_registration_form_is_read_with_what_became_of_it(centre: sql.SqlSource):
    records, _ = await said(centre, CHILD, types=frozenset({"Consent"}))
    assert [(one.data["scope"], one.data["state"], one.data["given_by"]) for one in records] == [
        ("share_health", "in-force", "mother"),
        ("share_la", "withdrawn", "mother"),
        ("share_centres", "expired", "mother"),
    ]
    assert not {"recorded_by", "given_by_member_id"} & set().union(*(one.data for one in records))
    again, _ = await said(centre, REFUSED, types=frozenset({"Consent"}))
    assert [(one.data["decision"], one.data["state"]) for one in again] == [("permit", "replaced"), ("deny", "in-force")]
    own, _ = await said(centre, NOT_STORED, types=frozenset({"Consent"}))
    assert {one.data["given_by"] for one in own} == {"self"}


async def test_a_parents_attendance_is_the_parents(centre: sql.SqlSource):
    records, _ = await said(centre, PARENT, types=frozenset({"Encounter"}))
    assert [(record.data["event_id"], record.data["status"]) for record in records] == [("e1", "attended"), ("e4", "cancelled")]
    assert {record.about.nhs_number for record in records} == {PARENT}


async def test_a_family_from_a_birth_list_is_not_involvement(centre: sql.SqlSource):
    assert await said(centre, BIRTH_LIST) == ([], SourceFacts())


@pytest.mark.parametrize(
    ("number", "kind", "locked"),
    [
        (CHILD, "gp-practice", False),
        (CHILD, "community-health", False),
        (CHILD, "hospital", False),
        (CHILD, "local-authority", True),  # withdrawn today
        (CHILD, "childrens-centre", True),  # expired today
        (CHILD, "other", True),
        (CHILD, "", True),
        (PARENT, "gp-practice", True),  # never asked
        (REFUSED, "gp-practice", True),  # refused later
        (LOCKED, "gp-practice", False),  # withdrawn from tomorrow on
        (NOT_STORED, "gp-practice", True),  # shares with health, but took back today that a record is kept at all
    ],
)
async def test_the_centres_own_consent_locks_what_is_not_shared(centre: sql.SqlSource, number: str, kind: str, locked: bool):
    records, _ = await said(centre, number, kind=kind)
    assert {record.locked for record in records} == {locked}


@pytest.mark.parametrize(
    ("purpose", "locked"),
    [
        (Purpose.S47, False),
        (Purpose.CASECONF, False),
        (Purpose.ETREAT, False),
        (Purpose.HLEGAL, False),
        (Purpose.S17, True),
        (Purpose.BTG, True),
    ],
)
async def test_consent_is_not_the_basis_of_an_enquiry_or_an_emergency(centre: sql.SqlSource, purpose: Purpose, locked: bool):
    records, _ = await said(centre, REFUSED, kind="local-authority", purpose=purpose)
    assert {record.locked for record in records} == {locked}


async def test_the_centre_reads_its_own_records(centre: sql.SqlSource):
    records, _ = await said(centre, REFUSED, kind="childrens-centre", organisation="dfe-urn:199901")
    assert {record.locked for record in records} == {False}


async def test_a_confidential_address_protects_the_person(centre: sql.SqlSource):
    _, facts = await said(centre, LOCKED)
    assert facts.protected == {"address-lock"}


def test_a_whole_register_is_read_and_what_is_not_shared_comes_out_locked(sqlite_register: str):
    body = Path(sqlite_register.removeprefix("sqlite:///")).read_bytes()
    records = list(sql.read_file(manifest(), "centretrack.db", body))
    assert {record.about.nhs_number for record in records} == {CHILD, PARENT, REFUSED, LOCKED, NOT_STORED}
    assert {record.locked for record in records} == {True}


def test_the_manifest_says_nothing_but_selects():
    statements = sql.read_statements(manifest())
    assert [query.name for query in statements.queries] == ["registration", "contact", "offer", "attendance", "consent"]
    assert set(statements.protect) == {"address-lock"}

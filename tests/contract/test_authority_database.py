"""The Standard Safeguarding Dataset from a database, SQLite and PostgreSQL: the same people, locks and records as its files."""

import asyncio
import csv
import io
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import postgres_server
import pytest

import adapters.local_authority
from gateway import mapping
from gateway.adapter import Arrival, Delivery, Purpose, SourceFacts, SourceRecord, SourceSettings, StartupRefused, Want
from gateway.connectors import returns_database, returns_drop
from gateway.connectors.returns_read import LACKS_TABLE, read
from gateway.connectors.returns_shape import read_formats
from gateway.flows.intake import intake
from gateway.flows.shelving import SourceLocalIds, SourceShelf
from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkRow
from gateway.registry import ActiveSource, load_manifest
from gateway.store import Keys, Store, open_store
from sandbox import authority_returns
from sandbox.families import BY_KEY
from tests import fakes

pytestmark = pytest.mark.anyio

AT = fakes.NOW
MANIFEST = load_manifest(adapters.local_authority)
NAMES = ("pers_common_child_id", "pers_single_unique_id")
AMARA = BY_KEY["amara"]
Tables = dict[str, list[list[str | None]]]


def tables(number_column: str = NAMES[0]) -> Tables:
    """The dataset as the authority's own database holds it: a header and rows by table; what is not known is NULL."""
    found: Tables = {}
    for name, body in authority_returns.dataset(AT, number_column=number_column).items():
        rows = csv.reader(io.StringIO(body.decode("utf-8")))
        found[name.removesuffix(".csv")] = [[None if cell == "NULL" else cell for cell in row] for row in rows]
    return found


def to_sqlite(path: Path, held: Tables) -> str:
    with sqlite3.connect(path) as database:
        for name, (columns, *rows) in held.items():
            database.execute(f"create table {name} ({', '.join(map(str, columns))})")
            database.executemany(f"insert into {name} values ({', '.join('?' * len(columns))})", rows)
    database.close()
    return f"sqlite:///{path}"


def kind_of(column: str) -> str:
    if column == "pers_dob":
        return "date"
    return "timestamp" if column.endswith(("_date", "_ceased")) else "varchar(48)"


async def to_postgres(url: str, name: str, schema: str, held: Tables) -> str:
    """Typed columns, in a schema of the case system's own."""
    made = await asyncpg.connect(url)
    await made.execute(f"create database {name}")
    await made.close()
    address = url.rsplit("/", 1)[0] + "/" + name
    connection = await asyncpg.connect(address)
    await connection.execute(f"create schema {schema}")
    for table, (columns, *rows) in held.items():
        typed = [(str(column), kind_of(str(column))) for column in columns]
        await connection.execute(f"create table {schema}.{table} ({', '.join(' '.join(one) for one in typed)})")
        values = [[_typed(kind, cell) for (_, kind), cell in zip(typed, row, strict=True)] for row in rows]
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        await connection.executemany(f"insert into {schema}.{table} values ({places})", values)
    await connection.close()
    return address


def _typed(kind: str, cell: str | None) -> Any:
    if cell is None or kind.startswith("varchar"):
        return cell
    return date.fromisoformat(cell) if kind == "date" else datetime.fromisoformat(cell)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server.server() as url:
        yield url


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'g.db'}", Keys.create_sandbox(tmp_path / "keys"), name="test")
    yield opened
    await opened.close()


class Clock:
    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


class Empty:
    """A shelf that nothing was delivered to, or something at a time."""

    def __init__(self, delivered: datetime | None = None) -> None:
        self._delivered = delivered

    async def delivered_at(self) -> datetime | None:
        return self._delivered


def source(
    url: str, *, shelf: Any = None, ids: Any = None, clock: Clock | None = None, **options: Any
) -> returns_drop.ReturnsDrop:
    tools: Any = SimpleNamespace(now=clock or Clock(), shelf=shelf or Empty(), local_ids=ids, var=Path("/nowhere"), seal=bytes)
    given = {"format": "ssd", "database_url": url, **options}
    settings = SourceSettings("dataset", "local_authority", "gss:E08999901", "A", "Dataset", 1.0, 48, 7, given)
    return returns_drop.build(MANIFEST, settings, tools)


async def taken(made: returns_drop.ReturnsDrop) -> list[tuple[Delivery, Sequence[Arrival]]]:
    return [pair async for pair in made.arrivals()]


def told(arrivals: Sequence[Arrival]) -> Mapping[str, Any]:
    """Everyone, without when and where."""
    return {
        one.business_id: (one.about, one.protected, one.record.locked, one.record.data)
        for one in arrivals
        if one.record is not None
    }


def from_files(number_column: str) -> Mapping[str, Any]:
    body = authority_returns.zipped(authority_returns.dataset(AT, number_column=number_column), AT)
    return told(returns_drop.everyone(read(read_formats(MANIFEST), body, whole=True), "gss:E08999901"))


@pytest.mark.parametrize("number_column", NAMES)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def test_the_tables_of_a_database_are_the_same_people_locks_and_records_as_its_files(
    kind: str, number_column: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        made = source(to_sqlite(tmp_path / "ssd.db", tables(number_column)))
    else:
        url: str = request.getfixturevalue("server")
        made = source(await to_postgres(url, f"d_{number_column}", "ssd_live", tables(number_column)), schema="ssd_live")
    ((delivery, arrivals),) = await taken(made)
    assert (delivery.fault, delivery.snapshot, delivery.as_of) == (None, True, AT)
    assert told(arrivals) == from_files(number_column)
    assert {number for one in told(arrivals).values() for row in one[3]["ssd_person"] for number in row if number in NAMES} == {
        NAMES[0]
    }


async def test_from_the_database_to_the_shelf_the_index_and_r4(tmp_path: Path, store: Store) -> None:
    clock = Clock()
    held = tables()
    shelf, ids = SourceShelf(store.shelf, "dataset", clock), SourceLocalIds(store.crosswalk, "dataset")
    made = source(to_sqlite(tmp_path / "ssd.db", held), shelf=shelf, ids=ids, clock=clock)
    links = [
        CrosswalkRow("dataset", one.local_id, NhsNumber(one.nhs_number), one.birth_date, AT.date(), "x")
        for one in (AMARA, BY_KEY["hugo"])
    ]
    await store.crosswalk.put(links)
    parts: Any = SimpleNamespace(
        log=store.log, shelf=store.shelf, protections=store.protections, crosswalk=store.crosswalk, now=clock,
        policy=SimpleNamespace(hash="h"),
    )  # fmt: skip
    settings = SourceSettings("dataset", "local_authority", "gss:E08999901", "A", "Dataset", 1.0, 48, 7, {})
    ((delivery, arrivals),) = await taken(made)
    assert await intake(parts, ActiveSource(MANIFEST, settings, made), delivery, arrivals) == "taken"
    assert await taken(made) == [], "it is read again tomorrow"
    hugo = await store.facts.read(
        NhsNumber(BY_KEY["hugo"].nhs_number), organisation="o", staff="s", case_reference=None, client="c", at=AT
    )
    assert hugo.locks == {"address-lock"}
    patient: Any = SimpleNamespace(number=NhsNumber(AMARA.nhs_number), superseded=())
    *records, facts = [one async for one in made.fetch(patient, Want(frozenset({"*"}), Purpose.S47, {}, "c"))]
    assert isinstance(facts, SourceFacts)
    assert (facts.as_of, facts.stale) == (AT, False)
    (record,) = records
    assert isinstance(record, SourceRecord)
    context = mapping.Context("dataset", lambda type_, key: f"p.d.{abs(hash((type_, key)))}", "p", None, AT, "gss:E08999901")
    result = mapping.map_record(mapping.load(files("mappings")), "local_authority", record, context, account=True)
    assert result.refused == ()
    assert {"Flag", "EpisodeOfCare", "CarePlan", "CareTeam"} <= {one.body["resourceType"] for one in result.resources}
    clock.now = AT + timedelta(hours=25)
    ((again, _),) = await taken(made)
    assert again.as_of == clock.now


async def test_a_database_that_lacks_a_table_or_is_away_is_a_delivery_that_failed_and_is_read_again_soon(tmp_path: Path) -> None:
    clock, held = Clock(), tables()
    del held["ssd_address"]
    path = tmp_path / "ssd.db"
    made = source(to_sqlite(path, held), clock=clock)
    ((delivery, arrivals),) = await taken(made)
    assert (delivery.fault, arrivals) == (f"{LACKS_TABLE}: ssd_address", ())
    delivery.refuse(delivery.fault or "")
    assert await taken(made) == []
    path.unlink()
    clock.now += returns_database.AGAIN
    ((delivery, _),) = await taken(made)
    assert delivery.fault == "no connection to the database"
    to_sqlite(path, tables())
    clock.now += returns_database.AGAIN
    ((delivery, arrivals),) = await taken(made)
    assert (delivery.fault, len(arrivals)) == (None, 6)


@pytest.mark.postgres
async def test_a_database_that_does_not_let_us_in_is_told_without_its_address(server: str) -> None:
    ((delivery, _),) = await taken(source(server.rsplit("/", 1)[0] + "/no_such_database"))
    assert delivery.fault == "the database does not let us read this"


@pytest.mark.parametrize(
    ("table", "column", "value", "fault"),
    [
        ("ssd_person", 0, None, "a record without its identity"),
        ("ssd_person", 2, b"\x00\x01", returns_database.NO_TEXT),
        ("ssd_person", 2, "a\0b", "a cell that holds NUL"),
    ],
)
async def test_a_row_that_nobody_can_read_refuses_the_whole(
    tmp_path: Path, table: str, column: int, value: Any, fault: str
) -> None:
    held = tables()
    held[table][1][column] = value
    ((delivery, _),) = await taken(source(to_sqlite(tmp_path / "ssd.db", held)))
    assert delivery.fault == fault


async def test_text_that_a_spreadsheet_would_take_for_a_formula_is_text_in_a_database(tmp_path: Path) -> None:
    held = tables()
    held["ssd_involvements"][1][3] = "=North team"
    ((delivery, arrivals),) = await taken(source(to_sqlite(tmp_path / "ssd.db", held)))
    assert delivery.fault is None
    assert told(arrivals)[AMARA.local_id][3]["ssd_involvements"][0]["invo_professional_team"] == "=North team"


@pytest.mark.parametrize(
    ("written", "as_of"),
    [
        ("2026-07-01 02:00:00", datetime(2026, 7, 1, 1, tzinfo=UTC)),
        ("2026-11-20T02:00:00+00:00", datetime(2026, 11, 20, 2, tzinfo=UTC)),
    ],
)
async def test_a_nightly_copy_says_itself_when_it_was_made(tmp_path: Path, written: str, as_of: datetime) -> None:
    held = tables() | {"refresh": [["done"], ["2026-01-01 00:00:00"], [written]]}
    ((delivery, _),) = await taken(source(to_sqlite(tmp_path / "ssd.db", held), as_of="select max(done) from refresh"))
    assert (delivery.fault, delivery.as_of) == (None, as_of)
    ((other, _),) = await taken(source(to_sqlite(tmp_path / "b.db", tables()), as_of="select pers_forename from ssd_person"))
    assert other.fault == "no readable date of the extract"


async def test_what_another_process_read_a_while_ago_is_read_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    clock = Clock()
    made = source(to_sqlite(tmp_path / "ssd.db", tables()), shelf=Empty(AT - timedelta(hours=5)), clock=clock, every_h=6)
    assert await taken(made) == []
    clock.now += timedelta(hours=1)
    assert len(await taken(made)) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "cin"}, "format cin is no set of tables"),
        ({"database_url": "somewhere"}, "database_url is not a database URL"),
        ({"schema": "a.b"}, "schema is a name"),
        ({"as_of": "drop table x"}, "[as_of] must be one SELECT"),
        ({"every_h": "0"}, "every_h must be a number of hours"),
        ({"drop": "drop"}, "not both"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_the_start(options: dict[str, Any], said: str) -> None:
    with pytest.raises(StartupRefused) as refused:
        source("sqlite:///x", **options)
    assert said in str(refused.value)


def test_reading_asks_for_nothing_but_these_tables(tmp_path: Path) -> None:
    held = tables() | {"ssd_secret": [["pers_person_id"], ["1"]]}
    url = to_sqlite(tmp_path / "ssd.db", held)
    before = (tmp_path / "ssd.db").read_bytes()
    ((_, arrivals),) = asyncio.run(taken(source(url)))
    assert len(arrivals) == 6
    assert (tmp_path / "ssd.db").read_bytes() == before

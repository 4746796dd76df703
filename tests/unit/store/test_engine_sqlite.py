"""The SQLite engine: group commit, one server, and nothing but StoreDown."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, LargeBinary, bindparam, select
from store_world import CHILD, NOW, entry

from gateway.errors import AuditDown, StartupRefused, StoreDown
from gateway.ports import LogQuestion, Traced
from gateway.store import Keys, Store, open_store
from gateway.store.database import Call, Statement, Work, insert
from gateway.store.engine_sqlite import SqliteDatabase, _insist_on_durability
from gateway.store.schema import check_schema, upgrade
from gateway.store.tables import SUBJECT

pytestmark = pytest.mark.anyio

TESTS = str(Path(__file__).resolve().parents[2])
SERVER = """
import asyncio, pathlib, sys
from gateway.store.engine_sqlite import SqliteDatabase, _insist_on_durability
async def main():
    SqliteDatabase(pathlib.Path(sys.argv[1]), serve=True)
    print("up", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
COMMAND = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[3])
from store_world import CHILD, NOW, entry
from gateway.store import Keys, open_store
async def main():
    keys = Keys.load(pathlib.Path(sys.argv[2]), mode="sandbox")
    store = await open_store(sys.argv[1], keys, name="command", serve=False)
    for n in range(20):
        await store.consents.put(
            CHILD, scope="store", decision="deny", given_by="p", recorded_by="x", starts=NOW, ends=None, evidence="e"
        )
        await store.log.append([entry(kind="administration")])
    await store.close()
asyncio.run(main())
"""
INSERT = Statement(insert(SUBJECT).values(number_key=bindparam("k", type_=LargeBinary), version=bindparam("v", type_=BigInteger)))
ALL = Statement(select(SUBJECT.c.number_key, SUBJECT.c.version))


def put(number: int, *, then: Exception | None = None) -> Work[int]:
    yield Call(INSERT, {"k": bytes([number]), "v": number})
    if then is not None:
        raise then
    return number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    upgrade(f"sqlite:///{tmp_path / 'g.db'}")
    return tmp_path / "g.db"


async def test_a_failing_unit_rolls_back_alone_and_tells_its_own_waiter_only(path: Path) -> None:
    database = SqliteDatabase(path, serve=True)
    try:
        await database.write(put(0))
        units = [put(n, then=LookupError("mine") if n % 3 == 0 else None) for n in range(1, 31)]
        units.append(put(0))  # a key that is taken: the database refuses it
        results = await asyncio.gather(*(database.write(unit) for unit in units), return_exceptions=True)
        for n, result in enumerate(results[:-1], start=1):
            assert isinstance(result, LookupError) if n % 3 == 0 else result == n
        assert isinstance(results[-1], StoreDown)
        rows = await database.read(ALL, {})
        assert {row[1] for row in rows} == {0, *(n for n in range(1, 31) if n % 3)}
    finally:
        await database.close()


async def test_a_unit_that_fails_by_itself_leaves_nothing_and_the_next_is_written(path: Path) -> None:
    database = SqliteDatabase(path, serve=True)
    try:
        with pytest.raises(LookupError):
            await database.write(put(1, then=LookupError("mine")))
        assert await database.write(put(2)) == 2
        with pytest.raises(StoreDown):
            await database.write(put(2))
        assert await database.write(put(3)) == 3
        assert {row[1] for row in await database.read(ALL, {})} == {2, 3}
    finally:
        await database.close()


async def test_waiting_units_share_a_commit(path: Path) -> None:
    database = SqliteDatabase(path, serve=True)
    groups: list[int] = []
    commit = database._commit

    def counted(group: list) -> None:  # type: ignore[type-arg]
        groups.append(len(group))
        commit(group)

    database._commit = counted  # type: ignore[method-assign]
    try:
        await asyncio.gather(*(database.write(put(n)) for n in range(100)))
        assert sum(groups) == 100
        assert len(groups) < 50
    finally:
        await database.close()


async def test_what_waits_when_the_store_closes_is_still_written(path: Path) -> None:
    database = SqliteDatabase(path, serve=True)
    waiting = [asyncio.ensure_future(database.write(put(n))) for n in range(20)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*waiting) == list(range(20))
    with pytest.raises(StoreDown):
        await database.write(put(99))


async def test_a_second_server_on_the_same_file_refuses_and_names_postgresql(path: Path) -> None:
    database = SqliteDatabase(path, serve=True)
    try:
        with pytest.raises(StartupRefused, match="PostgreSQL"):
            SqliteDatabase(path, serve=True)
    finally:
        await database.close()
    again = SqliteDatabase(path, serve=True)
    await again.close()


async def test_a_server_in_another_process_holds_the_file_until_it_dies(path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", SERVER, str(path)], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    try:
        assert other.stdout is not None
        assert await asyncio.to_thread(other.stdout.readline) == "up\n"
        with pytest.raises(StartupRefused):
            SqliteDatabase(path, serve=True)
    finally:
        other.kill()
        other.wait()
    database = SqliteDatabase(path, serve=True)
    await database.close()


async def test_a_command_in_another_process_writes_while_the_server_writes(tmp_path: Path) -> None:
    keys, url = Keys.create_sandbox(tmp_path / "keys"), f"sqlite:///{tmp_path / 'g.db'}"
    store = await open_store(url, keys, name="server")
    try:
        command = subprocess.Popen([sys.executable, "-c", COMMAND, url, str(tmp_path / "keys"), TESTS])  # noqa: ASYNC220
        served = 0
        while command.poll() is None:
            await asyncio.gather(*(store.log.append([entry()]) for _ in range(8)))
            served += 8
        assert command.returncode == 0
        assert len(await store.log.ask(LogQuestion(kind="administration", limit=100))) == 40  # a consent has its own
        assert len(await store.log.ask(LogQuestion(kind="decision", limit=1000))) == min(served, 1000)
        assert await store.verify() == []
    finally:
        await store.close()


async def test_a_log_that_cannot_be_written_is_audit_down_for_everyone_aboard(tmp_path: Path) -> None:
    keys = Keys.create_sandbox(tmp_path / "keys")
    store = await open_store(f"sqlite:///{tmp_path / 'g.db'}", keys, name="t")
    try:
        with sqlite3.connect(tmp_path / "g.db") as other:
            other.execute("DROP TABLE event")
        results = await asyncio.gather(*(store.log.append([entry()]) for _ in range(10)), return_exceptions=True)
        assert all(isinstance(result, AuditDown) for result in results)
        with pytest.raises(StoreDown):
            await store.log.ask(LogQuestion())
        with sqlite3.connect(tmp_path / "g.db") as other:
            other.execute("DROP TABLE consent")
        with pytest.raises(StoreDown):
            await store.facts.read(CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    finally:
        await store.close()


async def test_a_sealed_value_that_does_not_open_is_store_down(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path / 'g.db'}", Keys.create_sandbox(tmp_path / "keys"), name="t")
    person = await store.persons.admit(Traced(CHILD, None, False, False, None, {}, "1"), NOW)
    with sqlite3.connect(tmp_path / "g.db") as other:
        other.execute("UPDATE person SET number_sealed = randomblob(40)")
    try:
        with pytest.raises(StoreDown):
            await store.persons.by_id(person)
    finally:
        await store.close()


def test_a_database_that_cannot_promise_durable_commits_is_refused() -> None:
    async def start() -> None:
        SqliteDatabase(Path("/proc/version"), serve=False)

    with pytest.raises(StartupRefused):
        asyncio.run(start())


def test_an_unusable_url_or_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for url in ("mysql://x", f"sqlite:///{tmp_path / 'file' / 'g.db'}"):
        with pytest.raises(StartupRefused, match="GATEWAY_DATABASE_URL"):
            check_schema(url)


def test_a_schema_of_another_version_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartupRefused, match="gateway database upgrade"):
        check_schema(f"sqlite:///{path}")


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "g.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StartupRefused):
        check_schema(f"sqlite:///{tmp_path / 'g.db'}")
    with sqlite3.connect(tmp_path / "g.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


async def test_every_acknowledged_append_is_there_after_closing(tmp_path: Path) -> None:
    keys, url = Keys.create_sandbox(tmp_path / "keys"), f"sqlite:///{tmp_path / 'g.db'}"
    acknowledged: list[str] = []

    async def one(store: Store) -> None:
        receipts = await store.log.append([entry(), entry()])
        assert receipts is not None
        acknowledged.extend(receipt.event for receipt in receipts)

    for _ in range(3):
        store = await open_store(url, keys, name="t")
        await asyncio.gather(*(one(store) for _ in range(40)))
        await store.close()
    store = await open_store(url, keys, name="t")
    events = await store.log.ask(LogQuestion(limit=1000))
    assert {event.event for event in events} == set(acknowledged)
    assert len({event.writer for event in events}) == 3
    assert await store.verify() == []
    await store.close()


@pytest.mark.parametrize("pragma", ["PRAGMA journal_mode=DELETE", "PRAGMA synchronous=NORMAL", "PRAGMA synchronous=OFF"])
def test_a_connection_that_may_lose_a_commit_is_refused_with_what_to_do(path: Path, pragma: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        _insist_on_durability(connection)
        connection.execute(pragma)
        with pytest.raises(StartupRefused, match="WAL and synchronous=FULL"):
            _insist_on_durability(connection)

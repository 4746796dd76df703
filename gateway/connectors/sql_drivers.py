"""How the `sql` connector reaches a database: asyncpg on the loop for PostgreSQL, every other driver in threads.

The pool is SQLAlchemy's. A SQLite file's statements are run by sqlite3 itself, at less than half the cost; others by SQLAlchemy.

Read-only twice over: the statements are SELECTs, and the session refuses to write (SQLite: file opened read-only and
query_only; PostgreSQL: default_transaction_read_only). Other databases: the account's own rights, and no commit.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime
from threading import Event
from time import monotonic
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

import asyncpg
from sqlalchemy import Connection, Dialect, Engine, TextClause, create_engine, event, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.dialects.sqlite.pysqlite import dialect as sqlite_dialect
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolBusy
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from gateway.adapter import SourceContractBroken, SourceError, SourceRefused, SourceTimedOut, SourceUnavailable

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Asked: TypeAlias = Sequence[tuple[str, Mapping[str, object]]]

_AT_ONCE = 4  # statements of one source at work together: its bulkhead
_ROWS = 5_000  # of one statement for one person: more is a broken query
_STEPS = 10_000  # SQLite instructions between two looks at the clock
_SQLITE: Dialect = sqlite_dialect(paramstyle="named")
_POSTGRES: Dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy gives this class no annotations


class Driver(Protocol):
    """Runs SELECTs in order, on one connection, within the source's budget."""

    async def __call__(self, asked: Asked) -> Sequence[Rows]:
        """Raises the four `SourceError`s."""
        ...

    async def close(self) -> None: ...


def driver_for(url: URL, budget_s: float) -> Driver:
    """The database's URL -> the driver for it."""
    if url.get_backend_name() == "postgresql":
        return _PostgreSql(url, budget_s)
    return _InThreads(engine_for(url, budget_s), budget_s)


@contextmanager
def in_memory(body: bytes) -> Iterator[Callable[[str, Mapping[str, object]], Rows]]:
    """The bytes of a SQLite file -> a function that asks it. Raises `SourceContractBroken` when they are no database."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row

    def ask(sql: str, binds: Mapping[str, object]) -> Rows:
        try:
            return [dict(row) for row in database.execute(sql, _sqlite_values(binds))]
        except sqlite3.Error:
            raise SourceContractBroken("the database file does not have the tables the manifest asks for") from None

    try:
        database.deserialize(body)
        database.execute("pragma query_only = on")
        yield ask
    except sqlite3.Error:
        raise SourceContractBroken("the file is not a SQLite database that can be read") from None
    finally:
        database.close()


class _PostgreSql:
    def __init__(self, url: URL, budget_s: float) -> None:
        self._address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._budget_s = budget_s
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._compiled: dict[str, tuple[str, Sequence[str]]] = {}

    async def __call__(self, asked: Asked) -> Sequence[Rows]:
        try:
            async with asyncio.timeout(self._budget_s):
                pool = self._pool or await self._open()
                async with pool.acquire() as connection:
                    return [await self._rows(connection, sql, binds) for sql, binds in asked]
        except TimeoutError:
            raise SourceTimedOut("no rows within the budget") from None
        except asyncpg.PostgresError as error:
            raise sorted_postgres_error(error) from None
        except (asyncpg.InterfaceError, OSError):
            raise SourceUnavailable("no connection to the database") from None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _open(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._address,
                    min_size=0,
                    max_size=_AT_ONCE,
                    command_timeout=self._budget_s,
                    server_settings={"default_transaction_read_only": "on", "application_name": "shared-care-gateway"},
                )
            return self._pool

    async def _rows(self, connection: Any, sql: str, binds: Mapping[str, object]) -> Rows:
        if sql not in self._compiled:
            compiled = text(sql).compile(dialect=_POSTGRES)
            self._compiled[sql] = (compiled.string, tuple(compiled.positiontup or ()))
        statement, order = self._compiled[sql]
        rows = await connection.fetch(statement, *(binds[name] for name in order))
        if len(rows) > _ROWS:
            raise SourceContractBroken("more rows for one person than can be true")
        return [dict(row) for row in rows]


class _InThreads:
    def __init__(self, engine: Engine, budget_s: float) -> None:
        self._engine = engine
        self._budget_s = budget_s
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sql")
        self._statements: dict[str, tuple[TextClause, Sequence[str]]] = {}
        self._texts: dict[str, tuple[str, Sequence[str]]] = {}
        self._ask = self._in_file if engine.dialect.name == "sqlite" else self._by_engine

    async def __call__(self, asked: Asked) -> Sequence[Rows]:
        stop, ends = Event(), monotonic() + self._budget_s
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._run, asked, stop, ends)
        try:
            async with asyncio.timeout(self._budget_s):
                return await work
        except TimeoutError:
            raise SourceTimedOut("no rows within the budget") from None
        finally:
            stop.set()  # a cancelled request stops its query too

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._engine.dispose()

    def _run(self, asked: Asked, stop: Event, ends: float) -> Sequence[Rows]:
        if stop.is_set():
            return []  # nobody waits any more
        try:
            return self._ask(asked, stop, ends)
        except (DBAPIError, sqlite3.Error) as error:
            raise sorted_error(error) from None
        except PoolBusy:
            raise SourceUnavailable("every connection to the database is busy") from None
        except SQLAlchemyError:
            raise SourceContractBroken("the database's answer cannot be read") from None

    def _by_engine(self, asked: Asked, _stop: Event, _ends: float) -> Sequence[Rows]:
        with self._engine.connect() as connection:
            return [self._rows(connection, sql, binds) for sql, binds in asked]

    def _rows(self, connection: Connection, sql: str, binds: Mapping[str, object]) -> Rows:
        if sql not in self._statements:
            statement = text(sql)
            self._statements[sql] = (statement, tuple(statement.compile().params))
        statement, names = self._statements[sql]
        rows = connection.execute(statement, {name: binds[name] for name in names}).mappings().fetchmany(_ROWS + 1)
        if len(rows) > _ROWS:
            raise SourceContractBroken("more rows for one person than can be true")
        return [dict(row) for row in rows]

    def _in_file(self, asked: Asked, stop: Event, ends: float) -> Sequence[Rows]:
        held = self._engine.raw_connection()
        try:
            file: sqlite3.Connection = held.driver_connection  # type: ignore[assignment]  # that is what its pool holds
            file.set_progress_handler(lambda: stop.is_set() or monotonic() > ends, _STEPS)
            return [self._rows_in_file(file, sql, binds) for sql, binds in asked]
        finally:
            held.close()

    def _rows_in_file(self, file: sqlite3.Connection, sql: str, binds: Mapping[str, object]) -> Rows:
        known = self._texts.get(sql)
        if known is None:
            compiled = text(sql).compile(dialect=_SQLITE)
            known = self._texts[sql] = (compiled.string, tuple(compiled.params))
        statement, names = known
        cursor = file.execute(statement, _sqlite_values({name: binds[name] for name in names}))
        rows = cursor.fetchmany(_ROWS + 1)
        if len(rows) > _ROWS:
            raise SourceContractBroken("more rows for one person than can be true")
        columns = [column[0] for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in rows]


def engine_for(url: URL, budget_s: float) -> Engine:
    """A database that SQLAlchemy speaks to; SQLite read-only."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_size=_AT_ONCE, max_overflow=0, pool_timeout=budget_s, hide_parameters=True)
    path = quote(url.database or "")

    def connect() -> sqlite3.Connection:
        # mode=ro: a file that is not there stays away, and one that is there stays as it is
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=budget_s, check_same_thread=False)

    engine = create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=_AT_ONCE, max_overflow=0, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def _read_only(connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        connection.execute("pragma query_only = on")
        record.info["file"] = _which(url.database)

    @event.listens_for(engine, "checkout")
    def _still_that_file(_connection: sqlite3.Connection, record: ConnectionPoolEntry, _proxy: object) -> None:
        # a register replaced by a newer file must not be read from the old one: a consent withdrawn there would still stand
        if record.info["file"] != _which(url.database):
            raise DisconnectionError

    return engine


def _which(path: str | None) -> tuple[int, int] | None:
    try:
        status = os.stat(path or "")
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _sqlite_values(binds: Mapping[str, object]) -> Mapping[str, object]:
    # SQLite keeps days as text; the standard library's own adapter for them is deprecated
    return {name: value.isoformat() if isinstance(value, date | datetime) else value for name, value in binds.items()}


def sorted_error(error: DBAPIError | sqlite3.Error) -> SourceError:
    """What SQLAlchemy's drivers or sqlite3 raise -> which of our four it is."""
    name = getattr(getattr(error, "orig", error), "sqlite_errorname", "")
    if name.startswith("SQLITE_INTERRUPT"):
        return SourceTimedOut("the query was stopped at the budget")
    if name.startswith(("SQLITE_AUTH", "SQLITE_PERM", "SQLITE_READONLY")):
        return SourceRefused("the database does not let us read this")
    if name.startswith(("SQLITE_ERROR", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_SCHEMA")):
        return SourceContractBroken("the database does not have the tables or columns the manifest asks for")
    if isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError | sqlite3.InterfaceError):
        return SourceUnavailable("no connection to the database")
    return SourceContractBroken("the database refused the statement of the manifest")


def sorted_postgres_error(error: asyncpg.PostgresError) -> SourceError:
    """What asyncpg raises -> which of our four it is."""
    state = error.sqlstate or ""
    if state == "57014":  # query_canceled
        return SourceTimedOut("the query was stopped at the budget")
    if state.startswith("28") or state in ("42501", "3D000"):  # authorization, privilege, no such database
        return SourceRefused("the database does not let us read this")
    if state.startswith(("08", "53", "57", "58")):  # connection, resources, operator intervention, system
        return SourceUnavailable("the database is not able to answer now")
    return SourceContractBroken("the database does not have the tables or columns the manifest asks for")

"""PostgreSQL by asyncpg: any number of processes and machines.

A unit of work is one transaction on a pooled connection. The log sends one flight at a time (log.py), whatever waits
goes with it, so durability costs one commit a flight.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from gateway.errors import StartupRefused, StoreDown
from gateway.store.database import Call, Dialect, Landed, R, Rows, Statement, Work

_POOL = 8
_SLOW_POOL = 2
_STATEMENT_S = 10.0
_LONG_S = 300.0
_CONNECT_S = 10.0
_KEYS_LOCK = 0x5CA6_0003  # shared by whoever has the keys in hand, alone by whoever changes them
_LOCK_WAIT = "2s"  # a command is over sooner
_LOOKED_AFTER_S = 5.0
_KEYS_KNOWN = "SELECT use, key_id, value FROM key_check ORDER BY use, key_id"
_MUST_BE_ON = ("fsync", "full_page_writes", "synchronous_commit")
_IN_USE = "Another gateway process has this database open, and the keys change only while none has: stop every one, then again."
_CHANGING = "The keys of this database are being changed: start again when `gateway keys` has ended."
_BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError)


class PostgresDatabase:
    """The database of many workers."""

    dialect: Dialect = "postgresql"

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", slow: "asyncpg.Pool[asyncpg.Record]", hold: Any, *, alone: bool
    ) -> None:
        """`hold`: the connection that has the lock of the keys."""
        self._pool = pool
        self._slow = slow
        self._hold = hold
        self._alone = alone
        self._submitted: set[asyncio.Task[Any]] = set()
        self._holding = asyncio.get_running_loop().create_task(self._keep_hold())

    async def read(self, statement: Statement, params: Mapping[str, Any]) -> Rows:
        """One statement on a pooled connection."""
        return await _fetch(self._pool, statement, params)

    async def read_long(self, statement: Statement, params: Mapping[str, Any]) -> Rows:
        """On connections that the line never uses."""
        return await _fetch(self._slow, statement, params)

    async def write(self, work: Work[R]) -> R:
        """One transaction; durable on return."""
        async with _no_value_escapes(), self._pool.acquire(timeout=_CONNECT_S) as connection, connection.transaction():
            return await _drive(connection, work)
        raise AssertionError  # the block above returns or raises

    def submit(self, work: Work[R], landed: Landed[R]) -> None:
        """The same for who does not wait."""
        task = asyncio.get_running_loop().create_task(self.write(work))
        self._submitted.add(task)
        task.add_done_callback(lambda done: self._landed(done, landed))

    def _landed(self, task: "asyncio.Task[R]", landed: Landed[R]) -> None:
        self._submitted.discard(task)
        if task.cancelled():
            landed(None, StoreDown(reason="the database was closed"))
        else:
            error = task.exception()
            landed(None if error else task.result(), error)

    async def close(self) -> None:
        """Let go of every connection."""
        self._holding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._holding
        with contextlib.suppress(*_BROKEN):
            await self._pool.release(self._hold)  # the lock goes with it
        await self._pool.close()
        await self._slow.close()

    async def _keep_hold(self) -> None:
        """A lock is gone with its connection, so it is taken again; where the keys are being changed by now, nothing works.

        Nor where they were changed while nobody held it: what is sealed with a key that was forgotten meanwhile is lost.
        """
        known: list[Any] = []
        while True:
            try:
                if _is_gone(self._hold):
                    self._hold = await _held(self._pool, alone=self._alone)
                    if known and await self._pool.fetch(_KEYS_KNOWN) != known:
                        raise StartupRefused(_CHANGING)
                known = await self._hold.fetch(_KEYS_KNOWN)
            except StartupRefused:
                self._pool.terminate()
                self._slow.terminate()
                return
            except _BROKEN:
                pass  # the server is still away, or the table is still to be made
            await asyncio.sleep(_LOOKED_AFTER_S)


async def open_postgres(database_url: str, *, alone: bool = False) -> PostgresDatabase:
    """A URL -> the database. `alone`: nobody else may have it open, anywhere.

    Raises `StartupRefused` where a commit would not be durable, nobody answers, or somebody else has it open or alone.
    """
    try:
        pool = await asyncpg.create_pool(
            database_url, min_size=1, max_size=_POOL + 1, command_timeout=_STATEMENT_S, timeout=_CONNECT_S
        )
        slow = await asyncpg.create_pool(
            database_url, min_size=0, max_size=_SLOW_POOL, command_timeout=_LONG_S, timeout=_CONNECT_S
        )
        settings = {name: await pool.fetchval(f"SHOW {name}") for name in _MUST_BE_ON}
    except _BROKEN:
        raise StartupRefused("PostgreSQL does not answer: check GATEWAY_DATABASE_URL and that the server is up.") from None
    try:
        hold = await _held(pool, alone=alone)
    except StartupRefused:
        await pool.close()
        await slow.close()
        raise
    database = PostgresDatabase(pool, slow, hold, alone=alone)
    off = [name for name, value in settings.items() if value in ("off", "local") and not (value == "local" and name == "fsync")]
    if off:
        await database.close()
        raise StartupRefused(
            f"PostgreSQL does not promise that what is committed is on disk: set {', '.join(off)} to on, then start again."
        )
    return database


def _is_gone(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # it was closed by the server, and the pool has forgotten it
        return True


async def _held(pool: "asyncpg.Pool[asyncpg.Record]", *, alone: bool) -> Any:
    """A connection that has the lock of the keys, as SQLite's lock file is held. Raises `StartupRefused`."""
    connection = await pool.acquire(timeout=_CONNECT_S)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
            await connection.execute(f"SELECT pg_advisory_lock{'' if alone else '_shared'}({_KEYS_LOCK})")  # of the session
    except asyncpg.LockNotAvailableError:
        await pool.release(connection)
        raise StartupRefused(_IN_USE if alone else _CHANGING) from None
    except BaseException:
        await pool.release(connection)
        raise
    return connection


async def _fetch(pool: "asyncpg.Pool[asyncpg.Record]", statement: Statement, params: Mapping[str, Any]) -> Rows:
    sql, values = statement.text("postgresql", params)
    async with _no_value_escapes():
        rows: Any = await pool.fetch(sql, *values)
        return rows  # type: ignore[no-any-return]
    raise AssertionError  # the block above returns or raises


async def _drive(connection: Any, work: Work[R]) -> R:
    try:
        call = next(work)
        while True:
            call = work.send(await _run_call(connection, call))
    except StopIteration as end:
        value: R = end.value
        return value


async def _run_call(connection: Any, call: Call) -> Rows:
    if call.rows is None:
        sql, values = call.statement.text("postgresql", call.params)
        rows: Any = await connection.fetch(sql, *values)
        return rows  # type: ignore[no-any-return]
    if call.rows:
        await connection.executemany(*call.many("postgresql"))
    return ()


@asynccontextmanager
async def _no_value_escapes() -> AsyncIterator[None]:
    """PostgreSQL's own messages quote values: only a constant goes on."""
    try:
        yield
    except _BROKEN:
        raise StoreDown(reason="the database cannot be reached or refused") from None

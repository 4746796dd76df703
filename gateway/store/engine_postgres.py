"""PostgreSQL by asyncpg: any number of processes and machines.

A unit of work is one transaction on a pooled connection. The log sends one flight at a time (log.py), whatever waits
goes with it, so durability costs one commit a flight.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from gateway.errors import StartupRefused, StoreDown
from gateway.store.database import Call, Dialect, R, Rows, Statement, Work

_POOL = 8
_SLOW_POOL = 2
_STATEMENT_S = 10.0
_LONG_S = 300.0
_CONNECT_S = 10.0
_MUST_BE_ON = ("fsync", "full_page_writes", "synchronous_commit")
_BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError)


class PostgresDatabase:
    """The database of many workers."""

    dialect: Dialect = "postgresql"

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", slow: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._slow = slow

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

    async def close(self) -> None:
        """Let go of every connection."""
        await self._pool.close()
        await self._slow.close()


async def open_postgres(database_url: str) -> PostgresDatabase:
    """A URL -> the database. Raises `StartupRefused` where a commit would not be durable, or nobody answers."""
    try:
        pool = await asyncpg.create_pool(
            database_url, min_size=1, max_size=_POOL, command_timeout=_STATEMENT_S, timeout=_CONNECT_S
        )
        slow = await asyncpg.create_pool(
            database_url, min_size=0, max_size=_SLOW_POOL, command_timeout=_LONG_S, timeout=_CONNECT_S
        )
        settings = {name: await pool.fetchval(f"SHOW {name}") for name in _MUST_BE_ON}
    except _BROKEN:
        raise StartupRefused("PostgreSQL does not answer: check GATEWAY_DATABASE_URL and that the server is up.") from None
    database = PostgresDatabase(pool, slow)
    off = [name for name, value in settings.items() if value in ("off", "local") and not (value == "local" and name == "fsync")]
    if off:
        await database.close()
        raise StartupRefused(
            f"PostgreSQL does not promise that what is committed is on disk: set {', '.join(off)} to on, then start again."
        )
    return database


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

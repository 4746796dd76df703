"""The schema's version: migrations shipped in the package, run by Alembic.

SQLite is migrated on an ordinary connection. For PostgreSQL the only driver is asyncpg, so Alembic writes its SQL and
asyncpg runs it, in one transaction.
"""

import asyncio
import io
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import Connection, String, column, create_engine, event, select, table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway.errors import StartupRefused
from gateway.store.database import Database, Statement

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
_SCHEMA_LOCK = 0x5CA6_0002  # two workers that start on an empty database take turns
_VERSION = "SELECT version_num FROM alembic_version"
_VERSION_ROW = Statement(select(column("version_num", String)).select_from(table("alembic_version")))
_OTHER_SCHEMA = "The database's schema is of another version of this program. Make a backup, then run: gateway database upgrade"
_NO_DATABASE = (
    "The database cannot be opened: check GATEWAY_DATABASE_URL, that the server is up, and that its folder can be written."
)


def upgrade(database_url: str) -> None:
    """Bring the database to this program's schema. Not from a running event loop: use a thread."""
    _run(database_url, only_if_empty=False)


def check_schema(database_url: str) -> None:
    """An empty database gets its tables. Raises `StartupRefused` for any other schema than this program's."""
    if _is_ready(database_url):  # as nearly always: Alembic, whose import takes a command longer than most of its work, stays out
        return
    if _run(database_url, only_if_empty=True) != _head():
        raise StartupRefused(_OTHER_SCHEMA)


async def is_current(database: Database) -> bool:
    """Whether the database still has this program's schema: another worker may have been upgraded. Raises `StoreDown`."""
    return [tuple(row) for row in await database.read(_VERSION_ROW, {})] == [(_head(),)]


def _is_ready(database_url: str) -> bool:
    """Whether an embedded database has this program's schema. False: it has not, or that has to be looked at more closely."""
    path = Path(database_url.removeprefix("sqlite:///"))
    if not database_url.startswith("sqlite:///") or not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return [row[0] for row in connection.execute(_VERSION)] == [_head()]
    except sqlite3.Error:
        return False


def _run(database_url: str, *, only_if_empty: bool) -> str | None:
    """The revision the database is at in the end."""
    try:
        if database_url.startswith("sqlite:///"):
            return _on_sqlite(database_url, only_if_empty=only_if_empty)
        if database_url.startswith(("postgresql://", "postgres://")):
            return asyncio.run(_on_postgres(database_url, only_if_empty=only_if_empty))
    except (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error):
        raise StartupRefused(_NO_DATABASE) from None
    raise StartupRefused("GATEWAY_DATABASE_URL must begin with sqlite:/// or postgresql://")


def _on_sqlite(database_url: str, *, only_if_empty: bool) -> str | None:
    Path(database_url.removeprefix("sqlite:///")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(database_url.removeprefix("sqlite:///")).touch(mode=0o600)
    from alembic import command

    engine = create_engine(database_url, poolclass=NullPool, connect_args={"timeout": 10})

    # The driver would commit before each CREATE: we begin ourselves, so that a migration is one transaction.
    @event.listens_for(engine, "connect")
    def _manual(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None
        raw.execute("PRAGMA journal_mode=WAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        if not (only_if_empty and tables):
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if not connection.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").scalar_one():
            return None
        return str(connection.exec_driver_sql(_VERSION).scalar_one())


async def _on_postgres(database_url: str, *, only_if_empty: bool) -> str | None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
            tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
            known = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
            held = await connection.fetchval(_VERSION) if known else None
            if not (only_if_empty and tables) and held != _head():
                await connection.execute(_sql_for_postgres(held))
                held = await connection.fetchval(_VERSION)
            return None if held is None else str(held)
    finally:
        await connection.close()


def _sql_for_postgres(held: str | None) -> str:
    from alembic import command

    config = _config()
    config.output_buffer = io.StringIO()
    command.upgrade(config, f"{held or 'base'}:head", sql=True)
    return config.output_buffer.getvalue()


@cache
def _head() -> str:
    """The newest migration's revision: the number that its file's name begins with."""
    return max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config

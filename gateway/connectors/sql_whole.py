"""Whole tables of a database, as they are at one moment: for a source that delivers everybody and not one person.

One read-only transaction, so that no table is newer than another (PostgreSQL: repeatable read; SQLite: one read transaction;
others: what their default gives). Names of tables are the manifest's, never of a request.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from sqlalchemy import inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from gateway.adapter import SourceContractBroken, SourceTimedOut, SourceUnavailable
from gateway.connectors.sql_drivers import engine_for, sorted_error, sorted_postgres_error
from gateway.errors import StartupRefused

READ_S: Final = 600.0
ROWS: Final = 1_000_000  # of one table
TOO_MANY_ROWS: Final = "a table with more rows than this source takes"

_TABLES = """select table_name from information_schema.tables where table_schema = coalesce($1, current_schema())"""


@dataclass(frozen=True, slots=True)
class WholeTable:
    """One table: its columns, and its rows in no order."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class WholeDatabase:
    """One database, opened for each reading and closed again."""

    def __init__(self, where: str, address: object) -> None:
        """`where`: the setting's name. Raises `StartupRefused`."""
        try:
            self._url = make_url(str(address))
        except ArgumentError:
            raise StartupRefused(f"{where} is not a database URL") from None

    async def tables(self, schema: str | None, names: Sequence[str], as_of: str | None) -> tuple[Mapping[str, WholeTable], Any]:
        """Those of these tables that are there, by the name asked for, and what the one SELECT `as_of` says.

        Raises the four `SourceError`s.
        """
        try:
            async with asyncio.timeout(READ_S):
                if self._url.get_backend_name() == "postgresql":
                    return await _of_postgres(self._url, schema, names, as_of)
                return await asyncio.to_thread(_of_others, self._url, schema, names, as_of)
        except TimeoutError:
            raise SourceTimedOut("the tables could not be read in time") from None


async def _of_postgres(
    url: URL, schema: str | None, names: Sequence[str], as_of: str | None
) -> tuple[Mapping[str, WholeTable], Any]:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    settings = {"default_transaction_read_only": "on", "application_name": "shared-care-gateway"}
    try:
        connection = await asyncpg.connect(address, server_settings=settings, timeout=30)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                there = _by_name(names, [row[0] for row in await connection.fetch(_TABLES, schema)])
                found = {}
                for name, own in there.items():
                    prefix = f"{_quoted(schema)}." if schema else ""
                    statement = await connection.prepare(f"select * from {prefix}{_quoted(own)} limit {ROWS + 1}")  # noqa: S608
                    rows = await statement.fetch()
                    found[name] = _whole(
                        name, [column.name for column in statement.get_attributes()], [tuple(row) for row in rows]
                    )
                return found, None if as_of is None else await connection.fetchval(as_of)
        finally:
            await connection.close()
    except asyncpg.PostgresError as error:
        raise sorted_postgres_error(error) from None
    except (asyncpg.InterfaceError, OSError):
        raise SourceUnavailable("no connection to the database") from None


def _of_others(url: URL, schema: str | None, names: Sequence[str], as_of: str | None) -> tuple[Mapping[str, WholeTable], Any]:
    engine = engine_for(url, READ_S)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # else each statement would see a moment of its own
            looked = inspect(connection)
            there = _by_name(names, [*looked.get_table_names(schema), *looked.get_view_names(schema)])
            quote, found = engine.dialect.identifier_preparer.quote_identifier, {}
            for name, own in there.items():
                prefix = f"{quote(schema)}." if schema else ""
                result = connection.exec_driver_sql(f"select * from {prefix}{quote(own)}")  # noqa: S608
                found[name] = _whole(name, list(result.keys()), [tuple(row) for row in result.fetchmany(ROWS + 1)])
                result.close()
            return found, None if as_of is None else connection.execute(text(as_of)).scalar()
    except DBAPIError as error:
        raise sorted_error(error) from None
    except SQLAlchemyError:
        raise SourceContractBroken("the database's answer cannot be read") from None
    finally:
        engine.dispose()


def _whole(name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> WholeTable:
    if len(rows) > ROWS:
        raise SourceContractBroken(TOO_MANY_ROWS)
    return WholeTable(name, columns, rows)


def _by_name(wanted: Sequence[str], there: Sequence[str]) -> Mapping[str, str]:
    """Names as asked for -> as the database writes them, whatever their case."""
    written = {name.lower(): name for name in there}
    return {name: written[name.lower()] for name in wanted if name.lower() in written}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

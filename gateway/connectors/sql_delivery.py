"""Delivery into a database: one row into one declared table, INSERT ... ON CONFLICT DO NOTHING and nothing else.

    [deliver.NAME]
    connector = "sql"
    table = "referral_in"
    key = "referral_id"                # its primary or unique key, which the outward map fills with %ctx.key
    columns = ["referral_id", ...]     # every column that may be written

Settings: `[sources.SOURCE.deliver.NAME.options] database_url`, an account that may insert there and read nothing but the key's
column, which ON CONFLICT compares; it is another than the one the source is read with. No statement is built from anything but
these names.
"""

import asyncio
import re
import sqlite3
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import asyncpg
from sqlalchemy import column, table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from gateway.adapter import (
    Acknowledgement,
    Clock,
    Deliver,
    DeliverTable,
    Outgoing,
    SourceContractBroken,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    Tools,
)
from gateway.connectors.sql_values import typed
from gateway.errors import StartupRefused

NOT_DECLARED: Final = "a column that the manifest does not declare"
NOT_A_ROW: Final = "not one row of plain values"
NOT_ITS_KEY: Final = "the row does not carry the key of its delivery"
NOT_TAKEN: Final = "the recipient's table does not take this row"
NO_TABLE: Final = "the recipient's database does not have the table or columns of the manifest"
NOT_ALLOWED: Final = "the recipient's database does not let us write"

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)
_OWN = frozenset({"table", "key", "columns"})
_PLAIN = (str, int, Decimal, bool, date, datetime, type(None))


def build_delivery(what: DeliverTable, source: SourceSettings, tools: Tools) -> Deliver:
    """Manifest and settings -> the writing side. Raises `StartupRefused`: names, address or account that may not be used."""
    where = f"sources.{source.name}.deliver.{what.name}.options"
    address = source.deliver[what.name].options.get("database_url")
    try:
        url = make_url(address if isinstance(address, str) else "")
    except ArgumentError:
        raise StartupRefused(f"{where}: add database_url, the address of a database") from None
    columns = _declared(what)
    backend = url.get_backend_name()
    if backend == "postgresql":
        _own_account(where, url, source)
        return _PostgreSql(what, columns, url, source.budget_s, tools.now)
    if backend == "sqlite":
        return _Sqlite(what, columns, url, source.budget_s, tools.now)
    raise StartupRefused(f"{where}: database_url must begin with postgresql:// or sqlite:///")


def _declared(what: DeliverTable) -> tuple[str, ...]:
    where = f"[deliver.{what.name}]"
    names = what.options.get("columns")
    if set(what.options) != _OWN or not isinstance(names, list):
        raise StartupRefused(f"{where}: a delivery by sql has exactly {', '.join(sorted(_OWN))}")
    if any(not isinstance(name, str) or not _NAME.fullmatch(name) for name in (what.options["table"], *names)):
        raise StartupRefused(f"{where}: tables and columns are small letters, digits and underscores")
    if what.options["key"] not in names or len(set(names)) != len(names):
        raise StartupRefused(f"{where}: columns are named once each, the key among them")
    return tuple(names)


def _own_account(where: str, url: URL, source: SourceSettings) -> None:
    """Whoever reads may not write, and the reverse: two accounts."""
    reading = source.options.get("database_url")
    if isinstance(reading, str) and make_url(reading).username == url.username:
        raise StartupRefused(f"{where}: database_url must name another account than the one the source is read with")


def _statement(what: DeliverTable, names: tuple[str, ...], dialect: Any) -> tuple[str, tuple[str, ...]]:
    """INSERT of these columns, nothing on a conflict -> its text and the order of its values."""
    target = table(what.options["table"], *(column(name) for name in names))
    made = insert(target).values(dict.fromkeys(names)).on_conflict_do_nothing(index_elements=[what.options["key"]])
    compiled = made.compile(dialect=dialect)
    return str(compiled), tuple(compiled.positiontup or ())


def _row(what: DeliverTable, columns: tuple[str, ...], outgoing: Outgoing) -> dict[str, Any]:
    """An outward record -> its row. Raises `SourceContractBroken` for anything that is not declared."""
    data = outgoing.data
    if not isinstance(data, Mapping) or not all(isinstance(value, _PLAIN) for value in data.values()):
        raise SourceContractBroken(NOT_A_ROW)
    if not set(data) <= set(columns):
        raise SourceContractBroken(NOT_DECLARED)
    if data.get(what.options["key"]) != outgoing.key:
        raise SourceContractBroken(NOT_ITS_KEY)
    return {name: data.get(name) for name in columns}


class _Sqlite:
    def __init__(self, what: DeliverTable, columns: tuple[str, ...], url: URL, budget_s: float, now: Clock) -> None:
        self._what, self._columns, self._budget_s, self._now = what, columns, budget_s, now
        # mode=rw: a file that is not there is not made
        self._address = f"file:{quote(url.database or '')}?mode=rw"
        self._sql, self._order = _statement(what, columns, sqlite.dialect(paramstyle="qmark"))

    async def deliver(self, name: str, outgoing: Outgoing) -> Acknowledgement:
        row = _row(self._what, self._columns, outgoing)
        values = [_of_sqlite(row[name]) for name in self._order]
        try:
            async with asyncio.timeout(self._budget_s):
                await asyncio.to_thread(self._insert, values)
        except TimeoutError:
            raise SourceTimedOut("not written within the budget") from None
        return Acknowledgement(outgoing.key, self._now())

    def _insert(self, values: list[Any]) -> None:
        connection = None
        try:
            connection = sqlite3.connect(self._address, uri=True, timeout=self._budget_s)
            connection.set_authorizer(self._only_inserts)
            with connection:
                connection.execute(self._sql, values)
        except sqlite3.IntegrityError:
            raise SourceContractBroken(NOT_TAKEN) from None
        except sqlite3.DatabaseError as error:
            raise _sorted(error) from None
        finally:
            if connection is not None:
                connection.close()

    def _only_inserts(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        """SQLite has no accounts: this connection may insert into the one table, compare its key, and touch nothing else."""
        own, key = self._what.options["table"], self._what.options["key"]
        inserts = action == sqlite3.SQLITE_INSERT and first == own
        compares = action == sqlite3.SQLITE_READ and (first, second) == (own, key)  # ON CONFLICT; a SELECT is an action too
        allowed = inserts or compares or action == sqlite3.SQLITE_TRANSACTION
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


class _PostgreSql:
    def __init__(self, what: DeliverTable, columns: tuple[str, ...], url: URL, budget_s: float, now: Clock) -> None:
        self._what, self._columns, self._budget_s, self._now = what, columns, budget_s, now
        self._address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._sql, self._order = _statement(what, columns, postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]

    async def deliver(self, name: str, outgoing: Outgoing) -> Acknowledgement:
        row = _row(self._what, self._columns, outgoing)
        try:
            async with asyncio.timeout(self._budget_s):
                connection = await asyncpg.connect(
                    self._address, command_timeout=self._budget_s, server_settings={"application_name": "shared-care-gateway"}
                )
                try:
                    statement = await connection.prepare(self._sql)
                    kinds = [one.name for one in statement.get_parameters()]
                    await statement.fetch(*(typed(kind, row[name]) for kind, name in zip(kinds, self._order, strict=True)))
                finally:
                    await connection.close()
        except TimeoutError:
            raise SourceTimedOut("not written within the budget") from None
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            raise SourceContractBroken(NOT_TAKEN) from None
        except asyncpg.PostgresError as error:
            raise _sorted_postgres(error) from None
        except (asyncpg.InterfaceError, OSError):
            raise SourceUnavailable("no connection to the database") from None
        return Acknowledgement(outgoing.key, self._now())


def _of_sqlite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, date | datetime) else value


def _sorted(error: sqlite3.DatabaseError) -> SourceContractBroken | SourceRefused | SourceUnavailable:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_AUTH", "SQLITE_PERM", "SQLITE_READONLY")):
        return SourceRefused(NOT_ALLOWED)
    if name.startswith(("SQLITE_ERROR", "SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_SCHEMA", "SQLITE_MISMATCH")):
        return SourceContractBroken(NO_TABLE)
    return SourceUnavailable("no connection to the database")


def _sorted_postgres(error: asyncpg.PostgresError) -> SourceContractBroken | SourceRefused | SourceUnavailable | SourceTimedOut:
    state = error.sqlstate or ""
    if state == "57014":  # query_canceled
        return SourceTimedOut("not written within the budget")
    if state.startswith("28") or state in ("42501", "3D000"):  # authorization, privilege, no such database
        return SourceRefused(NOT_ALLOWED)
    if state.startswith(("08", "40", "53", "57", "58")):  # connection, conflict, resources, operator intervention, system
        return SourceUnavailable("the database is not able to answer now")
    return SourceContractBroken(NO_TABLE)

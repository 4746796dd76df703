"""What both databases do for the store: read a statement, run a unit of work in one durable transaction.

A unit of work is a generator: it yields `Call`s and receives rows. It does no input or output itself, so one text
serves sqlite3 on its writer thread and asyncpg on the loop, and it is tested without either.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from sqlalchemy import ClauseElement, TableClause
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import Insert, asyncpg
from sqlalchemy.dialects.postgresql import insert as conflict_insert

Dialect = Literal["sqlite", "postgresql"]
Row: TypeAlias = Sequence[Any]
Rows: TypeAlias = Sequence[Row]
R = TypeVar("R")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Statement:
    """One SQLAlchemy Core statement, compiled once per dialect, then only text and an order of parameters."""

    __slots__ = ("_clause", "_compiled")

    def __init__(self, clause: ClauseElement) -> None:
        self._clause = clause
        self._compiled: dict[str, tuple[str, tuple[str, ...], Mapping[str, Any]]] = {}

    def sql(self, dialect: Dialect) -> str:
        """The dialect's text."""
        return self._for(dialect)[0]

    def text(self, dialect: Dialect, params: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
        """Parameters by name -> the dialect's text and its parameters in order."""
        sql, order, constants = self._for(dialect)
        if constants:
            params = {**constants, **params}
        return sql, tuple([params[name] for name in order])

    def _for(self, dialect: Dialect) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
        compiled = self._compiled.get(dialect)
        if compiled is None:
            compiled = self._compiled[dialect] = _compile(self._clause, dialect)
        return compiled


@dataclass(frozen=True, slots=True)
class Call:
    """A statement with its parameters; `rows` of parameters: once for each, answering nothing.

    A row that is a tuple is in the order of the table's columns already: the log's own, and only there.
    """

    statement: Statement
    params: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any] | tuple[Any, ...]] | None = None

    def many(self, dialect: Dialect) -> tuple[str, list[tuple[Any, ...]]]:
        """Its text, and each row's parameters in order."""
        rows = self.rows or ()
        return (
            self.statement.sql(dialect),
            [row if isinstance(row, tuple) else self.statement.text(dialect, row)[1] for row in rows],
        )


Work: TypeAlias = Generator[Call, Rows, R]
Landed: TypeAlias = Callable[[R | None, BaseException | None], None]  # the answer of a unit of work, or the error it failed by


class Database(Protocol):
    """One of the two databases. Everything raises `StoreDown` and nothing else of its own."""

    dialect: Dialect

    async def read(self, statement: Statement, params: Mapping[str, Any]) -> Rows:
        """A short read, on a connection that never waits for writers."""
        ...

    async def read_long(self, statement: Statement, params: Mapping[str, Any]) -> Rows:
        """A read that may take long: an auditor's question or the verifier. On its own connection."""
        ...

    async def write(self, work: Work[R]) -> R:
        """The whole unit of work, durable on return, or nothing of it."""
        ...

    def submit(self, work: Work[R], landed: Landed[R]) -> None:
        """The same for who does not wait: `landed` is called on the loop, before whoever waits for what it settles."""
        ...

    async def close(self) -> None: ...


def micros(at: datetime) -> int:
    """Aware time -> whole microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def maybe_micros(at: datetime | None) -> int | None:
    """The same, where there may be none."""
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """Microseconds since 1970 -> aware UTC."""
    return _EPOCH + timedelta(microseconds=at)


def is_storable(text: str) -> bool:
    """False for text from outside that no database can hold, so no row can have it: NUL, broken Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def insert(table: TableClause) -> Insert:
    """INSERT with ON CONFLICT, which both dialects spell alike."""
    return conflict_insert(table)


def _compile(clause: ClauseElement, dialect: Dialect) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    # Statements are run by the drivers themselves; SQLAlchemy is here only to write them.
    target = sqlite.dialect(paramstyle="qmark") if dialect == "sqlite" else asyncpg.dialect()  # type: ignore[no-untyped-call]
    compiled = clause.compile(dialect=target)
    order = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return str(compiled), order, constants

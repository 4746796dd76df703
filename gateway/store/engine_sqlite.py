"""SQLite: one writer thread with group commit, reads on the loop by a read-only connection.

WAL with synchronous=FULL: a commit is on disk before anyone waiting for it goes on. Other processes (the `gateway`
command) write short transactions beside us; BEGIN IMMEDIATE with a busy time-out takes turns with them.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gateway.errors import StartupRefused, StoreDown
from gateway.store.database import Call, Dialect, Landed, R, Rows, Statement, Work

_BUSY_MS = 5_000
_MOST_WAITING = 20_000
_LARGEST_GROUP = 512
_FULL = 2
_REFUSED = (sqlite3.Error, UnicodeEncodeError, OverflowError)  # the last two: values no database can hold


@dataclass(slots=True)
class _Waiting:
    work: Work[Any]
    landed: Landed[Any]
    value: Any = None
    error: BaseException | None = None


class SqliteDatabase:
    """The embedded database. One server process: a second is refused by a lock file."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, *, serve: bool) -> None:
        """Raises `StartupRefused` where another server holds the file or a commit would not be durable."""
        self._lock = _hold(path) if serve else None
        self._loop = asyncio.get_running_loop()
        self._writer = _connect(path, serve=serve)
        _insist_on_durability(self._writer)
        # not mapped: SQLite lets go of the whole mapping with the first read after each commit of another connection
        self._reader = _connect(path, serve=serve, read_only=True, mapped=False)
        self._slow = _connect(path, serve=serve, read_only=True)
        self._slow_thread = ThreadPoolExecutor(1, thread_name_prefix="store-slow")
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def read(self, statement: Statement, params: Mapping[str, Any]) -> Rows:
        """Straight on the loop: microseconds, where a thread hop would cost ten times the read."""
        try:
            return self._reader.execute(*statement.text("sqlite", params)).fetchall()
        except _REFUSED:
            raise StoreDown(reason="the database cannot be read") from None

    async def read_long(self, statement: Statement, params: Mapping[str, Any]) -> Rows:
        """In a thread of its own, so that an auditor's question never holds up the line."""
        sql, values = statement.text("sqlite", params)
        try:
            return await self._loop.run_in_executor(self._slow_thread, lambda: self._slow.execute(sql, values).fetchall())
        except (*_REFUSED, RuntimeError):
            raise StoreDown(reason="the database cannot be read") from None

    async def write(self, work: Work[R]) -> R:
        """Joins the next group; goes on after its COMMIT."""
        answer: asyncio.Future[R] = self._loop.create_future()
        self.submit(work, partial(_tell, answer))
        return await answer

    def submit(self, work: Work[R], landed: Landed[R]) -> None:
        """The same for who does not wait. Raises `StoreDown` where there is no taking it; then nothing is called."""
        if self._closed or self._queue.qsize() > _MOST_WAITING:
            raise StoreDown(reason="the database takes no more writes")
        self._queue.put(_Waiting(work, landed))

    async def close(self) -> None:
        """Finish what is waiting, then let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        self._slow_thread.shutdown()
        for connection in (self._reader, self._slow, self._writer):
            connection.close()
        if self._lock is not None:
            os.close(self._lock)

    def _run(self) -> None:
        last = False
        while not last:
            first = self._queue.get()
            if first is None:
                return
            group = [first]
            while len(group) < _LARGEST_GROUP:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    last = True
                    break
                group.append(more)
            self._commit(group)
            try:
                self._loop.call_soon_threadsafe(_release, group)
            except RuntimeError:  # the loop is gone: nobody is waiting any more
                return

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            if len(group) > 1:
                for waiting in group:
                    self._unit(waiting)
            elif not self._done(group[0]):  # by itself it needs no savepoint, which would copy each page before it is written
                self._writer.execute("ROLLBACK")
                return
            self._writer.execute("COMMIT")
        except sqlite3.Error:
            if self._writer.in_transaction:
                self._writer.rollback()
            for waiting in group:
                waiting.error = waiting.error or StoreDown(reason="the database could not commit")

    def _unit(self, waiting: _Waiting) -> None:
        self._writer.execute("SAVEPOINT unit")
        if not self._done(waiting):
            self._writer.execute("ROLLBACK TO unit")  # fails when SQLite gave up the whole transaction: then the group fails
        self._writer.execute("RELEASE unit")

    def _done(self, waiting: _Waiting) -> bool:
        try:
            waiting.value = _drive(self._writer, waiting.work)
        except _REFUSED:
            waiting.error = StoreDown(reason="the database refused a write")
        except BaseException as error:  # noqa: BLE001  (handed to its own waiter, who alone can act on it)
            waiting.error = error
        return waiting.error is None


def _drive(connection: sqlite3.Connection, work: Work[R]) -> R:
    try:
        call = next(work)
        while True:
            call = work.send(_run_call(connection, call))
    except StopIteration as end:
        value: R = end.value
        return value


def _run_call(connection: sqlite3.Connection, call: Call) -> Rows:
    if call.rows is None:
        return connection.execute(*call.statement.text("sqlite", call.params)).fetchall()
    if call.rows:
        connection.executemany(*call.many("sqlite"))
    return ()


def _release(group: list[_Waiting]) -> None:
    for waiting in group:
        waiting.landed(waiting.value, waiting.error)


def _tell(answer: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if answer.done():  # its caller was cancelled; the row is there all the same
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)


def _connect(path: Path, *, serve: bool, read_only: bool = False, mapped: bool = True) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}{'?mode=ro' if read_only else ''}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
            timeout=_BUSY_MS / 1000,
        )
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=4000")  # pages: hot pages are copied back less often
            connection.execute(f"PRAGMA cache_size=-{65_536 if serve else 16_384}")  # KiB
        if serve and mapped:  # a command is over soon: it holds less, however large the file
            connection.execute("PRAGMA mmap_size=268435456")
    except sqlite3.Error:
        raise StartupRefused(
            "The embedded database cannot be opened: its folder must exist and be writable, or set GATEWAY_DATABASE_URL."
        ) from None
    return connection


def _insist_on_durability(connection: sqlite3.Connection) -> None:
    if sqlite3.sqlite_version_info < (3, 35):
        raise StartupRefused("SQLite 3.35 or newer is needed: update the operating system's libsqlite3, or use PostgreSQL.")
    journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    if journal != "wal" or synchronous != _FULL:
        raise StartupRefused(
            "This SQLite database cannot promise that what is committed is on disk (it needs WAL and synchronous=FULL). "
            "Put it on a local disk, or use PostgreSQL: GATEWAY_DATABASE_URL=postgresql://..."
        )


def _hold(path: Path) -> int:
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise StartupRefused("The folder of the embedded database cannot be written: set GATEWAY_VAR to one that can.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise StartupRefused(
            "Another gateway process already serves this embedded database, and SQLite serves exactly one. "
            "Stop it, or use PostgreSQL for more than one process: GATEWAY_DATABASE_URL=postgresql://..."
        ) from None
    return lock

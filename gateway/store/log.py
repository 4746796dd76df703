"""The audit log: entries in flights, one transaction a flight, a receipt each once it is on disk.

Append and sequence are two steps. Append gives each event its writer's next dense `writer_seq`. SQLite numbers events in
the same transaction; on PostgreSQL the process that holds an advisory lock numbers what is committed and not yet
numbered, so a rollback leaves no gap and a late commit takes a later index.
"""

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gateway.audit.canonical import commitment, commitment_text, event_bytes, settled, signed_bytes
from gateway.errors import AuditDown, StoreDown
from gateway.mapping.r4 import version
from gateway.model import Receipt
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, Job, LogQuestion, NewWork, Owed, OwedParcel, StoredEvent
from gateway.store import log_statements as sql
from gateway.store.database import Call, Database, Work, micros
from gateway.store.keys import Keys
from gateway.store.parcels import StoredParcels
from gateway.store.questions import ask, find
from gateway.store.queue import job_rows
from gateway.store.subjects import held_versions
from gateway.store.work_rows import INSERT_WORK, work_rows

_MOST_WAITING = 10_000
_LARGEST_FLIGHT = 256
_SALT_BYTES = 16
_ID_BYTES = 10
_MOST_AGENTS = 10_000


@dataclass(slots=True)
class _Prepared:
    """An entry made ready outside the transaction: all that can fail because of its content has happened."""

    event: str
    salt: bytes
    recorded_at: datetime
    encoded: bytes
    columns: tuple[bytes | None, bytes | None, str, str, str, str, str, str]  # as the table ends
    signed: bool
    commitment: bytes = b""
    writer_seq: int = 0


@dataclass(slots=True)
class _Passenger:
    prepared: Sequence[_Prepared]
    jobs: Sequence[Owed]
    unless_moved: tuple[bytes, int] | None
    once: Mapping[str, Any] | None
    answer: "asyncio.Future[bool]"


class Writer:
    """One line of `writer_seq`: events of one writer are written one transaction at a time."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self.name = f"w-{secrets.token_hex(6)}"
        self._database = database
        self._keys = keys
        self._clock = clock
        self._r4_index = version()
        self._last = datetime(1970, 1, 1, tzinfo=UTC)
        self._agents: dict[str, bytes] = {}
        self.alone = asyncio.Lock()

    def prepare(self, entry: Entry) -> _Prepared:
        """Encode and hash, on the loop, before anything is queued. Raises `AuditDown` for an entry that cannot be encoded."""
        keys = self._keys
        person_key = None if entry.person is None else keys.audit_person(entry.person)
        try:
            entry, encoded = settled(entry, person_key)
        except (TypeError, ValueError, RecursionError):
            raise AuditDown(reason="an event cannot be encoded") from None
        # The clock may step back; the log of one writer never does.
        self._last = max(self._last, self._clock())
        chance = os.urandom(_SALT_BYTES + _ID_BYTES)
        # Time first, like UUID version 7: neighbours in time are neighbours in the index, so a group touches few pages.
        event = f"{micros(self._last) // 1000:012x}{chance[_SALT_BYTES:].hex()}"
        columns = (
            person_key,
            self._agent_key(entry.staff),
            entry.organisation,
            entry.system,
            entry.outcome,
            entry.purpose,
            entry.kind,
            entry.request_id,
        )
        return _Prepared(event, chance[:_SALT_BYTES], self._last, encoded, columns, entry.signed)

    def land(self, events: Sequence[_Prepared]) -> Work[None]:
        """The events, numbered, inside the caller's transaction."""
        if not events:
            return
        numbered = self._database.dialect == "sqlite"
        rows = yield Call(sql.ENDS if numbered else sql.LAST_SEQ, {"writer": self.name})
        writer_seq, position = rows[0][0], rows[0][1] if numbered else None
        values = []
        for prepared in events:
            writer_seq += 1
            canonical = event_bytes(
                prepared.encoded,
                r4_index=self._r4_index,
                event=prepared.event,
                recorded_at=prepared.recorded_at,
                writer=self.name,
                writer_seq=writer_seq,
            )
            prepared.writer_seq = writer_seq
            prepared.commitment = commitment(prepared.salt, canonical)
            if position is not None:
                position += 1
            values.append(
                (
                    prepared.event,
                    position,
                    self.name,
                    writer_seq,
                    micros(prepared.recorded_at),
                    prepared.salt,
                    prepared.commitment,
                    canonical,
                    *prepared.columns,
                )
            )
        if numbered:
            yield Call(sql.INSERT_EVENT, {}, values)
        else:
            yield Call(sql.INSERT_EVENTS, dict(zip(sql.EVENT_COLUMNS, map(list, zip(*values, strict=True)), strict=True)))

    def _agent_key(self, staff: str) -> bytes | None:
        if not staff:
            return None
        found = self._agents.get(staff)
        if found is None:
            if len(self._agents) >= _MOST_AGENTS:
                self._agents.clear()
            found = self._agents[staff] = self._keys.audit_agent(staff)
        return found

    def receipt(self, prepared: _Prepared) -> Receipt:
        """Only for an event that is on disk."""
        text = commitment_text(prepared.commitment)
        if not prepared.signed:
            return Receipt(prepared.event, text, self.name, prepared.recorded_at, "")
        signature = self._keys.receipt_signing.private.sign(
            signed_bytes(event=prepared.event, commitment_text=text, writer=self.name, recorded_at=prepared.recorded_at)
        )
        return Receipt(prepared.event, text, self.name, prepared.recorded_at, commitment_text(signature))


class StoredLog:
    """`ports.Log`. Whatever waits when a flight leaves goes with it; one flight at a time."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._writer = Writer(database, keys, clock=clock)
        self._parcels = StoredParcels(database, keys)
        self._waiting: list[_Passenger] = []
        self._flying = False
        self._over: asyncio.Event | None = None  # somebody waits for the end of what is in flight

    async def append(
        self, entries: Sequence[Entry], jobs: Sequence[Owed] = (), *, unless_moved: tuple[NhsNumber, int] | None = None
    ) -> Sequence[Receipt] | None:
        """Durable on return, all or nothing."""
        moved = None if unless_moved is None else (self._keys.number_key(unless_moved[0]), unless_moved[1])
        prepared = [self._writer.prepare(entry) for entry in entries]
        if not await self._board(prepared, jobs, moved, None):
            return None
        return [self._writer.receipt(event) for event in prepared]

    async def append_once(self, entry: Entry, *, client: str, jti: str, expires: datetime) -> Receipt | None:
        """The event and the replay row, or neither."""
        once = {"client": client, "jti_hash": sql.jti_hash(jti), "expires": micros(expires)}
        prepared = self._writer.prepare(entry)
        if not await self._board([prepared], (), None, once):
            return None
        return self._writer.receipt(prepared)

    async def check(self) -> None:
        """As far as an event goes without leaving one: a write begins and reaches the log. Raises `StoreDown`."""
        await self._database.write(_reach())

    async def ask(self, question: LogQuestion) -> Sequence[StoredEvent]:
        """Newest first, on a connection of its own. Raises `StoreDown`."""
        await self.sequence()
        return await ask(self._database, self._keys, question)

    async def event(self, event: str) -> StoredEvent | None:
        """One event by its id. Raises `StoreDown`."""
        await self.sequence()
        return await find(self._database, event)

    async def sequence(self, *, wait: bool = True) -> int:
        """Give committed, un-numbered events the next dense index; how many it numbered. SQLite: nothing is left to do.

        `wait` False: leave it to the process that is doing it just now.
        """
        if self._database.dialect == "sqlite":
            return 0
        return await self._database.write(_sequence(wait=wait))

    async def purge_replays(self, now: datetime) -> int:
        """Forget assertions that have expired; how many rows went."""
        return await self._database.write(_purge_replays(micros(now)))

    async def landed(self) -> None:
        """Wait until nothing is in flight."""
        if self._flying:
            self._over = self._over or asyncio.Event()
            await self._over.wait()

    async def _board(
        self,
        prepared: Sequence[_Prepared],
        jobs: Sequence[Owed],
        unless_moved: tuple[bytes, int] | None,
        once: Mapping[str, Any] | None,
    ) -> bool:
        if len(self._waiting) >= _MOST_WAITING:
            raise AuditDown(reason="too many events wait for the log")
        loop = asyncio.get_running_loop()
        passenger = _Passenger(prepared, jobs, unless_moved, once, loop.create_future())
        self._waiting.append(passenger)
        if not self._flying:
            self._flying = True
            loop.call_soon(self._leave)
        return await passenger.answer

    def _leave(self) -> None:
        """With whoever boarded in this turn of the loop; whoever comes while it is under way takes the next one together."""
        flight, self._waiting = self._waiting[:_LARGEST_FLIGHT], self._waiting[_LARGEST_FLIGHT:]
        try:
            self._database.submit(self._flight(flight), partial(self._landed, flight))
        except StoreDown as down:
            self._landed(flight, None, down)

    def _landed(self, flight: Sequence[_Passenger], landed: Sequence[bool] | None, error: BaseException | None) -> None:
        if landed is None:  # of a fault of ours nobody learns more than that the log could not be written
            _refuse(flight, error.reason if isinstance(error, StoreDown) else "the log could not be written")
        else:
            for passenger, aboard in zip(flight, landed, strict=True):
                if not passenger.answer.done():  # a cancelled caller's event is there all the same: the safe side
                    passenger.answer.set_result(aboard)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._leave)
            return
        self._flying = False
        if self._over is not None:
            self._over.set()
            self._over = None

    def _flight(self, flight: Sequence[_Passenger]) -> Work[list[bool]]:
        asked = [passenger.unless_moved[0] for passenger in flight if passenger.unless_moved]
        versions = (yield from held_versions(self._database, asked)) if asked else {}
        aboard = [
            passenger.unless_moved is None or versions[passenger.unless_moved[0]] == passenger.unless_moved[1]
            for passenger in flight
        ]
        once = [(seat, passenger.once) for seat, passenger in enumerate(flight) if aboard[seat] and passenger.once is not None]
        for seat, row in sorted(once, key=lambda pair: pair[1]["jti_hash"]):  # in order: two flights never wait for each other
            aboard[seat] = bool((yield Call(sql.INSERT_REPLAY, row)))
        taken = [passenger for passenger, is_aboard in zip(flight, aboard, strict=True) if is_aboard]
        events = [event for passenger in taken for event in passenger.prepared]
        jobs = [job for passenger in taken for job in passenger.jobs]
        yield from self._writer.land(events)
        if jobs:
            yield Call(sql.INSERT_JOB, {}, job_rows([job for job in jobs if isinstance(job, Job)]))
            work = [job for job in jobs if isinstance(job, NewWork)]
            yield Call(INSERT_WORK, {}, work_rows(self._keys, work, self._clock()))
            for owed in (job for job in jobs if isinstance(job, OwedParcel)):
                yield from self._parcels.putting(owed.parcel, owed.mandate)
        return aboard


def _refuse(passengers: Sequence[_Passenger], reason: str) -> None:
    for passenger in passengers:
        if not passenger.answer.done():
            passenger.answer.set_exception(AuditDown(reason=reason))


def _purge_replays(now: int) -> Work[int]:
    return len((yield Call(sql.PURGE_REPLAY, {"now": now})))


def _reach() -> Work[None]:
    yield Call(sql.LAST_SEQ, {"writer": ""})


def _sequence(*, wait: bool) -> Work[int]:
    held = yield Call(sql.LOCK_SEQUENCE if wait else sql.TRY_SEQUENCE, {})
    if not wait and not held[0][0]:
        return 0
    rows = yield Call(sql.NUMBER_EVENTS, {})
    return len(rows)

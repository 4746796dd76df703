"""The person rows: opaque ids, numbers and traces sealed, numbers found by keyed hash."""

import asyncio
import base64
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Integer, LargeBinary, String, bindparam, case, exists, literal_column, or_, select, update

from gateway.model import PersonId
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, PersonRow, Traced
from gateway.store import tombstones
from gateway.store.database import Call, Database, Row, Statement, Work, insert, is_storable, maybe_micros, micros, moment
from gateway.store.endings import Endings
from gateway.store.keys import Keys
from gateway.store.limits import Bucket, SharedBucket
from gateway.store.log import Writer
from gateway.store.sealing import open_number, opened, seal_number
from gateway.store.subjects import raise_version
from gateway.store.tables import PERSON

_TRACE_BUCKET = "pds-trace"
_HAND_S = 0.05  # how many seconds' worth of tokens one write takes
_HAND_KEEPS_US = 1_000_000
_LIVE = literal_column("'live'", String)
_SEALED = literal_column("'sealed'", String)
_ID = bindparam("id", type_=String)
_NUMBER = bindparam("number_key", type_=LargeBinary)
_OLD = PERSON.alias("old")
_COLUMNS = (
    PERSON.c.id,
    PERSON.c.number_key,
    PERSON.c.number_sealed,
    PERSON.c.status,
    PERSON.c.successor,
    PERSON.c.trace_sealed,
    PERSON.c.traced_at,
    PERSON.c.expired,
    exists(select(literal_column("1")).where(_OLD.c.successor == PERSON.c.id)).label("has_replaced"),
)
_REPLACED = Statement(
    select(_OLD.c.id, _OLD.c.number_sealed).where(_OLD.c.successor == _ID).order_by(_OLD.c.created_at, _OLD.c.id)
)

_BY_NUMBER = Statement(
    select(*_COLUMNS)
    .where(PERSON.c.number_key == _NUMBER)
    .order_by(case((PERSON.c.status == _SEALED, literal_column("1")), else_=literal_column("0")), PERSON.c.created_at.desc())
    .limit(literal_column("1", Integer))
)
_BY_ID = Statement(select(*_COLUMNS).where(PERSON.c.id == _ID))
_INSERT = Statement(
    insert(PERSON)
    .values({column.name: bindparam(column.name, type_=column.type) for column in PERSON.c})
    .on_conflict_do_nothing(index_elements=[PERSON.c.number_key], index_where=PERSON.c.status != _SEALED)
    .returning(PERSON.c.id)
)
_RETRACE = Statement(
    update(PERSON)
    .where(PERSON.c.id == _ID, PERSON.c.status == _LIVE, PERSON.c.number_key == _NUMBER)
    .values(
        trace_sealed=bindparam("trace_sealed", type_=LargeBinary),
        traced_at=bindparam("traced_at", type_=BigInteger),
        expired=literal_column("false"),
    )
)
_ALIAS = Statement(
    update(PERSON)
    .where(PERSON.c.id == _ID)
    .values(
        status=literal_column("'superseded'"),
        successor=bindparam("successor", type_=String),
        trace_sealed=literal_column("NULL"),
        traced_at=literal_column("NULL"),
    )
)
_ALIASES_FOLLOW = Statement(
    update(PERSON).where(PERSON.c.successor == _ID).values(successor=bindparam("successor", type_=String))
)
_SEAL = Statement(
    update(PERSON)
    .where(or_(PERSON.c.id == _ID, PERSON.c.successor == _ID))
    .values(
        status=_SEALED,
        successor=literal_column("NULL"),
        trace_sealed=literal_column("NULL"),
        traced_at=literal_column("NULL"),
    )
    .returning(PERSON.c.number_key)
)
_EXPIRE = Statement(
    update(PERSON).where(PERSON.c.number_key == _NUMBER, PERSON.c.status != _SEALED).values(expired=literal_column("true"))
)


class _StoredTrace(msgspec.Struct):
    number: str
    birth_date: date | None
    deceased: bool
    restricted: bool
    practice: str | None
    patient: dict[str, Any]
    version: str


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(_StoredTrace).decode


class StoredPersons:
    """`ports.Persons`."""

    def __init__(
        self, database: Database, keys: Keys, endings: Endings, *, traces_per_second: float, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._keys = keys
        self._endings = endings
        self._writer = Writer(database, keys, clock=clock)
        self._handful = max(1, int(traces_per_second * _HAND_S))
        self._hands: dict[str, tuple[int, int]] = {}  # whose -> tokens in hand, and until when they may be spent
        self._taking = asyncio.Lock()
        self._traces = Bucket(interval_us=round(1_000_000 / traces_per_second), depth=max(1, int(traces_per_second)))

    async def by_number(self, number: NhsNumber) -> PersonRow | None:
        """The row of a number; a sealed one only where there is no other."""
        return await self._whole(await self._database.read(_BY_NUMBER, {"number_key": self._keys.number_key(number)}))

    async def by_id(self, person: PersonId) -> PersonRow | None:
        """The row of an id we gave out."""
        if not is_storable(person):
            return None
        return await self._whole(await self._database.read(_BY_ID, {"id": person}))

    async def admit(self, traced: Traced, at: datetime) -> PersonId:
        """The new row, or the one that is there."""
        return await self._database.write(self._admit(traced, at))

    async def retrace(self, person: PersonId, traced: Traced, at: datetime) -> None:
        """Only a live row of the same number takes a trace: a trace never moves to another person."""
        params = {"id": person, "number_key": self._keys.number_key(traced.number), **self._trace(person, traced, at)}
        await self._database.write(_run(_RETRACE, params))

    async def supersede(self, old: NhsNumber, traced: Traced, at: datetime) -> PersonId:
        """The new number's row, to which the old row and its own aliases now lead."""
        return await self._database.write(self._supersede(old, traced, at))

    async def seal(self, number: NhsNumber, at: datetime) -> None:
        """The row and whatever led to it answer nothing and lead nowhere; what was stored under it ends, with its event."""
        async with self._writer.alone:
            await self._database.write(self._seal(number, at))

    async def expire(self, number: NhsNumber) -> None:
        """The trace may not be used again, whatever its age."""
        await self._database.write(_run(_EXPIRE, {"number_key": self._keys.number_key(number)}))

    async def take_trace_token(self, now: datetime, *, wait_s: float, whose: str = "") -> bool:
        """A place in the shared bucket's line: taken only if it comes up within `wait_s`, and then waited for.

        `whose`: a client, or a work of our own, that leaves others their half; "": takes from the whole.

        At rates of many a second a small handful is paid for at once, in one durable write, and soon spent (ADR 0017).
        """
        at = micros(now)
        async with self._taking:
            held, until = self._hands.get(whose, (0, 0))
            if held and at < until:
                self._hands[whose] = (held - 1, until)
                return True
            for tokens in sorted({self._handful, 1}, reverse=True):
                most_us = int(wait_s * 1e6)
                if whose:
                    shared = SharedBucket(self._traces)
                    taking = shared.take(_TRACE_BUCKET, whose, now=at, most_wait_us=most_us, tokens=tokens)
                else:
                    taking = self._traces.take(_TRACE_BUCKET, now=at, most_wait_us=most_us, tokens=tokens)
                wait_us = await self._database.write(taking)
                if wait_us is not None:
                    self._hands[whose] = (tokens - 1, at + wait_us + _HAND_KEEPS_US)
                    break
        if wait_us is None:
            return False
        if wait_us:
            await asyncio.sleep(wait_us / 1e6)
        return True

    def _admit(self, traced: Traced, at: datetime) -> Work[PersonId]:
        number_key = self._keys.number_key(traced.number)
        held = yield Call(_BY_NUMBER, {"number_key": number_key})
        if held and held[0][3] == "live":
            yield Call(_RETRACE, {"id": held[0][0], "number_key": number_key, **self._trace(held[0][0], traced, at)})
            return PersonId(held[0][0])
        if held and held[0][3] == "superseded":
            # PDS made the old number current again: its row is live once more, under its own id.
            yield Call(_REVIVE, {"id": held[0][0]})
            yield Call(_RETRACE, {"id": held[0][0], "number_key": number_key, **self._trace(held[0][0], traced, at)})
            yield from raise_version([number_key])
            return PersonId(held[0][0])
        person = new_person_id()
        made = yield Call(_INSERT, {**self._row(person, traced.number, at), **self._trace(person, traced, at)})
        if made:
            return person
        other = yield Call(_BY_NUMBER, {"number_key": number_key})  # another worker was first
        return PersonId(other[0][0])

    def _supersede(self, old: NhsNumber, traced: Traced, at: datetime) -> Work[PersonId]:
        if old == traced.number:
            return (yield from self._admit(traced, at))
        survivor = yield from self._admit(traced, at)
        old_key = self._keys.number_key(old)
        held = yield Call(_BY_NUMBER, {"number_key": old_key})
        if held and (held[0][3] == "sealed" or held[0][4] == survivor):
            return survivor  # what was sealed is never linked to anybody again, whatever PDS says later
        if held:
            yield Call(_ALIASES_FOLLOW, {"id": held[0][0], "successor": survivor})
            yield Call(_ALIAS, {"id": held[0][0], "successor": survivor})
        else:
            # Nobody asked by the old number before: an alias row still makes its consents and locks count.
            alias = {**self._row(new_person_id(), old, at), "status": "superseded", "successor": survivor}
            yield Call(_INSERT, alias)
        yield from raise_version([old_key, self._keys.number_key(traced.number)])
        return survivor

    def _seal(self, number: NhsNumber, at: datetime) -> Work[None]:
        number_key = self._keys.number_key(number)
        held = yield Call(_BY_NUMBER, {"number_key": number_key})
        ending, names = {number_key}, []
        if held and held[0][3] != "sealed":
            row = self._one(held)
            names = [] if row is None or row.trace is None else self._names(row.trace)
            ending.update([bytes(sealed[0]) for sealed in (yield Call(_SEAL, {"id": held[0][0]}))])
            yield from raise_version(ending)
        ended: Counter[str] = Counter()
        for one in sorted(ending):
            ended.update((yield from self._endings.end(one, names, micros(at))))
        if (held and held[0][3] != "sealed") or ended.total():  # PDS says it at every question; it happens once
            detail = {"act": "number-invalidated", "ended": dict(ended)}
            entry = Entry("administration", at, "success", number, detail=detail)
            yield from self._writer.land([self._writer.prepare(entry)])

    def _names(self, trace: Traced) -> list[bytes]:
        said = [
            (str(name.get("family", "")), " ".join(map(str, name.get("given", ())))) for name in trace.patient.get("name", ())
        ]
        return [tombstones.of_name(self._keys, family, given, trace.birth_date) for family, given in said]

    def _row(self, person: PersonId, number: NhsNumber, at: datetime) -> dict[str, Any]:
        return {
            "id": person,
            "number_key": self._keys.number_key(number),
            "number_sealed": seal_number(self._keys, person, number),
            "status": "live",
            "successor": None,
            "trace_sealed": None,
            "traced_at": None,
            "expired": False,
            "created_at": micros(at),
        }

    def _trace(self, person: str, traced: Traced, at: datetime) -> dict[str, Any]:
        plain = _encode(
            _StoredTrace(
                traced.number.value,
                traced.birth_date,
                traced.deceased,
                traced.restricted,
                traced.practice,
                dict(traced.patient),
                traced.version,
            )
        )
        sealed = self._keys.seal("number-sealing", plain, b"trace", person.encode())
        return {"trace_sealed": sealed, "traced_at": maybe_micros(at)}

    async def _whole(self, rows: Sequence[Row]) -> PersonRow | None:
        """With the numbers it replaced, which few people have: only then are they asked for."""
        row = self._one(rows)
        if row is None or row.status != "live" or not rows[0][-1]:
            return row
        found = await self._database.read(_REPLACED, {"id": row.person})
        return replace(row, replaced=tuple(open_number(self._keys, old, sealed) for old, sealed in found))

    def _one(self, rows: Sequence[Row]) -> PersonRow | None:
        if not rows:
            return None
        person, _, number_sealed, status, successor, trace_sealed, traced_at, expired, _ = rows[0]
        trace = None
        if trace_sealed is not None:
            held = _decode(opened(self._keys, "number-sealing", trace_sealed, b"trace", person.encode()))
            trace = Traced(
                NhsNumber(held.number),
                held.birth_date,
                held.deceased,
                held.restricted,
                held.practice,
                held.patient,
                held.version,
            )
        return PersonRow(
            person=person,
            number=open_number(self._keys, person, number_sealed),
            status=status,
            successor=successor,
            trace=trace,
            traced_at=None if traced_at is None else moment(traced_at),
            expired=bool(expired),
        )


_REVIVE = Statement(update(PERSON).where(PERSON.c.id == _ID).values(status=_LIVE, successor=literal_column("NULL")))


def new_person_id() -> PersonId:
    """128 random bits as 26 small base32 letters and digits."""
    return PersonId(base64.b32encode(os.urandom(16)).rstrip(b"=").decode().lower())


def _run(statement: Statement, params: dict[str, Any]) -> Work[None]:
    yield Call(statement, params)

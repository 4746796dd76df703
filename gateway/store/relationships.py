"""Who cares for whom, from when to when."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, String, bindparam, or_, select, update

from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.store.database import Call, Database, Statement, Work, insert, maybe_micros, micros
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.subjects import family, raise_version
from gateway.store.tables import RELATIONSHIP

_ANYONE = b""  # of no key: it narrows nothing
_INSERT = Statement(
    insert(RELATIONSHIP).values({column.name: bindparam(column.name, type_=column.type) for column in RELATIONSHIP.c})
)
_people = family()
_AT = bindparam("at", type_=BigInteger)
_STAFF, _CASE = bindparam("staff_key", type_=LargeBinary), bindparam("case_key", type_=LargeBinary)
_END = Statement(
    update(RELATIONSHIP)
    .where(
        RELATIONSHIP.c.number_key.in_(select(_people.c.number_key)),
        RELATIONSHIP.c.kind == bindparam("kind", type_=String),
        RELATIONSHIP.c.organisation == bindparam("organisation", type_=String),
        or_(RELATIONSHIP.c.ends.is_(None), RELATIONSHIP.c.ends > _AT),
        or_(_STAFF == _ANYONE, RELATIONSHIP.c.staff_key == _STAFF),
        or_(_CASE == _ANYONE, RELATIONSHIP.c.case_key == _CASE),
    )
    .values(ends=_AT)
    .returning(RELATIONSHIP.c.number_key)
)


class StoredRelationships:
    """`ports.Relationships`."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._writer = Writer(database, keys, clock=clock)

    async def put(
        self,
        kind: str,
        number: NhsNumber,
        *,
        organisation: str,
        staff: str | None,
        case_reference: str | None,
        starts: datetime,
        ends: datetime | None,
    ) -> None:
        """A new row with its event; staff and case only as keyed hashes."""
        keys = self._keys
        number_key = keys.number_key(number)
        row = {
            "id": secrets.token_hex(16),
            "kind": kind,
            "number_key": number_key,
            "organisation": organisation,
            "staff_key": None if staff is None else keys.word_key("staff", staff),
            "case_key": None if case_reference is None else keys.word_key("case", case_reference),
            "starts": micros(starts),
            "ends": maybe_micros(ends),
            "recorded_at": micros(self._clock()),
        }
        entry = self._entry("relationship-recorded", number, kind, organisation)
        async with self._writer.alone:
            await self._database.write(self._put(number_key, row, entry))

    async def end(
        self, kind: str, number: NhsNumber, *, organisation: str, staff: str | None, case_reference: str | None, at: datetime
    ) -> int:
        """Close what is open, with its event; how many rows that were."""
        keys = self._keys
        params = {
            "number_key": keys.number_key(number),
            "kind": kind,
            "organisation": organisation,
            "staff_key": _ANYONE if staff is None else keys.word_key("staff", staff),
            "case_key": _ANYONE if case_reference is None else keys.word_key("case", case_reference),
            "at": micros(at),
        }
        entry = self._entry("relationship-ended", number, kind, organisation)
        async with self._writer.alone:
            return await self._database.write(self._end(params, entry))

    def _put(self, number_key: bytes, row: Mapping[str, object], entry: Entry) -> Work[None]:
        yield Call(_INSERT, row)
        yield from raise_version([number_key])
        yield from self._writer.land([self._writer.prepare(entry)])

    def _end(self, params: Mapping[str, object], entry: Entry) -> Work[int]:
        closed = yield Call(_END, params)
        yield from raise_version(bytes(row[0]) for row in closed)
        yield from self._writer.land([self._writer.prepare(replace(entry, detail={**entry.detail, "rows": len(closed)}))])
        return len(closed)

    def _entry(self, act: str, number: NhsNumber, kind: str, organisation: str) -> Entry:
        detail = {"act": act, "kind": kind, "organisation": organisation}
        return Entry("administration", self._clock(), "success", number, detail=detail)

"""Consents and objections with their history: a row is closed, never changed or removed."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import BigInteger, String, bindparam, or_, select, update

from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.store.database import Call, Database, Statement, Work, insert, maybe_micros, micros
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.subjects import family, raise_version
from gateway.store.tables import CONSENT

_INSERT = Statement(insert(CONSENT).values({column.name: bindparam(column.name, type_=column.type) for column in CONSENT.c}))
_people = family()
_OPEN = (
    CONSENT.c.number_key.in_(select(_people.c.number_key)),
    CONSENT.c.scope == bindparam("scope", type_=String),
    CONSENT.c.withdrawn_at.is_(None),
    or_(CONSENT.c.ends.is_(None), CONSENT.c.ends > bindparam("at", type_=BigInteger)),
)
_GIVERS = Statement(select(CONSENT.c.giver).where(*_OPEN).distinct())
_WITHDRAW = Statement(
    update(CONSENT)
    .where(*_OPEN, CONSENT.c.giver == bindparam("giver_key", type_=String))
    .values(withdrawn_at=bindparam("at", type_=BigInteger))
    .returning(CONSENT.c.number_key)
)


class StoredConsents:
    """`ports.Consents`."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._writer = Writer(database, keys, clock=clock)

    async def put(
        self,
        number: NhsNumber,
        *,
        scope: str,
        decision: Literal["permit", "deny"],
        given_by: str,
        recorded_by: str,
        starts: datetime,
        ends: datetime | None,
        evidence: str,
    ) -> str:
        """A new row with its event; its id."""
        consent, number_key = secrets.token_hex(16), self._keys.number_key(number)
        words = msgspec.json.encode({"given_by": given_by, "recorded_by": recorded_by, "evidence": evidence})
        row = {
            "id": consent,
            "number_key": number_key,
            "scope": scope,
            "decision": decision,
            "giver": self._giver(given_by),
            "starts": micros(starts),
            "ends": maybe_micros(ends),
            "withdrawn_at": None,
            "recorded_at": micros(self._clock()),
            "words_sealed": self._keys.seal("number-sealing", words, b"consent", consent.encode()),
        }
        detail = {"act": "consent-recorded", "scope": scope, "decision": decision}
        entry = Entry("administration", self._clock(), "success", number, staff_name=recorded_by, detail=detail)
        async with self._writer.alone:
            await self._database.write(self._put(number_key, row, entry))
        return consent

    async def withdraw(self, number: NhsNumber, scope: str, at: datetime, *, given_by: str | None = None) -> int | None:
        """Close what one giver has open of one scope, with its event; how many rows that were.

        Without a name the only giver there is. None: there are several, and nothing was closed.
        """
        params = {"number_key": self._keys.number_key(number), "scope": scope, "at": micros(at)}
        giver = None if given_by is None else self._giver(given_by)
        async with self._writer.alone:
            return await self._database.write(self._withdraw(number, params, giver))

    def _put(self, number_key: bytes, row: dict[str, object], entry: Entry) -> Work[None]:
        yield Call(_INSERT, row)
        yield from raise_version([number_key])
        yield from self._writer.land([self._writer.prepare(entry)])

    def _giver(self, given_by: str) -> str:
        return self._keys.word_key("giver", given_by.strip().casefold()).hex()[:32]

    def _withdraw(self, number: NhsNumber, params: dict[str, object], giver: str | None) -> Work[int | None]:
        if giver is None:
            givers = yield Call(_GIVERS, params)
            if len(givers) > 1:
                return None
            giver = givers[0][0] if givers else ""
        closed = yield Call(_WITHDRAW, {**params, "giver_key": giver})
        yield from raise_version(bytes(row[0]) for row in closed)
        detail = {"act": "consent-withdrawn", "scope": params["scope"], "rows": len(closed)}
        entry = Entry("administration", self._clock(), "success", number, detail=detail)
        yield from self._writer.land([self._writer.prepare(entry)])
        return len(closed)

"""Consents and objections with their history: a row is closed, never changed or removed."""

import secrets
from datetime import UTC, datetime
from typing import Literal

import msgspec
from sqlalchemy import BigInteger, String, bindparam, or_, select, update

from gateway.nhs_number import NhsNumber
from gateway.store.database import Call, Database, Statement, Work, insert, maybe_micros, micros
from gateway.store.keys import Keys
from gateway.store.subjects import family, raise_version
from gateway.store.tables import CONSENT

_INSERT = Statement(insert(CONSENT).values({column.name: bindparam(column.name, type_=column.type) for column in CONSENT.c}))
_people = family()
_WITHDRAW = Statement(
    update(CONSENT)
    .where(
        CONSENT.c.number_key.in_(select(_people.c.number_key)),
        CONSENT.c.scope == bindparam("scope", type_=String),
        CONSENT.c.withdrawn_at.is_(None),
        or_(CONSENT.c.ends.is_(None), CONSENT.c.ends > bindparam("at", type_=BigInteger)),
    )
    .values(withdrawn_at=bindparam("at", type_=BigInteger))
    .returning(CONSENT.c.number_key)
)


class StoredConsents:
    """`ports.Consents`."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

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
        """A new row; its id."""
        consent, number_key = secrets.token_hex(16), self._keys.number_key(number)
        words = msgspec.json.encode({"given_by": given_by, "recorded_by": recorded_by, "evidence": evidence})
        row = {
            "id": consent,
            "number_key": number_key,
            "scope": scope,
            "decision": decision,
            "giver": self._keys.word_key("giver", given_by.strip().casefold()).hex()[:32],
            "starts": micros(starts),
            "ends": maybe_micros(ends),
            "withdrawn_at": None,
            "recorded_at": micros(datetime.now(UTC)),
            "words_sealed": self._keys.seal("number-sealing", words, b"consent", consent.encode()),
        }
        await self._database.write(_put(number_key, row))
        return consent

    async def withdraw(self, number: NhsNumber, scope: str, at: datetime) -> int:
        """Close what is open of one scope; how many rows that were."""
        params = {"number_key": self._keys.number_key(number), "scope": scope, "at": micros(at)}
        return await self._database.write(_withdraw(params))


def _put(number_key: bytes, row: dict[str, object]) -> Work[None]:
    yield Call(_INSERT, row)
    yield from raise_version([number_key])


def _withdraw(params: dict[str, object]) -> Work[int]:
    closed = yield Call(_WITHDRAW, params)
    yield from raise_version(bytes(row[0]) for row in closed)
    return len(closed)

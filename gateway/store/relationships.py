"""Who cares for whom, from when to when."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import BigInteger, LargeBinary, String, bindparam, or_, select, update

from gateway.nhs_number import NhsNumber
from gateway.store.database import Call, Database, Statement, Work, insert, maybe_micros, micros
from gateway.store.keys import Keys
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

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

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
        """A new row; staff and case only as keyed hashes."""
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
            "recorded_at": micros(datetime.now(UTC)),
        }
        await self._database.write(_put(number_key, row))

    async def end(
        self, kind: str, number: NhsNumber, *, organisation: str, staff: str | None, case_reference: str | None, at: datetime
    ) -> int:
        """Close what is open; how many rows that were."""
        keys = self._keys
        params = {
            "number_key": keys.number_key(number),
            "kind": kind,
            "organisation": organisation,
            "staff_key": _ANYONE if staff is None else keys.word_key("staff", staff),
            "case_key": _ANYONE if case_reference is None else keys.word_key("case", case_reference),
            "at": micros(at),
        }
        return await self._database.write(_end(params))


def _put(number_key: bytes, row: Mapping[str, object]) -> Work[None]:
    yield Call(_INSERT, row)
    yield from raise_version([number_key])


def _end(params: Mapping[str, object]) -> Work[int]:
    closed = yield Call(_END, params)
    yield from raise_version(bytes(row[0]) for row in closed)
    return len(closed)

"""Who cares for whom, from when to when."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import bindparam

from gateway.nhs_number import NhsNumber
from gateway.store.database import Call, Database, Statement, Work, insert, maybe_micros, micros
from gateway.store.keys import Keys
from gateway.store.subjects import raise_version
from gateway.store.tables import RELATIONSHIP

_INSERT = Statement(
    insert(RELATIONSHIP).values({column.name: bindparam(column.name, type_=column.type) for column in RELATIONSHIP.c})
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


def _put(number_key: bytes, row: Mapping[str, object]) -> Work[None]:
    yield Call(_INSERT, row)
    yield from raise_version([number_key])

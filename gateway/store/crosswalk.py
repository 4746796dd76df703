"""Local ids and the verified NHS numbers they belong to. Both are found by keyed hash and kept sealed."""

from collections.abc import Sequence
from datetime import date

import msgspec
from sqlalchemy import LargeBinary, String, bindparam, select

from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkRow
from gateway.store.database import Call, Database, Statement, Work, insert
from gateway.store.keys import Keys
from gateway.store.sealing import opened
from gateway.store.subjects import family
from gateway.store.tables import CROSSWALK

_people = family()
_OF_NUMBER = Statement(
    select(CROSSWALK.c.local_key, CROSSWALK.c.row_sealed).where(
        CROSSWALK.c.source == bindparam("source", type_=String),
        CROSSWALK.c.number_key.in_(select(_people.c.number_key)),
    )
)
_OF_LOCAL = Statement(
    select(CROSSWALK.c.local_key, CROSSWALK.c.row_sealed).where(
        CROSSWALK.c.source == bindparam("source", type_=String),
        CROSSWALK.c.local_key == bindparam("local_key", type_=LargeBinary),
    )
)
_INSERT = insert(CROSSWALK).values({column.name: bindparam(column.name, type_=column.type) for column in CROSSWALK.c})
_PUT = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=[CROSSWALK.c.source, CROSSWALK.c.local_key],
        set_={"number_key": _INSERT.excluded.number_key, "row_sealed": _INSERT.excluded.row_sealed},
    )
)


class _Row(msgspec.Struct):
    local_id: str
    number: str
    birth_date: date | None
    verified_on: date
    verified_by: str


_decode = msgspec.json.Decoder(_Row).decode


class StoredCrosswalk:
    """`ports.Crosswalk`."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    async def local_ids(self, source: str, number: NhsNumber) -> Sequence[tuple[str, date | None]]:
        """Every local id of the person at one source, with the birth date recorded at matching."""
        rows = await self._database.read(_OF_NUMBER, {"source": source, "number_key": self._keys.number_key(number)})
        held = [self._open(source, row[0], row[1]) for row in rows]
        return sorted((row.local_id, row.birth_date) for row in held)

    async def number_of(self, source: str, local_id: str) -> NhsNumber | None:
        """The verified number of a local id, as it was recorded (it may be superseded since)."""
        local_key = self._keys.word_key("local-id", source, local_id)
        rows = await self._database.read(_OF_LOCAL, {"source": source, "local_key": local_key})
        return NhsNumber(self._open(source, local_key, rows[0][1]).number) if rows else None

    async def put(self, rows: Sequence[CrosswalkRow]) -> int:
        """Insert, or replace what was matched before; how many rows."""
        await self._database.write(_put([self._row(row) for row in rows]))
        return len(rows)

    def _row(self, row: CrosswalkRow) -> dict[str, object]:
        local_key = self._keys.word_key("local-id", row.source, row.local_id)
        plain = msgspec.json.encode(_Row(row.local_id, row.number.value, row.birth_date, row.verified_on, row.verified_by))
        return {
            "source": row.source,
            "local_key": local_key,
            "number_key": self._keys.number_key(row.number),
            "row_sealed": self._keys.seal("number-sealing", plain, b"crosswalk", row.source.encode(), local_key),
        }

    def _open(self, source: str, local_key: bytes, sealed: bytes) -> _Row:
        return _decode(opened(self._keys, "number-sealing", sealed, b"crosswalk", source.encode(), local_key))


def _put(rows: Sequence[dict[str, object]]) -> Work[None]:
    yield Call(_PUT, {}, rows)

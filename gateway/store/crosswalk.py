"""Local ids and the verified NHS numbers they belong to. Both are found by keyed hash and kept sealed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import msgspec
from sqlalchemy import LargeBinary, String, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from gateway.nhs_number import NhsNumber
from gateway.ports import CrosswalkKind, CrosswalkRow, Entry
from gateway.store import tombstones
from gateway.store.database import Call, Database, Statement, Work, insert, micros
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.protections import asserting_anew
from gateway.store.sealing import opened
from gateway.store.subjects import family
from gateway.store.tables import CROSSWALK, PROTECTION

_people = family()
_SOURCE = bindparam("source", type_=String)
_LOCAL = bindparam("local_key", type_=LargeBinary)
_NUMBER = bindparam("number_key", type_=LargeBinary)
_ROW = (CROSSWALK.c.source, CROSSWALK.c.local_key, CROSSWALK.c.row_sealed)
_OF_NUMBER = Statement(
    select(*_ROW).where(
        CROSSWALK.c.source == _SOURCE,
        CROSSWALK.c.number_key.in_(select(_people.c.number_key)),
        CROSSWALK.c.kind != bindparam("not_kind", type_=String),
    )
)
_LOCKED = Statement(
    select(*_ROW)
    .join(PROTECTION, (PROTECTION.c.source == CROSSWALK.c.source) & (PROTECTION.c.number_key == CROSSWALK.c.number_key))
    .where(
        PROTECTION.c.source == _SOURCE,
        PROTECTION.c.kind == bindparam("lock", type_=String),
        CROSSWALK.c.kind != bindparam("not_kind", type_=String),
    )
)
_OF_LOCAL = Statement(select(*_ROW).where(CROSSWALK.c.source == _SOURCE, CROSSWALK.c.local_key == _LOCAL))
_OF_LOCALS = Statement(  # PostgreSQL only
    select(*_ROW).where(
        CROSSWALK.c.source == _SOURCE, CROSSWALK.c.local_key == func.any(bindparam("local_keys", type_=ARRAY(LargeBinary)))
    )
)
_INSERT = insert(CROSSWALK).values({column.name: bindparam(column.name, type_=column.type) for column in CROSSWALK.c})
_PUT = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=[CROSSWALK.c.source, CROSSWALK.c.local_key],
        set_={name: _INSERT.excluded[name] for name in ("number_key", "row_sealed", "kind")},
    )
)
_DROP = Statement(delete(CROSSWALK).where(CROSSWALK.c.source == _SOURCE, CROSSWALK.c.local_key == _LOCAL))
_END = Statement(delete(CROSSWALK).where(CROSSWALK.c.number_key == _NUMBER).returning(*_ROW, CROSSWALK.c.kind))


class _Row(msgspec.Struct):
    local_id: str
    number: str
    birth_date: date | None
    verified_on: date
    verified_by: str
    came_from: str = ""


_decode = msgspec.json.Decoder(_Row).decode


@dataclass(frozen=True, slots=True)
class Ended:
    """A link that died with its number: the ids it held, for the tombstones and the shelf."""

    source: str
    kind: str
    local_id: str
    local_key: bytes


class StoredCrosswalk:
    """`ports.Crosswalk`."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._writer = Writer(database, keys, clock=clock)

    async def local_ids(self, source: str, number: NhsNumber) -> Sequence[tuple[str, date | None]]:
        """Every local id of the person at one source, with the birth date recorded at matching. Never a UPN."""
        params = {"source": source, "number_key": self._keys.number_key(number), "not_kind": "upn"}
        held = [self._open(*row) for row in await self._database.read(_OF_NUMBER, params)]
        return sorted((row.local_id, row.birth_date) for row in held)

    async def locked(self, source: str, kind: str) -> Sequence[NhsNumber]:
        """Who is linked there and protected by this kind of lock of the same source."""
        rows = await self._database.read_long(_LOCKED, {"source": source, "lock": kind, "not_kind": "upn"})
        return [NhsNumber(value) for value in sorted({self._open(*row).number for row in rows})]

    async def number_of(self, source: str, local_id: str) -> NhsNumber | None:
        """The verified number of a local id, as it was recorded (it may be superseded since)."""
        return await self._number(source, local_key(self._keys, source, "person", local_id))

    async def number_of_upn(self, source: str, upn: str) -> NhsNumber | None:
        """The verified number of a pupil number, for the authority's own records on their way in."""
        return await self._number(source, local_key(self._keys, source, "upn", upn))

    async def put(self, rows: Sequence[CrosswalkRow], *, by: str = "", waiting: str = "") -> int:
        """New links, or what they replace, each with its event; how many changed. A buried id is passed over."""
        async with self._writer.alone:
            return await self._database.write(self._put(rows, by, waiting))

    async def buried(self, rows: Sequence[CrosswalkRow]) -> Sequence[CrosswalkRow]:
        """Those among them that `put` would pass over."""
        stones = [self.buried_keys(row) for row in rows]
        found = await self._database.write(tombstones.buried(self._database, stones))
        return [row for row, stone in zip(rows, stones, strict=True) if stone in found]

    def linking(self, rows: Sequence[CrosswalkRow], by: str, waiting: str) -> Work[list[Entry]]:
        """The same inside the caller's transaction, which writes the events. Rows of one source; none of them buried."""
        fresh = []
        held = yield from self._held(rows)
        changed: list[dict[str, object]] = []
        entries = []
        for row in rows:
            key = local_key(self._keys, row.source, row.kind, row.local_id)
            before = held.get(key)
            if before is not None and (before.number, before.birth_date) == (row.number.value, row.birth_date):
                continue
            changed.append(self._row(row, key))
            if before is not None and before.number != row.number.value:
                entries.append(self._entry("crosswalk-unlinked", NhsNumber(before.number), row, by))
            if row.kind != "upn" and (before is None or before.number != row.number.value):
                fresh.append(self._keys.number_key(row.number))
            entries.append(self._entry("crosswalk-linked", row.number, row, by))
        yield Call(_PUT, {}, changed)
        if waiting and fresh:
            yield from asserting_anew(rows[0].source, waiting, fresh, micros(self._clock()))
        return entries

    def unlinking(self, source: str, local_id: str, upn: str, by: str) -> Work[list[Entry]]:
        """Links that no longer hold, gone inside the caller's transaction."""
        entries = []
        ids: list[tuple[CrosswalkKind, str]] = [("person", local_id)]
        if upn:
            ids.append(("upn", upn))
        for kind, value in ids:
            params = {"source": source, "local_key": local_key(self._keys, source, kind, value)}
            for found in (yield Call(_OF_LOCAL, params)):
                held = self._open(*found)
                yield Call(_DROP, params)
                row = CrosswalkRow(source, value, NhsNumber(held.number), held.birth_date, held.verified_on, by, kind)
                entries.append(self._entry("crosswalk-unlinked", row.number, row, by))
        return entries

    def ending(self, number_key: bytes) -> Work[list[Ended]]:
        """Every link of a number that died, gone inside the caller's transaction."""
        rows = yield Call(_END, {"number_key": number_key})
        return [Ended(source, kind, self._open(source, key, sealed).local_id, bytes(key)) for source, key, sealed, kind in rows]

    def buried_keys(self, row: CrosswalkRow) -> bytes:
        """The tombstone that would forbid this link."""
        if row.kind == "upn":
            return tombstones.of_upn(self._keys, row.local_id)
        return tombstones.of_id(self._keys, row.source, row.local_id)

    def _put(self, rows: Sequence[CrosswalkRow], by: str, waiting: str) -> Work[int]:
        stones = [self.buried_keys(row) for row in rows]
        buried = yield from tombstones.buried(self._database, stones)
        entries: list[Entry] = []
        for source in sorted({row.source for row in rows}):
            mine = [row for row, stone in zip(rows, stones, strict=True) if row.source == source and stone not in buried]
            entries += yield from self.linking(mine, by, waiting)
        yield from self._writer.land([self._writer.prepare(entry) for entry in entries])
        return sum(entry.detail["act"] == "crosswalk-linked" for entry in entries)

    def _held(self, rows: Sequence[CrosswalkRow]) -> Work[dict[bytes, _Row]]:
        keys = sorted({local_key(self._keys, row.source, row.kind, row.local_id) for row in rows})
        if not keys:
            return {}
        source = rows[0].source
        if self._database.dialect == "postgresql":
            found = yield Call(_OF_LOCALS, {"source": source, "local_keys": keys})
            return {bytes(row[1]): self._open(*row) for row in found}
        held = {}
        for key in keys:
            for row in (yield Call(_OF_LOCAL, {"source": source, "local_key": key})):
                held[key] = self._open(*row)
        return held

    def _entry(self, act: str, number: NhsNumber, row: CrosswalkRow, by: str) -> Entry:
        detail = {"act": act, "source": row.source, "kind": row.kind, "came_from": row.came_from}
        name = "" if by else row.verified_by
        return Entry("administration", self._clock(), "success", number, staff=by, staff_name=name, detail=detail)

    async def _number(self, source: str, key: bytes) -> NhsNumber | None:
        rows = await self._database.read(_OF_LOCAL, {"source": source, "local_key": key})
        return NhsNumber(self._open(*rows[0]).number) if rows else None

    def _row(self, row: CrosswalkRow, key: bytes) -> dict[str, object]:
        plain = _Row(row.local_id, row.number.value, row.birth_date, row.verified_on, row.verified_by, row.came_from)
        return {
            "source": row.source,
            "local_key": key,
            "number_key": self._keys.number_key(row.number),
            "row_sealed": self._keys.seal("number-sealing", msgspec.json.encode(plain), b"crosswalk", row.source.encode(), key),
            "kind": row.kind,
        }

    def _open(self, source: str, key: bytes, sealed: bytes) -> _Row:
        return _decode(opened(self._keys, "number-sealing", sealed, b"crosswalk", source.encode(), bytes(key)))


def local_key(keys: Keys, source: str, kind: CrosswalkKind, local_id: str) -> bytes:
    """The column by which a local id is found. Ids of persons and members share one space: the shelf's holders are in it."""
    if kind == "upn":
        return keys.word_key("upn", source, local_id.upper())
    return keys.word_key("local-id", source, local_id)

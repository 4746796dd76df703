"""Local records on their way to an NHS number: staged in chunks, settled in chunks, each chunk one durable transaction."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Integer, LargeBinary, String, bindparam, case, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from gateway.nhs_number import NhsNumber
from gateway.ports import Chunk, CrosswalkRow, Entry, LocalRecord, NewWork, Settled
from gateway.store import tombstones
from gateway.store.crosswalk import StoredCrosswalk, local_key
from gateway.store.database import Call, Database, Statement, Work, insert, micros
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.sealing import opened
from gateway.store.tables import IDENTITY_IMPORT, LOCAL_RECORD
from gateway.store.work_rows import opening, work_rows

_SOURCE = bindparam("source", type_=String)
_LOCAL = bindparam("local_key", type_=LargeBinary)
_DIGEST = bindparam("digest_key", type_=LargeBinary)
_BEGIN = Statement(
    insert(IDENTITY_IMPORT)
    .values(digest_key=_DIGEST, source=_SOURCE, rows_done=literal_column("0"), began_at=bindparam("at", type_=BigInteger))
    .on_conflict_do_nothing()
)
_CURSOR = Statement(select(IDENTITY_IMPORT.c.rows_done).where(IDENTITY_IMPORT.c.digest_key == _DIGEST))
_ADVANCE = Statement(
    update(IDENTITY_IMPORT)
    .where(IDENTITY_IMPORT.c.digest_key == _DIGEST)
    .values(rows_done=bindparam("rows_done", type_=BigInteger))
)
_INSERT = insert(LOCAL_RECORD).values({column.name: bindparam(column.name, type_=column.type) for column in LOCAL_RECORD.c})
_STAGE = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=[LOCAL_RECORD.c.source, LOCAL_RECORD.c.local_key],
        set_={
            name: _INSERT.excluded[name]
            for name in ("content_key", "name_key", "record_sealed", "outcome", "reason", "settled_at")
        },
        where=_INSERT.excluded.content_key != LOCAL_RECORD.c.content_key,
    )
)
_CONTENT = (LOCAL_RECORD.c.local_key, LOCAL_RECORD.c.content_key)
_STAGED = Statement(select(*_CONTENT).where(LOCAL_RECORD.c.source == _SOURCE, LOCAL_RECORD.c.local_key == _LOCAL))
_STAGED_OF_ALL = Statement(  # PostgreSQL only
    select(*_CONTENT).where(
        LOCAL_RECORD.c.source == _SOURCE,
        LOCAL_RECORD.c.local_key == func.any(bindparam("local_keys", type_=ARRAY(LargeBinary))),
    )
)
_PENDING = Statement(
    select(LOCAL_RECORD.c.local_key, LOCAL_RECORD.c.record_sealed)
    .where(LOCAL_RECORD.c.source == _SOURCE, LOCAL_RECORD.c.outcome.is_(None))
    .order_by(LOCAL_RECORD.c.source, LOCAL_RECORD.c.local_key)
    .limit(bindparam("limit", type_=Integer))
)
_FIND = Statement(
    select(LOCAL_RECORD.c.local_key, LOCAL_RECORD.c.record_sealed).where(
        LOCAL_RECORD.c.source == _SOURCE, LOCAL_RECORD.c.local_key == _LOCAL, LOCAL_RECORD.c.record_sealed.is_not(None)
    )
)
_SETTLE = Statement(
    update(LOCAL_RECORD)
    .where(LOCAL_RECORD.c.source == _SOURCE, LOCAL_RECORD.c.local_key == _LOCAL)
    .values(
        outcome=bindparam("outcome", type_=String),
        reason=bindparam("reason", type_=String),
        number_key=bindparam("number_key", type_=LargeBinary),
        settled_at=bindparam("at", type_=BigInteger),
        # What is linked needs its name and address here no longer; what is not is read again when it is resolved.
        record_sealed=case(
            (bindparam("linked", type_=Integer) == literal_column("1"), literal_column("NULL")),
            else_=LOCAL_RECORD.c.record_sealed,
        ),
    )
)
_COUNTS = Statement(
    select(func.coalesce(LOCAL_RECORD.c.outcome, literal_column("'pending'")), func.count())
    .where(LOCAL_RECORD.c.source == _SOURCE)
    .group_by(LOCAL_RECORD.c.outcome)
)
_END = Statement(
    delete(LOCAL_RECORD)
    .where(LOCAL_RECORD.c.number_key == bindparam("number_key", type_=LargeBinary))
    .returning(LOCAL_RECORD.c.name_key)
)


class _Plain(msgspec.Struct, array_like=True):
    local_id: str
    number: str | None
    family: str
    given: str
    birth_date: date | None
    birth_date_doubt: str
    gender: str
    postcode: str
    upn: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Plain).decode


class StoredLocalRecords:
    """`ports.LocalRecords`."""

    def __init__(self, database: Database, keys: Keys, crosswalk: StoredCrosswalk, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._crosswalk = crosswalk
        self._writer = Writer(database, keys, clock=clock)

    async def begin(self, source: str, digest: str, at: datetime) -> int:
        """How far this file was staged before."""
        return await self._database.write(self._begin(source, digest, at))

    async def stage(
        self, source: str, digest: str, records: Sequence[LocalRecord], work: Sequence[NewWork], *, cursor: int, at: datetime
    ) -> Chunk:
        """One chunk with its bad rows and its cursor, or nothing of it."""
        rows = [self._row(record) for record in records]
        return await self._database.write(self._stage(source, digest, rows, work_rows(self._keys, work, at), cursor))

    async def pending(self, source: str, limit: int) -> Sequence[LocalRecord]:
        """Records without an outcome, in an order that does not tell theirs."""
        rows = await self._database.read_long(_PENDING, {"source": source, "limit": limit})
        return [self._open(source, bytes(row[0]), row[1]) for row in rows]

    async def settle(
        self, settled: Sequence[Settled], at: datetime, *, by: str, dug_up: bool = False, waiting: str = ""
    ) -> Chunk:
        """One chunk: links, events, work items and outcomes, or nothing of it."""
        async with self._writer.alone:
            return await self._database.write(self._settle(settled, at, by, waiting, dug_up=dug_up))

    async def counts(self, source: str) -> Mapping[str, int]:
        """Outcome -> how many."""
        return {row[0]: row[1] for row in await self._database.read_long(_COUNTS, {"source": source})}

    async def find(self, source: str, local_id: str) -> LocalRecord | None:
        """A record that is not linked yet."""
        key = local_key(self._keys, source, "person", local_id)
        rows = await self._database.read(_FIND, {"source": source, "local_key": key})
        return self._open(source, key, rows[0][1]) if rows else None

    def ending(self, number_key: bytes) -> Work[list[bytes]]:
        """Every record linked to a number that died, gone inside the caller's transaction; the tombstones of its names."""
        rows = yield Call(_END, {"number_key": number_key})
        return [bytes(row[0]) for row in rows]

    def _begin(self, source: str, digest: str, at: datetime) -> Work[int]:
        key = self._keys.word_key("identity-import", source, digest)
        yield Call(_BEGIN, {"digest_key": key, "source": source, "at": micros(at)})
        rows = yield Call(_CURSOR, {"digest_key": key})
        return int(rows[0][0])

    def _stage(
        self,
        source: str,
        digest: str,
        rows: Sequence[Mapping[str, Any]],
        work: Sequence[dict[str, Any]],
        cursor: int,
    ) -> Work[Chunk]:
        held = yield from self._staged(source, [row["local_key"] for row in rows])
        yield Call(_STAGE, {}, rows)
        new_items = yield from opening(work)
        yield Call(_ADVANCE, {"digest_key": self._keys.word_key("identity-import", source, digest), "rows_done": cursor})
        return Chunk(sum(held.get(row["local_key"]) != row["content_key"] for row in rows), new_items)

    def _staged(self, source: str, keys: Sequence[bytes]) -> Work[dict[bytes, bytes]]:
        """What is staged of these already, by what it says."""
        if self._database.dialect == "postgresql":
            found = yield Call(_STAGED_OF_ALL, {"source": source, "local_keys": keys})
            return {bytes(row[0]): bytes(row[1]) for row in found}
        held = {}
        for key in keys:
            for row in (yield Call(_STAGED, {"source": source, "local_key": key})):
                held[bytes(row[0])] = bytes(row[1])
        return held

    def _settle(self, settled: Sequence[Settled], at: datetime, by: str, waiting: str, *, dug_up: bool) -> Work[Chunk]:
        stones = [[] if dug_up else self._stones(one) for one in settled]
        buried = yield from tombstones.buried(self._database, [stone for of_one in stones for stone in of_one])
        links: list[CrosswalkRow] = []
        work: list[NewWork] = []
        outcomes: list[dict[str, object]] = []
        entries: list[Entry] = []
        for one, of_one in zip(settled, stones, strict=True):
            is_buried = bool(one.links) and not buried.isdisjoint(of_one)
            linked = bool(one.links) and not is_buried
            links += one.links if linked else ()
            work += [one.buried] if is_buried else one.work
            if not linked:
                entries += yield from self._crosswalk.unlinking(one.record.source, one.record.local_id, one.record.upn, by)
            outcomes.append(
                {
                    "source": one.record.source,
                    "local_key": local_key(self._keys, one.record.source, "person", one.record.local_id),
                    "outcome": "NoMatch" if is_buried else one.outcome,
                    "reason": one.buried.reason if is_buried else one.reason,
                    "number_key": self._keys.number_key(one.links[0].number) if linked else None,
                    "at": micros(at),
                    "linked": int(linked),
                }
            )
        entries += yield from self._crosswalk.linking(links, by, waiting)
        yield from self._writer.land([self._writer.prepare(entry) for entry in entries])
        new_items = yield from opening(work_rows(self._keys, work, at))
        yield Call(_SETTLE, {}, outcomes)
        return Chunk(sum(outcome["linked"] == 1 for outcome in outcomes), new_items)

    def _stones(self, one: Settled) -> list[bytes]:
        """Which tombstones forbid this link. A name only where it was found by name."""
        found = [self._crosswalk.buried_keys(row) for row in one.links]
        if one.links and one.record.number is None:
            found.append(tombstones.of_name(self._keys, one.record.family, one.record.given, one.record.birth_date))
        return found

    def _row(self, record: LocalRecord) -> dict[str, object]:
        key = local_key(self._keys, record.source, "person", record.local_id)
        plain = _encode(
            _Plain(
                record.local_id,
                None if record.number is None else record.number.value,
                record.family,
                record.given,
                record.birth_date,
                record.birth_date_doubt,
                record.gender,
                record.postcode,
                record.upn,
            )
        )
        return {
            "source": record.source,
            "local_key": key,
            "content_key": self._keys.word_key("local-record", record.source, plain.hex()),
            "name_key": tombstones.of_name(self._keys, record.family, record.given, record.birth_date),
            "record_sealed": self._keys.seal("number-sealing", plain, b"local-record", record.source.encode(), key),
            "outcome": None,
            "reason": "",
            "number_key": None,
            "settled_at": None,
        }

    def _open(self, source: str, key: bytes, sealed: bytes) -> LocalRecord:
        plain = _decode(opened(self._keys, "number-sealing", sealed, b"local-record", source.encode(), key))
        number = None if plain.number is None else NhsNumber(plain.number)
        return LocalRecord(
            source,
            plain.local_id,
            number,
            plain.family,
            plain.given,
            plain.birth_date,
            plain.birth_date_doubt,
            plain.gender,
            plain.postcode,
            plain.upn,
        )

"""The shelves: custodians' newest copies, sealed under a key outside the database, each with its retention."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, String, bindparam, case, delete, literal_column, not_, select

from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, Job, Listed, NewWork, Owed, ShelfRow, ShelfStored
from gateway.store.database import Call, Database, Statement, Work, insert, micros, moment
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.log_statements import INSERT_JOB
from gateway.store.queue import job_rows
from gateway.store.sealing import opened
from gateway.store.subjects import family
from gateway.store.tables import SHELF, SHELF_DELIVERY
from gateway.store.unread_lists import MARKED, noted, replaced
from gateway.store.work_rows import INSERT_WORK, work_rows

_SOURCE = bindparam("source", type_=String)
_AT = bindparam("at", type_=BigInteger)
_INSERT = insert(SHELF).values({column.name: bindparam(column.name, type_=column.type) for column in SHELF.c})
_KEY = [SHELF.c.source, SHELF.c.sender, SHELF.c.kind, SHELF.c.business_key, SHELF.c.holder_key]
_TAKEN = {name: _INSERT.excluded[name] for name in ("as_of", "keep_until", "body_sealed")}
_newer_wins = _INSERT.on_conflict_do_update(index_elements=_KEY, set_=_TAKEN, where=_INSERT.excluded.as_of > SHELF.c.as_of)
_TAKES_ITS_PLACE = Statement(_INSERT.on_conflict_do_update(index_elements=_KEY, set_=_TAKEN).returning(SHELF.c.as_of))
_OF_KEY = Statement(
    select(SHELF.c.as_of, SHELF.c.body_sealed).where(*(column == bindparam(column.name, type_=column.type) for column in _KEY))
)
_NEWER_WINS = Statement(_newer_wins.returning(SHELF.c.as_of))
_FILL = Statement(_newer_wins)  # many at once, telling nothing
_CLEAR = Statement(delete(SHELF).where(SHELF.c.source == _SOURCE))
_COLUMNS = (SHELF.c.sender, SHELF.c.kind, SHELF.c.business_key, SHELF.c.holder_key, SHELF.c.as_of, SHELF.c.body_sealed)
_people = family("holder_key")
_other = SHELF.alias("other")
_OTHERS = (  # the same thing of somebody who is another person
    _other.c.source == SHELF.c.source,
    _other.c.sender == SHELF.c.sender,
    _other.c.kind == SHELF.c.kind,
    _other.c.business_key == SHELF.c.business_key,
    _other.c.holder_key.not_in(select(_people.c.number_key)),
    _other.c.body_sealed.is_not(None),
)
_is_contested = select(literal_column("1")).select_from(_other).where(*_OTHERS).exists()
_HEARD_OF = (  # deletions too: one under a number deletes what is held under those it replaced
    select(*_COLUMNS, _is_contested.label("contested"))
    .where(
        SHELF.c.source == _SOURCE,
        SHELF.c.holder_key.in_(select(_people.c.number_key)),
        SHELF.c.keep_until > _AT,
    )
    .order_by(SHELF.c.kind, SHELF.c.as_of.desc(), SHELF.c.business_key, SHELF.c.body_sealed.is_not(None))
)
_HEARD = Statement(_HEARD_OF)
_NEWEST = Statement(_HEARD_OF.with_only_columns(*_COLUMNS, literal_column("0").label("contested")).where(not_(_is_contested)))
_CONTESTED = Statement(
    select(literal_column("1"))
    .select_from(_other)
    .where(
        *(_other.c[column.name] == bindparam(column.name, type_=column.type) for column in _KEY[:-1]),
        _other.c.holder_key.not_in(select(_people.c.number_key)),
        _other.c.body_sealed.is_not(None),
    )
    .limit(literal_column("1"))
)
_HELD_OF_ANOTHER = (
    *(column == bindparam(column.name, type_=column.type) for column in _KEY[:-1]),
    SHELF.c.holder_key != bindparam("holder_key", type_=SHELF.c.holder_key.type),
    SHELF.c.body_sealed.is_not(None),
)
_AS_OF = bindparam("as_of", type_=BigInteger)
_MOVED_ON = Statement(select(SHELF.c.as_of).where(*_HELD_OF_ANOTHER, SHELF.c.as_of > _AS_OF).limit(literal_column("1")))
_MOVE = Statement(delete(SHELF).where(*_HELD_OF_ANOTHER, SHELF.c.as_of < _AS_OF).returning(SHELF.c.as_of))
_DELIVERED = Statement(select(SHELF_DELIVERY.c.delivered_at).where(SHELF_DELIVERY.c.source == _SOURCE))
_DELIVERY_INSERT = insert(SHELF_DELIVERY).values(source=_SOURCE, delivered_at=_AT)
_DELIVERY = Statement(
    _DELIVERY_INSERT.on_conflict_do_update(
        index_elements=[SHELF_DELIVERY.c.source],
        set_={"delivered_at": case((SHELF_DELIVERY.c.delivered_at > _AT, SHELF_DELIVERY.c.delivered_at), else_=_AT)},
    )
)
_HELD = Statement(
    select(SHELF.c.sender, SHELF.c.kind, SHELF.c.business_key).where(
        SHELF.c.source == _SOURCE, SHELF.c.keep_until > _AT, SHELF.c.body_sealed.is_not(None)
    )
)
_PURGE = Statement(delete(SHELF).where(SHELF.c.keep_until <= _AT).returning(SHELF.c.business_key))


class _Body(msgspec.Struct):
    business_id: str
    body: bytes


_decode = msgspec.msgpack.Decoder(_Body).decode
_Sealed = tuple[dict[str, Any], bool]  # a row, and whether it moves


class StoredShelf:
    """`ports.ShelfStore`. Each change is one transaction with its audit event."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._writer = Writer(database, keys, clock=clock)

    async def put(self, rows: Sequence[ShelfRow], entry: Entry) -> int:
        """How many rows were newer than what was held."""
        return (await self.put_each([(rows, entry)]))[0]

    async def put_each(
        self,
        deliveries: Sequence[tuple[Sequence[ShelfRow], Entry]],
        owed: Sequence[Owed] = (),
        *,
        if_contested: Sequence[Owed] = (),
        listed: Sequence[Listed | None] = (),
    ) -> Sequence[int]:
        """How many rows of each delivery were newer than what was held; one transaction, one event each."""
        sealed = [([(self._row(row), row.moves) for row in rows], entry) for rows, entry in deliveries]
        async with self._writer.alone:
            return await self._database.write(self._put_each(sealed, owed, if_contested, listed or [None] * len(sealed)))

    async def replace(
        self, source: str, rows: Sequence[ShelfRow], delivered_at: datetime, entry: Entry, *, unread: int = 0
    ) -> int:
        """How many rows the shelf now holds of it; an older snapshot than the one held changes nothing."""
        mine = [self._row(row) for row in rows if row.source == source]
        return await self._recorded(entry, self._replace(source, mine, micros(delivered_at), unread))

    async def unlisted(self, source: str, rows: Sequence[ShelfRow], at: datetime) -> tuple[int, int]:
        """(records held in date, how many of them `rows` does not list)."""
        held = await self._database.read(_HELD, {"source": source, "at": micros(at)})
        listed = {(row.sender, row.kind, self._business_key(row)) for row in rows if row.body is not None}
        return len(held), sum((sender, kind, bytes(key)) not in listed for sender, kind, key in held)

    async def newest(self, source: str, holder: NhsNumber | str, at: datetime) -> Sequence[ShelfStored]:
        """Everything in date kept for one holder."""
        return await self._of_holder(_NEWEST, source, holder, at)

    async def heard(self, source: str, holder: NhsNumber | str, at: datetime) -> Sequence[ShelfStored]:
        """The same with what is contested, which protects although it is not shown."""
        return await self._of_holder(_HEARD, source, holder, at)

    async def _of_holder(self, asked: Statement, source: str, holder: NhsNumber | str, at: datetime) -> Sequence[ShelfStored]:
        holder_key = self._holder_key(source, holder)
        rows = await self._database.read(asked, {"source": source, "holder_key": holder_key, "at": micros(at)})
        stored, seen = [], set()
        for sender, kind, business_key, row_holder, as_of, sealed, contested in rows:
            if (sender, kind, bytes(business_key)) in seen:  # the newest of a person's numbers is what is held
                continue
            seen.add((sender, kind, bytes(business_key)))
            if sealed is None:
                continue
            bound = bound_to(source, sender, kind, business_key, row_holder, as_of)
            plain = _decode(opened(self._keys, "shelf-sealing", sealed, *bound))
            stored.append(ShelfStored(kind, plain.business_id, sender, moment(as_of), plain.body, bool(contested)))
        return stored

    async def delivered_at(self, source: str) -> datetime | None:
        """When this shelf was delivered to last, by the sender's clock."""
        rows = await self._database.read(_DELIVERED, {"source": source})
        return moment(rows[0][0]) if rows else None

    async def unread(self, source: str) -> int:
        """How many rows of its newest list could not be taken; 0: it is whole."""
        rows = await self._database.read(MARKED, {"source": source})
        return int(rows[0][0]) if rows else 0

    async def purge(self, at: datetime) -> int:
        """Remove what is past its date, with an event that says how many, when there were any."""
        entry = Entry(kind="administration", at=at, outcome="success", person=None)
        return await self._recorded(entry, self._purge(micros(at)), only_if_any=True)

    async def _recorded(self, entry: Entry, work: Work[int], *, only_if_any: bool = False) -> int:
        async with self._writer.alone:
            return await self._database.write(self._with_event(entry, work, only_if_any=only_if_any))

    def _with_event(self, entry: Entry, work: Work[int], *, only_if_any: bool) -> Work[int]:
        changed = yield from work
        if changed or not only_if_any:
            detail = {"action": "shelf-purge", "rows": changed} if only_if_any else {**entry.detail, "rows_changed": changed}
            yield from self._writer.land([self._writer.prepare(replace(entry, detail=detail))])
        return changed

    def _put_each(
        self,
        deliveries: Sequence[tuple[Sequence[_Sealed], Entry]],
        owed: Sequence[Owed],
        if_contested: Sequence[Owed],
        listed: Sequence[Listed | None],
    ) -> Work[list[int]]:
        changes, events, contests = [], [], 0
        for (rows, entry), one in zip(deliveries, listed, strict=True):
            changed, contested, moved = yield from self._put(rows)
            if one is not None:
                yield from self._noted(one, [row for row, _ in rows])
            changes.append(changed)
            contests += contested
            found = {name: count for name, count in (("contested", contested), ("moved", moved)) if count}
            events.append(self._writer.prepare(replace(entry, detail={**entry.detail, "rows_changed": changed, **found})))
        yield from self._newest_delivery(row for rows, _ in deliveries for row, _ in rows)
        yield from self._writer.land(events)
        owed = [*owed, *if_contested] if contests else owed
        if owed:
            yield Call(INSERT_JOB, {}, job_rows([each for each in owed if isinstance(each, Job)]))
            work = [each for each in owed if isinstance(each, NewWork)]
            yield Call(INSERT_WORK, {}, work_rows(self._keys, work, self._clock()))
        return changes

    def _put(self, rows: Sequence[_Sealed]) -> Work[tuple[int, int, int]]:
        """Rows -> how many were newer, are held of somebody else too, and ended what was held of somebody else."""
        changed = contested = moved = 0
        for row, moves in rows:
            if moves and (yield Call(_MOVED_ON, row)):  # late news of somebody whose it no longer is
                continue
            newer = len((yield Call(_NEWER_WINS, row)))
            newer = newer or (yield from self._settled(row))
            changed += newer
            if newer and moves and row["body_sealed"] is not None:
                moved += len((yield Call(_MOVE, row)))
            if newer:
                contested += len((yield Call(_CONTESTED, row)))
        return changed, contested, moved

    def _noted(self, one: Listed, rows: Sequence[dict[str, Any]]) -> Work[None]:
        yield from self._newest_delivery(rows)
        held_at, now = (yield Call(_DELIVERED, {"source": one.source})), micros(self._clock())
        held = {bytes(key) for _, _, key in (yield Call(_HELD, {"source": one.source, "at": now}))}
        listed = {row["business_key"] for row in rows}
        yield from noted(one, listed=listed, held=held, held_at=held_at[0][0] if held_at else None, at=now)

    def _newest_delivery(self, rows: Iterable[dict[str, Any]]) -> Work[None]:
        newest: dict[str, int] = {}
        for row in rows:
            newest[row["source"]] = max(row["as_of"], newest.get(row["source"], row["as_of"]))
        for source in sorted(newest):
            yield Call(_DELIVERY, {"source": source, "at": newest[source]})

    def _settled(self, row: dict[str, Any]) -> Work[int]:
        """What is not newer changes nothing, unless it is of the very same instant and says something else.

        Senders promise no order, so which of two came first may not decide: a deletion wins, then the greater bytes.
        """
        held = yield Call(_OF_KEY, {column.name: row[column.name] for column in _KEY})
        if not held or held[0][0] != row["as_of"] or self._rank(row, held[0][1]) >= self._rank(row, row["body_sealed"]):
            return 0
        return len((yield Call(_TAKES_ITS_PLACE, row)))

    def _rank(self, row: dict[str, Any], sealed: bytes | None) -> tuple[bool, bytes]:
        if sealed is None:
            return True, b""
        bound = bound_to(row["source"], row["sender"], row["kind"], row["business_key"], row["holder_key"], row["as_of"])
        return False, opened(self._keys, "shelf-sealing", sealed, *bound)

    def _replace(self, source: str, rows: Sequence[dict[str, Any]], delivered_at: int, unread: int) -> Work[int]:
        held = yield Call(_DELIVERED, {"source": source})
        if held and held[0][0] >= delivered_at:
            return 0
        yield Call(_CLEAR, {"source": source})
        yield Call(_FILL, {}, rows)
        yield Call(_DELIVERY, {"source": source, "at": delivered_at})
        yield from replaced(source, unread=unread, until=delivered_at, at=micros(self._clock()))
        return len(rows)

    def _purge(self, at: int) -> Work[int]:
        return len((yield Call(_PURGE, {"at": at})))

    def _row(self, row: ShelfRow) -> dict[str, Any]:
        business_key = self._business_key(row)
        holder_key, as_of = self._holder_key(row.source, row.holder), micros(row.as_of)
        sealed = None
        if row.body is not None:
            plain = msgspec.msgpack.encode(_Body(row.business_id, row.body))
            bound = bound_to(row.source, row.sender, row.kind, business_key, holder_key, as_of)
            sealed = self._keys.seal("shelf-sealing", plain, *bound)
        return {
            "source": row.source,
            "sender": row.sender,
            "kind": row.kind,
            "business_key": business_key,
            "holder_key": holder_key,
            "as_of": as_of,
            "keep_until": micros(row.keep_until),
            "body_sealed": sealed,
        }

    def _business_key(self, row: ShelfRow) -> bytes:
        return self._keys.word_key("shelf", row.source, row.sender, row.kind, row.business_id)

    def _holder_key(self, source: str, holder: NhsNumber | str) -> bytes:
        if isinstance(holder, NhsNumber):
            return self._keys.number_key(holder)
        return self._keys.word_key("local-id", source, holder)


def bound_to(source: str, sender: str, kind: str, business_key: bytes, holder_key: bytes, as_of: int) -> tuple[bytes, ...]:
    """What a copy is sealed beside."""
    return source.encode(), sender.encode(), kind.encode(), business_key, holder_key, str(as_of).encode()

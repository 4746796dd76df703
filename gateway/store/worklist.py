"""The work list: what people must settle, with who took it, who closed it and how. Every act on it is an event."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, ColumnElement, Integer, LargeBinary, String, bindparam, func, or_, select, update

from gateway.ports import Entry, NewWork, WorkItem, WorkSubject
from gateway.store.database import Call, Database, Row, Statement, Work, is_storable, micros, moment
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.tables import WORK_ITEM
from gateway.store.unread_lists import SET_ASIDE, settled
from gateway.store.work_rows import open_about, opening, work_rows

_ITEM = bindparam("item", type_=String)
_BY = bindparam("by", type_=String)
_AT = bindparam("at", type_=BigInteger)
_SHOWN = (
    WORK_ITEM.c.id,
    WORK_ITEM.c.kind,
    WORK_ITEM.c.reason,
    WORK_ITEM.c.source,
    WORK_ITEM.c.owner,
    WORK_ITEM.c.due,
    WORK_ITEM.c.opened_at,
    WORK_ITEM.c.taken_by,
    WORK_ITEM.c.closed_at,
    WORK_ITEM.c.outcome,
)
_NARROWED_BY = ("owner", "source", "kind")
_open_for = (WORK_ITEM.c.closed_at.is_(None), or_(WORK_ITEM.c.taken_by.is_(None), WORK_ITEM.c.taken_by == _BY))
_free_for = (WORK_ITEM.c.id == _ITEM, *_open_for)
_TAKE = Statement(
    update(WORK_ITEM)
    .where(*_free_for)
    .values(taken_by=_BY, taken_at=_AT)
    .returning(WORK_ITEM.c.kind, WORK_ITEM.c.source, WORK_ITEM.c.about_sealed)
)
_ABOUT = Statement(select(WORK_ITEM.c.kind, WORK_ITEM.c.source, WORK_ITEM.c.about_sealed).where(*_free_for))
_OF_KEY = Statement(
    select(WORK_ITEM.c.id, WORK_ITEM.c.kind).where(WORK_ITEM.c.once_key == bindparam("once_key", type_=LargeBinary), *_open_for)
)
_CLOSE = Statement(
    update(WORK_ITEM)
    .where(*_free_for)
    .values(
        closed_by=_BY,
        closed_at=_AT,
        outcome=bindparam("outcome", type_=String),
        about_sealed=bindparam("nothing", type_=WORK_ITEM.c.about_sealed.type),
        number_key=bindparam("nothing", type_=WORK_ITEM.c.number_key.type),
    )
    .returning(WORK_ITEM.c.id)
)
_GROUPS = (WORK_ITEM.c.owner, WORK_ITEM.c.source, WORK_ITEM.c.kind)
_COUNTED = {
    closed: Statement(
        select(*_GROUPS, func.count())
        .where((WORK_ITEM.c.closed_at.is_not(None)) if closed else WORK_ITEM.c.closed_at.is_(None))
        .group_by(*_GROUPS)
    )
    for closed in (False, True)
}
_listed: dict[tuple[frozenset[str], bool], Statement] = {}


class StoredWorkList:
    """`ports.WorkList`."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._writer = Writer(database, keys, clock=clock)

    async def open(self, items: Sequence[NewWork], at: datetime) -> int:
        """How many are new."""
        return (await self._database.write(opening(work_rows(self._keys, items, at)))).total()

    async def list(
        self,
        *,
        owner: str | None = None,
        source: str | None = None,
        kind: str | None = None,
        closed: bool = False,
        limit: int = 200,
    ) -> Sequence[WorkItem]:
        """The most urgent first; of closed ones the newest."""
        given = {name: value for name, value in zip(_NARROWED_BY, (owner, source, kind), strict=True) if value is not None}
        if not all(is_storable(value) for value in given.values()):
            return []
        rows = await self._database.read_long(_list(frozenset(given), closed=closed), {**given, "limit": limit})
        return [_item(row) for row in rows]

    async def counted(self, *, closed: bool = False) -> dict[tuple[str, str, str], int]:
        """Owner, source and kind -> how many."""
        rows = await self._database.read_long(_COUNTED[closed], {})
        return {(owner, source, kind): int(count) for owner, source, kind, count in rows}

    async def take(self, item: str, *, by: str, at: datetime) -> WorkSubject | None:
        """About whom it is, for the one who settles it now."""
        if not (is_storable(item) and is_storable(by)):
            return None
        async with self._writer.alone:
            return await self._database.write(self._take(item, by, at))

    async def close(self, item: str, *, by: str, outcome: str, at: datetime) -> bool:
        """True: closed. What it was about is no longer stored: the event and the source say it."""
        if not (is_storable(item) and is_storable(by)):
            return False
        async with self._writer.alone:
            return await self._database.write(self._close(item, by, outcome, at))

    async def settle(self, keys: Sequence[str], *, by: str, outcome: str, at: datetime) -> Counter[str]:
        """What one decision settles, in one transaction: kind -> how many were closed."""
        if not is_storable(by):
            return Counter()
        async with self._writer.alone:
            return await self._database.write(self._settle(keys, by, outcome, at))

    def _take(self, item: str, by: str, at: datetime) -> Work[WorkSubject | None]:
        rows = yield Call(_TAKE, {"item": item, "by": by, "at": micros(at)})
        if not rows:
            return None
        return (yield from self._recorded(item, rows[0], "work-taken", by, at, {}))

    def _close(self, item: str, by: str, outcome: str, at: datetime) -> Work[bool]:
        rows = yield Call(_ABOUT, {"item": item, "by": by})
        if not rows:
            return False
        yield Call(_CLOSE, {"item": item, "by": by, "at": micros(at), "outcome": outcome, "nothing": None})
        kind, source, _ = rows[0]
        more = {"source_is": "whole, by this decision"} if kind == SET_ASIDE and (yield from settled(source)) else {}
        yield from self._recorded(item, rows[0], "work-closed", by, at, {"outcome": outcome, **more})
        return True

    def _settle(self, keys: Sequence[str], by: str, outcome: str, at: datetime) -> Work[Counter[str]]:
        closed: Counter[str] = Counter()
        for key in dict.fromkeys(keys):
            for item, kind in (yield Call(_OF_KEY, {"once_key": self._keys.word_key("work", key), "by": by})):
                closed[kind] += yield from self._close(item, by, outcome, at)
        return closed

    def _recorded(self, item: str, row: Row, act: str, by: str, at: datetime, more: dict[str, str]) -> Work[WorkSubject]:
        kind, source, sealed = row
        about = open_about(self._keys, item, sealed)
        detail = {"act": act, "item": item, "kind": kind, "source": source, **more}
        entry = Entry("administration", at, "success", about.person, staff=by, detail=detail)
        yield from self._writer.land([self._writer.prepare(entry)])
        return about


def _list(names: frozenset[str], *, closed: bool) -> Statement:
    statement = _listed.get((names, closed))
    if statement is None:
        criteria: list[ColumnElement[bool]] = [WORK_ITEM.c[name] == bindparam(name, type_=String) for name in sorted(names)]
        state = WORK_ITEM.c.closed_at.is_not(None) if closed else WORK_ITEM.c.closed_at.is_(None)
        order = (WORK_ITEM.c.closed_at.desc(),) if closed else (WORK_ITEM.c.due,)
        chosen = select(*_SHOWN).where(state, *criteria).order_by(*order, WORK_ITEM.c.id)
        statement = _listed[names, closed] = Statement(chosen.limit(bindparam("limit", type_=Integer)))
    return statement


def _item(row: Row) -> WorkItem:
    item, kind, reason, source, owner, due, opened_at, taken_by, closed_at, outcome = row
    closed = None if closed_at is None else moment(closed_at)
    return WorkItem(item, kind, reason, source, owner, moment(due), moment(opened_at), taken_by, closed, outcome)

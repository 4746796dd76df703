"""Which sources' newest lists could not be taken whole: marked with the delivery, ended by a whole list or by a person.

A row that nobody could read may be of anybody, so as long as the mark stands its source says of nobody that there is nothing.
"""

from collections.abc import Set
from typing import Final

from sqlalchemy import BigInteger, Integer, String, bindparam, case, delete, select

from gateway.ports import Listed
from gateway.store.database import Call, Statement, Work, insert, micros
from gateway.store.shelf_tables import SHELF_UNREAD
from gateway.store.tables import WORK_ITEM

SET_ASIDE: Final = "set-aside"

_SOURCE = bindparam("source", type_=String)
_MARKED_AT = bindparam("marked_at", type_=BigInteger)
_INSERT = insert(SHELF_UNREAD).values(
    source=_SOURCE, rows=bindparam("rows", type_=Integer), until=bindparam("until", type_=BigInteger), marked_at=_MARKED_AT
)
_MARK = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=[SHELF_UNREAD.c.source],
        set_={
            "rows": _INSERT.excluded.rows,
            "until": case((SHELF_UNREAD.c.until > _INSERT.excluded.until, SHELF_UNREAD.c.until), else_=_INSERT.excluded.until),
            "marked_at": _INSERT.excluded.marked_at,
        },
    )
)
MARKED = Statement(
    select(SHELF_UNREAD.c.rows, SHELF_UNREAD.c.until, SHELF_UNREAD.c.marked_at).where(SHELF_UNREAD.c.source == _SOURCE)
)
_UNMARK = Statement(
    delete(SHELF_UNREAD)
    .where(SHELF_UNREAD.c.source == _SOURCE, SHELF_UNREAD.c.marked_at == _MARKED_AT)
    .returning(SHELF_UNREAD.c.source)
)
_CLEAR = Statement(delete(SHELF_UNREAD).where(SHELF_UNREAD.c.source == _SOURCE))
_ASIDE = Statement(
    select(WORK_ITEM.c.id).where(WORK_ITEM.c.kind == SET_ASIDE, WORK_ITEM.c.source == _SOURCE, WORK_ITEM.c.closed_at.is_(None))
)


def noted(one: Listed, *, listed: Set[bytes], held: Set[bytes], held_at: int | None, at: int) -> Work[None]:
    """One delivery, taken: its source is marked, or no longer. Inside the caller's transaction.

    `held`: what its shelf holds, `held_at`: as of when, `listed`: what the delivery says of. A list that leaves out more than
    half of what is held is a part of one, and ends no mark; nor does an older one, and an older one marks nothing either.
    """
    rows = yield Call(MARKED, {"source": one.source})
    if one.unread:
        after = 0 if held_at is None else held_at + 1  # whatever is whole and newer than what is held
        until = after if one.as_of is None else micros(one.as_of)
        if rows or held_at is None or until >= held_at:
            yield Call(_MARK, {"source": one.source, "rows": one.unread, "until": until, "marked_at": at})
        return
    if rows and one.as_of is not None and micros(one.as_of) >= rows[0][1] and 2 * len(held - listed) <= len(held):
        yield Call(_UNMARK, {"source": one.source, "marked_at": rows[0][2]})


def replaced(source: str, *, unread: int, until: int, at: int) -> Work[None]:
    """A snapshot took the place of all that was held: whole, or without rows that could not be taken."""
    if unread:
        yield Call(_MARK, {"source": source, "rows": unread, "until": until, "marked_at": at})
    else:
        yield Call(_CLEAR, {"source": source})


def settled(source: str) -> Work[bool]:
    """A person closed an item: where nothing else that was set aside of its source is open, it is whole. True: it was not."""
    rows = yield Call(MARKED, {"source": source})
    if not rows or (yield Call(_ASIDE, {"source": source})):
        return False
    return bool((yield Call(_UNMARK, {"source": source, "marked_at": rows[0][2]})))

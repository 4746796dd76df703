"""Work items on their way into the table: about whom they are is sealed, and one open item for each key."""

import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam

from gateway.nhs_number import NhsNumber
from gateway.ports import NewWork, WorkSubject
from gateway.store.database import Call, Statement, Work, insert, micros
from gateway.store.keys import Keys
from gateway.store.sealing import opened
from gateway.store.tables import WORK_ITEM

_insert = (
    insert(WORK_ITEM)
    .values({column.name: bindparam(column.name, type_=column.type) for column in WORK_ITEM.c})
    .on_conflict_do_nothing(index_elements=[WORK_ITEM.c.once_key], index_where=WORK_ITEM.c.closed_at.is_(None))
)
INSERT_WORK = Statement(_insert)
OPEN_WORK = Statement(_insert.returning(WORK_ITEM.c.id))


class _About(msgspec.Struct):
    number: str | None
    local_ref: str


_decode = msgspec.json.Decoder(_About).decode


def work_rows(keys: Keys, items: Sequence[NewWork], at: datetime) -> Sequence[dict[str, Any]]:
    """New items -> rows of the table."""
    return [_row(keys, item, at) for item in items]


def opening(rows: Sequence[dict[str, Any]]) -> Work[Counter[str]]:
    """New items inside the caller's transaction -> how many of each kind were not open already."""
    opened: Counter[str] = Counter()
    for row in rows:
        opened[row["kind"]] += len((yield Call(OPEN_WORK, row)))
    return +opened


def open_about(keys: Keys, item: str, sealed: bytes) -> WorkSubject:
    """What was sealed with an item. Raises `StoreDown`."""
    about = _decode(opened(keys, "number-sealing", sealed, b"work", item.encode()))
    return WorkSubject(None if about.number is None else NhsNumber(about.number), about.local_ref)


def _row(keys: Keys, item: NewWork, at: datetime) -> dict[str, Any]:
    made = secrets.token_hex(16)
    about = msgspec.json.encode(_About(None if item.person is None else item.person.value, item.local_ref))
    return {
        "id": made,
        "once_key": keys.word_key("work", item.key),
        "kind": item.kind,
        "reason": item.reason,
        "source": item.source,
        "owner": item.owner,
        "due": micros(item.due),
        "opened_at": micros(at),
        "number_key": None if item.person is None else keys.number_key(item.person),
        "about_sealed": keys.seal("number-sealing", about, b"work", made.encode()),
        "taken_by": None,
        "taken_at": None,
        "closed_at": None,
        "closed_by": None,
        "outcome": None,
    }

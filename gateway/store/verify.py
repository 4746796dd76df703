"""The verifier: reads the whole log on its own connection and names every fault it finds.

It finds edits, deletions inside, insertions, reordering, gaps in a writer's sequence and clocks that ran back. It does
not find a tail that was cut off, or a log rebuilt from nothing: that needs a signed tree head kept elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Integer, bindparam, func, literal_column, select

from gateway.audit.canonical import commitment
from gateway.store.database import Database, Row, Statement, moment
from gateway.store.tables import EVENT

_BATCH = 5_000
_CLOCKS_MAY_DIFFER = timedelta(seconds=120)  # between writers; one writer's own times never run back
_NAMES = ("position", "event", "writer", "writer_seq", "recorded_at", "salt", "commitment", "canonical", "person_key")
_COPIED = ("organisation", "system", "outcome", "purpose", "kind", "request_id")  # columns that repeat the event's words
_PAGE = Statement(
    select(*(EVENT.c[name] for name in (*_NAMES, *_COPIED)))
    .where(EVENT.c.position >= bindparam("start", type_=BigInteger))
    .order_by(EVENT.c.position)
    .limit(literal_column(str(_BATCH), Integer))
)
_UNNUMBERED = Statement(select(func.count()).select_from(EVENT).where(EVENT.c.position.is_(None)))
_WRITER_ENDS = Statement(
    select(EVENT.c.writer, func.min(EVENT.c.writer_seq), func.max(EVENT.c.writer_seq), func.count()).group_by(EVENT.c.writer)
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where. `index` None: not at one place."""

    index: int | None
    what: str


async def verify(database: Database) -> list[Fault]:
    """The whole log -> its faults; an empty list is a log that holds together."""
    faults: list[Fault] = []
    seen: dict[str, tuple[int, int]] = {}  # writer -> last sequence number and time
    expected, newest = 0, 0
    while rows := await database.read_long(_PAGE, {"start": expected}):
        for row in rows:
            event = dict(zip((*_NAMES, *_COPIED), row, strict=True))
            position = event["position"]
            if position != expected:
                faults.append(Fault(expected, f"{position - expected} missing before index {position}"))
            faults.extend(Fault(position, what) for what in _own_faults(event))
            faults.extend(Fault(position, what) for what in _order_faults(event, seen, newest))
            seen[event["writer"]] = (event["writer_seq"], event["recorded_at"])
            newest = max(newest, event["recorded_at"])
            expected = position + 1
    faults.extend(_writer_faults(await database.read_long(_WRITER_ENDS, {})))
    waiting = (await database.read_long(_UNNUMBERED, {}))[0][0]
    if waiting and database.dialect == "sqlite":
        faults.append(Fault(None, f"{waiting} events without an index"))
    return faults


def _own_faults(event: dict[str, Any]) -> list[str]:
    faults = []
    if commitment(event["salt"], event["canonical"]) != event["commitment"]:
        faults.append("the commitment does not match the event")
    try:
        body = msgspec.json.decode(event["canonical"])
    except msgspec.DecodeError:
        return [*faults, "the event cannot be read"]
    told = {
        **{name: event[name] for name in ("event", "writer", "writer_seq", *_COPIED)},
        "recorded_at": moment(event["recorded_at"]).isoformat(),
        "person": None if event["person_key"] is None else bytes(event["person_key"]).hex(),
    }
    faults.extend(f"the column of {name} differs from the event" for name, value in told.items() if body.get(name) != value)
    return faults


def _order_faults(event: dict[str, Any], seen: dict[str, tuple[int, int]], newest: int) -> list[str]:
    faults = []
    last_seq, last_at = seen.get(event["writer"], (0, 0))
    if event["writer_seq"] != last_seq + 1:
        faults.append("the writer's sequence is not dense")
    if event["recorded_at"] < last_at:
        faults.append("the writer's clock ran back")
    elif moment(newest) - moment(event["recorded_at"]) > _CLOCKS_MAY_DIFFER:
        faults.append("the event is older than those before it")
    return faults


def _writer_faults(rows: Sequence[Row]) -> list[Fault]:
    return [
        Fault(None, "a writer's sequence has gaps or does not start at one")
        for _, first, last, count in rows
        if first != 1 or last != count
    ]

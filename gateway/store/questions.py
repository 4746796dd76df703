"""What auditors ask of the log: criteria in, events out, newest first."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Integer, LargeBinary, String, bindparam, or_, select

from gateway.audit.canonical import commitment_text
from gateway.ports import LogQuestion, StoredEvent
from gateway.store.database import Database, Row, Rows, Statement, is_storable, micros, moment
from gateway.store.keys import Keys
from gateway.store.sealing import open_number
from gateway.store.tables import EVENT, PERSON

_MOST = 1_000
_COLUMNS = (EVENT.c.position, EVENT.c.event, EVENT.c.writer, EVENT.c.writer_seq, EVENT.c.recorded_at, EVENT.c.commitment)
_ONE = Statement(
    select(*_COLUMNS, EVENT.c.canonical).where(EVENT.c.event == bindparam("event", type_=String), EVENT.c.position.is_not(None))
)
_CRITERIA: dict[str, ColumnElement[bool]] = {
    "organisation": EVENT.c.organisation == bindparam("organisation", type_=String),
    "outcome": EVENT.c.outcome == bindparam("outcome", type_=String),
    "purpose": EVENT.c.purpose == bindparam("purpose", type_=String),
    "kind": EVENT.c.kind == bindparam("kind", type_=String),
    "agent_key": EVENT.c.agent_key == bindparam("agent_key", type_=LargeBinary),
    "since": EVENT.c.recorded_at >= bindparam("since", type_=BigInteger),
    "until": EVENT.c.recorded_at < bindparam("until", type_=BigInteger),
    "before": EVENT.c.position < bindparam("before", type_=BigInteger),
    "person_key": EVENT.c.person_key == bindparam("person_key", type_=LargeBinary),
}
_asked: dict[frozenset[str], Statement] = {}

# Every number of one living person: of the row asked for, of the row it leads to, and of all that lead there.
_mine, _kin = PERSON.alias("mine"), PERSON.alias("kin")
_KIN = (
    select(_kin.c.id, _kin.c.number_sealed)
    .select_from(_mine)
    .join(
        _kin,
        or_(
            _kin.c.id == _mine.c.id,
            _kin.c.id == _mine.c.successor,
            _kin.c.successor == _mine.c.id,
            _kin.c.successor == _mine.c.successor,
        ),
    )
)
_KIN_BY_NUMBER = Statement(
    _KIN.where(_mine.c.number_key == bindparam("number_key", type_=LargeBinary), _mine.c.status != "sealed")
)
_KIN_BY_ID = Statement(_KIN.where(_mine.c.id == bindparam("id", type_=String)))


async def ask(database: Database, keys: Keys, question: LogQuestion) -> Sequence[StoredEvent]:
    """A question -> events, newest first. A person is every number of that living person; a sealed row stands alone."""
    params = _criteria(keys, question)
    if not all(is_storable(value) for value in params.values() if isinstance(value, str)):
        return []
    people = await _people(database, keys, question)
    if people is None:
        return _events(await _select(database, params))
    found: list[Row] = []
    for person_key in people:
        found.extend(await _select(database, {**params, "person_key": person_key}))
    return _events(sorted(found, key=lambda row: -row[0])[: params["limit"]])


async def find(database: Database, event: str) -> StoredEvent | None:
    """One event by id."""
    if not is_storable(event):
        return None
    rows = _events(await database.read_long(_ONE, {"event": event}))
    return rows[0] if rows else None


async def _people(database: Database, keys: Keys, question: LogQuestion) -> set[bytes] | None:
    asked: list[set[bytes]] = []
    if question.person is not None:
        rows = await database.read(_KIN_BY_NUMBER, {"number_key": keys.number_key(question.person)})
        asked.append({keys.audit_person(question.person)} | _audit_keys(keys, rows))
    if question.person_id is not None and is_storable(question.person_id):
        asked.append(_audit_keys(keys, await database.read(_KIN_BY_ID, {"id": question.person_id})))
    return set.intersection(*asked) if asked else None


def _audit_keys(keys: Keys, rows: Rows) -> set[bytes]:
    return {keys.audit_person(open_number(keys, row[0], row[1])) for row in rows}


def _criteria(keys: Keys, question: LogQuestion) -> dict[str, Any]:
    given: dict[str, Any] = {
        "organisation": question.organisation,
        "outcome": question.outcome,
        "purpose": question.purpose,
        "kind": question.kind,
        "agent_key": None if question.staff is None else keys.audit_agent(question.staff),
        "since": None if question.since is None else micros(question.since),
        "until": None if question.until is None else micros(question.until),
        "before": question.before_index,
    }
    params = {name: value for name, value in given.items() if value is not None}
    params["limit"] = max(0, min(question.limit, _MOST))
    return params


async def _select(database: Database, params: dict[str, Any]) -> Rows:
    names = frozenset(params) - {"limit"}
    statement = _asked.get(names)
    if statement is None:
        criteria = [_CRITERIA[name] for name in sorted(names)]
        statement = _asked[names] = Statement(
            select(*_COLUMNS, EVENT.c.canonical)
            .where(EVENT.c.position.is_not(None), *criteria)
            .order_by(EVENT.c.position.desc())
            .limit(bindparam("limit", type_=Integer))
        )
    return await database.read_long(statement, params)


def _events(rows: Rows) -> list[StoredEvent]:
    return [
        StoredEvent(
            index=position,
            event=event,
            writer=writer,
            writer_seq=writer_seq,
            recorded_at=moment(recorded_at),
            commitment=commitment_text(commitment),
            body=msgspec.json.decode(canonical),
        )
        for position, event, writer, writer_seq, recorded_at, commitment, canonical in rows
    ]

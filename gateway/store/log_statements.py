"""The log's SQL: written once with SQLAlchemy Core, compiled per dialect, run by the drivers."""

import hashlib

from sqlalchemy import BigInteger, LargeBinary, String, Table, bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from gateway.store.database import Statement, insert
from gateway.store.tables import EVENT, JOB, REPLAY

EVENT_COLUMNS = tuple(column.name for column in EVENT.c)  # the log builds its rows in this order
_SEQUENCE_LOCK = 0x5CA6_0001  # any constant: one lock name in this database
_LEEWAY_US = 300 * 1_000_000  # replay rows outlive their assertion by more than any clock leeway
_NUMBER_AT_ONCE = 5_000


def _all_bound(table: Table) -> dict[str, object]:
    return {column.name: bindparam(column.name, type_=column.type) for column in table.c}


_last_seq = select(func.coalesce(func.max(EVENT.c.writer_seq), literal_column("0"))).where(
    EVENT.c.writer == bindparam("writer", type_=String)
)
_numbered = EVENT.alias("numbered")
_last_position = select(func.coalesce(func.max(_numbered.c.position), literal_column("-1")))

LAST_SEQ = Statement(_last_seq)
ENDS = Statement(select(_last_seq.scalar_subquery(), _last_position.scalar_subquery()))
INSERT_EVENT = Statement(insert(EVENT).values(_all_bound(EVENT)))

_arrays = (
    func.unnest(*(bindparam(name, type_=ARRAY(EVENT.c[name].type)) for name in EVENT_COLUMNS))
    .table_valued(*EVENT_COLUMNS)
    .render_derived()
)
INSERT_EVENTS = Statement(insert(EVENT).from_select(list(EVENT_COLUMNS), select(*(_arrays.c[name] for name in EVENT_COLUMNS))))

INSERT_JOB = Statement(insert(JOB).values(_all_bound(JOB)).on_conflict_do_nothing(index_elements=[JOB.c.kind, JOB.c.key]))

INSERT_REPLAY = Statement(
    insert(REPLAY)
    .values(
        client=bindparam("client", type_=String),
        jti_hash=bindparam("jti_hash", type_=LargeBinary),
        expires=bindparam("expires", type_=BigInteger),
    )
    .on_conflict_do_nothing(index_elements=[REPLAY.c.client, REPLAY.c.jti_hash])
    .returning(REPLAY.c.expires)
)
PURGE_REPLAY = Statement(
    delete(REPLAY)
    .where(REPLAY.c.expires < bindparam("now", type_=BigInteger) - literal_column(str(_LEEWAY_US)))
    .returning(REPLAY.c.expires)
)

TRY_SEQUENCE = Statement(select(func.pg_try_advisory_xact_lock(literal_column(str(_SEQUENCE_LOCK)))))
LOCK_SEQUENCE = Statement(select(func.pg_advisory_xact_lock(literal_column(str(_SEQUENCE_LOCK)))))
_due = (
    select(EVENT.c.event)
    .add_columns(func.row_number().over(order_by=[EVENT.c.recorded_at, EVENT.c.writer, EVENT.c.writer_seq]).label("place"))
    .where(EVENT.c.position.is_(None))
    .order_by(EVENT.c.recorded_at, EVENT.c.writer, EVENT.c.writer_seq)
    .limit(literal_column(str(_NUMBER_AT_ONCE)))
    .cte("due")
)
NUMBER_EVENTS = Statement(
    update(EVENT)
    .values(position=_last_position.scalar_subquery() + _due.c.place)
    .where(EVENT.c.event == _due.c.event)
    .returning(EVENT.c.position)
)


def jti_hash(jti: str) -> bytes:
    """A replay row holds no `jti`, only its SHA-256."""
    return hashlib.sha256(jti.encode("utf-8", "surrogatepass")).digest()

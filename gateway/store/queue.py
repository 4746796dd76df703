"""The queue: rows leased for a while, given back by time alone when their worker dies."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Integer, String, and_, bindparam, literal_column, select, update

from gateway.ports import Job, Leased
from gateway.store.database import Call, Database, Statement, Work, micros, moment
from gateway.store.tables import JOB

_open = and_(JOB.c.done_at.is_(None), JOB.c.kind == bindparam("kind", type_=String))
_CLAIM = Statement(
    update(JOB)
    .where(
        JOB.c.id.in_(
            select(JOB.c.id)
            .where(
                _open,
                JOB.c.due <= bindparam("now", type_=BigInteger),
                JOB.c.leased_until <= bindparam("now", type_=BigInteger),
            )
            .order_by(JOB.c.due)
            .limit(bindparam("limit", type_=Integer))
            .with_for_update(skip_locked=True)  # SQLite has one writer and leaves it out
        )
    )
    .values(
        lease=bindparam("lease", type_=String),
        leased_until=bindparam("until", type_=BigInteger),
        attempt=JOB.c.attempt + literal_column("1"),
    )
    .returning(JOB.c.id, JOB.c.kind, JOB.c.key, JOB.c.due, JOB.c.body, JOB.c.attempt)
)
_mine = and_(
    JOB.c.id == bindparam("job", type_=String),
    JOB.c.lease == bindparam("lease", type_=String),
    JOB.c.done_at.is_(None),
)
_DONE = Statement(update(JOB).where(_mine).values(done_at=bindparam("at", type_=BigInteger)).returning(JOB.c.id))
_RETRY = Statement(
    update(JOB)
    .where(_mine)
    .values(
        due=bindparam("due", type_=BigInteger),
        reason=bindparam("reason", type_=String),
        leased_until=literal_column("0"),
        lease=literal_column("''"),
    )
    .returning(JOB.c.id)
)


class StoredQueue:
    """`ports.Queue`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, kind: str, *, now: datetime, lease_s: float, limit: int = 1) -> Sequence[Leased]:
        """Due rows of one kind, leased to the caller."""
        lease = secrets.token_hex(16)
        params = {
            "kind": kind,
            "now": micros(now),
            "until": micros(now) + int(lease_s * 1_000_000),
            "limit": limit,
            "lease": lease,
        }
        rows = await self._database.write(_one(Call(_CLAIM, params)))
        return [
            Leased(job[0], lease, job[5], Job(job[1], job[2], moment(job[3]), msgspec.json.decode(job[4])))
            for job in sorted(rows, key=lambda row: (row[3], row[0]))
        ]

    async def done(self, leased: Leased, at: datetime) -> bool:
        """False: the lease ran out and somebody else has it, so what was done may be done twice (same key)."""
        params = {"job": leased.id, "lease": leased.lease, "at": micros(at)}
        return bool(await self._database.write(_one(Call(_DONE, params))))

    async def retry(self, leased: Leased, *, due: datetime, reason: str) -> bool:
        """Back into the queue, due later. `reason` is a short constant."""
        params = {"job": leased.id, "lease": leased.lease, "due": micros(due), "reason": reason}
        return bool(await self._database.write(_one(Call(_RETRY, params))))


def job_rows(jobs: Sequence[Job]) -> Sequence[Mapping[str, Any]]:
    """Jobs -> rows of the table, for the transaction of the event that owes them."""
    return [
        {
            "id": secrets.token_hex(16),
            "kind": job.kind,
            "key": job.key,
            "due": micros(job.due),
            "body": msgspec.json.encode(job.body).decode(),
            "attempt": 0,
            "leased_until": 0,
            "lease": "",
            "reason": "",
            "done_at": None,
        }
        for job in jobs
    ]


def _one(call: Call) -> Work[Any]:
    return (yield call)

"""The accounting of all workers, added up: leaves by what became of them, and paths that no map knows."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import String, bindparam, delete, select

from gateway.ports import Counted, DriftRow
from gateway.store.database import Call, Database, Statement, Work, insert, micros, moment
from gateway.store.tables import ACCOUNTED, DRIFT

_SUMS = ("records", "mapped", "ignored", "withheld", "unmapped")
_ADD = insert(ACCOUNTED).values({column.name: bindparam(column.name, type_=column.type) for column in ACCOUNTED.c})
_ADDED = Statement(
    _ADD.on_conflict_do_update(
        index_elements=[ACCOUNTED.c.source, ACCOUNTED.c.schema_name],
        set_={name: ACCOUNTED.c[name] + _ADD.excluded[name] for name in _SUMS},
    )
)
_SEEN = insert(DRIFT).values({column.name: bindparam(column.name, type_=column.type) for column in DRIFT.c})
_DRIFTED = Statement(
    _SEEN.on_conflict_do_update(
        index_elements=[DRIFT.c.source, DRIFT.c.schema_name, DRIFT.c.path],
        set_={"records": DRIFT.c.records + _SEEN.excluded.records, "last_seen": _SEEN.excluded.last_seen},
    ).returning(DRIFT.c.records)
)
_COUNTED = Statement(select(*ACCOUNTED.c).order_by(ACCOUNTED.c.source, ACCOUNTED.c.schema_name))
_LISTED = Statement(select(*DRIFT.c).order_by(DRIFT.c.source, DRIFT.c.schema_name, DRIFT.c.path))
_CLEARED = Statement(delete(DRIFT).where(DRIFT.c.source == bindparam("of", type_=String)).returning(DRIFT.c.path))


class StoredDrifts:
    """`ports.Drifts`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, counted: Sequence[Counted], at: datetime) -> Sequence[tuple[str, str, str]]:
        """Add up, in one transaction."""
        return await self._database.write(_added(counted, micros(at)))

    async def counted(self) -> Sequence[Counted]:
        """The sums."""
        rows = await self._database.read(_COUNTED, {})
        return [Counted(row[0], row[1], row[2], row[3], row[4], row[5], row[6], {}) for row in rows]

    async def drift(self) -> Sequence[DriftRow]:
        """Every path, by source."""
        rows = await self._database.read(_LISTED, {})
        return [DriftRow(row[0], row[1], row[2], row[3], moment(row[4]), moment(row[5])) for row in rows]

    async def clear(self, source: str) -> int:
        """Forget one source's paths."""
        return await self._database.write(_cleared(source))


def _added(counted: Sequence[Counted], at: int) -> Work[list[tuple[str, str, str]]]:
    new = []
    for one in sorted(counted, key=lambda one: (one.source, one.schema)):  # the same order in every worker: no deadlock
        sums = {name: getattr(one, name) for name in _SUMS}
        yield Call(_ADDED, {"source": one.source, "schema_name": one.schema, **sums})
        for path, records in sorted(one.paths.items()):
            row = {"source": one.source, "schema_name": one.schema, "path": path, "records": records}
            rows = yield Call(_DRIFTED, {**row, "first_seen": at, "last_seen": at})
            if rows[0][0] == records:
                new.append((one.source, one.schema, path))
    return new


def _cleared(source: str) -> Work[int]:
    rows = yield Call(_CLEARED, {"of": source})
    return len(rows)

"""Deaths and losses, by keyed hash: why nothing may go out about a person that invites or reminds.

Set by what sources tell, in any order and as often as they like; ended by a person alone, with an event in the same
transaction. Setting and ending raise the facts version, so what is being sent meanwhile is decided again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import BigInteger, String, and_, bindparam, null, or_, select, update

from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, Suppression
from gateway.store.database import Call, Database, Statement, Work, insert, micros, moment
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.subjects import family, raise_version
from gateway.store.tables import SUPPRESSION

_KEY = [SUPPRESSION.c.number_key, SUPPRESSION.c.kind, SUPPRESSION.c.episode_key, SUPPRESSION.c.source]
_INSERT = insert(SUPPRESSION).values({column.name: bindparam(column.name, type_=column.type) for column in SUPPRESSION.c})
_TOLD = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=_KEY,
        set_={"as_of": _INSERT.excluded.as_of, "resumed_at": null()},
        where=or_(SUPPRESSION.c.as_of.is_(None), _INSERT.excluded.as_of > SUPPRESSION.c.as_of),
    ).returning(SUPPRESSION.c.number_key)
)
_TAKEN_BACK = Statement(
    _INSERT.on_conflict_do_update(
        index_elements=_KEY,
        set_={"taken_back_at": _INSERT.excluded.taken_back_at},
        where=or_(SUPPRESSION.c.taken_back_at.is_(None), _INSERT.excluded.taken_back_at > SUPPRESSION.c.taken_back_at),
    )
)
_people = family()
_IN_FORCE = and_(
    SUPPRESSION.c.number_key.in_(select(_people.c.number_key)),
    SUPPRESSION.c.as_of.is_not(None),
    SUPPRESSION.c.resumed_at.is_(None),
)
_OF = Statement(select(SUPPRESSION.c.kind).where(_IN_FORCE))
_TAKEN_BACK_OF = Statement(select(SUPPRESSION.c.kind).where(_IN_FORCE, SUPPRESSION.c.taken_back_at >= SUPPRESSION.c.as_of))
_TOLD_AT = Statement(
    select(SUPPRESSION.c.as_of, SUPPRESSION.c.taken_back_at).where(
        _IN_FORCE, SUPPRESSION.c.kind == bindparam("of_kind", type_=String)
    )
)
_RESUME = Statement(
    update(SUPPRESSION)
    .where(_IN_FORCE, SUPPRESSION.c.kind == bindparam("of_kind", type_=String))
    .values(resumed_at=bindparam("at", type_=BigInteger))
    .returning(SUPPRESSION.c.number_key)
)


class StoredSuppressions:
    """`ports.Suppressions`."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._writer = Writer(database, keys, clock=clock)

    async def of(self, number: NhsNumber) -> frozenset[str]:
        """The kinds in force for this person and the numbers theirs replaced."""
        rows = await self._database.read(_OF, {"number_key": self._keys.number_key(number)})
        return frozenset(row[0] for row in rows)

    async def taken_back(self, number: NhsNumber) -> frozenset[str]:
        """Kinds in force that a source has since taken back."""
        rows = await self._database.read(_TAKEN_BACK_OF, {"number_key": self._keys.number_key(number)})
        return frozenset(row[0] for row in rows)

    async def told_at(self, number: NhsNumber, kind: str) -> datetime | None:
        """When a source last spoke of a fact in force, to tell of it or to take it back; None: none is."""
        rows = await self._database.read(_TOLD_AT, {"number_key": self._keys.number_key(number), "of_kind": kind})
        return moment(max(at for row in rows for at in row if at is not None)) if rows else None

    async def put(self, told: Sequence[Suppression]) -> int:
        """How many facts were new, or newer than one that a person had ended."""
        if not told:
            return 0
        return await self._database.write(_put([self._row(each) for each in told]))

    async def resume(self, number: NhsNumber, kind: str, entry: Entry) -> int:
        """How many facts ended. Its event says so, in the same transaction; none ended: no event."""
        async with self._writer.alone:
            return await self._database.write(self._resume(number, kind, entry))

    def _resume(self, number: NhsNumber, kind: str, entry: Entry) -> Work[int]:
        of = {"number_key": self._keys.number_key(number), "of_kind": kind, "at": micros(entry.at)}
        ended = yield Call(_RESUME, of)
        if ended:
            yield from raise_version(bytes(row[0]) for row in ended)
            detail = {**entry.detail, "kind": kind, "rows": len(ended)}
            yield from self._writer.land([self._writer.prepare(replace(entry, person=number, detail=detail))])
        return len(ended)

    def _row(self, told: Suppression) -> dict[str, object]:
        at = micros(told.as_of)
        return {
            "number_key": self._keys.number_key(told.number),
            "kind": told.kind,
            "episode_key": self._keys.word_key("episode", told.source, told.episode),
            "source": told.source,
            "as_of": None if told.taken_back else at,
            "taken_back_at": at if told.taken_back else None,
            "resumed_at": None,
        }


def _put(rows: Sequence[dict[str, object]]) -> Work[int]:
    changed: list[bytes] = []
    for row in rows:
        if row["as_of"] is None:
            yield Call(_TAKEN_BACK, row)
        else:
            changed += [bytes(each[0]) for each in (yield Call(_TOLD, row))]
    yield from raise_version(changed)
    return len(changed)

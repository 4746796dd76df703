"""The protected index: locks that sources assert, by keyed hash, and how fresh each feeding source is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, LargeBinary, String, bindparam, case, delete, func, literal_column, select

from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.store.database import Call, Database, Row, Statement, Work, insert, is_storable, micros, moment
from gateway.store.keys import Keys
from gateway.store.log import Writer
from gateway.store.subjects import family, raise_version
from gateway.store.tables import FEED, PROTECTION

_SOURCE = bindparam("source", type_=String)
_NUMBER = bindparam("number_key", type_=LargeBinary)
_KIND = bindparam("kind", type_=String)
_AT = bindparam("at", type_=BigInteger)

_ALL = Statement(select(PROTECTION.c.number_key, PROTECTION.c.kind, PROTECTION.c.since).where(PROTECTION.c.source == _SOURCE))
_OF = Statement(
    select(PROTECTION.c.number_key, PROTECTION.c.kind, PROTECTION.c.since).where(
        PROTECTION.c.source == _SOURCE, PROTECTION.c.number_key == _NUMBER
    )
)
_ADD = Statement(insert(PROTECTION).values(source=_SOURCE, number_key=_NUMBER, kind=_KIND, since=_AT).on_conflict_do_nothing())
_ANEW_INSERT = insert(PROTECTION).values(source=_SOURCE, number_key=_NUMBER, kind=_KIND, since=_AT)
_ANEW = Statement(  # later than it was, whatever the clocks of two processes say
    _ANEW_INSERT.on_conflict_do_update(
        index_elements=[PROTECTION.c.source, PROTECTION.c.number_key, PROTECTION.c.kind],
        set_={
            "since": case(
                (PROTECTION.c.since >= _ANEW_INSERT.excluded.since, PROTECTION.c.since + literal_column("1")),
                else_=_ANEW_INSERT.excluded.since,
            )
        },
    )
)
_IS_LOCK = (PROTECTION.c.source == _SOURCE, PROTECTION.c.number_key == _NUMBER, PROTECTION.c.kind == _KIND)
_LIFT = Statement(delete(PROTECTION).where(*_IS_LOCK))
_LIFT_UNLESS_ANEW = Statement(delete(PROTECTION).where(*_IS_LOCK, PROTECTION.c.since == _AT).returning(PROTECTION.c.number_key))
_people = family()
_COUNTED = Statement(
    select(PROTECTION.c.source, PROTECTION.c.kind, func.count(), func.min(PROTECTION.c.since), func.max(PROTECTION.c.since))
    .group_by(PROTECTION.c.source, PROTECTION.c.kind)
    .order_by(PROTECTION.c.source, PROTECTION.c.kind)
)
_ABOUT = Statement(
    select(PROTECTION.c.source, PROTECTION.c.kind, PROTECTION.c.since)
    .where(PROTECTION.c.number_key.in_(select(_people.c.number_key)))
    .order_by(PROTECTION.c.source, PROTECTION.c.kind)
)
_LIFT_OF_PERSON = Statement(
    delete(PROTECTION)
    .where(PROTECTION.c.source == _SOURCE, PROTECTION.c.kind == _KIND, PROTECTION.c.number_key.in_(select(_people.c.number_key)))
    .returning(PROTECTION.c.number_key)
)
_FED_AT = Statement(select(FEED.c.delivered_at).where(FEED.c.source == _SOURCE))
_FEED_INSERT = insert(FEED).values(source=_SOURCE, delivered_at=_AT)
_FEED = Statement(
    _FEED_INSERT.on_conflict_do_update(
        index_elements=[FEED.c.source],
        set_={"delivered_at": case((FEED.c.delivered_at > _AT, FEED.c.delivered_at), else_=_AT)},
    )
)


@dataclass(frozen=True, slots=True)
class Locks:
    """How many people one source protects for one reason, and since when: the oldest and the newest."""

    source: str
    kind: str
    people: int
    oldest: datetime
    newest: datetime


class StoredProtections:
    """`ports.Protections`, and what operators ask of it."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._writer = Writer(database, keys, clock=clock)

    async def assert_locks(self, source: str, locks: Mapping[NhsNumber, frozenset[str]], at: datetime, *, snapshot: bool) -> None:
        """Each listed person's locks of this source are now these. A snapshot older than what is held changes nothing."""
        wanted = {self._keys.number_key(number): kinds for number, kinds in locks.items()}
        await self._database.write(_assert(source, wanted, micros(at), snapshot=snapshot))

    async def add_locks(self, source: str, locks: Mapping[NhsNumber, frozenset[str]], at: datetime) -> None:
        """More locks of this source; none is lifted and the source is no fresher for it."""
        wanted = {self._keys.number_key(number): kinds for number, kinds in locks.items()}
        await self._database.write(_add(source, wanted, micros(at)))

    async def since(self, source: str, kind: str, numbers: Sequence[NhsNumber]) -> Mapping[NhsNumber, datetime]:
        """Whom of these this kind of lock of the source is on, and since when."""
        found = {}
        for number in numbers:
            rows = await self._database.read(_OF, {"source": source, "number_key": self._keys.number_key(number)})
            for at in (row[2] for row in rows if row[1] == kind):
                found[number] = moment(at)
        return found

    async def lift_each(self, source: str, kind: str, since: Mapping[NhsNumber, datetime]) -> None:
        """One kind of lock of this source is over for these people, unless it was asserted anew; its other locks stay."""
        as_read = {self._keys.number_key(number): micros(at) for number, at in since.items()}
        await self._database.write(_lift_each(source, kind, as_read))

    async def counted(self) -> Sequence[Locks]:
        """Every kind of lock of every source; nobody is listed."""
        rows = await self._database.read_long(_COUNTED, {})
        return [Locks(source, kind, people, moment(oldest), moment(newest)) for source, kind, people, oldest, newest in rows]

    async def of(self, number: NhsNumber) -> Sequence[tuple[str, str, datetime]]:
        """(source, kind, since) of one person, under every number they had."""
        rows = await self._database.read(_ABOUT, {"number_key": self._keys.number_key(number)})
        return [(source, kind, moment(since)) for source, kind, since in rows]

    async def lift(self, number: NhsNumber, source: str, kind: str, entry: Entry) -> int:
        """A person's decision: one lock of one source ends, with its event, or nothing happens; how many ended.

        The source's next word counts again: what it still asserts comes back with its next delivery or answer.
        """
        if not (is_storable(source) and is_storable(kind)):
            return 0
        async with self._writer.alone:
            return await self._database.write(self._lift(number, source, kind, entry))

    def _lift(self, number: NhsNumber, source: str, kind: str, entry: Entry) -> Work[int]:
        params = {"source": source, "kind": kind, "number_key": self._keys.number_key(number)}
        rows = yield Call(_LIFT_OF_PERSON, params)
        if rows:
            yield from raise_version(bytes(row[0]) for row in rows)
            yield from self._writer.land([self._writer.prepare(entry)])
        return len(rows)


def _add(source: str, wanted: Mapping[bytes, frozenset[str]], at: int) -> Work[None]:
    added = []
    for number_key, kinds in wanted.items():
        rows = yield Call(_OF, {"source": source, "number_key": number_key})
        held = {row[1] for row in rows}
        added += [(number_key, kind) for kind in sorted(kinds - held)]
    yield Call(_ADD, {}, [_row(source, lock, at) for lock in added])
    yield from raise_version(number_key for number_key, _ in added)


def asserting_anew(source: str, kind: str, number_keys: Iterable[bytes], at: int) -> Work[None]:
    """One kind of lock on each of these, inside the caller's transaction; where it stands already it is from now on all the same.

    So whoever read it before, and lifts it by what they read, lifts nothing.
    """
    wanted = sorted(set(number_keys))
    for number_key in wanted:
        yield Call(_ANEW, {"source": source, "number_key": number_key, "kind": kind, "at": at})
    yield from raise_version(wanted)


def _lift_each(source: str, kind: str, since: Mapping[bytes, int]) -> Work[None]:
    lifted: list[Row] = []
    for number_key, at in sorted(since.items()):
        lifted += yield Call(_LIFT_UNLESS_ANEW, {"source": source, "number_key": number_key, "kind": kind, "at": at})
    yield from raise_version(bytes(row[0]) for row in lifted)


def _assert(source: str, wanted: Mapping[bytes, frozenset[str]], at: int, *, snapshot: bool) -> Work[None]:
    held: dict[tuple[bytes, str], int] = {}
    if snapshot:
        fed_at = yield Call(_FED_AT, {"source": source})
        if fed_at and fed_at[0][0] > at:
            return
        rows = yield Call(_ALL, {"source": source})
        held.update({(bytes(row[0]), row[1]): row[2] for row in rows})
    else:
        for number_key in wanted:
            rows = yield Call(_OF, {"source": source, "number_key": number_key})
            held.update({(bytes(row[0]), row[1]): row[2] for row in rows})
    listed = {(number_key, kind) for number_key, kinds in wanted.items() for kind in kinds}
    # An event that comes late may add a lock but not lift one that is newer: in doubt the person stays protected.
    lifted = [lock for lock, since in held.items() if lock not in listed and since <= at]
    added = listed - held.keys()
    yield Call(_ADD, {}, [_row(source, lock, at) for lock in sorted(added)])
    yield Call(_LIFT, {}, [_row(source, lock, at) for lock in lifted])
    yield from raise_version(number_key for number_key, _ in (*added, *lifted))
    # Only here: a source counts as fresh when its locks are in, never when its records are.
    yield Call(_FEED, {"source": source, "at": at})


def _row(source: str, lock: tuple[bytes, str], at: int) -> Mapping[str, object]:
    return {"source": source, "number_key": lock[0], "kind": lock[1], "at": at}

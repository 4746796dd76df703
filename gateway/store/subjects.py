"""The facts version of a person, and which numbers are one living person: shared by facts, consents, log and shelf.

A superseded number keeps its rows: reads take the whole family (a number and the numbers PDS says it replaced), so
nothing has to be moved, and a sealed row drops out of every family.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import CTE, BigInteger, ColumnElement, FromClause, LargeBinary, bindparam, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from gateway.store.database import Call, Database, Rows, Statement, Work, insert
from gateway.store.tables import PERSON, SUBJECT


def family(name: str = "number_key") -> CTE:
    """The CTE `family(number_key)`: the number bound as `name` and the live person's superseded numbers."""
    new, old = PERSON.alias("new"), PERSON.alias("old")
    own = select(bindparam(name, type_=LargeBinary).label("number_key"))
    superseded = (
        select(old.c.number_key)
        .select_from(new.join(old, old.c.successor == new.c.id))
        .where(new.c.number_key == bindparam(name, type_=LargeBinary), new.c.status == literal_column("'live'"))
    )
    return own.union(superseded).cte("family")


def version_of(table: FromClause) -> ColumnElement[int]:
    """The facts versions of a row's own `number_key`, of the number that replaced it and of those it replaced, in one number.

    Three look-ups by index, whatever the number of people: it is asked for many rows at once.
    """
    mine, other = PERSON.alias("mine"), PERSON.alias("other")
    own = select(SUBJECT.c.version).where(SUBJECT.c.number_key == table.c.number_key)
    newer = (
        select(func.sum(SUBJECT.c.version))
        .select_from(mine.join(other, other.c.id == mine.c.successor).join(SUBJECT, SUBJECT.c.number_key == other.c.number_key))
        .where(mine.c.number_key == table.c.number_key)
    )
    older = (
        select(func.sum(SUBJECT.c.version))
        .select_from(mine.join(other, other.c.successor == mine.c.id).join(SUBJECT, SUBJECT.c.number_key == other.c.number_key))
        .where(mine.c.number_key == table.c.number_key)
    )
    zero: ColumnElement[int] = literal_column("0")
    parts = [func.coalesce(one.correlate(table).scalar_subquery(), zero) for one in (own, newer, older)]
    return cast(parts[0] + parts[1] + parts[2], BigInteger)


_FAMILY = family()
_BUMP_INSERT = insert(SUBJECT).values(number_key=bindparam("number_key"), version=1)
_BUMP = Statement(
    _BUMP_INSERT.on_conflict_do_update(index_elements=[SUBJECT.c.number_key], set_={"version": SUBJECT.c.version + 1})
)
_VERSION = Statement(
    select(func.coalesce(func.sum(SUBJECT.c.version), 0)).where(SUBJECT.c.number_key.in_(select(_FAMILY.c.number_key)))
)
_KEYS = bindparam("number_keys", type_=ARRAY(LargeBinary))
_new, _old = PERSON.alias("new"), PERSON.alias("old")
_SUPERSEDED = Statement(  # PostgreSQL only
    select(_new.c.number_key, _old.c.number_key)
    .select_from(_new.join(_old, _old.c.successor == _new.c.id))
    .where(_new.c.number_key == func.any(_KEYS), _new.c.status == literal_column("'live'"))
)
_HOLD_INSERT = insert(SUBJECT).from_select(["number_key", "version"], select(func.unnest(_KEYS), literal_column("0")))
_HOLD = Statement(  # PostgreSQL only: makes the row where there is none, and locks it either way
    _HOLD_INSERT.on_conflict_do_update(index_elements=[SUBJECT.c.number_key], set_={"version": SUBJECT.c.version}).returning(
        SUBJECT.c.number_key, SUBJECT.c.version
    )
)


def raise_version(number_keys: Iterable[bytes]) -> Work[None]:
    """Every change of what policy may depend on comes with this, in its transaction. Sorted: no deadlock."""
    for number_key in sorted(set(number_keys)):
        yield Call(_BUMP, {"number_key": number_key})


def held_versions(database: Database, number_keys: Sequence[bytes]) -> Work[dict[bytes, int]]:
    """Each number's facts version, which cannot change until this transaction ends."""
    if database.dialect == "sqlite":  # one writer at a time: reading is holding
        versions = {}
        for number_key in number_keys:
            rows = yield Call(_VERSION, {"number_key": number_key})
            versions[number_key] = int(rows[0][0])
        return versions
    families = {number_key: {number_key} for number_key in number_keys}
    superseded: Rows = yield Call(_SUPERSEDED, {"number_keys": sorted(families)})
    for number_key, old in superseded:
        families[bytes(number_key)].add(bytes(old))
    held = yield Call(_HOLD, {"number_keys": sorted(set().union(*families.values()))})
    version_of = {bytes(row[0]): int(row[1]) for row in held}
    return {number_key: sum(version_of[member] for member in members) for number_key, members in families.items()}

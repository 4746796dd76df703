"""The facts version of a person, and which numbers are one living person: shared by facts, consents, log and shelf.

A superseded number keeps its rows: reads take the whole family (a number and the numbers PDS says it replaced), so
nothing has to be moved, and a sealed row drops out of every family.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import CTE, LargeBinary, bindparam, func, select, text

from gateway.store.database import Call, Database, Rows, Statement, Work, insert
from gateway.store.tables import PERSON, SUBJECT


def family(name: str = "number_key") -> CTE:
    """The CTE `family(number_key)`: the number bound as `name` and the live person's superseded numbers."""
    new, old = PERSON.alias("new"), PERSON.alias("old")
    own = select(bindparam(name, type_=LargeBinary).label("number_key"))
    superseded = (
        select(old.c.number_key)
        .select_from(new.join(old, old.c.successor == new.c.id))
        .where(new.c.number_key == bindparam(name, type_=LargeBinary), new.c.status == text("'live'"))
    )
    return own.union(superseded).cte("family")


_FAMILY = family()
_BUMP_INSERT = insert(SUBJECT).values(number_key=bindparam("number_key"), version=1)
_BUMP = Statement(
    _BUMP_INSERT.on_conflict_do_update(index_elements=[SUBJECT.c.number_key], set_={"version": SUBJECT.c.version + 1})
)
_VERSION = Statement(
    select(func.coalesce(func.sum(SUBJECT.c.version), 0)).where(SUBJECT.c.number_key.in_(select(_FAMILY.c.number_key)))
)
_MEMBERS = Statement(select(_FAMILY.c.number_key))
_HOLD_INSERT = insert(SUBJECT).values(number_key=bindparam("number_key"), version=0)
_HOLD = Statement(
    _HOLD_INSERT.on_conflict_do_update(index_elements=[SUBJECT.c.number_key], set_={"version": SUBJECT.c.version}).returning(
        SUBJECT.c.version
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
    families: dict[bytes, list[bytes]] = {}
    for number_key in sorted(set(number_keys)):
        members: Rows = yield Call(_MEMBERS, {"number_key": number_key})
        families[number_key] = [bytes(row[0]) for row in members]
    held: dict[bytes, Any] = {}
    for member in sorted({member for members in families.values() for member in members}):
        rows = yield Call(_HOLD, {"number_key": member})
        held[member] = int(rows[0][0])
    return {number_key: sum(held[member] for member in members) for number_key, members in families.items()}

"""What belonged to a number that died: ids, pupil numbers and names, so that no program joins them to a person again.

A tombstone is one keyed hash with nothing beside it: no number, no date, no other tombstone. It can answer "was this buried?"
for somebody who brings the id, and nothing else; it names neither the old number nor a new one. Source: docs/adr/0013.
"""

from collections.abc import Iterable, Sequence
from datetime import date

from sqlalchemy import LargeBinary, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from gateway.matching import folded
from gateway.store.database import Call, Database, Statement, Work, insert
from gateway.store.keys import Keys
from gateway.store.tables import TOMBSTONE

_KEY = bindparam("key", type_=LargeBinary)
_BURY = Statement(insert(TOMBSTONE).values(key=_KEY).on_conflict_do_nothing())
_IS_BURIED = Statement(select(TOMBSTONE.c.key).where(TOMBSTONE.c.key == _KEY))
_ARE_BURIED = Statement(  # PostgreSQL only
    select(TOMBSTONE.c.key).where(TOMBSTONE.c.key == func.any(bindparam("keys", type_=ARRAY(LargeBinary))))
)


def of_id(keys: Keys, source: str, local_id: str) -> bytes:
    """A custodian's own id of a person: buried for that source."""
    return keys.word_key("buried-id", source, local_id)


def of_upn(keys: Keys, upn: str) -> bytes:
    """A pupil number: buried for every source, since it goes along from authority to authority."""
    return keys.word_key("buried-upn", upn.upper())


def of_name(keys: Keys, family: str, given: str, born: date | None) -> bytes:
    """A name with its birth date: buried for every search by name."""
    return keys.word_key("buried-name", folded(family), folded(given), "" if born is None else born.isoformat())


def bury(found: Iterable[bytes]) -> Work[None]:
    """In the transaction that ends the number."""
    yield Call(_BURY, {}, [{"key": key} for key in sorted(set(found))])


def buried(database: Database, asked: Sequence[bytes]) -> Work[frozenset[bytes]]:
    """Which of these are buried."""
    if database.dialect == "postgresql":
        rows = yield Call(_ARE_BURIED, {"keys": sorted(set(asked))})
        return frozenset(bytes(row[0]) for row in rows)
    found = set()
    for key in set(asked):
        if (yield Call(_IS_BURIED, {"key": key})):
            found.add(key)
    return frozenset(found)

"""Recalls: parcels without content that call back what a recipient has already, once for each; and what may have to be."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Integer, LargeBinary, String, and_, bindparam, literal_column, or_, select, update

from gateway.model import Because, LeasedRecall, Moved, Notice, Parcel, ParcelState
from gateway.model.parcels import OPEN
from gateway.nhs_number import NhsNumber
from gateway.store.database import Call, Database, Row, Statement, Work, insert, micros
from gateway.store.keys import Keys
from gateway.store.parcel_tables import PARCEL
from gateway.store.parcels import SHOWN, bound_to, parcel_of
from gateway.store.sealing import open_number, opened
from gateway.store.subjects import family, version_of
from gateway.store.tables import PERSON

PARCEL_ID = "parcel-"

_AT = bindparam("at", type_=BigInteger)
_ID = bindparam("parcel", type_=String)
_LIMIT = bindparam("limit", type_=Integer)
_IS_OPEN = PARCEL.c.state.in_([literal_column(f"'{state}'", String) for state in OPEN])
_IS_RECALL = PARCEL.c.kind == literal_column("'recall'", String)
_IS_DELIVERY = PARCEL.c.kind == literal_column("'delivery'", String)
_DONE = PARCEL.c.state == literal_column(f"'{ParcelState.ACKNOWLEDGED}'", String)
_SENT = or_(PARCEL.c.receipt != literal_column("''", String), _DONE)  # of old rows only the state tells
_LIVING = and_(PERSON.c.number_key == PARCEL.c.number_key, PERSON.c.status != literal_column("'sealed'", String))
_PERSON = (PERSON.c.id, PERSON.c.number_sealed)

_COPIED = ("number_key", "route", "sender", "client", "mandate")
_ORIGINAL = Statement(select(*(PARCEL.c[name] for name in _COPIED)).where(PARCEL.c.id == _ID))
_PUT = Statement(
    insert(PARCEL)
    .values({column.name: bindparam(column.name, type_=column.type) for column in PARCEL.c})
    .on_conflict_do_nothing(index_elements=[PARCEL.c.once_key])
)
_THIS = PARCEL.c.once_key == bindparam("once_key", type_=LargeBinary)
_OF_KEY = Statement(select(*SHOWN).where(_THIS))
_OF_BOTH = Statement(select(*SHOWN).where(_THIS, PARCEL.c.number_key == bindparam("number_key", type_=LargeBinary)))
_CLAIM = Statement(
    update(PARCEL)
    .where(
        PARCEL.c.id.in_(
            select(PARCEL.c.id)
            .where(_IS_OPEN, _IS_RECALL, PARCEL.c.due <= _AT, PARCEL.c.leased_until <= _AT, PARCEL.c.content_sealed.is_not(None))
            .order_by(PARCEL.c.due)
            .limit(_LIMIT)
            .with_for_update(skip_locked=True)  # SQLite has one writer and leaves it out
        )
    )
    .values(
        lease=bindparam("lease", type_=String),
        leased_until=bindparam("until", type_=BigInteger),
        attempts=PARCEL.c.attempts + literal_column("1"),
    )
    .returning(PARCEL.c.content_sealed, *SHOWN)
)
_people = family()
_OF = Statement(
    select(*SHOWN).where(PARCEL.c.number_key.in_(select(_people.c.number_key)), _IS_DELIVERY, _SENT).order_by(PARCEL.c.id)
)
_WHOSE = Statement(select(*_PERSON).select_from(PARCEL.join(PERSON, _LIVING)).where(PARCEL.c.id == _ID))
_version = version_of(PARCEL)
_MOVED = Statement(
    select(*_PERSON, _version.label("version"), *SHOWN)
    .select_from(PARCEL.join(PERSON, _LIVING))
    .where(
        _IS_DELIVERY,
        _DONE,
        _version != PARCEL.c.facts_version,
        PARCEL.c.id > bindparam("after", type_=String),
    )
    .order_by(PARCEL.c.id)
    .limit(_LIMIT)
)
_LOOKED_AT = Statement(
    update(PARCEL).where(PARCEL.c.id == _ID).values(facts_version=bindparam("version", type_=BigInteger)).returning(PARCEL.c.id)
)

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Notice).decode


class StoredRecalls:
    """`ports.Recalls`."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    async def put(self, original: Parcel, because: Because, *, at: datetime) -> Parcel:
        """The recall of this parcel for this reason: new, or the one that is there already."""
        return await self._database.write(self._put(original, because, at))

    async def claim(self, *, now: datetime, lease_s: float, limit: int = 1) -> Sequence[LeasedRecall]:
        """Due and open recalls, leased to the caller."""
        lease = secrets.token_hex(16)
        params = {"at": micros(now), "until": micros(now) + int(lease_s * 1_000_000), "limit": limit, "lease": lease}
        found = []
        for row in await self._database.write(_one(Call(_CLAIM, params))):
            parcel = parcel_of(self._keys, row[1:])
            plain = opened(self._keys, "shelf-sealing", row[0], *bound_to(parcel.id, parcel.route))
            found.append(LeasedRecall(parcel, lease, _decode(plain), await self.whose(parcel.id)))
        return sorted(found, key=lambda one: (one.parcel.due, one.parcel.id))

    async def of(self, number: NhsNumber) -> Sequence[Parcel]:
        """Every parcel about a person of which bytes left."""
        rows = await self._database.read(_OF, {"number_key": self._keys.number_key(number)})
        return [parcel_of(self._keys, row) for row in rows]

    async def sent_by(self, sender: str, client: str, key: str, number: NhsNumber) -> Parcel | None:
        """The parcel that stands for a sender's identifier; None: there is none, or it is about another number."""
        params = {"once_key": self._keys.word_key("parcel", sender, client, key), "number_key": self._keys.number_key(number)}
        rows = await self._database.read(_OF_BOTH, params)
        return parcel_of(self._keys, rows[0]) if rows else None

    async def made(self, parcel: str, because: Because) -> Parcel | None:
        """The recall of a parcel for this reason."""
        rows = await self._database.read(_OF_KEY, {"once_key": self._keys.word_key("recall", parcel, because)})
        return parcel_of(self._keys, rows[0]) if rows else None

    async def whose(self, parcel: str) -> NhsNumber | None:
        """About whom a parcel is; None: there is no such person any more."""
        rows = await self._database.read(_WHOSE, {"parcel": parcel})
        return open_number(self._keys, rows[0][0], rows[0][1]) if rows else None

    async def moved(self, limit: int = 20, *, after: str = "") -> Sequence[Moved]:
        """Delivered parcels of whose person something changed since the facts were read for them; by id, those after one."""
        rows = await self._database.read_long(_MOVED, {"limit": limit, "after": after})  # looks at every row that was delivered
        return [Moved(parcel_of(self._keys, row[3:]), open_number(self._keys, row[0], row[1]), int(row[2])) for row in rows]

    async def looked_at(self, parcel: str, version: int) -> None:
        """What changed up to this version was looked at."""
        await self._database.write(_one(Call(_LOOKED_AT, {"parcel": parcel, "version": version})))

    def _put(self, original: Parcel, because: Because, at: datetime) -> Work[Parcel]:
        row = self._row(original, because, at)
        rows: Sequence[Row] = yield Call(_ORIGINAL, {"parcel": original.id})
        yield Call(_PUT, {**row, **dict(zip(_COPIED, rows[0], strict=True))})
        held: Sequence[Row] = yield Call(_OF_KEY, {"once_key": row["once_key"]})
        return parcel_of(self._keys, held[0])

    def _row(self, original: Parcel, because: Because, at: datetime) -> dict[str, Any]:
        recall = PARCEL_ID + secrets.token_hex(13)
        plain = _encode(Notice(original.id, because, original.receipt, at))
        return {
            "id": recall,
            "once_key": self._keys.word_key("recall", original.id, because),
            "digest": self._keys.word_key("recall-content", original.id, because),
            "state": ParcelState.QUEUED,
            "attempts": 0,
            "reason": because,
            "created_at": micros(at),
            "due": micros(at),
            "confirm_by": micros(at + (original.confirm_by - original.created_at)),
            "keep_until": micros(at + max(original.keep_until - original.created_at, timedelta(days=1))),
            "settled_at": None,
            "leased_until": 0,
            "lease": "",
            "warned": False,
            "content_sealed": self._keys.seal("shelf-sealing", plain, *bound_to(recall, original.route)),
            "reference_sealed": None,
            "kind": "recall",
            "recalls": original.id,
            "receipt": "",
            "facts_version": 0,
        }


def _one(call: Call) -> Work[Any]:
    return (yield call)

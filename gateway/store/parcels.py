"""Parcels: what is to be delivered. Content is sealed and forgotten once it is settled."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    LargeBinary,
    String,
    and_,
    bindparam,
    case,
    delete,
    literal_column,
    null,
    or_,
    select,
    update,
)

from gateway.model import Accepted, Content, LeasedParcel, LeasedRecall, Mandate, NewParcel, Parcel, ParcelState
from gateway.model.parcels import OPEN, RETRIABLE, as_tree, from_tree
from gateway.store.database import Call, Database, Row, Statement, Work, insert, micros, moment
from gateway.store.keys import Keys
from gateway.store.mandates import PUT_MANDATE, mandate_row
from gateway.store.parcel_tables import MANDATE, PARCEL
from gateway.store.sealing import opened
from gateway.store.subjects import version_of

KEPT_AFTER = timedelta(days=90)  # a settled parcel's row, without content: its sender may still ask for its state

_AT = bindparam("at", type_=BigInteger)
_ID = bindparam("parcel", type_=String)
_STATE = bindparam("state", type_=String)
_REASON = bindparam("reason", type_=String)
_LIMIT = bindparam("limit", type_=Integer)
_IS_OPEN = PARCEL.c.state.in_([literal_column(f"'{state}'") for state in OPEN])
_MINE = and_(PARCEL.c.id == _ID, PARCEL.c.lease == bindparam("lease", type_=String), _IS_OPEN)
SHOWN = [PARCEL.c[name] for name in (
    "id", "route", "sender", "client", "mandate", "state", "attempts", "created_at", "due", "confirm_by", "keep_until",
    "settled_at", "warned", "reason", "reference_sealed", "kind", "recalls", "receipt",
)]  # fmt: skip

_PUT = Statement(
    insert(PARCEL)
    .values({column.name: bindparam(column.name, type_=column.type) for column in PARCEL.c})
    .on_conflict_do_nothing(index_elements=[PARCEL.c.once_key])
    .returning(PARCEL.c.id)
)
_OF_KEY = Statement(select(PARCEL.c.digest, *SHOWN).where(PARCEL.c.once_key == bindparam("once_key", type_=LargeBinary)))
_GET = Statement(select(*SHOWN).where(PARCEL.c.id == _ID))
_LIST = Statement(
    select(*SHOWN)
    .where(or_(literal_column("''") == _STATE, PARCEL.c.state == _STATE))
    .order_by(PARCEL.c.created_at.desc(), PARCEL.c.id)
    .limit(_LIMIT)
)
_CLAIM = Statement(
    update(PARCEL)
    .where(
        PARCEL.c.id.in_(
            select(PARCEL.c.id)
            .where(
                _IS_OPEN,
                PARCEL.c.kind == literal_column("'delivery'", String),
                PARCEL.c.due <= _AT,
                PARCEL.c.leased_until <= _AT,
                PARCEL.c.content_sealed.is_not(None),
            )
            .order_by(PARCEL.c.due)
            .limit(_LIMIT)
            .with_for_update(skip_locked=True)  # SQLite has one writer and leaves it out
        )
    )
    .values(
        lease=bindparam("lease", type_=String),
        leased_until=bindparam("until", type_=BigInteger),
        attempts=PARCEL.c.attempts + literal_column("1"),
        facts_version=version_of(PARCEL),  # before the facts are read: what changes after this instant is looked at again
    )
    .returning(PARCEL.c.content_sealed, *SHOWN)
)
_RETRY = Statement(
    update(PARCEL)
    .where(_MINE)
    .values(
        state=_STATE,
        due=bindparam("due_at", type_=BigInteger),
        reason=_REASON,
        leased_until=literal_column("0"),
        lease=literal_column("''"),
    )
    .returning(PARCEL.c.id)
)
_SENDING = Statement(
    update(PARCEL)
    .where(_MINE, PARCEL.c.leased_until > _AT)
    .values(state=literal_column(f"'{ParcelState.SENT}'"), receipt=bindparam("receipt", type_=String))
    .returning(PARCEL.c.id)
)
_SETTLE = Statement(
    update(PARCEL)
    .where(_MINE)
    .values(
        state=_STATE,
        reason=_REASON,
        settled_at=_AT,
        leased_until=literal_column("0"),
        lease=literal_column("''"),
        reference_sealed=bindparam("reference_sealed", type_=LargeBinary),
        content_sealed=case((bindparam("forget", type_=Boolean), null()), else_=PARCEL.c.content_sealed),
    )
    .returning(PARCEL.c.id)
)
_UNCONFIRMED = Statement(
    select(*SHOWN)
    .where(
        PARCEL.c.confirm_by <= _AT,
        PARCEL.c.warned.is_(literal_column("false")),
        PARCEL.c.state.not_in([literal_column(f"'{state}'") for state in (ParcelState.ACKNOWLEDGED, ParcelState.RECALLED)]),
    )
    .order_by(PARCEL.c.confirm_by)
    .limit(_LIMIT)
)
_WARNED = Statement(update(PARCEL).where(PARCEL.c.id == _ID).values(warned=literal_column("true")).returning(PARCEL.c.id))
_AGAIN = Statement(
    update(PARCEL)
    .where(
        PARCEL.c.id == _ID,
        PARCEL.c.state.in_([literal_column(f"'{state}'") for state in RETRIABLE]),
        PARCEL.c.content_sealed.is_not(None),
        PARCEL.c.keep_until > _AT,
    )
    .values(
        state=case((_IS_OPEN, PARCEL.c.state), else_=literal_column(f"'{ParcelState.QUEUED}'")),
        due=_AT,
        settled_at=null(),
        reason=literal_column("''"),
    )
    .returning(PARCEL.c.id)
)
_CLOSED = {
    "state": _STATE,
    "reason": _REASON,
    "settled_at": _AT,
    "lease": literal_column("''"),
    "leased_until": literal_column("0"),
    "content_sealed": null(),
}
_HAS_CONTENT = PARCEL.c.content_sealed.is_not(None)
_ENDED: list[Any] = [literal_column(f"'{state}'") for state in (ParcelState.ACKNOWLEDGED, ParcelState.RECALLED)]
_RECALL = Statement(
    update(PARCEL).where(PARCEL.c.id == _ID, PARCEL.c.state.not_in(_ENDED)).values(_CLOSED).returning(PARCEL.c.id)
)
_LAPSE = Statement(update(PARCEL).where(PARCEL.c.keep_until <= _AT, _HAS_CONTENT).values(_CLOSED).returning(PARCEL.c.id))
_FORGET = Statement(
    delete(PARCEL).where(PARCEL.c.keep_until <= bindparam("before", type_=BigInteger), PARCEL.c.content_sealed.is_(None))
)
_FORGET_MANDATES = Statement(
    delete(MANDATE).where(
        MANDATE.c.expires <= bindparam("before", type_=BigInteger), MANDATE.c.id.not_in(select(PARCEL.c.mandate))
    )
)

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class StoredParcels:
    """`ports.Parcels`."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    async def put(self, parcel: NewParcel, mandate: Mandate) -> Accepted:
        """A submission and its mandate in one transaction; the parcel that stands for it already, where there is one."""
        return await self._database.write(self.putting(parcel, mandate))

    async def get(self, parcel: str) -> Parcel | None:
        """A parcel by its id."""
        rows = await self._database.read(_GET, {"parcel": parcel})
        return self._parcel(rows[0]) if rows else None

    async def claim(self, *, now: datetime, lease_s: float, limit: int = 1) -> Sequence[LeasedParcel]:
        """Due and open parcels, leased to the caller."""
        lease = secrets.token_hex(16)
        params = {"at": micros(now), "until": micros(now) + int(lease_s * 1_000_000), "limit": limit, "lease": lease}
        rows = await self._database.write(_one(Call(_CLAIM, params)))
        leased = [LeasedParcel(self._parcel(row[1:]), lease, self._content(row[1], row[2], row[0])) for row in rows]
        return sorted(leased, key=lambda one: (one.parcel.due, one.parcel.id))

    async def retry(self, leased: LeasedParcel | LeasedRecall, state: ParcelState, *, due: datetime, reason: str) -> bool:
        """Back, due later. `reason` is a short constant."""
        params = {**_lease(leased), "state": state, "due_at": micros(due), "reason": reason}
        return bool(await self._database.write(_one(Call(_RETRY, params))))

    async def sending(self, leased: LeasedParcel | LeasedRecall, at: datetime, *, receipt: str = "") -> bool:
        """Bytes are about to leave. False: it is not this worker's any more, so none may."""
        return bool(await self._database.write(_one(Call(_SENDING, {**_lease(leased), "at": micros(at), "receipt": receipt}))))

    async def settle(
        self,
        leased: LeasedParcel | LeasedRecall,
        state: ParcelState,
        *,
        at: datetime,
        reason: str,
        reference: str | None = None,
    ) -> bool:
        """Its end, or a halt that leaves its content. False: it was not this worker's any more."""
        sealed = None
        if reference is not None:
            sealed = self._keys.seal("shelf-sealing", reference.encode(), b"parcel-reference", leased.parcel.id.encode())
        params = {
            **_lease(leased),
            "state": state,
            "reason": reason,
            "at": micros(at),
            "reference_sealed": sealed,
            "forget": state not in RETRIABLE,
        }
        return bool(await self._database.write(_one(Call(_SETTLE, params))))

    async def unconfirmed(self, now: datetime, limit: int = 100) -> Sequence[Parcel]:
        """Not acknowledged in time, and nobody was told yet."""
        rows = await self._database.read(_UNCONFIRMED, {"at": micros(now), "limit": limit})
        return [self._parcel(row) for row in rows]

    async def warned(self, parcel: str) -> None:
        """Somebody's task now."""
        await self._database.write(_one(Call(_WARNED, {"parcel": parcel})))

    async def list(self, *, state: ParcelState | None = None, limit: int = 200) -> Sequence[Parcel]:
        """The newest first."""
        rows = await self._database.read(_LIST, {"state": state or "", "limit": limit})
        return [self._parcel(row) for row in rows]

    async def again(self, parcel: str, at: datetime) -> bool:
        """Due now. False: it has no content any more, or its time is over."""
        return bool(await self._database.write(_one(Call(_AGAIN, {"parcel": parcel, "at": micros(at)}))))

    async def recall(self, parcel: str, *, at: datetime) -> Parcel | None:
        """The parcel as it was; it is never sent from now on. None: there is none."""
        return await self._database.write(self._recall(parcel, micros(at)))

    async def purge(self, at: datetime) -> int:
        """What is past its time loses its content; rows settled long ago go. How many lapsed."""
        return await self._database.write(_purge(micros(at), micros(at - KEPT_AFTER)))

    def putting(self, parcel: NewParcel, mandate: Mandate) -> Work[Accepted]:
        """The same inside the caller's transaction."""
        row = self._row(parcel, mandate)
        new = yield Call(_PUT, row)
        if new:
            yield Call(PUT_MANDATE, mandate_row(mandate))
        held = yield Call(_OF_KEY, {"once_key": row["once_key"]})
        same = bytes(held[0][0]) == row["digest"]
        return Accepted(self._parcel(held[0][1:]), bool(new), same)

    def _recall(self, parcel: str, at: int) -> Work[Parcel | None]:
        rows = yield Call(_GET, {"parcel": parcel})
        if not rows:
            return None
        yield Call(_RECALL, {"parcel": parcel, "state": ParcelState.RECALLED, "reason": "recalled", "at": at})
        return self._parcel(rows[0])

    def _row(self, parcel: NewParcel, mandate: Mandate) -> dict[str, Any]:
        keys, plain = self._keys, _encode(as_tree(parcel.content))
        keeps = parcel.state in RETRIABLE
        return {
            "id": parcel.id,
            "once_key": keys.word_key("parcel", parcel.sender, parcel.client, parcel.key),
            "digest": keys.word_key("parcel-content", parcel.route, plain.decode()),
            "number_key": keys.number_key(parcel.content.number),
            "route": parcel.route,
            "sender": parcel.sender,
            "client": parcel.client,
            "mandate": mandate.id,
            "state": parcel.state,
            "attempts": 0,
            "reason": parcel.reason,
            "created_at": micros(parcel.created_at),
            "due": micros(parcel.created_at),
            "confirm_by": micros(parcel.confirm_by),
            "keep_until": micros(parcel.keep_until),
            "settled_at": None if parcel.state in OPEN else micros(parcel.created_at),
            "leased_until": 0,
            "lease": "",
            "warned": False,
            "content_sealed": keys.seal("shelf-sealing", plain, *bound_to(parcel.id, parcel.route)) if keeps else None,
            "reference_sealed": None,
            "kind": "delivery",
            "recalls": "",
            "receipt": "",
            "facts_version": 0,
        }

    def _content(self, parcel: str, route: str, sealed: bytes) -> Content:
        return from_tree(_decode(opened(self._keys, "shelf-sealing", sealed, *bound_to(parcel, route))))

    def _parcel(self, row: Row) -> Parcel:
        return parcel_of(self._keys, row)


def parcel_of(keys: Keys, row: Row) -> Parcel:
    """The columns `SHOWN` -> a parcel."""
    reference = None
    if row[14] is not None:
        reference = opened(keys, "shelf-sealing", row[14], b"parcel-reference", row[0].encode()).decode()
    return Parcel(
        id=row[0],
        route=row[1],
        sender=row[2],
        client=row[3],
        mandate=row[4],
        state=ParcelState(row[5]),
        attempts=row[6],
        created_at=moment(row[7]),
        due=moment(row[8]),
        confirm_by=moment(row[9]),
        keep_until=moment(row[10]),
        settled_at=None if row[11] is None else moment(row[11]),
        warned=bool(row[12]),
        reason=row[13],
        reference=reference,
        kind=row[15],
        recalls=row[16],
        receipt=row[17],
    )


def bound_to(parcel: str, route: str) -> tuple[bytes, ...]:
    """What a parcel's content is sealed beside."""
    return b"parcel", parcel.encode(), route.encode()


def _lease(leased: LeasedParcel | LeasedRecall) -> dict[str, Any]:
    return {"parcel": leased.parcel.id, "lease": leased.lease}


def _purge(at: int, before: int) -> Work[int]:
    lapsed = yield Call(_LAPSE, {"state": ParcelState.LAPSED, "reason": "its time is over", "at": at})
    yield Call(_FORGET, {"before": before})
    yield Call(_FORGET_MANDATES, {"before": before})
    return len(lapsed)


def _one(call: Call) -> Work[Any]:
    return (yield call)

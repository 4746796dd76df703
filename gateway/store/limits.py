"""Rates shared by all workers: one row a bucket, holding the instant at which it would be empty again (GCRA).

A worker takes a small handful of a bucket at a time and spends it by itself, so a request seldom costs a write; the
sum over all workers never exceeds the rate, because a handful is paid for in full when it is taken.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, String, bindparam, case, delete, select, update

from gateway.store.database import Call, Database, Statement, Work, insert, micros
from gateway.store.tables import RATE

_MINUTE_US = 60_000_000
_HANDFULS_A_MINUTE = 120
_HANDFUL_KEEPS_US = 5_000_000
_MOST_KEYS = 50_000
_LONGEST_KEY = 255

_NOW = bindparam("now", type_=BigInteger)
_START = case((RATE.c.tat > _NOW, RATE.c.tat), else_=_NOW)
_TAKE_INSERT = insert(RATE).values(key=bindparam("key", type_=String), tat=_NOW + bindparam("cost", type_=BigInteger))
_TAKE = Statement(
    _TAKE_INSERT.on_conflict_do_update(
        index_elements=[RATE.c.key],
        set_={"tat": _START + bindparam("cost", type_=BigInteger)},
        where=_START + bindparam("cost", type_=BigInteger) <= bindparam("latest", type_=BigInteger),
    ).returning(RATE.c.tat)
)
_BACK = Statement(
    update(RATE)
    .where(RATE.c.key == bindparam("at_key", type_=String))
    .values(tat=RATE.c.tat - bindparam("cost", type_=BigInteger))
)
_TAT = Statement(select(RATE.c.tat).where(RATE.c.key == bindparam("key", type_=String)))
_PURGE = Statement(delete(RATE).where(RATE.c.tat < _NOW))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A rate: one every `interval_us`, at most `depth` at once."""

    interval_us: int
    depth: int

    def take(self, key: str, *, now: int, most_wait_us: int = 0, tokens: int = 1) -> Work[int | None]:
        """Microseconds to wait for the tokens, now ours; None (nothing taken) when that is longer than allowed."""
        cost, room = tokens * self.interval_us, self.depth * self.interval_us
        rows = yield Call(_TAKE, {"key": key, "now": now, "cost": cost, "latest": now + room + most_wait_us})
        return max(0, rows[0][0] - room - now) if rows else None

    def give_back(self, key: str, *, tokens: int) -> Work[None]:
        """Tokens taken in this transaction and not spent."""
        yield Call(_BACK, {"at_key": key, "cost": tokens * self.interval_us})


@dataclass(frozen=True, slots=True)
class SharedBucket:
    """A rate for several, of which nobody can spend everything: half of it is always left to those who spent less.

    The upper half of the bucket is anybody's. Below that, each takes from a share of its own, worth half the rate.
    """

    whole: Bucket

    def take(self, key: str, whose: str, *, now: int, most_wait_us: int, tokens: int) -> Work[int | None]:
        """As `Bucket.take`."""
        upper = Bucket(self.whole.interval_us, (self.whole.depth + 1) // 2)
        if (yield from upper.take(key, now=now, tokens=tokens)) is not None:
            return 0
        share, own = Bucket(self.whole.interval_us * 2, max(1, self.whole.depth // 2)), f"{key}:{whose}"
        own_us = yield from share.take(own, now=now, most_wait_us=most_wait_us, tokens=tokens)
        if own_us is None:
            return None
        wait_us = yield from self.whole.take(key, now=now, most_wait_us=most_wait_us, tokens=tokens)
        if wait_us is None:
            yield from share.give_back(own, tokens=tokens)
            return None
        return max(own_us, wait_us)


@dataclass(slots=True)
class _Handful:
    tokens: int = 0
    until: int = 0  # microseconds
    refused_until: int = 0


class StoredLimits:
    """`ports.Limits`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hands: dict[str, _Handful] = {}

    async def take(self, key: str, *, per_minute: int, now: datetime) -> int | None:
        """One of `per_minute`; a whole minute's worth may come at once."""
        at = micros(now)
        key = key.encode("utf-8", "replace").decode().replace("\0", "?")[:_LONGEST_KEY]
        hand = self._hands.get(key)
        if hand is None:
            if len(self._hands) >= _MOST_KEYS:
                self._forget(at)
            hand = self._hands[key] = _Handful()
        if hand.tokens and hand.until > at:
            hand.tokens -= 1
            return None
        if hand.refused_until <= at:
            handful = max(1, per_minute // _HANDFULS_A_MINUTE)
            bucket = Bucket(_MINUTE_US // per_minute, per_minute)
            tokens, free_at = await self._database.write(_take_handful(bucket, key, at, handful))
            if tokens:
                hand.tokens, hand.until = hand.tokens * (hand.until > at) + tokens - 1, at + _HANDFUL_KEEPS_US
                return None
            hand.refused_until = free_at
        return max(1, -((at - hand.refused_until) // 1_000_000))

    async def purge(self, now: datetime) -> None:
        """Buckets that are full again need no row."""
        await self._database.write(_purge(micros(now)))

    def _forget(self, at: int) -> None:
        for key in [key for key, hand in self._hands.items() if hand.until <= at and hand.refused_until <= at]:
            del self._hands[key]
        if len(self._hands) >= _MOST_KEYS:
            self._hands.clear()  # a flood of keys: the rows in the database still hold the rate


def _take_handful(bucket: Bucket, key: str, at: int, handful: int) -> Work[tuple[int, int]]:
    for tokens in (handful, 1) if handful > 1 else (1,):
        if (yield from bucket.take(key, now=at, tokens=tokens)) is not None:
            return tokens, 0
    rows = yield Call(_TAT, {"key": key})
    return 0, rows[0][0] - (bucket.depth - 1) * bucket.interval_us


def _purge(at: int) -> Work[None]:
    yield Call(_PURGE, {"now": at})

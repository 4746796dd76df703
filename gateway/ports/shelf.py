"""The shelves of all pushing sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.nhs_number import NhsNumber
from gateway.ports.log import Entry
from gateway.ports.work import Owed


@dataclass(frozen=True, slots=True)
class ShelfRow:
    """A shelf row on its way in. `holder` is an NHS number or a local id; both are stored only under a keyed hash."""

    source: str
    sender: str
    kind: str
    business_id: str
    holder: NhsNumber | str
    as_of: datetime
    body: bytes | None  # plain canonical JSON, encrypted by the store; None: deleted by the sender (a tombstone)
    keep_until: datetime
    moves: bool = False  # the newest of its key ends older ones held of other people: its sender corrected whose it is


@dataclass(frozen=True, slots=True)
class ShelfStored:
    """A shelf row on its way out, decrypted."""

    kind: str
    business_id: str
    sender: str
    as_of: datetime
    body: bytes
    contested: bool = False  # held of somebody else, too: it is shown to nobody


@dataclass(frozen=True, slots=True)
class Listed:
    """One delivery of a source that sends its whole list each time, and how much of it could not be taken."""

    source: str
    as_of: datetime | None  # None: nothing of it could be read
    unread: int  # rows; 0: it was taken whole


class ShelfStore(Protocol):
    """The shelves of all pushing sources."""

    async def put(self, rows: Sequence[ShelfRow], entry: Entry) -> int:
        """Newest `as_of` of one (source, sender, kind, business id) wins; older and equal change nothing. With its event."""
        ...

    async def put_each(
        self,
        deliveries: Sequence[tuple[Sequence[ShelfRow], Entry]],
        owed: Sequence[Owed] = (),
        *,
        if_contested: Sequence[Owed] = (),
        listed: Sequence[Listed | None] = (),
    ) -> Sequence[int]:
        """Several deliveries, each with its event, and what they owe, in one transaction: how many rows of each were newer.

        An entry's detail says `contested` where a row's business id is held for somebody else, too: until its sender has
        deleted one, neither is shown, and `if_contested` is owed. `moved` says how many copies held of others a newer one ended.

        `listed`, where given, has one for each delivery: in the same transaction its source is marked as not whole, or no longer.
        """
        ...

    async def replace(
        self, source: str, rows: Sequence[ShelfRow], delivered_at: datetime, entry: Entry, *, unread: int = 0
    ) -> int:
        """A snapshot: what this source no longer lists is gone. An older snapshot than the one held changes nothing.

        `unread`: rows of it that could not be taken; the source is marked as not whole, or no longer.
        """
        ...

    async def unlisted(self, source: str, rows: Sequence[ShelfRow], at: datetime) -> tuple[int, int]:
        """(records this source's shelf holds in date, how many of them `rows` does not list): what a snapshot would drop."""
        ...

    async def newest(self, source: str, holder: NhsNumber | str, at: datetime) -> Sequence[ShelfStored]: ...

    async def heard(self, source: str, holder: NhsNumber | str, at: datetime) -> Sequence[ShelfStored]:
        """The same with what is contested, which protects although it is not shown."""
        ...

    async def delivered_at(self, source: str) -> datetime | None: ...

    async def unread(self, source: str) -> int:
        """How many rows of its newest list could not be taken; 0: it is whole, or a person settled what was set aside of it."""
        ...

    async def purge(self, at: datetime) -> int: ...

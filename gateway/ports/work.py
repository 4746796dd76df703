"""Work owed: the queue of a program's jobs and the list of people's tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from gateway.model import Mandate, NewParcel
from gateway.nhs_number import NhsNumber


@dataclass(frozen=True, slots=True)
class Job:
    """A queue row owed by an event, written in its transaction."""

    kind: str
    key: str  # idempotency
    due: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewWork:
    """A task for a person, on its way into the work list. Who or what it is about is stored sealed."""

    kind: str  # "wrong-person", "match", "bad-row", ...: short constants
    reason: str  # a short constant, never a value
    source: str
    owner: str  # the team or role that settles it
    due: datetime
    key: str  # idempotency: one open item for each; stored hashed, so it may name what `about` names
    person: NhsNumber | None = None
    local_ref: str = ""  # where its owner finds it: a local id, a row of a file


@dataclass(frozen=True, slots=True)
class OwedParcel:
    """Something that leaves later, owed by an event: queued in its transaction, once for each of its keys."""

    parcel: NewParcel
    mandate: Mandate


Owed = Job | NewWork | OwedParcel


@dataclass(frozen=True, slots=True)
class Leased:
    """A queue row in the hands of one worker until its lease runs out."""

    id: str
    lease: str
    attempt: int  # 1 the first time
    job: Job


class Queue(Protocol):
    """Work owed. A claim is a lease: a killed worker's rows come back by themselves."""

    async def claim(self, kind: str, *, now: datetime, lease_s: float, limit: int = 1) -> Sequence[Leased]: ...

    async def done(self, leased: Leased, at: datetime) -> bool:
        """False when the lease had run out and another worker has the row."""
        ...

    async def retry(self, leased: Leased, *, due: datetime, reason: str) -> bool:
        """Due again later; `reason` is a short constant."""
        ...


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A task as the work list shows it: what and why and whose, not yet about whom."""

    id: str
    kind: str
    reason: str
    source: str
    owner: str
    due: datetime
    opened_at: datetime
    taken_by: str | None
    closed_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class WorkSubject:
    """About whom a work item is: opened for whoever took it."""

    person: NhsNumber | None
    local_ref: str


# What a work item may be: which flow opens it and who settles it is in docs/identity.md.
WORK_KINDS: Final = (
    "access-notice",
    "bad-row",
    "break-glass",
    "contested",
    "drift",
    "guardian",
    "held-twice",
    "match",
    "parcel-held",
    "parcel-refused",
    "parcel-unconfirmed",
    "recall-unconfirmed",
    "set-aside",
    "suppression-taken-back",
    "unread-record",
    "wrong-person",
)


class WorkList(Protocol):
    """What people must settle. Nothing here is decided by a program."""

    async def open(self, items: Sequence[NewWork], at: datetime) -> int:
        """How many are new: an item whose key is open already changes nothing. With the event that owes it: `Log.append`."""
        ...

    async def list(
        self,
        *,
        owner: str | None = None,
        source: str | None = None,
        kind: str | None = None,
        closed: bool = False,
        limit: int = 200,
    ) -> Sequence[WorkItem]:
        """Open items, or closed ones; the most urgent first."""
        ...

    async def counted(self, *, closed: bool = False) -> Mapping[tuple[str, str, str], int]:
        """Owner, source and kind -> how many items there are."""
        ...

    async def take(self, item: str, *, by: str, at: datetime) -> WorkSubject | None:
        """An open item is now this person's, recorded; None: there is none, or it is somebody else's."""
        ...

    async def close(self, item: str, *, by: str, outcome: str, at: datetime) -> bool:
        """Settled, recorded, and forgotten whom it was about. False: none is open, or it is somebody else's."""
        ...

    async def settle(self, keys: Sequence[str], *, by: str, outcome: str, at: datetime) -> Mapping[str, int]:
        """The open items of these keys, closed by one decision: kind -> how many. What somebody else has taken stays."""
        ...

"""What is to be delivered, in whose name, and about whom nothing goes out that invites."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.model import Accepted, Because, LeasedParcel, LeasedRecall, Mandate, Moved, NewParcel, Parcel, ParcelState
from gateway.nhs_number import NhsNumber
from gateway.ports.log import Entry


class Mandates(Protocol):
    """In whose name something may leave without a token."""

    async def get(self, mandate: str) -> Mandate | None: ...

    async def revoke(self, mandate: str, at: datetime) -> bool: ...


class Parcels(Protocol):
    """What is to be delivered: content sealed, leased while it is being sent, forgotten once it is settled."""

    async def put(self, parcel: NewParcel, mandate: Mandate) -> Accepted:
        """A submission and its mandate, once for each of the sender's identifiers."""
        ...

    async def get(self, parcel: str) -> Parcel | None: ...

    async def claim(self, *, now: datetime, lease_s: float, limit: int = 1) -> Sequence[LeasedParcel]:
        """Due and open parcels, leased to the caller: a killed worker's come back by themselves."""
        ...

    async def retry(self, leased: LeasedParcel | LeasedRecall, state: ParcelState, *, due: datetime, reason: str) -> bool:
        """Due again later. False when the lease had run out and another worker has it."""
        ...

    async def sending(self, leased: LeasedParcel | LeasedRecall, at: datetime, *, receipt: str = "") -> bool:
        """Bytes are about to leave. False when the lease had run out, or it was recalled or closed meanwhile: send nothing.

        `receipt`: of the event that discloses them; a recall names it.
        """
        ...

    async def settle(
        self,
        leased: LeasedParcel | LeasedRecall,
        state: ParcelState,
        *,
        at: datetime,
        reason: str,
        reference: str | None = None,
    ) -> bool:
        """Its end, or a halt until somebody looks. What needs no further attempt loses its content."""
        ...

    async def unconfirmed(self, now: datetime, limit: int = 100) -> Sequence[Parcel]:
        """Not acknowledged when they should have been, and nobody was told yet."""
        ...

    async def warned(self, parcel: str) -> None:
        """Somebody's task now."""
        ...

    async def list(self, *, state: ParcelState | None = None, limit: int = 200) -> Sequence[Parcel]: ...

    async def again(self, parcel: str, at: datetime) -> bool:
        """An operator has mended what was wrong: due now. False: it has no content any more."""
        ...

    async def recall(self, parcel: str, *, at: datetime) -> Parcel | None:
        """Its sender takes it back: never sent from now on. The parcel as it was; None: there is none."""
        ...

    async def purge(self, at: datetime) -> int:
        """What is past its time lapses and loses its content; what was settled long ago goes."""
        ...


class Recalls(Protocol):
    """What was delivered and is called back: a parcel of its own, without content, one for each reason."""

    async def put(self, original: Parcel, because: Because, *, at: datetime) -> Parcel:
        """Queued; the one that is there already, where there is one. It is due at once, and as patient as the original was."""
        ...

    async def claim(self, *, now: datetime, lease_s: float, limit: int = 1) -> Sequence[LeasedRecall]:
        """Due and open recalls, leased to the caller."""
        ...

    async def of(self, number: NhsNumber) -> Sequence[Parcel]:
        """Every parcel about a person of which bytes left, by all numbers that are theirs."""
        ...

    async def sent_by(self, sender: str, client: str, key: str, number: NhsNumber) -> Parcel | None:
        """The parcel that stands for a sender's identifier; None: there is none, or it is about another number."""
        ...

    async def made(self, parcel: str, because: Because) -> Parcel | None:
        """The recall of a parcel for this reason."""
        ...

    async def whose(self, parcel: str) -> NhsNumber | None:
        """About whom a parcel is, as long as there is such a person; for the log."""
        ...

    async def moved(self, limit: int = 20, *, after: str = "") -> Sequence[Moved]:
        """Delivered parcels of whose person something changed since the facts were read for them; by id, those after one."""
        ...

    async def looked_at(self, parcel: str, version: int) -> None:
        """What changed up to this version was looked at."""
        ...


@dataclass(frozen=True, slots=True)
class Suppression:
    """A death or a loss, as one source told it: from then on nothing goes out that invites or reminds."""

    number: NhsNumber
    kind: str  # "death" | "stillbirth" | "pregnancy-loss" | "child-loss" | "outcome-unknown"
    source: str
    as_of: datetime
    episode: str = ""  # which birth or pregnancy, where one person may have several; stored under a keyed hash only
    taken_back: bool = False  # the source says it does not hold: noted for a person to decide, and lifts nothing


class Suppressions(Protocol):
    """Whom nothing may be sent about that invites contact. Reading the record stays lawful; what goes out asks as it goes."""

    async def of(self, number: NhsNumber) -> frozenset[str]:
        """The kinds in force for this person and the numbers theirs replaced; empty: contact may go."""
        ...

    async def taken_back(self, number: NhsNumber) -> frozenset[str]:
        """Kinds in force that a source has since taken back: what a person has to decide about."""
        ...

    async def put(self, told: Sequence[Suppression]) -> int:
        """Set facts, durable on return; how many were new. Told again, or late, changes nothing; nothing told here lifts one."""
        ...

    async def resume(self, number: NhsNumber, kind: str, entry: Entry) -> int:
        """A person decided that contact may go on: ends one kind at `entry.at`, with its event; how many facts that ended."""
        ...

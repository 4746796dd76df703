"""Local ids, the verified NHS numbers they belong to, and the records that are on their way to one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, Protocol

from gateway.nhs_number import NhsNumber
from gateway.ports.work import NewWork

CrosswalkKind = Literal["person", "member", "upn"]  # an authority's person id, a centre's member id, a pupil number


@dataclass(frozen=True, slots=True)
class CrosswalkRow:
    """A local id and the verified NHS number it belongs to, with where the match came from.

    A `upn` is how an authority's own records are joined on their way in. It finds a number and is never given out.
    """

    source: str
    local_id: str
    number: NhsNumber
    birth_date: date | None  # at matching
    verified_on: date
    verified_by: str
    kind: CrosswalkKind = "person"
    came_from: str = ""  # "import", "pds-search", "work-list": a short constant


class Crosswalk(Protocol):
    """Local ids and the verified NHS numbers they belong to."""

    async def local_ids(self, source: str, number: NhsNumber) -> Sequence[tuple[str, date | None]]:
        """Every id of the person there that the source may be asked by. Never a UPN."""
        ...

    async def locked(self, source: str, kind: str) -> Sequence[NhsNumber]:
        """Who is linked there and protected by this kind of lock of the same source."""
        ...

    async def number_of(self, source: str, local_id: str) -> NhsNumber | None: ...

    async def number_of_upn(self, source: str, upn: str) -> NhsNumber | None:
        """The inbound join inside one authority."""
        ...

    async def put(self, rows: Sequence[CrosswalkRow], *, by: str = "", waiting: str = "") -> int:
        """Each new or changed link with its own event, in one transaction; how many. A buried id is not linked again.

        `waiting`, where given: the lock of the source that whoever is newly linked has from that transaction on, asserted anew.
        """
        ...

    async def buried(self, rows: Sequence[CrosswalkRow]) -> Sequence[CrosswalkRow]:
        """Those among them whose id belongs to a number that died: `put` would pass over them."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class LocalRecord:
    """One row of a custodian's list of people, on its way to an NHS number. Prints nothing of itself."""

    source: str
    local_id: str
    number: NhsNumber | None  # as the custodian holds it: well-formed, not yet verified
    family: str
    given: str
    birth_date: date | None
    birth_date_doubt: str  # "", "estimated" or "expected"
    gender: str  # R4 administrative gender, or ""
    postcode: str
    upn: str


MatchOutcome = Literal["Match", "PotentialMatch", "LowConfidenceMatch", "ManyMatch", "NoMatch", "Error"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one local record. `links` only where the outcome is Match."""

    record: LocalRecord
    outcome: MatchOutcome
    reason: str
    links: Sequence[CrosswalkRow]
    work: Sequence[NewWork]
    buried: NewWork  # instead of the links, where the record belongs to a number that died


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one durable chunk came to."""

    records: int  # staged: those that are new or changed; settled: those that are linked
    opened: Mapping[str, int]  # kind -> how many work items are new: an item that is open already is not opened again


class LocalRecords(Protocol):
    """The local records on their way, sealed, until each has an outcome."""

    async def begin(self, source: str, digest: str, at: datetime) -> int:
        """A file's digest -> how many of its rows are staged already."""
        ...

    async def stage(
        self, source: str, digest: str, records: Sequence[LocalRecord], work: Sequence[NewWork], *, cursor: int, at: datetime
    ) -> Chunk:
        """One chunk and the cursor behind it, durable."""
        ...

    async def pending(self, source: str, limit: int) -> Sequence[LocalRecord]: ...

    async def settle(
        self, settled: Sequence[Settled], at: datetime, *, by: str, dug_up: bool = False, waiting: str = ""
    ) -> Chunk:
        """One chunk of outcomes with links, events and work items, durable.

        `dug_up`: a guardian's own word, for which no tombstone stands. `waiting`: as `Crosswalk.put` has it.
        """
        ...

    async def counts(self, source: str) -> Mapping[str, int]:
        """Outcome -> how many records; "pending" for those without."""
        ...

    async def find(self, source: str, local_id: str) -> LocalRecord | None:
        """A record that is pending or on the work list."""
        ...

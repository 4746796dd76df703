"""All that an adapter author imports: fetch and name the record; never build FHIR, decide, retry or log.

An adapter is made once per configured source by `build(manifest, source, tools)` in its package, or, when the manifest names
a `connector`, by that connector. The gateway owns deadline, bulkhead, circuit, audit, mapping, labels and provenance.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from gateway.errors import SourceContractBroken, SourceError, SourceRefused, SourceTimedOut, SourceUnavailable, StartupRefused
from gateway.model import PatientIdentity, Purpose
from gateway.nhs_number import NhsNumber
from gateway.ports import Provider
from gateway.resource import together, value_doubt

__all__ = [
    "LOCKED_AT_SOURCE",
    "Acknowledgement",
    "Adapter",
    "Arrival",
    "Build",
    "BuildDelivery",
    "Claim",
    "Clock",
    "Closes",
    "Deliver",
    "DeliverSettings",
    "DeliverTable",
    "Delivery",
    "Directory",
    "FileReader",
    "Http",
    "HttpAnswer",
    "Intake",
    "LocalIds",
    "Loss",
    "Manifest",
    "NhsNumber",
    "Outgoing",
    "PatientIdentity",
    "Provider",
    "Purpose",
    "Shelf",
    "ShelfRecord",
    "SourceContractBroken",
    "SourceError",
    "SourceFacts",
    "SourceRecord",
    "SourceRefused",
    "SourceSettings",
    "SourceTimedOut",
    "SourceUnavailable",
    "StartupRefused",
    "Tools",
    "Want",
    "together",
    "value_doubt",
]

LOCKED_AT_SOURCE: Final = "locked-at-source"  # a warning: told only to somebody who may know what is withheld
Tree: TypeAlias = Any  # plain dict / list / str / int / Decimal / bool / None, as the source said it


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose record the source says this is: its own words, never a number stamped by us.

    Exactly one of `nhs_number` and `local_id` is set. `birth_date` where the source gives one.
    """

    nhs_number: str | None = None
    local_id: str | None = None
    birth_date: date | None = None


class SourceRecord(msgspec.Struct, frozen=True):
    """One record as the source said it. There are many, so it is a struct: a copy with changes is `msgspec.structs.replace`."""

    schema: str  # "dfe-cin-2025-26": picks the mapping; an unknown name is SourceContractBroken
    data: Tree
    where: str  # "return 2026-03, line 812" | "row 14" | "entry 3": a locator, never a value
    as_of: datetime  # when the source says this was true
    about: Claim
    locked: bool = False  # the source's own lock on this item: outranks every permit
    not_early_years: bool = False  # no parent agreed that this item goes on to early years: policy stops it there


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a source says of the person beside records: its locks, its warnings, how fresh it is."""

    protected: frozenset[str] = frozenset()  # kinds of lock: "address-lock", "refuge", "placement", "adoption"
    warnings: tuple[tuple[str, str], ...] = ()  # (category, code): "confidential-items", LOCKED_AT_SOURCE ...
    as_of: datetime | None = None  # newest delivery, for sources that push
    stale: bool = False
    about: Claim | None = None  # whose answer this is, where the source says it even of an answer without records
    reason: str = ""  # why there is nothing, as a short constant: for the audit only


@dataclass(frozen=True, slots=True)
class Want:
    """What the permit covers at this source, so that the source is asked for no more."""

    types: frozenset[str]  # R4 resource types
    purpose: Purpose
    requester: Mapping[str, str]  # organisation, person, name, role: for sources whose protocol names them
    correlation_id: str


class Adapter(Protocol):
    """One configured source."""

    def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's records, one at a time. Raises one of the four `SourceError`s; empty is empty, not an error."""
        ...


class FileReader(Protocol):
    """Reads one file in the source's own format, without a network: for `gateway map run`, cases and drops."""

    def read_file(self, name: str, body: bytes) -> Iterable[SourceRecord]:
        """A whole file -> its records. Raises `SourceContractBroken` when the file as a whole is unusable."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """A death or a loss that a message tells of: from now on nothing goes out about that person that invites contact."""

    nhs_number: str
    kind: str  # "death" | "stillbirth" | "pregnancy-loss" | "child-loss" | "outcome-unknown"
    episode: str = ""  # which birth or pregnancy, where one person may have several
    taken_back: bool = False  # the source says it does not hold: a person decides whether contact goes on


@dataclass(frozen=True, slots=True)
class Arrival:
    """One thing a pushing source delivered, ready for the shelf."""

    kind: str  # "vaccinations-1", "cin-child"
    business_id: str  # the sender's own key; newest `as_of` of one key wins
    sender: str  # organisation code of the sender
    as_of: datetime
    about: Claim
    record: SourceRecord | None  # None: the sender deleted it
    protected: frozenset[str] = frozenset()  # locks this record asserts about the person
    expires_trace: bool = False  # only news that the person changed: their trace is read again, and nothing is shelved
    losses: tuple[Loss, ...] = ()
    moves: bool = False  # newer under another number, it is the same record corrected: what was held under the old one ends


@runtime_checkable
class Closes(Protocol):
    """An adapter that holds something open: a pool, threads, files."""

    async def close(self) -> None:
        """Let go. Called once, when the gateway stops."""
        ...


@runtime_checkable
class Intake(Protocol):
    """A source that pushes: what lies in its drop, one delivery at a time."""

    def arrivals(self) -> AsyncIterator[tuple["Delivery", Sequence[Arrival]]]:
        """Each waiting delivery with what it holds. The flow shelves it, then calls `Delivery.done` or `.refuse`."""
        ...


class Delivery(Protocol):
    """One delivered file or message."""

    name: str  # a locator safe to log: never a person's identifier
    snapshot: bool  # True: what the sender no longer lists is gone
    as_of: datetime
    fault: str | None  # set when its reader could not use it: comes with no arrivals, and is refused for this reason
    doubts: Mapping[str, int]  # rows that its reader refused: reason -> how many
    rows: Sequence[tuple[str, str]]  # (place, reason) of each of them; the flow adds those it could not take

    def done(self) -> None:
        """Taken: never delivered again."""
        ...

    def refuse(self, reason: str) -> None:
        """Not usable: moved aside with the reason; its owner acts."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One delivery in the recipient's own shape."""

    key: str  # the same at every attempt: the recipient's system takes what has it once
    schema: str  # of mappings/<adapter>/source.yaml
    data: Tree
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The recipient's system has it."""

    reference: str | None  # its own name for it, where it gives one
    at: datetime


class Deliver(Protocol):
    """The writing side of one `[deliver.NAME]`: credentials of its own, no way to read."""

    async def deliver(self, name: str, outgoing: Outgoing) -> Acknowledgement:
        """Hand it over; a key that the recipient has already is success.

        Raises one of the four `SourceError`s. `SourceContractBroken`: the recipient's system will not take this content, and
        will not another time either; after the other three nobody knows whether it has it, and it is sent again.
        """
        ...


@dataclass(frozen=True, slots=True)
class ShelfRecord:
    """A custodian's newest copy of one record, held as its processor."""

    kind: str
    business_id: str
    sender: str
    as_of: datetime
    data: Tree
    about: Claim
    where: str
    schema: str
    locked: bool = False
    not_early_years: bool = False


class Shelf(Protocol):
    """One source's shelf: encrypted, age-limited, read by that source only."""

    async def newest(self, holder: "NhsNumber | str") -> Sequence[ShelfRecord]:
        """Everything in date kept for one person: by NHS number, or by the source's own local id."""
        ...

    async def delivered_at(self) -> datetime | None:
        """When the newest delivery was made by the sender's clock; None: nothing was ever delivered."""
        ...


class LocalIds(Protocol):
    """The crosswalk, for one source."""

    async def of(self, patient: PatientIdentity) -> Sequence[Claim]:
        """The source's local ids verified for this person, each with the birth date recorded at matching."""
        ...


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer, whole and within its cap."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes


class Http(Protocol):
    """Outgoing HTTP, one small port. No redirects are followed and nothing is logged."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadline_s: float,
        cap_bytes: int,
    ) -> HttpAnswer:
        """Raises `SourceTimedOut` past `deadline_s`, `SourceContractBroken` past `cap_bytes`, else `SourceUnavailable`."""
        ...


class Directory(Protocol):
    """The Spine Directory Service: where a practice's service is."""

    async def find(self, ods: str, interaction: str) -> Provider | None:
        """ODS code and interaction id -> the provider, or None when the practice has not activated it.

        Raises `SourceUnavailable`, `SourceContractBroken` (blank ASID, blank endpoint) or `SourceTimedOut`.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeliverTable:
    """One `[deliver.NAME]` of a manifest, read and checked."""

    name: str
    connector: str
    schema: str  # what the outward map writes
    types: frozenset[str]  # R4 types that a sender may submit for it
    category: str
    care_class: str
    purposes: frozenset[str]
    role: str  # "<system>|<code>": the role in which the recipient acts on what it gets
    acknowledge_within_h: float
    keep_days: int
    invites_contact: bool  # what comes of it reaches the family: never after a death or a loss
    options: Mapping[str, Any] = field(default_factory=dict)  # the connector's own
    recall: "DeliverTable | None" = None  # `[deliver.NAME.recall]`: how its system is told that something is called back


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """One `[sources.NAME.deliver.NAME]` of the settings: agreements, address and credentials of their own."""

    agreements: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """adapters/<name>/manifest.toml, read and checked."""

    name: str
    title: str
    connector: str | None  # None: the package has `build` in adapter.py
    owner: str
    identity: str  # "nhs_number" | "local_id"
    kind: str  # "gp" | "child-health" | "childrens-centre" | "local-authority": how a protected person's sources are named
    reads: tuple[str, ...]  # schemas of mappings/<name>/source.yaml
    gives: Mapping[str, str]  # R4 resource type -> category
    purposes: frozenset[str]  # the source's own terms
    never_for: frozenset[str]
    feeds_protection: bool  # its locks feed the protected index; unknown or stale then means protected
    budget_s: float
    options: Mapping[str, Any] = field(default_factory=dict)  # the connector's own table
    deliver: Mapping[str, DeliverTable] = field(default_factory=dict)  # what it takes from other systems
    needs_directory: bool = False  # it looks practices up in SDS: without [sds] in the settings nobody would be found


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One `[sources.NAME]` of the settings: an adapter pointed at one custodian."""

    name: str
    adapter: str
    custodian: str  # organisation code, "ods:..." | "gss:..." | "dfe-urn:..."; "registered-practice" for GP Connect
    agreement: str
    title: str
    budget_s: float
    max_age_h: float | None
    keep_days: int
    options: Mapping[str, Any]  # base_url, database_url, drop, code_maps ...
    deliver: Mapping[str, DeliverSettings] = field(default_factory=dict)
    drift: Literal["report", "refuse"] = "report"  # of a record with fields that no map knows


class ReadApart(Protocol):
    """Reads a large body in a process of its own."""

    def __call__(self, read: Callable[[bytes], Iterable[Any]], body: bytes) -> AsyncIterator[Any]:
        """What `read` makes of the body, one at a time. `read` is a function of a module, or a `partial` of one."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What the gateway lends an adapter."""

    http: Http
    shelf: Shelf
    local_ids: LocalIds
    directory: Directory
    now: "Clock"
    var: Path  # where drops and working files of this source may live
    apart: "ReadApart | None" = field(default=None, kw_only=True)  # for bodies over 256 KB; None: read them where they are
    seal: Callable[[bytes], bytes]  # for files of this source that are kept: what is sealed here, no adapter can open


class Clock(Protocol):
    """The time, passed in."""

    def __call__(self) -> datetime:
        """Aware UTC."""
        ...


class Build(Protocol):
    """`build` of an adapter package or a connector."""

    def __call__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> Adapter: ...


class BuildDelivery(Protocol):
    """`build_delivery` of a connector: the writing side of one `[deliver.NAME]`."""

    def __call__(self, table: DeliverTable, source: SourceSettings, tools: Tools) -> Deliver: ...

"""What the steps need from the world, as protocols. store/ and outside/ implement them; tests/fakes.py fakes them.

Every method may raise `StoreDown` (store ports) or the error named; nothing else escapes an implementation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol

from gateway.model import (
    Accepted,
    ConsentFact,
    LeasedParcel,
    Mandate,
    NewParcel,
    Parcel,
    ParcelState,
    PersonId,
    Receipt,
    Resource,
)
from gateway.nhs_number import NhsNumber

# ------------------------------------------------------------------------------------------------------------ outside


@dataclass(frozen=True, slots=True)
class Traced:
    """What PDS answered: one usable person. Source: PDS FHIR R4, GET /Patient/{id}."""

    number: NhsNumber  # may differ from the one asked: superseded
    birth_date: date | None
    deceased: bool
    restricted: bool
    practice: str | None  # "ods:..."
    patient: Resource = field(repr=False)  # UK Core Patient as PDS gave it, reduced to the elements we show
    version: str  # meta.versionId


TraceFailure = Literal["unknown", "invalidated", "bad-number"]


class Demographics(Protocol):
    """The tracer."""

    async def trace(self, number: NhsNumber, correlation_id: str) -> Traced | TraceFailure:
        """One PDS read. Raises `TracerDown` when there is no answer to trust (429, 5xx, time-out, nonsense)."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Wanted:
    """What a search of PDS names. Birth date and family name always."""

    family: str
    given: str
    birth_date: date
    gender: str
    postcode: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One person a search found, with the score PDS gave it."""

    score: float
    traced: Traced


Search = Literal["many", "refused"]  # more than one fits; PDS will not search by what the record says


class DemographicsSearch(Protocol):
    """Who a person without an NHS number may be."""

    async def search(self, wanted: Wanted, correlation_id: str, *, exact: bool) -> Sequence[Candidate] | Search:
        """One PDS search, never fuzzy. `exact` False: by beginnings of names, and names of before.

        Raises `TracerDown` when there is no answer to trust.
        """
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a practice's GP Connect service is. Source: Spine Directory Service FHIR R4, Device and Endpoint."""

    asid: str
    address: str


# -------------------------------------------------------------------------------------------------------------- store


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A row of `person`, decrypted, with its newest trace."""

    person: PersonId
    number: NhsNumber
    status: Literal["live", "superseded", "sealed"]
    successor: PersonId | None  # superseded: the row that answers for it
    trace: Traced | None
    traced_at: datetime | None
    expired: bool  # an event said the trace is out of date


class Persons(Protocol):
    """The person rows: opaque ids, numbers encrypted, the newest trace of each."""

    async def by_number(self, number: NhsNumber) -> PersonRow | None: ...

    async def by_id(self, person: PersonId) -> PersonRow | None: ...

    async def admit(self, traced: Traced, at: datetime) -> PersonId:
        """First permitted trace -> a new row, or the one another worker made at the same instant."""
        ...

    async def retrace(self, person: PersonId, traced: Traced, at: datetime) -> None:
        """Store a newer trace of a live person."""
        ...

    async def supersede(self, old: NhsNumber, traced: Traced, at: datetime) -> PersonId:
        """PDS followed `old` to `traced.number`: the new number's row survives, the old id becomes its alias."""
        ...

    async def seal(self, number: NhsNumber, at: datetime) -> None:
        """PDS says invalidated: the row answers nothing from now on and is linked to nothing."""
        ...

    async def expire(self, number: NhsNumber) -> None:
        """A change event: the stored trace may not be used again."""
        ...

    async def take_trace_token(self, now: datetime, *, wait_s: float) -> bool:
        """One token of the bucket that all workers share (default 5 a second); False after `wait_s` without one."""
        ...


@dataclass(frozen=True, slots=True)
class PersonFacts:
    """All that is stored about one person and one caller that policy may depend on, read in one statement."""

    version: int
    consents: frozenset[ConsentFact]
    objection: bool
    relationships: frozenset[str]  # in force now between this caller (organisation, staff, case) and this person
    locks: frozenset[str]  # kinds of protection asserted by sources, of this person
    feeds: Mapping[str, datetime]  # protection-feeding source -> newest delivery or contact
    client_version: int | None  # of the calling client; None: revoked or unknown


class FactsStore(Protocol):
    """What is stored that policy may depend on."""

    async def read(
        self, number: NhsNumber | None, *, organisation: str, staff: str, case_reference: str | None, client: str, at: datetime
    ) -> PersonFacts:
        """`number` None: nobody was traced; the caller's own rows are still read, at the same cost."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One audit event before it is written. Nothing in it may hold an NHS number, a name of the person or content."""

    kind: str  # "decision" | "disclosure" | "token" | "refusal" | "failure" | "audit-read" | "intake" | "administration"
    at: datetime
    outcome: str  # "permit" | "deny" | "success" | "failure"
    person: NhsNumber | None  # becomes a keyed index column and nothing else
    organisation: str = ""
    system: str = ""
    staff: str = ""  # "<system>|<id>"
    staff_name: str = ""
    role: str = ""
    purpose: str = ""
    request_id: str = ""
    correlation_id: str = ""
    address: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)  # JSON values only
    signed: bool = True  # False: its receipt never leaves the gateway, so nobody would check a signature


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


Owed = Job | NewWork


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as the log holds it."""

    index: int
    event: str
    writer: str
    writer_seq: int
    recorded_at: datetime
    commitment: str
    body: Mapping[str, Any]  # the canonical bytes, read


@dataclass(frozen=True, slots=True)
class LogQuestion:
    """What an auditor asks. All given criteria hold together; `after` pages by index, newest first."""

    person: NhsNumber | None = None
    person_id: PersonId | None = None
    organisation: str | None = None
    staff: str | None = None
    outcome: str | None = None
    purpose: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before_index: int | None = None
    limit: int = 50


class Log(Protocol):
    """The audit log."""

    async def append(
        self, entries: Sequence[Entry], jobs: Sequence[Owed] = (), *, unless_moved: tuple[NhsNumber, int] | None = None
    ) -> Sequence[Receipt] | None:
        """Durable on return, all or nothing. Raises `AuditDown`.

        `unless_moved` (person, facts version): write only if the facts version still is that; None when it moved.
        """
        ...

    async def append_once(self, entry: Entry, *, client: str, jti: str, expires: datetime) -> Receipt | None:
        """The entry and one replay row in one transaction; None (nothing written) when the jti was seen before."""
        ...

    async def ask(self, question: LogQuestion) -> Sequence[StoredEvent]: ...

    async def event(self, event: str) -> StoredEvent | None: ...


@dataclass(frozen=True, slots=True)
class Client:
    """A registered system: what it may claim, and how it proves itself."""

    id: str
    name: str
    organisations: frozenset[str]  # canonical codes
    roles: frozenset[str]  # "<system>|<code>"
    purposes: frozenset[str]
    scopes: frozenset[str]
    algorithms: frozenset[str]
    jwks: Mapping[str, Any] | None
    jwks_url: str | None
    version: int  # raised by rotate and revoke; read with the facts
    revoked: bool
    certificate_thumbprint: str | None = None  # x5t#S256 when mTLS-bound
    strict: bool = False  # partial answers are errors for this client unless it asks otherwise
    audiences: frozenset[str] = frozenset()  # accepted `aud`, beside the token URL


class Clients(Protocol):
    """Registered systems."""

    async def get(self, client: str) -> Client | None: ...

    async def all(self) -> Sequence[Client]: ...

    async def put(self, client: Client) -> None:
        """Insert or replace; the version is the store's own."""
        ...

    async def revoke(self, client: str) -> bool: ...


class Limits(Protocol):
    """Rates shared by all workers."""

    async def take(self, key: str, *, per_minute: int, now: datetime) -> int | None:
        """None: go on. A number: seconds until the next one is free."""
        ...


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

    async def number_of(self, source: str, local_id: str) -> NhsNumber | None: ...

    async def number_of_upn(self, source: str, upn: str) -> NhsNumber | None:
        """The inbound join inside one authority."""
        ...

    async def put(self, rows: Sequence[CrosswalkRow], *, by: str = "") -> int:
        """Each new or changed link with its own event, in one transaction; how many. A buried id is not linked again."""
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


class LocalRecords(Protocol):
    """The local records on their way, sealed, until each has an outcome."""

    async def begin(self, source: str, digest: str, at: datetime) -> int:
        """A file's digest -> how many of its rows are staged already."""
        ...

    async def stage(
        self, source: str, digest: str, records: Sequence[LocalRecord], work: Sequence[NewWork], *, cursor: int, at: datetime
    ) -> int:
        """One chunk and the cursor behind it, durable; how many records are new or changed."""
        ...

    async def pending(self, source: str, limit: int) -> Sequence[LocalRecord]: ...

    async def settle(self, settled: Sequence[Settled], at: datetime, *, by: str, dug_up: bool = False) -> int:
        """One chunk of outcomes with links, events and work items, durable; how many are linked.

        `dug_up`: a guardian's own word, for which no tombstone stands.
        """
        ...

    async def counts(self, source: str) -> Mapping[str, int]:
        """Outcome -> how many records; "pending" for those without."""
        ...

    async def find(self, source: str, local_id: str) -> LocalRecord | None:
        """A record that is pending or on the work list."""
        ...


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


@dataclass(frozen=True, slots=True)
class ShelfStored:
    """A shelf row on its way out, decrypted."""

    kind: str
    business_id: str
    sender: str
    as_of: datetime
    body: bytes


class ShelfStore(Protocol):
    """The shelves of all pushing sources."""

    async def put(self, rows: Sequence[ShelfRow], entry: Entry) -> int:
        """Newest `as_of` of one (source, sender, kind, business id) wins; older and equal change nothing. With its event."""
        ...

    async def put_each(self, deliveries: Sequence[tuple[Sequence[ShelfRow], Entry]], owed: Sequence[Owed] = ()) -> Sequence[int]:
        """Several deliveries, each with its event, and what they owe, in one transaction: how many rows of each were newer.

        An entry's detail says `contested` where a row's business id is held for somebody else, too: until its sender has
        deleted one, neither is shown.
        """
        ...

    async def replace(self, source: str, rows: Sequence[ShelfRow], delivered_at: datetime, entry: Entry) -> int:
        """A snapshot: what this source no longer lists is gone. An older snapshot than the one held changes nothing."""
        ...

    async def unlisted(self, source: str, rows: Sequence[ShelfRow], at: datetime) -> tuple[int, int]:
        """(records this source's shelf holds in date, how many of them `rows` does not list): what a snapshot would drop."""
        ...

    async def newest(self, source: str, holder: NhsNumber | str, at: datetime) -> Sequence[ShelfStored]: ...

    async def delivered_at(self, source: str) -> datetime | None: ...

    async def purge(self, at: datetime) -> int: ...


class Protections(Protocol):
    """The protected index: who is locked, by which source, since when. Keyed; lists nobody."""

    async def assert_locks(self, source: str, locks: Mapping[NhsNumber, frozenset[str]], at: datetime, *, snapshot: bool) -> None:
        """`snapshot`: locks of this source that are not listed are lifted."""
        ...

    async def add_locks(self, source: str, locks: Mapping[NhsNumber, frozenset[str]], at: datetime) -> None:
        """More locks of this source; none is lifted and the source is no fresher for it."""
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
    """Whom nothing may be sent about that invites contact. Reading the record stays lawful; what goes out asks here as it goes."""

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


class Relationships(Protocol):
    """Who cares for whom, from when to when."""

    async def put(
        self,
        kind: str,
        number: NhsNumber,
        *,
        organisation: str,
        staff: str | None,
        case_reference: str | None,
        starts: datetime,
        ends: datetime | None,
    ) -> None: ...

    async def end(
        self, kind: str, number: NhsNumber, *, organisation: str, staff: str | None, case_reference: str | None, at: datetime
    ) -> int:
        """Close what is open of one kind and organisation; `staff` and `case_reference` narrow it. How many rows that were."""
        ...


class Consents(Protocol):
    """Consents and objections, with their history."""

    async def put(
        self,
        number: NhsNumber,
        *,
        scope: str,
        decision: Literal["permit", "deny"],
        given_by: str,
        recorded_by: str,
        starts: datetime,
        ends: datetime | None,
        evidence: str,
    ) -> str: ...

    async def withdraw(self, number: NhsNumber, scope: str, at: datetime) -> int: ...


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

    async def take(self, item: str, *, by: str, at: datetime) -> WorkSubject | None:
        """An open item is now this person's, recorded; None: there is none, or it is somebody else's."""
        ...

    async def close(self, item: str, *, by: str, outcome: str, at: datetime) -> bool:
        """Settled, recorded, and forgotten whom it was about. False: none is open, or it is somebody else's."""
        ...


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

    async def retry(self, leased: LeasedParcel, state: ParcelState, *, due: datetime, reason: str) -> bool:
        """Due again later. False when the lease had run out and another worker has it."""
        ...

    async def sending(self, leased: LeasedParcel, at: datetime) -> bool:
        """Bytes are about to leave. False when the lease had run out, or it was recalled or closed meanwhile: send nothing."""
        ...

    async def settle(
        self, leased: LeasedParcel, state: ParcelState, *, at: datetime, reason: str, reference: str | None = None
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


class PolicyActivation(Protocol):
    """Which policy is active, for every worker alike."""

    async def active(self) -> str | None:
        """The active policy's hash; None: none was ever activated."""
        ...

    async def activate(self, policy_hash: str, *, at: datetime, by: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of the leaves of some records of one source: names of fields and numbers, never a value."""

    source: str
    schema: str
    records: int
    mapped: int
    ignored: int
    withheld: int
    unmapped: int
    paths: Mapping[str, int]  # what no map knows -> in how many records


@dataclass(frozen=True, slots=True)
class DriftRow:
    """A path of a source that no map knows."""

    source: str
    schema: str
    path: str
    records: int  # of those accounted for
    first_seen: datetime
    last_seen: datetime


class Drifts(Protocol):
    """The accounting of all workers."""

    async def add(self, counted: Sequence[Counted], at: datetime) -> Sequence[tuple[str, str, str]]:
        """Add to the counts -> source, schema and path of what was never seen before."""
        ...

    async def counted(self) -> Sequence[Counted]:
        """The sums, without their paths."""
        ...

    async def drift(self) -> Sequence[DriftRow]:
        """Every path that no map knows, by source."""
        ...

    async def clear(self, source: str) -> int:
        """Its map was put right: forget the source's paths; those that come again are new. How many that were."""
        ...

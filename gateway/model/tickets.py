"""The values that travel the line. Each ticket can be made by one step only, named in its docstring.

tests/unit/test_tickets.py walks the syntax tree of gateway/ and adapters/ and fails on a constructor, `replace`, `copy`,
`cast` or `type: ignore` of a ticket anywhere but in its maker, so holding one proves that its step was taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from gateway.model.words import (
    Access,
    CareClass,
    Category,
    Coding,
    Mark,
    Organisation,
    OrganisationKind,
    PersonId,
    Purpose,
    Resource,
    SourceState,
    SourceTerms,
    Staff,
)
from gateway.nhs_number import NhsNumber


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, proved. Ticket: made by gateway.caller alone."""

    organisation: Organisation
    system: str  # client id
    staff: Staff
    role: Coding
    purpose: Purpose
    scopes: frozenset[str]
    token_id: str
    case_reference: str | None
    client_version: int | None  # None: no client, but a mandate
    address: str  # network address, for the audit
    mandate: str = ""  # id of the mandate it was made from: it receives what was addressed to it

    @property
    def may_ask_for(self) -> frozenset[str]:
        """R4 types the token's SMART v2 scopes cover with `r` and `s`; `*` for all."""
        return self._covered("rs")

    @property
    def may_read(self) -> frozenset[str]:
        """R4 types the token's SMART v2 scopes cover with `r`; `*` for all."""
        return self._covered("r")

    @property
    def may_send(self) -> frozenset[str]:
        """R4 types the token's SMART v2 scopes cover with `c`; `*` for all."""
        return self._covered("c")

    def _covered(self, needed: str) -> frozenset[str]:
        parted = (scope.partition("/")[2].partition(".") for scope in self.scopes)
        return frozenset(type_ for type_, _, letters in parted if set(needed) <= set(letters))


Interaction = Literal["search", "read", "everything", "audit-search", "send", "deliver"]


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, after reading and before any decision."""

    interaction: Interaction
    person: "NhsNumber | PersonId | None"
    types: frozenset[str]  # R4 types wanted; never empty except for audit-search
    resource_id: str | None = None  # read: the id after the person part
    count: int | None = None
    cursor: str | None = None  # continue after this resource id (from a sealed cursor, opened)
    strict: bool = False  # Prefer: handling=strict
    digest: str = ""  # SHA-256 of the query without paging: binds cursors
    audit: Mapping[str, str] = field(default_factory=dict)  # audit-search: parameter -> value
    view: str = ""  # what is worked out from what may be shown, instead of showing it
    not_used: tuple[str, ...] = ()  # parameters that were sent and left out: the names that R4 has, "" for any other


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """One request, read. Ticket: made by gateway.api.reading alone; from a mandate, by gateway.caller.mandated alone."""

    caller: Caller
    purpose: Purpose
    query: Query
    request_id: str
    correlation_id: str
    received_at: datetime
    permission_to_view: bool = False  # the caller says that this person agreed, for this request, to their record being seen
    access: Access = Access.UNSAID  # the caller's own word for the visit, for this request: never defaulted to one of the two

    @property
    def types_in_scope(self) -> frozenset[str]:
        """R4 types that were asked for, or are to be sent, and that the token's scopes cover."""
        scopes = self.caller.may_send if self.query.interaction == "send" else self.caller.may_ask_for
        return self.query.types if "*" in scopes else self.query.types & scopes


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """A traced person. Ticket: made by gateway.identity alone."""

    number: NhsNumber  # the current one
    superseded: tuple[NhsNumber, ...]
    person: PersonId | None  # None until the first permitted trace makes the row
    alias: PersonId | None  # an old id the caller used; the answer speaks with it
    birth_date: date | None
    deceased: bool
    restricted: bool  # PDS says so
    practice: str | None  # "ods:..." of the registered practice; never for a restricted person
    patient: Resource = field(repr=False)  # R4 Patient of the trace, UK Core, without ids of ours
    traced_at: datetime
    stale: bool  # older than 15 minutes: locating facts go, its age is shown


@dataclass(frozen=True, slots=True)
class NotUsable:
    """A number or id that leads to nobody we may speak of. Ticket: made by gateway.identity alone.

    `reason` is for the audit only: "unknown" | "invalidated" | "no-such-id" | "sealed" | "nobody-asked-about".
    """

    reason: str
    number: NhsNumber | None


@dataclass(frozen=True, slots=True)
class ConsentFact:
    """One consent in force as policy sees it."""

    scope: str  # "share-health", "share-authority", "share-centres", "store", "research", "direct-care"
    decision: Literal["permit", "deny"]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that policy may read, and nothing else: no person id, no clock. Hashable. Ticket: made by gateway.facts alone."""

    organisation: str
    organisation_kind: OrganisationKind
    role: str  # "<system>|<code>"
    role_group: str  # consent_policy/roles.yaml: "gp", "health-visitor", "social-worker" ...; "unknown" grants nothing
    purpose: Purpose
    agreements: frozenset[str]  # in force today for this organisation
    has_case_reference: bool
    usable: bool  # the person was traced
    relationships: frozenset[str]  # in force: "registered-practice", "caseload", "allocated-worker", "centre-registration"
    consents: frozenset[ConsentFact]
    objection: bool  # to sharing for direct care
    protected: bool
    deceased: bool
    age_band: str  # "under-1" | "1-4" | "5-12" | "13-15" | "16-17" | "adult" | "unknown"
    person_ref: "PatientIdentity | NotUsable" = field(compare=False, hash=False, repr=False)  # carried, never read by policy
    request: AccessRequest = field(compare=False, hash=False, repr=False)
    version: int = field(compare=False, hash=False, default=0)  # of the rows read; the disclosure compares it
    protected_because: frozenset[str] = field(compare=False, hash=False, default=frozenset())  # audit only
    access: Access = Access.UNSAID  # scheduled or unscheduled, as the caller said for this request


@dataclass(frozen=True, slots=True)
class RuleUse:
    """A rule that decided: its id and its English."""

    id: str
    because: str


@dataclass(frozen=True, slots=True)
class Permit:
    """What may be shared, and why. Never compared for truth. Ticket: made by gateway.consent alone."""

    facts: Facts
    allowed: Mapping[Category, Sequence[RuleUse]]
    sources: frozenset[str]  # settings names the permit covers, holder or not
    strip: frozenset[Mark]  # marks whose facts go from every resource
    may_know_withheld: frozenset[Category]
    obligations: tuple[str, ...]
    policy_hash: str
    terms: Mapping[str, SourceTerms] = field(default_factory=dict)  # of the sources it covers: disclosure decides under them
    access_unsaid: bool = False  # some was left out, as for everybody: what kind of visit it is was not said

    def __bool__(self) -> bool:
        raise TypeError("a Permit is not a truth value: match on its type")


@dataclass(frozen=True, slots=True)
class Deny:
    """Nothing may be shared. Never compared for truth. Ticket: made by gateway.consent alone.

    `caller_level` True: the same for every NHS number, 403 with `public_reason`. False: the empty answer, and `reason`
    (with the rules that forbade) is for the audit only.
    """

    facts: Facts
    caller_level: bool
    reason: str
    public_reason: str
    contact: str  # of the agreement for this category and area, or the caller's own governance lead
    rules: Sequence[RuleUse]
    sources: frozenset[str]  # settings names the empty answer shows
    policy_hash: str
    access_unsaid: bool = False  # as a Permit's: the empty answer says it too

    def __bool__(self) -> bool:
        raise TypeError("a Deny is not a truth value: match on its type")


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that an event is in the log: what a holder quotes and an auditor finds."""

    event: str  # id of the event
    commitment: str  # base64url SHA-256(salt || canonical bytes)
    writer: str
    recorded_at: datetime
    signature: str  # Ed25519 over all of the above, base64url


@dataclass(frozen=True, slots=True)
class Recorded(Generic[T]):
    """A value whose event is durable. Ticket: made by gateway.audit alone."""

    value: T
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Ask:
    """One source to be asked, for what, for how long."""

    source: str
    types: frozenset[str]
    categories: frozenset[Category]
    budget_s: float


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Which sources to ask. Ticket: made by gateway.plan alone."""

    permit: Recorded[Permit]
    identity: PatientIdentity
    asks: tuple[Ask, ...]
    not_asked: Mapping[str, str]  # source -> reason, for the audit; shown as "nothing to show"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What became of one source."""

    source: str
    state: SourceState
    as_of: datetime | None = None
    reason: str = ""  # audit only
    warnings: tuple[tuple[str, str], ...] = ()  # (category, code)
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class Original:
    """What was sent where a mapping converted it to another unit: numbers and words of a reviewed table, never free text."""

    path: tuple[str | int, ...]  # of the element that holds it now: ("component", 0, "valueQuantity")
    gave: Resource  # that element, as it was made
    sent: tuple[tuple[str, Any], ...]  # ("valueQuantity", {...}) or ("valueString", "39+4"); several where they were joined

    @property
    def element(self) -> str:
        """The path as FHIRPath has it, below the resource: `component[0].value`."""
        names = [f"[{part}]" if isinstance(part, int) else "." + part.replace("valueQuantity", "value") for part in self.path]
        return "".join(names).removeprefix(".")


class MappedResource(msgspec.Struct, frozen=True):
    """One R4 resource a mapping made, with its labels. Made by gateway.mapping."""

    body: Resource  # with id and resourceType; references rewritten to our ids
    source: str
    category: Category
    care_class: CareClass
    paths: Mapping[Mark, tuple[tuple[str, ...], ...]]  # element paths that carry each mark; ("*",) = the whole resource
    where: str
    as_of: datetime
    mapping: str  # "gp/allergy@1.0.0"
    locked: bool = False
    not_early_years: bool = False
    originals: tuple[Original, ...] = ()  # of what it holds in another unit than was sent


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record, or one resource of it, that could not be mapped. `reason` never holds a value of the record."""

    source: str
    where: str
    reason: str


class Disclosed(msgspec.Struct, frozen=True):
    """One resource as it will leave."""

    body: Resource
    source: str
    category: Category
    care_class: CareClass
    rules: tuple[str, ...]
    stripped: tuple[Mark, ...]
    encoded: bytes = b""  # the body as JSON, encoded once: to measure, to digest and to send


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What will leave, decided item by item. Ticket: made by gateway.disclosure alone."""

    permit: Recorded[Permit]
    identity: PatientIdentity
    resources: tuple[Disclosed, ...]
    reports: tuple[SourceReport, ...]
    withheld: Mapping[str, int]  # rule id -> count, audit only
    withheld_known: frozenset[Category]  # categories of which this caller may be told that something is withheld
    refused: tuple[RefusedRecord, ...]
    next_key: str | None = None  # paging: continue after this resource id

"""What is stored that policy may depend on, and how it gets there: consents, relationships, locks, which policy is active."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from gateway.model import ConsentFact
from gateway.nhs_number import NhsNumber


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
    policy: str | None  # hash of the policy that is active as this was read; None: none ever was


class FactsStore(Protocol):
    """What is stored that policy may depend on."""

    async def read(
        self, number: NhsNumber | None, *, organisation: str, staff: str, case_reference: str | None, client: str, at: datetime
    ) -> PersonFacts:
        """`number` None: nobody was traced; the caller's own rows are still read, at the same cost."""
        ...


class Protections(Protocol):
    """The protected index: who is locked, by which source, since when. Keyed; lists nobody."""

    async def assert_locks(self, source: str, locks: Mapping[NhsNumber, frozenset[str]], at: datetime, *, snapshot: bool) -> None:
        """`snapshot`: locks of this source that are not listed are lifted."""
        ...

    async def add_locks(self, source: str, locks: Mapping[NhsNumber, frozenset[str]], at: datetime) -> None:
        """More locks of this source; none is lifted and the source is no fresher for it."""
        ...

    async def since(self, source: str, kind: str, numbers: Sequence[NhsNumber]) -> Mapping[NhsNumber, datetime]:
        """Whom of these this kind of lock of the source is on, and since when."""
        ...

    async def lift_each(self, source: str, kind: str, since: Mapping[NhsNumber, datetime]) -> None:
        """One kind of lock of this source is over for these people, unless it was asserted anew; its other locks stay."""
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

    async def withdraw(self, number: NhsNumber, scope: str, at: datetime, *, given_by: str | None = None) -> int | None:
        """Close what one giver has open of a scope; how many rows. None: nobody was named, there are several, nothing closed."""
        ...


class PolicyActivation(Protocol):
    """Which policy is active, for every worker alike."""

    async def active(self) -> str | None:
        """The active policy's hash; None: none was ever activated."""
        ...

    async def activate(self, policy_hash: str, *, at: datetime, by: str) -> None: ...

"""The audit log: one event before and after it is written, and what an auditor asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gateway.model import PersonId, Receipt
from gateway.nhs_number import NhsNumber
from gateway.ports.work import Owed


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

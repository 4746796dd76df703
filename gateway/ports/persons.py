"""The person rows: opaque ids, numbers encrypted, the newest trace of each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from gateway.model import PersonId
from gateway.nhs_number import NhsNumber
from gateway.ports.outside import Traced


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
    replaced: tuple[NhsNumber, ...] = ()  # live: the numbers that PDS said this one replaced; sources may still keep them


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

    async def take_trace_token(self, now: datetime, *, wait_s: float, whose: str = "") -> bool:
        """One token of the bucket that all workers share (default 5 a second); False after `wait_s` without one.

        `whose`: a client, or a work of our own, that never spends the half that is left to others.
        """
        ...

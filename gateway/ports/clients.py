"""Registered systems, and the rates that all workers share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


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

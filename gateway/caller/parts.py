"""What step 1 needs of the world, built once by the composition root and handed to every call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.caller.claims import Resolve
from gateway.caller.failures import Failures
from gateway.caller.remembered import Remembered
from gateway.ports import Clients, Limits, Log


class TokenKey(Protocol):
    """The key that signs access tokens."""

    @property
    def kid(self) -> str: ...

    @property
    def private(self) -> Ed25519PrivateKey: ...


# A JWKS URL registered for a client and the key id looked for -> the key set, or None when it cannot be had.
FetchKeys = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything between the network and a Caller."""

    clients: Clients
    log: Log
    limits: Limits
    key: TokenKey
    base_url: str  # public, configured, without trailing slash; never of a request
    resolve_organisation: Resolve
    fetch_keys: FetchKeys
    failures: Failures
    clock: Callable[[], datetime]
    retired: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)  # kid -> key that signed until it was rotated
    remembered: Remembered = field(default_factory=Remembered)
    token_s: int = 300
    token_per_minute: int = 600
    client_per_minute: int = 6_000
    address_per_minute: int = 12_000

    def public_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """Every key that an access token of ours may verify under, by kid."""
        return {self.key.kid: self.key.private.public_key(), **self.retired}

    @property
    def token_url(self) -> str:
        """The `aud` of every client assertion."""
        return self.base_url + "/oauth/token"

    @property
    def fhir_url(self) -> str:
        """The `aud` of every access token."""
        return self.base_url + "/fhir"

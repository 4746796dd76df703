"""Tokens already verified, by SHA-256 of their text: bounded, never a failure, and expiry is looked at on every hit."""

from dataclasses import dataclass
from hashlib import sha256

from gateway.caller.claims import Claimed

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Held:
    """What a verified access token says."""

    client: str
    client_version: int
    claimed: Claimed
    scopes: frozenset[str]
    token_id: str
    expires: float
    thumbprint: str | None  # x5t#S256 of the TLS certificate it is bound to


class Remembered:
    """The newest `MOST` tokens of this process; the oldest leaves first."""

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, token: str) -> Held | None:
        """The token as it was verified, whatever the time is now."""
        return self._held.get(_digest(token))

    def put(self, token: str, held: Held) -> None:
        """Keep one verified token."""
        if len(self._held) >= MOST:
            del self._held[next(iter(self._held))]
        self._held[_digest(token)] = held


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()

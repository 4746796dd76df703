"""Step 1, authenticate: access token -> `Caller`; and the exchange of a client assertion for that token.

SMART Backend Services (HL7 SMART App Launch 2.2.0) with the UDAP `hl7-b2b` extension in, IHE IUA claims out.
"""

import re
from datetime import datetime
from secrets import compare_digest

from gateway.caller import token
from gateway.caller.exchange import Attempt, Granted, exchange, record_refusal
from gateway.caller.failures import Failures
from gateway.caller.jose import CLIENT_ALGORITHMS, Broken
from gateway.caller.parts import FetchKeys, Parts, TokenKey
from gateway.caller.remembered import Held, Remembered
from gateway.caller.token import public_keys
from gateway.errors import NotAuthenticated, TooManyRequests
from gateway.model import Caller

__all__ = [
    "CLIENT_ALGORITHMS",
    "Attempt",
    "Failures",
    "FetchKeys",
    "Granted",
    "Held",
    "Parts",
    "Remembered",
    "TokenKey",
    "authenticate",
    "exchange",
    "public_keys",
    "record_refusal",
]

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)", re.ASCII)


async def authenticate(authorization: str | None, address: str, parts: Parts, *, certificate: str | None = None) -> Caller:
    """The Authorization header and the network address it came from -> the Caller.

    `certificate` is the x5t#S256 of the caller's TLS certificate, where there is one. Whether the client was revoked since is
    read with the facts. Raises `NotAuthenticated` and `TooManyRequests`: the endpoint acts, by recording them; and `StoreDown`.
    """
    now = parts.clock()
    await _limit("address:" + address, parts.address_per_minute, parts, now)
    try:
        held = token.read(_bearer(authorization), parts, now)
        _same_certificate(held, certificate)
    except Broken as broken:
        raise NotAuthenticated(reason=broken.reason) from broken
    await _limit("client:" + held.client, parts.client_per_minute, parts, now)
    return token.authenticated(held, address)


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise Broken("no-token")
    match = _BEARER.fullmatch(authorization)
    if not match:
        raise Broken("not-a-bearer-token")
    return match[1]


def _same_certificate(held: Held, certificate: str | None) -> None:
    if held.thumbprint is not None and not compare_digest(held.thumbprint.encode(), (certificate or "").encode()):
        raise Broken("certificate-differs")


async def _limit(key: str, per_minute: int, parts: Parts, now: datetime) -> None:
    wait_s = await parts.limits.take(key, per_minute=per_minute, now=now)
    if wait_s is not None:
        raise TooManyRequests(reason="throttled", retry_after_s=wait_s)

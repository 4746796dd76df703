"""A client assertion (private_key_jwt) and its client's registration -> claims that hold.

Source: SMART App Launch 2.2.0, client-confidential-asymmetric; RFC 7523 section 3. Every failure is `invalid_client`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.caller.jose import CLIENT_ALGORITHMS, Broken, Peeked, fitting_key, number_of, peek, text_of, verify
from gateway.caller.parts import Parts
from gateway.errors import OAuthRefused
from gateway.ports import Client

LONGEST_LIFE_S = 300
LEEWAY_S = 10
# Hints that some libraries add (x5t) are let through unread. Everything else is refused by not being here: a key, a place to
# fetch one (jwk, x5u, x5c), critical extensions, unencoded payloads, encryption and compression.
HEADERS = frozenset({"alg", "kid", "typ", "jku", "x5t", "x5t#S256"})
_MOST_OF_AN_ID = 128


@dataclass(frozen=True, slots=True)
class Assertion:
    """A client assertion that holds. Its `jti` is not yet spent."""

    client: Client
    claims: Mapping[str, Any]
    jti: str
    spent_until: datetime  # from then on the replay row is not needed
    algorithm: str
    kid: str


def read(text: str) -> tuple[Peeked, str]:
    """Assertion text -> what it says, unverified, and the client id it gives. Raises `OAuthRefused`."""
    try:
        token = peek(text)
    except Broken as broken:
        raise _refused(broken.reason) from broken
    client = text_of(token.claims.get("sub"), _MOST_OF_AN_ID)
    if client is None or token.claims.get("iss") != client:
        raise _refused("issuer-not-subject")
    return token, client


async def key_set(token: Peeked, client: Client, parts: Parts) -> Mapping[str, Any]:
    """The client's keys: those registered, or those at its registered URL. Raises `OAuthRefused` when there are none."""
    if client.jwks is not None:
        return client.jwks
    found = await parts.fetch_keys(client.jwks_url, _kid(token)) if client.jwks_url else None
    if found is None:
        raise _refused("key-set-unavailable")
    return found


def hold(token: Peeked, client: Client, jwks: Mapping[str, Any], *, token_url: str, now: datetime) -> Assertion:
    """An assertion read, its client and the client's keys -> the assertion verified. Raises `OAuthRefused`."""
    try:
        algorithm = _header(token, client)
        claims = verify(token, fitting_key(jwks, _kid(token), algorithm), algorithm)
        expires = _times(claims, now.timestamp())
        _audience(claims, client.audiences | {token_url})
    except Broken as broken:
        raise _refused(broken.reason) from broken
    jti = text_of(claims.get("jti"), 256)
    if jti is None:
        raise _refused("jti")
    spent_until = datetime.fromtimestamp(expires, UTC) + timedelta(seconds=LEEWAY_S + 1)
    return Assertion(client, claims, jti, spent_until, algorithm, _kid(token))


def _kid(token: Peeked) -> str:
    kid = text_of(token.header.get("kid"), _MOST_OF_AN_ID)
    if kid is None:
        raise _refused("kid")
    return kid


def _header(token: Peeked, client: Client) -> str:
    if not HEADERS.issuperset(token.header):
        raise Broken("header-not-allowed")
    typ, algorithm = token.header.get("typ"), token.header.get("alg")
    if not isinstance(typ, str) or typ.upper() != "JWT":
        raise Broken("typ")
    if not isinstance(algorithm, str) or algorithm not in client.algorithms & CLIENT_ALGORITHMS:
        raise Broken("algorithm-not-allowed")
    if "jku" in token.header and (client.jwks_url is None or token.header["jku"] != client.jwks_url):
        raise Broken("jku-not-registered")
    return algorithm


def _times(claims: Mapping[str, Any], now: float) -> float:
    expires = number_of(claims, "exp")
    if expires is None or expires <= now - LEEWAY_S:
        raise Broken("expired")
    if expires > now + LONGEST_LIFE_S + LEEWAY_S:
        raise Broken("lives-too-long")
    for name in ("iat", "nbf"):
        if (number_of(claims, name) or 0) > now + LEEWAY_S:
            raise Broken(f"{name}-in-the-future")
    return expires


def _audience(claims: Mapping[str, Any], accepted: frozenset[str]) -> None:
    audience = claims.get("aud")
    # An assertion addressed to somebody else as well could be played to us by that somebody.
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    if not isinstance(audience, str) or audience not in accepted:
        raise Broken("audience")


def _refused(reason: str) -> OAuthRefused:
    return OAuthRefused("invalid_client", reason=reason)

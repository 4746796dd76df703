"""Compact JWS text -> verified JSON, strictly: every JOSE act of this package goes through here, with its algorithms named.

Source: RFC 7515, RFC 7519, RFC 8725 (JWT best current practice).
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

LONGEST = 8_192  # characters of a whole token; ours are about 1,200
SHORTEST_RSA_BITS, LONGEST_RSA_BITS = 2_048, 8_192  # a longer one costs more to verify than a request is worth
KEY_TYPE = {"RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "ES256": "EC", "ES384": "EC"}
CLIENT_ALGORITHMS = frozenset(KEY_TYPE)
TOKEN_ALGORITHM = "Ed25519"  # noqa: S105 - EdDSA by its fully specified name, RFC 9864
PublicKey = RSAKey | ECKey | OKPKey

_CURVE = {"ES256": "P-256", "ES384": "P-384"}
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Broken(Exception):
    """A token that does not hold. `reason` is a constant for the audit and never part of the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Peeked:
    """A token read but not believed: only to find out which key must have signed it."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]


def peek(text: str) -> Peeked:
    """Token text -> its header and claims, unverified.

    Raises `Broken` for another form, size, duplicate names, NaN, or nesting that no token of ours has.
    """
    if len(text) > LONGEST:
        raise Broken("too-long")
    segments = text.split(".")
    if len(segments) != 3:
        raise Broken("not-a-signed-token")
    return Peeked(text, _object(segments[0]), _object(segments[1]))


def verify(token: Peeked, key: PublicKey, algorithm: str) -> Mapping[str, Any]:
    """Token and the one key and algorithm it must be signed with -> its claims. Raises `Broken`."""
    if token.header.get("alg") != algorithm:
        raise Broken("algorithm-not-allowed")
    try:
        jws.deserialize_compact(token.text, key, algorithms=[algorithm])
    except (JoseError, ValueError) as error:
        raise Broken("signature") from error
    return token.claims


def fitting_key(jwks: Mapping[str, Any], kid: str, algorithm: str) -> PublicKey:
    """JWKS, key id, algorithm -> the single key that fits. Source: SMART App Launch 2.2.0, client-confidential-asymmetric.

    Raises `Broken` for none or more than one, and for a key that is no public signing key of the right kind and size.
    """
    listed = jwks.get("keys")
    if not isinstance(listed, list):
        raise Broken("key-set-unreadable")
    fitting = [key for key in listed if isinstance(key, dict) and key.get("kid") == kid and _fits(key, algorithm)]
    if len(fitting) != 1:
        raise Broken("no-single-key")
    return _import(fitting[0])


def public_faults(jwks: Mapping[str, Any], algorithms: frozenset[str]) -> list[str]:
    """JWKS as somebody wants to register it -> what is wrong with it, in words; empty when it can be used."""
    listed = jwks.get("keys")
    if not isinstance(listed, list) or not listed:
        return ["it has no list of keys"]
    faults: list[str] = []
    kids = [key.get("kid") if isinstance(key, dict) else None for key in listed]
    for position, key in enumerate(listed, start=1):
        if not isinstance(key, dict) or not isinstance(key.get("kid"), str):
            faults.append(f"key {position} has no kid")
        elif kids.count(key["kid"]) > 1:
            faults.append(f"key {position} shares its kid with another")
        elif "d" in key or "k" in key:
            faults.append(f"key {position} holds a private or secret part: register the public key only")
        elif not any(_fits(key, algorithm) for algorithm in algorithms):
            faults.append(f"key {position} fits none of the client's algorithms")
        else:
            try:
                _import(key)
            except Broken:
                faults.append(f"key {position} cannot be read as a public key of 2048 to 8192 bits (RSA) or of its curve")
    return faults


def number_of(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate claim -> seconds, or None where it is absent. Raises `Broken` for anything that is no finite number."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Broken(f"{name}-not-a-number")
    return value


def text_of(value: object, longest: int) -> str | None:
    """A JSON value -> the text, if it is printable text of 1 to `longest` characters with no space around it."""
    if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() and value == value.strip():
        return value
    return None


def strict_json(raw: bytes) -> Any:
    """Bytes -> JSON value. Raises `Broken` for NaN, Infinity, duplicate names, bad UTF-8 or deep nesting."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Broken("not-json") from error


def _object(segment: str) -> Mapping[str, Any]:
    if not _SEGMENT.fullmatch(segment):
        raise Broken("not-base64url")
    try:
        raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError as error:
        raise Broken("not-base64url") from error
    value = strict_json(raw)
    if not isinstance(value, dict):
        raise Broken("not-an-object")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("duplicate name")
    return read


def _no_constant(_: str) -> Any:
    raise ValueError("not a number")


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == KEY_TYPE.get(algorithm)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and isinstance(operations, list)
        and "verify" in operations
        and key.get("crv") == _CURVE.get(algorithm)
    )


def _import(key: Mapping[str, Any]) -> PublicKey:
    members = ("n", "e") if key["kty"] == "RSA" else ("crv", "x", "y")
    # Only the public members travel on: a private part, an x5u or a foreign parameter of a fetched key is never read.
    public = {"kty": key["kty"], **{name: key[name] for name in members if name in key}}
    try:
        if key["kty"] == "EC":
            return ECKey.import_key(public)
        if not SHORTEST_RSA_BITS <= _bits(public["n"]) <= LONGEST_RSA_BITS:
            raise Broken("key-size")
        return RSAKey.import_key(public)
    except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Broken("key-unreadable") from error


def _bits(modulus: str) -> int:
    return int.from_bytes(urlsafe_b64decode(modulus.encode("ascii") + b"=="), "big").bit_length()

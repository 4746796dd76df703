"""The client's side of the token exchange: private key and claims -> access token, from any SMART Backend Services server.

For `gateway token` and for whoever wants to see what a client must send. Source: SMART App Launch 2.2.0, backend-services.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import httpx
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from gateway.caller.claims import B2B, OUR_EXTENSION
from gateway.caller.jose import KEY_TYPE, Broken, strict_json

LIFE_S = 240
BUDGET_S = 10.0

_ALGORITHM = {"P-256": "ES256", "P-384": "ES384"}
_GENERATED = {"ES256": "P-256", "ES384": "P-384"}


class NoToken(Exception):
    """No token could be had. The message says why, in words for the one at the keyboard."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A client's private key, with what its assertions name it by."""

    key: ECKey | RSAKey
    kid: str
    algorithm: str

    def public(self) -> Mapping[str, Any]:
        """What is registered with the server."""
        return {**self.key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def private(self) -> Mapping[str, Any]:
        """What is kept in the client's own file."""
        return {**self.key.as_dict(private=True), "kid": self.kid, "use": "sig", "alg": self.algorithm}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks and why, as the assertion will say it."""

    client: str
    organisation: str
    role: str
    purpose: str
    subject: str
    subject_name: str
    case_reference: str | None
    scope: str


def new_key(algorithm: str, kid: str) -> ClientKey:
    """Algorithm and key id -> a new key pair. Raises `NoToken` for an algorithm that no client may use."""
    if algorithm not in KEY_TYPE:
        raise NoToken("the algorithm must be one of " + ", ".join(sorted(KEY_TYPE)))
    if algorithm in _GENERATED:
        return ClientKey(ECKey.generate_key(_GENERATED[algorithm]), kid, algorithm)
    return ClientKey(RSAKey.generate_key(3072), kid, algorithm)


def read_key(path: Path) -> ClientKey:
    """A file with a private JWK (or a JWKS of one) -> the key. Raises `NoToken`."""
    try:
        said = strict_json(path.read_bytes())
        if isinstance(said, dict) and isinstance(said.get("keys"), list) and len(said["keys"]) == 1:
            said = said["keys"][0]
        key = ECKey.import_key(said) if said["kty"] == "EC" else RSAKey.import_key(said)
        algorithm = said.get("alg") or _ALGORITHM.get(said.get("crv"), "RS384")
        kid = said["kid"]
    except OSError:
        raise NoToken("the key file cannot be read") from None
    except (Broken, JoseError, ValueError, KeyError, TypeError):
        raise NoToken("the key file holds no private JWK with a kid: make one with `gateway key new FILE`") from None
    if not key.is_private or not isinstance(kid, str) or algorithm not in KEY_TYPE:
        raise NoToken("the key file must hold a private key, its kid, and an algorithm that this gateway accepts")
    return ClientKey(key, kid, algorithm)


def assertion(asked: Asked, key: ClientKey, audience: str) -> str:
    """Who asks, the key and the token URL -> the signed client assertion."""
    now = int(time.time())
    extensions: dict[str, Any] = {
        B2B: {
            "version": "1",
            "organization_id": asked.organisation,
            "subject_id": asked.subject,
            "subject_name": asked.subject_name,
            "subject_role": asked.role,
            "purpose_of_use": [asked.purpose],
        }
    }
    if asked.case_reference is not None:
        name = "reason" if asked.purpose == "BTG" else "case_reference"
        extensions[OUR_EXTENSION] = {name: asked.case_reference}
    claims = {
        "iss": asked.client,
        "sub": asked.client,
        "aud": audience,
        "iat": now,
        "exp": now + LIFE_S,
        "jti": token_urlsafe(24),
        "extensions": extensions,
    }
    header = {"alg": key.algorithm, "kid": key.kid, "typ": "JWT"}
    return jws.serialize_compact(header, json.dumps(claims, separators=(",", ":")).encode(), key.key, algorithms=[key.algorithm])


def exchange(server: str, asked: Asked, key: ClientKey) -> Mapping[str, Any]:
    """Server, who asks, key -> the token response. Discovers the token endpoint first. Raises `NoToken`."""
    with httpx.Client(timeout=BUDGET_S, follow_redirects=False, trust_env=False) as http:
        try:
            found = http.get(server.rstrip("/") + "/fhir/.well-known/smart-configuration")
            endpoint = _object(found).get("token_endpoint") if found.status_code == 200 else None
            if not isinstance(endpoint, str):
                raise NoToken("the server gave no discovery document with a token endpoint")
            fields = {
                "grant_type": "client_credentials",
                "scope": asked.scope,
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": assertion(asked, key, endpoint),
            }
            answer = http.post(endpoint, data=fields)
        except (httpx.HTTPError, httpx.InvalidURL):
            raise NoToken("the server cannot be reached: is it running, and is --server right?") from None
    said = _object(answer)
    if answer.status_code != 200:
        error, description = (str(said.get(name, ""))[:200] for name in ("error", "error_description"))
        raise NoToken(f"refused with {answer.status_code}: {ascii(error)[1:-1]}. {ascii(description)[1:-1]}")
    return said


def _object(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        said = strict_json(answer.content)
    except Broken:
        raise NoToken("the server did not answer with JSON") from None
    if not isinstance(said, dict):
        raise NoToken("the server did not answer with a JSON object")
    return said

"""Access tokens: what was granted -> signed text, and signed text -> what was granted. Only `authenticated` makes a Caller.

Source: RFC 9068 (typ at+jwt), IHE IUA ITI-71 JSON Web Token option (extensions.ihe_iua), RFC 8705 (cnf).
"""

import json
from collections.abc import Mapping
from datetime import datetime
from secrets import token_urlsafe
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from joserfc import jws
from joserfc.jwk import OKPKey

from gateway.caller.claims import OUR_EXTENSION, Claimed
from gateway.caller.jose import TOKEN_ALGORITHM, Broken, Peeked, number_of, peek, verify
from gateway.caller.parts import Parts
from gateway.caller.remembered import Held
from gateway.model import Caller, Coding, Organisation, OrganisationKind, Purpose, Staff
from gateway.ports import Client
from gateway.systems import LOCAL_PURPOSE, V3_ACT_REASON

TYPE = "at+jwt"
_OURS_ALONE = frozenset({Purpose.S17, Purpose.S47, Purpose.MASH, Purpose.CASECONF, Purpose.EARLYHELP})


def mint(client: Client, claimed: Claimed, scopes: frozenset[str], parts: Parts, now: datetime) -> tuple[str, str]:
    """What was granted -> the token and its id."""
    token_id = token_urlsafe(16)
    issued = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": parts.base_url,
        "sub": client.id,
        "client_id": client.id,
        "aud": parts.fhir_url,
        "iat": issued,
        "exp": issued + parts.token_s,
        "jti": token_id,
        "scope": " ".join(sorted(scopes)),
        "extensions": {"ihe_iua": _iua(claimed), OUR_EXTENSION: _ours(claimed, client)},
    }
    if client.certificate_thumbprint:
        claims["cnf"] = {"x5t#S256": client.certificate_thumbprint}
    header = {"alg": TOKEN_ALGORITHM, "kid": parts.key.kid, "typ": TYPE}
    payload = json.dumps(claims, separators=(",", ":")).encode()
    key = OKPKey.import_key(parts.key.private)
    return jws.serialize_compact(header, payload, key, algorithms=[TOKEN_ALGORITHM]), token_id


def read(text: str, parts: Parts, now: datetime) -> Held:
    """Token text -> what it says, verified now or earlier in this process. Raises `Broken`."""
    held = parts.remembered.get(text)
    if held is None:
        held = _verified(peek(text), parts, now.timestamp())
        parts.remembered.put(text, held)
    if held.expires <= now.timestamp():
        raise Broken("expired")
    return held


def authenticated(held: Held, address: str) -> Caller:
    """A verified token and the address it came from -> the Caller."""
    return Caller(
        organisation=held.claimed.organisation,
        system=held.client,
        staff=held.claimed.staff,
        role=held.claimed.role,
        purpose=held.claimed.purpose,
        scopes=held.scopes,
        token_id=held.token_id,
        case_reference=held.claimed.case_reference,
        client_version=held.client_version,
        address=address,
    )


def public_keys(parts: Parts) -> Mapping[str, Any]:
    """The JWKS that verifies our access tokens."""
    return {"keys": [_described(kid, key) for kid, key in parts.public_keys().items()]}


def _verified(token: Peeked, parts: Parts, now: float) -> Held:
    if token.header.get("typ") != TYPE or not {"alg", "kid", "typ"}.issuperset(token.header):
        raise Broken("not-an-access-token")
    kid = token.header.get("kid")
    public = parts.public_keys().get(kid) if isinstance(kid, str) else None
    if public is None:
        raise Broken("key-unknown")
    claims = verify(token, OKPKey.import_key(public), TOKEN_ALGORITHM)
    if claims.get("iss") != parts.base_url or claims.get("aud") != parts.fhir_url:
        raise Broken("audience")
    expires, issued = number_of(claims, "exp"), number_of(claims, "iat")
    # Ours and on our clock: no leeway, and never longer than we grant.
    if expires is None or issued is None or expires - issued > parts.token_s or expires <= now:
        raise Broken("expired")
    return _held(claims, expires)


def _held(claims: Mapping[str, Any], expires: float) -> Held:
    """Claims we signed ourselves -> Held. A shape we did not write fails closed as `Broken`."""
    try:
        iua, ours = claims["extensions"]["ihe_iua"], claims["extensions"][OUR_EXTENSION]
        role, organisation, staff = iua["subject_role"][0], ours["organisation"], ours["staff"]
        return Held(
            client=claims["client_id"],
            client_version=int(ours["client_version"]),
            claimed=Claimed(
                Organisation(
                    organisation["code"],
                    organisation["name"],
                    OrganisationKind(organisation["kind"]),
                    frozenset(organisation["all_codes"]),
                ),
                Staff(staff["system"], staff["id"], staff["name"]),
                Coding(role["system"], role["code"]),
                Purpose(iua["purpose_of_use"][0]["code"]),
                ours.get("case_reference"),
            ),
            scopes=frozenset(claims["scope"].split(" ")),
            token_id=claims["jti"],
            expires=expires,
            thumbprint=claims.get("cnf", {}).get("x5t#S256"),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Broken("shape") from error


def _described(kid: str, key: Ed25519PublicKey) -> Mapping[str, Any]:
    return {**OKPKey.import_key(key).as_dict(private=False), "kid": kid, "use": "sig", "alg": TOKEN_ALGORITHM}


def _iua(claimed: Claimed) -> Mapping[str, Any]:
    purpose_system = LOCAL_PURPOSE if claimed.purpose in _OURS_ALONE else V3_ACT_REASON
    return {
        "subject_name": claimed.staff.name,
        "subject_organization": claimed.organisation.name,
        "subject_organization_id": "urn:shared-care-gateway:organisation:" + claimed.organisation.code,
        "subject_role": [{"system": claimed.role.system, "code": claimed.role.code}],
        "purpose_of_use": [{"system": purpose_system, "code": claimed.purpose.value}],
        "national_provider_identifier": f"{claimed.staff.system}|{claimed.staff.id}",
    }


def _ours(claimed: Claimed, client: Client) -> Mapping[str, Any]:
    organisation, staff = claimed.organisation, claimed.staff
    ours: dict[str, Any] = {
        "client_version": client.version,
        "organisation": {
            "code": organisation.code,
            "name": organisation.name,
            "kind": organisation.kind.value,
            "all_codes": sorted(organisation.all_codes),
        },
        "staff": {"system": staff.system, "id": staff.id, "name": staff.name},
    }
    if claimed.case_reference is not None:
        ours["case_reference"] = claimed.case_reference
    return ours

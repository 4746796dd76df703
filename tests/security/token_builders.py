"""The bad tokens of corpus/tokens/cases.json: case -> what is sent, by hand where no library would make it."""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from caller_world import (
    BASE,
    CLIENT,
    EC_KEY,
    OTHER_EC_KEY,
    RSA_KEY,
    TOKEN_URL,
    World,
    assertion,
    b64,
    claims,
    header,
    public,
    sign,
)
from joserfc.jwk import OctKey

Case = Mapping[str, Any]


def unsigned(case: Case) -> str:
    return f"{b64(json.dumps(header(alg=case['alg'])).encode())}.{b64(json.dumps(claims()).encode())}."


def keyed_with_public(case: Case) -> str:
    material = {
        "rsa-pem": RSA_KEY.as_pem(private=False),
        "rsa-jwk": json.dumps(RSA_KEY.as_dict(private=False)).encode(),
        "ec-pem": EC_KEY.as_pem(private=False),
    }[case["material"]]
    # joserfc refuses to import a PEM as a secret; the attacker does not ask.
    return sign(header(alg=case["alg"], kid=case["kid"]), claims(), OctKey(material, material))


def other_key_with_header(case: Case) -> str:
    value = {
        "jwk": OTHER_EC_KEY.as_dict(private=False),
        "jku": "https://attacker.example/jwks.json",
        "x5u": "https://attacker.example/chain.pem",
        "x5c": [base64.b64encode(b"a certificate of the attacker's own").decode()],
    }[case["header"]]
    return sign(header(**{case["header"]: value}), claims(), OTHER_EC_KEY)


def changed_header(case: Case) -> str:
    return sign(header(**case["changes"]), claims())


def changed_claims(case: Case) -> str:
    moments = {name: claims()["iat"] + seconds for name, seconds in case.get("seconds", {}).items()}
    return sign(header(), claims(**case.get("changes", {}), **moments))


def raw_claim(case: Case) -> str:
    text = json.dumps(claims(**{case["claim"]: "HERE"}))
    return sign(header(), text.replace('"HERE"', case["raw"]).encode())


def other_algorithm(case: Case) -> str:
    return sign(header(alg=case["alg"], kid=case["kid"]), claims(), RSA_KEY)


def curve_mismatch(case: Case) -> str:
    return sign(header(alg="ES256"), claims())


def unencoded_payload(case: Case) -> str:
    # Signed over what stands there, which is valid both as base64url and as an unencoded payload: two readers, two meanings.
    return sign(header(b64=False, crit=["b64"]), claims())


def encrypted(case: Case) -> str:
    protected = {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2s": b64(b"saltsalt"), "p2c": 2_147_483_647, "kid": "ec-1"}
    head = b64(json.dumps(protected).encode())
    return f"{head}.{b64(b'k' * 24)}.{b64(b'i' * 12)}.{b64(b'c' * 200)}.{b64(b't' * 16)}"


def zip_bomb(case: Case) -> str:
    head = b64(json.dumps({"alg": "dir", "enc": "A128GCM", "zip": "DEF", "kid": "ec-1"}).encode())
    squeezed = zlib.compress(b"0" * 5_000_000, 9)[2:-4]
    assert len(squeezed) < 6_000
    return f"{head}..{b64(b'i' * 12)}.{b64(squeezed)}.{b64(b't' * 16)}"


def audience_with_another(case: Case) -> str:
    return assertion(aud=[TOKEN_URL, "https://elsewhere.example/oauth/token"])


def audience_of_resource(case: Case) -> str:
    return assertion(aud=BASE + "/fhir")


def zero_signature(case: Case) -> str:
    return assertion().rpartition(".")[0] + "." + b64(b"\0" * 96)


def five_megabytes(case: Case) -> str:
    return assertion() + "A" * 5_000_000


def good(case: Case) -> str:
    return assertion()


# What is built from the case alone. The rest (replays, workers, revoked clients) is played in test_tokens.py.
BUILDERS = {
    "unsigned": unsigned,
    "keyed_with_public": keyed_with_public,
    "other_key_with_header": other_key_with_header,
    "header": changed_header,
    "claims": changed_claims,
    "raw_claim": raw_claim,
    "algorithm": other_algorithm,
    "curve_mismatch": curve_mismatch,
    "unencoded_payload": unencoded_payload,
    "encrypted": encrypted,
    "zip_bomb": zip_bomb,
    "audience_with_another": audience_with_another,
    "audience_of_resource": audience_of_resource,
    "zero_signature": zero_signature,
    "five_megabytes": five_megabytes,
    "duplicated_kid": good,
    "revoked": good,
    "rotated": good,
}


def prepare(case: Case, at: World) -> None:
    """What the registration must look like for this case."""
    if case["build"] == "duplicated_kid":
        keys = {"keys": [public(EC_KEY, "ec-1"), public(OTHER_EC_KEY, "ec-1")]}
        at.clients.held[CLIENT.id] = replace(CLIENT, jwks=keys)
    if case["build"] == "revoked":
        at.clients.held[CLIENT.id] = replace(CLIENT, revoked=True, version=4)
    if case["build"] == "rotated":
        at.clients.held[CLIENT.id] = replace(CLIENT, jwks={"keys": [public(OTHER_EC_KEY, "ec-2")]}, version=4)
    if case["build"] == "curve_mismatch":
        at.clients.held[CLIENT.id] = replace(CLIENT, algorithms=frozenset({"ES256", "ES384"}))

"""Reading tokens and keys strictly, whatever they hold."""

import asyncio
import json
from typing import Any

import pytest
from caller_world import CLIENT, EC_KEY, RSA_KEY, World, b64, claims, form, header, public, sign, world
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from gateway.caller import Attempt, exchange
from gateway.caller.jose import CLIENT_ALGORITHMS, Broken, fitting_key, peek, public_faults
from gateway.errors import OAuthRefused

EC, RSA = public(EC_KEY, "ec-1"), public(RSA_KEY, "rsa-1")

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "extensions"])


@pytest.mark.parametrize(
    "changes",
    [
        {"x": "AAAA"},
        {"x": 7},
        {"y": None},
        {"crv": "P-256"},
        {"crv": "secp256k1"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "OKP"},
        {"kid": 7},
        {"kid": None},
        {"use": "enc"},
        {"alg": "ES512"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"d": "AAAA"},
    ],
)
def test_a_key_that_cannot_verify_is_told_of_when_it_is_registered(changes: dict[str, Any]) -> None:
    key = {name: value for name, value in {**EC, **changes}.items() if value is not None}
    assert public_faults({"keys": [key]}, frozenset({"ES384"}))


def test_good_keys_have_no_faults() -> None:
    assert public_faults({"keys": [EC, RSA]}, CLIENT_ALGORITHMS) == []
    assert public_faults({"keys": []}, CLIENT_ALGORITHMS)
    assert public_faults({}, CLIENT_ALGORITHMS)
    assert public_faults({"keys": ["x"]}, CLIENT_ALGORITHMS)
    assert public_faults({"keys": [EC, EC]}, CLIENT_ALGORITHMS)


@pytest.mark.parametrize("bits", [1024, 9216])
def test_an_rsa_key_of_another_size_is_not_used(bits: int) -> None:
    key = {"kty": "RSA", "e": "AQAB", "kid": "r", "n": b64((2**bits - 159).to_bytes(bits // 8, "big"))}
    with pytest.raises(Broken) as broken:
        fitting_key({"keys": [key]}, "r", "RS384")
    assert broken.value.reason == "key-size"


def test_two_keys_of_one_kid_are_told_apart_by_their_kind_only() -> None:
    both = {"keys": [{**EC, "kid": "same"}, {**RSA, "kid": "same"}]}
    assert isinstance(fitting_key(both, "same", "RS384"), RSAKey)
    with pytest.raises(Broken):
        fitting_key({"keys": [*both["keys"], {**EC, "kid": "same"}]}, "same", "ES384")


def test_the_private_part_of_a_fetched_key_is_never_read() -> None:
    leaky = {**EC_KEY.as_dict(private=True), "kid": "ec-1"}
    assert not fitting_key({"keys": [leaky]}, "ec-1", "ES384").is_private


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "\u0661.e30.x",
        "e30=.e30.x",
        "e.e30.x",
        "W10.e30.x",
        "e30." + b64(b'{"a":1,"a":2}') + ".x",
    ],
)
def test_text_that_is_no_token_is_broken(text: str) -> None:
    with pytest.raises(Broken):
        peek(text)


def test_nesting_deeper_than_any_token_is_broken_and_not_a_crash() -> None:
    with pytest.raises(Broken):
        peek(f"{b64(b'{}')}.{b64(b'[' * 5_900)}.x")


@settings(max_examples=200, deadline=None)
@given(changes=st.dictionaries(names, anything, max_size=3), more=st.dictionaries(st.text(max_size=6), anything, max_size=2))
def test_claims_of_any_shape_under_a_good_signature_are_refused_and_never_crash(
    changes: dict[str, Any], more: dict[str, Any]
) -> None:
    at = world()
    issued = int(at.clock.now.timestamp())
    good = {"iss": CLIENT.id, "sub": CLIENT.id, "aud": at.parts.token_url, "exp": issued + 200, "jti": "one"}
    assert refusal(at, sign(header(), {**good, **more, **changes})) in {"invalid_client", "invalid_grant"}


@settings(max_examples=200, deadline=None)
@given(said=anything)
def test_an_extension_of_any_shape_is_refused_and_never_crashes(said: object) -> None:
    at = world()
    assert refusal(at, sign(header(), claims(extensions={"hl7-b2b": said}))) in {"invalid_client", "invalid_grant"}


@settings(max_examples=200, deadline=None)
@given(head=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku", "crit", "zip", "x5t"]), anything, max_size=3))
def test_headers_of_any_shape_are_refused_and_never_crash(head: dict[str, Any]) -> None:
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims()).encode())}.AAAA"
    assert refusal(world(), text) == "invalid_client"


def refusal(at: World, text: str) -> str:
    with pytest.raises(OAuthRefused) as refused:
        asyncio.run(exchange(form(text), Attempt("a"), at.parts))
    return refused.value.error

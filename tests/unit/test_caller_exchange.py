"""The exchange: a client assertion in, an access token out, recorded."""

import json
from dataclasses import replace

import pytest
from caller_world import CLIENT, EC_KEY, NOW, RSA_KEY, FakeKey, World, assertion, b2b, claims, form, header, public, sign, world
from joserfc.jwk import OKPKey

from gateway.caller import Attempt, Parts, Remembered, authenticate, exchange
from gateway.caller.jose import peek
from gateway.caller.remembered import MOST
from gateway.caller.token import read as read_token
from gateway.errors import AuditDown, NotAuthenticated, OAuthRefused, TooManyRequests
from gateway.systems import LOCAL_ROLE, SDS_JOB_ROLE, SDS_USER_ID

pytestmark = pytest.mark.anyio


async def token(at: World, text: str | None = None, **fields: str | None) -> str:
    return (await exchange(form(text or assertion(), **fields), Attempt("192.0.2.1", "req-1", "cor-1"), at.parts)).access_token


async def refusal(at: World, text: str | None = None, **fields: str | None) -> tuple[str, str]:
    with pytest.raises(OAuthRefused) as refused:
        await token(at, text, **fields)
    return refused.value.error, refused.value.reason


async def test_a_good_assertion_becomes_a_caller_with_everything_it_said() -> None:
    at = world()
    ours = {"hl7-b2b": b2b(), "shared-care-gateway": {"case_reference": "CASE-7"}}
    text = await token(at, assertion(extensions=ours))
    caller = await authenticate("Bearer " + text, "192.0.2.9", at.parts)
    assert (caller.organisation.code, caller.organisation.name) == ("ods:A99901", "Riverside Surgery")
    assert (caller.staff.system, caller.staff.id, caller.staff.name) == (SDS_USER_ID, "555253555109", "Dr Jo Synthetic")
    assert (caller.role.system, caller.role.code) == (SDS_JOB_ROLE, "R0260")
    assert (caller.purpose, caller.case_reference, caller.system) == ("TREAT", "CASE-7", "riverside-records")
    assert (caller.client_version, caller.address, caller.scopes) == (3, "192.0.2.9", frozenset({"system/*.rs"}))
    assert caller.may_ask_for == {"*"}


async def test_the_token_event_is_recorded_before_the_token_leaves() -> None:
    at = world()
    text = await token(at)
    (entry,) = at.log.entries
    assert (entry.kind, entry.outcome, entry.system, entry.organisation) == (
        "token",
        "success",
        "riverside-records",
        "ods:A99901",
    )
    assert (entry.staff, entry.role) == (f"{SDS_USER_ID}|555253555109", f"{SDS_JOB_ROLE}|R0260")
    assert (entry.request_id, entry.correlation_id, entry.address) == ("req-1", "cor-1", "192.0.2.1")
    assert entry.detail["token"] == peek(text).claims["jti"]
    assert text not in json.dumps(dict(entry.detail))


async def test_no_token_without_a_log() -> None:
    at = world()
    at.log.down = True
    with pytest.raises(AuditDown):
        await token(at)


async def test_the_token_carries_the_iua_claims_and_lives_five_minutes() -> None:
    said = peek(await token(world())).claims
    iua = said["extensions"]["ihe_iua"]
    assert said["exp"] - said["iat"] == 300
    assert said["client_id"] == said["sub"] == "riverside-records"
    assert iua["subject_name"] == "Dr Jo Synthetic"
    assert iua["subject_organization"] == "Riverside Surgery"
    assert iua["subject_organization_id"].endswith(":ods:A99901")
    assert iua["subject_role"] == [{"system": SDS_JOB_ROLE, "code": "R0260"}]
    assert iua["purpose_of_use"][0]["code"] == "TREAT"
    assert "cnf" not in said


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
async def test_each_registered_rsa_algorithm_is_accepted(algorithm: str) -> None:
    at = world(replace(CLIENT, algorithms=frozenset({algorithm})))
    assert await token(at, sign(header(alg=algorithm, kid="rsa-1"), claims(), RSA_KEY))
    assert await refusal(at) == ("invalid_client", "algorithm-not-allowed")


async def test_keys_can_come_from_the_registered_url_and_jku_must_be_that_url() -> None:
    url = "https://client.example/jwks.json"
    at = world(replace(CLIENT, jwks=None, jwks_url=url))
    at.key_sets[url] = {"keys": [public(EC_KEY, "ec-1")]}
    assert await token(at, sign(header(jku=url), claims()))
    assert await refusal(at, sign(header(jku=url + "?"), claims())) == ("invalid_client", "jku-not-registered")
    at.key_sets.clear()
    assert await refusal(at) == ("invalid_client", "key-set-unavailable")


async def test_an_audience_of_the_registration_is_accepted_beside_the_token_url() -> None:
    at = world(replace(CLIENT, audiences=frozenset({"https://gateway.example"})))
    assert await token(at, assertion(aud="https://gateway.example"))
    assert await token(at, assertion(aud=["https://gateway.example"]))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "2"}, "b2b-extension-not-allowed"),
        ({"organization_id": "ods:A99902"}, "organisation-not-allowed"),
        ({"organization_id": "ods:A99903"}, "organisation-not-allowed"),
        ({"organization_id": None}, "organisation-not-allowed"),
        ({"subject_id": None}, "subject-not-allowed"),
        ({"subject_id": "9990000107"}, "subject-not-allowed"),
        ({"subject_name": "Dr 999 000 0107"}, "subject-not-allowed"),
        ({"subject_name": "Dr\nJo"}, "subject-not-allowed"),
        ({"subject_name": "x" * 141}, "subject-not-allowed"),
        ({"subject_role": "R9999"}, "role-not-allowed"),
        ({"subject_role": "http://elsewhere|R0260"}, "role-not-allowed"),
        ({"subject_role": ["R0260"]}, "role-not-allowed"),
        ({"purpose_of_use": ["BTG"]}, "purpose-not-allowed"),
        ({"purpose_of_use": ["TREAT", "COC"]}, "purpose-not-allowed"),
        ({"purpose_of_use": []}, "purpose-not-allowed"),
        ({"purpose_of_use": "TREAT"}, "purpose-not-allowed"),
        ({"purpose_of_use": ["treat"]}, "purpose-not-allowed"),
    ],
)
async def test_a_claim_the_client_is_not_registered_for_is_an_invalid_grant(changes: dict[str, object], reason: str) -> None:
    assert await refusal(world(), assertion(extensions={"hl7-b2b": b2b(**changes)})) == ("invalid_grant", reason)


@pytest.mark.parametrize("said", [None, [], "x", {"hl7-b2b": "x"}, {"other": {}}])
async def test_an_assertion_without_the_extension_is_an_invalid_grant(said: object) -> None:
    assert await refusal(world(), assertion(extensions=said)) == ("invalid_grant", "b2b-extension-not-allowed")


def breaking(**ours: object) -> str:
    return assertion(extensions={"hl7-b2b": b2b(purpose_of_use=["BTG"]), "shared-care-gateway": ours})


async def test_the_reason_of_breaking_the_glass_is_the_callers_and_recorded_with_the_token() -> None:
    at, why = world(replace(CLIENT, purposes=CLIENT.purposes | {"BTG"})), "Unconscious child, allergies not known."
    text = await token(at, breaking(reason=why))
    assert (await authenticate("Bearer " + text, "192.0.2.9", at.parts)).case_reference == why
    assert at.log.entries[-1].detail["case_reference"] == why


async def test_a_case_reference_is_no_reason_to_break_the_glass() -> None:
    at = world(replace(CLIENT, purposes=CLIENT.purposes | {"BTG"}))
    text = await token(at, breaking(case_reference="CASE-7"))
    assert (await authenticate("Bearer " + text, "192.0.2.9", at.parts)).case_reference is None


@pytest.mark.parametrize("reason", ["", "urgent", "child 999 000 0107 is unconscious", "x" * 181, 7, "two lines of\nreason"])
async def test_a_reason_that_says_nothing_or_cannot_be_kept_is_refused(reason: object) -> None:
    at = world(replace(CLIENT, purposes=CLIENT.purposes | {"BTG"}))
    assert await refusal(at, breaking(reason=reason)) == ("invalid_grant", "reason-not-allowed")


@pytest.mark.parametrize("reference", ["", " x", "9990000107", "999 000 0107", "x" * 65, 7, ["x"], "a\nb"])
async def test_a_case_reference_that_cannot_be_kept_is_refused(reference: object) -> None:
    said = {"hl7-b2b": b2b(), "shared-care-gateway": {"case_reference": reference}}
    assert await refusal(world(), assertion(extensions=said)) == ("invalid_grant", "case-reference-not-allowed")


@pytest.mark.parametrize(
    "changes",
    [
        {"organization_id": "https://fhir.nhs.uk/Id/ods-organization-code|A99901"},
        {"purpose_of_use": ["urn:oid:2.16.840.1.113883.5.8#TREAT"]},
        {"subject_role": f"{SDS_JOB_ROLE}|R0260"},
    ],
)
async def test_organisations_purposes_and_roles_may_be_written_in_full(changes: dict[str, object]) -> None:
    assert await token(world(), assertion(extensions={"hl7-b2b": b2b(**changes)}))


async def test_a_bare_staff_id_means_something_within_the_organisation_only() -> None:
    at = world(replace(CLIENT, roles=frozenset({f"{LOCAL_ROLE}|receptionist"})))
    said = {"hl7-b2b": b2b(subject_id="desk-1", subject_role="receptionist")}
    caller = await authenticate("bearer " + await token(at, assertion(extensions=said)), "a", at.parts)
    assert (caller.staff.system, caller.staff.id) == ("ods:A99901", "desk-1")
    assert caller.role.system == LOCAL_ROLE


async def test_a_staff_id_may_name_its_own_system() -> None:
    at = world()
    said = {"hl7-b2b": b2b(subject_id="https://staff.example/id|7134567890"), "shared-care-gateway": {"case_reference": None}}
    caller = await authenticate("Bearer " + await token(at, assertion(extensions=said)), "a", at.parts)
    assert (caller.staff.system, caller.staff.id) == ("https://staff.example/id", "7134567890")
    assert caller.case_reference is None
    for half in ("|7", "https://staff.example/id|"):
        said = {"hl7-b2b": b2b(subject_id=half)}
        assert await refusal(at, assertion(extensions=said)) == ("invalid_grant", "subject-not-allowed")


async def test_unknown_scopes_are_narrowed_away_and_none_left_is_refused() -> None:
    at = world()
    granted = await exchange(form(assertion(), scope="launch/patient system/Patient.read openid"), Attempt("a"), at.parts)
    assert granted.scope == "system/Patient.rs"
    assert await refusal(at, scope="launch/patient") == ("invalid_scope", "no-scope-left")
    assert await refusal(at, scope=None) == ("invalid_scope", "no-scope-left")


async def test_a_refused_claim_does_not_spend_the_assertion_but_a_token_does() -> None:
    at = world()
    text = assertion()
    assert await refusal(at, text, scope="nothing") == ("invalid_scope", "no-scope-left")
    assert await token(at, text)
    assert await refusal(at, text) == ("invalid_client", "jti-spent")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"grant_type": None}, ("invalid_request", "parameters")),
        ({"client_secret": "x"}, ("invalid_request", "parameters")),
        ({"grant_type": "password"}, ("unsupported_grant_type", "grammar")),
        ({"client_assertion": None}, ("invalid_client", "grammar")),
        ({"client_assertion_type": None}, ("invalid_client", "grammar")),
        ({"client_assertion_type": "jwt"}, ("invalid_client", "grammar")),
        ({"client_id": "somebody-else"}, ("invalid_client", "client-id-differs")),
    ],
)
async def test_a_request_outside_the_grammar_is_refused_with_the_right_error(
    fields: dict[str, str | None], expected: tuple[str, str]
) -> None:
    assert await refusal(world(), **fields) == expected


async def test_limits_are_per_address_before_and_per_client_after_the_proof() -> None:
    at = world()
    await token(at)
    assert at.limits.asked == ["token-address:192.0.2.1", "token-client:riverside-records"]
    at.limits.full = {"token-address:192.0.2.1": 7}
    with pytest.raises(OAuthRefused) as refused:
        await token(at)
    assert (refused.value.status, refused.value.retry_after_s) == (429, 7)


async def test_a_forged_assertion_does_not_use_up_the_clients_rate() -> None:
    at = world()
    assert await refusal(at, assertion()[:-8] + "AAAAAAAA") == ("invalid_client", "signature")
    assert at.limits.asked == ["token-address:192.0.2.1"]


async def test_an_access_token_expires_also_when_it_is_remembered() -> None:
    at = world()
    text = "Bearer " + await token(at)
    assert await authenticate(text, "a", at.parts)
    at.clock.forward(299)
    assert await authenticate(text, "a", at.parts)
    at.clock.forward(1)
    with pytest.raises(NotAuthenticated) as refused:
        await authenticate(text, "a", at.parts)
    assert refused.value.reason == "expired"


async def test_a_token_bound_to_a_certificate_needs_that_certificate() -> None:
    at = world(replace(CLIENT, certificate_thumbprint="thumb"))
    text = await token(at)
    assert peek(text).claims["cnf"] == {"x5t#S256": "thumb"}
    assert await authenticate("Bearer " + text, "a", at.parts, certificate="thumb")
    for other in (None, "", "other"):
        with pytest.raises(NotAuthenticated):
            await authenticate("Bearer " + text, "a", at.parts, certificate=other)


async def test_a_token_signed_before_the_key_was_rotated_still_holds_until_the_old_key_goes() -> None:
    at = world()
    text = "Bearer " + await token(at)
    old = at.key.private.public_key()
    rotated = replace(at.parts, key=FakeKey("signing-2"), retired={"signing-1": old}, remembered=Remembered())
    assert await authenticate(text, "a", rotated)
    gone = replace(rotated, retired={}, remembered=Remembered())
    with pytest.raises(NotAuthenticated):
        await authenticate(text, "a", gone)


@pytest.mark.parametrize(
    "given", [None, "", "Basic eDp5", "Bearer", "Bearer x", "Bearer a.b.c d", "Bearer a.b", "Bearer " + "x" * 20_000]
)
async def test_an_authorization_header_of_another_form_is_refused(given: str | None) -> None:
    at = world()
    with pytest.raises(NotAuthenticated):
        await authenticate(given, "192.0.2.1", at.parts)


async def test_a_caller_over_its_rate_is_told_when_to_come_back() -> None:
    at = world()
    text = "Bearer " + await token(at)
    for key in ("address:a", "client:riverside-records"):
        at.limits.full = {key: 11}
        with pytest.raises(TooManyRequests) as refused:
            await authenticate(text, "a", at.parts)
        assert refused.value.retry_after_s == 11


async def test_an_assertion_longer_than_any_good_one_is_refused_unread() -> None:
    assert await refusal(world(), assertion(more="x" * 6_500)) == ("invalid_client", "too-long")
    assert await token(world(), assertion(more="x" * 2_000))


async def test_clock_differences_of_ten_seconds_are_borne_and_more_are_not() -> None:
    issued = int(NOW.timestamp())
    assert await token(world(), assertion(iat=issued + 9, nbf=issued + 9, exp=issued + 309))
    assert await token(world(), assertion(exp=issued - 9))
    assert await refusal(world(), assertion(exp=issued - 10)) == ("invalid_client", "expired")
    assert await refusal(world(), assertion(exp=issued + 311)) == ("invalid_client", "lives-too-long")


@pytest.mark.parametrize("other", [{"base_url": "https://another.example"}, {"key": FakeKey()}, {"key": FakeKey("unknown")}])
async def test_a_token_of_another_gateway_is_refused(other: dict[str, object]) -> None:
    at = world()
    text = (await exchange(form(assertion(aud="https://a.example")), Attempt("a"), elsewhere(at, **other))).access_token
    with pytest.raises(NotAuthenticated):
        await authenticate("Bearer " + text, "a", at.parts)


async def test_a_token_for_another_audience_of_the_same_issuer_is_refused() -> None:
    at = world()
    said = dict(peek(await token(at)).claims)
    head = {"alg": "Ed25519", "kid": at.key.kid, "typ": "at+jwt"}
    ours = OKPKey.import_key(at.key.private)
    assert await authenticate("Bearer " + sign(head, said, ours), "a", at.parts)
    for changed in (
        {"aud": "http://127.0.0.1:8000/admin"},
        {"iss": "x"},
        {"exp": said["exp"] + 1},
        {"extensions": {}},
        {"scope": 7},
    ):
        with pytest.raises(NotAuthenticated):
            await authenticate("Bearer " + sign(head, {**said, **changed}, ours), "a", at.parts)


async def test_only_so_many_tokens_are_remembered_and_no_failure_is() -> None:
    at = world()
    held = read_token(await token(at), at.parts, at.clock())
    remembered = Remembered()
    for number in range(MOST + 5):
        remembered.put(f"token-{number}", held)
    assert remembered.get("token-0") is None
    assert remembered.get(f"token-{MOST + 4}") is held
    assert len(remembered) == MOST
    with pytest.raises(NotAuthenticated):
        await authenticate("Bearer a.b.c", "a", at.parts)
    assert len(at.parts.remembered) == 1


def elsewhere(at: World, **changes: object) -> Parts:
    audience = replace(CLIENT, audiences=frozenset({"https://a.example"}))
    at.clients.held[CLIENT.id] = audience
    return replace(at.parts, remembered=Remembered(), **changes)

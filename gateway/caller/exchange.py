"""A token request -> an access token, recorded before it leaves. Source: SMART Backend Services; RFC 6749 section 4.4."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.caller import assertion, claims, scopes, token
from gateway.caller.assertion import Assertion
from gateway.caller.claims import Claimed
from gateway.caller.grant import GRANT, grant
from gateway.caller.parts import Parts
from gateway.errors import OAuthRefused
from gateway.ports import Entry


@dataclass(slots=True)
class Attempt:
    """Who tries, as far as it is known. What is only claimed is never more than a registered client's own id."""

    address: str
    request_id: str = ""
    correlation_id: str = ""
    client: str = ""
    proved: bool = False


@dataclass(frozen=True, slots=True)
class Granted:
    """What the answer carries. Source: RFC 6749 section 5.1."""

    access_token: str
    expires_in: int
    scope: str


async def exchange(form: Mapping[str, str], attempt: Attempt, parts: Parts) -> Granted:
    """Form and who tries -> an access token whose event is durable and whose `jti` is spent.

    Raises `OAuthRefused`: the endpoint acts, by `record_refusal`. Raises `AuditDown` or `StoreDown`: nothing was granted.
    """
    now = parts.clock()
    await _limit("token-address:" + attempt.address, parts, now)
    if "grant_type" not in form or "client_secret" in form:
        raise OAuthRefused("invalid_request", reason="parameters")
    held = await _held(form, attempt, parts, now)
    attempt.proved = True
    await _limit("token-client:" + held.client.id, parts, now)
    claimed = claims.check(held.claims, held.client, parts.resolve_organisation)
    granted = scopes.narrow(form.get("scope", ""), held.client.scopes)
    if not granted:
        raise OAuthRefused("invalid_scope", reason="no-scope-left")
    text, token_id = token.mint(held.client, claimed, granted, parts, now)
    entry = _granted(held, claimed, granted, token_id, attempt, now)
    if await parts.log.append_once(entry, client=held.client.id, jti=held.jti, expires=held.spent_until) is None:
        raise OAuthRefused("invalid_client", reason="jti-spent")
    return Granted(text, parts.token_s, " ".join(sorted(granted)))


async def record_refusal(refused: OAuthRefused, attempt: Attempt, parts: Parts) -> None:
    """A refused token request -> the log. Raises `AuditDown`: the endpoint answers 503 instead."""
    await parts.failures.record(
        Entry(
            kind="token",
            at=parts.clock(),
            outcome="failure",
            person=None,
            system=attempt.client,
            request_id=attempt.request_id,
            correlation_id=attempt.correlation_id,
            address=attempt.address,
            detail={"error": refused.error, "reason": refused.reason, "client_proved": attempt.proved},
        )
    )


async def _held(form: Mapping[str, str], attempt: Attempt, parts: Parts, now: datetime) -> Assertion:
    text = form.get("client_assertion")
    if form["grant_type"] != GRANT or not text:
        return grant(form, None, _nothing)
    read, client_id = assertion.read(text)
    if form.get("client_id", client_id) != client_id:
        raise OAuthRefused("invalid_client", reason="client-id-differs")
    client = await parts.clients.get(client_id)
    attempt.client = client.id if client else ""
    if client is None or client.revoked:
        raise OAuthRefused("invalid_client", reason="client-revoked" if client else "client-unknown")
    jwks = await assertion.key_set(read, client, parts)
    return grant(form, read, lambda: assertion.hold(read, client, jwks, token_url=parts.token_url, now=now))


def _nothing() -> Assertion:
    raise OAuthRefused("invalid_client", reason="no-assertion")


async def _limit(key: str, parts: Parts, now: datetime) -> None:
    wait_s = await parts.limits.take(key, per_minute=parts.token_per_minute, now=now)
    if wait_s is not None:
        raise OAuthRefused("temporarily_unavailable", reason="throttled", status=429, retry_after_s=wait_s)


def _granted(held: Assertion, claimed: Claimed, granted: frozenset[str], token_id: str, attempt: Attempt, now: datetime) -> Entry:
    return Entry(
        kind="token",
        at=now,
        outcome="success",
        person=None,
        organisation=claimed.organisation.code,
        system=held.client.id,
        staff=f"{claimed.staff.system}|{claimed.staff.id}",
        staff_name=claimed.staff.name,
        role=f"{claimed.role.system}|{claimed.role.code}",
        purpose=claimed.purpose.value,
        request_id=attempt.request_id,
        correlation_id=attempt.correlation_id,
        address=attempt.address,
        detail={
            "token": token_id,
            "scopes": sorted(granted),
            "algorithm": held.algorithm,
            "kid": held.kid,
            "client_version": held.client.version,
            "case_reference": claimed.case_reference,
        },
    )

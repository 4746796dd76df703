"""The token endpoint, the key set of access tokens, and SMART discovery. OAuth's own errors, not OperationOutcomes.

Source: RFC 6749 sections 3.2 and 5; SMART App Launch 2.2.0, backend-services and conformance.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.api import form
from gateway.caller import CLIENT_ALGORITHMS, Attempt, Granted, Parts, exchange, public_keys, record_refusal
from gateway.errors import BadRequest, OAuthRefused, TooLarge, Unavailable

Endpoint = Callable[[Request], Awaitable[Response]]
LARGEST_FORM_BYTES = 16_384

_FORM = "application/x-www-form-urlencoded"
_DESCRIPTIONS = {
    "invalid_request": "The request is not a readable client_credentials token request.",
    "invalid_client": "The client could not be authenticated by its assertion.",
    "invalid_grant": "The hl7-b2b extension is missing, unreadable, or claims what this client is not registered for.",
    "invalid_scope": "None of the scopes asked for can be granted to this client.",
    "unsupported_grant_type": "Only client_credentials is offered.",
    "temporarily_unavailable": "No token can be issued just now. Try again after the time in Retry-After.",
}


def routes(parts: Parts, *, scopes_supported: Sequence[str]) -> list[tuple[str, list[str], Endpoint]]:
    """What step 1 needs -> (path, methods, endpoint) of everything under /oauth, and SMART discovery."""

    async def token(request: Request) -> Response:
        attempt = _attempt(request)
        try:
            try:
                return _granted(await exchange(await _form(request), attempt, parts))
            except OAuthRefused as refused:
                await record_refusal(refused, attempt, parts)
                return _refused(refused)
        except Unavailable:
            # Neither clients nor log: nothing was granted, and the failure itself could not be recorded.
            return _refused(OAuthRefused("temporarily_unavailable", reason="unavailable", status=503, retry_after_s=5))

    async def keys(_: Request) -> Response:
        return _json(200, public_keys(parts))

    async def discovery(_: Request) -> Response:
        # No look at Authorization: clients send old tokens here.
        return _json(200, smart_configuration(parts, scopes_supported))

    return [
        ("/oauth/token", ["POST"], token),
        ("/oauth/jwks", ["GET"], keys),
        ("/fhir/.well-known/smart-configuration", ["GET"], discovery),
    ]


def smart_configuration(parts: Parts, scopes_supported: Sequence[str]) -> Mapping[str, Any]:
    """Configured base -> the SMART discovery document."""
    return {
        "token_endpoint": parts.token_url,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": sorted(CLIENT_ALGORITHMS),
        "scopes_supported": sorted(scopes_supported),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        "code_challenge_methods_supported": ["S256"],  # required by the format; no authorization endpoint is offered
    }


def _attempt(request: Request) -> Attempt:
    state = request.scope.get("state", {})
    return Attempt(
        address=request.client.host if request.client else "",
        request_id=str(state.get("request_id", "")),
        correlation_id=str(state.get("correlation_id", "")),
    )


async def _form(request: Request) -> Mapping[str, str]:
    """Body -> parameters that have a value. Raises `OAuthRefused`."""
    kind = request.headers.getlist("content-type")
    if len(kind) != 1 or kind[0].partition(";")[0].strip().lower() != _FORM or "content-encoding" in request.headers:
        raise OAuthRefused("invalid_request", reason="content-type")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_FORM_BYTES:
                raise OAuthRefused("invalid_request", reason="form-too-long", status=413)
    except ClientDisconnect as gone:
        raise OAuthRefused("invalid_request", reason="caller-went-away") from gone
    try:
        values = form.once(form.pairs(body, most_bytes=LARGEST_FORM_BYTES, most_value=LARGEST_FORM_BYTES))
    except TooLarge as error:
        raise OAuthRefused("invalid_request", reason=error.reason, status=413) from error
    except BadRequest as error:
        raise OAuthRefused("invalid_request", reason=error.reason) from error
    return {name: value for name, (value,) in values.items() if value}


def _granted(granted: Granted) -> Response:
    body = {
        "access_token": granted.access_token,
        "token_type": "bearer",
        "expires_in": granted.expires_in,
        "scope": granted.scope,
    }
    return _json(200, body)


def _refused(refused: OAuthRefused) -> Response:
    headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
    error = refused.error if refused.error in _DESCRIPTIONS else "invalid_request"
    return _json(refused.status, {"error": error, "error_description": _DESCRIPTIONS[error]}, headers)


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    never_kept = {"Cache-Control": "no-store", "Pragma": "no-cache", **(headers or {})}
    return Response(json.dumps(body), status, never_kept, media_type="application/json")

"""The FHIR endpoints: HTTP -> step 1, step 2, a flow -> HTTP. Every way out of here leaves an event in the log."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.api.capability import capability
from gateway.api.reading import NAMED, Asked, Reading, media_type, read_request, read_sending
from gateway.api.submission import SENDABLE, read_submission
from gateway.bundle import Answer, outcome
from gateway.caller import authenticate
from gateway.errors import (
    AuditDown,
    BadRequest,
    GatewayError,
    Incomplete,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    TooLarge,
    TooManyRequests,
    UnsupportedMedia,
)
from gateway.flows.access_history import access_history
from gateway.flows.failure import note_failure
from gateway.flows.healthy_child import healthy_child
from gateway.flows.parcel_state import parcel_state
from gateway.flows.parts import Parts
from gateway.flows.question_log import question_log
from gateway.flows.read import read
from gateway.flows.submit import PARCEL, submit
from gateway.model import AccessRequest, Caller

JSON = frozenset({"application/fhir+json", "application/json"})
OURS = "gateway-"  # how the headers of this gateway begin
FORM = "application/x-www-form-urlencoded"
_SINGLE = frozenset({"content-type", "if-none-exist", "x-correlation-id", "x-request-id"})
_encode = msgspec.json.encode


class Fhir:
    """All FHIR interactions behind one endpoint, so that no path has rules of its own."""

    def __init__(self, parts: Parts, *, body_bytes: int) -> None:
        self._parts = parts
        self._body_bytes = body_bytes

    async def endpoint(self, request: Request) -> Response:
        """One request of any FHIR interaction."""
        parts, started, caller = self._parts, monotonic(), None
        try:
            caller = await authenticate(_authorization(request), _address(request), parts.caller)
            headers = _headers(request)
            if _is_delivery(request):
                return await self._delivery(request, headers, caller, started)
            asked = await self._asked(request, headers)
            access = read_request(asked, caller, _reading(parts), parts.now())
            answer = await _flow(access)(parts, access)
            return await _leave(answer, media_type(asked.headers, asked.query), started, parts)
        except GatewayError as error:
            return await self._failed(error, request, caller, started)

    async def metadata(self, request: Request) -> Response:
        """GET /fhir/metadata: for everyone; an Authorization header is not looked at."""
        parts = self._parts
        try:
            media = media_type(_headers(request), request.scope["query_string"])
        except GatewayError as error:
            return await self._failed(error, request, None, monotonic())
        return Response(_encode(capability(parts.base_url, parts.types(), parts.takes() & SENDABLE.keys())), media_type=media)

    async def elsewhere(self, request: Request, error: GatewayError) -> Response:
        """A route or method that does not exist: recorded and answered like every other refusal."""
        return await self._failed(error, request, None, monotonic())

    async def _delivery(self, request: Request, headers: Mapping[str, str], caller: Caller, started: float) -> Response:
        """POST of what is to be delivered, or its sender's question of what became of it."""
        parts, state = self._parts, request.scope["state"]
        segments = request.scope["path"].removeprefix("/fhir/").split("/")
        ids = {"request_id": state["request_id"], "correlation_id": state["correlation_id"]}
        asked = Asked(segments, request.scope["query_string"], b"", headers, **ids)
        media = media_type(asked.headers, asked.query)
        if request.method == "GET":
            return await _leave(await parcel_state(parts, caller, segments[1], **ids), media, started, parts)
        if headers.get("content-type", "").split(";")[0].strip().lower() not in JSON:
            raise UnsupportedMedia(reason="fhir-json-expected")
        body = await self._body(request)
        # In a thread: the first look at a type loads its model, which would hold up everybody.
        submission = await asyncio.to_thread(read_submission, segments[0], body, allow_test=parts.allow_test_numbers)
        access = read_sending(asked, caller, submission.type, submission.content.number, parts.now())
        return await _leave(await submit(parts, access, submission), media, started, parts)

    async def _asked(self, request: Request, headers: Mapping[str, str]) -> Asked:
        segments = [part for part in request.scope["path"].removeprefix("/fhir").split("/") if part]
        form = b""
        if request.method == "POST":
            if not segments or segments[-1] != "_search":
                raise MethodNotAllowed(reason="post-only-for-search")
            if headers.get("content-type", "").split(";")[0].strip().lower() != FORM:
                raise UnsupportedMedia(reason="search-form-expected")
            form = await self._body(request)
        elif segments and segments[-1] == "_search":
            raise MethodNotAllowed(reason="search-is-post")
        state = request.scope["state"]
        return Asked(segments, request.scope["query_string"], form, headers, state["request_id"], state["correlation_id"])

    async def _body(self, request: Request) -> bytes:
        held = bytearray()
        try:
            async for chunk in request.stream():
                held += chunk
                if len(held) > self._body_bytes:
                    raise TooLarge(reason="body-too-large")
        except ClientDisconnect as gone:
            raise BadRequest(reason="caller-went-away") from gone
        return bytes(held)

    async def _failed(self, error: GatewayError, request: Request, caller: Caller | None, started: float) -> Response:
        parts, state = self._parts, request.scope["state"]
        try:
            ids = state["request_id"], state["correlation_id"]
            await note_failure(parts, error, caller, _address(request), request_id=ids[0], correlation_id=ids[1])
        except AuditDown as down:
            error = down
        headers = {}
        if error.retry_after_s is not None or isinstance(error, TooManyRequests):
            headers["retry-after"] = str(error.retry_after_s or 1)
        if isinstance(error, NotAuthenticated):
            headers["www-authenticate"] = 'Bearer realm="fhir"'
        if isinstance(error, NotFound | Incomplete) and caller is not None:  # whichever of several reasons it was
            await _next_bucket(started, parts)
        return Response(outcome(error), status_code=error.status, headers=headers, media_type="application/fhir+json")


_VIEWS: Mapping[str, Callable[[Parts, AccessRequest], Awaitable[Answer]]] = {
    "healthy-child-programme": healthy_child,
    "cp-is-access-history": access_history,
}


def _flow(access: AccessRequest) -> Callable[[Parts, AccessRequest], Awaitable[Answer]]:
    if access.query.interaction == "audit-search":
        return question_log
    return _VIEWS.get(access.query.view, read)


def _is_delivery(request: Request) -> bool:
    """POST of a type that may be submitted, or GET of a parcel's Task: whose id has a form that no record's has."""
    segments = request.scope["path"].removeprefix("/fhir/").split("/")
    if request.method == "POST":
        return len(segments) == 1 and segments[0] in SENDABLE
    return len(segments) == 2 and segments[0] == "Task" and segments[1].startswith(PARCEL)


async def _leave(answer: Answer, media: str, started: float, parts: Parts) -> Response:
    """An answer without records leaves at the next time bucket, so that its time tells nothing of the reason."""
    if not answer.shows_records:
        await _next_bucket(started, parts)
    return Response(answer.body, status_code=answer.status, headers=dict(answer.headers), media_type=media)


async def _next_bucket(started: float, parts: Parts) -> None:
    bucket = parts.empty_bucket_s
    passed = monotonic() - started
    await asyncio.sleep(bucket - passed % bucket)


def _reading(parts: Parts) -> Reading:
    return Reading(parts.types(), parts.allow_test_numbers, parts.page_count, parts.open)


def _headers(request: Request) -> Mapping[str, str]:
    """Headers by name; of those that are lists (Accept, Prefer) all that was sent.

    Raises `BadRequest` for one of ours, or one that R4 or HTTP has once, sent twice: two readers would take different ones.
    """
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        if name in headers and (name in _SINGLE or name.startswith(OURS)):
            raise BadRequest(reason="header-repeated", expression=NAMED.get(name))
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _authorization(request: Request) -> str | None:
    """The one Authorization header; two are none, for two readers would take different ones."""
    given = request.headers.getlist("authorization")
    return given[0] if len(given) == 1 else None


def _address(request: Request) -> str:
    """The caller's network address as the server saw it; a proxy's header is read only when uvicorn pins that proxy."""
    return request.client.host if request.client else ""


ROUTES: Sequence[dict[str, Any]] = (
    {"path": "/fhir", "methods": ["GET"], "name": "page", "summary": "A further page, by the sealed cursor of a next link"},
    {
        "path": "/fhir/Patient/{id}/$everything",
        "methods": ["GET"],
        "name": "everything",
        "summary": "All that may be shown of one person",
    },
    {
        "path": "/fhir/Patient/{id}/$healthy-child-programme",
        "methods": ["GET"],
        "name": "healthy-child-programme",
        "summary": "Reviews and immunisations done, due and overdue, worked out when asked",
    },
    {
        "path": "/fhir/Patient/{id}/$cp-is-access-history",
        "methods": ["GET"],
        "name": "cp-is-access-history",
        "summary": "The last unscheduled looks at what CP-IS holds",
    },
    {"path": "/fhir/{type}", "methods": ["GET", "POST"], "name": "search", "summary": "Search one type; submit for delivery"},
    {
        "path": "/fhir/{type}/_search",
        "methods": ["POST"],
        "name": "search-post",
        "summary": "The same search, parameters in the body",
    },
    {"path": "/fhir/{type}/{id}", "methods": ["GET"], "name": "read", "summary": "Read one resource"},
)

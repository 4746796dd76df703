"""Correlation ids, size limits, timing and the last safety net. No business is done here.

Source: NHS API platform, X-Request-ID and X-Correlation-ID; FHIR R4 section 3.1.0.1.
"""

import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.responses import Response

from gateway.bundle import outcome
from gateway.errors import InternalFault

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REQUESTS = Counter("gateway_requests_total", "Requests answered, by status.", ["status"])
SECONDS = Histogram("gateway_request_seconds", "Seconds from first byte in to last byte out.")

_OF_RECORDS = re.compile(r"/fhir/[A-Z][A-Za-z]*(/[^/]+)?|/fhir/Patient/[^/]+/\$everything", re.ASCII)
_SAFE_ID = re.compile(rb"[A-Za-z0-9\-]{1,64}", re.ASCII)
_log = structlog.get_logger()


class Edge:
    """Wraps the whole app: ids kept or made, answers timed and counted, and a fault of ours never shows its text."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ids = _ids(scope)
        scope.setdefault("state", {}).update({"request_id": ids[0], "correlation_id": ids[1]})
        started, status = perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", ids[0].encode()),
                    (b"x-correlation-id", ids[1].encode()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as fault:  # noqa: BLE001 - the one place: whatever was missed leaves as a 500 that says nothing
            _log.error("request.failed", fault=type(fault).__name__, request_id=ids[0])
            if status == 0:
                await _fault(sending)
        REQUESTS.labels(status=str(status)).inc()
        SECONDS.observe(perf_counter() - started)


class Straight:
    """GET of records goes straight to its endpoint: the framework's layers between have nothing to add and cost a tenth of it."""

    def __init__(self, records: Callable[[Request], Awaitable[Response]], whole: App) -> None:
        self._records, self._whole = records, whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and _OF_RECORDS.fullmatch(scope["path"]):
            response = await self._records(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await self._whole(scope, receive, send)


def _ids(scope: Scope) -> tuple[str, str]:
    """The caller's ids where they are safe to keep, else new ones. A request id that is not one is replaced, never echoed."""
    request_id = correlation_id = b""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value
        elif name == b"x-correlation-id":
            correlation_id = value
    return _kept(request_id), _kept(correlation_id)


def _kept(value: bytes) -> str:
    if not value:
        return str(uuid.uuid4())
    holds_ten_digits = re.search(rb"[0-9]{10}", value.replace(b"-", b"")) is not None and not _uuid(value)
    return value.decode() if _SAFE_ID.fullmatch(value) and not holds_ten_digits else str(uuid.uuid4())


def _uuid(value: bytes) -> bool:
    try:
        return len(value) == 36 and bool(uuid.UUID(value.decode("ascii")))
    except (ValueError, UnicodeDecodeError):
        return False


async def _fault(send: Send) -> None:
    body = outcome(InternalFault())
    headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Faults on demand: which simulator misbehaves, for whom, how and for how long; and how each misbehaviour looks on the wire."""

import asyncio
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from sandbox.families import BY_NUMBER

SLOW_S = 8.0
DRIP_S = 0.25
HUGE_BYTES = 96_000_000

WIRE = frozenset({"slow", "drip", "reset", "500", "429", "401", "bad-json", "html", "truncated", "huge", "down"})
CONTENT = frozenset(
    {"wrong-child", "other-birth-date", "duplicates", "one-bad", "20-mb", "512-kb", "64-kb"}
)  # the simulator itself answers wrongly
SPINE = {  # refusals of GP Connect 1.6.2 by their own names: status and Spine code; "" for a body that is no FHIR
    "invalid-nhs-number": (400, "INVALID_NHS_NUMBER"),
    "invalid-identifier-system": (400, "INVALID_IDENTIFIER_SYSTEM"),
    "invalid-identifier-value": (400, "INVALID_IDENTIFIER_VALUE"),
    "invalid-demographics": (400, "INVALID_PATIENT_DEMOGRAPHICS"),
    "bad-request": (400, "BAD_REQUEST"),
    "no-patient-consent": (403, "NO_PATIENT_CONSENT"),
    "no-organisation-consent": (403, "NO_ORGANISATION_CONSENT"),
    "no-organisational-consent": (403, "NO_ORGANISATIONAL_CONSENT"),
    "access-denied": (403, "ACCESS_DENIED"),
    "no-relationship": (403, "NO_RELATIONSHIP"),
    "asid-check-failed": (403, "ASID_CHECK_FAILED"),
    "patient-not-found": (404, "PATIENT_NOT_FOUND"),
    "no-record-found": (404, "NO_RECORD_FOUND"),
    "organisation-not-found": (404, "ORGANISATION_NOT_FOUND"),
    "practitioner-not-found": (404, "PRACTITIONER_NOT_FOUND"),
    "plain-404": (404, ""),
    "duplicate-rejected": (409, "DUPLICATE_REJECTED"),
    "unsupported-media": (415, "BAD_REQUEST"),
    "invalid-resource": (422, "INVALID_RESOURCE"),
    "invalid-parameter": (422, "INVALID_PARAMETER"),
    "reference-not-found": (422, "REFERENCE_NOT_FOUND"),
    "not-implemented": (501, "NOT_IMPLEMENTED"),
    "plain-502": (502, ""),
    "plain-504": (504, ""),
    "plain-599": (599, ""),
}
PROXY = {  # the proxy's own refusals, in a code system of its own: the code is the status, the display tells what no caller may read
    "proxy-400": (400, "SSP_TRACEID_MISSING_OR_INVALID"),
    "proxy-403": (403, "ASID_CHECK_FAILED_MESSAGESENDER_200000000001"),
    "proxy-404": (404, "NO_SUCH_ADDRESS_https://gpconnect.sandbox.invalid"),
    "proxy-405": (405, "METHOD_NOT_ALLOWED"),
    "proxy-415": (415, "UNSUPPORTED_MEDIA_TYPE"),
    "proxy-502": (502, "ERROR_COMMUNICATING_TO_ENDPOINT_URL_https://gpconnect.sandbox.invalid"),
}
TURNS = frozenset({"restricted", "invalidated", "unknown"})  # what PDS may come to say of somebody between two traces
SIMULATORS = frozenset({"pds", "sds", "gp", "front-door", "inbox", "centre", "eclipse", "eclipse-token"})

_ALL = WIRE | CONTENT | TURNS | SPINE.keys() | PROXY.keys() | {"none"}
_HTML = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body><h1>We will be back soon</h1></body></html>"


@dataclass(slots=True)
class Order:
    """One fault ordered over the control endpoint."""

    fault: str
    until: float  # monotonic
    times: int | None  # answers still to spoil; None: all until `until`


@dataclass(slots=True)
class Faults:
    """The faults in force. An order outranks what the family always shows."""

    orders: dict[tuple[str, str], Order] = field(default_factory=dict)

    def of(self, simulator: str, nhs_number: str) -> str:
        """The fault for this answer, "" for none. Counts an order of so many `times` down."""
        for key in ((simulator, nhs_number), (simulator, "*")):
            order = self.orders.get(key)
            if order is None:
                continue
            if order.until <= time.monotonic() or order.times == 0:
                del self.orders[key]
                continue
            if order.times is not None:
                order.times -= 1
            return order.fault
        person = BY_NUMBER.get(nhs_number)
        return person.faults.get(simulator, "") if person else ""

    async def control(self, request: Request) -> Response:
        """POST orders one ({simulator, nhs_number or "*", fault, seconds, times}), DELETE ends all, GET lists."""
        if request.method == "DELETE":
            self.orders.clear()
        if request.method == "POST":
            wanted = await request.json()
            simulator, fault = wanted.get("simulator"), wanted.get("fault")
            if simulator not in SIMULATORS or fault not in _ALL:
                return JSONResponse({"error": "no such simulator or fault", "faults": sorted(_ALL)}, 400)
            key = (simulator, str(wanted.get("nhs_number", "*")))
            self.orders[key] = Order(fault, time.monotonic() + float(wanted.get("seconds", 60)), wanted.get("times"))
        return JSONResponse([{"simulator": s, "nhs_number": n, "fault": o.fault} for (s, n), o in self.orders.items()])


class Spoiled(Response):
    """An answer as a failing system sends it."""

    def __init__(self, fault: str, good: Response, down: Response) -> None:
        """`good` is what would have been said; `down` is how this protocol says that the system behind is not there."""
        self.fault, self.good, self.down = fault, good, down

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match self.fault:
            case "slow":
                await asyncio.sleep(SLOW_S)
                await self.good(scope, receive, send)
            case "drip":
                await _drip(self.good, send)
            case "reset":
                await _reset(receive)
            case "500":
                await Response(b"", 500)(scope, receive, send)
            case "429":
                await Response(_THROTTLED, 429, {"retry-after": "1"}, "application/fhir+json")(scope, receive, send)
            case "401":
                await Response(_DENIED, 401, None, "application/fhir+json")(scope, receive, send)
            case "bad-json":
                await Response(b'{"resourceType": "Patient", "id": ', 200, None, "application/fhir+json")(scope, receive, send)
            case "html":
                await Response(_HTML, 200, None, "text/html")(scope, receive, send)
            case "truncated":
                await _truncated(self.good, receive, send)
            case "huge":
                await _huge(send)
            case "down":
                await self.down(scope, receive, send)
            case _:
                await self.good(scope, receive, send)


def _start(response: Response, extra: Mapping[str, str]) -> dict[str, object]:
    headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    headers += [(name.encode(), value.encode()) for name, value in extra.items()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


async def _drip(good: Response, send: Send) -> None:
    body = bytes(good.body)
    await send(_start(good, {"content-length": str(len(body))}))
    for at in range(0, len(body), 32):
        await send({"type": "http.response.body", "body": body[at : at + 32], "more_body": True})
        await asyncio.sleep(DRIP_S)
    await send({"type": "http.response.body", "body": b""})


async def _truncated(good: Response, receive: Receive, send: Send) -> None:
    body = bytes(good.body)
    await send(_start(good, {"content-length": str(len(body))}))
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    await asyncio.sleep(0.05)  # let the half reach the other side
    await _reset(receive)


async def _huge(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/fhir+json")]})
    block = b" " * 262_144
    for _ in range(HUGE_BYTES // len(block)):
        await send({"type": "http.response.body", "body": block, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"{}"})


async def _reset(receive: Receive) -> None:
    """Break the connection as a crashed system does: RST, not FIN. The transport is uvicorn's own."""
    transport = receive.__self__.transport  # type: ignore[attr-defined]
    plug = transport.get_extra_info("socket")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await asyncio.sleep(0.01)  # the server notices before this answer ends, and says nothing more


_THROTTLED = b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled","details":{"coding":[{"system":"https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode","version":"1","code":"TOO_MANY_REQUESTS","display":"Too many requests"}]}}]}'
_DENIED = b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","details":{"coding":[{"system":"https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode","version":"1","code":"ACCESS_DENIED","display":"Access denied"}]}}]}'

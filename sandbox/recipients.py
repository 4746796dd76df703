"""Two systems that take: an authority's front door (XML over HTTP) and a practice's task inbox (FHIR R4); recalls too.

Both take a key once: the same key again is 409 with the name it was given first. What they hold is read back over
/control/received. The fault "reset" breaks the connection after the thing was taken, as a system does whose answer is lost.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from lxml import etree
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults import Faults, Spoiled

FRONT_DOOR_KEY = "front-door-sandbox-key"
INBOX_TOKEN = "inbox-sandbox-token"  # noqa: S105 - of a simulator

_DOWN = Response(b"", 503)
_AFTER_TAKING = frozenset({"reset", "slow", "drip", "truncated", "bad-json", "html"})


@dataclass(slots=True)
class Taker:
    """One recipient: what it took, by key, and how often each key came."""

    name: str  # of the simulator
    prefix: str  # of the names it gives
    faults: Faults
    taken: dict[str, tuple[str, str]] = field(default_factory=dict)  # key -> (its own name, the body)
    attempts: dict[str, int] = field(default_factory=dict)

    def take(self, key: str, body: bytes) -> tuple[str, bool]:
        """(its own name, whether it is new)."""
        new = key not in self.taken
        if new:
            self.taken[key] = (f"{self.prefix}{len(self.taken) + 1}", body.decode("utf-8"))
        return self.taken[key][0], new

    def come(self, key: str) -> str:
        """Counts an attempt -> the fault for it."""
        self.attempts[key] = self.attempts.get(key, 0) + 1
        return self.faults.of(self.name, "*")

    def held(self) -> list[dict[str, object]]:
        """Everything, for tests to read back."""
        return [
            {"key": key, "name": name, "body": body, "attempts": self.attempts[key]} for key, (name, body) in self.taken.items()
        ]


class FrontDoor:
    """The simulator of the authority's front door."""

    def __init__(self, faults: Faults) -> None:
        self.taker = Taker("front-door", "FD-", faults)
        self.accesses = Taker("front-door", "CPIS-", faults)

    def routes(self) -> list[Route]:
        return [
            Route("/front-door/referrals", self._referral, methods=["POST"]),
            Route("/front-door/accesses", self._access, methods=["POST"]),
            Route("/front-door/recalls", self._recall, methods=["POST"]),
        ]

    async def _access(self, request: Request) -> Response:
        """A look at what CP-IS holds, as JSON."""

        def wrong(key: str, body: bytes) -> Response | None:
            try:
                notice = json.loads(body)
            except ValueError:
                return JSONResponse({"error": "not JSON"}, 400)
            fits = key and notice.get("Reference") == key and notice.get("NHSNumber") and notice.get("Role")
            return None if fits else JSONResponse({"error": "not a notice under its key"}, 422)

        return await _taken(request, self.accesses, _is_front_door(request), wrong, _named)

    async def _referral(self, request: Request) -> Response:
        return await self._document(request, "FrontDoorReferral")

    async def _recall(self, request: Request) -> Response:
        return await self._document(request, "FrontDoorRecall")

    async def _document(self, request: Request, root: str) -> Response:
        def wrong(key: str, body: bytes) -> Response | None:
            try:
                document = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
            except etree.XMLSyntaxError:
                return JSONResponse({"error": "not XML"}, 400)
            fits = key and document.tag == root and document.findtext("Reference") == key
            return None if fits else JSONResponse({"error": "not what it should be under its key"}, 422)

        return await _taken(request, self.taker, _is_front_door(request), wrong, _named)


class PracticeInbox:
    """The simulator of a practice's task inbox."""

    def __init__(self, faults: Faults) -> None:
        self.taker = Taker("inbox", "task-", faults)

    def routes(self) -> list[Route]:
        return [Route("/inbox/Task", self._task, methods=["POST"])]

    async def _task(self, request: Request) -> Response:
        def wrong(key: str, body: bytes) -> Response | None:
            try:
                task = json.loads(body)
            except ValueError:
                return JSONResponse({"resourceType": "OperationOutcome"}, 400)
            keys = [one.get("value") for one in task.get("identifier", [])]
            about = "focus" if task.get("code") == {"text": "Recall"} else "for"  # a recall names a task, and nobody
            fits = task.get("resourceType") == "Task" and key in keys and "identifier" in task.get(about, {})
            return None if fits else JSONResponse({"resourceType": "OperationOutcome"}, 422)

        def placed(name: str, status: int) -> Response:
            return Response(b"{}", status, {"location": f"/inbox/Task/{name}"}, "application/fhir+json")

        return await _taken(request, self.taker, request.headers.get("authorization") == f"Bearer {INBOX_TOKEN}", wrong, placed)


async def _taken(
    request: Request,
    taker: Taker,
    known: bool,
    wrong: Callable[[str, bytes], Response | None],
    said: Callable[[str, int], Response],
) -> Response:
    """One thing handed over: who it is, today's fault, what is wrong with it; then taken under its key, once."""
    key, body = request.headers.get("idempotency-key", ""), await request.body()
    if not known:
        return Response(b"", 401)
    fault = taker.come(key)
    if fault and fault not in _AFTER_TAKING:
        return Spoiled(fault, _DOWN, _DOWN)
    refusal = wrong(key, body)
    if refusal is not None:
        return refusal
    name, new = taker.take(key, body)
    good = said(name, 201 if new else 409)
    return Spoiled(fault, good, _DOWN) if fault else good


def _is_front_door(request: Request) -> bool:
    return request.headers.get("x-api-key") == FRONT_DOOR_KEY


def _named(name: str, status: int) -> Response:
    return JSONResponse({"reference": name}, status)

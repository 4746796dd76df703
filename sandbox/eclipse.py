"""The authority's live case system: one GraphQL address, in the shape that OLM Eclipse publishes (sandbox/eclipse.graphql).

It wants an access token that its own token endpoint gave, and finds people by NHS number, exactly. Whom our account may not see it
redacts or leaves out, as the real one does.
"""

import json
import secrets
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, quote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.families import BY_KEY
from sandbox.faults import Faults, Spoiled
from sandbox.graphql_service import Wrong, answer, read_schema

CLIENT_ID, CLIENT_SECRET = "gateway-at-northshire", "eclipse: sandbox+secret"
SCOPE = "api://eclipse-sandbox/.default"
TOKEN_S = 300
SCHEMA = files("sandbox").joinpath("eclipse.graphql").read_text("utf-8")
WORKER = "Sam Worker"

_DOWN = JSONResponse({"data": None, "errors": [{"message": "later", "extensions": {"code": "SERVICE_UNAVAILABLE"}}]})
_SINCE, _UNTIL = "2026-03-06T00:00:00Z", "2026-07-31T00:00:00Z"


def plan(code: str, **more: Any) -> dict[str, Any]:
    """One classification assignment, in force."""
    named = {"id": "1", "code": code.rpartition(".")[2], "codePath": code, "name": code.title()}
    return {"status": "ACTIVE", "assignmentDateStatus": "CURRENT", "startDateTime": _SINCE, "classification": named, **more}


def over(code: str, reason: str = "CPR_ATHOME") -> dict[str, Any]:
    """One that ended."""
    return plan(code, assignmentDateStatus="HISTORIC", endDateTime=_UNTIL, endReason=reason)


CP, CIN, CLA, UNBORN = "CHILD.CP.PLAN", "CHILD.CIN", "CHILD.CLA.S20", "CHILD.CP.UNBORN"
UNREVIEWED = "CHILD.CP.NEGLECT"  # in no code map, and it would tell the category of abuse
KNOWN: dict[str, list[dict[str, Any]]] = {  # person -> what the system holds: the differences from an ordinary record
    "amara": [{"classificationAssignments": [plan(CP), over(CIN), plan(CIN), plan("CHILD.CLA.SHORT"), plan(CP, status="DELETED")]}],
    "ben": [{"__typename": "RedactedResult"}],
    "chloe": [{"nhsNumber": "9990002126", "classificationAssignments": [over(CP), over(CIN)]}],  # under the number before
    "farah": [{"lifeState": "DECEASED", "classificationAssignments": [plan(CP)]}],
    "grace": [{"classificationAssignments": [plan(CP)]}, {"duplicateStatus": "DUPLICATE", "classificationAssignments": [plan(CP)]}],
    "hugo": [{"addresses": [{"doNotDisclose": True}], "classificationAssignments": [plan(CIN)]}],
    "jonah": [{"warningAssignments": [{"type": "RISK_23"}], "classificationAssignments": [plan(CP)]}],
    "kiran": [{"__typename": "RedactedResult"}],
    "leah": [{"classificationAssignments": [plan(UNBORN)]}],
    "mia": [{"securedContext": {"subjectAccessAllowed": True, "subjectRestrictedViaLock": True}, "classificationAssignments": [plan(CP)]}],
    "noor": [{"warningAssignments": [{"type": "RISK_23", "endDate": "2026-01-31"}], "classificationAssignments": [plan(CIN), plan(CLA), plan(UNREVIEWED)]}],
    "oscar": [{"dateOfBirth": {"lower": "2023-01-01", "upper": "2023-12-31", "mask": "YEAR"}, "classificationAssignments": [plan(CP)]}],
    "petra": [{"__typename": "Removed"}],
    "eli-after": [{"classificationAssignments": [over(CLA, "ADOPTED")]}],
}  # fmt: skip


class Eclipse:
    """The simulator."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._schema = read_schema(SCHEMA)
        self.seen: list[str] = []  # the questions, without their variables
        self.given: list[dict[str, str]] = []  # of each token that was given: for how long
        self._tokens: dict[str, float] = {}  # token -> when it ends, by the monotonic clock

    def routes(self) -> list[Route]:
        return [
            Route("/eclipse/graphql", self._graphql, methods=["POST"]),
            Route("/eclipse/token", self._token, methods=["POST"]),
        ]

    async def _token(self, request: Request) -> Response:
        """The authority's own sign-in: a client by its secret -> a token for TOKEN_S. Source: RFC 6749 section 4.4."""
        fault = self._faults.of("eclipse-token", "*")
        form = parse_qs((await request.body()).decode())
        client = f"{quote_plus(CLIENT_ID)}:{quote_plus(CLIENT_SECRET)}"
        if request.headers.get("authorization") != "Basic " + b64encode(client.encode()).decode():
            good: Response = JSONResponse({"error": "invalid_client"}, 401, {"www-authenticate": "Basic"})
        elif form != {"grant_type": ["client_credentials"], "scope": [SCOPE]}:
            good = JSONResponse({"error": "invalid_scope"}, 400)
        else:
            token = secrets.token_urlsafe(24)
            self._tokens[token] = time.monotonic() + TOKEN_S
            self.given.append({"seconds": str(TOKEN_S)})
            good = JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_S})
        return Spoiled(fault, good, Response(b"", 503)) if fault else good

    async def _graphql(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._tokens.get(token, 0) <= time.monotonic():
            return Response(b"", 401)
        try:
            body = json.loads(await request.body())
        except ValueError:
            return Response(b"", 400)
        number = str((body.get("variables") or {}).get("nhsNo", "")) if isinstance(body, dict) else ""
        fault = self._faults.of("eclipse", number)
        good = JSONResponse(answer(self._schema, body, lambda name, given: results(given, fault)))
        return Spoiled(fault, good, _DOWN) if fault else good


def results(given: Mapping[str, Any], fault: str = "") -> dict[str, Any]:
    """The arguments of personByCriteria -> PersonResults. Raises `Wrong` for a search that is not by NHS number, exactly."""
    loose = given.get("useSoundalike", True) or given.get("matchBeginning") or given.get("nameOrId") or given.get("upn")
    number = given.get("nhsNo")
    if loose or not isinstance(number, str) or not number:
        raise Wrong("only an exact search by NHS number is simulated")
    found = [one for one in everybody() if one.get("nhsNumber") == number]
    if fault == "wrong-child":
        found = [one for one in everybody() if one.get("nhsNumber") == BY_KEY["grace"].nhs_number]
    if fault == "other-birth-date":
        found = [{**one, "dateOfBirth": {"lower": "2019-09-09", "upper": "2019-09-09", "mask": "DAY"}} for one in found]
    shown = [one for one in found if one["__typename"] != "Removed"]
    secured = sum(one["__typename"] == "RedactedResult" for one in shown)
    kept = {"numberOfRemovedElements": len(found) - len(shown), "numberOfSecuredElements": secured}
    cursor = {"offset": 0, "pageNumber": 1, "pageSize": 10, "returned": len(shown), "totalSize": len(shown)}
    return {"cursor": {**cursor, "securityMetaData": kept}, "results": shown}


def everybody() -> Sequence[dict[str, Any]]:
    """Every person of the system as it keeps them, with all the fields of the schema and more than we ask for."""
    return [_person(place, key, more, which) for place, key in enumerate(KNOWN) for which, more in enumerate(KNOWN[key])]


def _person(place: int, key: str, more: Mapping[str, Any], which: int) -> dict[str, Any]:
    known, born = BY_KEY[key], BY_KEY[key].birth_date.isoformat()
    own = str(70_000 + place * 10 + which)
    plain: dict[str, Any] = {
        "__typename": "Person",
        "id": own,
        "objectVersion": 3,
        "personTypes": ["CLIENT"],
        "name": f"{known.given} {known.family}",
        "forename": known.given,
        "surname": known.family,
        "nhsNumber": known.nhs_number,
        "lifeState": "ALIVE",
        "duplicateStatus": "MASTER" if len(KNOWN[key]) > 1 else None,
        "dateOfBirth": {"lower": born, "upper": born, "mask": "DAY"},
        "dateOfBirthEstimated": False,
        "securedContext": {"subjectAccessAllowed": True, "subjectLockOwner": None, "subjectRestrictedViaLock": False},
        "referenceNumbers": [{"id": f"{own}1", "type": "UPN", "referenceNumber": f"A{own}00000000"}],
        "addresses": [],
        "warningAssignments": [],
        "classificationAssignments": [],
        "keyPersonRelationships": [_worker(own, key)],
    }
    made = {**plain, **more}
    for number, one in enumerate(made["classificationAssignments"]):
        one["id"] = f"{own}-{number}"
    made["addresses"] = [{"id": f"{own}2", "type": "HOME", "location": {"postcode": "ZZ99 4EC", "nonShareable": False}} | one for one in made["addresses"] or [{"doNotDisclose": False}]]  # fmt: skip
    return made


def _worker(own: str, key: str) -> dict[str, Any]:
    return {
        "__typename": "PersonProfessionalRelationship",
        "id": f"{own}3",
        "startDate": date(2026, 2, 10).isoformat(),
        "allocatedWorker": "ROLE_B",
        "leadProfessional": "NEITHER",
        "relationshipType": {"id": "5", "name": "Social worker"},
        "roleAPerson": {"name": f"{BY_KEY[key].given} {BY_KEY[key].family}"},
        "roleBPerson": {"name": WORKER},
    }

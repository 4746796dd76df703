"""The Personal Demographics Service, FHIR R4: GET /Patient/{nhs number} and the search that traces.

Source: NHS England PDS FHIR API. Everybody here is synthetic.
"""

import json
import re
import time
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import crowd
from sandbox.families import BY_NUMBER, DECEASED, INVALIDATED, PEOPLE, RESTRICTED, SUPERSEDED, Person, address_of
from sandbox.faults import Faults, Spoiled
from sandbox.pds_search import Addresses, Index, search

BASE = "/pds/personal-demographics/FHIR/R4"
_FHIR = "application/fhir+json"
_TEN = re.compile(r"\d{10}", re.ASCII)
_SPINE = "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode"
_UK = "https://fhir.hl7.org.uk"
_WORDS = {
    "RESOURCE_NOT_FOUND": (404, "information", "not-found", "Resource not found"),
    "INVALIDATED_RESOURCE": (
        404,
        "error",
        "not-found",
        "Resource that has been marked as invalid was requested - invalid resources cannot be retrieved",
    ),
    "INVALID_RESOURCE_ID": (400, "error", "value", "Resource Id is invalid"),
    "MISSING_VALUE": (400, "error", "required", "Required value is missing"),
    "INVALID_VALUE": (400, "error", "value", "Provided value is invalid"),
    "INVALID_SEARCH_DATA": (400, "error", "value", "Search data is invalid"),
    "ADDITIONAL_PROPERTIES": (400, "error", "structure", "Invalid request with error - Additional properties are not allowed"),
    "TOO_MANY_REQUESTS": (429, "error", "throttled", "You have exceeded your application's rate limit"),
    "TOO_MANY_MATCHES": (200, "information", "multiple-matches", "Too Many Matches"),
    "SERVICE_UNAVAILABLE": (503, "error", "transient", "Service unavailable"),
}


class Pds:
    """The simulator. `seen` keeps what the last requests said of themselves, so that a test can look."""

    def __init__(self, faults: Faults, *, people: int = 0, per_second: float = 0) -> None:
        """`people`: how many of the crowd are known beside the families. `per_second`: what is answered, 0 for no limit."""
        self._faults = faults
        self._crowd = frozenset(crowd.numbers(people))
        self._index = Index(crowd.person(number) for number in self._crowd)
        self._per_second, self._free_at = per_second, 0.0
        self.seen: list[dict[str, str]] = []

    def routes(self) -> list[Route]:
        """Its two interactions."""
        return [Route(BASE + "/Patient/{number}", self._read), Route(BASE + "/Patient", self._search)]

    async def _read(self, request: Request) -> Response:
        number = request.path_params["number"]
        refusal = self._headers(request)
        if refusal is not None:
            return refusal
        fault = self._faults.of("pds", number)
        if number in self._crowd:
            return _said(request, Response(_of_crowd(number), 200, {"etag": 'W/"2"'}, _FHIR), fault)
        return _said(request, _one(number, fault), fault)

    async def _search(self, request: Request) -> Response:
        refusal = self._headers(request)
        return refusal or _said(request, self._found(request.query_params), self._faults.of("pds", "*"))

    def _found(self, asked: Mapping[str, str]) -> Response:
        """The search that traces. More than one match is TOO_MANY_MATCHES with status 200."""
        found = search(self._index, asked, Addresses())
        if isinstance(found, str):
            return _outcome(found)
        entries = [
            {
                "fullUrl": f"https://pds.invalid/Patient/{person.nhs_number}",
                "search": {"score": score},
                "resource": patient(person, restricted=person.nhs_number in RESTRICTED),
            }
            for person, score in found
            if self._faults.of("pds", person.nhs_number) != "invalidated"
        ]
        bundle = {"resourceType": "Bundle", "type": "searchset", "total": len(entries), **({"entry": entries} if entries else {})}
        return Response(json.dumps(bundle).encode(), 200, None, _FHIR)

    def _is_spent(self) -> bool:
        """The rate limit: so many answers a second, and a second's worth at once."""
        if not self._per_second:
            return False
        now = time.monotonic()
        self._free_at = max(self._free_at, now - 1)
        if self._free_at > now:
            return True
        self._free_at += 1 / self._per_second
        return False

    def _headers(self, request: Request) -> Response | None:
        if self._is_spent():
            return _outcome("TOO_MANY_REQUESTS", {"retry-after": "1"})
        said = request.headers
        self.seen.append(
            {name: said.get(name, "") for name in ("x-request-id", "x-correlation-id", "nhsd-end-user-organisation-ods")}
        )
        del self.seen[:-200]
        if "x-request-id" not in said or "nhsd-end-user-organisation-ods" not in said:
            return _outcome("MISSING_VALUE")
        if not _uuid(said["x-request-id"]) or not _uuid(said.get("x-correlation-id", said["x-request-id"])):
            return _outcome("INVALID_VALUE")
        if not re.fullmatch(r"[A-Z0-9]{3,10}", said["nhsd-end-user-organisation-ods"]):
            return _outcome("INVALID_VALUE")
        return None


def _said(request: Request, good: Response, fault: str) -> Response:
    for name in ("X-Request-ID", "X-Correlation-ID"):
        if name in request.headers:
            good.headers[name] = request.headers[name]
    return Spoiled(fault, good, _outcome("SERVICE_UNAVAILABLE")) if fault else good


def _one(number: str, fault: str) -> Response:
    if not _valid(number):
        return _outcome("INVALID_RESOURCE_ID")
    if number in INVALIDATED or fault == "invalidated":
        return _outcome("INVALIDATED_RESOURCE")
    person = BY_NUMBER.get(SUPERSEDED.get(number, number))
    if person is None or fault == "unknown":
        return _outcome("RESOURCE_NOT_FOUND")
    body = _encoded(person.nhs_number, restricted=person.nhs_number in RESTRICTED or fault == "restricted")
    if fault == "wrong-child":  # the identifier of another person under this one's id
        other = next(p for p in PEOPLE if p.key != person.key)
        body = body.replace(b'"value":"' + person.nhs_number.encode(), b'"value":"' + other.nhs_number.encode(), 1)
    return Response(body, 200, {"etag": f'W/"{_version(person)}"'}, _FHIR)


def patient(person: Person, *, restricted: bool) -> dict[str, Any]:
    """A person -> the R4 Patient that PDS holds."""
    address = crowd.address(person) if person.key.startswith("crowd-") else address_of(person)
    confidentiality = ("R", "restricted") if restricted else ("U", "unrestricted")
    body: dict[str, Any] = {
        "resourceType": "Patient",
        "id": person.nhs_number,
        "identifier": [
            {
                "extension": [
                    {
                        "url": _UK + "/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus",
                        "valueCodeableConcept": {
                            "coding": [
                                {
                                    "system": _UK
                                    + "/CodeSystem/UKCore-NHSNumberVerificationStatus",  # retired, and what PDS sends
                                    "version": "1.0.0",
                                    "code": "01",
                                    "display": "Number present and verified",
                                }
                            ]
                        },
                    }
                ],
                "system": "https://fhir.nhs.uk/Id/nhs-number",
                "value": person.nhs_number,
            }
        ],
        "meta": {
            "versionId": _version(person),
            "security": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
                    "code": confidentiality[0],
                    "display": confidentiality[1],
                }
            ],
        },
        "name": [
            {
                "id": "n1",
                "use": "usual",
                "period": {"start": person.birth_date.isoformat()},
                "given": [person.given],
                "family": person.family,
            }
        ],
        "gender": person.gender,
        "birthDate": person.birth_date.isoformat(),
        "multipleBirthInteger": 2 if person.key == "hugo" else 1,
    }
    if person.nhs_number in DECEASED:
        day = DECEASED[person.nhs_number]
        body["deceasedDateTime"] = f"{day.isoformat()}T00:00:00+00:00"
        body["extension"] = [_death(day)]
    if not restricted:
        body["address"] = [
            {
                "id": "a1",
                "use": "home",
                "period": {"start": person.birth_date.isoformat()},
                "line": [address.line, address.town],
                "postalCode": address.postcode,
            }
        ]
        body["telecom"] = [{"id": "t1", "system": "phone", "use": "mobile", "value": "07700900" + person.nhs_number[4:7]}]
        practice = {
            "system": "https://fhir.nhs.uk/Id/ods-organization-code",
            "value": person.practice,
            "period": {"start": person.birth_date.isoformat()},
        }
        body["generalPractitioner"] = [{"id": "g1", "type": "Organization", "identifier": practice}]
    return body


def _death(day: date) -> dict[str, Any]:
    status = {
        "system": _UK + "/CodeSystem/UKCore-DeathNotificationStatus",
        "version": "1.0.0",
        "code": "2",
        "display": "Formal - death notice received from Registrar of Deaths",
    }
    return {
        "url": _UK + "/StructureDefinition/Extension-UKCore-DeathNotificationStatus",
        "extension": [
            {"url": "deathNotificationStatus", "valueCodeableConcept": {"coding": [status]}},
            {"url": "systemEffectiveDate", "valueDateTime": f"{day.isoformat()}T00:00:00+00:00"},
        ],
    }


def _version(person: Person) -> str:
    return "4" if person.nhs_number in SUPERSEDED.values() else "2"


@cache
def _encoded(number: str, *, restricted: bool) -> bytes:
    return json.dumps(patient(BY_NUMBER[number], restricted=restricted), separators=(",", ":")).encode()


@cache
def _of_crowd(number: str) -> bytes:
    return json.dumps(patient(crowd.person(number), restricted=False), separators=(",", ":")).encode()


def _outcome(code: str, headers: Mapping[str, str] | None = None) -> Response:
    status, severity, issue, display = _WORDS[code]
    coding = {"system": _SPINE, "version": "1", "code": code, "display": display}
    body = {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": issue, "details": {"coding": [coding]}}]}
    return Response(json.dumps(body).encode(), status, headers, _FHIR)


def _uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _valid(number: str) -> bool:
    if not _TEN.fullmatch(number):
        return False
    remainder = sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=False)) % 11
    return (11 - remainder) % 11 == int(number[9])

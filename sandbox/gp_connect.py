"""The Spine Secure Proxy and, behind it, a practice's GP Connect Access Record: Structured provider.

Source: GP Connect Access Record Structured 1.6.2. Every header, the unsigned token and the Parameters are checked as a
provider checks them; what is wrong is said in `diagnostics`, because this is a simulator.
"""

import base64
import gzip
import json
import re
import time
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import gp_record
from sandbox.families import BY_KEY, BY_NUMBER, DECEASED, INVALIDATED, RESTRICTED, Person
from sandbox.faults import PROXY, SPINE, Faults, Spoiled
from sandbox.sds import PROVIDERS, STRUCTURED

_NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
_FHIR = "application/fhir+json;charset=utf-8"
_TYPES = frozenset({"application/fhir+json", "application/json+fhir"})
_SPINE = "https://fhir.nhs.uk/STU3/CodeSystem/Spine-ErrorOrWarningCode-1"
_PROXY = "http://fhir.nhs.net/ValueSet/gpconnect-schedule-response-code-1-0"
_TARGET = re.compile(r"(https?):/{1,2}(?P<rest>[^?]+)/Patient/\$gpc\.getstructuredrecord")
_AREAS = frozenset(
    (
        *("includeAllergies", "includeMedication", "includeProblems", "includeImmunisations", "includeConsultations"),
        *("includeUncategorisedData", "includeInvestigations", "includeReferrals", "includeDiaryEntries"),
    )
)
_SWITCHED_OFF = {"petra": frozenset({"includeReferrals"}), "hugo": frozenset({"includeReferrals"})}  # by the practice
_PLAIN = b"upstream error"
_COPIES = {"20-mb": 20_700, "512-kb": 540, "64-kb": 55}  # of one observation: a full record, a large one, and a usual one
_ISSUE = {400: "invalid", 403: "forbidden", 404: "not-found", 409: "duplicate", 415: "not-supported", 422: "invalid"}
_ISSUE |= {500: "processing", 501: "not-supported"}
_WRONG = BY_KEY["ben"]  # whose record a confused system sends


class Wrong(Exception):
    """What a provider refuses."""

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(why)
        self.status, self.code, self.why = status, code, why


class GpConnect:
    """The simulator."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.seen: list[dict[str, str]] = []

    def routes(self) -> list[Route]:
        """Whatever comes through the proxy."""
        return [Route("/ssp/{target:path}", self._proxy, methods=["GET", "POST", "PUT", "DELETE"])]

    async def _proxy(self, request: Request) -> Response:
        self.seen.append({name: request.headers.get(name, "") for name in ("ssp-traceid", "ssp-from", "ssp-to")})
        del self.seen[:-200]
        target = _TARGET.fullmatch(unquote(request.path_params["target"]))
        root = target and f"{target[1]}://{target['rest']}"
        practice = next((ods for ods, (_, address) in PROVIDERS.items() if address == root), None)
        if practice is None or root is None:
            return _proxy_error(502, "ERROR_COMMUNICATING_TO_ENDPOINT_URL_" + str(root))
        if request.method != "POST":
            return _proxy_error(405, "METHOD_NOT_ALLOWED")
        refusal = _spine_headers(request.headers, PROVIDERS[practice][0])
        if refusal:
            return _proxy_error(*refusal)
        number = ""
        try:
            number, areas = _asked(request.headers, await request.body(), root)
            fault = self._faults.of("gp", number)
            good = _record(number, practice, areas, fault, zipped="gzip" in request.headers.get("accept-encoding", ""))
        except Wrong as wrong:
            fault = self._faults.of("gp", number)
            good = _refusal(wrong)
        if fault in SPINE:
            status, code = SPINE[fault]
            return _refusal(Wrong(status, code, "ordered fault")) if code else Response(_PLAIN, status, None, "text/plain")
        if fault in PROXY:
            return _proxy_error(*PROXY[fault])
        if fault == "500":
            return _refusal(Wrong(500, "INTERNAL_SERVER_ERROR", "ordered fault"))
        down = _proxy_error(502, "ERROR_COMMUNICATING_TO_ENDPOINT_URL_" + root)
        return Spoiled(fault, good, down) if fault else good


def _spine_headers(headers: Mapping[str, str], asid: str) -> tuple[int, str] | None:
    if not _is_uuid(headers.get("ssp-traceid", "")):
        return 400, "SSP_TRACEID_MISSING_OR_INVALID"
    if not re.fullmatch(r"\d{12}", headers.get("ssp-from", "")):
        return 403, "ASID_CHECK_FAILED_MESSAGESENDER_" + headers.get("ssp-from", "")
    if headers.get("ssp-to") != asid:
        return 403, "ASID_CHECK_FAILED_MESSAGERECEIVER_" + headers.get("ssp-to", "")
    if headers.get("ssp-interactionid") != STRUCTURED:
        return 403, "PARTYKEY_INTERACTION_CHECK_FAILED_MESSAGERECEIVER_" + asid
    return None


def _asked(headers: Mapping[str, str], body: bytes, root: str) -> tuple[str, dict[str, dict[str, Any]]]:
    for name in ("content-type", "accept"):
        if headers.get(name, "").split(";")[0].strip() not in _TYPES:
            raise Wrong(415, "BAD_REQUEST", name + " is not FHIR JSON")
    _token(headers.get("authorization", ""), root)
    try:
        parameters = json.loads(body)
    except ValueError:
        raise Wrong(400, "BAD_REQUEST", "the body is not JSON") from None
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise Wrong(422, "INVALID_RESOURCE", "the body is not Parameters")
    return _parameters(parameters)


def _token(header: str, root: str) -> None:
    def must(holds: object, why: str) -> None:
        if not holds:
            raise Wrong(400, "BAD_REQUEST", "JWT: " + why)

    kind, _, token = header.partition(" ")
    parts = token.split(".")
    must(kind == "Bearer" and len(parts) == 3 and parts[2] == "", "Bearer, three parts, no signature")
    try:
        head, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
    except ValueError:
        raise Wrong(400, "BAD_REQUEST", "JWT: not base64url JSON") from None
    must(head == {"alg": "none", "typ": "JWT"}, "header is alg none, typ JWT")
    now = time.time()
    must(isinstance(claims.get("iat"), int) and claims.get("exp") == claims["iat"] + 300, "exp is iat + 300")
    must(claims["iat"] <= now + 60 and claims["exp"] > now, "not in its life")
    must(claims.get("aud") == root, "aud is the provider's service root")
    must(str(claims.get("iss", "")).startswith("http"), "iss is the consumer's URL")
    must(claims.get("reason_for_request") == "directcare", "reason_for_request is directcare")
    must(claims.get("requested_scope") == "patient/*.read", "requested_scope is patient/*.read")
    device, organisation, practitioner = (
        claims.get("requesting_" + who, {}) for who in ("device", "organization", "practitioner")
    )
    must(
        device.get("resourceType") == "Device" and device.get("identifier") and device.get("model") and device.get("version"),
        "requesting_device",
    )
    codes = [
        i.get("value")
        for i in organisation.get("identifier", [])
        if i.get("system") == "https://fhir.nhs.uk/Id/ods-organization-code"
    ]
    must(
        organisation.get("resourceType") == "Organization" and organisation.get("name") and codes and codes[0],
        "requesting_organization",
    )
    must(
        practitioner.get("resourceType") == "Practitioner" and practitioner.get("id") == claims.get("sub") and claims.get("sub"),
        "sub is the practitioner's id",
    )
    must(practitioner.get("name") and practitioner["name"][0].get("family"), "requesting_practitioner has a name")
    systems = {identifier.get("system") for identifier in practitioner.get("identifier", [])}
    must(
        {"https://fhir.nhs.uk/Id/sds-user-id", "https://fhir.nhs.uk/Id/sds-role-profile-id"} < systems,
        "requesting_practitioner has three identifiers",
    )


def _parameters(parameters: Mapping[str, Any]) -> tuple[str, dict[str, dict[str, Any]]]:
    number, areas = "", {}
    for parameter in parameters.get("parameter", []):
        name = parameter.get("name")
        if name == "patientNHSNumber":
            identifier = parameter.get("valueIdentifier", {})
            if identifier.get("system") != _NHS_NUMBER:
                raise Wrong(400, "INVALID_IDENTIFIER_SYSTEM", "patientNHSNumber")
            number = str(identifier.get("value", ""))
        elif isinstance(name, str):
            if name in areas:
                raise Wrong(422, "INVALID_PARAMETER", name + " twice")
            areas[name] = {
                part.get("name"): part.get("valueBoolean", part.get("valueDate", part.get("valueCode")))
                for part in parameter.get("part", [])
            }
    if not number:
        raise Wrong(400, "BAD_REQUEST", "patientNHSNumber is missing")
    if not re.fullmatch(r"\d{10}", number):
        raise Wrong(400, "INVALID_NHS_NUMBER", "patientNHSNumber")
    if "includeAllergies" in areas and not isinstance(areas["includeAllergies"].get("includeResolvedAllergies"), bool):
        raise Wrong(422, "INVALID_PARAMETER", "includeResolvedAllergies is mandatory")
    since = areas.get("includeMedication", {}).get("medicationSearchFromDate")
    if since is not None and str(since) > date.today().isoformat():  # noqa: DTZ011 - the provider's own wall clock
        raise Wrong(422, "INVALID_PARAMETER", "medicationSearchFromDate is in the future")
    return number, areas


def _record(number: str, practice: str, areas: Mapping[str, dict[str, Any]], fault: str, *, zipped: bool) -> Response:
    person = BY_NUMBER.get(number)
    if person is None or not _shareable(person, practice):
        raise Wrong(404, "PATIENT_NOT_FOUND", "patient record not found")
    shown = _WRONG if fault == "wrong-child" else person
    ours = (frozenset(areas) & _AREAS) - _SWITCHED_OFF.get(shown.key, frozenset())
    odd = tuple(sorted((name, name in _AREAS) for name in areas if name not in ours))
    resolved = bool(areas.get("includeAllergies", {}).get("includeResolvedAllergies"))
    not_given = bool(areas.get("includeImmunisations", {}).get("includeNotGiven"))
    issues = areas.get("includeMedication", {}).get("includePrescriptionIssues") is not False
    body = gp_record.encoded(
        shown.key, ours, odd, resolved=resolved, not_given=not_given, issues=issues, twice=fault == "duplicates"
    )
    body = _changed(body, fault, practice)
    if zipped:
        return Response(_zip(body), 200, {"cache-control": "no-store", "content-encoding": "gzip"}, _FHIR)
    return Response(body, 200, {"cache-control": "no-store"}, _FHIR)


@lru_cache(maxsize=16)
def _changed(body: bytes, fault: str, practice: str) -> bytes:
    """The same record as a confused or very full system has it."""
    if fault not in ("other-birth-date", "one-bad", *_COPIES):
        return body
    bundle = json.loads(body)
    if fault == "other-birth-date":
        for entry in bundle["entry"]:
            if entry["resource"]["resourceType"] == "Patient":
                entry["resource"]["birthDate"] = "1999-12-31"
    if fault == "one-bad":
        bundle["entry"] += [{"fullUrl": "urn:x"}, {"resource": {"resourceType": "Observation", "id": "bad", "status": "final"}}]
    bundle["entry"] += [{"resource": _copy(number, practice)} for number in range(_COPIES.get(fault, 0))]
    return json.dumps(bundle, separators=(",", ":")).encode()


def _copy(number: int, practice: str) -> dict[str, Any]:
    system = "https://gpconnect.sandbox.invalid/" + practice
    return {
        "resourceType": "Observation",
        "id": f"copy-{number}",
        "meta": {"profile": ["https://fhir.nhs.uk/STU3/StructureDefinition/CareConnect-GPC-Observation-1"]},
        "identifier": [{"system": system, "value": f"copy-{number}"}],
        "status": "final",
        "code": {
            "coding": [
                {"system": "http://read.info/readv2", "code": "22A..00", "display": "O/E - weight", "userSelected": True},
                {"system": "http://snomed.info/sct", "code": "27113001", "display": "Body weight"},
            ]
        },
        "effectiveDateTime": "2026-01-14T09:45:00+00:00",
        "issued": "2026-01-14T09:50:00.123+00:00",
        "valueQuantity": {"value": 11.2, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        "comment": "Weighed without shoes in the clinic room, and again after the appointment; " * 3,
    }


@lru_cache(maxsize=64)
def _zip(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _shareable(person: Person, practice: str) -> bool:
    """Not found, sensitive, deceased, invalid and not registered here look alike on purpose."""
    number = person.nhs_number
    return (
        person.practice == practice
        and "gp" in person.known_to
        and number not in RESTRICTED
        and number not in DECEASED
        and number not in INVALIDATED
    )


def _refusal(wrong: Wrong) -> Response:
    coding = {"system": _SPINE, "code": wrong.code, "display": wrong.code.replace("_", " ").capitalize()}
    issue = {
        "severity": "error",
        "code": _ISSUE.get(wrong.status, "invalid"),
        "details": {"coding": [coding]},
        "diagnostics": wrong.why,
    }
    body = {
        "resourceType": "OperationOutcome",
        "meta": {"profile": ["https://fhir.nhs.uk/STU3/StructureDefinition/GPConnect-OperationOutcome-1"]},
        "issue": [issue],
    }
    return Response(json.dumps(body).encode(), wrong.status, {"cache-control": "no-store"}, _FHIR)


def _proxy_error(status: int, display: str) -> Response:
    coding = {"system": _PROXY, "code": str(status), "display": display}
    body = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "processing", "details": {"coding": [coding]}}],
    }
    return Response(json.dumps(body).encode(), status, None, _FHIR)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False

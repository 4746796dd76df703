"""The tracer: PDS FHIR R4, GET /Patient/{NHS number} -> `Traced`. Source: NHS England PDS FHIR API, application-restricted.

The path holds the NHS number because the API requires it: nothing here logs, and no exception carries the address.
"""

import asyncio
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from gateway import settings, systems
from gateway.adapter import HttpAnswer, SourceContractBroken, SourceTimedOut, SourceUnavailable
from gateway.errors import TracerDown
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.nhs_number import NhsNumber, NotAnNhsNumber
from gateway.outside.http import OwnHttp
from gateway.ports import Traced, TraceFailure

CAP_BYTES: Final = 1_000_000
_AGAIN: Final = frozenset({408, 500, 502, 503, 504})  # once more with the same X-Request-ID, which PDS de-duplicates by
_VERIFICATION_EXTENSION: Final = systems.UK_CORE + "Extension-UKCore-NHSNumberVerificationStatus"
_VERIFICATION: Final = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland"
_DEATH: Final = systems.UK_CORE + "Extension-UKCore-DeathNotificationStatus"
_ODS: Final = re.compile(r"[A-Z0-9]{3,10}", re.ASCII)
_NHS_NUMBER_STATUS: Final = {
    "01": "Number present and verified",
    "02": "Number present but not traced",
    "03": "Trace required",
    "04": "Trace attempted - No match or multiple match found",
    "05": "Trace needs to be resolved - (NHS Number or patient detail conflict)",
    "06": "Trace in progress",
    "07": "Number not present and trace not required",
    "08": "Trace postponed (baby under six weeks old)",
}
_PERIOD: Final = {"start": str, "end": str}
_SHOWN: Final[Mapping[str, Any]] = {
    "name": [{"use": str, "text": str, "family": str, "given": [str], "prefix": [str], "suffix": [str], "period": _PERIOD}],
    "telecom": [{"system": str, "value": str, "use": str, "period": _PERIOD}],
    "gender": str,
    "birthDate": str,
    "deceasedBoolean": bool,
    "deceasedDateTime": str,
    "address": [
        {
            "use": str,
            "text": str,
            "line": [str],
            "city": str,
            "district": str,
            "postalCode": str,
            "country": str,
            "period": _PERIOD,
        }
    ],
    "generalPractitioner": [{"type": str, "identifier": {"system": str, "value": str, "period": _PERIOD}}],
}
_LOCATING: Final = ("telecom", "address", "generalPractitioner")


class Pds:
    """`ports.Demographics` over the national service."""

    def __init__(self, settings: settings.Pds, http: OwnHttp) -> None:
        """`http` becomes ours to close."""
        self._base = settings.base_url.rstrip("/")
        self._budget_s = settings.budget_s
        self._http = http
        self._headers = {"Accept": "application/fhir+json", "NHSD-End-User-Organisation-ODS": settings.ods}
        if settings.api_key is not None:
            self._headers["Authorization"] = "Bearer " + settings.api_key.get_secret_value()

    async def trace(self, number: NhsNumber, correlation_id: str) -> Traced | TraceFailure:
        """One PDS read, at most one retry inside the same budget. Raises `TracerDown` when there is no answer to trust."""
        headers = {**self._headers, "X-Request-ID": str(uuid4())}
        if _is_uuid(correlation_id):  # anything else is a caller's own text, which may hold anything
            headers["X-Correlation-ID"] = correlation_id
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._budget_s
        answer = await self._ask(number, headers, self._budget_s)
        if answer is None or answer.status in _AGAIN:
            answer = await self._ask(number, headers, max(ends - loop.time(), 0.0))
        if answer is None:
            raise TracerDown(reason="tracer not reached")
        return _read(number, answer)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._http.close()

    async def _ask(self, number: NhsNumber, headers: Mapping[str, str], deadline_s: float) -> HttpAnswer | None:
        """None: no connection, or it broke."""
        try:
            return await self._http.request(
                "GET", f"{self._base}/Patient/{number.value}", headers=headers, deadline_s=deadline_s, cap_bytes=CAP_BYTES
            )
        except SourceUnavailable:
            return None
        except SourceTimedOut:
            fault = TracerDown(reason="tracer timed out")
        except SourceContractBroken:
            fault = TracerDown(reason="tracer answered nonsense")
        raise fault


def _read(asked: NhsNumber, answer: HttpAnswer) -> Traced | TraceFailure:
    if answer.status == 429:
        raise TracerDown(reason="tracer says too many requests", retry_after_s=_seconds(answer.headers.get("retry-after", "")))
    if answer.status not in (200, 400, 404):
        raise TracerDown(reason="tracer does not answer")
    body = _decoded(answer.body)
    if answer.status == 200:
        return _traced(body)
    match (answer.status, _spine_code(body)):
        case (404, "INVALIDATED_RESOURCE"):
            return "invalidated"
        case (404, "RESOURCE_NOT_FOUND"):
            return "unknown"
        case (400, "INVALID_RESOURCE_ID"):
            return "bad-number"
    raise TracerDown(reason="tracer answered nonsense")


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise TracerDown(reason="tracer answered nonsense")
    return decoded


def _traced(body: Mapping[str, Any]) -> Traced:
    """A PDS Patient -> what we keep of it. Its id and its NHS number identifier must agree, else it is nobody's."""
    number = _number(body.get("id"))
    identifiers = [entry for entry in _each(body.get("identifier")) if entry.get("system") == NHS_NUMBER]
    if (
        body.get("resourceType") != "Patient"
        or number is None
        or [_number(entry.get("value")) for entry in identifiers] != [number]
    ):
        raise TracerDown(reason="tracer answered nonsense")
    meta = body.get("meta") if isinstance(body.get("meta"), dict) else {}
    assert isinstance(meta, dict)
    restricted = [entry.get("code") for entry in _each(meta.get("security"))] != ["U"]  # missing or not known: restricted
    version = meta.get("versionId") if isinstance(meta.get("versionId"), str) else ""
    assert isinstance(version, str)
    shown = {name: kept for name, shape in _SHOWN.items() if (kept := _kept(body.get(name), shape)) is not None}
    if restricted:
        shown = {name: kept for name, kept in shown.items() if name not in _LOCATING}
    patient = {
        "resourceType": "Patient",
        "meta": {"versionId": version, "profile": [systems.UK_CORE + "UKCore-Patient"]},
        "identifier": [_identifier(identifiers[0], number)],
        **shown,
    }
    return Traced(
        number=number,
        birth_date=_whole_date(body.get("birthDate")),
        deceased=_deceased(body),
        restricted=restricted,
        practice=None if restricted else _practice(shown.get("generalPractitioner", [])),
        patient=patient,
        version=version,
    )


def _identifier(given: Mapping[str, Any], number: NhsNumber) -> dict[str, Any]:
    identifier: dict[str, Any] = {"system": NHS_NUMBER, "value": number.value}
    for extension in _each(given.get("extension")):
        concept = extension.get("valueCodeableConcept")
        if extension.get("url") != _VERIFICATION_EXTENSION or not isinstance(concept, dict):
            continue
        for coding in _each(concept.get("coding")):
            status = coding.get("code")
            if isinstance(status, str) and status in _NHS_NUMBER_STATUS:  # PDS names the retired system: normalised
                told = {"system": _VERIFICATION, "code": status, "display": _NHS_NUMBER_STATUS[status]}
                identifier["extension"] = [{"url": _VERIFICATION_EXTENSION, "valueCodeableConcept": {"coding": [told]}}]
    return identifier


def _deceased(body: Mapping[str, Any]) -> bool:
    if "deceasedDateTime" in body or body.get("deceasedBoolean") is True:
        return True
    notices = [
        inner for outer in _each(body.get("extension")) if outer.get("url") == _DEATH for inner in _each(outer.get("extension"))
    ]
    codings = [
        c
        for n in notices
        if isinstance(n.get("valueCodeableConcept"), dict)
        for c in _each(n["valueCodeableConcept"].get("coding"))
    ]
    return any(coding.get("code") in ("1", "2") for coding in codings)  # informal counts: letters must stop early


def _practice(practitioners: list[dict[str, Any]]) -> str | None:
    for practitioner in practitioners:
        identifier = practitioner.get("identifier", {})
        ended = "end" in identifier.get("period", {})
        if identifier.get("system") == systems.ODS_CODE and not ended and _ODS.fullmatch(identifier.get("value", "")):
            return "ods:" + str(identifier["value"])
    return None


def _kept(value: Any, shape: Any) -> Any:
    """The parts of `value` that have the shape; None when nothing has. A wrong type drops that part, never the person."""
    if isinstance(shape, type):
        return value if type(value) is shape else None
    if isinstance(shape, list):
        items = [kept for item in value if (kept := _kept(item, shape[0])) is not None] if isinstance(value, list) else []
        return items or None
    if not isinstance(value, dict):
        return None
    return {name: kept for name, inner in shape.items() if (kept := _kept(value.get(name), inner)) is not None} or None


def _each(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _number(value: Any) -> NhsNumber | None:
    try:
        return NhsNumber(value) if isinstance(value, str) else None
    except NotAnNhsNumber:
        return None


def _whole_date(value: Any) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
    except ValueError:
        return None


def _spine_code(body: Mapping[str, Any]) -> str:
    for issue in _each(body.get("issue")):
        details = issue.get("details")
        for coding in _each(details.get("coding")) if isinstance(details, dict) else []:
            if coding.get("system") == systems.SPINE_ERROR:
                return str(coding.get("code"))
    return ""


def _seconds(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,4}", text) else None


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False

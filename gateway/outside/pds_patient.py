"""What PDS says of a person, read: body -> `Traced`. Nothing that is not understood is kept. Source: PDS FHIR R4, Patient."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import msgspec

from gateway import systems
from gateway.errors import TracerDown
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.nhs_number import NhsNumber, NotAnNhsNumber
from gateway.ports import Traced

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


def decoded(body: bytes) -> Mapping[str, Any]:
    """JSON bytes -> the object. Raises `TracerDown` for anything else."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise TracerDown(reason="tracer answered nonsense")
    return decoded


def traced(body: Mapping[str, Any]) -> Traced:
    """A PDS Patient -> what we keep of it. Its id and its NHS number identifier must agree, else it is nobody's."""
    number = _number(body.get("id"))
    identifiers = [entry for entry in each(body.get("identifier")) if entry.get("system") == NHS_NUMBER]
    if (
        body.get("resourceType") != "Patient"
        or number is None
        or [_number(entry.get("value")) for entry in identifiers] != [number]
    ):
        raise TracerDown(reason="tracer answered nonsense")
    meta = body.get("meta") if isinstance(body.get("meta"), dict) else {}
    assert isinstance(meta, dict)
    restricted = [entry.get("code") for entry in each(meta.get("security"))] != ["U"]  # missing or not known: restricted
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
    for extension in each(given.get("extension")):
        concept = extension.get("valueCodeableConcept")
        if extension.get("url") != _VERIFICATION_EXTENSION or not isinstance(concept, dict):
            continue
        for coding in each(concept.get("coding")):
            status = coding.get("code")
            if isinstance(status, str) and status in _NHS_NUMBER_STATUS:  # PDS names the retired system: normalised
                told = {"system": _VERIFICATION, "code": status, "display": _NHS_NUMBER_STATUS[status]}
                identifier["extension"] = [{"url": _VERIFICATION_EXTENSION, "valueCodeableConcept": {"coding": [told]}}]
    return identifier


def _deceased(body: Mapping[str, Any]) -> bool:
    if "deceasedDateTime" in body or body.get("deceasedBoolean") is True:
        return True
    notices = [
        inner for outer in each(body.get("extension")) if outer.get("url") == _DEATH for inner in each(outer.get("extension"))
    ]
    codings = [
        c
        for n in notices
        if isinstance(n.get("valueCodeableConcept"), dict)
        for c in each(n["valueCodeableConcept"].get("coding"))
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


def each(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing where it is none."""
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


def spine_code(body: Mapping[str, Any]) -> str:
    """The Spine's own code of an OperationOutcome; "" without one."""
    for issue in each(body.get("issue")):
        details = issue.get("details")
        for coding in each(details.get("coding")) if isinstance(details, dict) else []:
            if coding.get("system") == systems.SPINE_ERROR:
                return str(coding.get("code"))
    return ""

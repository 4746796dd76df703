"""What goes out to GP Connect: the address, the headers, the token and the `Parameters` body.

Source: GP Connect Access Record Structured 1.6.2, "Retrieve a patient's structured record" and "Cross-organisation audit and
provenance". The NHS number is in the body and nowhere else.
"""

import base64
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from gateway.adapter import NhsNumber, Provider, SourceContractBroken, SourceRefused

INTERACTION = "urn:nhs:names:services:gpconnect:fhir:operation:gpc.getstructuredrecord-1"
FHIR_JSON = "application/fhir+json;charset=utf-8"
TOKEN_S = 300  # the specification allows no other life

ODS_PREFIX = "ods:"
_NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
_ODS_CODE = "https://fhir.nhs.uk/Id/ods-organization-code"
_SDS_USER = "https://fhir.nhs.uk/Id/sds-user-id"
_SDS_ROLE_PROFILE = "https://fhir.nhs.uk/Id/sds-role-profile-id"
_DEVICE = "urn:shared-care-gateway:device"
_LOCAL_USER = "urn:shared-care-gateway:user"

# The only operation there is. The sibling that migrates records may include what a practice withholds from direct care.
_OPERATION = "/Patient/$gpc.getstructuredrecord"
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~-]+)*/?", re.ASCII)

_AREAS: Mapping[str, tuple[frozenset[str], Mapping[str, bool]]] = {  # area -> R4 types that come in it, and its switches
    "includeAllergies": (frozenset({"AllergyIntolerance", "List"}), {"includeResolvedAllergies": True}),
    "includeMedication": (
        frozenset({"MedicationRequest", "MedicationStatement", "Medication", "List"}),
        {"includePrescriptionIssues": True},
    ),
    "includeProblems": (frozenset({"Condition", "List"}), {}),
    "includeImmunisations": (  # that somebody consented to a vaccine, or did not, comes as an Observation
        frozenset({"Immunization", "Observation", "List"}),
        {"includeNotGiven": True, "includeStatus": True},
    ),
    "includeConsultations": (frozenset({"Encounter", "List", "DocumentReference", "QuestionnaireResponse"}), {}),
    "includeUncategorisedData": (frozenset({"Observation", "List", "QuestionnaireResponse"}), {}),
    "includeInvestigations": (
        frozenset({"DiagnosticReport", "Specimen", "Observation", "ServiceRequest", "DocumentReference", "List"}),
        {},
    ),
    "includeReferrals": (frozenset({"ServiceRequest", "DocumentReference", "List"}), {}),
    "includeDiaryEntries": (frozenset({"ServiceRequest", "List"}), {}),
}


@dataclass(frozen=True, slots=True)
class Consumer:
    """This gateway as the Spine knows it."""

    asid: str
    issuer: str
    device: str


def url(ssp: str, provider: Provider) -> str:
    """The proxy's base and the provider's service root -> where to post.

    Raises `SourceContractBroken` for a service root that is no plain http address: an operation hidden in it is never called.
    """
    if not _ADDRESS.fullmatch(provider.address):
        raise SourceContractBroken("the directory gave a service root that is not a plain address")
    root = provider.address.rstrip("/")
    return f"{ssp.rstrip('/')}/{root}{_OPERATION}" if ssp else root + _OPERATION


def headers(consumer: Consumer, provider: Provider, requester: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Fresh headers, with a trace id and a token that no other request had."""
    return {
        "Ssp-TraceID": str(uuid4()),
        "Ssp-From": consumer.asid,
        "Ssp-To": provider.asid,
        "Ssp-InteractionID": INTERACTION,
        "Authorization": "Bearer " + _token(consumer, provider, requester, now),
        "Accept": FHIR_JSON,
        "Content-Type": FHIR_JSON,
    }


def areas(types: Collection[str]) -> tuple[str, ...]:
    """The wanted R4 types -> the parameters of the areas that they come in."""
    wanted = frozenset(types)
    return tuple(name for name, (gives, _) in _AREAS.items() if not gives.isdisjoint(wanted))


def body(number: NhsNumber, types: Collection[str]) -> bytes | None:
    """The wanted R4 types -> the smallest `Parameters` that covers them; None when GP Connect gives none of them."""
    asked = areas(types)
    if not asked:
        return None
    patient = {"name": "patientNHSNumber", "valueIdentifier": {"system": _NHS_NUMBER, "value": number.value}}
    return json.dumps(
        {"resourceType": "Parameters", "parameter": [patient, *(_area(name, _AREAS[name][1]) for name in asked)]}
    ).encode()


def check_requester(requester: Mapping[str, str]) -> None:
    """Raises `SourceRefused` when the request names no person and no NHS organisation: the terms want both."""
    if not requester.get("organisation", "").startswith(ODS_PREFIX):
        raise SourceRefused("GP Connect answers organisations with an ODS code only")
    if not requester.get("person") or not requester.get("person_name"):
        raise SourceRefused("GP Connect answers a named practitioner only")


def _area(name: str, switches: Mapping[str, bool]) -> dict[str, Any]:
    if not switches:
        return {"name": name}
    return {"name": name, "part": [{"name": part, "valueBoolean": value} for part, value in switches.items()]}


def _token(consumer: Consumer, provider: Provider, requester: Mapping[str, str], now: datetime) -> str:
    issued = int(now.timestamp())
    given, _, family = requester["person_name"].strip().rpartition(" ")
    is_sds = requester.get("person_system") == _SDS_USER
    claims = {
        "iss": consumer.issuer,
        "sub": requester["person"],
        "aud": provider.address.rstrip("/"),
        "iat": issued,
        "exp": issued + TOKEN_S,
        "reason_for_request": "directcare",
        "requested_scope": "patient/*.read",
        "requesting_device": {
            "resourceType": "Device",
            "identifier": [{"system": _DEVICE, "value": consumer.device}],
            "model": "shared-care-gateway",
            "version": "1",
        },
        "requesting_organization": {
            "resourceType": "Organization",
            "identifier": [{"system": _ODS_CODE, "value": requester["organisation"].removeprefix(ODS_PREFIX)}],
            "name": requester.get("organisation_name", ""),
        },
        "requesting_practitioner": {
            "resourceType": "Practitioner",
            "id": requester["person"],
            "identifier": [
                {"system": _SDS_USER, "value": requester["person"] if is_sds else "UNK"},
                {"system": _SDS_ROLE_PROFILE, "value": requester.get("role_profile", "UNK")},
                {"system": _LOCAL_USER, "value": requester["person"]},
            ],
            "name": [{"family": family, **({"given": given.split()} if given else {})}],
        },
    }
    return f"{_segment({'alg': 'none', 'typ': 'JWT'})}.{_segment(claims)}."  # unsigned by specification: the dot stays


def _segment(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()

"""What works here, and nothing else: the CapabilityStatement. Source: FHIR R4 capabilitystatement.html; SMART App Launch 2.2."""

from collections.abc import Container, Iterable
from typing import Any

from gateway import systems

VERSION = "0.1.0"
DELIVERY = "Taken for delivery to the organisation it names, decided for both, and not kept: 202 with the Task of its parcel."
_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_PROFILED = "UKCore-"


def capability(base_url: str, types: Iterable[str], takes: Iterable[str] = ()) -> dict[str, Any]:
    """The R4 types of the active sources and of the active deliveries -> a CapabilityStatement of kind `instance`."""
    offered = {*types, "AuditEvent"}
    takes = frozenset(takes)
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-22",
        "kind": "instance",
        "software": {"name": "Shared care gateway", "version": VERSION},
        "implementation": {
            "description": "One child's record from several custodians, decided on each request",
            "url": f"{base_url}/fhir",
        },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/json"],
        "rest": [
            {
                "mode": "server",
                "security": _security(base_url),
                "resource": [_resource(name, offered, takes) for name in sorted({*offered, *takes})],
            }
        ],
    }


def _resource(name: str, offered: Container[str], takes: Container[str]) -> dict[str, Any]:
    base = _record(name) if name in offered else {"type": name, "versioning": "no-version"}
    return _delivery(base, name) if name in takes else base


def _security(base_url: str) -> dict[str, Any]:
    return {
        "cors": False,
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                        "display": "SMART-on-FHIR",
                    }
                ],
                "text": "SMART Backend Services: client credentials with private_key_jwt",
            }
        ],
        "extension": [{"url": _OAUTH_URIS, "extension": [{"url": "token", "valueUri": f"{base_url}/oauth/token"}]}],
    }


def _delivery(base: dict[str, Any], name: str) -> dict[str, Any]:
    """What may be submitted for delivery; of a Task also what became of it."""
    base["interaction"] = [*base.get("interaction", ()), {"code": "create", "documentation": DELIVERY}]
    if name == "Task" and {"code": "read"} not in base["interaction"]:
        base["interaction"].insert(0, {"code": "read", "documentation": "Of a parcel, by the system that sent it."})
    return base


def _record(name: str) -> dict[str, Any]:
    base: dict[str, Any] = {"type": name, "interaction": [{"code": "read"}, {"code": "search-type"}], "versioning": "no-version"}
    if name == "AuditEvent":
        base["interaction"] = [{"code": "search-type"}]
        base["searchParam"] = [
            {"name": "patient", "type": "reference"},
            {"name": "agent", "type": "reference"},
            {"name": "date", "type": "date"},
            {"name": "outcome", "type": "token"},
            {"name": "organisation", "type": "token", "documentation": "Our own: canonical code of the caller's organisation."},
            {"name": "purpose", "type": "token", "documentation": "Our own: purpose of use of the access."},
        ]
        return base
    if name == "Provenance":
        base["documentation"] = (
            "Comes with what it is about; never asked for by itself. "
            f"Tells what was sent of values given in another unit: target.extension {systems.AS_SENT}."
        )
        del base["interaction"]
        return base
    base["supportedProfile"] = [systems.UK_CORE + _PROFILED + name]
    if name == "Patient":
        base["searchParam"] = [
            {"name": "_id", "type": "token"},
            {"name": "identifier", "type": "token", "documentation": "NHS number."},
        ]
        base["operation"] = [
            {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"},
            {"name": "healthy-child-programme", "definition": f"{systems.OURS}OperationDefinition:healthy-child-programme"},
            {"name": "cp-is-access-history", "definition": f"{systems.OURS}OperationDefinition:cp-is-access-history"},
        ]
        return base
    base["searchParam"] = [
        {
            "name": "patient",
            "type": "reference",
            "documentation": "Also patient:identifier and patient.identifier, by NHS number.",
        },
        {"name": "subject", "type": "reference", "documentation": "The same as patient."},
    ]
    return base

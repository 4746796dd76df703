"""The Spine Directory Service, FHIR R4: Device (the ASID) and Endpoint (the address) of a practice's service.

Source: NHS England Spine Directory Service FHIR API.
"""

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.families import RIVERSIDE
from sandbox.faults import Faults, Spoiled

BASE = "/sds/FHIR/R4"
STRUCTURED = "urn:nhs:names:services:gpconnect:fhir:operation:gpc.getstructuredrecord-1"
ORGANISATION = "https://fhir.nhs.uk/Id/ods-organization-code"
INTERACTION = "https://fhir.nhs.uk/Id/nhsServiceInteractionId"
ASID = "https://fhir.nhs.uk/Id/nhsSpineASID"

# practice -> (ASID, service root). A practice that is not here has not activated the service.
PROVIDERS = {RIVERSIDE: ("200000099901", f"https://gpconnect.sandbox.invalid/{RIVERSIDE}/STU3/1/gpconnect/structured/fhir")}


class Sds:
    """The simulator."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def routes(self) -> list[Route]:
        """Its two look-ups."""
        return [Route(BASE + "/Device", self._look_up), Route(BASE + "/Endpoint", self._look_up)]

    async def _look_up(self, request: Request) -> Response:
        kind = request.url.path.rsplit("/", 1)[1]
        asked = dict(value.split("|", 1) for value in request.query_params.getlist("identifier") if "|" in value)
        organisation = request.query_params.get("organization", "").removeprefix(ORGANISATION + "|")
        if not organisation or INTERACTION not in asked:
            return _answer({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "required"}]}, 400)
        found = PROVIDERS.get(organisation) if asked[INTERACTION] == STRUCTURED else None
        fault = self._faults.of("sds", "*")
        resource = (
            None if found is None else _device(organisation, found[0]) if kind == "Device" else _endpoint(organisation, found[1])
        )
        good = _answer(_bundle(resource))
        return Spoiled(fault, good, Response(b"", 503)) if fault else good


def _device(organisation: str, asid: str) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "id": f"device-{asid}",
        "identifier": [
            {"system": ASID, "value": asid},
            {"system": "https://fhir.nhs.uk/Id/nhsMhsPartyKey", "value": f"{organisation}-900001"},
        ],
        "owner": {"identifier": {"system": ORGANISATION, "value": organisation}},
    }


def _endpoint(organisation: str, address: str) -> dict[str, Any]:
    return {
        "resourceType": "Endpoint",
        "id": f"endpoint-{organisation.lower()}",
        "identifier": [{"system": INTERACTION, "value": STRUCTURED}],
        "status": "active",
        "connectionType": {"system": "https://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "hl7-fhir-rest"},
        "managingOrganization": {"identifier": {"system": ORGANISATION, "value": organisation}},
        "payloadType": [{"coding": [{"system": "https://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "any"}]}],
        "address": address,
    }


def _bundle(resource: dict[str, Any] | None) -> dict[str, Any]:
    entries = (
        []
        if resource is None
        else [{"fullUrl": f"https://sds.invalid/{resource['id']}", "resource": resource, "search": {"mode": "match"}}]
    )
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def _answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body).encode(), status, None, "application/fhir+json")

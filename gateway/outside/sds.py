"""The Spine Directory Service, FHIR R4: ODS code and interaction -> ASID and address, remembered for five minutes.

Source: NHS England SDS FHIR API, Device and Endpoint.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from gateway import settings, systems
from gateway.adapter import Clock, SourceContractBroken, SourceError, SourceRefused, SourceUnavailable
from gateway.outside.http import OwnHttp
from gateway.ports import Provider

CAP_BYTES: Final = 1_000_000
REMEMBERED: Final = timedelta(minutes=5)
_MOST: Final = 10_000  # practices remembered; England has fewer
_INTERACTION: Final = "https://fhir.nhs.uk/Id/nhsServiceInteractionId"
_ASID: Final = "https://fhir.nhs.uk/Id/nhsSpineASID"


class Sds:
    """`gateway.adapter.Directory` over the national service."""

    def __init__(self, settings: settings.Sds, http: OwnHttp, now: Clock) -> None:
        """`http` becomes ours to close."""
        self._base = settings.base_url.rstrip("/")
        self._budget_s = settings.budget_s
        self._http, self._now = http, now
        self._headers = {"Accept": "application/fhir+json"}
        if settings.api_key is not None:
            self._headers["apikey"] = settings.api_key.get_secret_value()
        self._known: dict[tuple[str, str], tuple[datetime, Provider | None]] = {}

    async def find(self, ods: str, interaction: str) -> Provider | None:
        """The provider, or None when the practice has not activated the interaction. Failures are never remembered."""
        key, now = (ods, interaction), self._now()
        held = self._known.get(key)
        if held is not None and timedelta() <= now - held[0] < REMEMBERED:
            return held[1]
        found = await self._look_up(ods, interaction)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (now, found)
        return found

    async def close(self) -> None:
        """Let go of every connection."""
        await self._http.close()

    async def _look_up(self, ods: str, interaction: str) -> Provider | None:
        asked = urlencode({"organization": f"{systems.ODS_CODE}|{ods}", "identifier": f"{_INTERACTION}|{interaction}"})
        devices = await self._entries("Device", asked)
        endpoints = await self._entries("Endpoint", asked)
        if not devices and not endpoints:
            return None
        asids = {value for device in devices for value in _values(device, _ASID)}
        addresses = {str(e.get("address") or "").strip() for e in endpoints if e.get("status", "active") == "active"} - {""}
        if len(asids) != 1:
            raise SourceContractBroken("directory gave no single ASID")
        if len(addresses) != 1:
            raise SourceContractBroken("directory gave no single address")
        return Provider(asids.pop(), addresses.pop())

    async def _entries(self, kind: str, asked: str) -> list[Mapping[str, Any]]:
        answer = await self._http.request(
            "GET", f"{self._base}/{kind}?{asked}", headers=self._headers, deadline_s=self._budget_s, cap_bytes=CAP_BYTES
        )
        if answer.status != 200:
            raise _refusal(answer.status)
        try:
            body = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, RecursionError):
            body = None
        if not isinstance(body, dict) or body.get("resourceType") != "Bundle" or not isinstance(body.get("entry", []), list):
            raise SourceContractBroken("directory answered no Bundle")
        resources = [entry.get("resource") for entry in body.get("entry", []) if isinstance(entry, dict)]
        return [resource for resource in resources if isinstance(resource, dict) and resource.get("resourceType") == kind]


def _values(resource: Mapping[str, Any], system: str) -> list[str]:
    identifiers = resource.get("identifier")
    given = [i for i in identifiers if isinstance(i, dict) and i.get("system") == system] if isinstance(identifiers, list) else []
    return [value.strip() for i in given if isinstance(value := i.get("value"), str) and value.strip()]


def _refusal(status: int) -> SourceError:
    if status in (401, 403):
        return SourceRefused("directory refused our key")
    if status == 429 or status >= 500:
        return SourceUnavailable("directory does not answer")
    return SourceContractBroken("directory answered an unexpected status")

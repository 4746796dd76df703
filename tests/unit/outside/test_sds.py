"""What the directory says -> a provider, nobody, or a fault with its owner."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from gateway import settings
from gateway.adapter import HttpAnswer, SourceContractBroken, SourceRefused, SourceTimedOut, SourceUnavailable
from gateway.outside.sds import Sds
from gateway.ports import Provider

pytestmark = pytest.mark.anyio

ASID = "https://fhir.nhs.uk/Id/nhsSpineASID"
INTERACTION = "urn:nhs:names:services:gpconnect:fhir:operation:gpc.getstructuredrecord-1"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def device(asid: str = "200000099901") -> dict[str, Any]:
    return {"resourceType": "Device", "identifier": [{"system": "other", "value": "1"}, {"system": ASID, "value": asid}]}


def endpoint(address: Any = "https://gp.invalid/fhir", status: str = "active") -> dict[str, Any]:
    return {"resourceType": "Endpoint", "status": status, "address": address}


def bundle(*resources: Any) -> bytes:
    return json.dumps({"resourceType": "Bundle", "entry": [{"resource": resource} for resource in resources]}).encode()


class FakeHttp:
    def __init__(self, devices: bytes | int | Exception, endpoints: bytes | int | Exception) -> None:
        self.said = {"Device": devices, "Endpoint": endpoints}
        self.asked: list[tuple[str, dict[str, list[str]], Mapping[str, str]]] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, deadline_s: float, cap_bytes: int
    ) -> HttpAnswer:
        parts = urlsplit(url)
        kind = parts.path.rsplit("/", 1)[1]
        self.asked.append((kind, parse_qs(parts.query), headers))
        said = self.said[kind]
        if isinstance(said, Exception):
            raise said
        return HttpAnswer(said, {}, b"") if isinstance(said, int) else HttpAnswer(200, {}, said)

    async def close(self) -> None: ...


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


def directory(http: FakeHttp, clock: Clock | None = None) -> Sds:
    return Sds(settings.Sds(base_url="https://sds.invalid/R4/", api_key=SecretStr("key")), http, clock or Clock())


async def find(devices: bytes | int | Exception, endpoints: bytes | int | Exception) -> Provider | None:
    return await directory(FakeHttp(devices, endpoints)).find("A99901", INTERACTION)


async def test_device_and_endpoint_together_are_a_provider() -> None:
    http = FakeHttp(bundle(device()), bundle(endpoint()))
    assert await directory(http).find("A99901", INTERACTION) == Provider("200000099901", "https://gp.invalid/fhir")
    for _, query, headers in http.asked:
        assert query == {
            "organization": ["https://fhir.nhs.uk/Id/ods-organization-code|A99901"],
            "identifier": [f"https://fhir.nhs.uk/Id/nhsServiceInteractionId|{INTERACTION}"],
        }
        assert headers["apikey"] == "key"


async def test_two_empty_bundles_mean_that_the_practice_has_not_activated_it() -> None:
    assert await find(bundle(), bundle()) is None


@pytest.mark.parametrize(
    ("devices", "endpoints"),
    [
        (bundle(device(" ")), bundle(endpoint())),
        (bundle(device()), bundle(endpoint(" "))),
        (bundle(device()), bundle()),
        (bundle(), bundle(endpoint())),
        (bundle(device("1"), device("2")), bundle(endpoint())),
        (bundle(device()), bundle(endpoint(), endpoint("https://two.invalid"))),
        (bundle(device()), bundle(endpoint(status="off"))),
        (bundle(device()), bundle(endpoint(None))),
        (bundle({"resourceType": "Device", "identifier": "x"}), bundle(endpoint())),
        (b"<html/>", bundle(endpoint())),
        (b'{"resourceType":"OperationOutcome"}', bundle(endpoint())),
        (b'{"resourceType":"Bundle","entry":"none"}', bundle(endpoint())),
        (400, bundle(endpoint())),
    ],
)
async def test_a_directory_that_contradicts_itself_has_broken_its_contract(devices: Any, endpoints: Any) -> None:
    with pytest.raises(SourceContractBroken):
        await find(devices, endpoints)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (401, SourceRefused),
        (403, SourceRefused),
        (429, SourceUnavailable),
        (503, SourceUnavailable),
        (SourceTimedOut("late"), SourceTimedOut),
        (SourceUnavailable("gone"), SourceUnavailable),
    ],
)
async def test_a_directory_that_does_not_answer_says_what_to_do(said: Any, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        await find(bundle(device()), said)


async def test_an_answer_is_remembered_for_five_minutes_also_that_there_is_none() -> None:
    clock, http = Clock(), FakeHttp(bundle(), bundle())
    sds = directory(http, clock)
    assert await sds.find("A99902", INTERACTION) is None
    http.said = {"Device": bundle(device()), "Endpoint": bundle(endpoint())}
    clock.time = NOW + timedelta(minutes=4, seconds=59)
    assert await sds.find("A99902", INTERACTION) is None
    assert len(http.asked) == 2
    clock.time = NOW + timedelta(minutes=5)
    assert await sds.find("A99902", INTERACTION) is not None


async def test_a_failure_is_not_remembered() -> None:
    http = FakeHttp(503, 503)
    sds = directory(http)
    with pytest.raises(SourceUnavailable):
        await sds.find("A99901", INTERACTION)
    http.said = {"Device": bundle(device()), "Endpoint": bundle(endpoint())}
    assert await sds.find("A99901", INTERACTION) is not None

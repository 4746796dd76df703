"""The PDS and SDS clients and step 3 against the simulators, over sockets."""

import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gateway import settings
from gateway.adapter import SourceContractBroken, SourceTimedOut, SourceUnavailable
from gateway.errors import TracerDown
from gateway.identity import Ages, Identity
from gateway.model import NotUsable, PatientIdentity
from gateway.nhs_number import NhsNumber
from gateway.outside.http import HttpxHttp
from gateway.outside.pds import Pds
from gateway.outside.sds import Sds
from gateway.ports import Traced
from gateway.store import Keys, open_store
from tests.sandbox_process import Sandbox, sandbox

pytestmark = pytest.mark.anyio

AMARA, OLD, CHLOE = "9990000107", "9990002126", "9990003130"
DARA, ELI, FARAH, NOBODY = "9990004145", "9990006164", "9990008183", "9990020302"
STRUCTURED = "urn:nhs:names:services:gpconnect:fhir:operation:gpc.getstructuredrecord-1"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(outside: Sandbox) -> Iterator[None]:
    yield
    outside.heal()


@pytest.fixture
async def http() -> AsyncIterator[HttpxHttp]:
    client = HttpxHttp()
    yield client
    await client.close()


@pytest.fixture
def pds(outside: Sandbox, http: HttpxHttp) -> Pds:
    base = outside.base + "/pds/personal-demographics/FHIR/R4"
    return Pds(settings.Pds(base_url=base, ods="X99990", budget_s=0.6), http)


async def test_each_family_is_traced_as_what_it_is(pds: Pds) -> None:
    async def trace(number: str) -> Traced | str:
        return await pds.trace(NhsNumber(number), "")

    amara, chloe, dara, farah = [await trace(number) for number in (AMARA, OLD, DARA, FARAH)]
    assert isinstance(amara, Traced)
    assert (amara.practice, amara.birth_date, amara.restricted) == ("ods:A99901", date(2024, 3, 14), False)
    assert isinstance(chloe, Traced)
    assert chloe.number.value == CHLOE
    assert isinstance(dara, Traced)
    assert (dara.restricted, dara.practice) == (True, None)
    assert isinstance(farah, Traced)
    assert farah.deceased
    assert await trace(ELI) == "invalidated"
    assert await trace(NOBODY) == "unknown"


@pytest.mark.parametrize(
    "fault", ["slow", "drip", "reset", "500", "429", "401", "bad-json", "html", "truncated", "huge", "down", "wrong-child"]
)
async def test_every_fault_of_the_tracer_is_one_error_within_the_budget(outside: Sandbox, pds: Pds, fault: str) -> None:
    outside.order("pds", fault, AMARA)
    started = datetime.now(UTC)
    with pytest.raises(TracerDown):
        await pds.trace(NhsNumber(AMARA), "")
    assert datetime.now(UTC) - started < timedelta(seconds=1.5)
    outside.heal()
    assert isinstance(await pds.trace(NhsNumber(AMARA), ""), Traced)


@pytest.mark.parametrize("fault", ["500", "reset", "down"])
async def test_one_failure_is_tried_again_under_the_same_request_id(outside: Sandbox, pds: Pds, fault: str) -> None:
    outside.order("pds", fault, AMARA, times=1)
    assert isinstance(await pds.trace(NhsNumber(AMARA), ""), Traced)
    first, second = outside.seen("pds")[-2:]
    assert first["x-request-id"] == second["x-request-id"] != ""


async def test_throttled_says_when_to_come_back(outside: Sandbox, pds: Pds) -> None:
    outside.order("pds", "429", AMARA)
    with pytest.raises(TracerDown) as raised:
        await pds.trace(NhsNumber(AMARA), "")
    assert raised.value.retry_after_s == 1


async def test_nothing_listening_is_an_outage(http: HttpxHttp) -> None:
    with pytest.raises(TracerDown):
        await Pds(settings.Pds(base_url="http://127.0.0.1:9", ods="X99990"), http).trace(NhsNumber(AMARA), "")


async def test_no_log_and_no_exception_holds_the_number(outside: Sandbox, pds: Pds, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "httpx", "httpcore", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, logger=name)  # as a site that turns everything on
    await pds.trace(NhsNumber(AMARA), "")
    for fault in ("reset", "slow", "truncated", "huge", "html"):
        outside.order("pds", fault, AMARA)
        with pytest.raises(TracerDown) as raised:
            await pds.trace(NhsNumber(AMARA), "")
        assert AMARA not in "".join(traceback.format_exception(raised.value))
        seen: BaseException | None = raised.value
        while seen is not None:
            assert AMARA not in repr(seen)
            seen = seen.__context__ or seen.__cause__
    assert AMARA not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))]


async def test_the_http_client_follows_nothing_and_keeps_no_cookie(outside: Sandbox, http: HttpxHttp) -> None:
    answer = await http.request("GET", outside.base + "/", headers={}, deadline_s=1, cap_bytes=1_000)
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    with pytest.raises(SourceContractBroken):
        await http.request("GET", outside.base + "/", headers={}, deadline_s=1, cap_bytes=10)
    with pytest.raises(SourceUnavailable):
        await http.request("GET", "http://127.0.0.1:9/", headers={}, deadline_s=1, cap_bytes=10)
    outside.order("sds", "slow")
    url = f"{outside.base}/sds/FHIR/R4/Device?organization=x&identifier=https://fhir.nhs.uk/Id/nhsServiceInteractionId|y"
    with pytest.raises(SourceTimedOut):
        await http.request("GET", url, headers={}, deadline_s=0.2, cap_bytes=10)


async def test_the_directory_knows_who_has_activated_the_service(outside: Sandbox, http: HttpxHttp) -> None:
    sds = Sds(settings.Sds(base_url=outside.base + "/sds/FHIR/R4"), http, lambda: datetime.now(UTC))
    riverside = await sds.find("A99901", STRUCTURED)
    assert riverside is not None
    assert (riverside.asid, riverside.address.split("/")[3]) == ("200000099901", "A99901")
    assert await sds.find("A99902", STRUCTURED) is None
    outside.order("sds", "down")
    assert await sds.find("A99901", STRUCTURED) == riverside  # remembered
    with pytest.raises(SourceUnavailable):
        await sds.find("A99903", STRUCTURED)


async def test_step_three_over_the_real_store_follows_and_seals(outside: Sandbox, pds: Pds, tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/gateway.db", Keys.create_sandbox(tmp_path / "keys"), name="test")
    try:
        identity = Identity(store.persons, pds, Ages(timedelta(minutes=15), timedelta(hours=24)))
        now = datetime.now(UTC)

        async def trace(number: str, at: datetime = now) -> PatientIdentity | NotUsable:
            return await identity.trace(NhsNumber(number), now=at, correlation_id="")

        superseded = await trace(OLD)
        assert isinstance(superseded, PatientIdentity)
        assert superseded.number.value == CHLOE
        current = await trace(CHLOE)
        assert isinstance(current, PatientIdentity)
        assert current.person == superseded.person is not None
        assert await trace(ELI) == NotUsable("invalidated", NhsNumber(ELI))
        outside.order("pds", "down")
        assert isinstance(await trace(OLD), PatientIdentity)  # fresh: nobody is asked
        for number in (DARA, NOBODY, ELI):
            with pytest.raises(TracerDown):
                await trace(number)
        with pytest.raises(TracerDown):
            await trace(CHLOE, now + timedelta(hours=25))
    finally:
        await store.close()

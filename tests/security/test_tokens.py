"""The 46 token cases over HTTP: status, error, an audit entry each, nothing echoed, no value in any log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from caller_world import BASE, World, assertion, encoded, form, world
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from token_builders import BUILDERS, prepare

from gateway.api.oauth import routes
from gateway.caller import authenticate
from gateway.caller.jose import Broken, peek
from gateway.errors import NotAuthenticated
from gateway.ports import Entry

pytestmark = pytest.mark.anyio

CASES = json.loads((Path(__file__).parent / "corpus" / "tokens" / "cases.json").read_text())
FORM = b"application/x-www-form-urlencoded"
OAUTH_MEMBERS = {"error", "error_description"}


@asynccontextmanager
async def served(at: World) -> AsyncIterator[httpx.AsyncClient]:
    """The routes as the gateway mounts them, and one door that needs an access token."""

    async def fhir(request: Request) -> Response:
        try:
            caller = await authenticate(request.headers.get("authorization"), "192.0.2.1", at.parts)
        except NotAuthenticated as refused:
            detail = {"reason": refused.reason}
            await at.parts.failures.record(Entry("refusal", at.clock(), "failure", None, address="192.0.2.1", detail=detail))
            return JSONResponse({"error": refused.issue_code, "error_description": refused.public_text}, refused.status)
        return JSONResponse({"system": caller.system})

    mounted = [Route(path, end, methods=methods) for path, methods, end in routes(at.parts, scopes_supported=["system/*.rs"])]
    app = Starlette(routes=[*mounted, Route("/fhir/Patient", fhir)])
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
        yield http


async def post(http: httpx.AsyncClient, text: str) -> httpx.Response:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    return await http.post("/oauth/token", content=encoded(form(text)), headers=kind)


async def play(case: Mapping[str, Any], at: World, http: httpx.AsyncClient) -> tuple[str, httpx.Response]:
    """Case -> what was sent and the answer to the last of it."""
    match case["build"]:
        case "replayed":
            sent = assertion()
            assert (await post(http, sent)).status_code == 200
        case "parallel":
            sent = assertion()
            answers = await asyncio.gather(*(post(http, sent) for _ in range(100)))
            assert sorted(answer.status_code for answer in answers) == [200] + [400] * 99
        case "other_worker":
            sent = assertion()
            async with served(world(log=at.log)) as other:  # its own memory and keys, the same log
                assert (await post(other, sent)).status_code == 200
        case "access_token_as_assertion":
            sent = (await post(http, assertion())).json()["access_token"]
        case "assertion_as_access_token":
            sent = assertion()
            return sent, await http.get("/fhir/Patient", headers={"authorization": "Bearer " + sent})
        case built:
            sent = BUILDERS[built](case)
    return sent, await post(http, sent)


def test_there_are_forty_six_cases_and_each_is_different() -> None:
    assert len(CASES) == 46
    assert len({case["name"] for case in CASES}) == 46
    assert len({json.dumps({**case, "name": ""}, sort_keys=True) for case in CASES}) == 46


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_a_bad_token_is_refused_recorded_and_never_echoed(
    case: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    at = world()
    prepare(case, at)
    async with served(at) as http:
        sent, answer = await play(case, at, http)
    assert (answer.status_code, answer.json()["error"]) == (case["status"], case["error"])
    assert set(answer.json()) == OAUTH_MEMBERS
    await at.parts.failures.flush(at.clock.now.replace(minute=1))
    last = [entry for entry in at.log.entries if entry.detail.get("reason") == case["reason"]]
    assert last, f"no audit entry gives the reason; there are {[entry.detail for entry in at.log.entries]}"
    assert last[-1].outcome == "failure"
    assert sum(entry.outcome == "success" for entry in at.log.entries) <= 1
    assert not leaked(sent, answer.text + logged(caplog) + "".join(str(entry.detail) for entry in last))


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Everything logged at any level by anything but this test's own client."""
    return "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("httpx"))


def leaked(sent: str, seen: str) -> list[str]:
    """Values of the token that stand in what was answered, logged or recorded of its failure."""
    values = [segment for segment in sent.split(".") if len(segment) > 8]
    try:
        token = peek(sent)
    except Broken:
        return [value for value in values if value in seen]
    values += [str(value) for value in [*token.claims.values(), *token.header.values()] if len(str(value)) > 6]
    values += [str(value) for value in token.claims.get("extensions", {}).get("hl7-b2b", {}).values() if len(str(value)) > 4]
    return [value for value in values if value in seen]


async def test_a_good_token_opens_the_door_and_is_not_cached() -> None:
    at = world()
    async with served(at) as http:
        answer = await post(http, assertion())
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        said = answer.json()
        assert (said["token_type"], said["expires_in"], said["scope"]) == ("bearer", 300, "system/*.rs")
        door = await http.get("/fhir/Patient", headers={"authorization": "Bearer " + said["access_token"]})
    assert (door.status_code, door.json()) == (200, {"system": "riverside-records"})


async def test_a_good_exchange_logs_neither_token_nor_assertion(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    at = world()
    async with served(at) as http:
        sent = assertion()
        token = (await post(http, sent)).json()["access_token"]
    assert not leaked(sent, logged(caplog))
    assert not leaked(token, logged(caplog))


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"grant_type=client_credentials&grant_type=client_credentials", "application/x-www-form-urlencoded", 400),
        (b"grant_type=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"grant_type=%zz", "application/x-www-form-urlencoded", 400),
        (b"grant_type=\x00", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"p%d=x" % number for number in range(5_000)), "application/x-www-form-urlencoded", 413),
        (b'{"grant_type":"client_credentials"}', "application/json", 400),
        (b"grant_type=client_credentials", "multipart/form-data; boundary=x", 400),
        (b"grant_type=client_credentials", "", 400),
    ],
)
async def test_a_form_that_cannot_be_read_in_one_way_only_is_an_invalid_request(body: bytes, kind: str, status: int) -> None:
    at = world()
    async with served(at) as http:
        answer = await http.post("/oauth/token", content=body, headers={"content-type": kind} if kind else {})
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")
    assert answer.headers["cache-control"] == "no-store"
    assert [(entry.kind, entry.outcome) for entry in at.log.entries] == [("token", "failure")]


async def test_a_squeezed_form_is_not_read() -> None:
    at = world()
    kind = {"content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}
    async with served(at) as http:
        answer = await http.post("/oauth/token", content=encoded(form(assertion())), headers=kind)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_form_is_read_no_further_than_its_largest_size() -> None:
    at = world()
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield b"a" * 4_096

    request = Request({"type": "http", "headers": [(b"content-type", FORM)], "client": ("192.0.2.1", 1)}, receive(endless()))
    (token_endpoint,) = [end for path, _, end in routes(at.parts, scopes_supported=[]) if path == "/oauth/token"]
    answer = await token_endpoint(request)
    assert answer.status_code == 413
    assert taken < 10


def receive(chunks: AsyncIterator[bytes]) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def one() -> dict[str, Any]:
        return {"type": "http.request", "body": await anext(chunks), "more_body": True}

    return one


async def test_too_many_token_requests_are_told_when_to_come_back() -> None:
    at = world()
    at.limits.full = {"token-address:192.0.2.1": 9}
    async with served(at) as http:
        answer = await post(http, assertion())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "9")


async def test_without_a_log_there_is_no_token_and_no_refusal_either() -> None:
    at = world()
    at.log.down = True
    async with served(at) as http:
        for text in (assertion(), "nonsense"):
            answer = await post(http, text)
            assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


async def test_discovery_says_where_and_how_and_looks_at_no_authorization() -> None:
    at = world()
    async with served(at) as http:
        old = {"authorization": "Bearer expired", "host": "attacker.example"}
        said = (await http.get("/fhir/.well-known/smart-configuration", headers=old)).json()
    assert said["token_endpoint"] == BASE + "/oauth/token"
    assert said["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["ES256", "ES384", "PS256", "RS384", "RS512"]
    assert "client-confidential-asymmetric" in said["capabilities"]
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["grant_types_supported"] == ["client_credentials"]


async def test_the_published_keys_are_public_and_verify_our_tokens() -> None:
    at = world()
    async with served(at) as http:
        (key,) = (await http.get("/oauth/jwks")).json()["keys"]
        token = (await post(http, assertion())).json()["access_token"]
    assert (key["kid"], key["crv"], "d" in key) == (peek(token).header["kid"], "Ed25519", False)

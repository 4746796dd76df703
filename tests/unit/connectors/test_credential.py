"""An access token is got once, kept until shortly before it ends, got anew after one 401, and never told."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.adapter import (
    HttpAnswer,
    Manifest,
    SourceContractBroken,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    StartupRefused,
)
from gateway.connectors import credential
from gateway.connectors.credential import credential_of
from gateway.connectors.json_records import Asked, Service

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECRET = "s3cret: of+the client"
OPTIONS = {
    "base_url": "https://la.example",
    "token_url": "https://sign-in.example/token",
    "client_id": "the gateway",
    "client_secret": SECRET,
    "scope": "api://la/.default",
}
MANIFEST = Manifest(
    "la", "An authority", "graphql", "nobody", "nhs_number", "local-authority", ("p-1",), {}, frozenset(), frozenset(), False,
    1.0, {"auth": {"header": "Authorization", "prefix": "Bearer "}},
)  # fmt: skip


class Endpoint:
    """The token endpoint and the service behind it."""

    def __init__(self, *tokens: Any, service: tuple[int, ...] = ()) -> None:
        self._tokens, self._service = list(tokens), list(service)
        self.forms: list[Any] = []
        self.shown: list[str] = []
        self.now = NOW

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, deadline_s: float, cap_bytes: int
    ) -> HttpAnswer:
        await asyncio.sleep(0)
        if url != OPTIONS["token_url"]:
            self.shown.append(headers["Authorization"])
            return HttpAnswer(self._service.pop(0) if self._service else 200, {}, b"{}")
        self.forms.append(SimpleNamespace(method=method, headers=headers, body=body))
        answer = self._tokens.pop(0)
        if isinstance(answer, int):
            return HttpAnswer(answer, {}, SECRET.encode())
        return HttpAnswer(200, {}, answer if isinstance(answer, bytes) else json.dumps(answer).encode())


def given(token: str = "t-1", **more: Any) -> dict[str, Any]:
    return {"access_token": token, "token_type": "Bearer", "expires_in": 300, **more}


def settings(**changes: Any) -> SourceSettings:
    options = {name: value for name, value in {**OPTIONS, **changes}.items() if value is not None}
    return SourceSettings("live", "la", "gss:E1", "A", "Live", 1.0, None, 7, options)


def service(endpoint: Endpoint, **changes: Any) -> Service:
    tools: Any = SimpleNamespace(now=lambda: endpoint.now, http=endpoint)
    return Service(MANIFEST, settings(**changes), tools)


async def ask(asked: Service, budget_s: float = 1.0) -> None:
    await asked.ask("POST", "https://la.example/graphql", Asked(monotonic() + budget_s, {}), b"{}", 1000)


async def test_the_client_shows_itself_by_basic_and_the_token_goes_where_the_manifest_says():
    endpoint = Endpoint(given())
    await ask(service(endpoint))
    [form] = endpoint.forms
    assert (form.method, form.body) == ("POST", b"grant_type=client_credentials&scope=api%3A%2F%2Fla%2F.default")
    assert b64decode(form.headers["Authorization"].removeprefix("Basic ")) == b"the+gateway:s3cret%3A+of%2Bthe+client"
    assert endpoint.shown == ["Bearer t-1"]
    plain = Endpoint(given())
    await ask(service(plain, scope=None))
    assert plain.forms[0].body == b"grant_type=client_credentials"


async def test_one_token_serves_every_question_until_shortly_before_it_ends():
    endpoint = Endpoint(given("t-1"), given("t-2"))
    asked = service(endpoint)
    await asyncio.gather(*(ask(asked) for _ in range(5)))
    endpoint.now = NOW + timedelta(seconds=269)
    await ask(asked)
    assert len(endpoint.forms) == 1
    endpoint.now = NOW + timedelta(seconds=271)
    await ask(asked)
    assert endpoint.shown == ["Bearer t-1"] * 6 + ["Bearer t-2"]


@pytest.mark.parametrize(("said", "kept_s"), [({"expires_in": "20"}, 10), ({"expires_in": 61}, 31), ({}, 30)])
async def test_a_short_life_and_one_that_is_not_told_are_kept_shorter(said: dict[str, Any], kept_s: int):
    first = {name: value for name, value in given().items() if name != "expires_in"} | said
    endpoint = Endpoint(first, given("t-2"))
    asked = service(endpoint)
    await ask(asked)
    endpoint.now = NOW + timedelta(seconds=kept_s - 1)
    await ask(asked)
    endpoint.now = NOW + timedelta(seconds=kept_s + 1)
    await ask(asked)
    assert endpoint.shown == ["Bearer t-1", "Bearer t-1", "Bearer t-2"]


async def test_after_one_401_another_token_is_got_and_after_two_the_source_has_refused_us():
    endpoint = Endpoint(given("t-1"), given("t-2"), given("t-3"), service=(401, 200, 401, 401))
    asked = service(endpoint)
    await ask(asked)
    assert endpoint.shown == ["Bearer t-1", "Bearer t-2"]
    with pytest.raises(SourceRefused):
        await ask(asked)
    assert endpoint.shown[2:] == ["Bearer t-2", "Bearer t-3"]


async def test_a_401_to_a_token_that_others_replaced_meanwhile_costs_no_third_one():
    endpoint = Endpoint(given("t-1"), given("t-2"), service=(401, 401, 200, 200))
    asked = service(endpoint)
    await asyncio.gather(ask(asked), ask(asked))
    assert len(endpoint.forms) == 2


async def test_a_constant_credential_is_shown_as_before_and_a_401_to_it_is_final():
    endpoint = Endpoint(service=(200, 401))
    constant = dict.fromkeys(("token_url", "client_id", "client_secret", "scope"))
    asked = service(endpoint, credential="key-1", **constant)
    await ask(asked)
    with pytest.raises(SourceRefused):
        await ask(asked)
    assert endpoint.shown == ["Bearer key-1"] * 2
    assert endpoint.forms == []


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (401, SourceRefused, credential.NOT_ACCEPTED),
        (400, SourceRefused, credential.NOT_ACCEPTED),
        (403, SourceRefused, credential.NOT_ACCEPTED),
        (503, SourceUnavailable, credential.NOT_ABLE),
        (429, SourceUnavailable, credential.NOT_ABLE),
        (302, SourceContractBroken, credential.NO_TOKEN),
        ({}, SourceContractBroken, credential.NO_TOKEN),
        ([], SourceContractBroken, credential.NO_TOKEN),
        (b"<html>", SourceContractBroken, "not sound JSON"),
        (given(""), SourceContractBroken, credential.NO_TOKEN),
        (given("t\r\nX: y"), SourceContractBroken, credential.NO_TOKEN),
        (given(token_type="mac"), SourceContractBroken, credential.NO_TOKEN),
        (given(expires_in="soon"), SourceContractBroken, credential.NO_TOKEN),
        (given(expires_in=-1), SourceContractBroken, credential.NO_TOKEN),
        (given(expires_in="nan"), SourceContractBroken, credential.NO_TOKEN),
    ],
)
async def test_an_endpoint_that_gives_no_token_is_sorted_and_nothing_of_it_is_told(answer: Any, error: Any, reason: str):
    endpoint = Endpoint(answer)
    with pytest.raises(error) as raised:
        await ask(service(endpoint))
    assert raised.value.reason == reason
    assert SECRET not in repr(raised.value)
    assert endpoint.shown == []


async def test_a_token_counts_into_the_budget_of_the_question():
    class Slow(Endpoint):
        async def request(self, *_: Any, **__: Any) -> HttpAnswer:
            await asyncio.sleep(5)
            raise AssertionError

    with pytest.raises(SourceTimedOut):
        await ask(service(Slow()), budget_s=0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"credential": "key-1"}, "not both"),
        ({"token_url": "ftp://x"}, "token_url begins with https://"),
        ({"token_url": "http://sign-in.example/token"}, "token_url begins with https://"),
        ({"token_url": "http://127.0.0.1.example/token"}, "token_url begins with https://"),
        ({"token_url": "http://10.0.0.1/token"}, "token_url begins with https://"),
        ({"token_url": "https:///token"}, "names a host"),
        ({"token_url": "https://"}, "names a host"),
        ({"token_url": "https://[::1/token"}, "names a host"),
        ({"token_url": "https://sign-in.example:0/token"}, "names a host"),
        ({"token_url": "https://user:s3cret@sign-in.example/token"}, "no user, password"),
        ({"token_url": "https://@sign-in.example/token"}, "no user, password"),
        ({"token_url": "https://sign-in.example/token#part"}, "fragment"),
        ({"token_url": "https://sign-in.example/to ken"}, "token_url begins with https://"),
        ({"token_url": "https://sign-in.example\\@other/token"}, "token_url begins with https://"),
        ({"token_url": 7}, "token_url begins with https://"),
        ({"client_id": None}, "add client_id"),
        ({"client_secret": ""}, "add client_secret"),
        ({"token_url": None}, "add credential"),
    ],
)
async def test_settings_that_cannot_be_used_are_refused_at_the_start_and_not_quoted(changes: dict[str, Any], said: str):
    with pytest.raises(StartupRefused) as refused:
        service(Endpoint(), **changes)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "sign-in" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080"])
async def test_a_simulator_of_this_machine_may_be_asked_for_a_token_without_tls(host: str):
    service(Endpoint(), token_url=f"http://{host}/token")  # live mode refuses it: tests/unit/test_app.py


async def test_a_manifest_without_auth_shows_nothing():
    shown = credential_of(replace(MANIFEST, options={}), settings(), SimpleNamespace())  # type: ignore[arg-type]
    assert await shown.headers(0) == {}

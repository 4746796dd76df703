"""Our own sign-in: what the token endpoint is sent, how long a token is kept, and that nothing else is taken for one."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from joserfc import jws

from gateway import settings
from gateway.adapter import HttpAnswer, SourceUnavailable
from gateway.errors import StartupRefused, TracerDown
from gateway.nhs_number import NhsNumber
from gateway.outside.nhs_sign_in import NhsSignIn
from gateway.outside.pds import Pds
from gateway.outside.token_client import ClientKey, new_key

pytestmark = pytest.mark.anyio

URL = "https://platform.example/oauth2/token"
KEY = new_key("RS512", "key-1")


class Platform:
    """A token endpoint that checks what it is sent, and PDS behind it that answers 401."""

    def __init__(self, *answers: bytes, status: int = 200, down: bool = False) -> None:
        self.answers, self.status, self.down = list(answers), status, down
        self.sent: list[dict[str, Any]] = []
        self.bearers: list[str] = []

    async def request(self, method: str, url: str, *, headers: Any, body: bytes | None = None, **_: Any) -> HttpAnswer:
        if self.down:
            raise SourceUnavailable("no connection")
        if url != URL:
            self.bearers.append(headers["Authorization"])
            return HttpAnswer(401, {}, b"{}")
        assert method == "POST"
        fields = parse_qs((body or b"").decode())
        assert fields["grant_type"] == ["client_credentials"]
        signed = jws.deserialize_compact(fields["client_assertion"][0].encode(), KEY.key, algorithms=["RS512"])
        self.sent.append({**signed.headers(), **json.loads(signed.payload)})
        return HttpAnswer(self.status, {}, self.answers.pop(0))

    async def close(self) -> None: ...


def key_file(folder: Path, key: ClientKey = KEY) -> settings.SignIn:
    path = folder / "pds.jwk"
    path.write_text(json.dumps(dict(key.private())), "utf-8")
    return settings.SignIn(token_url=URL, client_id="our-api-key", key=path)


def token(text: str, life: int | str = "599") -> bytes:
    return json.dumps({"access_token": text, "expires_in": life, "token_type": "Bearer"}).encode()


async def test_the_assertion_says_who_we_are_to_whom_for_less_than_five_minutes_and_once(tmp_path: Path) -> None:
    platform = Platform(token("one"), token("two"))
    sign_in = NhsSignIn(key_file(tmp_path), platform, budget_s=1, clock=lambda: 1_000_000)
    assert await sign_in.bearer() == "one"
    sign_in.forget()
    assert await sign_in.bearer() == "two"
    first, second = platform.sent
    assert (first["alg"], first["kid"], first["iss"], first["sub"], first["aud"]) == ("RS512", "key-1", *["our-api-key"] * 2, URL)
    assert 0 < first["exp"] - 1_000_000 <= 300
    assert first["jti"] != second["jti"]


async def test_a_token_is_kept_until_shortly_before_it_ends_and_fetched_once_for_all_who_wait(tmp_path: Path) -> None:
    now = [1_000.0]
    platform = Platform(token("one"), token("two", 599))
    sign_in = NhsSignIn(key_file(tmp_path), platform, budget_s=1, clock=lambda: now[0])
    assert set(await asyncio.gather(*(sign_in.bearer() for _ in range(20)))) == {"one"}
    now[0] += 568
    assert await sign_in.bearer() == "one"
    now[0] += 2
    assert await sign_in.bearer() == "two"


@pytest.mark.parametrize(
    "platform",
    [
        Platform(b"{}"),
        Platform(b"<html>"),
        Platform(token("x", 0)),
        Platform(token("x", "soon")),
        Platform(json.dumps({"access_token": "x", "expires_in": 9, "token_type": "mac"}).encode()),
        Platform(token("x"), status=401),
        Platform(down=True),
    ],
)
async def test_anything_but_a_bearer_token_that_lives_is_none(tmp_path: Path, platform: Platform) -> None:
    with pytest.raises(TracerDown):
        await NhsSignIn(key_file(tmp_path), platform, budget_s=1).bearer()


async def test_a_token_that_pds_refuses_is_not_used_again(tmp_path: Path) -> None:
    platform = Platform(token("one"), token("two"))
    held = settings.Pds(base_url="https://pds.example", ods="X99990", sign_in=key_file(tmp_path))
    pds = Pds(held, platform)
    for _ in range(2):
        with pytest.raises(TracerDown):
            await pds.trace(NhsNumber("9990000107"), "")
    assert platform.bearers == ["Bearer one", "Bearer two"]


def test_a_key_that_cannot_sign_as_these_apis_want_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(StartupRefused, match="RS512"):
        NhsSignIn(key_file(tmp_path, new_key("ES384", "k")), Platform(), budget_s=1)
    with pytest.raises(StartupRefused, match="JWK"):
        NhsSignIn(settings.SignIn(token_url=URL, client_id="c", key=tmp_path / "none"), Platform(), budget_s=1)


def test_two_ways_in_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        settings.Pds(base_url="https://p", ods="X", api_key="k", sign_in=key_file(tmp_path))  # type: ignore[arg-type]

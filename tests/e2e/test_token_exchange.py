"""From a new key to a Caller, as a partner does it: the commands, a served token endpoint, the store on disk."""

import asyncio
import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import typer
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from typer.testing import CliRunner, Result

from gateway.api.oauth import routes
from gateway.caller import Failures, Parts
from gateway.cli import client, key, token
from gateway.model import Organisation, OrganisationKind
from gateway.outside.jwks import Jwks
from gateway.ports import LogQuestion
from gateway.store import Keys, open_store, utc_now

RIVERSIDE = Organisation("ods:A99901", "Riverside Surgery", OrganisationKind.GP_PRACTICE, frozenset({"ods:A99901"}))
commands = typer.Typer()
commands.add_typer(client.app, name="client")
commands.add_typer(key.app, name="key")
commands.command("token")(token.command)


@dataclass
class Kid:
    kid: str
    private: object


@dataclass
class Place:
    base: str
    folder: Path
    url: str

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(commands, list(arguments))

    def register(self, **more: str) -> Path:
        private = self.folder / "riverside.jwk"
        assert self.run("key", "new", str(private)).exit_code == 0
        added = self.run(
            *("client", "add", "riverside-records", "--jwks", str(private.with_suffix(".jwks.json"))),
            *("--organisation", "ods:A99901", "--role", "R0260", "--purpose", "TREAT"),
        )
        assert added.exit_code == 0, added.output
        return private

    def token(self, private: Path, *more: str) -> Result:
        said = ("--organisation", "ods:A99901", "--role", "R0260", "--subject", "555253555109", "--purpose", "TREAT")
        return self.run("token", "--server", self.base, "--client", "riverside-records", "--key", str(private), *said, *more)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The token endpoint over a store on disk, on a socket, beside which the commands work."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base, url = f"http://127.0.0.1:{port}", f"sqlite:///{tmp_path / 'gateway.db'}"
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'database_url = "{url}"\nkeys = "{tmp_path / "keys"}"\nvar = "{tmp_path}"\n'
        '[pds]\nbase_url = "http://127.0.0.1:1"\nods = "A99901"\n[sources]\n'
    )
    monkeypatch.setenv("GATEWAY_CONFIG", str(config))
    monkeypatch.delenv("GATEWAY_DATABASE_URL", raising=False)  # of another place of this run
    Keys.create_sandbox(tmp_path / "keys")
    served: list[uvicorn.Server] = []

    async def serve() -> None:
        keys = Keys.load(tmp_path / "keys", mode="sandbox")
        store = await open_store(url, keys, name="test")
        jwks = Jwks(live=False)
        parts = Parts(
            clients=store.clients,
            log=store.log,
            limits=store.limits,
            key=Kid(keys.token_signing.id, keys.token_signing.private),
            base_url=base,
            resolve_organisation=lambda code: RIVERSIDE if code in RIVERSIDE.all_codes else None,
            fetch_keys=jwks.fetch,
            failures=Failures(store.log),
            clock=utc_now,
        )
        app = Starlette(
            routes=[Route(path, end, methods=methods) for path, methods, end in routes(parts, scopes_supported=["system/*.rs"])]
        )
        served.append(uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off")))
        await served[0].serve()
        await jwks.close()
        await store.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not (served and served[0].started) and time.monotonic() < until:
        time.sleep(0.02)
    yield Place(base, tmp_path, url)
    served[0].should_exit = True
    thread.join(10)


def recorded(place: Place, kind: str) -> list[dict[str, object]]:
    async def ask() -> list[dict[str, object]]:
        store = await open_store(place.url, Keys.load(place.folder / "keys", mode="sandbox"), name="test", serve=False)
        try:
            return [dict(event.body) for event in await store.log.ask(LogQuestion(kind=kind))]
        finally:
            await store.close()

    until = time.monotonic() + 10
    while not (found := asyncio.run(ask())) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def test_a_new_key_is_registered_and_exchanged_for_a_token_by_the_commands_alone(place: Place) -> None:
    private = place.register()
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    printed = place.token(private, "--json", "--case-reference", "CASE-7")
    assert printed.exit_code == 0, printed.output
    said = json.loads(printed.output)
    assert (said["token_type"], said["expires_in"], said["scope"]) == ("bearer", 300, "system/*.rs")
    listed = json.loads(place.run("client", "list", "--json").output)
    assert (listed["id"], listed["version"], listed["algorithms"]) == ("riverside-records", 1, ["ES384"])
    (event,) = recorded(place, "token")
    assert said["access_token"] not in json.dumps(event)
    assert len(recorded(place, "administration")) == 1


def test_a_purpose_that_is_not_registered_is_refused_in_plain_words(place: Place) -> None:
    private = place.register()
    printed = place.run(
        *("token", "--server", place.base, "--client", "riverside-records", "--key", str(private)),
        *("--organisation", "ods:A99901", "--role", "R0260", "--subject", "1", "--purpose", "S47"),
    )
    assert printed.exit_code == 1
    assert "invalid_grant" in printed.output
    assert "\n" not in printed.output.strip()


def test_after_rotation_the_old_key_no_longer_opens_and_the_new_one_does(place: Place) -> None:
    old = place.register()
    new = place.folder / "next.jwk"
    assert place.run("key", "new", str(new), "--algorithm", "RS384").exit_code == 0
    rotated = place.run("client", "rotate", "riverside-records", "--jwks", str(new.with_suffix(".jwks.json")))
    assert rotated.exit_code == 0, rotated.output
    assert "invalid_client" in place.token(old).output
    assert place.token(new).exit_code == 0


def test_while_both_keys_are_kept_both_open(place: Place) -> None:
    old = place.register()
    new = place.folder / "next.jwk"
    assert place.run("key", "new", str(new)).exit_code == 0
    assert (
        place.run("client", "rotate", "riverside-records", "--keep", "--jwks", str(new.with_suffix(".jwks.json"))).exit_code == 0
    )
    assert place.token(old).exit_code == 0
    assert place.token(new).exit_code == 0


def test_a_revoked_client_gets_no_token_and_stays_in_the_list(place: Place) -> None:
    private = place.register()
    assert place.run("client", "revoke", "riverside-records").exit_code == 0
    assert "invalid_client" in place.token(private).output
    listed = json.loads(place.run("client", "list", "--json").output)
    assert (listed["revoked"], listed["version"]) == (True, 2)
    assert place.run("client", "revoke", "riverside-records").exit_code == 1


@pytest.mark.parametrize(
    "wrong",
    [
        ("--organisation", "ods:ZZZZZ"),
        ("--role", "http://elsewhere|R0260"),
        ("--purpose", "CURIOSITY"),
        ("--scope", "patient/*.rs"),
        ("--algorithm", "HS256"),
        ("--jwks-url", "https://client.example/jwks"),
        ("--name", "a\x1bb"),
    ],
)
def test_a_registration_that_could_never_work_is_refused_in_one_line(wrong: tuple[str, str], place: Place) -> None:
    private = place.folder / "k.jwk"
    assert place.run("key", "new", str(private)).exit_code == 0
    good = {
        "--organisation": "ods:A99901",
        "--role": "R0260",
        "--purpose": "TREAT",
        "--jwks": str(private.with_suffix(".jwks.json")),
    }
    arguments = [part for pair in {**good, wrong[0]: wrong[1]}.items() for part in pair]
    refused = place.run("client", "add", "someone", *arguments)
    assert refused.exit_code == 1
    assert len(refused.output.strip().splitlines()) == 1
    assert place.run("client", "list").output == ""


def test_a_private_key_is_never_registered_nor_overwritten(place: Place) -> None:
    private = place.register()
    assert place.run("key", "new", str(private)).exit_code == 1
    refused = place.run(
        *("client", "add", "other", "--jwks", str(private)),
        *("--organisation", "ods:A99901", "--role", "R0260", "--purpose", "TREAT"),
    )
    assert refused.exit_code == 1
    assert "private" in refused.output


def test_a_hundred_replays_at_once_over_sockets_give_one_token(place: Place) -> None:
    from gateway.outside.token_client import Asked, assertion, read_key

    private = place.register()
    asked = Asked("riverside-records", "ods:A99901", "R0260", "TREAT", "1", "Dr Jo Synthetic", None, "system/*.rs")
    sent = {
        "grant_type": "client_credentials",
        "scope": asked.scope,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(asked, read_key(private), place.base + "/oauth/token"),
    }

    async def at_once() -> list[int]:
        async with httpx.AsyncClient(timeout=30) as http:
            answers = await asyncio.gather(*(http.post(place.base + "/oauth/token", data=sent) for _ in range(100)))
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(at_once()) == [200] + [400] * 99

"""The running place as partner systems and operators meet it, and how tests read answers. The fixture is in conftest.py."""

import asyncio
import contextlib
import json
import os
import random
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from gateway.outside import token_client
from gateway.ports import LogQuestion
from gateway.store import Keys, open_store
from sandbox import demo
from sandbox.demo import seed
from sandbox.families import BY_KEY, PEOPLE, SUPERSEDED, UNKNOWN
from tests.gateway_command import gateway

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
EVERY_NUMBER = (*(person.nhs_number for person in PEOPLE), *SUPERSEDED, *UNKNOWN)
ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN_KEPT_S = 200  # of its 300


@dataclass
class World:
    """The running place, as partner systems meet it."""

    place: demo.Place
    http: httpx.Client
    answers: list[httpx.Response] = field(default_factory=list)  # all of the run, for the scan at its end
    _tokens: dict[demo.Asker, tuple[str, float]] = field(default_factory=dict)

    @property
    def database(self) -> str:
        """The URL of the place's database."""
        return self.place.environment.get("GATEWAY_DATABASE_URL", f"sqlite:///{self.place.folder / 'gateway.db'}")

    def token(self, asker: demo.Asker) -> str:
        """One access token for each asker, by the real exchange."""
        held = self._tokens.get(asker)
        if held is None or time.monotonic() - held[1] > TOKEN_KEPT_S:
            held = self._tokens[asker] = (_token(self.place, asker), time.monotonic())
        return held[0]

    def headers(self, asker: demo.Asker, **more: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(asker)}", "accept": "application/fhir+json", **more}

    def get(self, asker: demo.Asker, path: str, **more: str) -> httpx.Response:
        return self.http.get(path, headers=self.headers(asker, **more))

    def find(self, asker: demo.Asker, number: str, **more: str) -> httpx.Response:
        """Search the Patient by NHS number, which travels in the body."""
        form = {"identifier": f"{NHS_NUMBER}|{number}"}
        return self.http.post("/fhir/Patient/_search", data=form, headers=self.headers(asker, **more))

    def search(self, asker: demo.Asker, resource_type: str, number: str, **more: str) -> httpx.Response:
        """Search one type by the patient's NHS number."""
        form = {"patient:identifier": f"{NHS_NUMBER}|{number}"}
        return self.http.post(f"/fhir/{resource_type}/_search", data=form, headers=self.headers(asker, **more))

    def everything(self, asker: demo.Asker, key: str, **more: str) -> httpx.Response:
        """$everything of a person of the families, by way of the search a partner system makes first."""
        found = self.find(asker, BY_KEY[key].nhs_number)
        patients = resources(found, "Patient")
        if not patients:
            return found
        return self.get(asker, f"/fhir/Patient/{patients[0]['id']}/$everything", **more)

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """The `gateway` command beside the serving gateway."""
        return gateway(self.place.environment, *arguments, stdin=stdin)

    def register(self, asker: demo.Asker, client: str, *scopes: str) -> demo.Asker:
        """The same person at a partner system of their own, registered for this test."""
        new, key = replace(asker, client=client, scope=" ".join(scopes)), self.place.folder / "clients" / f"{client}.jwk"
        assert self.command("key", "new", str(key)).returncode == 0
        claims = ["--organisation", new.organisation, "--role", new.role, "--purpose", new.purpose]
        claims += [part for scope in scopes for part in ("--scope", scope)]
        added = self.command("client", "add", client, "--jwks", str(key.with_suffix(".jwks.json")), *claims)
        assert added.returncode == 0, added.stderr
        return new

    def relate(self, kind: str, number: str, organisation: str, *, starts: str, ends: str = "", staff: str = "", case: str = ""):
        """Record one relationship by the operator's command."""
        file = self.place.folder / "one-relationship.csv"
        rows = (
            "kind,nhs_number,organisation,staff,case_reference,starts,ends",
            ",".join((kind, number, organisation, staff, case, starts, ends)),
        )
        file.write_text("\n".join(rows) + "\n", "utf-8")
        done = self.command("relationship", "import", str(file))
        assert done.returncode == 0, done.stderr

    def withdraw(self, scope: str, number: str) -> None:
        """Withdraw one consent by the operator's command."""
        done = self.command("consent", "withdraw", scope, stdin=number + "\n")
        assert done.returncode == 0, done.stderr

    def consent(self, scope: str, number: str) -> None:
        """A parent consents anew."""
        file = self.place.folder / "one-consent.csv"
        columns = "nhs_number,scope,decision,given_by,recorded_by,starts,ends,evidence"
        file.write_text(f"{columns}\n{number},{scope},permit,parent,{demo.CENTRE.organisation},,,form\n", "utf-8")
        done = self.command("consent", "import", str(file))
        assert done.returncode == 0, done.stderr

    def sandbox(self, fault: str, simulator: str, number: str = "*", *, seconds: float = 30, times: int | None = None) -> None:
        """Order a fault of a simulator; `times`: for so many of its answers only."""
        order = {"simulator": simulator, "nhs_number": number, "fault": fault, "seconds": seconds, "times": times}
        httpx.post(f"http://127.0.0.1:{self.place.sandbox_port}/control/faults", json=order, timeout=5).raise_for_status()

    def heal(self) -> None:
        """End every ordered fault."""
        httpx.delete(f"http://127.0.0.1:{self.place.sandbox_port}/control/faults", timeout=5).raise_for_status()

    def seen(self, simulator: str) -> list[dict[str, str]]:
        """What the last requests to a simulator said of themselves; each carries an id of its own."""
        said: dict[str, list[dict[str, str]]] = httpx.get(
            f"http://127.0.0.1:{self.place.sandbox_port}/control/seen", timeout=5
        ).json()
        return said[simulator]

    def events(self, **criteria: Any) -> list[Mapping[str, Any]]:
        """The log as its operator reads it: the bodies of events, newest first."""
        folder = self.place.folder

        async def ask() -> list[Mapping[str, Any]]:
            keys = Keys.load(folder / "keys", mode="sandbox")
            store = await open_store(self.database, keys, name="test", serve=False)
            try:
                return [event.body for event in await store.log.ask(LogQuestion(**{"limit": 1000, **criteria}))]
            finally:
                await store.close()

        return asyncio.run(ask())

    def of_request(self, response: httpx.Response) -> list[Mapping[str, Any]]:
        """The events of one request, oldest first."""
        return [event for event in self.events() if event["request_id"] == response.headers["x-request-id"]][::-1]

    def change(self, statement: str, *values: object) -> None:
        """What time or another system would do to the database: one statement beside the serving gateway."""
        self._on_database(statement, values)

    def ask_database(self, statement: str, *values: object) -> list[Any]:
        """Rows of the database, read beside the serving gateway."""
        return self._on_database(statement, values)

    def _on_database(self, statement: str, values: Sequence[object]) -> list[Any]:
        if not self.database.startswith("sqlite:///"):
            numbered = "".join(f"{part}${place}" for place, part in enumerate(statement.split("?"), 1))
            return asyncio.run(_on_postgres(self.database, numbered.rpartition("$")[0], values))
        with contextlib.closing(sqlite3.connect(self.database.removeprefix("sqlite:///"), timeout=10)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def log_text(self) -> str:
        """Everything the gateway has logged so far."""
        return (self.place.folder / "gateway.log").read_text("utf-8")

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.place.port + 1}/metrics", timeout=5).text


def _token(place: demo.Place, asker: demo.Asker) -> str:
    """What `gateway token` does."""
    given = (asker.client, asker.organisation, asker.role, asker.purpose, asker.subject, asker.name)
    asked = token_client.Asked(*given, asker.case or None, asker.scope or "system/*.rs")
    key = token_client.read_key(place.folder / "clients" / f"{asker.client}.jwk")
    return str(token_client.exchange(place.base, asked, key)["access_token"])


async def _on_postgres(url: str, statement: str, values: Sequence[object]) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement, *values)]
    finally:
        await connection.close()


@dataclass(frozen=True)
class Journey:
    """A demonstration under way."""

    process: "subprocess.Popen[str]"
    folder: Path
    port: int


def begin_journey(folder: Path, port: int) -> Journey:
    """What `make demo ONCE=1` runs."""
    command = [sys.executable, "-m", "sandbox.demo", "--once", "--folder", str(folder)]
    environment = {**os.environ, "GATEWAY_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return Journey(process, folder, port)


def resources(response: httpx.Response, resource_type: str = "") -> list[dict[str, Any]]:
    """The match entries, of one type or of all."""
    return [
        entry["resource"]
        for entry in response.json().get("entry", [])
        if entry["resource"]["resourceType"] == (resource_type or entry["resource"]["resourceType"])
        and entry["search"]["mode"] == "match"
    ]


def states(response: httpx.Response) -> dict[str, str]:
    """Source -> state, as the Gateway-Sources header says it."""
    items = [
        item.strip().split(";")[0].split("=") for item in response.headers.get("gateway-sources", "").split(",") if item.strip()
    ]
    return dict(items)


def outcome(response: httpx.Response) -> dict[str, Any]:
    """The OperationOutcome entry of a Bundle."""
    (entry,) = [entry for entry in response.json()["entry"] if entry["search"]["mode"] == "outcome"]
    resource: dict[str, Any] = entry["resource"]
    return resource


def told(response: httpx.Response) -> dict[str, str]:
    """Source -> what its line of the outcome entry says."""
    issues = [issue["details"] for issue in outcome(response)["issue"] if "coding" in issue["details"]]
    return {details["coding"][0]["code"]: details["text"] for details in issues if len(details["coding"]) > 1}


def shape(response: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """An answer without what is new in every answer (receipt, ids, date): two answers alike have equal shapes."""
    body = response.json()
    body.pop("identifier", None)
    skipped = {"gateway-receipt", "x-request-id", "x-correlation-id", "date"}
    headers = {name: value for name, value in response.headers.items() if name not in skipped}
    return response.status_code, json.dumps(body, sort_keys=True).encode(), headers


def references(value: Any) -> Iterator[str]:
    """Every literal reference anywhere in a resource."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "reference" and isinstance(part, str):
                yield part
            else:
                yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def urls(response: httpx.Response) -> list[str]:
    """Every URL that an answer hands out: links, fullUrls, headers."""
    found = [value for name, value in response.headers.items() if name in ("location", "content-location", "link")]
    if "json" not in response.headers.get("content-type", ""):
        return found
    body = response.json()
    if isinstance(body, dict) and body.get("resourceType") == "Bundle":
        found += [link["url"] for link in body.get("link", [])]
        found += [entry["fullUrl"] for entry in body.get("entry", []) if "fullUrl" in entry]
    return found


def holds_a_number(text: str) -> str | None:
    """The first NHS number of the families in a text, written whole or in its usual groups."""
    plain = re.sub(r"(?<=\d)[ \-](?=\d)", "", text)
    return next((number for number in EVERY_NUMBER if number in text or number in plain), None)


def eventually(holds: Any, *, seconds: float = 30) -> None:
    """Wait until something holds; the last try may fail the test."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return
        time.sleep(0.1)
    assert holds()


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def free_ports() -> int:
    """A port so that it, the next one and the hundredth are free: main, operations, sandbox.

    They are taken later, one by one: so the processes that share the suite each look in a part of their own.
    """
    lowest = 20_000 + 3_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
    for _ in range(200):
        port = random.randrange(lowest, lowest + 2_800)
        if all(_is_free(number) for number in (port, port + 1, port + 2, port + 3, port + 100)):
            return port
    raise RuntimeError("no free ports")


@contextlib.contextmanager
def running(place: demo.Place, *, database: str = "") -> Iterator[None]:
    """The demonstration's place, on SQLite or the database of this URL, and on no other place's.

    What seeds it are the same commands, in this process: test_demo has them as processes.
    """

    def sooner(place: demo.Place, *arguments: str) -> str:
        done = gateway(place.environment, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed, "gateway", sooner)
        patch.delenv("GATEWAY_DATABASE_URL", raising=False)
        if database:
            patch.setenv("GATEWAY_DATABASE_URL", database)
        with demo.running(place):
            yield


def a_place(folder: Path) -> demo.Place:
    return demo.Place(folder, free_ports())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

"""One whole place for all end-to-end tests of a run: sandbox and gateway as `make demo` sets them up, over real sockets."""

import random
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox import demo
from sandbox.families import BY_KEY

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"


@dataclass
class World:
    """The running place, as partner systems meet it."""

    place: demo.Place
    http: httpx.Client
    _tokens: dict[demo.Asker, str] = field(default_factory=dict)

    def token(self, asker: demo.Asker) -> str:
        """One access token for each asker, by the real exchange."""
        if asker not in self._tokens:
            self._tokens[asker] = demo.token(self.place, asker)
        return self._tokens[asker]

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
        command = [demo.GATEWAY, *arguments]
        return subprocess.run(command, env=self.place.environment, input=stdin, capture_output=True, text=True, check=False)

    def sandbox(self, fault: str, simulator: str, number: str = "*", *, seconds: float = 30) -> None:
        """Order a fault of a simulator."""
        order = {"simulator": simulator, "nhs_number": number, "fault": fault, "seconds": seconds}
        httpx.post(f"http://127.0.0.1:{self.place.sandbox_port}/control/faults", json=order, timeout=5).raise_for_status()

    def heal(self) -> None:
        """End every ordered fault."""
        httpx.delete(f"http://127.0.0.1:{self.place.sandbox_port}/control/faults", timeout=5).raise_for_status()

    def log_text(self) -> str:
        """Everything the gateway has logged so far."""
        return (self.place.folder / "gateway.log").read_text("utf-8")


def resources(response: httpx.Response, resource_type: str) -> list[dict[str, Any]]:
    """The match entries of one type."""
    entries = response.json().get("entry", [])
    return [
        entry["resource"]
        for entry in entries
        if entry["resource"]["resourceType"] == resource_type and entry["search"]["mode"] == "match"
    ]


def states(response: httpx.Response) -> dict[str, str]:
    """Source -> state, as the Gateway-Sources header says it."""
    items = [
        item.strip().split(";")[0].split("=") for item in response.headers.get("gateway-sources", "").split(",") if item.strip()
    ]
    return dict(items)


def shape(response: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """An answer without what is new in every answer (receipt, ids, date): two answers alike have equal shapes."""
    body = response.json()
    body.pop("identifier", None)
    skipped = {"gateway-receipt", "x-request-id", "x-correlation-id", "date", "content-length"}
    headers = {name: value for name, value in response.headers.items() if name not in skipped}
    return response.status_code, httpx.Response(200, json=body).content, headers


def _free_ports() -> int:
    """A port so that it, the next one and the hundredth are free: main, operations, sandbox."""
    for _ in range(200):
        port = random.randrange(20_000, 50_000)
        if all(_is_free(number) for number in (port, port + 1, port + 100)):
            return port
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole place, once for the run."""
    place = demo.Place(Path(tmp_path_factory.mktemp("place")), _free_ports())
    with demo.running(place), httpx.Client(base_url=place.base, timeout=20) as http:
        yield World(place, http)


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a fault behind."""
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").heal()

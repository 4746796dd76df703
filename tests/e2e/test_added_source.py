"""A foreign source, added by the commands of docs/writing-an-adapter.md alone, answers over the API; then it grows a field."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from whole_place import World, free_ports

from gateway.ports import WorkItem
from gateway.store import Keys, open_store
from tests.walkthrough import FENCE, LIVE, PAGE, environment, live


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The author's folder, with the page's files as it leaves them."""
    folder = tmp_path_factory.mktemp("author")
    for found in FENCE.finditer(PAGE.read_text("utf-8")):
        if found["title"]:
            file = folder / found["title"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found["body"], "utf-8")
    package = folder / "adapters" / "early_help"
    (package / "__init__.py").touch()
    (package / "quality.yaml").write_text("tier: sandbox\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def shown(world: World, author: Path) -> str:
    """The page with what its live blocks print here and now."""
    if shutil.which("curl") is None:
        pytest.skip("curl is missing: apt-get install curl")
    pds = f"http://127.0.0.1:{world.place.sandbox_port}/pds/personal-demographics/FHIR/R4"
    return live(PAGE.read_text("utf-8"), author, pds=pds, port=free_ports())


def test_what_the_page_shows_of_a_live_source_is_what_happens(shown: str):
    here = [found["body"] for found in LIVE.finditer(shown)]
    there = [found["body"] for found in LIVE.finditer(PAGE.read_text("utf-8"))]
    assert here == there, "python -m tests.walkthrough --live writes the page anew"


def test_no_file_of_the_author_is_python(author: Path, shown: str):
    assert [file.name for file in author.rglob("*.py") if file.name != "__init__.py"] == []


def test_drift_names_the_field_and_no_value_and_becomes_a_work_item(author: Path, shown: str):
    env = {**environment(), "GATEWAY_CONFIG": "gateway.toml"}
    done = subprocess.run(
        ["gateway", "adapter", "drift", "--json"], cwd=author, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert [(one["source"], one["path"]) for one in told["drift"]] == [("early-help", "Risk")]
    assert "low" not in done.stdout
    log = (author / "served").read_text("utf-8")
    assert [json.loads(line)["path"] for line in log.splitlines() if "drift.found" in line] == ["Risk"]
    (item,) = asyncio.run(work_items(author))
    assert (item.kind, item.source, item.owner) == ("drift", "early-help", "Early help team, Northshire")


async def work_items(author: Path) -> Sequence[WorkItem]:
    keys = Keys.load(author / "var" / "keys", mode="sandbox")
    store = await open_store(f"sqlite:///{author / 'var' / 'gateway.db'}", keys, name="test", serve=False)
    try:
        return await store.work.list(kind="drift")
    finally:
        await store.close()


def test_set_to_refuse_the_source_gives_nothing_of_a_record_with_a_field_no_map_knows(world: World, author: Path, shown: str):
    config = author / "gateway.toml"
    config.write_text(config.read_text("utf-8") + 'drift = "refuse"\n', "utf-8")
    port = free_ports()
    pds = f"http://127.0.0.1:{world.place.sandbox_port}/pds/personal-demographics/FHIR/R4"
    env = {**environment(), "GATEWAY_CONFIG": "gateway.toml", "GATEWAY_PDS__BASE_URL": pds}
    env |= {"GATEWAY_PORT": str(port), "GATEWAY_OPERATIONS_PORT": str(port + 1), "GATEWAY_BASE_URL": f"http://127.0.0.1:{port}"}
    with (author / "served").open("w") as log:
        serving = subprocess.Popen(["gateway", "serve"], cwd=author, env=env, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if httpx.get(f"http://127.0.0.1:{port + 1}/ready", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        given = ["token", "--server", f"http://127.0.0.1:{port}", "--client", "centre", "--key", "centre.jwk"]
        given += ["--organisation", "dfe-urn:199901", "--subject", "willow-7", "--subject-name", "Cara Centre"]
        given += ["--role", "urn:shared-care-gateway:CodeSystem:role|centre-worker", "--purpose", "EARLYHELP"]
        token = subprocess.run(
            ["gateway", *given], cwd=author, env=env, capture_output=True, text=True, check=True
        ).stdout.strip()
        answer = httpx.post(
            f"http://127.0.0.1:{port}/fhir/Encounter/_search",
            data={"patient:identifier": "https://fhir.nhs.uk/Id/nhs-number|9990000107"},
            headers={"authorization": f"Bearer {token}", "accept": "application/fhir+json"},
            timeout=20,
        )
    finally:
        serving.terminate()
        serving.wait(20)
    assert answer.status_code == 200
    types = [entry["resource"]["resourceType"] for entry in answer.json()["entry"]]
    assert "Encounter" not in types

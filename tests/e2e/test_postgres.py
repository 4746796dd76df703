"""Two `gateway serve` processes on one PostgreSQL database are one gateway."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgres_server
import pytest
from whole_place import World, a_place, eventually, resources, running, states

from sandbox import demo
from sandbox.demo import AUDITOR, GP, VISITOR
from sandbox.families import BY_KEY

pytestmark = pytest.mark.postgres

AMARA = BY_KEY["amara"].nhs_number


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """One place, seeded as the demonstration's, whose database is PostgreSQL; and a second worker beside the first."""
    place = a_place(Path(tmp_path_factory.mktemp("pair")))
    with postgres_server.server() as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("GATEWAY_BASE_URL", place.base)
        with running(place, database=url):
            beside = {"GATEWAY_PORT": str(place.port + 2), "GATEWAY_OPERATIONS_PORT": str(place.port + 3)}
            with (place.folder / "second.log").open("wb") as out:
                second = subprocess.Popen([demo.GATEWAY, "serve"], env={**place.environment, **beside}, stdout=out, stderr=out)
            try:
                demo.wait(f"http://127.0.0.1:{place.port + 3}/ready", second, place.folder / "second.log", want=200)
                with (
                    httpx.Client(base_url=place.base, timeout=20) as one,
                    httpx.Client(base_url=f"http://127.0.0.1:{place.port + 2}", timeout=20) as two,
                ):
                    first = World(place, one)
                    yield first, World(place, two, _tokens=first._tokens)
            finally:
                second.terminate()
                second.wait(15)


def test_two_workers_give_the_same_answer_to_the_same_token(pair: tuple[World, World]) -> None:
    one, two = pair
    for asker, key in ((GP, "amara"), (VISITOR, "dara"), (GP, "isla"), (GP, "mia")):
        here, there = one.everything(asker, key), two.everything(asker, key)
        assert here.status_code == there.status_code == 200
        assert states(here) == states(there)
        kept = [[one for one in resources(answer) if one["resourceType"] != "Provenance"] for answer in (here, there)]
        assert kept[0] == kept[1]
    assert resources(two.everything(GP, "amara"), "Flag")


def test_a_page_begun_at_one_worker_goes_on_at_the_other(pair: tuple[World, World]) -> None:
    one, two = pair
    (patient,) = resources(one.find(GP, AMARA), "Patient")
    first = one.get(GP, f"/fhir/Patient/{patient['id']}/$everything?_count=4")
    (url,) = [link["url"] for link in first.json()["link"] if link["relation"] == "next"]
    second = two.get(GP, url.removeprefix(one.place.base))
    assert second.status_code == 200
    whole = [resource["id"] for resource in resources(one.everything(GP, "amara"))]
    assert [resource["id"] for page in (first, second) for resource in resources(page)] == whole[: len(resources(second)) + 4]


def test_a_client_revoked_at_one_worker_is_refused_by_the_others_next_request(pair: tuple[World, World]) -> None:
    one, two = pair
    brief = one.register(GP, "riverside-brief")
    assert two.find(brief, AMARA).status_code == 200
    assert one.command("client", "revoke", brief.client).returncode == 0
    assert two.find(brief, AMARA).status_code == 401
    assert one.find(brief, AMARA).status_code == 401


def test_a_consent_withdrawn_counts_at_both_workers_at_once(pair: tuple[World, World]) -> None:
    one, two = pair
    asker, number = demo.CENTRE, BY_KEY["mia"].nhs_number
    assert resources(two.find(asker, number))
    one.withdraw("share-centres", number)
    assert resources(two.find(asker, number)) == resources(one.find(asker, number)) == []


def test_every_delivery_was_taken_once_and_the_log_of_both_writers_holds_together(pair: tuple[World, World]) -> None:
    one, two = pair
    assert (
        one.find(GP, AMARA).headers["gateway-receipt"].split(".")[1]
        != two.find(GP, AMARA).headers["gateway-receipt"].split(".")[1]
    )
    answer = two.get(AUDITOR, "/fhir/AuditEvent?_count=100")
    assert len({event["source"]["site"] for event in resources(answer, "AuditEvent")}) >= 2
    done = one.command("log", "verify")
    assert (done.returncode, done.stdout) == (0, "The log holds together.\n"), done.stderr


def test_a_policy_activated_elsewhere_makes_workers_that_do_not_hold_it_answer_503(pair: tuple[World, World]) -> None:
    one, two = pair
    folder = one.place.folder / "another_policy"
    shutil.copytree(Path(demo.__file__).parents[2] / "consent_policy", folder)
    with (folder / "audit.cedar").open("a", encoding="utf-8") as file:
        file.write("\n// Reviewed again.\n")
    activated = one.command("policy", "activate", "--folder", str(folder))
    assert activated.returncode == 0, activated.stderr
    try:
        for world in pair:
            assert world.find(GP, AMARA).status_code == 503  # the very next request, on every worker
            assert world.search(GP, "Immunization", "9990020302").json()["issue"][0]["code"] == "transient"
        eventually(lambda: httpx.get(f"http://127.0.0.1:{one.place.port + 3}/ready").json()["policy"] is False)
    finally:
        assert one.command("policy", "activate").returncode == 0
    for world in (one, two):
        eventually(lambda world=world: world.find(GP, AMARA).status_code == 200)

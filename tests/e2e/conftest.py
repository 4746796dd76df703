"""One whole place for all end-to-end tests of a run: sandbox and gateway as `make demo` sets them up, over real sockets."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgres_server
import pytest
from whole_place import World, a_place, eventually, running, states

from sandbox import demo
from sandbox.demo import GP
from sandbox.families import BY_KEY


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole place, once for the run. TEST_DATABASE=postgresql: the same tests on the other database."""
    place = a_place(Path(tmp_path_factory.mktemp("place")))
    if os.environ.get("TEST_DATABASE") == "postgresql":
        with postgres_server.server() as url:
            yield from _running(place, url)
    else:
        yield from _running(place, "")


def _running(place: demo.Place, database: str) -> Iterator[World]:
    answers: list[httpx.Response] = []

    def keep(response: httpx.Response) -> None:
        response.read()
        answers.append(response)

    with (
        running(place, database=database),
        httpx.Client(base_url=place.base, timeout=20, event_hooks={"response": [keep]}) as http,
    ):
        yield World(place, http, answers)


@pytest.fixture
def breaker_closed(world: World) -> Iterator[None]:
    """For tests that make a source fail: a good answer ends the row of failures for the next test."""
    yield
    world.heal()
    searched = lambda: world.search(GP, "AllergyIntolerance", BY_KEY["amara"].nhs_number)  # noqa: E731
    eventually(lambda: states(searched())["gp"] == "answered", seconds=20)  # an open circuit rests for 15


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a fault behind."""
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").heal()

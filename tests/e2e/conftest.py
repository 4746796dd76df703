"""One whole place for all end-to-end tests of a run: sandbox and gateway as `make demo` sets them up, over real sockets."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import postgres_server
import pytest
from whole_place import Journey, World, a_place, begin_journey, eventually, free_ports, states

from sandbox import demo
from sandbox.demo import GP
from sandbox.families import BY_KEY


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole place, once for the run. TEST_DATABASE=postgresql: the same tests on the other database."""
    place = a_place(Path(tmp_path_factory.mktemp("place")))
    if os.environ.get("TEST_DATABASE") == "postgresql":
        with postgres_server.server() as url, pytest.MonkeyPatch.context() as environment:
            environment.setenv("GATEWAY_DATABASE_URL", url)
            yield from _running(place)
    else:
        yield from _running(place)


def _running(place: demo.Place) -> Iterator[World]:
    answers: list[httpx.Response] = []

    def keep(response: httpx.Response) -> None:
        response.read()
        answers.append(response)

    with demo.running(place), httpx.Client(base_url=place.base, timeout=20, event_hooks={"response": [keep]}) as http:
        yield World(place, http, answers)


@pytest.fixture(scope="session", autouse=True)
def journey(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey | None]:
    """`make demo ONCE=1`, begun with the first test and read by test_demo: it takes its time beside the others."""
    if not any(item.fspath.basename == "test_demo.py" for item in request.session.items):
        yield None
        return
    begun = begin_journey(tmp_path_factory.mktemp("journey") / "demo", free_ports())
    yield begun
    begun.process.kill()
    begun.process.communicate()


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is said of the whole run is asked last; before it, what ends somebody for good, with all that others told of them."""
    items.sort(key=lambda item: ("over_the_whole_run" in item.name, "is_sealed" in item.name))

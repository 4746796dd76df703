"""One whole place for all end-to-end tests of a run: sandbox and gateway as `make demo` sets them up, over real sockets."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from whole_place import World, a_place

from sandbox import demo


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole place, once for the run."""
    place = a_place(Path(tmp_path_factory.mktemp("place")))
    answers: list[httpx.Response] = []

    def keep(response: httpx.Response) -> None:
        response.read()
        answers.append(response)

    with demo.running(place), httpx.Client(base_url=place.base, timeout=20, event_hooks={"response": [keep]}) as http:
        yield World(place, http, answers)


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves a fault behind."""
    yield
    if "world" in request.fixturenames:
        request.getfixturevalue("world").heal()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is said of the whole run is asked last."""
    items.sort(key=lambda item: "over_the_whole_run" in item.name)

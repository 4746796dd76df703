"""The whole place, for tests that attack it over HTTP: one of its own, so that what is broken here breaks nothing else."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.whole_place import World, a_place, running


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole place, once for the run."""
    place = a_place(Path(tmp_path_factory.mktemp("attacked")))
    with running(place), httpx.Client(base_url=place.base, timeout=20) as http:
        yield World(place, http, [])

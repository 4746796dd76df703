"""The store over both databases: every contract test runs on each."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import postgres_server
import pytest

from gateway.store import Keys, Store, open_store


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[str]:
    with postgres_server.server() as url:
        yield url


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.create_sandbox(tmp_path / "keys")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'gateway.db'}"
        return
    server: str = request.getfixturevalue("running_postgres")
    name = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    yield server.rsplit("/", 1)[0] + "/" + name
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def store(url: str, keys: Keys) -> AsyncIterator[Store]:
    opened = await open_store(url, keys, name="test")
    yield opened
    await opened.close()

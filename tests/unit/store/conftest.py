"""The store over both databases: every contract test runs on each."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import migrated
import postgres_server
import pytest

from gateway.store import Keys, Store, open_store
from gateway.store.schema import upgrade


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[str]:
    with postgres_server.server() as url:
        yield url


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.create_sandbox(tmp_path / "keys")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database of each kind; where the test opens a store, with its tables."""
    opened = "store" in request.fixturenames
    if request.param == "sqlite" and opened:
        yield migrated.sqlite(tmp_path / "gateway.db")
        return
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'gateway.db'}"
        return
    server: str = request.getfixturevalue("running_postgres")
    name = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    connection = await asyncpg.connect(server)
    template = "migrated" if opened else "template1"
    if opened and not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = 'migrated'"):
        await connection.execute("CREATE DATABASE migrated")
        await asyncio.to_thread(upgrade, server.rsplit("/", 1)[0] + "/migrated")
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.rsplit("/", 1)[0] + "/" + name
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def store(url: str, keys: Keys) -> AsyncIterator[Store]:
    opened = await open_store(url, keys, name="test")
    yield opened
    await opened.close()

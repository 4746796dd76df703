"""The store: every port that is our own database, over SQLite or PostgreSQL.

`open_store` is the only way in. Hot statements are SQLAlchemy Core, compiled once per dialect and run by sqlite3 or
asyncpg; a unit of work is a generator (database.py), so both databases run the same text.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.errors import StartupRefused, StoreDown
from gateway.store.clients import StoredClients
from gateway.store.consents import StoredConsents
from gateway.store.crosswalk import StoredCrosswalk
from gateway.store.database import Database
from gateway.store.drifts import StoredDrifts
from gateway.store.endings import Endings
from gateway.store.facts import StoredFacts
from gateway.store.key_checks import check_keys
from gateway.store.keys import Keys, NotOpened
from gateway.store.limits import StoredLimits
from gateway.store.local_records import StoredLocalRecords
from gateway.store.log import StoredLog
from gateway.store.mandates import StoredMandates
from gateway.store.parcels import StoredParcels
from gateway.store.persons import StoredPersons
from gateway.store.policy_activation import StoredPolicyActivation
from gateway.store.protections import StoredProtections
from gateway.store.queue import StoredQueue
from gateway.store.recalls import StoredRecalls
from gateway.store.relationships import StoredRelationships
from gateway.store.schema import check_schema, is_current
from gateway.store.shelf import StoredShelf
from gateway.store.suppressions import StoredSuppressions
from gateway.store.verify import Fault, verify
from gateway.store.worklist import StoredWorkList

__all__ = ["Fault", "Keys", "NotOpened", "Store", "open_store"]

_SEQUENCE_EVERY_S = 0.5
_SWEEP_EVERY = 120  # sequence rounds


class Store:
    """The ports, and the connection they share."""

    def __init__(
        self, database: Database, keys: Keys, *, name: str, traces_per_second: float, clock: Callable[[], datetime]
    ) -> None:
        self.name = name
        self.database = database
        self.keys = keys
        self.crosswalk = StoredCrosswalk(database, keys, clock=clock)
        self.local_records = StoredLocalRecords(database, keys, self.crosswalk, clock=clock)
        endings = Endings(keys, self.crosswalk, self.local_records)
        self.persons = StoredPersons(database, keys, endings, traces_per_second=traces_per_second, clock=clock)
        self.facts = StoredFacts(database, keys)
        self.log = StoredLog(database, keys, clock=clock)
        self.clients = StoredClients(database)
        self.limits = StoredLimits(database)
        self.shelf = StoredShelf(database, keys, clock=clock)
        self.protections = StoredProtections(database, keys, clock=clock)
        self.suppressions = StoredSuppressions(database, keys, clock=clock)
        self.relationships = StoredRelationships(database, keys, clock=clock)
        self.consents = StoredConsents(database, keys, clock=clock)
        self.queue = StoredQueue(database)
        self.parcels = StoredParcels(database, keys)
        self.mandates = StoredMandates(database)
        self.recalls = StoredRecalls(database, keys)
        self.drifts = StoredDrifts(database)
        self.work = StoredWorkList(database, keys, clock=clock)
        self.policy_activation = StoredPolicyActivation(database)
        self._clock = clock
        self._upkeep: asyncio.Task[None] | None = None

    def start_upkeep(self) -> None:
        """Number committed events and clear spent rows, as long as this process serves."""
        self._upkeep = asyncio.get_running_loop().create_task(self._keep_up())

    async def is_current(self) -> bool:
        """Whether the schema still is this program's. Raises `StoreDown`."""
        return await is_current(self.database)

    async def verify(self) -> list[Fault]:
        """Read the whole log and name every fault. Raises `StoreDown`."""
        await self.log.sequence()
        return await verify(self.database)

    async def close(self) -> None:
        """Finish what is waiting and let go of the database."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._upkeep
        await self.log.landed()
        await self.database.close()

    async def _keep_up(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(_SEQUENCE_EVERY_S)
            rounds += 1
            # A database that is away comes back: the next round tries again, and requests say so meanwhile.
            with contextlib.suppress(StoreDown):
                await self.log.sequence(wait=False)
                if rounds % _SWEEP_EVERY == 0:
                    await self.limits.purge(self._clock())
                    await self.log.purge_replays(self._clock())


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


async def open_store(
    database_url: str,
    keys: Keys,
    *,
    name: str,
    serve: bool = True,
    alone: bool = False,
    traces_per_second: float = 5.0,
    clock: Callable[[], datetime] = utc_now,
) -> Store:
    """A database URL -> the store. `serve` False: a command beside a server, one short transaction at a time. `alone`: nothing
    else may have the database open, wherever it runs; of SQLite no server.

    An empty database gets its tables. Raises `StartupRefused` for one that is older than this program, that cannot
    promise durable commits, that was written with other keys, or that another process serves (SQLite) or has alone.
    """
    await asyncio.to_thread(check_schema, database_url)
    if database_url.startswith("sqlite:///"):
        from gateway.store.engine_sqlite import SqliteDatabase

        database: Database = SqliteDatabase(Path(database_url.removeprefix("sqlite:///")), serve=serve or alone)
    elif database_url.startswith(("postgresql://", "postgres://")):
        from gateway.store.engine_postgres import open_postgres

        database = await open_postgres(database_url, alone=alone)
    else:
        raise StartupRefused("GATEWAY_DATABASE_URL must begin with sqlite:/// or postgresql://")
    try:
        await check_keys(database, keys)
    except StartupRefused:
        await database.close()
        raise
    except StoreDown:
        await database.close()
        raise StartupRefused("The database cannot be read: is its disk full, or is PostgreSQL down?") from None
    store = Store(database, keys, name=name, traces_per_second=traces_per_second, clock=clock)
    if serve:
        store.start_upkeep()
    return store

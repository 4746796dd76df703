"""The PostgreSQL engine: durable or not at all, several writers, one dense log."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import postgres_server
import pytest
from store_world import CHILD, NOW, OTHER, entry

from gateway.errors import AuditDown, StartupRefused, StoreDown
from gateway.ports import LogQuestion
from gateway.store import Keys, Store, engine_postgres, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
async def test_a_server_that_may_lose_commits_is_refused_by_the_settings_name(keys: Keys, setting: str) -> None:
    with postgres_server.server(**{setting: "off"}) as url, pytest.raises(StartupRefused, match=setting):
        await open_store(url, keys, name="t")


async def test_a_server_that_goes_away_is_store_down_and_audit_down_and_comes_back(keys: Keys) -> None:
    with postgres_server.server() as url:
        store = await open_store(url, keys, name="t")
        assert await store.log.append([entry()]) is not None
    try:
        with pytest.raises(AuditDown):
            await store.log.append([entry()])
        with pytest.raises(StoreDown):
            await store.facts.read(CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
        with pytest.raises(StoreDown):
            await store.clients.revoke("c")
    finally:
        await store.close()


async def test_nobody_at_the_address_is_refused_with_what_to_do(keys: Keys) -> None:
    with pytest.raises(StartupRefused, match="GATEWAY_DATABASE_URL"):
        await open_store("postgresql://postgres@127.0.0.1:1/postgres", keys, name="t")


async def test_workers_that_start_together_on_an_empty_database_all_start(running_postgres: str, keys: Keys) -> None:
    stores = await _workers(running_postgres, keys, "together")
    await _close(stores)


async def test_events_of_several_writers_get_one_dense_index(running_postgres: str, keys: Keys) -> None:
    stores = await _workers(running_postgres, keys, "dense")
    try:

        async def one(store: Store, n: int) -> None:
            await asyncio.sleep(n % 7 / 1000)
            assert await store.log.append([entry(request_id=f"{n}"), entry(kind="disclosure")]) is not None

        await asyncio.gather(*(one(store, n) for store in stores for n in range(60)))
        events = await stores[0].log.ask(LogQuestion(limit=1000))
        assert [event.index for event in events] == list(range(len(stores) * 120 - 1, -1, -1))
        assert len({event.writer for event in events}) == len(stores)
        assert await stores[1].verify() == []
    finally:
        await _close(stores)


async def test_a_committed_event_is_numbered_within_a_second_without_being_asked_for(running_postgres: str, keys: Keys) -> None:
    stores = await _workers(running_postgres, keys, "upkeep")
    try:
        await stores[0].log.append([entry()])
        connection = await asyncpg.connect(running_postgres.rsplit("/", 1)[0] + "/upkeep")
        await asyncio.sleep(1.2)
        assert await connection.fetchval("SELECT position FROM event") == 0
        await connection.close()
    finally:
        await _close(stores)


async def test_disclosures_and_changes_of_the_same_people_neither_deadlock_nor_pass_each_other(
    running_postgres: str, keys: Keys
) -> None:
    stores = await _workers(running_postgres, keys, "moves")
    released = 0

    async def disclose(store: Store, number: Any) -> None:
        nonlocal released
        for _ in range(15):
            facts = await store.facts.read(number, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
            await asyncio.sleep(0)
            if await store.log.append([entry(kind="disclosure", person=number)], unless_moved=(number, facts.version)):
                released += 1

    async def change(store: Store) -> None:
        for _ in range(10):
            await store.protections.assert_locks("a", {CHILD: frozenset({"x"}), OTHER: frozenset({"x"})}, NOW, snapshot=False)
            await store.protections.assert_locks("a", {CHILD: frozenset(), OTHER: frozenset()}, NOW, snapshot=False)

    try:
        await asyncio.gather(
            *(disclose(store, number) for store in stores for number in (CHILD, OTHER)), *(change(store) for store in stores)
        )
        assert released <= len(stores) * 30
        assert len(await stores[0].log.ask(LogQuestion(limit=1000))) == released
        assert await stores[0].verify() == []
    finally:
        await _close(stores)


async def test_whoever_changes_the_keys_has_the_database_alone_and_nothing_starts_beside_it(
    running_postgres: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_postgres, "_LOCK_WAIT", "50ms")
    stores, url = await _workers(running_postgres, keys, "alone"), running_postgres.rsplit("/", 1)[0] + "/alone"
    with pytest.raises(StartupRefused, match="stop every one"):
        await open_store(url, keys, name="rotate", serve=False, alone=True)
    await _close(stores)
    rotating = await open_store(url, keys, name="rotate", serve=False, alone=True)
    for serve in (True, False):
        with pytest.raises(StartupRefused, match="are being changed"):
            await open_store(url, keys, name="t", serve=serve)
    await rotating.close()
    await _close([await open_store(url, keys, name="t")])


async def test_a_server_whose_connections_were_cut_takes_its_hold_again_or_serves_no_more(
    running_postgres: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_postgres, "_LOCK_WAIT", "50ms")
    monkeypatch.setattr(engine_postgres, "_LOOKED_AFTER_S", 0.2)
    (store, *others), url = await _workers(running_postgres, keys, "cut", count=1), running_postgres.rsplit("/", 1)[0] + "/cut"
    outside = await asyncpg.connect(url)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock'"
    try:
        assert (others, await outside.fetchval(cut)) == ([], 1)
        await asyncio.sleep(0.6)
        assert await outside.fetchval(held) == 1
        assert await store.log.append([entry()]) is not None
        await outside.fetchval(cut)
        await outside.execute(f"SELECT pg_advisory_lock({engine_postgres._KEYS_LOCK})")  # somebody changes the keys
        await asyncio.sleep(0.6)
        with pytest.raises(AuditDown):
            await store.log.append([entry()])
    finally:
        await outside.close()
        await store.close()


async def test_a_server_whose_lock_was_lost_while_a_key_was_forgotten_serves_no_more(
    running_postgres: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_postgres, "_LOOKED_AFTER_S", 0.2)
    (store, *_), url = await _workers(running_postgres, keys, "gap", count=1), running_postgres.rsplit("/", 1)[0] + "/gap"
    outside = await asyncpg.connect(url)
    try:
        await asyncio.sleep(0.4)
        await outside.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
        )
        await outside.execute("DELETE FROM key_check WHERE use = (SELECT min(use) FROM key_check)")
        await asyncio.sleep(0.6)
        with pytest.raises(AuditDown):
            await store.log.append([entry()])
    finally:
        await outside.close()
        await store.close()


async def test_a_released_disclosure_was_decided_on_facts_that_held_when_it_was_committed(
    running_postgres: str, keys: Keys
) -> None:
    """While a disclosure's transaction holds the version, a change of consent waits: it is never acknowledged before."""
    (store, other) = await _workers(running_postgres, keys, "holds", count=2)
    connection = await asyncpg.connect(running_postgres.rsplit("/", 1)[0] + "/holds")
    try:
        held = connection.transaction()
        await held.start()
        await connection.execute("LOCK TABLE event IN EXCLUSIVE MODE")  # the disclosure stops after its comparison
        disclosure = asyncio.ensure_future(store.log.append([entry(kind="disclosure")], unless_moved=(CHILD, 0)))
        await asyncio.sleep(0.3)
        change = asyncio.ensure_future(
            other.consents.put(
                CHILD, scope="store", decision="deny", given_by="p", recorded_by="x", starts=NOW, ends=None, evidence="e"
            )
        )
        await asyncio.sleep(0.3)
        assert not disclosure.done()
        assert not change.done()
        await held.rollback()
        assert await disclosure is not None
        await change
    finally:
        await connection.close()
        await _close((store, other))


async def _workers(server: str, keys: Keys, name: str, *, count: int = 3) -> Sequence[Store]:
    connection = await asyncpg.connect(server)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    url = server.rsplit("/", 1)[0] + "/" + name
    return await asyncio.gather(*(open_store(url, keys, name=f"worker-{n}") for n in range(count)))


async def _close(stores: Sequence[Store]) -> None:
    await asyncio.gather(*(store.close() for store in stores))

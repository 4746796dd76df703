"""Keys: a database knows its own; a key is replaced, what it sealed is sealed anew, it goes; what was written stays readable."""

import asyncio
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from store_world import CHILD, NOW, OTHER, entry
from test_store_parcels import mandate, parcel
from typer.testing import CliRunner

from gateway.cli import main
from gateway.errors import StartupRefused, StoreDown
from gateway.model import ParcelState
from gateway.ports import CrosswalkRow, LocalRecord, LogQuestion, NewWork, ShelfRow, Traced
from gateway.store import Keys, Store, key_rotation, open_store
from gateway.store.tables import METADATA

pytestmark = pytest.mark.anyio

OF_THE_DATABASE = ("number-hash", "audit-index", "resource-id", "number-sealing", "shelf-sealing")
COPY = ShelfRow("authority", "s", "flag", "1", CHILD, NOW, b"{}", NOW + timedelta(days=9))
ITEM = NewWork("match", "several", "authority", "records", NOW, "match:LA-1", person=CHILD, local_ref="LA-1")
TRACED = Traced(CHILD, date(2024, 3, 14), False, False, "ods:A99901", {"resourceType": "Patient"}, "2")
LINK = CrosswalkRow("authority", "LA-1", CHILD, date(2024, 3, 14), NOW.date(), "test")
RECORD = LocalRecord("authority", "LA-2", OTHER, "Testwell", "Amara", date(2024, 3, 14), "", "female", "ZZ99 1AZ", "")


async def fill(store: Store) -> None:
    """At least one value in every sealed column."""
    await store.persons.admit(TRACED, NOW)
    await store.crosswalk.put([LINK])
    await store.local_records.begin("authority", "digest", NOW)
    await store.local_records.stage("authority", "digest", [RECORD], [], cursor=1, at=NOW)
    await store.shelf.put([COPY], entry(kind="intake"))
    await store.work.open([ITEM], NOW)
    words: dict[str, Any] = {"given_by": "mother", "recorded_by": "clerk", "evidence": "form", "starts": NOW, "ends": None}
    await store.consents.put(CHILD, scope="share-centres", decision="permit", **words)
    await store.parcels.put(parcel(), mandate())
    (leased,) = await store.parcels.claim(now=NOW, lease_s=30)
    await store.parcels.settle(leased, ParcelState.HELD, at=NOW, reason="held", reference="R-9")


async def readable(store: Store) -> bool:
    """What `fill` wrote comes out as it went in."""
    person = await store.persons.by_number(CHILD)
    (item,) = await store.work.list()
    subject = await store.work.take(item.id, by="r", at=NOW)
    held = await store.parcels.get("p-1")
    return (
        person is not None
        and (person.number, person.trace) == (CHILD, TRACED)
        and await store.crosswalk.number_of("authority", "LA-1") == CHILD
        and list(await store.local_records.pending("authority", 9)) == [RECORD]
        and [copy.body for copy in await store.shelf.newest("authority", CHILD, NOW)] == [b"{}"]
        and subject is not None
        and subject.local_ref == "LA-1"
        and held is not None
        and held.reference == "R-9"
    )


def rotate(folder: Path, *uses: str) -> Keys:
    for use in uses:
        key_rotation.rotated(folder, use).write()
    return Keys.load(folder, mode="sandbox")


async def test_keys_of_another_database_are_refused_before_anything_is_read_or_written(
    url: str, keys: Keys, tmp_path: Path
) -> None:
    store = await open_store(url, keys, name="t")
    await fill(store)
    await store.close()
    Keys.create_sandbox(tmp_path / "others")
    for use in OF_THE_DATABASE:
        shutil.copytree(tmp_path / "keys", tmp_path / use)
        shutil.copy(tmp_path / "others" / f"{use}.json", tmp_path / use / f"{use}.json")
        with pytest.raises(StartupRefused, match=f"{use}.json is not the one this database was written with"):
            await open_store(url, Keys.load(tmp_path / use, mode="sandbox"), name="t")
    store = await open_store(url, keys, name="t")
    assert await readable(store)
    await store.close()


async def test_a_key_that_rows_are_still_sealed_under_is_missed(url: str, keys: Keys, tmp_path: Path) -> None:
    store = await open_store(url, keys, name="t")
    await store.close()
    rotate(tmp_path / "keys", "number-sealing")
    key_rotation.without_previous(tmp_path / "keys", "number-sealing").write()
    with pytest.raises(StartupRefused, match=r"number-sealing\.json"):
        await open_store(url, Keys.load(tmp_path / "keys", mode="sandbox"), name="t")


async def test_what_older_keys_sealed_is_sealed_anew_and_then_they_can_go(url: str, keys: Keys, tmp_path: Path) -> None:
    store, folder, uses = await open_store(url, keys, name="t"), tmp_path / "keys", ("number-sealing", "shelf-sealing")
    await fill(store)
    await store.close()
    store = await open_store(url, rotate(folder, *uses), name="t")
    changes = [key_rotation.without_previous(folder, use) for use in uses]
    before = [await key_rotation.sealed_under(store.database, change.use, change.previous) for change in changes]
    assert before == [6, 3], "a value in every sealed column"
    told: list[int] = []
    assert await key_rotation.reseal(store.database, store.keys, told.append) == sum(before) == told[-1]
    assert [await key_rotation.sealed_under(store.database, change.use, change.previous) for change in changes] == [0, 0]
    for change in changes:
        await key_rotation.forget(store.database, change)
        change.write()
    await store.close()
    store = await open_store(url, Keys.load(folder, mode="sandbox"), name="t")
    assert await readable(store)
    assert await store.verify() == []
    await store.close()


async def test_a_value_that_was_altered_stops_the_sealing_anew_and_is_left(tmp_path: Path, keys: Keys) -> None:
    url = f"sqlite:///{tmp_path / 'g.db'}"
    store = await open_store(url, keys, name="t")
    await store.persons.admit(TRACED, NOW)
    await store.close()
    store = await open_store(url, rotate(tmp_path / "keys", "number-sealing"), name="t")
    store.database._writer.execute("UPDATE person SET number_sealed = CAST(substr(number_sealed, 1, 20) AS BLOB)")  # type: ignore[attr-defined]
    with pytest.raises(StoreDown):
        await key_rotation.reseal(store.database, store.keys, lambda _: None)
    await store.close()


def test_every_sealed_column_is_one_that_is_sealed_anew() -> None:
    sealed = {(table.name, column.name) for table in METADATA.tables.values() for column in table.c if "_sealed" in column.name}
    assert {(one.table.name, one.column) for one in key_rotation._SEALED} == sealed


@pytest.fixture
def place(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'g.db'}",
        "GATEWAY_KEYS": str(tmp_path / "keys"),
        "GATEWAY_SOURCES": "{}",
        "GATEWAY_PDS__BASE_URL": "http://127.0.0.1:1",
        "GATEWAY_PDS__ODS": "A99901",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    return tmp_path


def said(*arguments: str, stdin: str = "") -> tuple[int, str]:
    answer = CliRunner().invoke(main, list(arguments), input=stdin)
    return answer.exit_code, answer.output


def test_a_key_is_replaced_and_forgotten_by_command_and_the_log_says_who(place: Path, keys: Keys) -> None:
    old = keys.seal_cursor(b"c", b"")
    for use in key_rotation.REPLACEABLE:
        assert said("keys", "rotate", use, "--by", "sds|100")[0] == 0
    assert (place / "keys" / "cursor.json").stat().st_mode & 0o777 == 0o600
    after = Keys.load(place / "keys", mode="sandbox")
    assert after.open_cursor(old, b"") == b"c"
    assert keys.token_signing.id in after.token_signing.previous
    assert said("keys", "forget", "token-signing", "--by", "sds|100")[0] == 0
    assert Keys.load(place / "keys", mode="sandbox").token_signing.previous == {}
    assert said("keys", "forget", "token-signing", "--by", "sds|100") == (1, "gateway: token-signing has no older key\n")
    for refused in (("rotate", "number-hash"), ("rotate", "x"), ("forget", "receipt-signing")):
        assert said("keys", *refused, "--by", "sds|100")[0] == 1
    forgotten = [("key-rotated", "sds|100")] * len(key_rotation.REPLACEABLE) + [("keys-forgotten", "sds|100")]
    assert asyncio.run(_acts(place)) == forgotten


def test_keys_change_only_while_nothing_serves_and_forgetting_waits_for_sealing_anew(place: Path, keys: Keys) -> None:
    asyncio.run(_filled(place, keys))
    with asyncio.Runner() as loop:
        serving = loop.run(open_store(f"sqlite:///{place / 'g.db'}", keys, name="t"))
        code, output = said("keys", "rotate", "number-sealing", "--by", "sds|100")
        assert (code, "already serves" in output) == (1, True)
        loop.run(serving.close())
    assert said("keys", "rotate", "number-sealing", "--by", "sds|100")[0] == 0
    code, output = said("keys", "forget", "number-sealing", "--by", "sds|100")
    assert (code, "6 values are still sealed" in output) == (1, True)
    assert "6 values are sealed anew" in said("keys", "reseal", "--by", "sds|100")[1]
    assert said("keys", "forget", "number-sealing", "--by", "sds|100")[0] == 0
    assert len(asyncio.run(_acts(place))) > 4, "it opens with the one key that is left"


async def _filled(place: Path, keys: Keys) -> None:
    store = await open_store(f"sqlite:///{place / 'g.db'}", keys, name="t")
    await fill(store)
    await store.close()


async def _acts(place: Path) -> list[tuple[str, str]]:
    store = await open_store(f"sqlite:///{place / 'g.db'}", Keys.load(place / "keys", mode="sandbox"), name="t")
    events = await store.log.ask(LogQuestion(kind="administration"))
    await store.close()
    return [(event.body["detail"]["act"], event.body["staff"]) for event in events][::-1]

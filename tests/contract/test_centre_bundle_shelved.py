"""A centre's nightly bundle through the drop, intake and the store's encrypted shelf: real parts but for the tracer."""

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import adapters.childrens_centre
from gateway.adapter import Purpose, SourceFacts, SourceRecord, SourceSettings, Want
from gateway.connectors import sql
from gateway.flows.intake import intake
from gateway.flows.shelving import SourceLocalIds, SourceShelf
from gateway.nhs_number import NhsNumber
from gateway.registry import ActiveSource, load_manifest
from gateway.store import Keys, Store, open_store
from sandbox import centre
from sandbox.families import BY_KEY, BY_NUMBER
from tests import fakes

pytestmark = pytest.mark.anyio
NOW = fakes.NOW
GP = {"organisation": "ods:A99901", "organisation_kind": "gp-practice"}


class Tracer:
    """Everybody is who they say, but Chloe, whom the tracer knows with another birth date."""

    async def trace(self, number: Any, **_: Any) -> Any:
        born = BY_NUMBER[number.value].birth_date
        return fakes.identity(number=number, birth_date=born + timedelta(days=number.value == BY_KEY["chloe"].nhs_number))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'g.db'}", Keys.create_sandbox(tmp_path / "keys"), name="test")
    yield opened
    await opened.close()


@pytest.fixture
def register() -> Iterator[sqlite3.Connection]:
    held = sqlite3.connect(":memory:")
    centre.fill(held, NOW.date())
    yield held
    held.close()


def active(folder: Path, store: Store) -> ActiveSource:
    shelf, ids = SourceShelf(store.shelf, "centre", lambda: NOW), SourceLocalIds(store.crosswalk, "centre")
    tools: Any = SimpleNamespace(now=lambda: NOW, shelf=shelf, local_ids=ids, var=folder, seal=bytes)
    settings = SourceSettings("centre", "childrens_centre", "dfe-urn:199901", "A", "Willow", 1.0, None, 7, {"drop": "drop"})
    manifest = load_manifest(adapters.childrens_centre)
    return ActiveSource(manifest, settings, sql.build(manifest, settings, tools))


async def leave(source: ActiveSource, store: Store, folder: Path, body: bytes) -> list[str]:
    path = folder / "drop" / "night.zip"
    path.write_bytes(body)
    os.utime(path, times=(NOW.timestamp() - 60,) * 2)
    parts: Any = SimpleNamespace(
        log=store.log, shelf=store.shelf, protections=store.protections, crosswalk=store.crosswalk, work=store.work,
        identity=Tracer(), now=lambda: NOW, allow_test_numbers=True, policy=SimpleNamespace(hash="h"),
    )  # fmt: skip
    assert source.intake is not None
    return [await intake(parts, source, delivery, held) async for delivery, held in source.intake.arrivals()]


async def said(source: ActiveSource, key: str) -> tuple[list[SourceRecord], SourceFacts]:
    want = Want(frozenset({"*"}), Purpose.TREAT, GP, "c")
    patient = fakes.identity(number=NhsNumber(BY_KEY[key].nhs_number), birth_date=BY_KEY[key].birth_date)
    *records, facts = [item async for item in source.adapter.fetch(patient, want)]
    assert isinstance(facts, SourceFacts)
    return [one for one in records if isinstance(one, SourceRecord)], facts


async def test_a_bundle_is_shelved_and_answers_and_a_withdrawal_in_the_next_one_closes_it(
    tmp_path: Path, store: Store, register: sqlite3.Connection
) -> None:
    source = active(tmp_path, store)
    assert await leave(source, store, tmp_path, centre.bundle(register, NOW - timedelta(hours=26))) == ["taken"]
    records, facts = await said(source, "amara")
    assert {one.schema for one in records} == set(source.manifest.reads)
    assert {one.locked for one in records} == {False}
    assert facts.as_of == NOW - timedelta(hours=26)
    register.execute("update consent set withdrawn_on = ? where scope = 'share_health'", (NOW.date().isoformat(),))
    assert {one.locked for one in (await said(source, "amara"))[0]} == {False}  # said so: nobody has told us yet
    assert await leave(source, store, tmp_path, centre.bundle(register, NOW - timedelta(hours=2))) == ["taken"]
    assert {one.locked for one in (await said(source, "amara"))[0]} == {True}


async def test_somebody_the_tracer_knows_otherwise_is_not_shelved(
    tmp_path: Path, store: Store, register: sqlite3.Connection
) -> None:
    source = active(tmp_path, store)
    assert await leave(source, store, tmp_path, centre.bundle(register, NOW - timedelta(hours=2))) == ["taken"]
    assert (await said(source, "chloe"))[0] == []
    assert (await said(source, "grace"))[0] != []


async def test_nothing_of_a_bundle_lies_in_the_database_readably(
    tmp_path: Path, store: Store, register: sqlite3.Connection
) -> None:
    source = active(tmp_path, store)
    assert await leave(source, store, tmp_path, centre.bundle(register, NOW - timedelta(hours=2))) == ["taken"]
    lying = b"".join(path.read_bytes() for path in tmp_path.glob("g.db*"))  # noqa: ASYNC240 - a test's own folder
    assert not [word for word in (BY_KEY["amara"].nhs_number, "WC000001", "Willow", "taken-up") if word.encode() in lying]

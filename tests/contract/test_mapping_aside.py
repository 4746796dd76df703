"""Large records mapped in another process: the same answer as here, and a process that is lost costs one source's answer only."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs
from policy_world import NOW, NUMBER, PERSON, facts, identity, policy, recorded, request

import adapters.gp
from adapters.gp import answer
from adapters.gp.kinds import SCHEMAS
from adapters.gp.record import pieces, split
from gateway import consent, mapping, registry
from gateway.adapter import SourceRecord
from gateway.connectors.apart import Apart
from gateway.connectors.room import Room
from gateway.disclosure import Page, disclose
from gateway.fetch import Fetched
from gateway.flows import read
from gateway.flows.accounts import Accounts
from gateway.flows.aside import OTHER_RULES, Aside, hold
from gateway.model import Category, Permit, SourceReport, SourceState, SourceTerms
from gateway.resource import together
from gateway.store.keys import Keys
from tests.perf.gp_record import structured

pytestmark = pytest.mark.anyio
REPORT = SourceReport("gp", SourceState.ANSWERED, as_of=NOW)
PAGE = Page(100, 60_000)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.create_sandbox(Path(tmp_path_factory.mktemp("keys")) / "keys")


@pytest.fixture(scope="module")
def maps() -> mapping.Maps:
    return mapping.load(files("mappings"))


def at_its_place() -> None:
    """The other process gives way to nobody: on a busy machine that took minutes."""


@pytest.fixture
async def apart(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apart]:
    monkeypatch.setattr("gateway.connectors.apart._give_way", at_its_place)
    reader = Apart(Room())
    yield reader
    await reader.close()


def load() -> mapping.Maps:
    return mapping.load(files("mappings"))


def lost() -> mapping.Maps:
    """What the other process runs first: here, its end."""
    os._exit(9)


def parts(apart: Apart, maps: mapping.Maps, keys: Keys, loads: Any = load) -> Any:
    """As much of the flow's parts as mapping takes."""
    manifest = registry.load_manifest(adapters.gp)
    settings = SimpleNamespace(name="gp", drift="report", custodian="ods:A99901")
    source = SimpleNamespace(manifest=manifest, settings=settings)
    return SimpleNamespace(
        registry=SimpleNamespace(sources={"gp": source}),
        maps=maps,
        accounts=Accounts(maps, None, None),  # type: ignore[arg-type] # nothing is settled here
        aside=Aside(apart, loads, keys.resource_ids_apart),
        mint=keys.resource_ids,
        now=lambda: NOW,
        deadline_s=300.0,  # the other process gives way to all the rest of a busy machine
    )


def a_permit(maps: mapping.Maps, *, provenance: bool = True) -> Permit:
    manifest = registry.load_manifest(adapters.gp)
    types = frozenset((name, Category(category)) for name, category in manifest.gives.items())
    terms = SourceTerms(
        "gp", "gp", "gp-record", maps.gives("gp"), manifest.purposes, manifest.never_for, types, "registered-practice", "GP"
    )
    asked = request(types=frozenset(name for name, _ in types) | ({"Provenance"} if provenance else set()))
    made = consent.decide(facts(asked=asked), policy(), {"gp": terms})
    assert isinstance(made, Permit)
    return made


def fetched(records: Iterator[SourceRecord] | list[SourceRecord]) -> Fetched:
    return Fetched([("gp", record) for record in records], [REPORT], {}, frozenset())


async def mapped(world: Any, records: Any, permit: Permit, page: Page | None = None) -> Any:
    who = identity(number=NUMBER, person=PERSON)
    return await read._map(world, who, fetched(records), permit, page)


async def test_the_same_answer_leaves_whether_a_record_was_mapped_here_or_there(apart: Apart, maps: Any, keys: Keys) -> None:
    body, permit, world = structured("amara", 400_000), a_permit(maps), parts(apart, maps, keys)
    whole = split(answer.bundle(body), as_of=NOW)
    kept = [record for record in whole.records if record.schema in SCHEMAS.values()]
    kept.append(structs.replace(kept[0], where="entry 99999", data={"resource": {}, "key": "odd"}))  # one that is refused
    here = await mapped(world, kept, permit)
    read_there = partial(pieces, as_of=NOW, schemas=frozenset(SCHEMAS.values()))
    _, _, *together = [item async for item in apart(read_there, body)]
    there = await mapped(world, together, permit)
    assert len(here[0]) == len(there[0]) > 300
    after, pages = None, 0
    while pages == 0 or after is not None:
        page = replace(PAGE, after_key=after)
        one, other = (
            disclose(found[0], found[1], (), recorded(permit), identity(), policy(), page=page) for found in (here, there)
        )
        assert [(out.encoded, out.rules, out.category, out.care_class, out.stripped) for out in one.resources] == [
            (out.encoded, out.rules, out.category, out.care_class, out.stripped) for out in other.resources
        ]
        assert (one.reports, one.withheld, one.next_key) == (other.reports, other.withheld, other.next_key)
        after, pages = one.next_key, pages + 1
    assert pages > 1
    assert {refused.where for refused in here[2]} - {refused.where for refused in there[2]} == {"entry 99999"}


async def test_one_page_is_the_same_when_only_what_may_stand_on_it_comes_back(apart: Apart, maps: Any, keys: Keys) -> None:
    permit, world = a_permit(maps, provenance=False), parts(apart, maps, keys)
    whole = split(answer.bundle(structured("amara", 400_000)), as_of=NOW)
    kept = [record for record in whole.records if record.schema in SCHEMAS.values()]
    kept[5:60] = [structs.replace(record, locked=True) for record in kept[5:60]]
    apiece = [record for start in range(4) for record in together(kept[start::4])]
    here, after, pages, came = await mapped(world, kept, permit), None, 0, 0
    while pages == 0 or after is not None:
        page = replace(PAGE, after_key=after)
        there = await mapped(world, apiece, permit, page)
        came += len(there[0])
        one, other = (
            disclose(found[0], found[1], found[2], recorded(permit), identity(), policy(), page=page) for found in (here, there)
        )
        assert [(out.encoded, out.rules) for out in one.resources] == [(out.encoded, out.rules) for out in other.resources]
        assert one.withheld
        assert (one.reports, one.withheld, one.next_key) == (other.reports, other.withheld, other.next_key)
        after, pages = one.next_key, pages + 1
    assert pages > 2
    assert came < len(here[0]) * pages


async def test_a_source_whose_process_is_lost_has_failed_and_the_next_read_is_whole(apart: Apart, maps: Any, keys: Keys) -> None:
    body, permit = structured("amara", 300_000), a_permit(maps)
    read_there = partial(pieces, as_of=NOW, schemas=frozenset(SCHEMAS.values()))
    _, _, *together = [item async for item in apart(read_there, body)]
    resources, (report,), _ = await mapped(parts(apart, maps, keys, lost), together, permit)
    assert (resources, report.state, report.as_of) == ([], SourceState.FAILED, None)
    resources, (report,), _ = await mapped(parts(apart, maps, keys), together, permit)
    assert resources
    assert report == REPORT


async def test_a_process_that_got_ready_has_the_maps_and_loads_none(
    monkeypatch: pytest.MonkeyPatch, maps: Any, keys: Keys
) -> None:
    monkeypatch.setattr("gateway.connectors.apart._give_way", at_its_place)
    reader = Apart(Room(), partial(hold, load))
    try:
        read_there = partial(pieces, as_of=NOW, schemas=frozenset(SCHEMAS.values()))
        _, _, *together = [item async for item in reader(read_there, structured("amara", 300_000))]
        resources, (report,), _ = await mapped(parts(reader, maps, keys, lost), together, a_permit(maps))
        assert resources
        assert report == REPORT
    finally:
        await reader.close()


async def test_another_process_never_maps_by_other_rules(apart: Apart, maps: Any, keys: Keys) -> None:
    read_there = partial(pieces, as_of=NOW, schemas=frozenset(SCHEMAS.values()))
    _, _, *together = [item async for item in apart(read_there, structured("amara", 300_000))]
    world = parts(apart, replace(maps, hash="another"), keys)
    resources, (report,), _ = await mapped(world, together, a_permit(maps))
    assert (resources, report.state, report.reason) == ([], SourceState.FAILED, OTHER_RULES)

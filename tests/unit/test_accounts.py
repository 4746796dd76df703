"""Accounting in service: one record in 20 and every refused one, off the request path; drift is told or refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import fakes
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from gateway.adapter import SourceRecord
from gateway.errors import StoreDown
from gateway.flows.accounts import MOST_PATHS, MOST_WAITING, REFUSED, SAMPLE, Accounts
from gateway.mapping import Context, Maps, load
from gateway.ports import Counted, NewWork
from gateway.registry import ActiveSource

pytestmark = pytest.mark.anyio

MAPS = Path(__file__).parent / "mapping" / "maps"
SECRET = "9990000107"
CONTEXT = Context("clinic", lambda kind, key: f"p.clinic.{kind}-x", "p", None, fakes.NOW, "ods:X")


class Drifts:
    """Adds up in memory; may be down."""

    def __init__(self) -> None:
        self.kept: list[Counted] = []
        self.seen: set[tuple[str, str, str]] = set()
        self.down = False

    async def add(self, counted: Sequence[Counted], at: datetime) -> Sequence[tuple[str, str, str]]:
        if self.down:
            raise StoreDown(reason="down")
        self.kept += counted
        paths = {(one.source, one.schema, path) for one in counted for path in one.paths}
        new = sorted(paths - self.seen)
        self.seen |= paths
        return new

    def sum(self, name: str) -> int:
        return sum(getattr(one, name) for one in self.kept)


class WorkList:
    def __init__(self) -> None:
        self.opened: list[NewWork] = []
        self.down = False

    async def open(self, items: Sequence[NewWork], at: datetime) -> int:
        if self.down:
            raise StoreDown(reason="down")
        self.opened += items
        return len(items)


class World:
    def __init__(self, drift: str = "report", connector: str | None = None) -> None:
        self.drifts, self.work = Drifts(), WorkList()
        drifts: Any = self.drifts
        work: Any = self.work
        self.accounts = Accounts(maps(), drifts, work)
        active = fakes.active("clinic", fakes.FakeSource(), connector=connector)
        manifest = replace(active.manifest, name="clinic", reads=(schema(),), owner="The clinic's team")
        self.source = ActiveSource(manifest, replace(active.settings, name="clinic", drift=drift), active.adapter)

    def map(self, **data: Any) -> Any:
        return self.accounts.map(self.source, record(**data), CONTEXT)

    async def settle(self) -> None:
        await self.accounts.settle(fakes.NOW, {"clinic": self.source})

    def paths(self) -> set[str]:
        return {path for one in self.drifts.kept for path in one.paths}


def maps() -> Maps:
    return load(MAPS)


def schema() -> str:
    return next(name for adapter, name in maps().schemas if adapter == "clinic")


def record(**data: Any) -> SourceRecord:
    return structs.replace(fakes.record(schema=schema(), data={"child_id": "c1", **data}), where="row 7")


GOOD: Mapping[str, Any] = {"sex": "1"}


async def test_one_record_in_twenty_is_accounted_for_by_its_turn_alone_and_not_before_the_worker_settles() -> None:
    world = World()
    for _ in range(SAMPLE * 3):
        world.map(**GOOD)
    assert world.drifts.kept == []
    await world.settle()
    assert world.drifts.sum("records") == 3
    assert world.drifts.sum("mapped") + world.drifts.sum("ignored") == 6  # child_id and sex, of each
    await world.settle()
    assert world.drifts.sum("records") == 3


async def test_each_record_of_which_something_is_refused_is_accounted_for() -> None:
    world = World()
    for _ in range(30):
        assert world.map(findings=[{"id": "f", "state": "nobody-knows"}]).refused
    await world.settle()
    assert world.drifts.sum("records") == 30
    assert world.drifts.sum("withheld") > 0


async def test_a_new_field_is_counted_by_path_logged_and_opened_once_as_work_for_the_owner() -> None:
    world = World(connector="csv-drop")
    with capture_logs() as logs:
        for _ in range(3):
            for _ in range(SAMPLE):
                world.map(**GOOD, outcome2=SECRET)
            await world.settle()
    assert [(one["event"], one["path"]) for one in logs] == [("drift.found", "outcome2")]
    assert sum(one.paths["outcome2"] for one in world.drifts.kept) == 3
    (item,) = world.work.opened
    assert (item.kind, item.source, item.owner, item.local_ref) == (
        "drift",
        "clinic",
        "The clinic's team",
        f"{schema()} outcome2",
    )
    assert SECRET not in f"{logs}{world.drifts.kept}{world.work.opened}"


@pytest.mark.parametrize("connector", [None, "http-json", "message-drop", "fhir-rest", "csv-drop", "xml-drop"])
async def test_keys_that_are_data_show_no_value_whatever_the_source_speaks(connector: str | None) -> None:
    world = World(connector=connector)
    with capture_logs() as logs:
        world.map(**GOOD, **{SECRET: "x", "by_child": {"999 000 0107": {"state": "x"}, "born 2019-04-03": "y", "a@b": 1}})
        await world.settle()
    assert world.paths()
    for value in (SECRET, "999 000 0107", "2019", "a@b"):
        assert value not in json.dumps([*world.paths(), *(item.local_ref for item in world.work.opened), str(logs)])


async def test_a_name_of_a_source_without_a_schema_of_names_is_never_shown() -> None:
    world = World(connector="http-json")
    world.map(**GOOD, contacts={"Amara Osei": "x"})
    await world.settle()
    assert world.paths() == {"*.*"}


async def test_a_kind_of_record_that_no_map_reads_is_named_by_no_word_of_the_source() -> None:
    world = World()
    odd = structs.replace(record(**GOOD), schema=SECRET)
    assert world.accounts.map(world.source, odd, CONTEXT).refused
    await world.settle()
    assert {one.schema for one in world.drifts.kept} == {"*"}


async def test_paths_without_end_end_as_one_path() -> None:
    world = World(connector="sql")
    world.map(**{"child_id": None, **{f"column_{'abcdefghij'[n % 10]}{'x' * (n // 10)}": 1 for n in range(MOST_PATHS + 50)}})
    await world.settle()
    assert len(world.paths()) == MOST_PATHS + 1


async def test_a_source_set_to_refuse_gives_nothing_of_a_record_with_an_unknown_field_and_all_of_one_without() -> None:
    world = World(drift="refuse", connector="sql")
    good = {"findings": [{"id": "f1", "allergy": "NUT", "state": "open", "kind": "allergy", "seen_on": "2024-03-14"}]}
    refused = world.map(**GOOD, **good, outcome2=SECRET)
    assert refused.resources == ()
    assert [(one.where, one.reason) for one in refused.refused] == [("row 7", REFUSED)]
    plain = World().map(**GOOD, **good)
    assert plain.resources
    assert [one.body for one in world.map(**GOOD, **good).resources] == [one.body for one in plain.resources]
    await world.settle()
    assert world.drifts.sum("records") == 2  # every record is accounted for
    assert world.paths() == {"outcome2"}


async def test_counts_outlive_a_database_that_is_away_and_so_does_the_work_owed() -> None:
    world = World(connector="sql")
    world.map(**GOOD, outcome2="x")
    world.drifts.down = True
    with pytest.raises(StoreDown):
        await world.settle()
    world.map(findings=[{"id": "f", "state": "nobody-knows"}])
    world.drifts.down, world.work.down = False, True
    with pytest.raises(StoreDown):
        await world.settle()
    world.work.down = False
    await world.settle()
    assert world.drifts.sum("records") == 2
    assert [item.local_ref for item in world.work.opened] == [f"{schema()} outcome2"]


async def test_more_than_may_wait_is_accounted_for_at_once_and_nothing_is_lost() -> None:
    world = World()
    for _ in range(MOST_WAITING + 5):
        world.map(findings=[{"id": "f", "state": "nobody-knows"}])
    await world.settle()
    assert world.drifts.sum("records") == MOST_WAITING + 5

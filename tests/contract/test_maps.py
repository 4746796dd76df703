"""Every shipped map and every case beside it: loads clean, golden, R4 UK Core, every leaf accounted for, the same twice."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from gateway.disclosure.stripping import strip
from gateway.mapping import Maps, load, map_record, shape_faults
from gateway.mapping.cases import Case, cases, context
from gateway.mapping.r4 import index
from gateway.model import Mark
from gateway.registry import installed, load_manifest

FOLDER = Path(str(files("mappings")))
CASES = list(cases(FOLDER))

each_case = pytest.mark.parametrize("case", CASES, ids=[f"{case.adapter}-{case.name}" for case in CASES])
each_adapter = pytest.mark.parametrize("adapter", sorted(installed()))


@pytest.fixture(scope="module")
def maps() -> Maps:
    return load(files("mappings"))


@each_adapter
def test_an_adapter_has_maps_for_what_it_reads_and_makes_what_it_says(adapter: str, maps: Maps):
    manifest = load_manifest(installed()[adapter])
    written = {plan.schema.name for plan in maps.outward_plans(adapter)} - {plan.source.reads for plan in maps.plans(adapter)}
    assert {schema for name, schema in maps.schemas if name == adapter} - written == set(manifest.reads)
    made = {block.block.type: str(block.category) for plan in maps.plans(adapter) for block in plan.blocks}
    assert made == dict(manifest.gives)


@each_adapter
def test_an_adapter_has_cases_that_go_well_and_cases_that_are_refused(adapter: str):
    own = [case for case in CASES if case.adapter == adapter]
    assert any((case.folder / f"{case.name}.out.json").is_file() for case in own)
    assert any((case.folder / f"{case.name}.refused.txt").is_file() for case in own)


@each_case
def test_what_comes_out_equals_the_golden(case: Case, maps: Maps):
    assert case.differences(case.run(maps)) == []


@each_case
def test_a_golden_is_r4_uk_core_itself(case: Case):
    golden = case.folder / f"{case.name}.out.json"
    for resource in json.loads(golden.read_text("utf-8")) if golden.is_file() else ():
        assert shape_faults(resource) == []


@pytest.mark.parametrize("adapter", ["child_health", "gp"])
def test_what_somebody_typed_beside_a_code_goes_with_all_that_locates(adapter: str, maps: Maps):
    told = left = 0
    for case in (case for case in CASES if case.adapter == adapter):
        for record in case.records():
            made = map_record(maps, adapter, structs.replace(record, data=_typed(record.data)), context(adapter)).resources
            for resource in made:
                told += "Haven Lane" in str(resource.body)
                kept = strip(resource.body, resource.paths.get(Mark.LOCATING, ()))
                left += kept is not None and "coding" in str(kept)
                assert "Haven Lane" not in str(kept), (case.name, resource.body["resourceType"])
    assert min(told, left) > 10


def _typed(value: Any) -> Any:
    """Somebody's own words beside every code of a record."""
    if isinstance(value, Mapping):
        inside = {name: _typed(part) for name, part in value.items()}
        return {**inside, "text": "Seen at 1 Haven Lane"} if "coding" in inside else inside
    return [_typed(part) for part in value] if isinstance(value, list) else value


@each_case
def test_every_leaf_is_mapped_ignored_or_refused_with_its_record(case: Case, maps: Maps):
    for record in case.records():
        result = map_record(maps, case.adapter, record, context(case.adapter), account=True)
        assert result.accounting is not None
        assert result.accounting.leaves == leaves(record.data)
        if not result.refused:
            assert result.accounting.unmapped == (), "fields that no line reads and no map ignores"


@each_case
def test_the_same_input_gives_the_same_bytes(case: Case, maps: Maps):
    assert case.run(maps).out() == case.run(maps).out()


@each_case
def test_the_order_of_the_inputs_names_changes_nothing(case: Case, maps: Maps):
    for record in case.records():
        other = structs.replace(record, data=turned(record.data))
        once, again = (map_record(maps, case.adapter, one, context(case.adapter)) for one in (record, other))
        assert [made.body for made in once.resources] == [made.body for made in again.resources]
        assert len(once.refused) == len(again.refused)


@each_case
def test_no_refusal_holds_a_value_of_the_record(case: Case, maps: Maps):
    for record in case.records():
        values = [
            text for text in texts(record.data) if len(text) > 5 and not index().is_resource(text)
        ]  # type names are ours too
        for refused in map_record(maps, case.adapter, record, context(case.adapter)).refused:
            assert not any(text in refused.reason for text in values)


@each_case
def test_ids_are_ours_and_fit_r4(case: Case, maps: Maps):
    for made in case.run(maps).resources:
        assert len(str(made.body["id"])) <= 64
        assert made.category
        assert made.body["resourceType"] != "Patient"


def leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    if isinstance(value, list):
        return sum(map(leaves, value))
    return int(value is not None and not (isinstance(value, str) and not value.strip()))


def turned(value: Any) -> Any:
    """The same tree with every object's names the other way round."""
    if isinstance(value, dict):
        return {name: turned(part) for name, part in reversed(value.items())}
    return [turned(part) for part in value] if isinstance(value, list) else value


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []

"""Of every type that a GP or child health map makes: goldens where each element is present, where it is absent, and odd input.

And our own output, read again as the R4 it is, comes out as it went in: ids and what leads to them are new, nothing else is.
"""

import re
from collections import defaultdict
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter import Claim, SourceRecord
from gateway.mapping import R4_SCHEMA, Maps, load, map_record
from gateway.mapping.cases import NUMBER, cases, context
from gateway.mapping.plan import BlockPlan
from gateway.mapping.rewrite import encode, parse
from gateway.registry import installed, load_manifest

FOLDER = Path(str(files("mappings")))
TYPES = [(adapter, kind) for adapter in ("gp", "child_health") for kind in sorted(load_manifest(installed()[adapter]).gives)]

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LINE = re.compile(r"\((\w+/[\w.-]+):(\d+)\)$")

NOT_LISTED = "a resource type that mappings/r4-marks.yaml does not list"
NOT_READ = (
    "ClinicalImpression",
    "Communication",
    "RelatedPerson",
)  # no source may send these as R4: nobody has reviewed their marks

each_type = pytest.mark.parametrize(("adapter", "kind"), TYPES)


@cache
def maps() -> Maps:
    return load(files("mappings"))


@cache
def goldens(adapter: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in cases(FOLDER, adapter):
        golden = case.folder / f"{case.name}.out.json"
        for resource in parse(golden.read_bytes()) if golden.is_file() else ():
            found[resource["resourceType"]].append(resource)
    return found


@cache
def refusals(adapter: str) -> dict[str, set[str]]:
    """Type -> the reasons for which cases of it are refused: each ends with the line of the map that refused it."""
    found: dict[str, set[str]] = defaultdict(set)
    for case in cases(FOLDER, adapter):
        for record in case.records():
            for refused in map_record(maps(), adapter, record, context(adapter)).refused:
                line = LINE.search(refused.reason)
                found[made_at(adapter, line[1], int(line[2])) if line else ""].add(refused.reason)
    return found


def made_at(adapter: str, file: str, number: int) -> str:
    """The type of the block that a line of a map is in."""
    (plan,) = [plan for plan in maps().plans(adapter) if f"{adapter}/{Path(plan.code_file).name}" == file]
    return [block.block.type for block in plan.blocks if block.block.pos.line <= number][-1]


def blocks(adapter: str, kind: str) -> list[BlockPlan]:
    return [block for plan in maps().plans(adapter) for block in plan.blocks if block.block.type == kind]


def written(block: BlockPlan) -> set[str]:
    return {node.name for node in block.root.children.values()} - {"meta"}


def may_be_absent(block: BlockPlan) -> set[str]:
    """Elements that R4 does not demand and that no line writes of itself."""
    own = {line.target[0].name for line in block.block.lines if "Constant(" in repr(getattr(line, "flow", ""))}
    demanded = {name for _, names in block.root.required for name in names}
    return written(block) - own - demanded - {"subject", "patient"}


@each_type
def test_each_element_that_a_map_writes_is_present_in_a_golden(adapter: str, kind: str) -> None:
    shown = {name.removeprefix("_") for golden in goldens(adapter)[kind] for name in golden}
    assert set().union(*map(written, blocks(adapter, kind))) - shown == set()


@each_type
def test_each_element_that_can_be_absent_is_absent_from_a_golden(adapter: str, kind: str) -> None:
    always = set.intersection(*({name.removeprefix("_") for name in golden} for golden in goldens(adapter)[kind]))
    assert set().union(*map(may_be_absent, blocks(adapter, kind))) & always == set()


@each_type
def test_odd_input_of_each_type_is_refused_with_a_reason(adapter: str, kind: str) -> None:
    assert refusals(adapter)[kind]


@each_type
def test_reading_our_own_output_again_changes_nothing(adapter: str, kind: str) -> None:
    for golden in goldens(adapter)[kind]:
        record = SourceRecord(schema=R4_SCHEMA, data=golden, where="again", as_of=NOW, about=Claim(nhs_number=NUMBER.value))
        came = map_record(maps(), adapter, record, context(adapter))
        if kind in NOT_READ:
            assert [refused.reason for refused in came.refused] == [NOT_LISTED]
            continue
        (again,) = came.resources
        assert same(parse(encode(again.body))) == same(parse(encode(golden)))


def same(value: Any) -> Any:
    """A resource without its id and what leads to ids, which are made anew."""
    if isinstance(value, dict):
        return {name: same(part) for name, part in value.items() if name not in ("id", "reference")}
    return [same(part) for part in value] if isinstance(value, list) else value

"""Is every line of a map shown by a case? Each line dropped, swapped, its condition taken away: some case must notice."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from gateway.kit.lines import flow_text, when_text
from gateway.mapping.cases import Case, context
from gateway.mapping.loading import outward_remaker, remaker
from gateway.mapping.outward.cases import WriteCase
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.plan import MapPlan
from gateway.mapping.run import LoadedMap, Maps, map_record
from gateway.mapping.tree import Block, Either, FirstOf, Group, Line, MapFile


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small change of a map: on which line, what."""

    line: int
    what: str
    file: MapFile


@dataclass(frozen=True, slots=True)
class Score:
    """What became of a map's mutants."""

    title: str
    file: str
    caught: int
    survived: tuple[Mutant, ...]

    @property
    def percent(self) -> float:
        """Of all mutants, those that a check or a case caught."""
        every = self.caught + len(self.survived)
        return 100.0 if not every else 100.0 * self.caught / every


def score(folder: Path | Traversable, maps: Maps, plan: MapPlan, cases: list[Case]) -> Score:
    """One map and its adapter's cases -> its mutation score."""
    records = [record for case in cases for record in case.records() if record.schema == plan.source.reads]
    before = [_came(maps, plan.adapter, record) for record in records]
    remake = remaker(folder, maps, plan)
    caught = 0
    survived: list[Mutant] = []
    for mutant in mutants(plan.source):
        loaded, _ = remake(mutant.file)
        if loaded is None or _noticed(_with(maps, plan, loaded), plan.adapter, records, before):
            caught += 1
        else:
            survived.append(mutant)
    return Score(plan.title, plan.source.file, caught, tuple(survived))


def score_outward(folder: Path | Traversable, maps: Maps, plan: OutwardPlan, cases: list[WriteCase]) -> Score:
    """One outward map and its adapter's cases -> its mutation score."""
    own = [case for case in cases if case.given()["schema"] == plan.schema.name]
    before = [_written(maps, case) for case in own]
    remake = outward_remaker(folder, maps, plan)
    caught = 0
    survived: list[Mutant] = []
    for mutant in mutants(plan.source):
        made, _ = remake(mutant.file)
        if made is not None:
            changed = replace(maps, outward={**maps.outward, (plan.adapter, plan.schema.name): made})
            if not any(_written(changed, case) != was for case, was in zip(own, before, strict=True)):
                survived.append(mutant)
                continue
        caught += 1
    return Score(plan.title, plan.source.file, caught, tuple(survived))


def mutants(file: MapFile) -> Iterator[Mutant]:
    """Every small change of a map worth a case."""
    for place, block in enumerate(file.blocks):
        for line, what, changed in _of_block(block):
            yield Mutant(line, what, replace(file, blocks=(*file.blocks[:place], changed, *file.blocks[place + 1 :])))


def _of_block(block: Block) -> Iterator[tuple[int, str, Block]]:
    for what, when in _of_when(block.when):
        yield block.pos.line, f"{block.label}: {what}", replace(block, when=when)
    if len(block.key) > 1:
        for place, path in enumerate(block.key):
            yield path.pos.line, "part of the key dropped", replace(block, key=block.key[:place] + block.key[place + 1 :])
    for line, what, lines in _of_lines(block.lines):
        yield line, what, replace(block, lines=lines)


def _of_lines(lines: tuple[Line | Group, ...]) -> Iterator[tuple[int, str, tuple[Line | Group, ...]]]:
    for place, one in enumerate(lines):
        before, after = lines[:place], lines[place + 1 :]
        yield one.pos.line, "dropped", before + after
        for what, when in _of_when(one.when):
            yield one.pos.line, what, (*before, replace(one, when=when), *after)
        if isinstance(one, Group):
            for line, what, inner in _of_lines(one.lines):
                yield line, what, (*before, replace(one, lines=inner), *after)
            continue
        if isinstance(one.flow.source, FirstOf) and len(one.flow.source.flows) > 1:
            flows = one.flow.source.flows
            for number in range(len(flows)):
                fewer = replace(one.flow.source, flows=flows[:number] + flows[number + 1 :])
                changed = replace(one, flow=replace(one.flow, source=fewer))
                yield one.pos.line, f"choice {number + 1} of first() dropped", (*before, changed, *after)
        other = next((number for number, two in enumerate(after) if isinstance(two, Line)), None)
        if other is not None:
            two = after[other]
            assert isinstance(two, Line)
            if flow_text(one.flow) != flow_text(two.flow):
                swapped = (replace(one, flow=two.flow), *after[:other], replace(two, flow=one.flow), *after[other + 1 :])
                yield one.pos.line, f"swapped with line {two.pos.line}", before + swapped


def _of_when(when: Either | None) -> Iterator[tuple[str, Either | None]]:
    if when is None:
        return
    yield "condition dropped", None
    parts = sum(map(len, when.options))
    if parts == 1:
        return
    for number, tests in enumerate(when.options):
        others = when.options[:number], when.options[number + 1 :]
        for place in range(len(tests)):
            fewer = tests[:place] + tests[place + 1 :]
            options = (*others[0], *((fewer,) if fewer else ()), *others[1])
            yield (
                f"'{when_text(Either((tests[place : place + 1],), when.pos))}' of its condition dropped",
                replace(when, options=options),
            )


def _with(maps: Maps, plan: MapPlan, loaded: LoadedMap) -> Maps:
    key = (plan.adapter, plan.source.reads)
    others = tuple(loaded if one.plan.source.file == plan.source.file else one for one in maps.by_schema[key])
    return replace(maps, by_schema={**maps.by_schema, key: others})


def _noticed(maps: Maps, adapter: str, records: list[Any], before: list[Any]) -> bool:
    return any(_came(maps, adapter, record) != was for record, was in zip(records, before, strict=True))


def _came(maps: Maps, adapter: str, record: Any) -> tuple[list[Any], list[tuple[str, str]]]:
    result = map_record(maps, adapter, record, context(adapter))
    return [made.body for made in result.resources], [(refused.where, refused.reason) for refused in result.refused]


def _written(maps: Maps, case: WriteCase) -> tuple[Any, list[str], tuple[str, ...]]:
    came = case.run(maps)
    return came.data, [refused.reason for refused in came.refused], came.not_sent

"""Where a value of an answer came from: the line that wrote it, the field it read, the reviewed row that translated it.

Of cases only, which are synthetic: what a case holds may be shown.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from gateway.adapter import SourceRecord
from gateway.kit.lines import MapLine, flow_text, lines, path_text
from gateway.mapping.cases import Case, context
from gateway.mapping.codes import CodeRow
from gateway.mapping.compile import compile_map
from gateway.mapping.loading import UNITS, remaker
from gateway.mapping.plan import MapPlan
from gateway.mapping.run import LoadedMap, Maps, map_record
from gateway.mapping.tree import Call, FirstOf, Flow, FromContext, Group, Line, MapFile, flow_paths
from gateway.model import Resource

PART: Final = re.compile(r"(\w+)(?:\[(\d+)\])?")
OURS: Final = frozenset({"resourceType", "id", "meta"})


class NotThere(Exception):
    """What was asked about does not exist; the text says what does."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One value and where it came from."""

    place: str  # "Encounter.status"
    value: str
    came: tuple[str, ...]  # from the value backwards

    def __str__(self) -> str:
        return " <- ".join((self.value, *self.came))


def explain(folder: Path | Traversable, maps: Maps, plan: MapPlan, case: Case, field: str) -> list[Origin]:
    """One element of what a case makes -> every value there with its origin. Raises `NotThere`."""
    label, _, rest = field.partition(".")
    kinds = {block.block.type for block in plan.blocks}
    if label not in kinds or not rest:
        raise NotThere(f"say one of {', '.join(f'{kind}.element' for kind in sorted(kinds))}")
    steps = [match for part in rest.split(".") if (match := PART.fullmatch(part))]
    if len(steps) != len(rest.split(".")):
        raise NotThere("an element's path is names and list places: type[0].coding[0].code")
    wanted = [(match[1], None if match[2] is None else int(match[2])) for match in steps]
    work = _Work(folder, maps, plan, label)
    found = [
        origin
        for record in case.records()
        if record.schema == plan.source.reads
        for origin in work.origins(record, wanted, case.adapter)
    ]
    if not found:
        raise NotThere(work.nobody(wanted))
    return found


class _Work:
    def __init__(self, folder: Path | Traversable, maps: Maps, plan: MapPlan, type_: str) -> None:
        self.maps = maps
        self.plan = plan
        self.type = type_
        self.remake = remaker(folder, maps, plan)
        self.lines = [one for one in lines(plan) if one.block.block.type == type_]

    def origins(self, record: SourceRecord, wanted: Sequence[tuple[str, int | None]], adapter: str) -> Iterator[Origin]:
        """Every value there of every resource this record makes."""
        for body in self.made(self.maps, record):
            for place, value in values_at(body, wanted):
                said = f"{self.type}.{'.'.join(place)}"
                if place[0] in OURS and place[:2] != ("meta", "security"):
                    yield Origin(said, shown(value), ("the gateway itself, no line",))
                    continue
                sent = self.sent(record, body, wanted) if self.plan.units is not None else None
                table = () if sent is None or (place, value) in sent else (f"{self.plan.adapter}/{UNITS}",)
                if sent is not None and place not in [there for there, _ in sent]:  # no line made anything here
                    yield Origin(said, shown(value), table)
                    continue
                causes = self.causes(record, body, place, value)
                if not causes:
                    yield Origin(said, shown(value), ("more than one line together",))
                for line in causes:
                    yield Origin(said, shown(value), (*table, *self.came(line, record, body, place, value)))

    def made(self, maps: Maps, record: SourceRecord) -> list[Resource]:
        """What this map alone makes of a record, of the type asked about."""
        result = map_record(maps, self.plan.adapter, record, context(self.plan.adapter))
        return [
            made.body for made in result.resources if made.body["resourceType"] == self.type and made.mapping == self.plan.title
        ]

    def sent(
        self, record: SourceRecord, body: Resource, wanted: Sequence[tuple[str, int | None]]
    ) -> list[tuple[tuple[str, ...], Any]]:
        """The values that the lines alone give, before the table of units is looked at."""
        lines_alone = replace(self.plan, units=None)
        maps = _swapped(self.maps, self.plan, LoadedMap(lines_alone, compile_map(lines_alone)))
        return [found for other in self.made(maps, record) if other["id"] == body["id"] for found in values_at(other, wanted)]

    def causes(self, record: SourceRecord, body: Resource, place: tuple[str, ...], value: Any) -> list[MapLine]:
        """The lines that wrote a value: of those that could, the ones without which it would not be there."""
        names = tuple(part.partition("[")[0].lstrip("_") for part in place)
        could = [one for one in self.lines if near(_names(one), names)]
        if len(could) < 2:
            return could
        return [one for one in could if self.differs(one, record, body, place, value)]

    def differs(self, one: MapLine, record: SourceRecord, body: Resource, place: tuple[str, ...], value: Any) -> bool:
        """Whether the value changes when the line is taken away."""
        return self.changes(_with(self.plan.source, one.line, None), record, body, place, value)

    def changes(self, file: MapFile, record: SourceRecord, body: Resource, place: tuple[str, ...], value: Any) -> bool:
        """Whether another version of the map makes the value fewer times, wherever in its lists."""
        loaded, _ = self.remake(file)
        if loaded is None:
            return True
        steps = [(part.partition("[")[0], None) for part in place]
        times = sum(bool(found == value) for _, found in values_at(body, steps))
        for other in self.made(_swapped(self.maps, self.plan, loaded), record):
            if other["id"] == body["id"]:
                return sum(bool(found == value) for _, found in values_at(other, steps)) < times
        return True

    def chosen(self, one: MapLine, record: SourceRecord, body: Resource, place: tuple[str, ...], value: Any) -> tuple[str, Flow]:
        """The flow that gave the value, and which of `first(...)` it was."""
        flow = one.line.flow
        if not isinstance(flow.source, FirstOf):
            return "", flow
        options = flow.source.flows
        for number, option in enumerate(options):
            fewer = replace(flow.source, flows=options[:number] + options[number + 1 :])
            if len(options) == 1 or self.changes(
                _with(self.plan.source, one.line, replace(one.line, flow=replace(flow, source=fewer))), record, body, place, value
            ):
                return f"first() choice {number + 1} ", replace(option, calls=(*option.calls, *flow.calls))
        return "", flow

    def came(self, one: MapLine, record: SourceRecord, body: Resource, place: tuple[str, ...], value: Any) -> Iterator[str]:
        """The way back: line and functions, fields with the record's place, the reviewed row."""
        choice, flow = self.chosen(one, record, body, place, value)
        start = f"line {one.line.pos.line} {choice}"
        calls = " ".join(map(call_text, calls_of(flow)))
        paths = list(flow_paths(flow))
        if isinstance(flow.source, FromContext):
            yield f"{start}{calls}".strip()
            yield f"%ctx.{flow.source.name}, of the gateway"
        elif not paths:
            yield f"{start}{flow_text(flow)}"
        else:
            around = "".join(f" in {path_text(group.each)}" for group in reversed(one.groups))
            item = one.block.block.each
            around += f" in {path_text(item)}" if item is not None else ""
            yield f"{start}{calls}".strip()
            yield f"{', '.join(map(path_text, paths))}{around} of {record.where}"
            row = self.row(flow, record, value)
            if row is not None:
                name, found = row
                yield f"codes/{name}.csv:{found.line} ({found.equivalence}, approved {found.on})"

    def row(self, flow: Flow, record: SourceRecord, value: Any) -> tuple[str, CodeRow] | None:
        """The row of a code map that gave a value."""
        for call in calls_of(flow):
            if not call.arguments or str(call.arguments[0]) not in self.maps.codes:
                continue
            rows = self.maps.codes[str(call.arguments[0])].rows
            texts = set(_texts(record.data))
            near = [row for row in rows.values() if row.source in texts]
            exact = [row for row in near if _mentions(value, {row.code, row.source, row.display, row.source_display} - {""})]
            for row in exact or near[:1]:
                return str(call.arguments[0]), row
        return None

    def nobody(self, wanted: Sequence[tuple[str, int | None]]) -> str:
        """What to say when the case has no such value."""
        names = tuple(name for name, _ in wanted)
        could = [one for one in self.lines if near(_names(one), names)]
        if not could:
            return "no line of this map writes it"
        where = ", ".join(f"line {one.line.pos.line} ({flow_text(one.line.flow)})" for one in could)
        return f"this case makes no such value; it would come from {where}"


def without(file: MapFile, line: Line) -> MapFile:
    """The map without one of its lines."""
    return _with(file, line, None)


def _with(file: MapFile, line: Line, instead: Line | None) -> MapFile:
    """The map with another line, or none, in the place of one."""
    blocks = tuple(replace(block, lines=_changed(block.lines, line, instead)) for block in file.blocks)
    return replace(file, blocks=blocks)


def _changed(found: tuple[Line | Group, ...], line: Line, instead: Line | None) -> tuple[Line | Group, ...]:
    new: list[Line | Group] = []
    for one in found:
        if isinstance(one, Group):
            new.append(replace(one, lines=_changed(one.lines, line, instead)))
        elif one is not line:
            new.append(one)
        elif instead is not None:
            new.append(instead)
    return tuple(new)


def _swapped(maps: Maps, plan: MapPlan, loaded: LoadedMap) -> Maps:
    key = (plan.adapter, plan.source.reads)
    others = tuple(loaded if one.plan.source.file == plan.source.file else one for one in maps.by_schema[key])
    return replace(maps, by_schema={**maps.by_schema, key: others})


def values_at(value: Any, wanted: Sequence[tuple[str, int | None]]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value at a path, with list places filled in; a part that a primitive has stands beside it."""
    if not wanted:
        yield (), value
        return
    (name, number), rest = wanted[0], wanted[1:]
    if not isinstance(value, Mapping):
        return
    beside = f"_{name}" if f"_{name}" in value and (rest or name not in value) else name
    if beside not in value:
        return
    found = value[beside]
    if not isinstance(found, list):
        for place, one in values_at(found, rest) if number is None else ():
            yield (name, *place), one
        return
    for at, item in enumerate(found):
        if number is None or number == at:
            for place, one in values_at(item, rest) if isinstance(item, dict) or not rest else ():
                yield (f"{name}[{at}]", *place), one


def _names(one: MapLine) -> tuple[str, ...]:
    parts = [part for group in one.groups for part in group.target] + list(one.line.target)
    return tuple(part.name for part in parts)


def near(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """One is the beginning of the other."""
    end = min(len(one), len(other))
    return one[:end] == other[:end]


def calls_of(flow: Flow) -> Iterator[Call]:
    """Every function a value goes through, those inside `first()` too."""
    if isinstance(flow.source, FirstOf):
        for option in flow.source.flows:
            yield from calls_of(option)
    yield from flow.calls


def call_text(call: Call) -> str:
    """A function as the line writes it."""
    return call.name + (f"({', '.join(repr(argument) for argument in call.arguments)})" if call.arguments else "")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
    elif value is not None:
        yield str(value).strip()


def _mentions(value: Any, words: set[str]) -> bool:
    return any(text in words for text in _texts(value))


def shown(value: Any) -> str:
    """A value of a case as text."""
    return json.dumps(value, ensure_ascii=False, default=str)

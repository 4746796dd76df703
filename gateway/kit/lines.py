"""The lines of a checked map as an author wrote them: where each goes, what it reads, what its fields are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.mapping.flow_types import labels
from gateway.mapping.plan import BlockPlan, GroupLeaf, Leaf, MapPlan, Node
from gateway.mapping.r4 import index
from gateway.mapping.source import Key
from gateway.mapping.tree import (
    Either,
    Ext,
    FirstOf,
    FirstStep,
    Flow,
    FromContext,
    Group,
    Line,
    Name,
    OwnRef,
    Part,
    Path,
    Pos,
    Value,
    Where,
    flow_paths,
)
from gateway.model import CareClass, Mark


@dataclass(frozen=True, slots=True)
class MapLine:
    """One line, with the groups around it."""

    block: BlockPlan
    groups: tuple[Group, ...]
    line: Line
    target: str  # whole, below the resource: "reaction[+].severity"
    type: str  # R4 type of the element it writes
    reads: tuple[str, ...]  # fields of the record, by their names in source.yaml; conditions included
    care_class: CareClass | None  # most restricted of what it reads; None: it reads nothing of the record
    marks: frozenset[Mark]

    @property
    def place(self) -> str:
        """The element as R4 names it: `AllergyIntolerance.reaction[+].severity`."""
        return f"{self.block.block.label}.{self.target}"


def lines(plan: MapPlan) -> Iterator[MapLine]:
    """Every line of a map, in the order of the file."""
    for block in plan.blocks:
        base: Key = ()
        bases: tuple[Key, ...] = ((),)
        if block.block.each is not None:
            base = plan.schema.walk((), block.block.each, index())[0].key
            bases = ((), base)
        yield from _lines(plan, block, block.block.lines, (), "", bases, _types(block.root))


def blocks_read(plan: MapPlan, block: BlockPlan) -> tuple[tuple[str, ...], CareClass | None, frozenset[Mark]]:
    """What a block's key and `when` read: field names, class and marks."""
    bases: tuple[Key, ...] = ((),)
    if block.block.each is not None:
        bases = ((), plan.schema.walk((), block.block.each, index())[0].key)
    return _labelled(plan, _keys(plan, [*block.block.key, *_tested(block.block.when)], bases))


def target_text(parts: tuple[Part, ...]) -> str:
    """A target as the file writes it."""
    return ".".join(
        part.name + (f"({_quoted(part.url)})" if part.url else "") + (f"[{part.place}]" if part.place is not None else "")
        for part in parts
    )


def flow_text(flow: Flow) -> str:
    """A flow as the file writes it."""
    source = flow.source
    if isinstance(source, Path):
        text = path_text(source)
    elif isinstance(source, FromContext):
        text = f"%ctx.{source.name}"
    elif isinstance(source, OwnRef):
        text = f"= ref({_quoted(source.block)})"
    elif isinstance(source, FirstOf):
        text = f"first({', '.join(map(flow_text, source.flows))})"
    else:
        text = f"= {_value(source.value)}"
    for call in flow.calls:
        text += f" | {call.name}" + (f"({', '.join(map(_value, call.arguments))})" if call.arguments else "")
    return text


def path_text(path: Path) -> str:
    """A source path as the file writes it."""
    return ("" if path.scope == "item" else f"%{path.scope}.") + ".".join(map(_step, path.steps))


def when_text(when: Either) -> str:
    """A condition as the file writes it."""
    options = []
    for tests in when.options:
        parts = []
        for test in tests:
            shown = path_text(test.path)
            if test.op in ("exists", "empty"):
                parts.append(f"{shown}.{test.op}()")
            elif len(test.values) == 1:
                parts.append(f"{shown} {'=' if test.op == 'in' else '!='} {_value(test.values[0])}")
            else:
                parts.append(f"{shown} in ({', '.join(map(_value, test.values))})")
        options.append(" and ".join(parts))
    return " or ".join(options)


def _lines(
    plan: MapPlan,
    block: BlockPlan,
    found: tuple[Line | Group, ...],
    groups: tuple[Group, ...],
    above: str,
    bases: tuple[Key, ...],
    types: dict[Pos, str],
    above_reads: frozenset[Key] = frozenset(),
) -> Iterator[MapLine]:
    for one in found:
        target = f"{above}.{target_text(one.target)}" if above else target_text(one.target)
        if isinstance(one, Group):
            inner = (*bases, plan.schema.walk(bases[_level(one.each, bases)], one.each, index())[0].key)
            tested = above_reads | frozenset(_keys(plan, _tested(one.when), inner))
            yield from _lines(plan, block, one.lines, (*groups, one), target, inner, types, tested)
            continue
        keys = dict.fromkeys([*_keys(plan, [*flow_paths(one.flow), *_tested(one.when)], bases), *sorted(above_reads, key=str)])
        reads, care_class, marks = _labelled(plan, list(keys))
        yield MapLine(block, groups, one, target, types.get(one.pos, ""), reads, care_class, marks)


def _keys(plan: MapPlan, paths: Iterable[Path], bases: tuple[Key, ...]) -> list[Key]:
    return [plan.schema.walk(bases[_level(path, bases)], path, index())[0].key for path in paths]


def _labelled(plan: MapPlan, keys: Sequence[Key]) -> tuple[tuple[str, ...], CareClass | None, frozenset[Mark]]:
    care_class, marks = labels(plan.schema, set(keys))
    return tuple(dict.fromkeys(map(_shown, keys))), care_class, marks


def _level(path: Path, bases: tuple[Key, ...]) -> int:
    top = len(bases) - 1
    return {"record": 0, "outer": max(top - 1, 0), "item": top}[path.scope]


def _tested(when: Either | None) -> list[Path]:
    return [test.path for tests in when.options for test in tests] if when is not None else []


def _types(node: Node) -> dict[Pos, str]:
    """Where each line stands -> the R4 type of its element."""
    found: dict[Pos, str] = {}
    for child in node.children.values():
        if isinstance(child.leaf, Leaf):
            found[child.leaf.pos] = child.type
        elif isinstance(child.leaf, GroupLeaf):
            found |= _types(child.leaf.node)
        found |= _types(child)
    return found


def _shown(key: Key) -> str:
    return ".".join(part if isinstance(part, str) else f"extension({_quoted(part[0])})" for part in key)


def _step(step: Name | Where | Ext | FirstStep) -> str:
    if isinstance(step, FirstStep):
        return "first()"
    if isinstance(step, Where):
        return f"where({', '.join(f'{name}={_quoted(value)}' for name, value in step.tests)})"
    if isinstance(step, Ext):
        return f"extension({', '.join(map(_quoted, step.urls))})"
    return step.name if step.name.replace("-", "_").isidentifier() else f"`{step.name}`"


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str | None) -> str:
    return "'" + (text or "").replace("\\", "\\\\").replace("'", "\\'") + "'"

"""The lines of an outward map as an author wrote them, and what a governance lead reads of it: what leaves, and what does not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.kit.docs import code, conditions, line_table, row, told_line
from gateway.kit.lines import flow_text, path_text, target_text
from gateway.mapping.outward.accounting import OWN
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.r4 import index
from gateway.mapping.source import Field, Key
from gateway.mapping.tree import Group, Line, Part, Path, flow_paths
from gateway.model import CareClass, Mark


@dataclass(frozen=True, slots=True)
class OutwardLine:
    """One line, with the groups around it."""

    groups: tuple[Group, ...]
    line: Line
    target: str  # whole: "immunizations[+].status"
    names: tuple[str, ...]  # of the target, without list places
    type: str  # of the field it writes
    care_class: CareClass | None
    marks: frozenset[Mark]
    reads: tuple[str, ...]  # R4 elements, from the resource on


def outward_lines(plan: OutwardPlan) -> Iterator[OutwardLine]:
    """Every line of an outward map, in the order of the file."""
    yield from _lines(plan, plan.source.blocks[0].lines, (), (), ((),))


def told_outward(plan: OutwardPlan) -> dict[str, Any]:
    """A checked outward map -> what its tables say, for machines."""
    rows = []
    for one in outward_lines(plan):
        when = conditions([*(group.when for group in one.groups), one.line.when])
        each = "".join(f"{path_text(group.each)}: " for group in one.groups)
        labels = [one.care_class or "", *sorted(one.marks)]
        rows.append(told_line(one.target, each + flow_text(one.line.flow), one.type, when, labels, one.line.pos.line))
    source = plan.source
    return {
        "map": plan.title,
        "writes": source.writes,
        "takes": {taken.type: taken.number for taken in source.takes},
        "because": source.because,
        "lines": rows,
        "withheld": [{"element": path_text(path), "why": reason} for path, reason in source.withhold],
        "ignored": [{"element": path_text(path), "why": reason} for path, reason in source.ignore],
    }


def outward_tables(plan: OutwardPlan) -> str:
    """A checked outward map -> its tables, as Markdown."""
    source = plan.source
    takes = ", ".join(f"{taken.number} {taken.type}" for taken in source.takes)
    out = [
        f"## {plan.title}",
        "",
        f"Writes `{source.writes}` ({plan.schema.about}) from: {takes}. {source.because}.",
        "",
        *line_table(told_outward(plan)["lines"]),
    ]
    out += ["", "| element | why the recipient must not have it |", "|---|---|"]
    out += [row(code(path_text(path)), reason) for path, reason in source.withhold]
    out += ["", "| element | why it is not sent |", "|---|---|"]
    out += [row(code(path_text(path)), reason) for path, reason in source.ignore]
    out.append(row("ids, `meta`, `text`, addresses in references", OWN))
    return "\n".join(out) + "\n"


def _lines(
    plan: OutwardPlan,
    found: tuple[Line | Group, ...],
    groups: tuple[Group, ...],
    above: tuple[Part, ...],
    bases: tuple[Key, ...],
) -> Iterator[OutwardLine]:
    for one in found:
        target = (*above, *one.target)
        if isinstance(one, Group):
            yield from _lines(plan, one.lines, (*groups, one), target, (*bases, _key(plan, one.each, bases)))
            continue
        names = tuple(part.url or part.name for part in target)
        field = _field(plan, target)
        reads = tuple(_shown(_key(plan, path, bases)) for path in flow_paths(one.flow))
        type_, care_class = (field.type, field.care_class) if field is not None else ("", None)
        marks = field.marks if field is not None else frozenset()
        yield OutwardLine(groups, one, target_text(target), names, type_, care_class, marks, reads)


def _key(plan: OutwardPlan, path: Path, bases: tuple[Key, ...]) -> Key:
    top = len(bases) - 1
    level = {"record": 0, "outer": max(top - 1, 0), "item": top}[path.scope]
    return plan.resources.walk(bases[level], path, index())[0].key


def _field(plan: OutwardPlan, target: tuple[Part, ...]) -> Field | None:
    """The field of source.yaml that a target is, or is a part of."""
    for end in range(len(target), 0, -1):
        for key, field in plan.schema.fields.items():
            if len(key) == end and all(_is(part, step) for part, step in zip(target[:end], key, strict=True)):
                return field
    return None


def _is(part: Part, step: str | tuple[str, ...]) -> bool:
    return part.url in step if isinstance(step, tuple) else part.url is None and part.name == step


def _shown(key: Key) -> str:
    return ".".join(part if isinstance(part, str) else "extension" for part in key)

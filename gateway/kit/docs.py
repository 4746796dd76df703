"""What a governance lead reads of a map: where each element comes from, and why each other field is not passed on."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.kit.lines import flow_text, lines, path_text, when_text
from gateway.mapping.plan import MapPlan
from gateway.mapping.tree import Either


def told_lines(plan: MapPlan) -> dict[str, Any]:
    """A checked map -> what its two tables say, for machines."""
    rows = []
    for one in lines(plan):
        when = conditions([*(group.when for group in one.groups), one.line.when])
        labels = [one.care_class or "", *sorted(one.marks)]
        rows.append(told_line(one.place, flow_text(one.line.flow), one.type, when, labels, one.line.pos.line))
    ignored = [{"field": path_text(path), "why": reason} for path, reason in plan.source.ignore]
    told = {"map": plan.title, "reads": plan.source.reads, "because": plan.source.because, "lines": rows, "ignored": ignored}
    return {**told, "units": units} if (units := told_units(plan)) else told


def told_units(plan: MapPlan) -> list[dict[str, Any]]:
    """In which unit each kind of measurement is given, from which others, and within which range; none where none is made."""
    if plan.units is None or not any(block.root.type == "Observation" for block in plan.blocks):
        return []
    return [
        {
            "kind": kind.name,
            "codes": [f"{system}|{code}" for (system, code), place in plan.units.places.items() if place == number],
            "given": kind.gives,
            "from": {unit: f"{factor:f}" for unit, factor in kind.factors.items()},
            "least": str(kind.least),
            "most": str(kind.most),
        }
        for number, kind in enumerate(plan.units.kinds)
    ]


def tables(plan: MapPlan) -> str:
    """A checked map -> its two tables, as Markdown."""
    source, told = plan.source, told_lines(plan)
    out = [
        f"## {plan.title}",
        "",
        f"Reads `{source.reads}` ({plan.schema.about}). {source.because}.",
        "",
        *line_table(told["lines"]),
    ]
    for block in plan.blocks:
        written = block.block
        if written.when is not None or written.each is not None:
            each = f"one for each of `{path_text(written.each)}`" if written.each is not None else "made"
            only = f", only when `{when_text(written.when)}`" if written.when is not None else ""
            out += ["", f"{written.label}: {each}{only} (line {written.pos.line})."]
    out += ["", "| field | why not passed on |", "|---|---|"]
    out += [row(code(path_text(path)), reason) for path, reason in source.ignore]
    units = told_units(plan)
    if units:
        out += ["", "| measured | codes | given in | converted from | can be true from | to |", "|---|---|---|---|---|---|"]
    for one in units:
        others = ", ".join(f"{unit or 'a number alone'} (times {factor})" for unit, factor in one["from"].items())
        out.append(row(one["kind"], " ".join(one["codes"]), one["given"] or "a number alone", others, one["least"], one["most"]))
    return "\n".join(out) + "\n"


def told_line(target: str, source: str, type_: str, when: str, labels: Iterable[str], line: int) -> dict[str, Any]:
    """One line, for machines."""
    care_class, *marks = labels
    return {"target": target, "from": source, "type": type_, "when": when, "class": care_class, "marks": marks, "line": line}


def line_table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines -> the table of them."""
    out = ["| target | from | type | only when | care class and marks | line |", "|---|---|---|---|---|---|"]
    for one in rows:
        labels = ", ".join(filter(None, [one["class"], *one["marks"]]))
        out.append(row(code(one["target"]), code(one["from"]), one["type"], code(one["when"]), labels, str(one["line"])))
    return out


def conditions(found: Iterable[Either | None]) -> str:
    """Conditions around a line -> as one."""
    return " and ".join(when_text(one) for one in found if one is not None)


def row(*cells: str) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(text: str) -> str:
    """A text of a map as Markdown shows it."""
    if "`" in text:
        return f"`` {text} ``"
    return f"`{text}`" if text else ""

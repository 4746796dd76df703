"""What a governance lead reads of a map: where each element comes from, and why each other field is not passed on."""

from gateway.kit.lines import flow_text, lines, path_text, when_text
from gateway.mapping.plan import MapPlan


def tables(plan: MapPlan) -> str:
    """A checked map -> its two tables, as Markdown."""
    source = plan.source
    out = [
        f"## {plan.title}",
        "",
        f"Reads `{source.reads}` ({plan.schema.about}). {source.because}.",
        "",
        "| target | from | type | only when | care class and marks | line |",
        "|---|---|---|---|---|---|",
    ]
    for one in lines(plan):
        conditions = [group.when for group in one.groups] + [one.line.when]
        when = " and ".join(when_text(condition) for condition in conditions if condition is not None)
        labels = ", ".join(filter(None, [one.care_class or "", *sorted(one.marks)]))
        out.append(row(code(one.place), code(flow_text(one.line.flow)), one.type, code(when), labels, str(one.line.pos.line)))
    for block in plan.blocks:
        written = block.block
        if written.when is not None or written.each is not None:
            each = f"one for each of `{path_text(written.each)}`" if written.each is not None else "made"
            only = f", only when `{when_text(written.when)}`" if written.when is not None else ""
            out += ["", f"{written.label}: {each}{only} (line {written.pos.line})."]
    out += ["", "| field | why not passed on |", "|---|---|"]
    out += [row(code(path_text(path)), reason) for path, reason in source.ignore]
    return "\n".join(out) + "\n"


def row(*cells: str) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def code(text: str) -> str:
    """A text of a map as Markdown shows it."""
    if "`" in text:
        return f"`` {text} ``"
    return f"`{text}`" if text else ""

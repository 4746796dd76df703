"""Where a value that is sent came from: the line that wrote it, the R4 element it read, the reviewed row that turned it back.

Of cases only, which are synthetic: what a case holds may be shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from gateway.kit.explain import PART, NotThere, Origin, call_text, calls_of, near, shown, values_at, without
from gateway.kit.lines import flow_text, path_text
from gateway.kit.outward import OutwardLine, outward_lines
from gateway.mapping.loading import outward_remaker
from gateway.mapping.outward.cases import WriteCase
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.run import Maps
from gateway.mapping.tree import Flow, FromContext, flow_paths


def explain_written(folder: Path | Traversable, maps: Maps, plan: OutwardPlan, case: WriteCase, field: str) -> list[Origin]:
    """One field of what a case writes -> every value there with its origin. Raises `NotThere`."""
    parts = field.split(".")
    steps = [match for part in parts if (match := PART.fullmatch(part))]
    if len(steps) != len(parts) or case.given()["schema"] != plan.schema.name:
        raise NotThere(f"say a field of {plan.schema.name}, and a case of it: immunizations[0].status")
    wanted = [(match[1], None if match[2] is None else int(match[2])) for match in steps]
    found = list(_origins(folder, maps, plan, case, wanted))
    if not found:
        names = tuple(name for name, _ in wanted)
        could = [one for one in outward_lines(plan) if near(one.names, names)]
        where = ", ".join(f"line {one.line.pos.line} ({flow_text(one.line.flow)})" for one in could)
        raise NotThere(
            f"this case writes no such value; it would come from {where}" if could else "no line of this map writes it"
        )
    return found


def _origins(
    folder: Path | Traversable, maps: Maps, plan: OutwardPlan, case: WriteCase, wanted: Sequence[tuple[str, int | None]]
) -> Iterator[Origin]:
    data = case.run(maps).data
    for place, value in values_at(data, wanted):
        names = tuple(part.partition("[")[0] for part in place)
        could = [one for one in outward_lines(plan) if near(one.names, names)]
        wrote = [one for one in could if len(could) == 1 or _differs(folder, maps, plan, case, one, place, value)]
        if not wrote:
            yield Origin(".".join(place), shown(value), ("more than one line together",))
        for one in wrote:
            yield Origin(".".join(place), shown(value), tuple(_came(maps, one, value)))


def _differs(
    folder: Path | Traversable,
    maps: Maps,
    plan: OutwardPlan,
    case: WriteCase,
    one: OutwardLine,
    place: tuple[str, ...],
    value: Any,
) -> bool:
    """Whether the value is there fewer times when the line is taken away."""
    made, _ = outward_remaker(folder, maps, plan)(without(plan.source, one.line))
    if made is None:
        return True
    changed = replace(maps, outward={**maps.outward, (plan.adapter, plan.schema.name): made})
    steps = [(part.partition("[")[0], None) for part in place]
    before, after = (
        sum(bool(found == value) for _, found in values_at(case.run(version).data, steps)) for version in (maps, changed)
    )
    return after < before


def _came(maps: Maps, one: OutwardLine, value: Any) -> Iterator[str]:
    flow: Flow = one.line.flow
    calls = " ".join(call_text(call) for call in calls_of(flow))
    start = f"line {one.line.pos.line} "
    if isinstance(flow.source, FromContext):
        yield f"{start}{calls}".strip()
        yield f"%ctx.{flow.source.name}, of the gateway"
        return
    if not list(flow_paths(flow)):
        yield f"{start}{flow_text(flow)}"
        return
    around = "".join(f" in {path_text(group.each)}" for group in reversed(one.groups))
    yield f"{start}{calls}".strip()
    yield ", ".join(map(path_text, flow_paths(flow))) + around
    for call in calls_of(flow):
        codes = maps.codes.get(str(call.arguments[0])) if call.arguments else None
        row = codes.rows.get(str(value)) if codes is not None else None
        if codes is not None and row is not None:
            yield f"codes/{codes.name}.csv:{row.line} backwards ({row.equivalence}, approved {row.on})"

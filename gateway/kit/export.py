"""A map for other engines: R4 StructureMap and the ConceptMaps it uses. What R4's transforms cannot say is named, not guessed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.kit.lines import flow_text, path_text
from gateway.mapping.plan import BlockPlan, MapPlan
from gateway.mapping.run import Maps
from gateway.mapping.tree import Call, Constant, Either, Ext, FirstStep, Flow, Group, Line, MapFile, Name, Part, Path, Where
from gateway.systems import OURS

R4: Final = "http://hl7.org/fhir/StructureDefinition/"

SAME: Final = frozenset({"text", "date", "dateTime", "instant", "decimal", "integer", "boolean", "code", "copy"})
CODED: Final = {"translate": "code", "coding": "Coding", "codeable": "CodeableConcept"}
DIALECT: Final = "this gateway's own function, or a path of its own: no R4 transform says it; write this rule by hand"


@dataclass(slots=True)
class Work:
    """What an export gathers on its way."""

    maps: Maps
    backwards: bool = False  # code maps are read from target to source
    count: int = 0
    by_hand: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def name(self, stem: str) -> str:
        """A fresh variable."""
        self.count += 1
        return f"{stem}{self.count}"


@dataclass(frozen=True, slots=True)
class Export:
    """A Bundle of one StructureMap and its ConceptMaps, and the lines that need a hand."""

    bundle: dict[str, Any]
    by_hand: tuple[str, ...]


def export(maps: Maps, plan: MapPlan) -> Export:
    """A checked map -> R4 StructureMap and ConceptMaps."""
    work = Work(maps)
    groups = [_group(work, block) for block in plan.blocks]
    types = sorted({block.block.type for block in plan.blocks})
    record = structure(f"{OURS}schema:{plan.source.reads}", "source", "record")
    made = structure_map(plan.source, [record, *(structure(f"{R4}{type_}", "target", type_) for type_ in types)], groups)
    tables = [maps.codes[name].concept_map() for name in sorted(work.used)]
    entries = [{"resource": one} for one in ([made] if groups else []) + tables]
    bundle = {"resourceType": "Bundle", "type": "collection", **({"entry": entries} if entries else {})}
    return Export(bundle, tuple(work.by_hand))


def structure_map(source: MapFile, structures: list[dict[str, str]], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """A mapping file's head, what goes in and comes out, and its rules -> the R4 StructureMap."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", source.map)
    return {
        "resourceType": "StructureMap",
        "id": name.replace("_", "-"),
        "url": f"{OURS}StructureMap:{source.map.replace('/', ':')}",
        "version": source.version,
        "name": name,
        "status": "active",
        "description": source.because,
        "structure": structures,
        "group": groups,
    }


def structure(url: str, mode: str, alias: str) -> dict[str, str]:
    """One structure that a StructureMap reads or makes."""
    return {"url": url, "mode": mode, "alias": alias}


def _group(work: Work, block: BlockPlan) -> dict[str, Any]:
    written = block.block
    label = written.label.replace("#", "-")
    context = "record" if written.each is None else "item"
    rules = [rule for one in written.lines for rule in rules_of(work, one, context, "target")]
    rules = when_rules(written.when, context, rules)
    if written.each is not None:
        rules = [_chain(work, f"each{written.pos.line}", written.each, "record", "item", {"rule": rules})]
    return {
        "name": label,
        "typeMode": "none",
        "input": [
            {"name": "record", "mode": "source"},
            {"name": "target", "type": written.type, "mode": "target"},
        ],
        "rule": rules,
    }


def rules_of(work: Work, one: Line | Group, context: str, target: str) -> Iterator[dict[str, Any]]:
    """One line as R4 rules."""
    name = f"line{one.pos.line}"
    if isinstance(one, Group):
        if one.each.scope == "outer":
            work.by_hand.append(f"line {one.pos.line}: each {path_text(one.each)}")
            yield {"name": name, "source": [{"context": context}], "documentation": f"each {path_text(one.each)}: {DIALECT}"}
            return
        item, place = work.name("item"), work.name("element")
        inner = [rule for line in one.lines for rule in rules_of(work, line, item, place)]
        made = {
            "name": f"{name}each",
            "source": [{"context": item}],
            "target": _target(work, one.target, target, place),
            "rule": inner,
        }
        yield _chain(work, name, one.each, context, item, {"rule": when_rules(one.when, item, [made])})
        return
    flow = one.flow
    rules: list[dict[str, Any]]
    transform = None
    value = work.name("value")
    if isinstance(flow.source, Constant):
        given = {"transform": "copy", "parameter": [_constant(flow.source.value)]}
        rules = [{"name": name, "source": [{"context": context}], "target": _target(work, one.target, target, None, given)}]
    elif isinstance(flow.source, Path) and flow.source.scope != "outer":
        transform = _transform(work, flow, value)
    if transform is not None and isinstance(flow.source, Path):
        rest = {"target": _target(work, one.target, target, None, transform)}
        rules = [_chain(work, name, flow.source, context, value, rest)]
    elif not isinstance(flow.source, Constant):
        work.by_hand.append(f"line {one.pos.line}: {flow_text(flow)}")
        rules = [{"name": name, "source": [{"context": context}], "documentation": f"{flow_text(flow)}: {DIALECT}"}]
    yield from when_rules(one.when, context, rules)


def when_rules(when: Either | None, context: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rules behind a condition, which R4 writes as FHIRPath on a source without element."""
    if when is None:
        return rules
    options = []
    for tests in when.options:
        parts = []
        for test in tests:
            path = path_text(test.path)
            if test.op in ("exists", "empty"):
                parts.append(f"{path}.{test.op}()")
            else:
                mark, word = ("=", " or ") if test.op == "in" else ("!=", " and ")
                parts.append("(" + word.join(f"{path} {mark} {_literal(value)}" for value in test.values) + ")")
        options.append(" and ".join(parts))
    condition = " or ".join(f"({option})" for option in options) if len(options) > 1 else options[0]
    return [{"name": f"when{when.pos.line}", "source": [{"context": context, "condition": condition}], "rule": rules}]


def _chain(work: Work, name: str, path: Path, context: str, variable: str, rest: dict[str, Any]) -> dict[str, Any]:
    """A path as rules inside rules, one for each element on the way; the last has `rest`."""
    sources: list[dict[str, Any]] = []
    for step in path.steps:
        if isinstance(step, Name):
            sources.append({"element": step.name})
        elif isinstance(step, Ext):
            sources.append({"element": "extension", "condition": " or ".join(f"url = {_literal(url)}" for url in step.urls)})
        elif isinstance(step, FirstStep) and sources:
            sources[-1]["listMode"] = "first"
        elif isinstance(step, Where) and sources:
            sources[-1]["condition"] = " and ".join(f"{field} = {_literal(wanted)}" for field, wanted in step.tests)
    here = "record" if path.scope == "record" else context
    made: list[dict[str, Any]] = []
    for number, source in enumerate(sources):
        last = number == len(sources) - 1
        var = variable if last else work.name("part")
        made.append(
            {"name": name if last else f"{name}part{number + 1}", "source": [{"context": here, **source, "variable": var}]}
        )
        here = var
    if not made:
        return {"name": name, "source": [{"context": here, "variable": variable}], **rest}
    made[-1] |= rest
    for outer, inner in zip(reversed(made[:-1]), reversed(made[1:]), strict=True):
        outer["rule"] = [inner]
    return made[0]


def _transform(work: Work, flow: Flow, value: str) -> dict[str, Any] | None:
    """A flow's functions as one R4 transform; None where there is none."""
    known = [call for call in flow.calls if call.name not in SAME or call.arguments]
    if not known:
        return {"transform": "copy", "parameter": [{"valueId": value}]}
    last: Call = known[-1]
    if len(known) == 1 and last.name in CODED and str(last.arguments[0]) in work.maps.codes:
        table = str(last.arguments[0])
        work.used.add(table)
        url = f"{OURS}ConceptMap:{table}" + "-back" * work.backwards
        return {
            "transform": "translate",
            "parameter": [
                {"valueId": value},
                {"valueString": url},
                {"valueString": "code" if work.backwards else CODED[last.name]},
            ],
        }
    return None


def _target(
    work: Work, parts: tuple[Part, ...], context: str, variable: str | None, transform: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """A target path as R4 targets: one for each element on the way; an extension gets its URL."""
    made: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        here: dict[str, Any] = {"context": context, "contextType": "variable", "element": part.name}
        if last and part.url is None and transform is not None:
            made.append({**here, **transform})
            continue
        context = variable if last and variable is not None else work.name("t")
        made.append({**here, "variable": context, **({"listMode": ["share"]} if part.place not in (None, "+") else {})})
        if part.place not in (None, "+"):
            made[-1]["listRuleId"] = f"{part.name}{part.place}"
        if part.url is not None:
            given = {"transform": "copy", "parameter": [{"valueString": part.url}]}
            made.append({"context": context, "contextType": "variable", "element": "url", **given})
    return made


def _constant(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"valueBoolean": value}
    if isinstance(value, int):
        return {"valueInteger": value}
    return {"valueDecimal": value} if isinstance(value, float) else {"valueString": value}


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" if isinstance(value, str) else str(value)

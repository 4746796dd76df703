"""An outward map for other engines: R4 StructureMap from resources to the recipient's record, its code maps turned round."""

from typing import Any

from gateway.kit.export import R4, Export, Work, rules_of, structure, structure_map, when_rules
from gateway.kit.lines import flow_text
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.run import Maps
from gateway.mapping.tree import Either, Group, Line, Name, Path
from gateway.systems import OURS


def export_outward(maps: Maps, plan: OutwardPlan) -> Export:
    """A checked outward map -> R4 StructureMap and the ConceptMaps it uses, from target to source."""
    work = Work(maps, backwards=True)
    rules = [made for one in plan.source.blocks[0].lines for made in _rules(work, one)]
    inputs = [{"name": _input(taken.type), "type": taken.type, "mode": "source"} for taken in plan.source.takes]
    given = [structure(f"{R4}{taken.type}", "source", taken.type) for taken in plan.source.takes]
    group = {"name": "write", "typeMode": "none", "input": [*inputs, {"name": "target", "mode": "target"}], "rule": rules}
    made = structure_map(plan.source, [*given, structure(f"{OURS}schema:{plan.source.writes}", "target", "record")], [group])
    tables = [maps.codes[used].concept_map(backwards=True) for used in sorted(work.used)]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in [made, *tables]]}
    return Export(bundle, tuple(work.by_hand))


def _rules(work: Work, one: Line | Group) -> list[dict[str, Any]]:
    """A line at the top: its path begins with the resource, which is an input of the group."""
    path = one.each if isinstance(one, Group) else one.flow.source
    if not isinstance(path, Path):
        return _alone(work, one)
    root, rest = _rooted(path)
    if isinstance(one, Group):
        return list(rules_of(work, Group(one.target, rest, one.when, one.lines, one.pos), _input(root), "target"))
    if one.when is not None and not _all_of(one.when, root):
        return _by_hand(work, one)
    when = _below(one.when) if one.when is not None else None
    flow = type(one.flow)(rest, one.flow.calls, one.flow.pos)
    made = list(rules_of(work, Line(one.target, flow, None, one.pos), _input(root), "target"))
    return when_rules(when, _input(root), made)


def _alone(work: Work, one: Line | Group) -> list[dict[str, Any]]:
    """A constant stands in every record; what the gateway knows, and a choice, no R4 transform can say."""
    assert isinstance(one, Line)
    return list(rules_of(work, one, "record", "target"))


def _by_hand(work: Work, one: Line) -> list[dict[str, Any]]:
    work.by_hand.append(f"line {one.pos.line}: {flow_text(one.flow)}")
    return []


def _rooted(path: Path) -> tuple[str, Path]:
    first = path.steps[0]
    assert isinstance(first, Name)
    return first.name, Path(path.scope, path.steps[1:], path.pos)


def _all_of(when: Either, root: str) -> bool:
    return all(_rooted(test.path)[0] == root for tests in when.options for test in tests)


def _below(when: Either) -> Either:
    options = tuple(tuple(type(test)(_rooted(test.path)[1], test.op, test.values) for test in tests) for tests in when.options)
    return Either(options, when.pos)


def _input(type_: str) -> str:
    return type_[0].lower() + type_[1:]

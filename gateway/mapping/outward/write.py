"""R4 resources -> one record of the recipient's own shape, or a refusal that never holds a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.adapter import Tree
from gateway.mapping.context import Unusable, WriteContext, Writing
from gateway.mapping.located import located
from gateway.mapping.outward.accounting import WriteAccounting, account_written, by_type
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.r4_lane import UNREADABLE
from gateway.mapping.run import Maps
from gateway.mapping.source import Key
from gateway.model import RefusedRecord, Resource

MODIFIERS: Final = frozenset(  # R4's own modifier elements of the kinds of resource that anybody is told
    {
        "clinicalStatus",
        "deceasedBoolean",
        "deceasedDateTime",
        "doNotPerform",
        "intent",
        "isSubpotent",
        "mode",
        "status",
        "verificationStatus",
    }
)
NO_MODIFIER: Final = frozenset({("Task", "intent"), ("PractitionerRole", "active"), ("Practitioner", "active")})
NO_MAP: Final = "no map writes this kind of record"
MISSING: Final = "a resource that the map takes is not there"
MISLEADING: Final = "an element that changes what the others mean, and no line reads it"
TOO_MANY: Final = "more than one of a resource that the map takes once"


@dataclass(frozen=True, slots=True)
class Written:
    """One record to deliver; `data` is None when it was refused. `accounting` only when asked for."""

    data: Tree
    refused: tuple[RefusedRecord, ...]
    not_sent: tuple[str, ...]  # paths of R4 elements that no line reads and no reason covers
    accounting: WriteAccounting | None


def write_record(
    maps: Maps, adapter: str, schema: str, resources: Sequence[Resource], ctx: WriteContext, *, account: bool = False
) -> Written:
    """Resources already disclosed to this recipient -> the one record that says them, whole or refused."""
    found = maps.outward.get((adapter, schema))
    if found is None:
        return Written(None, (RefusedRecord(adapter, schema, NO_MAP),), (), None)
    plan = found.plan
    record = by_type(resources)
    reason = _unfit(plan, record)
    data: Tree = None
    if not reason:
        try:
            data = _ordered(found.build(Writing(ctx, maps.codes), record), plan.order, ())
        except Unusable as error:
            reason = located(plan, error.reason, error.__traceback__)
        except UNREADABLE as error:
            reason = located(plan, "a value of a kind that no line expects", error.__traceback__)
    refused = (RefusedRecord(adapter, schema, reason),) if reason else ()
    made = account_written(plan, record, made=not reason)
    return Written(data, refused, made.not_sent, made if account else None)


def _unfit(plan: OutwardPlan, record: Mapping[str, Sequence[Any]]) -> str:
    """Why these are not the resources that the map takes; empty when they are."""
    for taken in plan.source.takes:
        here = len(record.get(taken.type, ()))
        if here == 0 and taken.number == "one":
            return f"{MISSING} ({plan.source.file}:{taken.pos.line})"
        if here > 1 and taken.number != "many":
            return f"{TOO_MANY} ({plan.source.file}:{taken.pos.line})"
        if any(_misleads(plan, taken.type, one) for one in record.get(taken.type, ())):
            return f"{MISLEADING} ({plan.source.file}:{taken.pos.line})"
    return ""


def _misleads(plan: OutwardPlan, type_: str, resource: Mapping[str, Any]) -> bool:
    """Whether a resource says something that turns its other elements round, and the map would keep quiet about it."""
    for name, value in resource.items():
        turns = (name in MODIFIERS and value is not False) or (name == "active" and value is False)
        if turns and (type_, name) not in NO_MODIFIER and (type_, name) not in plan.read:
            return True
    return _has_modifier(resource)


def _has_modifier(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "modifierExtension" in value or any(map(_has_modifier, value.values()))
    return isinstance(value, list) and any(map(_has_modifier, value))


def _ordered(value: Any, order: Mapping[Key, int], key: Key) -> Any:
    """A record with its fields in the order of source.yaml: some recipients read by position."""
    if isinstance(value, list):
        return [_ordered(part, order, key) for part in value]
    if not isinstance(value, dict):
        return value
    last = len(order)
    names = sorted(value, key=lambda name: order.get((*key, name), last))
    return {name: _ordered(value[name], order, (*key, name)) for name in names}

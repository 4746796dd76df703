"""R4 resources -> one record of the recipient's own shape, or a refusal that never holds a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from gateway.adapter import Tree
from gateway.mapping.context import Unusable, WriteContext, Writing
from gateway.mapping.outward.accounting import WriteAccounting, account_written
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.run import UNREADABLE, Maps
from gateway.mapping.source import Key
from gateway.model import RefusedRecord, Resource
from gateway.resource import Typed

NO_MAP: Final = "no map writes this kind of record"
MISSING: Final = "a resource that the map takes is not there"
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
    record = _by_type(resources)
    reason = _unfit(plan, record)
    data: Tree = None
    if not reason:
        try:
            data = _ordered(found.build(Writing(ctx, maps.codes), record), plan.order, ())
        except Unusable as error:
            reason = _located(plan, error.reason, error.__traceback__)
        except UNREADABLE as error:
            reason = _located(plan, "a value of a kind that no line expects", error.__traceback__)
    refused = (RefusedRecord(adapter, schema, reason),) if reason else ()
    made = account_written(plan, record, made=not reason)
    return Written(data, refused, made.not_sent, made if account else None)


def _by_type(resources: Sequence[Resource]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for resource in resources:
        body = resource.plain() if isinstance(resource, Typed) else dict(resource)
        found.setdefault(resource["resourceType"], []).append(body)
    return found


def _unfit(plan: OutwardPlan, record: Mapping[str, Sequence[Any]]) -> str:
    """Why these are not the resources that the map takes; empty when they are."""
    for taken in plan.source.takes:
        here = len(record.get(taken.type, ()))
        if here == 0 and taken.number == "one":
            return f"{MISSING} ({plan.source.file}:{taken.pos.line})"
        if here > 1 and taken.number != "many":
            return f"{TOO_MANY} ({plan.source.file}:{taken.pos.line})"
    return ""


def _ordered(value: Any, order: Mapping[Key, int], key: Key) -> Any:
    """A record with its fields in the order of source.yaml: some recipients read by position."""
    if isinstance(value, list):
        return [_ordered(part, order, key) for part in value]
    if not isinstance(value, dict):
        return value
    last = len(order)
    names = sorted(value, key=lambda name: order.get((*key, name), last))
    return {name: _ordered(value[name], order, (*key, name)) for name in names}


def _located(plan: OutwardPlan, reason: str, trace: TracebackType | None) -> str:
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == plan.code_file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{reason} ({plan.source.file}:{line})" if line else f"{reason} ({plan.source.file})"

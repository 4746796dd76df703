"""Is what an outward map writes read again without loss: every leaf that was sent, found by an inward map of the same schema."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

from gateway.adapter import Claim, SourceRecord, Tree
from gateway.mapping.accounting import Place, Spot, leaves
from gateway.mapping.context import Context
from gateway.mapping.outward.accounting import WriteAccounting, by_type, shown
from gateway.mapping.run import Maps, map_record
from gateway.model import Resource

Said: TypeAlias = tuple[tuple[str, ...], str]  # names of elements, and what stands there


def lost(
    maps: Maps, adapter: str, schema: str, data: Tree, sent: Sequence[Resource], made: WriteAccounting, ctx: Context
) -> list[str]:
    """A record as written -> paths of leaves that were sent and are not read again; a refusal is one of them too."""
    record = SourceRecord(schema, data, "read back", ctx.as_of, Claim(nhs_number=ctx.number.value if ctx.number else None))
    back = map_record(maps.for_reading_back(), adapter, record, ctx)
    found = {said for made_ in back.resources for said in _said(by_type([made_.body]))}
    values = dict(leaves(Spot((), by_type(sent))))
    told = [place for place in made.places if place[0] != "Patient"]  # who it is about is the claim, which is proven by itself
    missing = {shown(place) for place in told if (_names(place), _same(values[place])) not in found}
    return sorted(missing) + [f"not read back: {refused.reason}" for refused in back.refused]


def _said(record: dict[str, Any]) -> Iterator[Said]:
    for place, value in leaves(Spot((), record)):
        yield _names(place), _same(value)


def _names(place: Place) -> tuple[str, ...]:
    return tuple(part for part in place if isinstance(part, str))


def _same(value: Any) -> str:
    """A value so that two spellings of one moment or one number are the same."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float | Decimal):
        return str(Decimal(str(value)).normalize())
    text = str(value).strip()
    if len(text) > 10 and text[4:5] == "-" and "T" in text:
        try:
            return str(datetime.fromisoformat(text).timestamp())
        except ValueError:
            return text
    return text

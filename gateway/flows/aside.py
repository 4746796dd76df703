"""Large records are mapped, taken out of and encoded in the process that read them: what comes back is ready to be decided on.

Nothing of a decision is made there. Mappings are loaded there from the same files, and their hash is compared with ours: another
process never maps by other rules. See docs/architecture.md, "Large bodies, apart".
"""

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.adapter import ReadApart, SourceRecord, SourceUnavailable
from gateway.disclosure import Ready, readied
from gateway.flows.accounts import REFUSED, SAMPLE, Accounts
from gateway.mapping import Accounting, Context, MapResult, Maps, map_record, remade
from gateway.model import MappedResource, Mark, Permit, RefusedRecord
from gateway.registry import ActiveSource
from gateway.resource import Packed, name_of

MintApart = Callable[[str, str, str], Callable[[], Callable[[str, str], str]]]
OTHER_RULES: Final = "the mappings on disk are others than those in use: start the gateway again"


@dataclass(frozen=True, slots=True)
class Aside:
    """Where and how: a process of ours, what loads the mappings there, and what makes our ids there."""

    apart: ReadApart
    load: Callable[[], Maps]
    mint: MintApart


@dataclass(frozen=True, slots=True)
class _Order:
    """All that the other process is told beside the records."""

    load: Callable[[], Maps]
    hash: str
    adapter: str
    mint: Callable[[], Callable[[str, str], str]]
    told: tuple[Any, ...]  # source, person, number, as_of, custodian
    strip: frozenset[Mark]
    wanted: frozenset[str]
    only: str | None  # the id of the one resource that is read
    refuses: bool
    turn: int

    def __call__(self, body: bytes) -> Iterator["_Made | _Summary"]:
        return _mapped(self, body)


_Made = tuple[tuple[Any, ...], tuple[Any, ...]]  # the arguments of its `Ready`, and of `remade`


@dataclass(frozen=True, slots=True)
class _Summary:
    refused: tuple[RefusedRecord, ...]
    counted: tuple[tuple[str, Accounting], ...]  # schema, what became of its leaves
    unknown_codes: dict[str, int] = field(default_factory=dict)


async def map_aside(
    aside: Aside,
    accounts: Accounts,
    maps_hash: str,
    source: ActiveSource,
    record: SourceRecord,
    context: Context,
    permit: Permit,
) -> tuple[list[MappedResource], list[RefusedRecord]]:
    """Records kept together -> their resources, made ready for this permit. Raises `SourceError`."""
    packed: Packed = record.data
    query = permit.facts.request.query
    name = source.settings.name
    order = _Order(
        aside.load,
        maps_hash,
        source.manifest.name,
        aside.mint(context.person, context.source, source.manifest.kind),
        (context.source, context.person, context.number, context.as_of, context.custodian),
        permit.strip,
        query.types,
        query.resource_id if query.interaction == "read" else None,
        source.settings.drift == "refuse",
        accounts.turns(name, packed.count),
    )
    made: list[MappedResource] = []
    refused: list[RefusedRecord] = []
    async for item in aside.apart(order, packed.records):
        if isinstance(item, _Summary):
            refused += item.refused
            accounts.add(source, item.counted, item.unknown_codes)
        else:
            ready, rest = item
            made.append(remade(Ready(*ready), name, *rest))
    return made, refused


def _mapped(order: _Order, body: bytes) -> Iterator[_Made | _Summary]:
    """In the other process. Sorted by type and id, so that the page is found with little work."""
    maps = _maps(order)
    source, person, number, as_of, custodian = order.told
    context = Context(source, order.mint(), person, number, as_of, custodian)
    records: Iterable[SourceRecord] = pickle.loads(body)  # noqa: S301 - made by our own process from our own classes
    refused: list[RefusedRecord] = []
    counted: list[tuple[str, Accounting]] = []
    codes: Counter[str] = Counter()
    made: list[tuple[Any, ...]] = []
    for number_, record in enumerate(records, start=order.turn):
        result = _of_one(maps, order, record, context, sampled=number_ % SAMPLE == 0)
        refused += result.refused
        codes.update(result.unknown_codes)
        if result.accounting is not None:
            counted.append((record.schema, result.accounting))
        for one in result.resources:
            kind, own_id = name_of(one.body)
            if kind in order.wanted and (order.only is None or own_id == order.only):
                labels = (one.category, one.care_class, one.where, one.as_of, one.mapping, one.locked, one.not_early_years)
                made.append((readied(one, order.strip), (*labels, one.originals)))
    made.sort(key=lambda pair: pair[0][:2])
    yield from made
    yield _Summary(tuple(refused), tuple(counted), dict(codes))


def _of_one(maps: Maps, order: _Order, record: SourceRecord, context: Context, *, sampled: bool) -> MapResult:
    """As `Accounts.map`, counted at once."""
    result = map_record(maps, order.adapter, record, context, account=order.refuses or sampled)
    accounting = result.accounting
    if accounting is None and result.refused:
        accounting = map_record(maps, order.adapter, record, context, account=True).accounting
    if order.refuses and accounting is not None and accounting.unmapped_leaves:
        return MapResult(
            (), (*result.refused, RefusedRecord(context.source, record.where, REFUSED)), accounting, result.unknown_codes
        )
    return MapResult(result.resources, result.refused, accounting, result.unknown_codes)


def hold(load: Callable[[], Maps]) -> None:
    """In the other process, before any body comes: the maps, so that the first body need not wait for them."""
    maps = load()
    _LOADED[maps.hash] = maps


_LOADED: dict[str, Maps] = {}  # in the other process: the maps in use, by their hash


def _maps(order: _Order) -> Maps:
    maps = _LOADED.get(order.hash)
    if maps is None:
        maps = order.load()
        if maps.hash != order.hash:
            raise SourceUnavailable(OTHER_RULES)
        _LOADED.clear()
        _LOADED[order.hash] = maps
    return maps

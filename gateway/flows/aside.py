"""Large records are mapped, taken out of and encoded in the process that read them: what comes back is ready to be decided on.

Nothing of a decision is made there. Mappings are loaded there from the same files, and their hash is compared with ours: another
process never maps by other rules. See docs/architecture.md, "Large bodies, apart".
"""

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from gateway.adapter import ReadApart, SourceRecord, SourceUnavailable
from gateway.disclosure import Ready, readied
from gateway.flows.accounts import REFUSED, SAMPLE, Accounts
from gateway.flows.one_page import Asked, Made, OnePage, Others, hashes, narrowed
from gateway.mapping import Accounting, Context, MapResult, Maps, map_record, remade, with_code_maps
from gateway.mapping import load as loaded
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
    asked: Asked | None  # None: all of it

    def __call__(self, body: bytes) -> Iterator["Made | _Summary"]:
        return _mapped(self, body)


@dataclass(frozen=True, slots=True)
class _Summary:
    refused: tuple[RefusedRecord, ...]
    counted: tuple[tuple[str, Accounting, int], ...]  # schema, what became of the leaves of so many records
    unknown_codes: dict[str, int] = field(default_factory=dict)
    others: Others = ()
    keys: Sequence[int] = ()


async def map_aside(
    aside: Aside,
    accounts: Accounts,
    maps_hash: str,
    source: ActiveSource,
    record: SourceRecord,
    context: Context,
    permit: Permit,
    page: OnePage | None = None,
) -> tuple[list[MappedResource], list[RefusedRecord]]:
    """Records kept together -> their resources, made ready for this permit; `page`, where there is one, takes them instead.

    Raises `SourceError`.
    """
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
        None if page is None else page.asked(),
    )
    made: list[Made] = []
    refused: list[RefusedRecord] = []
    async for item in aside.apart(order, packed.records):
        if isinstance(item, _Summary):
            refused += item.refused
            accounts.add(source, item.counted, item.unknown_codes)
            if page is not None:
                refused += page.take(made, item.others, item.keys)
                made = []
        else:
            made.append(item)
    return [remade(Ready(*ready), name, *rest) for ready, rest in made], refused


def _mapped(order: _Order, body: bytes) -> Iterator[Made | _Summary]:
    """In the other process. Sorted by type and id, so that the page is found with little work."""
    maps = _maps(order)
    source, person, number, as_of, custodian = order.told
    context = Context(source, order.mint(), person, number, as_of, custodian)
    records: Iterable[SourceRecord] = pickle.loads(body)  # noqa: S301 - made by our own process from our own classes
    refused: list[RefusedRecord] = []
    counted: dict[tuple[Any, ...], tuple[str, Accounting, int]] = {}
    codes: Counter[str] = Counter()
    made: list[Made] = []
    for number_, record in enumerate(records, start=order.turn):
        result = _of_one(maps, order, record, context, sampled=number_ % SAMPLE == 0)
        refused += result.refused
        codes.update(result.unknown_codes)
        if result.accounting is not None:
            _count(counted, record.schema, result.accounting)
        for one in result.resources:
            kind, own_id = name_of(one.body)
            if kind in order.wanted and (order.only is None or own_id == order.only):
                labels = (one.category, one.care_class, one.where, one.as_of, one.mapping, one.locked, one.not_early_years)
                made.append((readied(one, order.strip), (*labels, one.originals)))
    made.sort(key=lambda pair: pair[0][:2])
    if order.asked is None:
        yield from made
        yield _Summary(tuple(refused), tuple(counted.values()), dict(codes))
        return
    kept, others = narrowed(made, order.asked)
    yield from kept
    yield _Summary(tuple(refused), tuple(counted.values()), dict(codes), others, hashes(made))


def _count(counted: dict[tuple[Any, ...], tuple[str, Accounting, int]], schema: str, accounting: Accounting) -> None:
    """Records of one schema with the same unknown paths are counted as one, and how many they are."""
    key = (schema, accounting.names)
    before = counted.get(key)
    if before is None:
        counted[key] = (schema, accounting, 1)
        return
    _, one, records = before
    sums = {name: getattr(one, name) + getattr(accounting, name) for name in ("mapped", "ignored", "withheld", "unmapped_leaves")}
    counted[key] = (schema, replace(one, **sums), records + 1)


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


def maps_in(chosen: Path | None, own: Mapping[str, Path]) -> Maps:
    """A site's mappings or the shipped ones, with the code maps that its sources bring."""
    folder = chosen or files("mappings")
    return with_code_maps(loaded(folder), folder, own)


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

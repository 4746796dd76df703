"""Maps loaded and run: a source's record -> R4 resources with their labels, or a refusal that never holds a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

import msgspec

from gateway.adapter import SourceRecord
from gateway.mapping.accounting import Accounting, account, account_r4
from gateway.mapping.accounting_table import Table
from gateway.mapping.codes import CodeMap
from gateway.mapping.context import Context, Run, Unusable
from gateway.mapping.functions import block_key, text
from gateway.mapping.located import located
from gateway.mapping.outward.plan import OutwardMap, OutwardPlan
from gateway.mapping.plan import Compiled, MapPlan
from gateway.mapping.r4 import index
from gateway.mapping.r4_lane import ODD, UNREADABLE, Lane
from gateway.mapping.source import Schema
from gateway.mapping.tree import Fault
from gateway.model import CareClass, Category, MappedResource, Original, RefusedRecord, Resource
from gateway.resource import Several

UNEXPECTED: Final = "a value of a kind that no line expects"
_NO_IDENTS: Final[dict[int, str]] = {}  # read, never written to
R4_SCHEMA: Final = "fhir-r4"  # a record of this schema is an R4 resource already: no map, the rewriter


@dataclass(frozen=True, slots=True)
class LoadedMap:
    """One mapping file, compiled."""

    plan: MapPlan
    blocks: tuple[Compiled, ...]
    leads: bool = field(init=False)  # a line of one of its blocks refers to what another block makes
    alone: Compiled | None = field(init=False)  # its one block, where it makes one resource of a record and leads to no other

    def __post_init__(self) -> None:
        leads = any(block.leads for block in self.blocks)
        object.__setattr__(self, "leads", leads)
        only = self.blocks[0] if len(self.blocks) == 1 and not leads and self.blocks[0].items is None else None
        object.__setattr__(self, "alone", only)


@dataclass(frozen=True, slots=True)
class Maps:
    """Every mapping of a folder. `hash` names the bytes they were loaded from."""

    by_schema: Mapping[tuple[str, str], tuple[LoadedMap, ...]]  # (adapter, schema)
    schemas: Mapping[tuple[str, str], Schema]
    codes: Mapping[str, CodeMap]
    lane: Lane
    hash: str
    outward: Mapping[tuple[str, str], OutwardMap] = field(default_factory=dict)  # (adapter, schema it writes)
    readback: Mapping[tuple[str, str], tuple[LoadedMap, ...]] = field(default_factory=dict)  # they prove, and serve nobody
    own_codes: Mapping[str, Mapping[str, CodeMap]] = field(default_factory=dict)  # of sources with code maps of their own
    tables: dict[tuple[str, str], Table] = field(default_factory=dict, repr=False)  # for the accounting, made when first needed
    warnings: tuple[Fault, ...] = ()  # what is not wrong, and somebody should look at

    def adapters(self) -> list[str]:
        """Every adapter that has maps."""
        return sorted({adapter for adapter, _ in self.schemas})

    def plans(self, adapter: str) -> list[MapPlan]:
        """Every map of an adapter, checked."""
        found = [loaded.plan for (name, _), maps in self.by_schema.items() if name == adapter for loaded in maps]
        return sorted(found, key=lambda plan: plan.source.file)

    def outward_plans(self, adapter: str) -> list[OutwardPlan]:
        """Every outward map of an adapter, checked."""
        found = [one.plan for (name, _), one in self.outward.items() if name == adapter]
        return sorted(found, key=lambda plan: plan.source.file)

    def for_reading_back(self) -> "Maps":
        """These maps with those that only read back what outward maps write: for proofs, never for answers."""
        return replace(self, by_schema={**self.by_schema, **self.readback})

    def gives(self, adapter: str) -> frozenset[tuple[Category, CareClass]]:
        """What an adapter's maps can make: categories with their care classes."""
        return frozenset((block.category, block.care_class) for plan in self.plans(adapter) for block in plan.blocks)

    def known(self, adapter: str, schema: str) -> frozenset[str]:
        """Every name that a record of this schema may show to anybody: the field dictionary's words and R4's."""
        found = self.schemas.get((adapter, schema))
        words = {part for key in found.fields for part in key if isinstance(part, str)} if found is not None else set()
        return r4_names() | words

    def concept_maps(self) -> list[dict[str, Any]]:
        """Every code map as an R4 ConceptMap."""
        return [self.codes[name].concept_map() for name in sorted(self.codes)]


class MapResult(msgspec.Struct, frozen=True):
    """What became of one record. `accounting` only when asked for."""

    resources: tuple[MappedResource, ...]
    refused: tuple[RefusedRecord, ...]
    accounting: Accounting | None
    unknown_codes: Mapping[str, int] = msgspec.field(
        default_factory=dict
    )  # code map -> codes of the record that it does not know


@dataclass(slots=True)
class Outcome:
    """Which items of which block were made, left out by `when`, or refused: for the accounting."""

    made: list[tuple[Compiled, Any]] = field(default_factory=list)
    left_out: list[tuple[Compiled, Any]] = field(default_factory=list)
    refused: list[tuple[Compiled, Any]] = field(default_factory=list)


def map_record(maps: Maps, adapter: str, record: SourceRecord, ctx: Context, *, account: bool = False) -> MapResult:
    """One record -> its resources. A resource that cannot be made is refused with its place; the others go on."""
    if record.schema == R4_SCHEMA:
        return _r4_record(maps, record, ctx, wanted=account)
    found = maps.by_schema.get((adapter, record.schema))
    if found is None:
        refused = RefusedRecord(ctx.source, record.where, "no map reads this kind of record")
        return MapResult((), (refused,), _accounting(maps, adapter, record, Outcome()) if account else None)
    run = Run(ctx, maps.own_codes.get(ctx.source, maps.codes))
    if len(found) == 1 and not account and (only := found[0].alone) is not None:
        return _one_of_one(found[0].plan, only, record, run)
    resources: list[MappedResource] = []
    refused_records: list[RefusedRecord] = []
    outcome = Outcome() if account else None  # only the accounting asks for it
    leading = False
    for loaded in found:
        leading = leading or loaded.leads
    idents: dict[int, str] = {}  # by the block's own identity: two maps of one schema may use one label
    for loaded in found if leading else ():
        _own_ids(loaded, record, run, idents)
    for leads in (False, True) if leading else (False,):  # one that another leads to is made first: refused, nothing leads to it
        for loaded in found:
            for block in loaded.blocks:
                if block.leads is leads:
                    _run_block(loaded.plan, block, record, run, idents, resources, refused_records, outcome)
    made = _accounting(maps, adapter, record, outcome) if outcome is not None else None
    return MapResult(tuple(resources), tuple(refused_records), made, run.unknown_codes)


def remade(
    body: Resource,
    source: str,
    category: Category,
    care_class: CareClass,
    where: str,
    as_of: datetime,
    mapping: str,
    locked: bool,
    not_early_years: bool,
    originals: tuple[Original, ...],
) -> MappedResource:
    """What a map made in another process of ours, of which only these came back: its marks were seen to there."""
    return MappedResource(body, source, category, care_class, {}, where, as_of, mapping, locked, not_early_years, originals)


@cache
def r4_names() -> frozenset[str]:
    """Every element name of R4."""
    types = index().names()
    return frozenset(name for type_ in types for name in index().elements(type_)) | {"resourceType"}


def _one_of_one(plan: MapPlan, block: Compiled, record: SourceRecord, run: Run) -> MapResult:
    """The short way of nearly every record: one map with one block, which makes one resource and leads to no other."""
    try:
        made = _made(block, record, record.data, record.where, run, _NO_IDENTS)
    except Unusable as error:
        reason = located(plan, error.reason, error.__traceback__)
    except UNREADABLE as error:
        reason = located(plan, UNEXPECTED, error.__traceback__)
    else:
        return MapResult(() if made is None else (made,), (), None, run.unknown_codes)
    return MapResult((), (RefusedRecord(run.ctx.source, record.where, reason),), None, run.unknown_codes)


def _run_block(
    plan: MapPlan,
    block: Compiled,
    record: SourceRecord,
    run: Run,
    idents: dict[int, str],
    resources: list[MappedResource],
    refused: list[RefusedRecord],
    outcome: Outcome | None,
) -> None:
    source, where = run.ctx.source, record.where
    items: Any = [record.data]
    if block.items is not None:
        try:
            items, reason = block.items(record.data), ""
        except Unusable as error:
            items, reason = None, located(plan, error.reason, error.__traceback__)
        except UNREADABLE as error:
            items, reason = None, located(plan, UNEXPECTED, error.__traceback__)
    if items is None:
        refused.append(RefusedRecord(source, where, reason))
        if outcome is not None:
            outcome.refused.append((block, None))
        return
    if not items and outcome is not None:
        outcome.left_out.append((block, None))
    label = block.label
    several = block.items is not None and len(items) > 1
    for number, item in enumerate(items, start=1):
        place = f"{where}, {label} {number}" if several else where
        try:
            made, reason = _made(block, record, item, place, run, idents), ""
        except Unusable as error:
            made, reason = None, located(plan, error.reason, error.__traceback__)
        except UNREADABLE as error:
            made, reason = None, located(plan, UNEXPECTED, error.__traceback__)
        if made is not None:
            resources.append(made)
            if outcome is not None:
                outcome.made.append((block, item))
        elif reason:
            refused.append(RefusedRecord(source, place, reason))
            if outcome is not None:
                outcome.refused.append((block, item))
            if block.items is None:
                run.own.pop(label, None)
        elif outcome is not None:
            outcome.left_out.append((block, item))


def _made(
    block: Compiled, record: SourceRecord, item: Any, place: str, run: Run, idents: dict[int, str]
) -> MappedResource | None:
    """One item -> its resource, or None where `when` leaves it out. Raises `Unusable` or any of `UNREADABLE`."""
    ident = idents.get(id(block)) if idents else None
    if ident is None:
        if block.wanted is not None and not block.wanted(record.data, item):
            return None
        ident = _ident(block, record.data, item, run)
    made, label = block.build(run, record.data, item), block.plan
    made["id"] = ident
    if label.profile and "profile" not in made["meta"]:  # a line of the map's own filled it
        made["meta"] = {"profile": [label.profile], **made["meta"]}
    originals = () if block.units is None else block.units.given(made)
    return MappedResource(
        made,
        run.ctx.source,
        label.category,
        label.care_class,
        label.paths,
        place,
        record.as_of,
        block.title,
        record.locked,
        record.not_early_years,
        originals,
    )


def _ident(block: Compiled, record: Any, item: Any, run: Run) -> str:
    parts = block.key(record, item)
    for part in parts:
        if part.__class__ is not str or not part or part != part.strip():
            parts = tuple([_key_part(value) for value in parts])
            break
    return run.ctx.mint(block.type, block_key(block.name, parts))


def _key_part(value: Any) -> str:
    part = None if value is None else text(value)
    if part is None:
        raise Unusable("the key of the resource is absent")
    return part


def _own_ids(loaded: LoadedMap, record: SourceRecord, run: Run, idents: dict[int, str]) -> None:
    """Ids of the blocks without `each`, so that lines before them can refer to them; kept, so that each is made once."""
    for block in loaded.blocks:
        if block.items is None:
            try:
                if block.wanted is not None and not block.wanted(record.data, record.data):
                    continue
                made = _ident(block, record.data, record.data, run)
            except (Unusable, *UNREADABLE):
                continue  # the block itself is refused for it, in its turn
            run.own[block.label] = idents[id(block)] = made


def _accounting(maps: Maps, adapter: str, record: SourceRecord, outcome: Outcome) -> Accounting:
    loaded = maps.by_schema.get((adapter, record.schema), ())
    if not outcome.left_out and not outcome.refused:  # all was made: where the fields stand says all there is to say
        quick = maps.tables.get((adapter, record.schema))
        if quick is None:
            blocks = [block.plan.block for one in loaded for block in one.blocks]
            quick = maps.tables[adapter, record.schema] = Table(
                blocks, [path for one in loaded for path, _ in one.plan.source.ignore]
            )
        counted = quick.account(record.data)
        if counted is not None:
            return counted
    made = [(block.plan.block, item) for block, item in outcome.made]
    left = [(block.plan.block, item) for block, item in outcome.left_out]
    refused = [(block.plan.block, item) for block, item in outcome.refused]
    return account(record.data, made, left, [path for one in loaded for path, _ in one.plan.source.ignore], refused)


def _r4_record(maps: Maps, record: SourceRecord, ctx: Context, *, wanted: bool) -> MapResult:
    run = Run(ctx, maps.codes)
    if record.data.__class__ is Several:
        return _several(maps, record, run, wanted=wanted)
    try:
        made = maps.lane.rewrite(record, run)
    except Unusable as error:
        reason = error.reason
    except UNREADABLE:  # one odd record is refused like any other; the rest of the answer goes on
        reason = ODD
    else:
        return MapResult((made,), (), account_r4(record.data, made=True) if wanted else None)
    return MapResult(
        (), (RefusedRecord(ctx.source, record.where, reason),), account_r4(record.data, made=False) if wanted else None
    )


def _several(maps: Maps, record: SourceRecord, run: Run, *, wanted: bool) -> MapResult:
    several: Several = record.data
    each = [account_r4(one, made=True) for one in several.resources] if wanted else []  # before they are rewritten in place
    made, refused = maps.lane.rewrite_several(record, run)
    if not wanted:
        return MapResult(tuple(made), tuple(refused), None)
    gone = {one.where for one in refused}
    kept = [one for number, one in enumerate(each) if several.where(number) not in gone]
    mapped, ignored = sum(one.mapped for one in kept), sum(one.ignored for one in kept)
    withheld = sum(one.leaves for one in each) - mapped - ignored
    return MapResult(tuple(made), tuple(refused), Accounting(mapped, ignored, (), 0, withheld))

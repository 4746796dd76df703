"""Accounting in service: what became of every leaf, for one record in 20 of each source and for each that was refused.

It is settled by the worker, off the request path (an answer in R4 is counted as it is mapped: one in 20), and the counts
are in the database, so many workers count as one. What no map knows is drift: counted by a path that holds no value, told
once to the source's owner, or, where the source is set to `drift = "refuse"`, reason to refuse the record.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import prometheus_client
import structlog

from gateway.adapter import SourceRecord
from gateway.errors import StoreDown
from gateway.mapping import R4_SCHEMA, Accounting, Context, MapResult, Maps, map_record, public_path
from gateway.model import RefusedRecord
from gateway.ports import Counted, Drifts, NewWork, WorkList
from gateway.registry import ActiveSource

SAMPLE: Final = 20  # one record in so many, by the order in which a source's records come: never by whose they are
MOST_WAITING: Final = 2_000  # beyond, a record is accounted for at once
MOST_PATHS: Final = 200  # of one schema; beyond, a path of unknown fields is only `*`
NAMED: Final = frozenset(("csv-drop", "graphql", "hl7v2-drop", "returns-drop", "sql", "xml-drop"))  # columns, elements: no data
REFUSED: Final = "fields that no map knows, and the source is set to refuse them"
DUE: Final = timedelta(days=7)
UNKNOWN: Final = "*"

LEAVES = prometheus_client.Counter(
    "gateway_leaves_total", "Leaves of source records accounted for, by what became of them.", ["source", "became"]
)
CODES = prometheus_client.Counter(
    "gateway_unmapped_codes_total", "Codes of source records that their code map does not know.", ["source", "code_map"]
)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Waiting:
    source: ActiveSource
    record: SourceRecord
    context: Context


@dataclass(slots=True)
class _Tally:
    records: int = 0
    mapped: int = 0
    ignored: int = 0
    withheld: int = 0
    unmapped: int = 0
    paths: Counter[str] = field(default_factory=Counter)


class Accounts:
    """One for each process; what it counts is everybody's."""

    def __init__(self, maps: Maps, drifts: Drifts, work: WorkList) -> None:
        self._maps, self._drifts, self._work = maps, drifts, work
        self._turns: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self._seen: dict[tuple[str, str], set[str]] = {}
        self._owed: list[NewWork] = []

    def map(self, source: ActiveSource, record: SourceRecord, context: Context) -> MapResult:
        """One record -> its resources, as `map_record`; counted now, later or not at all."""
        refuses, name = source.settings.drift == "refuse", source.settings.name
        turn = self._turns[name]
        self._turns[name] = turn + 1
        at_once = record.schema == R4_SCHEMA  # its resources are rewritten in place: it is not mapped another time
        sampled = at_once and turn % SAMPLE == 0
        result = map_record(self._maps, source.manifest.name, record, context, account=refuses or sampled)
        for code_map, count in result.unknown_codes.items():
            CODES.labels(name, code_map).inc(count)
        if result.accounting is not None:
            self._count(source, record.schema, result.accounting)
            if result.accounting.unmapped_leaves:
                return MapResult((), (*result.refused, RefusedRecord(name, record.where, REFUSED)), result.accounting)
            return result
        if not at_once and (result.refused or turn % SAMPLE == 0):
            waiting = _Waiting(source, record, context)
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(waiting)
            else:
                self._account(waiting)
        return result

    def turns(self, source: str, records: int) -> int:
        """The turn of the first of so many records, which are counted elsewhere."""
        turn = self._turns[source]
        self._turns[source] = turn + records
        return turn

    def add(self, source: ActiveSource, counted: Iterable[tuple[str, Accounting, int]], unknown_codes: Mapping[str, int]) -> None:
        """What was counted in another process: by schema, of how many records; and the codes that code maps do not know."""
        for schema, accounting, records in counted:
            self._count(source, schema, accounting, records)
        for code_map, count in unknown_codes.items():
            CODES.labels(source.settings.name, code_map).inc(count)

    async def settle(self, now: datetime, sources: Mapping[str, ActiveSource]) -> None:
        """What waits -> counts in the database, a log line and a work item for each new path. Raises `StoreDown`."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._account(one)
            await asyncio.sleep(0)
        tallies, self._tallies = self._tallies, {}
        if tallies:
            await self._add(tallies, now, sources)
        if self._owed:
            await self._work.open(self._owed, now)
            self._owed = []

    async def _add(self, tallies: Mapping[tuple[str, str], _Tally], now: datetime, sources: Mapping[str, ActiveSource]) -> None:
        counted = [
            Counted(source, schema, tally.records, tally.mapped, tally.ignored, tally.withheld, tally.unmapped, tally.paths)
            for (source, schema), tally in tallies.items()
        ]
        try:
            new = await self._drifts.add(counted, now)
        except StoreDown:
            self._give_back(tallies)
            raise
        for source, schema, path in new:
            _log.warning("drift.found", source=source, schema=schema, path=path)
        self._owed += [_work(sources[source], schema, path, now) for source, schema, path in new]

    def _account(self, one: _Waiting) -> None:
        adapter = one.source.manifest.name
        accounting = map_record(self._maps, adapter, one.record, one.context, account=True).accounting
        if accounting is not None:
            self._count(one.source, one.record.schema, accounting)

    def _count(self, source: ActiveSource, schema: str, accounting: Accounting, records: int = 1) -> None:
        name, manifest = source.settings.name, source.manifest
        if (manifest.name, schema) not in self._maps.schemas:
            schema = UNKNOWN if schema not in manifest.reads else schema  # the source's own word for it may be a value
        key = (name, schema)
        tally = self._tallies.setdefault(key, _Tally())
        tally.records += records
        tally.mapped += accounting.mapped
        tally.ignored += accounting.ignored
        tally.withheld += accounting.withheld
        tally.unmapped += accounting.unmapped_leaves
        for became in ("mapped", "ignored", "withheld"):
            LEAVES.labels(name, became).inc(getattr(accounting, became))
        LEAVES.labels(name, "unmapped").inc(accounting.unmapped_leaves)
        known = self._maps.known(manifest.name, schema) if accounting.names else frozenset()
        named = manifest.connector in NAMED
        for path in {self._path(key, public_path(names, known, named=named)) for names in accounting.names}:
            tally.paths[path] += records

    def _path(self, key: tuple[str, str], path: str) -> str:
        seen = self._seen.setdefault(key, set())
        if path not in seen and len(seen) >= MOST_PATHS:
            return UNKNOWN
        seen.add(path)
        return path

    def _give_back(self, tallies: Mapping[tuple[str, str], _Tally]) -> None:
        for key, tally in tallies.items():
            now = self._tallies.setdefault(key, _Tally())
            for name in ("records", "mapped", "ignored", "withheld", "unmapped"):
                setattr(now, name, getattr(now, name) + getattr(tally, name))
            now.paths.update(tally.paths)


def _work(source: ActiveSource, schema: str, path: str, now: datetime) -> NewWork:
    name = source.settings.name
    return NewWork(
        kind="drift",
        reason="the source sends a field that no map knows",
        source=name,
        owner=source.manifest.owner,
        due=now + DUE,
        key=f"drift:{name}:{schema}:{path}",
        local_ref=f"{schema} {path}",
    )

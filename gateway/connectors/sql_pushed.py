"""The same tables when nobody may ask the database: bundles of CSV from a drop, or a REST service that answers with rows.

Either way the rows of one person become a database in memory, and the statements of the manifest are asked of that: the same
records, the same lock by the source's own consent, the same protection, whichever way the rows came.

A bundle is a snapshot on the shelf. What was withdrawn since its delivery is not known: withdrawal acts with the next one.
Past `max_age_h` (default 48) the tables marked `fresh` count as empty: an old consent proves nothing.

    [rest]                          one route of `http-json`, whose records hold rows by table
    method = "POST"
    path = "members/search"
    json = { nhsNumber = ":nhs_number" }
    records = "items"
    identity = "nhsNumber"
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import structs

from gateway.adapter import (
    Arrival,
    Claim,
    Delivery,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Want,
)
from gateway.connectors.drop import Opened, folder_of, opened_drop
from gateway.connectors.from_shelf import STALE, from_shelf
from gateway.connectors.http_json import HttpJson
from gateway.connectors.sql_bundle import Bundle, gather, read_bundle
from gateway.connectors.sql_statements import ALWAYS, SqlSource, Statements, read_statements, records_of
from gateway.connectors.sql_tables import Loaded, TableRows, of_answer, of_person, read_tables, together
from gateway.errors import StartupRefused

CAP_BYTES: Final = 64_000_000
MAX_AGE_H: Final = 48.0
KIND: Final = "tables"
NOT_ASKED: Final = "an answer about somebody who was not asked for"
NO_LIST_OF_PEOPLE: Final = "the manifest does not say how to list who is in such a file: add [everyone]"

_ALL = frozenset({"*"})


class SqlDrop:
    """One source: `Adapter` over its shelf, `Intake` over its folder."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._source, self._tools = manifest, source, tools
        self._statements, self._tables = read_statements(manifest), read_tables(manifest)
        if self._statements.everyone is None:
            raise StartupRefused(f"adapters/{manifest.name}/manifest.toml: bundles need [everyone]")
        self._folder = folder_of(source.options.get("drop"), tools.var)
        loose, packed = frozenset((".csv",)), frozenset((".zip",))
        self._drop = opened_drop(source, tools, suffixes=packed, cap_bytes=CAP_BYTES, snapshot=True, leaves=loose)

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's rows on the shelf, asked like a database, then how fresh they are and which locks they assert."""
        parts: list[TableRows] = []
        as_of, facts = self._tools.now(), SourceFacts()
        every = replace(want, types=_ALL)
        async for item in from_shelf(self._manifest, self._source, self._tools, patient, every, max_age_h=MAX_AGE_H):
            if isinstance(item, SourceFacts):
                facts = item
            else:
                parts.append({name: rows for name, rows in item.data.items() if name != STALE})
                as_of = min(as_of, item.as_of)
        if facts.stale:
            old = {name for name, table in self._tables.by_name.items() if table.fresh}
            parts = [{name: rows for name, rows in part.items() if name not in old} for part in parts]
        loaded = Loaded(self._tables, together(parts))
        asked = SqlSource(self._statements, self._source, self._tools, loaded)
        try:
            async for item in asked.fetch(patient, want):
                if isinstance(item, SourceRecord):
                    yield structs.replace(item, as_of=as_of)
                else:
                    yield replace(facts, protected=facts.protected | item.protected)
        finally:
            await loaded.close()

    async def arrivals(self) -> AsyncIterator[tuple[Delivery, Sequence[Arrival]]]:
        """Each waiting bundle with everyone in it; one that is not usable comes with nobody and ends in refused/."""
        await asyncio.to_thread(gather, self._folder, self._tables.zone)
        async for delivered in self._drop.arrivals(self._read):
            yield delivered

    def _read(self, body: bytes) -> Opened:
        bundle = read_bundle(self._tables, body, whole=True)
        return Opened(bundle.as_of, everyone(self._manifest, self._statements, bundle, self._source.custodian))


class SqlRest:
    """One source: a service asked for one person's rows."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._source, self._tools = manifest, source, tools
        self._statements, self._tables = read_statements(manifest), read_tables(manifest)
        route = manifest.options.get("rest")
        if not isinstance(route, dict):
            raise StartupRefused(f"adapters/{manifest.name}/manifest.toml: a source with base_url needs [rest]")
        options: dict[str, Any] = {"route": {"rest": {**route, "types": ["*"], "schema": KIND}}}
        if "auth" in manifest.options:
            options["auth"] = manifest.options["auth"]
        self._service = HttpJson(replace(manifest, reads=(KIND,), options=options), source, tools)

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's rows as the service has them now, asked like a database. Raises the four `SourceError`s."""
        asked_for = {patient.number.value, *(number.value for number in patient.superseded)}
        parts: list[TableRows] = []
        async for item in self._service.fetch(patient, replace(want, types=_ALL)):
            if isinstance(item, SourceRecord):
                if self._manifest.identity == "nhs_number" and item.about.nhs_number not in asked_for:
                    raise SourceContractBroken(NOT_ASKED)
                parts.append(of_answer(self._tables, item.data))
        loaded = Loaded(self._tables, together(parts))
        try:
            async for item in SqlSource(self._statements, self._source, self._tools, loaded).fetch(patient, want):
                yield item
        finally:
            await loaded.close()


def everyone(manifest: Manifest, statements: Statements, bundle: Bundle, sender: str) -> Sequence[Arrival]:
    """A bundle, read -> each person in it with their own rows. Whoever has nothing that may be answered with is not kept."""
    tables, as_of = read_tables(manifest), bundle.as_of or datetime.now(UTC)
    loaded = Loaded(tables, bundle.rows)
    arrivals = []
    for number, (whose, about) in enumerate(_people(statements, loaded, as_of, sender), start=1):
        where = f"person {number}"
        rows = of_person(tables, loaded, statements.key, whose)
        record = SourceRecord(KIND, rows, where, as_of, about)
        arrivals.append(Arrival(KIND, whose, sender, as_of, about, record))
    return arrivals


def read_bundle_file(manifest: Manifest, body: bytes) -> Sequence[SourceRecord]:
    """A bundle -> the records of everyone in it, locked as against an unknown organisation. Raises `SourceContractBroken`."""
    statements, tables = read_statements(manifest), read_tables(manifest)
    bundle = read_bundle(tables, body, whole=False)
    now, made = bundle.as_of or datetime.now(UTC), list[SourceRecord]()
    loaded = Loaded(tables, bundle.rows)
    for whose, _ in _people(statements, loaded, now, manifest.name):
        made += _asked(statements, loaded, whose, now, manifest.name)
    return made


def _people(statements: Statements, loaded: Loaded, now: datetime, custodian: str) -> Sequence[tuple[str, Claim]]:
    if statements.everyone is None:
        raise SourceContractBroken(NO_LIST_OF_PEOPLE)
    people = []
    for row in loaded.ask(statements.everyone, _context(now, custodian)):
        whose = str(next(iter(row.values())))
        records = _asked(statements, loaded, whose, now, custodian)
        if records:
            people.append((whose, records[0].about))
    return people


def _asked(statements: Statements, loaded: Loaded, whose: str, now: datetime, custodian: str) -> list[SourceRecord]:
    binds = _context(now, custodian) | {statements.key: whose}
    locked = statements.lock is not None and bool(loaded.ask(statements.lock, binds))
    made = []
    for query in statements.queries:
        made += records_of(query, statements.key, loaded.ask(query.sql, binds), now, locked=locked)
    return made


def _context(now: datetime, custodian: str) -> dict[str, object]:
    return dict.fromkeys(ALWAYS, "") | {"today": now.date(), "custodian": custodian}

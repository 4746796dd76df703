"""What the `sql` connector asks and how rows become records: the named statements of a manifest, checked; one database, asked."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import text

from gateway.adapter import (
    Claim,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Want,
)
from gateway.connectors.sql_drivers import Driver, Rows
from gateway.errors import StartupRefused

ALWAYS: Final = frozenset({"today", "purpose", "organisation", "organisation_kind", "custodian"})
_WRITES = re.compile(
    r"\b(insert|update|delete|merge|drop|alter|create|truncate|attach|detach|pragma|vacuum|reindex|call|copy|grant|revoke|into|lock"
    r"|do|execute|exec|prepare|deallocate|listen|notify|load|reset|begin|commit|rollback|savepoint|set)\b"
)
_SILENT = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Query:
    """One `[query.NAME]`."""

    name: str
    schema: str
    types: frozenset[str]
    person: str
    birth_date: str | None
    sql: str


@dataclass(frozen=True, slots=True)
class Statements:
    """All that a manifest lets this connector say."""

    key: str  # "nhs_number" | "local_id"
    queries: tuple[Query, ...]
    lock: str | None
    protect: Mapping[str, str]
    everyone: str | None


class SqlSource:
    """One database."""

    def __init__(self, statements: Statements, source: SourceSettings, tools: Tools, driver: Driver) -> None:
        self._statements = statements
        self._source = source
        self._tools = tools
        self._driver = driver

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's rows, then what the source says of the person.

        Raises the four `SourceError`s; a superseded number is asked for too, since a centre learns late of a new one.
        """
        now = self._tools.now()
        queries = [query for query in self._statements.queries if "*" in want.types or query.types & want.types]
        records: list[SourceRecord] = []
        protected: set[str] = set()
        for key in await self._keys(patient):
            binds = self._binds(key, want, now)
            asked = [(query.sql, binds) for query in queries]
            asked += [(sql, binds) for sql in self._statements.protect.values()]
            asked += [(self._statements.lock, binds)] if self._statements.lock else []
            results = await self._driver(asked)
            locked = bool(self._statements.lock) and bool(results[-1])
            kinds = zip(self._statements.protect, results[len(queries) :], strict=False)
            protected |= {kind for kind, rows in kinds if rows}
            for query, rows in zip(queries, results, strict=False):
                records += records_of(query, self._statements.key, rows, now, locked=locked)
        for record in records:
            yield record
        yield SourceFacts(protected=frozenset(protected))

    async def close(self) -> None:
        """Let go of every connection."""
        await self._driver.close()

    async def _keys(self, patient: PatientIdentity) -> Sequence[str]:
        if self._statements.key == "nhs_number":
            return [patient.number.value, *(number.value for number in patient.superseded)]
        return [claim.local_id for claim in await self._tools.local_ids.of(patient) if claim.local_id is not None]

    def _binds(self, key: str, want: Want, now: datetime) -> Mapping[str, object]:
        return {
            self._statements.key: key,
            "today": now.date(),
            "purpose": want.purpose.value,
            "organisation": want.requester.get("organisation", ""),
            "organisation_kind": want.requester.get("organisation_kind", ""),
            "custodian": self._source.custodian,
        }


def read_statements(manifest: Manifest) -> Statements:
    """The manifest's own tables -> `Statements`, each checked. Raises `StartupRefused` naming the statement, never its text."""
    where, options = f"adapters/{manifest.name}/manifest.toml", manifest.options
    key = manifest.identity
    queries = []
    for name, table in options.get("query", {}).items():
        try:
            query = Query(
                name, table["schema"], frozenset(table["types"]), table["person"], table.get("birth_date"), table["sql"]
            )
        except KeyError as missing:
            raise StartupRefused(f"{where}: [query.{name}] needs {missing.args[0]}") from None
        if query.schema not in manifest.reads:
            raise StartupRefused(f"{where}: [query.{name}] gives a schema that `reads` does not list")
        check(where, f"query.{name}", query.sql, ALWAYS | {key}, needs=key)
        queries.append(query)
    if not queries:
        raise StartupRefused(f"{where}: the sql connector needs at least one [query.NAME]")
    lock = options.get("lock", {}).get("sql")
    protect = {kind: table["sql"] for kind, table in options.get("protect", {}).items()}
    everyone = options.get("everyone", {}).get("sql")
    for name, sql in (("lock", lock), *((f"protect.{kind}", sql) for kind, sql in protect.items())):
        if sql is not None:
            check(where, name, sql, ALWAYS | {key}, needs=key)
    if everyone is not None:
        check(where, "everyone", everyone, ALWAYS, needs=None)
    return Statements(key, tuple(queries), lock, protect, everyone)


def check(where: str, name: str, sql: str, allowed: frozenset[str], *, needs: str | None) -> None:
    """One statement of a manifest is one SELECT with known binds. Raises `StartupRefused` naming it, never its text."""
    bare = _SILENT.sub(" ", sql).strip().removesuffix(";").lower()
    if not bare.startswith(("select ", "select\n", "with ", "with\n")) or ";" in bare or _WRITES.search(bare):
        raise StartupRefused(f"{where}: [{name}] must be one SELECT and nothing else")
    binds = set(text(sql).compile().params)
    if binds - allowed:
        raise StartupRefused(f"{where}: [{name}] may bind only {', '.join(sorted(allowed))}")
    if needs is not None and needs not in binds:
        raise StartupRefused(f"{where}: [{name}] must bind :{needs}, so that it can answer for one person only")


def records_of(query: Query, key: str, rows: Rows, now: datetime, *, locked: bool) -> list[SourceRecord]:
    """The rows of one statement -> records, each with whose it says it is. Raises `SourceContractBroken`."""
    made = []
    for number, row in enumerate(rows, start=1):
        about = _claim(query, key, row)
        data = {name: value for name, value in row.items() if value is not None}
        made.append(SourceRecord(query.schema, data, f"{query.name}, row {number}", now, about, locked))
    return made


def _claim(query: Query, key: str, row: Mapping[str, Any]) -> Claim:
    person = row.get(query.person)
    if person is None or query.person not in row:
        raise SourceContractBroken("a row does not say whose it is")
    birth_date = _day(row.get(query.birth_date)) if query.birth_date else None
    if key == "nhs_number":
        return Claim(nhs_number=str(person).strip(), birth_date=birth_date)
    return Claim(local_id=str(person).strip(), birth_date=birth_date)


def _day(value: object) -> date | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value).strip()[:10])
    except ValueError:
        raise SourceContractBroken("a birth date cannot be read") from None

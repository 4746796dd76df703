"""Connector `sql`: a relational source, asked by the named statements of its manifest. SELECT only, never a built string.

    [query.NAME]                 one record a row
    schema = "..."               of mappings/<adapter>/source.yaml
    types = ["Encounter"]        R4 types its mapping makes: not asked for others
    person = "nhs_number"        column with the row's own key: the claim, never the bind given back
    birth_date = "dob"           column, where the source has one
    sql = "select ... where nhs_number = :nhs_number"

    [lock]                       any row: the source itself keeps this person's records from this caller
    [protect.address-lock]       any row: the person is protected, by this kind of lock
    [everyone]                   every key held: for reading a whole database file with `gateway map run`

Binds: the person's key (`:nhs_number` or `:local_id`, as `identity` says), and `:today`, `:purpose`, `:organisation`,
`:organisation_kind`, `:custodian`.

A source's option says how its rows come: `database_url`, or, where the manifest has `[tables.NAME]`, bundles of CSV from a
`drop`, or a service at `base_url`. See `sql_tables` and `sql_pushed`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from gateway.adapter import Manifest, SourceContractBroken, SourceRecord, SourceSettings, Tools
from gateway.connectors import archive
from gateway.connectors.sql_drivers import driver_for, in_memory
from gateway.connectors.sql_pushed import SqlDrop, SqlRest, read_bundle_file
from gateway.connectors.sql_statements import ALWAYS, SqlSource, Statements, read_statements, records_of
from gateway.errors import StartupRefused

__all__ = ["SqlDrop", "SqlRest", "SqlSource", "Statements", "build", "read_file", "read_statements"]

_SQLITE_FILE = b"SQLite format 3\x00"
_WAYS = ("database_url", "drop", "base_url")


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> SqlSource | SqlDrop | SqlRest:
    """Manifest and settings -> the source. Raises `StartupRefused` when a statement or the database's URL is not usable."""
    statements = read_statements(manifest)
    ways = [way for way in _WAYS if source.options.get(way) is not None]
    if len(ways) > 1:
        raise StartupRefused(f"sources.{source.name}.options: rows come by one of {', '.join(_WAYS)}")
    if ways == ["drop"]:
        return SqlDrop(manifest, source, tools)
    if ways == ["base_url"]:
        return SqlRest(manifest, source, tools)
    address = source.options.get("database_url")
    if not isinstance(address, str):
        raise StartupRefused(f"sources.{source.name}.options: add database_url")
    try:
        url = make_url(address)
    except ArgumentError:
        raise StartupRefused(f"sources.{source.name}.options.database_url is not a database URL") from None
    return SqlSource(statements, source, tools, driver_for(url, source.budget_s))


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """A whole SQLite file, or a ZIP of CSV tables -> the records of everyone in it. Raises `SourceContractBroken` for others.

    Nobody asks here, so the source's lock on what it shares is read as against an unknown organisation: every record that
    is not shared with everyone comes out locked.
    """
    statements = read_statements(manifest)
    if body.startswith(archive.MAGIC) and "tables" in manifest.options:
        yield from read_bundle_file(manifest, body)
        return
    if not body.startswith(_SQLITE_FILE):
        raise SourceContractBroken("not a SQLite database file")
    if statements.everyone is None:
        raise SourceContractBroken("the manifest does not say how to list who is in such a file: add [everyone]")
    now = datetime.now(UTC)
    context = dict.fromkeys(ALWAYS, "") | {"today": now.date(), "custodian": manifest.name}
    with in_memory(body) as ask:
        for keys in ask(statements.everyone, context):
            binds = context | {statements.key: next(iter(keys.values()), None)}
            locked = statements.lock is not None and bool(ask(statements.lock, binds))
            for query in statements.queries:
                yield from records_of(query, statements.key, ask(query.sql, binds), now, locked=locked)

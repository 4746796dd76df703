"""Connector `graphql`: a service asked one query, which the manifest holds whole.

    [auth]                                  as for http-json
    [graphql]
    path = "graphql"                        below the source's option `base_url`
    types = ["Encounter"]                   R4 types its mapping makes
    query = "query ($number: ID!, $after: String) { child(nhsNumber: $number) { ... } }"
    variables = { number = ":nhs_number" }  the key travels here and nowhere else
    page_info = "$.data.child.contacts.pageInfo"    paging: hasNextPage and endCursor there,
    after = "after"                         and the variable that takes the cursor
    typenames = ["Contact"]                 `__typename` of records that are read as they are; the query must ask for it
    locked = ["RedactedContact"]            `__typename` of records the source itself keeps back; where these say nothing else,
                                            `identity` is of the whole answer
    protects = { ProtectedChild = "refuge" }        `__typename` of the thing at `person`, by which the person is protected
    person = "$.data.child"
    schema, records, identity, birth_date, as_of, locks: see json_records
    redacted, kept_back, total, birth_date_in_doubt, protect, means: see graphql_worked

Any entry in `errors` is a failure, data beside it or not: what is missing could be the lock.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import structs

from gateway.adapter import (
    LOCKED_AT_SOURCE,
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceUnavailable,
    Tools,
    Tree,
    Want,
)
from gateway.connectors.from_shelf import KINDS_OF_LOCK, OTHER_LOCK
from gateway.connectors.graphql_query import is_one_query
from gateway.connectors.graphql_worked import NAMES, Worked, kinds_kept_back, read_meanings, read_worked
from gateway.connectors.json_records import (
    CAP_BYTES,
    MORE_PAGES,
    PAGES,
    PATHS,
    Asked,
    Found,
    Service,
    filled,
    items,
    locks_of,
    names_key,
    read_found,
    records_of,
)
from gateway.connectors.json_tree import JsonPath, at, parse, read_path
from gateway.errors import StartupRefused

UNKNOWN_TYPE: Final = "a record of a type that the manifest does not list"
FAULT: Final = "the service says that the question is wrong"
NO_CURSOR: Final = "a next page without a cursor of its own"
NOT_GRAPHQL: Final = "not an answer of GraphQL"

_OWN = frozenset(
    ("path", "types", "query", "variables", "page_info", "after", "typenames", "locked", "protects", "person", "schema")
)
_REFUSED = frozenset(("UNAUTHENTICATED", "FORBIDDEN", "UNAUTHORIZED", "ACCESS_DENIED"))
_LATER = frozenset(
    (
        "INTERNAL_SERVER_ERROR",
        "SERVICE_UNAVAILABLE",
        "TIMEOUT",
        "RATE_LIMITED",
        "THROTTLED",
        "TOO_MANY_REQUESTS",
        "DOWNSTREAM_SERVICE_ERROR",
    )
)


@dataclass(frozen=True, slots=True)
class Shape:
    """`[graphql]` of a manifest."""

    found: Found
    types: frozenset[str]
    path: str
    query: str
    variables: Mapping[str, Any]
    page_info: JsonPath | None
    after: str
    typenames: frozenset[str]
    locked: frozenset[str]
    protects: Mapping[str, str]
    person: JsonPath | None
    worked: Worked = field(default_factory=Worked)


class GraphQl:
    """One service."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._tools = manifest, tools
        self._shape = read_shape(manifest)
        self._service = Service(manifest, source, tools)
        where = f"sources.{source.name}.options"
        self._meanings = read_meanings(where, self._shape.worked.means, source.options.get("code_maps"))

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's records, then the locks the service asserts. Raises the four `SourceError`s."""
        ends = monotonic() + self._service.budget_s
        protected: frozenset[str] = frozenset()
        kept_back, now = False, self._tools.now()
        if "*" in want.types or self._shape.types & want.types:
            for key in await self._service.keys(self._manifest, patient):
                start = 1
                async for answer in self._pages(key, want, ends):
                    kept_back |= self._shape.worked.keeps_back(answer, items(self._shape.found, answer))
                    protected |= protections_of(self._shape, answer, now)
                    records = read_answer(self._shape, answer, self._manifest.identity, now, self._meanings, start=start)
                    start += len(records)
                    for record in records:
                        yield record
        if kept_back:  # found by this person's number and not shown to us: the source's own lock on the person
            warnings = kinds_kept_back(self._manifest.gives.values(), LOCKED_AT_SOURCE)
            yield SourceFacts(protected=protected | {OTHER_LOCK}, warnings=warnings)
        else:
            yield SourceFacts(protected=protected)

    async def _pages(self, key: str, want: Want, ends: float) -> AsyncIterator[Tree]:
        shape = self._shape
        asked = Asked(ends, {"Content-Type": "application/json", "X-Correlation-ID": want.correlation_id})
        binds = {
            self._manifest.identity: key,
            "purpose": want.purpose.value,
            "organisation": want.requester.get("organisation", ""),
        }
        variables = dict(filled(dict(shape.variables), binds))
        url, left, cursor = self._service.base_url + shape.path.lstrip("/"), CAP_BYTES, None
        for _ in range(PAGES):
            body = msgspec.json.encode({"query": shape.query, "variables": variables})
            answer, size = await self._service.ask("POST", url, asked, body, left)
            left -= size
            yield sound(answer)
            following = _cursor(shape, answer)
            if following is None:
                return
            if following == cursor:
                raise SourceContractBroken(NO_CURSOR)
            cursor = following
            variables[shape.after] = following
        raise SourceContractBroken(MORE_PAGES)


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> GraphQl:
    """Manifest and settings -> the source. Raises `StartupRefused`."""
    return GraphQl(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """One answer -> its records. Raises `SourceContractBroken` when it is not usable as a whole."""
    return read_answer(read_shape(manifest), sound(parse(body)), manifest.identity, datetime.now(UTC))


def sound(answer: Tree) -> Tree:
    """An answer without a word in `errors` -> itself.

    Raises `SourceRefused`, `SourceUnavailable` or `SourceContractBroken` by the worst code in `errors`.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("errors", []), list | None):
        raise SourceContractBroken(NOT_GRAPHQL)
    errors = answer.get("errors") or []
    codes = {_code(error) for error in errors}
    if codes & _REFUSED:
        raise SourceRefused("the service does not accept us")
    if errors and codes <= _LATER:
        raise SourceUnavailable("the service is not able to answer now")
    if errors:
        raise SourceContractBroken(FAULT)
    if not isinstance(answer.get("data"), dict):
        raise SourceContractBroken(NOT_GRAPHQL)
    return answer


def read_answer(
    shape: Shape, answer: Tree, key: str, now: datetime, meanings: Mapping[str, str] = MappingProxyType({}), *, start: int = 1
) -> Sequence[SourceRecord]:
    """A sound answer -> its records; what the source redacted comes locked. Raises `SourceContractBroken`."""
    person = at(shape.person, answer, answer) if shape.person is not None else None
    if isinstance(person, dict) and str(person.get("__typename")) in shape.protects:
        return ()
    records = []
    among = shape.worked.without_redacted(items(shape.found, answer))
    for record in records_of(shape.found, answer, key, now, start=start, among=among):
        record = _worked(shape.worked, record, meanings, now)
        typename = str(record.data.get("__typename"))
        if typename in shape.locked:
            records.append(structs.replace(record, locked=True))
        elif shape.typenames and typename not in shape.typenames:
            raise SourceContractBroken(UNKNOWN_TYPE)
        else:
            records.append(record)
    return records


def protections_of(shape: Shape, answer: Tree, now: datetime) -> frozenset[str]:
    """Every lock on the person that a sound answer asserts."""
    person = at(shape.person, answer, answer) if shape.person is not None else None
    typename = person.get("__typename") if isinstance(person, dict) else None
    kind = shape.protects.get(typename) if isinstance(typename, str) else None
    if kind is not None:
        return frozenset((kind,))
    spelt = [shape.worked.protections(one, now.date()) for one in items(shape.found, answer)]
    return locks_of(shape.found, answer).union(*spelt)


def read_shape(manifest: Manifest) -> Shape:
    """`[graphql]` of the manifest -> `Shape`. Raises `StartupRefused` naming what to mend."""
    where = f"adapters/{manifest.name}/manifest.toml: [graphql]"
    table = manifest.options.get("graphql", {})
    unknown = sorted(set(table) - _OWN - PATHS - NAMES)
    if unknown:
        raise StartupRefused(f"{where} does not know {', '.join(unknown)}")
    missing = sorted({"path", "types", "query", "variables"} - set(table))
    if missing:
        raise StartupRefused(f"{where} needs {', '.join(missing)}")
    if "?" in table["path"] or ":" in table["path"] or ".." in table["path"]:
        raise StartupRefused(f"{where} path is constant, without a query")
    if not is_one_query(table["query"]):
        raise StartupRefused(f"{where} query must be one query, with fragments or without, and nothing that changes anything")
    if not names_key(table["variables"], manifest.identity):
        raise StartupRefused(f"{where} variables must send :{manifest.identity}, so that it can answer for one person only")
    if ("page_info" in table) != ("after" in table):
        raise StartupRefused(f"{where} pages by page_info and after together")
    if ("protects" in table) != ("person" in table):
        raise StartupRefused(f"{where} knows who is protected by protects and person together")
    if any(table.get(name) for name in ("locked", "typenames", "protects", "redacted")) and "__typename" not in table["query"]:
        raise StartupRefused(f"{where} query must ask for __typename, by which redacted things are known")
    if set(table.get("protects", {}).values()) - KINDS_OF_LOCK - {OTHER_LOCK}:
        raise StartupRefused(f"{where} protects by {', '.join(sorted(KINDS_OF_LOCK | {OTHER_LOCK}))}")

    def path_at(name: str) -> JsonPath | None:
        try:
            return read_path(table[name]) if name in table else None
        except (ValueError, AttributeError):
            raise StartupRefused(f"{where} {name} is not a path such as $.data.child") from None

    return Shape(
        found=read_found(
            where, {name: value for name, value in table.items() if name != "locked" and name not in NAMES}, manifest
        ),
        types=frozenset(table["types"]),
        path=table["path"],
        query=table["query"],
        variables=table["variables"],
        page_info=path_at("page_info"),
        after=table.get("after", ""),
        typenames=frozenset(table.get("typenames", ())),
        locked=frozenset(table.get("locked", ())),
        protects=table.get("protects", {}),
        person=path_at("person"),
        worked=read_worked(where, table),
    )


def _worked(worked: Worked, record: SourceRecord, meanings: Mapping[str, str], now: datetime) -> SourceRecord:
    """A record -> the same with what the manifest says is meant: its own lock, no doubtful birth date, words understood."""
    about = replace(record.about, birth_date=None) if worked.doubts_birth_date(record.data) else record.about
    locked = record.locked or worked.locks(record.data, now.date())
    return structs.replace(record, about=about, locked=locked, data=worked.understood(record.data, meanings))


def _code(error: Tree) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return code.upper() if isinstance(code, str) else ""


def _cursor(shape: Shape, answer: Tree) -> str | None:
    page = at(shape.page_info, answer, answer) if shape.page_info is not None else None
    if not isinstance(page, dict) or page.get("hasNextPage") is False:
        return None
    cursor = page.get("endCursor")
    if page.get("hasNextPage") is not True or not isinstance(cursor, str) or not cursor:
        raise SourceContractBroken(NO_CURSOR)
    return cursor

"""Connector `http-json`: a service that answers in JSON, asked by the routes of its manifest.

    [auth]                          the source's option `credential`, or a token got by `token_url`, is sent so: see credential
    header = "Authorization"
    prefix = "Bearer "

    [route.contacts]
    types = ["Encounter"]           R4 types its mapping makes: not asked for others
    method = "POST"                 or "GET"
    path = "contacts/search"        below the source's option `base_url`
    query = { sort = "date" }       constants only
    headers = { X-Child = ":nhs_number" }
    json = { nhsNumber = ":nhs_number" }        or form = { ... }
    key_in_path = false             true: `path` may hold the key ("children/:nhs_number"), where a service knows no other way
    nothing = [404]                 statuses by which it says that it holds nothing
    next = "links.next"             paging by the service's own link, which is got
    page = "page"                   or by number: a name of `query` ("page") counted up from `first_page` until a page is empty,
    first_page = 1                  or until `last_page` = "meta.pages"
    schema, records, identity, birth_date, as_of, locked, locks: see json_records

Binds: the person's key (`:nhs_number` or `:local_id`, as `identity` says), `:purpose`, `:organisation`, `:correlation_id`.
The key travels in a header or the body. A link that holds it is not followed, unless the route is marked.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from gateway.adapter import (
    Manifest,
    PatientIdentity,
    SourceContractBroken,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Tree,
    Want,
)
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
    number_of,
    read_found,
    records_of,
)
from gateway.connectors.json_tree import JsonPath, at, parse, read_path
from gateway.errors import StartupRefused

_OWN: Final = frozenset(
    ("types", "method", "path", "query", "headers", "json", "form", "key_in_path", "nothing", "next", "page", "first_page")
) | {"last_page", "schema"}
_NOTHING: Final = frozenset((204, 404, 410))


@dataclass(frozen=True, slots=True)
class Route:
    """One `[route.NAME]`."""

    found: Found
    types: frozenset[str]
    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None
    key_in_path: bool = False
    nothing: frozenset[int] = frozenset()
    next: JsonPath | None = None
    page: str | None = None
    first_page: int = 1
    last_page: JsonPath | None = None


class HttpJson:
    """One service."""

    def __init__(self, manifest: Manifest, source: SourceSettings, tools: Tools) -> None:
        self._manifest, self._tools = manifest, tools
        self._routes = read_routes(manifest)
        self._service = Service(manifest, source, tools)

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        """The person's records by every route that is wanted, then the locks they assert. Raises the four `SourceError`s."""
        ends = monotonic() + self._service.budget_s
        protected: frozenset[str] = frozenset()
        for key in await self._service.keys(self._manifest, patient):
            for route in self._routes:
                if "*" not in want.types and not route.types & want.types:
                    continue
                start = 1
                async for answer in self._pages(route, key, want, ends):
                    records = records_of(route.found, answer, self._manifest.identity, self._tools.now(), start=start)
                    start += len(records)
                    protected |= locks_of(route.found, answer)
                    for record in records:
                        yield record
        yield SourceFacts(protected=protected)

    async def _pages(self, route: Route, key: str, want: Want, ends: float) -> AsyncIterator[Tree]:
        binds = {
            self._manifest.identity: key,
            "purpose": want.purpose.value,
            "organisation": want.requester.get("organisation", ""),
            "correlation_id": want.correlation_id,
        }
        headers, body = _content(route, binds)
        asked = Asked(ends, {"X-Correlation-ID": want.correlation_id, **headers}, route.nothing)
        url, number, left = self._first(route, key), route.first_page, CAP_BYTES
        method = route.method
        for _ in range(PAGES):
            answer, size = await self._service.ask(method, url, asked, body, left)
            if answer is None:
                return
            left -= size
            yield answer
            if route.next is not None:
                link = at(route.next, answer, answer)
                if link is None or link == "":
                    return
                url = self._service.followed(link, None if route.key_in_path else key)
                method, body = "GET", None
            elif route.page is not None:
                last = number_of(at(route.last_page, answer, answer)) if route.last_page is not None else None
                if not items(route.found, answer) or (last is not None and number >= last):
                    return
                number += 1
                url = self._first(route, key, number)
            else:
                return
        raise SourceContractBroken(MORE_PAGES)

    def _first(self, route: Route, key: str, page: int | None = None) -> str:
        path = route.path.replace(f":{self._manifest.identity}", quote(key, safe="")) if route.key_in_path else route.path
        query = dict(route.query)
        if route.page is not None:
            query[route.page] = route.first_page if page is None else page
        return self._service.base_url + path.lstrip("/") + ("?" + urlencode(query) if query else "")


def build(manifest: Manifest, source: SourceSettings, tools: Tools) -> HttpJson:
    """Manifest and settings -> the source. Raises `StartupRefused`."""
    return HttpJson(manifest, source, tools)


def read_file(manifest: Manifest, name: str, body: bytes) -> Iterable[SourceRecord]:
    """One answer -> its records, by the only route, or by the one the file's name begins with. Raises `SourceContractBroken`."""
    routes = dict(zip(manifest.options["route"], read_routes(manifest), strict=True))
    stem = name.rpartition("/")[2]
    chosen = [route for label, route in routes.items() if len(routes) == 1 or stem.startswith(label)]
    if len(chosen) != 1:
        raise SourceContractBroken("the name of the file does not begin with the name of one route")
    return records_of(chosen[0].found, parse(body), manifest.identity, datetime.now(UTC))


def read_routes(manifest: Manifest) -> Sequence[Route]:
    """`[route.NAME]` of the manifest -> routes. Raises `StartupRefused` naming the route and what to mend."""
    tables = manifest.options.get("route", {})
    if not tables:
        raise StartupRefused(f"adapters/{manifest.name}/manifest.toml: the http-json connector needs at least one [route.NAME]")
    return [_route(f"adapters/{manifest.name}/manifest.toml: [route.{name}]", table, manifest) for name, table in tables.items()]


def _route(where: str, table: Mapping[str, Any], manifest: Manifest) -> Route:
    key, path = manifest.identity, table.get("path", "")
    unknown = sorted(set(table) - _OWN - PATHS)
    if unknown:
        raise StartupRefused(f"{where} does not know {', '.join(unknown)}")
    if table.get("method") not in ("GET", "POST") or not path or not table.get("types"):
        raise StartupRefused(f'{where} needs types, path and a method, "GET" or "POST"')
    if ("json" in table) + ("form" in table) > (table["method"] == "POST"):
        raise StartupRefused(f"{where} may have one of json and form, with POST")
    if names_key(table.get("query", {}), key) or "?" in path or "://" in path or ".." in path:
        raise StartupRefused(f"{where} query holds constants only, and path no query")
    marked = table.get("key_in_path", False)
    if names_key(path, key) is not marked:
        raise StartupRefused(f"{where} has the key in its path only where key_in_path = true says so")
    if not marked and not any(names_key(table.get(part, {}), key) for part in ("headers", "json", "form")):
        raise StartupRefused(f"{where} must send :{key}, so that it can answer for one person only")
    if set(table.get("nothing", ())) - _NOTHING:
        raise StartupRefused(f"{where} nothing is held by 204, 404 or 410: no other status may mean that")
    if type(table.get("first_page", 1)) is not int:
        raise StartupRefused(f"{where} first_page is a whole number")
    if "next" in table and "page" in table:
        raise StartupRefused(f"{where} pages by next or by page")

    def path_at(name: str) -> JsonPath | None:
        try:
            return read_path(table[name]) if name in table else None
        except (ValueError, AttributeError):
            raise StartupRefused(f"{where} {name} is not a path such as a.b") from None

    return Route(
        found=read_found(where, table, manifest),
        types=frozenset(table["types"]),
        method=table["method"],
        path=path,
        query=table.get("query", {}),
        headers=table.get("headers", {}),
        json=table.get("json"),
        form=table.get("form"),
        key_in_path=marked,
        nothing=frozenset(table.get("nothing", ())),
        next=path_at("next"),
        page=table.get("page"),
        first_page=table.get("first_page", 1),
        last_page=path_at("last_page"),
    )


def _content(route: Route, binds: Mapping[str, str]) -> tuple[Mapping[str, str], bytes | None]:
    headers = {name: str(filled(value, binds)) for name, value in route.headers.items()}
    if any(not value.isascii() or not value.isprintable() for value in headers.values()):
        raise SourceContractBroken("a header that cannot be sent")
    if route.json is not None:
        return {"Content-Type": "application/json", **headers}, msgspec.json.encode(filled(dict(route.json), binds))
    if route.form is not None:
        form = urlencode({name: filled(value, binds) for name, value in route.form.items()}).encode()
        return {"Content-Type": "application/x-www-form-urlencoded", **headers}, form
    return headers, None

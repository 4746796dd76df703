"""The composition root: settings -> every part, built once; feeds api and worker."""

import asyncio
import contextlib
import importlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import ModuleType

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import caller, mapping, policy, registry
from gateway.adapter import Build, BuildDelivery, Closes, DeliverSettings, SourceSettings, Tools
from gateway.api import oauth
from gateway.api.capability import VERSION
from gateway.api.fhir import ROUTES, Fhir
from gateway.api.middleware import Edge, Straight
from gateway.api.reading import no_such_route
from gateway.app.refusals import refuse_unfit, refuse_without_directory
from gateway.connectors import CONNECTORS, DELIVERIES
from gateway.connectors.apart import Apart
from gateway.connectors.http import PooledHttp
from gateway.connectors.room import Room, large_blocks_go_back
from gateway.errors import GatewayError, InternalFault, MethodNotAllowed, StartupRefused
from gateway.fetch import Fetch
from gateway.flows import programme
from gateway.flows.accounts import Accounts
from gateway.flows.aside import Aside, hold, maps_in
from gateway.flows.parts import Parts
from gateway.flows.shelving import SourceLocalIds, SourceShelf
from gateway.flows.upkeep import Standing
from gateway.identity import Ages, Identity
from gateway.mapping.submitted import submitted_lane
from gateway.model import Category, SourceTerms
from gateway.outside.http import HttpxHttp
from gateway.outside.jwks import Jwks
from gateway.outside.pds import Pds
from gateway.outside.sds import Sds
from gateway.settings import Settings, Tls
from gateway.store import Keys, NotOpened, Store, open_store

CURSOR = b"page"  # what a sealed cursor is bound to


def utc_now() -> datetime:
    """The one clock. Aware UTC."""
    return datetime.now(UTC)


@asynccontextmanager
async def opened(settings: Settings, *, ahead_s: float | None = None) -> AsyncIterator[tuple[Parts, Store]]:
    """Settings -> every part, closed at the end. Raises `StartupRefused` with what to do next.

    `ahead_s`: after how long the process for large bodies is started; None: with the first of them.
    """
    refuse_unfit(settings)
    keys = Keys.load(settings.keys, mode=settings.mode)
    if settings.mode == "live":
        refuse_untried(settings, registry.installed())
    store = await open_store(settings.database(), keys, name=settings.name, traces_per_second=settings.pds.per_second)
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(store.close)
        large_blocks_go_back()
        room = Room()
        https = _https(settings, room)
        for http in {id(http): http for http in https.values()}.values():
            closing.push_async_callback(http.close)
        pds = Pds(settings.pds, HttpxHttp(tls=_context(settings.pds.tls, "pds.tls")))
        closing.push_async_callback(pds.close)
        sds = Sds(settings.sds, HttpxHttp(tls=_context(settings.sds.tls, "sds.tls")), utc_now) if settings.sds else None
        if sds is not None:
            closing.push_async_callback(sds.close)
        jwks = Jwks(live=settings.mode == "live")
        closing.push_async_callback(jwks.close)
        apart = Apart(room, partial(hold, partial(maps_in, settings.mappings, _own_codes(settings))))
        closing.push_async_callback(apart.close)
        if ahead_s is not None:
            closing.callback(asyncio.get_running_loop().call_later(ahead_s, apart.start).cancel)
        parts = _parts(settings, keys, store, https, pds, sds, jwks, apart, room)
        for source in parts.registry.sources.values():
            if isinstance(source.adapter, Closes):
                closing.push_async_callback(source.adapter.close)
        yield parts, store


def _parts(
    settings: Settings,
    keys: Keys,
    store: Store,
    https: Mapping[str, PooledHttp],
    pds: Pds,
    sds: Sds | None,
    jwks: Jwks,
    apart: Apart,
    room: Room,
) -> Parts:
    active = sources(settings, keys, store, https, sds, apart)
    rules = policy.load(settings.policy or files("consent_policy"))
    maps = _maps(settings)
    refuse_uncovered(active, rules)
    identity = Identity(
        store.persons, pds, Ages(timedelta(seconds=settings.trace_fresh_s), timedelta(seconds=settings.trace_stale_s))
    )
    local_ids = {name: SourceLocalIds(store.crosswalk, name) for name in active.sources}
    return Parts(
        registry=active,
        terms={name: terms(source, maps) for name, source in active.sources.items()},
        policy=rules,
        standing=Standing(store.policy_activation, store.shelf, active, rules.hash),
        maps=maps,
        identity=identity,
        fetch=Fetch(active, local_ids),
        facts=store.facts,
        log=store.log,
        shelf=store.shelf,
        programme=_programme(settings.mappings),
        protections=store.protections,
        suppressions=store.suppressions,
        crosswalk=store.crosswalk,
        work=store.work,
        accounts=Accounts(maps, store.drifts, store.work),
        parcels=store.parcels,
        mandates=store.mandates,
        recalls=store.recalls,
        submitted=submitted_lane(settings.mappings or files("mappings")),
        caller=_caller(settings, keys, store, rules, jwks),
        mint=keys.resource_ids,
        seal=lambda plain: keys.seal_cursor(plain, CURSOR),
        open=lambda text: _opened_cursor(keys, text),
        now=utc_now,
        base_url=settings.public_base(),
        deadline_s=settings.deadline_s,
        page_bytes=settings.page_bytes,
        page_count=settings.page_count,
        empty_bucket_s=settings.empty_bucket_ms / 1000,
        allow_test_numbers=settings.mode == "sandbox",
        aside=Aside(apart, partial(maps_in, settings.mappings, _own_codes(settings)), keys.resource_ids_apart),
        holding=room.holding,
    )


def _https(settings: Settings, room: Room) -> Mapping[str, PooledHttp]:
    """Outgoing HTTP of each source: one pool for all, and one of its own for each that has its own trust or certificate."""
    shared = PooledHttp(room=room)
    return {
        name: PooledHttp(tls=_context(source.tls, f"sources.{name}.tls"), room=room) if source.tls else shared
        for name, source in settings.sources.items()
    }


def _context(tls: Tls | None, setting: str) -> ssl.SSLContext | None:
    return None if tls is None else tls.context(setting)


def sources(
    settings: Settings, keys: Keys, store: Store, https: Mapping[str, PooledHttp], sds: Sds | None, apart: Apart
) -> registry.Registry:
    """The settings' sources, each with its adapter and what the adapter is lent."""

    def tools(source: SourceSettings) -> Tools:
        return Tools(
            http=https[source.name],
            apart=apart,
            shelf=SourceShelf(store.shelf, source.name, utc_now),
            local_ids=SourceLocalIds(store.crosswalk, source.name),
            directory=sds or _NoDirectory(),
            now=utc_now,
            var=settings.var / "sources" / source.name,
            seal=lambda plain: keys.seal("file-sealing", plain, source.name.encode()),
        )

    packages = registry.installed(settings.adapters)
    manifests = {name: registry.load_manifest(package) for name, package in packages.items()}
    if sds is None:
        refuse_without_directory(settings, manifests)
    wanted = [
        SourceSettings(
            name=name,
            adapter=source.adapter,
            custodian=source.custodian,
            agreement=source.agreement,
            title=source.title,
            budget_s=source.budget_s or (manifests[source.adapter].budget_s if source.adapter in manifests else 1.0),
            max_age_h=source.max_age_h,
            keep_days=source.keep_days,
            drift=source.drift,
            options=source.options,
            deliver={what: DeliverSettings(tuple(held.agreements), held.options) for what, held in source.deliver.items()},
        )
        for name, source in settings.sources.items()
    ]
    return registry.build(wanted, packages, connector=connector, tools=tools, delivery=delivery)


def _maps(settings: Settings) -> mapping.Maps:
    """The mappings, with the code maps that sources bring themselves: letters mean different things in different places."""
    own = _own_codes(settings)
    for name, place in own.items():
        if not place.is_dir():
            raise StartupRefused(f"sources.{name}.options.code_maps is not a folder: name one that holds NAME.csv code maps")
    return maps_in(settings.mappings, own)


def _own_codes(settings: Settings) -> Mapping[str, Path]:
    return {name: Path(str(one.options["code_maps"])) for name, one in settings.sources.items() if "code_maps" in one.options}


def _programme(chosen: Path | None) -> programme.Programme:
    """A site's own mappings seldom bring a programme of their own: without one the shipped one holds."""
    own = chosen is not None and (chosen / programme.FILE).is_file()
    return programme.load_programme(chosen if own and chosen is not None else files("mappings"))


def terms(source: registry.ActiveSource, maps: mapping.Maps) -> SourceTerms:
    """What policy may know of a source: what its maps can give, with their care classes, and its own terms."""
    manifest, settings = source.manifest, source.settings
    gives = maps.gives(manifest.name)
    if mapping.R4_SCHEMA in manifest.reads:
        marks = [maps.lane.types[name] for name in manifest.gives if name in maps.lane.types]
        gives |= {(mark.category, mark.care_class) for mark in marks}
    return SourceTerms(
        source=settings.name,
        kind=manifest.kind,
        agreement=settings.agreement,
        gives=gives,
        purposes=manifest.purposes,
        never_for=manifest.never_for,
        types=frozenset((name, Category(category)) for name, category in manifest.gives.items()),
        custodian=settings.custodian,
        title=settings.title,
    )


def refuse_uncovered(active: registry.Registry, rules: policy.Policy) -> None:
    """Raises `StartupRefused` for a source without an agreement, or under one that another custodian gives."""
    for name, source in active.sources.items():
        agreement = rules.agreement(source.settings.agreement)
        if agreement is None:
            raise StartupRefused(f"sources.{name}.agreement names none under consent_policy/agreements: write it there first")
        if agreement.gives != source.settings.custodian:
            raise StartupRefused(f"sources.{name}.agreement is one that another custodian gives: name the custodian's own")
    for name, route in active.routes.items():
        if any(rules.agreement(agreement) is None for agreement in route.settings.agreements):
            raise StartupRefused(f"delivery {name}: agreements names one that is not under consent_policy/agreements")


def connector(name: str) -> Build:
    """A connector's name in a manifest -> its `build`. Raises `StartupRefused` for one that does not exist."""
    module = CONNECTORS.get(name)
    if module is None:
        raise StartupRefused(f"connector {name!r} does not exist: there are {', '.join(sorted(CONNECTORS))}")
    build: Build = importlib.import_module(module).build
    return build


def delivery(name: str) -> BuildDelivery:
    """A connector's name in a [deliver.NAME] -> its `build_delivery`. Raises `StartupRefused` for one that cannot write."""
    module = DELIVERIES.get(name)
    if module is None:
        raise StartupRefused(f"connector {name!r} delivers nothing: those that do are {', '.join(sorted(DELIVERIES))}")
    build: BuildDelivery = importlib.import_module(module).build_delivery
    return build


def create(parts: Parts, settings: Settings) -> Edge:
    """Every part -> the ASGI application."""
    app, fhir = bare(), Fhir(parts, body_bytes=settings.body_bytes)
    scopes = [f"system/{name}.rs" for name in sorted({*parts.types(), "AuditEvent"})]
    for path, methods, endpoint in oauth.routes(parts.caller, scopes_supported=scopes):
        app.add_api_route(path, endpoint, methods=methods, response_class=Response, include_in_schema=False)
    app.add_api_route("/fhir/metadata", fhir.metadata, methods=["GET"], response_class=Response, include_in_schema=False)
    for route in ROUTES:
        app.router.routes.append(_plain(route["path"], fhir.endpoint, route["methods"]))

    async def elsewhere(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        refusal: GatewayError = MethodNotAllowed(reason="method") if status == 405 else no_such_route(request.scope["path"])
        return await fhir.elsewhere(request, refusal)

    async def unforeseen(request: Request, _: Exception) -> Response:
        return await fhir.elsewhere(request, InternalFault(reason="unforeseen"))

    app.add_exception_handler(HTTPException, elsewhere)
    app.add_exception_handler(Exception, unforeseen)  # else Starlette answers in plain text, and the log would not hear of it
    # the outermost layer of FastAPI's own stack, so that what was unforeseen is answered and recorded there as here
    return Edge(ServerErrorMiddleware(Straight(fhir.endpoint, app), handler=unforeseen))


def _plain(path: str, endpoint: Callable[[Request], Awaitable[Response]], methods: list[str]) -> Route:
    """The hot routes are Starlette's own: FastAPI would solve dependencies that they do not have, at each request."""
    route = Route(path, endpoint, include_in_schema=False)
    route.methods = set(methods)  # Starlette would answer HEAD wherever there is GET
    return route


def bare() -> FastAPI:
    """FastAPI without its own pages, redirects and error bodies, which would echo what callers send."""
    return FastAPI(
        title="Shared care gateway", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )


def refuse_untried(settings: Settings, packages: Mapping[str, ModuleType]) -> None:
    """Raises `StartupRefused` for a source whose adapter does not claim tier live: it was not tried against the real system."""
    order = registry.TIERS
    for name, source in settings.sources.items():
        package = packages.get(source.adapter)
        if package is None:
            continue  # `registry.build` says which there are
        tier = registry.claimed_tier(package)
        if tier not in order[order.index("live") :]:
            raise StartupRefused(
                f"GATEWAY_MODE is live: sources.{name} uses adapter {source.adapter}, which is at tier {tier or 'none'}, "
                f"not live: gateway check {source.adapter} says what it needs"
            )


def _caller(settings: Settings, keys: Keys, store: Store, rules: policy.Policy, jwks: Jwks) -> caller.Parts:
    return caller.Parts(
        clients=store.clients,
        log=store.log,
        limits=store.limits,
        key=_TokenKey(keys),
        base_url=settings.public_base(),
        resolve_organisation=rules.organisation,
        fetch_keys=jwks.fetch,
        failures=caller.Failures(store.log),
        clock=utc_now,
        retired=keys.token_signing.previous,
        token_s=settings.token_s,
        token_per_minute=settings.token_per_minute,
        client_per_minute=settings.client_per_minute,
        address_per_minute=settings.address_per_minute,
    )


class _TokenKey:
    """The store's token-signing key as step 1 asks for it."""

    def __init__(self, keys: Keys) -> None:
        self.kid = keys.token_signing.id
        self.private = keys.token_signing.private


class _NoDirectory:
    """No SDS is set: no practice can be found."""

    async def find(self, ods: str, interaction: str) -> None:
        return None


def _opened_cursor(keys: Keys, text: str) -> bytes | None:
    try:
        return keys.open_cursor(text, CURSOR)
    except NotOpened:
        return None

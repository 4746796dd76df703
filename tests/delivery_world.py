"""A place for tests of delivery: the real policy, maps and SQLite store, a tracer and a recipient that do as they are told."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gateway import mapping, policy
from gateway.adapter import Acknowledgement, Deliver, DeliverSettings, Outgoing, SourceSettings
from gateway.identity import Ages, Identity
from gateway.mapping.r4_lane import Lane
from gateway.mapping.submitted import submitted_lane
from gateway.model import AccessRequest, Coding, Content, Purpose, Query, Submission
from gateway.nhs_number import NhsNumber
from gateway.ports import Client, Traced
from gateway.registry import Registry, Route, load_manifest
from gateway.store import Keys, Store, open_store
from gateway.systems import LOCAL_ROLE, SDS_JOB_ROLE
from tests import fakes, migrated

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
CHILD = NhsNumber("9990000107")
BORN = date(2024, 3, 14)
CLIENT = "a-sender"
CENTRE = "urn:shared-care-gateway:dfe-urn|199901"
AUTHORITY = "https://fhir.nhs.uk/Id/gss-code|E08999901"
PRACTICE = "https://fhir.nhs.uk/Id/ods-organization-code|A99901"
SCOPES = frozenset({"system/ServiceRequest.c", "system/Task.cr"})
AGREEMENTS = {
    "centre/referral": ("referral-health-centre",),
    "authority/concern": ("referral-health-authority", "referral-centre-authority"),
    "gp/notice": ("centre-record",),
}
ADAPTERS = {"centre": "childrens_centre", "authority": "local_authority", "gp": "gp"}
CUSTODIANS = {"centre": "dfe-urn:199901", "authority": "gss:E08999901", "gp": "registered-practice"}


@dataclass
class Tracer:
    """PDS: everybody it is told of, or an error."""

    people: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    async def trace(self, number: NhsNumber, correlation_id: str) -> Any:
        if self.error is not None:
            raise self.error
        return self.people.get(number.value, "unknown")


@dataclass
class Taker:
    """A recipient: takes a key once, or raises as told, before or after it took it."""

    taken: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    error: Exception | None = None
    lost_answer: Exception | None = None
    before: Any = None  # called with the outgoing, while its bytes are on the way

    async def deliver(self, name: str, outgoing: Outgoing) -> Acknowledgement:
        self.attempts += 1
        if self.before is not None:
            await self.before(outgoing)
        if self.error is not None:
            raise self.error
        self.taken.setdefault(outgoing.key, outgoing.data)
        if self.lost_answer is not None:
            raise self.lost_answer
        return Acknowledgement(f"theirs-{len(self.taken)}", NOW)


@dataclass
class World:
    """What a flow is given, and what tests look at."""

    parts: Any
    store: Store
    tracer: Tracer
    taker: Taker
    clock: list[datetime]

    def later(self, **by: float) -> datetime:
        self.clock[0] += timedelta(**by)
        return self.clock[0]


def child(**given: Any) -> Traced:
    """The one child of these tests, as traced."""
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": CHILD.value}],
        "name": [{"use": "official", "family": "Testwell", "given": ["Amara"]}],
        "gender": "female",
        "birthDate": BORN.isoformat(),
        "address": [{"postalCode": "ZZ99 1AZ"}],
    }
    values: dict[str, Any] = {
        "number": CHILD,
        "birth_date": BORN,
        "deceased": False,
        "restricted": False,
        "practice": "ods:A99901",
        "patient": patient,
        "version": "1",
    }
    return Traced(**{**values, **given})


@cache
def rules() -> policy.Policy:
    return policy.load(files("consent_policy"))


@cache
def maps() -> tuple[mapping.Maps, Lane]:
    return mapping.load(files("mappings")), submitted_lane(files("mappings"))


def route(name: str, deliverer: Deliver) -> Route:
    """One of the three, as the manifests that ship describe it."""
    source, _, what = name.partition("/")
    manifest = load_manifest(importlib.import_module(f"adapters.{ADAPTERS[source]}"))
    held = DeliverSettings(AGREEMENTS[name])
    settings = SourceSettings(
        source, manifest.name, CUSTODIANS[source], "agreement", source.title(), 1.0, None, 7, {}, deliver={what: held}
    )
    return Route(name, manifest, settings, manifest.deliver[what], held, deliverer, deliverer)


async def opened(folder: Path, *, keys: Keys | None = None, deliverer: Deliver | None = None, now: datetime = NOW) -> World:
    """Everything, over a database of its own."""
    clock, taker, tracer = [now], Taker(), Tracer({CHILD.value: child()})
    keys = keys or Keys.create_sandbox(folder / "keys")
    store = await open_store(
        migrated.sqlite(folder / "gateway.db"), keys, name="test", traces_per_second=1000, clock=lambda: clock[0]
    )
    held_maps, lane = maps()
    routes = {name: route(name, deliverer or taker) for name in AGREEMENTS}
    parts = SimpleNamespace(
        registry=Registry({}, routes),
        policy=rules(),
        maps=held_maps,
        submitted=lane,
        identity=Identity(store.persons, tracer, Ages(timedelta(minutes=15), timedelta(hours=24))),
        facts=store.facts,
        log=store.log,
        parcels=store.parcels,
        mandates=store.mandates,
        recalls=store.recalls,
        suppressions=store.suppressions,
        mint=keys.resource_ids,
        now=lambda: clock[0],
        holds_policy=lambda _: True,
        standing=SimpleNamespace(deliveries={}),
        base_url="https://gateway.example",
        seal=lambda plain: "sealed",
        page_count=500,
        page_bytes=1_000_000,
    )
    await store.clients.put(_client())
    await store.policy_activation.activate(rules().hash, at=now, by="test")
    return World(parts, store, tracer, taker, clock)


async def consents(world: World, *scopes: str, decision: Any = "permit") -> None:
    for scope in scopes:
        await world.store.consents.put(
            CHILD,
            scope=scope,
            decision=decision,
            given_by="parent",
            recorded_by="centre",
            starts=NOW - timedelta(days=1),
            ends=None,
            evidence="form",
        )


async def relates(world: World, kind: str, organisation: str) -> None:
    starts = NOW - timedelta(days=1)
    await world.store.relationships.put(
        kind, CHILD, organisation=organisation, staff=None, case_reference=None, starts=starts, ends=None
    )


async def request(world: World, who: str, purpose: Purpose, resource_type: str, number: NhsNumber = CHILD) -> AccessRequest:
    """A health visitor or a centre worker, as a token would make them."""
    held = await world.store.clients.get(CLIENT)
    assert held is not None
    organisation = rules().organisation({"health": "ods:RXX99", "centre": "dfe-urn:199901"}[who])
    role = {"health": Coding(SDS_JOB_ROLE, "R0690"), "centre": Coding(LOCAL_ROLE, "centre-worker")}[who]
    asked = fakes.request(
        Query("send", number, frozenset({resource_type})),
        organisation=organisation,
        system=CLIENT,
        role=role,
        purpose=purpose,
        scopes=SCOPES,
        client_version=held.version,
    )
    return replace(asked, received_at=world.clock[0])


def submission(resource_type: str, recipient: str, name: str = "R-1", **given: Any) -> Submission:
    """What was read of a body."""
    patient: Mapping[str, Any] = {
        "resourceType": resource_type,
        "identifier": [{"system": "urn:sender", "value": name}],
        "status": "active" if resource_type == "ServiceRequest" else "requested",
        "intent": "order",
        "authoredOn": "2026-11-20T09:30:00Z",
        "requester": {"display": "Meadowvale Community Health"},
        **(_REFERRAL if resource_type == "ServiceRequest" else {"description": "This family comes to us"}),
    }
    content = Content(given.pop("number", CHILD), given.pop("born", BORN), {**patient, **given})
    return Submission(content, resource_type, recipient, f"urn:sender|{name}")


_REFERRAL = {
    "code": {"coding": [{"system": "urn:shared-care-gateway:CodeSystem:family-support", "code": "play"}]},
    "reasonCode": [{"text": "New to the area"}],
    "note": [{"text": "Tuesdays"}],
}
CONCERN = {"coding": [{"system": "urn:shared-care-gateway:CodeSystem:front-door-request", "code": "child-protection"}]}


def _client() -> Client:
    return Client(
        id=CLIENT,
        name=CLIENT,
        organisations=frozenset({"ods:RXX99", "dfe-urn:199901"}),
        roles=frozenset(),
        purposes=frozenset(),
        scopes=SCOPES,
        algorithms=frozenset(),
        jwks=None,
        jwks_url=None,
        version=1,
        revoked=False,
    )

"""A small world for step 1: keys, one registered client, and fakes of the ports it needs. Everything in it is made up."""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from gateway.caller import Failures, Parts
from gateway.errors import AuditDown
from gateway.model import Organisation, OrganisationKind, Receipt
from gateway.ports import Client, Entry
from gateway.systems import SDS_JOB_ROLE

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
BASE = "http://127.0.0.1:8000"
TOKEN_URL = BASE + "/oauth/token"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RIVERSIDE = Organisation(
    "ods:A99901",
    "Riverside Surgery",
    OrganisationKind.GP_PRACTICE,
    frozenset({"ods:A99901", "https://fhir.nhs.uk/Id/ods-organization-code|A99901"}),
)
HILLTOP = Organisation("ods:A99902", "Hilltop Surgery", OrganisationKind.GP_PRACTICE, frozenset({"ods:A99902"}))
KNOWN = {code: organisation for organisation in (RIVERSIDE, HILLTOP) for code in organisation.all_codes}
EC_KEY = ECKey.generate_key("P-384")
OTHER_EC_KEY = ECKey.generate_key("P-384")
RSA_KEY = RSAKey.generate_key(2048)


def public(key: ECKey | RSAKey, kid: str) -> dict[str, Any]:
    return {**key.as_dict(private=False), "kid": kid, "use": "sig"}


CLIENT = Client(
    id="riverside-records",
    name="Riverside records system",
    organisations=frozenset({"ods:A99901"}),
    roles=frozenset({f"{SDS_JOB_ROLE}|R0260"}),
    purposes=frozenset({"TREAT"}),
    scopes=frozenset({"system/*.rs"}),
    algorithms=frozenset({"ES384", "RS384"}),
    jwks={"keys": [public(EC_KEY, "ec-1"), public(RSA_KEY, "rsa-1")]},
    jwks_url=None,
    version=3,
    revoked=False,
)


@dataclass
class FakeClients:
    held: dict[str, Client]

    async def get(self, client: str) -> Client | None:
        return self.held.get(client)

    async def all(self) -> Sequence[Client]:
        return list(self.held.values())

    async def put(self, client: Client) -> None:
        self.held[client.id] = client

    async def revoke(self, client: str) -> bool:
        found = self.held.get(client)
        if found:
            self.held[client] = replace(found, revoked=True, version=found.version + 1)
        return found is not None


@dataclass
class FakeLog:
    """Keeps entries; one jti a client once, as the store does in one statement."""

    entries: list[Entry] = field(default_factory=list)
    spent: set[tuple[str, str]] = field(default_factory=set)
    down: bool = False

    async def append(
        self, entries: Sequence[Entry], jobs: Sequence[object] = (), *, unless_moved: object = None
    ) -> Sequence[Receipt]:
        await asyncio.sleep(0)
        if self.down:
            raise AuditDown
        self.entries.extend(entries)
        return [_receipt(entry) for entry in entries]

    async def append_once(self, entry: Entry, *, client: str, jti: str, expires: datetime) -> Receipt | None:
        await asyncio.sleep(0)
        if self.down:
            raise AuditDown
        if (client, jti) in self.spent:
            return None
        self.spent.add((client, jti))
        self.entries.append(entry)
        return _receipt(entry)

    async def ask(self, question: object) -> Sequence[Any]:
        return []

    async def event(self, event: str) -> None:
        return None


@dataclass
class FakeLimits:
    """Lets everything through but the keys it was told to hold back."""

    full: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def take(self, key: str, *, per_minute: int, now: datetime) -> int | None:
        self.asked.append(key)
        return self.full.get(key)


@dataclass
class FakeKey:
    kid: str = "signing-1"
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class World:
    parts: Parts
    clients: FakeClients
    log: FakeLog
    limits: FakeLimits
    clock: Clock
    key: FakeKey
    key_sets: dict[str, Mapping[str, Any]]


def world(*clients: Client, log: FakeLog | None = None) -> World:
    held = FakeClients({client.id: client for client in clients or (CLIENT,)})
    log, limits, clock, key = log or FakeLog(), FakeLimits(), Clock(), FakeKey()
    key_sets: dict[str, Mapping[str, Any]] = {}

    async def fetch(url: str, kid: str) -> Mapping[str, Any] | None:
        return key_sets.get(url)

    parts = Parts(
        clients=held,
        log=log,
        limits=limits,
        key=key,
        base_url=BASE,
        resolve_organisation=KNOWN.get,
        fetch_keys=fetch,
        failures=Failures(log),
        clock=clock,
    )
    return World(parts, held, log, limits, clock, key, key_sets)


def b2b(**changes: Any) -> dict[str, Any]:
    """The hl7-b2b extension; a change to None takes the member out."""
    said = {
        "version": "1",
        "organization_id": "ods:A99901",
        "organization_name": "Riverside Surgery",
        "subject_id": "555253555109",
        "subject_name": "Dr Jo Synthetic",
        "subject_role": "R0260",
        "purpose_of_use": ["TREAT"],
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def claims(now: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """Claims of a good assertion; a change to None takes the claim out."""
    issued = int(now.timestamp())
    said = {
        "iss": CLIENT.id,
        "sub": CLIENT.id,
        "aud": TOKEN_URL,
        "iat": issued,
        "exp": issued + 240,
        "jti": f"assertion-{len(_made)}",
        "extensions": {"hl7-b2b": b2b()},
        **changes,
    }
    _made.append(1)
    return {name: value for name, value in said.items() if value is not None}


_made: list[int] = []


def header(**changes: Any) -> dict[str, Any]:
    said = {"alg": "ES384", "kid": "ec-1", "typ": "JWT", **changes}
    return {name: value for name, value in said.items() if value is not None}


def sign(head: Mapping[str, Any], body: Mapping[str, Any] | bytes, key: Any = EC_KEY) -> str:
    """Signed as the header's algorithm says, with no check of ours or the library's in the way."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signing_input = f"{b64(json.dumps(head).encode())}.{b64(raw)}"
    algorithm = jws.JWSRegistry.algorithms[str(head["alg"])]
    return f"{signing_input}.{b64(algorithm.sign(signing_input.encode(), key))}"


def assertion(now: datetime = NOW, **changes: Any) -> str:
    return sign(header(), claims(now, **changes))


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def form(text: str, **changes: str | None) -> dict[str, str]:
    said: dict[str, str | None] = {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": JWT_BEARER,
        "client_assertion": text,
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def encoded(fields: Mapping[str, str]) -> bytes:
    return urlencode(fields).encode()


def _receipt(entry: Entry) -> Receipt:
    return Receipt("event", "commitment", "writer", entry.at, "signature")

"""What every flow is given: the steps' own machinery and the ports, built once by app."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway import caller, policy
from gateway.adapter import Clock
from gateway.fetch import Fetch
from gateway.identity import Identity
from gateway.mapping import Maps
from gateway.ports import Clients, FactsStore, Log, Protections, ShelfStore
from gateway.registry import Registry

Mint = Callable[[str, str, str, str], str]  # resource type, key, person, source -> our id


@dataclass(frozen=True, slots=True)
class Parts:
    """Built by app, used by flows, changed by nobody."""

    registry: Registry
    terms: Mapping[str, policy.SourceTerms]
    policy: policy.Policy
    policy_is_active: Callable[[], bool]  # does the database's active hash equal ours?
    maps: Maps
    identity: Identity
    fetch: Fetch
    facts: FactsStore
    log: Log
    clients: Clients
    shelf: ShelfStore
    protections: Protections
    caller: caller.Parts
    mint: Mint
    deliveries: Callable[[], Awaitable[Mapping[str, tuple[datetime | None, bool]]]]
    seal: Callable[[bytes], str]
    now: Clock
    base_url: str
    titles: Mapping[str, tuple[str, str]]
    deadline_s: float
    page_bytes: int
    page_count: int
    empty_bucket_s: float
    allow_test_numbers: bool

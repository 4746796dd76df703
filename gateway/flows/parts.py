"""What every flow is given: the steps' own machinery and the ports, built once by app."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from gateway import caller
from gateway.adapter import Clock
from gateway.fetch import Fetch
from gateway.flows.accounts import Accounts
from gateway.flows.aside import Aside
from gateway.flows.programme import Programme
from gateway.identity import Identity
from gateway.mapping import Maps
from gateway.mapping.r4_lane import Lane
from gateway.model import SourceTerms
from gateway.policy import Policy
from gateway.ports import Crosswalk, FactsStore, Log, Mandates, Parcels, Protections, Recalls, ShelfStore, Suppressions, WorkList
from gateway.registry import Registry

if TYPE_CHECKING:
    from gateway.flows.upkeep import Standing

Held = AbstractAsyncContextManager[object]
Mint = Callable[[str, str, str], Callable[[str, str], str]]  # person, source, its kind -> (resource type, key) -> our id


@dataclass(frozen=True, slots=True)
class Parts:
    """Built by app, used by flows, changed by nobody (but `standing`, which upkeep refreshes)."""

    registry: Registry
    terms: Mapping[str, SourceTerms]
    policy: Policy
    standing: "Standing"
    maps: Maps
    identity: Identity
    fetch: Fetch
    facts: FactsStore
    log: Log
    shelf: ShelfStore
    programme: Programme
    protections: Protections
    suppressions: Suppressions
    crosswalk: Crosswalk
    work: WorkList
    accounts: Accounts
    parcels: Parcels
    mandates: Mandates
    recalls: Recalls
    submitted: Lane  # the marks of what senders submit
    caller: caller.Parts
    mint: Mint
    seal: Callable[[bytes], str]
    open: Callable[[str], bytes | None]
    now: Clock
    base_url: str
    deadline_s: float
    page_bytes: int
    page_count: int
    empty_bucket_s: float
    allow_test_numbers: bool
    aside: Aside  # where large records are mapped
    holding: Callable[[], Held]  # around a request: what it holds of the room for large answers is given back at its end

    def types(self) -> frozenset[str]:
        """R4 types that can be asked for: what the active sources give, the Patient of the trace, and where things came from."""
        given = {name for source in self.registry.sources.values() for name in source.manifest.gives}
        return frozenset(given | {"Patient", "Provenance"})

    def takes(self) -> frozenset[str]:
        """R4 types that may be submitted for delivery to somebody."""
        return frozenset(name for route in self.registry.routes.values() for name in route.table.types)

    def holds_policy(self, now: datetime) -> bool:
        """The policy this worker holds is the active one."""
        return self.standing.holds(now)

"""What each worker does about once a second: owed failure counts, the active policy, what the pushing sources last delivered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from gateway.bundle import Delivered
from gateway.flows.parts import Parts
from gateway.ports import PolicyActivation, ShelfStore
from gateway.registry import Registry

PURGE_EVERY = timedelta(hours=1)
BELIEVED_S = 5  # an activation read longer ago than this is not believed: the worker answers 503
NONE_ACTIVE: Final = (
    "No policy is active: every request is answered 503. `gateway policy activate` makes this gateway's policy active"
)
OTHER_ACTIVE: Final = (
    "Another policy is active than the one held here: every request is answered 503. Start again with the active one, or "
    "`gateway policy activate` makes this gateway's policy active"
)
_log = structlog.get_logger()


@dataclass(slots=True)
class Standing:
    """What every request looks at and no request changes: kept fresh by upkeep, believed for a few seconds only."""

    activation: PolicyActivation
    shelf: ShelfStore
    registry: Registry
    policy_hash: str
    active: str | None = None
    checked_at: datetime | None = None
    purged_at: datetime | None = None
    deliveries: Mapping[str, Delivered] = field(default_factory=dict)

    def holds(self, now: datetime) -> bool:
        """True: the policy this worker holds is the active one, as read a moment ago."""
        fresh = self.checked_at is not None and now - self.checked_at < timedelta(seconds=BELIEVED_S)
        return fresh and self.active == self.policy_hash

    async def check(self, now: datetime) -> None:
        """Read the activation and each pushing source's newest delivery. Raises `StoreDown`; what was read then ages."""
        active = await self.activation.active()
        if self.checked_at is None or active != self.active:
            self._say(active)
        self.active = active
        found = {}
        for name, source in self.registry.sources.items():
            if source.intake is not None:
                delivered, hours = await self.shelf.delivered_at(name), source.settings.max_age_h
                stale = hours is not None and (delivered is None or now - delivered > timedelta(hours=hours))
                unread = await self.shelf.unread(name) > 0
                found[name] = Delivered(delivered, stale, unread)
        self.deliveries = found
        self.checked_at = now

    def _say(self, active: str | None) -> None:
        """Loud, once for each change: a worker that answers nothing but 503 says why and what to do."""
        if active != self.policy_hash:
            _log.error("policy.not_held", reason=NONE_ACTIVE if active is None else OTHER_ACTIVE)
        elif self.checked_at is not None:
            _log.info("policy.held")


async def upkeep(parts: Parts) -> None:
    """Everything due once. Raises `StoreDown` or `AuditDown`: tried again at the next tick."""
    now = parts.now()
    await parts.standing.check(now)
    await parts.caller.failures.flush(now)
    await parts.accounts.settle(now, parts.registry.sources)
    if parts.standing.purged_at is None or now - parts.standing.purged_at > PURGE_EVERY:
        await parts.shelf.purge(now)
        await parts.parcels.purge(now)
        parts.standing.purged_at = now

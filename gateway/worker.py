"""Takes what is due: deliveries, owed failure counts, the log's sequence, retention. Knows no rule; every act is a flow."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from time import monotonic

import prometheus_client
import structlog

from gateway.adapter import Arrival, Delivery
from gateway.errors import GatewayError
from gateway.flows import recall
from gateway.flows.deliver import deliver, due, remind
from gateway.flows.intake import intake, intake_each
from gateway.flows.parts import Parts
from gateway.flows.upkeep import upkeep
from gateway.model import LeasedParcel, LeasedRecall
from gateway.registry import ActiveSource

TICK_S = 1.0
RECHECK_S, RECHECK_SHARE = 5.0, 0.02  # what was delivered is looked at this often, and never for more than this share of the time
RECHECK_FAILED_S = 60.0  # the longest wait where somebody could not be looked at: the time went on waiting, not on the database
TOGETHER = 64  # deliveries that are recorded in one transaction; a crash brings that many again
Due = Callable[[], Awaitable[None]]
FAILED = prometheus_client.Counter(
    "gateway_recheck_failures_total", "Deliveries that could not be looked at anew when something changed of their person."
)
_log = structlog.get_logger()


class Worker:
    """One for each server process. Deliveries are taken by renaming, so two workers never take the same one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rechecked_next = 0.0
        self._rechecked_to = ""

    async def run(self) -> None:
        """Until cancelled. A failure is logged by its kind and tried again at the next tick.

        Upkeep waits for no delivery: without it no request is answered, and a large delivery takes minutes.
        """
        async with asyncio.TaskGroup() as both:
            both.create_task(self._again(self._upkeep))
            both.create_task(self._again(self._deliveries))
            both.create_task(self._again(self._parcels))
            both.create_task(self._again(self._recheck))

    async def tick(self) -> None:
        """Everything due once."""
        await self._once(self._upkeep)
        await self._once(self._deliveries)

    async def _again(self, due: Due) -> None:
        while True:
            await self._once(due)
            await asyncio.sleep(TICK_S)

    async def _once(self, due: Due) -> None:
        try:
            await due()
        except GatewayError as error:
            _log.error("worker.failed", fault=type(error).__name__, reason=error.reason)
        except Exception as fault:  # noqa: BLE001 - as at the edge: what one file does to us must not stop the whole gateway
            _log.error("worker.failed", fault=type(fault).__name__, reason="not-foreseen")

    async def _upkeep(self) -> None:
        await upkeep(self._parts)

    async def _parcels(self) -> None:
        """What is to be delivered, all that is due at once: one recipient that is slow holds up a few others for its budget."""
        parcels, recalls = await due(self._parts), await recall.due(self._parts)
        async with asyncio.TaskGroup() as together:
            for leased in parcels:
                together.create_task(self._once(partial(self._deliver, leased)))
            for called in recalls:
                together.create_task(self._once(partial(self._recall, called)))
        await remind(self._parts)

    async def _deliver(self, leased: LeasedParcel) -> None:
        became = await deliver(self._parts, leased)
        _log.info("parcel.tried", delivery=leased.parcel.route, attempt=leased.parcel.attempts, became=became or "lost")

    async def _recall(self, leased: LeasedRecall) -> None:
        became = await recall.recall(self._parts, leased)
        _log.info("recall.tried", delivery=leased.parcel.route, attempt=leased.parcel.attempts, became=became or "lost")

    async def _recheck(self) -> None:
        """Whose consent is gone since: within seconds, and in a place that delivers very much within a minute or two."""
        started = monotonic()
        if started < self._rechecked_next:
            return
        longest_s = inf
        try:
            became = await recall.recheck(self._parts, self._rechecked_to)
            self._rechecked_to = became.after
            if became.failed:
                longest_s = RECHECK_FAILED_S
                FAILED.inc(became.failed)
                _log.error("recheck.failed", count=became.failed, reason=became.reason)
        finally:
            took_s = monotonic() - started
            self._rechecked_next = monotonic() + min(longest_s, max(RECHECK_S, took_s / RECHECK_SHARE))

    async def _deliveries(self) -> None:
        for source in self._parts.registry.sources.values():
            if source.intake is not None:
                await self._once(partial(self._take, source))  # what one source sends must not keep the others waiting

    async def _take(self, source: ActiveSource) -> None:
        taker = source.intake
        if taker is None:
            return
        waiting: list[tuple[Delivery, Sequence[Arrival]]] = []
        settling: asyncio.Task[None] | None = None
        try:
            async for delivery, arrivals in taker.arrivals():
                if delivery.snapshot and delivery.fault is None:
                    became = await intake(self._parts, source, delivery, arrivals)
                    _log.info("delivery.taken", source=source.settings.name, delivery=delivery.name, became=became)
                    continue
                waiting.append((delivery, arrivals))
                if len(waiting) >= TOGETHER:
                    if settling is not None:
                        await settling
                    settling = asyncio.create_task(self._settle(source, waiting))  # while the next are read
                    waiting = []
        finally:  # a file that breaks its reader, or the end of the process, does not hold up those before it
            if settling is not None:
                await settling
            if waiting:
                await self._settle(source, waiting)

    async def _settle(self, source: ActiveSource, waiting: Sequence[tuple[Delivery, Sequence[Arrival]]]) -> None:
        """Messages are many and small: one transaction for several, since each costs a wait for the disk."""
        for (delivery, _), became in zip(waiting, await intake_each(self._parts, source, waiting), strict=True):
            _log.info("delivery.taken", source=source.settings.name, delivery=delivery.name, became=became)

"""The line for a parcel that is due: traced, decided and disclosed for its recipient at the moment it leaves, then delivered.

Nothing queued outlives the facts that allowed it. What leaves is recorded before the first byte; the recipient's system takes a
key once, so an attempt that nobody knows the end of is made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.adapter import Acknowledgement, Outgoing, SourceContractBroken, SourceError
from gateway.audit import record_decision, record_disclosure
from gateway.caller.mandated import mandated, mandated_request
from gateway.consent import decide
from gateway.disclosure import Page, disclose
from gateway.errors import GatewayError, PolicyNotActive, Refused, StoreDown
from gateway.facts import gather
from gateway.flows import recall
from gateway.flows.parts import Parts
from gateway.flows.route_terms import kind_of, terms_of
from gateway.flows.submit import DOUBT_DUE, NOT_TRACED, OTHER_BIRTH_DATE, work_of
from gateway.identity import admit
from gateway.mapping import Context, WriteContext, write_record
from gateway.mapping.submitted import map_submitted
from gateway.model import (
    Deny,
    Disclosure,
    LeasedParcel,
    Mandate,
    MappedResource,
    Mark,
    NotUsable,
    Parcel,
    ParcelState,
    PatientIdentity,
    Query,
    RefusedRecord,
    Resource,
    SourceReport,
    SourceState,
)
from gateway.ports import Entry, NewWork
from gateway.registry import Route
from gateway.resource import name_of

TRACES = "our-delivery"  # its own share of the trace rate
LEASE_S = 90.0  # longer than a trace, a decision and a source's whole budget together
AT_ONCE = 8
TRIES = 3  # the facts may move under an attempt this often before it waits for its next
BACKOFF_S = (5, 15, 60, 300, 900)  # after the first, second ... attempt; the last for ever after
UNCONFIRMED_DUE = timedelta(days=1)
NO_ROUTE = "its way of delivery is not set any more"
NO_AGREEMENT = "no agreement lets its recipient have it any more"
NO_MANDATE = "its mandate is over"
NOT_READ = "what was to be delivered cannot be read as R4"
LEFT_OUT = (
    "Free text, names and telephone numbers were left out here. Ask your organisation's information governance lead for them."
)
NOT_WRITTEN = "what was to be delivered does not fit the recipient's form"


@dataclass(frozen=True, slots=True)
class _End:
    """Where an attempt leaves its parcel, and what is to be done about it."""

    state: ParcelState
    reason: str = ""
    somebody: bool = False  # a task for the owner of the route, at once
    acknowledged: Acknowledgement | None = None


async def due(parts: Parts) -> Sequence[LeasedParcel]:
    """Parcels whose time has come, leased to this worker."""
    if not parts.registry.routes:
        return []
    return await parts.parcels.claim(now=parts.now(), lease_s=LEASE_S, limit=AT_ONCE)


async def deliver(parts: Parts, leased: LeasedParcel) -> ParcelState | None:
    """One attempt -> where it left the parcel; None: it was taken from this worker meanwhile.

    Whatever keeps the gateway itself from deciding or recording leaves it queued: it comes again.
    """
    parcel = leased.parcel
    route = parts.registry.routes.get(parcel.route)
    if route is None:
        return await _settled(parts, leased, None, _End(ParcelState.HELD, NO_ROUTE))
    mandate = await parts.mandates.get(parcel.mandate)
    if mandate is None or not mandate.in_force(parts.now()) or parts.now() >= parcel.keep_until:
        return await _settled(parts, leased, route, _End(ParcelState.LAPSED, NO_MANDATE))
    try:
        end = await _attempt(parts, leased, route, mandate)
    except Refused as refused:
        end = _End(ParcelState.LAPSED, refused.reason)
    except SourceContractBroken as broken:
        end = _End(ParcelState.REFUSED, broken.reason, somebody=True)
    except SourceError as error:  # nobody knows whether it arrived
        return await _again(parts, leased, ParcelState.SENT, error.reason)
    except GatewayError as error:
        return await _again(parts, leased, parcel.state, error.reason)
    return None if end is None else await _settled(parts, leased, route, end)


async def remind(parts: Parts) -> int:
    """What nobody acknowledged in time becomes somebody's task, once -> how many did."""
    now, found = parts.now(), await parts.parcels.unconfirmed(parts.now())
    for parcel in found:
        route = parts.registry.routes.get(parcel.route)
        jobs = [_overdue(parcel, route, now + UNCONFIRMED_DUE)] if route is not None else []
        await parts.log.append([_entry(parts, parcel, "failure", {"reason": "not acknowledged in time"})], jobs)
        await parts.parcels.warned(parcel.id)
    return len(found)


def _overdue(parcel: Parcel, route: Route, by: datetime) -> NewWork:
    if parcel.kind == "recall":
        return recall.work_of(parcel, route, parcel.state, by)
    return work_of(parcel, route, "parcel-unconfirmed", parcel.state, by)


async def _attempt(parts: Parts, leased: LeasedParcel, route: Route, mandate: Mandate) -> _End | None:
    """Steps 3 to 11 for the recipient, then the delivery. None: not this worker's any more, so nothing left."""
    if not parts.holds_policy(parts.now()):
        raise PolicyNotActive(reason="policy-not-active")
    parcel, number = leased.parcel, leased.content.number
    types = frozenset({*route.table.types, "Patient", "PractitionerRole"})
    caller = mandated(mandate, parts.policy.organisation, parts.now())
    query = Query("deliver", number, types)
    request = mandated_request(caller, query, request_id=parcel.id, correlation_id=parcel.id, at=parts.now())
    terms = {route.name: terms_of(route, parcel.sender, parts.policy)}
    category, _ = kind_of(route)
    if not parts.policy.agreed_with(mandate.organisation, mandate.purpose, category, terms[route.name], parts.now().date()):
        return _End(ParcelState.HELD, NO_AGREEMENT, somebody=True)
    for _ in range(TRIES):
        # Traced anew: death, restriction and another practice count from the moment PDS says so.
        identity = await parts.identity.trace(number, now=parts.now(), correlation_id=parcel.id, again=True, whose=TRACES)
        if isinstance(identity, NotUsable):
            return _nobody(identity)
        if identity.birth_date is not None and identity.birth_date != leased.content.birth_date:
            return _End(ParcelState.HELD, OTHER_BIRTH_DATE, somebody=True)
        facts = await gather(
            identity, request, store=parts.facts, policy=parts.policy, feeds=parts.registry.feeds(), now=parts.now()
        )
        # After the facts, whose version a new suppression moves: one that is told later than this is noticed at step 11.
        if route.table.invites_contact and await parts.suppressions.of(identity.number):
            return _End(ParcelState.WITHHELD, "suppressed")
        decision = decide(facts, parts.policy, terms)
        if isinstance(decision, Deny):
            await record_decision(parts.log, decision, now=parts.now())
            if decision.caller_level:  # of the recipient, not of the person: a rule that changed
                return _End(ParcelState.HELD, decision.reason, somebody=True)
            return _End(ParcelState.WITHHELD, decision.reason)
        permit = await record_decision(parts.log, decision, now=parts.now())
        known = await admit(identity, permit, parts)
        resources, refused = _resources(parts, leased, route, known)
        if refused:
            return _End(ParcelState.HELD, NOT_READ, somebody=True)
        report = SourceReport(route.name, SourceState.ANSWERED, parcel.created_at)
        page = Page(parts.page_count, parts.page_bytes)
        disclosure = disclose(resources, (report,), refused, permit, known, parts.policy, page=page)
        if not any(name_of(item.body)[0] in route.table.types for item in disclosure.resources):
            return _End(ParcelState.WITHHELD, "nothing-released")
        written = write_record(
            parts.maps,
            route.manifest.name,
            route.table.schema,
            _worded(route, disclosure),
            _context(parts, parcel, mandate, disclosure),
        )
        if written.data is None:
            return _End(ParcelState.HELD, NOT_WRITTEN, somebody=True)
        released = await record_disclosure(parts.log, disclosure, now=parts.now())
        if released is None:
            continue
        if not await parts.parcels.sending(leased, parts.now(), receipt=released.receipt.event):
            return None
        outgoing = Outgoing(parcel.id, route.table.schema, written.data, parcel.id)
        return _End(ParcelState.ACKNOWLEDGED, acknowledged=await route.deliverer.deliver(route.table.name, outgoing))
    raise StoreDown(reason="facts-keep-moving")


def _nobody(identity: NotUsable) -> _End:
    """Nobody is known by this number: somebody looks, unless it is out of use for good."""
    if identity.reason == "unknown":
        return _End(ParcelState.HELD, NOT_TRACED, somebody=True)
    return _End(ParcelState.WITHHELD, identity.reason)


def _resources(
    parts: Parts, leased: LeasedParcel, route: Route, identity: PatientIdentity
) -> tuple[Sequence[MappedResource], Sequence[RefusedRecord]]:
    """What was submitted, as ours."""
    person = identity.alias or identity.person or ""

    mint = parts.mint(person, route.name, route.manifest.kind)
    context = Context(route.name, mint, person, identity.number, parts.now(), leased.parcel.sender)
    category, care_class = kind_of(route)
    return map_submitted(parts.submitted, leased.content.resource, context, category, care_class, leased.parcel.created_at)


def _worded(route: Route, disclosure: Disclosure) -> Sequence[Resource]:
    """What was disclosed; where free text had to stay here, with a constant word that it did, so that nobody takes it for all."""
    bodies = [item.body for item in disclosure.resources]
    if not _hidden(disclosure):
        return bodies
    return [{**body, "note": [{"text": LEFT_OUT}]} if name_of(body)[0] in route.table.types else body for body in bodies]


def _hidden(disclosure: Disclosure) -> bool:
    permit = disclosure.permit.value
    return permit.facts.protected or Mark.LOCATING in permit.strip


def _context(parts: Parts, parcel: Parcel, mandate: Mandate, disclosure: Disclosure) -> WriteContext:
    """Of a protected person even who sends tells where they are: then only what kind of organisation it is."""
    sender = parts.policy.organisation(parcel.sender)
    kind = sender.kind.value if sender is not None else ""
    return WriteContext(
        number=disclosure.identity.number,
        recipient=mandate.organisation,
        sender=kind if _hidden(disclosure) else parcel.sender,
        as_of=parcel.created_at,
        key=parcel.id,
    )


async def _again(parts: Parts, leased: LeasedParcel, state: ParcelState, reason: str) -> ParcelState | None:
    wait_s = BACKOFF_S[min(leased.parcel.attempts, len(BACKOFF_S)) - 1]
    due_at: datetime = parts.now() + timedelta(seconds=wait_s)
    return state if await parts.parcels.retry(leased, state, due=due_at, reason=reason) else None


async def _settled(parts: Parts, leased: LeasedParcel, route: Route | None, end: _End) -> ParcelState | None:
    """The end of a parcel, or its halt, recorded before it is stored: a crash between the two repeats it under the same key."""
    parcel, now = leased.parcel, parts.now()
    outcome = "success" if end.state is ParcelState.ACKNOWLEDGED else "deny" if end.state is ParcelState.WITHHELD else "failure"
    work: list[NewWork] = []
    if end.somebody and route is not None:
        work.append(work_of(parcel, route, f"parcel-{end.state}", end.reason, now + DOUBT_DUE))
    detail = {"state": end.state, "reason": end.reason, "attempts": parcel.attempts}
    await parts.log.append([_entry(parts, parcel, outcome, detail, leased)], work)
    reference = end.acknowledged.reference if end.acknowledged is not None else None
    settled = await parts.parcels.settle(leased, end.state, at=now, reason=end.reason, reference=reference)
    return end.state if settled else None


def _entry(parts: Parts, parcel: Parcel, outcome: str, detail: dict[str, object], leased: LeasedParcel | None = None) -> Entry:
    route = parts.registry.routes.get(parcel.route)
    return Entry(
        "delivery",
        parts.now(),
        outcome,
        None if leased is None else leased.content.number,
        organisation=parcel.sender,
        system=parcel.client,
        request_id=parcel.id,
        correlation_id=parcel.id,
        detail={
            "parcel": parcel.id,
            "delivery": parcel.route,
            "recipient": "" if route is None else route.source.custodian,
            "mandate": parcel.mandate,
            "policy": parts.policy.hash,
            **detail,
        },
    )

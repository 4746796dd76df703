"""Recall: those who were given something that should not be with them any more are told so, once, until they confirm it.

What called it back: its sender (entered in error), whoever found that it is about somebody else, or a consent that was withdrawn
after it was delivered. A notice names the delivery by the key under which the recipient has it, the receipt of its disclosure and
the reason, and nothing of the person: so it may go whatever has become of the facts that allowed the delivery (docs/adr/0020).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway import bundle
from gateway.adapter import Acknowledgement, Outgoing, SourceContractBroken, SourceError
from gateway.caller.mandated import mandated, mandated_request
from gateway.consent import waits_for_consent
from gateway.errors import GatewayError, InvalidParameter, Refused
from gateway.facts import gather
from gateway.flows.parcel_state import shown, still_registered
from gateway.flows.parts import Parts
from gateway.flows.route_terms import terms_of
from gateway.mapping import WriteContext, write_record
from gateway.model import (
    AccessRequest,
    Because,
    LeasedRecall,
    Moved,
    NotUsable,
    Parcel,
    ParcelState,
    Query,
    Resource,
    Submission,
)
from gateway.ports import Entry, Log, NewWork, Parcels, Recalls
from gateway.registry import Route
from gateway.systems import DELIVERY, RECALL_REASON, RECEIPT

LEASE_S = 90.0
AT_ONCE = 8
BACKOFF_S = (5, 15, 60, 300, 900)
DUE = timedelta(hours=4)
LOOKS = "our-recall"  # its own share of the trace rate
NO_ROUTE = "its way of delivery is not set any more"
NO_FORM = "its recipient's system takes no recall"
NOT_WRITTEN = "the recall does not fit the recipient's form"
MOST_FAILED = 5  # people whom nobody can say anything of: each may cost a trace's whole time, so the rest is for the next run
IN_ERROR = "entered-in-error"  # Task.status and ServiceRequest.status, as R4 has them


@dataclass(frozen=True, slots=True)
class _End:
    state: ParcelState
    reason: str = ""
    acknowledged: Acknowledgement | None = None


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What came of looking at deliveries anew."""

    called: int = 0  # back
    failed: int = 0  # could not be decided; looked at again
    after: str = ""  # where the next run begins; "": from the start
    reason: str = ""  # of the last that failed


async def take_back(parts: Parts, request: AccessRequest, submission: Submission) -> bundle.Answer:
    """What a sender submits again as entered in error -> 202 with the Task of its parcel, or of the recall it became.

    Of what was not confirmed the answer is one and the same, whether it waited or was withheld; and a recall for another reason
    shows in none. Raises `InvalidParameter`, alike for what was not sent and for what is about another number or of another type.
    """
    caller = request.caller
    if not request.types_in_scope:
        raise Refused(reason="scope")
    await still_registered(parts, caller)
    sender, number = caller.organisation.code, submission.content.number
    held = await parts.recalls.sent_by(sender, caller.system, submission.identifier, number)
    route = parts.registry.routes.get(held.route) if held is not None else None
    if held is None or (route is not None and submission.type not in route.table.types):
        raise InvalidParameter(reason="nothing-to-take-back", expression=f"{submission.type}.identifier")
    called = await call_back(parts.parcels, parts.recalls, parts.log, held, Because.ENTERED_IN_ERROR, at=parts.now())
    told = called if called is not None and held.state is ParcelState.ACKNOWLEDGED else await parts.parcels.get(held.id)
    assert told is not None  # a parcel is forgotten months after it was settled, not between two statements
    ids = {"request_id": request.request_id, "correlation_id": request.correlation_id}
    return await shown(parts, caller, told, kind="parcel-taken-back", status=202, **ids)


async def call_back(
    parcels: Parcels, recalls: Recalls, log: Log, parcel: Parcel, because: Because, *, at: datetime, by: str = ""
) -> Parcel | None:
    """A parcel -> its recall, on its way to whoever may have it; None: no byte of it ever left, and now none will.

    Recorded before it is queued. Again for the same reason: the same recall. Raises `InvalidParameter` for a recall itself.
    """
    if parcel.kind != "delivery":
        raise InvalidParameter(reason="a-recall-is-not-recalled")
    detail = {"parcel": parcel.id, "delivery": parcel.route, "because": because, "left": bool(parcel.receipt)}
    detail |= {"receipt": parcel.receipt, "state": parcel.state}
    entry = _entry(parcel, at, "success", detail)
    number = await recalls.whose(parcel.id)
    await log.append([replace(entry, person=number, staff_name=by)])
    await parcels.recall(parcel.id, at=at)
    now = await parcels.get(parcel.id)  # its bytes may have left since it was read
    if now is None or not (now.receipt or now.state is ParcelState.ACKNOWLEDGED):
        return None
    return await recalls.put(now, because, at=at)


async def due(parts: Parts) -> Sequence[LeasedRecall]:
    """Recalls whose time has come, leased to this worker."""
    if not parts.registry.routes:
        return []
    return await parts.recalls.claim(now=parts.now(), lease_s=LEASE_S, limit=AT_ONCE)


async def recall(parts: Parts, leased: LeasedRecall) -> ParcelState | None:
    """One attempt to tell the recipient -> where it left the recall; None: it was taken from this worker meanwhile."""
    route = parts.registry.routes.get(leased.parcel.route)
    try:
        end = await _told(parts, leased, route)
    except SourceContractBroken as broken:
        end = _End(ParcelState.REFUSED, broken.reason)
    except SourceError as error:  # nobody knows whether it arrived
        return await _again(parts, leased, ParcelState.SENT, error.reason)
    except GatewayError as error:
        return await _again(parts, leased, leased.parcel.state, error.reason)
    return None if end is None else await _settled(parts, leased, route, end)


async def recheck(parts: Parts, after: str = "") -> Rechecked:
    """Deliveries about people of whom something changed since, by id after one -> how many were called back.

    Only a consent that is gone calls back. A relationship that ended, or a death, makes nothing wrong that was right. One person
    of whom nothing can be said now holds up nobody after them: they stay to be looked at. Raises `StoreDown` if none can be read.
    """
    called, failed, reason = 0, 0, ""
    if not parts.holds_policy(parts.now()):
        return Rechecked()
    while page := await parts.recalls.moved(after=after):
        for moved in page:
            after = moved.parcel.id
            try:
                called += await _rechecked(parts, moved)
            except GatewayError as error:
                failed, reason = failed + 1, error.reason
                if failed == MOST_FAILED:
                    return Rechecked(called, failed, after, reason)
    return Rechecked(called, failed, "", reason)


async def _rechecked(parts: Parts, moved: Moved) -> bool:
    gone = await _consent_is_gone(parts, moved)
    if gone:
        because = Because.CONSENT_WITHDRAWN
        await call_back(parts.parcels, parts.recalls, parts.log, moved.parcel, because, at=parts.now(), by="gateway")
    await parts.recalls.looked_at(moved.parcel.id, moved.version)
    return gone


async def _consent_is_gone(parts: Parts, moved: Moved) -> bool:
    """Whether nothing but a consent stands between the recipient and what it has."""
    parcel, route = moved.parcel, parts.registry.routes.get(moved.parcel.route)
    mandate = await parts.mandates.get(parcel.mandate)
    if route is None or mandate is None or not mandate.in_force(parts.now()):
        return False
    if parts.policy.organisation(mandate.organisation) is None:
        return False
    types = frozenset({*route.table.types, "Patient", "PractitionerRole"})
    caller = mandated(mandate, parts.policy.organisation, parts.now())
    query = Query("deliver", moved.number, types)
    request = mandated_request(caller, query, request_id=parcel.id, correlation_id=parcel.id, at=parts.now())
    identity = await parts.identity.trace(moved.number, now=parts.now(), correlation_id=parcel.id, whose=LOOKS)
    if isinstance(identity, NotUsable):
        return False  # what dies with a number is told to nobody
    facts = await gather(identity, request, store=parts.facts, policy=parts.policy, feeds=parts.registry.feeds(), now=parts.now())
    return waits_for_consent(facts, parts.policy, {route.name: terms_of(route, parcel.sender, parts.policy)})


async def _told(parts: Parts, leased: LeasedRecall, route: Route | None) -> _End | None:
    """Written in the recipient's form, recorded, then handed over. None: not this worker's any more, so nothing left."""
    parcel, now = leased.parcel, parts.now()
    if route is None:
        return _End(ParcelState.HELD, NO_ROUTE)
    if route.recall is None or route.table.recall is None:
        return _End(ParcelState.HELD, NO_FORM)
    mandate = await parts.mandates.get(parcel.mandate)
    sender = parts.policy.organisation(parcel.sender)
    kind = sender.kind.value if sender is not None else ""  # never which: of a protected person it would say where they are
    recipient = mandate.organisation if mandate is not None else ""
    context = WriteContext(number=None, recipient=recipient, sender=kind, as_of=leased.notice.at, key=parcel.id)
    written = write_record(parts.maps, route.manifest.name, route.table.recall.schema, [_notice(leased)], context)
    if written.data is None:
        return _End(ParcelState.HELD, NOT_WRITTEN)
    notice = {"recalls": leased.notice.recalls, "receipt": leased.notice.receipt, "because": leased.notice.because}
    entry = _entry(parcel, now, "success", {"parcel": parcel.id, "state": ParcelState.SENT, "recipient": recipient, **notice})
    receipts = await parts.log.append([replace(entry, person=leased.number)])
    event = receipts[0].event if receipts else ""
    if not await parts.parcels.sending(leased, parts.now(), receipt=event):
        return None
    outgoing = Outgoing(parcel.id, route.table.recall.schema, written.data, parcel.id)
    return _End(ParcelState.ACKNOWLEDGED, acknowledged=await route.recall.deliver(route.table.name, outgoing))


def _notice(leased: LeasedRecall) -> Resource:
    """A recall as R4 says it, to be written in the recipient's form."""
    notice = leased.notice
    # What was delivered before receipts were kept with it has none: no form takes that, so a person tells the recipient.
    receipt = {"groupIdentifier": {"system": RECEIPT, "value": notice.receipt}} if notice.receipt else {}
    return {
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "authoredOn": notice.at.isoformat(),
        **receipt,
        "focus": {"identifier": {"system": DELIVERY, "value": notice.recalls}},
        "reasonCode": {"coding": [{"system": RECALL_REASON, "code": notice.because.value}]},
    }


async def _again(parts: Parts, leased: LeasedRecall, state: ParcelState, reason: str) -> ParcelState | None:
    wait_s = BACKOFF_S[min(leased.parcel.attempts, len(BACKOFF_S)) - 1]
    later = parts.now() + timedelta(seconds=wait_s)
    return state if await parts.parcels.retry(leased, state, due=later, reason=reason) else None


async def _settled(parts: Parts, leased: LeasedRecall, route: Route | None, end: _End) -> ParcelState | None:
    """Recorded before it is stored. What was not confirmed at once and will not be by itself is somebody's task."""
    parcel, now = leased.parcel, parts.now()
    done = end.state is ParcelState.ACKNOWLEDGED
    detail = {"parcel": parcel.id, "recalls": parcel.recalls, "delivery": parcel.route, "state": end.state, "reason": end.reason}
    work = [] if done else [work_of(parcel, route, end.reason, now + DUE)]
    await parts.log.append([replace(_entry(parcel, now, "success" if done else "failure", detail), person=leased.number)], work)
    reference = end.acknowledged.reference if end.acknowledged is not None else None
    settled = await parts.parcels.settle(leased, end.state, at=now, reason=end.reason, reference=reference)
    return end.state if settled else None


def work_of(parcel: Parcel, route: Route | None, reason: str, at: datetime) -> NewWork:
    """A recall that its recipient did not confirm: somebody must tell them."""
    return NewWork(
        kind="recall-unconfirmed",
        reason=reason,
        source="" if route is None else route.source.name,
        owner="Information governance" if route is None else route.manifest.owner,
        due=at,
        key=f"recall-unconfirmed:{parcel.id}",
        local_ref=parcel.id,
    )


def _entry(parcel: Parcel, at: datetime, outcome: str, detail: Mapping[str, object]) -> Entry:
    return Entry(
        "recall",
        at,
        outcome,
        None,
        organisation=parcel.sender,
        system=parcel.client,
        request_id=parcel.id,
        correlation_id=parcel.id,
        detail=detail,
    )

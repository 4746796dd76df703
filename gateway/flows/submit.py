"""The line for a submission, up to the queue: who sends what to whom about whom, decided and recorded for the sender.

Nothing is delivered here: when the parcel is sent, the line runs again for its recipient (flows/deliver.py). What depends on
the person looks like any other accepted parcel, now and whenever its sender asks (docs/adr/0015).
"""

import base64
import secrets
from datetime import datetime, timedelta

from gateway import bundle
from gateway.audit import of_caller, record_decision
from gateway.consent import decide_sending
from gateway.errors import AlreadySent, AuditDown, NoSuchDelivery, PolicyNotActive
from gateway.facts import gather
from gateway.flows.parcel_state import taken_back
from gateway.flows.parts import Parts
from gateway.flows.read import look
from gateway.flows.recall import IN_ERROR, take_back
from gateway.flows.route_terms import kind_of, terms_of
from gateway.model import (
    Accepted,
    AccessRequest,
    Caller,
    Deny,
    Mandate,
    NewParcel,
    NotUsable,
    Organisation,
    Parcel,
    ParcelState,
    PatientIdentity,
    Permit,
    Submission,
)
from gateway.ports import NewWork
from gateway.registry import Route

PARCEL = "parcel-"  # how the id of a parcel begins: no person's id does
NOT_TRACED = "the tracer does not know the number"
OTHER_BIRTH_DATE = "the trace has another birth date"
DOUBT_DUE = timedelta(hours=4)
RECALLABLE = timedelta(days=90)  # how long after its time what became of a parcel is known, and it may be called back by itself


async def submit(parts: Parts, request: AccessRequest, submission: Submission) -> bundle.Answer:
    """`AccessRequest` of interaction send and what was submitted -> 202 with the parcel's Task, or 403.

    One whose status is entered-in-error takes back what its sender submitted before under the same identifier.
    Raises `NoSuchDelivery` (nobody takes this there), `AlreadySent`, and the errors that say nothing of the person.
    """
    if not parts.holds_policy(parts.now()):
        raise PolicyNotActive(reason="policy-not-active")
    if submission.content.resource.get("status") == IN_ERROR:
        return await take_back(parts, request, submission)
    recipient = parts.policy.organisation(submission.recipient)
    route = parts.registry.route_to(recipient, submission.type) if recipient is not None else None
    if recipient is None or route is None:
        raise NoSuchDelivery(reason="no-such-delivery", expression=f"{submission.type}.{_addressee(submission.type)}")
    category, care_class = kind_of(route)
    terms = terms_of(route, request.caller.organisation.code, parts.policy)
    # PDS is asked whatever is stored: an accepted answer must not depend on whether the person was known here already.
    number, now = submission.content.number, parts.now()
    identity = await parts.identity.trace(
        number, now=now, correlation_id=request.correlation_id, again=True, whose=request.caller.system
    )
    feeds = parts.registry.feeds()
    facts = await gather(identity, request, store=parts.facts, policy=parts.policy, feeds=feeds, now=parts.now())
    decision = decide_sending(facts, parts.policy, category, care_class, terms, recipient.code)
    if isinstance(decision, Deny) and decision.caller_level:
        return bundle.refused(await record_decision(parts.log, decision, now=parts.now()), 403)
    state, reason = _state(decision, identity, submission)
    recorded = await record_decision(parts.log, decision, now=parts.now())
    parcel = _parcel(request.caller, submission, route, state, reason, now)
    accepted = await parts.parcels.put(parcel, _mandate(parcel, request, recipient, route, terms.agreement))
    if not accepted.same:
        raise AlreadySent(reason="identifier-used-for-other-content")
    return await _accepted(parts, request, submission, accepted, recipient, route, decision=recorded.receipt.event)


async def _accepted(
    parts: Parts,
    request: AccessRequest,
    submission: Submission,
    accepted: Accepted,
    recipient: Organisation,
    route: Route,
    *,
    decision: str,
) -> bundle.Answer:
    """The answer is alike whatever became of the parcel; what is doubtful is somebody's task at once."""
    now, caller, parcel = parts.now(), request.caller, accepted.parcel
    detail = {
        "decision": decision,
        "parcel": parcel.id,
        "delivery": route.name,
        "recipient": recipient.code,
        "new": accepted.new,
        "state": parcel.state,
    }
    ids = request.request_id, request.correlation_id
    entry = of_caller(caller, "submission", "success", submission.content.number, detail, now, *ids)
    doubts = [work_of(parcel, route, "parcel-held", parcel.reason, now + DOUBT_DUE)] if parcel.state is ParcelState.HELD else []
    receipts = await parts.log.append([entry], doubts)
    if receipts is None:
        raise AuditDown(reason="the log did not write an event")
    taken = await taken_back(parts, parcel)
    return bundle.parcel(parcel, recipient, receipts[0], look(parts), now, status=202, taken_back=taken)


def work_of(parcel: Parcel, route: Route, kind: str, reason: str, due: datetime) -> NewWork:
    """A parcel that somebody must look at, for the owner of the way it was to go."""
    return NewWork(
        kind=kind,
        reason=reason,
        source=route.source.name,
        owner=route.manifest.owner,
        due=due,
        key=f"{kind}:{parcel.id}",
        local_ref=parcel.id,
    )


def _state(decision: Permit | Deny, identity: PatientIdentity | NotUsable, submission: Submission) -> tuple[ParcelState, str]:
    """Where a parcel begins: waiting to be sent, or, because of the person, not to be sent."""
    if isinstance(identity, NotUsable):
        # A number just given may not be known yet: whoever looks may send it again. One that is no longer in use never is.
        return (ParcelState.HELD, NOT_TRACED) if identity.reason == "unknown" else (ParcelState.WITHHELD, identity.reason)
    if isinstance(decision, Deny):
        return ParcelState.WITHHELD, decision.reason
    if identity.birth_date is not None and identity.birth_date != submission.content.birth_date:
        return ParcelState.HELD, OTHER_BIRTH_DATE
    return ParcelState.QUEUED, ""


def _parcel(caller: Caller, submission: Submission, route: Route, state: ParcelState, reason: str, now: datetime) -> NewParcel:
    table = route.table
    return NewParcel(
        id=PARCEL + _letters(),
        route=route.name,
        sender=caller.organisation.code,
        client=caller.system,
        key=submission.identifier,
        state=state,
        reason=reason,
        content=submission.content,
        created_at=now,
        confirm_by=now + timedelta(hours=table.acknowledge_within_h),
        keep_until=now + timedelta(days=table.keep_days),
    )


def _mandate(parcel: NewParcel, request: AccessRequest, recipient: Organisation, route: Route, agreement: str) -> Mandate:
    """In its recipient's name it leaves, and is decided again where something changed: in force as long as its row is kept."""
    types = (*route.table.types, "Patient", "PractitionerRole")
    return Mandate(
        id="mandate-" + _letters(),
        organisation=recipient.code,
        role=route.table.role,
        purpose=request.purpose,
        agreement=agreement,
        route=route.name,
        scopes=frozenset(f"system/{name}.rs" for name in types),
        starts=parcel.created_at,
        expires=parcel.keep_until + RECALLABLE,
    )


def _letters() -> str:
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


def _addressee(resource_type: str) -> str:
    return "owner" if resource_type == "Task" else "performer"

"""A sender asks what became of its parcel, and learns what it may: on its way, acknowledged, or not confirmed in time."""

from datetime import datetime

from gateway import bundle
from gateway.audit import of_caller
from gateway.errors import AuditDown, NotAuthenticated, NotFound, Refused
from gateway.flows.parts import Parts
from gateway.flows.read import look
from gateway.model import Because, Caller, Parcel


async def parcel_state(parts: Parts, caller: Caller, parcel_id: str, *, request_id: str, correlation_id: str) -> bundle.Answer:
    """The parcel's Task. Raises `Refused` (scope), `NotAuthenticated`, and `NotFound` for what this sender did not send."""
    if not caller.may_read & {"Task", "*"}:
        raise Refused(reason="scope")
    await still_registered(parts, caller)
    parcel = await parts.parcels.get(parcel_id)
    if parcel is None or (parcel.sender, parcel.client) != (caller.organisation.code, caller.system):
        raise NotFound(reason="no-such-parcel")
    ids = {"request_id": request_id, "correlation_id": correlation_id}
    return await shown(parts, caller, parcel, kind="parcel-read", status=200, **ids)


async def still_registered(parts: Parts, caller: Caller) -> None:
    """Raises `NotAuthenticated` for a client that was revoked or changed since its token was made: nobody's facts are read."""
    held = await parts.facts.read(
        None,
        organisation=caller.organisation.code,
        staff=f"{caller.staff.system}|{caller.staff.id}",
        case_reference=caller.case_reference,
        client=caller.system,
        at=parts.now(),
    )
    if held.client_version != caller.client_version:
        raise NotAuthenticated(reason="client-revoked-or-changed")


async def shown(
    parts: Parts, caller: Caller, parcel: Parcel, *, kind: str, status: int, request_id: str, correlation_id: str
) -> bundle.Answer:
    """A parcel -> its Task for its sender, recorded. Raises `NotFound` and `AuditDown`."""
    now = parts.now()
    mandate = await parts.mandates.get(parcel.mandate)
    recipient = parts.policy.organisation(mandate.organisation) if mandate is not None else None
    if recipient is None:
        raise NotFound(reason="recipient-not-known")
    entry = of_caller(caller, kind, "success", None, {"parcel": parcel.id}, now, request_id, correlation_id)
    receipts = await parts.log.append([entry])
    if receipts is None:
        raise AuditDown(reason="the log did not write an event")
    taken = await taken_back(parts, parcel)
    return bundle.parcel(parcel, recipient, receipts[0], look(parts), now, status=status, taken_back=taken)


async def taken_back(parts: Parts, parcel: Parcel) -> datetime | None:
    """When its sender took back what was delivered; None: it did not."""
    made = await parts.recalls.made(parcel.id, Because.ENTERED_IN_ERROR)
    return made.created_at if made is not None else None

"""Steps 6 and 11: a decision or a disclosure -> its event, durable, and the ticket that proves it.

This package alone makes `Recorded`. There is no switch that turns it off: without a log nothing is fetched or sent.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import overload

from gateway.audit.canonical import body_digest, commitment, signed_bytes
from gateway.audit.entries import (
    audit_read_entry,
    decision_entry,
    disclosed_items,
    disclosure_entry,
    failure_entry,
    of_caller,
)
from gateway.errors import AuditDown, GatewayError
from gateway.model import AccessRequest, Caller, Deny, Disclosure, Permit, Receipt, Recorded
from gateway.nhs_number import NhsNumber
from gateway.ports import Log, Owed

__all__ = [
    "body_digest",
    "commitment",
    "disclosed_items",
    "of_caller",
    "record_audit_read",
    "record_decision",
    "record_disclosure",
    "record_failure",
    "signed_bytes",
]


@overload
async def record_decision(log: Log, decision: Permit, *, now: datetime) -> Recorded[Permit]: ...
@overload
async def record_decision(log: Log, decision: Deny, *, now: datetime) -> Recorded[Deny]: ...
async def record_decision(log: Log, decision: Permit | Deny, *, now: datetime) -> Recorded[Permit] | Recorded[Deny]:
    """`Permit` or `Deny` -> the same, recorded. Raises `AuditDown`: nothing is fetched."""
    (receipt,) = _written(await log.append([decision_entry(decision, now)]))
    if isinstance(decision, Permit):
        return Recorded(decision, receipt)
    return Recorded(decision, receipt)


async def record_disclosure(
    log: Log, disclosure: Disclosure, *, now: datetime, jobs: Sequence[Owed] = ()
) -> Recorded[Disclosure] | None:
    """`Disclosure` -> the same, recorded, with the work it obliges; None: the facts moved, so decide again.

    Raises `AuditDown`: no byte leaves.
    """
    facts = disclosure.permit.value.facts
    entry = disclosure_entry(disclosure, now)
    receipts = await log.append([entry], jobs, unless_moved=(disclosure.identity.number, facts.version))
    return None if receipts is None else Recorded(disclosure, receipts[0])


async def record_failure(
    log: Log, error: GatewayError, caller: Caller, *, request_id: str, correlation_id: str, now: datetime
) -> Receipt:
    """An error about to be answered to a known caller -> its receipt. Raises `AuditDown`."""
    entry = failure_entry(error, caller, request_id=request_id, correlation_id=correlation_id, now=now)
    return _written(await log.append([entry]))[0]


async def record_audit_read(
    log: Log, request: AccessRequest, *, person: NhsNumber | None, asked: Mapping[str, str], found: int, now: datetime
) -> Receipt:
    """An auditor's question, before its answer leaves -> its receipt. Raises `AuditDown`."""
    return _written(await log.append([audit_read_entry(request, person=person, asked=asked, found=found, now=now)]))[0]


def _written(receipts: Sequence[Receipt] | None) -> Sequence[Receipt]:
    if receipts is None:  # a log may only say so when a condition was given
        raise AuditDown(reason="the log did not write an event")
    return receipts

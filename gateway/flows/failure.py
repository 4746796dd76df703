"""What ends before it reaches a decision: recorded in full for a known caller, and counted for an unknown one."""

from gateway.audit import record_failure
from gateway.errors import GatewayError
from gateway.flows.parts import Parts
from gateway.model import Caller
from gateway.ports import Entry


async def note_failure(
    parts: Parts, error: GatewayError, caller: Caller | None, address: str, *, request_id: str, correlation_id: str
) -> None:
    """An error about to be answered -> its event, durable. Raises `AuditDown`."""
    now = parts.now()
    if caller is not None:
        await record_failure(parts.log, error, caller, request_id=request_id, correlation_id=correlation_id, now=now)
        return
    entry = Entry(
        "refusal",
        now,
        "failure",
        None,
        request_id=request_id,
        correlation_id=correlation_id,
        address=address,
        detail={"status": error.status, "reason": error.reason},
    )
    await parts.caller.failures.record(entry)

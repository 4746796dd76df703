"""What starts without a token: a mandate in force -> the Caller and the request in whose name something leaves."""

from collections.abc import Callable
from datetime import datetime

from gateway.errors import Refused
from gateway.model import AccessRequest, Caller, Coding, Mandate, Organisation, Query, Staff
from gateway.systems import OURS

MANDATE = OURS + "mandate"


def mandated(mandate: Mandate, organisation: Callable[[str], Organisation | None], at: datetime) -> Caller:
    """A mandate in force -> its recipient as Caller. Raises `Refused`: it is over, revoked, or of an organisation not known."""
    recipient = organisation(mandate.organisation)
    if recipient is None or not mandate.in_force(at):
        raise Refused(reason="mandate-not-in-force")
    system, _, code = mandate.role.rpartition("|")
    return Caller(
        organisation=recipient,
        system="mandate",  # no registered client may be called this: its version would have to be None
        staff=Staff(MANDATE, mandate.id, "Nobody looked: sent on under a mandate"),
        role=Coding(system, code),
        purpose=mandate.purpose,
        scopes=mandate.scopes,
        token_id="",
        case_reference=None,
        client_version=None,
        address="",
        mandate=mandate.id,
    )


def mandated_request(caller: Caller, query: Query, *, request_id: str, correlation_id: str, at: datetime) -> AccessRequest:
    """What leaves in the name of a mandate, asked for as its recipient would ask. Raises `Refused` for any other Caller."""
    if not caller.mandate:
        raise Refused(reason="not-of-a-mandate")
    return AccessRequest(caller, caller.purpose, query, request_id, correlation_id, at)

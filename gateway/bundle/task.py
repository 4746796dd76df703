"""What a sender sees of a parcel: a Task. Source: FHIR R4 Task."""

from datetime import datetime

from gateway.bundle.parts import Answer, Look, encode, receipt_header
from gateway.model import Organisation, Parcel, ParcelState, Receipt

ON_ITS_WAY = "Accepted for delivery."
DELIVERED = "The recipient's system has it."
RECALLED = "Taken back by its sender."
FREE_TEXT = (
    "What is written in free text, and who sends it, may be left out of what the recipient gets. If the words matter, ring the "
    "recipient."
)
TAKEN_OUT = "Taken back by its sender after it was delivered: the recipient is asked to take it out of use."
CALLED_BACK = "The recipient is asked to take it out of use. What it does is its own decision: if it matters, ring the recipient."
NOT_CONFIRMED = (
    "The recipient did not confirm it in time, or nothing could be delivered by this route. If it matters, ring the recipient."
)


def parcel(
    parcel: Parcel,
    recipient: Organisation,
    receipt: Receipt,
    look: Look,
    now: datetime,
    *,
    status: int,
    taken_back: datetime | None = None,
) -> Answer:
    """A parcel -> the Task its sender sees: on its way, acknowledged, taken back, or not confirmed in time.

    `taken_back`: when its sender did so after it was delivered. For what other reason it was called back is not its sender's to
    know. What was withheld because of the person is told by neither word nor time: it is one that nobody confirmed.
    """
    (code, since, words), is_recall = _delivery(parcel, now), parcel.kind == "recall"
    if taken_back is not None and parcel.state is ParcelState.ACKNOWLEDGED:
        code, since, words = "cancelled", taken_back, TAKEN_OUT
    body = {
        "resourceType": "Task",
        "id": parcel.id,
        "meta": {"lastUpdated": since.isoformat()},
        "status": code,
        "businessStatus": {"text": words},
        "intent": "order",
        "code": {"text": "Recall of a delivery" if is_recall else "Delivery"},
        "authoredOn": parcel.created_at.isoformat(),
        "lastModified": since.isoformat(),
        "owner": {"display": recipient.name},
        "restriction": {"period": {"end": parcel.confirm_by.isoformat()}},
        "note": [{"text": CALLED_BACK if is_recall else FREE_TEXT}],  # of whom it is left out is not the sender's to know
    }
    headers = (*receipt_header(receipt), ("Location", f"{look.base_url}/fhir/Task/{parcel.id}"))
    return Answer(status, encode(body), headers, shows_records=False)


def _delivery(parcel: Parcel, now: datetime) -> tuple[str, datetime, str]:
    """(Task.status, since when, in words): of the states only those that tell nothing of the person."""
    if parcel.state is ParcelState.ACKNOWLEDGED and parcel.settled_at is not None:
        return "completed", parcel.settled_at, DELIVERED
    if parcel.state is ParcelState.RECALLED and parcel.settled_at is not None:
        return "cancelled", parcel.settled_at, RECALLED
    if now >= parcel.confirm_by:
        return "on-hold", parcel.confirm_by, NOT_CONFIRMED
    return "requested", parcel.created_at, ON_ITS_WAY

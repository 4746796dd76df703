"""What leaves later: a parcel, and the mandate under which it is decided for its recipient when it is sent."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from gateway.model.words import Purpose, Resource
from gateway.nhs_number import NhsNumber


class ParcelState(StrEnum):
    """Where a parcel is. The sender sees less of it than its operator does (gateway/bundle/task.py)."""

    QUEUED = "queued"  # waits for its first or next attempt
    SENT = "sent"  # bytes left, and nobody knows yet whether they arrived: tried again under the same key
    ACKNOWLEDGED = "acknowledged"  # the recipient's system has it
    WITHHELD = "withheld"  # not given, because of the person
    REFUSED = "refused"  # the recipient's system will not take this content
    HELD = "held"  # cannot go on until somebody looks
    LAPSED = "lapsed"  # its time, its mandate or its route ended first
    RECALLED = "recalled"  # its sender took it back


OPEN = (ParcelState.QUEUED, ParcelState.SENT)
RETRIABLE = (*OPEN, ParcelState.HELD, ParcelState.REFUSED)  # still have their content


@dataclass(frozen=True, slots=True)
class Mandate:
    """In whose name something leaves without a token: who receives it, in which role, for what, under which agreement."""

    id: str
    organisation: str  # canonical code of the recipient
    role: str  # "<system>|<code>": the role in which the recipient acts on it
    purpose: Purpose
    agreement: str
    route: str  # "<source>/<name>" of the manifest's [deliver.NAME]
    scopes: frozenset[str]  # what a Caller made from it may be given
    starts: datetime
    expires: datetime
    revoked_at: datetime | None = None

    def in_force(self, at: datetime) -> bool:
        """Begun, not over, not revoked."""
        return self.starts <= at < self.expires and (self.revoked_at is None or at < self.revoked_at)


@dataclass(frozen=True, slots=True)
class Content:
    """What a sender submitted: kept sealed until it is acknowledged or its time is over."""

    number: NhsNumber
    birth_date: date
    resource: Resource = field(repr=False)


@dataclass(frozen=True, slots=True)
class Submission:
    """A resource to be delivered, as its sender sent it, read and checked."""

    content: Content
    type: str  # R4 type of the resource
    recipient: str  # `system|value` as the sender names the organisation
    identifier: str  # `system|value`: the sender's own name for it, the same when it is sent again


@dataclass(frozen=True, slots=True)
class Parcel:
    """A row of `parcel`, without its content and without the person."""

    id: str
    route: str
    sender: str  # organisation code
    client: str
    mandate: str
    state: ParcelState
    attempts: int
    created_at: datetime
    due: datetime
    confirm_by: datetime  # not acknowledged by then: its sender is told so, and it is somebody's task
    keep_until: datetime
    settled_at: datetime | None
    warned: bool
    reason: str  # a short constant, for the operator
    reference: str | None = field(default=None, repr=False)  # the recipient's own
    kind: str = "delivery"  # or "recall" of one
    recalls: str = ""  # a recall: which
    receipt: str = ""  # of its disclosure, once bytes were about to leave; "" none ever did


class Because(StrEnum):
    """Why something that was delivered is called back; the recipient is told it, and nothing else of the person."""

    ENTERED_IN_ERROR = "entered-in-error"  # its sender says it should not have been sent
    WRONG_PERSON = "wrong-person"  # it is about somebody else than it says
    CONSENT_WITHDRAWN = "consent-withdrawn"  # what allowed the recipient to have it is gone


@dataclass(frozen=True, slots=True)
class LeasedParcel:
    """A parcel in the hands of one worker until its lease runs out."""

    parcel: Parcel
    lease: str
    content: Content


@dataclass(frozen=True, slots=True)
class Notice:
    """What a recall says: no number, no name, nothing of what was delivered."""

    recalls: str  # id of the parcel: the key under which the recipient has it
    because: Because
    receipt: str  # of its disclosure, as the log has it
    at: datetime


@dataclass(frozen=True, slots=True)
class LeasedRecall:
    """A recall in the hands of one worker until its lease runs out. `number` is for the log; None: nobody is known by it now."""

    parcel: Parcel
    lease: str
    notice: Notice
    number: NhsNumber | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A delivered parcel about somebody of whom something changed since: its recipient may not be allowed it any more."""

    parcel: Parcel
    number: NhsNumber
    version: int


@dataclass(frozen=True, slots=True)
class NewParcel:
    """A parcel on its way in. `key` and `digest` are stored hashed."""

    id: str
    route: str
    sender: str
    client: str
    key: str  # the sender's own identifier of what it sends
    state: ParcelState
    reason: str
    content: Content
    created_at: datetime
    confirm_by: datetime
    keep_until: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a submission: the parcel that stands for it, and whether this submission made it."""

    parcel: Parcel
    new: bool
    same: bool  # False: the same identifier with another content


def as_tree(content: Content) -> dict[str, Any]:
    """What is sealed of a submission."""
    return {"number": content.number.value, "born": content.birth_date.isoformat(), "resource": content.resource}


def from_tree(tree: dict[str, Any]) -> Content:
    """The reverse."""
    return Content(NhsNumber(tree["number"]), date.fromisoformat(tree["born"]), tree["resource"])

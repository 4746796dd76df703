"""A delivery from a pushing source: sender, person check, trace, shelve, record. It ends at the shelf and discloses nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from gateway import nhs_number
from gateway.adapter import Arrival, Delivery
from gateway.flows.parts import Parts
from gateway.flows.shelving import shelved
from gateway.model import PatientIdentity
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, ShelfRow
from gateway.registry import ActiveSource

OLDER = "older than what is held"
SHRINKS = "an extract without more than half of what is held"
SHELF_DAYS = 400  # how long a copy is kept without a newer one; a place shortens it by agreement


@dataclass(slots=True)
class _Sorted:
    rows: list[ShelfRow] = field(default_factory=list)
    locks: dict[NhsNumber, frozenset[str]] = field(default_factory=dict)
    doubts: dict[str, int] = field(default_factory=dict)  # reason -> how many
    expired: int = 0  # traces that may not be used again


async def intake(parts: Parts, source: ActiveSource, delivery: Delivery, arrivals: Sequence[Arrival]) -> str:
    """One delivery -> the shelf, or aside with a reason -> what became of it, a short constant.

    Raises `TracerDown`, `StoreDown` or `AuditDown`: the delivery stays where it is and comes again.
    """
    if delivery.fault is not None:
        await parts.log.append([_entry(parts, source, "failure", {"reason": delivery.fault, "delivery": delivery.name})])
        delivery.done()
        return "refused"
    sorted_ = await _sort(parts, source, arrivals)
    for doubt, count in delivery.doubts.items():
        sorted_.doubts[doubt] = sorted_.doubts.get(doubt, 0) + count
    unfit = await _unfit(parts, source, delivery, sorted_) if delivery.snapshot else None
    if unfit is not None:
        refusal: dict[str, object] = {"reason": unfit, "doubtful": sorted_.doubts, "delivery": delivery.name}
        await parts.log.append([_entry(parts, source, "failure", refusal)])
        delivery.refuse(unfit)
        return "refused"
    kept: dict[str, object] = {"kept": len(sorted_.rows), "doubtful": sorted_.doubts, "delivery": delivery.name}
    entry = _entry(parts, source, "success", kept | ({"expired": sorted_.expired} if sorted_.expired else {}))
    # Locks first: no instant in which a fresh copy can be read and its lock is not yet known.
    if source.manifest.feeds_protection:
        at = delivery.as_of if delivery.snapshot else parts.now()
        await parts.protections.assert_locks(source.settings.name, sorted_.locks, at, snapshot=delivery.snapshot)
    if delivery.snapshot:
        await parts.shelf.replace(source.settings.name, sorted_.rows, delivery.as_of, entry)
    else:
        await parts.shelf.put(sorted_.rows, entry)
    if sorted_.doubts and not sorted_.rows and not sorted_.expired:
        delivery.refuse(min(sorted_.doubts))
        return "quarantined"
    delivery.done()
    return "taken"


async def _unfit(parts: Parts, source: ActiveSource, delivery: Delivery, sorted_: _Sorted) -> str | None:
    """Why a snapshot may not replace what is held; None: it may.

    A cut or half-filtered extract looks like a good one in which most people are gone, and nobody would miss them. So one
    that drops more than half is its owner's to explain, and `allow_shrink` of the source's options lets it in.
    """
    if not sorted_.rows:
        return min(sorted_.doubts, default=SHRINKS)
    held_at = await parts.shelf.delivered_at(source.settings.name)
    if held_at is not None and held_at > delivery.as_of:
        return OLDER
    if source.settings.options.get("allow_shrink") is True:
        return None
    held, unlisted = await parts.shelf.unlisted(source.settings.name, sorted_.rows, parts.now())
    return SHRINKS if 2 * unlisted > held else None


async def _sort(parts: Parts, source: ActiveSource, arrivals: Sequence[Arrival]) -> _Sorted:
    sorted_ = _Sorted()
    senders = frozenset({source.settings.custodian, *source.settings.options.get("senders", ())})
    for arrival in arrivals:
        if arrival.expires_trace:
            await _expire(parts, arrival, senders, sorted_)
            continue
        doubt, holder, number = await _whose(parts, source, arrival, senders)
        if number is not None and arrival.protected:  # of a doubtful record too: in doubt a person is protected
            sorted_.locks[number] = sorted_.locks.get(number, frozenset()) | arrival.protected
        if holder is None:
            sorted_.doubts[doubt] = sorted_.doubts.get(doubt, 0) + 1
            continue
        sorted_.rows.append(
            ShelfRow(
                source=source.settings.name,
                sender=arrival.sender,
                kind=arrival.kind,
                business_id=arrival.business_id,
                holder=holder,
                as_of=arrival.as_of,
                body=shelved(arrival),
                keep_until=parts.now() + timedelta(days=SHELF_DAYS),
            )
        )
    return sorted_


async def _expire(parts: Parts, arrival: Arrival, senders: frozenset[str], sorted_: _Sorted) -> None:
    """A person changed: the next to ask traces them anew. Nobody is traced for it, since it may name a number just retired."""
    doubt = "sender" if arrival.sender not in senders else ""
    try:
        number = nhs_number.parse(arrival.about.nhs_number or "", allow_test=parts.allow_test_numbers)
    except nhs_number.NotAnNhsNumber:
        doubt = doubt or "nhs-number"
    if doubt:
        sorted_.doubts[doubt] = sorted_.doubts.get(doubt, 0) + 1
        return
    await parts.identity.persons.expire(number)
    sorted_.expired += 1


async def _whose(
    parts: Parts, source: ActiveSource, arrival: Arrival, senders: frozenset[str]
) -> tuple[str, NhsNumber | str | None, NhsNumber | None]:
    """(doubt, holder, number): whose shelf row this is, or why nobody's; whom its locks protect.

    By local id the crosswalk says whose it is when it is read.
    """
    about = arrival.about
    if arrival.sender not in senders:
        return "sender", None, None
    if about.local_id is not None:
        return "", about.local_id, await parts.crosswalk.number_of(source.settings.name, about.local_id)
    try:
        number = nhs_number.parse(about.nhs_number or "", allow_test=parts.allow_test_numbers)
    except nhs_number.NotAnNhsNumber:
        return "nhs-number", None, None
    identity = await parts.identity.trace(number, correlation_id="", now=parts.now())
    if not isinstance(identity, PatientIdentity):
        return "not-traced", None, number
    if about.birth_date is not None and identity.birth_date is not None and about.birth_date != identity.birth_date:
        return "birth-date-differs", None, number
    return "", identity.number, identity.number


def _entry(parts: Parts, source: ActiveSource, outcome: str, detail: dict[str, object]) -> Entry:
    return Entry(
        "intake",
        parts.now(),
        outcome,
        None,
        organisation=source.settings.custodian,
        system=source.settings.name,
        detail={"policy": parts.policy.hash, **detail},
    )

"""A delivery from a pushing source: sender, person check, trace, shelve, record. It ends at the shelf and discloses nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from gateway import nhs_number
from gateway.adapter import Arrival, Delivery
from gateway.flows.parts import Parts
from gateway.flows.shelving import shelved
from gateway.model import PatientIdentity
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, Listed, NewWork, ShelfRow, Suppression
from gateway.registry import ActiveSource

TRACES = "our-intake"  # its own share of the trace rate
OLDER = "older than what is held"
SHRINKS = "an extract without more than half of what is held"
SENDER = "the sender is not among this source's `senders`"
NHS_NUMBER = "no NHS number that may be used here: none was sent, its check digit fails, or its range is not issued"
NOT_TRACED = "the tracer (PDS) does not know this NHS number, or says that it may not be used"
BIRTH_DATE = "the birth date is not the one that the tracer (PDS) has for this NHS number"
SHELF_DAYS = 400  # how long a copy is kept without a newer one; `shelf_days` of a source's options is its own
CONTESTED_DUE = timedelta(hours=4)
LOOK_WITHIN = timedelta(days=1)  # how soon the owner should look at what was set aside; `look_within_h` of a manifest is its own

Taken = tuple[Delivery, Sequence[Arrival]]


@dataclass(slots=True)
class _Sorted:
    rows: list[ShelfRow] = field(default_factory=list)
    locks: dict[NhsNumber, frozenset[str]] = field(default_factory=dict)
    doubts: dict[str, int] = field(default_factory=dict)  # reason -> how many
    expired: int = 0  # traces that may not be used again
    losses: list[Suppression] = field(default_factory=list)
    unlinked: list[Arrival] = field(default_factory=list)  # with locks, of a local id that nobody had linked
    aside: list[tuple[str, str]] = field(default_factory=list)  # (place, reason) of what could not be taken

    def set_aside(self, arrival: Arrival, doubt: str) -> None:
        """Counted, and named by its place in the delivery: the owner has to find it again."""
        self.doubts[doubt] = self.doubts.get(doubt, 0) + 1
        self.aside.append((arrival.record.where if arrival.record is not None else f"{arrival.kind}, without a record", doubt))


async def intake(parts: Parts, source: ActiveSource, delivery: Delivery, arrivals: Sequence[Arrival]) -> str:
    """One delivery -> the shelf, or aside with a reason -> what became of it, a short constant.

    Raises `TracerDown`, `StoreDown` or `AuditDown`: the delivery stays where it is and comes again.
    """
    if delivery.snapshot and delivery.fault is None:
        return await _snapshot(parts, source, delivery, arrivals)
    return (await intake_each(parts, source, [(delivery, arrivals)]))[0]


async def intake_each(parts: Parts, source: ActiveSource, taken: Sequence[Taken]) -> Sequence[str]:
    """Several deliveries that are no snapshots, in one transaction, each with its event -> what became of each.

    Raises `TracerDown`, `StoreDown` or `AuditDown`: nothing of any was recorded; they stay where they are and come again.
    """
    put: list[tuple[Sequence[ShelfRow], Entry]] = []
    owed: list[NewWork] = []
    ends: list[str | None] = []  # the reason why a delivery is set aside, for each
    losses: list[Suppression] = []
    locks: dict[NhsNumber, frozenset[str]] = {}
    unlinked: list[Arrival] = []
    listed: list[Listed | None] = []
    for delivery, arrivals in taken:
        if delivery.fault is not None:
            reason = delivery.fault
            put.append(([], _entry(parts, source, "failure", {"reason": reason, "delivery": delivery.name})))
            owed.append(_set_aside(parts, source, reason, delivery))
            ends.append("")
            listed.append(_listed(source, (), 1))
            continue
        sorted_ = await _sort(parts, source, delivery, arrivals)
        _name(delivery, sorted_)
        losses += sorted_.losses
        unlinked += sorted_.unlinked
        for number, kinds in sorted_.locks.items():
            locks[number] = locks.get(number, frozenset()) | kinds
        put.append((sorted_.rows, _entry(parts, source, "success", _told(delivery, sorted_))))
        aside = bool(sorted_.doubts) and not sorted_.rows and (not sorted_.expired or bool(delivery.doubts))
        ends.append(min(sorted_.doubts) if aside else None)
        listed.append(_listed(source, arrivals, sum(sorted_.doubts.values())))
        owed += [_set_aside(parts, source, doubt, delivery) for doubt in sorted(sorted_.doubts)]
        owed += [_taken_back(parts, source, loss) for loss in sorted_.losses if loss.taken_back]
    # Locks and losses first: no instant in which a fresh copy can be read and what forbids its use is not yet known.
    if source.manifest.feeds_protection and any(delivery.fault is None for delivery, _ in taken):
        await parts.protections.assert_locks(source.settings.name, locks, parts.now(), snapshot=False)
    if losses:
        await parts.suppressions.put(losses)
    await parts.shelf.put_each(put, owed, if_contested=[_contested(parts, source)], listed=listed)
    await _linked_meanwhile(parts, source, unlinked)
    # Each waits for the disk on its own, so together they wait about as long as one does.
    moves = (asyncio.to_thread(_ended, delivery, reason) for (delivery, _), reason in zip(taken, ends, strict=True))
    return await asyncio.gather(*moves)


def _name(delivery: Delivery, sorted_: _Sorted) -> None:
    """What could not be taken, beside what its reader refused: a file keeps the places of both."""
    if sorted_.aside:
        delivery.rows = [*delivery.rows, *sorted_.aside]


def _ended(delivery: Delivery, reason: str | None) -> str:
    """`reason` None: taken; "": its reader refused it."""
    if reason:
        delivery.refuse(reason)
        return "quarantined"
    delivery.done()
    return "taken" if reason is None else "refused"


async def _snapshot(parts: Parts, source: ActiveSource, delivery: Delivery, arrivals: Sequence[Arrival]) -> str:
    sorted_ = await _sort(parts, source, delivery, arrivals)
    _name(delivery, sorted_)
    unfit = await _unfit(parts, source, delivery, sorted_)
    if unfit is not None:
        refusal: dict[str, object] = {"reason": unfit, "doubtful": sorted_.doubts, "delivery": delivery.name}
        await parts.log.append([_entry(parts, source, "failure", refusal)], [_set_aside(parts, source, unfit, delivery)])
        delivery.refuse(unfit)
        return "refused"
    if source.manifest.feeds_protection:
        await parts.protections.assert_locks(source.settings.name, sorted_.locks, delivery.as_of, snapshot=True)
    entry = _entry(parts, source, "success", _told(delivery, sorted_))
    if sorted_.doubts:  # before the copy that lacks them is the one held: nobody else would miss them
        await parts.work.open([_set_aside(parts, source, doubt, delivery) for doubt in sorted(sorted_.doubts)], parts.now())
    unread = sum(sorted_.doubts.values())
    await parts.shelf.replace(source.settings.name, sorted_.rows, delivery.as_of, entry, unread=unread)
    await _linked_meanwhile(parts, source, sorted_.unlinked)
    delivery.done()
    return "taken"


async def _linked_meanwhile(parts: Parts, source: ActiveSource, unlinked: Sequence[Arrival]) -> None:
    """Who was linked while their delivery was being taken: `linking.hear` may have read the shelf before it was on it."""
    if not source.manifest.feeds_protection:
        return
    name = source.settings.name
    locks: dict[NhsNumber, frozenset[str]] = {}
    for arrival in unlinked:
        number = await parts.crosswalk.number_of(name, arrival.about.local_id or "")
        if number is not None:
            locks[number] = locks.get(number, frozenset()) | arrival.protected
    if locks:
        await parts.protections.add_locks(name, locks, parts.now())


async def _unfit(parts: Parts, source: ActiveSource, delivery: Delivery, sorted_: _Sorted) -> str | None:
    """Why a snapshot may not replace what is held; None: it may.

    A cut or half-filtered extract looks like a good one in which most people are gone, and nobody would miss them. So one
    that drops more than half is its owner's to explain, and `allow_shrink` of the source's options lets it in. Where few are
    held as well: with a row that is lost a lock may be.
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


async def _sort(parts: Parts, source: ActiveSource, delivery: Delivery, arrivals: Sequence[Arrival]) -> _Sorted:
    sorted_ = _Sorted(doubts=dict(delivery.doubts))
    senders = frozenset({source.settings.custodian, *source.settings.options.get("senders", ())})
    keep_until = parts.now() + timedelta(days=source.settings.options.get("shelf_days", SHELF_DAYS))
    for arrival in arrivals:
        if arrival.expires_trace:
            await _expire(parts, source, arrival, senders, sorted_)
            continue
        doubt, holder, number = await _whose(parts, source, arrival, senders)
        if number is not None and arrival.protected:  # of a doubtful record too: in doubt a person is protected
            sorted_.locks[number] = sorted_.locks.get(number, frozenset()) | arrival.protected
        if number is None and arrival.protected and holder is not None:
            sorted_.unlinked.append(arrival)
        if doubt not in (SENDER, BIRTH_DATE):  # of somebody not traced too: in doubt nobody is invited
            told = _losses(parts, source, arrival)
            sorted_.losses += told
            for loss in told:
                await parts.identity.persons.expire(loss.number)  # a trace of before the death says nothing of it
        if holder is None:
            sorted_.set_aside(arrival, doubt)
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
                keep_until=keep_until,
                moves=arrival.moves,
            )
        )
    return sorted_


async def _expire(parts: Parts, source: ActiveSource, arrival: Arrival, senders: frozenset[str], sorted_: _Sorted) -> None:
    """A person changed: the next to ask traces them anew. Nobody is traced for it, since it may name a number just retired."""
    doubt = SENDER if arrival.sender not in senders else ""
    number = _number(parts, arrival.about.nhs_number)
    if doubt or number is None:
        sorted_.set_aside(arrival, doubt or NHS_NUMBER)
        return
    await parts.identity.persons.expire(number)
    sorted_.expired += 1
    sorted_.losses += _losses(parts, source, arrival)


def _losses(parts: Parts, source: ActiveSource, arrival: Arrival) -> list[Suppression]:
    """What the arrival tells of deaths and losses; a number that is none cannot be spoken of, and its record is refused."""
    told = ((_number(parts, loss.nhs_number), loss) for loss in arrival.losses)
    return [
        Suppression(number, loss.kind, source.settings.name, arrival.as_of, loss.episode, loss.taken_back)
        for number, loss in told
        if number is not None
    ]


async def _whose(
    parts: Parts, source: ActiveSource, arrival: Arrival, senders: frozenset[str]
) -> tuple[str, NhsNumber | str | None, NhsNumber | None]:
    """(doubt, holder, number): whose shelf row this is, or why nobody's; whom its locks protect.

    By local id the crosswalk says whose it is when it is read.
    """
    about = arrival.about
    if arrival.sender not in senders:
        return SENDER, None, None
    if about.local_id is not None:
        return "", about.local_id, await parts.crosswalk.number_of(source.settings.name, about.local_id)
    number = _number(parts, about.nhs_number)
    if number is None:
        return NHS_NUMBER, None, None
    identity = await parts.identity.trace(number, correlation_id="", now=parts.now(), whose=TRACES)
    if not isinstance(identity, PatientIdentity):
        return NOT_TRACED, None, number
    if about.birth_date is not None and identity.birth_date is not None and about.birth_date != identity.birth_date:
        return BIRTH_DATE, None, number
    return "", identity.number, identity.number


def _number(parts: Parts, text: str | None) -> NhsNumber | None:
    try:
        return nhs_number.parse(text or "", allow_test=parts.allow_test_numbers)
    except nhs_number.NotAnNhsNumber:
        return None


def _listed(source: ActiveSource, arrivals: Sequence[Arrival], unread: int) -> Listed | None:
    """What a delivery is to a source that sends its whole list each time; `unread`: rows that could not be taken."""
    if not source.lists_all:
        return None
    return Listed(source.settings.name, max((arrival.as_of for arrival in arrivals), default=None), unread)


def _set_aside(parts: Parts, source: ActiveSource, reason: str, delivery: Delivery) -> NewWork:
    """What could not be taken is its owner's task: one a day for each reason, however many there are."""
    now, name = parts.now(), source.settings.name
    key = f"set-aside:{name}:{reason}:{now.date().isoformat()}"
    hours = source.manifest.options.get("look_within_h")
    due = now + (LOOK_WITHIN if hours is None else timedelta(hours=hours))
    return NewWork("set-aside", reason, name, source.manifest.owner, due, key, local_ref=delivery.name)


def _contested(parts: Parts, source: ActiveSource) -> NewWork:
    """One record held of two people is shown of neither: its owner asks the sender whose it is. One a day for each source."""
    now, name = parts.now(), source.settings.name
    key = f"contested:{name}:{now.date().isoformat()}"
    return NewWork("contested", "one record is held of two people", name, source.manifest.owner, now + CONTESTED_DUE, key)


def _taken_back(parts: Parts, source: ActiveSource, loss: Suppression) -> NewWork:
    """A death that a source takes back lifts nothing: a person looks, and says whether contact goes on."""
    now, name = parts.now(), source.settings.name
    key = f"taken-back:{name}:{loss.kind}:{loss.number.value}"
    due = now + LOOK_WITHIN
    return NewWork("suppression-taken-back", loss.kind, name, source.manifest.owner, due, key, person=loss.number)


def _told(delivery: Delivery, sorted_: _Sorted) -> dict[str, object]:
    told: dict[str, object] = {"kept": len(sorted_.rows), "doubtful": sorted_.doubts, "delivery": delivery.name}
    told |= {"expired": sorted_.expired} if sorted_.expired else {}
    return told | ({"losses": len(sorted_.losses)} if sorted_.losses else {})


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

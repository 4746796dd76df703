"""Local records to NHS numbers: every record that waits is traced or searched for, judged, and settled in durable chunks.

Only a Match links. Everything else is somebody's task, with its reason, owner and due time. What PDS cannot be asked just
now waits; a process that dies loses at most the chunk under way, and the next run goes on with what has no outcome.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Final
from uuid import uuid4

from gateway import matching
from gateway.adapter import Clock
from gateway.errors import TracerDown
from gateway.flows.linking import Heard, Linking, hear, hear_again, unheard
from gateway.identity import WAIT_S, Identity
from gateway.matching import Verdict
from gateway.model import PatientIdentity
from gateway.nhs_number import NhsNumber
from gateway.ports import (
    Chunk,
    Crosswalk,
    CrosswalkKind,
    CrosswalkRow,
    DemographicsSearch,
    LocalRecord,
    LocalRecords,
    NewWork,
    Protections,
    Settled,
    ShelfStore,
    Wanted,
    WorkList,
)

HELD_TWICE: Final = "another local record of this source is linked to this person"
NOT_STAGED: Final = (
    "no record of it is held: `gateway identity import` takes one in; settle the item it opens, and close this one without a link"
)
PROGRAM: Final = "gateway identity match"  # who verified, where nobody did by hand
BY_PROGRAM: Final = "gateway|identity-match"  # who linked then, as the log names those who act
CHUNK_S: Final = 10.0  # what a killed process may lose
LARGEST_CHUNK: Final = 500
AT_ONCE: Final = 32
SHARE: Final = 0.8  # of the trace rate: the rest is left to those who ask meanwhile
PATIENCE: Final = 10  # rounds in a row in which PDS answered nothing
BACKOFF_S: Final = 3.0
_URGENT = frozenset({matching.DIFFERENCES, matching.INVALIDATED, matching.OTHER_BIRTH_DATE, HELD_TWICE})
_DUE = {True: timedelta(days=1), False: timedelta(days=5)}


@dataclass(frozen=True, slots=True)
class Custodian:
    """Whose records these are, who settles what no program may, and who keeps what was buried."""

    source: str
    ids: CrosswalkKind
    owner: str
    guardian: str


@dataclass(frozen=True, slots=True)
class Matcher:
    """What this flow is given."""

    custodian: Custodian
    records: LocalRecords
    crosswalk: Crosswalk
    work: WorkList
    identity: Identity
    search: DemographicsSearch
    protections: Protections
    shelf: ShelfStore
    per_second: float  # the trace rate of this place
    now: Clock


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    waiting: int
    rate: float
    settled: int = 0
    linked: int = 0
    questions: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)  # kind of work item -> how many are new
    protected: int = 0  # linked people whom a delivered lock protects
    awaiting: int = 0  # linked people who are protected by doubt until the next delivery
    down: bool = False  # PDS stopped answering; run again

    def ends_in(self) -> timedelta:
        """At the trace rate, with as many questions a record as so far."""
        each = self.questions / self.settled if self.settled else 1.0
        return timedelta(seconds=(self.waiting - self.settled) * each / self.rate)


async def identify(matcher: Matcher, *, told: Callable[[Progress], None]) -> Progress:
    """Everything that waits at one source -> settled, chunk by chunk. Raises `StoreDown`, `AuditDown`."""
    source, rate = matcher.custodian.source, matcher.per_second * SHARE
    counts = await matcher.records.counts(source)
    before = await hear_again(_linking(matcher), source)
    progress = Progress(waiting=counts.get("pending", 0), rate=rate, protected=before.protected, awaiting=before.awaiting)
    told(progress)
    size = max(10, min(LARGEST_CHUNK, round(rate * CHUNK_S)))
    fruitless = 0
    while chunk := await matcher.records.pending(source, size):
        settled = await _chunk(matcher, chunk, progress)
        if settled:
            done, heard = await _settle(matcher, settled, by=BY_PROGRAM)
            progress.linked += done.records
            progress.opened.update(done.opened)
            progress.protected += heard.protected
            progress.awaiting += heard.awaiting
            progress.settled += len(settled)
            progress.outcomes.update(one.outcome for one in settled)
            fruitless = 0
        if len(settled) < len(chunk):
            fruitless += not settled
            if fruitless >= PATIENCE:
                progress.down = True
                break
            await asyncio.sleep(BACKOFF_S)
        told(progress)
    return progress


async def resolve(matcher: Matcher, item: str, *, by: str, outcome: str, number: NhsNumber | None) -> str | Heard:
    """A person's word on one item: linked to this number, or closed without. Why it cannot be; else whom that protects.

    What was buried may be linked here and nowhere else: its item is the guardian's.
    """
    subject = await matcher.work.take(item, by=by, at=matcher.now())
    if subject is None:
        return "there is no open item of this id, or somebody else has taken it"
    heard = Heard()
    if number is not None:
        record = await matcher.records.find(matcher.custodian.source, subject.local_ref)
        if record is None:
            return NOT_STAGED
        identity = await matcher.identity.trace(number, now=matcher.now(), correlation_id=str(uuid4()))
        if not isinstance(identity, PatientIdentity):
            return "PDS knows nobody in use by this number"
        if record.birth_date is None or record.birth_date_doubt or identity.birth_date != record.birth_date:
            return "the birth date is not that of the record: have the record put right and import it again"
        verdict = Verdict("Match", "settled by a person", identity.number)
        settled = replace(_settled(matcher, record, verdict), links=_links(matcher, record, identity.number, by, "work-list"))
        _, heard = await _settle(matcher, [settled], by=by, dug_up=True)
    await matcher.work.close(item, by=by, outcome=outcome, at=matcher.now())
    return heard


async def _chunk(matcher: Matcher, chunk: Sequence[LocalRecord], progress: Progress) -> list[Settled]:
    """What could be judged now. PDS is asked at the rate of this place, a few at once."""
    verdicts: dict[str, Verdict | None] = {}
    room, start, sent = asyncio.Semaphore(AT_ONCE), monotonic(), 0

    async def one(record: LocalRecord) -> None:
        try:
            verdicts[record.local_id] = await _verdict(matcher, record, progress)
        except TracerDown:
            verdicts[record.local_id] = None
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for record in chunk:
            verdict = matching.unfit(record)
            if verdict is not None:
                verdicts[record.local_id] = verdict
                continue
            await room.acquire()
            ahead = start + sent / progress.rate - monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            sent += 1
            group.create_task(one(record))
    judged = [(record, verdict) for record in chunk if (verdict := verdicts[record.local_id]) is not None]
    return await _without_doubles(matcher, judged)


async def _verdict(matcher: Matcher, record: LocalRecord, progress: Progress) -> Verdict:
    correlation_id = str(uuid4())
    if record.number is not None:
        progress.questions += 1
        identity = await matcher.identity.trace(record.number, now=matcher.now(), correlation_id=correlation_id)
        return matching.reconcile(record, identity)
    assert record.birth_date is not None  # else it was unfit
    wanted = Wanted(record.family, record.given, record.birth_date, record.gender, record.postcode)
    for exact in (True, False):
        if not await matcher.identity.persons.take_trace_token(matcher.now(), wait_s=WAIT_S):
            raise TracerDown(reason="no trace token was free")
        progress.questions += 1
        found = await matcher.search.search(wanted, correlation_id, exact=exact)
        if found or not exact:
            break
    return matching.judge(record, found)


async def _without_doubles(matcher: Matcher, judged: Sequence[tuple[LocalRecord, Verdict]]) -> list[Settled]:
    """Two records of one source that lead to one person. By their own numbers: linked, and a task to put them together.

    Found by name: nobody is linked a second time, since they may be twins under one name.
    """
    source = matcher.custodian.source
    leading = Counter(verdict.number for _, verdict in judged if verdict.number is not None)
    settled = []
    for record, verdict in judged:
        one = _settled(matcher, record, verdict)
        if verdict.number is not None:
            held = await matcher.crosswalk.local_ids(source, verdict.number)
            if leading[verdict.number] > 1 or any(local_id != record.local_id for local_id, _ in held):
                task = _work(matcher, record, "held-twice", HELD_TWICE)
                if record.number is None:
                    one = _settled(matcher, record, Verdict("PotentialMatch", HELD_TWICE))
                else:
                    one = replace(one, work=(task,))
        settled.append(one)
    return settled


def _settled(matcher: Matcher, record: LocalRecord, verdict: Verdict) -> Settled:
    links: Sequence[CrosswalkRow] = ()
    work: Sequence[NewWork] = ()
    if verdict.number is not None:
        came_from = "import" if record.number is not None else "pds-search"
        links = _links(matcher, record, verdict.number, PROGRAM, came_from)
    elif verdict.reason == matching.INVALIDATED:
        work = (_guardians(matcher, record),)
    else:
        work = (_work(matcher, record, "match", verdict.reason, outcome=verdict.outcome),)
    return Settled(record, verdict.outcome, verdict.reason, links, work, _guardians(matcher, record))


def _links(matcher: Matcher, record: LocalRecord, number: NhsNumber, by: str, came_from: str) -> Sequence[CrosswalkRow]:
    source, ids = matcher.custodian.source, matcher.custodian.ids
    day = matcher.now().date()
    link = CrosswalkRow(source, record.local_id, number, record.birth_date, day, by, ids, came_from)
    return (link, replace(link, local_id=record.upn, kind="upn")) if record.upn and ids == "person" else (link,)


def _work(matcher: Matcher, record: LocalRecord, kind: str, reason: str, *, outcome: str = "") -> NewWork:
    return NewWork(
        kind=kind,
        reason=f"{outcome}: {reason}" if outcome else reason,
        source=matcher.custodian.source,
        owner=matcher.custodian.owner,
        due=matcher.now() + _DUE[reason in _URGENT],
        key=f"{kind}:{matcher.custodian.source}:{record.local_id}",
        local_ref=record.local_id,
    )


def _guardians(matcher: Matcher, record: LocalRecord) -> NewWork:
    task = _work(matcher, record, "guardian", matching.BURIED)
    return replace(task, owner=matcher.custodian.guardian, due=matcher.now() + _DUE[True])


async def _settle(matcher: Matcher, settled: Sequence[Settled], *, by: str, dug_up: bool = False) -> tuple[Chunk, Heard]:
    """One chunk, durable, with what deliveries said before of those who are linked by it."""
    linking = _linking(matcher)
    fresh, waiting = await unheard(linking, [link for one in settled for link in one.links])
    done = await matcher.records.settle(settled, matcher.now(), by=by, dug_up=dug_up, waiting=waiting)
    return done, await hear(linking, fresh)


def _linking(matcher: Matcher) -> Linking:
    return Linking(matcher.crosswalk, matcher.protections, matcher.shelf, matcher.now)


def in_words(ends_in: timedelta, now: datetime) -> str:
    """How long it will take -> "until 14:05", with the day where it is another."""
    end = now + ends_in
    return f"until {end:%H:%M}" if end.date() == now.date() else f"until {end:%Y-%m-%d %H:%M}"

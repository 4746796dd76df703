"""The line for a read, a search, `$everything` and every further page: one NHS number in, one lawful answer out."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from gateway import bundle, mapping
from gateway.audit import record_decision, record_disclosure
from gateway.consent import decide
from gateway.disclosure import UNREAD, Page, disclose_in_turns
from gateway.errors import PolicyNotActive, SourceError, SourceTimedOut, StoreDown
from gateway.facts import gather
from gateway.fetch import Fetched
from gateway.flows.access_notice import access_notices
from gateway.flows.aside import map_aside
from gateway.flows.one_page import OnePage
from gateway.flows.parts import Parts
from gateway.identity import admit
from gateway.model import (
    AccessRequest,
    Deny,
    Disclosure,
    Facts,
    MappedResource,
    NotUsable,
    PatientIdentity,
    Permit,
    Recorded,
    RefusedRecord,
    SourceReport,
    SourceState,
)
from gateway.plan import plan
from gateway.ports import NewWork, Owed
from gateway.resource import TOGETHER

TRIES = 3  # the facts may move under a request this often before we give up
WRONG_PERSON_DUE = timedelta(days=1)
UNREAD_DUE = timedelta(hours=4)
BREAK_GLASS_DUE = timedelta(days=1)
BREAK_GLASS = "break-glass-notice"  # what the rule obliges: whoever answers for the records looks at it afterwards
YIELD_S = 0.002  # mapping lets other requests in this often


async def read(parts: Parts, request: AccessRequest) -> bundle.Answer:
    """`AccessRequest` -> `Answer`. Raises a `GatewayError` where nothing may be said but a status."""
    recorded = await released(parts, request, _page(parts, request))
    return recorded if isinstance(recorded, bundle.Answer) else bundle.answer(recorded, look(parts))


async def released(parts: Parts, request: AccessRequest, page: Page) -> Recorded[Disclosure] | bundle.Answer:
    """Steps 3 to 11: what may leave, recorded; or the answer of a denial. Raises a `GatewayError`."""
    if not parts.holds_policy(parts.now()):
        raise PolicyNotActive(reason="policy-not-active")
    async with parts.holding():
        return await _released(parts, request, page)


async def _released(parts: Parts, request: AccessRequest, page: Page) -> Recorded[Disclosure] | bundle.Answer:
    for _ in range(TRIES):
        identity, facts = await _who(parts, request)
        decision = decide(facts, parts.policy, parts.terms)
        if isinstance(decision, Deny):
            return await _denied(parts, await record_decision(parts.log, decision, now=parts.now()))
        permit = await record_decision(parts.log, decision, now=parts.now())
        known = await admit(identity, permit, parts)
        fetched = await parts.fetch(plan(permit, known, parts.registry), deadline_s=parts.deadline_s)
        await _note_locks(parts, known, fetched)
        mapped, reports, refused = await _map(parts, known, fetched, permit.value, page)
        disclosure = await disclose_in_turns(mapped, reports, refused, permit, known, parts.policy, page=page)
        recorded = await record_disclosure(parts.log, disclosure, now=parts.now(), jobs=_owed(parts, disclosure, fetched))
        if recorded is not None:
            return recorded
    raise StoreDown(reason="facts-keep-moving")


async def _who(parts: Parts, request: AccessRequest) -> tuple[PatientIdentity | NotUsable, Facts]:
    """Trace and gather. A person whom a lock protects is never served from an old trace."""
    key = request.query.person
    assert key is not None  # only an auditor's question has no person, and that is another flow
    whose = request.caller.system
    identity = await parts.identity.trace(key, now=parts.now(), correlation_id=request.correlation_id, whose=whose)
    facts = await _facts(parts, identity, request)
    if facts.protected and isinstance(identity, PatientIdentity) and identity.stale:
        identity = await parts.identity.trace(
            key, now=parts.now(), correlation_id=request.correlation_id, again=True, whose=whose
        )
        facts = await _facts(parts, identity, request)
    return identity, facts


async def _facts(parts: Parts, identity: PatientIdentity | NotUsable, request: AccessRequest) -> Facts:
    return await gather(identity, request, store=parts.facts, policy=parts.policy, feeds=parts.registry.feeds(), now=parts.now())


async def _map(
    parts: Parts, identity: PatientIdentity, fetched: Fetched, permit: Permit, page: Page | None = None
) -> tuple[Sequence[MappedResource], Sequence[SourceReport], Sequence[RefusedRecord]]:
    """Every record by its source's maps; other requests get their turn in between, and large records another process.

    Of those comes what may stand on the page. All of it does without a page, or where its Provenance is wanted.
    """
    person = identity.alias or identity.person or ""
    contexts: dict[str, mapping.Context] = {}
    mapped: list[MappedResource] = []
    refused: list[RefusedRecord] = []
    ready: list[MappedResource] = []  # chosen already
    pages: dict[str, OnePage] = {}
    query = permit.facts.request.query
    whole = page is None or "Provenance" in query.types or query.interaction == "read"
    failed: dict[str, SourceError] = {}
    since = monotonic()
    until = since + parts.deadline_s  # of what is mapped in another process
    for source, record in fetched.records:
        context = contexts.get(source)
        if context is None:
            context = contexts[source] = _context(parts, source, person, identity)
        if record.schema == TOGETHER:
            if source not in failed:
                one_page = None if page is None or whole else pages.setdefault(source, OnePage(page, source))
                try:
                    async with asyncio.timeout(until - monotonic()):
                        found = await map_aside(
                            parts.aside,
                            parts.accounts,
                            parts.maps.hash,
                            parts.registry.sources[source],
                            record,
                            context,
                            permit,
                            one_page,
                        )
                except TimeoutError:
                    failed[source] = SourceTimedOut("over-budget")
                except SourceError as error:
                    failed[source] = error
                else:
                    ready += found[0]
                    refused += found[1]
            continue
        result = parts.accounts.map(parts.registry.sources[source], record, context)
        mapped += result.resources
        refused += result.refused
        if monotonic() - since > YIELD_S:
            await asyncio.sleep(0)
            since = monotonic()
    reports = [_unmapped(report, failed[report.source]) if report.source in failed else report for report in fetched.reports]
    mapped += ready
    mapped += [item for one_page in pages.values() for item in one_page.resources()]
    return [item for item in mapped if item.source not in failed] if failed else mapped, reports, refused


def _unmapped(report: SourceReport, error: SourceError) -> SourceReport:
    """Of a source whose records could not all be mapped: none of them is shown, and it says so."""
    state = SourceState.TIMED_OUT if isinstance(error, SourceTimedOut) else SourceState.FAILED
    return replace(report, state=state, reason=error.reason, as_of=None, warnings=())


async def _note_locks(parts: Parts, identity: PatientIdentity, fetched: Fetched) -> None:
    """A lock a source asserts while it answers goes into the protected index; that moves the facts, so we decide again."""
    for source, kinds in fetched.locks.items():
        await parts.protections.add_locks(source, {identity.number: kinds}, parts.now())


def _owed(parts: Parts, disclosure: Disclosure, fetched: Fetched) -> Sequence[Owed]:
    return [
        *_wrong_people(parts, disclosure.identity, fetched),
        *_unread(parts, disclosure),
        *_notices(parts, disclosure),
        *access_notices(parts, disclosure),
    ]


def _notices(parts: Parts, disclosure: Disclosure) -> Sequence[NewWork]:
    """The glass was broken: one item for the governance lead of each agreement that something was given under."""
    permit, request = disclosure.permit.value, disclosure.permit.value.facts.request
    if BREAK_GLASS not in permit.obligations:
        return ()
    now, person = parts.now(), disclosure.identity.number
    under = {permit.terms[item.source].agreement for item in disclosure.resources if item.source in permit.terms}
    leads = {agreement.contact for name in under if (agreement := parts.policy.agreement(name)) is not None}
    return [
        NewWork(
            kind="break-glass",
            reason="somebody without a relationship opened the record in an emergency",
            source="",
            owner=lead,
            due=now + BREAK_GLASS_DUE,
            key=f"break-glass:{request.caller.token_id}:{person.value}:{lead}",  # further pages are the same emergency
            person=person,
            local_ref=disclosure.permit.receipt.event,  # `gateway log show` says who and why
        )
        for lead in sorted(leads or {parts.policy.contact(request.caller.organisation.code, permit.allowed)})
    ]


def _wrong_people(parts: Parts, identity: PatientIdentity, fetched: Fetched) -> Sequence[NewWork]:
    """A source that answered about somebody else is somebody's task: its owner's, one open item for each person."""
    now = parts.now()
    return [
        NewWork(
            kind="wrong-person",
            reason="the source answered about somebody else",
            source=source,
            owner=parts.registry.sources[source].manifest.owner,
            due=now + WRONG_PERSON_DUE,
            key=f"wrong-person:{source}:{identity.number.value}",
            person=identity.number,
        )
        for source in sorted(fetched.wrong_person)
    ]


def _unread(parts: Parts, disclosure: Disclosure) -> Sequence[NewWork]:
    """A source that holds something of a person which nobody could be shown, since no map can read it: one open item for each."""
    now, person = parts.now(), disclosure.identity.number
    return [
        NewWork(
            kind="unread-record",
            reason="what is held of somebody cannot be read, so nobody is shown it",
            source=report.source,
            owner=parts.registry.sources[report.source].manifest.owner,
            due=now + UNREAD_DUE,
            key=f"unread-record:{report.source}:{person.value}",
            person=person,
        )
        for report in disclosure.reports
        if report.reason == UNREAD
    ]


def _context(parts: Parts, source: str, person: str, identity: PatientIdentity) -> mapping.Context:
    active = parts.registry.sources[source]
    mint = parts.mint(person, source, active.manifest.kind)
    return mapping.Context(source, mint, person, identity.number, parts.now(), active.settings.custodian)


async def _denied(parts: Parts, recorded: Recorded[Deny]) -> bundle.Answer:
    deny = recorded.value
    if deny.caller_level:
        return bundle.refused(recorded, 403)
    person, request = deny.facts.person_ref, deny.facts.request
    if isinstance(person, PatientIdentity) and person.traced_at < request.received_at:
        await parts.identity.as_for_nobody(now=parts.now(), correlation_id=request.correlation_id, whose=request.caller.system)
    return bundle.denied(recorded, look(parts))


def look(parts: Parts) -> bundle.Look:
    """How answers name sources, links and deliveries just now."""
    titles = {name: (source.manifest.kind, source.settings.title) for name, source in parts.registry.sources.items()}
    return bundle.Look(parts.base_url, titles, parts.seal, parts.standing.deliveries)


def _page(parts: Parts, request: AccessRequest) -> Page:
    return Page(request.query.count or parts.page_count, parts.page_bytes, request.query.cursor)

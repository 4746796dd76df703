"""Step 8, fetch: `FetchPlan` -> what every source said, all at once, each within its budget; never raises for a source.

Wrong person is the worst hazard: a source whose answer carries another key, or another birth date, than the one asked
for is discarded whole, shown as failed, and becomes a work-list item.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from time import monotonic

from gateway.adapter import Claim, LocalIds, SourceFacts, SourceRecord, Want
from gateway.errors import OUR_FAULT, SourceContractBroken, SourceError, SourceRefused, SourceTimedOut
from gateway.model import Ask, FetchPlan, PatientIdentity, SourceReport, SourceState
from gateway.registry import REGISTERED_PRACTICE, ActiveSource, Registry

UNFORESEEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
OPENS_AFTER = 5  # failures in a row
OPEN_S = 15.0  # then the source rests this long, and one request tries it again


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came back: records by source, one report for each source the permit covers, what sources said of the person."""

    records: Sequence[tuple[str, SourceRecord]]
    reports: Sequence[SourceReport]
    locks: Mapping[str, frozenset[str]]  # source -> kinds of protection it asserted just now
    wrong_person: frozenset[str]  # sources whose answer was discarded for it


@dataclass(slots=True)
class Breaker:
    """Failures of one source in this process: open for a while after several in a row, then one probe."""

    failures: int = 0
    open_until: float = 0.0

    def allows(self, now: float) -> bool:
        if self.failures < OPENS_AFTER or now < self.open_until:
            return self.failures < OPENS_AFTER
        self.open_until = now + OPEN_S  # this request is the probe; the others wait for it
        return True

    def note(self, error: SourceError | None, now: float) -> None:
        if error is None or isinstance(error, SourceRefused | SourceContractBroken):
            self.failures = 0
            return
        self.failures += 1
        self.open_until = now + OPEN_S


@dataclass(slots=True)
class _Gathered:
    records: list[SourceRecord] = field(default_factory=list)
    facts: SourceFacts = field(default_factory=SourceFacts)


class _WrongPerson(SourceContractBroken):
    """The answer is about somebody else."""


class _Wanting:
    """The parts of `Want` that are the same for every source of one request."""

    def __init__(self, plan: FetchPlan) -> None:
        request = plan.permit.value.facts.request
        caller = request.caller
        self._purpose = request.purpose
        self._correlation_id = request.correlation_id
        self._requester = {
            "organisation": caller.organisation.code,
            "organisation_name": caller.organisation.name,
            "organisation_kind": caller.organisation.kind.value,
            "system": caller.system,
            "person_system": caller.staff.system,
            "person": caller.staff.id,
            "person_name": caller.staff.name,
            "role_system": caller.role.system,
            "role": caller.role.code,
            "role_name": caller.role.display,
        }

    def __call__(self, ask: Ask) -> Want:
        return Want(ask.types, self._purpose, self._requester, self._correlation_id)


class Fetch:
    """Asks sources; keeps one breaker for each system behind them."""

    def __init__(self, registry: Registry, local_ids: Mapping[str, LocalIds]) -> None:
        self._registry = registry
        self._local_ids = local_ids
        self._breakers: dict[tuple[str, str], Breaker] = {}

    async def __call__(self, plan: FetchPlan, *, deadline_s: float) -> Fetched:
        """Every planned source at once -> `Fetched`. A source that fails is a report, never an exception."""
        want = _Wanting(plan)
        results = await asyncio.gather(*(self._ask(ask, plan.identity, want, deadline_s) for ask in plan.asks))
        records = [(report.source, record) for report, gathered, _ in results for record in gathered.records]
        reports = [report for report, _, _ in results]
        reports += [SourceReport(name, SourceState.NOTHING, reason=reason) for name, reason in plan.not_asked.items()]
        reports.sort(key=lambda report: report.source)
        return Fetched(
            records,
            reports,
            {report.source: gathered.facts.protected for report, gathered, _ in results if gathered.facts.protected},
            frozenset(report.source for report, _, wrong in results if wrong),
        )

    async def _ask(
        self, ask: Ask, identity: PatientIdentity, want: _Wanting, deadline_s: float
    ) -> tuple[SourceReport, _Gathered, bool]:
        source, started = self._registry.sources[ask.source], monotonic()
        breaker = self._breaker(source, identity)
        if not breaker.allows(started):
            return SourceReport(ask.source, SourceState.FAILED, reason="resting-after-failures"), _Gathered(), False
        OUR_FAULT.set(False)
        try:
            async with asyncio.timeout(min(ask.budget_s, deadline_s)):
                gathered = await self._gather(source, identity, want(ask))
        except TimeoutError:
            error: SourceError = SourceTimedOut("over-budget")
        except SourceError as raised:
            error = raised
        except UNFORESEEN:  # an adapter that trips over what its source said: that source's failure, nobody else's
            error = SourceContractBroken("the adapter could not read the answer")
        else:
            breaker.note(None, monotonic())
            return _report(ask.source, gathered, started), gathered, False
        if not OUR_FAULT.get():
            breaker.note(error, monotonic())
        state = SourceState.TIMED_OUT if isinstance(error, SourceTimedOut) else SourceState.FAILED
        report = SourceReport(ask.source, state, reason=error.reason, took_ms=_ms(started))
        return report, _Gathered(), isinstance(error, _WrongPerson)

    def _breaker(self, source: ActiveSource, identity: PatientIdentity) -> Breaker:
        """One for each system that can fail by itself: of a source that asks the registered practice, one a practice."""
        practice = identity.practice or "" if source.settings.custodian == REGISTERED_PRACTICE else ""
        return self._breakers.setdefault((source.settings.name, practice), Breaker())

    async def _gather(self, source: ActiveSource, identity: PatientIdentity, want: Want) -> _Gathered:
        gathered = _Gathered()
        manifest, verified = source.manifest, None
        by_local_id = manifest.identity == "local_id" or manifest.options.get("also_local_id") is True
        async for item in source.adapter.fetch(identity, want):
            if by_local_id and verified is None and item.about is not None and item.about.local_id is not None:
                verified = await self._local_ids[source.settings.name].of(identity)
            if item.about is not None and not is_about(item.about, identity, verified or ()):
                raise _WrongPerson("identity-mismatch")
            if isinstance(item, SourceFacts):
                gathered.facts = item
            else:
                gathered.records.append(item)
        return gathered


def is_about(claim: Claim, identity: PatientIdentity, verified: Sequence[Claim]) -> bool:
    """Does the source's own claim say this record is the traced person's?

    By NHS number: the current or a superseded one. By local id: one the crosswalk holds as verified for this person.
    Birth dates (the record's, the one recorded at matching, the trace's) must agree wherever two of them are known.
    """
    if claim.nhs_number is not None:
        numbers = {identity.number.value, *(number.value for number in identity.superseded)}
        return claim.nhs_number in numbers and _same_day(claim, identity.birth_date)
    return any(
        claim.local_id == known.local_id and _same_day(claim, known.birth_date) and _same_day(known, identity.birth_date)
        for known in verified
        if claim.local_id is not None
    ) and _same_day(claim, identity.birth_date)


def _same_day(claim: Claim, birth_date: date | None) -> bool:
    return claim.birth_date is None or birth_date is None or claim.birth_date == birth_date


def _report(name: str, gathered: _Gathered, started: float) -> SourceReport:
    facts = gathered.facts
    state = SourceState.ANSWERED if gathered.records else SourceState.NOTHING
    if facts.stale:
        state = SourceState.STALE
    return SourceReport(name, state, as_of=facts.as_of, reason=facts.reason, warnings=facts.warnings, took_ms=_ms(started))


def _ms(started: float) -> int:
    return round((monotonic() - started) * 1000)

"""Step 3, trace: an NHS number or an id of ours -> `PatientIdentity`, or `NotUsable` for nobody we may speak of.

A stored trace under 15 minutes old is used. Up to 24 hours old it is replaced if a token is free within 200 ms, else used
with every locating fact stripped. Older, expired or restricted: traced again. A tracer that cannot be asked is `TracerDown`
for every number and id alike, so an outage tells nobody who is known here.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

from gateway.errors import InternalFault, TracerDown
from gateway.model import NotUsable, PatientIdentity, Permit, PersonId, Recorded
from gateway.nhs_number import NhsNumber
from gateway.ports import Demographics, PersonRow, Persons, Traced

BRIEF_WAIT_S: Final = 0.2  # for a token, while a stored trace could still serve
WAIT_S: Final = 1.0  # for a token, when nothing else can
CLOCKS_APART: Final = timedelta(seconds=5)  # of two workers
LONGEST_CHAIN: Final = 8  # superseded after superseded; a longer chain is a loop
LOCATING: Final = frozenset({"address", "telecom", "generalPractitioner"})  # elements of the trace's Patient

# Asked in place of an id that leads to no number, so that such an id takes as long, costs as much and fails as often as a
# number PDS does not know. Of the 999 range, which is never issued.
NOBODY: Final = NhsNumber("9990020302")


@dataclass(frozen=True, slots=True)
class Ages:
    """How old a stored trace may be: settings trace_fresh_s and trace_stale_s."""

    fresh: timedelta
    stale: timedelta


@dataclass(frozen=True, slots=True)
class _Found:
    """A usable person, as traced or as stored."""

    traced: Traced
    person: PersonId | None
    at: datetime


_Outcome: TypeAlias = _Found | NotUsable


class Entrance(Protocol):
    """What `admit` is given: the parts of a flow."""

    @property
    def identity(self) -> "Identity": ...


class Identity:
    """The tracing of one process: concurrent traces of one number are one question to PDS."""

    def __init__(self, persons: Persons, demographics: Demographics, ages: Ages) -> None:
        self.persons = persons
        self._demographics = demographics
        self._ages = ages
        self._under_way: dict[tuple[NhsNumber, float, str], asyncio.Task[_Outcome | None]] = {}

    async def trace(
        self, key: NhsNumber | PersonId, *, now: datetime, correlation_id: str, again: bool = False, whose: str = ""
    ) -> PatientIdentity | NotUsable:
        """`again`: whatever is stored, ask PDS: for a person a source's own lock protects.

        `whose`: who asks, so that nobody spends the trace rate of all.

        Raises `TracerDown`, `StoreDown`.
        """
        row = await (self.persons.by_number(key) if isinstance(key, NhsNumber) else self.persons.by_id(key))
        superseded: tuple[NhsNumber, ...] = ()
        for _ in range(LONGEST_CHAIN):
            if row is None or row.status != "superseded":
                break
            superseded = (*superseded, row.number)
            row = await self.persons.by_id(row.successor) if row.successor is not None else None
        if isinstance(key, NhsNumber):
            if row is None or row.status != "live":  # a sealed row answers nothing; whether the number lives again, PDS says
                number, row, superseded = key, None, ()
            else:
                number = row.number
            alias = None
        elif row is None:
            return await self._as_if(NotUsable("no-such-id", None), now, correlation_id, whose)
        elif row.status != "live":
            return await self._as_if(NotUsable("sealed", row.number), now, correlation_id, whose)
        else:
            number, alias = row.number, key
        outcome = await self._newest(number, row, now, correlation_id, again=again, whose=whose)
        if isinstance(outcome, NotUsable):
            return outcome
        if outcome.traced.number != number:
            superseded = (*superseded, number)
            row = await self.persons.by_number(outcome.traced.number)
        if row is not None and row.status == "live":  # sources may keep any of the old numbers, whichever is asked by
            superseded = (*superseded, *(old for old in row.replaced if old not in superseded))
        if alias == outcome.person:
            alias = None
        return identity_of(outcome.traced, outcome.person, alias, superseded, outcome.at, now - outcome.at >= self._ages.fresh)

    async def _newest(
        self, number: NhsNumber, row: PersonRow | None, now: datetime, correlation_id: str, *, again: bool, whose: str
    ) -> _Outcome:
        stored = _stored(row)
        if again or (stored is not None and stored.traced.restricted):
            stored = None
        age = now - stored.at if stored is not None else self._ages.stale
        if stored is not None and -CLOCKS_APART < age < self._ages.fresh:
            return stored
        if not -CLOCKS_APART < age < self._ages.stale:
            stored = None
        outcome = await self._ask(number, row, now, correlation_id, WAIT_S if stored is None else BRIEF_WAIT_S, whose)
        if outcome is not None:
            return outcome
        if stored is not None:
            return stored
        raise TracerDown(reason="no trace token was free")

    async def as_for_nobody(self, *, now: datetime, correlation_id: str, whose: str = "") -> None:
        """Before an empty answer about a person whose trace was stored: PDS is asked about nobody.

        An unknown number has to be asked for, so with PDS down or its rate spent both are 503. Raises `TracerDown`.
        """
        await self._as_if(NotUsable("unknown", None), now, correlation_id, whose)

    async def _as_if(self, answer: NotUsable, now: datetime, correlation_id: str, whose: str) -> NotUsable:
        """The answer is known; PDS is asked all the same, so that it takes as long and fails as often as any other."""
        if await self._ask(NOBODY, None, now, correlation_id, WAIT_S, whose) is None:
            raise TracerDown(reason="no trace token was free")
        return answer

    async def _ask(
        self, number: NhsNumber, row: PersonRow | None, now: datetime, correlation_id: str, wait_s: float, whose: str
    ) -> _Outcome | None:
        """One question to PDS for all who ask now, stored once. None: no token within `wait_s`."""
        key = (number, wait_s, whose)  # who has spent its share makes nobody else wait
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._settle(number, row, now, correlation_id, wait_s, whose))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(task)  # one caller who leaves takes nobody's answer along

    def _over(self, key: tuple[NhsNumber, float, str], task: asyncio.Task[_Outcome | None]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, also when every caller has left

    async def _settle(
        self, number: NhsNumber, row: PersonRow | None, now: datetime, correlation_id: str, wait_s: float, whose: str
    ) -> _Outcome | None:
        if not await self.persons.take_trace_token(now, wait_s=wait_s, whose=whose):
            return None
        traced = await self._demographics.trace(number, correlation_id)
        if isinstance(traced, str):
            if traced == "invalidated":
                await self.persons.seal(number, now)
                return NotUsable("invalidated", number)
            return NotUsable("unknown", number)
        if traced.number == number:
            if row is not None:  # nobody is stored before the first permit
                await self.persons.retrace(row.person, traced, now)
            return _Found(traced, row.person if row is not None else None, now)
        await self._same_birth(row, traced)
        # Also where neither number has a row yet: consents and locks recorded under the old number must count from now on.
        return _Found(traced, await self.persons.supersede(number, traced, now), now)

    async def _same_birth(self, row: PersonRow | None, traced: Traced) -> None:
        """Two numbers are joined for good, on one answer: not where what is stored of either has another birth date.

        Raises `TracerDown`: such an answer is not to be trusted; the owner of the tracer's connection acts.
        """
        newer = await self.persons.by_number(traced.number)
        for stored in (row, newer):
            born = stored.trace.birth_date if stored is not None and stored.trace is not None else None
            if born is not None and traced.birth_date is not None and born != traced.birth_date:
                raise TracerDown(reason="a superseding number with another birth date")


async def admit(identity: PatientIdentity | NotUsable, permit: Recorded[Permit], parts: Entrance) -> PatientIdentity:
    """The first recorded permit -> the person has a row, and the identity its id. Raises `StoreDown`."""
    if isinstance(identity, NotUsable) or permit.value.facts.person_ref != identity:
        raise InternalFault(reason="a permit for somebody else")
    if identity.person is not None:
        return identity
    traced = Traced(
        number=identity.number,
        birth_date=identity.birth_date,
        deceased=identity.deceased,
        restricted=identity.restricted,
        practice=identity.practice,
        patient=identity.patient,
        version=str(identity.patient.get("meta", {}).get("versionId", "")),
    )
    person = await parts.identity.persons.admit(traced, identity.traced_at)
    return identity_of(traced, person, identity.alias, identity.superseded, identity.traced_at, identity.stale)


def nobody() -> NotUsable:
    """For a question that names no person, such as an auditor's."""
    return NotUsable("nobody-asked-about", None)


def _stored(row: PersonRow | None) -> _Found | None:
    if row is None or row.trace is None or row.traced_at is None or row.expired:
        return None
    return _Found(row.trace, row.person, row.traced_at)


def identity_of(
    traced: Traced,
    person: PersonId | None,
    alias: PersonId | None,
    superseded: tuple[NhsNumber, ...],
    traced_at: datetime,
    stale: bool,
) -> PatientIdentity:
    """A trace and whose row it belongs to -> the ticket. An old trace and a restricted person's leave out what locates."""
    hidden = LOCATING if stale or traced.restricted else frozenset()
    return PatientIdentity(
        number=traced.number,
        superseded=superseded,
        person=person,
        alias=alias,
        birth_date=traced.birth_date,
        deceased=traced.deceased,
        restricted=traced.restricted,
        practice=None if traced.restricted else traced.practice,
        patient={name: value for name, value in traced.patient.items() if name not in hidden},
        traced_at=traced_at,
        stale=stale,
    )

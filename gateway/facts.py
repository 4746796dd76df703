"""Step 4, gather: identity and caller -> `Facts`: all that policy may read, and nothing else.

Consents, relationships, locks, the client's version and the active policy are read in one statement on every request, so
that what is withdrawn, revoked or activated counts on the next request.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from gateway.errors import NotAuthenticated, PolicyNotActive
from gateway.model import AccessRequest, Caller, ConsentFact, Facts, NotUsable, PatientIdentity
from gateway.policy import Policy, as_plain, of
from gateway.ports import FactsStore, PersonFacts

OBJECTION = ConsentFact("direct-care", "deny")
CLOCKS_DIFFER = timedelta(minutes=5)  # a delivery further ahead of our clock than this is of no known age

_REGISTERED = "registered-practice"
_ADDRESSED = "addressed"  # what is being sent was addressed to this caller: never stored, only ever of a mandate


async def gather(
    identity: PatientIdentity | NotUsable,
    request: AccessRequest,
    *,
    store: FactsStore,
    policy: Policy,
    feeds: Mapping[str, float],
    now: datetime,
) -> Facts:
    """Everything policy may depend on -> `Facts`. `feeds`: source that feeds the protected index -> hours it may be old.

    Raises `StoreDown` from the store (deny), `NotAuthenticated` when the client was revoked or changed since its token,
    `PolicyNotActive` when another policy than this worker's was activated, be it a moment ago.
    """
    caller = request.caller
    rows = await store.read(
        identity.number,
        organisation=caller.organisation.code,
        staff=f"{caller.staff.system}|{caller.staff.id}",
        case_reference=caller.case_reference,
        client=caller.system,
        at=now,
    )
    if rows.client_version != caller.client_version:
        raise NotAuthenticated(reason="client-revoked-or-changed")
    if rows.policy != policy.hash:
        raise PolicyNotActive(reason="policy-not-active")
    traced = identity if isinstance(identity, PatientIdentity) else None
    because = frozenset(_protected_because(traced, rows, feeds, now))
    return Facts(
        organisation=caller.organisation.code,
        organisation_kind=caller.organisation.kind,
        role=f"{caller.role.system}|{caller.role.code}",
        role_group=policy.role_group(caller.role),
        purpose=request.purpose,
        agreements=_agreements(request, policy, now.date()),
        has_case_reference=bool(caller.case_reference),
        usable=traced is not None,
        relationships=_relationships(traced, rows, caller) if traced else frozenset(),
        consents=rows.consents,
        objection=rows.objection or OBJECTION in rows.consents,
        protected=bool(because),
        deceased=traced.deceased if traced else False,
        age_band=age_band(traced.birth_date, now.date()) if traced else "unknown",
        person_ref=identity,
        request=request,
        version=rows.version,
        protected_because=because,
        access=request.access,
    )


def facts_as_plain(facts: Facts) -> dict[str, Any]:
    """`Facts` -> JSON values without any person: for the audit, and for `gateway policy explain`."""
    return {**as_plain(of(facts)), "version": facts.version, "protected_because": sorted(facts.protected_because)}


def age_band(birth_date: date | None, on: date) -> str:
    """A birth date -> the band rules may read; a date to come is "unknown"."""
    if birth_date is None or birth_date > on:
        return "unknown"
    years = on.year - birth_date.year - ((on.month, on.day) < (birth_date.month, birth_date.day))
    for first, band in ((18, "adult"), (16, "16-17"), (13, "13-15"), (5, "5-12"), (1, "1-4")):
        if years >= first:
            return band
    return "under-1"


def _agreements(request: AccessRequest, policy: Policy, on: date) -> frozenset[str]:
    """What is in force, without the agreements that want a permission to view nobody asserted for this request."""
    in_force = policy.agreements_in_force(request.caller.organisation.code, on)
    return in_force if request.permission_to_view else in_force - policy.needing_permission(in_force)


def _relationships(traced: PatientIdentity, rows: PersonFacts, caller: Caller) -> frozenset[str]:
    """What is stored, the registered practice as the trace has it, and "addressed" of a caller made from a mandate.

    The trace decides who the registered practice is; a stored row stands only where PDS withholds it (restricted).
    """
    held = rows.relationships if traced.restricted else rows.relationships - {_REGISTERED}
    held = held | {_REGISTERED} if traced.practice == caller.organisation.code else held
    return held | {_ADDRESSED} if caller.mandate else held - {_ADDRESSED}


def _protected_because(
    traced: PatientIdentity | None, rows: PersonFacts, feeds: Mapping[str, float], now: datetime
) -> Iterator[str]:
    if traced is not None and traced.restricted:
        yield "pds-restricted"
    for lock in rows.locks:
        yield f"lock:{lock}"
    for source, hours in feeds.items():
        newest = rows.feeds.get(source)
        if newest is None or newest > now + CLOCKS_DIFFER:
            yield f"feed-unknown:{source}"
        elif now - newest > timedelta(hours=hours):
            yield f"feed-stale:{source}"

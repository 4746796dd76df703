"""What a look at CP-IS owes: a notice to each authority that answers for a plan it showed, queued with the look itself.

The notice is a parcel like any other: it leaves by flows/deliver.py at the worker's next tick, decided for its recipient at that
moment. Where it cannot even be queued, telling the authority is somebody's task. Source: CP-IS (DCB1609), access to service.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gateway import systems
from gateway.flows.parts import Parts
from gateway.flows.route_terms import kind_of, terms_of
from gateway.model import Access, Category, Content, Disclosure, Mandate, NewParcel, ParcelState, Purpose, Resource
from gateway.ports import NewWork, Owed, OwedParcel
from gateway.registry import Route

NOTICE: Final = "access-notice"  # what the rules of CP-IS oblige
GATEWAY: Final = "gateway"  # who gives the notice: its agreement says `gives: gateway`
NO_WAY: Final = "a look at what CP-IS holds could not be put on its way to the authority: ring it"
DUE: Final = timedelta(seconds=10)
TYPE: Final = "AuditEvent"
OURS: Final = "Shared care gateway"

_REST: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
    "code": "rest",
    "display": "RESTful Operation",
}
_SYSTEMS: Final = {"ods": systems.ODS_CODE, "gss": systems.GSS_CODE}


def access_notices(parts: Parts, disclosure: Disclosure) -> Sequence[Owed]:
    """What is about to be shown -> a notice for each source of CP-IS in it, if the visit is unscheduled."""
    permit = disclosure.permit.value
    if permit.facts.access is not Access.UNSCHEDULED and NOTICE not in permit.obligations:
        return ()
    return [
        _notice(parts, disclosure, source)
        for source in sorted({item.source for item in disclosure.resources if item.category is Category.CP_IS})
    ]


def look_at(recorded: str, *, code: str, name: str, kind: str, role: tuple[str, str, str], hidden: bool = False) -> Resource:
    """One look, as an AuditEvent: organisation, role and time, and nothing else. `hidden`: of the organisation only its kind."""
    system, role_code, display = role
    agent: dict[str, Any] = {
        "type": {"text": kind},
        "role": [{"coding": [{"system": system, "code": role_code}], "text": display or role_code}],
        "requestor": True,
    }
    if not hidden:
        scheme, _, value = code.partition(":")
        known = {"identifier": {"system": _SYSTEMS[scheme], "value": value}} if scheme in _SYSTEMS else {}
        agent["who"] = {**known, "display": name}
    return {
        "resourceType": TYPE,
        "type": _REST,
        "recorded": recorded,
        "outcome": "0",
        "agent": [agent],
        "source": {"site": OURS, "observer": {"display": OURS}},
    }


def _notice(parts: Parts, disclosure: Disclosure, source: str) -> Owed:
    now, identity, caller = parts.now(), disclosure.identity, disclosure.permit.value.facts.request.caller
    sitting = f"access:{caller.token_id}:{identity.number.value}:{source}"  # further pages and questions are the same look
    route = next((route for route in parts.registry.routes.values() if _takes_notices(route, source)), None)
    if route is None or identity.birth_date is None:
        return NewWork(
            kind="access-notice",
            reason=NO_WAY,
            source=source,
            owner=parts.registry.sources[source].manifest.owner,
            due=now + DUE,
            key=sitting,
            person=identity.number,
            local_ref=disclosure.permit.receipt.event,  # `gateway log show` says who looked
        )
    look = look_at(
        now.isoformat(),
        code=caller.organisation.code,
        name=caller.organisation.name,
        kind=caller.organisation.kind.value,
        role=(caller.role.system, caller.role.code, caller.role.display),
    )
    parcel = NewParcel(
        id="parcel-" + _letters(),
        route=route.name,
        sender=GATEWAY,
        client=caller.system,
        key=sitting,
        state=ParcelState.QUEUED,
        reason="",
        content=Content(identity.number, identity.birth_date, look),
        created_at=now,
        confirm_by=now + timedelta(hours=route.table.acknowledge_within_h),
        keep_until=now + timedelta(days=route.table.keep_days),
    )
    return OwedParcel(parcel, _mandate(parts, route, parcel, now))


def _takes_notices(route: Route, source: str) -> bool:
    return route.source.name == source and kind_of(route)[0] is Category.ACCESS_NOTICE and TYPE in route.table.types


def _mandate(parts: Parts, route: Route, parcel: NewParcel, now: datetime) -> Mandate:
    """In the name of the authority that answers for the plan; without an agreement it is held, and that is somebody's task."""
    return Mandate(
        id="mandate-" + _letters(),
        organisation=route.source.custodian,
        role=route.table.role,
        purpose=Purpose(min(route.table.purposes)),
        agreement=terms_of(route, GATEWAY, parts.policy).agreement,
        route=route.name,
        scopes=frozenset({f"system/{TYPE}.rs"}),
        starts=now,
        expires=parcel.keep_until,
    )


def _letters() -> str:
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()

"""The line for `$cp-is-access-history`: whoever may see that a plan is known sees who else looked, newest first, at most 25.

The same steps as for a read of the plans themselves, with the same notice owed; then the log is asked, as an auditor's question
asks it, and that too is recorded. Of each look: organisation, role, time. Scheduled looks are not in it. Source: CP-IS (DCB1609).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway import bundle
from gateway.audit import record_audit_read
from gateway.disclosure import Page
from gateway.flows.access_notice import look_at
from gateway.flows.parts import Parts
from gateway.flows.read import look, released
from gateway.model import Access, AccessRequest, Category, Disclosure, Mark, Resource
from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion, StoredEvent

MOST: Final = 25
AT_ONCE: Final = 500  # events of the person read together
WHOLE: Final = Page(count=1_000, max_bytes=1_000_000)  # every plan there is


async def access_history(parts: Parts, request: AccessRequest) -> bundle.Answer:
    """`AccessRequest` -> `Answer`: AuditEvents, or the empty answer where no plan may be shown. Raises a `GatewayError`."""
    recorded = await released(parts, request, WHOLE)
    if isinstance(recorded, bundle.Answer):
        return recorded
    shown = recorded.value
    if not any(item.category is Category.CP_IS for item in shown.resources):
        return bundle.view(recorded, (), look(parts))
    number = shown.identity.number
    found = await _looks(parts, number)
    asked = {"history": request.query.view}
    await record_audit_read(parts.log, request, person=number, asked=asked, found=len(found), now=parts.now())
    return bundle.view(recorded, [_told(parts, event, shown) for event in found], look(parts))


async def _looks(parts: Parts, number: NhsNumber) -> Sequence[StoredEvent]:
    """The newest of each sitting: whoever asks twice with one token looks once."""
    found: dict[str, StoredEvent] = {}
    before: int | None = None
    while len(found) < MOST:
        events = await parts.log.ask(LogQuestion(person=number, kind="disclosure", before_index=before, limit=AT_ONCE))
        for event in events:
            if _is_look(event.body):
                found.setdefault(event.body["detail"]["token"], event)
        if len(events) < AT_ONCE:
            break
        before = events[-1].index
    return list(found.values())[:MOST]


def _is_look(body: Mapping[str, Any]) -> bool:
    detail = body["detail"]
    said = detail.get("access") == Access.UNSCHEDULED
    return said and any(row["category"] == Category.CP_IS for row in detail.get("items", ()))


def _told(parts: Parts, event: StoredEvent, shown: Disclosure) -> Resource:
    """Of a protected person, only what kind of organisation looked: which one would say where they were."""
    body, permit = event.body, shown.permit.value
    system, _, code = body["role"].rpartition("|")
    organisation = parts.policy.organisation(body["organisation"])
    return look_at(
        event.recorded_at.isoformat(),
        code=body["organisation"],
        name=body["detail"]["organisation_name"],
        kind="other" if organisation is None else organisation.kind.value,
        role=(system, code, body["detail"]["role_name"]),
        hidden=permit.facts.protected or Mark.LOCATING in permit.strip,
    )

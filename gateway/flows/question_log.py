"""An auditor's question: the same line, whose source is the log itself. Asking is recorded before anything is read."""

from datetime import datetime

from gateway import bundle
from gateway.audit import record_audit_read, record_decision
from gateway.audit.balp import audit_event
from gateway.consent import decide
from gateway.errors import PolicyNotActive
from gateway.facts import gather
from gateway.flows.parts import Parts
from gateway.flows.read import look
from gateway.identity import nobody
from gateway.model import AccessRequest, Deny
from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion

USUAL, MOST = 100, 500  # events of one page
_OUTCOMES = {"0": ("permit", "success"), "4": ("deny",), "8": ("failure",), "12": ("failure",)}


async def question_log(parts: Parts, request: AccessRequest) -> bundle.Answer:
    """`AccessRequest` of interaction audit-search -> searchset of AuditEvents, newest first. None is a person's record."""
    if not parts.holds_policy(parts.now()):
        raise PolicyNotActive(reason="policy-not-active")
    facts = await gather(nobody(), request, store=parts.facts, policy=parts.policy, feeds={}, now=parts.now())
    decision = decide(facts, parts.policy, parts.terms)
    if isinstance(decision, Deny):
        return bundle.refused(await record_decision(parts.log, decision, now=parts.now()), 403)
    await record_decision(parts.log, decision, now=parts.now())
    events = [event for question in _questions(request) for event in await parts.log.ask(question)]
    events.sort(key=lambda event: event.index, reverse=True)
    most = _most(request)
    last, events = events[most - 1].index if len(events) > most else None, events[:most]
    number = request.query.person if isinstance(request.query.person, NhsNumber) else None
    asked = {**request.query.audit, **({"before": request.query.cursor} if request.query.cursor else {})}
    receipt = await record_audit_read(parts.log, request, person=number, asked=asked, found=len(events), now=parts.now())
    person = _reference(request)
    kinds = {name: source.manifest.kind for name, source in parts.registry.sources.items()}
    rendered = [audit_event(event, gateway=parts.base_url, person=person, kinds=kinds) for event in events]
    return bundle.searchset(rendered, request, receipt, look(parts), last=last)


def _questions(request: AccessRequest) -> list[LogQuestion]:
    """One question for each outcome word the R4 code stands for; criteria hold together."""
    asked, person = request.query.audit, request.query.person
    return [
        LogQuestion(
            person=person if isinstance(person, NhsNumber) else None,
            person_id=None if isinstance(person, NhsNumber) else person,
            organisation=asked.get("organisation"),
            staff=asked.get("agent"),
            outcome=outcome,
            purpose=asked.get("purpose"),
            since=_instant(asked.get("since")),
            until=_instant(asked.get("until")),
            before_index=None if request.query.cursor is None else int(request.query.cursor),
            limit=_most(request) + 1,  # one beyond, to know whether there are more
        )
        for outcome in _OUTCOMES.get(asked.get("outcome", ""), (None,))
    ]


def _most(request: AccessRequest) -> int:
    return min(request.query.count or USUAL, MOST)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _reference(request: AccessRequest) -> str | None:
    """The person as the auditor named them, in a form that holds no NHS number."""
    person = request.query.person
    if person is None:
        return None
    return "Patient/the-person-asked-about" if isinstance(person, NhsNumber) else f"Patient/{person}"

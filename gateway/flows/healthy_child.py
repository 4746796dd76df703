"""The line for `$healthy-child-programme`: the same as for a read, and what the programme makes of what it discloses.

Nothing here reaches further than the answer of a read for the same caller: the view is made after step 11, of the resources
that were disclosed and recorded, by a pure function of them and of today. Nothing of it is stored. For somebody who has died,
or about whom contact has stopped, what was done is still said, and nothing is called due.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from gateway import bundle, systems
from gateway.disclosure import Page
from gateway.flows.intake import SHELF_DAYS
from gateway.flows.parts import Parts
from gateway.flows.programme import Item, doses_of, reviews_of
from gateway.flows.read import look, released
from gateway.model import AccessRequest, Category, Disclosure, Recorded, Resource, SourceState

MADE: Final = "Worked out when it was asked for, from what this answer's sources show. This is no clinical record."
ON_MOTHER: Final = "Recorded with the mother, if at all: no record of the child says whether it was made."
CANNOT_SAY: Final = (
    "A source that would know is missing, out of date, shows nothing by this route or does not tell of so long ago, "
    "or a record says in no code what it is of, or is counted for no dose."
)
TOO_LATE: Final = (
    "No record of it, and past the age until which the programme has it. A clinician confirms what this means for the child."
)
STOPPED: Final = "Nothing is called due, because contact has stopped."
WHOLE: Final = Page(count=10_000, max_bytes=16_000_000)  # more than one child has; a view of half a record would be wrong

_PROMPTS: Final = frozenset(("due", "overdue", "missed", "not-yet-due", "cannot-say"))
_ACTIVITY: Final = {
    "done": "completed",
    "not-attended": "not-started",
    "cancelled": "not-started",
    "not-given": "cancelled",
    "cannot-say": "unknown",
}

_WHY: Final = {"cannot-say": CANNOT_SAY, "missed": TOO_LATE}


async def healthy_child(parts: Parts, request: AccessRequest) -> bundle.Answer:
    """`AccessRequest` -> `Answer`: a CarePlan of the reviews and an ImmunizationRecommendation. Raises a `GatewayError`."""
    recorded = await released(parts, request, WHOLE)
    if isinstance(recorded, bundle.Answer):
        return recorded
    shown = recorded.value
    contact_stopped = shown.identity.deceased or bool(await parts.suppressions.of(shown.identity.number))
    return bundle.view(recorded, _view(parts, recorded, parts.now().date(), prompts=not contact_stopped), look(parts))


def _view(parts: Parts, recorded: Recorded[Disclosure], on: date, *, prompts: bool) -> Sequence[Resource]:
    """The view, or nothing where this caller is not shown when the child was born."""
    shown = recorded.value
    bodies = [item.body for item in shown.resources]
    patient = next((body for body in bodies if body["resourceType"] == "Patient" and "birthDate" in body), None)
    if patient is None or len(str(patient["birthDate"])) != len("2024-03-14"):
        return ()
    born, programme = date.fromisoformat(patient["birthDate"]), parts.programme
    whole = shown.next_key is None
    reviewed = [item.body for item in shown.resources if item.category is Category.CHILD_HEALTH_REVIEWS]
    visits = [body for body in reviewed if body["resourceType"] == "Encounter"]
    scores = [body for body in reviewed if body["resourceType"] == "Observation"]
    given = [body for body in bodies if body["resourceType"] == "Immunization"]
    knows = {kind: whole and _can_say(parts, shown, *kind) for kind in _KINDS}
    since = {kind: _since(parts, shown, *kind, on) for kind in _KINDS}
    reviews = reviews_of(programme, born, on, visits, scores, can_say=knows[_KINDS[0]], since=since[_KINDS[0]])
    doses = doses_of(programme, born, on, given, can_say=knows[_KINDS[1]], since=since[_KINDS[1]])
    if not prompts:
        reviews, doses = ([item for item in items if item.state not in _PROMPTS] for items in (reviews, doses))
    person = {"reference": f"Patient/{patient['id']}"}
    seen = any(category in shown.permit.value.allowed for _, category in _KINDS)
    made = [
        _plan(reviews, person, on, programme.version, stopped=seen and not prompts),
        _recommended(doses, person, on, programme.version),
    ]
    return [resource for resource in made if resource is not None]


_KINDS: Final = (("Encounter", Category.CHILD_HEALTH_REVIEWS), ("Immunization", Category.IMMUNISATIONS))


def _can_say(parts: Parts, shown: Disclosure, type_: str, category: Category) -> bool:
    """Whether silence means that there is nothing: every source that gives these answered, and one at least shows some."""
    if category not in shown.permit.value.allowed:
        return False
    knowing = [report for report in shown.reports if (type_, category) in parts.terms[report.source].types]
    delivered = (parts.standing.deliveries.get(report.source) for report in knowing)
    fresh = not any(one is not None and (one.stale or one.unread) for one in delivered)
    fit = all(report.state in (SourceState.ANSWERED, SourceState.NOTHING) for report in knowing)
    return fresh and fit and any(report.state is SourceState.ANSWERED for report in knowing)


def _since(parts: Parts, shown: Disclosure, type_: str, category: Category, on: date) -> date:
    """Since when what was done would be shown: the earliest day for which one of the sources that answered stands.

    One that is asked has what it has. One that pushes began at some day, which its settings say (`tells_since`; unsaid, its
    silence says nothing), and its shelf forgets what nobody has sent again for `shelf_days`.
    """
    days = [date.max]
    for report in shown.reports:
        if report.state is SourceState.ANSWERED and (type_, category) in parts.terms[report.source].types:
            source = parts.registry.sources[report.source]
            days.append(date.min if source.intake is None else _told_since(source.settings.options, on))
    return min(days)


def _told_since(options: Mapping[str, Any], on: date) -> date:
    try:
        began = date.fromisoformat(str(options.get("tells_since")))
    except ValueError:
        return date.max
    return max(began, on - timedelta(days=options.get("shelf_days", SHELF_DAYS)))


def _plan(items: Sequence[Item], person: Resource, on: date, version: str, *, stopped: bool) -> Resource | None:
    """The reviews. Where contact has stopped it says so, with no row too: rows that go without a word look like a fault."""
    if not items and not stopped:
        return None
    return {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "proposal",
        "title": "Healthy Child Programme: mandated reviews",
        "description": f"{MADE} {f'{STOPPED} ' if stopped else ''}Programme of {version}.",
        "subject": person,
        "created": on.isoformat(),
        **({"activity": [_activity(item) for item in items]} if items else {}),
    }


def _activity(item: Item) -> Resource:
    detail: dict[str, Any] = {
        "code": {"text": item.title},
        "status": _ACTIVITY.get(item.state, "not-started"),
        "statusReason": _state(item),
        "scheduledPeriod": {"start": item.due.isoformat(), "end": item.by.isoformat()},
    }
    if item.state == "cannot-say":
        detail["description"] = ON_MOTHER if item.due == item.by else CANNOT_SAY
    if item.state == "missed":
        detail["description"] = TOO_LATE
    seen = [{"reference": name} for name in item.evidence]
    return {**({"outcomeReference": seen} if seen else {}), "detail": detail}


def _recommended(items: Sequence[Item], person: Resource, on: date, version: str) -> Resource | None:
    if not items:
        return None
    return {
        "resourceType": "ImmunizationRecommendation",
        "patient": person,
        "date": on.isoformat(),
        "recommendation": [_dose(item, version) for item in items],
    }


def _dose(item: Item, version: str) -> Resource:
    why = " ".join([said for state, said in _WHY.items() if item.state == state] + [MADE])
    seen = [{"reference": name} for name in item.evidence]
    return {
        "vaccineCode": [{"text": item.title}],
        "forecastStatus": _state(item),
        "dateCriterion": [{"code": {"text": "due from"}, "value": item.due.isoformat()}],
        "description": f"{why} Programme of {version}.",
        "doseNumberPositiveInt": item.dose,
        **({"supportingImmunization": seen} if seen else {}),
    }


def _state(item: Item) -> Resource:
    return {"coding": [{"system": systems.PROGRAMME_STATE, "code": item.state}]}

"""Step 12, answer: a recorded disclosure -> Bundle or resource; a recorded denial -> OperationOutcome or the empty answer.

A denial that depends on the person, an unknown number and a permitted person with nothing to show give the same bytes
but for the receipt: one function makes all three. Source: FHIR R4 section 2.36 (bundle.html), 3.1.1.5 (search outcome).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gateway import systems
from gateway.adapter import LOCKED_AT_SOURCE
from gateway.errors import CursorRefused, GatewayError, Incomplete, NotFound
from gateway.model import (
    AccessRequest,
    Caller,
    Deny,
    Disclosure,
    Mark,
    Organisation,
    Parcel,
    ParcelState,
    PersonId,
    Query,
    Receipt,
    Recorded,
    SourceReport,
    SourceState,
)
from gateway.resource import name_of

CURSOR_LIVES_S = 300
HELP = (
    "This answer holds what this caller may be shown by this route for this purpose. If you expected more, check the NHS "
    "number and your relationship with the person, then ask your organisation's information governance lead."
)
OUTCOME_URL = "urn:uuid:5d3a1c5e-52a5-4c0f-9f0e-3f1a7c3e9b10"  # always this one, so that alike answers stay alike to the byte
VIEW_URL = "urn:uuid:7c0b1f52-6e0b-4c5e-8f3a-2d9b6a41c00"  # and its place: what is worked out when asked has no address
ON_ITS_WAY = "Accepted for delivery."
DELIVERED = "The recipient's system has it."
RECALLED = "Taken back by its sender."
NOT_CONFIRMED = (
    "The recipient did not confirm it in time, or nothing could be delivered by this route. If it matters, ring the recipient."
)
MORE_EVENTS = "There are more events than these, the newest. Narrow the dates, or name a caller or an outcome, to see the others."
KIND_TITLES = {
    "gp": "The registered practice",
    "child-health": "Child health",
    "childrens-centre": "Children's centre",
    "local-authority": "Local authority",
}
_UNREACHED = (SourceState.FAILED, SourceState.TIMED_OUT)
_AS_FOR_NOBODY = (SourceState.NOTHING, SourceState.STALE)
_ISSUE = {
    SourceState.ANSWERED: ("information", "informational"),
    SourceState.NOTHING: ("information", "informational"),
    SourceState.TIMED_OUT: ("warning", "timeout"),
    SourceState.FAILED: ("warning", "incomplete"),
    SourceState.STALE: ("warning", "incomplete"),
}
_SAYS = {
    SourceState.ANSWERED: "answered.",
    SourceState.NOTHING: "none shareable by this route.",
    SourceState.TIMED_OUT: "did not answer in time. What it may hold is missing from this answer.",
    SourceState.FAILED: "could not be read. What it may hold is missing from this answer.",
    SourceState.STALE: "the copy held is out of date. Nothing in it may be taken as current.",
}
NONE_RECORDED = "none-recorded"
_WARNING_SAYS = {
    "confidential-items": "Items were left out at the source for confidentiality or at the person's wish.",
    "data-in-transit": "The record is still being transferred between practices: earlier items may be missing.",
    "data-awaiting-filing": "Information from a third party waits to be filed and is missing.",
    "not-supported": "The source does not offer this area.",
    "disabled": "The source has switched this area off.",
    LOCKED_AT_SOURCE: "The source holds something of this person under a lock of its own and keeps it back. Ring its duty team.",
    NONE_RECORDED: "Nothing is recorded, neither an item nor that there is none: not the same as none known.",
}
_ENTRY = b'{"fullUrl":%b%b","resource":%b,"search":{"mode":"match"}}'
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Look:
    """How sources are named, where links point, how cursors are sealed, what each pushing source last delivered."""

    base_url: str
    titles: Mapping[str, tuple[str, str]]  # source -> (kind, title)
    seal: Callable[[bytes], str]
    deliveries: Mapping[str, tuple[datetime | None, bool]]  # pushing source -> (delivered at, stale): the same for everyone


@dataclass(frozen=True, slots=True)
class Answer:
    """What api sends. `shows_records` False: api holds it back to the next time bucket."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]
    shows_records: bool


def answer(recorded: Recorded[Disclosure], look: Look) -> Answer:
    """A recorded disclosure -> the answer. Raises `NotFound` or `Incomplete` (nothing left then but a status)."""
    disclosure = recorded.value
    request = disclosure.permit.value.facts.request
    reports = tuple(_with_delivery(report, look) for report in disclosure.reports)
    if request.query.strict and any(report.state in _UNREACHED for report in reports):
        raise Incomplete(reason="strict-and-a-source-missing")
    if request.query.interaction == "read":
        return _resource(recorded, reports, look)
    names = _names(look, protected=_is_hidden(disclosure))
    if not disclosure.resources and not disclosure.withheld_known:
        if all(report.state in _AS_FOR_NOBODY for report in reports):
            names = _names(look, protected=False)  # these are the states of everybody, so their names tell of nobody
        return _bundle(request, recorded.receipt, [], reports, names, look, person=None)
    base = _encode(f"{look.base_url}/fhir/")[:-1]  # an id of ours and a type of R4 need no escape
    entries: list[Any] = [
        msgspec.Raw(_ENTRY % (base, "/".join(name_of(item.body)).encode(), item.encoded)) for item in disclosure.resources
    ]
    withheld = [_issue("information", "suppressed", f"Some {name} are withheld.") for name in sorted(disclosure.withheld_known)]
    links = []
    if disclosure.next_key is not None and disclosure.identity.person is not None:
        speaks_as = disclosure.identity.alias or disclosure.identity.person
        sealed = look.seal(pack_cursor(request.query, speaks_as, request.caller, disclosure.next_key, request.received_at))
        links.append({"relation": "next", "url": f"{look.base_url}/fhir?_cursor={sealed}"})
    return _bundle(
        request, recorded.receipt, entries, reports, names, look, links=links, more=withheld, person=disclosure.identity.person
    )


def view(recorded: Recorded[Disclosure], resources: Sequence[Mapping[str, Any]], look: Look) -> Answer:
    """A recorded disclosure and what was worked out from it -> the answer: the view alone, with the sources' states.

    Nothing worked out is the empty answer. Raises `Incomplete`.
    """
    disclosure = recorded.value
    request = disclosure.permit.value.facts.request
    reports = tuple(_with_delivery(report, look) for report in disclosure.reports)
    if request.query.strict and any(report.state in _UNREACHED for report in reports):
        raise Incomplete(reason="strict-and-a-source-missing")
    if not resources:
        return _bundle(request, recorded.receipt, [], reports, _names(look, protected=False), look, person=None)
    entries: list[Any] = [
        {"fullUrl": f"{VIEW_URL}{place}", "resource": body, "search": {"mode": "match"}} for place, body in enumerate(resources)
    ]
    names = _names(look, protected=_is_hidden(disclosure))
    return _bundle(request, recorded.receipt, entries, reports, names, look, person=disclosure.identity.person)


def denied(recorded: Recorded[Deny], look: Look) -> Answer:
    """A denial that follows from the person -> the empty answer, the same bytes as for nobody. Raises `NotFound` for a read."""
    deny = recorded.value
    request = deny.facts.request
    if request.query.interaction == "read":
        raise NotFound(reason=deny.reason)
    reports = tuple(_with_delivery(SourceReport(name, SourceState.NOTHING), look) for name in sorted(deny.sources))
    return _bundle(request, recorded.receipt, [], reports, _names(look, protected=False), look, person=None)


def refused(recorded: Recorded[Deny], status: int) -> Answer:
    """A denial that follows from the caller alone -> its reason and a helper."""
    deny = recorded.value
    issue = _issue("error", "forbidden", deny.public_reason, spine="ACCESS_DENIED")
    helper = _issue("information", "informational", f"Contact: {deny.contact}")
    body = _encode({"resourceType": "OperationOutcome", "issue": [issue, helper]})
    return Answer(status, body, _receipt_header(recorded.receipt), shows_records=True)


def parcel(parcel: Parcel, recipient: Organisation, receipt: Receipt, look: Look, now: datetime, *, status: int) -> Answer:
    """A parcel -> the Task its sender sees: on its way, acknowledged, taken back, or not confirmed in time.

    What was withheld because of the person is told by neither word nor time: it is one that nobody confirmed.
    """
    code, since, words = _delivery(parcel, now)
    body = {
        "resourceType": "Task",
        "id": parcel.id,
        "meta": {"lastUpdated": since.isoformat()},
        "status": code,
        "businessStatus": {"text": words},
        "intent": "order",
        "code": {"text": "Delivery"},
        "authoredOn": parcel.created_at.isoformat(),
        "lastModified": since.isoformat(),
        "owner": {"display": recipient.name},
        "restriction": {"period": {"end": parcel.confirm_by.isoformat()}},
    }
    headers = (*_receipt_header(receipt), ("Location", f"{look.base_url}/fhir/Task/{parcel.id}"))
    return Answer(status, _encode(body), headers, shows_records=False)


def _delivery(parcel: Parcel, now: datetime) -> tuple[str, datetime, str]:
    """(Task.status, since when, in words): of the states only those that tell nothing of the person."""
    if parcel.state is ParcelState.ACKNOWLEDGED and parcel.settled_at is not None:
        return "completed", parcel.settled_at, DELIVERED
    if parcel.state is ParcelState.RECALLED and parcel.settled_at is not None:
        return "cancelled", parcel.settled_at, RECALLED
    if now >= parcel.confirm_by:
        return "on-hold", parcel.confirm_by, NOT_CONFIRMED
    return "requested", parcel.created_at, ON_ITS_WAY


def outcome(error: GatewayError) -> bytes:
    """An error -> OperationOutcome bytes with its constant text."""
    severity = "fatal" if error.status == 500 else "error"
    issue = _issue(severity, error.issue_code, error.public_text, spine=error.spine_code)
    if error.expression:
        issue["expression"] = [error.expression]
    return _encode({"resourceType": "OperationOutcome", "issue": [issue]})


def searchset(resources: Sequence[Mapping[str, Any]], receipt: Receipt, look: Look, self_path: str, *, more: bool) -> Answer:
    """Resources that are no person's record (AuditEvents) -> a searchset that says so when it is not all there is."""
    links = [{"relation": "self", "url": f"{look.base_url}/fhir/{self_path}"}]
    entries: list[dict[str, Any]] = [
        {"fullUrl": f"{look.base_url}/fhir/{body['resourceType']}/{body['id']}", "resource": body, "search": {"mode": "match"}}
        for body in resources
    ]
    if more:
        issue = _issue("warning", "incomplete", MORE_EVENTS)
        entries.append(_outcome([issue]))
    bundle = {"resourceType": "Bundle", "identifier": _receipt_identifier(receipt), "type": "searchset", "link": links}
    if entries:
        bundle["entry"] = entries
    return Answer(200, _encode(bundle), _receipt_header(receipt), shows_records=True)


def pack_cursor(query: Query, person: PersonId, caller: Caller, last_key: str, now: datetime) -> bytes:
    """What a next link seals: who may use it, for whose record, for which question, after which key, until when."""
    question = [query.interaction, sorted(query.types), query.count, query.strict]
    until = int((now + timedelta(seconds=CURSOR_LIVES_S)).timestamp())
    return _encode({"p": person, "c": _who(caller), "q": question, "k": last_key, "x": until})


def unpack_cursor(opened: bytes, caller: Caller, now: datetime) -> Query:
    """An opened cursor -> the question it continues. Raises `CursorRefused` for another caller, or late."""
    held = json.loads(opened)
    if held["c"] != _who(caller) or now.timestamp() > held["x"]:
        raise CursorRefused(reason="cursor-not-yours-or-late")
    interaction, types, count, strict = held["q"]
    return Query(interaction, PersonId(held["p"]), frozenset(types), count=count, strict=strict, cursor=held["k"])


def _outcome(issues: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Issues -> the entry that says them. Its fullUrl leads nowhere: R4 wants one of each entry."""
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    return {"fullUrl": OUTCOME_URL, "resource": outcome, "search": {"mode": "outcome"}}


def _resource(recorded: Recorded[Disclosure], reports: Sequence[SourceReport], look: Look) -> Answer:
    disclosure = recorded.value
    if not disclosure.resources:
        if any(report.state in _UNREACHED for report in reports):
            raise Incomplete(reason="source-of-the-resource-missing")
        raise NotFound(reason="nothing-disclosed")
    names = _names(look, protected=_is_hidden(disclosure))
    headers = (*_receipt_header(recorded.receipt), _sources_header(reports, names))
    return Answer(200, disclosure.resources[0].encoded, headers, shows_records=True)


def _bundle(
    request: AccessRequest,
    receipt: Receipt,
    entries: list[Any],
    reports: Sequence[SourceReport],
    names: Callable[[str], tuple[str, str]],
    look: Look,
    *,
    links: Sequence[dict[str, str]] = (),
    more: Sequence[dict[str, Any]] = (),
    person: PersonId | None,
) -> Answer:
    issues = [_source_issue(report, names) for report in reports]
    issues += [_warning_issue(report, area, code, names) for report in reports for area, code in report.warnings]
    issues += [*more, _issue("information", "informational", HELP)]
    tags = [
        {
            "system": systems.SOURCE_STATE,
            "code": report.state.value,
            "display": f"{names(report.source)[1]}: {report.state.value}",
        }
        for report in reports
    ]
    entries.append(_outcome(issues))
    bundle = {
        "resourceType": "Bundle",
        "meta": {"tag": tags} if tags else {},
        "identifier": _receipt_identifier(receipt),
        "type": "searchset",
        "link": [{"relation": "self", "url": _self_link(request, look)}, *links],
        "entry": entries,
    }
    if not tags:
        del bundle["meta"]
    headers = (*_receipt_header(receipt), _sources_header(reports, names))
    return Answer(200, _encode(bundle), headers, shows_records=len(entries) > 1)


def _self_link(request: AccessRequest, look: Look) -> str:
    """The question as we understood it. A person asked for by NHS number is not named: no number is ever in a URL of ours."""
    query = request.query
    person = query.person if isinstance(query.person, str) else None
    if query.view:
        return f"{look.base_url}/fhir/Patient/{person}/${query.view}"
    if query.interaction == "everything":
        return f"{look.base_url}/fhir/Patient/{person}/$everything?_type={','.join(sorted(query.types))}"
    name = min(query.types)
    by = ("_id" if name == "Patient" else "patient") + f"={person}" if person else ""
    return f"{look.base_url}/fhir/{name}" + (f"?{by}" if by else "")


def _is_hidden(disclosure: Disclosure) -> bool:
    """Whether locating facts go from this answer: then no source is named by its organisation either."""
    permit = disclosure.permit.value
    return permit.facts.protected or Mark.LOCATING in permit.strip


def _names(look: Look, *, protected: bool) -> Callable[[str], tuple[str, str]]:
    """How to name a source: (code, title). For a protected person by kind, never by organisation."""

    def name(source: str) -> tuple[str, str]:
        kind, title = look.titles[source]
        return (kind, KIND_TITLES.get(kind, "A source")) if protected else (source, title)

    return name


def _with_delivery(report: SourceReport, look: Look) -> SourceReport:
    """The age of a pushing source's copy is the source's, not the person's: it shows alike for everybody.

    A source that is asked live has no such age: with nothing to show it says as little of when as for nobody.
    """
    if report.state in _UNREACHED:
        return report
    if report.source not in look.deliveries:
        return replace(report, as_of=None) if report.state is SourceState.NOTHING else report
    delivered, stale = look.deliveries[report.source]
    state = SourceState.STALE if stale else report.state
    return SourceReport(report.source, state, delivered, report.reason, report.warnings, report.took_ms)


def _source_issue(report: SourceReport, names: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    code, title = names(report.source)
    severity, issue_type = _ISSUE[report.state]
    text = f"{title}: {_SAYS[report.state]}"
    if report.as_of is not None and report.state is SourceState.NOTHING:
        text = f"{title}: not on the delivery of {_day(report.as_of)}; none shareable by this route."
    elif report.as_of is not None:
        text += f" As of {_day(report.as_of)}."
    issue = _issue(severity, issue_type, text)
    issue["details"]["coding"] = [
        {"system": systems.SOURCE, "code": code, "display": title},
        {"system": systems.SOURCE_STATE, "code": report.state.value},
    ]
    return issue


def _warning_issue(report: SourceReport, area: str, code: str, names: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    """What a source warns of, for one area: an area with something withheld must never read as one with nothing in it."""
    name, title = names(report.source)
    text = _WARNING_SAYS.get(code, "The source says its answer is not complete.")
    about = f"{title}, {area.replace('-', ' ')}" if area else title
    severity, kind = ("information", "informational") if code == NONE_RECORDED else ("warning", "incomplete")
    issue = _issue(severity, "suppressed" if code == "confidential-items" else kind, f"{about}: {text}")
    issue["details"]["coding"] = [{"system": systems.SOURCE, "code": name, "display": title}]
    return issue


def _issue(severity: str, code: str, text: str, *, spine: str = "") -> dict[str, Any]:
    details: dict[str, Any] = {"text": text}
    if spine:
        details = {"coding": [{"system": systems.SPINE_ERROR, "code": spine}], "text": text}
    return {"severity": severity, "code": code, "details": details}


def _sources_header(reports: Sequence[SourceReport], names: Callable[[str], tuple[str, str]]) -> tuple[str, str]:
    """RFC 8941 dictionary: clients that drop outcome entries still see what is missing."""
    items = []
    for report in reports:
        aged = f';as-of="{_day(report.as_of)}"' if report.as_of is not None else ""
        items.append(f"{names(report.source)[0]}={report.state.value}{aged}")
    return ("Gateway-Sources", ", ".join(items))


def _receipt_header(receipt: Receipt) -> tuple[tuple[str, str], ...]:
    value = f"{receipt.event}.{receipt.writer}.{receipt.writer_seq}.{receipt.commitment}.{receipt.signature}"
    return (("Gateway-Receipt", value),)


def _receipt_identifier(receipt: Receipt) -> dict[str, str]:
    return {"system": systems.RECEIPT, "value": receipt.event}


def _day(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _who(caller: Caller) -> list[str]:
    return [caller.system, caller.organisation.code, f"{caller.staff.system}|{caller.staff.id}", caller.purpose.value]

"""Step 12, answer: a recorded disclosure -> Bundle or resource; a recorded denial -> OperationOutcome or the empty answer.

A denial that depends on the person, an unknown number and a permitted person with nothing to show give the same bytes
but for the receipt: one function makes all three. Source: FHIR R4 section 2.36 (bundle.html), 3.1.1.5 (search outcome).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from gateway import systems
from gateway.bundle.cursor import pack_audit_cursor, pack_cursor, unpack_cursor
from gateway.bundle.parts import Answer, Delivered, Look, encode, issue_of, receipt_header, receipt_identifier
from gateway.bundle.states import UNREACHED, is_everybodys, names_of, source_issue, sources_header, warning_issue, with_delivery
from gateway.bundle.task import parcel
from gateway.errors import GatewayError, Incomplete, NotFound
from gateway.model import (
    AccessRequest,
    Category,
    Deny,
    Disclosed,
    Disclosure,
    Mark,
    Permit,
    PersonId,
    Receipt,
    Recorded,
    SourceReport,
    SourceState,
)
from gateway.resource import name_of

__all__ = [
    "Answer",
    "Delivered",
    "Look",
    "answer",
    "denied",
    "outcome",
    "pack_cursor",
    "parcel",
    "refused",
    "searchset",
    "unpack_cursor",
    "view",
]

HELP = (
    "This answer holds what this caller may be shown by this route for this purpose. If you expected more, check the NHS "
    "number and your relationship with the person, then ask your organisation's information governance lead."
)
OUTCOME_URL = "urn:uuid:5d3a1c5e-52a5-4c0f-9f0e-3f1a7c3e9b10"  # always this one, so that alike answers stay alike to the byte
VIEWS = UUID("7c0b1f52-6e0b-4c5e-8f3a-2d9b6a41c000")  # what is worked out when asked has no address: one name in each answer
MORE_EVENTS = "There are older events than these: follow the link called next within five minutes, or narrow the dates."
ACCESS_UNSAID = (
    "CP-IS was not asked: the request did not say whether the visit is scheduled or unscheduled. Whether CP-IS knows of a plan "
    "is told to who says it, in the header Gateway-Access-Event."
)
NOT_USED = (
    "{} of this request {} and the answer is not narrowed by {}{}. The self link shows what was used, but for an NHS number."
)


def answer(recorded: Recorded[Disclosure], look: Look) -> Answer:
    """A recorded disclosure -> the answer. Raises `NotFound` or `Incomplete` (nothing left then but a status)."""
    disclosure = recorded.value
    request = disclosure.permit.value.facts.request
    reports = tuple(with_delivery(report, look) for report in disclosure.reports)
    if request.query.strict and any(report.state in UNREACHED for report in reports):
        raise Incomplete(reason="strict-and-a-source-missing")
    if request.query.interaction == "read":
        return _resource(recorded, reports, look)
    names = names_of(look, protected=_is_hidden(disclosure))
    if not disclosure.resources and not disclosure.withheld_known:
        if all(is_everybodys(report, look) for report in reports):
            names = names_of(look, protected=False)  # these are the states of everybody, so their names tell of nobody
        return _bundle(disclosure.permit.value, recorded.receipt, [], reports, names, look, person=None)
    entries = _entries(disclosure.resources, look)
    withheld = [issue_of("information", "suppressed", _withheld(name)) for name in sorted(disclosure.withheld_known)]
    links = []
    if disclosure.next_key is not None and disclosure.identity.person is not None:
        speaks_as = disclosure.identity.alias or disclosure.identity.person
        sealed = look.seal(pack_cursor(request.query, speaks_as, request.caller, disclosure.next_key, request.received_at))
        links.append({"relation": "next", "url": f"{look.base_url}/fhir?_cursor={sealed}"})
    person, permit = disclosure.identity.person, disclosure.permit.value
    return _bundle(permit, recorded.receipt, entries, reports, names, look, links=links, more=withheld, person=person)


def view(recorded: Recorded[Disclosure], resources: Sequence[Mapping[str, Any]], look: Look) -> Answer:
    """A recorded disclosure and what was worked out from it -> the answer: the view alone, with the sources' states.

    Nothing worked out is the empty answer. Raises `Incomplete`.
    """
    disclosure = recorded.value
    request = disclosure.permit.value.facts.request
    reports = tuple(with_delivery(report, look) for report in disclosure.reports)
    if request.query.strict and any(report.state in UNREACHED for report in reports):
        raise Incomplete(reason="strict-and-a-source-missing")
    if not resources:
        return _bundle(disclosure.permit.value, recorded.receipt, [], reports, names_of(look, protected=False), look, person=None)
    entries: list[bytes] = []
    for place, body in enumerate(resources):
        named = uuid5(VIEWS, f"{recorded.receipt.event}/{place}").urn
        entries += (encode({"fullUrl": named, "resource": body, "search": {"mode": "match"}}), b",")
    names = names_of(look, protected=_is_hidden(disclosure))
    return _bundle(disclosure.permit.value, recorded.receipt, entries, reports, names, look, person=disclosure.identity.person)


def denied(recorded: Recorded[Deny], look: Look) -> Answer:
    """A denial that follows from the person -> the empty answer, the same bytes as for nobody.

    Raises `NotFound` for a read, and `Incomplete` where it is raised for everybody.
    """
    deny = recorded.value
    request = deny.facts.request
    reports = tuple(with_delivery(SourceReport(name, SourceState.NOTHING), look) for name in sorted(deny.sources))
    is_read, unreached = request.query.interaction == "read", any(report.state in UNREACHED for report in reports)
    if unreached and (is_read or request.query.strict):
        raise Incomplete(reason="a-source-is-missing-for-everybody")
    if is_read:
        raise NotFound(reason=deny.reason)
    names = names_of(look, protected=False)
    return _bundle(deny, recorded.receipt, [], reports, names, look, person=None)


def refused(recorded: Recorded[Deny], status: int) -> Answer:
    """A denial that follows from the caller alone -> its reason and a helper."""
    deny = recorded.value
    issue = issue_of("error", "forbidden", deny.public_reason, spine="ACCESS_DENIED")
    helper = issue_of("information", "informational", f"Contact: {deny.contact}")
    body = encode({"resourceType": "OperationOutcome", "issue": [issue, helper]})
    return Answer(status, body, receipt_header(recorded.receipt), shows_records=True)


def outcome(error: GatewayError) -> bytes:
    """An error -> OperationOutcome bytes with its constant text."""
    severity = "fatal" if error.status == 500 else "error"
    issue = issue_of(severity, error.issue_code, error.public_text, spine=error.spine_code)
    if error.expression:
        issue["expression"] = [error.expression]
    return encode({"resourceType": "OperationOutcome", "issue": [issue]})


def searchset(
    resources: Sequence[Mapping[str, Any]], request: AccessRequest, receipt: Receipt, look: Look, *, last: int | None
) -> Answer:
    """Resources that are no person's record (AuditEvents) -> a searchset. `last`: the event after which there are more."""
    links = [{"relation": "self", "url": f"{look.base_url}/fhir/{min(request.query.types)}"}]
    entries: list[dict[str, Any]] = [
        {"fullUrl": f"{look.base_url}/fhir/{body['resourceType']}/{body['id']}", "resource": body, "search": {"mode": "match"}}
        for body in resources
    ]
    if last is not None:
        sealed = look.seal(pack_audit_cursor(request.query, request.caller, last, request.received_at))
        links.append({"relation": "next", "url": f"{look.base_url}/fhir?_cursor={sealed}"})
        entries.append(_outcome([issue_of("warning", "incomplete", MORE_EVENTS)]))  # clients drop links
    bundle = {"resourceType": "Bundle", "identifier": receipt_identifier(receipt), "type": "searchset", "link": links}
    if entries:
        bundle["entry"] = entries
    return Answer(200, encode(bundle), receipt_header(receipt), shows_records=True)


def _entries(resources: Sequence[Disclosed], look: Look) -> list[bytes]:
    """Resources -> their entries in pieces, each entry with its comma. An id of ours and a type of R4 need no escape."""
    starts: dict[str, bytes] = {}
    pieces: list[bytes] = []
    for item in resources:
        kind, own_id = name_of(item.body)
        start = starts.get(kind)
        if start is None:
            start = starts[kind] = b'{"fullUrl":' + encode(f"{look.base_url}/fhir/{kind}/")[:-1]
        pieces += (start, own_id.encode(), b'","resource":', item.encoded, b',"search":{"mode":"match"}},')
    return pieces


def _outcome(issues: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Issues -> the entry that says them. Its fullUrl leads nowhere: R4 wants one of each entry."""
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    return {"fullUrl": OUTCOME_URL, "resource": outcome, "search": {"mode": "outcome"}}


def _resource(recorded: Recorded[Disclosure], reports: Sequence[SourceReport], look: Look) -> Answer:
    disclosure = recorded.value
    if not disclosure.resources:
        if any(report.state in UNREACHED for report in reports):
            raise Incomplete(reason="source-of-the-resource-missing")
        raise NotFound(reason="nothing-disclosed")
    names = names_of(look, protected=_is_hidden(disclosure))
    headers = (*receipt_header(recorded.receipt), sources_header(reports, names))
    return Answer(200, disclosure.resources[0].encoded, headers, shows_records=True)


def _bundle(
    decision: Permit | Deny,
    receipt: Receipt,
    entries: list[bytes],
    reports: Sequence[SourceReport],
    names: Callable[[str], tuple[str, str]],
    look: Look,
    *,
    links: Sequence[dict[str, str]] = (),
    more: Sequence[dict[str, Any]] = (),
    person: PersonId | None,
) -> Answer:
    """`entries` are pieces of text: whatever they are of is copied once, into the answer's body."""
    request = decision.facts.request
    issues = [source_issue(report, names) for report in reports]
    issues += [warning_issue(report, area, code, names) for report in reports for area, code in report.warnings]
    if decision.access_unsaid:
        issues.append(issue_of("warning", "incomplete", ACCESS_UNSAID))
    if request.query.not_used:
        issues.append(issue_of("warning", "not-supported", _not_used(request.query.not_used)))
    issues += [*more, issue_of("information", "informational", HELP)]
    tags = [
        {
            "system": systems.SOURCE_STATE,
            "code": report.state.value,
            "display": f"{names(report.source)[1]}: {report.state.value}",
        }
        for report in reports
    ]
    bundle = {
        "resourceType": "Bundle",
        "meta": {"tag": tags} if tags else {},
        "identifier": receipt_identifier(receipt),
        "type": "searchset",
        "link": [{"relation": "self", "url": _self_link(request, look)}, *links],
    }
    if not tags:
        del bundle["meta"]
    headers = (*receipt_header(receipt), sources_header(reports, names))
    body = b"".join((encode(bundle)[:-1], b',"entry":[', *entries, encode(_outcome(issues)), b"]}"))
    return Answer(200, body, headers, shows_records=bool(entries))


def _withheld(category: Category) -> str:
    """A category -> that something of it is withheld, in English."""
    words = "CP-IS" if category is Category.CP_IS else category.value.replace("-", " ")
    return f"Something that is held here is withheld: {words}."


def _not_used(names: Sequence[str]) -> str:
    """Parameters left out -> how many, and the names that R4 has; any other name is the caller's own text."""
    known = ", ".join(name for name in names if name)
    many = len(names) != 1
    counted = f"{len(names)} parameters" if many else "1 parameter"
    return NOT_USED.format(
        counted, "were not used," if many else "was not used,", "them" if many else "it", f": {known}" if known else ""
    )


def _self_link(request: AccessRequest, look: Look) -> str:
    """The question as we understood it. A person asked for by NHS number is not named: no number is ever in a URL of ours."""
    query = request.query
    person = query.person if isinstance(query.person, str) else None
    counted = [f"_count={query.count}"] if query.count is not None else []
    if query.view:
        return f"{look.base_url}/fhir/Patient/{person}/${query.view}"
    if query.interaction == "everything":
        path, asked = f"Patient/{person}/$everything", [f"_type={','.join(sorted(query.types))}", *counted]
    else:
        path = name = min(query.types)
        asked = [("_id" if name == "Patient" else "patient") + f"={person}", *counted] if person else counted
    return f"{look.base_url}/fhir/{path}" + (f"?{'&'.join(asked)}" if asked else "")


def _is_hidden(disclosure: Disclosure) -> bool:
    """Whether locating facts go from this answer: then no source is named by its organisation either."""
    permit = disclosure.permit.value
    return permit.facts.protected or Mark.LOCATING in permit.strip

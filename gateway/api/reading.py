"""Step 2, read: HTTP -> `AccessRequest`. Everything a caller can send is checked here and nothing of it is echoed.

Source: FHIR R4 section 3.1.0 (http.html) and 3.1.1 (search.html); SMART App Launch 2.2 for what a token may carry.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway import nhs_number, systems
from gateway.api import form, r4_search
from gateway.bundle import unpack_cursor
from gateway.errors import (
    BadRequest,
    CursorRefused,
    IncompleteIdentifier,
    InvalidNhsNumber,
    InvalidParameter,
    NotAcceptable,
    NotFound,
    NotSupported,
    NumberWithoutSystem,
    OperationNotOffered,
    PersonNeeded,
)
from gateway.model import Access, AccessRequest, Caller, PersonId, Purpose, Query
from gateway.nhs_number import NhsNumber

ACCESS_EVENT = "gateway-access-event"  # CP-IS: scheduled or unscheduled, said for each request
PERMISSION_TO_VIEW = "gateway-permission-to-view"  # MIG's rule: asked of the person at the point of view, for this view only
NAMED = {
    ACCESS_EVENT: "Gateway-Access-Event",
    PERMISSION_TO_VIEW: "Gateway-Permission-To-View",
    "content-type": "Content-Type",
    "if-none-exist": "If-None-Exist",
}
VIEWED = frozenset({"Patient", "Encounter", "Immunization"})  # what the programme is worked out from
ACCESSES_OF = frozenset({"Flag"})  # whoever may see a plan may see who looked at it
FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_PERSON = re.compile(r"[a-z2-7]{26}", re.ASCII)
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,39}", re.ASCII)
_MEDIA = ("application/fhir+json", "application/json")
_REFUSED_ALWAYS = frozenset(
    (
        *("_include", "_revinclude", "_sort", "_summary", "_elements", "_total", "_contained", "_containedType", "_has"),
        *("_filter", "_query", "_text", "_content", "_list", "_lastUpdated"),
    )
)
_PATIENT_ID = frozenset({"patient", "subject", "patient:Patient", "subject:Patient"})
_PATIENT_IDENTIFIER = frozenset(
    name + joint + "identifier" for name in ("patient", "subject") for joint in (":", ".", ":Patient.")
)
_ORGANISATION = re.compile(r"(ods|gss|dfe-urn):[!-~]{1,60}", re.ASCII)
_OPERATIONS = frozenset((3, "Patient", name) for name in ("$everything", "$healthy-child-programme", "$cp-is-access-history"))
_NARROWER: Mapping[str, Callable[..., str]] = {"since": max, "until": min}
_AUDIT = frozenset({"agent", "agent:identifier", "organisation", "outcome", "purpose", "date"})


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading needs to know of this gateway."""

    types: frozenset[str]  # R4 types the active sources give, and Patient
    allow_test_numbers: bool
    page_count: int
    open_cursor: Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """The HTTP request, in the parts that reading looks at."""

    path: Sequence[str]  # segments after /fhir, decoded by nobody yet
    query: bytes  # raw
    form: bytes  # raw body of POST _search, or empty
    headers: Mapping[str, str]  # lower-case
    request_id: str
    correlation_id: str


def read_request(asked: Asked, caller: Caller, reading: Reading, now: datetime) -> AccessRequest:
    """HTTP -> `AccessRequest`. Raises `BadRequest` and its kinds, `NotFound`, `NotAcceptable`."""
    media_type(asked.headers, asked.query)
    strict = _prefers_strict(asked.headers)
    values = form.once(form.pairs(asked.query) + form.pairs(asked.form), repeatable=frozenset({"date"}))
    values.pop("_format", None)
    query = _query(list(asked.path), values, strict, reading, caller, now)
    permission, access = _permission_to_view(asked.headers), _access(asked.headers)
    return AccessRequest(caller, caller.purpose, query, asked.request_id, asked.correlation_id, now, permission, access)


def read_sending(asked: Asked, caller: Caller, resource_type: str, number: NhsNumber, now: datetime) -> AccessRequest:
    """What is submitted for delivery -> `AccessRequest` of interaction send. Raises `NotAcceptable`, `NotSupported`."""
    media_type(asked.headers, asked.query)
    values = form.once(form.pairs(asked.query))
    values.pop("_format", None)
    if values or "if-none-exist" in asked.headers:
        raise NotSupported(reason="unknown-parameter")
    query = Query("send", number, frozenset({resource_type}))
    return AccessRequest(caller, caller.purpose, query, asked.request_id, asked.correlation_id, now)


def media_type(headers: Mapping[str, str], query: bytes = b"") -> str:
    """Accept and `_format` -> the content type of the answer. Raises `NotAcceptable`."""
    accepted = headers.get("accept", "*/*")
    wanted = [value for name, value in form.pairs(query) if name == "_format"]
    if wanted and wanted[0] not in ("json", *_MEDIA):
        raise NotAcceptable(reason="format-not-offered")
    offers = [offer.split(";")[0].strip().lower() for offer in accepted.split(",")]
    if any(offer in ("*/*", "application/*", _MEDIA[0], "application/json+fhir") for offer in offers) or wanted:
        return _MEDIA[0]
    if _MEDIA[1] in offers:
        return _MEDIA[1]
    raise NotAcceptable(reason="accept-not-offered")


def no_such_route(path: str) -> NotFound | OperationNotOffered:
    """A path that leads nowhere -> what is said of it: a misspelt operation must not look like a person without a record."""
    if path.rpartition("/")[2].startswith("$"):
        return OperationNotOffered(reason="operation-not-offered")
    return NotFound(reason="no-such-route")


def _query(path: list[str], values: dict[str, list[str]], strict: bool, reading: Reading, caller: Caller, now: datetime) -> Query:
    match path:
        case [*_, operation] if operation.startswith("$") and (len(path), path[0], operation) not in _OPERATIONS:
            raise no_such_route(operation)
        case [] if "_cursor" in values:
            return _page(values, reading, caller, now)
        case ["Patient"] | ["Patient", "_search"]:
            return _patient_search(values, strict, reading)
        case ["AuditEvent"] | ["AuditEvent", "_search"]:
            return _audit_search(values, strict, reading)
        case ["Patient", person, "$everything"]:
            count, types = _count(values, reading), _types(values, reading)
            unused = _leftover(values, strict)
            return _digested(Query("everything", _person(person), types, count=count, strict=strict, not_used=unused))
        case ["Patient", person, "$healthy-child-programme"]:
            unused, types = _leftover(values, strict), VIEWED & reading.types
            view = "healthy-child-programme"
            return _digested(Query("everything", _person(person), types, strict=strict, view=view, not_used=unused))
        case ["Patient", person, "$cp-is-access-history"]:
            unused, view = _leftover(values, strict), "cp-is-access-history"
            return _digested(Query("everything", _person(person), ACCESSES_OF, strict=strict, view=view, not_used=unused))
        case [name] | [name, "_search"]:
            return _type_search(_type(name, reading), values, strict, reading)
        case [name, whole]:
            _leftover(values, strict)
            return _read(_type(name, reading), whole, strict)
    raise NotFound(reason="no-such-route")


def _patient_search(values: dict[str, list[str]], strict: bool, reading: Reading) -> Query:
    if "_id" in values:
        who: NhsNumber | PersonId = _person(values.pop("_id")[0])
    else:
        who = _number(_one(values, frozenset({"identifier"})), reading)
    count = _count(values, reading)
    unused = _leftover(values, strict)
    return _digested(Query("search", who, frozenset({"Patient"}), count=count, strict=strict, not_used=unused))


def _type_search(name: str, values: dict[str, list[str]], strict: bool, reading: Reading) -> Query:
    given = [key for key in values if key in _PATIENT_ID or key in _PATIENT_IDENTIFIER]
    if not given:
        raise PersonNeeded(reason="patient-needed", expression="patient")
    if len(given) != 1:
        raise InvalidParameter(reason="one-patient-needed", expression="patient")
    value = values.pop(given[0])[0]
    who: NhsNumber | PersonId = _number(value, reading) if given[0] in _PATIENT_IDENTIFIER else _person(value)
    count = _count(values, reading)
    unused = _leftover(values, strict)
    return _digested(Query("search", who, frozenset({name}), count=count, strict=strict, not_used=unused))


def _read(name: str, whole: str, strict: bool) -> Query:
    if not FHIR_ID.fullmatch(whole):
        raise InvalidParameter(reason="not-a-fhir-id")
    person, _, rest = whole.partition(".")
    if not _PERSON.fullmatch(person) or (name == "Patient") != (rest == ""):
        # Ours alone have this form; another form leads to nobody, and must look like it: an id of nobody.
        person, rest = "a" * 26, rest or "none"
    return _digested(Query("read", PersonId(person), frozenset({name}), resource_id=whole if rest else person, strict=strict))


def _audit_search(values: dict[str, list[str]], strict: bool, reading: Reading) -> Query:
    who: NhsNumber | PersonId | None = None
    for key in [key for key in values if key in _PATIENT_ID or key in _PATIENT_IDENTIFIER or key == "entity:identifier"]:
        value = values.pop(key)[0]
        if who is not None:
            raise InvalidParameter(reason="one-patient-at-most", expression="patient")
        who = _person(value) if key in _PATIENT_ID else _number(value, reading)
    audit: dict[str, str] = {}
    for key in [key for key in values if key in _AUDIT]:
        for value in values.pop(key):
            _narrow(audit, _audit_value(key, value))
    count = _count(values, reading)
    _leftover(values, strict=True)  # a question of the log that is misread would be answered about everybody
    return _digested(Query("audit-search", who, frozenset({"AuditEvent"}), count=count, strict=strict, audit=audit))


def _narrow(audit: dict[str, str], criteria: Mapping[str, str]) -> None:
    """One criterion more: of what is repeated all holds (FHIR R4 section 3.1.1), so of two days the narrower."""
    for name, value in criteria.items():
        if name not in audit:
            audit[name] = value
        elif name in _NARROWER:
            audit[name] = _NARROWER[name](audit[name], value, key=datetime.fromisoformat)
        else:  # by two spellings of one parameter
            raise BadRequest(reason="parameter-repeated")


def _audit_value(key: str, value: str) -> dict[str, str]:
    if not value:
        raise InvalidParameter(reason="empty-value", expression=key)
    if key == "date":
        prefix, day = (value[:2], value[2:]) if value[:2] in ("ge", "le", "gt", "lt", "eq") else ("eq", value)
        try:
            given = datetime.fromisoformat(day)
            start = (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
            # A date stands for its whole day, a time for its instant (FHIR R4 3.1.1.5.2: comparison of intervals).
            end = start + (timedelta(days=1) if len(day) <= len("2026-11-22") else timedelta(microseconds=1))
        except (ValueError, OverflowError) as error:  # or a day at the end of the calendar
            raise InvalidParameter(reason="not-a-date", expression="date") from error
        return {
            "eq": {"since": start.isoformat(), "until": end.isoformat()},
            "ge": {"since": start.isoformat()},
            "gt": {"since": end.isoformat()},
            "le": {"until": end.isoformat()},
            "lt": {"until": start.isoformat()},
        }[prefix]
    if key in ("agent", "agent:identifier"):
        return {"agent": _staff(value)}
    if key == "organisation" and not _ORGANISATION.fullmatch(value):
        raise IncompleteIdentifier(reason="not-an-organisation-code", expression=key)
    if key == "outcome" and value not in ("0", "4", "8", "12"):
        raise InvalidParameter(reason="not-an-outcome", expression="outcome")
    if key == "purpose" and value.rsplit("|", 1)[-1] not in set(Purpose):
        raise InvalidParameter(reason="not-a-purpose", expression="purpose")
    return {key: value.rsplit("|", 1)[-1] if key == "purpose" else value}


def _staff(value: str) -> str:
    """`system|id` as the log knows it; an AuditEvent names an organisation's own register by an absolute URI."""
    system, bar, own_id = value.partition("|")
    if not (system and bar and own_id):  # the log holds keyed hashes of both together: half of it finds nobody
        raise IncompleteIdentifier(reason="not-system-and-id", expression="agent")
    return f"{system.removeprefix(systems.STAFF_OF)}|{own_id}"


def _page(values: dict[str, list[str]], reading: Reading, caller: Caller, now: datetime) -> Query:
    """A sealed cursor -> the question it continues. Refused for anyone but the caller it was made for, and when late."""
    opened = reading.open_cursor(values.pop("_cursor")[0])
    _leftover(values, strict=True)  # the question is in the cursor: what is added to it would be passed over
    if opened is None:
        raise CursorRefused(reason="cursor-not-ours")
    return unpack_cursor(opened, caller, now)


def _type(name: str, reading: Reading) -> str:
    if not _TYPE.fullmatch(name):
        raise NotFound(reason="no-such-route")
    if name not in reading.types:
        raise NotSupported(reason="type-not-offered")
    return name


def _types(values: dict[str, list[str]], reading: Reading) -> frozenset[str]:
    if "_type" not in values:
        return reading.types
    wanted = frozenset(values.pop("_type")[0].split(","))
    if not wanted <= reading.types:
        raise NotSupported(reason="type-not-offered", expression="_type")
    return wanted


def _person(value: str) -> PersonId:
    value = value.removeprefix("Patient/")
    if not FHIR_ID.fullmatch(value):
        raise InvalidParameter(reason="not-a-fhir-id", expression="patient")
    return PersonId(value if _PERSON.fullmatch(value) else "a" * 26)


def _number(value: str, reading: Reading) -> NhsNumber:
    system, bar, digits = value.rpartition("|")
    if not bar or system != nhs_number.SYSTEM:
        raise NumberWithoutSystem(reason="identifier-system", expression="identifier")
    try:
        return nhs_number.parse(digits, allow_test=reading.allow_test_numbers)
    except nhs_number.NotAnNhsNumber as error:
        raise InvalidNhsNumber(reason="nhs-number", expression="identifier") from error


def _one(values: dict[str, list[str]], names: frozenset[str]) -> str:
    for name in names & values.keys():
        return values.pop(name)[0]
    raise PersonNeeded(reason="identifier-needed", expression=min(names))


def _count(values: dict[str, list[str]], reading: Reading) -> int | None:
    if "_count" not in values:
        return None
    text = values.pop("_count")[0]
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 6 and int(text) >= 1):
        raise InvalidParameter(reason="not-a-count", expression="_count")
    return min(int(text), reading.page_count)


def _leftover(values: dict[str, list[str]], strict: bool) -> tuple[str, ...]:
    """What no interaction here reads -> R4's own names, "" for any other, to be said in the answer. Raises `NotSupported`."""
    for name in values:
        stem = name.split(":")[0]
        if stem in _REFUSED_ALWAYS or stem in ("patient", "subject", "identifier"):
            raise NotSupported(reason="parameter-not-offered", expression=stem)
    if values and strict:
        raise NotSupported(reason="unknown-parameter")
    return tuple(sorted(stem if (stem := name.split(":")[0]) in r4_search.NAMES else "" for name in values))


def _prefers_strict(headers: Mapping[str, str]) -> bool:
    """RFC 7240 section 2: preferences are a list, and of one that is said twice the first counts."""
    said = headers.get("prefer", "").replace(" ", "").lower().replace(";", ",").split(",")
    return next((one for one in said if one.startswith("handling=")), "") in ("handling=strict", 'handling="strict"')


def _permission_to_view(headers: Mapping[str, str]) -> bool:
    """Asserted for this one request, and gone with it. Raises `InvalidParameter` for any other word."""
    said = headers.get(PERMISSION_TO_VIEW)
    if said is not None and said.strip(" ") != "given":
        raise InvalidParameter(reason="permission-to-view", expression=NAMED[PERMISSION_TO_VIEW])
    return said is not None


def _access(headers: Mapping[str, str]) -> Access:
    """What kind of visit this one request is about; unsaid stays unsaid. Raises `InvalidParameter` for any other word."""
    said = headers.get(ACCESS_EVENT)
    if said is None:
        return Access.UNSAID
    if said.strip(" ") not in (Access.SCHEDULED, Access.UNSCHEDULED):
        raise InvalidParameter(reason="access-event", expression=NAMED[ACCESS_EVENT])
    return Access(said.strip(" "))


def _digested(query: Query) -> Query:
    what = [query.interaction, sorted(query.types), query.resource_id, query.strict, sorted(query.audit.items())]
    text = json.dumps([*what, query.view] if query.view else what)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Query(
        query.interaction,
        query.person,
        query.types,
        query.resource_id,
        query.count,
        query.cursor,
        query.strict,
        digest,
        query.audit,
        query.view,
        query.not_used,
    )

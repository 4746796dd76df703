"""An STU3 message Bundle -> `Message`: whose it is, which event, who sent it, when, and the resources by type.

Both header styles are read: Event-MessageHeader-1 (NEMS) and DCH-MessageHeader-1 (Digital Child Health). Demographics are
used to say whose message it is, and go no further: the record that leaves here holds none.
Source: NHS Digital Events Management, generic event requirements.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal, cast
from zoneinfo import ZoneInfo

from gateway.adapter import Claim, SourceContractBroken, Tree, value_doubt
from gateway.connectors.drop import utc
from gateway.connectors.message_nodes import extension_of, is_locked, nhs_numbers, number_of, objects
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.systems import ODS_CODE

Change = Literal["new", "update", "delete"]

ROUTING: Final = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-RoutingDemographics-1"
_CHANGE: Final = (
    "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-MessageEventType-1",
    "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-DCH-MessageEventType-1",
)
_EVENT_SYSTEMS: Final = (
    "https://fhir.nhs.uk/STU3/CodeSystem/EventType-1",
    "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ChildHealthEventType-1",
)
_DIRECTORY: Final = re.compile(r"https://directory\.spineservices\.nhs\.uk/STU3/Organization/([A-Z0-9]{3,10})")
_ODS_ENDPOINT: Final = re.compile(r"urn:nhs-uk:addressing:ods:([A-Z0-9]{3,10})")
_ODS: Final = re.compile(r"[A-Z0-9]{3,10}")
_HERE: Final = ZoneInfo("Europe/London")
_HELD: Final = frozenset(  # types that a record may hold; the rest is used, or not read
    (
        "AllergyIntolerance",
        "CarePlan",
        "Communication",
        "Condition",
        "DiagnosticReport",
        "Encounter",
        "EpisodeOfCare",
        "Immunization",
        "MedicationStatement",
        "Observation",
        "Procedure",
        "QuestionnaireResponse",
        "RelatedPerson",
        "Specimen",
    )
)
_OF_FAMILY: Final = frozenset(("relationship", "name", "active", "period", "extension"))  # no number, address or telephone
SAME_NUMBER: Final = "a member of the family with the child's own NHS number"
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Message:
    """One message, read and checked."""

    event: str
    change: Change
    id: str
    sender: str  # "ods:..."
    as_of: datetime
    about: Claim
    business_id: str | None  # the focus's own identifier, "system|value"
    focus: str | None  # its resource type
    locked: bool
    people: Sequence[Mapping[str, Tree]]  # the Patients it is about, for what they tell of a death: shelved nowhere
    resources: Mapping[str, Sequence[Tree]]  # type -> resources of this person, each with its `key`
    types: frozenset[str]  # of every resource in the message
    identified: Mapping[str, Sequence[str]]  # type -> the identifiers of its resources, also where nothing of them is kept


def event_of(bundle: Tree) -> str:
    """A bundle -> the event its header names. Raises `SourceContractBroken` when it is no message."""
    event = header_of(bundle).get("event")
    if not isinstance(event, dict) or event.get("system") not in _EVENT_SYSTEMS or not isinstance(event.get("code"), str):
        raise SourceContractBroken("no event that the header names")
    return str(event["code"])


def read_message(bundle: Tree) -> Message:
    """A bundle -> its message. Raises `SourceContractBroken` with the reason it cannot be used."""
    header, index, event = header_of(bundle), index_of(bundle), event_of(bundle)
    change = _change(header)
    focus = _focus(header, index)
    patient = _patient(focus, index)
    if focus is None and change != "delete":
        raise SourceContractBroken("the focus of the message is not in it")
    business_id = _business_id(focus) if focus else None
    if business_id is None and change != "new":
        raise SourceContractBroken("an update or delete of nothing that has an identifier")
    return Message(
        event=event,
        change=change,
        id=_id(header, index),
        sender=_sender(header, index),
        as_of=_stamp(header),
        about=_claim(patient, header, change),
        business_id=business_id,
        focus=focus["resourceType"] if focus else None,
        locked=any(is_locked(node) for node in (bundle, *index.values())),
        people=() if patient is None else (patient,),
        resources={} if change == "delete" else _resources(index, patient, event),  # it may bring no Patient, and nothing is kept
        types=frozenset(node["resourceType"] for node in index.values()),
        identified=_identified(index),
    )


def read_change(bundle: Tree, *, of: str | None = None) -> Message:
    """A bundle that says a person's own entry changed -> its message, which holds no more than whose it is.

    Where they live, who their GP is and whether they live is asked of the tracer, never read here: addresses "flip-flop", and a
    death can be taken back. `of`: its reader has found whose it is, of several people. Raises `SourceContractBroken`.
    """
    header, index = header_of(bundle), index_of(bundle)
    people = [node for node in index.values() if node["resourceType"] == "Patient"]
    return Message(
        event=event_of(bundle),
        change=_change(header),
        id=_id(header, index),
        sender=_sender(header, index),
        as_of=_stamp(header),
        about=Claim(nhs_number=of or _one_number(people, header)),
        business_id=None,
        focus=None,
        locked=False,
        people=people,
        resources={},
        types=frozenset(),
        identified={},
    )


def header_of(bundle: Tree) -> dict[str, Tree]:
    """A message Bundle -> its MessageHeader. Raises `SourceContractBroken` when it is no message."""
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle" or bundle.get("type") != "message":
        raise SourceContractBroken("not a message Bundle")
    first = (bundle.get("entry") or [{}])[0].get("resource", {})
    if first.get("resourceType") != "MessageHeader":
        raise SourceContractBroken("the first entry is not a MessageHeader")
    return cast(dict[str, Tree], first)


def index_of(bundle: Tree) -> dict[str, dict[str, Tree]]:
    """A message -> its resources by their fullUrl. Raises `SourceContractBroken` for an entry without one of its own."""
    found: dict[str, dict[str, Tree]] = {}
    for entry in bundle["entry"]:
        url = entry.get("fullUrl")
        if not isinstance(url, str) or url in found:
            raise SourceContractBroken("an entry without a fullUrl of its own")
        found[url] = entry["resource"]
    return found


def found_in(reference: Tree, index: Mapping[str, dict[str, Tree]]) -> dict[str, Tree] | None:
    """A reference -> the resource of the message that it points to."""
    url = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(url, str):
        return None
    if url in index:
        return index[url]
    kind, _, own_id = url.rpartition("/")
    return next((node for node in index.values() if own_id and node["resourceType"] == kind and node.get("id") == own_id), None)


def _focus(header: Mapping[str, Tree], index: Mapping[str, dict[str, Tree]]) -> dict[str, Tree] | None:
    return next((node for node in (found_in(each, index) for each in objects(header.get("focus"))) if node), None)


def _patient(focus: Mapping[str, Tree] | None, index: Mapping[str, dict[str, Tree]]) -> dict[str, Tree] | None:
    named = found_in((focus or {}).get("patient") or (focus or {}).get("subject"), index)
    if named is not None:
        if named["resourceType"] != "Patient":
            raise SourceContractBroken("the focus is about something other than a person")
        return named
    people = [node for node in index.values() if node["resourceType"] == "Patient"]
    if len(people) > 1:
        raise SourceContractBroken("several people, and the focus names none of them")
    return people[0] if people else None


def _change(header: Mapping[str, Tree]) -> Change:
    value = extension_of(header, _CHANGE).get("valueCodeableConcept")
    codes = [coding.get("code") for coding in objects(value.get("coding") if isinstance(value, dict) else None)]
    if len(codes) == 1 and codes[0] in ("new", "update", "delete"):
        return cast(Change, codes[0])
    raise SourceContractBroken("no message type of new, update or delete")


def _id(header: Mapping[str, Tree], index: Mapping[str, dict[str, Tree]]) -> str:
    return _own_id(header, next(iter(index)))


def _own_id(node: Mapping[str, Tree], url: str) -> str:
    own = node.get("id")
    return own if isinstance(own, str) and own else url.removeprefix("urn:uuid:")


def _sender(header: Mapping[str, Tree], index: Mapping[str, dict[str, Tree]]) -> str:
    responsible = header.get("responsible")
    organisation = found_in(responsible, index) or {}
    for identifier in objects(organisation.get("identifier")):
        value = identifier.get("value")
        if identifier.get("system") == ODS_CODE and isinstance(value, str) and _ODS.fullmatch(value):
            return f"ods:{value}"
    source = header.get("source")
    for pattern, node, name in ((_DIRECTORY, responsible, "reference"), (_ODS_ENDPOINT, source, "endpoint")):
        text = node.get(name) if isinstance(node, dict) else None
        if isinstance(text, str) and (match := pattern.fullmatch(text)):
            return f"ods:{match[1]}"
    raise SourceContractBroken("no responsible organisation with an ODS code")


def _stamp(header: Mapping[str, Tree]) -> datetime:
    meta = header.get("meta")
    stamp = (meta.get("lastUpdated") if isinstance(meta, dict) else None) or header.get("timestamp")
    return utc(stamp if isinstance(stamp, str) else "")


def _one_number(people: Sequence[Mapping[str, Tree]], header: Mapping[str, Tree]) -> str:
    """The NHS number that header and body agree on."""
    routed = extension_of(extension_of(header, (ROUTING,)), ("nhsNumber",)).get("valueIdentifier")
    said = [number_of(routed)] if isinstance(routed, dict) and routed.get("value") else []
    said += [number_of(each) for node in people for each in objects(node.get("identifier")) if each.get("system") == NHS_NUMBER]
    if not said:
        raise SourceContractBroken("no NHS number in the message")
    if len(set(said)) > 1:
        raise SourceContractBroken("the NHS numbers in the message differ")
    return said[0]


def _claim(patient: Mapping[str, Tree] | None, header: Mapping[str, Tree], change: Change) -> Claim:
    number = _one_number([patient] if patient is not None else [], header)
    if patient is None and change != "delete":
        raise SourceContractBroken("no NHS number in the message")
    routed_days = _days(extension_of(extension_of(header, (ROUTING,)), ("birthDateTime",)).get("valueDateTime"))
    born = _day((patient or {}).get("birthDate"))
    if born and routed_days and born not in routed_days:
        raise SourceContractBroken("the birth dates in the message differ")
    if not (born or routed_days) and change != "delete":
        raise SourceContractBroken("no birth date in the message")
    return Claim(nhs_number=number, birth_date=born or next(iter(routed_days), None))


def _day(text: Tree) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if isinstance(text, str) and _DAY.match(text) else None
    except ValueError:
        return None


def _days(text: Tree) -> tuple[date, ...]:
    """A moment of birth -> the day it says, and the day it was here: some senders write it in UTC."""
    said = _day(text)
    try:
        here = datetime.fromisoformat(text).astimezone(_HERE).date() if isinstance(text, str) and "T" in text else None
    except (ValueError, OverflowError):
        here = None
    return tuple(day for day in (here, said) if day)


def _resources(index: Mapping[str, dict[str, Tree]], patient: dict[str, Tree] | None, event: str) -> dict[str, list[Tree]]:
    found: dict[str, list[Tree]] = {}
    for url, node in index.items():
        kind = node["resourceType"]
        if kind not in _HELD:
            continue
        parts = _parts(node) if kind == "Observation" else {}
        for each in (node, *parts.values()):
            if not _is_about(each.get("patient") or each.get("subject"), patient, index):
                raise SourceContractBroken("a resource about another person than the message")
        if kind == "RelatedPerson" and patient is not None and nhs_numbers(node) & nhs_numbers(patient):
            raise SourceContractBroken(SAME_NUMBER)
        key = _key(node, url, event)
        whole = {name: value for name, value in node.items() if name != "contained" or not parts}
        found.setdefault(kind, []).append(_own(whole, key, key, index, event))
        found[kind] += [_own(part, f"{key}#{own_id}", key, index, event) for own_id, part in parts.items()]
    return found


def _is_about(said: Tree, patient: dict[str, Tree] | None, index: Mapping[str, dict[str, Tree]]) -> bool:
    """Whether a resource's reference to a person leads to this one. One that leads nowhere in the message could be of anybody."""
    if not isinstance(said, dict) or not said.keys() & {"reference", "identifier"}:
        return True
    target = found_in(said, index)
    return target is not None and target is patient


def _own(node: Mapping[str, Tree], key: str, whole: str, index: Mapping[str, dict[str, Tree]], event: str) -> Tree:
    """A resource as the record holds it. `whole` is the key of the resource whose `#part` its references may name."""
    kept = {name: value for name, value in node.items() if name not in ("resourceType", "meta", "id", "text")}
    if node["resourceType"] == "RelatedPerson":
        kept = {name: value for name, value in kept.items() if name in _OF_FAMILY}
    own = {name: _logical(value, index, event, whole) for name, value in kept.items()}
    doubt = value_doubt(node) if node["resourceType"] == "Observation" else ""
    if doubt == "told-alike":  # R4 has one place for it
        own = {name: value for name, value in own.items() if not name.startswith("value")}
    elif doubt:
        own["doubt"] = doubt
    return {**own, "key": key}


def _parts(node: Mapping[str, Tree]) -> dict[str, dict[str, Tree]]:
    """The observations inside an observation, such as the scores of one questionnaire, by their id within it."""
    inside = list(objects(node.get("contained")))
    if not all(each.get("resourceType") == "Observation" and isinstance(each.get("id"), str) for each in inside):
        return {}
    return {each["id"]: each for each in inside}


def _key(node: Mapping[str, Tree], url: str, event: str) -> str:
    """What a resource is called within its sender. A visit belongs to its event: several tell of one visit, each its own part."""
    own = (node["resourceType"] != "RelatedPerson" and _business_id(node)) or _own_id(node, url)  # theirs can be an NHS number
    return f"{event} {own}" if node["resourceType"] == "Encounter" else own


def _identified(index: Mapping[str, dict[str, Tree]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in index.values():
        if own := _business_id(node):
            found.setdefault(node["resourceType"], []).append(own)
    return found


def _business_id(node: Mapping[str, Tree]) -> str | None:
    said = node.get("identifier")
    for identifier in objects([said] if isinstance(said, dict) else said):
        system, value = identifier.get("system"), identifier.get("value")
        if isinstance(system, str) and isinstance(value, str) and value.strip():
            return f"{system}|{value}"
    return None


def _logical(value: Tree, index: Mapping[str, dict[str, Tree]], event: str, whole: str) -> Tree:
    """A value with every reference inside the bundle made to stand by itself: the identifier and name of what it points to."""
    if isinstance(value, list):
        return [_logical(each, index, event, whole) for each in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("reference")
    if isinstance(reference, str) and reference.startswith("#"):
        return {"key": whole + reference}
    target = found_in(value, index)
    if target is None:
        return {name: _logical(each, index, event, whole) for name, each in value.items()}
    kind = target["resourceType"]
    if kind == "Patient":
        return {"reference": "Patient"}  # the person of the message; no name beside it
    if kind == "RelatedPerson":
        return {}  # a mother is not the child's record: neither her name nor her number
    if kind in ("Encounter", "Observation", "DiagnosticReport"):
        url = next(url for url, node in index.items() if node is target)
        return {"key": _key(target, url, event)}  # as its own resource says it
    if kind == "Medication":
        return {"code": target.get("code")}  # what it is says all that a statement needs of it
    display = _display(target) or value.get("display")
    said = target.get("identifier")
    listed = objects([said] if isinstance(said, dict) else said)
    identifiers = [each for each in listed if each.get("system") and each.get("value")]
    identifier = {"system": identifiers[0]["system"], "value": identifiers[0]["value"]} if identifiers else None
    return {name: part for name, part in (("identifier", identifier), ("display", display)) if part}


def _display(node: Mapping[str, Tree]) -> str | None:
    name = node.get("name")
    if isinstance(name, str):
        return name
    for human in objects(name):
        if isinstance(human.get("text"), str):
            return str(human["text"])
        lists = [part for part in (human.get("prefix"), human.get("given"), [human.get("family")]) if isinstance(part, list)]
        if text := " ".join(word for part in lists for word in part if isinstance(word, str)):
            return text
    return None

"""A structured record, split: STU3 Bundle -> one `SourceRecord` for each clinical resource, and what its Lists warn of.

Three things that only the whole Bundle shows are done here, because a mapping sees one record: whose record it is, which
allergies have ended, and which business key each reference leads to. Lists are told apart by code, never by title.

Source: GP Connect Access Record Structured 1.6.2, "Using the List resource", "Resource population".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from adapters.gp import answer, lists
from adapters.gp.links import (
    Json,
    Leads,
    are_one,
    business_identifier,
    dicts,
    own_id,
    reference_of,
    relinked,
    staff_names,
    text_of,
    token,
)
from gateway.adapter import Claim, SourceContractBroken, SourceFacts, SourceRecord, together, value_doubt

SCHEMAS = {
    "AllergyIntolerance": "gpc-allergyintolerance-stu3",
    "Immunization": "gpc-immunization-stu3",
    "Condition": "gpc-condition-stu3",
    "MedicationRequest": "gpc-medicationrequest-stu3",
    "MedicationStatement": "gpc-medicationstatement-stu3",
    "Medication": "gpc-medication-stu3",
    "DiagnosticReport": "gpc-diagnosticreport-stu3",
    "DocumentReference": "gpc-documentreference-stu3",
    "Encounter": "gpc-encounter-stu3",
    "List": "gpc-list-stu3",
    "Observation": "gpc-observation-stu3",
    "ProcedureRequest": "gpc-procedurerequest-stu3",
    "QuestionnaireResponse": "gpc-questionnaireresponse-stu3",
    "ReferralRequest": "gpc-referralrequest-stu3",
    "Specimen": "gpc-specimen-stu3",
}
R4_TYPES = {"ProcedureRequest": "ServiceRequest", "ReferralRequest": "ServiceRequest"}  # every other keeps its name
OTHERS = frozenset({"HealthcareService", "Location", "Organization", "Practitioner", "PractitionerRole", "RelatedPerson"})
OTHER = "gpc-other-stu3"  # people and places: named where they are referred to, no resources of their own
DEEPEST = 3  # questions below questions that the map of questionnaires has lines for
UNREADABLE = "gpc-unreadable-entry"  # no resource, or of a type not known: no map reads it, so it is refused with its place

_FRAME = frozenset({"Patient", "OperationOutcome"})  # read here: whose record, which area is missing
_NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
_UNKNOWN = "another type"  # a foreign word never becomes a locator
_GIVEN = frozenset(SCHEMAS)
_KNOWN = _GIVEN | _FRAME | OTHERS
_ACT_CODE = frozenset({"http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"})


@dataclass(frozen=True, slots=True)
class Split:
    """A structured record in parts."""

    about: Claim
    facts: SourceFacts
    records: tuple[SourceRecord, ...]


@dataclass(slots=True)
class _Entry:
    where: str
    resource: Json
    kind: str = UNREADABLE
    local: str = ""  # its id in this answer
    code: str = ""  # of a List
    contained_in: str = ""  # code of the List that contains it, and that List's id
    contained_by: str = ""
    target: str = ""  # `Type/key`, once the whole record has been seen

    @property
    def name(self) -> str:
        """What a reference to it says; its place where it has no id."""
        return f"{self.kind}/{self.local}" if self.local else self.where


def split(bundle: Mapping[str, Any], *, as_of: datetime | None = None) -> Split:
    """A Bundle -> its parts. `as_of` None: the Bundle's own time, or that of its newest List.

    Raises `SourceContractBroken` when it does not hold exactly one Patient with one NHS number, or names another Patient.
    """
    try:
        return _split(bundle, as_of)
    except RecursionError:
        raise SourceContractBroken("the record is nested deeper than any record is") from None


def pieces(body: bytes, *, as_of: datetime, schemas: frozenset[str]) -> Iterator[Claim | SourceFacts | SourceRecord]:
    """Bytes -> whose record it is, what it warns of, and its records of these schemas, many in one: for another process.

    Raises `SourceContractBroken`.
    """
    whole = split(answer.bundle(body), as_of=as_of)
    yield whole.about
    yield whole.facts
    yield from together([record for record in whole.records if record.schema in schemas])


def alone(resource: Json) -> tuple[SourceRecord, ...]:
    """One resource, saved to a file by itself -> its records. It does not say whose it is, so no answer is ever made of it.

    Raises `SourceContractBroken` for one that a structured record gives nothing of.
    """
    kind = resource["resourceType"]
    if kind in _FRAME:
        raise SourceContractBroken("a Patient or an OperationOutcome by itself: nothing of it is given")
    if kind not in SCHEMAS and kind not in OTHERS:
        raise SourceContractBroken("a resource by itself, of a type that a structured record does not have")
    records = _of_nobody(resource, [{"resource": resource}])
    return tuple(replace(record, where=record.where.replace("entry 1", "by itself", 1)) for record in records)


def names_a_patient(bundle: Json) -> bool:
    """Whether a Bundle holds somebody's Patient, so that it can be a record."""
    held = (entry.get("resource") for entry in dicts(bundle, "entry"))
    return any(isinstance(resource, dict) and resource.get("resourceType") == "Patient" for resource in held)


def cut_out(bundle: Json) -> tuple[SourceRecord, ...]:
    """A collection without its Patient, saved to a file -> its records. They are nobody's, so no answer is ever made of them.

    Raises `SourceContractBroken` where they name more than one Patient, or nothing of a record is there.
    """
    return _of_nobody(bundle, bundle["entry"])


def _of_nobody(whole: Json, entries: list[Any]) -> tuple[SourceRecord, ...]:
    try:
        found = list(_entries(entries))
        resources = [entry.resource for entry in found]
        if len({reference for each in resources for reference in _subjects(each)}) > 1:
            raise SourceContractBroken("resources of more than one Patient, and none of them in the file")
        listed = [entry.resource for entry in found if entry.kind == "List"]
        clinical = [entry for entry in found if entry.kind not in _FRAME]
        if not any(entry.kind in SCHEMAS or entry.kind in OTHERS for entry in clinical):
            raise SourceContractBroken("the record does not hold exactly one Patient")
        leads = Leads({**_beside(resources), **_links(clinical)}, staff_names(resources), _GIVEN)
        return tuple(_records(clinical, leads, lists.ended(listed), _time_of(whole, listed), Claim()))
    except RecursionError:
        raise SourceContractBroken("the record is nested deeper than any record is") from None


def _subjects(resource: Json) -> set[str]:
    said = {reference_of(resource.get(name)) for name in ("patient", "subject")}
    return {reference for reference in said if "Patient/" in reference}


def _beside(value: Any) -> dict[str, str]:
    """What a resource by itself refers to was not withheld but is not in the file: each reference to it leads to a key."""
    if isinstance(value, list):
        return {said: target for part in value for said, target in _beside(part).items()}
    if not isinstance(value, dict):
        return {}
    said = reference_of(value)
    before, _, local = said.rpartition("/")
    kind = before.rpartition("/")[2]
    own = {said: f"{kind}/{token(local)}"} if kind in SCHEMAS and local else {}
    return own | _beside(list(value.values()))


def _split(bundle: Mapping[str, Any], as_of: datetime | None) -> Split:
    entries = list(_entries(bundle["entry"]))
    patient = _one_patient(entries)
    about = _claim(patient)
    itself = f"Patient/{patient.get('id')}"
    resources = [entry.resource for entry in entries]
    listed = [entry.resource for entry in entries if entry.kind == "List"]
    when = as_of or _time_of(bundle, listed)
    for resource in resources:
        _check_subject(resource, itself)
    clinical = [entry for entry in entries if entry.kind not in _FRAME]
    leads = Leads(_links(clinical), staff_names(resources), _GIVEN, itself)
    records = tuple(_records(clinical, leads, lists.ended(listed), when, about))
    return Split(about, SourceFacts(warnings=lists.warnings(resources), as_of=when), records)


def _entries(listed: list[Any]) -> Iterator[_Entry]:
    for number, item in enumerate(listed, start=1):
        resource = item.get("resource") if isinstance(item, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(resource, dict) or not isinstance(kind, str):
            yield _Entry(f"entry {number}", {"resourceType": UNREADABLE})
            continue
        where = f"entry {number}, {kind if kind in _KNOWN else _UNKNOWN}"
        if kind != "List":
            yield _Entry(where, resource, kind, own_id(resource))
            continue
        code, local = lists.code_of(resource), own_id(resource)
        yield _Entry(where, resource, kind, local, code)
        for inner, contained in enumerate(dicts(resource, "contained"), start=1):
            if contained.get("resourceType") == "AllergyIntolerance":
                place = f"{where}, contained {inner}, AllergyIntolerance"
                yield _Entry(place, contained, "AllergyIntolerance", own_id(contained), contained_in=code, contained_by=local)


def _one_patient(entries: list[_Entry]) -> Json:
    patients = [entry.resource for entry in entries if entry.kind == "Patient"]
    if len(patients) != 1:
        raise SourceContractBroken("the record does not hold exactly one Patient")
    return patients[0]


def _claim(patient: Json) -> Claim:
    numbers = {
        "".join(text_of(identifier.get("value")).split())
        for identifier in dicts(patient, "identifier")
        if text_of(identifier.get("system")).strip().lower() == _NHS_NUMBER.lower() and identifier.get("use") != "old"
    }
    number = numbers.pop() if len(numbers) == 1 else None
    if not number:
        raise SourceContractBroken("the record's Patient does not name one NHS number")
    born = patient.get("birthDate")
    try:
        return Claim(nhs_number=number, birth_date=date.fromisoformat(born.strip()) if born else None)
    except (AttributeError, TypeError, ValueError):
        raise SourceContractBroken("the record's Patient has a birth date that is none") from None


def _check_subject(resource: Json, itself: str) -> None:
    for name in ("patient", "subject"):
        said = reference_of(resource.get(name))
        if said and said != itself and "Patient/" in said:
            raise SourceContractBroken("a resource of the record names another Patient")


def _links(clinical: list[_Entry]) -> dict[str, str]:
    """What a reference to each given resource may say (or, without id, its place) -> `Type/key`.

    The business identifier outlives a request, the id need not. Two different resources under one identifier keep
    apart by their ids; two equal ones are one. Lists of one answer share ids or have none: their code tells them apart.
    """
    links: dict[str, str] = {}
    owner: dict[str, Json] = {}
    for entry in clinical:
        kind, resource, local = entry.kind, entry.resource, entry.local
        if kind not in SCHEMAS:
            continue
        business = business_identifier(resource)
        apart = (kind,) if kind in R4_TYPES else ()  # two kinds that become one type never share a key
        target = f"{kind}/{token(*apart, business or local or entry.code or entry.where)}"
        first = owner.setdefault(target, resource)
        if first is not resource and not are_one(first, resource):
            target = f"{kind}/{token(*apart, business, local or entry.where)}"
        links.setdefault(entry.name, target)  # an id that two resources share leads to the first
        entry.target = target
        if entry.contained_by:
            links[f"List/{entry.contained_by}#{local}"] = target
    return links


def _records(clinical: list[_Entry], leads: Leads, ended: frozenset[str], when: datetime, about: Claim) -> Iterator[SourceRecord]:
    seen: set[str] = set()
    for entry in clinical:
        kind, resource, where = entry.kind, entry.resource, entry.where
        if kind == UNREADABLE:
            yield SourceRecord(UNREADABLE, {}, where, when, about)
            continue
        if kind not in SCHEMAS:
            known = kind in OTHERS
            yield SourceRecord(OTHER if known else UNREADABLE, {kind if known else _UNKNOWN: resource}, where, when, about)
            continue
        if entry.target in seen:
            continue  # sent twice, word for word
        seen.add(entry.target)
        inside = _inside(resource, leads) if "contained" in resource and kind == "List" else leads
        data: Json = {"resource": relinked(resource, inside), "key": entry.target[len(kind) + 1 :]}
        _add_what_the_bundle_shows(data, entry, ended)
        yield SourceRecord(SCHEMAS[kind], data, where, when, about, _is_locked(resource))


def _inside(listed: Json, leads: Leads) -> Leads:
    """A List names what it contains by `#id`, which means something inside that List only."""
    names = {own_id(inner): f"{inner.get('resourceType')}/{own_id(inner)}" for inner in dicts(listed, "contained")}
    links = leads.links
    return replace(leads, inside={f"#{local}": links[name] for local, name in names.items() if name in links})


def _add_what_the_bundle_shows(data: Json, entry: _Entry, ended: frozenset[str]) -> None:
    kind, resource = entry.kind, entry.resource
    if entry.contained_in == lists.ENDED_ALLERGIES or (ended and entry.name in ended):
        data["list"] = "ended"
    if kind == "Immunization" and not resource.get("date"):
        data["undated"] = "unknown"  # R4 wants an occurrence; the day of recording is never one
    if kind == "Encounter" and not resource.get("class"):
        data["classless"] = "UNK"  # R4 wants a class, and GP Connect has none
    if kind == "Observation":
        _settle_value(data)
    if kind == "QuestionnaireResponse" and (why := _not_in_r4(resource)):
        data["deeper"] = why
    if kind == "List":
        data["resource"] = lists.cleaned(data["resource"], _GIVEN)
        said = lists.standard_notes(resource)
        if said:
            data["caveat"] = said


def _settle_value(data: Json) -> None:
    """R4 has one place for a value that STU3 says twice: told alike it is told once; told otherwise nothing is made of it."""
    observation = data["resource"]
    doubt = value_doubt(observation)
    if doubt == "told-alike":
        data["resource"] = {name: value for name, value in observation.items() if not name.startswith("value")}
    elif doubt:
        data["doubt"] = doubt


def _not_in_r4(form: Json) -> str:
    """Why the questions of a form have no place in R4 (qrs-1: an answer, or questions below it, not both), or in its map."""
    if _depth(form) > DEEPEST:
        return "depth"
    return "fork" if any(_forks(item) for item in dicts(form, "item")) else ""


def _forks(item: Json) -> bool:
    answers, beside = dicts(item, "answer"), dicts(item, "item")
    below = [inner for answer in answers for inner in dicts(answer, "item")]
    return bool(answers and beside) or any(map(_forks, below + beside))


def _depth(node: Any) -> int:
    """How many questions deep a questionnaire goes, below its items and below their answers."""
    below = [part for name in ("item", "answer") for part in dicts(node, name)] if isinstance(node, dict) else []
    own = 1 if isinstance(node, dict) and "linkId" in node else 0
    return own + max(map(_depth, below), default=0)


def _is_locked(resource: Json) -> bool:
    """A security label that we do not know is a lock. NOPAT is known: it is carried to the mark not-for-family."""
    meta = resource.get("meta")
    if "securityLabel" not in resource and (meta.__class__ is not dict or "security" not in meta):
        return False  # nearly every one there is
    labels = dicts(meta, "security")
    labels += [coding for label in dicts(resource, "securityLabel") for coding in dicts(label, "coding")]
    return any(text_of(label.get("system")).strip() not in _ACT_CODE or label.get("code") != "NOPAT" for label in labels)


def _time_of(bundle: Mapping[str, Any], lists: list[Json]) -> datetime:
    meta = bundle.get("meta")
    stamped = [meta.get("lastUpdated")] if isinstance(meta, dict) else []
    for text in (*stamped, *sorted((str(listed.get("date", "")) for listed in lists), reverse=True)):
        try:
            when = datetime.fromisoformat(str(text))
        except ValueError:
            continue
        if when.tzinfo is not None:
            return when.astimezone(UTC)
    return datetime.now(UTC)  # an undated file is as old as its reading: nothing else is known

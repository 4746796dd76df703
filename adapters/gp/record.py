"""A structured record, split: STU3 Bundle -> one `SourceRecord` for each clinical resource, and what its Lists warn of.

Three things that only the whole Bundle shows are done here, because a mapping sees one record: whose record it is, which
allergies have ended, and which business key each reference leads to. Lists are told apart by code, never by title.

Source: GP Connect Access Record Structured 1.6.2, "Using the List resource", "Resource population".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from adapters.gp import answer, lists
from adapters.gp.entries import UNKNOWN, Entry, ended, entries, keyed
from adapters.gp.kinds import DEEPEST, FRAME, GIVEN, OTHER, OTHERS, SCHEMAS, UNREADABLE
from adapters.gp.labels import Covered, covered
from adapters.gp.links import Json, Leads, Modified, dicts, reference_of, relinked, staff_names, token
from adapters.gp.subject import check_subject, claim_of, is_of_a_thing, names_nobody, one_patient, subjects
from gateway.adapter import Claim, SourceContractBroken, SourceFacts, SourceRecord, together, value_doubt


@dataclass(frozen=True, slots=True)
class Split:
    """A structured record in parts."""

    about: Claim
    facts: SourceFacts
    records: tuple[SourceRecord, ...]


def split(bundle: Mapping[str, Any], *, as_of: datetime | None = None, asked: frozenset[str] = frozenset()) -> Split:
    """A Bundle -> its parts. `as_of` None: the Bundle's own time, or that of its newest List. `asked`: parameters of the request.

    Raises `SourceContractBroken` when it does not hold exactly one Patient with one NHS number, or names another Patient.
    """
    try:
        return _split(bundle, as_of, asked)
    except RecursionError:
        raise SourceContractBroken("the record is nested deeper than any record is") from None


def pieces(
    body: bytes, *, as_of: datetime, schemas: frozenset[str], asked: frozenset[str] = frozenset()
) -> Iterator[Claim | SourceFacts | SourceRecord]:
    """Bytes -> whose record it is, what it warns of, and its records of these schemas, many in one: for another process.

    Raises `SourceContractBroken`.
    """
    whole = split(answer.bundle(body), as_of=as_of, asked=asked)
    yield whole.about
    yield whole.facts
    yield from together([record for record in whole.records if record.schema in schemas])


def alone(resource: Json) -> tuple[SourceRecord, ...]:
    """One resource, saved to a file by itself -> its records. It does not say whose it is, so no answer is ever made of it.

    Raises `SourceContractBroken` for one that a structured record gives nothing of.
    """
    kind = resource["resourceType"]
    if kind in FRAME:
        raise SourceContractBroken("a Patient or an OperationOutcome by itself: nothing of it is given")
    if kind not in SCHEMAS and kind not in OTHERS:
        raise SourceContractBroken("a resource by itself, of a type that a structured record does not have")
    records = _of_nobody(resource, [{"resource": resource}])
    return tuple(structs.replace(record, where=record.where.replace("entry 1", "by itself", 1)) for record in records)


def names_a_patient(bundle: Json) -> bool:
    """Whether a Bundle holds somebody's Patient, so that it can be a record."""
    held = (entry.get("resource") for entry in dicts(bundle, "entry"))
    return any(isinstance(resource, dict) and resource.get("resourceType") == "Patient" for resource in held)


def cut_out(bundle: Json) -> tuple[SourceRecord, ...]:
    """A collection without its Patient, saved to a file -> its records. They are nobody's, so no answer is ever made of them.

    Raises `SourceContractBroken` where they name more than one Patient, or nothing of a record is there.
    """
    return _of_nobody(bundle, bundle["entry"])


def _of_nobody(whole: Json, given: list[Any]) -> tuple[SourceRecord, ...]:
    try:
        found = list(entries(given))
        resources = [entry.resource for entry in found]
        if len({reference for each in resources for reference in subjects(each)}) > 1:
            raise SourceContractBroken("resources of more than one Patient, and none of them in the file")
        listed = [entry.resource for entry in found if entry.kind == "List"]
        clinical = [entry for entry in found if entry.kind not in FRAME]
        if not any(entry.kind in SCHEMAS or entry.kind in OTHERS for entry in clinical):
            raise SourceContractBroken("the record does not hold exactly one Patient")
        leads = Leads({**_beside(resources), **keyed(clinical)}, _names(found), GIVEN)
        return tuple(_records(clinical, leads, covered(whole, clinical), _time_of(whole, listed), Claim()))
    except RecursionError:
        raise SourceContractBroken("the record is nested deeper than any record is") from None


def _beside(value: Any) -> dict[str, str]:
    """What a resource by itself refers to was not withheld but is not in the file: each reference to it leads to a key."""
    if isinstance(value, list):
        return {said: target for part in value for said, target in _beside(part).items()}
    if not isinstance(value, dict):
        return {}
    said = reference_of(value)
    before, _, local = said.rpartition("/")
    kind = before.rpartition("/")[2]
    own = {said: said if kind == "Patient" else f"{kind}/{token(local)}"} if kind in {*SCHEMAS, "Patient"} and local else {}
    return own | _beside(list(value.values()))


def _split(bundle: Mapping[str, Any], as_of: datetime | None, asked: frozenset[str]) -> Split:
    found = list(entries(bundle["entry"]))
    patient = one_patient(found)
    about = claim_of(patient)
    itself = f"Patient/{patient.get('id')}"
    resources = [entry.resource for entry in found]
    listed = [entry.resource for entry in found if entry.kind == "List"]
    when = as_of or _time_of(bundle, listed)
    for resource in resources:
        check_subject(resource, itself, about)
    clinical = [entry for entry in found if entry.kind not in FRAME]
    leads = Leads(keyed(clinical), _names(found), GIVEN, itself)
    records = tuple(_records(clinical, leads, covered(bundle, clinical), when, about))
    speaking = [entry.resource for entry in found if entry.kind in lists.SPEAKING]
    return Split(about, SourceFacts(warnings=lists.warnings(speaking, asked), as_of=when), records)


def _names(found: list[Entry]) -> dict[str, str]:
    return staff_names([entry.resource for entry in found if entry.holder is None])


def _records(clinical: list[Entry], leads: Leads, labels: Covered, when: datetime, about: Claim) -> Iterator[SourceRecord]:
    over = ended(clinical, leads.links)
    inner = _held(clinical)
    seen: set[str] = set()
    for entry in clinical:
        kind, resource, where = entry.kind, entry.resource, entry.where
        if kind == UNREADABLE:
            yield SourceRecord(UNREADABLE, {}, where, when, about)
            continue
        if kind not in SCHEMAS:
            known = kind in OTHERS
            yield SourceRecord(OTHER if known else UNREADABLE, {kind if known else UNKNOWN: resource}, where, when, about)
            continue
        if entry.target in seen:
            continue  # sent twice, word for word
        seen.add(entry.target)
        about_whom = reference_of(resource.get("subject"))
        if about_whom != leads.patient or not about_whom:
            if is_of_a_thing(about_whom):
                yield SourceRecord(UNREADABLE, {}, f"{where}, not about a person", when, about)
                continue
            if names_nobody(resource):
                yield SourceRecord(UNREADABLE, {}, f"{where}, about somebody it does not name", when, about)
                continue
        try:
            data: Json = {"resource": _led(entry, inner.get(id(entry), ()), leads, labels), "key": entry.target[len(kind) + 1 :]}
        except Modified:
            yield SourceRecord(UNREADABLE, {}, f"{where}, with a modifier extension", when, about)
            continue
        _add_what_the_bundle_shows(data, entry, over)
        yield SourceRecord(SCHEMAS[kind], data, where, when, about, labels.locks(entry))


def _held(clinical: list[Entry]) -> dict[int, list[Entry]]:
    """What each contains that has an id, by its place in memory. Of a hundred thousand that contain, none looks through all."""
    found: dict[int, list[Entry]] = {}
    for entry in clinical:
        if entry.holder is not None and entry.local:
            found.setdefault(id(entry.holder), []).append(entry)
    return found


def _led(entry: Entry, held: Sequence[Entry], leads: Leads, labels: Covered) -> Json:
    """The resource with its references leading where they should, the label over it, and without what it contains."""
    resource = labels.shown(entry)
    if "contained" not in resource:
        return relinked(resource, leads)
    inside = {f"#{inner.local}": inner.target for inner in held if inner.target}  # `#id` means something in there only
    names = {f"#{name.partition('/')[2]}": shown for name, shown in staff_names([inner.resource for inner in held]).items()}
    rest = {name: value for name, value in resource.items() if name != "contained"}  # what it contains is given by itself
    return relinked(rest, replace(leads, inside=inside, names_inside=names))


def _add_what_the_bundle_shows(data: Json, entry: Entry, ended: frozenset[str]) -> None:
    kind, resource = entry.kind, entry.resource
    if ended and entry.target in ended:
        data["list"] = "ended"
    if kind == "Immunization" and not resource.get("date"):
        data["undated"] = "unknown"  # R4 wants an occurrence; the day of recording is never one
    if kind == "Immunization" and "explanation" in resource and _was_given_and_not(resource):
        data["doubt"] = "given-and-not"
    if kind == "Encounter" and not resource.get("class"):
        data["classless"] = "UNK"  # R4 wants a class, and GP Connect has none
    if kind == "Observation":
        _settle_value(data)
    if kind == "QuestionnaireResponse" and (why := _not_in_r4(resource)):
        data["deeper"] = why
    if kind == "List":
        data["resource"] = lists.cleaned(data["resource"], GIVEN)
        said = lists.standard_notes(resource)
        if said:
            data["caveat"] = said


def _was_given_and_not(resource: Json) -> bool:
    why = resource["explanation"]
    said = isinstance(why, dict) and (why.get("reasonNotGiven") or why.get("notGivenReason"))
    return bool(said) and resource.get("notGiven") is False


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

"""The Healthy Child Programme, worked out when it is asked for: what was done, is due, is overdue, or was not attended.

A pure function of what one answer discloses and of a day that is passed in. Nothing of it is stored, and it says no more than
the records it is made of: where a source that would know is missing, stale or shows nothing, it says that it cannot say.
Source: mappings/healthy-child-programme.toml, dated rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Literal

from gateway.flows.programme_file import FILE, Dose, Programme, Review, Vaccine, at_age, load_programme
from gateway.model import Resource

__all__ = ["ATTENDANCE", "FILE", "VISIT_TYPES", "Item", "Programme", "at_age", "doses_of", "load_programme", "reviews_of"]

APART: Final = timedelta(weeks=3)  # no schedule gives two doses of one vaccine nearer to each other
GRACE: Final = timedelta(weeks=4)  # an appointment later than this is overdue
VISIT_TYPES: Final = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ChildHealthEncounterType-1"
ATTENDANCE: Final = "urn:shared-care-gateway:attendance"  # extension of a visit: who did not come, in the data set's own code
_NOT_ATTENDED: Final = frozenset(("3", "7"))  # did not attend; came late and was not seen. 2 and 4 were called off beforehand
_GIVEN_ELSEWHERE: Final = ("https://fhir.nhs.uk/STU3/CodeSystem/DCH-ReasonNotGiven-1", "2")
_SCORED: Final = frozenset(("final", "amended", "corrected"))
_NO_WORD: Final = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
_EXTENSION: Final = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-VaccinationProcedure"

State = Literal["done", "due", "overdue", "missed", "not-attended", "cancelled", "not-given", "not-yet-due", "cannot-say"]


@dataclass(frozen=True, slots=True)
class Item:
    """One review or dose of one child."""

    id: str
    title: str
    dose: int  # 0: a review
    state: State
    due: date
    by: date
    evidence: tuple[str, ...]  # "Type/id" of what was disclosed


def reviews_of(
    programme: Programme,
    born: date,
    on: date,
    visits: Sequence[Resource],
    scores: Sequence[Resource] = (),
    *,
    can_say: bool,
    since: date = date.min,
) -> list[Item]:
    """Each mandated review of a child as of a day. `can_say` False: a source that would know is missing. Of what was due before
    `since` those who know may not tell, or no longer.

    A score that is made at one review alone says that it was made, whatever its visit says. A finished visit whose type is no
    code at all could be any review that was due by then: nothing is called missing for it. Nor is a visit done that has not
    been yet. Of a visit that was called off, only a record that says so says that nobody came.
    """
    items = []
    finished = [visit for visit in visits if visit.get("status") == "finished"]
    had = [visit for visit in finished if (began := _began(visit)) is None or began <= on]
    unnamed = [visit for visit in finished if visit not in had or not list(_codings(visit.get("type", ())))]
    for review in programme.reviews:
        due, by = at_age(born, review.due), at_age(born, review.by)
        held = [visit for visit in visits if _types(visit) & review.types]
        done = [visit for visit in held if visit in had]
        done += _scored(review, at_age(born, review.scored_from), scores)
        missed = [visit for visit in held if visit.get("status") == "cancelled"]
        absent = [visit for visit in missed if _nobody_came(visit)]
        state: State
        if done:
            state = "done"
        elif review.of_mother:
            state = "cannot-say"
        elif missed:
            state = "not-attended" if absent else "cancelled"
        else:
            known = can_say and due >= since and not _some_since(due, unnamed, _began)
            state = _awaited(on, due, by, _end(born, review.until), can_say=known)
        items.append(Item(review.id, review.title, 0, state, due, by, _names(done or absent or missed)))
    return items


def doses_of(
    programme: Programme, born: date, on: date, given: Sequence[Resource], *, can_say: bool, since: date = date.min
) -> list[Item]:
    """Each dose of the schedule that holds for a child, as of a day; `can_say` and `since` as of reviews.

    A vaccine told in words alone, or under a code that is in no list here, could be any that was due by then: nothing is called
    missing for it. One not given because somebody else gave it leaves open which day that was. A record of the vaccine that is
    counted for no dose could be the one that is looked for: no dose is called missing, or still to come, beside it.
    """
    items = []
    unnamed = [each for each in given if each.get("status") == "completed" and _could_be_any(each, programme.known)]
    schedule = [dose for dose in programme.doses if dose.starts <= at_age(born, dose.due) < dose.ends]
    missed: set[str] = set()  # vaccines whose course can begin no more
    for dose in sorted(schedule, key=lambda dose: dose.number):
        due = at_age(born, dose.due)
        by = due + GRACE
        held = [each for each in given if _is_of(each, dose.vaccine)]
        refused = [each for each in held if each.get("status") == "not-done" and _is_of_dose(each, dose.number, due)]
        elsewhere = [each for each in refused if _GIVEN_ELSEWHERE in _codings([each.get("statusReason", {})])]
        done = [each for each in held if each.get("status") == "completed"]
        givings = _givings(done, born, on)
        evidence: Sequence[Resource] = _counted(dose.vaccine, dose.number, givings)
        state: State
        if evidence:
            state = "done"
        elif doubtful := _uncounted(dose, schedule, done, givings):
            state, evidence = "cannot-say", [*doubtful, *refused]
        elif elsewhere:
            state, evidence = "cannot-say", elsewhere
        elif refused and on >= due:
            state, evidence = "not-given", refused
        else:
            known = can_say and due >= since and not _some_since(due - GRACE, unnamed, _day)
            state = _awaited(on, due, by, _end(born, dose.until), can_say=known)
            if state in ("due", "overdue") and dose.vaccine.id in missed:
                state = "missed"
        if state == "missed":
            missed.add(dose.vaccine.id)
        items.append(Item(dose.vaccine.id, dose.vaccine.title, dose.number, state, due, by, _names(evidence)))
    return sorted(items, key=lambda item: (item.due, item.id, item.dose))


def _givings(done: Sequence[Resource], born: date, on: date) -> list[list[Resource]]:
    """Records of one vaccine, by the day it was given: one giving is often told twice, by a practice and by child health, and not
    always with the same day. Days less than three weeks apart are one dose. What has no day that can be is no giving.
    """
    givings: list[list[Resource]] = []
    dated = [each for each in done if (given := _day(each)) is not None and born <= given <= on]
    for each in sorted(dated, key=lambda each: (_day(each), each["id"])):
        first = _day(givings[-1][0]) if givings else None
        day = _day(each)
        if first is not None and day is not None and day - first < APART:
            givings[-1].append(each)
        else:
            givings.append([each])
    return givings


def _counted(vaccine: Vaccine, number: int, givings: Sequence[Sequence[Resource]]) -> Sequence[Resource]:
    """The giving that is this dose: the first that states its number, however early it was, else the one at its place in the row.

    A number that a record states outweighs its place: where the two disagree, the place counts for nothing.
    """
    stated = next((records for records in givings if number in {_ordinal(each, vaccine) for each in records}), None)
    if stated is not None:
        return stated
    placed = givings[number - 1] if len(givings) >= number else ()
    return placed if {_ordinal(each, vaccine) for each in placed} == {None} else ()


def _uncounted(
    dose: Dose, schedule: Sequence[Dose], done: Sequence[Resource], givings: Sequence[Sequence[Resource]]
) -> Sequence[Resource]:
    """Records of this vaccine that are counted for no dose, or that stand in this one's place under another number."""
    numbers = [each.number for each in schedule if each.vaccine.id == dose.vaccine.id]
    counted = {each["id"] for number in numbers for each in _counted(dose.vaccine, number, givings)}
    rest = [each for each in done if each["id"] not in counted]
    return rest or (givings[dose.number - 1] if len(givings) >= dose.number else ())


def _ordinal(given: Resource, vaccine: Vaccine) -> int | None:
    """Which dose a record says it was: by its number, else by a procedure code of the reviewed table."""
    told = {vaccine.ordinals[code] for code in _vaccine_codes(given) & vaccine.ordinals.keys()}
    return _number(given) or (told.pop() if len(told) == 1 else None)


def _scored(review: Review, since: date, scores: Sequence[Resource]) -> list[Resource]:
    """Scores of this review: made, not before their age, on a day that is known."""
    return [
        each
        for each in scores
        if each.get("status") in _SCORED
        and (day := _made(each)) is not None
        and day >= since
        and review.scores & {code for _, code in _codings([each.get("code", {})])}
    ]


def _some_since(day: date, records: Sequence[Resource], when: Callable[[Resource], date | None]) -> bool:
    """Whether one of the records is of that day or a later one, or of none that is known."""
    return any((said := when(each)) is None or said >= day for each in records)


def _awaited(on: date, due: date, by: date, until: date, *, can_say: bool) -> State:
    """Of what no record shows: before its time nothing is expected; after that only those who know may say it is missing."""
    if on < due:
        return "not-yet-due"
    if not can_say:
        return "cannot-say"
    if on >= until:
        return "missed"
    return "due" if on <= by else "overdue"


def _end(born: date, until: str) -> date:
    return at_age(born, until) if until else date.max


def _nobody_came(visit: Resource) -> bool:
    said = [each.get("valueCodeableConcept", {}) for each in visit.get("extension", ()) if each.get("url") == ATTENDANCE]
    return any(code in _NOT_ATTENDED for _, code in _codings(said))


def _is_of_dose(refused: Resource, number: int, due: date) -> bool:
    """Whether a vaccine not given is this dose: by its number, else whether the dose was due by the day it was not given."""
    said, day = _number(refused), _day(refused)
    return said == number if said is not None else day is None or due - GRACE <= day


def _could_be_any(given: Resource, known: frozenset[str]) -> bool:
    """Whether nothing tells which vaccine it was: no code that is in a list here, and nothing that it is against."""
    return not _vaccine_codes(given) & known and not _diseases(given)


def _types(visit: Resource) -> frozenset[str]:
    return frozenset(code for system, code in _codings(visit.get("type", ())) if system == VISIT_TYPES)


def _is_of(given: Resource, vaccine: Vaccine) -> bool:
    """By the procedure, by the vaccine's own code, or by every disease it is against."""
    codes = _vaccine_codes(given)
    return bool(codes & vaccine.procedures) or bool(vaccine.diseases and vaccine.diseases <= codes)


def _vaccine_codes(given: Resource) -> frozenset[str]:
    """Every code that says what a vaccine was: of the procedure, of the product, and of what it is against."""
    said = [each.get("valueCodeableConcept", {}) for each in given.get("extension", ()) if each.get("url") == _EXTENSION]
    coded = _codings([*said, given.get("vaccineCode", {}), *_diseases(given)])
    return frozenset(code for system, code in coded if system != _NO_WORD)


def _diseases(given: Resource) -> list[Mapping[str, Any]]:
    protocols: Sequence[Mapping[str, Any]] = given.get("protocolApplied", ())
    return [disease for one in protocols for disease in one.get("targetDisease", ())]


def _number(given: Resource) -> int | None:
    counted = [one.get("doseNumberPositiveInt") for one in given.get("protocolApplied", ())]
    return next((number for number in counted if isinstance(number, int)), None)


def _codings(concepts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for concept in concepts:
        for coding in concept.get("coding", ()):
            yield str(coding.get("system")), str(coding.get("code"))


def _day(given: Resource) -> date | None:
    """The day it was given, where the record has a whole one."""
    return _whole(given.get("occurrenceDateTime"))


def _began(visit: Resource) -> date | None:
    return _whole(visit.get("period", {}).get("start"))


def _made(score: Resource) -> date | None:
    return _whole(score.get("effectiveDateTime") or score.get("effectivePeriod", {}).get("start"))


def _whole(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _names(found: Sequence[Resource]) -> tuple[str, ...]:
    return tuple(f"{each['resourceType']}/{each['id']}" for each in found)

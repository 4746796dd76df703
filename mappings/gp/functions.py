"""What one line of a GP map cannot say: refused vaccines, medicines not taken, repeats counted R4's way."""

import re

from gateway.mapping.context import Unusable
from gateway.mapping.functions import (
    Annotation,
    Boolean,
    Code,
    CodeableConcept,
    DateTime,
    Instant,
    Integer,
    Period,
    Primitive,
    Text,
    Uri,
    dateTime,
    instant,
)

_DOUBTS = {
    "told-otherwise": "a value beside a component of the same code that says another",
    "absent-and-there": "a value, and a reason why it is absent",
    "given-and-not": "a vaccine said to be given, with a reason why it was not",
}
_LINKS = {"sequel-to": "follows", "replaces": "replaces", "qualified-by": "is qualified by", "interfered-by": "was disturbed by"}
_NOT_IN_PART = {
    "depth": "questions below questions, further down than three",
    "fork": "a question that has an answer and questions below it, which R4 does not have",
}
_LESS_THAN_AN_INSTANT = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?)?)?)?", re.ASCII)
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_SHORTEST_TIME = len("2025-05-01T09:00")
_TIME_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)


def zoned(value: Primitive) -> DateTime | None:
    """A dateTime; a time without zone, which some providers send, is left out and never guessed.

    >>> zoned(Primitive("2025-05-01T09:00:00+01:00")), zoned(Primitive("2025-05")), zoned(Primitive("2025-05-01T09:00:00"))
    ('2025-05-01T09:00:00+01:00', '2025-05', None)
    """
    return dateTime(value) if without_zone(value) is None else None


def without_zone(value: Primitive) -> Code | None:
    """Why a dateTime is left out: an allergy must not be hidden because one of its times cannot be read.

    >>> without_zone(Primitive("2025-05-01T09:00:00")), without_zone(Primitive("2025-05-01"))
    ('error', None)
    """
    if not isinstance(value, str) or len(value) < _SHORTEST_TIME or value[-1] == "Z" or value[-6] in "+-":
        return None  # nearly every date there is
    return Code("error") if _TIME_WITHOUT_ZONE.fullmatch(value.strip()) else None


def time_as_said(value: Primitive) -> Text | None:
    """A time without zone in the source's own words, where R4 takes words.

    >>> time_as_said(Primitive("2025-05-01T09:00:00")), time_as_said(Primitive("2025-05-01"))
    ('2025-05-01T09:00:00', None)
    """
    return Text(str(value).strip()) if without_zone(value) else None


def given_status(value: Boolean) -> Code:
    """STU3 `notGiven` -> R4 `status`, which has no other place for it.

    >>> given_status(Boolean(True)), given_status(Boolean(False))
    ('not-done', 'completed')
    """
    return Code("not-done" if value else "completed")


def error_status(value: Code) -> Code | None:
    """STU3 `Immunization.status`: only that it was entered in error outranks `notGiven`.

    >>> error_status(Code("entered-in-error")), error_status(Code("completed"))
    ('entered-in-error', None)
    """
    if value == "entered-in-error":
        return value
    if value == "completed":
        return None
    raise Unusable("a status that STU3 does not have")


def error_only(value: Code) -> Code | None:
    """That it was entered in error outranks whatever else is said of it.

    >>> error_only(Code("entered-in-error")), error_only(Code("active"))
    ('entered-in-error', None)
    """
    return Code("entered-in-error") if value.strip() == "entered-in-error" else None


def not_taken(value: Code) -> Code | None:
    """STU3 `taken` -> R4 `status` not-taken; every other word of it says nothing that the status does not.

    >>> not_taken(Code("n")), not_taken(Code("unk"))
    ('not-taken', None)
    """
    return Code("not-taken") if value == "n" else None


def after_the_first(value: Integer) -> Integer | None:
    """GP Connect counts every issue allowed, R4 those in addition to the first. None allowed at all says nothing in R4.

    >>> after_the_first(Integer(6)), after_the_first(Integer(1)), after_the_first(Integer(0))
    (5, 0, None)
    """
    return Integer(value - 1) if value > 0 else None


def text_concept(value: Text) -> CodeableConcept:
    """A text that stands where a code is missing.

    >>> text_concept(Text("No information available"))
    {'text': 'No information available'}
    """
    return CodeableConcept({"text": value})


def end_of_what_has_not_ended(value: Text) -> Annotation:
    """R4 allows an end only for a problem that is called ended, so any other end date is kept in words.

    >>> end_of_what_has_not_ended(Text("2024-05-01"))["text"]
    'The source gives an end date that does not go with the status it gives: 2024-05-01'
    """
    return Annotation({"text": f"The source gives an end date that does not go with the status it gives: {value}"})


def how_sure(value: Code) -> Code | None:
    """STU3 `verificationStatus` of a problem -> R4, which says "unknown" by saying nothing.

    >>> how_sure(Code("refuted")), how_sure(Code("unknown"))
    ('refuted', None)
    """
    return None if value.strip() == "unknown" else value


def zoned_instant(value: Primitive) -> Instant | None:
    """An instant; a day without time, or a time without zone, is none and is left out.

    >>> zoned_instant(Primitive("2025-05-01T09:00:00.5Z")), zoned_instant(Primitive("2025-05-01"))
    ('2025-05-01T09:00:00.5Z', None)
    """
    return None if without_instant(value) else instant(value)


def without_instant(value: Primitive) -> Code | None:
    """Why an instant is left out: a report must not be hidden because the moment of its issue cannot be read.

    >>> without_instant(Primitive("2025-05-01")), without_instant(Primitive("2025-05-01T09:00:00Z"))
    ('error', None)
    """
    if not isinstance(value, str) or value[-1:] == "Z" or (value[10:11] == "T" and value[-6] in "+-"):
        return None  # nearly every one there is
    return Code("error") if _LESS_THAN_AN_INSTANT.fullmatch(value.strip()) else None


def zoned_period(value: Period) -> Period | None:
    """A period whose ends that say no zone are left out, and it is said that they are.

    >>> zoned_period(Period({"start": "2025-05-01T09:00:00", "end": "2025-05-01"}))["end"]
    '2025-05-01'
    """
    if not isinstance(value, dict):
        raise Unusable("a text or list stands where a period belongs")
    ends = {end: zoned(Primitive(value[end])) for end in ("start", "end") if value.get(end) is not None}
    made: dict[str, object] = {end: when for end, when in ends.items() if when is not None}
    left_out = [end for end, when in ends.items() if when is None and without_zone(Primitive(value[end]))]
    return Period(made | {f"_{end}": {"extension": [{"url": _ABSENT, "valueCode": "error"}]} for end in left_out}) or None


def request_status(value: Code) -> Code:
    """The status of a STU3 request -> R4, which has other words for two.

    >>> request_status(Code("suspended")), request_status(Code("cancelled")), request_status(Code("active"))
    ('on-hold', 'revoked', 'active')
    """
    return Code({"suspended": "on-hold", "cancelled": "revoked"}.get(value.strip(), value.strip()))


def how_linked(value: Code) -> Text | None:
    """STU3 `Observation.related.type` that R4 has no place for -> words. The two that R4 has are led to, not said.

    >>> how_linked(Code("replaces")), how_linked(Code("no such"))
    ('The source says that this replaces another item of the record.', None)
    """
    how = _LINKS.get(value.strip())
    return Text(f"The source says that this {how} another item of the record.") if how else None


def said(value: Text) -> Annotation | None:
    """A comment or description -> a note, which is where R4 keeps what was said.

    >>> said(Text(" sleeps badly "))
    {'text': 'sleeps badly'}
    """
    return Annotation({"text": value.strip()}) if value.strip() else None


def caveat_note(value: Text) -> Annotation:
    """What the specification makes a provider say of a List that is not complete -> a note of the List.

    >>> caveat_note(Text("Information not available."))
    {'text': 'Information not available.'}
    """
    return Annotation({"text": value})


def address(value: Text) -> Uri | None:
    """A text -> a uri, which has no blanks.

    >>> address(Text(" https://example.test/1 "))
    'https://example.test/1'
    """
    if re.search(r"\s", value.strip()):
        raise Unusable("not a uri")
    return Uri(value.strip()) or None


def no_reason_said(value: Boolean) -> CodeableConcept | None:
    """UK Core wants a reason for what was not given; where the record says none, it is unknown, and nothing is made up.

    >>> no_reason_said(Boolean(True))["coding"][0]["code"], no_reason_said(Boolean(False))
    ('UNK', None)
    """
    if not value:
        return None
    return CodeableConcept({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}]})


def in_doubt(value: Code) -> Code:
    """Why nobody can say what was found or done: always raises `Unusable`, with the reason."""
    raise Unusable(_DOUBTS[value])


def not_in_part(value: Code) -> Code:
    """Why a questionnaire is not given, since a part of it would mislead: always raises `Unusable`, with the reason."""
    raise Unusable(_NOT_IN_PART[value])

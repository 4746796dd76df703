"""What one line of a GP map cannot say: refused vaccines, medicines not taken, repeats counted R4's way."""

import re

from gateway.mapping.context import Unusable
from gateway.mapping.functions import Annotation, Boolean, Code, CodeableConcept, DateTime, Integer, Primitive, Text, dateTime

_TIME_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)


def zoned(value: Primitive) -> DateTime | None:
    """A dateTime; a time without zone, which some providers send, is left out and never guessed.

    >>> zoned(Primitive("2025-05-01T09:00:00+01:00")), zoned(Primitive("2025-05")), zoned(Primitive("2025-05-01T09:00:00"))
    ('2025-05-01T09:00:00+01:00', '2025-05', None)
    """
    return None if without_zone(value) else dateTime(value)


def without_zone(value: Primitive) -> Code | None:
    """Why a dateTime is left out: an allergy must not be hidden because one of its times cannot be read.

    >>> without_zone(Primitive("2025-05-01T09:00:00")), without_zone(Primitive("2025-05-01"))
    ('error', None)
    """
    return Code("error") if isinstance(value, str) and _TIME_WITHOUT_ZONE.fullmatch(value.strip()) else None


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


def end_of_an_active_problem(value: Text) -> Annotation:
    """R4 allows no end for an active problem, so a contradictory end date is kept in words.

    >>> end_of_an_active_problem(Text("2024-05-01"))["text"]
    'The source calls this problem active and gives an end date: 2024-05-01'
    """
    return Annotation({"text": f"The source calls this problem active and gives an end date: {value}"})

"""What one line of a child health map cannot say: a vaccine not given is never shown as given, a word is no measurement."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from gateway.mapping.context import Unusable
from gateway.mapping.free_text import says
from gateway.mapping.functions import (
    Annotation,
    Boolean,
    Code,
    CodeableConcept,
    Coding,
    DateTime,
    Quantity,
    Text,
)

_IN_R4: Final = {"suspended": "on-hold", "aborted": "stopped"}
_EVENT_STATUS: Final = frozenset(
    ("preparation", "in-progress", "suspended", "aborted", "completed", "entered-in-error", "unknown")
)
_DOUBTS: Final = {
    "told-otherwise": "a value beside a component of the same code that says another",
    "absent-and-there": "a value, and a reason why it is absent",
}
_ATTENDANCE: Final = "urn:shared-care-gateway:CodeSystem:csds-attendance"
_NOT_HAD: Final[Mapping[str, str]] = {
    "2": "Cancelled by the child or carer",
    "3": "Did not attend",
    "4": "Cancelled by the provider",
    "7": "Attended late and not seen",
}
# The questions of the published Digital Child Health forms. Any other is what somebody typed, and may name a place.
_QUESTIONS: Final = frozenset(
    (
        "Accessible Information - Communication Support",
        "Alcohol use",
        "Areas of concern",
        "Communication and language",
        "Communication support",
        "Drug/substance use",
        "Employment status (care giver 1)",
        "Feeding Status of the baby",
        "Feeding method",
        "Feeding status of the baby",
        "First Milk Feed",
        "Household smoking status",
        "Individual Needs Person Indicator",
        "Introduction of Solids",
        "Lifestyle",
        "Parental consent to share information",
        "Personal, social and emotional development",
        "Physical development",
        "Smoking Status",
        "Smoking Status - Details",
        "Smoking status",
        "Social Circumstances",
        "Support requested or provided",
    )
)
_VERIFIED: Final = {
    "confirmed": "final",
    "provisional": "preliminary",
    "unknown": "unknown",
    "entered-in-error": "entered-in-error",
}


def given_status(value: Boolean) -> Code:
    """STU3 `notGiven` -> R4 `status`, which has no other place for it.

    >>> given_status(Boolean(True)), given_status(Boolean(False))
    ('not-done', 'completed')
    """
    return Code("not-done" if value else "completed")


@says(_QUESTIONS)
def asked(value: Text) -> Text:
    """A question of a form, in its own words. Of a protected person only a question of the reviewed list stays.

    >>> asked(Text("Feeding method"))
    'Feeding method'
    """
    return value


def too_deep(value: Text) -> Code:
    """A question further down than the map reads: a form in part would mislead. Always raises `Unusable`."""
    raise Unusable("questions below questions, further down than is read")


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


def sent_status(value: Code) -> Code:
    """R4 `Immunization.status` -> STU3's, where a vaccine not given is completed too: `notGiven` says it.

    >>> sent_status(Code("not-done"))
    'completed'
    """
    return Code("completed" if value == "not-done" else value)


def not_given(value: Code) -> Boolean:
    """R4 `Immunization.status` -> STU3 `notGiven`.

    >>> not_given(Code("not-done")), not_given(Code("completed"))
    (True, False)
    """
    return Boolean(value == "not-done")


def measured(value: Quantity) -> Quantity:
    """A measurement is a number, with the unit it came in; a word in its place is refused, never passed on.

    >>> measured(Quantity({"value": 3640, "code": "g"}))
    {'value': 3640, 'code': 'g'}
    """
    number = value.get("value") if isinstance(value, dict) else None
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | Decimal)):
        raise Unusable("a measurement that is no number")
    return value


def class_unknown(_: Code) -> Coding:
    """A visit that says neither its class nor its type -> the class "unknown": R4 must have one, and nothing tells which.

    >>> class_unknown(Code("finished"))["code"]
    'UNK'
    """
    return Coding({"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK", "display": "unknown"})


def withdrawn(value: Code) -> Code | None:
    """STU3 event status: only that it was entered in error outranks `notDone`.

    >>> withdrawn(Code("entered-in-error")), withdrawn(Code("completed"))
    ('entered-in-error', None)
    """
    return value if value == "entered-in-error" else None


def not_done(value: Boolean) -> Code | None:
    """STU3 `notDone` -> R4 `status`, which has no other place for it.

    >>> not_done(Boolean(True)), not_done(Boolean(False))
    ('not-done', None)
    """
    return Code("not-done") if value else None


def event_status(value: Code) -> Code:
    """STU3 event status -> R4's, which renamed two.

    >>> event_status(Code("aborted")), event_status(Code("completed"))
    ('stopped', 'completed')
    """
    if value not in _EVENT_STATUS:
        raise Unusable("a status that STU3 does not have")
    return Code(_IN_R4.get(value, value))


def not_taken(value: Code) -> Code | None:
    """STU3 `taken` -> R4 `status`, which has no other place for "not taken".

    >>> not_taken(Code("n")), not_taken(Code("unk"))
    ('not-taken', None)
    """
    return Code("not-taken") if value == "n" else None


def ended(_: Text) -> Code:
    """A problem with an end and no status of its own -> resolved: R4 lets nothing that has ended be anything but over.

    >>> ended(Text("2018-01-29"))
    'resolved'
    """
    return Code("resolved")


def whole_time(value: Text) -> DateTime | None:
    """When a card came: a day, with or without its time. A time of day alone says on which day nowhere, and is left out.

    >>> whole_time(Text("2026-03-04T09:00:00Z")), whole_time(Text("0900"))
    ('2026-03-04T09:00:00Z', None)
    """
    return (
        DateTime(str(value)) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T.+(Z|[+-][0-9]{2}:[0-9]{2}))?", str(value)) else None
    )


def odd_time(value: Text) -> Annotation | None:
    """The same, where it is not a day that can be read: kept in the sender's words.

    >>> odd_time(Text("0900")), odd_time(Text("2026-03-04"))
    ({'text': 'received: 0900'}, None)
    """
    return None if whole_time(value) else Annotation({"text": f"received: {value}"})


def in_words(value: Text) -> Annotation | None:
    """What was said in words, as a note.

    >>> in_words(Text(" Prefers large print. ")), in_words(Text(" "))
    ({'text': 'Prefers large print.'}, None)
    """
    return Annotation({"text": value.strip()}) if value.strip() else None


def changed_on(value: Text) -> Annotation:
    """When a medicine was changed, which R4 has no element for.

    >>> changed_on(Text("2018-07-21"))
    {'text': 'changed on 2018-07-21'}
    """
    return Annotation({"text": f"changed on {value}"})


def end_of_what_is_active(value: Text) -> Annotation:
    """A problem that is active and has an end: R4 has no place for both, so the end is said in words.

    >>> end_of_what_is_active(Text("2018-01-29"))
    {'text': 'The sender gives an end, though the problem is active: 2018-01-29'}
    """
    return Annotation({"text": f"The sender gives an end, though the problem is active: {value}"})


def impression_status(value: Code) -> Code:
    """How far a form was answered -> how far the impression is.

    >>> impression_status(Code("amended")), impression_status(Code("in-progress"))
    ('completed', 'in-progress')
    """
    known = {
        "completed": "completed",
        "amended": "completed",
        "in-progress": "in-progress",
        "entered-in-error": "entered-in-error",
    }
    if value not in known:
        raise Unusable("a form not carried to its end: not a finding")
    return Code(known[value])


def in_doubt(value: Code) -> Code:
    """Why nobody can say what an Observation's value is: always raises `Unusable`, with the reason."""
    raise Unusable(_DOUBTS[value])


def yes_or_no(value: Boolean) -> Text:
    """An answer that is a tick.

    >>> yes_or_no(Boolean(True))
    'yes'
    """
    return Text("yes" if value else "no")


def unknown_vaccine(_: Code) -> Coding:
    """What was done is known, the product is not: R4 must have a vaccine all the same.

    >>> unknown_vaccine(Code("1"))["code"]
    'UNK'
    """
    return Coding({"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK", "display": "unknown"})


def of_mother(value: Boolean) -> Code | None:
    """A contact of a day before the child was born is of the mother, and is refused: it may not stand in the child's record."""
    if value:
        raise Unusable("a contact of before the child was born: it is the mother's")
    return None


def attendance(value: Code) -> CodeableConcept | None:
    """Who called a contact off or did not come, which R4's status does not say; None for one that was had.

    >>> attendance(Code("3"))["coding"][0]["display"], attendance(Code("5"))
    ('Did not attend', None)
    """
    said = _NOT_HAD.get(value)
    return None if said is None else CodeableConcept({"coding": [{"system": _ATTENDANCE, "code": str(value), "display": said}]})


def class_of_contact(_: Text) -> Coding:
    """A contact whose medium is not said -> the class "unknown".

    >>> class_of_contact(Text("C1"))["code"]
    'UNK'
    """
    return class_unknown(Code(""))


def skill_status(value: Code) -> Code:
    """How sure a developmental skill is -> the status of the observation; one that was refuted was not seen, and is refused.

    >>> skill_status(Code("provisional"))
    'preliminary'
    """
    if value not in _VERIFIED:
        raise Unusable("a developmental skill that the sender does not stand by")
    return Code(_VERIFIED[value])

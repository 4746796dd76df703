"""What the authority's maps say that the language does not."""

from gateway.mapping.functions import Code, Date, Primitive, Unusable, date

_YES = frozenset({"1", "true", "yes", "y"})


def finished(value: Primitive) -> Code | None:
    """That something has ended -> the status of an episode.

    >>> finished(Primitive(True))
    'finished'
    """
    return Code("finished") if value else None


def completed(value: Primitive) -> Code | None:
    """That something has ended, or the day it did -> the status of a plan, a request or a task.

    >>> completed(Primitive("2026-02-27"))
    'completed'
    """
    return Code("completed") if value else None


def revoked(value: Primitive) -> Code | None:
    """No further action after a referral -> the status of the request. Absent where it says that something followed.

    >>> revoked(Primitive("true")), revoked(Primitive("0"))
    ('revoked', None)
    """
    return Code("revoked") if str(value).strip().lower() in _YES else None


def closed_without(value: Primitive) -> Code | None:
    """That no conference was needed -> the enquiry is over.

    >>> closed_without(Primitive("Y")), closed_without(Primitive("false"))
    ('completed', None)
    """
    return Code("completed") if str(value).strip().lower() in _YES else None


def known_day(value: Primitive) -> Date | None:
    """The day a warning began; none where it cannot be read: a warning is not lost over a slip of the pen.

    >>> known_day(Primitive("2026-03-06")), known_day(Primitive("6th of March"))
    ('2026-03-06', None)
    """
    try:
        return date(value)
    except Unusable:
        return None

"""What the map of Eclipse says that the language does not."""

from gateway.mapping.functions import Code, DateTime, Primitive, Unusable, dateTime


def finished(value: Primitive) -> Code | None:
    """How an assignment stands today -> the status of an episode. Absent unless it is over.

    >>> finished(Primitive("HISTORIC")), finished(Primitive("CURRENT"))
    ('finished', None)
    """
    return Code("finished") if str(value) == "HISTORIC" else None


def completed(value: Primitive) -> Code | None:
    """How an assignment stands today -> the status of a plan. Absent unless it is over.

    >>> completed(Primitive("HISTORIC")), completed(Primitive("CURRENT"))
    ('completed', None)
    """
    return Code("completed") if str(value) == "HISTORIC" else None


def known_time(value: Primitive) -> DateTime | None:
    """When a warning began; none where it cannot be read: a warning is not lost over a slip of the pen.

    >>> known_time(Primitive("2026-03-06T00:00:00Z")), known_time(Primitive("6th of March"))
    ('2026-03-06T00:00:00Z', None)
    """
    try:
        return dateTime(value)
    except Unusable:
        return None

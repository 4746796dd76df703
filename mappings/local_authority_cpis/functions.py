"""What the map of CP-IS records says that the language does not."""

from gateway.mapping.functions import Code, Date, Primitive, Unusable, date

_STATUS = {"current": "active", "ended": "inactive"}


def flag_status(value: Primitive) -> Code:
    """Where a plan's period stands -> the status of its flag, and of who answers for it.

    >>> flag_status(Primitive("current")), flag_status(Primitive("ended"))
    ('active', 'inactive')
    """
    if value not in _STATUS:
        raise Unusable("a plan of which nobody can read whether it was deleted")
    return Code(_STATUS[str(value)])


def known_day(value: Primitive) -> Date | None:
    """A day of a plan; none where it cannot be read: a plan is not lost over a slip of the pen.

    >>> known_day(Primitive("2026-03-06")), known_day(Primitive("6th of March"))
    ('2026-03-06', None)
    """
    try:
        return date(value)
    except Unusable:
        return None

"""What the authority's maps say that the language does not."""

from gateway.mapping.functions import Code, Primitive


def finished(value: Primitive) -> Code:
    """A closing day, whichever -> the status of an episode that has ended.

    >>> finished(Primitive("2026-02-27"))
    'finished'
    """
    return Code("finished")

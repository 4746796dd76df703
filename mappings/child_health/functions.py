"""What one line of a child health map cannot say: a vaccine that was not given must never be shown as given."""

from gateway.mapping.context import Unusable
from gateway.mapping.functions import Boolean, Code


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

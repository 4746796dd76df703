"""What one line of a child health map cannot say: a vaccine not given is never shown as given, a word is no measurement."""

from decimal import Decimal

from gateway.mapping.context import Unusable
from gateway.mapping.functions import Boolean, Code, Quantity


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


def measured(value: Quantity) -> Quantity:
    """A measurement is a number, with the unit it came in; a word in its place is refused, never passed on.

    >>> measured(Quantity({"value": 3640, "code": "g"}))
    {'value': 3640, 'code': 'g'}
    """
    number = value.get("value") if isinstance(value, dict) else None
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | Decimal)):
        raise Unusable("a measurement that is no number")
    return value

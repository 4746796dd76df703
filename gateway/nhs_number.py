"""NHS numbers: text -> `NhsNumber`, which never prints itself.

Source: NHS Data Dictionary, NHS NUMBER (Modulus 11); ranges as issued in England, Wales and the Isle of Man.
"""

import re
from dataclasses import dataclass
from operator import mul

SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"

_TEN_DIGITS = re.compile(r"[0-9]{10}", re.ASCII)
_WEIGHTS = range(10, 1, -1)  # of the first nine digits
_ZEROS = ord("0") * sum(_WEIGHTS)
_PLACEHOLDERS = frozenset(str(digit) * 10 for digit in range(10))
_ISSUED = ("4", "6", "7")  # England, Wales, Isle of Man
_TEST = ("5", "9")  # never issued to a person: PDS synthetic records and this project's own


class NotAnNhsNumber(ValueError):
    """The text is no NHS number that this gateway may use. Carries no part of the text."""


@dataclass(frozen=True, slots=True)
class NhsNumber:
    """A well-formed NHS number. Well-formed is not traced: only the Personal Demographics Service can say that."""

    value: str

    def __post_init__(self) -> None:
        if not _TEN_DIGITS.fullmatch(self.value) or self.value in _PLACEHOLDERS or not _check_digit_holds(self.value):
            raise NotAnNhsNumber("not a valid NHS number")

    def __str__(self) -> str:
        return "**********"

    def __repr__(self) -> str:
        return "NhsNumber(**********)"

    @property
    def is_test(self) -> bool:
        """True for the ranges that are never issued to a person."""
        return self.value.startswith(_TEST)


def parse(text: str, *, allow_test: bool) -> NhsNumber:
    """Text as people write it (spaces and hyphens allowed between digits) -> `NhsNumber`.

    Raises `NotAnNhsNumber` for another length, letters, digits of other scripts, a failed check digit, a placeholder
    such as ten equal digits, or a range not issued in England (Scotland, Northern Ireland, Ireland; test numbers
    unless `allow_test`). The caller of the API acts: 400, nothing echoed.
    """
    number = NhsNumber(text.replace(" ", "").replace("-", ""))
    if number.value.startswith(_ISSUED) or (allow_test and number.is_test):
        return number
    raise NotAnNhsNumber("not an NHS number of a range in use here")


def _check_digit_holds(digits: str) -> bool:
    weighed: int = sum(map(mul, digits.encode(), _WEIGHTS))
    remainder = (weighed - _ZEROS) % 11
    return (11 - remainder) % 11 == int(digits[9])

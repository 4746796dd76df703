"""A crowd: as many synthetic people as a run needs, each wholly made from the place of their number in the 999 range.

Nobody here exists. Every twentieth is a twin of the one before: same birth date, family name and address.
"""

from datetime import date, timedelta
from functools import lru_cache

from sandbox.families import HILLTOP, RIVERSIDE, Address, Person

FIRST = 100_000  # the families' numbers are below
_GIVEN = ("Ada", "Bo", "Cleo", "Dev", "Esme", "Finn", "Gia", "Hal", "Ivy", "Jay", "Kit", "Lux", "Max", "Nia", "Oz", "Pia")
_FIRST_HALF = ("Ash", "Birch", "Cedar", "Dale", "Elm", "Fern", "Gorse", "Hazel", "Ivy", "Juniper", "Kelp", "Larch", "Moss")
_SECOND_HALF = ("bank", "brook", "combe", "dell", "field", "ford", "garth", "holm", "ley", "mere", "ridge", "stead", "wick")


def numbers(count: int) -> list[str]:
    """The first `count` numbers of the crowd."""
    found, place = list[str](), FIRST
    while len(found) < count:
        number = number_at(place)
        if number is not None:
            found.append(number)
        place += 1
    return found


def number_at(place: int) -> str | None:
    """A place in the range -> its NHS number; None where the check digit would be ten."""
    nine = f"999{place:06d}"
    check = (11 - sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)) % 11) % 11
    return None if check == 10 else f"{nine}{check}"


@lru_cache(maxsize=200_000)
def person(number: str) -> Person:
    """A number of the crowd -> the person."""
    place = int(number[3:9])
    house = place - 1 if place % 20 == 1 else place  # a twin's address, birth date and family name are the other's
    return Person(
        key=f"crowd-{place}",
        nhs_number=number,
        given=_GIVEN[place % len(_GIVEN)] + _GIVEN[place // 16 % len(_GIVEN)].lower(),
        family=_FIRST_HALF[house // 7 % len(_FIRST_HALF)] + _SECOND_HALF[house // 91 % len(_SECOND_HALF)],
        gender=("female", "male")[place % 2],
        birth_date=date(2016, 1, 1) + timedelta(days=house * 7919 % 3650),
        practice=(RIVERSIDE, HILLTOP)[house % 2],
        known_to=frozenset(),
    )


def address(someone: Person) -> Address:
    """Where a person of the crowd lives. No street has these postcodes."""
    place = int(someone.nhs_number[3:9])
    house = place - 1 if place % 20 == 1 else place
    return Address(f"{house} Crowd Street", "Northtown", f"ZZ99 {house % 9 + 1}{'ABDEFGHJL'[house // 9 % 9]}Z")

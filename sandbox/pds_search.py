"""PDS's search: who fits, how well, and when it says only that there are more. Source: NHS England PDS FHIR API, GET /Patient.

Scores are ours, since the national algorithm is not published: 1 for whole names, a little less for each wildcard and for a
name of before, and a likeness for a fuzzy search, which finds people who only sound alike, as the real one does.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from sandbox import crowd
from sandbox.families import INVALIDATED, PEOPLE, RESTRICTED, Person, address_of

SINGLE = 1  # an application's search finds one person, or says that there are more
FORMER = {"chloe": "Beforename"}  # family names of before
_KNOWN = {
    "family", "given", "birthdate", "gender", "address-postalcode", "general-practitioner", "death-date", "email", "phone",
    "_max-results", "_fuzzy-match", "_exact-match", "_history",
}  # fmt: skip


class Index:
    """People by birth date, so that a crowd is searched as quickly as a family."""

    def __init__(self, crowd: Iterable[Person]) -> None:
        self._born: dict[str, list[Person]] = {}
        for person in (*PEOPLE, *crowd):
            self._born.setdefault(person.birth_date.isoformat(), []).append(person)

    def born(self, day: str) -> Sequence[Person]:
        """Everybody born on that day."""
        return self._born.get(day, ())


def search(index: Index, asked: Mapping[str, str], address: "Addresses") -> list[tuple[Person, float]] | str:
    """What was asked -> who was found with which score, or the code of a refusal."""
    refusal = _unfit(asked)
    if refusal:
        return refusal
    most = int(asked.get("_max-results", "1"))
    found = [
        (person, score)
        for person in index.born(asked["birthdate"].removeprefix("eq"))
        if person.nhs_number not in INVALIDATED and (score := _score(person, asked, address)) is not None
    ]
    if len(found) > min(most, SINGLE):
        return "TOO_MANY_MATCHES"
    return found


class Addresses:
    """Where a person lives; a crowd's addresses are made as they are asked for."""

    def of(self, person: Person) -> str:
        """The postcode."""
        return (crowd.address(person) if person.key.startswith("crowd-") else address_of(person)).postcode


def _unfit(asked: Mapping[str, str]) -> str:
    if not asked.keys() <= _KNOWN:
        return "ADDITIONAL_PROPERTIES"
    fuzzy = asked.get("_fuzzy-match") == "true"
    if "birthdate" not in asked or ("family" not in asked and not fuzzy):
        return "INVALID_SEARCH_DATA"
    if fuzzy and asked.get("_exact-match") == "true":
        return "INVALID_SEARCH_DATA"
    if not asked.get("_max-results", "1").isdecimal() or not 1 <= int(asked.get("_max-results", "1")) <= 50:
        return "INVALID_VALUE"
    for name in ("family", "given", "address-postalcode"):
        value = asked.get(name, "")
        if "*" in value and (len(value.partition("*")[0]) < 2 or asked.get("_exact-match") == "true" or fuzzy):
            return "INVALID_SEARCH_DATA"
    return ""


def _score(person: Person, asked: Mapping[str, str], address: Addresses) -> float | None:
    """None: does not fit."""
    postcode = asked.get("address-postalcode")
    if person.nhs_number in RESTRICTED and (postcode is not None or "general-practitioner" in asked):
        return None  # never found by where they live or are registered
    if asked.get("gender", person.gender) != person.gender:
        return None
    if asked.get("general-practitioner", person.practice) != person.practice:
        return None
    if asked.get("_fuzzy-match") == "true":
        return _likeness(person, asked)
    score = 1.0
    families = [person.family] + ([FORMER[person.key]] if asked.get("_history") == "true" and person.key in FORMER else [])
    wholes = {"family": families, "given": [person.given], "address-postalcode": [address.of(person)]}
    for name, values in wholes.items():
        wanted = asked.get(name)
        if wanted is None:
            continue
        beginning, star, _ = _plain(wanted).partition("*")
        fits = [value for value in values if (_plain(value).startswith(beginning) if star else _plain(value) == beginning)]
        if not fits:
            return None
        score -= (0.02 if star else 0) + (0.05 if fits[0] != values[0] else 0)
    return round(score, 4)


def _likeness(person: Person, asked: Mapping[str, str]) -> float | None:
    said = _plain(asked.get("given", "") + asked.get("family", ""))
    ratio = SequenceMatcher(None, said, _plain(person.given + person.family)).ratio()
    return round(ratio, 4) if ratio > 0.6 else None


def _plain(text: str) -> str:
    return text.casefold().replace(" ", "")

"""Matching: a local record and what PDS answered -> one of the six national outcomes. Pure; only `Match` links.

Source: SUI Matcher outcomes and thresholds (Match from 0.95, PotentialMatch from 0.85), and its reconciliation words for
records that carry a number. PDS's score alone never makes a match: the birth date, the family name, the given name and an
address must agree as well, so that a twin, a child at the same address and a namesake are somebody's task instead.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.model import NotUsable, PatientIdentity, Resource
from gateway.nhs_number import NhsNumber
from gateway.ports import Candidate, LocalRecord, MatchOutcome, Search

MATCH: Final = 0.95
POTENTIAL: Final = 0.85

# Why a record did not link, as the work list says it. Constants: nothing of a record is ever in them.
NO_BIRTH_DATE: Final = "the birth date is missing, estimated or expected"
NO_NAME: Final = "a family name and a given name are needed"
NOT_SEARCHED: Final = "PDS does not search by what the record says"
NOBODY: Final = "LocalDemographicsDidNotMatchToAnNhsNumber"
SEVERAL: Final = "more than one person fits"
LOW: Final = "the score is below 0.85"
POSSIBLE: Final = "the score is below 0.95"
OTHER_GIVEN: Final = "another given name: a twin, or another child at the address"
OTHER_FAMILY: Final = "another family name"
OTHER_BIRTH_DATE: Final = "another birth date"
OTHER_GENDER: Final = "another gender"
NO_ADDRESS: Final = "no address agrees, so only name and birth date do"
NOT_VALID: Final = "LocalNhsNumberIsNotValid"
NOT_FOUND: Final = "LocalNhsNumberIsNotFoundInNhs"
INVALIDATED: Final = "the number is no longer in use"
BURIED: Final = "belongs to a number that is no longer in use"
DIFFERENCES: Final = "Differences"
AGREES: Final = "NoDifferences"
SUPERSEDED: Final = "LocalNhsNumberIsSuperseded"
FOUND: Final = "found by name, birth date and address"
_TOLD = frozenset({"female", "male"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with its reason. `number` only with Match."""

    outcome: MatchOutcome
    reason: str
    number: NhsNumber | None = None


def unfit(record: LocalRecord) -> Verdict | None:
    """What no question to PDS can mend; None: PDS may be asked."""
    if record.birth_date is None or record.birth_date_doubt:
        return Verdict("NoMatch", NO_BIRTH_DATE)
    if record.number is None and not (folded(record.family) and folded(record.given)):
        return Verdict("NoMatch", NO_NAME)
    return None


def reconcile(record: LocalRecord, identity: PatientIdentity | NotUsable) -> Verdict:
    """A record that carries a number, and the trace of that number.

    A given name that PDS does not know is a difference even where number and birth date agree: twins' numbers are swapped.
    """
    assert record.number is not None
    if isinstance(identity, NotUsable):
        return Verdict("NoMatch", INVALIDATED if identity.reason in ("invalidated", "sealed") else NOT_FOUND)
    if identity.birth_date != record.birth_date:
        return Verdict("NoMatch", DIFFERENCES)
    given = _given_names(identity.patient)
    if given and folded(record.given) and not given & _words(record.given):
        return Verdict("NoMatch", DIFFERENCES)
    return Verdict("Match", SUPERSEDED if record.number != identity.number else AGREES, identity.number)


def judge(record: LocalRecord, found: Sequence[Candidate] | Search) -> Verdict:
    """A record without a number, and the answer to a search that was not fuzzy."""
    if found == "refused":
        return Verdict("Error", NOT_SEARCHED)
    if found == "many" or len(found) > 1:
        return Verdict("ManyMatch", SEVERAL)
    if not found:
        return Verdict("NoMatch", NOBODY)
    (candidate,) = found
    assert isinstance(candidate, Candidate)
    if candidate.score < POTENTIAL:
        return Verdict("LowConfidenceMatch", LOW)
    doubt = POSSIBLE if candidate.score < MATCH else _doubt(record, candidate)
    if doubt is not None:
        return Verdict("PotentialMatch", doubt)
    return Verdict("Match", FOUND, candidate.traced.number)


def folded(text: str) -> str:
    """A name as it is compared: without case, accents, hyphens, apostrophes and spaces."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if letter.isalnum())


def _doubt(record: LocalRecord, candidate: Candidate) -> str | None:
    traced = candidate.traced
    if traced.birth_date != record.birth_date:
        return OTHER_BIRTH_DATE
    gender = str(traced.patient.get("gender", ""))
    if record.gender in _TOLD and gender in _TOLD and gender != record.gender:
        return OTHER_GENDER
    names = [name for name in _each(traced.patient.get("name")) if name.get("use") != "old"]
    if folded(record.family) not in {folded(str(name.get("family", ""))) for name in names}:
        return OTHER_FAMILY
    if folded(record.given) not in {folded(" ".join(map(str, name.get("given", ())))) for name in names} | {
        folded(str(name["given"][0])) for name in names if name.get("given")
    }:
        return OTHER_GIVEN
    postcodes = {folded(str(address.get("postalCode", ""))) for address in _each(traced.patient.get("address"))}
    if not folded(record.postcode) or folded(record.postcode) not in postcodes:
        return NO_ADDRESS
    return None


def _given_names(patient: Resource) -> set[str]:
    return {word for name in _each(patient.get("name")) for given in name.get("given", ()) for word in _words(str(given))}


def _words(text: str) -> set[str]:
    return {folded(word) for word in text.split()} - {""}


def _each(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []

"""Whose record it is: one Patient, with one number, and nothing in it that is about anybody else."""

from datetime import date
from typing import Any

from adapters.gp.entries import Entry
from adapters.gp.links import Json, dicts, reference_of, text_of
from gateway.adapter import Claim, SourceContractBroken

_NHS_NUMBER = "https://fhir.nhs.uk/id/nhs-number"  # in lower case
_THINGS = frozenset({"Device", "Group", "Location", "Medication", "Substance"})


def subjects(resource: Json) -> set[str]:
    """The Patients that a resource says it is about."""
    said = {reference_of(resource.get(name)).strip() for name in ("patient", "subject")}
    return {reference for reference in said if "Patient/" in reference}


def one_patient(entries: list[Entry]) -> Json:
    """The record's Patient. Raises `SourceContractBroken` where there is none, or more than one."""
    patients = [entry.resource for entry in entries if entry.kind == "Patient"]
    if len(patients) != 1:
        raise SourceContractBroken("the record does not hold exactly one Patient")
    return patients[0]


def claim_of(patient: Json) -> Claim:
    """A Patient -> whose record it says it is. Raises `SourceContractBroken`."""
    numbers = {
        _number_in(identifier)
        for identifier in dicts(patient, "identifier")
        if _is_nhs_number(identifier) and identifier.get("use") != "old"
    }
    number = numbers.pop() if len(numbers) == 1 else None
    if not number:
        raise SourceContractBroken("the record's Patient does not name one NHS number")
    born = patient.get("birthDate")
    try:
        return Claim(nhs_number=number, birth_date=date.fromisoformat(born.strip()) if born else None)
    except (AttributeError, TypeError, ValueError):
        raise SourceContractBroken("the record's Patient has a birth date that is none") from None


def _is_nhs_number(identifier: Json) -> bool:
    return text_of(identifier.get("system")).strip().lower() == _NHS_NUMBER


def check_subject(resource: Json, itself: str, about: Claim) -> None:
    """Raises `SourceContractBroken` for a resource about anybody but `itself`, by reference or by number."""
    for name in ("patient", "subject"):
        whole = resource.get(name)
        if whole is None:
            continue
        said = reference_of(whole)
        if said and said != itself and said.strip() != itself and not is_of_a_thing(said):
            raise SourceContractBroken("a resource of the record names another Patient")
        if whole.__class__ is dict and "identifier" in whole:
            named = whole["identifier"]
            if isinstance(named, dict) and _is_nhs_number(named) and _number_in(named) != about.nhs_number:
                raise SourceContractBroken("a resource of the record names another person's NHS number")


def names_nobody(resource: Json) -> bool:
    """Whether a resource has somebody it is about, and says by neither reference nor NHS number who that is.

    `check_subject` has seen by then that a number is the record's own.
    """
    for name in ("patient", "subject"):
        whole = resource.get(name)
        if whole is not None and not reference_of(whole).strip() and not _is_numbered(whole):
            return True
    return False


def _is_numbered(whole: Any) -> bool:
    named = whole.get("identifier") if whole.__class__ is dict else None
    return named.__class__ is dict and _is_nhs_number(named) and bool(_number_in(named))


def is_of_a_thing(said: str) -> bool:
    """A device, a place or a group: that is not about a person at all, and is refused by itself."""
    return said.strip().partition("/")[0] in _THINGS


def _number_in(identifier: Json) -> str:
    return "".join(text_of(identifier.get("value")).split())

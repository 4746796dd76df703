"""What is asked beyond the house: PDS, its search, and where a practice is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, Protocol

from gateway.model import Resource
from gateway.nhs_number import NhsNumber


@dataclass(frozen=True, slots=True)
class Traced:
    """What PDS answered: one usable person. Source: PDS FHIR R4, GET /Patient/{id}."""

    number: NhsNumber  # may differ from the one asked: superseded
    birth_date: date | None
    deceased: bool
    restricted: bool
    practice: str | None  # "ods:..."
    patient: Resource = field(repr=False)  # UK Core Patient as PDS gave it, reduced to the elements we show
    version: str  # meta.versionId


TraceFailure = Literal["unknown", "invalidated", "bad-number"]


class Demographics(Protocol):
    """The tracer."""

    async def trace(self, number: NhsNumber, correlation_id: str) -> Traced | TraceFailure:
        """One PDS read. Raises `TracerDown` when there is no answer to trust (429, 5xx, time-out, nonsense)."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Wanted:
    """What a search of PDS names. Birth date and family name always."""

    family: str
    given: str
    birth_date: date
    gender: str
    postcode: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One person a search found, with the score PDS gave it."""

    score: float
    traced: Traced


Search = Literal["many", "refused"]  # more than one fits; PDS will not search by what the record says


class DemographicsSearch(Protocol):
    """Who a person without an NHS number may be."""

    async def search(self, wanted: Wanted, correlation_id: str, *, exact: bool) -> Sequence[Candidate] | Search:
        """One PDS search, never fuzzy. `exact` False: by beginnings of names, and names of before.

        Raises `TracerDown` when there is no answer to trust.
        """
        ...


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a practice's GP Connect service is. Source: Spine Directory Service FHIR R4, Device and Endpoint."""

    asid: str
    address: str

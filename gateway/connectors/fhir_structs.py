"""The usual answer of a FHIR server: a Bundle read in one pass, its resources grouped by whose each says it is."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET

from gateway import mapping
from gateway.adapter import Claim, SourceContractBroken, SourceRecord
from gateway.resource import Several, Typed

SCHEMA: Final = "fhir-r4"
UNKEYED: Final = "a resource does not say whose it is"
OF_NOBODY: Final = frozenset(  # types that are about no patient, and come along with what is
    ("Organization", "Practitioner", "PractitionerRole", "Location", "HealthcareService", "Medication", "Substance", "Endpoint")
)


def read_structs(body: bytes, reader: mapping.Reader) -> Any | None:
    """A Bundle whose resources are all of the usual shape, read at once; None: piece by piece."""
    return reader.read_all(body)


def of_structs(entries: Sequence[Any], now: datetime) -> Sequence[SourceRecord]:
    """Its entries -> records, the resources about one person in one. No Patient is among them: whose each is, it says itself.

    Raises `SourceContractBroken` for one that does not.
    """
    of_nobody = Several([], [], [])
    about: dict[str, Several] = {}
    known: dict[type[msgspec.Struct], tuple[str, bool, str]] = {}
    number: str | None = None
    here = of_nobody
    for place, entry in enumerate(entries, start=1):
        form = entry.resource
        found = known.get(form.__class__)
        if found is None:
            kind = str(form.__struct_config__.tag)
            found = known[form.__class__] = kind, kind in OF_NOBODY, mapping.naming(kind) or ""
        kind, names_nobody, name = found
        if names_nobody:
            together = of_nobody
        else:
            stated = mapping.number_of(getattr(form, name, UNSET))
            if stated is None:
                raise SourceContractBroken(UNKEYED)
            if stated != number:  # nearly always the one before
                number, here = stated, about.setdefault(stated.replace(" ", ""), Several([], [], []))
            together = here
        meta = form.meta
        together.resources.append(Typed(form, kind, entry.met))
        together.places.append(place)
        together.updated.append(None if meta is UNSET or meta.lastUpdated is UNSET else meta.lastUpdated)
    claims = {Claim(nhs_number=number): several for number, several in about.items()}
    records = [SourceRecord(SCHEMA, several, "entries", now, claim) for claim, several in claims.items()]
    if of_nobody.resources:
        records.append(SourceRecord(SCHEMA, of_nobody, "entries", now, only(set(claims))))
    return records


def only(claims: set[Claim]) -> Claim:
    """The one person of an answer. Raises `SourceContractBroken` where there are none or several."""
    if len(claims) != 1:
        raise SourceContractBroken(UNKEYED)
    return claims.pop()

"""What one source may see of the store: its own shelf and its own row of the crosswalk. No source sees another's."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from gateway.adapter import Arrival, Claim, Clock, ShelfRecord
from gateway.model import PatientIdentity
from gateway.nhs_number import NhsNumber
from gateway.ports import Crosswalk, ShelfStore, ShelfStored

CONTESTED: Final = "contested"  # the schema of no map

_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def shelved(arrival: Arrival) -> bytes | None:
    """An arrival -> the canonical bytes the shelf keeps (encrypted by the store); None for a deletion."""
    record = arrival.record
    if record is None:
        return None
    about = arrival.about
    born = about.birth_date.isoformat() if about.birth_date else None
    return _encode(
        {
            "schema": record.schema,
            "data": record.data,
            "where": record.where,
            "locked": record.locked,
            "not_early_years": record.not_early_years,
            "protected": sorted(arrival.protected),
            "about": [about.nhs_number, about.local_id, born],
        }
    )


class SourceShelf:
    """`gateway.adapter.Shelf` for one source."""

    def __init__(self, store: ShelfStore, source: str, now: Clock) -> None:
        self._store, self._source, self._now = store, source, now

    async def newest(self, holder: NhsNumber | str) -> Sequence[ShelfRecord]:
        """What is held of somebody else, too, comes as a record that no map reads: it is not shown, and the answer says so."""
        held = await self._store.heard(self._source, holder, self._now())
        return [replace(_record(stored), data={}, schema=CONTESTED) if stored.contested else _record(stored) for stored in held]

    async def delivered_at(self) -> datetime | None:
        return await self._store.delivered_at(self._source)


class SourceLocalIds:
    """`gateway.adapter.LocalIds` for one source."""

    def __init__(self, crosswalk: Crosswalk, source: str) -> None:
        self._crosswalk, self._source = crosswalk, source

    async def of(self, patient: PatientIdentity) -> Sequence[Claim]:
        found = []
        for number in (patient.number, *patient.superseded):
            rows = await self._crosswalk.local_ids(self._source, number)
            found += [Claim(local_id=local_id, birth_date=born) for local_id, born in rows]
        return found


def locks_of(stored: ShelfStored) -> frozenset[str] | None:
    """The locks that a copy came with; None: it was shelved before they were kept with it."""
    said = _decode(stored.body).get("protected")
    return None if said is None else frozenset(said)


def _record(stored: ShelfStored) -> ShelfRecord:
    body: Any = _decode(stored.body)
    number, local_id, born = body["about"]
    about = Claim(number, local_id, date.fromisoformat(born) if born else None)
    return ShelfRecord(
        kind=stored.kind,
        business_id=stored.business_id,
        sender=stored.sender,
        as_of=stored.as_of,
        data=body["data"],
        about=about,
        where=body["where"],
        schema=body["schema"],
        locked=body["locked"],
        not_early_years=body.get("not_early_years", False),  # not in what was shelved before there was such a mark
    )

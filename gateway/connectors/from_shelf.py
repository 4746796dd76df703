"""What a source that delivers files answers a request with: the newest copies on its shelf, how fresh they are, their locks."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from gateway.adapter import (
    Manifest,
    NhsNumber,
    PatientIdentity,
    SourceFacts,
    SourceRecord,
    SourceSettings,
    Tools,
    Want,
)

LOCKS: Final = "_locks"  # of a record's data: the locks it asserts about the person
STALE: Final = "_stale"  # of a record's data: so that a map can keep from calling anything active

KINDS_OF_LOCK: Final = frozenset(("address-lock", "refuge", "placement", "adoption"))
OTHER_LOCK: Final = "disclosure-lock"  # a kind we do not know: a lock all the same


def lock_of(word: str) -> str:
    """A source's own word for a lock -> its kind. No word of a source goes further than this."""
    return word if word in KINDS_OF_LOCK else OTHER_LOCK


async def from_shelf(
    manifest: Manifest, source: SourceSettings, tools: Tools, patient: PatientIdentity, want: Want, *, max_age_h: float | None
) -> AsyncIterator[SourceRecord | SourceFacts]:
    """Everything in date kept of this person, then how fresh the shelf is and which locks the records assert.

    `max_age_h` None: only the source's own setting makes a delivery stale.
    """
    hours = source.max_age_h or max_age_h
    delivered = await tools.shelf.delivered_at()
    stale = hours is not None and (delivered is None or tools.now() - delivered > timedelta(hours=hours))
    protected: set[str] = set()
    wanted = "*" in want.types or bool(want.types & manifest.gives.keys())
    for holder in await _holders(manifest, tools, patient):
        for kept in await tools.shelf.newest(holder):
            protected |= set(kept.data.get(LOCKS, ()))
            if wanted:
                data = {**kept.data, STALE: True} if stale else kept.data
                yield SourceRecord(kept.schema, data, kept.where, kept.as_of, kept.about, kept.locked)
    yield SourceFacts(protected=frozenset(protected), as_of=delivered, stale=stale)


async def _holders(manifest: Manifest, tools: Tools, patient: PatientIdentity) -> list[NhsNumber | str]:
    if manifest.identity == "nhs_number":
        return [patient.number, *patient.superseded]
    return [claim.local_id for claim in await tools.local_ids.of(patient) if claim.local_id is not None]

"""A local id comes to belong to a person: what its source has said of that person's locks counts from that instant.

A delivery that came before the link named somebody nobody knew yet, so its locks could not go into the protected index. They
are with the copies on the shelf. So: protected by `AWAITING` before the link, then linked, then protected by exactly what the
newest copies say. A copy that does not say it, since it was shelved by an older release, leaves `AWAITING` until the next
delivery; so does a process killed in between. Whom the source does not list, it says nothing of: they are not protected by it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway import matching
from gateway.adapter import Clock
from gateway.flows.shelving import locks_of
from gateway.nhs_number import NhsNumber
from gateway.ports import Crosswalk, CrosswalkRow, Protections, ShelfStore

AWAITING: Final = "awaiting-next-delivery"
OTHER_NUMBER: Final = "the local id is verified for another NHS number"


@dataclass(frozen=True, slots=True)
class Linking:
    """What this is given."""

    crosswalk: Crosswalk
    protections: Protections
    shelf: ShelfStore
    now: Clock


@dataclass(frozen=True, slots=True)
class Heard:
    """What a source's deliveries say of people who were linked just now."""

    protected: int = 0  # by a lock that was delivered
    awaiting: int = 0  # by doubt, until the next delivery


@dataclass(frozen=True, slots=True)
class Sifted:
    """What verified matches come to beside those that are held."""

    wanted: Sequence[CrosswalkRow]  # new, or the same number with another birth date
    refused: Mapping[str, str]  # local id -> why
    twice: frozenset[str]  # wanted, of somebody whom this source holds under another id as well


async def sift(linking: Linking, rows: Sequence[CrosswalkRow], *, moves: bool) -> Sifted:
    """Matches that a custodian verified, one for each id -> those to link. `moves`: a person decided that ids may move.

    An id that is verified for a number which PDS has since replaced by this one is no contradiction.
    """
    refused = {row.local_id: matching.BURIED for row in await linking.crosswalk.buried(rows)}
    wanted, twice = [], set()
    leading = Counter(row.number for row in rows)
    for row in rows:
        if row.local_id in refused:
            continue
        held = await linking.crosswalk.number_of(row.source, row.local_id)
        ids = {local_id for local_id, _ in await linking.crosswalk.local_ids(row.source, row.number)}
        if held is not None and held != row.number and row.local_id not in ids and not moves:
            refused[row.local_id] = OTHER_NUMBER
            continue
        wanted.append(row)
        if held != row.number and (leading[row.number] > 1 or ids - {row.local_id}):
            twice.add(row.local_id)
    return Sifted(wanted, refused, frozenset(twice))


async def link(linking: Linking, rows: Sequence[CrosswalkRow], *, by: str = "") -> tuple[int, Heard]:
    """Links, durable -> how many are new or changed, and what deliveries said before of those people."""
    fresh = await hold_back(linking, rows)
    made = await linking.crosswalk.put(rows, by=by)  # each with its own event, in the same transaction
    return made, await hear(linking, fresh)


async def hold_back(linking: Linking, rows: Sequence[CrosswalkRow]) -> Sequence[CrosswalkRow]:
    """Before the links are made: whom they are new for is protected -> those links. No copy can be read unprotected meanwhile."""
    if not rows or await linking.shelf.delivered_at(rows[0].source) is None:
        return ()
    fresh = [
        row for row in rows if row.kind != "upn" and await linking.crosswalk.number_of(row.source, row.local_id) != row.number
    ]
    if fresh:
        waiting = {row.number: frozenset({AWAITING}) for row in fresh}
        await linking.protections.add_locks(fresh[0].source, waiting, linking.now())
    return fresh


async def hear(linking: Linking, fresh: Sequence[CrosswalkRow]) -> Heard:
    """After the links are made: what the copies say takes the place of waiting."""
    said: dict[NhsNumber, frozenset[str]] = {}
    doubtful: set[NhsNumber] = set()
    for row in fresh:
        if await linking.crosswalk.number_of(row.source, row.local_id) != row.number:
            continue  # not linked after all: what that id's copies say is of nobody here
        for copy in await linking.shelf.newest(row.source, row.local_id, linking.now()):
            locks = locks_of(copy)
            if locks is None:
                doubtful.add(row.number)
            elif locks:
                said[row.number] = said.get(row.number, frozenset()) | locks
    if said:
        await linking.protections.add_locks(fresh[0].source, said, linking.now())
    known = [row.number for row in fresh if row.number not in doubtful]
    if known:
        await linking.protections.lift_each(fresh[0].source, AWAITING, known)
    return Heard(len(said), len(doubtful))

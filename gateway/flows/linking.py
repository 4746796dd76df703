"""A local id comes to belong to a person: what its source has said of that person's locks counts from that instant.

A delivery that came before the link named somebody nobody knew yet, so its locks could not go into the protected index. They
are with the copies on the shelf. So: protected by `AWAITING` in the transaction that links, then by exactly what the newest
copies of all their ids say. `AWAITING` stays where that is in doubt: a copy of an older release does not say it, and a copy held
of somebody else, too, may be of either. The lock is the mark, too, of a process killed in between: whoever links next hears the
copies again of all who have it, and lifts it only as it was before they were heard: another link of the same child, made
meanwhile, has asserted it anew. Whom the source does not list, it says nothing of: they are not protected by it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway import matching
from gateway.adapter import Clock
from gateway.flows.shelving import locks_of
from gateway.nhs_number import NhsNumber
from gateway.ports import Crosswalk, CrosswalkRow, Persons, Protections, ShelfStore

AWAITING: Final = "awaiting-next-delivery"
OTHER_NUMBER: Final = "the local id is verified for another NHS number"
OTHER_DATE: Final = "the local id is verified with another birth date"


@dataclass(frozen=True, slots=True)
class Linking:
    """What this is given."""

    crosswalk: Crosswalk
    protections: Protections
    shelf: ShelfStore
    now: Clock


@dataclass(frozen=True, slots=True)
class Heard:
    """What a source's deliveries say of people who were linked just now, or by a process that died before it was heard."""

    protected: int = 0  # by a lock that was delivered
    awaiting: int = 0  # by doubt, until the next delivery


@dataclass(frozen=True, slots=True)
class Sifted:
    """What verified matches come to beside those that are held."""

    wanted: Sequence[CrosswalkRow]  # new; what is held and its birth date where the row says none; or what a person decided
    refused: Mapping[str, str]  # local id -> why
    twice: frozenset[str]  # wanted, of somebody whom this source holds under another id as well
    moved: Mapping[str, NhsNumber]  # wanted, by a person's decision -> the number it is verified for until now


async def sift(linking: Linking, persons: Persons, rows: Sequence[CrosswalkRow], *, moves: bool) -> Sifted:
    """Matches that a custodian verified, one for each id -> those to link. `moves`: a person decided that ids may move.

    A number that PDS has replaced is that of its successor, in the rows and in what is held. A birth date that is held
    is evidence of a link: no row without one takes it away, and none with another one replaces it, unless a person decided.
    """
    rows = [replace(row, number=await _current(persons, row.number)) for row in rows]
    refused = {row.local_id: matching.BURIED for row in await linking.crosswalk.buried(rows)}
    wanted, twice, moved = [], set(), {}
    leading = Counter(row.number for row in rows)
    for row in rows:
        if row.local_id in refused:
            continue
        held = await linking.crosswalk.number_of(row.source, row.local_id)
        ids = dict(await linking.crosswalk.local_ids(row.source, row.number))
        born = ids.get(row.local_id)
        if held is not None and held != row.number and row.local_id not in ids:
            if not moves:
                refused[row.local_id] = OTHER_NUMBER
                continue
            moved[row.local_id] = held
        if born is not None and row.birth_date not in (None, born) and not moves:
            refused[row.local_id] = OTHER_DATE
            continue
        wanted.append(replace(row, birth_date=row.birth_date or born))
        if held != row.number and (leading[row.number] > 1 or ids.keys() - {row.local_id}):
            twice.add(row.local_id)
    return Sifted(wanted, refused, frozenset(twice), moved)


async def link(linking: Linking, rows: Sequence[CrosswalkRow], *, by: str = "") -> tuple[int, Heard]:
    """Links, durable -> how many are new or changed, and what deliveries said before of those people."""
    fresh, waiting = await unheard(linking, rows)
    made = await linking.crosswalk.put(rows, by=by, waiting=waiting)  # each with its own event, in the same transaction
    return made, await hear_again(linking, rows[0].source, fresh) if rows else Heard()


async def left_alone(linking: Linking, source: str, numbers: Iterable[NhsNumber]) -> Sequence[str]:
    """People whom ids were moved away from -> the ids that are the only one of theirs now: nobody holds them twice any more."""
    ids = [await linking.crosswalk.local_ids(source, number) for number in numbers]
    return [held[0][0] for held in ids if len(held) == 1]


async def unheard(linking: Linking, rows: Sequence[CrosswalkRow]) -> tuple[Sequence[CrosswalkRow], str]:
    """Before the links are made -> those that are new, and the lock that is put on them with the links, if any was delivered."""
    if not rows or await linking.shelf.delivered_at(rows[0].source) is None:
        return (), ""
    fresh = [
        row for row in rows if row.kind != "upn" and await linking.crosswalk.number_of(row.source, row.local_id) != row.number
    ]
    return fresh, AWAITING


async def hear(linking: Linking, fresh: Sequence[CrosswalkRow]) -> Heard:
    """After the links are made: what the copies say takes the place of waiting."""
    return await _hear(linking, fresh[0].source, [row.number for row in fresh]) if fresh else Heard()


async def hear_again(linking: Linking, source: str, fresh: Sequence[CrosswalkRow] = ()) -> Heard:
    """The same of those, too, who still wait since a process died before it had heard what their copies say."""
    return await _hear(linking, source, [*(row.number for row in fresh), *await linking.crosswalk.locked(source, AWAITING)])


async def _hear(linking: Linking, source: str, numbers: Sequence[NhsNumber]) -> Heard:
    said: dict[NhsNumber, frozenset[str]] = {}
    known: list[NhsNumber] = []
    since = await linking.protections.since(source, AWAITING, list(dict.fromkeys(numbers)))  # before anything is heard
    for number in dict.fromkeys(numbers):
        # Of every id of theirs: another one's lock may be what is waited for. An id linked to somebody else is none of them.
        held = [local_id for local_id, _ in await linking.crosswalk.local_ids(source, number)]
        copies = [copy for local_id in held for copy in await linking.shelf.heard(source, local_id, linking.now())]
        told = [locks_of(copy) for copy in copies]
        locks = frozenset[str]().union(*(one for one in told if one is not None))
        if locks:
            said[number] = locks
        if None not in told and not any(copy.contested for copy in copies):
            known.append(number)
    if said:
        await linking.protections.add_locks(source, said, linking.now())
    if known:
        await linking.protections.lift_each(source, AWAITING, {number: since[number] for number in known if number in since})
    return Heard(len(said), len(set(numbers)) - len(known))


async def _current(persons: Persons, number: NhsNumber) -> NhsNumber:
    """The number that PDS said replaced it, or itself."""
    row = await persons.by_number(number)
    heir = None if row is None or row.successor is None else await persons.by_id(row.successor)
    return number if heir is None or heir.status != "live" else heir.number

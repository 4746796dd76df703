"""The entries of a structured record: what each is called, what it contains, which key it has and which allergies have ended.

Source: GP Connect Access Record Structured 1.6.2, "Using the List resource".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.gp import lists
from adapters.gp.kinds import FRAME, KNOWN, R4_TYPES, SCHEMAS, UNREADABLE
from adapters.gp.links import Json, business_identifier, dicts, digest, own_id, reference_of, token
from gateway.adapter import SourceContractBroken

UNKNOWN = "another type"  # a foreign word never becomes a locator
MOST = 100_000  # resources, contained ones included: five times those of a record of 20 MB


@dataclass(slots=True)
class Entry:
    """One resource of the record, and where it stands."""

    where: str
    resource: Json
    kind: str = UNREADABLE
    local: str = ""  # its id in this answer
    code: str = ""  # of a List
    holder: "Entry | None" = None  # the resource that contains it
    target: str = ""  # `Type/key`, once the whole record has been seen
    name: str = field(init=False)  # what a reference to it says; its place where it has no id

    def __post_init__(self) -> None:
        around = f"{self.kind}/" if self.holder is None else f"{self.holder.name}#"
        self.name = around + self.local if self.local else self.where


def entries(listed: list[Any]) -> Iterator[Entry]:
    """Each entry of a Bundle, and what its resource contains, with its place. One that holds no resource is unreadable.

    Raises `SourceContractBroken` for more than `MOST`.
    """
    for before, entry in enumerate(_entries(listed)):
        if before >= MOST:
            raise SourceContractBroken("more resources than any record has")
        yield entry


def _entries(listed: list[Any]) -> Iterator[Entry]:
    for number, item in enumerate(listed, start=1):
        resource = item.get("resource") if isinstance(item, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(resource, dict) or not isinstance(kind, str):
            yield Entry(f"entry {number}", {"resourceType": UNREADABLE})
            continue
        where = f"entry {number}, {kind if kind in KNOWN else UNKNOWN}"
        code = lists.code_of(resource) if kind == "List" else ""
        entry = Entry(where, resource, kind, own_id(resource), code)
        yield entry
        if "contained" in resource and kind in SCHEMAS:
            yield from _contained(entry)


def _contained(holder: Entry) -> Iterator[Entry]:
    """What a resource contains: most of all allergies, in the List of those that have ended."""
    held = holder.resource["contained"]
    for number, resource in enumerate(held if isinstance(held, list) else [held], start=1):
        place = f"{holder.where}, contained {number}"
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(resource, dict) or not isinstance(kind, str):
            yield Entry(place, {"resourceType": UNREADABLE}, holder=holder)
            continue
        if kind in FRAME:
            raise SourceContractBroken("a resource of the record contains a Patient or an OperationOutcome of its own")
        yield Entry(f"{place}, {kind if kind in KNOWN else UNKNOWN}", resource, kind, own_id(resource), holder=holder)


def keyed(clinical: list[Entry]) -> dict[str, str]:
    """Gives each its `target`. What a reference to each may say (or, without id, its place) -> `Type/key`.

    The business identifier outlives a request, the id need not. Two different resources under one identifier keep
    apart by their ids, or places; two equal ones are one. Lists of one answer share ids or have none: their code tells them
    apart. An id that different resources share leads to none of them: to the wrong medicine would be worse than to none.
    """
    links: dict[str, str] = {}
    owner: dict[str, Json] = {}
    words: dict[int, bytes] = {}  # of each resource that has to be told apart, once
    shared: set[str] = set()
    for entry in clinical:
        kind, resource, local = entry.kind, entry.resource, entry.local
        if kind not in SCHEMAS:
            continue
        business = business_identifier(resource)
        apart = (kind,) if kind in R4_TYPES else ()  # two kinds that become one type never share a key
        target = f"{kind}/{token(*apart, business or local or entry.code or entry.where)}"
        if owner.setdefault(target, resource) is not resource:
            target = _told_apart(entry, target, owner, words, business, apart)
        entry.target = target
        if links.setdefault(entry.name, target) != target:
            shared.add(entry.name)
    for entry in clinical:  # some refer to what a List contains as if it stood by itself
        if entry.holder is not None and entry.target and entry.local:
            name = f"{entry.kind}/{entry.local}"
            if links.setdefault(name, entry.target) != entry.target:
                shared.add(name)
    return {name: target for name, target in links.items() if name not in shared} if shared else links


def _told_apart(
    entry: Entry, target: str, owner: dict[str, Json], words: dict[int, bytes], business: str, apart: tuple[str, ...]
) -> str:
    """The key of a resource whose first choice of one somebody has already.

    By digest: each is read once, however many share a key. Compared one by one, one of megabytes would be read for each.
    """
    for more in ((business, entry.local or entry.where), (business, entry.local, entry.where)):
        first = owner.setdefault(target, entry.resource)
        if first is entry.resource or _words(first, words) == _words(entry.resource, words):
            break
        target = f"{entry.kind}/{token(*apart, *more)}"
    return target


def _words(resource: Json, known: dict[int, bytes]) -> bytes:
    found = known.get(id(resource))
    if found is None:
        found = known[id(resource)] = digest(resource)
    return found


def ended(clinical: list[Entry], links: Mapping[str, str]) -> frozenset[str]:
    """Keys of the allergies that have ended: those in the List of these, under whichever of their names.

    One that the active List names as well, or in its stead, counts as active.
    """
    named: dict[str, set[str]] = {lists.ALLERGIES: set(), lists.ENDED_ALLERGIES: set()}
    for entry in clinical:
        if entry.code in named:
            named[entry.code].update(reference_of(item.get("item")).strip() for item in dicts(entry.resource, "entry"))
    allergies = [entry for entry in clinical if entry.kind == "AllergyIntolerance"]
    over = [entry for entry in allergies if entry.name in named[lists.ENDED_ALLERGIES] or _is_held_as_ended(entry)]
    if not over:
        return frozenset()
    alike = {business_identifier(entry.resource) for entry in over} - {""}
    over += [entry for entry in allergies if business_identifier(entry.resource) in alike]
    return frozenset({entry.target for entry in over} - {links.get(said, "") for said in named[lists.ALLERGIES]})


def _is_held_as_ended(entry: Entry) -> bool:
    return entry.holder is not None and entry.holder.code == lists.ENDED_ALLERGIES

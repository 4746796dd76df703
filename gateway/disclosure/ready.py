"""A resource of a large answer, taken out of and labelled in another process: here only the decision is left to be made.

What does not depend on a decision is done there, for the marks that one permit strips; what does is done here, resource by
resource. `strip` says for which marks it was done, and disclosure refuses it for any other permit.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from gateway.disclosure.labels import labelled, labels_of, not_for_family, raised
from gateway.disclosure.stripping import WHOLE, Branches, branches_of, strip, sweep
from gateway.model import CareClass, Category, MappedResource, Mark, Resource
from gateway.resource import encoded, name_of

Paths: TypeAlias = Mapping[Mark, tuple[tuple[str, ...], ...]]
# a mark, its paths, the elements they begin at, their branches
Task: TypeAlias = tuple[Mark, tuple[tuple[str, ...], ...] | None, frozenset[str], Branches]
Work: TypeAlias = tuple[Task, ...]
UNKNOWN_LABEL = "unknown-label"

_MARKS = frozenset(Mark)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Ready(Mapping[str, Any]):
    """One resource as it would leave, read like any other: its bytes are taken apart only when somebody looks inside."""

    __slots__ = ("_plain", "care_class", "encoded", "family", "held", "id", "kind", "meta", "strip", "stripped", "times")

    def __init__(
        self,
        kind: str,
        own_id: str,
        care_class: CareClass,
        strip: frozenset[Mark],
        family: bool,
        held: str,
        stripped: tuple[Mark, ...],
        meta: Mapping[str, Any],
        encoded: bytes,
    ) -> None:
        self.kind, self.id, self.meta = kind, own_id, meta
        self.care_class = care_class  # as its own labels raise it
        self.strip = strip  # the marks that were to go
        self.family = family  # a label keeps it from the person's family
        self.held = held  # what withholds it once its class is permitted; "" nothing does
        self.stripped = stripped
        self.encoded = encoded  # empty where it is withheld in any case
        self.times = 0  # of one that stands for others which are on no page of this answer: how many
        self._plain: dict[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        if name == "id":
            return self.id
        if name == "resourceType":
            return self.kind
        if name == "meta":
            return self.meta
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def __repr__(self) -> str:
        return f"Ready({self.kind})"  # never what is in it

    def _whole(self) -> dict[str, Any]:
        if self._plain is None:
            self._plain = _decode(self.encoded) if self.encoded else {"resourceType": self.kind, "id": self.id}
        return self._plain


def stands_for(times: int, *arguments: Any) -> Ready:
    """One that nothing leaves of: it is decided on for so many that are alike in all that a decision depends on."""
    made = Ready(*arguments)
    made.times, made.encoded = times, b""
    return made


def readied(item: MappedResource, strip: frozenset[Mark]) -> tuple[Any, ...]:
    """What was mapped and the marks that are to go -> the arguments of its `Ready`: plain values, for another process."""
    kind, own_id = name_of(item.body)
    if not isinstance(item.category, Category) or not isinstance(item.care_class, CareClass):
        return kind, own_id, item.care_class, strip, False, UNKNOWN_LABEL, (), {}, b""
    labels = labels_of(item.body)
    care_class, family = raised(item.care_class, labels) if labels else item.care_class, not_for_family(labels)
    body, held, stripped = taken_out(item.body, work_of(strip, item.paths))
    if body is None:
        return kind, own_id, care_class, strip, family, held, (), {}, b""
    body = labelled(body, care_class, labels, ours=bool(stripped))
    return kind, own_id, care_class, strip, family, "", stripped, body["meta"], encoded(body)


def work_of(gone: frozenset[Mark], paths: Paths) -> Work:
    """What has to go from a resource with these marks, mark by mark. Paths are None for one that is not known.

    A resource with none of the elements has nothing at the paths; no elements are named where that does not follow.
    """
    if not paths.keys() <= _MARKS:
        return ((Mark.LOCATING, None, frozenset(), ()),)
    marks = [mark for mark in Mark if mark in gone and (mark in paths or mark is Mark.LOCATING)]
    return tuple((mark, (of := paths.get(mark, ())), _elements(mark, of), branches_of(of)) for mark in marks)


def _elements(mark: Mark, paths: tuple[tuple[str, ...], ...]) -> frozenset[str]:
    if mark is Mark.LOCATING or any(path in ((), WHOLE) for path in paths):
        return frozenset()
    return frozenset(name for path in paths for name in (path[0], f"_{path[0]}"))


def taken_out(body: Resource, work: Iterable[Task]) -> tuple[Resource | None, str, tuple[Mark, ...]]:
    """A resource without what has to go, and the marks that cost it something; None, and why, where nothing whole is left."""
    stripped: tuple[Mark, ...] = ()
    left: Resource | None = body
    for mark, paths, elements, branches in work:
        if elements and left.__class__ is dict and left.keys().isdisjoint(elements):
            continue
        before, left = left, None if paths is None or left is None else strip(left, paths, branches)
        if mark is Mark.LOCATING and left is not None:
            left = sweep(left)
        if left is None:
            return None, UNKNOWN_LABEL if paths is None else f"mark:{mark}", ()
        if left is not before:
            stripped = (*stripped, mark)
    return left, "", stripped

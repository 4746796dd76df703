"""Of a large answer only what may stand on the page comes back from the other process; of the rest, how many there are.

Policy decides alike on what is alike: `Alike` is all that it is asked, and all that withholds a thing whatever it says. A page
takes the first of what may leave, in the order of their keys. So whatever is decided, no page holds more of one sort than that
sort alone would fill it with. What lies behind is decided on as one thing that stands for so many.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from gateway.disclosure import Page, Ready, stands_for
from gateway.mapping import remade
from gateway.model import MappedResource, RefusedRecord

Made = tuple[tuple[Any, ...], tuple[Any, ...]]  # the arguments of its `Ready`, and of `remade`
Alike = tuple[Any, ...]  # type, class as its labels raise it, kept from the family, held; category, locked, not early years
Others = tuple[tuple[Alike, Made, int], ...]  # of each sort one of them, and how many it stands for
TWICE = "another record has the same id"


@dataclass(frozen=True, slots=True)
class Asked:
    """The page, and of each sort the last key that can still stand on it: told to the other process."""

    count: int
    max_bytes: int
    after: str
    last: Mapping[Alike, str] = field(default_factory=dict)


def narrowed(made: Sequence[Made], asked: Asked) -> tuple[list[Made], Others]:
    """In the other process: what may stand on the page, and what the rest comes to."""
    sorts: dict[Alike, list[tuple[str, Made]]] = {}
    for one in made:
        sorts.setdefault(_alike(one), []).append((_key(one), one))
    kept: list[Made] = []
    others: list[tuple[Alike, Made, int]] = []
    for sort, all_of_it in sorts.items():
        last = asked.last.get(sort)
        ahead = [pair for pair in all_of_it if pair[0] > asked.after and (last is None or pair[0] <= last)]
        some, _ = _filling(ahead, asked.count, asked.max_bytes)
        kept += (one for _, one in some)
        if len(some) < len(all_of_it):
            others.append((sort, all_of_it[0][1], len(all_of_it) - len(some)))
    return kept, tuple(others)


def hashes(made: Sequence[Made]) -> Sequence[int]:
    """Of each key: two that are alike are heard of, though neither is sent. The same in every process."""
    return array("Q", b"".join(blake2b(_key(one).encode(), digest_size=8).digest() for one in made))


class OnePage:
    """What has come so far of one source's answer, for one page of it."""

    def __init__(self, page: Page, source: str) -> None:
        after = page.after_key or ""
        self._asked = Asked(page.count, page.max_bytes, "" if after.startswith("Patient/") else after)
        self._source = source
        self._kept: dict[Alike, list[tuple[str, Made]]] = {}
        self._last: dict[Alike, str] = {}
        self._others: dict[Alike, tuple[Made, int]] = {}
        self._keys: set[int] = set()

    def asked(self) -> Asked:
        """With what is known by now."""
        return replace(self._asked, last=dict(self._last))

    def take(self, made: Iterable[Made], others: Others, keys: Sequence[int]) -> list[RefusedRecord]:
        """What came of some of its records, with a hash of each key -> those whose key was there already, if any."""
        grown: dict[Alike, list[tuple[str, Made]]] = {}
        for one in made:
            grown.setdefault(_alike(one), []).append((_key(one), one))
        for sort, pairs in grown.items():
            self._take(sort, sorted([*self._kept.get(sort, ()), *pairs], key=_of_pair))
        for sort, first, count in others:
            self._add(sort, first, count)
        before = len(self._keys)
        self._keys.update(keys)
        twice = before + len(keys) - len(self._keys)
        return [RefusedRecord(self._source, "another part of the answer", TWICE)] * twice

    def resources(self) -> list[MappedResource]:
        """What may stand on the page, and one for each sort that stands for the rest of it."""
        found = [self._remade(Ready(*one[0]), one) for pairs in self._kept.values() for _, one in pairs]
        return found + [self._remade(stands_for(count, *first[0]), first) for first, count in self._others.values()]

    def _take(self, sort: Alike, pairs: list[tuple[str, Made]]) -> None:
        some, full = _filling(pairs, self._asked.count, self._asked.max_bytes)
        self._kept[sort] = some
        if full:
            self._last[sort] = some[-1][0]
        if len(some) < len(pairs):
            self._add(sort, pairs[0][1], len(pairs) - len(some))

    def _add(self, sort: Alike, first: Made, count: int) -> None:
        known = self._others.get(sort)
        self._others[sort] = (first, count) if known is None else (known[0], known[1] + count)

    def _remade(self, body: Ready, one: Made) -> MappedResource:
        return remade(body, self._source, *one[1])


def _alike(one: Made) -> Alike:
    kind, _, care_class, _, family, held, *_ = one[0]
    category, _, _, _, _, locked, not_early_years, *_ = one[1]
    return kind, care_class, family, held, category, locked, not_early_years


def _key(one: Made) -> str:
    return f"{one[0][0]}/{one[0][1]}"


def _of_pair(pair: tuple[str, Made]) -> str:
    return pair[0]


def _filling(pairs: Sequence[tuple[str, Made]], count: int, max_bytes: int) -> tuple[list[tuple[str, Made]], bool]:
    """The first of them, in their order, that would fill the page, and one more, so that it is known to go on; whether they do.

    As a page is cut (`gateway.disclosure.paging`): its first may be larger than a page.
    """
    size = 0
    for number, pair in enumerate(pairs, start=1):
        size += len(pair[1][0][-1])
        if number > count or (number > 1 and size > max_bytes):
            return list(pairs[:number]), True
    return list(pairs), False

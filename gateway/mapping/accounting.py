"""Every leaf of a record: mapped, ignored (with a reason in the map, or left out by its `when`), withheld, or unmapped.

A leaf counts as mapped when a resource was made by a block one of whose lines, keys or conditions reads it, and as withheld
when the only blocks that read it were refused. Paths reported as unmapped are names of fields: never values, so an extension
shows no URL that the field dictionary does not know. They are for whoever holds the record already (`gateway map run`): the
names of a record's fields may be data themselves, so what is kept and shown to others goes through `public_path` first.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from gateway.mapping.tree import Block, Either, Ext, FirstStep, Group, Line, Name, Path, Where, flow_paths
from gateway.resource import Typed

Place: TypeAlias = tuple[str | int, ...]
UNKNOWN: Final = "*"
OURS: Final = frozenset({"text", "contained", "implicitRules", "id"})  # of a resource: ours to say, or never passed on
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,39}", re.ASCII)
_DATA: Final = re.compile(r"\d{4}|\d[ -]\d")


@dataclass(frozen=True, slots=True)
class Accounting:
    """How many leaves were mapped, ignored and withheld, and the paths of those that were neither (sorted, each once)."""

    mapped: int
    ignored: int
    unmapped: tuple[str, ...]
    unmapped_leaves: int
    withheld: int = 0  # read by lines of refused resources only
    names: tuple[tuple[str, ...], ...] = ()  # of each unmapped path, segment by segment

    @property
    def leaves(self) -> int:
        """Every leaf of the record."""
        return self.mapped + self.ignored + self.withheld + self.unmapped_leaves


class Spot(msgspec.Struct):
    """A value of the record and where it stands; and of each field that was asked for, the values in it."""

    place: Place
    value: Any
    fields: "dict[str, list[Spot]] | None" = None


def account(
    data: Any,
    made: Iterable[tuple[Block, Any]],
    left_out: Iterable[tuple[Block, Any]],
    ignored: Iterable[Path],
    refused: Iterable[tuple[Block, Any]] = (),
) -> Accounting:
    """A record and what was done with it -> the accounting."""
    every = dict(leaves(Spot((), data)))
    root = Spot((), data)
    spots: dict[int, Spot] = {}

    def spot_of(item: Any) -> Spot:
        """Items are found again by identity: they are parts of the record, or all of it."""
        if item is None:
            return Spot((), None)
        if item is data:
            return root
        if not spots:
            spots.update({id(spot.value): spot for spot in _all(root)})
        return spots.get(id(item), root)

    mapped: set[Place] = set()
    for block, item in made:
        cover(block, root, root if item is None else spot_of(item), mapped)
    skipped: set[Place] = set()
    for block, item in left_out:
        cover(block, root, spot_of(item), skipped)
    for path in ignored:
        _filters(path, (root,), skipped)
        for spot in reach(path, (root,)):
            skipped.add(spot.place)
    kept_back: set[Place] = set()
    for block, item in refused:
        cover(block, root, spot_of(item), kept_back)
    done = closed(mapped, every)
    rest = every.keys() - done
    left = closed(skipped, rest)
    withheld = closed(kept_back, rest - left)
    unmapped = rest - left - withheld
    names = {tuple(part for part in place if isinstance(part, str)) for place in unmapped}
    shown = tuple(sorted({".".join(parts) for parts in names}))
    return Accounting(len(done), len(left), shown, len(unmapped), len(withheld), tuple(sorted(names)))


def account_r4(data: Any, *, made: bool) -> Accounting:
    """An R4 resource and whether it was given -> the accounting: what R4 does not have refuses it, so nothing is unmapped."""
    plain = data.plain() if isinstance(data, Typed) else data
    every = _leaves_in(plain)
    if not made:
        return Accounting(0, 0, (), 0, every)
    mapped = 0
    for name, part in plain.items() if isinstance(plain, dict) else ():
        if name == "meta" and isinstance(part, dict):
            mapped += _leaves_in([part.get("profile"), part.get("security")])
        elif name not in OURS and name != "meta":
            mapped += _leaves_in(part)
    return Accounting(mapped, every - mapped, (), 0)


def _leaves_in(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves_in, value.values()))
    if isinstance(value, list):
        return sum(map(_leaves_in, value))
    return 0 if value is None or (isinstance(value, str) and not value.strip()) else 1


def public_path(names: Iterable[str], known: frozenset[str], *, named: bool) -> str:
    """Names of fields -> a path that holds no value, fit to be kept and shown.

    A name that the field dictionary and R4 do not know may be data: an object keyed by identifiers looks like this. It is
    shown as `*`, unless the source's names come from a schema (`named`: columns, elements) and it is formed like a name.
    """
    shown = [name if name in known or (named and _NAME.fullmatch(name) and not _DATA.search(name)) else UNKNOWN for name in names]
    return ".".join(shown) or UNKNOWN


def closed(places: set[Place], among: Iterable[Place]) -> set[Place]:
    """The leaves at or below any of these places."""
    return {leaf for leaf in among if any(leaf[:end] in places for end in range(len(leaf) + 1))}


def cover(block: Block, root: Spot, item: Spot, places: set[Place]) -> None:
    """Add what a block reads of a record and its item."""
    levels = (root, item) if block.each is not None else (root,)
    for path in block.key:
        places.update(spot.place for spot in reach(path, levels))
    _condition(block.when, levels, places)
    if block.each is not None:
        _filters(block.each, (root,), places)
    _lines(block.lines, levels, places)


def _lines(lines: Iterable[Line | Group], levels: tuple[Spot, ...], places: set[Place]) -> None:
    for line in lines:
        if isinstance(line, Group):
            _filters(line.each, levels, places)
            for spot in reach(line.each, levels):
                inner = (*levels, spot)
                _condition(line.when, inner, places)
                _lines(line.lines, inner, places)
        else:
            _condition(line.when, levels, places)
            for path in flow_paths(line.flow):
                _filters(path, levels, places)
                places.update(spot.place for spot in reach(path, levels))


def _condition(when: Either | None, levels: tuple[Spot, ...], places: set[Place]) -> None:
    for tests in when.options if when is not None else ():
        for test in tests:
            _filters(test.path, levels, places)
            for spot in reach(test.path, levels):
                if not isinstance(spot.value, dict | list):
                    places.add(spot.place)


def reach(path: Path, levels: tuple[Spot, ...]) -> list[Spot]:
    """What a path leads to, from the item it stands in."""
    level = {"record": 0, "outer": max(len(levels) - 2, 0), "item": len(levels) - 1}[path.scope]
    spots = _flat(levels[level])
    for step in path.steps:
        spots = _step(step, spots)
    return spots


def _step(step: Name | Where | Ext | FirstStep, spots: list[Spot]) -> list[Spot]:
    if isinstance(step, FirstStep):
        return spots[:1]
    if isinstance(step, Name):
        return [part for spot in spots for part in _child(spot, step.name)]
    if isinstance(step, Ext):
        return [part for spot in spots for part in _child(spot, "extension") if _is(part, "url", step.urls)]
    return [spot for spot in spots if all(_is(spot, name, (wanted,)) for name, wanted in step.tests)]


def _filters(path: Path, levels: tuple[Spot, ...], places: set[Place]) -> None:
    """The fields that where() and extension() of a path compare count as read."""
    for end, step in enumerate(path.steps, start=1):
        if isinstance(step, Where | Ext):
            names = ["url"] if isinstance(step, Ext) else [name for name, _ in step.tests]
            for spot in reach(Path(path.scope, path.steps[:end], path.pos), levels):
                places.update(part.place for name in names for part in _child(spot, name))


def _is(spot: Spot, name: str, wanted: tuple[str, ...]) -> bool:
    return any(str(part.value).strip() in wanted for part in _child(spot, name))


def _child(spot: Spot, name: str) -> list[Spot]:
    if not isinstance(spot.value, dict) or spot.value.get(name) is None:
        return []
    fields = spot.fields
    if fields is None:
        fields = spot.fields = {}
    found = fields.get(name)
    if found is None:  # a record's lines all begin at the same few fields
        found = fields[name] = _flat(Spot((*spot.place, name), spot.value[name]))
    return found


def _flat(spot: Spot) -> list[Spot]:
    if isinstance(spot.value, list):
        return [Spot((*spot.place, number), part) for number, part in enumerate(spot.value) if part is not None]
    return [spot]


def _all(spot: Spot) -> Iterator[Spot]:
    yield spot
    for part in _parts(spot):
        yield from _all(part)


def _parts(spot: Spot) -> list[Spot]:
    if isinstance(spot.value, dict):
        return [Spot((*spot.place, name), part) for name, part in spot.value.items()]
    if isinstance(spot.value, list):
        return [Spot((*spot.place, number), part) for number, part in enumerate(spot.value)]
    return []


def leaves(spot: Spot) -> Iterator[tuple[Place, Any]]:
    """Every simple value below a place that is not blank."""
    value = spot.value
    if isinstance(value, dict | list):
        for part in _parts(spot):
            yield from leaves(part)
    elif value is not None and not (isinstance(value, str) and not value.strip()):
        yield spot.place, value

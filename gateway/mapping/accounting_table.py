"""The accounting of a record all of whose blocks were made, by a table: names of fields -> mapped or ignored.

Where nothing was left out and nothing refused, what became of a leaf follows from where it stands alone, but for paths that
choose among several (`where`, `extension`, `first()`): a leaf that only such a path may reach is nobody's here, and then the
record is accounted for value by value (accounting.py). Both ways give the same counts: tests compare them.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from gateway.mapping.accounting import Accounting
from gateway.mapping.tree import Block, Either, Group, Line, Name, Path, flow_paths

Names: TypeAlias = tuple[str, ...]


class Table:
    """Of one schema; filled as records come, since a schema has few names and its records many."""

    def __init__(self, blocks: Iterable[Block], ignored: Iterable[Path]) -> None:
        blocks = list(blocks)
        self._mapped = {names for block in blocks for names in _of_block(block)}
        self._tested = {names for block in blocks for names in _tested(block)}
        self._ignored = {names for path in ignored if (names := _plain(path, ((),))) is not None}
        self._known: dict[Names, bool] = {}  # True mapped, False ignored

    def account(self, data: Any) -> Accounting | None:
        """A record -> its accounting; None where the names alone do not say."""
        mapped = ignored = 0
        known = self._known
        waiting: list[tuple[Names, Any]] = [((), data)]
        while waiting:
            names, value = waiting.pop()
            kind = value.__class__
            if kind is dict:
                for name, part in value.items():
                    waiting.append(((*names, name), part))
                continue
            if kind is list:
                for part in value:
                    if part.__class__ is list:
                        return None
                    waiting.append((names, part))
                continue
            if value is None or (kind is str and not value.strip()):
                continue
            became = known.get(names)
            if became is None:
                became = self._look(names)
            if became is None:
                return None
            if became:
                mapped += 1
            else:
                ignored += 1
        return Accounting(mapped, ignored, (), 0)

    def _look(self, names: Names) -> bool | None:
        above = [names[:end] for end in range(len(names) + 1)]
        found: bool | None = None
        if names in self._tested or any(part in self._mapped for part in above):
            found = True
        elif any(part in self._ignored for part in above):
            found = False
        if found is not None:  # what is unknown is not remembered: a record with keys without end would fill it
            self._known[names] = found
        return found


def _of_block(block: Block) -> Iterator[Names]:
    base = _plain(block.each, ((),)) if block.each is not None else ()
    levels: tuple[Names | None, ...] = ((), base) if block.each is not None else ((),)
    for path in block.key:
        yield from _reached(path, levels)
    yield from _lines(block.lines, levels)


def _tested(block: Block) -> Iterator[Names]:
    """Fields that conditions compare: read where they stand by themselves, but nothing below them is."""
    base = _plain(block.each, ((),)) if block.each is not None else ()
    levels: tuple[Names | None, ...] = ((), base) if block.each is not None else ((),)
    yield from _in_condition(block.when, levels)
    yield from _in_lines(block.lines, levels)


def _in_lines(lines: Iterable[Line | Group], levels: tuple[Names | None, ...]) -> Iterator[Names]:
    for line in lines:
        inner = (*levels, _plain(line.each, levels)) if isinstance(line, Group) else levels
        yield from _in_condition(line.when, inner)
        if isinstance(line, Group):
            yield from _in_lines(line.lines, inner)


def _in_condition(when: Either | None, levels: tuple[Names | None, ...]) -> Iterator[Names]:
    for tests in when.options if when is not None else ():
        for test in tests:
            yield from _reached(test.path, levels)


def _lines(lines: Iterable[Line | Group], levels: tuple[Names | None, ...]) -> Iterator[Names]:
    for line in lines:
        if isinstance(line, Group):
            inner = (*levels, _plain(line.each, levels))
            yield from _lines(line.lines, inner)
        else:
            for path in flow_paths(line.flow):
                yield from _reached(path, levels)


def _reached(path: Path, levels: tuple[Names | None, ...]) -> Iterator[Names]:
    names = _plain(path, levels)
    if names is not None:
        yield names


def _plain(path: Path, levels: tuple[Names | None, ...]) -> Names | None:
    """A path of names alone -> from the record on; None where it chooses among several."""
    level = {"record": 0, "outer": max(len(levels) - 2, 0), "item": len(levels) - 1}[path.scope]
    base = levels[level]
    if base is None or not all(isinstance(step, Name) for step in path.steps):
        return None
    return (*base, *(step.name for step in path.steps if isinstance(step, Name)))

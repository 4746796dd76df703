"""The tree of a mapping file: what the grammar reads, every node with line and column. Faults have a place too."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong with a mapping, a field dictionary or a code map."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class MappingFaults(Exception):
    """The mappings cannot be used. `faults` says where and why; their author acts."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Pos:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Name:
    """A step to a field."""

    name: str


@dataclass(frozen=True, slots=True)
class Where:
    """A step that keeps the entries whose fields equal these."""

    tests: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ext:
    """A step to the extension with one of these URLs."""

    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirstStep:
    """A step that keeps the first entry."""


Step: TypeAlias = Name | Where | Ext | FirstStep
Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Path:
    """A place in the source: from the item, the record (`%record`) or one `each` further out (`%outer`)."""

    scope: str  # "item" | "record" | "outer"
    steps: tuple[Step, ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class FromContext:
    """`%ctx.name`: what the gateway knows."""

    name: str
    pos: Pos


@dataclass(frozen=True, slots=True)
class Constant:
    """`= value`."""

    value: Value
    pos: Pos


@dataclass(frozen=True, slots=True)
class OwnRef:
    """`= ref('Patient')` or `= ref('Block')`."""

    block: str
    pos: Pos


@dataclass(frozen=True, slots=True)
class Call:
    """`| name(arguments)`."""

    name: str
    arguments: tuple[Value, ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class Flow:
    """A source and the functions it goes through."""

    source: "Path | FromContext | Constant | OwnRef | FirstOf"
    calls: tuple[Call, ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class FirstOf:
    """`first(a, b)`: the first that is present."""

    flows: tuple[Flow, ...]
    pos: Pos


def flow_paths(flow: Flow) -> Iterator[Path]:
    """Every source path that a flow reads."""
    if isinstance(flow.source, Path):
        yield flow.source
    elif isinstance(flow.source, FirstOf):
        for option in flow.source.flows:
            yield from flow_paths(option)


@dataclass(frozen=True, slots=True)
class Test:
    """One condition: `exists`, `empty`, `in` or `not in` (also for = and !=)."""

    path: Path
    op: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """`or` of `and`s."""

    options: tuple[tuple[Test, ...], ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a target path: a name with its list place (number, "+" or None), or an extension's URL."""

    name: str
    place: int | str | None
    pos: Pos
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One field: target and where it comes from."""

    target: tuple[Part, ...]
    flow: Flow
    when: Either | None
    pos: Pos


@dataclass(frozen=True, slots=True)
class Group:
    """A target list with one element for each item of a source list."""

    target: tuple[Part, ...]
    each: Path
    when: Either | None
    lines: "tuple[Line | Group, ...]"
    pos: Pos


@dataclass(frozen=True, slots=True)
class Block:
    """One resource."""

    type: str
    name: str  # after #
    category: str
    key: tuple[Path, ...]
    each: Path | None
    when: Either | None
    profile: str | None  # None: the default; "": none
    lines: tuple[Line | Group, ...]
    pos: Pos

    @property
    def label(self) -> str:
        """As the file writes it: `Type` or `Type#name`."""
        return f"{self.type}#{self.name}" if self.name else self.type


@dataclass(frozen=True, slots=True)
class Taken:
    """One `takes:` row of an outward map: an R4 type, and how many of it."""

    type: str
    number: str  # "one" | "optional" | "many"
    pos: Pos


@dataclass(frozen=True, slots=True)
class MapFile:
    """One mapping file. An outward one has `writes` for `reads`, one block of lines, `takes`, and may have `withhold`."""

    file: str
    map: str
    version: str
    reads: str
    because: str
    blocks: tuple[Block, ...]
    ignore: tuple[tuple[Path, str], ...]
    undecided: tuple[str, ...]
    pos: Mapping[str, Pos] = field(default_factory=dict)  # of the top-level values
    writes: str = ""
    takes: tuple[Taken, ...] = ()
    withhold: tuple[tuple[Path, str], ...] = ()  # what R4 may hold and this recipient is not to have


class Bad(Exception):
    """A fault found while reading; carries its place."""

    def __init__(self, pos: Pos, message: str) -> None:
        super().__init__(message)
        self.pos = pos
        self.message = message

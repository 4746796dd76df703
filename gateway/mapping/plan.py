"""What a checked map is: paths, flows and target elements resolved, ready to compile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from gateway.mapping.functions import Function
from gateway.mapping.r4 import Element
from gateway.mapping.source import Schema
from gateway.mapping.tree import Block, MapFile, Pos
from gateway.mapping.units import Units
from gateway.model import CareClass, Category, Mark

Hop: TypeAlias = tuple[str, Any]  # (function of walk.py, its argument)


@dataclass(frozen=True, slots=True)
class Way:
    """A source path resolved: from which level, by which hops, to what."""

    level: int
    hops: tuple[Hop, ...]
    many: bool
    type: str


@dataclass(frozen=True, slots=True)
class Use:
    """A function with the constants it gets."""

    function: Function
    constants: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Stream:
    """A flow resolved. Exactly one of way, context, constant (with `is_constant`), own and options is its source."""

    type: str
    many: bool
    uses: tuple[Use, ...] = ()
    way: Way | None = None
    context: str = ""
    constant: Any = None
    is_constant: bool = False
    own: str = ""
    options: "tuple[Stream, ...]" = ()

    @property
    def reads(self) -> bool:
        """True where the value comes from the record or the gateway, not from the map itself."""
        return not (self.is_constant or self.own) if not self.options else any(option.reads for option in self.options)


@dataclass(frozen=True, slots=True)
class Check:
    """One `x.exists()` and so on, resolved."""

    way: Way
    op: str
    values: tuple[Any, ...]


Condition: TypeAlias = tuple[tuple[Check, ...], ...]  # any of all of


@dataclass(frozen=True, slots=True)
class Guard:
    """What is checked at run time of a value: a function of walk.py and its argument."""

    name: str
    argument: Any


@dataclass(slots=True)
class Leaf:
    """One line on its element."""

    stream: Stream
    when: Condition | None
    guards: tuple[Guard, ...]
    pos: Pos
    var: str = ""


@dataclass(slots=True)
class GroupLeaf:
    """A nested `each` on its list element."""

    way: Way
    when: Condition | None
    node: "Node"
    level: int
    pos: Pos
    var: str = ""


@dataclass(slots=True)
class Node:
    """One target element: written whole by a leaf, or made of children."""

    name: str
    element: Element | None  # None for the resource itself
    type: str
    path: str  # dotted, below the resource's type
    pos: Pos
    url: str | None = None
    place: int | str | None = None
    inside: str | None = None  # URL of the extension this one is a part of
    leaf: "Leaf | GroupLeaf | None" = None
    children: "dict[tuple[str, int | str | None, str | None], Node]" = field(default_factory=dict)
    guards: tuple[Guard, ...] = ()
    required: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (dotted name, names any of which will do)
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Built(Protocol):
    """What the compiler needs of a block: a resource's, or an outward map's lines."""

    @property
    def block(self) -> Block:
        """As written."""
        ...

    @property
    def each(self) -> Way | None:
        """What it is made for each of."""
        ...

    @property
    def when(self) -> Condition | None:
        """Only these."""
        ...

    @property
    def keys(self) -> tuple[Way, ...]:
        """What its id is made from."""
        ...

    @property
    def root(self) -> Node:
        """The target."""
        ...


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """One resource block, checked."""

    block: Block
    category: Category
    each: Way | None
    when: Condition | None
    keys: tuple[Way, ...]
    profile: str
    root: Node
    care_class: CareClass
    paths: Mapping[Mark, tuple[tuple[str, ...], ...]]


@dataclass(frozen=True, slots=True)
class MapPlan:
    """One mapping file, checked."""

    adapter: str
    source: MapFile
    schema: Schema
    blocks: tuple[BlockPlan, ...]
    code_file: str  # file name that tracebacks and breakpoints name
    units: Units | None = None  # the adapter's, where it has a table

    @property
    def title(self) -> str:
        """As Provenance names it: `gp/allergy@1.0.0`."""
        return f"{self.source.map}@{self.source.version}"


@dataclass(frozen=True, slots=True)
class Compiled:
    """One block, ready to run. `r` is the run, `i0` the record, `i1` the item of `each`."""

    plan: BlockPlan
    items: Callable[[Any], list[Any]] | None
    wanted: Callable[[Any, Any], bool] | None
    key: Callable[[Any, Any], tuple[Any, ...]]
    build: Callable[[Any, Any, Any], dict[str, Any]]
    leads: bool  # to another block of the same record
    type: str  # of the resource; this and those below are asked for with every record
    name: str  # the block's own, where it has one
    label: str  # as the file writes the two
    title: str  # of the map, as Provenance names it
    units: Units | None = None  # what it makes is given in these

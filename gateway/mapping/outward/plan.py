"""What a checked outward map is, and what it is once compiled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.mapping.outward.resources import Resources
from gateway.mapping.plan import Condition, Node, Way
from gateway.mapping.source import Key, Schema
from gateway.mapping.tree import Block, MapFile


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of an outward map, as the compiler takes a block: made once, of all resources together."""

    block: Block
    root: Node
    each: Way | None = None
    when: Condition | None = None
    keys: tuple[Way, ...] = ()


@dataclass(frozen=True, slots=True)
class OutwardPlan:
    """One outward mapping file, checked."""

    adapter: str
    source: MapFile
    schema: Schema  # what it writes
    resources: Resources  # what it takes
    lines: Lines
    order: Mapping[Key, int]  # each field's place in source.yaml
    read: frozenset[Key]  # elements that lines and conditions read
    code_file: str  # file name that tracebacks and breakpoints name

    @property
    def title(self) -> str:
        """As receipts name it: `childrens_centre/referral-out@1.0.0`."""
        return f"{self.source.map}@{self.source.version}"


@dataclass(frozen=True, slots=True)
class OutwardMap:
    """One outward mapping file, compiled. `build(run, resources by type)` gives the record."""

    plan: OutwardPlan
    build: Callable[[Any, Any], dict[str, Any]]

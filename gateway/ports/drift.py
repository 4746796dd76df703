"""What became of the leaves of a source's records, counted over all workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of the leaves of some records of one source: names of fields and numbers, never a value."""

    source: str
    schema: str
    records: int
    mapped: int
    ignored: int
    withheld: int
    unmapped: int
    paths: Mapping[str, int]  # what no map knows -> in how many records


@dataclass(frozen=True, slots=True)
class DriftRow:
    """A path of a source that no map knows."""

    source: str
    schema: str
    path: str
    records: int  # of those accounted for
    first_seen: datetime
    last_seen: datetime


class Drifts(Protocol):
    """The accounting of all workers."""

    async def add(self, counted: Sequence[Counted], at: datetime) -> Sequence[tuple[str, str, str]]:
        """Add to the counts -> source, schema and path of what was never seen before."""
        ...

    async def counted(self) -> Sequence[Counted]:
        """The sums, without their paths."""
        ...

    async def drift(self) -> Sequence[DriftRow]:
        """Every path that no map knows, by source."""
        ...

    async def clear(self, source: str) -> int:
        """Its map was put right: forget the source's paths; those that come again are new. How many that were."""
        ...

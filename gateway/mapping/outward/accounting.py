"""Every leaf of the resources that were to be written: sent, ignored or withheld (with a reason in the map), or not sent.

A leaf counts as sent when a line or a condition reads it. Paths are names of elements, never values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.mapping.accounting import Place, Spot, closed, cover, leaves, reach
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.tree import Path
from gateway.model import Resource
from gateway.resource import Typed

OURS: Final = frozenset({"resourceType", "id", "meta", "text", "contained", "implicitRules", "language"})
OWN: Final = "the gateway's own: ids, addresses, profiles and labels mean nothing to a recipient"


@dataclass(frozen=True, slots=True)
class WriteAccounting:
    """What became of every leaf: how many were sent; each path that was not, once, with the reason."""

    sent: int
    ignored: tuple[tuple[str, str], ...]  # path, reason
    withheld: tuple[tuple[str, str], ...]
    not_sent: tuple[str, ...]  # nobody decided about these
    ignored_leaves: int
    withheld_leaves: int
    not_sent_leaves: int
    places: frozenset[Place]  # of the leaves that were sent

    @property
    def leaves(self) -> int:
        """Every leaf of the resources."""
        return self.sent + self.ignored_leaves + self.withheld_leaves + self.not_sent_leaves


def account_written(plan: OutwardPlan, record: Mapping[str, Sequence[Any]], *, made: bool) -> WriteAccounting:
    """Resources by type and whether they were written -> the accounting."""
    root = Spot((), record)
    every = {place for place, _ in leaves(root)}
    own = {place for place in every if _is_ours(place)}
    rest = every - own
    read: set[Place] = set()
    if made:
        cover(plan.source.blocks[0], root, root, read)
    withheld = _reasons(plan.source.withhold, root, rest)
    rest -= withheld.keys()
    sent = closed(read, rest)
    rest -= sent
    ignored = _reasons(plan.source.ignore, root, rest)
    rest -= ignored.keys()
    ignored |= dict.fromkeys(own, OWN)
    return WriteAccounting(
        len(sent),
        _listed(ignored),
        _listed(withheld),
        tuple(sorted({shown(place) for place in rest})),
        len(ignored),
        len(withheld),
        len(rest),
        frozenset(sent),
    )


def by_type(resources: Sequence[Resource]) -> dict[str, list[dict[str, Any]]]:
    """Resources -> the record that the paths of an outward map walk."""
    found: dict[str, list[dict[str, Any]]] = {}
    for resource in resources:
        body = resource.plain() if isinstance(resource, Typed) else dict(resource)
        found.setdefault(resource["resourceType"], []).append(body)
    return found


def shown(place: Place) -> str:
    """A leaf's place as its path, without places in lists."""
    return ".".join(part for part in place if isinstance(part, str))


def _is_ours(place: Place) -> bool:
    """Of a resource: what the gateway wrote itself; anywhere: an element's id, and the address in a reference."""
    names = [part for part in place if isinstance(part, str)]
    return names[1:2] != [] and (names[1] in OURS or names[-1] in ("id", "reference"))


def _reasons(rows: Iterable[tuple[Path, str]], root: Spot, rest: set[Place]) -> dict[Place, str]:
    found: dict[Place, str] = {}
    for path, reason in rows:
        below = {spot.place for spot in reach(path, (root,))}
        found |= dict.fromkeys(closed(below, rest) - found.keys(), reason)
    return found


def _listed(found: Mapping[Place, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(shown(place), reason) for place, reason in found.items()}))

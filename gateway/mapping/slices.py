"""UK Core slices of a map, as far as its constants tell: how many entries there can be, and what each must have."""

from collections.abc import Iterator
from typing import Any

from gateway.mapping.plan import GroupLeaf, Leaf, Node
from gateway.mapping.r4 import Slice


def slice_faults(root: Node, slices: tuple[Slice, ...]) -> Iterator[str]:
    """A resource's target tree -> what no record could make right. What values decide is checked of every golden."""
    for one in slices:
        if "." in one.path:
            continue  # below a list of its own: of goldens only
        entries = [child for child in root.children.values() if child.name == one.path and child.url is None]
        sure = [entry for entry in entries if all(_fixed(entry, path) == value for path, value in one.fixed.items())]
        if one.max is not None and len(sure) > one.max:
            yield f"UK Core allows {one.max} {one}, and {len(sure)} lines or groups write one"
        if one.min and not sure and all(_decided(entry, one) for entry in entries):
            yield f"UK Core wants {one}, and no line writes it"
        for entry in sure:
            for name in one.needs:
                if not _has(entry, name):
                    yield f"UK Core wants {name} of {one}, and no line writes it"


def _fixed(entry: Node, path: str) -> Any:
    """The constant that a map writes at a path below an entry, in any place of its lists; None where it is none."""
    nodes = [entry.leaf.node if isinstance(entry.leaf, GroupLeaf) else entry]
    for name in path.split("."):
        nodes = [child for node in nodes for child in node.children.values() if child.name == name]
    for node in nodes:
        if isinstance(node.leaf, Leaf) and node.leaf.stream.is_constant:
            return node.leaf.stream.constant
    return None


def _decided(entry: Node, one: Slice) -> bool:
    """Whether an entry's constants say that it is not of the slice."""
    return any(_fixed(entry, path) not in (None, value) for path, value in one.fixed.items())


def _has(entry: Node, name: str) -> bool:
    node = entry.leaf.node if isinstance(entry.leaf, GroupLeaf) else entry
    stem = name.removesuffix("[x]")
    return isinstance(entry.leaf, Leaf) or any(
        child.name == name or (name != stem and child.name.startswith(stem)) for child in node.children.values()
    )

"""Elements in which the splitter looks for no reference: the maps read none there."""

from pathlib import Path

import mappings
from adapters.gp.kinds import SCHEMAS
from adapters.gp.links import _NEVER, _UNREAD
from gateway.mapping import load
from gateway.mapping.nodes import descend
from gateway.mapping.plan import GroupLeaf, Hop, Node

READ_WHOLE = {"reference", "copy"}


def read_as_references(node: Node, levels: dict[int, tuple[Hop, ...]]) -> list[tuple[Hop, ...]]:
    """The place in the record of everything that lines hand on whole, as a reference or with references in it."""
    found = []
    for child in descend(node):
        leaf = child.leaf
        if isinstance(leaf, GroupLeaf):
            found += read_as_references(leaf.node, {**levels, leaf.level: levels[leaf.way.level] + leaf.way.hops})
        elif leaf is not None:
            for stream in (leaf.stream, *leaf.stream.options):
                if stream.way is not None and READ_WHOLE & {use.function.call.__name__ for use in stream.uses}:
                    found.append(levels[stream.way.level] + stream.way.hops)
    return found


def test_no_map_reads_a_reference_where_the_splitter_does_not_look() -> None:
    plans = {plan.source.reads: plan for plan in load(Path(mappings.__path__[0])).plans("gp")}
    met = 0
    for kind, never in _UNREAD.items():
        for block in plans[SCHEMAS[kind]].blocks:
            for hops in read_as_references(block.root, {0: ()}):
                top = hops[1] if len(hops) > 1 else hops[0]
                name = top[1] if isinstance(top[1], str) else "extension"
                assert name not in never - _NEVER, f"a reference of {kind} is read from its {name}"
                met += 1
    assert met > len(_UNREAD)

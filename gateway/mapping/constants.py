"""What constants alone would make, and codes outside an extensible binding: seen once all lines of a resource are placed."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.mapping.codes import CodeMap
from gateway.mapping.functions import codeable, coding, translate
from gateway.mapping.plan import GroupLeaf, Leaf, Node, Stream
from gateway.mapping.tree import Pos

CARRIES: Final[Mapping[str, tuple[str, ...]]] = {  # data types that say nothing without one of these parts
    "Coding": ("code", "display"),
    "ContactPoint": ("value",),
    "Identifier": ("value",),
    **dict.fromkeys(("Quantity", "Age", "Duration", "Count", "Distance"), ("value",)),
}
OUTSIDE: Final = "this code is none of those that R4 or UK Core asks for here wherever one of them fits"
BY_MAP: Final = (translate, codeable, coding)


def reads(node: Node) -> bool:
    """Whether any line below a node reads something of the record, the resources or the gateway."""
    return any(_leaf_reads(child) for child in node.children.values())


def tells(node: Node) -> bool:
    """Whether any line below a node reads something, or leads to another resource of the record."""
    return reads(node) or any(
        (isinstance(child.leaf, Leaf) and child.leaf.stream.own not in ("", "Patient")) or tells(child) for child in _below(node)
    )


def says_nothing(node: Node) -> str:
    """Why an element would be made by constants and say nothing; empty where it is not so."""
    parts = CARRIES.get(node.type)
    if parts is None or reads(node) or any(child.name in parts for child in node.children.values()):
        return ""
    return f"constants alone make this {node.type}, and it would say nothing: add a line for its {' or '.join(parts)}"


def loose_constants(node: Node) -> Iterator[tuple[Pos, str]]:
    """Constants below a node that are none of the codes an extensible binding wants where one of them fits: worth a look."""
    loose = node.element.loose if node.element is not None else None
    if loose and isinstance(node.leaf, Leaf) and node.type == "code":
        for stream in (node.leaf.stream, *node.leaf.stream.options):
            if stream.is_constant and not any(stream.constant in listed for listed in loose.values()):
                yield node.leaf.pos, OUTSIDE
    elif loose and node.leaf is None and node.type == "Coding":
        system, code = _constant(node, "system"), _constant(node, "code")
        if system is not None and any(code in listed for listed in loose.values()) and code not in loose.get(str(system), ()):
            yield node.pos, f"{OUTSIDE} (one of them has this code, in another system)"
    for child in _below(node):
        yield from loose_constants(child)


def loose_rows(node: Node, codes: Mapping[str, CodeMap]) -> Iterator[tuple[Pos, str]]:
    """Lines below a node whose code map leads past an extensible binding and does not say why: wrong."""
    loose = node.element.loose if node.element is not None else None
    if loose and isinstance(node.leaf, Leaf):
        for stream in (node.leaf.stream, *node.leaf.stream.options):
            yield from ((node.leaf.pos, message) for message in _rows(stream, loose, codes))
    for child in _below(node):
        yield from loose_rows(child, codes)


def _below(node: Node) -> Iterator[Node]:
    yield from (node.leaf.node if isinstance(node.leaf, GroupLeaf) else node).children.values()


def _constant(node: Node, name: str) -> object:
    """The constant that a map writes to a part of an element; None where it writes none."""
    for child in node.children.values():
        if child.name == name and isinstance(child.leaf, Leaf) and child.leaf.stream.is_constant:
            return child.leaf.stream.constant
    return None


def _rows(stream: Stream, loose: Mapping[str, frozenset[str]], codes: Mapping[str, CodeMap]) -> Iterator[str]:
    for use in stream.uses:
        name: Any = use.constants[0] if use.function.call in BY_MAP and use.constants else ""
        found = codes.get(name)
        for row in found.rows.values() if found is not None else ():
            by_system = use.function.call is not translate
            listed = loose.get(row.system, frozenset()) if by_system else frozenset().union(*loose.values())
            if found is not None and row.code and row.code not in listed and not row.note:
                yield f"{found.file}:{row.line} gives a code outside those asked for here: its note says why none of them fits"


def _leaf_reads(node: Node) -> bool:
    if isinstance(node.leaf, Leaf):
        return node.leaf.stream.reads
    if isinstance(node.leaf, GroupLeaf):
        return reads(node.leaf.node)
    return reads(node)

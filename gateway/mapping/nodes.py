"""What a block's tree of lines tells the compiler: the places they read, the lines below a node, what makes a node be there."""

import ast
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any, TypeAlias

from gateway.mapping.fixed import is_fixed
from gateway.mapping.plan import GroupLeaf, Leaf, Node

Place: TypeAlias = tuple[int, tuple[Any, ...]]  # level, and the steps from there


def code_of(rows: Sequence[tuple[str, int]], file: str) -> CodeType:
    """Lines of Python, each with the line of the mapping it comes from -> code whose tracebacks and breakpoints name those."""
    tree = ast.parse("\n".join(text for text, _ in rows))
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler | ast.arg | ast.keyword | ast.alias):
            line = rows[node.lineno - 1][1]
            node.lineno = node.end_lineno = line
            node.col_offset = node.end_col_offset = 0
    return compile(tree, file, "exec")


def places(root: Node) -> Iterator[Place]:
    """Every place of the record that a line goes to or through."""
    for child in descend(root):
        streams = (child.leaf.stream, *child.leaf.stream.options) if isinstance(child.leaf, Leaf) else ()
        for stream in streams:
            if stream.way is not None:
                yield from ((stream.way.level, stream.way.hops[:end]) for end in range(1, len(stream.way.hops) + 1))


def descend(node: Node) -> Iterator[Node]:
    """Every node below, in the order of the lines; into groups no further than their own node."""
    for child in node.children.values():
        if child.leaf is not None:
            yield child
        yield from descend(child)


def var_test(node: Node) -> str:
    """A test that any line below a node, extensions apart, read something; empty when none reads."""
    tests = []
    for child in node.children.values():
        if child.url is not None and node.url is None:
            continue
        if isinstance(child.leaf, GroupLeaf):
            tests.append(f"v_{child.leaf.var}")
        elif isinstance(child.leaf, Leaf) and child.leaf.stream.reads:
            tests.append(child.leaf.var if child.leaf.stream.many else f"{child.leaf.var} is not None")
        elif child.leaf is None:
            inner = var_test(child)
            if inner:
                tests.append(inner)
    return "(" + " or ".join(tests) + ")" if tests else ""


def tests_of(leaf: Leaf, parent: Node, governors: tuple[str, ...]) -> list[str]:
    """What must all hold before a line's value is written: it is there; of a constant, what is around it came from the source."""
    tests = [] if leaf.stream.reads else _governing(governors, parent)
    if not leaf.var:
        return tests
    if leaf.stream.own == "Patient" and leaf.when is None:
        return tests
    return [leaf.var if leaf.stream.many else f"{leaf.var} is not None", *tests]


def told(node: Node, governors: tuple[str, ...]) -> list[str] | None:
    """Tests one of which must hold before anything is written of a node; None: something always is."""
    found: list[str] = []
    for child in node.children.values():
        leaf = child.leaf
        if isinstance(leaf, GroupLeaf):
            found.append(f"v_{leaf.var}")
        elif isinstance(leaf, Leaf):
            tests = tests_of(leaf, node, governors)
            if not tests:
                return None
            found.append(tests[0])
        if child.children:
            listed = leaf is None and child.element is not None and (child.element.many or child.url is not None)
            inside = told(child, (*governors, var_test(child)) if listed else governors)
            if inside is None:
                return None
            found += inside
    return found


def is_all_there_is(node: Node, child: Node) -> bool:
    """Whether a list of an element is what one line makes afresh: it need not be put into another."""
    leaf = child.leaf
    if sum(other.name == child.name for other in node.children.values()) > 1 or child.children:
        return False
    if isinstance(leaf, GroupLeaf):
        return True
    return isinstance(leaf, Leaf) and bool(leaf.var) and leaf.stream.many and bool(leaf.stream.uses) and leaf.stream.reads


def is_there(child: Node, made: str) -> str:
    """A test, once the element around it is made, that one element was written: by its variable, or in what was made."""
    leaf = child.leaf
    if isinstance(leaf, Leaf) and leaf.var and leaf.stream.reads and not leaf.stream.many and not child.children:
        return f"({leaf.var} is not None)"
    return f"({child.name!r} in {made} or {'_' + child.name!r} in {made})"


def is_always_there(root: Node, name: str) -> bool:
    """Whether an element of a resource is there whatever its record says: a constant of the map, or the person."""
    for child in root.children.values():
        leaf = child.leaf
        if child.name != name or child.url is not None or (child.element is not None and child.element.many):
            continue
        if isinstance(leaf, Leaf) and leaf.when is None and (leaf.stream.is_constant or leaf.stream.own == "Patient"):
            return True
        if leaf is None and is_fixed(child) and not (child.element is not None and child.element.primitive):
            return True
    return False


def begun(type_: str, profile: str) -> str:
    """The text of a resource as it begins; its id is filled in when it is made."""
    return f"{{'resourceType': {type_!r}, 'id': ''" + (f", 'meta': {{'profile': [{profile!r}]}}" if profile else "") + "}"


def _governing(around: tuple[str, ...], parent: Node) -> list[str]:
    """What must have come from the source before a constant may be written: for list entries around it and its own."""
    own = var_test(parent) if parent.element is not None else ""
    return [test for test in dict.fromkeys((*around, own)) if test]

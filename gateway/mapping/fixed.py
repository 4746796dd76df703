"""What is known of a map before any record comes: elements of constants alone, written as they stand, and needless checks."""

from collections.abc import Iterator

from gateway.mapping.plan import Guard, Leaf, Node


def is_fixed(node: Node) -> bool:
    """True where every line below writes a constant whatever the record says, and nothing is left to check at run time."""
    if node.leaf is not None or node.url is not None or node.guards or node.choices or not node.children:
        return False
    names = {child.name for child in node.children.values()}
    if any(names.isdisjoint(any_of) for _, any_of in node.required):
        return False
    return all(_is_constant(child) if child.leaf is not None else is_fixed(child) for child in node.children.values())


def written(node: Node) -> Iterator[tuple[str, int]]:
    """Such an element as Python, by rows, each with its line of the mapping. Lists come last, as where they are put together."""
    lists: dict[str, list[Node]] = {}
    yield "{", node.pos.line
    for child in node.children.values():
        if _listed(child):
            lists.setdefault(child.name, []).append(child)
        else:
            yield f"{child.name!r}:", child.pos.line
            yield from _value(child)
    for name, entries in lists.items():
        yield f"{name!r}: [", entries[0].pos.line
        for entry in entries:
            yield from _value(entry)
        yield "],", node.pos.line
    yield "}", node.pos.line


def each_coding_is_bound(node: Node, guard: Guard) -> bool:
    """True where every coding of a concept has been held to the very codes that the concept is held to."""
    codings = [child for child in node.children.values() if child.name == "coding"]
    return bool(codings) and all(child.leaf is None and guard in child.guards for child in codings)


def _value(child: Node) -> Iterator[tuple[str, int]]:
    if isinstance(child.leaf, Leaf):
        yield f"{child.leaf.stream.constant!r},", child.pos.line
    else:
        yield from written(child)
        yield ",", child.pos.line


def _listed(child: Node) -> bool:
    return child.element is not None and (child.element.many or child.url is not None)


def _is_constant(child: Node) -> bool:
    leaf = child.leaf
    return (
        isinstance(leaf, Leaf)
        and leaf.stream.is_constant
        and not leaf.stream.many
        and leaf.when is None
        and not leaf.guards
        and not child.children
        and child.url is None
    )

"""Lines of a map -> leaves of its target tree: the same for maps that read a source and for those that write to one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from gateway.mapping.constants import reads
from gateway.mapping.flow_types import Scope, guards
from gateway.mapping.plan import GroupLeaf, Leaf, Node, Stream
from gateway.mapping.r4 import Element
from gateway.mapping.reach import check_reach
from gateway.mapping.tree import Bad, Either, Group, Line, Part, Path, Pos


class Placing(ABC):
    """Places lines one by one; what an element of the target is, and what becomes of what was read, the two kinds say."""

    repeats: ClassVar[str]  # what is said of an element with several entries, and of one with a single value
    single: ClassVar[str]
    when_tells: ClassVar[bool]  # an entry that is made under a condition says something by being there

    _wrong = 0  # lines that could not be placed

    @abstractmethod
    def fault(self, pos: Pos, message: str) -> None:
        """Remember one fault."""

    @abstractmethod
    def element(self, node: Node, part: Part) -> Element:
        """The element that a part of a target is, below a node. Raises `Bad`."""

    @abstractmethod
    def fills(self, node: Node) -> bool:
        """Whether a node is an element with parts, which `each` can fill."""

    @abstractmethod
    def seen(self, node: Node, scope: Scope, pos: Pos) -> None:
        """What the line at `pos` read is in `scope.seen`."""

    @abstractmethod
    def worded(self, node: Node, stream: Stream) -> None:
        """What a line writes may be words beside a code."""

    def lines(self, root: Node, lines: tuple[Line | Group, ...], scope: Scope, around: tuple[Either | None, ...]) -> None:
        """Lines -> leaves of the tree. `around`: the condition on the item that their paths start at."""
        for line in lines:
            try:
                self._line(root, line, scope, around)
            except Bad as bad:
                self._wrong += 1
                self.fault(bad.pos, bad.message)

    def _line(self, root: Node, line: Line | Group, scope: Scope, around: tuple[Either | None, ...]) -> None:
        node = self._place(root, line.target)
        element = node.element
        assert element is not None
        if isinstance(line, Group):
            self._group(node, element, line, scope)
            return
        check_reach(line.flow, _repeating(scope), line.when, *around)
        stream = scope.stream(line.flow, element)
        if stream.many and node.place != "+":
            raise Bad(line.flow.pos, "this path repeats: say first(), or write to [+]")
        when = scope.condition(line.when)
        self.seen(node, scope, line.pos)
        self.worded(node, stream)
        node.leaf = Leaf(stream, when, guards(stream, element), line.pos)

    def _group(self, node: Node, element: Element, line: Group, scope: Scope) -> None:
        if not self.fills(node) or (node.place is None and node.url is None):
            raise Bad(line.target[-1].pos, "each fills a list of elements with parts: say [+]")
        way, found = scope.way(line.each, reads=False)
        inner = scope.inside(found)
        check_reach(None, _repeating(inner), line.when)
        item = Node(node.name, element, node.type, node.path, line.pos, node.url, None, node.inside)
        when = inner.condition(line.when)
        self.seen(node, inner, line.pos)
        node.leaf = GroupLeaf(way, when, item, len(inner.bases) - 1, line.pos)
        before = self._wrong
        self.lines(item, line.lines, inner, (line.when,))
        if self._wrong == before and not reads(item) and not (self.when_tells and line.when is not None):
            raise Bad(line.pos, "every line of this entry is a constant: it would say nothing of what it is made for")

    def _place(self, root: Node, target: tuple[Part, ...]) -> Node:
        node = root
        for number, part in enumerate(target):
            last = number == len(target) - 1
            beside = part.url is not None and node.element is not None and node.element.primitive
            if node.leaf is not None and not beside:
                raise Bad(part.pos, f"{node.name} is already set whole by line {node.leaf.pos.line}: keep one of the two")
            element = self.element(node, part)
            if part.place == "+" and not last:
                raise Bad(part.pos, "[+] stands at the end of a target, or has each: and set:")
            if element.many and part.place is None and part.url is None:
                raise Bad(part.pos, f"{part.name} {self.repeats}: say {part.name}[0] or {part.name}[+]")
            if not element.many and part.place is not None:
                raise Bad(part.pos, f"{part.name} {self.single}: leave out the [ ]")
            key = (part.name, part.place, part.url)
            if part.place == "+":
                key = (part.name, f"+{len(node.children)}", part.url)
            child = node.children.get(key)
            if child is None:
                path = f"{node.path}.{part.name}" if node.path else part.name
                inside = node.url if node.type == "Extension" else None
                child = Node(part.name, element, element.type, path, part.pos, part.url, part.place, inside)
                node.children[key] = child
            node = child
        primitive = node.element is not None and node.element.primitive
        if node.leaf is not None or any(not (primitive and child.url is not None) for child in node.children.values()):
            raise Bad(target[-1].pos, f"{node.name} is set more than once: keep one line, or name its parts")
        return node


def _repeating(scope: Scope) -> Callable[[Path], bool]:
    return lambda path: scope.way(path, reads=False)[0].many

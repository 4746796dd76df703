"""An outward mapping file's tree -> its plan, every line checked against source.yaml as target, R4 as source, the code maps."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from gateway.mapping.codes import CodeMap
from gateway.mapping.constants import reads
from gateway.mapping.flow_types import Scope
from gateway.mapping.functions import Function
from gateway.mapping.outward.functions import SHARED
from gateway.mapping.outward.plan import Lines, OutwardPlan
from gateway.mapping.outward.resources import Resources
from gateway.mapping.outward.target import ROOT, Target
from gateway.mapping.placing import Placing
from gateway.mapping.plan import GroupLeaf, Leaf, Node, Stream
from gateway.mapping.r4 import Element, Index, suggestion
from gateway.mapping.source import Key, Schema
from gateway.mapping.tree import Bad, Call, Fault, Flow, MapFile, OwnRef, Part, Path, Pos

CONTEXT: Final = {"nhs_number": "nhsNumber", "recipient": "string", "sender": "string", "as_of": "dateTime", "key": "string"}


class OutwardScope(Scope):
    """A scope whose paths walk R4, whose functions and code maps go the other way."""

    shared: ClassVar[Mapping[str, Function]] = SHARED
    context: ClassVar[Mapping[str, str]] = CONTEXT

    def stream(self, flow: Flow, element: Element) -> Stream:
        """A flow -> what it gives, checked against the field it is for. Raises `Bad`."""
        if isinstance(flow.source, OwnRef):
            raise Bad(flow.pos, "an outward map has no = ref(): say who it is about with %ctx.nhs_number | nhsNumber")
        return super().stream(flow, element)

    def _constants(self, call: Call, function: Function, type_: str, element: Element) -> tuple[Any, ...]:
        if call.name == "reference":
            if call.arguments:
                raise Bad(call.pos, "reference takes nothing in an outward map: it gives name and identifier")
            return ()
        return super()._constants(call, function, type_, element)

    def _code_map(self, name: str, call: Call, element: Element) -> None:
        codes = self.codes.get(name)
        if codes is None:
            raise Bad(call.pos, f"no code map '{name}'{suggestion(name, self.codes)}")
        if call.name == "translate" and not codes.back.by_code:
            raise Bad(call.pos, f"{codes.file} has no equivalent row, so it cannot be read backwards: write one for this way")
        if codes.back.doubtful:
            one, other = codes.back.doubtful[0]
            message = f"{codes.file}:{one.line} and :{other.line} lead to one target: nothing says which is the way back"
            raise Bad(call.pos, f"{message} (make one of them inexact, with a note)")
        allowed = element.codes[""] if element.codes is not None else None
        for row in codes.rows.values():
            if allowed is not None and row.source in codes.back.by_code.values() and row.source not in allowed:
                raise Bad(call.pos, f"{codes.file}:{row.line} gives a code that source.yaml does not list for {element.name}")


class OutwardChecker(Placing):
    """Checks one file; `faults` holds what is wrong with it."""

    repeats, single, when_tells = "repeats in source.yaml", "does not repeat in source.yaml", False

    def __init__(
        self,
        adapter: str,
        source: MapFile,
        schema: Schema,
        index: Index,
        codes: Mapping[str, CodeMap],
        functions: Mapping[str, Function],
        *,
        whole: bool = True,
    ) -> None:
        """`whole`: every line could be read, so one that is missing is missing."""
        self.adapter = adapter
        self.source = source
        self.schema = schema
        self.index = index
        self.target = Target(schema, index)
        self.resources = Resources(source.takes)
        self.scope = OutwardScope(self.resources, index, codes, functions, frozenset(), frozenset())
        self.whole = whole
        self.faults: list[Fault] = []
        self.read: dict[Key, Pos] = {}  # what lines read, where first

    def check(self, code_file: str) -> OutwardPlan:
        """The whole file -> its plan, as far as it could be checked."""
        block = self.source.blocks[0]
        root = Node(self.schema.name, None, ROOT, "", block.pos)
        for taken in self.source.takes:
            if not self.index.is_resource(taken.type):
                self.fault(taken.pos, f"R4 has no resource '{taken.type}'{suggestion(taken.type, self.index.resources())}")
        self.lines(root, block.lines, self.scope, ())
        if self.whole and not self.faults:  # a line that cannot be read would look like one that is missing
            self._finish(root)
            self._unread()
            if not reads(root):
                self.fault(block.pos, "every line is a constant: this map would tell nothing of anybody")
        self._left_out()
        lines = Lines(block, root)
        order, read = self.target.order(), frozenset(self.read)
        return OutwardPlan(self.adapter, self.source, self.schema, self.resources, lines, order, read, code_file)

    # ---------------------------------------------------------------------------------------------- of `Placing`

    def fault(self, pos: Pos, message: str) -> None:
        """Remember one fault."""
        self.faults.append(Fault(self.source.file, pos.line, pos.column, message))

    def fills(self, node: Node) -> bool:
        """An object of the schema."""
        return self.target.is_object(node.type)

    def seen(self, node: Node, scope: Scope, pos: Pos) -> None:
        """Remember what was read, and by which line first."""
        for key in scope.seen:
            self.read.setdefault(key, pos)
        scope.seen = set()

    def worded(self, node: Node, stream: Stream) -> None:
        """What is written was disclosed: its marks were seen to before."""

    def element(self, node: Node, part: Part) -> Element:
        """A field of the schema, or a part of a data type. Raises `Bad`."""
        if not self.target.has_parts(node.type):
            raise Bad(part.pos, f"{node.name} is {node.type}: it has no parts")
        if part.url is not None:
            found = self.target.extension(node.type, part.url)
            if found is None:
                raise Bad(part.pos, f"{self.schema.name} has no such extension here: add it to source.yaml")
            return found
        elements = self.target.elements(node.type)
        found = elements.get(part.name)
        if found is None:
            shown = f"{node.path}.{part.name}" if node.path else part.name
            raise Bad(part.pos, f"{self.schema.name} has no field '{shown}'{suggestion(part.name, elements)}")
        return found

    # ----------------------------------------------------------------------------------------------- the whole map

    def _finish(self, node: Node) -> None:
        """What the record as a whole must have: the fields that source.yaml says are required."""
        if isinstance(node.leaf, Leaf):
            return
        if isinstance(node.leaf, GroupLeaf):
            self._finish(node.leaf.node)
            return
        names = {child.name for child in node.children.values()}
        if self.target.is_object(node.type):
            needed = [one.name for one in self.target.elements(node.type).values() if one.min]
            for name in needed:
                if name not in names:
                    shown = f"{node.path}.{name}" if node.path else name
                    self.fault(node.pos, f"{self.schema.name} requires '{shown}' and no line writes it: add one")
            node.required = tuple((name, (name,)) for name in needed)
        for child in node.children.values():
            self._finish(child)

    def _unread(self) -> None:
        types = {key[0] for key in self.read if key}
        for taken in self.source.takes:
            if taken.type not in types:
                self.fault(taken.pos, f"no line reads the {taken.type} that this map takes")

    def _left_out(self) -> None:
        """`ignore:` and `withhold:`: real paths, and none that a line reads."""
        for rows, rest in ((self.source.ignore, True), (self.source.withhold, False)):
            for path, _ in rows:
                try:
                    key = self._key(path)
                except Bad as bad:
                    self.fault(bad.pos, bad.message)
                    continue
                for other, pos in self.read.items():
                    part = other[: len(key)] == key and other != key  # ignored: the rest of it is
                    if key[: len(other)] == other or (part and not rest):
                        self.fault(path.pos, f"line {pos.line} reads it, so it is neither ignored nor withheld")
                        break

    def _key(self, path: Path) -> Key:
        return self.resources.walk((), path, self.index)[0].key

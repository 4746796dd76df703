"""A mapping file's tree -> its plan, every line checked against R4, UK Core, the field dictionary and the code maps."""

from collections.abc import Mapping
from dataclasses import replace

from gateway.mapping.codes import CodeMap
from gateway.mapping.flow_types import Scope, guards, labels
from gateway.mapping.functions import Function
from gateway.mapping.plan import BlockPlan, GroupLeaf, Guard, Leaf, MapPlan, Node
from gateway.mapping.r4 import OFFICIAL, UK_CORE, Element, Index, Narrowing, Slice, places, suggestion
from gateway.mapping.reach import check_reach
from gateway.mapping.slices import slice_faults
from gateway.mapping.source import CLASS_ORDER, Schema
from gateway.mapping.tree import Bad, Block, Either, Fault, Group, Line, MapFile, Part, Pos
from gateway.model import CareClass, Category, Mark

NOT_YOURS = frozenset({"resourceType", "id", "text", "contained", "implicitRules", "language"})
EXTENSION = Element("extension", 0, -1, "Extension")


class Checker:
    """Checks one file; `faults` holds what is wrong with it."""

    def __init__(
        self,
        adapter: str,
        source: MapFile,
        schema: Schema,
        index: Index,
        codes: Mapping[str, CodeMap],
        functions: Mapping[str, Function],
        labels_: frozenset[str],
        own: frozenset[str],
        *,
        whole: bool = True,
    ) -> None:
        """`whole`: every line could be read, so one that is missing is missing."""
        self.adapter = adapter
        self.source = source
        self.schema = schema
        self.index = index
        self.codes = codes
        self.functions = functions
        self.labels = labels_
        self.own = own
        self.whole = whole
        self.faults: list[Fault] = []

    def check(self, code_file: str) -> MapPlan:
        """The whole file -> its plan, as far as it could be checked."""
        blocks = [plan for block in self.source.blocks if (plan := self._block(block)) is not None]
        scope = self._scope()
        for path, _ in self.source.ignore:
            try:
                scope.way(path, reads=False)
            except Bad as bad:
                self.fault(bad.pos, bad.message)
        return MapPlan(self.adapter, self.source, self.schema, tuple(blocks), code_file)

    def fault(self, pos: Pos, message: str) -> None:
        """Remember one fault."""
        self.faults.append(Fault(self.source.file, pos.line, pos.column, message))

    def _scope(self) -> Scope:
        return Scope(self.schema, self.index, self.codes, self.functions, self.labels, self.own)

    def _block(self, block: Block) -> BlockPlan | None:
        if not self.index.is_resource(block.type):
            self.fault(block.pos, f"R4 has no resource '{block.type}'{suggestion(block.type, self.index.resources())}")
            return None
        if block.type == "Patient":
            self.fault(block.pos, "the Patient of an answer is the trace's: no map makes one")
            return None
        if block.category not in set(Category):
            self.fault(block.pos, f"no category '{block.category}'{suggestion(block.category, Category)}")
            return None
        profile = UK_CORE + block.type if block.profile is None else block.profile
        narrowing = self.index.profile(profile) if profile else {}
        if narrowing is None:
            if block.profile:
                self.fault(block.pos, "this profile is not in the index")
            profile, narrowing = "", {}
        outer = self._scope()
        work = _BlockWork(self, block.type, narrowing, self.index.slices(profile))
        root = Node(block.type, None, block.type, "", block.pos)
        try:
            each = None
            scope = outer
            if block.each is not None:
                each, found = outer.way(block.each, reads=False)
                scope = outer.inside(found)
            when = scope.condition(block.when)
            work.read(root, scope)
            keys = tuple(scope.way(path)[0] for path in block.key)
            for path, way in zip(block.key, keys, strict=True):
                if way.many:
                    self.fault(path.pos, "a key is one value: this path repeats")
        except Bad as bad:
            self.fault(bad.pos, bad.message)
            return None
        if not keys:
            self.fault(block.pos, "a resource needs its key")
        scope.seen = set()
        before = len(self.faults)
        work.lines(root, block.lines, scope, (block.when,))
        if self.whole and len(self.faults) == before:  # a line that cannot be read would look like one that is missing
            work.finish(root)
            for message in slice_faults(root, work.slices):
                self.fault(block.pos, message)
        care_class = max(work.classes, key=lambda word: CLASS_ORDER[word], default=CareClass.OPERATIONAL)
        paths = {mark: tuple(sorted(found)) for mark, found in work.paths.items()}
        return BlockPlan(block, Category(block.category), each, when, keys, profile, root, care_class, paths)


class _BlockWork:
    """Builds the target tree of one block."""

    def __init__(self, checker: Checker, type_: str, narrowing: Mapping[str, Narrowing], slices: tuple[Slice, ...]) -> None:
        self.checker = checker
        self.type = type_
        self.slices = slices
        self.index = checker.index
        self.narrowing = narrowing
        self.classes: set[CareClass] = set()
        self.paths: dict[Mark, set[tuple[str, ...]]] = {}

    def read(self, node: Node, scope: Scope) -> None:
        """Count what was read since last time: its class for the resource, its marks for the element."""
        care_class, marks = labels(scope.schema, scope.seen)
        scope.seen = set()
        if care_class is not None:
            self.classes.add(care_class)
        for mark in marks:
            self.paths.setdefault(mark, set()).add(_names(node.path) if node.path else ("*",))

    def lines(self, root: Node, lines: tuple[Line | Group, ...], scope: Scope, around: tuple[Either | None, ...]) -> None:
        """Lines -> leaves of the tree. `around`: the condition on the item that their paths start at."""
        for line in lines:
            try:
                self._line(root, line, scope, around)
            except Bad as bad:
                self.checker.fault(bad.pos, bad.message)

    def _line(self, root: Node, line: Line | Group, scope: Scope, around: tuple[Either | None, ...]) -> None:
        node = self._place(root, line.target)
        element = node.element
        assert element is not None
        if isinstance(line, Group):
            if element.primitive or (node.place is None and node.url is None):
                raise Bad(line.target[-1].pos, "each fills a list of elements: say [+]")
            check_reach(None, line.when)
            way, found = scope.way(line.each, reads=False)
            inner = scope.inside(found)
            item = Node(node.name, element, node.type, node.path, line.pos, node.url, None, node.inside)
            when = inner.condition(line.when)
            self.read(node, inner)
            node.leaf = GroupLeaf(way, when, item, len(inner.bases) - 1, line.pos)
            self.lines(item, line.lines, inner, (line.when,))
            return
        check_reach(line.flow, line.when, *around)
        stream = scope.stream(line.flow, element)
        if stream.many and node.place != "+":
            raise Bad(line.flow.pos, "this path repeats: say first(), or write to [+]")
        when = scope.condition(line.when)
        self.read(node, scope)
        node.leaf = Leaf(stream, when, guards(stream, element), line.pos)

    def _place(self, root: Node, target: tuple[Part, ...]) -> Node:
        node = root
        for number, part in enumerate(target):
            last = number == len(target) - 1
            if isinstance(node.leaf, Leaf) and not (part.url and node.element and node.element.primitive):
                raise Bad(part.pos, f"{node.name} is already set whole by line {node.leaf.pos.line}")
            element = self._element(node, part)
            if part.place == "+" and not last:
                raise Bad(part.pos, "[+] stands at the end of a target, or has each: and set:")
            if element.many and part.place is None and part.url is None:
                raise Bad(part.pos, f"{part.name} is a list in R4: say {part.name}[0] or {part.name}[+]")
            if not element.many and part.place is not None:
                raise Bad(part.pos, f"{part.name} is not a list in R4: leave out the [ ]")
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
        has_parts = any(child.url is None for child in node.children.values())
        if node.leaf is not None or has_parts:
            raise Bad(target[-1].pos, f"{node.name} is set more than once")
        return node

    def _element(self, node: Node, part: Part) -> Element:
        if part.name == "modifierExtension":
            raise Bad(part.pos, "no map makes a modifier extension: a reader that does not know it would be misled")
        if part.url is not None:
            self._extension(node, part)
            return EXTENSION
        if part.name == "extension":
            raise Bad(part.pos, "say which: extension('https://...')")
        if node.element is not None and node.element.primitive:
            raise Bad(part.pos, f"{node.name} is {node.type}: it has no parts but extension('...')")
        top = node.element is None
        if (top and part.name in NOT_YOURS) or (node.path == "meta" and part.name not in ("security", "tag")):
            raise Bad(part.pos, f"{part.name} is not a mapping's to write")
        elements = self.index.elements(node.type)
        found = elements.get(part.name)
        if found is None:
            forms = [name for name, one in elements.items() if one.choice == f"{part.name}[x]"]
            near = f" (did you mean '{forms[0]}'?)" if forms else suggestion(part.name, elements)
            raise Bad(part.pos, f"{node.type} has no element '{part.name}'{near}")
        return self._narrow(node, found, part)

    def _narrow(self, node: Node, found: Element, part: Part) -> Element:
        path = f"{node.path}.{found.choice or found.name}" if node.path else found.choice or found.name
        narrowing = self.narrowing.get(path) if node.url is None else None
        if narrowing is not None:
            if narrowing.max == 0:
                raise Bad(part.pos, f"UK Core does not use {path}")
            if narrowing.types and found.choice and found.type not in narrowing.types:
                raise Bad(part.pos, f"UK Core allows {', '.join(sorted(narrowing.types))} here, not {found.type}")
            found = replace(found, codes=narrowing.codes or found.codes)
        if node.type == "Coding" and part.name in ("code", "system") and node.element is not None and node.element.codes:
            codes = node.element.codes
            found = replace(found, codes={"": frozenset(codes) if part.name == "system" else frozenset().union(*codes.values())})
        elif node.type == "CodeableConcept" and part.name == "coding" and part.place == 0 and node.element is not None:
            found = replace(found, codes=node.element.codes)
        elif node.type == "Extension" and node.url is not None:
            self._value_type(node, found, part)
        return found

    def _extension(self, node: Node, part: Part) -> None:
        assert part.url is not None
        if node.type == "Extension" and node.url is not None:
            parent = self.index.extension(node.url)
            if parent is not None and part.url not in parent.parts:
                raise Bad(part.pos, f"this extension has no part '{part.url}'{suggestion(part.url, parent.parts)}")
            return
        if part.url.startswith(OFFICIAL) and self.index.extension(part.url) is None:
            near = suggestion(part.url, self.index.extension_urls())
            raise Bad(part.pos, f"no such extension is published there{near}")
        known = self.index.extension(part.url)
        if known is not None and known.contexts and not known.contexts & places(self.index, self.type, node.path):
            raise Bad(part.pos, f"this extension stands on {' or '.join(sorted(known.contexts))}, not here")

    def _value_type(self, node: Node, found: Element, part: Part) -> None:
        if found.choice != "value[x]":
            raise Bad(part.pos, "an extension has a value or parts: say valueString, valueBoolean ... or extension('part')")
        allowed = self._value_types(node)
        if allowed and found.type not in allowed:
            raise Bad(part.pos, f"this extension's value is {' or '.join(sorted(allowed))}, not {found.type}")

    def _value_types(self, node: Node) -> frozenset[str]:
        assert node.url is not None
        if node.inside is None:
            whole = self.index.extension(node.url)
            return whole.types if whole is not None else frozenset()
        parent = self.index.extension(node.inside)
        return parent.parts.get(node.url, frozenset()) if parent is not None else frozenset()

    def finish(self, node: Node) -> None:
        """What the tree as a whole must have: required elements, one form of each choice, codes of built concepts."""
        if node.element is not None and node.element.primitive:
            for child in node.children.values():
                self.finish(child)
            return
        if isinstance(node.leaf, Leaf):
            return
        if isinstance(node.leaf, GroupLeaf):
            self.finish(node.leaf.node)
            return
        elements = self.index.elements(node.type)
        set_names = {child.name for child in node.children.values()}
        forms: dict[str, list[str]] = {}
        required: list[tuple[str, tuple[str, ...]]] = []
        for element in elements.values():
            if element.choice:
                forms.setdefault(element.choice, []).append(element.name)
        for element in elements.values():
            name = element.choice or element.name
            if node.url is not None or any(path == name for path, _ in required):
                continue
            path = f"{node.path}.{name}" if node.path else name
            narrowing = self.narrowing.get(path)
            if element.min == 0 and (narrowing is None or narrowing.min == 0):
                continue
            names = tuple(forms.get(name, [name]))
            required.append((name, names))
            if not set_names & set(names):
                self.checker.fault(node.pos, f"{node.type}.{name} is required (min 1) and no line sets it")
        node.required = tuple(required)
        node.choices = tuple(
            (name, tuple(names)) for name, names in forms.items() if node.url is None and len(set_names & set(names)) > 1
        )
        if node.type in ("CodeableConcept", "Coding") and node.element is not None and node.element.codes:
            node.guards = (Guard("bound_concept", node.element.codes),)
        for child in node.children.values():
            self.finish(child)


def _names(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))

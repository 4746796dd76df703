"""A mapping file's tree -> its plan, every line checked against R4, UK Core, the field dictionary and the code maps."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gateway.mapping.codes import CodeMap
from gateway.mapping.constants import loose_constants, loose_rows, says_nothing, tells
from gateway.mapping.extensions import extension_at, extension_faults, value_at
from gateway.mapping.flow_types import Scope, labels
from gateway.mapping.free_text import are_words, words_below
from gateway.mapping.functions import Function, text
from gateway.mapping.placing import Placing
from gateway.mapping.plan import BlockPlan, GroupLeaf, Guard, Leaf, MapPlan, Node, Stream
from gateway.mapping.r4 import UK_CORE, Element, Index, Narrowing, Slice, suggestion
from gateway.mapping.reach import check_reach
from gateway.mapping.slices import slice_faults
from gateway.mapping.source import CLASS_ORDER, Schema
from gateway.mapping.tree import Bad, Block, Fault, MapFile, Part, Pos
from gateway.model import CareClass, Category, Mark, Unless

NOT_YOURS = frozenset({"resourceType", "id", "text", "contained", "implicitRules", "language"})


class Checker:
    """Checks one file; `faults` holds what is wrong with it, `warnings` what somebody should look at."""

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
        self.warnings: list[Fault] = []

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
            self.fault(block.pos, "the Patient of an answer is the trace's: no map makes one; ignore these fields")
            return None
        if block.category not in set(Category):
            self.fault(block.pos, f"no category '{block.category}'{suggestion(block.category, Category)}")
            return None
        profile = UK_CORE + block.type if block.profile is None else block.profile
        narrowing = self.index.profile(profile) if profile else {}
        if narrowing is None:
            if block.profile:
                self.fault(block.pos, "this profile is not in the index: name one of UK Core by its URL, or say none")
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
            check_reach(None, lambda path: scope.way(path, reads=False)[0].many, block.when)
            when = scope.condition(block.when)
            work.seen(root, scope, block.pos)
            keys = tuple(scope.way(path)[0] for path in block.key)
            for path, way in zip(block.key, keys, strict=True):
                if way.many:
                    self.fault(path.pos, "a key is one value, and this path repeats: say first(), or each: on the block")
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
            if block.each is None and block.when is None and not tells(root):
                self.fault(block.pos, "every line is a constant: each record would make this, and it would say nothing of it")
            for pos, message in loose_rows(root, self.codes):
                self.fault(pos, message)
            for pos, message in loose_constants(root):
                self.warnings.append(Fault(self.source.file, pos.line, pos.column, message))
        care_class = max(work.classes, key=lambda word: CLASS_ORDER[word], default=CareClass.OPERATIONAL)
        paths = {mark: tuple(work.but_own(path, mark) for path in sorted(found)) for mark, found in work.paths.items()}
        return BlockPlan(block, Category(block.category), each, when, keys, profile, root, care_class, paths)


class _BlockWork(Placing):
    """Builds the target tree of one block."""

    repeats, single, when_tells = "is a list in R4", "is not a list in R4", True

    def __init__(self, checker: Checker, type_: str, narrowing: Mapping[str, Narrowing], slices: tuple[Slice, ...]) -> None:
        self.checker = checker
        self.type = type_
        self.slices = slices
        self.index = checker.index
        self.narrowing = narrowing
        self.classes: set[CareClass] = set()
        self.paths: dict[Mark, set[tuple[str, ...]]] = {}
        self.own: dict[tuple[str, ...], set[str]] = {}  # words that the map itself may write at a path

    def fault(self, pos: Pos, message: str) -> None:
        """A fault of the file."""
        self.checker.fault(pos, message)

    def seen(self, node: Node, scope: Scope, pos: Pos) -> None:
        """Count what was read since last time: its class for the resource, its marks for the element."""
        care_class, marks = labels(scope.schema, scope.seen)
        scope.seen = set()
        if care_class is not None:
            self.classes.add(care_class)
        for mark in marks:
            self.paths.setdefault(mark, set()).add(_names(node.path) if node.path else ("*",))

    def worded(self, node: Node, stream: Stream) -> None:
        """What somebody typed beside a code may name a place; what the map itself says, or a function of it, does not."""
        here = _names(node.path)
        own = {word for one in (stream, *stream.options) for word in _own_words(one)}
        if own:
            self.own.setdefault(here, set()).update(own)
        if stream.is_constant:
            return
        found = {(*here, *path) for path in words_below(self.index, node.type)}
        if all(use.function.call is text for use in stream.uses) and are_words(self.index, self.type, here):
            found.add(here)
        if found:
            self.paths.setdefault(Mark.LOCATING, set()).update(found)

    def but_own(self, path: tuple[str, ...], mark: Mark) -> tuple[str, ...]:
        """A path at which the map's own words stay; of what locates alone, since words in two marks are nobody's to free."""
        own = self.own.get(path)
        return path if not own or mark is not Mark.LOCATING else (*path[:-1], Unless(path[-1], frozenset(own)))

    def fills(self, node: Node) -> bool:
        """An element with parts of its own."""
        return node.element is not None and not node.element.primitive

    def element(self, node: Node, part: Part) -> Element:
        """An element of R4 as UK Core narrows it. Raises `Bad`."""
        if part.name == "modifierExtension":
            raise Bad(part.pos, "no map makes a modifier extension: a reader that does not know it would be misled")
        if part.url is not None:
            return extension_at(self.index, self.type, node, part)
        if part.name == "extension":
            raise Bad(part.pos, "say which: extension('https://...')")
        if node.element is not None and node.element.primitive:
            raise Bad(part.pos, f"{node.name} is {node.type}: it has no parts but extension('...')")
        top = node.element is None
        if (top and part.name in NOT_YOURS) or (node.path == "meta" and part.name not in ("security", "tag")):
            raise Bad(part.pos, f"{part.name} is not a mapping's to write, the gateway does: leave out this line")
        elements = self.index.elements(node.type)
        found = elements.get(part.name)
        if found is None:
            forms = [name for name, one in elements.items() if one.choice == f"{part.name}[x]"]
            near = f" (did you mean '{forms[0]}'?)" if forms else suggestion(part.name, elements)
            raise Bad(part.pos, f"{node.type} has no element '{part.name}'{near}")
        return self._narrow(node, found, part)

    def _narrow(self, node: Node, found: Element, part: Part) -> Element:
        for narrowing in self._narrowings(node, found):
            if narrowing.max == 0:
                raise Bad(part.pos, f"UK Core does not use {found.choice or found.name} here: leave out this line")
            if narrowing.types and found.choice and found.type not in narrowing.types:
                raise Bad(part.pos, f"UK Core allows {', '.join(sorted(narrowing.types))} here, not {found.type}")
            if narrowing.codes is not None or narrowing.loose is not None:
                found = replace(found, codes=narrowing.codes or found.codes, loose=narrowing.loose)
            if narrowing.fixed is not None:
                found = replace(found, codes={"": frozenset({narrowing.fixed})})
        above = node.element
        if node.type == "Coding" and part.name in ("code", "system") and above is not None and (above.codes or above.loose):
            system = part.name == "system"
            return replace(found, codes=_flat(above.codes, system=system), loose=_flat(above.loose, system=system))
        if node.type == "CodeableConcept" and part.name == "coding" and part.place == 0 and above is not None:
            return replace(found, codes=above.codes, loose=above.loose)
        if node.type == "Extension" and node.url is not None:
            return value_at(self.index, node, found, part)
        return found

    def _narrowings(self, node: Node, found: Element) -> list[Narrowing]:
        """What the profile says of an element, and of this one of its types."""
        names = dict.fromkeys([found.choice or found.name, found.name]) if node.url is None else ()
        paths = [f"{node.path}.{name}" if node.path else name for name in names]
        return [narrowing for path in paths if (narrowing := self.narrowing.get(path)) is not None]

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
        nothing = says_nothing(node)
        if nothing:
            self.fault(node.pos, nothing)
        if node.url is not None:
            for message in extension_faults(self.index, node):
                self.fault(node.pos, message)
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
                form = name if name in names else names[0]
                self.fault(node.pos, f"{node.type}.{name} is required (min 1) and no line sets it: add one for {form}")
        for element in elements.values():  # a slice by type: this one of the choice's forms
            own = self.narrowing.get(f"{node.path}.{element.name}" if node.path else element.name) if element.choice else None
            if own is not None and own.min and node.url is None:
                required.append((element.name, (element.name,)))
                if element.name not in set_names:
                    self.fault(node.pos, f"{node.type}.{element.name} is required (min 1) and no line sets it: add one for it")
        node.required = tuple(required)
        node.choices = tuple(
            (name, tuple(names)) for name, names in forms.items() if node.url is None and len(set_names & set(names)) > 1
        )
        if node.type in ("CodeableConcept", "Coding") and node.element is not None and node.element.codes:
            node.guards = (Guard("bound_concept", node.element.codes),)
        for child in node.children.values():
            self.finish(child)


def _flat(codes: Mapping[str, frozenset[str]] | None, *, system: bool) -> Mapping[str, frozenset[str]] | None:
    """The codes of a concept -> what its `system`, or its `code` alone, may be."""
    if codes is None:
        return None
    return {"": frozenset(codes) if system else frozenset().union(*codes.values())}


def _own_words(stream: Stream) -> Iterator[str]:
    """What a stream writes of the map itself: a constant, or what a function is known to say."""
    if stream.is_constant and isinstance(stream.constant, str):
        yield stream.constant
    for use in stream.uses[-1:]:
        yield from getattr(use.function.call, "words", ())


def _names(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))

"""A checked map -> Python functions whose file name and line numbers are the mapping's own.

So a traceback, a breakpoint and a coverage report name the YAML line. First every line's value is read, then the resource is
put together: that is how a constant knows whether anything beside it came from the source.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.mapping import walk
from gateway.mapping.fixed import each_coding_is_bound, is_fixed, written
from gateway.mapping.nodes import Place, begun, code_of, descend, is_all_there_is, is_always_there, places, var_test
from gateway.mapping.plan import BlockPlan, Built, Compiled, Condition, GroupLeaf, Guard, Leaf, MapPlan, Node, Stream, Way
from gateway.mapping.r4 import PRIMITIVES
from gateway.mapping.units import GIVEN
from gateway.mapping.values import code, text

CODE = PRIMITIVES["code"]
PERSON = "{'reference': f'Patient/{r.ctx.person}'}"  # written out rather than called: nearly every resource has it
_BOXED = frozenset({"one", "many", "ext_one", "ext_many"})  # what asks for fields by name
_ABSENT = {"many": "EMPTY", "ext_many": "EMPTY", "ext_one": "None"}  # what each gives where the field is not there
WALK = {name: getattr(walk, name) for name in vars(walk) if not name.startswith("_") and callable(getattr(walk, name))}
WALK["EMPTY"] = []  # read, never written to


def compile_map(plan: MapPlan) -> tuple[Compiled, ...]:
    """Every block of a map."""
    return tuple(_compiled(plan, block) for block in plan.blocks)


def compile_lines(block: Built, code_file: str) -> Callable[[Any, Any], dict[str, Any]]:
    """The lines of an outward map -> what builds the record of a run and its resources."""
    build: Callable[[Any, Any], dict[str, Any]] = _Writer(block, code_file).written()["build"]
    return build


def _compiled(plan: MapPlan, block: BlockPlan) -> Compiled:
    writer = _Writer(block, plan.code_file)
    space = writer.written(block.profile)
    items, wanted = space.get("items"), space.get("wanted")
    own = block.block
    units = plan.units if block.root.type in GIVEN else None
    return Compiled(
        block, items, wanted, space["key"], space["build"], writer.leads, block.root.type, own.name, own.label, plan.title, units
    )


class _Writer:
    """Writes the functions of one block."""

    def __init__(self, block: Built, code_file: str) -> None:
        self.code_file = code_file
        self.block = block
        self.rows: list[tuple[str, int]] = []  # generated line, line of the mapping
        self.names: dict[str, Any] = dict(WALK)
        self.count = 0
        self.leads = False
        self.shared: Counter[Place] = Counter()  # how many lines of this function read through each place
        self.boxed: set[int] = set()  # levels known to have fields, in `b0` and so on
        self.base = 0  # depth of the statements that no condition guards
        self.held: dict[Place, str] = {}  # places read already, and the variable that has what is there
        self.fields: dict[Place, str] = {}  # of these, the ones known to have fields, and the variable that surely has them

    def written(self, profile: str | None = None) -> dict[str, Any]:
        """The block's functions by name. `profile`: of the resource it makes, "" for one without; None: it makes no resource."""
        block, start = self.block, self.block.block.pos.line
        arguments = "r, i0, i1" if block.each else "r, i0, i1=None"
        if block.each is not None:
            self.row(0, "def items(i0):", start)
            way = self.way(block.each, inline=block.each.many)
            self.row(1, f"return {way}" if block.each.many else f"return [x for x in ({way},) if x is not None]", start)
        if block.when is not None:
            self.row(0, "def wanted(i0, i1):", start)
            self.row(1, f"return {self.condition(block.when)}", start)
        self.row(0, "def key(i0, i1):", start)
        self.row(1, f"return ({''.join(self.way(way, inline=True) + ', ' for way in block.keys)})", start)
        groups = [child.leaf for child in descend(block.root) if isinstance(child.leaf, GroupLeaf)]
        for group in groups:
            self.group(group, block.root.name)
        self.row(0, f"def build({arguments}):", start)
        self.body(block.root, 1, block.root.name, "{}" if profile is None else begun(block.root.type, profile))
        self.row(1, f"return {self.made}", start)
        space = self.names
        exec(code_of(self.rows, self.code_file), space)  # noqa: S102 - the text is ours, made from a checked tree; names and constants are passed in
        return space

    def row(self, depth: int, text: str, line: int) -> None:
        self.rows.append(("    " * depth + text, line))

    def name(self, stem: str, value: Any = None) -> str:
        """A fresh name; with a value, a constant of the generated module."""
        self.count += 1
        made = f"{stem}{self.count}"
        if value is not None:
            self.names[made] = value
        return made

    # ------------------------------------------------------------------------------------------------ reading

    def way(self, way: Way, *, inline: bool = False) -> str:
        text, hops = f"i{way.level}", way.hops
        sure = way.level in self.boxed and bool(hops) and hops[0][0] in _BOXED  # it has fields: asked before
        text = f"b{way.level}" if sure else text
        for length in range(len(hops), 0, -1):
            known = self.held.get((way.level, hops[:length]))
            if known is not None:
                text, hops = known, hops[length:]
                sure = bool(hops) and hops[0][0] in _BOXED and (way.level, way.hops[:length]) in self.fields
                text = self.fields[way.level, way.hops[:length]] if sure else text
                break
        for place, (function, argument) in enumerate(hops):
            if inline and sure and place == 0 and function == "one":
                text = f"(one({text}, {argument!r}) if (y := {text}.get({argument!r})).__class__ is list else y)"
            elif inline and function == "one":  # nearly every line does just this, and a call costs more than what it does
                field = f"x.get({argument!r})"
                text = f"(one(x, {argument!r}) if (x := {text}).__class__ is not dict or (y := {field}).__class__ is list else y)"
            elif inline and function in _ABSENT:  # most of what a map looks for is not there
                part = argument if function == "many" else "extension"
                given = repr(argument) if function == "many" else self.name("C", argument)
                look = f"{function}(x, {given})"
                if sure and place == 0:
                    text = f"({function}({text}, {given}) if {part!r} in {text} else {_ABSENT[function]})"
                    continue
                text = f"({look} if (x := {text}).__class__ is not dict or {part!r} in x else {_ABSENT[function]})"
            elif argument is None:
                text = f"{function}({text})"
            elif isinstance(argument, str):
                text = f"{function}({text}, {argument!r})"
            else:
                text = f"{function}({text}, {self.name('C', argument)})"
        return text

    def condition(self, condition: Condition) -> str:
        options = []
        for checks in condition:
            parts = []
            for check in checks:
                said = f"(z := {self.way(check.way, inline=True)}) is not None and "  # what is absent is neither
                if check.op in ("exists", "empty"):
                    parts.append(f"{'not ' * (check.op == 'empty')}({said}present(z))")
                else:
                    parts.append(f"{'not ' * (check.op == 'not in')}({said}among(z, {self.name('C', check.values)}))")
            options.append(" and ".join(parts))
        return "(" + ") or (".join(options) + ")"

    def box(self, way: Way, depth: int, line: int) -> None:
        """Whether an item has fields at all is asked once, by the first of several lines that read them."""
        reads = sum(count for (level, hops), count in self.shared.items() if level == way.level and len(hops) == 1)
        if reads > 1 and way.level not in self.boxed and way.hops and way.hops[0][0] in _BOXED:
            self.row(depth, f"b{way.level} = i{way.level} if i{way.level}.__class__ is dict else box(i{way.level})", line)
            self.boxed.add(way.level)

    def hold(self, way: Way, depth: int, line: int) -> None:
        """What several lines read through is read once, by the first of them, and whether it has fields asked once."""
        for end in range(1, len(way.hops) + 1):
            place = (way.level, way.hops[:end])
            if self.shared[place] > 1 and place not in self.held:
                text = self.way(replace(way, hops=way.hops[:end]), inline=True)
                var = self.name("h")
                self.row(depth, f"{var} = {text}", line)
                self.held[place] = var
            if place in self.held and place not in self.fields and end < len(way.hops) and way.hops[end][0] in _BOXED:
                var, made = self.held[place], self.name("b")
                self.row(depth, f"{made} = {var} if {var}.__class__ is dict else box({var})", line)
                self.fields[place] = made

    def there(self, way: Way) -> tuple[str, str] | None:
        """The last step of a way from what surely has fields: the variable that has them, and the field; else None."""
        if not way.hops or way.hops[-1][0] not in _BOXED:
            return None
        function, argument = way.hops[-1]
        var = self.fields.get((way.level, way.hops[:-1]))
        if len(way.hops) == 1 and way.level in self.boxed:
            var = f"b{way.level}"
        if var is None or (way.level, way.hops) in self.held:
            return None
        return var, argument if function in ("one", "many") else "extension"

    def values(self, node: Node, depth: int) -> None:
        """One statement or more for every line below a node: its value, or None."""
        self.shared, self.held, self.fields, self.boxed, self.base = Counter(places(node)), {}, {}, set(), depth
        for child in descend(node):
            leaf = child.leaf
            if isinstance(leaf, GroupLeaf):
                leaf.var = leaf.var or self.name("g")
                levels = ", ".join(f"i{number}" for number in range(leaf.level))
                self.hold(leaf.way, depth, leaf.pos.line)
                there = self.there(leaf.way)
                test = f" if {there[1]!r} in {there[0]} else EMPTY" if there is not None else ""
                self.row(depth, f"v_{leaf.var} = {leaf.var}(r, {levels}){test}", leaf.pos.line)
            elif isinstance(leaf, Leaf) and (not leaf.stream.is_constant or leaf.when is not None):
                leaf.var = self.name("v")
                if leaf.when is not None:
                    self.row(depth, f"{leaf.var} = None", leaf.pos.line)
                    self.row(depth, f"if {self.condition(leaf.when)}:", leaf.pos.line)
                codes = self.bound_codes(leaf)
                there = self.asked(leaf, depth)
                guarded = depth + (leaf.when is not None or there is not None)
                self.value(leaf.stream, leaf.var, guarded, leaf.pos.line, codes, there)
                self.guards(leaf.guards, leaf.var, leaf.stream.many, guarded if leaf.when is None else depth, leaf.pos.line)

    def asked(self, leaf: Leaf, depth: int) -> tuple[str, str] | None:
        """Most of what a map looks for is not there: whether it is, is asked before anything is done with it."""
        way = leaf.stream.way
        if leaf.when is not None or way is None:
            return None
        line = leaf.pos.line
        self.box(way, depth, line)
        self.hold(way, depth, line)
        there = self.there(way)
        if there is not None:
            self.row(depth, f"{leaf.var} = {'EMPTY' if leaf.stream.many else None}", line)
            self.row(depth, f"if {there[1]!r} in {there[0]}:", line)
        return there

    def bound_codes(self, leaf: Leaf) -> str:
        """The constant with the codes of a required binding that a line's value is held to; empty where it has none.

        One of them, just as it stands there, is a code: `code` need not look at it.
        """
        found = [guard.argument for guard in leaf.guards if guard.name == "bound"]
        return self.name("C", found[0]) if found and all(CODE.fullmatch(one) for one in found[0]) else ""

    def value(
        self, stream: Stream, var: str, depth: int, line: int, codes: str = "", there: tuple[str, str] | None = None
    ) -> None:
        """`there`: what has the field it ends at, and the field: it is there."""
        if stream.options:
            for number, option in enumerate(stream.options):
                if number:
                    self.row(depth, f"if {var} is None:", line)
                self.value(option, var, depth + bool(number), line, codes)
        elif stream.is_constant:
            self.row(depth, f"{var} = {stream.constant!r}", line)
        elif stream.own:
            self.leads = self.leads or stream.own != "Patient"
            self.row(depth, f"{var} = " + (PERSON if stream.own == "Patient" else f"own_ref(r, {stream.own!r})"), line)
        elif stream.context:
            self.row(depth, f"{var} = from_context(r, {stream.context!r})", line)
        elif stream.way is not None:
            if depth == self.base:
                self.box(stream.way, depth, line)
                self.hold(stream.way, depth, line)
            if there is None:
                self.row(depth, f"{var} = {self.way(stream.way, inline=True)}", line)
            elif stream.way.hops[-1][0] == "one":
                self.row(depth, f"{var} = {there[0]}[{there[1]!r}]", line)
                self.row(depth, f"if {var}.__class__ is list:", line)
                self.row(depth + 1, f"{var} = one({there[0]}, {there[1]!r})", line)
            else:
                self.row(depth, f"{var} = {self.way(stream.way)}", line)
        for number, use in enumerate(stream.uses):
            function = self.name("f_" + use.function.call.__name__, use.function.call)
            constants = "".join(", " + self.name("C", value) for value in use.constants)
            run = "r, " if use.function.takes_run else ""
            is_code = bool(codes) and number == len(stream.uses) - 1 and use.function.call is code
            if stream.many:
                sure = f"x if x.__class__ is str and x in {codes} else " if is_code else ""
                self.row(depth, f"{var} = [y for x in {var} if (y := {sure}{function}({run}x{constants})) is not None]", line)
            elif use.function.call is text:  # nearly always a text already, and a call costs more than what it does
                self.row(depth, f"if {var}.__class__ is str:", line)
                self.row(depth + 1, f"{var} = {var}.strip() or None", line)
                self.row(depth, f"elif {var} is not None:", line)
                self.row(depth + 1, f"{var} = {function}({var})", line)
            elif is_code:
                self.row(depth, f"if {var} is not None and ({var}.__class__ is not str or {var} not in {codes}):", line)
                self.row(depth + 1, f"{var} = {function}({var})", line)
            else:
                self.row(depth, f"if {var} is not None:", line)
                self.row(depth + 1, f"{var} = {function}({run}{var}{constants})", line)

    def guards(self, guards: tuple[Guard, ...], var: str, many: bool, depth: int, line: int) -> None:
        for guard in guards:
            argument = "" if guard.argument is None else f", {self.name('C', guard.argument)}"
            if many:
                self.row(depth, f"for x in {var} or ():", line)
                test = f"if x not in {argument[2:]}: " if guard.name == "bound" else ""
                self.row(depth + 1, f"{test}{guard.name}(x{argument})", line)
            elif guard.name == "bound":
                self.row(depth, f"if {var} is not None and {var} not in {argument[2:]}:", line)
                self.row(depth + 1, f"bound({var}{argument})", line)
            else:
                self.row(depth, f"if {var} is not None:", line)
                self.row(depth + 1, f"{guard.name}({var}{argument})", line)

    def group(self, group: GroupLeaf, path: str) -> None:
        """The function of a nested `each`, those inside it first."""
        for child in descend(group.node):
            if isinstance(child.leaf, GroupLeaf):
                self.group(child.leaf, path)
        line = group.pos.line
        group.var = self.name("g")
        levels = ", ".join(f"i{number}" for number in range(group.level))
        self.row(0, f"def {group.var}(r, {levels}):", line)
        self.row(1, "out = []", line)
        way = self.way(group.way, inline=group.way.many)
        self.row(1, f"for i{group.level} in {way if group.way.many else f'[x for x in ({way},) if x is not None]'}:", line)
        depth = 2
        if group.when is not None:
            self.row(2, f"if {self.condition(group.when)}:", line)
            depth = 3
        self.body(group.node, depth, group.node.type)
        test = f"len({self.made}) > 1" if group.node.url is not None else self.made
        self.row(depth, f"if {test}:", line)
        self.row(depth + 1, f"out.append({self.made})", line)
        self.row(1, "return out", line)

    # ----------------------------------------------------------------------------------------------- assembling

    made = ""  # the variable that the last `body` or `assemble` filled

    def body(self, node: Node, depth: int, path: str, start: str = "{}") -> None:
        self.values(node, depth)
        self.held, self.boxed = {}, set()
        # the root of a resource is always made; an item of a list only by what the source says
        self.assemble(node, depth, path, ((var_test(node),) if node.element is not None else ()), root=True, start=start)

    def assemble(
        self, node: Node, depth: int, path: str, governors: tuple[str, ...], *, root: bool = False, start: str = "{}"
    ) -> None:
        """Statements that fill a fresh dict with a node's children."""
        made = self.name("o")
        start = f"{{'url': {node.url!r}}}" if node.url is not None else start
        self.row(depth, f"{made} = {start}", node.pos.line)
        lists: dict[str, str] = {}
        for child in node.children.values():
            target = made
            name = child.name
            listed = child.element is not None and (child.element.many or child.url is not None)
            if listed and is_all_there_is(node, child):
                assert isinstance(child.leaf, Leaf | GroupLeaf)
                lists[name] = f"v_{child.leaf.var}" if isinstance(child.leaf, GroupLeaf) else child.leaf.var
                continue
            if listed and name not in lists:
                lists[name] = self.name("l")
                self.row(depth, f"{lists[name]} = []", child.pos.line)
            self.child(child, depth, path, governors, target, lists.get(name) if listed else None, node)
        for name, var in lists.items():
            self.row(depth, f"if {var}:", node.pos.line)
            self.row(depth + 1, f"{made}[{name!r}] = {var}", node.pos.line)
        for name, names in node.required:
            if root and node.element is None and any(is_always_there(node, one) for one in names):
                continue
            found = " or ".join(f"{one!r} in {made} or {'_' + one!r} in {made}" for one in names)
            test = f"not ({found})" if root and node.element is None else f"{made} and not ({found})"
            self.row(depth, f"if {test}:", node.pos.line)
            self.row(depth + 1, f"missing({f'{path}.{name}'!r})", node.pos.line)
        for name, names in node.choices:
            self.row(depth, f"only_one({made}, {names!r}, {f'{path}.{name}'!r})", node.pos.line)
        for guard in node.guards:
            seen = f" and 'coding' not in {made}" if guard.name == "bound_concept" and each_coding_is_bound(node, guard) else ""
            self.row(depth, f"if {made}{seen}:", node.pos.line)
            self.row(depth + 1, f"{guard.name}({made}, {self.name('C', guard.argument)})", node.pos.line)
        self.made = made

    def child(
        self, child: Node, depth: int, path: str, governors: tuple[str, ...], target: str, listed: str | None, parent: Node
    ) -> None:
        line = child.pos.line
        leaf = child.leaf
        place = f"{target}[{child.name!r}] = " if listed is None else f"{listed}.append("
        close = "" if listed is None else ")"
        if isinstance(leaf, GroupLeaf):
            self.row(depth, f"{listed}.extend(v_{leaf.var})", line)
        elif isinstance(leaf, Leaf):
            tests = [] if leaf.stream.reads else self.governors(governors, parent)
            if leaf.var:
                if leaf.stream.own != "Patient" or leaf.when is not None:
                    tests = [leaf.var if leaf.stream.many else f"{leaf.var} is not None", *tests]
                value = leaf.var
            else:
                value = repr(leaf.stream.constant)
            if leaf.stream.many:
                place = f"{listed}.extend("
            if tests:
                self.row(depth, f"if {' and '.join(tests)}:", line)
            self.row(depth + bool(tests), f"{place}{value}{close}", line)
        if child.element is not None and child.element.primitive and child.children:
            self.assemble(child, depth, path, governors)
            self.row(depth, f"if {self.made}:", line)
            self.row(depth + 1, f"{target}[{'_' + child.name!r}] = {self.made}", line)
        elif leaf is None and not any(governors) and is_fixed(child):
            self.row(depth, f"{place}(", line)
            self.rows += written(child)
            self.row(depth, f"){close}", line)
        elif leaf is None:
            around = governors
            if listed is not None:
                around = (*governors, var_test(child))
            self.assemble(child, depth, f"{path}.{child.name}", around)
            test = f"len({self.made}) > 1" if child.url is not None else self.made
            self.row(depth, f"if {test}:", line)
            self.row(depth + 1, f"{place}{self.made}{close}", line)

    def governors(self, around: tuple[str, ...], parent: Node) -> list[str]:
        """What must have come from the source before a constant may be written: for list entries around it and its own."""
        own = var_test(parent) if parent.element is not None else ""
        return [test for test in dict.fromkeys((*around, own)) if test]

"""A checked map -> Python functions whose file name and line numbers are the mapping's own.

So a traceback, a breakpoint and a coverage report name the YAML line. First every line's value is read, then the resource is
put together: that is how a constant knows whether anything beside it came from the source.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from gateway.mapping.fixed import each_coding_is_bound, is_fixed, written
from gateway.mapping.nodes import (
    begun,
    code_of,
    descend,
    is_all_there_is,
    is_always_there,
    is_there,
    places,
    tests_of,
    told,
    var_test,
)
from gateway.mapping.plan import BlockPlan, Built, Compiled, GroupLeaf, Guard, Leaf, MapPlan, Node, Stream, Use
from gateway.mapping.r4 import PRIMITIVES
from gateway.mapping.units import GIVEN
from gateway.mapping.values import code, text
from gateway.mapping.ways import Ways

CODE = PRIMITIVES["code"]
PERSON = "{'reference': f'Patient/{r.ctx.person}'}"  # written out rather than called: nearly every resource has it


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


class _Writer(Ways):
    """Writes the functions of one block."""

    def __init__(self, block: Built, code_file: str) -> None:
        super().__init__()
        self.code_file = code_file
        self.block = block
        self.leads = False

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
        self.row(0, f"def build({arguments}):", start)
        self.body(block.root, 1, block.root.name, "{}" if profile is None else begun(block.root.type, profile))
        self.row(1, f"return {self.made}", start)
        space = self.names
        exec(code_of(self.rows, self.code_file), space)  # noqa: S102 - the text is ours, made from a checked tree; names and constants are passed in
        return space

    # -------------------------------------------------------------------------------------------------- values

    def values(self, node: Node, depth: int) -> None:
        """One statement or more for every line below a node: its value, or None."""
        self.shared, self.base = Counter(places(node)), depth
        for child in descend(node):
            leaf = child.leaf
            if isinstance(leaf, GroupLeaf):
                self.group(leaf, depth)
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
            if stream.many and stream.uses:
                self.each_value(stream, var, depth, line, codes, there)
                return
            if there is None:
                self.row(depth, f"{var} = {self.way(stream.way, inline=True)}", line)
            elif stream.way.hops[-1][0] == "one":
                self.row(depth, f"{var} = {there[0]}[{there[1]!r}]", line)
                self.row(depth, f"if {var}.__class__ is list:", line)
                self.row(depth + 1, f"{var} = one({there[0]}, {there[1]!r})", line)
            else:
                self.row(depth, f"{var} = {self.way(stream.way)}", line)
        for number, use in enumerate(stream.uses):
            call = self.call(use)
            if stream.many:
                self.row(depth, f"{var} = [y for x in {var} if (y := {call('x')}) is not None]", line)
            elif use.function.call is text:  # nearly always a text already, and a call costs more than what it does
                self.row(depth, f"if {var}.__class__ is str:", line)
                self.row(depth + 1, f"{var} = {var}.strip() or None", line)
                self.row(depth, f"elif {var} is not None:", line)
                self.row(depth + 1, f"{var} = {call(var)}", line)
            elif codes and number == len(stream.uses) - 1 and use.function.call is code:
                self.row(depth, f"if {var} is not None and ({var}.__class__ is not str or {var} not in {codes}):", line)
                self.row(depth + 1, f"{var} = {call(var)}", line)
            else:
                self.row(depth, f"if {var} is not None:", line)
                self.row(depth + 1, f"{var} = {call(var)}", line)

    def each_value(self, stream: Stream, var: str, depth: int, line: int, codes: str, there: tuple[str, str] | None) -> None:
        """Several values, each through its functions: a loop, for a comprehension costs more than the one or two there are."""
        assert stream.way is not None
        values, sure = self.each(stream.way, there, depth, line)
        self.row(depth, f"{var} = []", line)
        self.row(depth, f"for x in {values}:", line)
        depth += 1
        if not sure:
            self.row(depth, "if x is not None:", line)
            depth += 1
        for number, use in enumerate(stream.uses):
            is_code = bool(codes) and number == len(stream.uses) - 1 and use.function.call is code
            just_so = f"x if x.__class__ is str and x in {codes} else " if is_code else ""
            self.row(depth, f"if (x := {just_so}{self.call(use)('x')}) is not None:", line)
            depth += 1
        self.row(depth, f"{var}.append(x)", line)

    def call(self, use: Use) -> Callable[[str], str]:
        """A function of a line -> the text that calls it with a variable."""
        function = self.name("f_" + use.function.call.__name__, use.function.call)
        constants = "".join(", " + self.name("C", value) for value in use.constants)
        run = "r, " if use.function.takes_run else ""
        return lambda var: f"{function}({run}{var}{constants})"

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

    def group(self, group: GroupLeaf, depth: int) -> None:
        """A nested `each`, where it stands: what is known of the levels around it holds inside too."""
        group.var, line, item = self.name("g"), group.pos.line, f"i{group.level}"
        self.hold(group.way, depth, line)
        there = self.there(group.way)
        around = self.shared, dict(self.held), dict(self.fields), set(self.boxed), self.base
        if there is not None:
            self.row(depth, f"v_{group.var} = EMPTY", line)
            self.row(depth, f"if {there[1]!r} in {there[0]}:", line)
            depth += 1
        self.row(depth, f"v_{group.var} = []", line)
        values, sure = self.each(group.way, there, depth, line)
        self.row(depth, f"for {item} in {values}:", line)
        tests = [] if sure else [f"{item} is not None"]
        tests += [f"({self.condition(group.when)})"] if group.when is not None else []
        if tests:
            self.row(depth + 1, f"if {' and '.join(tests)}:", line)
        inside = depth + 1 + bool(tests)
        self.body(group.node, inside, group.node.type)
        test = f"len({self.made}) > 1" if group.node.url is not None else self.made
        self.row(inside, f"if {test}:", line)
        self.row(inside + 1, f"v_{group.var}.append({self.made})", line)
        self.shared, self.held, self.fields, self.boxed, self.base = around

    # ----------------------------------------------------------------------------------------------- assembling

    made = ""  # the variable that the last `body` or `assemble` filled

    def body(self, node: Node, depth: int, path: str, start: str = "{}") -> None:
        self.values(node, depth)
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
            forms = [is_there(child, made) for child in node.children.values() if child.name in names]
            if len(forms) > 1:
                self.row(depth, f"if {' + '.join(forms)} > 1:", node.pos.line)
                self.row(depth + 1, f"only_one({made}, {names!r}, {f'{path}.{name}'!r})", node.pos.line)
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
            tests = tests_of(leaf, parent, governors)
            value = leaf.var or repr(leaf.stream.constant)
            if leaf.stream.many:
                place = f"{listed}.extend("
            if tests:
                self.row(depth, f"if {' and '.join(tests)}:", line)
            self.row(depth + bool(tests), f"{place}{value}{close}", line)
        if child.element is not None and child.element.primitive and child.children:
            depth = self.asks(child, governors, depth)
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
            depth = self.asks(child, around, depth)
            self.assemble(child, depth, f"{path}.{child.name}", around)
            test = f"len({self.made}) > 1" if child.url is not None else self.made
            self.row(depth, f"if {test}:", line)
            self.row(depth + 1, f"{place}{self.made}{close}", line)

    def asks(self, node: Node, governors: tuple[str, ...], depth: int) -> int:
        """Nothing is put together of which the source told nothing: the depth at which a node's statements go on."""
        tests = told(node, governors)
        if tests is None:
            return depth
        self.row(depth, f"if {' or '.join(dict.fromkeys(tests))}:", node.pos.line)
        return depth + 1

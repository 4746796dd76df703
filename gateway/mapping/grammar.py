"""A mapping file's text -> its tree, every node with line and column. Grammar: docs/mapping-language.md."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import yaml


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong with a mapping, a field dictionary or a code map."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class MappingFaults(Exception):
    """The mappings cannot be used. `faults` says where and why; their author acts."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Pos:
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Name:
    """A step to a field."""

    name: str


@dataclass(frozen=True, slots=True)
class Where:
    """A step that keeps the entries whose fields equal these."""

    tests: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Ext:
    """A step to the extension with one of these URLs."""

    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirstStep:
    """A step that keeps the first entry."""


Step: TypeAlias = Name | Where | Ext | FirstStep
Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Path:
    """A place in the source: from the item, the record (`%record`) or one `each` further out (`%outer`)."""

    scope: str  # "item" | "record" | "outer"
    steps: tuple[Step, ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class FromContext:
    """`%ctx.name`: what the gateway knows."""

    name: str
    pos: Pos


@dataclass(frozen=True, slots=True)
class Constant:
    """`= value`."""

    value: Value
    pos: Pos


@dataclass(frozen=True, slots=True)
class OwnRef:
    """`= ref('Patient')` or `= ref('Block')`."""

    block: str
    pos: Pos


@dataclass(frozen=True, slots=True)
class Call:
    """`| name(arguments)`."""

    name: str
    arguments: tuple[Value, ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class Flow:
    """A source and the functions it goes through."""

    source: "Path | FromContext | Constant | OwnRef | FirstOf"
    calls: tuple[Call, ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class FirstOf:
    """`first(a, b)`: the first that is present."""

    flows: tuple[Flow, ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class Test:
    """One condition: `exists`, `empty`, `in` or `not in` (also for = and !=)."""

    path: Path
    op: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """`or` of `and`s."""

    options: tuple[tuple[Test, ...], ...]
    pos: Pos


@dataclass(frozen=True, slots=True)
class Part:
    """One step of a target path: a name with its list place (number, "+" or None), or an extension's URL."""

    name: str
    place: int | str | None
    pos: Pos
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One field: target and where it comes from."""

    target: tuple[Part, ...]
    flow: Flow
    when: Either | None
    pos: Pos


@dataclass(frozen=True, slots=True)
class Group:
    """A target list with one element for each item of a source list."""

    target: tuple[Part, ...]
    each: Path
    when: Either | None
    lines: "tuple[Line | Group, ...]"
    pos: Pos


@dataclass(frozen=True, slots=True)
class Block:
    """One resource."""

    type: str
    name: str  # after #
    category: str
    key: tuple[Path, ...]
    each: Path | None
    when: Either | None
    profile: str | None  # None: the default; "": none
    lines: tuple[Line | Group, ...]
    pos: Pos

    @property
    def label(self) -> str:
        """As the file writes it: `Type` or `Type#name`."""
        return f"{self.type}#{self.name}" if self.name else self.type


@dataclass(frozen=True, slots=True)
class MapFile:
    """One mapping file."""

    file: str
    map: str
    version: str
    reads: str
    because: str
    blocks: tuple[Block, ...]
    ignore: tuple[tuple[Path, str], ...]
    undecided: tuple[str, ...]
    pos: Mapping[str, Pos] = field(default_factory=dict)  # of the top-level values


TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<odd>`[^`]+`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<scope>%[a-z]+)"""
    r"""|(?P<word>[^\W\d][\w-]*)|(?P<mark>!=|[.|(),=\[\]+])"""
)
TOP: Final = ("map", "version", "reads", "because", "resources", "ignore", "undecided")
BLOCK: Final = ("category", "key", "each", "when", "profile", "set")


class Bad(Exception):
    """A fault found while reading; carries its place."""

    def __init__(self, pos: Pos, message: str) -> None:
        super().__init__(message)
        self.pos = pos
        self.message = message


class Reader:
    """One expression's text -> tokens, read left to right."""

    def __init__(self, text: str, start: Pos) -> None:
        self.text = text
        self.start = start
        self.tokens = list(self._scan())
        self.at = 0

    def _scan(self) -> Iterator[tuple[str, str, Pos]]:
        at = 0
        while at < len(self.text):
            found = TOKEN.match(self.text, at)
            if found is None:
                raise Bad(self._pos(at), "a character that does not belong here")
            if found.lastgroup != "space":
                yield str(found.lastgroup), found.group(), self._pos(at)
            at = found.end()

    def _pos(self, at: int) -> Pos:
        return Pos(self.start.line, self.start.column + at)

    @property
    def pos(self) -> Pos:
        """Where the next token stands."""
        return self.tokens[self.at][2] if self.at < len(self.tokens) else self._pos(len(self.text))

    def peek(self, ahead: int = 0) -> str:
        """The next token's text; empty at the end."""
        return self.tokens[self.at + ahead][1] if self.at + ahead < len(self.tokens) else ""

    def kind(self) -> str:
        """The next token's kind; empty at the end."""
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> bool:
        """Skip the next token if it is one of these."""
        if self.kind() != "text" and self.peek() in wanted:
            self.at += 1
            return True
        return False

    def need(self, wanted: str) -> None:
        """Skip this token, which must be here."""
        if not self.take(wanted):
            raise Bad(self.pos, f"expected '{wanted}'" if self.peek() else "line ends too early")

    def next(self, kind: str, what: str) -> str:
        """The next token, which must be of this kind."""
        if self.kind() != kind:
            raise Bad(self.pos, f"expected {what}" if self.peek() else "line ends too early")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek():
            raise Bad(self.pos, "unexpected text after the end of the expression")


def read_flow(text: str, start: Pos) -> Flow:
    """`path | function`, `= constant` -> its tree. Raises `Bad`."""
    reader = Reader(text, start)
    flow = _flow(reader)
    reader.end()
    return flow


def read_path(text: str, start: Pos) -> Path:
    """A source path alone -> its tree. Raises `Bad`."""
    reader = Reader(text, start)
    path = _path(reader)
    reader.end()
    return path


def read_when(text: str, start: Pos) -> Either:
    """A condition -> its tree. Raises `Bad`."""
    reader = Reader(text, start)
    options = [_all_of(reader)]
    while reader.take("or"):
        options.append(_all_of(reader))
    reader.end()
    return Either(tuple(options), start)


def read_target(text: str, start: Pos) -> tuple[Part, ...]:
    """A target path -> its parts. Raises `Bad`."""
    reader = Reader(text, start)
    parts: list[Part] = []
    while True:
        pos = reader.pos
        name = reader.next("word", "an element name")
        url = None
        if name in ("extension", "modifierExtension") and reader.take("("):
            url = _text(reader.next("text", "the extension's URL in quotes"))
            reader.need(")")
        place: int | str | None = None
        if reader.take("["):
            if reader.take("+"):
                place = "+"
            else:
                number = reader.next("number", "a list place, [0] or [+]")
                if not number.isdigit():
                    raise Bad(pos, "a list place is 0, 1, 2 ... or +")
                place = int(number)
            reader.need("]")
        parts.append(Part(name, place, pos, url))
        if not reader.take("."):
            reader.end()
            return tuple(parts)


def _flow(reader: Reader) -> Flow:
    start = reader.pos
    source: Path | FromContext | Constant | OwnRef | FirstOf
    if reader.take("="):
        pos = reader.pos
        if reader.peek() == "ref" and reader.peek(1) == "(":
            reader.at += 2
            source = OwnRef(_text(reader.next("text", "a block's name in quotes")), pos)
            reader.need(")")
        else:
            source = Constant(_value(reader), pos)
        return Flow(source, (), start)
    if reader.peek() == "first" and reader.peek(1) == "(":
        reader.at += 2
        flows = [_flow(reader)]
        while reader.take(","):
            flows.append(_flow(reader))
        reader.need(")")
        source = FirstOf(tuple(flows), start)
    elif reader.peek() == "%ctx":
        reader.at += 1
        reader.need(".")
        source = FromContext(reader.next("word", "a name of the context"), start)
    else:
        source = _path(reader)
    calls: list[Call] = []
    while reader.take("|"):
        pos = reader.pos
        name = reader.next("word", "a function")
        arguments: list[Value] = []
        if reader.take("(") and not reader.take(")"):
            arguments.append(_value(reader))
            while reader.take(","):
                arguments.append(_value(reader))
            reader.need(")")
        calls.append(Call(name, tuple(arguments), pos))
    return Flow(source, tuple(calls), start)


def _path(reader: Reader) -> Path:
    start = reader.pos
    scope = "item"
    if reader.kind() == "scope":
        scope = reader.peek()[1:]
        if scope not in ("record", "outer"):
            raise Bad(start, "only %ctx, %record and %outer start with %")
        reader.at += 1
        reader.need(".")
    steps: list[Step] = [_step(reader)]
    while reader.peek() == "." and reader.peek(1) not in ("exists", "empty"):
        reader.at += 1
        steps.append(_step(reader))
    return Path(scope, tuple(steps), start)


def _step(reader: Reader) -> Step:
    if reader.kind() == "odd":
        return Name(reader.next("odd", "a name")[1:-1])
    name = reader.next("word", "a field name")
    if reader.peek() != "(":
        return Name(name)
    pos = reader.pos
    if name == "first":
        reader.need("(")
        reader.need(")")
        return FirstStep()
    if name == "extension":
        reader.need("(")
        urls = [_text(reader.next("text", "the extension's URL in quotes"))]
        while reader.take(","):
            urls.append(_text(reader.next("text", "the extension's URL in quotes")))
        reader.need(")")
        return Ext(tuple(urls))
    if name == "where":
        reader.need("(")
        tests = [_where_test(reader)]
        while reader.take(",") or reader.take("and"):
            tests.append(_where_test(reader))
        reader.need(")")
        return Where(tuple(tests))
    raise Bad(pos, "a path has where(), extension() and first() only; functions come after |")


def _where_test(reader: Reader) -> tuple[str, str]:
    name = reader.next("odd", "")[1:-1] if reader.kind() == "odd" else reader.next("word", "a field name")
    reader.need("=")
    return name, _text(reader.next("text", "a text in quotes"))


def _all_of(reader: Reader) -> tuple[Test, ...]:
    tests = [_test(reader)]
    while reader.take("and"):
        tests.append(_test(reader))
    return tuple(tests)


def _test(reader: Reader) -> Test:
    path = _path(reader)
    if reader.take("."):
        op = reader.next("word", "exists() or empty()")
        reader.need("(")
        reader.need(")")
        return Test(path, op, ())
    if reader.take("="):
        return Test(path, "in", (_value(reader),))
    if reader.take("!="):
        return Test(path, "not in", (_value(reader),))
    if reader.take("in"):
        reader.need("(")
        values = [_value(reader)]
        while reader.take(","):
            values.append(_value(reader))
        reader.need(")")
        return Test(path, "in", tuple(values))
    raise Bad(reader.pos, "a condition is x.exists(), x.empty(), x = 'a', x != 'a' or x in ('a', 'b')")


def _value(reader: Reader) -> Value:
    if reader.kind() == "text":
        return _text(reader.next("text", "a text"))
    if reader.kind() == "number":
        number = reader.next("number", "a number")
        return float(number) if "." in number else int(number)
    if reader.take("true"):
        return True
    if reader.take("false"):
        return False
    raise Bad(
        reader.pos, "expected a constant: 'text' in quotes, a number, true or false" if reader.peek() else "line ends too early"
    )


def _text(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def compose(text: str, file: str) -> yaml.Node:
    """YAML text -> its nodes with places, no value interpreted. Raises `MappingFaults`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = "; a value that starts with % or ` or holds ': ' needs quotes"
        raise MappingFaults((Fault(file, line, column, f"not YAML: {error.problem}{hint}"),)) from None
    if not isinstance(node, yaml.MappingNode):
        raise MappingFaults((Fault(file, 1, 1, "expected names with values"),))
    return node


def at(node: yaml.Node) -> Pos:
    """Where a node's text starts (after an opening quote)."""
    quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
    return Pos(node.start_mark.line + 1, node.start_mark.column + 1 + quoted)

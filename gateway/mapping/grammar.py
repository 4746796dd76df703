"""Expressions, paths, conditions and targets: text -> tree. Grammar: docs/mapping-language.md."""

import contextlib
import re
from collections.abc import Iterator
from typing import Final

import yaml

from gateway.mapping.tree import (
    Bad,
    Call,
    Constant,
    Either,
    Ext,
    Fault,
    FirstOf,
    FirstStep,
    Flow,
    FromContext,
    MappingFaults,
    Name,
    OwnRef,
    Part,
    Path,
    Pos,
    Step,
    Test,
    Value,
    Where,
)

TOKEN: Final = re.compile(
    r"""(?P<space>\s+)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<odd>`[^`]+`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<scope>%[a-z]+)"""
    r"""|(?P<word>[^\W\d][\w-]*)|(?P<mark>!=|[.|(),=\[\]+])"""
)
TOP: Final = ("map", "version", "reads", "because", "resources", "ignore", "undecided")
OUTWARD_TOP: Final = ("map", "version", "writes", "because", "takes", "set", "ignore", "withhold", "undecided")
BLOCK: Final = ("category", "key", "each", "when", "profile", "set")


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
        name = reader.next("odd", "")[1:-1] if reader.kind() == "odd" else reader.next("word", "an element name")
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
        node = _composed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = "; a value that starts with % or ` or holds ': ' needs quotes"
        raise MappingFaults((Fault(file, line, column, f"not YAML: {error.problem}{hint}"),)) from None
    if not isinstance(node, yaml.MappingNode):
        raise MappingFaults((Fault(file, 1, 1, "expected names with values"),))
    return node


def _composed(text: str) -> yaml.Node | None:
    """By libyaml where it is there, ten times faster; a fault is found again by PyYAML's own scanner, which says it better."""
    quick = getattr(yaml, "CSafeLoader", None)
    if quick is not None:
        with contextlib.suppress(yaml.YAMLError):
            return yaml.compose(text, Loader=quick)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def at(node: yaml.Node) -> Pos:
    """Where a node's text starts (after an opening quote)."""
    quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
    return Pos(node.start_mark.line + 1, node.start_mark.column + 1 + quoted)

"""As much of GraphQL as one query of plain fields needs: read, checked against a schema, answered from plain trees.

No directives, no named fragments, no introspection but `__typename`. Source: GraphQL specification, October 2021.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Mapping[str, tuple[str, frozenset[str]]]]  # type -> field -> (the field's own type, its arguments)

_TOKEN = re.compile(r'[\s,]+|#[^\n]*|(\.\.\.|[!$(){}\[\]:=|]|[_A-Za-z]\w*|-?\d+|"[^"\\\n]*")')
_BLOCK = re.compile(r"^(?:type|interface) (\w+)[^{]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+)(?:\((.*)\))?: [\[]?(\w+)")


class Wrong(Exception):
    """The question is not one that this schema answers."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field asked for: its name in the answer, its own name, its arguments, and what is asked of it."""

    alias: str
    name: str
    arguments: Mapping[str, Any]
    within: Sequence["Field | On"]


@dataclass(frozen=True, slots=True)
class On:
    """`... on Type { }`."""

    type: str
    within: Sequence["Field | On"]


def read_schema(text: str) -> Schema:
    """Schema language, one field a line -> what each type has."""
    return {
        name: {
            field[1]: (field[3], frozenset(re.findall(r"(\w+):", field[2] or "")))
            for field in (_FIELD.match(line) for line in body.splitlines())
            if field is not None
        }
        for name, body in _BLOCK.findall(text)
    }


def answer(schema: Schema, body: Any, root: Callable[[str, Mapping[str, Any]], Any]) -> dict[str, Any]:
    """A request -> {"data"} or {"errors"}. `root` gives the tree of a field of Query."""
    try:
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise Wrong("no query")
        asked = _Reader(body["query"], body.get("variables") or {}).operation()
        check(schema, "Query", asked)
        found = {"__typename": "Query"} | {one.name: root(one.name, one.arguments) for one in asked if isinstance(one, Field)}
        return {"data": _chosen(found, asked)}
    except Wrong as wrong:
        return {"errors": [{"message": str(wrong), "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}]}


def check(schema: Schema, name: str, asked: Sequence[Field | On]) -> None:
    """Every field and argument is the schema's. Raises `Wrong`."""
    for one in asked:
        if isinstance(one, On):
            if one.type not in schema:
                raise Wrong(f"no type {one.type}")
            check(schema, one.type, one.within)
        elif one.name != "__typename":
            if one.name not in schema.get(name, {}):
                raise Wrong(f"{name} has no field {one.name}")
            leads, arguments = schema[name][one.name]
            if not set(one.arguments) <= arguments:
                raise Wrong(f"{name}.{one.name} has no such argument")
            if (leads in schema or leads == "PersonResult") is not bool(one.within):
                raise Wrong(f"{name}.{one.name} is asked for in the wrong way")
            check(schema, leads, one.within)


def _chosen(tree: Any, asked: Sequence[Field | On]) -> Any:
    if isinstance(tree, list):
        return [_chosen(one, asked) for one in tree]
    if not isinstance(tree, dict):
        return tree
    made: dict[str, Any] = {}
    for one in asked:
        if isinstance(one, Field):
            made[one.alias] = _chosen(tree.get(one.name), one.within) if one.within else tree.get(one.name)
        elif tree.get("__typename") == one.type:
            made |= _chosen(tree, one.within)
    return made


class _Reader:
    """One document, token by token."""

    def __init__(self, text: str, variables: Mapping[str, Any]) -> None:
        self._tokens = list(_tokens(text))
        self._variables = variables

    def operation(self) -> Sequence[Field | On]:
        if self._peek() == "query":
            self._next()
            if self._peek() not in "({":
                self._next()
            if self._peek() == "(":
                self._declared()
        asked = self._selection()
        if self._tokens:
            raise Wrong("more than one query")
        return asked

    def _declared(self) -> None:
        self._take("(")
        while self._peek() != ")":
            self._take("$")
            name = self._next()
            self._take(":")
            required = False
            while self._peek() not in ("$", ")"):
                required = self._next() == "!"
            if required and self._variables.get(name) is None:
                raise Wrong(f"variable {name} is missing")
        self._take(")")

    def _selection(self) -> Sequence[Field | On]:
        self._take("{")
        asked: list[Field | On] = []
        while self._peek() != "}":
            asked.append(self._one())
        self._take("}")
        return asked

    def _one(self) -> Field | On:
        if self._peek() == "...":
            self._next()
            self._take("on")
            return On(self._next(), self._selection())
        alias = name = self._next()
        if self._peek() == ":":
            self._next()
            name = self._next()
        arguments = self._arguments() if self._peek() == "(" else {}
        return Field(alias, name, arguments, self._selection() if self._peek() == "{" else ())

    def _arguments(self) -> dict[str, Any]:
        self._take("(")
        given = self._pairs(")")
        self._take(")")
        return given

    def _pairs(self, end: str) -> dict[str, Any]:
        given = {}
        while self._peek() != end:
            name = self._next()
            self._take(":")
            given[name] = self._value()
        return given

    def _value(self) -> Any:
        word = self._next()
        if word == "$":
            return self._variables.get(self._next())
        if word == "{":
            given = self._pairs("}")
            self._take("}")
            return given
        if word == "[":
            listed = []
            while self._peek() != "]":
                listed.append(self._value())
            self._take("]")
            return listed
        if word.startswith('"'):
            return word[1:-1]
        return {"true": True, "false": False, "null": None}.get(word, int(word) if word.lstrip("-").isdigit() else word)

    def _peek(self) -> str:
        if not self._tokens:
            raise Wrong("the query ends too soon")
        return self._tokens[0]

    def _next(self) -> str:
        token = self._peek()
        del self._tokens[0]
        return token

    def _take(self, wanted: str) -> None:
        if self._next() != wanted:
            raise Wrong(f"expected {wanted}")


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise Wrong("not GraphQL")
        place = found.end()
        if found[1]:
            yield found[1]

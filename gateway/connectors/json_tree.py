"""JSON as the connectors take it: strict bytes -> plain trees, and paths into them (`a.b`, or `$.a.b` from the whole answer)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NoReturn

from gateway.adapter import SourceContractBroken, Tree

NOT_JSON: Final = "not sound JSON"
TOO_DEEP: Final = "JSON nested deeper than any record is"

_DEPTH = 64
_STEP = re.compile(r"[^\s.$\[\]'\"]+")


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A way into a tree: names only. From the whole answer, or from one record of it."""

    whole: bool
    steps: Sequence[str]


def parse(body: bytes) -> Tree:
    """Bytes -> a tree: numbers keep their digits. Raises `SourceContractBroken`, for a name twice or NaN too."""
    try:
        text = body.decode("utf-8")
        tree = json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_no_twice)
        if "\\ud" in text.lower():  # an escaped half of a pair, which json lets through and no store can keep
            json.dumps(tree, ensure_ascii=False, default=str).encode("utf-8")
    except (ValueError, ArithmeticError, RecursionError):  # the second: a number beyond what any decimal holds
        raise SourceContractBroken(NOT_JSON) from None
    _not_deep(tree, _DEPTH)
    return tree


def read_path(text: str) -> JsonPath:
    """`a.b` or `$.a.b` or `$` -> `JsonPath`. Raises `ValueError` for anything else."""
    whole = text == "$" or text.startswith("$.")
    steps = tuple(step for step in text.removeprefix("$").removeprefix(".").split(".") if text != "$")
    if not text or any(not _STEP.fullmatch(step) for step in steps):
        raise ValueError
    return JsonPath(whole, steps)


def at(path: JsonPath, record: Tree, answer: Tree) -> Tree:
    """What lies at a path; None when it is absent, or when something that has no names lies on the way."""
    found = answer if path.whole else record
    for step in path.steps:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _not_deep(tree: Tree, left: int) -> None:
    if left < 0:
        raise SourceContractBroken(TOO_DEEP)
    if tree.__class__ is dict:
        for value in tree.values():
            _not_deep(value, left - 1)
    elif tree.__class__ is list:
        for value in tree:
            _not_deep(value, left - 1)


def _no_constant(name: str) -> NoReturn:
    raise ValueError


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        raise ValueError
    return tree

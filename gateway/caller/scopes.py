"""SMART scopes: asked and registered -> granted. Only the system context is offered.

Source: SMART App Launch 2.2.0, scopes and launch context: `system/(Type|*).[c][r][u][d][s]`, letters in that order;
version 1 `.read` is `rs`, `.write` is `cud`, `.*` is `cruds`.
"""

import re
from collections.abc import Iterable

_V2 = re.compile(r"system/(\*|[A-Z][A-Za-z]{1,63})\.(c?r?u?d?s?)", re.ASCII)
_V1 = re.compile(r"system/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*)", re.ASCII)
_V1_LETTERS = {"read": "rs", "write": "cud", "*": "cruds"}
_ORDER = "cruds"
_MOST = 200  # scopes in one request


def narrow(asked: str, registered: Iterable[str]) -> frozenset[str]:
    """Scopes asked, separated by spaces, and scopes registered -> scopes granted, in version 2 form.

    What is unknown, finer than we can enforce (`?category=`), or not registered is narrowed away without an error.
    """
    have = [scope for scope in (_parse(text) for text in registered) if scope]
    granted: dict[str, set[str]] = {}
    for text in asked.split(" ")[:_MOST]:
        want = _parse(text)
        for type_, letters in have if want else ():
            assert want is not None
            if want[0] in (type_, "*") or type_ == "*":
                covered = type_ if want[0] == "*" else want[0]
                granted.setdefault(covered, set()).update(want[1] & letters)
    return frozenset(f"system/{type_}.{_in_order(letters)}" for type_, letters in granted.items() if letters)


def readable(text: str) -> bool:
    """Scope as somebody wants to register it -> whether it is one we can grant."""
    return _parse(text) is not None


def _parse(text: str) -> tuple[str, frozenset[str]] | None:
    if match := _V1.fullmatch(text):
        return match[1], frozenset(_V1_LETTERS[match[2]])
    if (match := _V2.fullmatch(text)) and match[2]:
        return match[1], frozenset(match[2])
    return None


def _in_order(letters: Iterable[str]) -> str:
    return "".join(sorted(letters, key=_ORDER.index))

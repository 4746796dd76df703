"""Where words can stand beside a code: `text` of a CodeableConcept is whatever somebody typed, so it may name a place.

The code stays; its words go where nothing that locates may (docs/mapping-language.md, Marks).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, TypeVar

from gateway.mapping.r4 import Index

F = TypeVar("F", bound=Callable[..., Any])
CONCEPT: Final = "CodeableConcept"
DEPTH: Final = 4  # of elements within elements, which R4 lets go on for ever (item.item.item)
_NOT_INSIDE: Final = frozenset({"Extension", "Identifier", "Meta", "Narrative", "Reference", "Resource"})


def says(words: Iterable[str]) -> Callable[[F], F]:
    """Of a function of a map: the words it may give. They are a reviewed list's and no source's, so they stay where words go."""

    def marked(function: F) -> F:
        function.words = frozenset(words)  # type: ignore[attr-defined]
        return function

    return marked


@lru_cache(maxsize=1024)
def words_below(index: Index, type_: str) -> tuple[tuple[str, ...], ...]:
    """A type -> the paths below it at which a concept has its words."""
    return tuple(_words(index, type_, DEPTH))


def are_words(index: Index, type_: str, path: tuple[str, ...]) -> bool:
    """Whether a path below a resource's type is the words of a concept."""
    return path[-1] == "text" and type_at(index, type_, path[:-1]) == CONCEPT


def type_at(index: Index, type_: str, path: tuple[str, ...]) -> str:
    """The type of an element of a resource; empty where there is none."""
    for name in path:
        element = index.elements(type_).get(name) if index.is_type(type_) or index.is_resource(type_) else None
        type_ = element.type if element is not None else ""
    return type_


def _words(index: Index, type_: str, left: int) -> Iterator[tuple[str, ...]]:
    if type_ == CONCEPT:
        yield ("text",)
    elif left and index.is_type(type_) and type_ not in _NOT_INSIDE:
        for name, element in index.elements(type_).items():
            for path in _words(index, element.type, left - 1):
                yield (name, *path)

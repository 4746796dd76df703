"""A schema of source.yaml as what an outward map writes: which parts each of its objects has."""

from collections.abc import Mapping
from typing import Final

from gateway.mapping.r4 import MANY, Element, Index
from gateway.mapping.source import Key, Schema

ROOT: Final = ""


class Target:
    """A schema's fields as elements, by the dotted place of the object that holds them."""

    def __init__(self, schema: Schema, index: Index) -> None:
        self.schema = schema
        self._index = index
        self._objects: dict[str, dict[str, Element]] = {ROOT: {}}
        self._extensions: dict[str, dict[str, Element]] = {}
        for key in schema.fields:
            for end in range(1, len(key) + 1):
                self._add(key[:end])

    def elements(self, type_: str) -> Mapping[str, Element]:
        """An object's place, or an R4 data type -> its elements by name."""
        return self._objects[type_] if type_ in self._objects else self._index.elements(type_)

    def has_parts(self, type_: str) -> bool:
        """True for an object and for an R4 data type."""
        return type_ in self._objects or self._index.is_type(type_)

    def is_object(self, type_: str) -> bool:
        """True for an object of the schema."""
        return type_ in self._objects

    def extension(self, type_: str, url: str) -> Element | None:
        """The extension of this URL that the schema has at an object."""
        return self._extensions.get(type_, {}).get(url)

    def order(self) -> Mapping[Key, int]:
        """Each field's place in the dictionary: recipients may insist on it."""
        found: dict[Key, int] = {}
        for key in self.schema.fields:
            for end in range(1, len(key) + 1):
                found.setdefault(key[:end], len(found))
        return found

    def _add(self, key: Key) -> None:
        above, last = _place(key[:-1]), key[-1]
        field = self.schema.fields.get(key)
        holds = any(len(other) > len(key) and other[: len(key)] == key for other in self.schema.fields)
        type_ = _place(key) if holds or field is None or field.type == "object" else field.type
        if type_ == _place(key):
            self._objects.setdefault(type_, {})
        shown = last if isinstance(last, str) else "extension"
        least = int(field is not None and field.required)
        most = MANY if not isinstance(last, str) or (field is not None and field.repeats) else 1
        codes = {"": field.codes} if field is not None and field.codes else None
        made = Element(shown, least, most, type_, "", codes)
        if isinstance(last, str):
            self._objects.setdefault(above, {}).setdefault(last, made)
        else:
            self._extensions.setdefault(above, {}).update(dict.fromkeys(last, made))


def _place(key: Key) -> str:
    """A key as the name of the object there; never an R4 type's name, which has no slash."""
    return "/".join(("", *(part if isinstance(part, str) else part[0] for part in key))) if key else ROOT

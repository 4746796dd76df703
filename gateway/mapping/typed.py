"""R4 resources read straight into structs of their type, made from the R4 index: the short way of `rewrite`.

What the structs take, they take as R4 has it, and list the parts that must be looked at: references, extensions, meta.
Whatever is of another shape is not taken at all: it is read plain and goes the long way, which alone refuses. A test
holds the two ways to the same answers.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from types import GenericAlias
from typing import Annotated, Any, Final, Union

import msgspec
from msgspec import UNSET, UnsetType

from gateway.mapping.context import Run, Unusable
from gateway.mapping.r4 import PRIMITIVE_NAMES, index
from gateway.mapping.rewrite import DROPPED, handler, our_meta, our_reference
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.resource import Typed, encoded, has_empties, without_empties

_reference, _extension = handler("Reference"), handler("Extension")
_HOLDS_LITTLE: Final = frozenset({"versionId", "lastUpdated"})  # of meta: it has only what is ours to say


class _AnyShape(type):
    """A class that msgspec hands to our hook as it was read; the hook alone says what may stand there."""

    def __instancecheck__(cls, value: object) -> bool:
        return True


class Reference(metaclass=_AnyShape):
    """A Reference, plain."""


class Extensions(metaclass=_AnyShape):
    """A list of Extensions, plain."""


class Meta(metaclass=_AnyShape):
    """The resource's meta, plain."""


class InnerId(metaclass=_AnyShape):
    """An element's own id: it goes, and may leave an element with nothing in it."""


class _Gone(metaclass=_AnyShape):
    """An element that never leaves."""


class _Number(metaclass=_AnyShape):
    """A decimal, digits kept."""


class _Whole(metaclass=_AnyShape):
    """An integer."""


_LOOKED_AT: Final[Mapping[str, Any]] = {
    "Reference": Reference,
    "Extension": Extensions,
    **dict.fromkeys(("Resource", "Narrative", "Meta")),
}
_FILLED: Final = msgspec.Meta(min_length=1)  # empty texts and lists are left out on the way, which is the long way's
_TEXT: Final = Annotated[str, _FILLED]
_PRIMITIVES: Final[Mapping[str, Any]] = {
    "boolean": bool,
    "decimal": _Number,
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), _Whole),
}
_AT_TOP: Final[Mapping[str, Any]] = {"id": _TEXT, "meta": Meta, **dict.fromkeys(DROPPED, _Gone)}
_ALONE: Final = (Extensions, _Gone, InnerId)  # whatever R4 says, there is one of it and nothing beside it
_SHAPES: Final[Mapping[type, type]] = {Reference: dict, Extensions: list, Meta: dict}


class Reader:
    """Reads resources of the types it was made for."""

    def __init__(self, types: Iterable[str]) -> None:
        forms = [_form(name) for name in sorted(types) if index().is_resource(name)]
        self._met: list[tuple[type, Any]] = []
        self._decoder = (
            msgspec.json.Decoder(Union[tuple(forms)], dec_hook=self._hook, float_hook=Decimal)  # noqa: UP007 - made of a list
            if forms
            else None
        )

    def read(self, raw: msgspec.Raw) -> Typed | None:
        """A resource's bytes -> the resource, or None: read it plain."""
        met = self._met
        met.clear()
        if self._decoder is None:
            return None
        try:
            form = self._decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError, ValueError):
            return None
        return Typed(form, form.__struct_config__.tag, tuple(met))

    def _hook(self, shape: type, value: Any) -> Any:
        if shape is _Number:
            if value.__class__ is Decimal or value.__class__ is int:
                return value
            raise ValueError
        if shape is _Gone:
            return UNSET
        if shape is InnerId:
            self._met.append((shape, None))
            return UNSET
        if shape is _Whole:
            if value.__class__ is int:
                return value
            raise ValueError
        if value.__class__ is not _SHAPES[shape] or not value:
            raise ValueError
        self._met.append((shape, value))
        return value


def rewrite_typed(resource: Typed, run: Run) -> Typed | dict[str, Any]:
    """A source's resource -> ours, in place: nobody else holds it. Plain when an element of it had to go. Raises `Unusable`."""
    form: Any = resource.form
    own = form.id
    if own is UNSET:
        raise Unusable("the resource has no id")
    form.id = run.ctx.mint(resource.kind, own)
    ragged = False
    for shape, value in resource.met:
        if shape is Meta:
            form.meta = _meta(value, run)
        elif shape is Extensions:
            value[:] = [new for one in value if (new := _extension(one, run)) is not None]
            ragged = ragged or not value
        elif shape is InnerId:
            ragged = True
        else:
            ours = _usual_reference(value, run) or _reference(value, run)
            value.clear()
            value.update(ours or ())
            ragged = ragged or ours is None
    return without_empties(resource.plain()) if ragged and has_empties(encoded(resource)) else resource


def _usual_reference(value: dict[str, Any], run: Run) -> dict[str, Any] | None:
    """A reference by itself, or beside the NHS number alone, as most are; None: look at it closer."""
    text, identifier = value.get("reference"), value.get("identifier")
    if len(value) == 2:
        if identifier.__class__ is not dict or len(identifier) != 2 or identifier.get("system") != NHS_NUMBER:
            return None
        if identifier.get("value").__class__ is not str:
            return None
    elif len(value) != 1:
        return None
    ours = our_reference(text, run) if text.__class__ is str else None
    return None if ours is None else {"reference": ours}


def _meta(meta: dict[str, Any], run: Run) -> Any:
    for name, value in meta.items():
        if name not in _HOLDS_LITTLE or value.__class__ is not str:
            return our_meta(meta, run) or UNSET
    return UNSET


def _form(type_: str) -> type[msgspec.Struct]:
    return _struct(type_, type_, frozenset())


@cache
def _struct(type_: str, tag: str | None, within: frozenset[str]) -> type[msgspec.Struct]:
    """A type -> its struct. Left to the long way, as they are rare: a type inside itself, what stands beside a primitive."""
    fields: dict[str, Any] = {}
    for name, element in index().elements(type_).items():
        kind = _kind(name, element.type, within | {type_}, top=tag is not None)
        if kind is not None:
            fields[name] = Annotated[GenericAlias(list, kind), _FILLED] if element.many and kind not in _ALONE else kind
    return msgspec.defstruct(
        re.sub(r"\W", "_", type_),
        [(name, Union[fields[name], UnsetType], UNSET) for name in sorted(fields)],  # noqa: UP007 - types, not annotations
        tag_field="resourceType" if tag else None,
        tag=tag,
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,  # read from JSON, they hold no cycle; untracked they cost the collector nothing
    )


def _kind(name: str, type_: str, within: frozenset[str], *, top: bool) -> Any:
    """What a field of a struct is; None: left out."""
    if name == "modifierExtension" or type_ in within:
        return None
    if top and name in _AT_TOP:
        return _AT_TOP[name]
    if name == "id":
        return InnerId
    if type_ in PRIMITIVE_NAMES:
        return _PRIMITIVES.get(type_, _TEXT)
    if type_ in _LOOKED_AT:
        return _LOOKED_AT[type_]
    if index().is_type(type_):
        return _struct(type_, None, within & _inside(type_))
    return None


@cache
def _inside(type_: str) -> frozenset[str]:
    """Every type that a type can hold, at any depth."""
    found: set[str] = set()
    waiting = [type_]
    while waiting:
        for element in index().elements(waiting.pop()).values():
            if element.type not in found and element.type not in _LOOKED_AT and index().is_type(element.type):
                found.add(element.type)
                waiting.append(element.type)
    return frozenset(found)

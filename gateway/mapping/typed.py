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
from gateway.mapping.values import is_int32, readable
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.resource import Probe, Typed, has_empties, probe, without_empties

PATIENT: Final = ("subject", "patient", "beneficiary", "for")  # where R4 types name whose they are
ANOTHERS: Final = "it is about something other than a patient"
_reference, _extension = handler("Reference"), handler("Extension")


class _AnyShape(type):
    """A class that msgspec hands to our hook as it was read; the hook alone says what may stand there."""

    def __instancecheck__(cls, value: object) -> bool:
        return True


class Reference(metaclass=_AnyShape):
    """A Reference, plain."""


class Extensions(metaclass=_AnyShape):
    """A list of Extensions, plain."""


class InnerId(metaclass=_AnyShape):
    """An element's own id: it goes, and may leave an element with nothing in it."""


class _Gone(metaclass=_AnyShape):
    """An element that never leaves."""


class _Number(metaclass=_AnyShape):
    """A decimal, digits kept."""


class _Whole(metaclass=_AnyShape):
    """An integer."""


class Meta(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The resource's meta. Nearly always it has only what is ours to say; whatever else is in it is looked at closer."""

    versionId: Annotated[str, msgspec.Meta(min_length=1)] | UnsetType = UNSET  # noqa: N815 - FHIR's names
    lastUpdated: Annotated[str, msgspec.Meta(min_length=1)] | UnsetType = UNSET  # noqa: N815
    profile: Any = UNSET
    security: Any = UNSET
    source: Any = UNSET
    tag: Any = UNSET
    extension: Any = UNSET
    id: Any = UNSET


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
_SHAPES: Final[Mapping[type, type]] = {Reference: dict, Extensions: list}
_MORE_OF_IDENTIFIER: Final = ("use", "type", "period", "assigner", "extension", "id")
_more_identifier, _NO_MORE = probe(_MORE_OF_IDENTIFIER)
_more_meta, _NO_META = probe(("profile", "security", "source", "tag", "extension", "id"))


class Reader:
    """Reads resources of the types it was made for."""

    def __init__(self, types: Iterable[str]) -> None:
        forms = [_form(name) for name in sorted(types) if index().is_resource(name)]
        self._met: list[tuple[type, Any]] = []
        self._decoder = self._bundles = None
        if forms:
            any_of: Any = Union[tuple(forms)]  # noqa: UP007 - made of a list
            self._decoder = msgspec.json.Decoder(any_of, dec_hook=self._hook, float_hook=Decimal)
            self._bundles = msgspec.json.Decoder(_bundle(any_of, self._met), dec_hook=self._hook, float_hook=Decimal)

    def read_all(self, body: bytes) -> Any | None:
        """A Bundle -> its `entry`s, each with the struct of its `resource` and what was `met` in it, and its `link`.

        None where any one of its resources has to be read plain: it is read piece by piece.
        """
        self._met.clear()
        if self._bundles is None:
            return None
        try:
            return self._bundles.decode(body)
        except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError, Unusable):
            return None

    def read(self, raw: msgspec.Raw) -> Typed | None:
        """A resource's bytes -> the resource, or None: read it plain."""
        met = self._met
        met.clear()
        if self._decoder is None:
            return None
        try:
            form = self._decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError, Unusable):
            return None
        return Typed(form, form.__struct_config__.tag, tuple(met))

    def _hook(self, shape: type, value: Any) -> Any:
        if shape is _Number:
            if value.__class__ is Decimal or value.__class__ is int:
                return readable(value)
            raise ValueError
        if shape is _Gone:
            return UNSET
        if shape is InnerId:
            self._met.append((shape, None))
            return UNSET
        if shape is _Whole:
            if value.__class__ is int and is_int32(value):
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
    naming, names, others, nothing = _links(form.__class__)
    form.id = run.ctx.mint(resource.kind, own)
    if naming is not None:
        link = getattr(form, naming)
        if link is not UNSET and link.reference == run.usual and _is_bare(link):  # as in the resource before it
            run.patient = run.usual[8:]
            setattr(form, naming, run.ours)
        else:
            _about(form, naming, run)
    found = others(form)
    if found != nothing:
        for name, link in zip(names, found, strict=False):  # of one name, probe reads it twice
            if link is not UNSET:
                setattr(form, name, _linked(link, run))
    meta = form.meta
    if meta is not UNSET:
        form.meta = UNSET if _more_meta(meta) == _NO_META else _meta(meta, run)
    met = resource.met
    return _met(resource, met, run) if met else resource


def _about(form: Any, naming: str, run: Run) -> None:
    """The element that names the person, as ours: fetch has proved whose the record is. Raises `Unusable`."""
    link = getattr(form, naming)
    if link is UNSET:
        setattr(form, naming, run.ours)
        return
    text = link.reference
    run.patient = patient_in(text)
    ours = _linked(link, run)
    if ours is UNSET or "reference" not in ours:
        ours = run.ours
    elif not ours["reference"].startswith("Patient/"):
        raise Unusable(ANOTHERS)
    elif text == f"Patient/{run.patient}":
        run.usual = text
    setattr(form, naming, ours)


def person_of(resource: Typed) -> tuple[str | None, Any]:
    """By which NHS number and which reference a resource names its patient; of a patient it does not name, neither."""
    link = getattr(resource.form, naming(resource.kind) or "", UNSET)
    return (None, None) if link is UNSET else (number_of(link), link.reference)


def number_of(link: Any) -> str | None:
    """The NHS number that a reference to a patient carries."""
    identifier = UNSET if link is UNSET else link.identifier
    if identifier is UNSET or identifier.system != NHS_NUMBER or identifier.value is UNSET:
        return None
    number: str = identifier.value
    return number


def patient_in(reference: Any) -> str:
    """The source's own id of the patient it names; "" when it names one by other means, and any `Patient/id` is another's."""
    parts = reference.partition("/_history/")[0].split("/") if reference.__class__ is str else ()
    return parts[-1] if len(parts) > 1 and parts[-2] == "Patient" else ""


def _is_bare(link: Any) -> bool:
    """A reference by itself, or beside the NHS number alone, as most are."""
    if link.display is not UNSET or link.type is not UNSET:
        return False
    identifier = link.identifier
    return identifier is UNSET or (identifier.system == NHS_NUMBER and _more_identifier(identifier) == _NO_MORE)


def _linked(link: Any, run: Run) -> Any:
    """One reference of the resource's own elements -> ours, or UNSET when nothing of it is left. Raises `Unusable`."""
    text = link.reference
    if text is not UNSET and _is_bare(link):
        ours = our_reference(text, run)
        return UNSET if ours is None else {"reference": ours}
    made = _reference(msgspec.to_builtins(link), run)
    return UNSET if made is None else made


def _met(resource: Typed, met: Iterable[tuple[type, Any]], run: Run) -> Typed | dict[str, Any]:
    """What stands deeper and has to be looked at."""
    ragged = False
    for shape, value in met:
        if shape is Extensions:
            value[:] = [new for one in value if (new := _extension(one, run)) is not None]
            ragged = ragged or not value
        elif shape is InnerId:
            ragged = True
        else:
            ours = _usual_reference(value, run) or _reference(value, run)
            value.clear()
            value.update(ours or ())
            ragged = ragged or ours is None
    return without_empties(resource.plain()) if ragged and has_empties(resource) else resource


def _usual_reference(value: dict[str, Any], run: Run) -> dict[str, Any] | None:
    """A reference by itself; None: look at it closer."""
    text = value.get("reference")
    ours = our_reference(text, run) if len(value) == 1 and text.__class__ is str else None
    return None if ours is None else {"reference": ours}


def _meta(meta: Meta, run: Run) -> Any:
    """Profiles and labels are kept; the rest is ours to say. Raises `Unusable`."""
    profile = meta.profile
    if _more_meta(meta)[1:] == _NO_META[1:] and profile.__class__ is list and profile and set(map(type, profile)) == {str}:
        return {"profile": profile}
    return our_meta(msgspec.to_builtins(meta, builtin_types=(Decimal,)), run) or UNSET


@cache
def naming(type_: str) -> str | None:
    """By which element a type names its one patient."""
    elements = index().elements(type_) if index().is_resource(type_) else {}
    return next((name for name in PATIENT if name in elements and not elements[name].many), None)


@cache
def _links(form: type[msgspec.Struct]) -> tuple[str | None, tuple[str, ...], Probe, tuple[Any, ...]]:
    """A struct -> the field that names the person; its other references, read at once, and what that reads where none is."""
    type_ = str(form.__struct_config__.tag)
    of_type, person = index().elements(type_), naming(type_)
    names = tuple(
        name for name in form.__struct_fields__ if of_type[name].type == "Reference" and not of_type[name].many and name != person
    )
    others, nothing = probe(names)
    return person, names, others, nothing


def _bundle(any_of: Any, met: list[tuple[type, Any]]) -> type[msgspec.Struct]:
    """A Bundle of such resources. What the hook met since the entry before is this entry's."""

    def is_read(self: Any) -> None:
        self.met = tuple(met)  # also where there is none: an entry may bring an element of this name
        met.clear()

    entry = msgspec.defstruct("Entry", [("resource", any_of), ("met", Any, ())], namespace={"__post_init__": is_read}, gc=False)
    listed: Any = GenericAlias(list, entry)
    return msgspec.defstruct(
        "Bundle",
        [("entry", listed, msgspec.field(default_factory=list)), ("link", Any, None)],
        tag_field="resourceType",
        tag="Bundle",
        gc=False,
    )


def _form(type_: str) -> type[msgspec.Struct]:
    return _struct(type_, type_, frozenset())


@cache
def _link() -> type[msgspec.Struct]:
    """A Reference that stands among a resource's own elements."""
    fields = {"reference": _TEXT, "type": _TEXT, "display": _TEXT, "identifier": _struct("Identifier", None, frozenset())}
    return msgspec.defstruct(
        "Link",
        [(name, Union[fields[name], UnsetType], UNSET) for name in sorted(fields)],  # noqa: UP007 - types, not annotations
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
    )


@cache
def _struct(type_: str, tag: str | None, within: frozenset[str]) -> type[msgspec.Struct]:
    """A type -> its struct. Left to the long way, as they are rare: a type inside itself, what stands beside a primitive."""
    fields: dict[str, Any] = {}
    for name, element in index().elements(type_).items():
        kind = _kind(name, element.type, within | {type_}, top=tag is not None, many=element.many)
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


def _kind(name: str, type_: str, within: frozenset[str], *, top: bool, many: bool) -> Any:
    """What a field of a struct is; None: left out."""
    if name == "modifierExtension" or type_ in within:
        return None
    if top and name in _AT_TOP:
        return _AT_TOP[name]
    if name == "id":
        return InnerId
    if type_ in PRIMITIVE_NAMES:
        return _PRIMITIVES.get(type_, _TEXT)
    if top and type_ == "Reference" and not many:
        return _link()
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

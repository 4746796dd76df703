"""R4 in, R4 out: ids, meta and references become ours; text, contained and what R4 does not know never pass.

The lane of sources that already speak R4, and `copy` in maps. One table per type, made from the index when first used.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec

from gateway.mapping.context import Run, Unusable, as_object
from gateway.mapping.r4 import PRIMITIVE_NAMES, index
from gateway.mapping.values import BEYOND, is_int32, readable
from gateway.nhs_number import SYSTEM as NHS_NUMBER

Handler: TypeAlias = Callable[[Any, Run], Any]
Kinds: TypeAlias = frozenset[type]
Table: TypeAlias = Mapping[str, tuple[Handler | None, bool, Kinds]]
TEXT: Final[Kinds] = frozenset({str})
BOOLEAN: Final[Kinds] = frozenset({bool})
OTHER_KIND: Final = "an element is of another kind than R4 has"
DROPPED: Final = frozenset({"text", "contained", "implicitRules"})
DEPTH: Final = 40

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def parse(body: bytes) -> Any:
    """JSON bytes -> plain values, decimals exact. Raises `Unusable`."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        raise Unusable("not JSON") from None


def encode(value: Any) -> bytes:
    """Plain values -> JSON bytes, decimals with the digits they came with."""
    return _encoder.encode(value)


def resource_id(resource: Mapping[str, Any], run: Run) -> str:
    """A source's R4 resource -> our id for it. Raises `Unusable` when it has none."""
    own = resource.get("id")
    if not isinstance(own, str) or not own:
        raise Unusable("the resource has no id")
    return run.ctx.mint(str(resource["resourceType"]), own)


def rewrite_resource(resource: Any, run: Run) -> dict[str, Any]:
    """A source's R4 resource -> ours. Raises `Unusable` for what R4 does not know."""
    type_ = as_object(resource).get("resourceType")
    if type_.__class__ is not str or type_ not in resource_types():
        raise Unusable("not an R4 resource")
    out: dict[str, Any] = {"resourceType": type_, "id": resource_id(resource, run)}
    meta = resource.get("meta")
    kept = our_meta(meta, run) if meta else None
    if kept:
        out["meta"] = kept
    _parts(resource, table(type_), run, out)
    return out


def our_meta(meta: Any, run: Run) -> dict[str, Any] | None:
    """A source's meta -> its profiles and labels; the rest is ours to say. None when it has neither. Raises `Unusable`."""
    whole = handler("Meta")(meta, run) or {}
    return {name: whole[name] for name in ("profile", "security") if name in whole} or None


def rewrite(type_: str, value: Any, run: Run) -> Any:
    """A value of an R4 data type -> the same, references rewritten; None when nothing is left. Raises `Unusable`."""
    return handler(type_)(value, run)


@cache
def resource_types() -> frozenset[str]:
    """Every R4 resource type."""
    return frozenset(index().resources())


@cache
def table(type_: str) -> Table:
    """A type -> JSON name to (handler, list?, classes); a handler of None is a text or boolean and passes as it is."""
    rows: dict[str, tuple[Handler | None, bool, Kinds]] = {}
    resource = index().is_resource(type_)
    for name, element in index().elements(type_).items():
        if resource and (name in DROPPED or name in ("id", "meta")):
            rows[name] = (_dropped, element.many, TEXT)
        elif name == "id":
            rows[name] = (_dropped, False, TEXT)  # an element id is the source's own handle
        elif name == "modifierExtension":
            rows[name] = (_modifier, True, TEXT)
        elif element.type in PRIMITIVE_NAMES:
            rows[name] = (_NUMBERS.get(element.type), element.many, BOOLEAN if element.type == "boolean" else TEXT)
            rows[f"_{name}"] = (_beside_primitive, element.many, TEXT)
        else:
            rows[name] = (handler(element.type), element.many, TEXT)
    if resource:
        rows["resourceType"] = (_dropped, False, TEXT)
    return rows


@cache
def handler(type_: str) -> Handler:
    """The handler of one data type; its table is made when first needed, since R4's types contain themselves."""
    if type_ == "Reference":
        return _reference
    if type_ == "Extension":
        return _extension
    if type_ == "Resource":
        return _dropped
    rows: Table | None = None

    def rewrite_type(value: Any, run: Run) -> dict[str, Any] | None:
        nonlocal rows
        if rows is None:
            rows = table(type_)
        out: dict[str, Any] = {}
        _parts(value, rows, run, out)
        return out or None

    return rewrite_type


def _parts(value: Any, rows: Table, run: Run, out: dict[str, Any]) -> None:
    if value.__class__ is not dict:
        raise Unusable("a text or list stands where an element with parts belongs")
    for name, part in value.items():
        row = rows.get(name)
        if row is None:
            raise Unusable("an element that R4 does not have")
        handle, many, kinds = row
        if handle is None:
            if many:
                if part.__class__ is not list or not all(one.__class__ in kinds or one is None for one in part):
                    raise Unusable("an element is not the list R4 has")
            elif part.__class__ not in kinds:
                raise Unusable(OTHER_KIND)
            if part not in ("", []):
                out[name] = part
        elif handle is _dropped:
            continue
        elif many:
            if part.__class__ is not list:
                raise Unusable("an element is not the list R4 has")
            kept = [new for one in part if (new := handle(one, run)) is not None]
            if kept:
                out[name] = kept
        else:
            new = handle(part, run)
            if new is not None:
                out[name] = new


def _dropped(value: Any, run: Run) -> None:
    return None


def _decimal(value: Any, run: Run) -> Any:
    if value.__class__ not in _DECIMAL:
        raise Unusable(OTHER_KIND)
    number: Any = Decimal(repr(value)) if value.__class__ is float else value
    readable(number)
    return value


def _integer(value: Any, run: Run) -> Any:
    if value.__class__ is not int:
        raise Unusable(OTHER_KIND)
    if not is_int32(value):
        raise Unusable(BEYOND)
    return value


_DECIMAL: Final[Kinds] = frozenset({int, Decimal, float})
_NUMBERS: Final[Mapping[str, Handler]] = {
    "decimal": _decimal,
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), _integer),
}


def _modifier(value: Any, run: Run) -> None:
    raise Unusable("a modifier extension that this gateway does not know")


def _beside_primitive(value: Any, run: Run) -> dict[str, Any] | None:
    if value is None:
        return None
    extensions = as_object(value).get("extension", [])
    if extensions.__class__ is not list:
        raise Unusable("an element is not the list R4 has")
    kept = [new for one in extensions if (new := _extension(one, run)) is not None]
    return {"extension": kept} if kept else None


def _extension(value: Any, run: Run) -> dict[str, Any] | None:
    out: dict[str, Any] = {}
    _parts(value, table("Extension"), run, out)
    if out.get("url") not in run.listed:
        run.met_unlisted = True
    return out if len(out) > 1 else None


def _reference(value: Any, run: Run) -> dict[str, Any] | None:
    if value.__class__ is not dict:
        raise Unusable("a text or list stands where an element with parts belongs")
    out: dict[str, Any] = {}
    for name, part in value.items():
        if name == "reference":
            ours = our_reference(part, run)
            if ours is not None:
                out["reference"] = ours
        elif name in ("display", "type"):
            if part.__class__ is not str:
                raise Unusable("an element with parts stands where R4 has a text or number")
            out[name] = part
        elif name == "identifier":
            kept = handler("Identifier")(part, run)
            if kept is not None and kept.get("system") != NHS_NUMBER:
                out[name] = kept
        elif name == "extension":
            kept_extensions = [new for one in part if (new := _extension(one, run)) is not None]
            if kept_extensions:
                out[name] = kept_extensions
        elif name not in ("id", "_reference", "_display", "_type"):
            raise Unusable("an element that R4 does not have")
    return out if out.keys() - {"type"} else None


def our_reference(value: Any, run: Run) -> str | None:
    """`Type/id` of the source -> `Type/<our id>`; None for a contained, absolute or urn one. Raises `Unusable`."""
    if value.__class__ is not str:
        raise Unusable("a reference that is not a text")
    type_, slash, local = value.partition("/")
    if not slash or type_ not in resource_types():
        return None
    if "/" in local or "#" in local:
        local = local.partition("/_history/")[0].partition("#")[0]
        if "/" in local:
            return None
    if not local:
        return None
    if type_ == "Patient":
        return run.person_reference(local)
    return f"{type_}/{run.ctx.mint(type_, local)}"

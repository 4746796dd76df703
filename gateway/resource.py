"""An R4 resource held as a struct of its type, read like any other mapping: what nobody looks at is never taken apart.

It is encoded from the struct, in the one form resources leave in: compact UTF-8 JSON with sorted keys at every depth,
decimals with the digits they came with. A digest over those bytes proves a copy in any order of keys.
"""

import hashlib
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, structs

TOGETHER: Final = "together"  # the schema of a record whose data is `Packed`
Record = TypeVar("Record", bound=msgspec.Struct)  # `gateway.adapter.SourceRecord`
_AT_ONCE: Final = 5_000  # fewer hold less memory at once; more leave the gateway less to do between them
_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8  # a byte -> the letter of its last five bits
_empty: Final = re.compile(rb"\{\}").search  # a third of what `in` takes, which looks at every second byte
_PLACES = tuple(f"entry {place}" for place in range(256))  # nearly every place there is
Probe: TypeAlias = Callable[[Any], Any]  # a tuple

_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_AS_THEY_ARE = frozenset({str, dict, bool})
_KEPT = (Decimal,)


class Typed(Mapping[str, Any]):
    """One resource. `met`: the parts of it that may not leave as they came, each with what it is; shared with the struct."""

    __slots__ = ("form", "kind", "met")

    def __init__(self, form: msgspec.Struct, kind: str, met: tuple[tuple[type, Any], ...] = ()) -> None:
        self.form: Any = form
        self.kind = kind
        self.met = met

    def get(self, name: str, default: Any = None) -> Any:
        """One element as plain values."""
        value = getattr(self.form, name, UNSET) if name[:2] != "__" else UNSET
        if value.__class__ in _AS_THEY_ARE:
            return value
        if value is UNSET:
            return self.kind if name == "resourceType" else default
        return msgspec.to_builtins(value, builtin_types=_KEPT)

    def __getitem__(self, name: str) -> Any:
        if name == "resourceType":
            return self.kind
        value = self.get(name, UNSET)
        if value is UNSET:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name, UNSET) is not UNSET

    def __iter__(self) -> Iterator[str]:
        yield "resourceType"
        yield from (name for name in self.form.__struct_fields__ if getattr(self.form, name) is not UNSET)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Typed({self.kind})"  # never what is in it

    def plain(self) -> dict[str, Any]:
        """The whole of it as plain values: a copy."""
        found: dict[str, Any] = msgspec.to_builtins(self.form, builtin_types=_KEPT)
        return found

    def copy(self) -> "Typed":
        """The same elements under a struct of its own: an element of the copy may be replaced, not changed inside."""
        return Typed(self.form.__copy__(), self.kind)


@dataclass(frozen=True, slots=True)
class Several:
    """R4 resources of one answer that are all about one person: one record, so that what holds for all is done once.

    Beside each resource: its place in the answer, and `meta.lastUpdated` as the source said it, where it did.
    """

    resources: list[Mapping[str, Any]]
    places: list[int]
    updated: list[str | None]

    def where(self, number: int) -> str:
        """The locator of one of them."""
        place = self.places[number]
        return _PLACES[place] if place < len(_PLACES) else f"entry {place}"

    def where_each(self) -> list[str]:
        """The locator of each."""
        return [_PLACES[place] if place < 256 else f"entry {place}" for place in self.places]


@dataclass(frozen=True, slots=True)
class Packed:
    """Records of one answer, about one person, that stay bytes until they are mapped, in the process that reads apart."""

    records: bytes
    count: int


def together(records: Sequence[Record]) -> Iterator[Record]:
    """Source records about one person -> a few that hold them all: for what is read in a process of its own."""
    for start in range(0, len(records), _AT_ONCE):
        some = tuple(records[start : start + _AT_ONCE])
        packed = Packed(pickle.dumps(some, pickle.HIGHEST_PROTOCOL), len(some))
        yield structs.replace(some[0], schema=TOGETHER, data=packed, locked=False, not_early_years=False)


def value_doubt(observation: Mapping[str, Any]) -> Literal["", "told-alike", "told-otherwise", "absent-and-there"]:
    """What stands in the way of an Observation's value in R4, which has one place for it, or one for why it is absent.

    "told-alike": a component of the same code says the same. "told-otherwise": it says another, and nobody but the sender
    can say which is meant. "absent-and-there": with a reason why it is absent. Source: FHIR R4, Observation, obs-6 and obs-7.
    """
    components = observation.get("component")
    absent = observation.get("dataAbsentReason")
    if not components and not absent:
        return ""  # nearly every one there is
    value = _value_of(observation)
    if value and absent:
        return "absent-and-there"
    own = _codings_of(observation)
    parts = components if isinstance(components, list | tuple) else ()
    twins = [part for part in parts if isinstance(part, Mapping) and _codings_of(part) & own]
    if not value or not twins:
        return ""
    return "told-alike" if all(_value_of(part) == value for part in twins) else "told-otherwise"


def _value_of(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node.items() if name.startswith("value")}


def _codings_of(node: Mapping[str, Any]) -> set[tuple[str, str]]:
    concept = node.get("code")
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    found = [coding for coding in codings if isinstance(coding, Mapping)] if isinstance(codings, list | tuple) else []
    return {(str(coding.get("system")).strip(), str(coding.get("code")).strip()) for coding in found if coding.get("code")}


def instant(text: str | None, otherwise: datetime) -> datetime:
    """`meta.lastUpdated` -> UTC, or `otherwise` where it is no instant."""
    if text is None:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else otherwise
    except (ValueError, OverflowError):  # or an offset that leads out of the calendar
        return otherwise


def probe(names: Sequence[str]) -> tuple[Probe, tuple[Any, ...]]:
    """Names of a struct's fields -> a reader of all of them at once, and what it reads where none is there."""
    if not names:
        return lambda form: (), ()
    twice = names if len(names) > 1 else (*names, *names)  # of a single name it would read no tuple
    return attrgetter(*twice), (UNSET,) * len(twice)


def name_of(resource: Mapping[str, Any]) -> tuple[str, str]:
    """A resource -> its type and id."""
    if resource.__class__ is Typed:
        return resource.kind, resource.form.id
    return resource["resourceType"], resource["id"]


def keyed(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """HMAC-SHA-256 (RFC 2104) with the key taken in: its inner and outer hash, to be copied for each message."""
    padded = key.ljust(hashlib.sha256().block_size, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in padded)), hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))


def own_ids(key: "tuple[hashlib._Hash, hashlib._Hash]", person: str, source: str, kind: str) -> Callable[[str, str], str]:
    """(type, a source's own key) -> the id we give out: see `gateway.store.keys.Keys.resource_ids`, which holds the key.

    For one answer: what refers to a resource and the resource itself ask for the same id, which is worked out once.
    """
    inner, outer = key
    begun = inner.copy()
    begun.update(f"{person}\0{source}\0".encode("utf-8", "surrogatepass"))
    start, outer_copy, letters = begun.copy, outer.copy, _LETTERS
    prefix = f"{person}.{kind}."
    made: dict[str, str] = {}

    def mint(resource_type: str, key: str) -> str:
        said = f"{resource_type}\0{key}"
        known = made.get(said)
        if known is not None:
            return known
        message, whole = start(), outer_copy()
        message.update(said.encode("utf-8", "surrogatepass"))
        whole.update(message.digest())
        made[said] = own = prefix + whole.digest()[:20].translate(letters).decode()
        return own

    return mint


def own_ids_apart(key: bytes, person: str, source: str, kind: str) -> Callable[[str, str], str]:
    """The same from the key itself: for another process of ours, which need not know of the store."""
    return own_ids(keyed(key), person, source, kind)


def encoded(resource: Mapping[str, Any]) -> bytes:
    """A resource -> the bytes it leaves as."""
    if resource.__class__ is not Typed:
        return _encode(resource)
    return encoded_form(resource)


def encoded_form(resource: Typed) -> bytes:
    """The same of a typed one."""
    made = _encode(resource.form)
    return _encode(without_empties(resource.plain())) if _empty(made) else made


def has_empties(resource: Typed) -> bool:
    """Whether a resource may hold an element with nothing in it."""
    made = _encode(resource.form)
    return _empty(made) is not None or b"[]" in made


def without_empties(element: Mapping[str, Any]) -> dict[str, Any]:
    """A resource without the elements that have nothing in them."""
    return {name: left for name, value in element.items() if (left := _left_of(value)) is not None}


def _left_of(value: Any) -> Any:
    if isinstance(value, dict):
        return without_empties(value) or None
    if isinstance(value, list):
        return [left for item in value if (left := _left_of(item)) is not None] or None
    return value

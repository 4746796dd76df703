"""The R4 and UK Core element index: which elements a type has, how often, of which type, with which codes.

r4_index.json.gz is built from public StructureDefinitions by gateway/kit/r4_index.py.
"""

import difflib
import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import msgspec

R4_VERSION: Final = "4.0.1"
UK_CORE: Final = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-"
MANY: Final = -1
FEW: Final = 16  # names that one message can list
OFFICIAL: Final = ("http://hl7.org/fhir/StructureDefinition/", "https://fhir.hl7.org.uk/StructureDefinition/")

PRIMITIVES: Final[Mapping[str, re.Pattern[str]]] = {
    name: re.compile(pattern, re.ASCII if name != "string" else 0)
    for name, pattern in {
        "base64Binary": r"[A-Za-z0-9+/=\s]*",
        "canonical": r"\S+",
        "code": r"[^\s]+( [^\s]+)*",
        "date": r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?",
        "dateTime": r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])"
        r"(T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]((0\d|1[0-3]):[0-5]\d|14:00)))?)?)?",
        "id": r"[A-Za-z0-9.-]{1,64}",
        "instant": r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]\d\d:\d\d)",
        "markdown": r"[\s\S]+",
        "oid": r"urn:oid:[0-2](\.(0|[1-9]\d*))+",
        "string": r"[\s\S]+",
        "time": r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?",
        "uri": r"\S+",
        "url": r"\S+",
        "uuid": r"urn:uuid:[0-9a-f-]{36}",
        "xhtml": r"[\s\S]+",
    }.items()
}
NUMBERS: Final = frozenset({"integer", "positiveInt", "unsignedInt", "decimal"})
PRIMITIVE_NAMES: Final = frozenset(PRIMITIVES) | NUMBERS | {"boolean"}


@dataclass(frozen=True, slots=True)
class Element:
    """One element as JSON names it: a choice element is one of these for each of its types."""

    name: str
    min: int
    max: int
    type: str
    choice: str = ""  # "onset[x]": at most one of its names may be there
    codes: Mapping[str, frozenset[str]] | None = None  # required binding: system -> codes
    targets: frozenset[str] = frozenset()  # Reference: empty = any type
    loose: Mapping[str, frozenset[str]] | None = None  # extensible binding: these codes where one of them fits

    @property
    def many(self) -> bool:
        """True where JSON has a list."""
        return self.max == MANY or self.max > 1

    @property
    def primitive(self) -> bool:
        """True for text, numbers and booleans."""
        return self.type in PRIMITIVE_NAMES


@dataclass(frozen=True, slots=True)
class Value:
    """What the value of an extension, or of a part of one, may be."""

    types: frozenset[str] = frozenset()  # empty: it has no value of its own, only parts
    codes: Mapping[str, frozenset[str]] | None = None  # as an element's
    loose: Mapping[str, frozenset[str]] | None = None
    needed: bool = False  # of a part: the extension must have it
    once: bool = False


@dataclass(frozen=True, slots=True)
class Extension:
    """What a published extension may hold: a value, or `parts` by sub-extension URL."""

    value: Value
    parts: Mapping[str, Value]
    contexts: frozenset[str] = frozenset()  # where it may stand: paths and types of elements; empty: anywhere


@dataclass(frozen=True, slots=True)
class Slice:
    """Those entries of a list that have fixed values: how many a profile wants, and what each must have."""

    path: str  # dotted, below the resource's type
    min: int
    max: int | None
    needs: tuple[str, ...]
    fixed: Mapping[str, str]  # dotted, below the entry

    def __str__(self) -> str:
        said = " and ".join(f"{name} '{value}'" for name, value in self.fixed.items())
        return f"{self.path} with {said}"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a profile says of one element beyond R4."""

    min: int = 0
    max: int | None = None
    types: frozenset[str] = frozenset()
    codes: Mapping[str, frozenset[str]] | None = None
    fixed: str | None = None
    loose: Mapping[str, frozenset[str]] | None = None


class Index:
    """The whole index; types are unfolded when first asked for."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._types: dict[str, Mapping[str, Element]] = {}
        self._bindings = {
            name: {system: frozenset(codes) for system, codes in systems.items()} for name, systems in raw["bindings"].items()
        }

    def is_resource(self, name: str) -> bool:
        """True for an R4 resource type."""
        return name in self._raw["types"] and self._raw["types"][name]["kind"] == "resource"

    def is_type(self, name: str) -> bool:
        """True for an R4 data type (or a backbone element's path) that has elements."""
        return name in self._raw["types"] and self._raw["types"][name]["kind"] != "resource"

    def resources(self) -> list[str]:
        """Every R4 resource type."""
        return [name for name, entry in self._raw["types"].items() if entry["kind"] == "resource"]

    def names(self) -> list[str]:
        """Every type that has elements, resources included."""
        return list(self._raw["types"])

    def elements(self, name: str) -> Mapping[str, Element]:
        """A type's name -> its elements by JSON name. Raises `KeyError` for a type R4 does not have."""
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = self._unfold(name)
        return found

    def profile(self, url: str) -> Mapping[str, Narrowing] | None:
        """A UK Core profile -> what it narrows, by dotted path below the resource; None when not indexed."""
        found = self._raw["profiles"].get(url)
        if found is None:
            return None
        return {path: self._narrowing(row) for path, row in found["elements"].items()}

    def profile_type(self, url: str) -> str | None:
        """The resource type a profile is for."""
        found = self._raw["profiles"].get(url)
        return None if found is None else str(found["type"])

    def extension(self, url: str) -> Extension | None:
        """A published extension, by its URL."""
        found = self._raw["extensions"].get(url)
        if found is None:
            return None
        parts = {part: self._value(row) for part, row in found.get("parts", {}).items()}
        return Extension(self._value(found), parts, frozenset(found.get("contexts", ())))

    def slices(self, url: str) -> tuple[Slice, ...]:
        """The slices of a UK Core profile that fixed values tell apart; none where it is not indexed."""
        rows = self._raw["profiles"].get(url, {}).get("slices", ())
        return tuple(Slice(row["path"], row["min"], row.get("max"), tuple(row["needs"]), row["fixed"]) for row in rows)

    def extension_urls(self) -> list[str]:
        """Every published extension known here."""
        return list(self._raw["extensions"])

    def _value(self, row: Mapping[str, Any]) -> Value:
        codes, loose = self._codes(row)
        return Value(frozenset(row["types"]), codes, loose, bool(row.get("min")), row.get("max") == 1)

    def _codes(self, row: Mapping[str, Any]) -> "tuple[Mapping[str, frozenset[str]] | None, Mapping[str, frozenset[str]] | None]":
        """The codes of a required and of an extensible binding; of one that cannot be written out, none."""
        loose = row.get("extensible", "")
        return self._bindings.get(row.get("codes", "")), self._bindings.get(loose) if loose is not None else {}

    def _narrowing(self, row: Mapping[str, Any]) -> Narrowing:
        codes, loose = self._codes(row)
        return Narrowing(row.get("min", 0), row.get("max"), frozenset(row.get("types", ())), codes, row.get("fixed"), loose)

    def _unfold(self, name: str) -> Mapping[str, Element]:
        entry = self._raw["types"][name]
        elements: dict[str, Element] = {"id": Element("id", 0, 1, "id" if entry["kind"] == "resource" else "string")}
        if entry["kind"] == "resource":
            for own, type_, most in (
                ("meta", "Meta", 1),
                ("implicitRules", "uri", 1),
                ("language", "code", 1),
                ("text", "Narrative", 1),
                ("contained", "Resource", MANY),
            ):
                elements[own] = Element(own, 0, most, type_)
        elements["extension"] = Element("extension", 0, MANY, "Extension")
        if entry["kind"] != "type":
            elements["modifierExtension"] = Element("modifierExtension", 0, MANY, "Extension")
        for leaf, row in entry["elements"].items():
            codes, loose = self._codes(row)
            targets = frozenset(row.get("targets", ()))
            if leaf.endswith("[x]"):
                for type_ in row["types"]:
                    full = leaf[:-3] + type_[0].upper() + type_[1:]
                    coded = type_ in ("code", "Coding", "CodeableConcept")
                    both = (codes, targets, loose) if coded else (None, targets, None)
                    elements[full] = Element(full, row["min"], row["max"], type_, leaf, *both)
            else:
                elements[leaf] = Element(leaf, row["min"], row["max"], row["types"][0], "", codes, targets, loose)
        return elements


def places(index: Index, type_: str, path: str) -> frozenset[str]:
    """An element of a resource -> everything that an extension's context may call it. An empty path is the resource."""
    if not path:
        return frozenset({type_, "Resource", "DomainResource", "Element"})
    found, here, whole = {"Element"}, type_, type_
    for name in path.split("."):
        element = index.elements(here).get(name)
        if element is None:
            break
        called = element.choice or name
        whole = f"{whole}.{called}"
        found = {"Element", whole, f"{here}.{called}", element.type}
        here = element.type
    return frozenset(found)


@lru_cache(maxsize=1)
def index() -> Index:
    """The shipped index, read once."""
    return Index(msgspec.json.decode(gzip.decompress(_packed())))


@lru_cache(maxsize=1)
def version() -> str:
    """Which index this is: R4's version and the beginning of the SHA-256 of the shipped file, `4.0.1-0123456789ab`."""
    return f"{R4_VERSION}-{hashlib.sha256(_packed()).hexdigest()[:12]}"


def _packed() -> bytes:
    return files("gateway.mapping").joinpath("r4_index.json.gz").read_bytes()


def suggestion(name: str, options: Iterable[str]) -> str:
    """A misspelt name -> ` (did you mean 'x'?)`; where none is near, what there is, if that is not too much to say."""
    known = sorted(options)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f" (did you mean '{near[0]}'?)"
    return f" (there is: {', '.join(known)})" if 0 < len(known) <= FEW else ""

"""source.yaml -> what each field of a source is: type, repeats, care class, marks. Checked as it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import yaml

from gateway.mapping.grammar import at, compose, read_path
from gateway.mapping.r4 import PRIMITIVE_NAMES, Index, suggestion
from gateway.mapping.reading import MapReader
from gateway.mapping.tree import Bad, Ext, Fault, FirstStep, Name, Path, Pos, Step, Where
from gateway.model import CareClass, Mark

Key: TypeAlias = tuple[str | tuple[str, ...], ...]  # names, and URL tuples for extension steps
CLASS_ORDER: Final = {care_class: place for place, care_class in enumerate(CareClass)}
STU3_PARTS: Final[Mapping[str, Mapping[str, str]]] = {  # parts of STU3 data types that R4 dropped or moved
    "Dosage": {
        "doseQuantity": "Quantity",
        "doseRange": "Range",
        "rateRatio": "Ratio",
        "rateRange": "Range",
        "rateQuantity": "Quantity",
    }
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a source."""

    key: str  # as written
    type: str
    repeats: bool
    care_class: CareClass | None  # None for objects only
    marks: frozenset[Mark]
    pos: Pos
    required: bool = False  # an outward map must write it
    codes: frozenset[str] = frozenset()  # an outward map may write these only; empty: any


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads: the type there, whether there can be several, and the key."""

    type: str
    many: bool
    key: Key


class Walks(Protocol):
    """What source paths walk: a source's record, or the R4 resources that an outward map takes."""

    @property
    def name(self) -> str:
        """As messages call it."""
        ...

    @property
    def fields(self) -> Mapping[Key, Field]:
        """The field dictionary; empty where R4 is."""
        ...

    def walk(self, base: Key, path: Path, index: Index) -> tuple[Found, list[tuple[Step, bool, Key]]]:
        """A path from a base -> where it leads, and each step with: does it repeat, where does it stand. Raises `Bad`."""
        ...


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one source's record."""

    name: str
    about: str
    file: str
    fields: Mapping[Key, Field]

    def walk(self, base: Key, path: Path, index: Index) -> tuple[Found, list[tuple[Step, bool, Key]]]:
        """A path from a base -> where it leads, and each step with: does it repeat, where does it stand.

        Raises `Bad` with the nearest name.
        """
        key, many = base, False
        field = self.fields.get(base)
        type_ = field.type if field else "object"
        steps: list[tuple[Step, bool, Key]] = []
        for step in path.steps:
            repeats = False
            if isinstance(step, FirstStep):
                many = False
            elif isinstance(step, Where):
                many = repeats = True
                for name, _ in step.tests:
                    self._part(key, type_, field, name, path, index)
            elif isinstance(step, Ext):
                key, field = self._extension(key, step, path)
                type_, repeats = field.type, field.repeats
            else:
                key, field, type_, repeats = self._part(key, type_, field, step.name, path, index)
            many = many or repeats
            steps.append((step, repeats, key))
        return Found(type_, many, key), steps

    def _part(
        self, key: Key, type_: str, field: Field | None, name: str, path: Path, index: Index
    ) -> tuple[Key, Field | None, str, bool]:
        here = (*key, name)
        if here in self.fields:
            found = self.fields[here]
            return here, found, found.type, found.repeats
        below = [known for known in self.fields if known[: len(here)] == here]
        if below:
            return here, None, "object", False
        if field is not None and index.is_type(type_):
            extra = STU3_PARTS.get(type_, {}).get(name)
            if extra:
                return here, field, extra, False
            elements = index.elements(type_)
            if name in elements:
                return here, field, elements[name].type, elements[name].many
            raise Bad(path.pos, f"{type_} has no part '{name}'{suggestion(name, elements)}")
        siblings = {known[len(key)] for known in self.fields if known[: len(key)] == key and len(known) > len(key)}
        near = suggestion(name, [part for part in siblings if isinstance(part, str)])
        raise Bad(path.pos, f"{self.name} has no field '{'.'.join(map(str, here))}'{near}")

    def _extension(self, key: Key, step: Ext, path: Path) -> tuple[Key, Field]:
        wanted = set(step.urls)
        for known in self.fields:
            if len(known) > len(key) and known[: len(key)] == key and not isinstance(known[len(key)], str):
                urls = known[len(key)]
                if wanted <= set(urls):
                    here = known[: len(key) + 1]
                    return here, self.fields.get(here) or Field(str(here), "object", False, None, frozenset(), path.pos)
        raise Bad(path.pos, f"{self.name} has no such extension here: add it to source.yaml")


def read_source(text: str, file: str, index: Index) -> tuple[dict[str, Schema], list[Fault]]:
    """source.yaml's text -> its schemas by name, and what is wrong with them. Raises `MappingFaults` when not YAML."""
    reader = MapReader(text, file)
    root = compose(text, file)
    top = reader.names(root, ("schemas", "schema", "about", "fields"), "source.yaml")
    nodes: list[yaml.Node] = list(top["schemas"].value) if isinstance(top.get("schemas"), yaml.SequenceNode) else [root]
    schemas: dict[str, Schema] = {}
    for node in nodes:
        rows = reader.names(node, ("schema", "about", "fields"), "a schema")
        if "schema" not in rows or "fields" not in rows:
            reader.fault(at(node), "a schema has 'schema:' and 'fields:'")
            continue
        fields: dict[Key, Field] = {}
        for key, value in reader.pairs(rows["fields"], "fields"):
            read = _field(reader, key, value, index)
            if read is not None:
                fields[read[0]] = read[1]
        name = reader.scalar(rows["schema"])
        if name in schemas:
            reader.fault(at(rows["schema"]), "this schema stands here twice")
        about = reader.scalar(rows["about"]) if "about" in rows else ""
        schemas[name] = Schema(name, about, file, fields)
    return schemas, reader.faults


def _field(reader: MapReader, key: yaml.ScalarNode, node: yaml.Node, index: Index) -> tuple[Key, Field] | None:
    try:
        path = read_path(str(key.value), at(key))
    except Bad as bad:
        reader.fault(bad.pos, bad.message)
        return None
    rows = reader.names(node, ("type", "repeats", "class", "marks", "meaning", "item", "required", "codes"), "a field")
    type_ = reader.scalar(rows["type"]) if "type" in rows else ""
    if type_ != "object" and type_ not in PRIMITIVE_NAMES and not index.is_type(type_):
        reader.fault(
            at(rows.get("type", node)),
            "type is string, date, dateTime, code, boolean, decimal, integer, object or an R4 data type",
        )
        return None
    care_class: CareClass | None = None
    if "class" in rows:
        word = reader.scalar(rows["class"])
        if word in set(CareClass):
            care_class = CareClass(word)
        else:
            reader.fault(at(rows["class"]), f"unknown class{suggestion(word, CareClass)}")
    elif type_ != "object":
        reader.fault(at(key), f"a field needs its class: one of {', '.join(CareClass)}")
    marks: set[Mark] = set()
    if "marks" in rows:
        listed = rows["marks"].value if isinstance(rows["marks"], yaml.SequenceNode) else [rows["marks"]]
        for mark in listed:
            word = reader.scalar(mark)
            if word in set(Mark):
                marks.add(Mark(word))
            else:
                reader.fault(at(mark), f"unknown mark{suggestion(word, Mark)}")
    steps = tuple(step.urls if isinstance(step, Ext) else step.name for step in path.steps if isinstance(step, Ext | Name))
    repeats = reader.scalar(rows["repeats"]) == "true" if "repeats" in rows else False
    required = reader.scalar(rows["required"]) == "true" if "required" in rows else False
    codes: frozenset[str] = frozenset()
    if "codes" in rows and isinstance(rows["codes"], yaml.SequenceNode) and type_ in ("code", "string"):
        codes = frozenset(reader.scalar(one) for one in rows["codes"].value)
    elif "codes" in rows:
        reader.fault(at(rows["codes"]), "codes is a list in [ ], of a field of type code or string")
    return steps, Field(str(key.value), type_, repeats, care_class, frozenset(marks), at(key), required, codes)

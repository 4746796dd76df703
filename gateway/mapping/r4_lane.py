"""The lane of sources that already speak R4: rewritten resources with the marks of mappings/r4-marks.yaml.

An element that the file does not list counts as every mark; a resource type that it does not list is withheld whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml

from gateway.adapter import SourceRecord
from gateway.mapping.context import Run, Unusable
from gateway.mapping.free_text import type_at, words_below
from gateway.mapping.grammar import at, compose
from gateway.mapping.r4 import Index, suggestion
from gateway.mapping.reading import MapReader
from gateway.mapping.rewrite import rewrite_resource
from gateway.mapping.tree import Fault, Pos
from gateway.mapping.typed import ANOTHERS, naming, patient_in, rewrite_typed
from gateway.model import CareClass, Category, MappedResource, Mark, RefusedRecord, Resource
from gateway.resource import Several, Typed, instant, without_empties

MAPPING = "r4@1"
ODD = "a value of a kind that R4 does not have there"
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError)
ALWAYS_OURS = frozenset({"id", "resourceType", "meta", "text", "contained", "implicitRules", "language"})


@dataclass(frozen=True, slots=True)
class TypeMarks:
    """One resource type's labels."""

    category: Category
    care_class: CareClass
    paths: Mapping[Mark, tuple[tuple[str, ...], ...]]


@dataclass(frozen=True, slots=True)
class Lane:
    """The reviewed marks, and the rewriter that uses them."""

    types: Mapping[str, TypeMarks]
    extensions: frozenset[str]  # URLs that carry no mark
    codes: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of what is submitted: those that locate nobody, by system

    def rewrite(self, record: SourceRecord, run: Run) -> MappedResource:
        """A source's R4 resource -> ours, labelled. Raises `Unusable`."""
        self._begin(run)
        return self._one(record.data, run, record.where, record.as_of, record)

    def rewrite_several(self, record: SourceRecord, run: Run) -> tuple[list[MappedResource], list[RefusedRecord]]:
        """Resources about one person, in one record -> ours, labelled; and those that are refused, one by one."""
        several: Several = record.data
        made: list[MappedResource] = []
        refused: list[RefusedRecord] = []
        moments: dict[str | None, datetime] = {}
        self._begin(run)
        for resource, where, updated in zip(several.resources, several.where_each(), several.updated, strict=True):
            as_of = moments.get(updated)
            if as_of is None:
                as_of = moments[updated] = instant(updated, record.as_of)
            try:
                made.append(self._one(resource, run, where, as_of, record))
            except Unusable as error:
                refused.append(RefusedRecord(run.ctx.source, where, error.reason))
            except UNREADABLE:  # one odd record is refused like any other; the rest of the answer goes on
                refused.append(RefusedRecord(run.ctx.source, where, ODD))
        return made, refused

    def _begin(self, run: Run) -> None:
        run.listed, run.ours = self.extensions, {"reference": f"Patient/{run.ctx.person}"}

    def _one(self, resource: Resource, run: Run, where: str, as_of: datetime, record: SourceRecord) -> MappedResource:
        run.met_unlisted, run.patient = False, None
        body: Typed | dict[str, Any]
        if resource.__class__ is Typed:
            body = rewrite_typed(resource, run)
            type_ = body.kind if body.__class__ is Typed else body["resourceType"]
        else:
            run.patient = _own_patient(resource)
            body = rewrite_resource(resource, run)
            type_ = body["resourceType"]
            _about_our_patient(body, run)
        labels = self.types.get(type_)
        if labels is None:
            raise Unusable("a resource type that mappings/r4-marks.yaml does not list")
        paths = labels.paths
        if run.met_unlisted:
            body = without_empties(body.plain()) if isinstance(body, Typed) else body
            found = tuple(_unlisted(body, self.extensions, ()))
            paths = {mark: (*paths.get(mark, ()), *found) for mark in Mark}
        return MappedResource(
            body,
            run.ctx.source,
            labels.category,
            labels.care_class,
            paths,
            where,
            as_of,
            MAPPING,
            record.locked,
            record.not_early_years,
        )


def _own_patient(resource: Resource) -> str | None:
    """The source's own id of the patient it names."""
    type_ = resource.get("resourceType") if isinstance(resource, dict) else None
    name = naming(type_) if type_.__class__ is str else None
    about = resource.get(name) if name else None
    return patient_in(about.get("reference")) if about.__class__ is dict else None


def _about_our_patient(body: dict[str, Any], run: Run) -> None:
    """Fetch has proved whose the record is; where the source's word for it cannot leave (an identifier, an address), ours does.

    Raises `Unusable` for a resource about a group, a device or a place.
    """
    name = naming(body["resourceType"])
    if name is None:
        return
    about = body.get(name)
    if about is not None and "reference" in about:
        if not about["reference"].startswith("Patient/"):
            raise Unusable(ANOTHERS)
        return
    body[name] = run.ours


def read_marks(text: str, file: str, index: Index, *, with_codes: bool = False) -> tuple[Lane, list[Fault]]:
    """r4-marks.yaml's text -> the lane and what is wrong with the file. Raises `MappingFaults` when it is not YAML."""
    reader = MapReader(text, file)
    top = reader.names(compose(text, file), ("types", "extensions", *(("codes",) if with_codes else ())), file)
    types: dict[str, TypeMarks] = {}
    for key, node in reader.pairs(top["types"], "types") if "types" in top else ():
        if not index.is_resource(key.value):
            reader.fault(at(key), f"R4 has no resource '{key.value}'{suggestion(key.value, index.resources())}")
            continue
        marks = _type(reader, key, node, index, words=not with_codes)  # with codes, the file says it of each
        if marks is not None:
            types[key.value] = marks
    urls: set[str] = set()
    if isinstance(top.get("extensions"), yaml.SequenceNode):
        urls = {reader.scalar(node) for node in top["extensions"].value}
    codes = {
        key.value: frozenset(code for code, _ in _listed(reader, node))
        for key, node in (reader.pairs(top["codes"], "codes") if "codes" in top else ())
    }
    return Lane(types, frozenset(urls), codes), reader.faults


def _type(reader: MapReader, key: yaml.ScalarNode, node: yaml.Node, index: Index, *, words: bool) -> TypeMarks | None:
    rows = reader.names(node, ("category", "class", "plain", *Mark), "a type")
    if not {"category", "class"} <= rows.keys():
        reader.fault(at(key), "a type has 'category:' and 'class:'")
        return None
    category, care_class = reader.scalar(rows["category"]), reader.scalar(rows["class"])
    if category not in set(Category) or care_class not in set(CareClass):
        reader.fault(at(key), "unknown category or class")
        return None
    paths: dict[Mark, set[tuple[str, ...]]] = {mark: set() for mark in Mark}
    listed: set[str] = set()
    for name in ("plain", *Mark):
        for path, pos in _listed(reader, rows.get(name)):
            fault = _known(index, key.value, path)
            if fault:
                reader.fault(pos, fault)
            listed.add(path.split(".")[0])
            if name != "plain":
                paths[Mark(name)].add(tuple(path.split(".")))
            elif words:
                here = tuple(path.split("."))
                paths[Mark.LOCATING] |= {(*here, *below) for below in words_below(index, type_at(index, key.value, here))}
    for name in index.elements(key.value):
        if name not in listed and name not in ALWAYS_OURS and name not in ("extension", "modifierExtension"):
            for mark in Mark:
                paths[mark].add((name,))
    return TypeMarks(
        Category(category), CareClass(care_class), {mark: tuple(sorted(found)) for mark, found in paths.items() if found}
    )


def _listed(reader: MapReader, node: yaml.Node | None) -> list[tuple[str, Pos]]:
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [] if node is None else [node]
    return [(reader.scalar(one), at(one)) for one in nodes]


def _known(index: Index, type_: str, path: str) -> str:
    here = type_
    for name in path.split("."):
        elements = index.elements(here) if index.is_type(here) or index.is_resource(here) else {}
        if name not in elements:
            return f"{here} has no element '{name}'{suggestion(name, elements)}"
        here = elements[name].type
    return ""


def _unlisted(value: Any, extensions: frozenset[str], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Where unlisted extensions stand, by element names."""
    found: list[tuple[str, ...]] = []
    if isinstance(value, dict):
        for name, part in value.items():
            here = (*path, name)
            if name == "extension":
                if not all(one.get("url") in extensions and not _unlisted(one, extensions, ()) for one in part):
                    found.append(here)
            else:
                found += _unlisted(part, extensions, here)
    elif isinstance(value, list):
        for part in value:
            found += _unlisted(part, extensions, path)
    return list(dict.fromkeys(found))

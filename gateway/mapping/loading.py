"""A mappings folder -> `Maps`: every file read, checked and compiled, or every fault at once."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources.abc import Traversable
from inspect import isfunction
from pathlib import Path

from gateway.mapping.check import Checker
from gateway.mapping.codes import CodeMap, read_code_map
from gateway.mapping.compile import compile_lines, compile_map
from gateway.mapping.functions import Function, describe
from gateway.mapping.outward.check import OutwardChecker
from gateway.mapping.outward.plan import OutwardMap, OutwardPlan
from gateway.mapping.plan import MapPlan
from gateway.mapping.r4 import Index, index, suggestion
from gateway.mapping.r4_lane import Lane, read_marks
from gateway.mapping.reading import MapReader
from gateway.mapping.run import LoadedMap, Maps
from gateway.mapping.source import Schema, read_source
from gateway.mapping.tree import Fault, MapFile, MappingFaults, Pos
from gateway.mapping.unit_tables import read_units

SOURCE, TARGET = "source.yaml", "target.yaml"  # what a system is read by, and what is only written to it
UNITS = "units.yaml"
READBACK = "readback"
NOT_ADAPTERS = frozenset({"codes", "cases", "__pycache__"})


def load(folder: "Path | Traversable", *, overrides: "Path | Traversable | None" = None) -> Maps:
    """A mappings folder -> its maps. `overrides`: a folder of code maps that replace those of the same name.

    Raises `MappingFaults` with every fault found.
    """
    faults: list[Fault] = []
    digest = hashlib.sha256()
    r4 = index()
    codes = _code_maps(folder, overrides, faults, digest)
    lane = Lane({}, frozenset())
    if (folder / "r4-marks.yaml").is_file():
        lane, wrong = read_marks(_text(folder / "r4-marks.yaml", digest), "r4-marks.yaml", r4)
        faults += wrong
    by_schema: dict[tuple[str, str], list[LoadedMap]] = {}
    readback: dict[tuple[str, str], list[LoadedMap]] = {}
    outward: dict[tuple[str, str], OutwardMap] = {}
    schemas: dict[tuple[str, str], Schema] = {}
    warnings: list[Fault] = []
    for place in sorted(folder.iterdir(), key=lambda one: one.name):
        if place.is_dir() and place.name not in NOT_ADAPTERS and (place / SOURCE).is_file():
            reading = _Reading(place, r4, codes, faults, digest)
            schemas |= {(place.name, name): schema for name, schema in reading.schemas.items()}
            for folder_, found in ((place, by_schema), (place / READBACK, readback)):
                for plan in reading.inward(folder_):
                    loaded = LoadedMap(plan, compile_map(plan) if not faults else ())
                    found.setdefault((place.name, plan.schema.name), []).append(loaded)
            for out in reading.outward():
                if not faults:
                    outward[place.name, out.schema.name] = OutwardMap(out, compile_lines(out.lines, out.code_file))
            warnings += reading.warnings
    if faults:
        raise MappingFaults(tuple(sorted(faults)))
    whole, back = ({key: tuple(found) for key, found in rows.items()} for rows in (by_schema, readback))
    return Maps(whole, schemas, codes, lane, digest.hexdigest(), outward, back, warnings=tuple(sorted(warnings)))


def with_code_maps(maps: Maps, folder: "Path | Traversable", own: Mapping[str, "Path | Traversable"]) -> Maps:
    """Loaded maps, and sources with a folder of code maps of their own -> maps that use those for those sources.

    The same letter means different things in different places. Every line is checked again against what it would then give.
    Raises `MappingFaults`.
    """
    own_codes, digest = dict(maps.own_codes), hashlib.sha256(maps.hash.encode())
    for source, place in sorted(own.items()):
        with_own = load(folder, overrides=place)
        own_codes[source] = with_own.codes
        digest.update(f"{source} {with_own.hash}".encode())
    return replace(maps, own_codes=own_codes, hash=digest.hexdigest() if own else maps.hash)


def remaker(folder: "Path | Traversable", maps: Maps, plan: MapPlan) -> Callable[[MapFile], tuple[LoadedMap | None, list[Fault]]]:
    """One loaded map -> what checks and compiles another version of it, exactly as `load` would."""
    functions = _functions(folder / plan.adapter, [], hashlib.sha256())
    files = [other.source for other in maps.plans(plan.adapter)]
    labels = frozenset(block.label for file in files for block in file.blocks)
    own = frozenset(
        block.label for file in files for block in file.blocks if file.reads == plan.source.reads and block.each is None
    )

    def remake(read: MapFile) -> tuple[LoadedMap | None, list[Fault]]:
        checker = Checker(plan.adapter, read, plan.schema, index(), maps.codes, functions, labels, own)
        made = replace(checker.check(plan.code_file), units=plan.units)
        return (None, checker.faults) if checker.faults else (LoadedMap(made, compile_map(made)), [])

    return remake


def outward_remaker(
    folder: "Path | Traversable", maps: Maps, plan: OutwardPlan
) -> Callable[[MapFile], tuple[OutwardMap | None, list[Fault]]]:
    """One loaded outward map -> what checks and compiles another version of it, exactly as `load` would."""
    functions = _functions(folder / plan.adapter, [], hashlib.sha256())

    def remake(read: MapFile) -> tuple[OutwardMap | None, list[Fault]]:
        checker = OutwardChecker(plan.adapter, read, plan.schema, index(), maps.codes, functions)
        made = checker.check(plan.code_file)
        return (None, checker.faults) if checker.faults else (OutwardMap(made, compile_lines(made.lines, made.code_file)), [])

    return remake


@dataclass(frozen=True, slots=True)
class _File:
    """One mapping file, read. `whole`: every line of it could be."""

    read: MapFile
    file: "Path | Traversable"
    whole: bool


class _Reading:
    """One adapter's folder, read and checked file by file."""

    def __init__(
        self,
        place: "Path | Traversable",
        r4: Index,
        codes: Mapping[str, CodeMap],
        faults: list[Fault],
        digest: "hashlib._Hash",
    ) -> None:
        self.place = place
        self.r4 = r4
        self.codes = codes
        self.faults = faults
        self.digest = digest
        self.warnings: list[Fault] = []
        self.schemas: dict[str, Schema] = {}
        for name in (SOURCE, TARGET):
            if (place / name).is_file():
                found, wrong = read_source(_text(place / name, digest), f"{place.name}/{name}", r4)
                faults += wrong
                twice = self.schemas.keys() & found.keys()
                faults += [Fault(f"{place.name}/{name}", 1, 1, f"schema '{one}' is in {SOURCE} already") for one in sorted(twice)]
                self.schemas |= found
        self.functions = _functions(place, faults, digest)
        self.units = None
        if (place / UNITS).is_file():
            self.units, wrong = read_units(_text(place / UNITS, digest), f"{place.name}/{UNITS}")
            faults += wrong
        self.files = {folder.name: self._files(folder) for folder in (place, place / READBACK) if folder.is_dir()}

    def inward(self, folder: "Path | Traversable") -> list[MapPlan]:
        """The maps of a folder that read, checked. Those of `readback/` know nothing of the others."""
        files = [one for one in self.files.get(folder.name, ()) if not one.read.writes]
        labels = frozenset(block.label for one in files for block in one.read.blocks)
        plans: list[MapPlan] = []
        for one in files:
            schema = self._schema(one, "reads", one.read.reads)
            if schema is None:
                continue
            own = frozenset(
                block.label
                for other in files
                for block in other.read.blocks
                if other.read.reads == one.read.reads and block.each is None
            )
            functions, codes = self.functions, self.codes
            checker = Checker(self.place.name, one.read, schema, self.r4, codes, functions, labels, own, whole=one.whole)
            plans.append(replace(checker.check(str(one.file)), units=self.units))
            self.faults += checker.faults
            self.warnings += checker.warnings
        return plans

    def outward(self) -> list[OutwardPlan]:
        """The maps that write, checked: one for each schema that is written."""
        plans: dict[str, OutwardPlan] = {}
        for one in self.files[self.place.name]:
            schema = self._schema(one, "writes", one.read.writes) if one.read.writes else None
            if schema is None:
                continue
            if schema.name in plans:
                self.faults.append(_at(one.read, "writes", f"{plans[schema.name].source.file} writes this schema already"))
                continue
            checker = OutwardChecker(self.place.name, one.read, schema, self.r4, self.codes, self.functions, whole=one.whole)
            plans[schema.name] = checker.check(str(one.file))
            self.faults += checker.faults
        return list(plans.values())

    def _files(self, folder: "Path | Traversable") -> list[_File]:
        found: list[_File] = []
        shown = self.place.name if folder.name == self.place.name else f"{self.place.name}/{folder.name}"
        for file in sorted(folder.iterdir(), key=lambda one: one.name):
            if file.name.endswith(".yaml") and file.name not in (SOURCE, TARGET, UNITS):
                reader = MapReader(_text(file, self.digest), f"{shown}/{file.name}")
                try:
                    found.append(_File(reader.read(), file, not reader.faults))
                except MappingFaults as not_yaml:  # of this file nothing can be said; of the others everything
                    self.faults += not_yaml.faults
                self.faults += reader.faults
        return found

    def _schema(self, one: _File, key: str, name: str) -> Schema | None:
        """The schema a file names, and what is wrong with its head."""
        read = one.read
        schema = self.schemas.get(name)
        if schema is None:
            self.faults.append(_at(read, key, f"source.yaml has no schema '{name}'{suggestion(name, self.schemas)}"))
            return None
        if read.map.replace("-", "_").partition("/")[0] != self.place.name.replace("-", "_"):
            self.faults.append(_at(read, "map", f"a map of this folder is named {self.place.name}/..."))
        if read.undecided:
            rest = f"{len(read.undecided)} fields are still undecided"
            self.faults.append(_at(read, "undecided", f"{rest}: each needs a line under set:, or its reason under ignore:"))
        return schema


def _at(read: MapFile, name: str, message: str) -> Fault:
    pos = read.pos.get(name, Pos(1, 1))
    return Fault(read.file, pos.line, pos.column, message)


def _code_maps(
    folder: "Path | Traversable", overrides: "Path | Traversable | None", faults: list[Fault], digest: "hashlib._Hash"
) -> dict[str, CodeMap]:
    found: dict[str, CodeMap] = {}
    for place, shown in ((folder / "codes", "codes"), (overrides, "code map overrides")):
        if place is None or not place.is_dir():
            continue
        for file in sorted(place.iterdir(), key=lambda one: one.name):
            if file.name.endswith(".csv"):
                name = file.name.removesuffix(".csv")
                found[name], wrong = read_code_map(name, f"{shown}/{file.name}", _text(file, digest))
                faults += wrong
    return found


def _functions(place: "Path | Traversable", faults: list[Fault], digest: "hashlib._Hash") -> dict[str, Function]:
    """A folder's own functions.py, and functions_<about>.py beside it -> their functions by name; what they import is none."""
    found: dict[str, Function] = {}
    for file in sorted(place.iterdir(), key=lambda one: one.name):
        if not (file.name == "functions.py" or (file.name.startswith("functions_") and file.name.endswith(".py"))):
            continue
        shown = f"{place.name}/{file.name}"
        _text(file, digest)
        name = f"gateway_mapping_{file.name.removesuffix('.py')}_{place.name}"
        spec = importlib.util.spec_from_file_location(name, str(file))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        for own, call in vars(module).items():
            if isfunction(call) and call.__module__ == name and not own.startswith("_"):
                try:
                    described = describe(call)
                except TypeError as error:
                    faults.append(Fault(shown, call.__code__.co_firstlineno, 1, f"{own}: {error}"))
                    continue
                if found.setdefault(own, described) is not described:
                    faults.append(
                        Fault(shown, call.__code__.co_firstlineno, 1, f"{own}: another file has a function of this name")
                    )
    return found


def _text(file: "Path | Traversable", digest: "hashlib._Hash") -> str:
    body = file.read_bytes()
    digest.update(file.name.encode() + b"\0" + len(body).to_bytes(8, "big") + body)
    return body.decode("utf-8")

"""A mappings folder -> `Maps`: every file read, checked and compiled, or every fault at once."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from inspect import isfunction
from pathlib import Path

from gateway.mapping.check import Checker
from gateway.mapping.codes import CodeMap, read_code_map
from gateway.mapping.compile import compile_map
from gateway.mapping.functions import Function, describe
from gateway.mapping.plan import MapPlan
from gateway.mapping.r4 import Index, index, suggestion
from gateway.mapping.r4_lane import Lane, read_marks
from gateway.mapping.reading import MapReader
from gateway.mapping.run import LoadedMap, Maps
from gateway.mapping.source import Schema, read_source
from gateway.mapping.tree import Fault, MapFile, MappingFaults, Pos

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
    schemas: dict[tuple[str, str], Schema] = {}
    for place in sorted(folder.iterdir(), key=lambda one: one.name):
        if place.is_dir() and place.name not in NOT_ADAPTERS and (place / "source.yaml").is_file():
            own, plans = _adapter(place, r4, codes, faults, digest)
            schemas |= {(place.name, name): schema for name, schema in own.items()}
            for plan in plans:
                loaded = LoadedMap(plan, compile_map(plan) if not faults else ())
                by_schema.setdefault((place.name, plan.schema.name), []).append(loaded)
    if faults:
        raise MappingFaults(tuple(sorted(faults)))
    return Maps({key: tuple(found) for key, found in by_schema.items()}, schemas, codes, lane, digest.hexdigest())


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
        made = checker.check(plan.code_file)
        return (None, checker.faults) if checker.faults else (LoadedMap(made, compile_map(made)), [])

    return remake


def _adapter(
    place: "Path | Traversable", r4: Index, codes: Mapping[str, CodeMap], faults: list[Fault], digest: "hashlib._Hash"
) -> tuple[dict[str, Schema], list[MapPlan]]:
    schemas, wrong = read_source(_text(place / "source.yaml", digest), f"{place.name}/source.yaml", r4)
    faults += wrong
    functions = _functions(place, faults, digest)
    files: list[tuple[MapFile, Traversable | Path, bool]] = []
    for file in sorted(place.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".yaml") and file.name != "source.yaml":
            reader = MapReader(_text(file, digest), f"{place.name}/{file.name}")
            read = reader.read()
            faults += reader.faults
            files.append((read, file, not reader.faults))
    labels = frozenset(block.label for read, _, _ in files for block in read.blocks)
    plans: list[MapPlan] = []
    for read, file, whole in files:
        schema = schemas.get(read.reads)
        if schema is None:
            faults.append(_at(read, "reads", f"source.yaml has no schema '{read.reads}'{suggestion(read.reads, schemas)}"))
            continue
        if read.map.replace("-", "_").partition("/")[0] != place.name.replace("-", "_"):
            faults.append(_at(read, "map", f"a map of this folder is named {place.name}/..."))
        if read.undecided:
            faults.append(_at(read, "undecided", f"{len(read.undecided)} fields are still undecided"))
        own = frozenset(
            block.label for other, _, _ in files for block in other.blocks if other.reads == read.reads and block.each is None
        )
        checker = Checker(place.name, read, schema, r4, codes, functions, labels, own, whole=whole)
        plans.append(checker.check(str(file)))
        faults += checker.faults
    return schemas, plans


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
    """A folder's own functions.py -> its functions by name; what it imports is not one of them."""
    file = place / "functions.py"
    if not file.is_file():
        return {}
    shown = f"{place.name}/functions.py"
    _text(file, digest)
    name = f"gateway_mapping_functions_{place.name}"
    spec = importlib.util.spec_from_file_location(name, str(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    found: dict[str, Function] = {}
    for own, call in vars(module).items():
        if isfunction(call) and call.__module__ == name and not own.startswith("_"):
            try:
                found[own] = describe(call)
            except TypeError as error:
                faults.append(Fault(shown, call.__code__.co_firstlineno, 1, f"{own}: {error}"))
    return found


def _text(file: "Path | Traversable", digest: "hashlib._Hash") -> str:
    body = file.read_bytes()
    digest.update(file.name.encode() + b"\0" + len(body).to_bytes(8, "big") + body)
    return body.decode("utf-8")

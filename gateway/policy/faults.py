"""What is wrong with a policy folder, and what to do about it; and reading its YAML and JSON strictly."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources.abc import Traversable
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong: the file, and what to do."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


class PolicyFaults(Exception):
    """The folder is not a policy that may be used. `faults` lists every one found."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Broken(Exception):
    """One file cannot be used. Becomes a `Fault` of that file."""


def read_yaml(file: Traversable) -> Mapping[str, Any]:
    """A YAML file -> its mapping. Raises `Broken` for duplicate keys, tags, or anything but a mapping."""
    try:
        tree = yaml.load(file.read_text("utf-8"), Loader=_OneKeyLoader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError as error:
        raise Broken("is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Broken(f"line {line}: not YAML this gateway reads ({error.problem})") from error
    except yaml.YAMLError as error:
        raise Broken("is not YAML") from error
    if not isinstance(tree, dict):
        raise Broken("must be a mapping of names to values")
    return tree


def read_json(file: Traversable) -> Mapping[str, Any]:
    """A JSON file -> its object. Raises `Broken`."""
    try:
        tree = json.loads(file.read_text("utf-8"), object_pairs_hook=_one_key)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Broken("is not JSON") from error
    if not isinstance(tree, dict):
        raise Broken("must be a JSON object")
    return tree


def exactly(tree: object, needed: Mapping[str, type], allowed: Mapping[str, type], what: str) -> Mapping[str, Any]:
    """A mapping with just these names and types -> itself. Raises `Broken` saying which name to add, remove or mend."""
    if not isinstance(tree, dict):
        raise Broken(f"{what} must be a mapping")
    for name, kind in needed.items():
        if name not in tree:
            raise Broken(f"{what}: add {name}")
        if not _is(tree[name], kind):
            raise Broken(f"{what}: {name} must be a {kind.__name__}")
    for name, value in tree.items():
        if name not in needed and name not in allowed:
            raise Broken(f"{what}: remove {name}, which nothing reads")
        if name in allowed and value is not None and not _is(value, allowed[name]):
            raise Broken(f"{what}: {name} must be a {allowed[name].__name__}")
    return tree


def words(value: object, what: str) -> tuple[str, ...]:
    """A list of texts -> a tuple. Raises `Broken`."""
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
        raise Broken(f"{what} must be a list of at least one text")
    return tuple(value)


def _is(value: object, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str) and bool(value.strip())
    if kind is date:
        return type(value) is date
    return type(value) is kind


def _one_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise Broken("names the same key twice")
    return tree


class _OneKeyLoader(yaml.SafeLoader):
    """YAML without duplicate keys, which would let the last of two rules win unseen."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        tree = super().construct_mapping(node, deep=True)
        if len(tree) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "the same key twice", node.start_mark)
        return tree

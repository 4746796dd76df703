"""A sample of a source -> the files of a new adapter: guessed where a guess is safe, undecided where it is not.

A sample is somebody's data. No value of it is copied: the case holds invented ones in their place.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.kit.guessing import Guess, example, guess_all
from gateway.kit.samples import READERS, Kind, SampleRefused, read_sample
from gateway.kit.tables import is_claim, quoted, table

__all__ = ["CONNECTORS", "Guess", "Made", "SampleRefused", "scaffold"]

CONNECTORS: Final = tuple(sorted(READERS))
NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,39}")
R4_SCHEMA: Final = "fhir-r4"
LOCAL: Final = frozenset({"xml-drop"})  # connectors whose records are keyed by the source's own id
OPTIONS: Final[Mapping[str, str]] = {
    "sql": 'options = { database_url = "postgresql://reader@host/database" }',
    "http-json": 'options = { base_url = "https://source.example" }',
    "graphql": 'options = { base_url = "https://source.example" }',
    "fhir-rest": 'options = { base_url = "https://source.example/fhir" }',
}
DROP: Final = 'options = { drop = "drop" } # a folder; relative: below GATEWAY_VAR/sources/NAME'


@dataclass(frozen=True, slots=True)
class Made:
    """The files of a new adapter: path below adapters/ or mappings/ -> text; and what was guessed."""

    adapter: dict[str, str]
    mapping: dict[str, str]
    guesses: tuple[Guess, ...]

    def confirm(self) -> int:
        """How many classes are no more than a guess at the safest."""
        return sum(not guess.sure for guess in self.guesses if guess.is_leaf)

    def undecided(self) -> int:
        """How many fields the maps list as undecided."""
        return sum(guess.is_leaf for guess in self.guesses)


def scaffold(name: str, connector: str, sample: bytes, *, title: str = "") -> Made:
    """A name, a connector and a sample -> the files. Raises `SampleRefused`."""
    if not NAME.fullmatch(name):
        raise SampleRefused("a name is lower-case letters, digits and _: early_help")
    kinds = [_kind(name, kind) for kind in read_sample(connector, sample)]
    shown = title or name.replace("_", " ").capitalize()
    adapter = {
        "__init__.py": f'"""Adapter: {title or name}. The manifest is the whole adapter."""\n',
        "manifest.toml": _manifest(name, connector, shown, kinds),
        "quality.yaml": _QUALITY,
        "README.md": _README.format(
            name=name,
            source=name.replace("_", "-")[:14].rstrip("-"),
            title=title or name,
            connector=connector,
            options=OPTIONS.get(connector, DROP),
        ),
    }
    guesses = tuple(guess for _, _, found in kinds for guess in found)
    return Made(adapter, {} if connector == "fhir-rest" else _mapping(name, kinds), guesses)


def _kind(name: str, kind: Kind) -> tuple[str, Kind, tuple[Guess, ...]]:
    if kind.place.get("types"):
        return R4_SCHEMA, kind, ()
    part = re.sub(r"[^a-z0-9]+", "-", kind.name.lower()).strip("-")
    schema = "-".join(filter(None, [name.replace("_", "-"), part, "1"]))
    return schema, kind, guess_all(kind.records, kind.types)


def _manifest(name: str, connector: str, title: str, kinds: Sequence[tuple[str, Kind, tuple[Guess, ...]]]) -> str:
    fhir = connector == "fhir-rest"
    numbered = any(is_claim(guess) for _, _, guesses in kinds for guess in guesses)
    by_number = fhir or (connector not in LOCAL and (numbered or connector in ("hl7v2-drop", "message-drop")))
    identity = "nhs_number" if by_number else "local_id"
    gives = ", ".join(f'{type_} = "TODO"' for type_ in kinds[0][1].place.get("types", ()))
    out = [
        f'name = "{name}"',
        f"title = {quoted(title)}",
        f'connector = "{connector}"',
        'owner = "TODO"',
        f'identity = "{identity}"',
        'kind = "other" # how a protected person\'s sources are named: a kind, never a place',
        f"reads = {quoted(list(dict.fromkeys(schema for schema, _, _ in kinds)))}",
        f"gives = {{ {gives} }} # each category as mappings/r4-marks.yaml has it"
        if fhir
        else 'gives = {} # R4 type = category, as the maps make them: { Encounter = "centre-attendance" }',
        'purposes = [] # what the source\'s own terms allow: ["TREAT", "COC"]. Empty: it is asked for nothing',
        "feeds_protection = false",
        "budget_s = 1.0",
        "",
        *table(connector, kinds, identity),
    ]
    return "\n".join(out) + "\n"


def _mapping(name: str, kinds: Sequence[tuple[str, Kind, tuple[Guess, ...]]]) -> dict[str, str]:
    files = {"source.yaml": _source(kinds)}
    for schema, kind, guesses in kinds:
        part = re.sub(r"[^a-z0-9]+", "_", kind.name.lower()).strip("_")
        called = part if part and len(kinds) > 1 else name
        case = {"schema": schema, "as_of": "2026-01-05T09:00:00Z", "where": "row 1", "data": example(guesses)}
        first = "first" if len(kinds) == 1 else f"first-{part.replace('_', '-')}"
        files[f"{called}.yaml"] = _map(name, called, schema, guesses)
        files[f"cases/{first}.in.json"] = json.dumps(case, indent=2, ensure_ascii=False) + "\n"
    return files


def _source(kinds: Sequence[tuple[str, Kind, tuple[Guess, ...]]]) -> str:
    out = [
        "# Guessed from a sample. Confirm each class and each mark; one that says GUESSED is at its safest and reaches nobody.",
        "schemas:",
    ]
    for schema, _, guesses in kinds:
        out += [f"  - schema: {schema}", "    about: one record of the source", "    fields:"]
        out += [f"      {_yaml(guess.key)}: {{{', '.join(_said(guess))}}}" for guess in guesses]
    return "\n".join(out) + "\n"


def _said(guess: Guess) -> list[str]:
    parts = [f"type: {guess.type}"]
    parts += ["repeats: true"] if guess.repeats else []
    if not guess.is_leaf:
        return parts
    parts += [f"class: {guess.care_class}"]
    parts += [f"marks: [{', '.join(sorted(guess.marks))}]"] if guess.marks else []
    form = f"a date written {guess.form}" if guess.form and guess.type == "string" else ""
    meaning = "; ".join(filter(None, [form, "" if guess.sure else "GUESSED"]))
    return parts + ([f"meaning: {json.dumps(meaning)}"] if meaning else [])


def _map(name: str, called: str, schema: str, guesses: Sequence[Guess]) -> str:
    undecided = "\n".join(f"  - {quoted(guess.name)}" for guess in guesses if guess.is_leaf)
    top = [f"map: {name}/{called}", "version: 0.1.0", f"reads: {schema}", "because: TODO which agreement lets this leave"]
    return "\n".join([*top, "resources:", "ignore:", "undecided:", undecided]) + "\n"


def _yaml(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][\w.-]*", key, re.ASCII) else json.dumps(key, ensure_ascii=False)


_QUALITY: Final = """\
# What this adapter is ready for, rule by rule: gateway check says what the next tier needs.
tier: sandbox
done: {}
exempt: {}
missing:
  pilot: everything but the scaffold
"""
_README: Final = """\
# {title}

What the source is, who owns it, how it delivers: to be written. It is read by the connector `{connector}`.

## Settings

```toml
[sources.{source}]
adapter = "{name}"
custodian = "ods:TODO"
agreement = "TODO"
title = "{title}"
{options}
```
"""

"""What an adapter with its maps must keep, rule by rule, and the tier it has reached: the same suite for ours and others'.

The author writes no test: `gateway check NAME` runs this, and a claimed tier that is not met is a fault.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import yaml
from msgspec import structs

from gateway.adapter import Manifest, SourceError
from gateway.errors import StartupRefused
from gateway.kit.hostile import FILES, MARK, records
from gateway.kit.mutate import Score, score, score_outward
from gateway.kit.readme import made
from gateway.kit.running import NotChecked
from gateway.kit.running_rules import empty, errors, no_network, number_in_url, read_only, settings, slow, wrong_person
from gateway.mapping import R4_SCHEMA, Maps, map_record, shape_faults
from gateway.mapping.cases import Case, cases, context
from gateway.mapping.outward.cases import write_cases
from gateway.mapping.rewrite import parse
from gateway.mapping.tree import Group, Line
from gateway.nhs_number import NotAnNhsNumber
from gateway.nhs_number import parse as number
from gateway.registry import read_file

LEAST: Final = 95.0  # percent of changed lines that cases must notice
NUMBERS: Final = re.compile(r"(?<!\d)\d{10}(?!\d)")
UNEXPECTED: Final = (  # what a reader or a map may never let through
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
TIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "sandbox": (
        *("quality", "manifest", "maps", "mental-health-status", "leaves"),
        *("goldens", "same", "order", "hostile", "synthetic"),
    ),
    "pilot": (
        "owner",
        "readme",
        "settings",
        "refusals",
        "lines",
        "errors",
        "slow",
        "empty",
        "wrong-person",
        "read-only",
        "number-in-url",
        "no-network",
    ),
    "live": ("mutation", "tried"),
    "exemplary": ("every-change",),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One adapter with all that belongs to it."""

    name: str
    package: ModuleType
    manifest: Manifest
    maps: Maps
    folder: Path  # of the mappings
    cases: tuple[Case, ...]
    quality: Mapping[str, Any]
    readme: str
    connector: Callable[[str], ModuleType]
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What held and what did not."""

    faults: Mapping[str, tuple[str, ...]]  # rule -> what is wrong; empty where it holds
    claimed: str
    met: str  # "" when not even sandbox
    exempt: Mapping[str, str]
    unchecked: Mapping[str, str]  # rule -> why nothing could be looked at; it counts as not met

    @property
    def holds(self) -> bool:
        """Whether the claimed tier is met."""
        order = ["", *TIERS]
        return self.claimed in TIERS and order.index(self.met) >= order.index(self.claimed)

    def needs(self) -> tuple[str, list[str]]:
        """The next tier, and the rules that it still needs."""
        order = list(TIERS)
        following = order[order.index(self.met) + 1 :] if self.met else order
        if not following:
            return "", []
        rules = [rule for rule in TIERS[following[0]] if rule not in self.exempt]
        return following[0], [rule for rule in rules if self.faults.get(rule) or rule in self.unchecked]


def subject(
    name: str, package: ModuleType, manifest: Manifest, maps: Maps, folder: Path, connector: Callable[[str], ModuleType]
) -> Subject:
    """An installed adapter and its loaded maps -> what the rules look at."""
    own = tuple(cases(folder, name))
    written = list(write_cases(folder, name))
    scores = (
        *(score(folder, maps, plan, list(own)) for plan in maps.plans(name)),
        *(score_outward(folder, maps, plan, written) for plan in maps.outward_plans(name)),
    )
    return Subject(name, package, manifest, maps, folder, own, _quality(package), _readme(package), connector, scores)


def examine(one: Subject) -> Report:
    """Every rule on one adapter. One that could look at nothing is not met, whatever it would have said."""
    faults: dict[str, tuple[str, ...]] = {}
    unchecked: dict[str, str] = {}
    for rule in (rule for rules in TIERS.values() for rule in rules):
        try:
            faults[rule] = tuple(RULES[rule](one))
        except NotChecked as why:
            faults[rule], unchecked[rule] = (), str(why)
    exempt, missing = _said(one, "exempt"), _said(one, "missing")
    met = ""
    for tier, rules in TIERS.items():
        said_missing = tier in missing  # the author's own word: what no machine can see
        if said_missing or any((faults[rule] or rule in unchecked) and rule not in exempt for rule in rules):
            break
        met = tier
    return Report(faults, str(one.quality.get("tier", "")), met, dict(exempt), unchecked)


def quality(one: Subject) -> Iterator[str]:
    """quality.yaml says a tier, what is done, what is exempt and why, what is missing."""
    if one.quality.get("tier") not in TIERS:
        yield f"quality.yaml: tier is one of {', '.join(TIERS)}"
    for part in ("done", "exempt", "missing"):
        if not isinstance(one.quality.get(part), dict):
            yield f"quality.yaml: {part} is a list of names with texts"
        elif not all(isinstance(text, str) and text.strip() for text in one.quality[part].values()):
            yield f"quality.yaml: each entry of {part} says something"
    for rule in _said(one, "exempt"):
        if rule not in RULES:
            yield "quality.yaml: exempt names a rule that does not exist"
        elif rule in (*TIERS["sandbox"], "tried"):
            yield f"quality.yaml: nobody is exempt from {rule}"


def manifest(one: Subject) -> Iterator[str]:
    """What the manifest reads and gives is what source.yaml and the maps have."""
    read = {plan.source.reads for plan in one.maps.plans(one.name)}
    written = {plan.schema.name for plan in one.maps.outward_plans(one.name)} - read
    schemas = {schema for name, schema in one.maps.schemas if name == one.name} - written
    if schemas != set(one.manifest.reads) - {R4_SCHEMA}:
        yield "manifest.toml: reads names other schemas than source.yaml"
    given = {block.block.type: str(block.category) for plan in one.maps.plans(one.name) for block in plan.blocks}
    if R4_SCHEMA not in one.manifest.reads and given != dict(one.manifest.gives):
        yield "manifest.toml: gives names other resource types or categories than the maps make"
    if not one.manifest.purposes:
        yield "manifest.toml: purposes names none, so the source may be asked for nothing"


def maps(one: Subject) -> Iterator[str]:
    """There are maps; they loaded, so every check of the language holds and nothing is undecided."""
    if R4_SCHEMA in one.manifest.reads:
        return
    if not one.maps.plans(one.name):
        yield f"mappings/{one.name}: there is no map"
    if not one.cases:
        yield f"mappings/{one.name}/cases: there is no case"


def mental_health_status(one: Subject) -> Iterator[str]:
    """No map says a legal status in the extension that is for the Mental Health Act: an order about a child is another law."""
    for plan in one.maps.plans(one.name):
        for block in plan.blocks:
            for found in dict.fromkeys(_extensions(block.block.lines)):
                if found.endswith("/Extension-UKCore-LegalStatus"):
                    yield f"{plan.source.file}: {block.block.label} sets Extension-UKCore-LegalStatus"


def _extensions(lines: Iterable[Line | Group]) -> Iterator[str]:
    """The URL of every extension that lines write to."""
    for line in lines:
        yield from (part.url for part in line.target if part.url is not None)
        if isinstance(line, Group):
            yield from _extensions(line.lines)


def leaves(one: Subject) -> Iterator[str]:
    """Every leaf of every case is mapped, ignored with a reason, or refused with its record."""
    for case in _cases(one):
        for record in case.records():
            result = map_record(one.maps, one.name, record, context(one.name), account=True)
            if result.accounting is not None and not result.refused and result.accounting.unmapped:
                yield f"case {case.name}: no line reads and no map ignores {', '.join(result.accounting.unmapped)}"


def goldens(one: Subject) -> Iterator[str]:
    """What comes out equals the golden, and the golden is R4 UK Core itself; what is written is read back without loss."""
    for case in _cases(one):
        came = case.run(one.maps)
        yield from (f"case {case.name}: {fault}" for fault in case.differences(came))
        golden = case.folder / f"{case.name}.out.json"
        for resource in parse(golden.read_bytes()) if golden.is_file() else ():
            yield from (f"case {case.name}: golden is not R4 UK Core: {fault}" for fault in shape_faults(resource))
    for written in write_cases(one.folder, one.name):
        made = written.run(one.maps)
        yield from (f"case {written.name}: {fault}" for fault in written.differences(made))
        yield from (f"case {written.name}: {path} is written and not read back" for path in written.lost(one.maps, made))


def same(one: Subject) -> Iterator[str]:
    """The same input twice gives the same bytes, ids included."""
    yield from (f"case {case.name}: differs from run to run" for case in _cases(one) if _twice(one, case))


def order(one: Subject) -> Iterator[str]:
    """The order of an input's names changes nothing."""
    for case in _cases(one):
        for record in case.records():
            straight, turned = (
                map_record(one.maps, one.name, given, context(one.name))
                for given in (record, structs.replace(record, data=_turned(record.data)))
            )
            if [made.body for made in straight.resources] != [made.body for made in turned.resources]:
                yield f"case {case.name}: depends on the order of the input's names"


def hostile(one: Subject) -> Iterator[str]:
    """A broken or hostile file gives one of the four errors, a broken record a refusal; no message holds a value."""
    for name, body in FILES.items():
        try:
            list(read_file(one.package, one.manifest, f"{name}.txt", body, connector=one.connector))
        except SourceError as error:
            if MARK in f"{error} {error.reason}":
                yield f"hostile file {name}: its error holds a value"
        except StartupRefused:
            break  # reads no files at all
        except UNEXPECTED as error:
            yield f"hostile file {name}: {type(error).__name__} instead of one of the four errors"
    for case in one.cases:
        for record in case.records():
            for name, broken in records(record):
                try:
                    result = map_record(one.maps, one.name, broken, context(one.name), account=True)
                except UNEXPECTED as error:
                    yield f"case {case.name}, {name}: {type(error).__name__} instead of a refusal"
                    continue
                if any(MARK in refused.reason for refused in result.refused):
                    yield f"case {case.name}, {name}: a refusal holds a value"


def synthetic(one: Subject) -> Iterator[str]:
    """Cases hold no NHS number outside the range that is never given to anybody."""
    for case in one.cases:
        for file in case.folder.glob(f"{case.name}.*"):
            for digits in NUMBERS.findall(file.read_text("utf-8")):
                if not digits.startswith("999") and _valid(digits):
                    yield f"{file.name}: holds what could be somebody's NHS number: use one of the 999 range"


def owner(one: Subject) -> Iterator[str]:
    """Somebody owns it."""
    if not one.manifest.owner.strip() or one.manifest.owner.strip().lower() in ("todo", "nobody", "unknown"):
        yield "manifest.toml: owner names nobody"


def readme(one: Subject) -> Iterator[str]:
    """README.md says how it is set, and what in it is made is current."""
    if "[sources." not in one.readme:
        yield "README.md: show the [sources.NAME] settings of this adapter"
    if made(one) not in one.readme:
        yield f"README.md: its made part is missing or not current: gateway adapter readme {one.name} --write"


def refusals(one: Subject) -> Iterator[str]:
    """At least one case is refused, and one goes well."""
    if not any((case.folder / f"{case.name}.refused.txt").is_file() for case in one.cases):
        yield "no case is refused: show a record that must be"
    if not any((case.folder / f"{case.name}.out.json").is_file() for case in one.cases):
        yield "no case gives a resource"


def lines(one: Subject) -> Iterator[str]:
    """Every line is exercised: without it some case comes out otherwise."""
    for scored in one.scores:
        yield from (
            f"{scored.file}:{mutant.line}: no case exercises this line" for mutant in scored.survived if mutant.what == "dropped"
        )


def mutation(one: Subject) -> Iterator[str]:
    """Of every map, cases notice at least 95 % of changed lines."""
    for scored in one.scores:
        if scored.percent < LEAST:
            percent = f"{scored.percent:.1f} %"
            yield f"{scored.file}: cases notice {percent} of changed lines: gateway map mutate {one.name} lists the rest"


def tried(one: Subject) -> Iterator[str]:
    """It was tried against the real system: quality.yaml says where and when under done.tried."""
    if "tried" not in _said(one, "done"):
        yield "quality.yaml: done.tried says against which real system it was tried, when, by whom"


def every_change(one: Subject) -> Iterator[str]:
    """Cases notice every changed line."""
    for scored in one.scores:
        yield from (f"{scored.file}:{mutant.line}: {mutant.what}: no case notices" for mutant in scored.survived)


RULES: Final[Mapping[str, Callable[[Subject], Iterator[str]]]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        quality,
        manifest,
        maps,
        mental_health_status,
        leaves,
        goldens,
        same,
        order,
        hostile,
        synthetic,
        owner,
        readme,
        settings,
        refusals,
        lines,
        errors,
        slow,
        empty,
        wrong_person,
        read_only,
        number_in_url,
        no_network,
        mutation,
        tried,
        every_change,
    )
}


def _cases(one: Subject) -> tuple[Case, ...]:
    """The cases. Raises `NotChecked` where there is none: a source that speaks R4 needs no map, and a case all the same."""
    if not one.cases:
        raise NotChecked(f"there is no case: lay an invented record under mappings/{one.name}/cases")
    return one.cases


def _said(one: Subject, part: str) -> Mapping[str, str]:
    found = one.quality.get(part)
    return found if isinstance(found, dict) else {}


def _quality(package: ModuleType) -> Mapping[str, Any]:
    file = files(package).joinpath("quality.yaml")
    try:
        read = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}


def _readme(package: ModuleType) -> str:
    file = files(package).joinpath("README.md")
    return file.read_text("utf-8") if file.is_file() else ""


def _twice(one: Subject, case: Case) -> bool:
    first, second = case.run(one.maps), case.run(one.maps)
    return first.out() != second.out() or first.refused() != second.refused()


def _turned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _turned(part) for name, part in reversed(value.items())}
    return [_turned(part) for part in value] if isinstance(value, list) else value


def _valid(digits: str) -> bool:
    try:
        number(digits, allow_test=True)
    except NotAnNhsNumber:
        return False
    return True

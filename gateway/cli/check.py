"""`gateway check`: everything that can be checked without running: manifests, mappings, policy, tiers and descriptions."""

import importlib
import json
import time
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.folders import Adapters, Mappings
from gateway.cli.say import fail

if TYPE_CHECKING:
    from gateway.adapter import Manifest
    from gateway.kit.conformance import Subject
    from gateway.mapping import Maps
    from gateway.policy import Policy

AGAIN_S = 0.5


def command(
    name: Annotated[str | None, typer.Argument(help="one adapter, with its tier; default: everything")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="check again after each change, until stopped")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for machines")] = False,
    adapters: Adapters = None,
    mappings: Mappings = None,
) -> None:
    """Check manifests, mappings and policy, and openapi/ and the data-flow matrix where they are; of one adapter: its rules.

    In a repository of your own, one adapter is looked for under adapters/ and mappings/ there, unless the options say where.

    Exit 0 and say what held, 1 and say where it does not, 2 when there is no such adapter.
    """
    folder, adapters = where(name, mappings, adapters)
    while True:
        seen = _seen(folder, adapters)
        faults = _adapter(name, folder, adapters, as_json=as_json) if name is not None else _everything(folder, as_json=as_json)
        for fault in () if as_json and name is None else faults:
            typer.echo(fault, err=True)
        if not watch:
            raise typer.Exit(1 if faults else 0)
        while _seen(folder, adapters) == seen:
            time.sleep(AGAIN_S)
        typer.echo("---")


def examined(name: str, folder: Path, adapters: Path | None) -> "Subject | list[str]":
    """One adapter with all that belongs to it, or what keeps it from being read. Exit 2 when none is installed."""
    from gateway import mapping, registry
    from gateway.connectors import CONNECTORS
    from gateway.errors import StartupRefused
    from gateway.kit.conformance import subject

    def connector(named: str) -> ModuleType:
        return importlib.import_module(CONNECTORS[named])

    try:
        packages = registry.installed(adapters.resolve() if adapters is not None else None)
        if name not in packages:
            fail(f"no adapter of this name is installed: there are {', '.join(sorted(packages))}", code=2)
        manifest = registry.load_manifest(packages[name])
        maps = mapping.load(folder)
    except StartupRefused as refused:
        return [str(refused)]
    except mapping.MappingFaults as found:
        return [str(fault) for fault in found.faults]
    return subject(name, packages[name], manifest, maps, folder, connector)


def where(name: str | None, mappings: Path | None, adapters: Path | None) -> tuple[Path, Path | None]:
    """Which mappings, and where adapters under development are: in an author's own repository, what stands there."""
    here = name is not None and (Path("mappings") / name / "source.yaml").is_file()
    own = name is not None and (Path("adapters") / name / "manifest.toml").is_file() and not Path("gateway/registry.py").is_file()
    folder = mappings or (Path("mappings") if here else Path(str(files("mappings"))))
    return folder, adapters or (Path("adapters") if own else None)


def noticed(one: "Subject") -> list[str]:
    """Of each map, how many changes of its lines its cases notice; of cases that nobody has read yet it would say nothing."""
    unread = any(case.is_new(case.run(one.maps)) for case in one.cases)
    return [
        f"{made.title}: not measurable: a case has no golden yet"
        if unread
        else f"{made.title}: {made.caught} of {made.caught + len(made.survived)} changes noticed by cases"
        for made in one.scores
    ]


def _adapter(name: str, folder: Path, adapters: Path | None, *, as_json: bool) -> list[str]:
    """One adapter's rules -> what does not hold up to the tier it claims."""
    from gateway.kit.conformance import TIERS, examine

    one = examined(name, folder, adapters)
    if isinstance(one, list):
        return one
    report = examine(one)
    tier, needs = report.needs()
    if as_json:
        told = {"adapter": name, "claimed": report.claimed, "met": report.met}
        typer.echo(json.dumps({**told, "faults": report.faults, "not_checked": report.unchecked}))
    else:
        typer.echo(f"cases      {len(one.cases)} of {name}")
        for line in noticed(one):
            typer.echo(f"lines      {line}")
        following = f" ({tier} needs: {', '.join(needs) or 'what quality.yaml says is missing'})" if tier else ""
        for rule, why in report.unchecked.items():
            typer.echo(f"not checked: {rule}: {why}" + (" (exempt)" if rule in report.exempt else ""))
        typer.echo(f"tier       {report.met or 'none'}{following}")
    order = list(TIERS)
    claimed = order[: order.index(report.claimed) + 1] if report.claimed in order else order[:1]
    faults = [
        fault for step in claimed for rule in TIERS[step] if rule not in report.exempt for fault in report.faults.get(rule, ())
    ]
    faults += [
        f"{name}: {rule} is not checked: {why}"
        for step in claimed
        for rule, why in report.unchecked.items()
        if rule in TIERS[step] and rule not in report.exempt
    ]
    if not faults and not report.holds:
        faults.append(f"{name}: quality.yaml claims {report.claimed or 'no tier'}, and says itself what is missing for it")
    return faults


def _everything(folder: Path, *, as_json: bool) -> list[str]:
    """Manifests, mappings, policy, and the documents that are made of them -> what is wrong. Says what held."""
    from gateway import mapping, policy, registry
    from gateway.cli.openapi import documents
    from gateway.errors import StartupRefused
    from gateway.flows import programme

    packages = registry.installed()
    faults: list[str] = []
    held: dict[str, str] = {}
    warnings: list[str] = []
    maps, rules = None, None
    manifests = []
    for adapter in sorted(packages):
        try:
            manifests.append(registry.load_manifest(packages[adapter]))
        except StartupRefused as refused:
            faults.append(str(refused))
    try:
        maps = mapping.load(folder)
        held["mappings"] = f"{sum(len(maps.plans(adapter)) for adapter in maps.adapters())} maps load without a fault"
        warnings += map(str, maps.warnings)
    except mapping.MappingFaults as found:
        faults += [str(fault) for fault in found.faults]
    if (folder / programme.FILE).is_file():
        try:
            held["programme"] = f"of {programme.load_programme(folder).version}"
        except StartupRefused as refused:
            faults.append(str(refused))
    try:
        rules = policy.load(files("consent_policy"))
        faults += [str(fault) for fault in policy.check(rules)]
        held["policy"] = f"{len(rules.cases)} cases decide as written; hash {rules.hash[:16]}"
    except policy.PolicyFaults as broken:
        faults += [str(fault) for fault in broken.faults]
    if maps is not None and rules is not None and (Path("docs") / "flow-matrix.md").exists():
        wrong, rows = _flow(maps, rules, manifests)
        faults += wrong
        if not wrong:
            held["flow"] = f"{rows} rows reach whom docs/flow-matrix.md says, and nobody else"
    if (Path("openapi") / "gateway.json").exists():
        stale = [file for file, text in documents().items() if (Path("openapi") / file).read_text("utf-8") != text]
        faults += [f"openapi/{file}: not what the code says: run make openapi" for file in stale]
    if not faults:
        held["adapters"] = f"{len(packages)} manifests are whole"
    if as_json:
        typer.echo(json.dumps({"held": held, "warnings": warnings, "faults": faults}))
        return faults
    for what, said in held.items():
        typer.echo(f"{what:<10} {said}")
    for warning in warnings:
        typer.echo(f"warning    {warning}")
    return faults


def _flow(maps: "Maps", rules: "Policy", manifests: "list[Manifest]") -> tuple[list[str], int]:
    """The committed data-flow matrix -> who would newly receive what, or that it is out of date; and how many rows it has."""
    from gateway.kit.flow import matrix, news, page
    from gateway.kit.flow_picture import picture

    docs = Path("docs")
    made = matrix(maps, rules, manifests)
    committed = (docs / "flow-matrix.md").read_text("utf-8")
    faults = [f"docs/flow-matrix.md: {new}" for new in news(made, committed)]
    if faults or committed != page(made) or (docs / "flow-matrix.svg").read_text("utf-8") != picture(made):
        faults.append(
            "docs/flow-matrix.md: not what mappings and policy say: run gateway map flow --write docs, and have it reviewed"
        )
    return faults, len(made.cells)


def _seen(*folders: Path | None) -> dict[Path, float]:
    """Every file below -> when it was last changed."""
    found: dict[Path, float] = {}
    for folder in folders:
        for file in folder.rglob("*") if folder is not None else ():
            try:
                if file.suffix != ".pyc":
                    found[file] = file.stat().st_mtime
            except FileNotFoundError:
                continue
    return found

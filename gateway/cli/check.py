"""`gateway check`: everything that can be checked without running: manifests, mappings, policy and descriptions."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.say import fail

if TYPE_CHECKING:
    from gateway.adapter import Manifest
    from gateway.mapping import Maps
    from gateway.policy import Policy


def command(
    name: Annotated[str | None, typer.Argument(help="one adapter; default: all")] = None,
) -> None:
    """Check manifests, mappings and policy, and openapi/ where it is. Exit 1 and say where, or say what held."""
    from gateway import mapping, policy, registry
    from gateway.cli.openapi import documents
    from gateway.errors import StartupRefused

    packages = registry.installed()
    if name is not None and name not in packages:
        fail(f"no adapter of this name is installed: there are {', '.join(sorted(packages))}")
    faults: list[str] = []
    maps, rules = None, None
    manifests = []
    for adapter in sorted(packages):
        try:
            manifests.append(registry.load_manifest(packages[adapter]))
        except StartupRefused as refused:
            faults.append(str(refused))
    try:
        maps = mapping.load(files("mappings"))
        typer.echo(f"mappings   {sum(len(maps.plans(adapter)) for adapter in maps.adapters())} maps load without a fault")
    except mapping.MappingFaults as found:
        faults += [str(fault) for fault in found.faults]
    try:
        rules = policy.load(files("consent_policy"))
        faults += [str(fault) for fault in policy.check(rules)]
        typer.echo(f"policy     {len(rules.cases)} cases decide as written; hash {rules.hash[:16]}")
    except policy.PolicyFaults as broken:
        faults += [str(fault) for fault in broken.faults]
    if maps is not None and rules is not None and (Path("docs") / "flow-matrix.md").exists():
        faults += _flow(maps, rules, manifests)
    if (Path("openapi") / "gateway.json").exists():
        stale = [file for file, text in documents().items() if (Path("openapi") / file).read_text("utf-8") != text]
        faults += [f"openapi/{file}: not what the code says: run make openapi" for file in stale]
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(1)
    typer.echo(f"adapters   {len(packages)} manifests are whole")


def _flow(maps: "Maps", rules: "Policy", manifests: "list[Manifest]") -> list[str]:
    """The committed data-flow matrix -> who would newly receive what, or that it is out of date."""
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
    else:
        typer.echo(f"flow       {len(made.cells)} rows reach whom docs/flow-matrix.md says, and nobody else")
    return faults

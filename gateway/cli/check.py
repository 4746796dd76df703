"""`gateway check`: everything that can be checked without running: manifests, mappings, policy and descriptions."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.say import fail


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
    for adapter in [name] if name else sorted(packages):
        try:
            registry.load_manifest(packages[adapter])
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
    if (Path("openapi") / "gateway.json").exists():
        stale = [file for file, text in documents().items() if (Path("openapi") / file).read_text("utf-8") != text]
        faults += [f"openapi/{file}: not what the code says: run make openapi" for file in stale]
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(1)
    typer.echo(f"adapters   {len(packages)} manifests are whole")

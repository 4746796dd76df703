"""The mappings as the commands that look at them load and name them."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import mapping
from gateway.cli.folders import Mappings
from gateway.cli.say import counted, fail
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.plan import MapPlan

UNUSABLE = 2
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line, for machines")]
Folder = Mappings


def folder_of(given: Path | None) -> Path:
    """A mappings folder; the shipped one when none is given."""
    return given or Path(str(files("mappings")))


def every_map(maps: mapping.Maps) -> list[MapPlan | OutwardPlan]:
    """Every map of every adapter, those that write after those that read."""
    return [plan for adapter in maps.adapters() for plan in both(maps, adapter)]


def both(maps: mapping.Maps, adapter: str) -> list[MapPlan | OutwardPlan]:
    """Every map of an adapter, those that write after those that read."""
    return [*maps.plans(adapter), *maps.outward_plans(adapter)]


def maps_of(maps: mapping.Maps, adapter: str) -> list[MapPlan | OutwardPlan]:
    """Every map of an adapter, which must be there."""
    if adapter not in maps.adapters():
        fail(f"no such adapter: there are {', '.join(maps.adapters())}", code=UNUSABLE)
    return both(maps, adapter)


def named(maps: mapping.Maps, name: str) -> MapPlan | OutwardPlan:
    """A map by its name, its file, or its file's last name where that is only one."""
    every = every_map(maps)
    found = [plan for plan in every if name in (plan.source.map, plan.source.file)]
    found = found or [plan for plan in every if name in (Path(plan.source.file).name, Path(plan.source.file).stem)]
    if len(found) != 1:
        many = "more than one map is called so" if found else "no such map"
        fail(f"{many}: there are {', '.join(plan.source.map for plan in every)}", code=UNUSABLE)
    return found[0]


def told(adapter: str, name: str, faults: list[str], *, new: bool, as_json: bool) -> None:
    """One case: equal to its golden, not so, or without one yet."""
    if as_json:
        said = "new" if new else "differs" if faults else "equal"
        typer.echo(json.dumps({"adapter": adapter, "case": name, "golden": said, "faults": faults}))
        return
    typer.echo(f"{'new ' if new else 'FAIL' if faults else 'ok  '} {adapter}/{name}")
    for fault in faults:
        typer.echo(f"     {fault}")


def fault_object(fault: mapping.Fault) -> dict[str, Any]:
    """A fault or a warning, for machines."""
    return {"file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message}


def load_maps(folder: Path | None, code_maps: Path | None = None, *, as_json: bool = False) -> mapping.Maps:
    """A mappings folder -> its maps, or its faults and the end of the command. `code_maps`: a source's own code maps."""
    if code_maps is not None and not code_maps.is_dir():
        fail("--code-maps names no folder", code=UNUSABLE)
    try:
        if folder is None and code_maps is None:
            return _shipped()
        return mapping.load(folder or files("mappings"), overrides=code_maps)
    except mapping.MappingFaults as error:
        if as_json:
            typer.echo(json.dumps({"maps": {}, "faults": [fault_object(one) for one in error.faults], "warnings": []}))
            raise typer.Exit(UNUSABLE) from None
        for fault in error.faults:
            typer.echo(str(fault), err=True)
        fail(f"{counted(len(error.faults), 'fault')} in the mappings", code=UNUSABLE)
    except OSError:
        fail("the mappings folder cannot be read", code=UNUSABLE)


@cache
def _shipped() -> mapping.Maps:
    """The shipped maps, which do not change while a process runs."""
    return mapping.load(files("mappings"))

"""`gateway map`: the mappings run over a file, checked, compared with their cases, explained, and shown to those who govern."""

import json
import sys
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateway import mapping, registry
from gateway.cli.loaded_maps import (
    UNUSABLE,
    AsJson,
    Folder,
    both,
    every_map,
    fault_object,
    folder_of,
    load_maps,
    maps_of,
    named,
    told,
)
from gateway.cli.map_run import WHOLE, run
from gateway.cli.map_write import compare_written, origins_of, rows_of, score_of, tables_of, write
from gateway.cli.say import counted, fail
from gateway.errors import StartupRefused
from gateway.flows import programme
from gateway.mapping.cases import cases
from gateway.mapping.outward.plan import OutwardPlan

__all__ = ["WHOLE", "app"]

app = typer.Typer(help="Mappings: run, check, compare, explain, document, export.", no_args_is_help=True)

app.command()(run)
app.command()(write)


@app.command()
def check(as_json: AsJson = False, mappings: Folder = None) -> None:
    """Load every mapping, field dictionary and code map; list what is wrong with them, and what somebody should look at.

    Exit 0 when all of them load, warnings or not, 2 when there are faults.
    """
    maps = load_maps(mappings, as_json=as_json)
    folder = folder_of(mappings)
    if (folder / programme.FILE).is_file():
        try:
            programme.load_programme(folder)
        except StartupRefused as refused:
            fail(str(refused), code=UNUSABLE)
    loaded = {adapter: [plan.title for plan in both(maps, adapter)] for adapter in maps.adapters()}
    if as_json:
        typer.echo(json.dumps({"maps": loaded, "faults": [], "warnings": [fault_object(one) for one in maps.warnings]}))
        return
    for adapter, titles in loaded.items():
        typer.echo(f"{adapter}: {', '.join(titles)}")
    for warning in maps.warnings:
        typer.echo(f"warning: {warning}")


@app.command(name="cases")
def cases_(
    adapter: Annotated[str | None, typer.Argument(help="an adapter's name; default: all")] = None,
    accept: Annotated[bool, typer.Option(help="write what came out as the goldens, to be read in the diff")] = False,
    as_json: AsJson = False,
    mappings: Folder = None,
) -> None:
    """Run the cases beside the mappings and compare them with their goldens. A case that has none yet is called new.

    Exit 0 when every case is equal to its golden, 1 when one is not or has none, 2 when there is no such adapter.
    """
    maps = load_maps(mappings)
    folder = folder_of(mappings)
    if adapter is not None:
        maps_of(maps, adapter)
    wrong = 0
    for case in cases(folder, adapter):
        came = case.run(maps)
        if accept:
            case.accept(came)
        new = case.is_new(came)
        faults = case.differences(came)
        faults += [f"not R4 UK Core: {fault}" for made in came.resources for fault in mapping.shape_faults(made.body)]
        wrong += bool(faults)
        told(case.adapter, case.name, faults, new=new, as_json=as_json)
    wrong += compare_written(maps, folder, adapter, accept=accept, as_json=as_json)
    raise typer.Exit(1 if wrong else 0)


@app.command()
def explain(
    map_: Annotated[str, typer.Argument(metavar="MAP", help="a map: childrens_centre/attendance, or its file's name")],
    case: Annotated[str, typer.Argument(help="a case beside it, without .in.json or .write.json")],
    field: Annotated[str, typer.Option(help="an element: Encounter.status; of an outward map a field")],
    as_json: AsJson = False,
    mappings: Folder = None,
) -> None:
    """Where a value of a case's answer came from: line, function, source field, reviewed code map row.

    Exit 0 with the origins, 1 when the case makes no such value.
    """
    from gateway.kit.explain import NotThere

    maps, folder = load_maps(mappings), folder_of(mappings)
    try:
        origin = origins_of(folder, maps, named(maps, map_), case, field)
    except NotThere as error:
        fail(str(error))
    for one in origin:
        said = json.dumps({"element": one.place, "value": json.loads(one.value), "from": one.came}) if as_json else str(one)
        typer.echo(said)


@app.command()
def docs(
    name: Annotated[str | None, typer.Argument(help="an adapter or a map; default: all")] = None,
    as_json: AsJson = False,
    mappings: Folder = None,
) -> None:
    """A map's tables, as Markdown: where each element comes from; why each other field is not passed on, or not sent.

    Exit 0, or 2 when there is no such adapter or map.
    """
    maps = load_maps(mappings)
    plans = both(maps, name) if name in maps.adapters() else [named(maps, name)] if name else every_map(maps)
    if as_json:
        for plan in plans:
            typer.echo(json.dumps(rows_of(plan), ensure_ascii=False))
        return
    typer.echo("\n".join(map(tables_of, plans)), nl=False)


@app.command()
def diff(
    revision: Annotated[str, typer.Argument(help="a git revision: main, HEAD~3, a tag")],
    adapter: Annotated[str | None, typer.Option(help="one adapter; default: all")] = None,
    as_json: AsJson = False,
    mappings: Folder = None,
) -> None:
    """What changes in the output of every case, inward and outward, between the maps of a git revision and those here.

    Exit 0 when nothing changes, 1 when something does, 2 when the revision is unknown or its maps cannot be loaded.
    """
    from gateway.kit.diff import NoSuchRevision, changes
    from gateway.mapping.outward.cases import write_cases

    folder = folder_of(mappings)
    try:
        found = changes(folder, revision, [*cases(folder, adapter), *write_cases(folder, adapter)])
    except NoSuchRevision:
        fail("git has no such revision of this mappings folder", code=UNUSABLE)
    except mapping.MappingFaults as error:
        for fault in error.faults:
            typer.echo(str(fault), err=True)
        fail("the mappings, here or at that revision, cannot be loaded", code=UNUSABLE)
    for change in found:
        typer.echo(json.dumps(asdict(change)) if as_json else str(change))
    if not found and not as_json:
        typer.echo("nothing changes in any case")
    raise typer.Exit(1 if found else 0)


@app.command()
def mutate(
    adapter: Annotated[str | None, typer.Argument(help="an adapter's name; default: all")] = None,
    least: Annotated[float, typer.Option(help="percent of changes that must be noticed")] = 95.0,
    as_json: AsJson = False,
    mappings: Folder = None,
) -> None:
    """Drop or swap each line of each map: a change that no check and no case notices is a missing case.

    Exit 0 when every map is at least at `--least`, 1 when one is below.
    """
    maps, folder = load_maps(mappings), folder_of(mappings)
    low = False
    for plan in every_map(maps) if adapter is None else maps_of(maps, adapter):
        made = score_of(folder, maps, plan)
        low = low or made.percent < least
        missing = [{"line": mutant.line, "change": mutant.what} for mutant in made.survived]
        if as_json:
            typer.echo(json.dumps({"map": made.title, "percent": made.percent, "noticed": made.caught, "missed": missing}))
            continue
        typer.echo(f"{made.percent:5.1f} %  {made.title}: {made.caught} of {made.caught + len(missing)} changes noticed")
        for mutant in made.survived:
            typer.echo(f"         {made.file}:{mutant.line}: {mutant.what}: no case notices")
    raise typer.Exit(1 if low else 0)


@app.command()
def flow(
    write: Annotated[Path | None, typer.Option(help="write flow-matrix.md and flow-matrix.svg into this folder")] = None,
    as_json: AsJson = False,
    mappings: Folder = None,
) -> None:
    """Which care class and marks may reach whom at most, from mappings and policy, without data: for a DPIA.

    Exit 0, or 2 when mappings, policy or a manifest cannot be used.
    """
    from gateway import policy
    from gateway.kit.flow import matrix, page, told_rows
    from gateway.kit.flow_picture import picture

    try:
        rules = policy.load(files("consent_policy"))
        manifests = [registry.load_manifest(package) for package in registry.installed().values()]
    except policy.PolicyFaults as broken:
        fail(f"{counted(len(broken.faults), 'fault')} in the policy, listed by gateway policy check", code=UNUSABLE)
    except StartupRefused as refused:
        fail(str(refused), code=UNUSABLE)
    made = matrix(load_maps(mappings), rules, manifests)
    if as_json:
        for row in told_rows(made):
            typer.echo(json.dumps(row, ensure_ascii=False))
    if write is None and as_json:
        return
    if write is None:
        typer.echo(page(made), nl=False)
        return
    (write / "flow-matrix.md").write_text(page(made), "utf-8")
    (write / "flow-matrix.svg").write_text(picture(made), "utf-8")
    said = f"wrote flow-matrix.md and flow-matrix.svg: {len(made.cells)} rows, {len(made.reached())} recipients"
    typer.echo(said, err=as_json)


@app.command()
def export(
    map_: Annotated[str, typer.Argument(metavar="MAP", help="a map: childrens_centre/attendance, or its file's name")],
    mappings: Folder = None,
) -> None:
    """A map as R4 StructureMap with its ConceptMaps: a Bundle, as JSON; lines that R4 cannot say are listed on standard error.

    Exit 0 when the whole map could be said, 1 when some lines are left to write by hand.
    """
    from gateway.kit.export import export as exported
    from gateway.kit.outward_export import export_outward

    maps = load_maps(mappings)
    plan = named(maps, map_)
    made = export_outward(maps, plan) if isinstance(plan, OutwardPlan) else exported(maps, plan)
    sys.stdout.buffer.write(msgspec.json.format(mapping.encode(made.bundle), indent=2) + b"\n")
    for line in made.by_hand:
        typer.echo(f"by hand: {line}", err=True)
    raise typer.Exit(1 if made.by_hand else 0)

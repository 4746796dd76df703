"""`gateway adapter`: a new adapter from a sample, and whether a configured source can be reached."""

import json
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.folders import Adapters, Mappings
from gateway.cli.say import counted, fail, settings

app = typer.Typer(help="Adapters: a new one from a sample; can a source be reached.", no_args_is_help=True)

UNUSABLE = 2


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="its name: lower-case, with _")],
    connector: Annotated[
        str,
        typer.Option(help="how it is read: csv-drop, fhir-rest, graphql, hl7v2-drop, http-json, message-drop, sql or xml-drop"),
    ],
    sample: Annotated[Path, typer.Option("--from", help="a sample: its names and forms are read, its values are not copied")],
    title: Annotated[str, typer.Option(help="what people call it")] = "",
    adapters: Annotated[Path, typer.Option(help="where its package goes")] = Path("adapters"),
    mappings: Annotated[Path, typer.Option(help="where its maps go")] = Path("mappings"),
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for machines")] = False,
) -> None:
    """Write manifest, source.yaml, a map with every field undecided, a case, quality.yaml and README, guessed from a sample.

    Exit 0 when written, 2 when the sample or the name cannot be used, or when there is such an adapter already.
    """
    from gateway.kit.scaffold import SampleRefused, scaffold

    try:
        made = scaffold(name, connector, sample.read_bytes(), title=title)
    except FileNotFoundError:
        fail("--from: there is no such file", code=UNUSABLE)
    except OSError:
        fail("the sample cannot be read", code=UNUSABLE)
    except SampleRefused as error:
        fail(str(error), code=UNUSABLE)
    if (adapters / name).exists() or (mappings / name).exists():
        fail("there is an adapter of this name already: nothing was written", code=UNUSABLE)
    wrote = []
    for folder, texts in ((adapters / name, made.adapter), (mappings / name, made.mapping)):
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
            wrote.append((folder / path).as_posix())
    fields = made.undecided()
    if as_json:
        typer.echo(json.dumps({"wrote": wrote, "fields": fields, "to_confirm": made.confirm(), "undecided": fields}))
        return
    for file in wrote:
        typer.echo(f"wrote {file}")
    typer.echo(
        f"{fields} fields: types, repeats and labels are guesses; {made.confirm()} classes need a person; {fields} undecided"
    )


@app.command()
def doctor(
    name: Annotated[str, typer.Argument(help="a source of the settings")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line, for machines")] = False,
) -> None:
    """Can this source be reached with these settings: manifest, agreement, address or folder. Nobody's record is asked for.

    Exit 0 when nothing stands in its way, 1 when something does, 2 when the settings name no such source.
    """
    from gateway import policy, registry
    from gateway.kit.doctor import examine

    site = settings()
    if name not in site.sources:
        fail(f"the settings name no such source: there are {', '.join(sorted(site.sources)) or 'none'}", code=UNUSABLE)
    try:
        rules = policy.load(site.policy or files("consent_policy"))
    except policy.PolicyFaults as broken:
        fail(f"{counted(len(broken.faults), 'fault')} in the policy, listed by gateway policy check", code=UNUSABLE)
    packages, folder = registry.installed(site.adapters), site.var / "sources" / name
    found = list(examine(site.sources[name], packages, rules, folder, has_directory=site.sds is not None))
    for one in found:
        typer.echo(json.dumps(asdict(one)) if as_json else f"{'ok  ' if one.fine else 'FAIL'} {one.what}: {one.said}")
    raise typer.Exit(0 if all(one.fine for one in found) else 1)


@app.command()
def readme(
    name: Annotated[str, typer.Argument(help="an installed adapter, or one under development")],
    write: Annotated[bool, typer.Option("--write", help="write it into the adapter's README.md")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for machines")] = False,
    adapters: Adapters = None,
    mappings: Mappings = None,
) -> None:
    """The part of an adapter's README that is made of manifest, maps and cases.

    Exit 0, or 2 when there is no such adapter, or its maps have faults.
    """
    from gateway.cli.check import examined, where
    from gateway.kit.readme import made, renewed

    one = examined(name, *where(name, mappings, adapters))
    if isinstance(one, list):
        fail(f"{counted(len(one), 'fault')}, listed by gateway check {name}", code=UNUSABLE)
    block = made(one)
    current = block in one.readme
    if write:
        Path(str(files(one.package).joinpath("README.md"))).write_text(renewed(one.readme, block), "utf-8")
    if as_json:
        typer.echo(json.dumps({"adapter": name, "block": block, "was_current": current, "wrote": write}))
    else:
        typer.echo("wrote README.md" if write else block)


@app.command()
def drift(
    name: Annotated[str | None, typer.Argument(help="a source of the settings; default: all")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="its map was put right: forget what was seen of this source")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, for machines")] = False,
) -> None:
    """Fields that sources send and no map knows, and what became of all leaves accounted for: all workers together, no values.

    Exit 0 when there is no drift, 1 when there is, 2 when the settings name no such source.
    """
    from gateway.cli.stored import record, run
    from gateway.settings import Settings
    from gateway.store import Store

    if clear and name is None:
        fail("name the source whose map was put right", code=UNUSABLE)

    async def work(store: Store, held: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        if name is not None and name not in held.sources:
            fail(f"the settings name no such source: there are {', '.join(sorted(held.sources)) or 'none'}", code=UNUSABLE)
        if clear and name is not None:
            await record(store, "drift.clear", {"source": name, "paths": await store.drifts.clear(name)})
        counted = [asdict(one) for one in await store.drifts.counted() if name in (None, one.source)]
        return counted, [asdict(one) for one in await store.drifts.drift() if name in (None, one.source)]

    counted, drifted = run(work)
    if as_json:
        sums = [{key: value for key, value in one.items() if key != "paths"} for one in counted]
        typer.echo(json.dumps({"counted": sums, "drift": drifted}, default=str))
    else:
        for one in counted:
            leaves = ", ".join(f"{one[became]} {became}" for became in ("mapped", "ignored", "withheld", "unmapped"))
            typer.echo(f"{one['source']} {one['schema']}: of {one['records']} records: {leaves}")
        for one in drifted:
            since = f"{one['first_seen']:%Y-%m-%d}"
            typer.echo(f"DRIFT {one['source']} {one['schema']} {one['path']}: in {one['records']} records since {since}")
    raise typer.Exit(1 if drifted else 0)

"""`gateway map`: the mappings run over a file, checked, compared with their cases, explained, and shown to those who govern."""

import csv
import importlib
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import typer

from gateway import mapping, registry
from gateway.adapter import Claim, Manifest, SourceContractBroken, SourceRecord
from gateway.cli.loaded_maps import UNUSABLE, AsJson, Folder, both, every_map, folder_of, load_maps, maps_of, named
from gateway.cli.map_write import compare_written, origins_of, score_of, tables_of, write
from gateway.cli.say import fail
from gateway.connectors import CONNECTORS
from gateway.errors import StartupRefused
from gateway.mapping.cases import cases, context
from gateway.mapping.outward.plan import OutwardPlan
from gateway.nhs_number import NhsNumber, NotAnNhsNumber, parse

app = typer.Typer(help="Mappings: run, check, compare, explain, document, export.", no_args_is_help=True)

WHOLE = "the file as a whole"
NOTHING = {"mapped": 0, "ignored": 0, "withheld": 0, "unmapped": []}  # of a file that could not be read, nothing was counted
COLUMNS = ("local_id", "nhs_number", "birth_date", "verified_on", "verified_by")


@dataclass(frozen=True, slots=True)
class Match:
    """One row of a crosswalk."""

    number: NhsNumber
    birth_date: date | None


@app.command()
def run(
    source: Annotated[str, typer.Argument(help="an adapter's name: gp, child_health, childrens_centre, local_authority")],
    file: Annotated[Path, typer.Argument(help="a file in the source's own format")],
    nhs_number: Annotated[str | None, typer.Option("--nhs-number", help="- reads the number from standard input")] = None,
    crosswalk: Annotated[
        Path | None, typer.Option(help="CSV: local_id,nhs_number and optionally birth_date,verified_on,verified_by")
    ] = None,
    adapters: Annotated[
        Path | None, typer.Option(envvar="GATEWAY_ADAPTERS", help="a folder of adapter packages under development")
    ] = None,
    code_maps: Annotated[
        Path | None, typer.Option(help="a folder of the source's own code maps, as its option `code_maps` names one")
    ] = None,
    mappings: Folder = None,
) -> None:
    """Map a file with the same code as the service; print one JSON object: bundle, accounting, unmapped_codes, refused.

    Exit 0 when nothing was refused, 1 when something was, 2 when the file as a whole is unusable: then `refused` says why.
    """
    number = _number(nhs_number)
    matches = _crosswalk(crosswalk) if crosswalk is not None else {}
    package, manifest = _adapter(source, adapters)
    maps = load_maps(mappings, code_maps)
    records = _records(package, manifest, file)
    ctx = context(source, number=number, as_of=datetime.now(UTC))
    resources: list[Any] = []
    refused: list[dict[str, str]] = []
    mapped = ignored = withheld = 0
    unmapped: set[str] = set()
    unknown: Counter[str] = Counter()
    for record in records:
        reason = _not_this_person(record.about, number, matches) if number is not None else None
        if reason is not None:
            refused.append({"where": record.where, "reason": reason})
            continue
        result = mapping.map_record(maps, source, record, ctx, account=True)
        resources += [made.body for made in result.resources]
        refused += [{"where": one.where, "reason": one.reason} for one in result.refused]
        unknown.update(result.unknown_codes)
        if result.accounting is not None:
            mapped += result.accounting.mapped
            ignored += result.accounting.ignored
            withheld += result.accounting.withheld
            unmapped.update(result.accounting.unmapped)
    accounting = {"mapped": mapped, "ignored": ignored, "withheld": withheld, "unmapped": sorted(unmapped)}
    _print(resources, refused, accounting, dict(sorted(unknown.items())))
    raise typer.Exit(1 if refused else 0)


app.command()(write)


@app.command()
def check(mappings: Folder = None) -> None:
    """Load every mapping, field dictionary and code map; list what is wrong with them."""
    maps = load_maps(mappings)
    for adapter in maps.adapters():
        typer.echo(f"{adapter}: {', '.join(plan.title for plan in both(maps, adapter))}")


@app.command(name="cases")
def cases_(
    adapter: Annotated[str | None, typer.Argument(help="an adapter's name; default: all")] = None,
    accept: Annotated[bool, typer.Option(help="write what came out as the goldens, to be read in the diff")] = False,
    mappings: Folder = None,
) -> None:
    """Run the cases beside the mappings and compare them with their goldens."""
    maps = load_maps(mappings)
    folder = mappings or Path(str(files("mappings")))
    wrong = 0
    for case in cases(folder, adapter):
        came = case.run(maps)
        if accept:
            case.accept(came)
        faults = case.differences(came)
        faults += [f"not R4 UK Core: {fault}" for made in came.resources for fault in mapping.shape_faults(made.body)]
        wrong += bool(faults)
        typer.echo(f"{'ok  ' if not faults else 'FAIL'} {case.adapter}/{case.name}")
        for fault in faults:
            typer.echo(f"     {fault}")
    wrong += compare_written(maps, folder, adapter, accept=accept)
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
    mappings: Folder = None,
) -> None:
    """A map's tables, as Markdown: where each element comes from; why each other field is not passed on, or not sent."""
    maps = load_maps(mappings)
    plans = both(maps, name) if name in maps.adapters() else [named(maps, name)] if name else every_map(maps)
    typer.echo("\n".join(map(tables_of, plans)), nl=False)


@app.command()
def diff(
    revision: Annotated[str, typer.Argument(help="a git revision: main, HEAD~3, a tag")],
    adapter: Annotated[str | None, typer.Option(help="one adapter; default: all")] = None,
    as_json: AsJson = False,
    mappings: Folder = None,
) -> None:
    """What changes in the output of every case between the maps of a git revision and those here.

    Exit 0 when nothing changes, 1 when something does.
    """
    from gateway.kit.diff import NoSuchRevision, changes

    folder = folder_of(mappings)
    try:
        found = changes(folder, revision, list(cases(folder, adapter)))
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
    mappings: Folder = None,
) -> None:
    """Which care class and marks may reach whom at most, from mappings and policy, without data: for a DPIA."""
    from gateway import policy
    from gateway.kit.flow import matrix, page
    from gateway.kit.flow_picture import picture

    try:
        rules = policy.load(files("consent_policy"))
        manifests = [registry.load_manifest(package) for package in registry.installed().values()]
    except policy.PolicyFaults as broken:
        fail(f"{len(broken.faults)} faults in the policy: gateway policy check lists them", code=UNUSABLE)
    except StartupRefused as refused:
        fail(str(refused), code=UNUSABLE)
    made = matrix(load_maps(mappings), rules, manifests)
    if write is None:
        typer.echo(page(made), nl=False)
        return
    (write / "flow-matrix.md").write_text(page(made), "utf-8")
    (write / "flow-matrix.svg").write_text(picture(made), "utf-8")
    typer.echo(f"wrote flow-matrix.md and flow-matrix.svg: {len(made.cells)} rows, {len(made.reached())} recipients")


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


def _adapter(name: str, folder: Path | None) -> tuple[ModuleType, Manifest]:
    packages = registry.installed(folder.resolve() if folder is not None else None)
    if name not in packages:
        fail(f"no such source: there are {', '.join(sorted(packages))}", code=UNUSABLE)
    try:
        return packages[name], registry.load_manifest(packages[name])
    except StartupRefused as refused:
        fail(str(refused), code=UNUSABLE)


def _records(package: ModuleType, manifest: Manifest, file: Path) -> list[SourceRecord]:
    try:
        body = file.read_bytes()
    except OSError:
        fail("the file cannot be read", code=UNUSABLE)
    try:
        return list(registry.read_file(package, manifest, file.name, body, connector=_connector))
    except SourceContractBroken as broken:
        _print([], [{"where": WHOLE, "reason": broken.reason}], NOTHING, {})
        fail(f"the file is unusable: {broken.reason}", code=UNUSABLE)
    except StartupRefused as refused:
        fail(str(refused), code=UNUSABLE)


def _print(resources: list[Any], refused: list[dict[str, str]], accounting: dict[str, Any], unknown: dict[str, int]) -> None:
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "collection"}
    if resources:  # R4 has no empty list
        bundle["entry"] = [{"resource": body} for body in resources]
    answer = {"bundle": bundle, "accounting": accounting, "unmapped_codes": unknown, "refused": refused}
    sys.stdout.buffer.write(mapping.encode(answer) + b"\n")


def _connector(name: str) -> ModuleType:
    return importlib.import_module(CONNECTORS[name])


def _number(given: str | None) -> NhsNumber | None:
    if given is None:
        return None
    if given != "-":  # an argument would stay in the shell's history and in the process list
        fail("--nhs-number takes - alone: the number is read from standard input", code=UNUSABLE)
    try:
        return parse(sys.stdin.readline().strip(), allow_test=True)
    except NotAnNhsNumber:
        fail("standard input does not hold an NHS number", code=UNUSABLE)


def _crosswalk(file: Path) -> dict[str, Match]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        fail("the crosswalk cannot be read", code=UNUSABLE)
    reader = csv.DictReader(lines)
    names = reader.fieldnames or ()
    if not {"local_id", "nhs_number"} <= set(names) or not set(names) <= set(COLUMNS):
        fail(f"the crosswalk's header has local_id,nhs_number and optionally {','.join(COLUMNS[2:])}", code=UNUSABLE)
    found: dict[str, Match] = {}
    for row in reader:
        local = (row["local_id"] or "").strip()
        born = (row.get("birth_date") or "").strip()
        try:
            match = Match(parse(row["nhs_number"] or "", allow_test=True), date.fromisoformat(born) if born else None)
        except ValueError:
            fail(f"the crosswalk's line {reader.line_num} holds no usable match", code=UNUSABLE)
        if not local or found.setdefault(local, match) != match:
            fail(f"the crosswalk's line {reader.line_num} gives no local id, or one that stands elsewhere", code=UNUSABLE)
    return found


def _not_this_person(claim: Claim, number: NhsNumber, matches: dict[str, Match]) -> str | None:
    """Why a record is not of the person asked for; None when it is."""
    if claim.nhs_number is not None:
        try:
            same = parse(claim.nhs_number, allow_test=True) == number
        except NotAnNhsNumber:
            return "the record carries something that is no NHS number"
        return None if same else "the record carries another NHS number"
    match = matches.get(claim.local_id or "")
    if match is None:
        return "the crosswalk does not know the record's local id"
    if match.number != number:
        return "the crosswalk gives the record's local id to somebody else"
    if match.birth_date is not None and claim.birth_date is not None and match.birth_date != claim.birth_date:
        return "the record's birth date is not the one recorded at matching"
    return None

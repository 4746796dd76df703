"""`gateway map`: the mappings run over a file, checked, and compared with their cases."""

import csv
import importlib
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from gateway import mapping, registry
from gateway.adapter import Claim, Manifest, SourceContractBroken, SourceRecord
from gateway.cli.say import fail
from gateway.connectors import CONNECTORS
from gateway.errors import StartupRefused
from gateway.mapping.cases import cases, context
from gateway.nhs_number import NhsNumber, NotAnNhsNumber, parse

app = typer.Typer(help="Mappings: run one over a file, check them, compare their cases.", no_args_is_help=True)

UNUSABLE = 2
COLUMNS = ("local_id", "nhs_number", "birth_date", "verified_on", "verified_by")
Folder = Annotated[
    Path | None, typer.Option("--mappings", envvar="GATEWAY_MAPPINGS", help="a mappings folder; default: the shipped one")
]


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
    mappings: Folder = None,
) -> None:
    """Map a file with the same code as the service; print one JSON object: bundle, accounting, refused.

    Exit 0 when nothing was refused, 1 when something was, 2 when the file as a whole is unusable.
    """
    number = _number(nhs_number)
    matches = _crosswalk(crosswalk) if crosswalk is not None else {}
    package, manifest = _adapter(source)
    maps = _load(mappings)
    records = _records(package, manifest, file)
    ctx = context(source, number=number, as_of=datetime.now(UTC))
    resources: list[Any] = []
    refused: list[dict[str, str]] = []
    mapped = ignored = 0
    unmapped: set[str] = set()
    for record in records:
        reason = _not_this_person(record.about, number, matches) if number is not None else None
        if reason is not None:
            refused.append({"where": record.where, "reason": reason})
            continue
        result = mapping.map_record(maps, source, record, ctx, account=True)
        resources += [made.body for made in result.resources]
        refused += [{"where": one.where, "reason": one.reason} for one in result.refused]
        if result.accounting is not None:
            mapped += result.accounting.mapped
            ignored += result.accounting.ignored
            unmapped.update(result.accounting.unmapped)
    answer = {
        "bundle": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": body} for body in resources]},
        "accounting": {"mapped": mapped, "ignored": ignored, "unmapped": sorted(unmapped)},
        "refused": refused,
    }
    if not resources:
        del answer["bundle"]["entry"]  # type: ignore[attr-defined]  # R4 has no empty list
    sys.stdout.buffer.write(mapping.encode(answer) + b"\n")
    raise typer.Exit(1 if refused else 0)


@app.command()
def check(mappings: Folder = None) -> None:
    """Load every mapping, field dictionary and code map; list what is wrong with them."""
    maps = _load(mappings)
    for adapter in maps.adapters():
        typer.echo(f"{adapter}: {', '.join(plan.title for plan in maps.plans(adapter))}")


@app.command(name="cases")
def cases_(
    adapter: Annotated[str | None, typer.Argument(help="an adapter's name; default: all")] = None,
    accept: Annotated[bool, typer.Option(help="write what came out as the goldens, to be read in the diff")] = False,
    mappings: Folder = None,
) -> None:
    """Run the cases beside the mappings and compare them with their goldens."""
    maps = _load(mappings)
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
    raise typer.Exit(1 if wrong else 0)


def _load(folder: Path | None) -> mapping.Maps:
    try:
        return mapping.load(folder or files("mappings"))
    except mapping.MappingFaults as error:
        for fault in error.faults:
            typer.echo(str(fault), err=True)
        fail(f"{len(error.faults)} faults in the mappings", code=UNUSABLE)
    except OSError:
        fail("the mappings folder cannot be read", code=UNUSABLE)


def _adapter(name: str) -> tuple[ModuleType, Manifest]:
    packages = registry.installed()
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
        fail(f"the file is unusable: {broken.reason}", code=UNUSABLE)
    except StartupRefused as refused:
        fail(str(refused), code=UNUSABLE)


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

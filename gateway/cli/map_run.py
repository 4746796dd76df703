"""`gateway map run`: a file in a source's own format, mapped with the same code as the service; nothing is kept."""

import csv
import importlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final

import typer

from gateway import mapping, registry
from gateway.adapter import Claim, Manifest, SourceContractBroken, SourceRecord
from gateway.cli.folders import Adapters
from gateway.cli.loaded_maps import UNUSABLE, Folder, load_maps
from gateway.cli.say import fail
from gateway.connectors import CONNECTORS
from gateway.connectors.drop import RowsRefused
from gateway.errors import StartupRefused
from gateway.mapping.cases import PERSON, context, placeholder
from gateway.nhs_number import NhsNumber, NotAnNhsNumber, parse

WHOLE: Final = "the file as a whole"
NO_NUMBER: Final = "its NHS number has no valid check digit, or is of no range in use here: the record can be nobody's"
EVERY: Final = "every record"
NOBODY: Final = (
    "the one Patient of the file has an NHS number without a valid check digit, or of no range in use here, so its records can be"
    " nobody's: into a published example put a test number of the 999 range"
)
NOTHING: Final = {"mapped": 0, "ignored": 0, "withheld": 0, "unmapped": []}  # of a file that could not be read
COLUMNS: Final = ("local_id", "nhs_number", "birth_date", "verified_on", "verified_by")


@dataclass(frozen=True, slots=True)
class Match:
    """One row of a crosswalk."""

    number: NhsNumber
    birth_date: date | None


def run(
    source: Annotated[str, typer.Argument(help=f"an adapter's name: {', '.join(registry.names())}")],
    file: Annotated[Path, typer.Argument(help="a file in the source's own format")],
    nhs_number: Annotated[str | None, typer.Option("--nhs-number", help="- reads the number from standard input")] = None,
    crosswalk: Annotated[
        Path | None, typer.Option(help="CSV: local_id,nhs_number and optionally birth_date,verified_on,verified_by")
    ] = None,
    adapters: Adapters = None,
    code_maps: Annotated[
        Path | None, typer.Option(help="a folder of the source's own code maps, as its option `code_maps` names one")
    ] = None,
    mappings: Folder = None,
) -> None:
    """Map a file with the same code as the service; print one JSON object: bundle, accounting, unmapped_codes, refused.

    With a number, records of anybody else are refused by their place. Without one, everybody in the file gets a placeholder
    of their own, the same for every record that carries their key. A row that a delivery would refuse is refused here, by its
    place, and the others are mapped; so is a record whose NHS number cannot be one, or all at once where they share it.

    Exit 0 when nothing was refused, 1 when something was, 2 when the file as a whole is unusable: then `refused` says why.
    """
    number = _number(nhs_number)
    matches = _crosswalk(crosswalk) if crosswalk is not None else {}
    package, manifest = _adapter(source, adapters)
    maps = load_maps(mappings, code_maps)
    records, refused = _records(package, manifest, file)
    now = datetime.now(UTC)
    resources: list[Any] = []
    if _is_of_nobody(records):
        _print([], [*refused, {"where": EVERY, "reason": NOBODY}], NOTHING, {})
        raise typer.Exit(1)
    mapped = ignored = withheld = 0
    unmapped: set[str] = set()
    unknown: Counter[str] = Counter()
    people: dict[tuple[str, str], int] = {}
    for record in records:
        reason = _not_this_person(record.about, number, matches) if number is not None else _nobodys(record.about)
        if reason is not None:
            refused.append({"where": record.where, "reason": reason})
            continue
        person = PERSON if number is not None else placeholder(people.setdefault(_key(record), len(people)))
        ctx = context(source, number=number, as_of=now, person=person)
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


def _adapter(name: str, folder: Path | None) -> tuple[ModuleType, Manifest]:
    packages = registry.installed(folder.resolve() if folder is not None else None)
    if name not in packages:
        fail(f"no such source: there are {', '.join(sorted(packages))}", code=UNUSABLE)
    try:
        return packages[name], registry.load_manifest(packages[name])
    except StartupRefused as refused:
        fail(str(refused), code=UNUSABLE)


def _records(package: ModuleType, manifest: Manifest, file: Path) -> tuple[list[SourceRecord], list[dict[str, str]]]:
    """A file -> its records, and the rows that a delivery of it would refuse."""
    try:
        body = file.read_bytes()
    except OSError:
        fail("the file cannot be read", code=UNUSABLE)
    try:
        return list(registry.read_file(package, manifest, file.name, body, connector=_connector)), []
    except RowsRefused as some:
        rows = [{"where": where, "reason": reason} for where, reason in some.rows]
        if some.records is not None:
            return list(some.records), rows
        _print([], rows, NOTHING, {})
        fail(f"the file is unusable, since one bad row refuses a whole extract: {some.reason}", code=UNUSABLE)
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


def _key(record: SourceRecord) -> tuple[str, str]:
    """What tells a record's person from the others of its file; a record without a key is told by its place."""
    about = record.about
    if about.nhs_number is not None:
        return "number", "".join(about.nhs_number.split())
    return ("id", about.local_id) if about.local_id is not None else ("place", record.where)


def _nobodys(claim: Claim) -> str | None:
    """Why a record can be nobody's, whoever is asked for; None when it can be somebody's."""
    try:
        if claim.nhs_number is not None:
            parse(claim.nhs_number, allow_test=True)
    except NotAnNhsNumber:
        return NO_NUMBER
    return None


def _is_of_nobody(records: Sequence[SourceRecord]) -> bool:
    """Whether several records, all of one number, can be nobody's: one reason says it for all of them."""
    return len(records) > 1 and len({_key(record) for record in records}) == 1 and _nobodys(records[0].about) is not None


def _not_this_person(claim: Claim, number: NhsNumber, matches: dict[str, Match]) -> str | None:
    """Why a record is not of the person asked for; None when it is."""
    if claim.nhs_number is not None:
        odd = _nobodys(claim)
        if odd is None and parse(claim.nhs_number, allow_test=True) != number:
            return "the record carries another NHS number"
        return odd
    match = matches.get(claim.local_id or "")
    if match is None:
        return "the crosswalk does not know the record's local id"
    if match.number != number:
        return "the crosswalk gives the record's local id to somebody else"
    if match.birth_date is not None and claim.birth_date is not None and match.birth_date != claim.birth_date:
        return "the record's birth date is not the one recorded at matching"
    return None

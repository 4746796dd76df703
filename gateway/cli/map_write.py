"""`gateway map write`: R4 resources written in a recipient's own shape; and what other commands of maps say of outward ones."""

import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway import mapping, registry
from gateway.cli.loaded_maps import UNUSABLE, Folder, load_maps, told
from gateway.cli.say import fail
from gateway.kit.explain import Origin
from gateway.kit.mutate import Score, score, score_outward
from gateway.mapping.cases import NUMBER, cases
from gateway.mapping.outward.accounting import WriteAccounting
from gateway.mapping.outward.cases import write_cases
from gateway.mapping.outward.plan import OutwardPlan
from gateway.mapping.plan import MapPlan

_ORGANISATION = re.compile(r"ods:[A-Z0-9]{3,12}|gss:[A-Z][0-9]{8}|dfe-urn:[0-9]{6}", re.ASCII)


def write(
    adapter: Annotated[str, typer.Argument(help=f"an adapter's name: {', '.join(registry.names())}")],
    schema: Annotated[str, typer.Argument(help="what to write: a schema that one of its maps writes")],
    file: Annotated[Path, typer.Argument(help="R4 resources as JSON: a list, a Bundle, or a case of an outward map")],
    sender: Annotated[str, typer.Option(help="organisation code of who sends")] = "ods:RXX99",
    recipient: Annotated[str, typer.Option(help="organisation code of who receives")] = "ods:A99902",
    key: Annotated[str, typer.Option(help="the delivery's key")] = "file-key-1",
    mappings: Folder = None,
) -> None:
    """Write R4 resources as a recipient takes them, and deliver nothing; print one JSON object: data, accounting, refused.

    The person is a synthetic one. Exit 0 when it was written, 1 when it was refused, 2 when the file or the schema is unusable.
    """
    for name, code in (("--sender", sender), ("--recipient", recipient)):
        if not _ORGANISATION.fullmatch(code):
            fail(f"{name} is an organisation's code: ods:A99902, gss:E08999901 or dfe-urn:199901", code=UNUSABLE)
    maps = load_maps(mappings)
    if (adapter, schema) not in maps.outward:
        known = ", ".join(f"{name} {one}" for name, one in maps.outward)
        fail(f"no map writes this: there are {known}", code=UNUSABLE)
    ctx = mapping.WriteContext(NUMBER, recipient, sender, datetime.now(UTC), key)
    written = mapping.write_record(maps, adapter, schema, _resources(file), ctx, account=True)
    answer = {
        "data": written.data,
        "accounting": _accounting(written.accounting),
        "refused": [{"where": one.where, "reason": one.reason} for one in written.refused],
    }
    sys.stdout.buffer.write(mapping.encode(answer) + b"\n")
    raise typer.Exit(1 if written.refused else 0)


def compare_written(maps: mapping.Maps, folder: Path, adapter: str | None, *, accept: bool, as_json: bool) -> int:
    """Every case of outward maps, told one by one -> how many are wrong."""
    wrong = 0
    for case in write_cases(folder, adapter):
        came = case.run(maps)
        if accept:
            case.accept(came)
        new = case.is_new(came)
        faults = case.differences(came)
        faults += [f"not read back without loss: {path}" for path in case.lost(maps, came)]
        wrong += bool(faults)
        told(case.adapter, case.name, faults, new=new, as_json=as_json)
    return wrong


def origins_of(folder: Path, maps: mapping.Maps, plan: MapPlan | OutwardPlan, case: str, field: str) -> list[Origin]:
    """Where a value of a case came from, by the kind of map. Raises `NotThere`."""
    from gateway.kit.explain import explain
    from gateway.kit.outward_explain import explain_written

    written = [one for one in write_cases(folder, plan.adapter) if one.name == case]
    found = [one for one in cases(folder, plan.adapter) if one.name == case]
    if isinstance(plan, OutwardPlan) and written:
        return explain_written(folder, maps, plan, written[0], field)
    if not isinstance(plan, OutwardPlan) and found:
        return explain(folder, maps, plan, found[0], field)
    return fail(f"{plan.adapter} has no such case: mappings/{plan.adapter}/cases/ lists them", code=UNUSABLE)


def score_of(folder: Path, maps: mapping.Maps, plan: MapPlan | OutwardPlan) -> Score:
    """A map's mutation score, by the kind of map."""
    if isinstance(plan, OutwardPlan):
        return score_outward(folder, maps, plan, list(write_cases(folder, plan.adapter)))
    return score(folder, maps, plan, list(cases(folder, plan.adapter)))


def tables_of(plan: MapPlan | OutwardPlan) -> str:
    """A map's tables, by the kind of map."""
    from gateway.kit.docs import tables
    from gateway.kit.outward import outward_tables

    return outward_tables(plan) if isinstance(plan, OutwardPlan) else tables(plan)


def rows_of(plan: MapPlan | OutwardPlan) -> dict[str, Any]:
    """What a map's tables say, for machines."""
    from gateway.kit.docs import told_lines
    from gateway.kit.outward import told_outward

    return told_outward(plan) if isinstance(plan, OutwardPlan) else told_lines(plan)


def _resources(file: Path) -> list[dict[str, Any]]:
    try:
        read = mapping.parse(file.read_bytes())
    except OSError:
        fail("the file cannot be read", code=UNUSABLE)
    except (ValueError, mapping.Unusable):
        fail("the file is not sound JSON", code=UNUSABLE)
    if isinstance(read, dict):
        entries = [entry.get("resource") for entry in read.get("entry", ()) if isinstance(entry, dict)]
        read = read.get("resources") if "resources" in read else entries or [read]
    if not isinstance(read, list) or not all(isinstance(one, dict) and isinstance(one.get("resourceType"), str) for one in read):
        fail("the file holds something else than R4 resources", code=UNUSABLE)
    return read


def _accounting(made: WriteAccounting | None) -> dict[str, Any]:
    found = asdict(made) if made is not None else {}
    found.pop("places", None)
    return found

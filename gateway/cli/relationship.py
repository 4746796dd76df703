"""`gateway relationship`: who cares for whom, from when to when."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import stored
from gateway.cli.say import fail
from gateway.settings import Settings
from gateway.store import Store

KINDS = ("caseload", "allocated-worker", "centre-registration", "registered-practice")
COLUMNS = ("kind", "nhs_number", "organisation", "staff", "case_reference", "starts", "ends")

app = typer.Typer(help="Who cares for whom, from when to when.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep the group a group."""


@app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="CSV: " + ",".join(COLUMNS))]) -> None:
    """Read relationships from a CSV."""

    async def work(store: Store, held: Settings) -> int:
        count = 0
        for line, row in list(stored.rows(file, COLUMNS)):
            if row["kind"] not in KINDS:
                fail(f"{file.name}, line {line}: kind is one of {', '.join(KINDS)}")
            await store.relationships.put(
                row["kind"],
                stored.number(file, line, row["nhs_number"], held),
                organisation=row["organisation"],
                staff=row["staff"] or None,
                case_reference=row["case_reference"] or None,
                starts=stored.start(file, line, row["starts"]) or datetime.now(UTC),
                ends=stored.start(file, line, row["ends"]),
            )
            count += 1
        await stored.record(store, "relationship-import", {"rows": count})
        return count

    typer.echo(f"{stored.run(work)} relationships are recorded.")

"""`gateway relationship`: who cares for whom, from when to when."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway import nhs_number
from gateway.cli import stored
from gateway.cli.say import fail
from gateway.cli.staff import staff as member
from gateway.settings import Settings
from gateway.store import Store

KINDS = ("caseload", "allocated-worker", "centre-registration", "registered-practice")
COLUMNS = ("kind", "nhs_number", "organisation", "staff", "case_reference", "starts", "ends")

app = typer.Typer(help="Who cares for whom, from when to when.", no_args_is_help=True)


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
        return count

    typer.echo(f"{stored.run(work)} relationships are recorded.")


@app.command()
def end(
    kind: Annotated[str, typer.Argument(help="which kind ends: " + ", ".join(KINDS))],
    organisation: Annotated[str, typer.Option(help="canonical code of the organisation whose relationship it is")],
    staff: Annotated[str | None, typer.Option(callback=member, help="SYSTEM|ID: only this member of staff's")] = None,
    case_reference: Annotated[str | None, typer.Option(help="only that of this case")] = None,
) -> None:
    """End a relationship of the person whose NHS number is read from standard input. It acts on the next read."""
    if kind not in KINDS:
        fail(f"kind is one of {', '.join(KINDS)}")
    text = typer.get_text_stream("stdin").readline().strip()

    async def work(store: Store, held: Settings) -> int:
        try:
            number = nhs_number.parse(text, allow_test=held.mode == "sandbox")
        except nhs_number.NotAnNhsNumber:
            fail("standard input: not an NHS number")
        return await store.relationships.end(
            kind, number, organisation=organisation, staff=staff, case_reference=case_reference, at=datetime.now(UTC)
        )

    typer.echo(f"{stored.run(work)} relationships ended.")

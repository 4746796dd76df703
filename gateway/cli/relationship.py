"""`gateway relationship`: who cares for whom, from when to when."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway import nhs_number
from gateway.cli import stored
from gateway.cli.say import fail
from gateway.cli.staff import FORM, is_staff
from gateway.cli.staff import staff as member
from gateway.settings import Settings
from gateway.store import Store

KINDS = ("caseload", "allocated-worker", "centre-registration", "registered-practice")
COLUMNS = ("kind", "nhs_number", "organisation", "staff", "case_reference", "starts", "ends")

app = typer.Typer(help="Who cares for whom, from when to when.", no_args_is_help=True)


@app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="CSV: " + ",".join(COLUMNS))]) -> None:
    """Read relationships from a CSV; staff is SYSTEM|ID. A file with a row that cannot be used changes nothing."""

    async def work(store: Store, held: Settings) -> int:
        read = [_read(file, line, row, held) for line, row in stored.rows(file, COLUMNS)]
        for put in read:
            await put(store)
        return len(read)

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


def _read(file: Path, line: int, row: Mapping[str, str], held: Settings) -> Callable[[Store], Awaitable[None]]:
    """A row -> what puts it in, or one clear line that names the place and no value."""
    if row["kind"] not in KINDS:
        fail(f"{file.name}, line {line}: kind is one of {', '.join(KINDS)}")
    if row["staff"] and not is_staff(row["staff"]):
        fail(f"{file.name}, line {line}: staff: {FORM}")
    number = stored.number(file, line, row["nhs_number"], held)
    starts, ends = stored.start(file, line, row["starts"]) or datetime.now(UTC), stored.start(file, line, row["ends"])

    async def put(store: Store) -> None:
        await store.relationships.put(
            row["kind"],
            number,
            organisation=row["organisation"],
            staff=row["staff"] or None,
            case_reference=row["case_reference"] or None,
            starts=starts,
            ends=ends,
        )

    return put

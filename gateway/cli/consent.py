"""`gateway consent`: consents and objections, recorded and withdrawn."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from gateway import nhs_number
from gateway.cli import stored
from gateway.cli.say import fail
from gateway.settings import Settings
from gateway.store import Store

SCOPES = ("direct-care", "store", "share-health", "share-authority", "share-centres", "research")
COLUMNS = ("nhs_number", "scope", "decision", "given_by", "recorded_by", "starts", "ends", "evidence")

app = typer.Typer(help="Consents and objections: recorded, withdrawn, acting on the next read.", no_args_is_help=True)


@app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="CSV: " + ",".join(COLUMNS))]) -> None:
    """Read consents from a CSV. A `deny` of scope direct-care is an objection."""

    async def work(store: Store, held: Settings) -> int:
        count = 0
        for line, row in list(stored.rows(file, COLUMNS)):
            if row["scope"] not in SCOPES or row["decision"] not in ("permit", "deny"):
                fail(f"{file.name}, line {line}: scope is one of {', '.join(SCOPES)}; decision is permit or deny")
            await store.consents.put(
                stored.number(file, line, row["nhs_number"], held),
                scope=row["scope"],
                decision=cast(Literal["permit", "deny"], row["decision"]),
                given_by=row["given_by"],
                recorded_by=row["recorded_by"],
                starts=stored.start(file, line, row["starts"]) or datetime.now(UTC),
                ends=stored.start(file, line, row["ends"]),
                evidence=row["evidence"],
            )
            count += 1
        return count

    typer.echo(f"{stored.run(work)} consents are recorded.")


@app.command()
def withdraw(
    scope: Annotated[str, typer.Argument(help="the scope to withdraw: " + ", ".join(SCOPES))],
    given_by: Annotated[str | None, typer.Option(help="whose, as given_by was recorded; needed where several gave it")] = None,
) -> None:
    """Withdraw one scope for the person whose NHS number is read from standard input. It acts on the next read.

    Nobody's word closes another's: where several people gave or refused this scope, say whose is withdrawn.
    """
    if scope not in SCOPES:
        fail(f"scope is one of {', '.join(SCOPES)}")
    text = typer.get_text_stream("stdin").readline().strip()

    async def work(store: Store, held: Settings) -> int | None:
        try:
            number = nhs_number.parse(text, allow_test=held.mode == "sandbox")
        except nhs_number.NotAnNhsNumber:
            fail("standard input: not an NHS number")
        return await store.consents.withdraw(number, scope, datetime.now(UTC), given_by=given_by)

    closed = stored.run(work)
    if closed is None:
        fail("several people gave or refused this scope: say whose is withdrawn with --given-by; nothing was changed")
    typer.echo(f"{closed} consents withdrawn.")

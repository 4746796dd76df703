"""`gateway crosswalk`: local ids and the verified NHS numbers they belong to."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import stored
from gateway.cli.say import fail
from gateway.flows.identify import AWAITING
from gateway.ports import CrosswalkRow
from gateway.settings import Settings
from gateway.store import Store

app = typer.Typer(help="Local ids and the verified NHS numbers they belong to.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep the group a group."""


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: local_id,nhs_number and optionally birth_date,verified_on,verified_by")],
    source: Annotated[str, typer.Option(help="the settings name of the source whose ids these are")],
) -> None:
    """Read a CSV of verified matches into the crosswalk, all or nothing."""

    async def work(store: Store, held: Settings) -> int:
        if source not in held.sources:
            fail(f"no source of this name is set: there are {', '.join(sorted(held.sources))}")
        rows = [
            CrosswalkRow(
                source=source,
                local_id=row["local_id"],
                number=stored.number(file, line, row["nhs_number"], held),
                birth_date=stored.day(file, line, row.get("birth_date", "")),
                verified_on=stored.day(file, line, row.get("verified_on", "")) or datetime.now(UTC).date(),
                verified_by=row.get("verified_by", "") or "import",
            )
            for line, row in stored.rows(file, ("local_id", "nhs_number"))
        ]
        new = [row for row in rows if await store.crosswalk.number_of(source, row.local_id) != row.number]
        if new and await store.shelf.delivered_at(source) is not None:
            # What the last delivery said of these people's locks was not heard: protected until the next one says it again.
            # Before the link: no instant in which a copy can be read and its lock is not known.
            waiting = {row.number: frozenset({AWAITING}) for row in new}
            await store.protections.add_locks(source, waiting, datetime.now(UTC))
        await store.crosswalk.put(rows)  # each link with its own event, in the same transaction
        return len(rows)

    typer.echo(f"{stored.run(work)} rows are in the crosswalk of {source}.")

"""`gateway protection`: the locks that protect people, counted, looked at one by one, and lifted by a person's decision."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway import nhs_number
from gateway.cli import stored
from gateway.cli.say import fail
from gateway.cli.staff import staff
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.settings import Settings
from gateway.store import Store

REASONS = ("asserted-in-error", "of-another-person", "source-is-gone", "no-longer-at-risk")
By = Annotated[str, typer.Option(callback=staff, help="SYSTEM|ID: who does this")]

app = typer.Typer(help="Locks that protect people: how many, whose, and who decided that one ends.", no_args_is_help=True)


@app.command("list")
def list_(by: By) -> None:
    """Every kind of lock of every source: how many people, and since when. Nobody is listed; the look is recorded."""

    async def work(store: Store, held: Settings) -> list[str]:
        found = await store.protections.counted()
        await store.log.append([_entry("protection-listed", None, by, {"kinds": len(found)})])
        return [f"{one.source}  {one.kind}  {one.people} people  {one.oldest:%Y-%m-%d} to {one.newest:%Y-%m-%d}" for one in found]

    typer.echo("\n".join(stored.run(work)) or "No source protects anybody.")


@app.command()
def show(by: By) -> None:
    """The locks on the person whose NHS number is read from standard input. The look is recorded.

    What PDS restricts is not here: PDS alone ends that.
    """
    text = typer.get_text_stream("stdin").readline().strip()

    async def work(store: Store, held: Settings) -> list[str]:
        number = _number(text, held)
        found = await store.protections.of(number)
        await store.log.append([_entry("protection-shown", number, by, {})])
        return [f"{source}  {kind}  since {since:%Y-%m-%d}" for source, kind, since in found]

    typer.echo("\n".join(stored.run(work)) or "No lock of a source is on this person.")


@app.command()
def lift(
    source: Annotated[str, typer.Argument(help="the settings name of the source whose lock it is")],
    kind: Annotated[str, typer.Argument(help="which lock, as `show` names it")],
    reason: Annotated[str, typer.Option(help="why it ends: " + ", ".join(REASONS))],
    by: By,
) -> None:
    """End one lock on the person whose NHS number is read from standard input. The source's next word counts again."""
    if reason not in REASONS:
        fail(f"--reason is one of {', '.join(REASONS)}")
    text = typer.get_text_stream("stdin").readline().strip()

    async def work(store: Store, held: Settings) -> int:
        number = _number(text, held)
        detail: dict[str, object] = {"source": source, "lock": kind, "reason": reason}
        return await store.protections.lift(number, source, kind, _entry("protection-lifted", number, by, detail))

    if not stored.run(work):
        fail("there is no such lock on this person: `gateway protection show` names those there are")
    typer.echo("Lifted; the decision is in the log.")


def _number(text: str, held: Settings) -> NhsNumber:
    try:
        return nhs_number.parse(text, allow_test=held.mode == "sandbox")
    except nhs_number.NotAnNhsNumber:
        fail("standard input: not an NHS number")


def _entry(act: str, number: NhsNumber | None, by: str, detail: dict[str, object]) -> Entry:
    return Entry("administration", datetime.now(UTC), "success", number, staff=by, detail={"act": act, **detail})

"""`gateway suppression`: deaths and losses that stop contact, and a person's decision that contact may go on."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway import nhs_number
from gateway.cli import stored
from gateway.cli.say import counted, fail
from gateway.cli.staff import staff
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.settings import Settings
from gateway.store import Store

KINDS = ("death", "stillbirth", "pregnancy-loss", "child-loss", "outcome-unknown")
OF_THE_PERSON = frozenset(("death", "stillbirth"))  # the tracer knows of these; of a mother's loss it says nothing
REASONS = ("told-in-error", "of-another-person", "taken-back-and-traced-again", "the-family-asked")

app = typer.Typer(help="Deaths and losses that stop contact; nothing but a person's decision ends one.", no_args_is_help=True)


@app.command()
def show(by: Annotated[str, typer.Option(callback=staff, help="SYSTEM|ID: who looks")]) -> None:
    """What stops contact about the person whose NHS number is read from standard input. The look is recorded."""
    text = typer.get_text_stream("stdin").readline().strip()

    async def work(store: Store, held: Settings) -> list[str]:
        number = _number(text, held)
        kinds, back = await store.suppressions.of(number), await store.suppressions.taken_back(number)
        await store.log.append([_entry("suppression-shown", number, by, {})])
        return [
            f"{kind}: {'taken back by its source, waits for a person' if kind in back else 'in force'}" for kind in sorted(kinds)
        ]

    typer.echo("\n".join(stored.run(work)) or "Nothing stops contact about this person.")


@app.command()
def resume(
    kind: Annotated[str, typer.Argument(help="which kind ends: " + ", ".join(KINDS))],
    reason: Annotated[str, typer.Option(help="why contact may go on: " + ", ".join(REASONS))],
    by: Annotated[str, typer.Option(callback=staff, help="SYSTEM|ID: who decided")],
) -> None:
    """Let contact go on about the person whose NHS number is read from standard input. Only newer news stops it again.

    A death or a stillbirth ends only when the tracer was asked after its source last spoke of it, and says that the person lives:
    look the person up first.
    """
    if kind not in KINDS:
        fail(f"kind is one of {', '.join(KINDS)}")
    if reason not in REASONS:
        fail(f"--reason is one of {', '.join(REASONS)}")
    text = typer.get_text_stream("stdin").readline().strip()

    async def work(store: Store, held: Settings) -> int:
        number = _number(text, held)
        if kind in OF_THE_PERSON:
            await _lives(store, number, kind)
        return await store.suppressions.resume(number, kind, _entry("suppression-resumed", number, by, {"reason": reason}))

    ended = stored.run(work)
    if not ended:
        fail(f"no {kind} is in force for this person")
    typer.echo(f"{counted(ended, 'fact')} ended; the decision is in the log.")


async def _lives(store: Store, number: NhsNumber, kind: str) -> None:
    """A notice taken back may be the mistake: the tracer decides, and a person after it. Source: NEMS PDS Death Notification."""
    told = await store.suppressions.told_at(number, kind)
    row = await store.persons.by_number(number)
    if told is None:
        return  # nothing is in force, and that is what the answer says
    if row is None or row.trace is None or row.traced_at is None or row.expired or row.traced_at <= told:
        fail("the tracer was not asked since the source last spoke of it: look the person up, then decide")
    if row.trace.deceased:
        fail("the tracer says that this person has died")


def _number(text: str, held: Settings) -> NhsNumber:
    try:
        return nhs_number.parse(text, allow_test=held.mode == "sandbox")
    except nhs_number.NotAnNhsNumber:
        fail("standard input: not an NHS number")


def _entry(act: str, number: NhsNumber, by: str, detail: dict[str, object]) -> Entry:
    return Entry("administration", datetime.now(UTC), "success", number, staff=by, detail={"act": act, **detail})

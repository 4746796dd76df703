"""`gateway parcel`: what is to be delivered, where it is, and what an operator may do about it. No person is ever named."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway.cli import stored
from gateway.cli.say import fail
from gateway.model import Mandate, Parcel, ParcelState
from gateway.settings import Settings
from gateway.store import Store

app = typer.Typer(no_args_is_help=True, help="What is to be delivered to other systems.")

Id = Annotated[str, typer.Argument(help="the parcel's id, as `list` and the work list show it")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line")]


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help="only these: " + ", ".join(ParcelState))] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="how many at most, the newest first")] = 200,
    as_json: AsJson = False,
) -> None:
    """Print parcels, the newest first: state, attempts, way of delivery and, where it does not go on, why."""
    if state is not None and state not in set(ParcelState):
        fail(f"--state is one of {', '.join(ParcelState)}")

    async def read(store: Store, held: Settings) -> Sequence[Parcel]:
        return await store.parcels.list(state=ParcelState(state) if state else None, limit=limit)

    for parcel in stored.run(read):
        said = _said(parcel)
        line = f"{parcel.id}  {parcel.state:<12}  {parcel.attempts:>3}  {parcel.route}  {parcel.reason}"
        typer.echo(json.dumps(said) if as_json else line.rstrip())


@app.command()
def show(parcel: Id, as_json: AsJson = False) -> None:
    """Print one parcel: who sends, who receives, in whose name, since when, and until when it is kept."""

    async def read(store: Store, held: Settings) -> tuple[Parcel | None, Mandate | None]:
        found = await store.parcels.get(parcel)
        return found, await store.mandates.get(found.mandate) if found is not None else None

    found, mandate = stored.run(read)
    if found is None:
        fail("no such parcel")
    said = _said(found)
    if mandate is not None:
        said |= {
            "recipient": mandate.organisation,
            "role": mandate.role,
            "purpose": mandate.purpose,
            "agreement": mandate.agreement,
        }
    typer.echo(json.dumps(said) if as_json else "\n".join(f"{name}: {value}" for name, value in said.items()))


@app.command()
def retry(parcel: Id) -> None:
    """Send one again now: what was held or refused, when its cause is mended. Everything about it is decided anew."""

    async def again(store: Store, held: Settings) -> bool:
        done = await store.parcels.again(parcel, datetime.now(UTC))
        await stored.record(store, "parcel-retried", {"parcel": parcel, "done": done})
        return done

    if not stored.run(again):
        fail("it cannot be sent again: there is no such parcel, it has been settled, or its time is over")
    typer.echo("due now")


@app.command()
def recall(parcel: Id) -> None:
    """Take one back: it is never sent from now on. What the recipient's system has already is not touched."""

    async def back(store: Store, held: Settings) -> Parcel | None:
        was = await store.parcels.recall(parcel, at=datetime.now(UTC))
        await stored.record(store, "parcel-recalled", {"parcel": parcel, "was": was.state if was else None})
        return was

    was = stored.run(back)
    if was is None:
        fail("no such parcel")
    if was.state is ParcelState.ACKNOWLEDGED:
        fail("the recipient's system has it already: ask the recipient")
    typer.echo("recalled; bytes may have left before" if was.state is ParcelState.SENT else "recalled")


def _said(parcel: Parcel) -> dict[str, Any]:
    """A parcel without its content and without the person."""
    return {
        "id": parcel.id,
        "state": parcel.state.value,
        "reason": parcel.reason,
        "attempts": parcel.attempts,
        "delivery": parcel.route,
        "sender": parcel.sender,
        "client": parcel.client,
        "mandate": parcel.mandate,
        "created": parcel.created_at.isoformat(),
        "due": parcel.due.isoformat(),
        "confirm_by": parcel.confirm_by.isoformat(),
        "keep_until": parcel.keep_until.isoformat(),
        "settled": parcel.settled_at.isoformat() if parcel.settled_at else None,
        "told": parcel.warned,
    }

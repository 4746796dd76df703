"""`gateway parcel`: what is to be delivered, where it is, and what an operator may do about it. No person is ever named."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway import nhs_number
from gateway.cli import stored
from gateway.cli.say import fail
from gateway.errors import InvalidParameter
from gateway.flows.recall import call_back
from gateway.model import Because, Mandate, Parcel, ParcelState
from gateway.nhs_number import NhsNumber
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
def recall(
    parcel: Annotated[
        str, typer.Argument(help="the parcel's id; -: all about the person whose NHS number comes on standard input")
    ],
    because: Annotated[str, typer.Option(help="why: " + ", ".join(Because))] = Because.ENTERED_IN_ERROR,
) -> None:
    """Call one back. What has not left never will; who may have it already gets a recall, with the receipt and the reason.

    A recall is a parcel of its own: `list` shows it, and one that its recipient does not confirm in time is on the work list.
    """
    if because not in set(Because):
        fail(f"--because is one of {', '.join(Because)}")
    reason, number = Because(because), typer.get_text_stream("stdin").readline().strip() if parcel == "-" else ""

    async def back(store: Store, held: Settings) -> list[tuple[Parcel, Parcel | None]]:
        found = [await store.parcels.get(parcel)] if parcel != "-" else await store.recalls.of(_number(number, held))
        ports = store.parcels, store.recalls, store.log
        return [
            (one, await call_back(*ports, one, reason, at=datetime.now(UTC), by="operator")) for one in found if one is not None
        ]

    try:
        called = stored.run(back)
    except InvalidParameter:
        fail("it is a recall itself: what it calls back stays called back")
    if not called:
        fail("no such parcel" if parcel != "-" else "nothing about this person has left")
    for was, now in called:
        typer.echo(
            f"{was.id} recalled; its recipient is told by {now.id}" if now is not None else f"{was.id} recalled; it never left"
        )


def _number(text: str, held: Settings) -> NhsNumber:
    try:
        return nhs_number.parse(text, allow_test=held.mode == "sandbox")
    except nhs_number.NotAnNhsNumber:
        fail("standard input: not an NHS number")


def _said(parcel: Parcel) -> dict[str, Any]:
    """A parcel without its content and without the person."""
    return {
        "id": parcel.id,
        "kind": parcel.kind,
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
        "receipt": parcel.receipt or None,
        "recalls": parcel.recalls or None,
    }

"""`gateway keys`: the gateway's own secret keys."""

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import stored
from gateway.cli.say import fail, settings
from gateway.cli.staff import staff
from gateway.errors import StartupRefused
from gateway.settings import Settings
from gateway.store import Store

if TYPE_CHECKING:
    from gateway.store.key_rotation import Change

By = Annotated[str, typer.Option(callback=staff, help="SYSTEM|ID: who does this")]

app = typer.Typer(help="The gateway's own secret keys, in files outside the database.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep the group a group."""


@app.command()
def create(
    sandbox: Annotated[bool, typer.Option("--sandbox", help="mark them as sandbox keys, which live mode refuses")] = False,
) -> None:
    """Make a full set in the folder GATEWAY_KEYS; keys that exist are kept."""
    from gateway.store import Keys

    held = settings()
    if not sandbox and held.mode == "sandbox":
        fail("GATEWAY_MODE is sandbox: add --sandbox, or set GATEWAY_MODE=live to make live keys")
    try:
        (Keys.create_sandbox if sandbox else Keys.create)(held.keys)
    except (StartupRefused, OSError) as refused:
        fail(str(refused) if isinstance(refused, StartupRefused) else "the folder GATEWAY_KEYS cannot be written")
    typer.echo(f"Keys are in {held.keys}. Keep a copy where the database's backups are not.")


@app.command()
def rotate(use: Annotated[str, typer.Argument(help="which key, by the name of its file without .json")], by: By) -> None:
    """Put a new key in the place of one; the one before still opens what it sealed. Stop every gateway process first."""
    from gateway.store import key_rotation

    if use in key_rotation.IRREPLACEABLE:
        fail(f"{use} cannot be replaced: every row is found by it, or every id we gave out would change")
    if use not in key_rotation.REPLACEABLE:
        fail(f"the key is one of {', '.join(key_rotation.REPLACEABLE)}")

    async def work(store: Store, held: Settings) -> str:
        change = key_rotation.rotated(held.keys, use)
        detail = {"use": use, "key": change.current, "before": list(change.previous)}
        await stored.record(store, "key-rotated", detail, by=by)
        _written(change)
        return change.current

    typer.echo(
        f"{use}: the current key is {stored.run(work, alone=True)}. Copy the folder GATEWAY_KEYS, then start every process."
    )


@app.command()
def reseal(by: By) -> None:
    """Seal anew what older keys sealed in the database, in durable chunks. Stop every gateway process first."""
    from gateway.store import key_rotation

    async def work(store: Store, held: Settings) -> int:
        def told(done: int) -> None:
            typer.echo(f"{done} sealed anew ...", err=True)

        done = await key_rotation.reseal(store.database, store.keys, told)
        await stored.record(store, "keys-resealed", {"values": done}, by=by)
        return done

    typer.echo(f"{stored.run(work, alone=True)} values are sealed anew; `gateway keys forget` lets the older keys go.")


@app.command()
def forget(use: Annotated[str, typer.Argument(help="which key, by the name of its file without .json")], by: By) -> None:
    """Let the keys go that one has replaced; refused while rows are sealed under them. Stop every gateway process first."""
    from gateway.store import key_rotation

    if use not in key_rotation.FORGETTABLE:
        fail(f"older keys can be forgotten of {', '.join(key_rotation.FORGETTABLE)}")

    async def work(store: Store, held: Settings) -> int:
        change = key_rotation.without_previous(held.keys, use)
        if not change.previous:
            fail(f"{use} has no older key")
        left = await key_rotation.sealed_under(store.database, use, change.previous)
        if left:
            fail(f"{left} values are still sealed under an older key: run `gateway keys reseal` first")
        await stored.record(store, "keys-forgotten", {"use": use, "keys": list(change.previous)}, by=by)
        await key_rotation.forget(store.database, change)
        _written(change)
        return len(change.previous)

    typer.echo(
        f"{use}: {stored.run(work, alone=True)} older keys are gone. Copy the folder GATEWAY_KEYS, then start every process."
    )


def _written(change: "Change") -> None:
    try:
        change.write()
    except OSError:
        fail("the folder GATEWAY_KEYS cannot be written: no key was changed, though the log says it was asked for")

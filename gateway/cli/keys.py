"""`gateway keys`: the gateway's own secret keys."""

from typing import Annotated

import typer

from gateway.cli.say import fail, settings
from gateway.errors import StartupRefused

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

"""`gateway database`: the schema of our own database."""

import typer

from gateway.cli.say import fail, settings
from gateway.errors import StartupRefused

app = typer.Typer(help="The gateway's own database: bring its schema to this version.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep the group a group."""


@app.command()
def upgrade() -> None:
    """Bring the schema to this version of the program. Stop every gateway process and make a backup first."""
    from gateway.store.schema import upgrade as migrate

    try:
        migrate(settings().database())
    except StartupRefused as refused:
        fail(str(refused))
    typer.echo("The database has this version's schema.")

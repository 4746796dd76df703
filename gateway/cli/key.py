"""`gateway key`: key pairs of client systems. The gateway's own keys are made elsewhere and never pass through here."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.say import fail

app = typer.Typer(no_args_is_help=True, help="Key pairs of client systems.")


@app.callback()
def group() -> None:
    """Key pairs of client systems."""


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="where the private key goes; the public one goes beside it, as NAME.jwks.json")],
    algorithm: Annotated[str, typer.Option(help="ES384, ES256, RS384, RS512 or PS256")] = "ES384",
    kid: Annotated[str | None, typer.Option(help="key id; default: one of its own")] = None,
) -> None:
    """Make a key pair: FILE holds the private JWK (readable by you alone), NAME.jwks.json the JWKS to register."""
    from gateway.outside.token_client import NoToken, new_key

    try:
        pair = new_key(algorithm, kid or f"{algorithm.lower()}-{os.urandom(6).hex()}")
    except NoToken as why:
        fail(str(why))
    public = file.with_suffix(".jwks.json")
    if public == file:
        fail("name the private key's file otherwise: the public one gets the ending .jwks.json")
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(pair.private(), out)
        public.write_text(json.dumps({"keys": [pair.public()]}))
    except FileExistsError:
        fail("the file exists: a private key is never overwritten")
    except OSError:
        fail("the file cannot be written there")
    typer.echo(f"private key: {file}\nto register: {public}\nkid: {pair.kid}")

"""How the command line speaks: settings read once, one clear line for a fault, no escape codes when piped."""

from typing import NoReturn

import typer
from pydantic import ValidationError

from gateway.settings import Settings


def fail(line: str, *, code: int = 1) -> NoReturn:
    """One line on standard error, then the exit code."""
    typer.echo(f"gateway: {line}", err=True)
    raise typer.Exit(code)


def settings() -> Settings:
    """Settings of environment and GATEWAY_CONFIG, or one clear line that names each setting at fault, never its value."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors(include_input=False)
        )
        fail(f"settings: {faults}. docs/running-it.md lists every setting; GATEWAY_CONFIG names the file", code=2)
    except (OSError, ValueError):
        fail("settings: the file that GATEWAY_CONFIG names cannot be read as TOML", code=2)

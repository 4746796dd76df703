"""How the command line speaks: settings read once, one clear line for a fault, no escape codes when piped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

import typer
from pydantic import ValidationError

from gateway.settings import Settings

_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}


def fail(line: str, *, code: int = 1) -> NoReturn:
    """One line on standard error, then the exit code."""
    typer.echo(f"gateway: {line}", err=True)
    raise typer.Exit(code)


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 fault", "2 faults"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def unreadable(path: Path, fault: Exception) -> NoReturn:
    """Why a file gives no CSV, in one line. The fault's own text is never shown."""
    if isinstance(fault, FileNotFoundError):
        fail(f"{path.name}: there is no such file")
    if isinstance(fault, IsADirectoryError):
        fail(f"{path.name}: is a folder, not a file")
    if isinstance(fault, PermissionError):
        fail(f"{path.name}: this account may not read it")
    fail(f"{path.name}: cannot be read as CSV in UTF-8")


def lacking(path: Path, header: Sequence[str], missing: Sequence[str]) -> NoReturn:
    """A header without what is needed, and whether it is only separated otherwise."""
    other = [name for mark, name in _SEPARATORS.items() if len(header) == 1 and mark in header[0]]
    hint = f": its columns are separated by {other[0]}, and this reads columns separated by commas" if other else ""
    fail(f"{path.name}: the header lacks {', '.join(missing)}{hint}")


def repeated(path: Path, header: Sequence[str]) -> None:
    """A header with two columns of one name is refused: which of them counts, nobody said."""
    names = [name for each in header if (name := str(each).strip().casefold())]
    if len(names) != len(set(names)):
        fail(f"{path.name}: the header has two columns of one name")


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

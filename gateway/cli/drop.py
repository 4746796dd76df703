"""`gateway drop`: the files that a drop folder keeps sealed for a few days."""

import hashlib
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli import stored
from gateway.cli.say import fail, settings
from gateway.connectors import kept
from gateway.connectors.drop import REASON, ROWS, called, folder_of
from gateway.settings import Settings
from gateway.store import Keys, NotOpened, Store

FOLDERS: Final = ("refused", "done")

app = typer.Typer(help="The files that a drop folder keeps sealed for a few days.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep the group a group."""


@app.command()
def refused(
    names: Annotated[bool, typer.Option("--names", help="also the deliveries, for `gateway drop open`")] = False,
) -> None:
    """Count what waits in each source's refused/ folder, by reason: what its owner has to look at before its days are over."""
    held = settings()
    found: dict[tuple[str, str], list[str]] = {}
    for name in held.sources:
        folder = _folder(held, name) / "refused"
        for note in folder.glob(f"*{REASON}") if folder.is_dir() else ():
            found.setdefault((name, _first_line(note)), []).append(note.name.removesuffix(REASON))
    for (name, reason), deliveries in sorted(found.items()):
        typer.echo(f"{name}: {len(deliveries)} x {reason}")
        for delivery in sorted(deliveries) if names else ():
            typer.echo(f"  {delivery}")
    if not found:
        typer.echo("Nothing is refused in any drop.")


@app.command()
def find(
    file: Annotated[Path, typer.Argument(help="the file as it was sent: a copy of what was left in the drop")],
) -> None:
    """Say what became of a file: its delivery is called by the digest of its content, since names may hold identifiers.

    Exit 1 where no drop keeps it: not taken yet, its days are over, or it was refused unread (too large, or not a file that
    this account may read), for which `gateway drop refused --names` is the list.
    """
    try:
        with file.open("rb") as sent:
            digest = hashlib.file_digest(sent, "sha256").hexdigest()
    except OSError:
        fail("the file cannot be read")
    held, found = settings(), False
    for source in held.sources:
        for folder in FOLDERS:
            for sealed in sorted((_folder(held, source) / folder).glob(f"{called(digest)}.*{kept.SUFFIX}")):
                found = True
                name = sealed.name.removesuffix(kept.SUFFIX)
                why = sealed.with_name(name + REASON)
                said = f": {_first_line(why)}" if why.is_file() else ""
                typer.echo(f"{source}: {folder}/{name}{said}")
                rows = sealed.with_name(name + ROWS)
                if rows.is_file():
                    typer.echo(rows.read_text("utf-8").rstrip("\n"))
    if not found:
        fail(f"no drop keeps {called(digest)}")


@app.command("open")
def open_(
    file: Annotated[Path, typer.Argument(help="a delivery by its name, or the path of its .sealed file in done/ or refused/")],
    source: Annotated[str, typer.Option(help="the settings name of the source whose file it is")],
) -> None:
    """Write the content of a kept file to standard output, after the log has it that this was done.

    Which of its rows were not taken, and why, stands in NAME.rows beside it: standard error says where.
    """

    async def work(store: Store, held: Settings) -> None:
        keys = Keys.load(held.keys, mode=held.mode)
        sealed = _sealed(held, source, file)

        def unseal(piece: bytes) -> bytes:
            return keys.open("file-sealing", piece, source.encode())

        try:
            for _ in kept.opened(unseal, sealed):  # once to the end: nothing is shown of a file that was cut or altered
                pass
        except OSError:
            fail(f"{file.name}: cannot be read; {source} keeps no such delivery in done/ or refused/")
        except (NotOpened, kept.NotKept):
            fail(f"{file.name}: not a whole file that was kept for the source {source}, or its key is gone")
        name = sealed.name.removesuffix(kept.SUFFIX)
        await stored.record(store, "drop-open", {"source": source, "delivery": name})
        for piece in kept.opened(unseal, sealed):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        rows = sealed.with_name(name + ROWS)
        if rows.is_file():
            typer.echo(f"gateway: which rows were not taken, and why: {rows}", err=True)

    stored.run(work)


def _folder(held: Settings, source: str) -> Path:
    return folder_of(held.sources[source].options.get("drop"), held.var / "sources" / source)


def _sealed(held: Settings, source: str, file: Path) -> Path:
    """A path as it is; a name alone is looked for in the source's own folders."""
    if file.name != str(file) or file.exists() or source not in held.sources:
        return file
    name = file.name.removesuffix(kept.SUFFIX) + kept.SUFFIX
    return next((path for folder in FOLDERS if (path := _folder(held, source) / folder / name).is_file()), file)


def _first_line(note: Path) -> str:
    return note.read_text("utf-8").partition("\n")[0]

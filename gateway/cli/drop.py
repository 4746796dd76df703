"""`gateway drop`: the files that a drop folder keeps sealed for a few days."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import stored
from gateway.cli.say import fail, settings
from gateway.connectors import kept
from gateway.connectors.drop import folder_of
from gateway.settings import Settings
from gateway.store import Keys, NotOpened, Store

app = typer.Typer(help="The files that a drop folder keeps sealed for a few days.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep the group a group."""


@app.command()
def refused() -> None:
    """Count what waits in each source's refused/ folder, by reason: what its owner has to look at before its days are over."""
    held = settings()
    found: Counter[tuple[str, str]] = Counter()
    for name, source in held.sources.items():
        folder = folder_of(source.options.get("drop"), held.var / "sources" / name) / "refused"
        for note in folder.glob("*.reason") if folder.is_dir() else ():
            found[name, note.read_text("utf-8").partition("\n")[0]] += 1
    for (name, reason), count in sorted(found.items()):
        typer.echo(f"{name}: {count} x {reason}")
    if not found:
        typer.echo("Nothing is refused in any drop.")


@app.command("open")
def open_(
    file: Annotated[Path, typer.Argument(help="a file of done/ or refused/, ending in .sealed")],
    source: Annotated[str, typer.Option(help="the settings name of the source whose file it is")],
) -> None:
    """Write the content of a kept file to standard output, after the log has it that this was done."""

    async def work(store: Store, held: Settings) -> None:
        keys = Keys.load(held.keys, mode=held.mode)

        def unseal(sealed: bytes) -> bytes:
            return keys.open("file-sealing", sealed, source.encode())

        try:
            for _ in kept.opened(unseal, file):  # once to the end: nothing is shown of a file that was cut or altered
                pass
        except OSError:
            fail(f"{file.name}: cannot be read")
        except (NotOpened, kept.NotKept):
            fail(f"{file.name}: not a whole file that was kept for the source {source}, or its key is gone")
        await stored.record(store, "drop-open", {"source": source, "delivery": file.name.removesuffix(kept.SUFFIX)})
        for piece in kept.opened(unseal, file):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    stored.run(work)

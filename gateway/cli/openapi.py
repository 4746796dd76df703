"""`gateway openapi`: the API's description and the CapabilityStatement, written or compared."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.say import fail

BASE = "http://127.0.0.1:8000"


def command(
    write: Annotated[Path | None, typer.Option(help="write the files into this folder")] = None,
    compare: Annotated[Path | None, typer.Option(help="compare with the files in this folder; exit 1 when they differ")] = None,
) -> None:
    """Print openapi/gateway.json, or write or compare it with openapi/capability-statement.json and openapi/examples/."""
    made = documents()
    if write is None and compare is None:
        typer.echo(made["gateway.json"], nl=False)
    for name, text in made.items():
        if write is not None:
            (write / name).parent.mkdir(parents=True, exist_ok=True)
            (write / name).write_text(text, "utf-8")
        if compare is not None and (compare / name).read_text("utf-8") != text:
            fail(f"openapi/{name} is not what the code says: run make openapi and commit the result")


def documents() -> dict[str, str]:
    """File name -> text, of every generated description, for the shipped adapters."""
    from gateway import registry
    from gateway.api.capability import capability
    from gateway.api.examples import EXAMPLES
    from gateway.api.openapi import document
    from gateway.api.submission import SENDABLE

    manifests = [registry.load_manifest(package) for package in registry.installed().values()]
    types = {name for manifest in manifests for name in manifest.gives} | {"Patient", "Provenance"}
    takes = {name for manifest in manifests for table in manifest.deliver.values() for name in table.types}
    return {
        "gateway.json": _text(document(BASE, types)),
        "capability-statement.json": _text(capability(BASE, types, takes & SENDABLE.keys())),
        **{f"examples/{name}.json": _text(body) for name, (_, body) in EXAMPLES.items()},
    }


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=False) + "\n"

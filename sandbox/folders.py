"""Delivering a file as a careful sender does: under another name first, then renamed, so nobody reads half of it."""

from pathlib import Path


def put(path: Path, body: bytes) -> Path:
    """Body -> the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_bytes(body)
    return hidden.rename(path)

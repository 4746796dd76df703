"""Databases that have their tables before a test opens them: migrating takes longer than most tests. test_schema migrates."""

import tempfile
from functools import cache
from pathlib import Path

from gateway.store.schema import upgrade


def sqlite(path: Path) -> str:
    """A file that may not be there yet -> its URL; what is there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        upgrade(f"sqlite:///{folder}/gateway.db")
        return Path(folder, "gateway.db").read_bytes()

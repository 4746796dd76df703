"""A PostgreSQL of our own: Debian's programs, a free port, a temporary folder, gone when the tests end."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOW_TO_GET_IT = "PostgreSQL is not here: apt-get install postgresql"


def programs() -> Path | None:
    """The folder with initdb and postgres, of the newest version installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    here = shutil.which("initdb")
    return Path(here).parent if here else None


@contextmanager
def server(**settings: str) -> Iterator[str]:
    """A running server with these settings -> its URL. Skips the test where PostgreSQL is not installed."""
    folder = programs()
    if folder is None or (os.getuid() == 0 and not _user_postgres()):
        pytest.skip(HOW_TO_GET_IT)
    home = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
    try:
        if os.getuid() == 0:
            shutil.chown(home, "postgres")
        _run(folder / "initdb", "-D", str(home / "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        port = _free_port()
        options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}"]
        for name, value in settings.items():
            options += ["-c", f"{name}={value}"]
        control = (folder / "pg_ctl", "-D", str(home / "data"), "-w", "-t", "30")
        _run(*control, "-l", str(home / "log"), "-o", " ".join(options), "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            _run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _user_postgres() -> bool:
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        return False
    return True


def _run(*command: Path | str) -> None:
    # PostgreSQL refuses to run as root.
    prefix = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run(
        [*prefix, *map(str, command)], check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

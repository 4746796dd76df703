"""Sandbox and gateway as two processes: started, waited for, stopped with all that they started."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from sandbox.demo.people import ASKERS
from sandbox.demo.place import GATEWAY, Place
from sandbox.demo.seed import seed


@contextmanager
def running(place: Place) -> Iterator[None]:
    """A fresh folder, a sandbox, a seeded gateway; both stopped at the end."""
    if place.folder.exists():
        _say(f"Beginning anew: {place.folder} of the last demonstration is wiped, its audit log with it.")
    shutil.rmtree(place.folder, ignore_errors=True)
    place.folder.mkdir(parents=True)
    started: list[subprocess.Popen[bytes]] = []
    try:
        _say("Starting the sandbox: PDS, SDS, a GP system, child health, a children's centre, an authority (all synthetic) ...")
        command = [sys.executable, "-m", "sandbox", "--port", str(place.sandbox_port), "--var", str(place.folder / "sandbox")]
        started.append(_start([*command, "--drops", str(place.folder / "drops")], place, "sandbox.log"))
        wait(f"http://127.0.0.1:{place.sandbox_port}/", started[0], place.folder / "sandbox.log")
        _say(f"Making keys, activating the policy, registering {len(ASKERS)} partner systems, loading who cares for whom ...")
        seed(place)
        _say("Starting the gateway ...")
        started.append(_start([GATEWAY, "serve"], place, "gateway.log"))
        wait(f"http://127.0.0.1:{place.port + 1}/ready", started[1], place.folder / "gateway.log", want=200)
        _say("Waiting for the first deliveries of child health and the authority to be taken ...")
        _delivered(place)
        yield
    finally:
        for process in reversed(started):
            _signal_all(process, signal.SIGTERM)
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            _signal_all(process, signal.SIGKILL)  # whatever of its group is left


def _start(command: Sequence[str], place: Place, log: str) -> "subprocess.Popen[bytes]":
    with (place.folder / log).open("wb") as out:
        return subprocess.Popen(command, env=place.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)


def _signal_all(process: "subprocess.Popen[bytes]", which: signal.Signals) -> None:
    """To the process and all that it started: each of ours leads a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, which)


def wait(url: str, process: "subprocess.Popen[bytes]", log: Path, *, want: int | None = None, seconds: float = 60) -> None:
    """Until it answers, with this status if one is wanted; else its last lines, and the end."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            status = httpx.get(url, timeout=1).status_code
        except httpx.TransportError:
            status = 0
        if status and (want is None or status == want):
            return
        time.sleep(0.1)
    print(
        f"It did not start. Its last lines ({log}):\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:]),
        file=sys.stderr,
    )
    raise SystemExit(1)


def _delivered(place: Place, *, seconds: float = 60) -> None:
    """Until no drop folder holds a file that waits."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        drops = [folder for folder in (place.folder / "drops").iterdir() if folder.is_dir()]
        waiting = [path for folder in drops for path in (*folder.glob("*.*"), *(folder / "taken").glob("*"))]
        if drops and not waiting:
            return
        time.sleep(0.2)
    print("The deliveries were not taken; the answers will say so.", file=sys.stderr)


def free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _say(line: str) -> None:
    print(line, flush=True)

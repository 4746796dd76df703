"""`make demo ONCE=1`: the journey as it is printed, compared with demo.golden.txt; and one clear line for a busy port."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from whole_place import free_ports, holds_a_number

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def demo(folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    """What `make demo ONCE=1` runs."""
    command = [sys.executable, "-m", "sandbox.demo", "--once", "--folder", str(folder)]
    environment = {**os.environ, "GATEWAY_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


def without_what_is_new(text: str, port: int) -> str:
    """Receipts, instants and ports are new in every run."""
    text = re.sub(r"\b[0-9a-f]{32}\b", "RECEIPT", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", "INSTANT", text)
    return text.replace(str(port), "PORT")


def test_the_journey_is_printed_as_the_golden_transcript_has_it(tmp_path: Path) -> None:
    port = free_ports()
    done = demo(tmp_path / "demo", port)
    assert (done.returncode, done.stderr) == (0, "")
    golden = (HERE / "demo.golden.txt").read_text("utf-8")
    assert without_what_is_new(done.stdout, port) == golden
    assert holds_a_number(done.stdout) is None


def test_a_busy_port_gives_one_clear_line(tmp_path: Path) -> None:
    port = free_ports()
    for busy in (port, port + 1, port + 100):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", busy))
            taken.listen()
            done = demo(tmp_path / "demo", port)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert f"Port {busy} is busy" in line
        assert "GATEWAY_PORT=" in line
        assert not (tmp_path / "demo").exists()

"""The sandbox as its own process on a free port, for tests that want real sockets."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox: where it listens and where it writes."""

    base: str
    var: Path
    drops: Path

    def order(self, simulator: str, fault: str, nhs_number: str = "*", *, seconds: float = 30, times: int | None = None) -> None:
        """Order a fault."""
        wanted = {"simulator": simulator, "nhs_number": nhs_number, "fault": fault, "seconds": seconds, "times": times}
        self._control("POST", "/control/faults", json.dumps(wanted).encode())

    def heal(self) -> None:
        """End every ordered fault."""
        self._control("DELETE", "/control/faults")

    def seen(self, simulator: str) -> list[dict[str, str]]:
        """What the last requests said in their headers, newest last."""
        found: list[dict[str, str]] = json.loads(self._control("GET", "/control/seen"))[simulator]
        return found

    def _control(self, method: str, path: str, body: bytes | None = None) -> bytes:
        with urlopen(Request(self.base + path, data=body, method=method), timeout=5) as answer:
            return bytes(answer.read())


@contextmanager
def sandbox(folder: Path, *more: str) -> Iterator[Sandbox]:
    """A folder -> a running sandbox, stopped at the end."""
    var, drops = folder / "var", folder / "drops"
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--var", str(var), "--drops", str(drops), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith("ready on ")), None)
            assert line is not None, "the sandbox stopped before it was ready"
            yield Sandbox(line.removeprefix("ready on ").strip(), var, drops)
        finally:
            process.terminate()

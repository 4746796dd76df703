"""Where the demonstration lives, and its two ways in: the `gateway` command and a token by the real exchange."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.demo.people import Asker

GATEWAY = str(Path(sys.executable).parent / "gateway")


@dataclass(frozen=True, slots=True)
class Place:
    """Where this demonstration lives: folder and ports."""

    folder: Path
    port: int
    more: str = ""  # settings of a place that has more than the demonstration: TOML, after the others

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_port(self) -> int:
        return self.port + 100

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GATEWAY_CONFIG": str(self.folder / "gateway.toml"),
            "GATEWAY_VAR": str(self.folder),
            "GATEWAY_KEYS": str(self.folder / "keys"),
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_OPERATIONS_PORT": str(self.port + 1),
        }


def token(place: Place, asker: Asker) -> str:
    """An access token for this person, by the real exchange."""
    key = place.folder / "clients" / f"{asker.client}.jwk"
    command = ["token", "--server", place.base, "--client", asker.client, "--key", str(key), "--organisation", asker.organisation]
    command += ["--subject", asker.subject, "--subject-name", asker.name, "--role", asker.role, "--purpose", asker.purpose]
    if asker.case:
        command += ["--case-reference", asker.case]
    if asker.scope:
        command += ["--scope", asker.scope]
    return gateway(place, *command).strip()


def gateway(place: Place, *arguments: str) -> str:
    """What a command of `gateway` prints; one that fails ends the demonstration with its own words."""
    done = subprocess.run([GATEWAY, *arguments], env=place.environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"gateway {' '.join(arguments[:2])} failed:\n{done.stderr}", file=sys.stderr)
        raise SystemExit(1)
    return done.stdout

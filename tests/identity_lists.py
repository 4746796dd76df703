"""A custodian's lists of the sandbox's crowd, as CSV, and a place to take them in: for tests and the benchmark."""

import csv
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.store import Keys
from sandbox import crowd
from sandbox.demo import GATEWAY
from sandbox.families import Person, address_of
from tests.gateway_command import gateway

COLUMNS = ("local_id", "nhs_number", "family", "given", "birth_date", "birth_date_status", "gender", "postcode", "upn")


@dataclass(frozen=True, slots=True)
class Registry:
    """An authority's gateway: its settings in a folder, PDS somewhere, no server running."""

    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """The `gateway` command there, as a process of its own."""
        command = [GATEWAY, *arguments]
        return subprocess.run(
            command, env=dict(self.environment), input=stdin, capture_output=True, text=True, check=False, timeout=900
        )

    def command(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """The same, in this process: sooner."""
        return gateway(self.environment, *arguments, stdin=stdin)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """The same, not waited for."""
        return subprocess.Popen(
            [GATEWAY, *arguments], env=dict(self.environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


def registry(folder: Path, sandbox: str, *, per_second: float, database: str = "") -> Registry:
    """A folder, the sandbox's address, the trace rate -> a gateway with one source, and keys of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gateway.toml").write_text(
        f'''[pds]
base_url = "{sandbox}/pds/personal-demographics/FHIR/R4"
ods = "X99990"
per_second = {per_second}

[sources.authority]
adapter = "local_authority"
custodian = "gss:E08999901"
agreement = "northshire"
title = "Council"
steward = "northshire records"
guardian = "northshire adoption guardian"
options = {{ drop = "{folder}/drop" }}

[sources.elsewhere]
adapter = "local_authority"
custodian = "gss:E08999902"
agreement = "northshire"
title = "Another council"
options = {{ drop = "{folder}/drop-elsewhere" }}
''',
        "utf-8",
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")},
        "GATEWAY_CONFIG": str(folder / "gateway.toml"),
        "GATEWAY_VAR": str(folder),
        "GATEWAY_KEYS": str(folder / "keys"),
        **({"GATEWAY_DATABASE_URL": database} if database else {}),
    }
    place = Registry(folder, environment)
    Keys.create_sandbox(folder / "keys")
    return place


def row(person: Person, local_id: str, *, number: bool = False, **changes: str) -> dict[str, str]:
    """A person as a custodian lists them."""
    home = crowd.address(person) if person.key.startswith("crowd-") else address_of(person)
    plain = {
        "local_id": local_id,
        "nhs_number": person.nhs_number if number else "",
        "family": person.family,
        "given": person.given,
        "birth_date": person.birth_date.isoformat(),
        "birth_date_status": "",
        "gender": person.gender,
        "postcode": home.postcode,
        "upn": "",
    }
    return {**plain, **changes}


def write(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    """Rows -> the file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path

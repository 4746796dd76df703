"""Published samples through `gateway map run`, the command itself: what was mapped, what was refused and why, what is left."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from typer.testing import CliRunner

from gateway.cli.map import WHOLE, app

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
FOLDERS = (  # adapter, folder of the samples, what its files end in
    ("gp", "nhsconnect__gpconnect", (".json",)),
    ("gp", "NHSDigital__integration-adaptor-gp2gp", (".json",)),
    ("child_health", "nhsconnect__STU3-FHIR-Assets/Examples", (".xml", ".json")),
    ("child_health", "nhsconnect__Events-Management/pages/messages/messages/examples", (".xml", ".json")),
    ("child_health", "NHSDigital__immunisation-fhir-api", (".json", ".csv", ".dat")),
    ("local_authority", "data-to-insight__csc-validator-be-cin", (".xml",)),
    ("local_authority", "data-to-insight__csc-validator-be-903", (".csv", ".xml")),
    ("local_authority", "SocialFinanceDigitalLabs__liia-tools-pipeline", (".xml", ".csv", ".xlsx")),
)

PERSON = re.compile(r"\d{10}_[^_/]+")  # some files are called after a person: test people, and no name of ours all the same


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one sample."""

    adapter: str
    sample: str
    exit_code: int
    made: str
    leaves: str
    unmapped: int
    refused: str


def rows() -> Iterator[Row]:
    """Every sample of every source, in order. Nothing where the folder is absent."""
    runner = CliRunner()
    with TemporaryDirectory() as folder:
        crosswalk = Path(folder) / "crosswalk.csv"
        crosswalk.write_text("local_id,nhs_number\n", "utf-8")
        for adapter, place, endings in FOLDERS:
            files = (SAMPLES / place).rglob("*") if (SAMPLES / place).is_dir() else ()
            for file in sorted(file for file in files if file.suffix.lower() in endings):
                done = runner.invoke(app, ["run", adapter, str(file)])
                yield _row(adapter, file, done.exit_code, done.stdout, done.stderr)


def _row(adapter: str, file: Path, code: int, out: str, err: str) -> Row:
    sample = PERSON.sub("…", file.relative_to(SAMPLES).as_posix())
    if not out.startswith("{"):
        raise SystemExit(f"conformance: no JSON for {sample}, exit {code}: {err[-500:]}")
    said = json.loads(out)
    made = Counter(entry["resource"]["resourceType"] for entry in said["bundle"].get("entry", ()))
    whole = [one for one in said["refused"] if one["where"] == WHOLE]
    if (code == 0) == bool(said["refused"]) or (code == 2) != bool(whole) or not all(map(_told, said["refused"])):
        raise SystemExit(f"conformance: {sample}: exit {code} does not go with what is refused")
    reasons = Counter(one["reason"] for one in said["refused"])
    leaves = said["accounting"]
    return Row(
        adapter,
        sample,
        code,
        ", ".join(f"{count} {name}" for name, count in sorted(made.items())),
        f"{leaves['mapped']} / {leaves['ignored']} / {leaves['withheld']}",
        len(leaves["unmapped"]),
        "; ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items())),
    )


def _told(refused: dict[str, str]) -> bool:
    return bool(refused["where"] and refused["reason"])

"""Validators that are not ours: HAPI FHIR with UK Core, @medplum/core, and fhir of npm -> what each finds fault with."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conformance.gathering import Named

HERE: Final = Path(__file__).resolve().parent
JARS: Final = HERE / "java" / "target" / "lib"
UK_CORE: Final = HERE.parents[2] / "shared" / "samples" / "NHSDigital__FHIR-R4-UKCORE-STAGING-MAIN"
_INDEX = re.compile(r"\[\d+\]")
_ENTRY = re.compile(
    r"^.*resource/\*(\w+)/[^*]*\*/|^.*resource\.ofType\((\w+)\)|^.*/\*(\w+)/[^*]*\*/"
)  # of an entry, as of one alone
_VALUES = re.compile(r"Code \"[^\"]*\"|The value '[^']*'|#[\w.-]+\)")
JUDGED: Final = ("fatal", "error", "warning")  # beneath them a judge says what it could not look at


class Unreachable(Exception):
    """A judge is not here; its text says what to install."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault a judge found; `where` without indexes and `said` without values, so that equal faults are one row."""

    judge: str
    severity: str
    where: str
    said: str
    name: str


def hapi(resources: Sequence[Named]) -> list[Finding]:
    """R4 and, where the folder of definitions is here, the UK Core profile of each type. Raises `Unreachable`."""
    if shutil.which("java") is None or shutil.which("mvn") is None:
        raise Unreachable("apt-get install default-jdk-headless maven")
    if not JARS.is_dir():
        order = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(HERE / "java" / "pom.xml"),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={JARS}",
        ]
        if subprocess.run(order, capture_output=True, check=False).returncode:
            shutil.rmtree(JARS, ignore_errors=True)
            raise Unreachable("Maven could not fetch the validator: is a repository reachable?")
    _pinned()
    command = ["java", "-cp", f"{JARS}/*", str(HERE / "java" / "Validate.java"), *([str(UK_CORE)] if UK_CORE.is_dir() else [])]
    return _judged(command, HERE, resources, "HAPI")


def node(resources: Sequence[Named]) -> list[Finding]:
    """@medplum/core and fhir, both of npm. Raises `Unreachable`."""
    if shutil.which("npm") is None:
        raise Unreachable("apt-get install nodejs npm")
    place = HERE / "node"
    if not (place / "node_modules").is_dir():
        done = subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=place, capture_output=True, check=False)
        if done.returncode:
            raise Unreachable("npm could not fetch the validators: is a registry reachable?")
    return _judged(["node", "validate.mjs"], place, resources, "")


def _pinned() -> None:
    """Each file of the validator is the one that was looked at when its hash was written down."""
    wanted = dict(line.split()[::-1] for line in (HERE / "java" / "artifacts.sha256").read_text("ascii").splitlines())
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in JARS.glob("*.jar")}
    if wanted != found:
        odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise SystemExit(f"conformance: not the files of artifacts.sha256, and so not run: {', '.join(odd)}")


def _judged(command: Sequence[str], place: Path, resources: Sequence[Named], judge: str) -> list[Finding]:
    lines = "".join(json.dumps({"name": name, "resource": resource}) + "\n" for name, resource in resources)
    done = subprocess.run(command, cwd=place, input=lines, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"conformance: {command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        Finding(one.get("validator", judge), one["severity"], _element(one["where"]), _worded(one["said"]), one["name"])
        for one in said
        if one["severity"] in JUDGED
    ]


def _element(where: str) -> str:
    """Bundle.entry[3].resource/*Flag/id*/.code[0] -> Flag.code."""
    return _ENTRY.sub(lambda match: next(filter(None, match.groups())), _INDEX.sub("", where)) or "(whole)"


def _worded(said: str) -> str:
    """A judge's sentence without the values of the resource, and within a line."""
    return _VALUES.sub(lambda match: match[0].split('"')[0].split("'")[0] + "…", _INDEX.sub("", said)).split(" (codes = ")[0][
        :160
    ]

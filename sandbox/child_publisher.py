"""The message publisher, which can be told to misbehave: any number of messages, in any order, with the faults asked for.

    python -m sandbox.child_publisher FOLDER --count 1000 --fault duplicate=0.1 --fault truncated=0.01 --per-second 50

A fault is a kind and the share of messages that have it. The same seed publishes the same files. What the publisher delivers over is a
folder, so it is slow by writing a file under its own name piece by piece (`drip`), and breaks off by leaving one unfinished (`reset`).
"""

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from sandbox import child_health
from sandbox.child_health import Letter
from sandbox.families import BY_KEY, Person
from sandbox.folders import put

FAULTS = ("duplicate", "out-of-order", "truncated", "malformed", "wrong-patient", "huge", "unknown-event", "drip", "reset")
DRIPS = "drip-"  # begins the name of a file that is written piece by piece
LEFT = ".part"  # ends the name of one that was never finished
DRIP_S = 0.3
HUGE_BYTES = 1_100_000  # more than the gateway takes of one message
WHO = ("amara", "ben", "hugo", "grace", "mia", "noor", "oscar")


def vaccinations(count: int, who: Sequence[str] = WHO, *, change: str = "new", hours: int = 0) -> Iterator[Letter]:
    """As many messages, each of a vaccination of its own; with `change` "delete" and later `hours`, those that take them back."""
    for number in range(count):
        person = BY_KEY[who[number % len(who)]]
        lot, key = f"LOT{number:05}", f"-{number}-{change}"
        bundle = child_health._vaccination(person, child_health._JABS[0], lot=lot, change=change, hours=hours, key=key)
        yield Letter(f"{number:06}{'.xml' if number % 2 else '.json'}", _own(bundle, number))


def published(letters: Iterator[Letter], faults: Mapping[str, float], *, seed: int = 1) -> list[tuple[str, bytes]]:
    """(file name, body) of each file in the order of delivery. Raises `ValueError` for a fault that is none of `FAULTS`."""
    unknown = faults.keys() - set(FAULTS)
    if unknown:
        raise ValueError(f"a fault is one of {', '.join(FAULTS)}")
    chance = random.Random(seed)
    files: list[tuple[str, bytes]] = []
    for letter in letters:
        kind = next(
            (name for name in FAULTS if chance.random() < faults.get(name, 0) and name not in ("duplicate", "out-of-order")), ""
        )
        files.append((_called(letter.name, kind), _spoilt(letter, kind, chance)))
        if not kind and chance.random() < faults.get("duplicate", 0):
            files.append((f"again-{letter.name}", letter.body()))
    moved = [place for place in range(len(files)) if chance.random() < faults.get("out-of-order", 0)]
    for here, there in zip(moved, chance.sample(moved, len(moved)), strict=True):
        files[here], files[there] = files[there], files[here]
    return files


def publish(folder: Path, files: list[tuple[str, bytes]], *, per_second: float = 0) -> int:
    """Each file whole into the folder, so many a second (0: as fast as can be); how many. One that drips comes in pieces."""
    for name, body in files:
        if name.startswith(DRIPS):
            _drip(folder / name, body)
        else:
            put(folder / name, body)
        if per_second:
            time.sleep(1 / per_second)
    return len(files)


def _drip(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, len(body), len(body) // 3 + 1):
            file.write(body[start : start + len(body) // 3 + 1])
            file.flush()
            time.sleep(DRIP_S)


def _called(name: str, kind: str) -> str:
    return f"{DRIPS}{name}" if kind == "drip" else f"{name}{LEFT}" if kind == "reset" else name


def _own(bundle: dict[str, Any], number: int) -> dict[str, Any]:
    (jab,) = (each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Immunization")
    jab["identifier"][0]["value"] += f"-{number}"
    return bundle


def _spoilt(letter: Letter, kind: str, chance: random.Random) -> bytes:
    body = letter.body()
    if kind in ("truncated", "reset"):
        return body[: chance.randrange(1, len(body))]
    if kind == "malformed":
        return body.replace(b"Bundle", b"Bundle<{", 1)
    if kind == "huge":
        return body + b" " * (HUGE_BYTES - len(body))
    if kind in ("wrong-patient", "unknown-event"):
        return Letter(letter.name, _altered(letter.bundle, kind)).body()
    return body


def _altered(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    other = deepcopy(bundle)
    header = other["entry"][0]["resource"]
    if kind == "unknown-event":
        header["event"] = {**header["event"], "code": "teething-1", "display": "Teething"}
        return other
    (person,) = (each["resource"] for each in other["entry"] if each["resource"]["resourceType"] == "Patient")
    person["identifier"][0]["value"] = _somebody_else(person["identifier"][0]["value"]).nhs_number
    return other


def _somebody_else(number: str) -> Person:
    return BY_KEY["ben" if BY_KEY["amara"].nhs_number == number else "amara"]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Publish child health messages, with faults.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=SHARE", help=", ".join(FAULTS))
    parser.add_argument("--per-second", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    faults = {kind: float(share or 1) for kind, _, share in (fault.partition("=") for fault in asked.fault)}
    files = published(vaccinations(asked.count), faults, seed=asked.seed)
    publish(asked.folder, files, per_second=asked.per_second)
    print(json.dumps({"files": len(files)}))


if __name__ == "__main__":
    main()

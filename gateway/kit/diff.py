"""What a change of the mappings changes: every case run with the maps of a git revision and with those of the work tree."""

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.mapping.cases import Came, Case
from gateway.mapping.loading import load
from gateway.mapping.outward.cases import WriteCase
from gateway.mapping.outward.write import Written
from gateway.mapping.run import Maps


class NoSuchRevision(Exception):
    """Git has no such revision of this folder, or there is no git here."""


@dataclass(frozen=True, slots=True)
class Change:
    """One element that comes out another way. Values are those of synthetic cases."""

    case: str
    place: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.case}: {self.place}: {self.before} -> {self.after}"


def at_revision(folder: Path, revision: str, into: Path) -> Path:
    """A folder as a git revision has it, written below `into` -> where it lies. Raises `NoSuchRevision`."""
    git = ["git", "-C", str(folder)]
    top = _run([*git, "rev-parse", "--show-toplevel"]).decode().strip()
    inside = folder.resolve().relative_to(Path(top).resolve())
    commit = _run([*git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]).decode().strip()
    packed = _run(["git", "-C", top, "archive", "--format=tar", commit, "--", str(inside)])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    return into / inside


def diff(old: Maps, new: Maps, cases: Sequence[Case | WriteCase]) -> Iterator[Change]:
    """Two versions of the maps, and cases of either way -> what changes in what comes out."""
    for case in cases:
        shown = f"{case.adapter}/{case.name}"
        if isinstance(case, Case):
            (before, refused), (after, refuses) = (_read(case.run(maps)) for maps in (old, new))
        else:
            (before, refused), (after, refuses) = (_written(case.run(maps)) for maps in (old, new))
        yield from (Change(shown, place, *values) for place, *values in _differ(before, after, ""))
        yield from (Change(shown, "refused", one, "no more") for one in sorted(refused - refuses))
        yield from (Change(shown, "refused", "not before", one) for one in sorted(refuses - refused))


def changes(folder: Path, revision: str, cases: Sequence[Case | WriteCase]) -> list[Change]:
    """A mappings folder and a revision -> what changed since. Raises `NoSuchRevision`, `MappingFaults`."""
    with tempfile.TemporaryDirectory() as place:
        old = load(at_revision(folder, revision, Path(place)))
        return list(diff(old, load(folder), cases))


def _run(command: list[str]) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - git, with arguments of our own
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoSuchRevision from error


def _read(came: Came) -> tuple[dict[str, Any], set[str]]:
    return {f"{made.body['resourceType']}/{made.body['id']}": made.body for made in came.resources}, set(came.refusals)


def _written(came: Written) -> tuple[dict[str, Any], set[str]]:
    """What would leave, and what would not: both are a change that somebody must see."""
    kept = [f"{path}: {reason}" for path, reason in came.accounting.withheld] if came.accounting is not None else []
    made = {"written": came.data, "withheld": sorted(kept), "not sent": sorted(came.not_sent)} if came.data is not None else {}
    return made, {f"{one.where}: {one.reason}" for one in came.refused}


def _differ(one: Any, other: Any, place: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in sorted(one.keys() | other.keys()):
            below = f"{place}.{name}" if place else name
            if name not in one:
                yield below, "absent", _shown(other[name])
            elif name not in other:
                yield below, _shown(one[name]), "absent"
            else:
                yield from _differ(one[name], other[name], below)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differ(left, right, f"{place}[{number}]")
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield place, _shown(one), _shown(other)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)

"""What a sender submits for delivery -> our resources with their labels: the lane of R4 sources, with marks of its own.

Senders address their words to one recipient, so mappings/submitted-marks.yaml marks them otherwise than a source's record.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from gateway.adapter import Claim, SourceRecord
from gateway.mapping.context import Context, Run, Unusable
from gateway.mapping.r4 import index
from gateway.mapping.r4_lane import UNREADABLE, Lane, read_marks
from gateway.mapping.run import R4_SCHEMA
from gateway.mapping.tree import MappingFaults
from gateway.model import CareClass, Category, MappedResource, Mark, RefusedRecord, Resource

MARKS = "submitted-marks.yaml"
WHERE = "submission"
MAPPING = "submitted@1"


def submitted_lane(folder: "Path | Traversable") -> Lane:
    """A mappings folder -> the lane of what is submitted; without its file nothing may be. Raises `MappingFaults`."""
    file = folder / MARKS
    if not file.is_file():
        return Lane({}, frozenset())
    lane, faults = read_marks(file.read_bytes().decode("utf-8"), MARKS, index(), with_codes=True)
    if faults:
        raise MappingFaults(tuple(sorted(faults)))
    return lane


def map_submitted(
    lane: Lane, resource: Resource, ctx: Context, category: Category, care_class: CareClass, as_of: datetime
) -> tuple[Sequence[MappedResource], Sequence[RefusedRecord]]:
    """A submitted resource and what it contains -> ours, under the delivery's own category and class."""
    made: list[MappedResource] = []
    refused: list[RefusedRecord] = []
    parts: list[tuple[str, Any]] = [("", {name: value for name, value in resource.items() if name != "contained"})]
    parts += [(f", contained {number}", part) for number, part in enumerate(resource.get("contained", ()), start=1)]
    for place, part in parts:
        where = WHERE + place
        try:
            record = SourceRecord(R4_SCHEMA, {"id": where, **part}, where, as_of, Claim())
            one = lane.rewrite(record, Run(ctx, {}))
        except Unusable as unusable:
            refused.append(RefusedRecord(ctx.source, where, unusable.reason))
        except UNREADABLE:
            refused.append(RefusedRecord(ctx.source, where, "a value of a kind that R4 does not have there"))
        else:
            # First, and from the last place to the first: what is taken out moves no other place.
            paths = {**one.paths, Mark.LOCATING: (*_not_listed(lane.codes, one.body), *one.paths.get(Mark.LOCATING, ()))}
            made.append(MappedResource(one.body, one.source, category, care_class, paths, where, as_of, MAPPING))
    return made, refused


def _not_listed(codes: Mapping[str, frozenset[str]], body: Resource) -> tuple[tuple[str, ...], ...]:
    """Where the coded elements of a resource say anything but a code that the marks list: a code nobody knows may be a place."""
    elements = index().elements(body["resourceType"])
    found: list[tuple[str, ...]] = []
    for name, value in body.items():
        type_ = elements[name].type if name in elements else ""
        if type_ == "Coding":
            for path, coding in _each(value, (name,)):
                found += _of_coding(codes, coding, path)
        if type_ == "CodeableConcept":
            for path, concept in _each(value, (name,)):
                for at, coding in _each(concept.get("coding", []), (*path, "coding")):
                    found += _of_coding(codes, coding, at)
                found += [(*path, part) for part in concept if part != "coding"]
    return tuple(reversed(found))


def _of_coding(codes: Mapping[str, frozenset[str]], coding: Mapping[str, Any], at: tuple[str, ...]) -> list[tuple[str, ...]]:
    if coding.get("code") not in codes.get(coding.get("system", ""), ()):
        return [at]
    return [(*at, part) for part in coding if part not in ("system", "code")]


def _each(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """An element, or each of a list, with where it stands."""
    if not isinstance(value, list):
        yield path, value
        return
    for at, one in enumerate(value):
        yield (*path, str(at)), one

"""What a sender submits for delivery -> our resources with their labels: the lane of R4 sources, with marks of its own.

Senders address their words to one recipient, so mappings/submitted-marks.yaml marks them otherwise than a source's record.
"""

from collections.abc import Sequence
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
from gateway.model import CareClass, Category, MappedResource, RefusedRecord, Resource

MARKS = "submitted-marks.yaml"
WHERE = "submission"
MAPPING = "submitted@1"


def submitted_lane(folder: "Path | Traversable") -> Lane:
    """A mappings folder -> the lane of what is submitted; without its file nothing may be. Raises `MappingFaults`."""
    file = folder / MARKS
    if not file.is_file():
        return Lane({}, frozenset())
    lane, faults = read_marks(file.read_bytes().decode("utf-8"), MARKS, index())
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
            made.append(MappedResource(one.body, one.source, category, care_class, one.paths, where, as_of, MAPPING))
    return made, refused

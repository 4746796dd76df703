"""Where in a mapping a record was refused: compiled lines carry the file and line of the map itself."""

from types import TracebackType
from typing import Protocol

from gateway.mapping.tree import MapFile


class Written(Protocol):
    """A checked map, of either way."""

    @property
    def source(self) -> MapFile:
        """As written."""
        ...

    @property
    def code_file(self) -> str:
        """File name that tracebacks name."""
        ...


def located(plan: Written, reason: str, trace: TracebackType | None) -> str:
    """A reason -> the same with the map's file, and the line where it is known."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == plan.code_file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{reason} ({plan.source.file}:{line})" if line else f"{reason} ({plan.source.file})"

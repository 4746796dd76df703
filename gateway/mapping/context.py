"""What a run of a mapping knows beside the record, and the one way it refuses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NewType

import msgspec

from gateway.nhs_number import NhsNumber

if TYPE_CHECKING:
    from gateway.mapping.codes import CodeMap

Targets = NewType("Targets", frozenset[str])  # resource types a reference may lead to


class Unusable(Exception):
    """A value that cannot become R4. `reason` is a constant text: never a value. The resource is refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Context:
    """What the gateway knows: `%ctx` of a mapping. `mint(resource type, key)` gives our id of a resource."""

    source: str  # settings name of the source
    mint: Callable[[str, str], str]
    person: str
    number: NhsNumber | None
    as_of: datetime
    custodian: str


class Run(msgspec.Struct):
    """One record being mapped: passed in, never global."""

    ctx: Context
    codes: "Mapping[str, CodeMap]"
    patient: str | None = None  # the one Patient id that the record's references use
    own: dict[str, str] = msgspec.field(default_factory=dict)  # block label -> id, for ref()
    listed: frozenset[str] = frozenset()  # extensions that mappings/r4-marks.yaml lists
    met_unlisted: bool = False  # another one was met
    unknown_codes: dict[str, int] = msgspec.field(default_factory=dict)  # code map -> codes it did not know
    ours: dict[str, str] = msgspec.field(default_factory=dict)  # the reference to the person, as it leaves
    usual: str = ""  # the source's own reference to the person, in the resource before this one

    def person_reference(self, local: str) -> str:
        """The record's own word for the patient -> `Patient/<person>`. Raises `Unusable` for a second patient."""
        if self.patient is None:
            self.patient = local
        elif self.patient != local:
            raise Unusable("two different patients are referred to")
        return f"Patient/{self.ctx.person}"


@dataclass(frozen=True, slots=True)
class WriteContext:
    """What the gateway knows of one delivery: `%ctx` of an outward map."""

    number: NhsNumber | None
    recipient: str  # organisation code, "ods:..." | "gss:..." | "dfe-urn:..."
    sender: str
    as_of: datetime
    key: str  # the delivery's idempotency key


@dataclass(frozen=True, slots=True)
class Writing:
    """One delivery being written: passed in, never global."""

    ctx: WriteContext
    codes: "Mapping[str, CodeMap]"


def as_object(value: Any) -> dict[str, Any]:
    """A JSON object, or `Unusable`."""
    if isinstance(value, dict):
        return value
    raise Unusable("a text stands where an element with parts belongs")

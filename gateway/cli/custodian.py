"""A source of the settings -> its custodian: who settles what no program may."""

from typing import Literal, cast

from gateway.cli.say import fail
from gateway.flows.identify import Custodian
from gateway.settings import Settings


def custodian_of(held: Settings, source: str, ids: str = "person") -> Custodian:
    """One clear line where there is no such source."""
    if source not in held.sources:
        fail(f"no source of this name is set: there are {', '.join(sorted(held.sources))}")
    if ids not in ("person", "member"):
        fail("--ids is person or member")
    settings = held.sources[source]
    owner = settings.steward or f"records of {settings.custodian}"
    guardian = settings.guardian or f"Caldicott Guardian of {settings.custodian}"
    return Custodian(source, cast(Literal["person", "member"], ids), owner, guardian)

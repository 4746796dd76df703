"""What a message tells of a death -> whether nothing more may go out about that person that invites contact.

An informal notice counts as much as a formal one: it exists so that letters stop early. A notice that was taken back (status
U) is told as taken back and lifts nothing here. A status nobody knows is a death until somebody says otherwise.
Source: NEMS PDS Death Notification; CareConnect-DeathNotificationStatus-1; national blood spot status codes, sub-code 905.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from gateway.adapter import Tree
from gateway.connectors.message_nodes import objects

DEATH: Final = "death"
Told = Literal["died", "taken-back"]

_STATUS: Final = "Extension-CareConnect-DeathNotificationStatus-1"
_TAKEN_BACK: Final = "U"
_SPOT_SYSTEMS: Final = re.compile(r"https://fhir\.nhs\.uk/STU3/(?:CodeSystem|ValueSet)/DCH-BloodSpotOutcome[A-Za-z0-9]*-1")
_BABY_DIED: Final = frozenset(("905", "946621000000102"))  # not screened: the baby died


def death_told(person: Mapping[str, Tree]) -> Told | None:
    """What a Patient resource says of a death; None: nothing."""
    if person.get("deceasedBoolean") or person.get("deceasedDateTime"):
        return "died"
    said = [each for each in objects(person.get("extension")) if str(each.get("url")).endswith(_STATUS)]
    if not said:
        return None
    return "taken-back" if {code for each in said for code in _codes(each)} == {_TAKEN_BACK} else "died"


def screening_says_died(procedures: Sequence[Tree]) -> bool:
    """Whether a blood spot was not screened because the baby had died."""
    outcomes = (each.get("outcome") for each in procedures if isinstance(each, dict))
    codings = (coding for one in outcomes if isinstance(one, dict) for coding in objects(one.get("coding")))
    return any(str(coding.get("code")).strip() in _BABY_DIED and _is_of_screening(coding) for coding in codings)


def _is_of_screening(coding: Mapping[str, Tree]) -> bool:
    system = str(coding.get("system")).strip()
    return system == "http://snomed.info/sct" or _SPOT_SYSTEMS.fullmatch(system) is not None


def _codes(node: Tree) -> Iterator[str]:
    """Every code inside an extension, which holds its status one or two levels down."""
    if isinstance(node, list):
        for each in node:
            yield from _codes(each)
    elif isinstance(node, dict):
        if isinstance(node.get("code"), str):
            yield str(node["code"])
        for each in node.values():
            yield from _codes(each)

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

_STATUS: Final = ("Extension-CareConnect-DeathNotificationStatus-1", "Extension-UKCore-DeathNotificationStatus")
_TAKEN_BACK: Final = "U"
_SPOT_SYSTEMS: Final = re.compile(r"https://fhir\.nhs\.uk/STU3/(?:CodeSystem|ValueSet)/DCH-BloodSpotOutcome[A-Za-z0-9]*-1")
# Not screened, since the baby died: the laboratories' sub-code, with and without its leading nought, and SNOMED CT's, which has a
# code of its own for each condition. Those two were published in examples; the others are known by what they are called.
_BABY_DIED: Final = frozenset(("905", "0905", "946621000000102", "948801000000106"))
_SAYS_DIED: Final = re.compile(
    r"\b(?:baby|infant|newborn|child|patient|person)(?: has)? (?:died|deceased|dead)\b|\bdeceased\b", re.I
)


def death_told(person: Mapping[str, Tree]) -> Told | None:
    """What a Patient resource says of a death; None: nothing."""
    if person.get("deceasedBoolean") or person.get("deceasedDateTime"):
        return "died"
    said = [each for each in objects(person.get("extension")) if str(each.get("url")).endswith(_STATUS)]
    if not said:
        return None
    return "taken-back" if {code for each in said for code in _codes(each)} == {_TAKEN_BACK} else "died"


def screening_says_died(resources: Mapping[str, Sequence[Tree]]) -> bool:
    """Whether anything was not tested, done or given because the child had died. `resources`: of one message, by type."""
    return any(_says_died(concept) for kind, nodes in resources.items() for node in nodes for concept in _reasons(kind, node))


def _reasons(kind: str, node: Tree) -> Iterator[Tree]:
    """The concepts in which a test or a vaccination says what came of it."""
    if not isinstance(node, dict):
        return
    if kind == "Procedure":
        yield from (node.get("outcome"), node.get("notDoneReason"))
    elif kind == "DiagnosticReport":
        yield from objects(node.get("codedDiagnosis"))
    elif kind == "Immunization" and isinstance(why := node.get("explanation"), dict):
        yield from objects(why.get("reasonNotGiven"))


def _says_died(concept: Tree) -> bool:
    if not isinstance(concept, dict):
        return False
    codings = list(objects(concept.get("coding")))
    words = [concept.get("text"), *(coding.get("display") for coding in codings)]
    if any(isinstance(each, str) and _SAYS_DIED.search(each) for each in words):
        return True  # a word is enough to stop a letter, and never to send one
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

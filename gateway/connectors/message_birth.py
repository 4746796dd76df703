"""A birth notification, which is addressed by the mother -> the same message, about her baby alone, and what was lost.

Its header and its focus name the mother; she is linked to a RelatedPerson, and that to the baby. Nothing of her may end in the
child's record: neither what was found of her, nor her name, nor her number. A stillbirth and a death stop contact about the
baby and about her; where it is not said whether the child lives, they stop it, too, and a person reads the message. Each baby
has a message of its own, so the living twin of a dead one is spoken of as before.
Source: NHS Digital Events Management, PDS Birth Notification.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.adapter import Loss, SourceContractBroken, Tree
from gateway.connectors.message_bundle import ROUTING, found_in, header_of, index_of
from gateway.connectors.message_losses import DEATH, death_told
from gateway.connectors.message_nodes import extension_of, number_of, objects
from gateway.nhs_number import SYSTEM as NHS_NUMBER

NO_BABY: Final = "no mother with one baby of hers in the birth notification"
OTHERS: Final = "others than a mother and her baby in the birth notification"
ONE_NUMBER: Final = "a mother and a baby with the same NHS number"
NOT_SURE: Final = "a birth notification that does not say the child lives: for a person to read"

OF_NOBODY: Final = "a loss of nobody who has an NHS number: for a person to act on"

_STILLBIRTH: Final = "237364002"  # the question, asked of every birth; the value decides
_LIVE: Final = "1"
_STILLBORN: Final = frozenset(("2", "3", "4"))  # antepartum, intrapartum, indeterminate
_OF_MOTHER: Final = {"stillbirth": "pregnancy-loss", DEATH: "child-loss"}  # what a loss is to her; in doubt it has one name

Index = Mapping[str, dict[str, Tree]]


@dataclass(frozen=True, slots=True)
class Birth:
    """One birth, read and checked."""

    message: Tree | None  # about the baby alone; None: nothing of it is for a shelf
    losses: tuple[Loss, ...]
    doubt: str | None  # why a person has to read it


def read_birth(bundle: Tree) -> Birth:
    """A birth notification -> its `Birth`. Raises `SourceContractBroken` with the reason."""
    header, index = header_of(bundle), index_of(bundle)
    notice = next((node for each in objects(header.get("focus")) if (node := found_in(each, index))), {})
    mother = found_in(notice.get("subject"), index)
    babies = [] if mother is None or mother["resourceType"] != "Patient" else _babies(mother, index)
    if mother is None or len(babies) != 1:
        raise SourceContractBroken(NO_BABY)
    baby = babies[0]
    if any(node["resourceType"] == "Patient" and node is not mother and node is not baby for node in index.values()):
        raise SourceContractBroken(OTHERS)
    outcome = _outcome(baby, index)
    own, hers = _numbers_of(header, mother, baby, needed=outcome in ("", DEATH))
    losses = _losses(outcome, own, hers, episode=next(iter(own), str(header.get("id"))))
    if outcome and not losses:
        raise SourceContractBroken(OF_NOBODY)
    if outcome not in ("", DEATH):
        return Birth(None, losses, None if outcome in _OF_MOTHER else NOT_SURE)
    gone = {url for url, node in index.items() if node is mother or _is_hers(node, mother, index)}
    baby_url = next(url for url, node in index.items() if node is baby)
    kept = {url: node for url, node in index.items() if url not in gone and not _asks_stillbirth(node)}
    entries = [{"fullUrl": url, "resource": _turned(node, notice, baby_url, gone, index)} for url, node in kept.items()]
    return Birth({**bundle, "entry": entries}, losses, None)


def _babies(mother: Mapping[str, Tree], index: Index) -> list[dict[str, Tree]]:
    """Whom the mother's links lead to, through a RelatedPerson that says she is the mother."""
    found: list[dict[str, Tree]] = []
    for link in objects(mother.get("link")):
        related = found_in(link.get("other"), index)
        if related is None or related["resourceType"] != "RelatedPerson" or not _says_mother(related):
            continue
        baby = found_in(related.get("patient"), index)
        if baby is not None and baby["resourceType"] == "Patient" and baby is not mother and baby not in found:
            found.append(baby)
    return found


def _says_mother(related: Mapping[str, Tree]) -> bool:
    """Two code systems are in use for one relationship."""
    said = related.get("relationship")
    codings = list(objects(said.get("coding"))) if isinstance(said, dict) else []
    return any(
        (coding.get("code") == "NMTH" and str(coding.get("system")).endswith("/RoleCode"))
        or (coding.get("code") == "12" and str(coding.get("system")).endswith("PersonRelationshipType-1"))
        for coding in codings
    )


def _numbers_of(
    header: Mapping[str, Tree], mother: Mapping[str, Tree], baby: Mapping[str, Tree], *, needed: bool
) -> tuple[set[str], set[str]]:
    """The baby's number and hers. Header and mother agree; the baby's one is not hers. She may have none.

    `needed` False: of a loss the baby may have none either.
    """
    routed = extension_of(extension_of(header, (ROUTING,)), ("nhsNumber",)).get("valueIdentifier")
    hers = _numbers(mother) | ({number_of(routed)} if isinstance(routed, dict) and routed.get("value") else set())
    own = _numbers(baby)
    if len(hers) > 1 or len(own) > 1:
        raise SourceContractBroken("the NHS numbers in the message differ")
    if needed and not own:
        raise SourceContractBroken("no NHS number in the message")
    if own & hers:
        raise SourceContractBroken(ONE_NUMBER)
    return own, hers


def _numbers(person: Mapping[str, Tree]) -> set[str]:
    return {number_of(each) for each in objects(person.get("identifier")) if each.get("system") == NHS_NUMBER}


def _outcome(baby: Mapping[str, Tree], index: Index) -> str:
    """ "": the message says that the child lives. Every birth is asked, so one that does not say it is in doubt."""
    asked = [node for node in index.values() if _asks_stillbirth(node) and found_in(node.get("subject"), index) is baby]
    said: set[str] = set().union(*(_codes(node.get("valueCodeableConcept")) for node in asked))
    if said and said <= _STILLBORN:
        return "stillbirth"
    if asked and all(_codes(node.get("valueCodeableConcept")) == {_LIVE} for node in asked):
        told = death_told(baby)
        return "" if told is None else DEATH if told == "died" else "outcome-unknown"
    return "outcome-unknown"


def _losses(outcome: str, own: set[str], hers: set[str], *, episode: str) -> tuple[Loss, ...]:
    """Of the baby, and of the mother for this baby: she may have another one, who lives."""
    if not outcome:
        return ()
    of_mother = _OF_MOTHER.get(outcome, outcome)
    return (*(Loss(number, outcome) for number in own), *(Loss(number, of_mother, episode) for number in hers))


def _asks_stillbirth(node: Mapping[str, Tree]) -> bool:
    return node["resourceType"] == "Observation" and _STILLBIRTH in _codes(node.get("code"))


def _codes(concept: Tree) -> set[str]:
    return {str(coding.get("code")) for coding in objects(concept.get("coding"))} if isinstance(concept, dict) else set()


def _is_hers(node: Mapping[str, Tree], mother: Mapping[str, Tree], index: Index) -> bool:
    """What is about the mother, but for the notice itself."""
    if node["resourceType"] in ("Communication", "MessageHeader"):
        return False
    if node["resourceType"] == "RelatedPerson":
        return True
    return found_in(node.get("subject") or node.get("patient"), index) is mother


def _turned(node: Mapping[str, Tree], notice: Mapping[str, Tree], baby_url: str, gone: set[str], index: Index) -> dict[str, Any]:
    """The resource without a reference to what is gone; the notice points at the baby, and the header routes to nobody."""
    if node is notice:
        return {"resourceType": node["resourceType"], "id": node.get("id"), "subject": {"reference": baby_url}}
    kept: dict[str, Any] = _without(node, {id(index[url]) for url in gone}, index)
    if node["resourceType"] == "MessageHeader":
        kept["extension"] = [each for each in objects(node.get("extension")) if each.get("url") != ROUTING]
    return kept


def _without(value: Tree, gone: set[int], index: Index) -> Any:
    if isinstance(value, list):
        return [_without(each, gone, index) for each in value]
    if not isinstance(value, dict):
        return value
    if id(found_in(value, index)) in gone:
        return {}
    return {name: _without(each, gone, index) for name, each in value.items()}

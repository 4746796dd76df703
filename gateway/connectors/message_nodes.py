"""What is read of any node of an STU3 message: what repeats, an extension, an NHS number, a label that locks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.adapter import NhsNumber, SourceContractBroken, Tree
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.nhs_number import NotAnNhsNumber
from gateway.systems import V3_CONFIDENTIALITY

_CONFIDENTIALITY: Final = (V3_CONFIDENTIALITY, "http://hl7.org/fhir/v3/Confidentiality")
_OPEN: Final = ("U", "L", "M", "N")  # a label of any other kind locks: nobody here knows what it forbids


def objects(value: Tree) -> Iterator[dict[str, Tree]]:
    """What repeats, as objects; anything of another shape is not sound STU3."""
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise SourceContractBroken("an element of the wrong shape")
    yield from value


def extension_of(node: Mapping[str, Tree], urls: Sequence[str]) -> dict[str, Tree]:
    """The first extension of a node that has one of these URLs; empty without one."""
    return next((each for each in objects(node.get("extension")) if each.get("url") in urls), {})


def number_of(identifier: Mapping[str, Tree]) -> str:
    """An identifier -> its NHS number. Raises `SourceContractBroken` when the check digit fails."""
    value = identifier.get("value")
    try:
        return NhsNumber(value if isinstance(value, str) else "").value
    except NotAnNhsNumber:
        raise SourceContractBroken("an NHS number that fails its check digit") from None


def nhs_numbers(person: Mapping[str, Tree]) -> set[str]:
    """A person's numbers as they stand, sound or not, without the spaces people write."""
    said = [each.get("value") for each in objects(person.get("identifier")) if each.get("system") == NHS_NUMBER]
    return {value.replace(" ", "") for value in said if isinstance(value, str)}


def is_locked(node: Mapping[str, Tree]) -> bool:
    """Whether a resource, or one inside it, bears a label that says more than "normal".

    Raises `SourceContractBroken` for a meta of another shape: it may hold a label that nobody would see.
    """
    meta = node.get("meta") or {}
    if not isinstance(meta, dict):
        raise SourceContractBroken("an element of the wrong shape")
    labels = objects(meta.get("security"))
    if any(label.get("system") not in _CONFIDENTIALITY or label.get("code") not in _OPEN for label in labels):
        return True
    return any(is_locked(inside) for inside in objects(node.get("contained")))

"""What a code comes to: the outcome of a screening, a warning and whether it stands, and what may be a code of SNOMED CT."""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.mapping.context import Unusable
from gateway.mapping.functions import (
    Code,
    CodeableConcept,
    DateTime,
    Primitive,
    Text,
    dateTime,
)

_BLOOD_SPOT: Final = re.compile(r"https://fhir\.nhs\.uk/STU3/(?:CodeSystem|ValueSet)/DCH-BloodSpotOutcome[A-Za-z0-9]*-1")
_SNOMED: Final = "http://snomed.info/sct"
# An outcome that is none: declined (2, 201 to 204) or not screened (9, 902 to 906). SNOMED CT has such a code for each condition
# and examination; those were published in examples and lists, the others are known by what they are called.
_NOT_SCREENED: Final = re.compile(r"0?[29](?:0[0-9])?")
_NOT_SCREENED_SCT: Final = frozenset(
    (
        "429726000",
        "946621000000102",
        "947611000000105",
        "947511000000106",
        "948801000000106",
        "949981000000104",
        "988181000000104",
    )
)
_SAYS_NOT_SCREENED: Final = re.compile(r"\b(?:declined|not screened|screening incomplete|not done|not performed)\b", re.I)
# One test is made for each ear, and only its outcome says for which: clear and no clear response, AABR and AOAE.
_EARS: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(
        ("1085431000000105", "1085461000000100", "1085491000000106", "1085511000000103"), ("89644007", "Structure of left ear")
    ),
    **dict.fromkeys(
        ("1085451000000103", "1085471000000107", "1085501000000100", "1085521000000109"), ("25577004", "Structure of right ear")
    ),
}
_STANDS: Final = frozenset(
    ("registered", "preliminary", "final", "amended", "corrected", "unknown", "active", "onhold", "suspended")
)
_WARNINGS: Final[Mapping[str, str]] = {  # SNOMED CT: that there is a risk, a plan or care. None says why
    "886941000000103": "Risk to self",
    "886951000000100": "Risk to others",
    "1064461000000103": "Risk from others",
    "836881000000105": "Child safeguarding concern",
    "878111000000109": "Unborn child safeguarding concern",
    "1064311000000109": "Child protection plan",
    "342191000000101": "Subject to child protection plan",
    "818901000000100": "Unborn child subject to child protection plan",
    "764841000000100": "Looked after child",
}
_WARNING: Final = {
    "system": "urn:shared-care-gateway:CodeSystem:warning",
    "code": "warning",
    "display": "Warning",
}
_WARNED: Final = {"finished": "inactive", "completed": "inactive", "entered-in-error": "entered-in-error"}


def warned(value: Code) -> Code | None:
    """STU3 status of an observation, an episode of care or a plan -> the status of a warning; None: it stands.

    A status that says nothing of the sort leaves the warning standing; one that says it never came to be refuses it.

    >>> warned(Code("final")), warned(Code("finished")), warned(Code("entered-in-error"))
    (None, 'inactive', 'entered-in-error')
    """
    if value in _STANDS:
        return None
    if value not in _WARNED:
        raise Unusable("a warning that never came to be, or a status that STU3 does not have")
    return Code(_WARNED[value])


def warning(value: CodeableConcept) -> CodeableConcept:
    """What a warning is of, from a closed list and in our words; of any other kind, that there is one. Never why.

    >>> told = {"system": "http://snomed.info/sct", "code": "1064461000000103", "display": "Uncle Placeholder"}
    >>> warning(CodeableConcept({"coding": [told], "text": "Uncle Placeholder"}))["coding"][0]["display"]
    'Risk from others'
    >>> warning(CodeableConcept({"text": "Somebody came by at night."}))["coding"][0]["code"]
    'warning'
    """
    codings = value.get("coding") if isinstance(value, dict) else None
    for one in codings if isinstance(codings, list) else ():
        if isinstance(one, dict) and one.get("system") == _SNOMED and one.get("code") in _WARNINGS:
            return CodeableConcept({"coding": [{"system": _SNOMED, "code": one["code"], "display": _WARNINGS[one["code"]]}]})
    return CodeableConcept({"coding": [dict(_WARNING)]})


def known_when(value: Text) -> DateTime | None:
    """The day a warning began or ended; none where it cannot be read: a warning is not lost over a slip of the pen.

    >>> known_when(Text("2026-03-06")), known_when(Text("6th of March")), known_when(Text("2026-03-06T10:00:00"))
    ('2026-03-06', None, None)
    """
    try:
        return dateTime(Primitive(value))
    except Unusable:
        return None


def over(value: Text) -> Code | None:
    """A warning with a last day -> over. A day that cannot be read has ended nothing.

    >>> over(Text("2026-02-27")), over(Text("27th"))
    ('inactive', None)
    """
    return Code("inactive") if known_when(value) else None


def answered_otherwise(_: CodeableConcept) -> Code:
    """An answer beside the code of a warning: what it makes of the warning nobody here can say. Always raises `Unusable`."""
    raise Unusable("a warning with an answer beside it: only its sender knows what the two come to")


def indication(value: Text) -> CodeableConcept:
    """Why a vaccine was given: a SNOMED CT code where its check digit holds, else the words as sent.

    >>> indication(Text("443684005"))["coding"], indication(Text("Outbreak"))
    ([{'system': 'http://snomed.info/sct', 'code': '443684005'}], {'text': 'Outbreak'})
    """
    return _in_snomed(str(value).strip())


def observed(value: Code) -> CodeableConcept:
    """What an extract observed: a SNOMED CT code where its check digit holds. Another scheme's code is none, and stays a word.

    >>> observed(Code("27113001"))["coding"], observed(Code("22A.."))
    ([{'system': 'http://snomed.info/sct', 'code': '27113001'}], {'text': '22A..'})
    """
    found = _in_snomed(str(value).strip())
    no_warning(found)
    return found


def no_warning(value: CodeableConcept) -> Code | None:
    """Refuses a warning that comes as any other observation: it would reach the readers of reviews. None for what is none.

    >>> no_warning(CodeableConcept({"coding": [{"system": "http://snomed.info/sct", "code": "27113001"}]})) is None
    True
    """
    codings = value.get("coding") if isinstance(value, dict) else None
    if any(isinstance(one, dict) and str(one.get("code")).strip() in _WARNINGS for one in codings or ()):
        raise Unusable("a warning among what was observed: it has an event of its own")
    return None


def outcome_in_snomed(value: CodeableConcept) -> CodeableConcept:
    """A blood spot outcome: its SNOMED code comes under SNOMED's own system, and the coding as sent after it.

    NEMS publishes these SNOMED codes under a system of its own. The laboratories' two and three digit codes are no SNOMED codes.

    >>> sent = {"system": "https://fhir.nhs.uk/STU3/CodeSystem/DCH-BloodSpotOutcome-1", "code": "429106008"}
    >>> [coding["system"] for coding in outcome_in_snomed(CodeableConcept({"coding": [sent]}))["coding"]][0]
    'http://snomed.info/sct'
    >>> len(outcome_in_snomed(CodeableConcept({"coding": [{**sent, "code": "301"}]}))["coding"])
    1
    """
    sent = value.get("coding") if isinstance(value, dict) else None
    if not isinstance(sent, list) or any(isinstance(coding, dict) and coding.get("system") == _SNOMED for coding in sent):
        return value
    added = [_as_snomed(coding) for coding in sent if isinstance(coding, dict) and _is_hidden_snomed(coding)]
    return CodeableConcept({**value, "coding": [*added, *sent]})


def not_screened(value: CodeableConcept) -> Code | None:
    """A screening whose outcome says that it was declined or never made -> "not-done", whatever its status says.

    >>> not_screened(CodeableConcept({"coding": [{"system": "http://snomed.info/sct", "code": "988181000000104"}]}))
    'not-done'
    >>> not_screened(CodeableConcept({"text": "hip examination done, no abnormality"})) is None
    True
    """
    return Code("not-done") if why_not_screened(value) else None


def why_not_screened(value: CodeableConcept) -> CodeableConcept | None:
    """The same -> that outcome, as the reason why it was not made; None: it was.

    >>> why_not_screened(CodeableConcept({"text": "Screening declined"}))
    {'text': 'Screening declined'}
    """
    said = value.get("coding") if isinstance(value, dict) else None
    codings = [coding for coding in said if isinstance(coding, dict)] if isinstance(said, list) else []
    words = [value.get("text") if isinstance(value, dict) else None, *(coding.get("display") for coding in codings)]
    if any(_is_no_outcome(coding) for coding in codings):
        return value
    return value if any(isinstance(each, str) and _SAYS_NOT_SCREENED.search(each) for each in words) else None


def ear(value: CodeableConcept) -> CodeableConcept | None:
    """The outcome of a hearing test -> the ear it was of, by a table of codes; None where no code of the table says it.

    >>> ear(CodeableConcept({"coding": [{"code": "1085471000000107"}]}))["coding"][0]["display"]
    'Structure of right ear'
    """
    codings = value.get("coding") if isinstance(value, dict) else None
    found = {_EARS.get(str(one.get("code")).strip()) for one in codings or () if isinstance(one, dict)} - {None}
    sides = [side for side in found if side is not None]
    if len(sides) != 1:  # none, or both at once: nobody can say which
        return None
    code, display = sides[0]
    return CodeableConcept({"coding": [{"system": _SNOMED, "code": code, "display": display}]})


def _is_no_outcome(coding: Mapping[str, Any]) -> bool:
    system, code = str(coding.get("system")).strip(), str(coding.get("code")).strip()
    if _BLOOD_SPOT.fullmatch(system):
        return code in _NOT_SCREENED_SCT or _NOT_SCREENED.fullmatch(code) is not None
    return system == _SNOMED and code in _NOT_SCREENED_SCT


def _in_snomed(text: str) -> CodeableConcept:
    if re.fullmatch(r"[1-9][0-9]{5,17}", text) and _verhoeff(text):
        return CodeableConcept({"coding": [{"system": _SNOMED, "code": text}]})
    return CodeableConcept({"text": text})


def _as_snomed(coding: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"display": coding["display"]} if isinstance(coding.get("display"), str) else {}
    return {"system": _SNOMED, "code": str(coding["code"]).strip(), **shown}


def _is_hidden_snomed(coding: Mapping[str, Any]) -> bool:
    system, said = coding.get("system"), coding.get("code")
    if not isinstance(system, str) or not _BLOOD_SPOT.fullmatch(system.strip()) or not isinstance(said, str):
        return False
    return bool(re.fullmatch(r"[1-9][0-9]{5,17}", said.strip())) and _verhoeff(said.strip())


def _verhoeff(digits: str) -> bool:
    """Whether the check digit of a SNOMED CT identifier holds: a dihedral product over permuted digits.

    Source: SNOMED CT Release File Specification, appendix on check digits.
    """
    check = 0
    for place, digit in enumerate(reversed(digits)):
        permuted = int(digit)
        for _ in range(place % 8):
            permuted = int("1576283094"[permuted])
        check = _dihedral(check, permuted)
    return check == 0


def _dihedral(left: int, right: int) -> int:
    turned = left - right if left >= 5 else left + right
    flipped = (left >= 5) != (right >= 5)
    return turned % 5 + (5 if flipped else 0)

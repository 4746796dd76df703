"""What the Lists of a structured record say: which area each is of, what it warns of, which allergies have ended.

Lists are told apart by code, never by title. Source: GP Connect Access Record Structured 1.6.2, "Using the List resource".
"""

import re
from collections.abc import Iterator
from typing import Final

from adapters.gp.links import Json, dicts, reference_of, text_of

ALLERGIES: Final = "886921000000105"
ENDED_ALLERGIES: Final = "1103671000000101"

_SNOMED = "http://snomed.info/sct"
_ELSEWHERE = "other-health"
_AREA_OF_LIST = {
    ALLERGIES: "allergies",
    ENDED_ALLERGIES: "allergies",
    "933361000000108": "medications",
    "1102181000000102": "immunisations",
    "717711000000103": "problems",
}
_AREA_OF_WORD = (  # secondary lists name the area by a word of their code, "problems-medications-..."
    ("allerg", "allergies"),
    ("medication", "medications"),
    ("immunisation", "immunisations"),
    ("linked-problems", "problems"),
)
_AREA_OF_PARAMETER = {
    "includeallergies": "allergies",
    "includemedication": "medications",
    "includeimmunisations": "immunisations",
    "includeproblems": "problems",
}
_LIST_OF = {  # the List that answers each parameter: without it nothing was said of the area, not even that it is empty
    "includeAllergies": ALLERGIES,
    "includeMedication": "933361000000108",
    "includeImmunisations": "1102181000000102",
    "includeProblems": "717711000000103",
    "includeConsultations": "1149501000000101",
    "includeUncategorisedData": "826501000000100",
    "includeInvestigations": "887191000000108",
    "includeReferrals": "792931000000107",
    "includeDiaryEntries": "714311000000108",
}
_AREAS = (*dict.fromkeys(_AREA_OF_PARAMETER.values()), _ELSEWHERE)
_TEMPORARY = "T"
_REGISTRATION = re.compile(
    r"https://fhir\.(nhs|hl7\.org)\.uk/STU3/StructureDefinition/Extension-CareConnect-(GPC-)?RegistrationDetails-1"
)
_PARAMETER = re.compile(r"include[a-z]+", re.I)
WARNING: Final = frozenset(
    {
        "https://fhir.nhs.uk/stu3/structuredefinition/extension-careconnect-gpc-listwarningcode-1",
        "https://fhir.hl7.org.uk/stu3/structuredefinition/extension-careconnect-listwarningcode-1",
    }
)
SPEAKING: Final = frozenset(
    {"AllergyIntolerance", "Condition", "List", "OperationOutcome", "Patient"}
)  # `warnings` looks at them
_WARNING_CODES = frozenset({"confidential-items", "data-in-transit", "data-awaiting-filing"})
_NOT_GIVEN = frozenset({"disabled", "not-supported"})
_NOTHING_RECORDED = "no-content-recorded"
_DISABLED = re.compile(r"items? (have|has) been (disabled|switched off)", re.I)
_NOT_SUPPORTED = re.compile(r"items? (are|is) not supported", re.I)
_MONTH = (
    r"(?i:jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|dec(ember)?)"
)
_STANDARD_NOTE = re.compile(  # texts that the specification words itself: they warn, and name nobody
    r"(Items excluded due to confidentiality and/or patient preferences\.?"
    r"|Patient record transfer from previous GP practice not yet complete; information recorded before "
    r"\d\d?[-/ ](\d\d|" + _MONTH + r")[-/ ]\d{4} may be missing\.?"
    r"|Patient data may be incomplete as there is data supplied by a third party awaiting review before becoming available\.?"
    r"|Information not available\.?"
    r"|\s)+"
)


def code_of(listed: Json) -> str:
    """A List -> its code: of SNOMED CT, whatever the case of the system's name, else the first there is."""
    found: str | None = None
    for coding in dicts(listed.get("code"), "coding"):
        code = coding.get("code")
        if code.__class__ is str:
            if text_of(coding.get("system")).strip().lower() == _SNOMED:
                return str(code).strip()
            found = code if found is None else found
    return "" if found is None else found.strip()


def area_of(listed: Json) -> str:
    """A List -> the category its warnings are about."""
    code = code_of(listed)
    found = _AREA_OF_LIST.get(code)
    return found or next((area for word, area in _AREA_OF_WORD if word in code), _ELSEWHERE)


def warnings(resources: list[Json], asked: frozenset[str] = frozenset()) -> tuple[tuple[str, str], ...]:
    """Every warning of a record: (category, code), each once. `asked`: the parameters of which an answer was wanted."""
    found: set[tuple[str, str]] = set()
    empty: set[str] = set()
    seen: set[str] = set()
    allergies = False
    for resource in resources:
        kind = resource["resourceType"]
        if kind == "List":
            seen.add(code_of(resource))
            found.update((area_of(resource), code) for code in _codes(resource))
            if _is_empty(resource):
                empty.add(code_of(resource))
        elif kind == "Condition":
            found.update((_ELSEWHERE, code) for code in _placeholders(resource))
        elif kind == "OperationOutcome":
            for issue in dicts(resource, "issue"):
                found.update((area, _why(issue)) for area in _areas(issue))
        elif kind == "AllergyIntolerance":
            allergies = True
        elif kind == "Patient" and _is_temporary(resource):
            found.update((area, "temporary-registration") for area in _AREAS)
    unanswered = {_AREA_OF_PARAMETER.get(name.lower(), _ELSEWHERE) for name in asked if _LIST_OF[name] not in seen}
    found.update((area, "not-answered") for area in unanswered - {area for area, code in found if code in _NOT_GIVEN})
    if {ALLERGIES, ENDED_ALLERGIES} <= empty and not allergies and all(area != "allergies" for area, _ in found):
        found.add(("allergies", "none-recorded"))  # both empty, nothing withheld or late: not the same as "no known allergies"
    return tuple(sorted(found))


def standard_notes(listed: Json) -> list[str]:
    """The notes of a List that the specification words: caveats that must be shown."""
    texts = [text_of(note.get("text")).strip() for note in dicts(listed, "note")]
    return [text for text in texts if text and _STANDARD_NOTE.fullmatch(text)]


def cleaned(listed: Json, given: frozenset[str]) -> Json:
    """A List whose references were relinked, without entries that lead nowhere and say nothing, and without its caveats."""
    whole = listed.get("entry")
    entries = [entry for entry in dicts(listed, "entry") if _says(entry.get("item"), given)]
    if entries and len(entries) == len(whole or ()) and "note" not in listed and "contained" not in listed:
        return listed  # nearly every one
    notes = [note for note in dicts(listed, "note") if not _STANDARD_NOTE.fullmatch(text_of(note.get("text")).strip() or "-")]
    rest = {name: value for name, value in listed.items() if name not in ("entry", "note", "contained")}
    return rest | ({"entry": entries} if entries else {}) | ({"note": notes} if notes else {})


def _says(item: object, given: frozenset[str]) -> bool:
    return isinstance(item, dict) and (bool(item.get("display")) or reference_of(item).partition("/")[0] in given)


def _codes(listed: Json) -> Iterator[str]:
    for extension in dicts(listed, "extension"):
        if text_of(extension.get("url")).strip().lower() in WARNING:
            code = text_of(extension.get("valueCode")).strip().lower()
            yield code if code in _WARNING_CODES else "unknown-warning"
    for entry in dicts(listed, "entry"):
        item = entry.get("item")
        if isinstance(item, dict) and not item.get("reference"):
            yield from _placeholder(text_of(item.get("display")))


def _placeholders(problem: Json) -> Iterator[str]:
    for extension in dicts(problem, "extension"):
        linked = extension.get("valueReference")
        if isinstance(linked, dict) and not linked.get("reference"):
            yield from _placeholder(text_of(linked.get("display")))


def is_placeholder(item: Json) -> bool:
    """Whether an entry of a List only says that something is not given: it stands for no resource."""
    return any(_placeholder(text_of(item.get("display"))))


def _placeholder(display: str) -> Iterator[str]:
    if _DISABLED.search(display):
        yield "disabled"
    elif _NOT_SUPPORTED.search(display):
        yield "not-supported"


def _is_temporary(patient: Json) -> bool:
    details = [found for found in dicts(patient, "extension") if _REGISTRATION.fullmatch(text_of(found.get("url")).strip())]
    kinds = [part.get("valueCodeableConcept") for found in details for part in dicts(found, "extension")]
    return any(text_of(coding.get("code")).strip() == _TEMPORARY for kind in kinds for coding in dicts(kind, "coding"))


def _areas(issue: Json) -> list[str]:
    """Which areas are not given. One that does not say which may mean any: an empty area must not read as a whole one."""
    named = _PARAMETER.findall(f"{issue.get('diagnostics')} {_text_of_issue(issue)}")
    if named:
        return [_AREA_OF_PARAMETER.get(name.lower(), _ELSEWHERE) for name in named]
    return [] if issue.get("severity") == "information" else list(_AREAS)


def _why(issue: Json) -> str:
    return "disabled" if "disabled" in _text_of_issue(issue).lower() else "not-supported"


def _text_of_issue(issue: Json) -> str:
    details = issue.get("details")
    return text_of(details.get("text")) if isinstance(details, dict) else ""


def _is_empty(listed: Json) -> bool:
    reasons = dicts(listed.get("emptyReason"), "coding")
    return not dicts(listed, "entry") and any(text_of(reason.get("code")).strip() == _NOTHING_RECORDED for reason in reasons)

"""What a terminology or a closed list vouches for: all that stays of a code, an amount or a label of a protected person.

Anything else in them was typed by somebody and may name a place. Sources: SNOMED CT Release File Specifications 5 (identifiers);
UCUM 2.1; LOINC Users' Guide; Read Codes version 2 and CTV3; FHIR R4 datatypes (Coding, Quantity, Attachment).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_SNOMED = frozenset({"http://snomed.info/sct", "https://dmd.nhs.uk"})  # dm+d: identifiers of the same form
_UCUM = "http://unitsofmeasure.org"
_OF_A_BODY = re.compile(
    r"http://(?:terminology\.hl7\.org/CodeSystem|hl7\.org/fhir)/[A-Za-z0-9/._-]+"
    r"|https://fhir\.(?:nhs|hl7\.org)\.uk/(?:[A-Za-z0-9]+/)?(?:CodeSystem|ValueSet)/[A-Za-z0-9._-]+"
    r"|urn:shared-care-gateway:[A-Za-z0-9:._-]+"
)
_CODE_OF_A_BODY = re.compile(r"[A-Za-z0-9<>=_.:/+*-]{1,64}")
_LOINC = re.compile(r"(?:L[AP])?\d{1,7}-\d")
_READ = re.compile(r"(?=.*[0-9.]|[XY])[A-Za-z0-9.]{4,7}")
_CODES = {"http://loinc.org": _LOINC, "http://read.info/readv2": _READ, "http://read.info/ctv3": _READ}

_ATOM = (
    r"m\[Hg\]|\[(?:degF|in_i|ft_i|lb_av|oz_av|drp|pH|[iI]U)\]|mol|cal|Cel|kat|[oO]sm|min|bar|deg|[eE]q|IU|Pa|Hz|Bq|Gy|Sv|cd|wk|mo"
    r"|[mgsLlKUJWNVAhdaBu]"
)
_BRACES = r"\{(?:score|dose|tablet|tbl|capsule|puff|beats|breaths|1\.73_m2|cells|copies)\}"
_PART = rf"(?:10[*^]-?\d{{1,2}}|(?:da|[YZEPTGMkhdcmunpfazy])?(?:{_ATOM})(?:-?\d)?|\d{{1,3}}|%|{_BRACES})"
_UNIT = re.compile(rf"/?{_PART}(?:[./]{_PART}){{0,5}}")

# Units as people write them, beside UCUM's own. Reviewed; a test holds the list to the words of mappings/child_health/units.yaml.
_SINGLE = (
    "tablet|capsule|caplet|sachet|suppository|pessary|lozenge|pastille|patch|puff|inhalation|inhaler|spray|drop|application|blister"
    "|dose|unit dose|vial|ampoule|syringe|pre-filled syringe|cartridge|pen|injection|bottle|tube|pack|box|carton|can|tin|bag|pot"
    "|spoonful|5ml spoonful|2.5ml spoonful|teaspoon|dressing|device|strip|lancet|needle|test|pad|swab|implant|plaster"
    "|unit|international unit|score|point|percent|cell|copy|event|episode|cigarette|glass"
    "|second|sec|minute|min|hour|hr|day|week|wk|month|mth|year|yr"
    "|gram|gramme|kilogram|kilogramme|kg|milligram|microgram|nanogram|mcg|gm"
    "|litre|liter|millilitre|milliliter|ml|decilitre|microlitre"
    "|metre|meter|centimetre|centimeter|cm|millimetre|millimeter|inch|foot|stone|pound|lb|ounce|oz"
    "|mole|millimole|micromole|kilopascal|kilocalorie|kcal|calorie|milliequivalent|meq|ppm|bpm"
)
_OTHER = (
    "suppositories|mm[hg]|pessaries|boxes|inches|feet|copies|cc|ug|iu|iu/l|iu/ml|iu/day|miu/l|u/l|mmhg|mm hg|ratio|inr|ph|l/l"
    "|ml/hr|mg/day|mcg/day"
    "|units/day|units/week|cells/ul|breaths/min|beats/min|puffs/day|cigarettes/day|l/min|per minute|per day|per week"
    "|per hour|beats per minute"
    "|breaths per minute|per cent|°c|deg c|degrees c|cel|degree celsius|degrees celsius|degreescelsius|°f|degree fahrenheit"
    "|degrees fahrenheit|millimeter of mercury|millimetres of mercury|millimetre of mercury|millimetersofmercury"
    "|kilogram per square meter"
    "|kg/m²|{score}|ml/min/1.73m2|mls|mmol/mol|x10^9/l|x10*9/l|x10^12/l|x10*12/l|10^9/l|10^12/l|g/l|mg/l|ug/l|ng/l|ng/ml"
    "|mmol/l|umol/l"
    "|nmol/l|pmol/l|µmol/l|µg/l|fl|pg|kpa|mm/hr|mm/h|s|kgs|cms|wks|hrs|mins|mg/ml|mcg/ml|mg/kg|mg/5ml|mcg/hour|mg/hour|ml/hour"
)
UNIT_WORDS = frozenset(
    {*_OTHER.split("|"), *(form for word in _SINGLE.split("|") for form in (word, f"{word}s", f"{word}(s)"))}
    | {f"{word}es" for word in ("dose", "inch", "patch")}
)

CONTENT_TYPES = frozenset(
    {
        *(
            "application/pdf",
            "application/rtf",
            "application/msword",
            "application/xml",
            "application/json",
            "application/fhir+json",
        ),
        *("application/fhir+xml", "application/dicom", "application/hl7-v2", "application/zip", "application/octet-stream"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        *(
            "text/plain",
            "text/html",
            "text/xml",
            "text/rtf",
            "text/richtext",
            "text/csv",
            "image/jpeg",
            "image/jpg",
            "image/png",
            "image/gif",
        ),
        *("image/tiff", "image/tif", "image/bmp", "audio/mpeg", "audio/wav", "audio/x-au", "video/mp4", "video/mpeg"),
    }
)
_LOT = re.compile(r"(?=.*\d)[A-Za-z0-9./-]{1,20}")
_LETTERS = re.compile(r"[A-Za-z]{6}")
_POSTCODE = re.compile(r"[A-Za-z]{1,2}\d[A-Za-z0-9]?-?\d[A-Za-z]{2}")

_OF_CODING = frozenset({"system", "code", "display", "userSelected"})
_OF_NUMBER = frozenset({"value", "comparator"})
_PAIRS = (("low", "high"), ("numerator", "denominator"))
# Verhoeff's dihedral check, as SNOMED CT uses it
_TIMES = tuple(
    tuple((row + column) % 5 + 5 * (column > 4) if row < 5 else (row - column) % 5 + 5 * (column < 5) for column in range(10))
    for row in range(10)
)
_TURNS = [tuple(range(10))]
for _ in range(7):
    _TURNS.append(tuple(_TURNS[-1][digit] for digit in (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)))


@lru_cache(maxsize=4096)
def is_of_terminology(system: str, code: str) -> bool:
    """Whether a code has the form that its system, a terminology we know, gives its codes."""
    if system in _SNOMED:
        return _is_sctid(code)
    if system == _UCUM:
        return _UNIT.fullmatch(code) is not None
    form = _CODES.get(system)
    if form is not None:
        return form.fullmatch(code) is not None
    return _OF_A_BODY.fullmatch(system) is not None and _CODE_OF_A_BODY.fullmatch(code) is not None


def coding(element: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A coding -> its system, code and display; None when no terminology vouches for it."""
    if not _is_vouched(element):
        return None
    return element if element.keys() <= _OF_CODING else {name: element[name] for name in element if name in _OF_CODING}


def is_coding(element: Mapping[str, Any], name: str) -> bool:
    """Whether an element is a coding, whatever it is called."""
    if name == "coding" or element.get("code").__class__ is str:
        return True
    return "system" in element and "value" not in element


def quantity(element: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """An amount -> its number with a unit that is vouched for; None when none of it is: a naked number is a danger."""
    left = {name: element[name] for name in ("value", "comparator") if name in element}
    unit, coded = element.get("unit"), _is_vouched(element)
    if is_unit(unit):
        left["unit"] = unit
    elif not coded and not element.keys() <= _OF_NUMBER:
        return None  # its unit may stand in an extension, too
    if coded:
        left |= {"system": element["system"], "code": element["code"]}
    return element if left == element else left if "value" in left else None


def is_quantity(element: Mapping[str, Any]) -> bool:
    """Whether an element is an amount: it has a unit, or its value is a number."""
    value = element.get("value")
    return "unit" in element or (value is not None and not isinstance(value, str | Mapping | list | tuple))


def is_unit(said: object) -> bool:
    """Whether a word is a unit: UCUM's, or one of the list of those people write."""
    return isinstance(said, str) and (said.strip().lower() in UNIT_WORDS or _UNIT.fullmatch(said.strip()) is not None)


def is_content_type(said: object) -> bool:
    """Whether a content type is a usual one; what stands after it (`; charset=`) is no part of the list."""
    return isinstance(said, str) and said in CONTENT_TYPES


def is_lot(said: object) -> bool:
    """Whether this can only be a lot number: a digit in it, no space, at most 20 characters, no word, no postcode."""
    return isinstance(said, str) and bool(_LOT.fullmatch(said)) and not _LETTERS.search(said) and not _POSTCODE.fullmatch(said)


def is_halved(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a range or a ratio has lost one of its amounts, and so says something else than it said."""
    return any(one in before and other in before and (one in after) != (other in after) for one, other in _PAIRS)


def _is_vouched(element: Mapping[str, Any]) -> bool:
    system, code = element.get("system"), element.get("code")
    return isinstance(system, str) and isinstance(code, str) and is_of_terminology(system, code)


def _is_sctid(code: str) -> bool:
    """6 to 18 digits of which the last checks the others."""
    if not (6 <= len(code) <= 18 and code.isascii() and code.isdigit() and code[0] != "0"):
        return False
    check = 0
    for place, digit in enumerate(reversed(code)):
        check = _TIMES[check][_TURNS[place % 8][int(digit)]]
    return check == 0

"""STU3 spellings -> R4 spellings: code systems and the SNOMED description extension.

Source: reference tables of GP Connect 1.6.2 and UK Core R4; HL7 Terminology (code systems moved to terminology.hl7.org).
"""

import re
from functools import lru_cache
from typing import Any, Final

from gateway.systems import UK_CORE

TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"
MOVED: Final = frozenset(  # http://hl7.org/fhir/NAME in STU3, TERMINOLOGY + NAME in R4
    {
        "allergyintolerance-clinical",
        "condition-category",
        "condition-clinical",
        "condition-ver-status",
        "data-absent-reason",
        "diagnosis-role",
        "list-empty-reason",
        "list-order",
        "location-physical-type",
        "medication-statement-category",
        "observation-category",
        "organization-type",
        "referencerange-meaning",
        "service-category",
        "service-type",
    }
)
V2_MOVED: Final = {"0078": TERMINOLOGY + "v3-ObservationInterpretation"}
CARE_CONNECT: Final = {  # the part after the last / without -1
    "CareConnect-ConditionCategory": TERMINOLOGY + "condition-category",
    "CareConnect-ListEmptyReasonCode": "https://fhir.hl7.org.uk/CodeSystem/UKCore-ListEmptyReasonCode",
    "CareConnect-SDSJobRoleName": "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName",
    "CareConnect-EthnicCategory": "https://fhir.hl7.org.uk/CodeSystem/UKCore-EthnicCategoryEngland",
    "CareConnect-NHSNumberVerificationStatus": "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland",
}
DESCRIPTION: Final = re.compile(
    r"https?://fhir\.(?:nhs|hl7\.org)\.uk/STU3/StructureDefinition/Extension-coding-sct[a-z]*id(?:-1)?", re.I
)
DESCRIPTION_STU3: Final = "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-coding-sctdescid"
DESCRIPTION_DISPLAY: Final = UK_CORE + "Extension-UKCore-CodingSCTDescDisplay"


_WELL_KNOWN: Final = {  # by its lower case: a URI with another case is another URI, and providers send some
    uri.lower(): uri
    for uri in (
        *("http://snomed.info/sct", "http://read.info/readv2", "http://read.info/ctv3", "https://dmd.nhs.uk"),
        *("http://loinc.org", "http://unitsofmeasure.org", "urn:ietf:bcp:47"),
        *(f"http://hl7.org/fhir/v3/{name}" for name in ("ActCode", "Confidentiality", "NullFlavor", "ParticipationType")),
        *(f"http://hl7.org/fhir/v2/{number}" for number in ("0074", "0078", "0443")),
        *(f"http://hl7.org/fhir/{name}" for name in sorted(MOVED)),
    )
}


@lru_cache(maxsize=4096)
def system_in_r4(system: str) -> str:
    """A code system's URI as STU3 sources spell it -> its R4 spelling; unknown ones stay, trimmed.

    >>> system_in_r4("http://hl7.org/fhir/v3/NullFlavor "), system_in_r4("HTTP://SNOMED.info/sct")
    ('http://terminology.hl7.org/CodeSystem/v3-NullFlavor', 'http://snomed.info/sct')
    """
    system = system.strip()
    system = _WELL_KNOWN.get(system.lower(), system)
    for stem, prefix in (("http://hl7.org/fhir/v3/", "v3-"), ("http://hl7.org/fhir/v2/", "v2-")):
        if system.startswith(stem):
            name = system.removeprefix(stem).strip("/")
            return V2_MOVED.get(name, TERMINOLOGY + prefix + name) if prefix == "v2-" else TERMINOLOGY + prefix + name
    name = system.removeprefix("http://hl7.org/fhir/")
    if name in MOVED:
        return TERMINOLOGY + name
    if "/CareConnect-" in system:
        own = system.rsplit("/", 1)[-1].removesuffix("-1").replace("CareConnect-GPC-", "CareConnect-")
        return CARE_CONNECT.get(own, system)
    return system


@lru_cache(maxsize=4096)
def system_in_stu3(system: str) -> str:
    """A code system's URI in R4 -> its STU3 spelling; those that STU3 spells alike stay.

    >>> system_in_stu3("http://terminology.hl7.org/CodeSystem/v3-NullFlavor")
    'http://hl7.org/fhir/v3/NullFlavor'
    """
    if not system.startswith(TERMINOLOGY):
        return system
    name = system.removeprefix(TERMINOLOGY)
    for prefix in ("v3-", "v2-"):
        if name.startswith(prefix):
            return f"http://hl7.org/fhir/{prefix[:-1]}/{name.removeprefix(prefix)}"
    return f"http://hl7.org/fhir/{name}" if name in MOVED else system


def description_in_stu3(extension: dict[str, Any]) -> dict[str, Any]:
    """UK Core's SNOMED description -> the extension STU3 has for it; any other stays."""
    if extension.get("url") != DESCRIPTION_DISPLAY:
        return extension
    inner = {"url": "descriptionDisplay", "valueString": extension.get("valueString")}
    return {"url": DESCRIPTION_STU3, "extension": [inner]}


@lru_cache(maxsize=256)
def is_description(url: str) -> bool:
    """Whether an extension holds a SNOMED description."""
    return DESCRIPTION.fullmatch(url) is not None


def description_extension(extension: dict[str, Any]) -> dict[str, Any] | None:
    """The SNOMED description extension -> UK Core's, with the text the clinician chose; None when it has no text.

    Its description id has no place in UK Core (retired 2022-08).
    """
    parts = extension.get("extension")
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, dict):
            continue
        url = part.get("url", "")
        if (url == "descriptionDisplay" or str(url).lower() == "descriptiondisplay") and part.get("valueString"):
            return {"url": DESCRIPTION_DISPLAY, "valueString": part["valueString"]}
    return None

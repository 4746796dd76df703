"""Small pieces of FHIR STU3 that more than one simulator says, and the XML form of a resource."""

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import quoteattr

SNOMED = "http://snomed.info/sct"
_DESCRIPTION = "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-coding-sctdescid"


def codeable(system: str, code: str, display: str) -> dict[str, Any]:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code, "display": display}]}


def snomed(code: str, term: str) -> dict[str, Any]:
    """A SNOMED CT concept with its description, as GP systems send it."""
    described = [{"url": "descriptionDisplay", "valueString": term}]
    return {
        "coding": [
            {"extension": [{"url": _DESCRIPTION, "extension": described}], "system": SNOMED, "code": code, "display": term}
        ]
    }


def new_id(*words: str) -> str:
    """The same words -> the same UUID, on every machine."""
    return str(uuid5(NAMESPACE_URL, "urn:sandbox:" + ":".join(words)))


def to_xml(resource: Mapping[str, Any]) -> str:
    """A resource as JSON -> its XML. The keys must already stand in the order of the specification.

    Source: FHIR STU3, "XML Representation" and "JSON Representation".
    """
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_resource(resource, namespace=True)}\n'


def _resource(resource: Mapping[str, Any], *, namespace: bool = False) -> str:
    kind = resource["resourceType"]
    inside = "".join(
        _element(name, value, resource.get("_" + name))
        for name, value in resource.items()
        if name != "resourceType" and name[0] != "_"
    )
    attribute = ' xmlns="http://hl7.org/fhir"' if namespace else ""
    return f"<{kind}{attribute}>{inside}</{kind}>"


def _element(name: str, value: Any, beside: Any = None) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        if "resourceType" in value:
            return f"<{name}>{_resource(value)}</{name}>"
        attribute = f" url={quoteattr(value['url'])}" if name == "extension" else ""
        inside = "".join(
            _element(n, v, value.get("_" + n))
            for n, v in value.items()
            if n[0] != "_" and not (name == "extension" and n == "url")
        )
        return f"<{name}{attribute}>{inside}</{name}>"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    inside = "".join(_element(n, v) for n, v in beside.items()) if isinstance(beside, dict) else ""
    return f"<{name} value={quoteattr(text)}>{inside}</{name}>" if inside else f"<{name} value={quoteattr(text)}/>"

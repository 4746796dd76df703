"""A record of a child health schema -> the STU3 message Bundle that `message_bundle` reads: header, sender, person, focus.

The record's `envelope` says whom it is about and who sends it; everything else is the focus, in the shape of STU3 JSON.
Source: NHS Digital Events Management, generic event requirements (Event-MessageHeader-1); FHIR STU3, xml.html for the order.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from gateway.adapter import SourceContractBroken, Tree
from gateway.connectors.message_bundle import ROUTING
from gateway.connectors.xml_writer import xml_of
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.systems import ODS_CODE

NO_FOCUS: Final = "a message says one thing: the record holds none, or more"
NO_SENDER: Final = "a message is sent by an organisation with an ODS code"
NO_ENVELOPE: Final = "the record does not say whom it is about, or who sends it"
FHIR: Final = "http://hl7.org/fhir"

_STU3: Final = "https://fhir.nhs.uk/STU3/"
_CHANGE: Final = _STU3 + "StructureDefinition/Extension-MessageEventType-1"
_FOCUS: Final[Mapping[str, str]] = {"immunizations": "Immunization", "encounters": "Encounter"}
_PERSON: Final = {"Immunization": "patient", "Encounter": "subject"}
_ORDER: Final[Mapping[str, tuple[str, ...]]] = {  # of elements, where XML has one
    name: tuple(words.split())
    for name, words in {
        "Bundle": "id meta type entry",
        "entry": "fullUrl resource",
        "MessageHeader": "id meta extension event timestamp source responsible focus",
        "Organization": "id identifier name",
        "Patient": "id identifier name gender birthDate",
        "Immunization": """id extension identifier status notGiven vaccineCode patient encounter date primarySource reportOrigin
            location manufacturer lotNumber expirationDate site route doseQuantity practitioner note explanation reaction
            vaccinationProtocol""",
        "Encounter": """id extension identifier status class type priority subject participant period reason location
            serviceProvider""",
        "vaccinationProtocol": "doseSequence series seriesDoses targetDisease",
        "explanation": "reason reasonNotGiven",
        "note": "time text",
        "reaction": "date reported",
        "practitioner": "role actor",
        "participant": "type period individual",
        "doseQuantity": "value comparator unit system code",
    }.items()
}
_DATA_TYPES: Final = (
    *("extension", "use", "type", "coding", "system", "version", "value", "code", "display", "userSelected", "text"),
    *("family", "given", "start", "end", "reference", "identifier"),
)


def message_of(record: Tree) -> dict[str, Tree]:
    """A record -> its message as STU3 JSON. Raises `SourceContractBroken` for one that is no message."""
    envelope = record.get("envelope") if isinstance(record, dict) else None
    if not isinstance(envelope, dict) or not {"nhs_number", "birth_date", "sender", "sent_at"} <= envelope.keys():
        raise SourceContractBroken(NO_ENVELOPE)
    kind, focus = _focus(record)
    if not str(envelope["sender"]).startswith("ods:"):
        raise SourceContractBroken(NO_SENDER)
    key = str(record["message"])
    urls = {part: f"urn:uuid:{_id(key, part)}" for part in ("header", "organisation", "patient", "focus")}
    resources = {
        "header": _header(record, envelope, urls),
        "organisation": _organisation(envelope, urls),
        "patient": _patient(envelope, urls),
        "focus": {
            "resourceType": kind,
            "id": _bare(urls["focus"]),
            **{name: part for name, part in focus.items() if name != "key"},
            _PERSON[kind]: {"reference": urls["patient"]},
        },
    }
    return {
        "resourceType": "Bundle",
        "id": _id(key, "bundle"),
        "meta": {"lastUpdated": envelope["sent_at"]},
        "type": "message",
        "entry": [{"fullUrl": urls[part], "resource": _sorted(body, body["resourceType"])} for part, body in resources.items()],
    }


def message_xml(record: Tree) -> bytes:
    """A record -> its message as XML. Raises `SourceContractBroken`."""
    message = message_of(record)
    return xml_of(_as_xml(message), root="Bundle", namespace=FHIR)


def _focus(record: Mapping[str, Tree]) -> tuple[str, dict[str, Tree]]:
    found = [(kind, one) for name, kind in _FOCUS.items() for one in record.get(name, ())]
    if len(found) != 1:
        raise SourceContractBroken(NO_FOCUS)
    return found[0]


def _header(record: Mapping[str, Tree], envelope: Mapping[str, Any], urls: Mapping[str, str]) -> dict[str, Tree]:
    names = {name: envelope[name] for name in ("family", "given") if name in envelope}
    routing: list[dict[str, Tree]] = [
        {"url": "nhsNumber", "valueIdentifier": {"system": NHS_NUMBER, "value": envelope["nhs_number"]}},
        *([{"url": "name", "valueHumanName": names}] if names else []),
        {"url": "birthDateTime", "valueDateTime": envelope["birth_date"]},
    ]
    coding = {"system": _STU3 + "CodeSystem/MessageEventType-1", "code": record["change"]}
    return {
        "resourceType": "MessageHeader",
        "id": _bare(urls["header"]),
        "meta": {"lastUpdated": envelope["sent_at"], "profile": [_STU3 + "StructureDefinition/Event-MessageHeader-1"]},
        "extension": [
            {"url": ROUTING, "extension": routing},
            {"url": _CHANGE, "valueCodeableConcept": {"coding": [coding]}},
        ],
        "event": {"system": _STU3 + "CodeSystem/EventType-1", "code": record["event"]},
        "timestamp": envelope["sent_at"],
        "source": {"name": "Shared care gateway", "endpoint": f"urn:nhs-uk:addressing:ods:{_ods(envelope)}"},
        "responsible": {"reference": urls["organisation"]},
        "focus": [{"reference": urls["focus"]}],
    }


def _organisation(envelope: Mapping[str, Any], urls: Mapping[str, str]) -> dict[str, Tree]:
    identifier = {"system": ODS_CODE, "value": _ods(envelope)}
    return {"resourceType": "Organization", "id": _bare(urls["organisation"]), "identifier": [identifier]}


def _patient(envelope: Mapping[str, Any], urls: Mapping[str, str]) -> dict[str, Tree]:
    names = {name: envelope[name] for name in ("family", "given") if name in envelope}
    return {
        "resourceType": "Patient",
        "id": _bare(urls["patient"]),
        "identifier": [{"system": NHS_NUMBER, "value": envelope["nhs_number"]}],
        **({"name": [{"use": "official", **names}]} if names else {}),
        "birthDate": envelope["birth_date"],
    }


def _ods(envelope: Mapping[str, Any]) -> str:
    return str(envelope["sender"]).removeprefix("ods:")


def _id(key: str, part: str) -> str:
    """One delivery, one set of ids: a repeat is the same message, and is known for it."""
    return str(uuid5(NAMESPACE_URL, f"urn:shared-care-gateway:delivery:{key}:{part}"))


def _bare(url: str) -> str:
    return url.removeprefix("urn:uuid:")


def _sorted(value: Any, around: str) -> Any:
    """A tree with its elements in the order STU3 has them, below the element or resource around it."""
    if isinstance(value, list):
        return [_sorted(one, around) for one in value]
    if not isinstance(value, dict):
        return value
    order = _ORDER.get(around, _DATA_TYPES)
    names = sorted(value, key=lambda name: order.index(name) if name in order else len(order) if name != "resourceType" else -1)
    return {name: _sorted(value[name], name) for name in names}


def _as_xml(value: Any, name: str = "") -> Any:
    """STU3 JSON -> the tree of its XML: a primitive is an attribute, a resource an element inside its own."""
    if isinstance(value, list):
        return [_as_xml(one, name) for one in value]
    if not isinstance(value, dict):
        return {"@value": value}
    inside: dict[str, Any] = {}
    for part, one in value.items():
        if part == "url" and name == "extension":
            inside["@url"] = one
        elif part != "resourceType":
            inside[part] = _as_xml(one, part)
    return {value["resourceType"]: inside} if "resourceType" in value and name == "resource" else inside

"""A FHIR STU3 message, XML or JSON -> one plain tree in the shape of STU3 JSON.

XML says neither what repeats nor what is a number, so the two tables below do, for the resource types this reader knows.
A resource of any other type keeps its type and id alone: nothing of it is read, and its presence can still be accounted for.
Source: FHIR STU3 (3.0.2), xml.html and json.html.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from lxml import etree

from gateway.adapter import SourceContractBroken, Tree
from gateway.connectors.drop import text_of

MAX_DEPTH: Final = 40
_strict: Final = msgspec.json.Decoder(float_hook=Decimal).decode


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN: Final = _names(
    """AllergyIntolerance Bundle CarePlan CareTeam Communication Condition DiagnosticReport Encounter EpisodeOfCare Immunization
    Location Medication MedicationStatement MessageHeader Observation Organization Patient Practitioner PractitionerRole Procedure
    QuestionnaireResponse RelatedPerson Specimen"""
)

_NS: Final = "{http://hl7.org/fhir}"
_REPEATS: Final = _names(  # elements that repeat wherever the known types have them
    """account appliesTo basedOn classHistory coding communication component contained diagnosis entry episodeOfCare extension
    focus generalPractitioner given incomingReferral line link modifierExtension note participant performer prefix profile
    qualification reaction reasonNotGiven referenceRange related security specialty statusHistory suffix tag targetDisease
    telecom vaccinationProtocol"""
)
_REPEATS_IN: Final[Mapping[str, frozenset[str]]] = {  # elements that repeat below these parents and nowhere else
    parent: _names(names)
    for parent, names in {
        "MessageHeader": "destination",
        "Patient": "identifier name address contact photo",
        "contact": "relationship",
        "Organization": "identifier type address contact endpoint",
        "Practitioner": "identifier name address photo",
        "PractitionerRole": "identifier code location healthcareService endpoint availableTime notAvailable",
        "qualification": "identifier",
        "Location": "identifier endpoint",
        "Encounter": "identifier type reason location",
        "participant": "type",
        "Immunization": "identifier practitioner",
        "explanation": "reason",
        "Observation": "identifier category",
        "Procedure": """identifier definition bodySite complication complicationDetail focalDevice followUp partOf reasonCode
            reasonReference report usedCode usedReference""",
        "DiagnosticReport": "identifier codedDiagnosis image imagingStudy presentedForm result specimen",
        "EpisodeOfCare": "identifier referralRequest team type",
        "QuestionnaireResponse": "item parent",
        "item": "answer item",
        "answer": "item",
        "Condition": "identifier bodySite category evidence",
        "stage": "assessment",
        "evidence": "code detail",
        "AllergyIntolerance": "identifier category",
        "reaction": "manifestation",
        "MedicationStatement": "identifier partOf derivedFrom reasonNotTaken reasonCode reasonReference dosage",
        "dosage": "additionalInstruction",
        "Medication": "ingredient image",
        "Specimen": "identifier parent request container processing",
        "CareTeam": "identifier category managingOrganization reasonCode reasonReference",
        "CarePlan": "identifier definition replaces category author careTeam addresses supportingInfo goal activity",
        "Communication": "identifier category definition medium partOf payload reasonCode reasonReference recipient topic",
        "RelatedPerson": "identifier name address photo",
        "hospitalization": "dietPreference specialArrangement specialCourtesy",
    }.items()
}
_BOOLEANS: Final = _names(
    """active allDay asNeededBoolean deceasedBoolean isBrand isOverTheCounter multipleBirthBoolean notDone notGiven preferred
    primarySource reported userSelected valueBoolean"""
)
_INTEGERS: Final = _names(
    """doseSequence multipleBirthInteger rank sequence seriesDoses total valueInteger valuePositiveInt valueUnsignedInt"""
)
_QUANTITIES: Final = _names("""doseQuantity valueQuantity low high numerator denominator length""")


def read_stu3(body: bytes) -> Tree:
    """A file -> the tree of its one resource. Raises `SourceContractBroken` for anything but sound FHIR XML or JSON."""
    text = text_of(body).lstrip()
    if text.startswith("{"):
        return _known(_json(text))
    if text.startswith("<"):
        return _known(_xml(text))
    raise SourceContractBroken("neither XML nor JSON")


def depth_of(tree: Tree) -> int:
    """How deep a tree is nested, found without recursion."""
    deepest, waiting = 0, [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        deepest = max(deepest, depth)
        children: Iterable[Tree] = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        waiting.extend([(child, depth + 1) for child in children if isinstance(child, dict | list)])
    return deepest


def _json(text: str) -> Tree:
    try:
        tree = json.loads(text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_no_twice)
        _strict(text)  # it refuses half a surrogate pair, which json lets through and no store can keep
    except (ValueError, ArithmeticError, RecursionError):  # the second: a number beyond what any decimal holds
        raise SourceContractBroken("not sound JSON") from None
    if depth_of(tree) > 2 * MAX_DEPTH:  # JSON nests a list and its object where XML has one element
        raise SourceContractBroken("nested too deep")
    return _uncommented(tree) if "fhir_comments" in text else tree


def _no_constant(_: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice in one object")
    return found


def _known(bundle: Tree) -> Tree:
    """The same bundle, with resources of unread types reduced to their type and id, and narrative dropped."""
    if not isinstance(bundle, dict) or not isinstance(bundle.get("entry", []), list):
        raise SourceContractBroken("not a FHIR resource")
    entries = []
    for entry in bundle.get("entry", []):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
            raise SourceContractBroken("an entry without a resource")
        kept = (
            resource if resource["resourceType"] in KNOWN else {k: resource[k] for k in ("resourceType", "id") if k in resource}
        )
        entries.append({**entry, "resource": {name: value for name, value in kept.items() if name != "text"}})
    return {**bundle, "entry": entries}


def _uncommented(node: Tree) -> Tree:
    """The same without `fhir_comments`, which older tools leave in JSON where XML has comments: nobody's data."""
    if isinstance(node, list):
        return [_uncommented(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _uncommented(value) for name, value in node.items() if name != "fhir_comments"}
    return {
        name: value for name, value in kept.items() if value != {} or node[name] == {}
    }  # `_status`, which held a comment alone


def _xml(text: str) -> Tree:
    if "<!DOCTYPE" in text.upper():
        raise SourceContractBroken("a DOCTYPE is refused")
    if text.startswith("<?xml"):  # it is text now: what it says of its encoding no longer holds
        text = text.partition("?>")[2].lstrip()
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(text.encode("utf-8"), parser)
    except etree.XMLSyntaxError:
        raise SourceContractBroken("not sound XML") from None
    return _resource(root, 1)


def _resource(element: "etree._Element", depth: int) -> dict[str, Tree]:
    name = _name(element)
    if name in KNOWN:
        return {"resourceType": name, **_parts(element, name, depth)}
    ids = [child.get("value") for child in element if _name(child) == "id"]
    return {"resourceType": name, **({"id": ids[0]} if ids else {})}


def _parts(element: "etree._Element", context: str, depth: int) -> dict[str, Tree]:
    if depth > MAX_DEPTH:
        raise SourceContractBroken("nested too deep")
    found: dict[str, Tree] = {}
    for attribute in ("id", "url"):
        if attribute in element.attrib:
            found[attribute] = str(element.attrib[attribute])
    for child in element:
        name = _name(child)
        if name in ("text", "div") and context in KNOWN:  # narrative is never read
            continue
        _add(found, context, name, child, depth + 1)
    return found


def _add(found: dict[str, Tree], context: str, name: str, child: "etree._Element", depth: int) -> None:
    value: Tree
    extra: Tree = None
    if name in ("resource", "contained"):
        if len(child) != 1:
            raise SourceContractBroken("an entry without a resource")
        value = _resource(child[0], depth)
    elif "value" in child.attrib:
        value = _primitive(context, name, str(child.attrib["value"]))
        extra = _parts(child, name, depth) or None
    else:
        value = _parts(child, name, depth)
        if not value:
            raise SourceContractBroken("an empty element")
    if name in _REPEATS or name in _REPEATS_IN.get(context, ()):
        found.setdefault(name, []).append(value)
        return
    if name in found:
        raise SourceContractBroken("an element repeats that may not")
    found[name] = value
    if extra:
        found["_" + name] = extra


def _primitive(context: str, name: str, text: str) -> Tree:
    try:
        if name in _BOOLEANS:
            return {"true": True, "false": False}[text]
        if name in _INTEGERS:
            return int(text)
        if name == "valueDecimal" or (name == "value" and context in _QUANTITIES):
            number = Decimal(text)
            if number.is_finite():
                return number
            raise InvalidOperation
    except (KeyError, ValueError, InvalidOperation):
        raise SourceContractBroken("a number or boolean that is none") from None
    return text


def _name(element: "etree._Element") -> str:
    tag = element.tag
    if not isinstance(tag, str) or not (tag.startswith(_NS) or tag.endswith("}div")):
        raise SourceContractBroken("an element that is not FHIR's")
    return tag.rpartition("}")[2]

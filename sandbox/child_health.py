"""The child health service: STU3 messages as NEMS publishes them, delivered as files, some XML and some JSON.

Events: vaccinations-1, observations-1 (what was measured at a mandated review), professional-contacts-1, and for some children
those of `child_events`. Beside the good ones: an older and a repeated message, a deletion, one whose header and body name
different children, one of an event that the gateway does not take, and one that asks a service to act.
Source: NHS Digital Events Management, generic event requirements; Digital Child Health STU3 profiles.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from sandbox.child_events import RECORD, Told, blood_spot, demographics, early_years, failsafe, feeding, hearing
from sandbox.families import BY_KEY, COMMUNITY, INVALIDATED, NAMES, PEOPLE, Person
from sandbox.stu3 import SNOMED, codeable, new_id, to_xml

_NHS = "https://fhir.nhs.uk/STU3/StructureDefinition/"
_UK = "https://fhir.hl7.org.uk/STU3/StructureDefinition/"
_NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
_OURS = "https://child-health.sandbox.invalid/id"
_JABS = (
    ("six-in-one", 57, "1082441000000108", "First hexavalent vaccination", "HX4471", "76902006", "Tetanus"),
    ("mmr", 372, "308081000000105", "First measles, mumps and rubella vaccination", "MM8812", "14189004", "Measles"),
)
_REVIEW = ("0021", "1 Year Review", 365)


@dataclass(frozen=True, slots=True)
class Letter:
    """One message ready to be delivered: its file name says nothing of whom it is about."""

    name: str
    bundle: dict[str, Any]

    def body(self) -> bytes:
        """XML or JSON, as the name says."""
        return to_xml(self.bundle).encode() if self.name.endswith(".xml") else json.dumps(self.bundle).encode()


def delivered(now: datetime) -> Iterator[Letter]:
    """Every message, and one of today, since a service that has been silent for a week is stale."""
    yield from letters()
    yield _letter(_contact(BY_KEY["ben"], told=now), ".json")


def letters() -> Iterator[Letter]:
    """Everything the service has published, good and odd."""
    for place, person in enumerate(PEOPLE):
        if "child-health" not in person.known_to or person.nhs_number in INVALIDATED:
            continue
        suffix = ".xml" if place % 2 == 0 else ".json"
        for jab in _JABS:
            yield _letter(_vaccination(person, jab), suffix)
        yield _letter(_review(person), suffix)
        yield _letter(_contact(person), suffix)
    amara, ben = BY_KEY["amara"], BY_KEY["ben"]
    good = _vaccination(amara, _JABS[0])
    yield Letter("repeated-" + _letter(good, ".xml").name, good)  # NEMS promises no "exactly once"
    yield _letter(_vaccination(amara, _JABS[0], lot="OLD001", hours=-2, key="older"), ".xml")  # nor any order
    yield _letter(_vaccination(ben, _JABS[1], change="delete", hours=24, key="deleted"), ".json")
    yield _letter(_vaccination(BY_KEY["grace"], _JABS[0], key="mixed-up", header=BY_KEY["hugo"]), ".xml")
    yield _letter(_told(ben, blood_spot), ".xml")
    yield _letter(_told(ben, hearing), ".json")
    yield _letter(_told(ben, feeding), ".xml")
    yield _letter(_told(amara, lambda person, at: early_years(person, at, consent="Y")), ".xml")
    yield _letter(_told(BY_KEY["jonah"], lambda person, at: early_years(person, at, consent="N")), ".json")
    for place, tell in enumerate(RECORD):
        yield _letter(_told(ben, tell), ".json" if place % 2 else ".xml")
    yield _letter(_told(BY_KEY["grace"], failsafe), ".xml")
    yield _letter(_told(BY_KEY["grace"], demographics), ".json")


def _letter(bundle: dict[str, Any], suffix: str) -> Letter:
    return Letter(bundle["entry"][0]["resource"]["id"] + suffix, bundle)


def _vaccination(
    person: Person,
    jab: tuple[str, int, str, str, str, str, str],
    *,
    lot: str = "",
    change: str = "new",
    hours: int = 0,
    key: str = "",
    header: Person | None = None,
) -> dict[str, Any]:
    name, days, code, term, batch, disease, disease_term = jab
    on = _at(person, days)
    refused = person.key == "jonah" and name == "mmr"
    focus = _id(person, name)
    immunization: dict[str, Any] = {
        "resourceType": "Immunization",
        "id": focus,
        "meta": {"profile": [_UK + "CareConnect-DCH-Immunization-1"]},
        "extension": [
            {"url": _UK + "Extension-CareConnect-DateRecorded-1", "valueDateTime": on.isoformat()},
            {"url": _UK + "Extension-CareConnect-VaccinationProcedure-1", "valueCodeableConcept": codeable(SNOMED, code, term)},
        ],
        "identifier": [{"system": _OURS + "/immunization", "value": focus}],
        "status": "completed",
        "notGiven": refused,
        "vaccineCode": codeable(
            "http://hl7.org/fhir/v3/NullFlavor", "NA" if refused else "UNK", "not applicable" if refused else "unknown"
        ),
        "patient": {"reference": "urn:uuid:" + _id(person, "patient")},
        "date": on.date().isoformat(),
        "primarySource": True,
    }
    if refused:
        immunization["explanation"] = {"reasonNotGiven": [codeable(SNOMED, "310376006", "Immunisation consent not given")]}
    else:
        immunization |= {
            "location": {"reference": "urn:uuid:" + new_id("clinic")},
            "lotNumber": lot or batch,
            "practitioner": [{"actor": {"reference": "urn:uuid:" + new_id("visitor")}}],
            "vaccinationProtocol": [
                {
                    "doseSequence": 1,
                    "targetDisease": [codeable(SNOMED, disease, disease_term)],
                    "doseStatus": codeable("http://hl7.org/fhir/vaccination-protocol-dose-status", "count", "Counts"),
                }
            ],
        }
    about = ("vaccinations-1", "Vaccinations", focus, on + timedelta(hours=hours), change, name + key)
    return _message(person, about, [immunization], header=header)


def _review(person: Person) -> dict[str, Any]:
    code, term, days = _REVIEW
    at = _at(person, days)
    focus = _id(person, "review")
    patient, visit = {"reference": "urn:uuid:" + _id(person, "patient")}, {"reference": "urn:uuid:" + focus}
    encounter = {
        "resourceType": "Encounter",
        "id": focus,
        "meta": {"profile": [_NHS + "CareConnect-DCH-Encounter-1"]},
        "identifier": [{"system": _OURS + "/encounter", "value": focus}],
        "status": "finished",
        "type": [codeable("https://fhir.nhs.uk/STU3/CodeSystem/DCH-ChildHealthEncounterType-1", code, term)],
        "subject": patient,
        "period": {"start": at.isoformat(), "end": (at + timedelta(minutes=40)).isoformat()},
        "location": [{"location": {"reference": "urn:uuid:" + new_id("clinic")}}],
        "serviceProvider": {"reference": "urn:uuid:" + new_id("trust")},
    }
    measured = (
        ("weight", "29463-7", "27113001", "Body weight", 9.4, "kilogram", "kg"),
        ("length", "8306-3", "248334005", "Length of body", 74.5, "centimeter", "cm"),
        ("head", "8287-5", "363812007", "Head circumference", 46.1, "centimeter", "cm"),
    )
    observations = [
        {
            "resourceType": "Observation",
            "id": _id(person, "review-" + name),
            "identifier": [{"system": _OURS + "/observation", "value": _id(person, "review-" + name)}],
            "status": "final",
            "category": [{"coding": [{"system": "http://hl7.org/fhir/observation-category", "code": "vital-signs"}]}],
            "code": {
                "coding": [{"system": "http://loinc.org", "code": loinc}, {"system": SNOMED, "code": snomed, "display": display}]
            },
            "subject": patient,
            "context": visit,
            "effectiveDateTime": at.isoformat(),
            "performer": [{"reference": "urn:uuid:" + new_id("visitor")}],
            "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": ucum},
        }
        for name, loinc, snomed, display, value, unit, ucum in measured
    ]
    return _message(person, ("observations-1", "Observations", focus, at, "new", "review"), [encounter, *observations])


def _contact(person: Person, *, told: datetime | None = None) -> dict[str, Any]:
    at = _at(person, 14)
    focus = _id(person, "contact")
    episode = {
        "resourceType": "EpisodeOfCare",
        "id": focus,
        "meta": {"profile": [_NHS + "DCH-ProfessionalContact-EpisodeOfCare-1"]},
        "identifier": [{"system": _OURS + "/episode", "value": focus}],
        "status": "active",
        "type": [codeable(SNOMED, "1078501000000104", "Health visiting service")],
        "patient": {"reference": "urn:uuid:" + _id(person, "patient")},
        "managingOrganization": {"reference": "urn:uuid:" + new_id("trust")},
        "period": {"start": at.date().isoformat()},
    }
    about = ("professional-contacts-1", "Professional Contacts", focus, told or at, "update" if told else "new")
    return _message(person, (*about, "contact-again" if told else "contact"), [episode])


def _told(person: Person, tell: Callable[[Person, datetime], Told]) -> dict[str, Any]:
    _, _, days, _ = tell(person, _at(person, 0))
    at = _at(person, days)
    event, title, _, resources = tell(person, at)
    return _message(person, (event, title, resources[0]["id"], at, "new", event), resources)


def _message(
    person: Person,
    about: tuple[str, str, str, datetime, str, str],
    resources: list[dict[str, Any]],
    *,
    header: Person | None = None,
) -> dict[str, Any]:
    event, title, focus, at, change, key = about
    named = header or person
    identity = {"system": _NHS_NUMBER, "value": named.nhs_number}
    demographics = [
        {"url": "nhsNumber", "valueIdentifier": identity},
        {"url": "name", "valueHumanName": {"use": "official", "family": named.family.upper(), "given": [named.given]}},
        {"url": "birthDateTime", "valueDateTime": named.birth_date.isoformat()},
    ]
    kind = codeable("https://fhir.nhs.uk/STU3/CodeSystem/MessageEventType-1", change, f"{change.capitalize()} event message")
    head = {
        "resourceType": "MessageHeader",
        "id": _id(person, "message-" + key),
        "meta": {"versionId": "1", "lastUpdated": at.isoformat(), "profile": [_NHS + "Event-MessageHeader-1"]},
        "extension": [
            {"url": _NHS + "Extension-RoutingDemographics-1", "extension": demographics},
            {"url": _NHS + "Extension-MessageEventType-1", "valueCodeableConcept": kind},
        ],
        "event": {"system": "https://fhir.nhs.uk/STU3/CodeSystem/EventType-1", "code": event, "display": title},
        "timestamp": at.isoformat(),
        "source": {
            "name": "Sandbox child health system",
            "contact": {"system": "phone", "value": "01632960202"},
            "endpoint": "urn:nhs:addressing:asid:200000099902",
        },
        "responsible": {"reference": "urn:uuid:" + new_id("trust"), "display": NAMES[COMMUNITY]},
        "focus": [{"reference": "urn:uuid:" + focus}],
    }
    entries = [head, *_around(person), *resources]
    return {
        "resourceType": "Bundle",
        "id": _id(person, "bundle-" + key),
        "meta": {"profile": [_NHS + "DCH-Bundle-1"]},
        "type": "message",
        "entry": [{"fullUrl": "urn:uuid:" + resource["id"], "resource": resource} for resource in entries],
    }


def _around(person: Person) -> list[dict[str, Any]]:
    verified = codeable(
        "https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-NHSNumberVerificationStatus-1", "01", "Number present and verified"
    )
    extension = [{"url": _UK + "Extension-CareConnect-NHSNumberVerificationStatus-1", "valueCodeableConcept": verified}]
    return [
        {
            "resourceType": "Organization",
            "id": new_id("trust"),
            "meta": {"profile": [_UK + "CareConnect-Organization-1"]},
            "identifier": [{"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": COMMUNITY}],
            "name": NAMES[COMMUNITY],
            "telecom": [{"system": "phone", "value": "01632960202", "use": "work"}],
        },
        {
            "resourceType": "Patient",
            "id": _id(person, "patient"),
            "meta": {"profile": [_NHS + "CareConnect-DCH-Patient-1"]},
            "identifier": [{"extension": extension, "system": _NHS_NUMBER, "value": person.nhs_number}],
            "name": [{"use": "official", "family": person.family.upper(), "given": [person.given]}],
            "gender": person.gender,
            "birthDate": person.birth_date.isoformat(),
        },
        {
            "resourceType": "Practitioner",
            "id": new_id("visitor"),
            "meta": {"profile": [_NHS + "CareConnect-DCH-Practitioner-1"]},
            "identifier": [{"system": "https://fhir.nhs.uk/Id/sds-user-id", "value": "555000000202"}],
            "name": [{"family": "Placeholder", "given": ["Sam"]}],
        },
        {
            "resourceType": "Location",
            "id": new_id("clinic"),
            "meta": {"profile": [_UK + "CareConnect-Location-1"]},
            "identifier": [{"system": "https://fhir.nhs.uk/Id/ods-site-code", "value": COMMUNITY + "01"}],
            "name": "Meadowvale Health Centre",
        },
    ]


def _at(person: Person, days: int) -> datetime:
    return datetime.combine(person.birth_date + timedelta(days=days), time.fromisoformat("10:00:00+00:00"))


def _id(person: Person, name: str) -> str:
    return new_id("child-health", person.key, name)

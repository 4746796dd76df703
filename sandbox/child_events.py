"""What else a child health service tells of a child: newborn screening, feeding, early years progress, the record, warnings.

Each is (event code, its title, days after birth, the resources), the focus first. `child_health` puts them into messages.
Source: Digital Child Health STU3 profiles.
"""

from datetime import datetime
from typing import Any

from sandbox.families import Person
from sandbox.stu3 import SNOMED, codeable, new_id

Told = tuple[str, str, int, list[dict[str, Any]]]

_OURS = "https://child-health.sandbox.invalid/id"
_DCH = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-"
_SPOTS = (
    ("314081000", "Phenylketonuria screening test", "429106008", "Phenylketonuria not suspected"),
    ("171191008", "Cystic fibrosis screening test", "8", "suspected"),  # a laboratory's own status code, not SNOMED
)
_EARS = (
    ("right", "446077009", "1085501000000100", "Automated otoacoustic emission test right ear clear response"),
    ("left", "446077009", "1085491000000106", "Automated otoacoustic emission test left ear clear response"),
)


def blood_spot(person: Person, at: datetime) -> Told:
    """The outcome of the blood spot test, its codes under the system that NEMS gives them."""
    visit = _visit(person, at, "spot-visit", "008", "Blood Spot")
    report = {
        **_known(person, "spot-report", "DiagnosticReport"),
        "status": "final",
        "code": codeable(SNOMED, "863571000000105", "Child screening report"),
        "subject": _child(person),
        "context": _to(visit),
        "issued": at.isoformat(),
    }
    tests = [
        {
            **_known(person, "spot-" + test, "Procedure"),
            "status": "completed",
            "code": codeable(SNOMED, test, term),
            "subject": _child(person),
            "context": _to(visit),
            "outcome": codeable(_DCH + "BloodSpotOutcome-1", code, outcome),
            "report": [_to(report)],
        }
        for test, term, code, outcome in _SPOTS
    ]
    return "blood-spot-test-outcome-1", "Blood Spot Test Outcome", 20, [visit, *tests, report]


def hearing(person: Person, at: datetime) -> Told:
    """The newborn hearing screen: one test for each ear, and what they come to."""
    visit = _visit(person, at, "hearing-visit", "007", "Newborn Hearing")
    tests = [
        {
            **_known(person, "hearing-" + side, "Procedure"),
            "status": "completed",
            "code": codeable(SNOMED, code, "Automated otoacoustic emission test"),
            "subject": _child(person),
            "context": _to(visit),
            "performedDateTime": at.isoformat(),
            "outcome": codeable(SNOMED, outcome, term),
        }
        for side, code, outcome, term in _EARS
    ]
    whole = {
        **_known(person, "hearing-outcome", "Observation"),
        "status": "final",
        "code": codeable(SNOMED, "276771000000107", "Newborn hearing screening programme outcome"),
        "subject": _child(person),
        "context": _to(visit),
        "effectiveDateTime": at.isoformat(),
        "valueCodeableConcept": codeable(SNOMED, "276781000000109", "Clear response, no follow up required"),
    }
    return "newborn-hearing-1", "Newborn Hearing", 21, [visit, *tests, whole]


def feeding(person: Person, at: datetime) -> Told:
    """How the baby is fed, asked at the new baby review."""
    visit = _visit(person, at, "feeding-visit", "0023", "New Baby HV Review")
    status = {
        "system": "https://fhir.nhs.uk/STU3/CodeSystem/NHSDataDictionary-BreastfeedingStatus-1",
        "code": "02",
        "display": "Partially breast milk feeding",
    }
    asked = [{"linkId": "feedingStatus", "text": "Feeding status of the baby", "answer": [{"valueCoding": status}]}]
    return "feeding-status-1", "Feeding Status", 12, [visit, _form(person, at, "feeding", visit, asked)]


def early_years(person: Person, at: datetime, *, consent: str) -> Told:
    """Early years progress at two, which goes on only where a parent said yes."""
    visit = _visit(person, at, "progress-visit", "0019", "2 to 2.5 Year Early Years Progress")
    said = {"system": _DCH + "ParentalConsentToShareInformation-1", "code": consent}
    asked = [
        {"linkId": "parentalConsent", "text": "Parental consent to share information", "answer": [{"valueCoding": said}]},
        {
            "linkId": "physicalDevelopment",
            "text": "Physical development",
            "answer": [{"valueString": "Runs and climbs steadily."}],
        },
    ]
    return "early-years-progress-1", "Early Years Progress", 740, [visit, _form(person, at, "progress", visit, asked)]


def allergies(person: Person, at: datetime) -> Told:
    """What the child must not be given, as the service heard it."""
    visit = _visit(person, at, "allergy-visit", "0026", "Ad-hoc Review")
    known = {
        **_known(person, "allergy", "AllergyIntolerance"),
        "clinicalStatus": "active",
        "verificationStatus": "confirmed",
        "type": "allergy",
        "code": codeable(SNOMED, "102263004", "Eggs (edible)"),
        "patient": _child(person),
        "assertedDate": at.date().isoformat(),
        "reaction": [{"manifestation": [codeable(SNOMED, "271807003", "Eruption of skin")], "severity": "mild"}],
    }
    return "CH003", "Allergies and Adverse Reactions", 200, [visit, known]


def medicines(person: Person, at: datetime) -> Told:
    """A medicine that the child takes: the statement points at what it is."""
    visit = _visit(person, at, "medicine-visit", "0026", "Ad-hoc Review")
    what = {
        "resourceType": "Medication",
        "id": new_id("child-health", person.key, "emollient"),
        "code": codeable(SNOMED, "322246006", "Paracetamol 100mg/ml oral solution sugar free"),
    }
    takes = {
        **_known(person, "medicine", "MedicationStatement"),
        "status": "active",
        "medicationReference": _to(what),
        "effectivePeriod": {"start": at.date().isoformat()},
        "subject": _child(person),
        "taken": "unk",
        "dosage": [{"text": "As needed"}],
    }
    return "CH019", "Medication Statement", 210, [visit, takes, what]


def problems(person: Person, at: datetime) -> Told:
    """A problem that was over when it was written down."""
    visit = _visit(person, at, "problem-visit", "0026", "Ad-hoc Review")
    had = {
        **_known(person, "problem", "Condition"),
        "code": codeable(SNOMED, "91175000", "Seizure"),
        "subject": _child(person),
        "context": _to(visit),
        "onsetDateTime": at.date().isoformat(),
        "abatementDateTime": at.date().isoformat(),
        "assertedDate": at.isoformat(),
    }
    return "CH008", "Problem List", 220, [visit, had]


def needs(person: Person, at: datetime) -> Told:
    """What a family needs so that it can be spoken with."""
    visit = _visit(person, at, "needs-visit", "0023", "New Baby HV Review")
    asked = [
        {
            "linkId": "communicationSupport",
            "text": "Communication support",
            "answer": [{"valueCoding": {"system": SNOMED, "code": "315594003", "display": "Interpreter needed"}}],
        }
    ]
    comment = {
        **_known(person, "needs-comment", "Communication"),
        "status": "completed",
        "subject": _child(person),
        "sent": at.date().isoformat(),
        "payload": [{"contentString": "Grandmother prefers to be called in the morning."}],
    }
    return "CH016", "Individual Requirements", 13, [visit, _form(person, at, "needs", visit, asked), comment]


def circumstances(person: Person, at: datetime) -> Told:
    """Life at home: what it says of others is not for everybody who may know the rest."""
    visit = _visit(person, at, "circumstances-visit", "0023", "New Baby HV Review")
    never = {"system": SNOMED, "code": "266919005", "display": "Never smoked tobacco"}
    asked = [
        {"linkId": "smokingStatus", "text": "Smoking status", "answer": [{"valueCoding": never}]},
        {"linkId": "lifestyle", "text": "Lifestyle", "answer": [{"valueString": "Uncle Placeholder smokes indoors."}]},
    ]
    return "social-context-1", "Social Context", 14, [visit, _form(person, at, "circumstances", visit, asked)]


def card_received(person: Person, at: datetime) -> Told:
    """The blood spot card has reached the laboratory."""
    visit = _visit(person, at, "card-visit", "008", "Blood Spot")
    card = {**_known(person, "card", "Specimen"), "subject": _child(person), "receivedTime": at.isoformat()}
    return "blood-spot-card-received-1", "Blood Spot Card Received", 9, [visit, card]


def birth_details(person: Person, at: datetime) -> Told:
    """What was measured at the birth."""
    visit = _visit(person, at, "birth-visit", "003", "Birth")
    weight = {
        **_known(person, "birth-weight", "Observation"),
        "status": "final",
        "code": codeable(SNOMED, "364589006", "Birth weight"),
        "subject": _child(person),
        "context": _to(visit),
        "effectiveDateTime": at.isoformat(),
        "valueQuantity": {"value": 3410, "unit": "gram", "system": "http://unitsofmeasure.org", "code": "g"},
    }
    return "birth-details-1", "Birth Details", 0, [visit, weight]


def household(person: Person, at: datetime) -> Told:
    """Those the child lives with, by what was asked of the home."""
    visit = _visit(person, at, "household-visit", "0023", "New Baby HV Review")
    smoker = {"system": SNOMED, "code": "94151000119101", "display": "Smoker in household"}
    works = {"system": _DCH + "EmploymentStatus-1", "code": "1", "display": "Employed"}
    asked = [
        {"linkId": "householdSmokingStatus", "text": "Household smoking status", "answer": [{"valueCoding": smoker}]},
        {"linkId": "employmentStatusCareGiver1", "text": "Employment status (care giver 1)", "answer": [{"valueCoding": works}]},
    ]
    return "social-context-household-1", "Social Context Household", 14, [visit, _form(person, at, "household", visit, asked)]


def contacts(person: Person, at: datetime) -> Told:
    """Who belongs to the child, and what is claimed of them."""
    visit = _visit(person, at, "contacts-visit", "0023", "New Baby HV Review")
    mother = {
        "resourceType": "RelatedPerson",
        "id": new_id("child-health", person.key, "mother"),
        "extension": [
            {
                "url": "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-DCH-HouseholdMember-1",
                "extension": [
                    {"url": "householdMember", "valueBoolean": True},
                    {"url": "householdMemberDescription", "valueString": "Lives with her partner Placeholder."},
                ],
            },
            {"url": "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-DCH-ParentalResponsibility-1", "valueBoolean": True},
            {"url": "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-DCH-SignificantIndividual-1", "valueBoolean": True},
        ],
        "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990022321"}],
        "patient": _child(person),
        "relationship": codeable("http://hl7.org/fhir/v3/RoleCode", "MTH", "mother"),
        "name": [{"family": person.family, "given": ["Morag"]}],
        "telecom": [{"system": "phone", "value": "01632960999"}],
        "birthDate": "1994-04-04",
    }
    return "personal-contacts-1", "Personal Contacts", 12, [visit, mother]


def safety_alert(person: Person, at: datetime) -> Told:
    """A risk from others, and in words why."""
    visit = _visit(person, at, "alert-visit", "0026", "Ad-hoc Review")
    risk = {
        **_known(person, "alert", "Observation"),
        "status": "final",
        "code": codeable(SNOMED, "1064461000000103", "Risk from others"),
        "subject": _child(person),
        "context": _to(visit),
        "effectiveDateTime": at.date().isoformat(),
        "valueString": "Uncle Placeholder came by at night.",
    }
    return "safety-alerts-1", "Safety Alerts", 230, [visit, risk]


def legal_information(person: Person, at: datetime) -> Told:
    """A child protection plan, as the service was told of it."""
    visit = _visit(person, at, "legal-visit", "0026", "Ad-hoc Review")
    plan = {
        **_known(person, "legal", "Observation"),
        "status": "final",
        "code": codeable(SNOMED, "1064311000000109", "Child protection plan"),
        "subject": _child(person),
        "context": _to(visit),
        "effectivePeriod": {"start": at.date().isoformat()},
    }
    return "legal-information-1", "Legal Information", 240, [visit, plan]


RECORD = (
    *(allergies, medicines, problems, needs, circumstances, card_received, birth_details),
    *(household, contacts, safety_alert, legal_information),
)


def failsafe(person: Person, at: datetime) -> Told:
    """Work for a service by a day: it must be refused for its owner, never dropped."""
    asked = {
        **_known(person, "failsafe", "Communication"),
        "status": "completed",
        "subject": _child(person),
        "payload": [{"contentString": "No outcome of the blood spot test: please find out by the end of the week."}],
    }
    return "failsafe-message-bloodspot-outcome-1", "Failsafe Message Bloodspot Outcome", 30, [asked]


def demographics(person: Person, at: datetime) -> Told:
    """An event the gateway knows and does not take: it must be refused for its owner, never dropped."""
    visit = _visit(person, at, "demographics-visit", "0026", "Ad-hoc Review")
    return "additional-demographics-1", "Additional Demographics", 31, [visit]


def _form(person: Person, at: datetime, name: str, visit: dict[str, Any], asked: list[dict[str, Any]]) -> dict[str, Any]:
    known = _known(person, name, "QuestionnaireResponse")
    return {
        **{**known, "identifier": known["identifier"][0]},
        "status": "completed",
        "subject": _child(person),
        "context": _to(visit),
        "authored": at.isoformat(),
        "author": {"reference": "urn:uuid:" + new_id("visitor")},
        "item": asked,
    }


def _visit(person: Person, at: datetime, name: str, code: str, term: str) -> dict[str, Any]:
    return {
        **_known(person, name, "Encounter"),
        "status": "finished",
        "type": [codeable(_DCH + "ChildHealthEncounterType-1", code, term)],
        "subject": _child(person),
        "period": {"start": at.isoformat()},
    }


def _known(person: Person, name: str, kind: str) -> dict[str, Any]:
    own = new_id("child-health", person.key, name)
    return {"resourceType": kind, "id": own, "identifier": [{"system": f"{_OURS}/{kind.lower()}", "value": own}]}


def _child(person: Person) -> dict[str, Any]:
    return {"reference": "urn:uuid:" + new_id("child-health", person.key, "patient")}


def _to(resource: dict[str, Any]) -> dict[str, Any]:
    return {"reference": "urn:uuid:" + resource["id"]}

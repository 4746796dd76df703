"""One held record, told as a GP Connect STU3 collection Bundle.

Source: GP Connect Access Record Structured 1.6.2, profiles CareConnect-GPC-*-1.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sandbox.families import BY_KEY, NAMES, Person, address_of
from sandbox.gp_contacts import Contacts, disabled
from sandbox.gp_holdings import RECORDS, USUAL, Allergy, Held, Jab, Medicine, Problem
from sandbox.stu3 import SNOMED, codeable, new_id, snomed

_GPC = "https://fhir.nhs.uk/STU3/StructureDefinition/"
_UK = "https://fhir.hl7.org.uk/STU3/StructureDefinition/"
_WHEN = "2026-10-01T09:00:00+00:00"

_LISTS = {
    "includeAllergies": ("886921000000105", "Allergies and adverse reactions"),
    "ended": ("1103671000000101", "Ended allergies"),
    "includeMedication": ("933361000000108", "Medications and medical devices"),
    "includeImmunisations": ("1102181000000102", "Immunisations"),
    "includeProblems": ("717711000000103", "Problems"),
    "includeConsultations": ("1149501000000101", "List of consultations"),
    "includeUncategorisedData": ("826501000000100", "Miscellaneous record"),
    "includeInvestigations": ("887191000000108", "Investigations and results"),
    "includeReferrals": ("792931000000107", "Outbound referral"),
    "includeDiaryEntries": ("714311000000108", "Patient recall administration"),
}
_NOTES = {
    "confidential-items": "Items excluded due to confidentiality and/or patient preferences.",
    "data-in-transit": "Patient record transfer from previous GP practice not yet complete; information recorded before 01-Sep-2026 may be missing.",
    "data-awaiting-filing": "Patient data may be incomplete as there is data supplied by a third party awaiting review before becoming available.",
}


@lru_cache(maxsize=512)
def encoded(
    key: str,
    areas: frozenset[str],
    odd: tuple[tuple[str, bool], ...],
    *,
    resolved: bool,
    not_given: bool,
    issues: bool,
    twice: bool,
) -> bytes:
    """The Bundle for these areas, as bytes. `odd`: parameters this provider has disabled (True) or does not know (False)."""
    record = Told(BY_KEY[key], RECORDS.get(key, USUAL))
    entries = record.tell(areas, resolved=resolved, not_given=not_given, issues=issues)
    if twice:
        again = [
            dict(entry, id=entry["id"] + "-again")
            for entry in entries
            if entry["resourceType"] in ("AllergyIntolerance", "Condition")
        ]
        entries += again
    if odd:
        entries.append(disabled(odd))
    bundle = {
        "resourceType": "Bundle",
        "meta": {"profile": [_GPC + "GPConnect-StructuredRecord-Bundle-1"]},
        "type": "collection",
        "entry": [{"resource": resource} for resource in entries],
    }
    return json.dumps(bundle, separators=(",", ":")).encode()


class Told:
    """One person's record, told resource by resource."""

    def __init__(self, person: Person, held: Held) -> None:
        self.person, self.held = person, held
        self.patient = self.id("patient")
        self.practice = new_id("practice", person.practice)
        self.gp = new_id("practitioner", person.practice)
        self.role = new_id("role", person.practice)

    def tell(self, areas: frozenset[str], *, resolved: bool, not_given: bool, issues: bool) -> list[dict[str, Any]]:
        """Administrative resources, then each area with its primary List."""
        entries = [self._patient(), self._organisation(), self._practitioner(), self._role()]
        if "includeAllergies" in areas:
            entries += self._allergies(resolved=resolved)
        if "includeMedication" in areas:
            entries += self._medicines(issues=issues)
        if "includeImmunisations" in areas:
            jabs = [self._jab(n, jab) for n, jab in enumerate(self.held.jabs) if not_given or jab.refused is None]
            entries += [*jabs, self.area("includeImmunisations", jabs)]
        if "includeProblems" in areas:
            hidden = "confidential-items" in self.held.warnings.get("includeProblems", ())
            problems = [] if hidden else [self._problem(n, problem) for n, problem in enumerate(self.held.problems)]
            entries += [*problems, self.area("includeProblems", problems)]
        return entries + Contacts(self).tell(areas)

    def _allergies(self, *, resolved: bool) -> list[dict[str, Any]]:
        held = self.held
        active: list[dict[str, Any]] = []
        ended: list[dict[str, Any]] = []
        if held.no_known_allergies:
            active.append(self._allergy(0, Allergy("716186003", "No known allergy", held.no_known_allergies)))
        for n, allergy in enumerate(held.allergies or (), 1):
            (ended if allergy.ended else active).append(self._allergy(n, allergy))
        entries = [*active, self.area("includeAllergies", active)]
        if resolved:
            entries.append(self.area("ended", ended, contained=True))
        return entries

    def _medicines(self, *, issues: bool) -> list[dict[str, Any]]:
        entries, statements = [], []
        for n, medicine in enumerate(self.held.medicines):
            told = self._medicine(n, medicine, issues=issues)
            statements.append(told[0])
            entries += told
        return [*entries, self.area("includeMedication", statements)]

    # ---------------------------------------------------------------------------------------------- administrative

    def _patient(self) -> dict[str, Any]:
        person, address = self.person, address_of(self.person)
        registered = {"url": "registrationPeriod", "valuePeriod": {"start": person.birth_date.isoformat() + "T00:00:00+00:00"}}
        verified = codeable(
            "https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-NHSNumberVerificationStatus-1",
            "01",
            "Number present and verified",
        )
        return {
            **self.head("Patient", self.patient),
            "extension": [{"url": _GPC + "Extension-CareConnect-GPC-RegistrationDetails-1", "extension": [registered]}],
            "identifier": [
                {
                    "extension": [
                        {
                            "url": _GPC + "Extension-CareConnect-GPC-NHSNumberVerificationStatus-1",
                            "valueCodeableConcept": verified,
                        }
                    ],
                    "system": "https://fhir.nhs.uk/Id/nhs-number",
                    "value": person.nhs_number,
                }
            ],
            "active": True,
            "name": [
                {"use": "official", "text": f"{person.given} {person.family}", "family": person.family, "given": [person.given]}
            ],
            "gender": person.gender,
            "birthDate": person.birth_date.isoformat(),
            "address": [
                {"use": "home", "type": "physical", "line": [address.line], "city": address.town, "postalCode": address.postcode}
            ],
            "generalPractitioner": [{"reference": "Practitioner/" + self.gp}],
            "managingOrganization": {"reference": "Organization/" + self.practice},
        }

    def _organisation(self) -> dict[str, Any]:
        return {
            **self.head("Organization", self.practice),
            "identifier": [{"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": self.person.practice}],
            "name": NAMES[self.person.practice],
            "telecom": [{"system": "phone", "value": "01632960101", "use": "work"}],
            "address": [{"line": ["1 Surgery Street"], "city": "Northtown", "postalCode": "ZZ99 9ZZ"}],
        }

    def _practitioner(self) -> dict[str, Any]:
        return {
            **self.head("Practitioner", self.gp),
            "identifier": [{"system": "https://fhir.nhs.uk/Id/sds-user-id", "value": "555000000101"}],
            "name": [{"use": "usual", "family": "Example", "given": ["Robin"], "prefix": ["Dr"]}],
            "gender": "female",
        }

    def _role(self) -> dict[str, Any]:
        job = codeable(
            "https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-SDSJobRoleName-1", "R0260", "General Medical Practitioner"
        )
        return {
            **self.head("PractitionerRole", self.role),
            "practitioner": {"reference": "Practitioner/" + self.gp},
            "organization": {"reference": "Organization/" + self.practice},
            "code": [job],
        }

    # ---------------------------------------------------------------------------------------------------- clinical

    def _allergy(self, n: int, allergy: Allergy) -> dict[str, Any]:
        body: dict[str, Any] = {**self.head("AllergyIntolerance", self.id(f"allergy-{n}"))}
        if allergy.ended:
            ended = [
                {"url": "endDate", "valueDateTime": allergy.ended},
                {"url": "reasonEnded", "valueString": "Challenge was negative"},
            ]
            body["extension"] = [{"url": _GPC + "Extension-CareConnect-GPC-AllergyIntoleranceEnd-1", "extension": ended}]
        body |= {
            "identifier": [self.business(f"allergy-{n}")],
            "clinicalStatus": "resolved" if allergy.ended else "active",
            "verificationStatus": "unconfirmed",
            "category": ["food"] if "penicillin" not in allergy.term else ["medication"],
            "code": snomed(allergy.code, allergy.term),
            "patient": {"reference": "Patient/" + self.patient},
            "assertedDate": allergy.since + ("T08:30:00" if self.held.odd else "T08:30:00+00:00"),
            "recorder": {"reference": ("Practitioner/not-in-this-bundle" if self.held.odd else "Practitioner/" + self.gp)},
        }
        if allergy.reaction:
            body["reaction"] = [{"manifestation": [snomed(*allergy.reaction)], "severity": "moderate"}]
        return body

    def _medicine(self, n: int, medicine: Medicine, *, issues: bool) -> list[dict[str, Any]]:
        drug, plan, subject = self.id(f"drug-{n}"), self.id(f"plan-{n}"), {"reference": "Patient/" + self.patient}
        drug_ref, dosage = {"reference": "Medication/" + drug}, [{"text": medicine.dose}]
        agency = codeable(
            "https://fhir.nhs.uk/STU3/CodeSystem/CareConnect-PrescribingAgency-1",
            "prescribed-at-gp-practice",
            "Prescribed at GP practice",
        )
        statement = {
            **self.head("MedicationStatement", self.id(f"statement-{n}")),
            "extension": [
                {
                    "url": _GPC + "Extension-CareConnect-GPC-MedicationStatementLastIssueDate-1",
                    "valueDateTime": medicine.issues[-1],
                },
                {"url": _GPC + "Extension-CareConnect-GPC-PrescribingAgency-1", "valueCodeableConcept": agency},
            ],
            "identifier": [self.business(f"statement-{n}")],
            "basedOn": [{"reference": "MedicationRequest/" + plan}],
            "status": medicine.status,
            "medicationReference": drug_ref,
            "effectivePeriod": {"start": medicine.start},
            "dateAsserted": medicine.start + "T09:00:00+00:00",
            "subject": subject,
            "taken": "unk",
            "dosage": dosage,
        }
        requests = [self._request(plan, f"plan-{n}", "plan", medicine, medicine.start, drug_ref)]
        for i, day in enumerate(medicine.issues if issues else ()):
            requests.append(self._request(self.id(f"issue-{n}-{i}"), f"issue-{n}-{i}", "order", medicine, day, drug_ref, plan))
        product = {**self.head("Medication", drug), "code": snomed(medicine.code, medicine.term)}
        return [statement, *requests, product]

    def _request(
        self, name: str, key: str, intent: str, medicine: Medicine, day: str, drug: dict[str, str], plan: str = ""
    ) -> dict[str, Any]:
        kind = codeable(
            "https://fhir.nhs.uk/STU3/CodeSystem/CareConnect-PrescriptionType-1", medicine.kind, medicine.kind.capitalize()
        )
        extension: list[dict[str, Any]] = [
            {"url": _GPC + "Extension-CareConnect-GPC-PrescriptionType-1", "valueCodeableConcept": kind}
        ]
        if intent == "plan" and medicine.kind == "repeat":
            repeats = [
                {"url": "numberOfRepeatPrescriptionsAllowed", "valuePositiveInt": 6},
                {"url": "numberOfRepeatPrescriptionsIssued", "valueUnsignedInt": len(medicine.issues)},
                {"url": "authorisationExpiryDate", "valueDateTime": "2027-01-14"},
            ]
            extension.insert(0, {"url": _GPC + "Extension-CareConnect-GPC-MedicationRepeatInformation-1", "extension": repeats})
        quantity = {"value": int(medicine.quantity[0]), "unit": medicine.quantity[1]}
        return {
            **self.head("MedicationRequest", name),
            "extension": extension,
            "identifier": [self.business(key)],
            **({"basedOn": [{"reference": "MedicationRequest/" + plan}]} if plan else {}),
            "status": "completed" if intent == "order" else medicine.status,
            "intent": intent,
            "medicationReference": drug,
            "subject": {"reference": "Patient/" + self.patient},
            "authoredOn": day + "T09:00:00+00:00",
            "recorder": {"reference": "Practitioner/" + self.gp},
            "dosageInstruction": [{"text": medicine.dose}],
            "dispenseRequest": {"validityPeriod": {"start": day}, "quantity": quantity},
        }

    def _jab(self, n: int, jab: Jab) -> dict[str, Any]:
        on = (self.person.birth_date + timedelta(days=jab.days)).isoformat()
        body: dict[str, Any] = {
            **self.head("Immunization", self.id(f"jab-{n}")),
            "extension": [
                {"url": _GPC + "Extension-CareConnect-GPC-DateRecorded-1", "valueDateTime": on + "T10:15:00+00:00"},
                {
                    "url": _UK + "Extension-CareConnect-VaccinationProcedure-1",
                    "valueCodeableConcept": snomed(jab.code, jab.term),
                },
            ],
            "identifier": [self.business(f"jab-{n}")],
            "status": "completed",  # also when it was not given: STU3 says that in notGiven
            "notGiven": jab.refused is not None,
            "vaccineCode": codeable("http://hl7.org/fhir/v3/NullFlavor", "UNK", "unknown"),
            "patient": {"reference": "Patient/" + self.patient},
            "date": on,
            "primarySource": True,
        }
        if jab.refused:
            body["explanation"] = {"reasonNotGiven": [snomed(*jab.refused)]}
            return body
        body["lotNumber"] = jab.lot
        body["practitioner"] = [
            {
                "role": codeable("http://hl7.org/fhir/v2/0443", "AP", "Administering Provider"),
                "actor": {"reference": "Practitioner/" + self.gp},
            }
        ]
        body["vaccinationProtocol"] = [
            {
                "doseSequence": jab.dose,
                "targetDisease": [snomed(*jab.disease)],
                "doseStatus": {"coding": [{"system": "http://hl7.org/fhir/vaccination-protocol-dose-status", "code": "count"}]},
            }
        ]
        return body

    def _problem(self, n: int, problem: Problem) -> dict[str, Any]:
        head = self.head("Condition", self.id(f"problem-{n}"))
        if problem.private:
            head["meta"]["security"] = [{"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}]
        extension: list[dict[str, Any]] = [
            {"url": _UK + "Extension-CareConnect-ProblemSignificance-1", "valueCode": "major" if problem.major else "minor"}
        ]
        if self.held.odd:
            extension.append(
                {
                    "url": _UK + "Extension-CareConnect-ActualProblem-1",
                    "valueReference": {"reference": "Observation/not-in-this-bundle"},
                }
            )
        return {
            **head,
            "extension": extension,
            "identifier": [self.business(f"problem-{n}")],
            "clinicalStatus": "inactive" if problem.ended else "active",
            "category": [
                codeable(
                    "https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-ConditionCategory-1",
                    "problem-list-item",
                    "Problem List Item",
                )
            ],
            "code": snomed(problem.code, problem.term),
            "subject": {"reference": "Patient/" + self.patient},
            "onsetDateTime": problem.since,
            **({"abatementDateTime": problem.ended} if problem.ended else {}),
            "assertedDate": problem.since + "T09:00:00+00:00",
            "asserter": {"reference": "Practitioner/" + self.gp},
        }

    def area(self, area: str, items: Sequence[dict[str, Any]], *, contained: bool = False) -> dict[str, Any]:
        """The primary List of an area, with what it warns of."""
        code, title = _LISTS[area]
        warnings = (*self.held.warnings.get(area, ()), *self.held.warnings.get("*", ()))
        notes = [_NOTES[warning] for warning in warnings] + ([] if items else ["Information not available"])
        empty = codeable(
            "https://fhir.nhs.uk/STU3/CodeSystem/CareConnect-ListEmptyReasonCode-1", "no-content-recorded", "No Content Recorded"
        )
        found = [{"item": {"reference": f"#{i['id']}" if contained else f"{i['resourceType']}/{i['id']}"}} for i in items]
        return {
            "resourceType": "List",
            "meta": {"profile": [_GPC + "CareConnect-GPC-List-1"]},
            **({"contained": items} if contained and items else {}),
            **(
                {"extension": [{"url": _GPC + "Extension-CareConnect-GPC-ListWarningCode-1", "valueCode": w} for w in warnings]}
                if warnings
                else {}
            ),
            "status": "current",
            "mode": "snapshot",
            "title": title,
            "code": codeable(SNOMED, code, title),
            "subject": {"reference": "Patient/" + self.patient},
            "date": _WHEN,
            "orderedBy": {"coding": [{"system": "http://hl7.org/fhir/list-order", "code": "event-date"}]},
            **({"note": [{"text": text} for text in notes]} if notes else {}),
            **({"entry": found} if found else {"emptyReason": empty}),
        }

    def head(self, kind: str, name: str) -> dict[str, Any]:
        """Type, id and profile of a resource."""
        profile = "ProblemHeader-Condition" if kind == "Condition" else kind
        return {"resourceType": kind, "id": name, "meta": {"profile": [f"{_GPC}CareConnect-GPC-{profile}-1"]}}

    def id(self, name: str) -> str:
        """The id of something of this person's."""
        return new_id(self.person.key, name)

    def business(self, name: str) -> dict[str, str]:
        """The identifier that outlives an answer."""
        return {
            "system": "https://gpconnect.sandbox.invalid/" + self.person.practice,
            "value": new_id("business", self.person.key, name).upper(),
        }

"""What was said, found, asked for and filed: the areas of a record beside allergies, medicines, immunisations and problems.

Source: GP Connect Access Record Structured 1.6.2: consultations, uncategorised data, investigations, referrals, diary entries.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from sandbox.families import Person
from sandbox.gp_holdings import Asked, Consultation, Finding, Held, Letter, Test
from sandbox.stu3 import SNOMED, codeable, new_id, snomed

_CONSULTATION = ("325851000000107", "Consultation")
_TOPIC = ("25851000000105", "Topic")
_HEADING = ("24781000000107", "Category")
_GPC = "https://fhir.nhs.uk/STU3/StructureDefinition/"
_NOPAT = {"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}


class Teller(Protocol):
    """The record being told."""

    person: Person
    held: Held
    patient: str
    practice: str
    gp: str

    def head(self, kind: str, name: str) -> dict[str, Any]: ...
    def id(self, name: str) -> str: ...
    def business(self, name: str) -> dict[str, str]: ...
    def area(self, area: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]: ...


class Contacts:
    """The areas of one record that hang on contacts."""

    def __init__(self, told: Teller) -> None:
        self._told, self._held = told, told.held
        self._subject = {"reference": "Patient/" + told.patient}
        self._doctor = {"reference": "Practitioner/" + told.gp}

    def tell(self, areas: frozenset[str]) -> list[dict[str, Any]]:
        """Each area that was asked for, with its primary List. An area whose List warns of confidentiality holds nothing."""
        tellers = {
            "includeConsultations": self._consultations,
            "includeUncategorisedData": self._uncategorised,
            "includeInvestigations": self._investigations,
            "includeReferrals": self._referrals,
            "includeDiaryEntries": self._diary,
        }
        entries: dict[str, dict[str, Any]] = {}  # by id: what two areas tell is told once
        lists = []
        for area in sorted(areas & tellers.keys()):
            hidden = "confidential-items" in self._held.warnings.get(area, ())
            named, beside = ([], []) if hidden else tellers[area]()
            entries |= {entry["id"]: entry for entry in [*named, *beside]}
            lists.append(self._told.area(area, named))
        return [*entries.values(), *lists]

    # ------------------------------------------------------------------------------------------------------- areas

    def _consultations(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        encounters, beside = [], []
        for n, held in enumerate(self._held.consultations):
            encounters.append(self._encounter(n, held))
            beside += self._topics(n, held)
            names = [name for _, items in held.headings for name in items]
            beside += [self._named(name) for name in names if not name.startswith("problem")]
        return encounters, beside

    def _uncategorised(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        found = [self._finding(f"finding-{n}", held) for n, held in enumerate(self._held.findings)]
        return found, [self._questionnaire()] if self._held.answers else []

    def _investigations(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        reports, beside = [], []
        for n, test in enumerate(self._held.tests):
            report, *rest = self._test(n, test)
            reports.append(report)
            beside += rest
        return reports, beside

    def _referrals(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return [self._referral(n, held) for n, held in enumerate(self._held.referrals)], []

    def _diary(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return [self._entry(n, held) for n, held in enumerate(self._held.diary)], []

    # --------------------------------------------------------------------------------------------------- resources

    def _named(self, name: str) -> dict[str, Any]:
        kind, _, number = name.partition("-")
        if kind == "finding":
            return self._finding(name, self._held.findings[int(number)])
        if kind == "referral":
            return self._referral(int(number), self._held.referrals[int(number)])
        return self._letter(int(number), self._held.letters[int(number)])

    def _of(self, kind: str, name: str) -> dict[str, Any]:
        told = self._told
        return {**told.head(kind, told.id(name)), "identifier": [told.business(name)], "subject": self._subject}

    def _encounter(self, n: int, held: Consultation) -> dict[str, Any]:
        recorder = codeable("https://fhir.nhs.uk/STU3/CodeSystem/GPConnect-ParticipantType-1", "REC", "recorder")
        return {
            **self._of("Encounter", f"consultation-{n}"),
            "status": "finished",
            "type": [{"text": held.kind}],
            "participant": [{"type": [recorder], "individual": self._doctor}],
            "period": {"start": held.day + "T09:40:00+00:00"},
            "serviceProvider": {"reference": "Organization/" + self._told.practice},
        }

    def _topics(self, n: int, held: Consultation) -> list[dict[str, Any]]:
        """Consultation, topic and headings, each a List of the next."""
        headings = [
            self._list(n, f"consultation-{n}-heading-{place}", _HEADING, title, [self._reference(name) for name in names])
            for place, (title, names) in enumerate(held.headings)
        ]
        under = [{"reference": f"List/{heading['id']}"} for heading in headings]
        topic = self._list(n, f"consultation-{n}-topic", _TOPIC, held.topic, under)
        whole = self._list(n, f"consultation-{n}-whole", _CONSULTATION, held.kind, [{"reference": f"List/{topic['id']}"}])
        return [whole, topic, *headings]

    def _list(self, n: int, name: str, code: tuple[str, str], title: str, items: list[dict[str, str]]) -> dict[str, Any]:
        told = self._told
        return {
            **told.head("List", told.id(name)),
            "subject": self._subject,
            "status": "current",
            "mode": "snapshot",
            "title": title,
            "code": codeable(SNOMED, *code),
            "encounter": {"reference": "Encounter/" + told.id(f"consultation-{n}")},
            "orderedBy": {"coding": [{"system": "http://hl7.org/fhir/list-order", "code": "system"}]},
            "entry": [{"item": item} for item in items],
        }

    def _reference(self, name: str) -> dict[str, str]:
        kinds = {"finding": "Observation", "problem": "Condition", "referral": "ReferralRequest", "letter": "DocumentReference"}
        return {"reference": f"{kinds[name.partition('-')[0]]}/{self._told.id(name)}"}

    def _finding(self, name: str, held: Finding) -> dict[str, Any]:
        body = {
            **self._of("Observation", name),
            "status": "final",
            "code": snomed(held.code, held.term),
            "effectiveDateTime": held.day + "T09:45:00+00:00",
            "issued": held.day + "T09:50:00.123+00:00",
            "performer": [self._doctor],
        }
        if held.value:
            body["valueQuantity"] = _quantity(*held.value)
        if held.parts:
            body["component"] = [
                {"code": snomed(code, term), "valueQuantity": _quantity(number, unit)} for code, term, number, unit in held.parts
            ]
        return body | ({"comment": held.comment} if held.comment else {})

    def _test(self, n: int, test: Test) -> list[dict[str, Any]]:
        request, specimen = self._told.id(f"test-{n}"), self._told.id(f"specimen-{n}")
        asked = {
            **self._of("ProcedureRequest", f"test-{n}"),
            "status": "completed",
            "intent": "order",
            "code": {"text": test.term},
            "authoredOn": test.day,
            "requester": {"agent": self._doctor},
        }
        taken = {
            **self._of("Specimen", f"specimen-{n}"),
            "type": {"text": test.specimen},
            "collection": {"collectedDateTime": test.day + "T11:00:00+00:00"},
        }
        results = [
            self._finding(f"result-{n}-{place}", held) | {"specimen": {"reference": "Specimen/" + specimen}}
            for place, held in enumerate(test.results)
        ]
        report = {
            **self._of("DiagnosticReport", f"report-{n}"),
            "basedOn": [{"reference": "ProcedureRequest/" + request}],
            "status": "unknown",
            "code": {"text": test.term},
            "issued": test.day + "T16:00:00+00:00",
            "performer": [{"actor": {"display": "Northtown Pathology"}}],
            "specimen": [{"reference": "Specimen/" + specimen}],
            "result": [{"reference": f"Observation/{result['id']}"} for result in results],
        }
        return [report, asked, taken, *results]

    def _referral(self, n: int, held: Asked) -> dict[str, Any]:
        return {
            **self._of("ReferralRequest", f"referral-{n}"),
            "status": "unknown",
            "intent": "order",
            "priority": "routine",
            "authoredOn": held.day,
            "requester": {"agent": self._doctor},
            "recipient": [{"display": held.to}],
            "reasonCode": [snomed(held.code, held.term)],
            "description": held.text,
        }

    def _entry(self, n: int, held: Asked) -> dict[str, Any]:
        return {
            **self._of("ProcedureRequest", f"diary-{n}"),
            "status": "active",
            "intent": "plan",
            "code": snomed(held.code, held.term),
            "occurrenceDateTime": held.day,
            "authoredOn": "2026-01-14T10:00:00+00:00",
            "requester": {"agent": self._doctor},
        }

    def _letter(self, n: int, held: Letter) -> dict[str, Any]:
        private = {"securityLabel": [{"coding": [_NOPAT]}]} if held.private else {}
        return {
            **self._of("DocumentReference", f"letter-{n}"),
            **private,
            "status": "current",
            "type": {"text": held.term},
            "created": held.day,
            "indexed": held.day + "T12:00:00.5+00:00",
            "author": [{"display": held.author}],
            "content": [
                {"attachment": {"contentType": "application/pdf", "size": 4096, "url": "https://gpconnect.sandbox.invalid/1"}}
            ],
        }

    def _questionnaire(self) -> dict[str, Any]:
        told = self._told
        items = [
            {"linkId": str(n), "text": question, "answer": [{"valueString": answer}]}
            for n, (question, answer) in enumerate(self._held.answers, 1)
        ]
        body = self._of("QuestionnaireResponse", "questionnaire-0")
        return {
            **body,
            "identifier": told.business("questionnaire-0"),
            "status": "completed",
            "authored": "2026-01-14",
            "item": items,
        }


def _quantity(number: str, unit: str) -> dict[str, Any]:
    return {"value": float(number), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


def disabled(odd: tuple[tuple[str, bool], ...]) -> dict[str, Any]:
    """Areas that were asked for and are not given: switched off (True) or not known (False) -> the outcome that says so."""
    issues = []
    for name, known in odd:
        coding = {
            "system": "https://fhir.nhs.uk/STU3/CodeSystem/Spine-ErrorOrWarningCode-1",
            "code": "NOT_IMPLEMENTED",
            "display": "Not implemented",
        }
        text = f"{name} has been disabled" if known else f"{name} is an unrecognised parameter"
        issues.append(
            {"severity": "warning", "code": "not-supported", "details": {"coding": [coding], "text": text}, "diagnostics": name}
        )
    return {
        "resourceType": "OperationOutcome",
        "id": new_id("outcome", *(name for name, _ in odd)),
        "meta": {"profile": [_GPC + "GPConnect-OperationOutcome-1"]},
        "issue": issues,
    }

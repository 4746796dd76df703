"""Fakes that several test modules share: sources that behave as told. Synthetic people only."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime

from gateway.adapter import Claim, Manifest, SourceFacts, SourceRecord, SourceSettings, Want
from gateway.model import (
    AccessRequest,
    Caller,
    Category,
    Coding,
    Facts,
    Organisation,
    OrganisationKind,
    PatientIdentity,
    Permit,
    PersonId,
    Purpose,
    Query,
    Receipt,
    Recorded,
    RuleUse,
    Staff,
)
from gateway.nhs_number import NhsNumber
from gateway.registry import ActiveSource

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
AMARA = NhsNumber("9990000107")
BORN = date(2024, 3, 14)
PERSON = PersonId("abcdefghijklmnopqrstuvwxyz")
RECEIPT = Receipt("event-1", "commitment", "writer", NOW, "signature")


def caller(**changes: object) -> Caller:
    values: dict[str, object] = {
        "organisation": Organisation("ods:A99901", "Riverside Surgery", OrganisationKind.GP_PRACTICE),
        "system": "riverside",
        "staff": Staff("https://fhir.nhs.uk/Id/sds-user-id", "100000000001", "Dr Ada Bright"),
        "role": Coding("https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName", "R0260"),
        "purpose": Purpose.TREAT,
        "scopes": frozenset({"system/*.rs"}),
        "token_id": "token-1",
        "case_reference": None,
        "client_version": 1,
        "address": "127.0.0.1",
    }
    return Caller(**{**values, **changes})  # type: ignore[arg-type]


def request(query: Query | None = None, **changes: object) -> AccessRequest:
    who = caller(**changes)
    asked = query or Query("everything", AMARA, frozenset({"Patient", "AllergyIntolerance", "Flag"}))
    return AccessRequest(who, who.purpose, asked, "request-1", "correlation-1", NOW)


def identity(**changes: object) -> PatientIdentity:
    values: dict[str, object] = {
        "number": AMARA,
        "superseded": (),
        "person": PERSON,
        "alias": None,
        "birth_date": BORN,
        "deceased": False,
        "restricted": False,
        "practice": "ods:A99901",
        "patient": {"resourceType": "Patient", "birthDate": BORN.isoformat()},
        "traced_at": NOW,
        "stale": False,
    }
    return PatientIdentity(**{**values, **changes})  # type: ignore[arg-type]


def facts(asked: AccessRequest | None = None, who: PatientIdentity | None = None, **changes: object) -> Facts:
    asked, who = asked or request(), who or identity()
    values: dict[str, object] = {
        "organisation": asked.caller.organisation.code,
        "organisation_kind": asked.caller.organisation.kind,
        "role": f"{asked.caller.role.system}|{asked.caller.role.code}",
        "role_group": "gp",
        "purpose": asked.purpose,
        "agreements": frozenset(),
        "has_case_reference": False,
        "usable": True,
        "relationships": frozenset({"registered-practice"}),
        "consents": frozenset(),
        "objection": False,
        "protected": False,
        "deceased": False,
        "age_band": "1-4",
        "person_ref": who,
        "request": asked,
    }
    return Facts(**{**values, **changes})  # type: ignore[arg-type]


def permit(
    of: Facts | None = None, *, sources: Sequence[str], categories: Sequence[Category], **changes: object
) -> Recorded[Permit]:
    held = Permit(
        facts=of or facts(),
        allowed={category: (RuleUse("rule", "Because."),) for category in categories},
        sources=frozenset(sources),
        strip=frozenset(),
        may_know_withheld=frozenset(),
        obligations=(),
        policy_hash="hash",
        **changes,  # type: ignore[arg-type]
    )
    return Recorded(held, RECEIPT)


def record(about: Claim | None = None, *, schema: str = "s", data: object = None) -> SourceRecord:
    return SourceRecord(schema, data or {}, "row 1", NOW, about or Claim(nhs_number=AMARA.value, birth_date=BORN))


class FakeSource:
    """Yields what it is told, raises what it is told, or waits."""

    def __init__(self, *items: SourceRecord | SourceFacts, error: Exception | None = None, wait_s: float = 0) -> None:
        self.items, self.error, self.wait_s, self.asked = items, error, wait_s, 0
        self.want: Want | None = None
        self.closed = False

    async def fetch(self, patient: PatientIdentity, want: Want) -> AsyncIterator[SourceRecord | SourceFacts]:
        self.asked += 1
        self.want = want
        try:
            if self.wait_s:
                await asyncio.sleep(self.wait_s)
            for item in self.items:
                yield item
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


def active(
    name: str, adapter: FakeSource, *, budget_s: float = 1.0, custodian: str = "ods:RXX99", **manifest: object
) -> ActiveSource:
    values: dict[str, object] = {
        "name": name,
        "title": name,
        "connector": None,
        "owner": "owner",
        "identity": "nhs_number",
        "kind": name,
        "reads": ("s",),
        "gives": {"AllergyIntolerance": "allergies"},
        "purposes": frozenset({"TREAT"}),
        "never_for": frozenset(),
        "feeds_protection": False,
        "budget_s": budget_s,
    }
    held = Manifest(**{**values, **manifest})  # type: ignore[arg-type]
    settings = SourceSettings(name, name, custodian, "agreement", name.title(), budget_s, None, 7, {})
    return ActiveSource(held, settings, adapter)

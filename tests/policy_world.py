"""Values of the line for the tests of policy, facts, consent and disclosure: synthetic people and callers only."""

from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

from gateway import systems
from gateway.model import (
    AccessRequest,
    Caller,
    CareClass,
    Category,
    Coding,
    ConsentFact,
    Facts,
    MappedResource,
    NotUsable,
    PatientIdentity,
    Permit,
    PersonId,
    Purpose,
    Query,
    Receipt,
    Recorded,
    SourceTerms,
    Staff,
)
from gateway.nhs_number import NhsNumber
from gateway.policy import Policy, load
from gateway.ports import PersonFacts

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NUMBER = NhsNumber("9990000107")
PERSON = PersonId("a" * 26)
FOLDER = Path(__file__).resolve().parents[1] / "consent_policy"
ROLES = {
    "gp": Coding(systems.SDS_JOB_ROLE, "R0260"),
    "health-visitor": Coding(systems.SDS_JOB_ROLE, "R0690"),
    "centre-worker": Coding(systems.LOCAL_ROLE, "centre-worker"),
    "social-worker": Coding(systems.LOCAL_ROLE, "social-worker"),
    "auditor": Coding(systems.LOCAL_ROLE, "auditor"),
    "nobody": Coding(systems.LOCAL_ROLE, "nobody"),
}
HOMES = {
    "gp": "ods:A99901",
    "health-visitor": "ods:RXX99",
    "centre-worker": "dfe-urn:199901",
    "social-worker": "gss:E08999901",
    "auditor": "ods:Z99901",
    "nobody": "ods:A99901",
}
PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000107"}],
    "name": [{"family": "Testwell", "given": ["Amara"]}],
    "birthDate": "2024-03-14",
    "address": [{"line": ["1 Synthetic Street"], "postalCode": "ZZ99 9ZZ"}],
    "telecom": [{"system": "phone", "value": "00000 000000"}],
    "generalPractitioner": [{"identifier": {"system": systems.ODS_CODE, "value": "A99901"}}],
    "contact": [{"name": {"family": "Testwell"}}],
    "somethingNew": "never leaves",
}
_CARE = frozenset({"TREAT", "ETREAT", "COC"})
_MOST = frozenset({*_CARE, "S17", "S47", "EARLYHELP"})
SOURCES = {
    "gp": SourceTerms(
        "gp",
        "gp",
        "gp-record",
        frozenset({(Category.ALLERGIES, CareClass.HEALTH), (Category.PROBLEMS, CareClass.HEALTH)}),
        _CARE,
        frozenset({"S47"}),
        frozenset({("AllergyIntolerance", Category.ALLERGIES), ("Condition", Category.PROBLEMS)}),
        "registered-practice",
        "The registered practice",
    ),
    "child-health": SourceTerms(
        "child-health",
        "child-health",
        "child-health-record",
        frozenset({(Category.IMMUNISATIONS, CareClass.HEALTH), (Category.CHILD_HEALTH_REVIEWS, CareClass.HEALTH)}),
        _MOST,
        frozenset(),
        frozenset({("Immunization", Category.IMMUNISATIONS), ("Encounter", Category.CHILD_HEALTH_REVIEWS)}),
        "ods:RXX99",
        "Meadowvale Community Health",
    ),
    "centre": SourceTerms(
        "centre",
        "childrens-centre",
        "centre-record",
        frozenset({(Category.CENTRE_INVOLVEMENT, CareClass.OPERATIONAL), (Category.CENTRE_ATTENDANCE, CareClass.OPERATIONAL)}),
        _MOST,
        frozenset(),
        frozenset({("EpisodeOfCare", Category.CENTRE_INVOLVEMENT), ("Encounter", Category.CENTRE_ATTENDANCE)}),
        "dfe-urn:199901",
        "Willow Children's Centre",
    ),
    "authority": SourceTerms(
        "authority",
        "local-authority",
        "authority-record",
        frozenset(
            {(Category.CHILD_PROTECTION, CareClass.SAFEGUARDING), (Category.SOCIAL_CARE_INVOLVEMENT, CareClass.SOCIAL_CARE)}
        ),
        _MOST,
        frozenset(),
        frozenset({("Flag", Category.CHILD_PROTECTION), ("EpisodeOfCare", Category.SOCIAL_CARE_INVOLVEMENT)}),
        "gss:E08999901",
        "Northshire Council",
    ),
}
EVERY_TYPE = frozenset({name for terms in SOURCES.values() for name, _ in terms.types} | {"Patient"})


@cache
def policy() -> Policy:
    return load(FOLDER)


def request(
    role: str = "gp",
    purpose: Purpose = Purpose.TREAT,
    *,
    types: frozenset[str] = EVERY_TYPE,
    scopes: frozenset[str] = frozenset({"system/*.rs"}),
    case: str | None = None,
    interaction: str = "everything",
    resource_id: str | None = None,
) -> AccessRequest:
    organisation = policy().organisation(HOMES[role])
    assert organisation is not None
    caller = Caller(
        organisation, "a-system", Staff("urn:staff", "s1", "Sam Staff"), ROLES[role], purpose, scopes, "t1", case, 3, "127.0.0.1"
    )
    query = Query(interaction, NUMBER, types, resource_id)
    return AccessRequest(caller, purpose, query, "r1", "c1", NOW)


def identity(**changes: object) -> PatientIdentity:
    known = PatientIdentity(NUMBER, (), PERSON, None, date(2024, 3, 14), False, False, "ods:A99901", PATIENT, NOW, False)
    return replace(known, **changes)


def person_facts(**changes: object) -> PersonFacts:
    return replace(PersonFacts(7, frozenset(), False, frozenset(), frozenset(), {}, 3, policy().hash), **changes)


def facts(
    role: str = "gp",
    purpose: Purpose = Purpose.TREAT,
    *,
    of: PatientIdentity | NotUsable | None = None,
    asked: AccessRequest | None = None,
    case: str | None = None,
    relationships: frozenset[str] = frozenset({"registered-practice", "caseload", "allocated-worker", "centre-registration"}),
    consents: frozenset[ConsentFact] = frozenset(),
    **changes: object,
) -> Facts:
    """Facts of a caller who has every relationship, with a person nothing speaks against."""
    asked = asked or request(role, purpose, case=case)
    caller = asked.caller
    known = Facts(
        organisation=caller.organisation.code,
        organisation_kind=caller.organisation.kind,
        role=f"{caller.role.system}|{caller.role.code}",
        role_group=policy().role_group(caller.role),
        purpose=asked.purpose,
        agreements=policy().agreements_in_force(caller.organisation.code, NOW.date()),
        has_case_reference=bool(caller.case_reference),
        usable=not isinstance(of, NotUsable),
        relationships=relationships,
        consents=consents,
        objection=False,
        protected=False,
        deceased=False,
        age_band="1-4",
        person_ref=of or identity(),
        request=asked,
    )
    return replace(known, **changes)


def recorded(permit: Permit) -> Recorded[Permit]:
    return Recorded(permit, Receipt("e1", "c", "w", NOW, "s"))


def mapped(
    kind: str,
    source: str,
    category: Category,
    care_class: CareClass,
    *,
    key: str = "k1",
    paths: dict | None = None,
    locked: bool = False,
    **elements: object,
) -> MappedResource:
    body = {"resourceType": kind, "id": f"{PERSON}.{source}.{key}", **elements}
    return MappedResource(body, source, category, care_class, paths or {}, "entry 1", NOW, "a/map@1.0.0", locked)

"""Steps 6 and 11: what is recorded of a decision, a disclosure, a failure and an auditor's question."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import pytest
from msgspec import structs
from store_world import CHILD, NOW

from gateway.audit import record_audit_read, record_decision, record_disclosure, record_failure
from gateway.audit.canonical import body_digest
from gateway.audit.entries import disclosed_items
from gateway.errors import AuditDown, CursorRefused
from gateway.model import (
    AccessRequest,
    Caller,
    CareClass,
    Category,
    Coding,
    ConsentFact,
    Deny,
    Disclosed,
    Disclosure,
    Facts,
    Mark,
    NotUsable,
    Organisation,
    OrganisationKind,
    PatientIdentity,
    Permit,
    PersonId,
    Purpose,
    Query,
    Receipt,
    Recorded,
    RefusedRecord,
    RuleUse,
    SourceReport,
    SourceState,
    Staff,
)
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry, Job, LogQuestion, StoredEvent

pytestmark = pytest.mark.anyio

RECEIPT = Receipt("e-1", "c", "w", NOW, "s")


@dataclass
class FakeLog:
    """Keeps what it is given; `moved` says that the facts changed, `down` that it cannot write."""

    moved: bool = False
    down: bool = False
    entries: list[Entry] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    conditions: list[tuple[NhsNumber, int] | None] = field(default_factory=list)

    async def append(
        self, entries: Sequence[Entry], jobs: Sequence[Job] = (), *, unless_moved: tuple[NhsNumber, int] | None = None
    ) -> Sequence[Receipt] | None:
        if self.down:
            raise AuditDown
        self.conditions.append(unless_moved)
        if self.moved:
            return None
        self.entries.extend(entries)
        self.jobs.extend(jobs)
        return [RECEIPT for _ in entries]

    async def append_once(self, entry: Entry, *, client: str, jti: str, expires: datetime) -> Receipt | None:
        raise NotImplementedError

    async def ask(self, question: LogQuestion) -> Sequence[StoredEvent]:
        raise NotImplementedError

    async def event(self, event: str) -> StoredEvent | None:
        raise NotImplementedError


CALLER = Caller(
    organisation=Organisation("ods:A99901", "Riverside Surgery", OrganisationKind.GP_PRACTICE),
    system="riverside",
    staff=Staff("https://fhir.nhs.uk/Id/sds-user-id", "555000", "Dr A. Example"),
    role=Coding("https://example.org/role", "R1", "General Practitioner"),
    purpose=Purpose.TREAT,
    scopes=frozenset({"system/*.rs"}),
    token_id="t-1",
    case_reference=None,
    client_version=1,
    address="192.0.2.1",
)
REQUEST = AccessRequest(
    CALLER, Purpose.TREAT, Query("search", CHILD, frozenset({"Immunization", "AllergyIntolerance"})), "r-1", "c-1", NOW
)
IDENTITY = PatientIdentity(
    number=CHILD,
    superseded=(),
    person=PersonId("p" * 26),
    alias=None,
    birth_date=date(2020, 2, 29),
    deceased=False,
    restricted=False,
    practice="ods:A99901",
    patient={"resourceType": "Patient", "name": [{"family": "Secretname"}]},
    traced_at=NOW,
    stale=False,
)
FACTS = Facts(
    organisation="ods:A99901",
    organisation_kind=OrganisationKind.GP_PRACTICE,
    role="https://example.org/role|R1",
    role_group="gp",
    purpose=Purpose.TREAT,
    agreements=frozenset({"a-1"}),
    has_case_reference=False,
    usable=True,
    relationships=frozenset({"registered-practice"}),
    consents=frozenset({ConsentFact("store", "permit")}),
    objection=False,
    protected=True,
    deceased=False,
    age_band="5-12",
    person_ref=IDENTITY,
    request=REQUEST,
    version=7,
    protected_because=frozenset({"refuge"}),
)
PERMIT = Permit(
    facts=FACTS,
    allowed={Category.IMMUNISATIONS: [RuleUse("gp-direct-care", "The registered GP cares for the child.")]},
    sources=frozenset({"gp", "child-health"}),
    strip=frozenset({Mark.LOCATING}),
    may_know_withheld=frozenset(),
    obligations=("notify",),
    policy_hash="h-1",
)
DENY = Deny(
    FACTS, False, "no-relationship", "", "contact", [RuleUse("needs-relationship", "Nobody cares.")], frozenset({"gp"}), "h-1"
)
BODY = {"resourceType": "Immunization", "id": "p.child-health.x", "meta": {"versionId": "4"}, "note": [{"text": "Secretnote"}]}
DISCLOSURE = Disclosure(
    permit=Recorded(PERMIT, RECEIPT),
    identity=IDENTITY,
    resources=(Disclosed(BODY, "child-health", Category.IMMUNISATIONS, CareClass.HEALTH, ("gp-direct-care",), (Mark.LOCATING,)),),
    reports=(
        SourceReport("gp", SourceState.TIMED_OUT, reason="budget", took_ms=900),
        SourceReport("child-health", SourceState.STALE, as_of=NOW),
    ),
    withheld={"source-lock": 2},
    withheld_known=frozenset({Category.PROBLEMS}),
    refused=(RefusedRecord("gp", "entry 3", "no code"),),
)


def said(log: FakeLog) -> str:
    return json.dumps([entry.detail for entry in log.entries], default=str)


async def test_a_permit_is_recorded_with_the_facts_and_rules_that_made_it() -> None:
    log = FakeLog()
    recorded = await record_decision(log, PERMIT, now=NOW)
    assert recorded == Recorded(PERMIT, RECEIPT)
    (entry,) = log.entries
    assert (entry.kind, entry.outcome, entry.person, entry.at) == ("decision", "permit", CHILD, NOW)
    assert (entry.organisation, entry.system, entry.purpose) == ("ods:A99901", "riverside", "TREAT")
    assert entry.staff == "https://fhir.nhs.uk/Id/sds-user-id|555000"
    assert (entry.staff_name, entry.role, entry.address) == ("Dr A. Example", "https://example.org/role|R1", "192.0.2.1")
    assert (entry.request_id, entry.correlation_id) == ("r-1", "c-1")
    assert not entry.signed
    detail: Any = entry.detail
    rule = {"id": "gp-direct-care", "because": "The registered GP cares for the child.", "category": "immunisations"}
    assert detail["rules"] == [rule]
    assert detail["policy"] == "h-1"
    assert detail["strip"] == ["locating"]
    assert detail["obligations"] == ["notify"]
    assert detail["facts"]["relationships"] == ["registered-practice"]
    assert detail["facts"]["consents"] == [["store", "permit"]]
    assert detail["facts"]["protected_because"] == ["refuge"]
    assert detail["organisation_name"] == "Riverside Surgery"
    assert detail["token"] == "t-1"


async def test_every_fact_that_policy_may_read_is_in_the_decision_so_that_it_can_be_decided_again() -> None:
    log = FakeLog()
    await record_decision(log, PERMIT, now=NOW)
    facts: Any = log.entries[0].detail["facts"]
    carried = {"person_ref", "request"}
    assert set(facts) == set(Facts.__dataclass_fields__) - carried


async def test_a_deny_is_recorded_with_its_true_reason_and_a_signed_receipt() -> None:
    log = FakeLog()
    recorded = await record_decision(log, DENY, now=NOW)
    assert recorded.value is DENY
    (entry,) = log.entries
    assert (entry.outcome, entry.detail["reason"], entry.signed) == ("deny", "no-relationship", True)
    assert entry.detail["rules"] == [{"id": "needs-relationship", "because": "Nobody cares."}]


async def test_a_number_that_leads_to_nobody_is_recorded_under_that_number() -> None:
    log = FakeLog()
    nobody = replace(DENY, facts=replace(FACTS, usable=False, person_ref=NotUsable("invalidated", CHILD)))
    await record_decision(log, nobody, now=NOW)
    assert log.entries[0].person == CHILD
    assert log.entries[0].detail["not_usable"] == "invalidated"


async def test_a_disclosure_is_itemised_without_its_content() -> None:
    log, job = FakeLog(), Job("notify", "k", NOW, {})
    recorded = await record_disclosure(log, DISCLOSURE, now=NOW, jobs=[job])
    assert recorded == Recorded(DISCLOSURE, RECEIPT)
    assert log.jobs == [job]
    assert log.conditions == [(CHILD, 7)]
    (entry,) = log.entries
    assert (entry.kind, entry.outcome, entry.signed) == ("disclosure", "success", True)
    detail: Any = entry.detail
    (item,) = disclosed_items(detail)
    assert {name: item[name] for name in ("type", "id", "version", "source", "category", "class")} == {
        "type": "Immunization",
        "id": "p.child-health.x",
        "version": "4",
        "source": "child-health",
        "category": "immunisations",
        "class": "health",
    }
    assert (item["rules"], item["stripped"]) == (["gp-direct-care"], ["locating"])
    assert item["digest"] == body_digest(bytes.fromhex(detail["salt"]), BODY)
    assert detail["decision"] == "e-1"
    assert [(source["source"], source["state"]) for source in detail["sources"]] == [
        ("gp", "timed-out"),
        ("child-health", "stale"),
    ]
    assert detail["withheld"] == {"source-lock": 2}
    assert detail["refused"] == [{"source": "gp", "where": "entry 3", "reason": "no code"}]
    assert "Secret" not in said(log)
    assert CHILD.value not in said(log)


def test_an_event_that_counted_items_disclosed_none_of_them():
    assert list(disclosed_items({"items": 3})) == []


async def test_resources_alike_are_one_row_and_each_of_them_is_named_in_it() -> None:
    (one,) = DISCLOSURE.resources
    other = structs.replace(one, body={**BODY, "id": "p.child-health.y"})
    elsewhere = structs.replace(one, body={**BODY, "id": "p.gp.z"}, source="gp")
    log = FakeLog()
    await record_disclosure(log, replace(DISCLOSURE, resources=(one, elsewhere, other)), now=NOW)
    detail: Any = log.entries[0].detail
    assert [(row["source"], len(row["each"])) for row in detail["items"]] == [("child-health", 2), ("gp", 1)]
    found = {item["id"]: item for item in disclosed_items(detail)}
    assert found.keys() == {"p.child-health.x", "p.child-health.y", "p.gp.z"}
    assert found["p.child-health.y"]["digest"] == body_digest(bytes.fromhex(detail["salt"]), other.body)
    assert found["p.gp.z"]["source"] == "gp"


async def test_two_disclosures_of_the_same_resource_have_unlike_digests() -> None:
    log = FakeLog()
    await record_disclosure(log, DISCLOSURE, now=NOW)
    await record_disclosure(log, DISCLOSURE, now=NOW)
    one, two = (next(disclosed_items(entry.detail))["digest"] for entry in log.entries)
    assert one != two


async def test_a_disclosure_whose_facts_moved_gives_no_ticket() -> None:
    log = FakeLog(moved=True)
    assert await record_disclosure(log, DISCLOSURE, now=NOW) is None
    assert log.entries == []


async def test_a_failure_of_a_known_caller_names_the_error_and_no_value() -> None:
    log = FakeLog()
    error = CursorRefused(reason="cursor-altered", expression="cursor")
    assert await record_failure(log, error, CALLER, request_id="r", correlation_id="c", now=NOW) == RECEIPT
    (entry,) = log.entries
    assert (entry.kind, entry.outcome, entry.person) == ("failure", "failure", None)
    assert entry.detail["error"] == "CursorRefused"
    assert (entry.detail["status"], entry.detail["reason"], entry.detail["expression"]) == (400, "cursor-altered", "cursor")


async def test_an_auditors_question_is_an_event_of_its_own() -> None:
    log = FakeLog()
    await record_audit_read(log, REQUEST, person=CHILD, asked={"outcome": "4", "date": "ge2026"}, found=3, now=NOW)
    (entry,) = log.entries
    assert (entry.kind, entry.outcome, entry.person) == ("audit-read", "success", CHILD)
    assert entry.detail["asked"] == {"date": "ge2026", "outcome": "4"}
    assert entry.detail["found"] == 3


async def test_a_log_that_is_down_gives_no_ticket_at_all() -> None:
    log = FakeLog(down=True)
    with pytest.raises(AuditDown):
        await record_decision(log, PERMIT, now=NOW)
    with pytest.raises(AuditDown):
        await record_disclosure(log, DISCLOSURE, now=NOW)


async def test_a_log_that_writes_nothing_without_being_told_a_condition_is_down() -> None:
    with pytest.raises(AuditDown):
        await record_decision(FakeLog(moved=True), DENY, now=NOW)

"""The facts store on both databases: what is in force, for whom, and that every change raises the version."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from store_world import CHILD, NOW, OTHER, version

from gateway.model import ConsentFact
from gateway.ports import Client, PersonFacts
from gateway.store import Store

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
ORG = "gss:E08999901"
WORKER = "https://example.org/staff|7"


async def read(store: Store, **given: Any) -> PersonFacts:
    plain: dict[str, Any] = {"organisation": ORG, "staff": WORKER, "case_reference": "C-1", "client": "c", "at": NOW}
    return await store.facts.read(given.pop("number", CHILD), **{**plain, **given})


async def consent(
    store: Store, scope: str, decision: Any, starts: datetime = NOW, ends: datetime | None = None, by: str = "p"
) -> None:
    await store.consents.put(
        CHILD, scope=scope, decision=decision, given_by=by, recorded_by="x", starts=starts, ends=ends, evidence="e"
    )


async def test_nobody_traced_reads_nobodys_rows(store: Store) -> None:
    await consent(store, "store", "permit")
    facts = await store.facts.read(None, organisation=ORG, staff=WORKER, case_reference=None, client="c", at=NOW)
    assert (facts.version, facts.consents, facts.relationships, facts.locks) == (0, frozenset(), frozenset(), frozenset())


async def test_one_givers_withdrawal_leaves_what_another_gave(store: Store) -> None:
    await consent(store, "share-centres", "permit", NOW - DAY, by="Mother")
    await consent(store, "share-centres", "permit", NOW - DAY, by="Father")
    assert await store.consents.withdraw(CHILD, "share-centres", NOW) is None  # whose?
    assert await store.consents.withdraw(CHILD, "share-centres", NOW, given_by="a stranger") == 0
    assert (await read(store)).consents == {ConsentFact("share-centres", "permit")}
    assert await store.consents.withdraw(CHILD, "share-centres", NOW, given_by=" mother ") == 1
    assert (await read(store)).consents == {ConsentFact("share-centres", "permit")}
    assert await store.consents.withdraw(CHILD, "share-centres", NOW) == 1  # one giver is left
    assert (await read(store)).consents == frozenset()


async def test_the_active_policy_is_read_with_the_facts_of_anybody(store: Store) -> None:
    assert (await read(store)).policy is None
    await store.policy_activation.activate("aa", at=NOW, by="x")
    await store.policy_activation.activate("bb", at=NOW, by="x")
    assert (await read(store)).policy == (await read(store, number=None)).policy == "bb"
    await store.policy_activation.activate("aa", at=NOW, by="x")
    assert (await read(store)).policy == "aa"


async def test_the_newest_decision_of_a_scope_in_force_counts(store: Store) -> None:
    await consent(store, "store", "deny", NOW - 3 * DAY)
    await consent(store, "store", "permit", NOW - 2 * DAY)
    await consent(store, "store", "deny", NOW + DAY)
    assert (await read(store)).consents == {ConsentFact("store", "permit")}
    assert (await read(store, at=NOW + DAY)).consents == {ConsentFact("store", "deny")}
    assert (await read(store, number=OTHER)).consents == frozenset()


async def test_a_deny_wins_over_a_permit_of_the_same_instant(store: Store) -> None:
    await consent(store, "research", "deny")
    await consent(store, "research", "permit")
    await consent(store, "store", "permit")
    await consent(store, "store", "deny")
    assert (await read(store)).consents == {ConsentFact("research", "deny"), ConsentFact("store", "deny")}


async def test_where_two_parents_disagree_the_refusal_stands_until_its_own_giver_takes_it_back(store: Store) -> None:
    await consent(store, "share-health", "deny", NOW - 3 * DAY, by="Father")
    await consent(store, "share-health", "permit", NOW - 2 * DAY, by="Mother")
    assert (await read(store)).consents == {ConsentFact("share-health", "deny")}
    await consent(store, "share-health", "permit", NOW - DAY, by=" father ")
    assert (await read(store)).consents == {ConsentFact("share-health", "permit")}


async def test_an_ended_consent_no_longer_counts_at_the_instant_it_ends(store: Store) -> None:
    await consent(store, "store", "permit", NOW - DAY, NOW)
    assert (await read(store)).consents == frozenset()
    assert (await read(store, at=NOW - timedelta(microseconds=1))).consents == {ConsentFact("store", "permit")}


async def test_a_withdrawn_consent_stops_and_its_past_remains(store: Store) -> None:
    await consent(store, "share-health", "permit", NOW - DAY)
    assert await store.consents.withdraw(CHILD, "share-health", NOW) == 1
    assert (await read(store)).consents == frozenset()
    assert (await read(store, at=NOW - DAY)).consents == {ConsentFact("share-health", "permit")}
    assert await store.consents.withdraw(CHILD, "share-health", NOW) == 0


async def test_a_refusal_of_direct_care_sharing_is_an_objection(store: Store) -> None:
    await consent(store, "store", "deny")
    assert not (await read(store)).objection
    await consent(store, "direct-care", "deny")
    assert (await read(store)).objection
    await consent(store, "direct-care", "permit", NOW + DAY)
    assert not (await read(store, at=NOW + DAY)).objection


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"allocated-worker"}),
        ({"case_reference": "C-2"}, set()),
        ({"case_reference": None}, set()),
        ({"staff": "https://example.org/staff|8"}, set()),
        ({"organisation": "gss:E08999902"}, set()),
        ({"at": NOW - timedelta(seconds=1)}, set()),
        ({"at": NOW + DAY}, set()),
        ({"number": OTHER}, set()),
    ],
)
async def test_an_allocated_worker_needs_the_child_the_case_the_staff_and_the_time(
    store: Store, asked: dict[str, Any], expected: set[str]
) -> None:
    await store.relationships.put(
        "allocated-worker", CHILD, organisation=ORG, staff=WORKER, case_reference="C-1", starts=NOW, ends=NOW + DAY
    )
    assert (await read(store, **asked)).relationships == expected


@pytest.mark.parametrize(("staff", "case"), [(None, "C-1"), (WORKER, None), (None, None)])
async def test_an_allocation_that_names_no_worker_or_no_case_is_never_in_force(
    store: Store, staff: str | None, case: str | None
) -> None:
    await store.relationships.put(
        "allocated-worker", CHILD, organisation=ORG, staff=staff, case_reference=case, starts=NOW, ends=None
    )
    assert (await read(store, case_reference=case)).relationships == frozenset()


@pytest.mark.parametrize(
    ("ended", "rows", "left"),
    [
        ({}, 2, set()),
        ({"staff": WORKER}, 1, {"caseload"}),
        ({"staff": WORKER, "case_reference": "C-1"}, 1, {"caseload"}),
        ({"staff": WORKER, "case_reference": "C-2"}, 0, {"caseload"}),
        ({"kind": "centre-registration"}, 0, {"caseload"}),
        ({"organisation": "gss:E08999902"}, 0, {"caseload"}),
        ({"number": OTHER}, 0, {"caseload"}),
    ],
)
async def test_a_relationship_that_ended_counts_no_more_and_moves_the_facts(
    store: Store, ended: dict[str, Any], rows: int, left: set[str]
) -> None:
    for staff, case in ((None, None), (WORKER, "C-1")):
        await store.relationships.put(
            "caseload", CHILD, organisation=ORG, staff=staff, case_reference=case, starts=NOW - DAY, ends=None
        )
    before = await read(store)
    asked: dict[str, Any] = {"kind": "caseload", "number": CHILD, "organisation": ORG, "staff": None, "case_reference": None}
    assert await store.relationships.end(**{**asked, **ended}, at=NOW) == rows
    after = await read(store)
    assert after.relationships == left
    assert (after.version > before.version) is (rows > 0)


async def test_a_caseload_of_a_team_counts_for_all_and_of_one_person_for_that_person(store: Store) -> None:
    await store.relationships.put("caseload", CHILD, organisation=ORG, staff=None, case_reference=None, starts=NOW, ends=None)
    await store.relationships.put("caseload", OTHER, organisation=ORG, staff=WORKER, case_reference=None, starts=NOW, ends=None)
    assert (await read(store, staff="anyone", case_reference=None)).relationships == {"caseload"}
    assert (await read(store, number=OTHER, case_reference=None)).relationships == {"caseload"}
    assert (await read(store, number=OTHER, staff="anyone")).relationships == frozenset()


async def test_locks_of_all_sources_count_and_a_snapshot_lifts_its_own_only(store: Store) -> None:
    await store.protections.assert_locks("authority", {CHILD: frozenset({"refuge"})}, NOW, snapshot=True)
    await store.protections.assert_locks("centre", {CHILD: frozenset({"address-lock"})}, NOW, snapshot=True)
    facts = await read(store)
    assert facts.locks == {"refuge", "address-lock"}
    assert facts.feeds == {"authority": NOW, "centre": NOW}
    await store.protections.assert_locks("authority", {OTHER: frozenset({"placement"})}, NOW + DAY, snapshot=True)
    assert (await read(store)).locks == {"address-lock"}
    assert (await read(store, number=OTHER)).locks == {"placement"}
    assert (await read(store)).feeds["authority"] == NOW + DAY


async def test_an_older_snapshot_lifts_nothing(store: Store) -> None:
    await store.protections.assert_locks("authority", {CHILD: frozenset({"refuge"})}, NOW, snapshot=True)
    await store.protections.assert_locks("authority", {}, NOW - DAY, snapshot=True)
    facts = await read(store)
    assert facts.locks == {"refuge"}
    assert facts.feeds == {"authority": NOW}


async def test_an_event_lifts_the_locks_of_those_it_lists_unless_it_is_late(store: Store) -> None:
    await store.protections.assert_locks(
        "pds", {CHILD: frozenset({"restricted"}), OTHER: frozenset({"restricted"})}, NOW, snapshot=False
    )
    await store.protections.assert_locks("pds", {CHILD: frozenset()}, NOW - DAY, snapshot=False)
    assert (await read(store)).locks == {"restricted"}
    await store.protections.assert_locks("pds", {CHILD: frozenset()}, NOW + DAY, snapshot=False)
    assert (await read(store)).locks == frozenset()
    assert (await read(store, number=OTHER)).locks == {"restricted"}


async def test_every_change_of_one_person_raises_that_persons_version_only(store: Store) -> None:
    versions, other = [await version(store)], (await read(store, number=OTHER)).version
    await consent(store, "store", "permit")
    versions.append(await version(store))
    await store.consents.withdraw(CHILD, "store", NOW)
    versions.append(await version(store))
    await store.relationships.put("caseload", CHILD, organisation=ORG, staff=None, case_reference=None, starts=NOW, ends=None)
    versions.append(await version(store))
    await store.protections.assert_locks("authority", {CHILD: frozenset({"refuge"})}, NOW, snapshot=True)
    versions.append(await version(store))
    await store.protections.assert_locks("authority", {}, NOW + DAY, snapshot=True)
    versions.append(await version(store))
    assert versions == sorted(set(versions))
    assert (await read(store, number=OTHER)).version == other


async def test_an_unchanged_snapshot_raises_no_version(store: Store) -> None:
    await store.protections.assert_locks("authority", {CHILD: frozenset({"refuge"})}, NOW, snapshot=True)
    before = await version(store)
    await store.protections.assert_locks("authority", {CHILD: frozenset({"refuge"})}, NOW + DAY, snapshot=True)
    assert await version(store) == before


async def test_a_revoked_or_unknown_client_has_no_version(store: Store) -> None:
    assert (await read(store)).client_version is None
    nothing: frozenset[str] = frozenset()
    client = Client("c", "Example", nothing, nothing, nothing, nothing, nothing, {"keys": []}, None, 0, False)
    await store.clients.put(client)
    assert (await read(store)).client_version == 1
    await store.clients.put(client)
    assert (await read(store)).client_version == 2
    assert await store.clients.revoke("c")
    assert (await read(store)).client_version is None
    assert not await store.clients.revoke("c")
    stored = await store.clients.get("c")
    assert stored is not None
    assert (stored.revoked, stored.version) == (True, 3)

"""Local records, their links and what dies with a number, on both databases."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from store_world import CHILD, NOW, OTHER, entry

from gateway.nhs_number import NhsNumber
from gateway.ports import Chunk, CrosswalkRow, LocalRecord, LogQuestion, NewWork, Settled, ShelfRow, Traced
from gateway.store import Store

pytestmark = pytest.mark.anyio

BORN = date(2021, 2, 3)
FRESH = NhsNumber("9990000034")
RECORD = LocalRecord("authority", "LA-1", None, "Firstname", "Eli", BORN, "", "male", "ZZ99 1AZ", "A123456789012")
LINK = CrosswalkRow("authority", "LA-1", CHILD, BORN, NOW.date(), "matching", "person", "pds-search")
UPN = replace(LINK, local_id="A123456789012", kind="upn")
GUARDIAN = NewWork("guardian", "buried", "authority", "the adoption guardian", NOW, "guardian:authority:LA-1", local_ref="LA-1")
TASK = replace(GUARDIAN, kind="match", reason="several", owner="records", key="match:authority:LA-1")


def settled(record: LocalRecord = RECORD, *links: CrosswalkRow) -> Settled:
    if not links:
        return Settled(record, "ManyMatch", "several", (), (TASK,), GUARDIAN)
    return Settled(record, "Match", "found", links, (), GUARDIAN)


async def acts(store: Store, number: NhsNumber) -> list[str]:
    return [event.body["detail"]["act"] for event in await store.log.ask(LogQuestion(person=number, kind="administration"))]


async def stage(store: Store, *records: LocalRecord, digest: str = "file", cursor: int = 1) -> None:
    await store.local_records.begin("authority", digest, NOW)
    await store.local_records.stage("authority", digest, records, (), cursor=cursor, at=NOW)


async def test_a_chunk_and_the_cursor_behind_it_are_one(store: Store) -> None:
    assert await store.local_records.begin("authority", "file", NOW) == 0
    await store.local_records.stage("authority", "file", [RECORD], [TASK], cursor=2, at=NOW)
    assert await store.local_records.begin("authority", "file", NOW) == 2
    assert await store.local_records.begin("authority", "another file", NOW) == 0
    assert await store.local_records.begin("centre", "file", NOW) == 0
    (pending,) = await store.local_records.pending("authority", 10)
    assert (pending.local_id, pending.family, pending.birth_date, pending.upn) == ("LA-1", "Firstname", BORN, RECORD.upn)
    assert "Firstname" not in repr(pending)
    assert len(await store.work.list()) == 1
    assert await store.local_records.pending("centre", 10) == []


async def test_a_record_that_is_settled_is_pending_again_only_when_it_has_changed(store: Store) -> None:
    await stage(store, RECORD)
    assert (await store.local_records.settle([settled(RECORD, LINK, UPN)], NOW, by="matching")).records == 1
    await stage(store, RECORD, digest="the same again")
    assert await store.local_records.counts("authority") == {"Match": 1}
    await stage(store, replace(RECORD, postcode="ZZ99 2AZ"), digest="moved house")
    assert await store.local_records.counts("authority") == {"pending": 1}


async def test_a_chunk_says_how_many_records_are_new_or_changed_and_which_work_items_were_not_open_before(store: Store) -> None:
    others = [replace(RECORD, local_id=f"LA-{number}") for number in (2, 3)]
    staged = await store.local_records.stage("authority", "f", [RECORD, *others], [TASK, GUARDIAN], cursor=3, at=NOW)
    assert staged == Chunk(3, {"match": 1, "guardian": 1})
    changed = [RECORD, replace(others[0], given="Elias"), replace(others[1], local_id="LA-4")]
    assert await store.local_records.stage("authority", "g", changed, [TASK], cursor=3, at=NOW) == Chunk(2, {})
    assert await store.local_records.settle([settled(RECORD)], NOW, by="matching") == Chunk(0, {})
    assert await store.local_records.settle([settled(changed[1], LINK)], NOW, by="matching") == Chunk(1, {})


async def test_a_link_is_found_both_ways_and_its_pupil_number_is_never_given_out(store: Store) -> None:
    await stage(store, RECORD)
    await store.local_records.settle([settled(RECORD, LINK, UPN)], NOW, by="matching")
    assert await store.crosswalk.local_ids("authority", CHILD) == [("LA-1", BORN)]
    assert await store.crosswalk.number_of_upn("authority", "a123456789012") == CHILD
    assert await store.crosswalk.number_of("authority", "A123456789012") is None
    assert await store.crosswalk.number_of_upn("another", "A123456789012") is None


async def test_each_persons_link_is_an_event_of_their_own_and_the_same_link_again_is_none(store: Store) -> None:
    rows = [LINK, replace(LINK, local_id="LA-2", number=OTHER)]
    assert await store.crosswalk.put(rows, by="sds|200") == 2
    assert await store.crosswalk.put(rows, by="sds|200") == 0
    assert await acts(store, CHILD) == ["crosswalk-linked"]
    (event,) = await store.log.ask(LogQuestion(person=OTHER))
    assert event.body["detail"] == {"act": "crosswalk-linked", "source": "authority", "kind": "person", "came_from": "pds-search"}
    assert await store.crosswalk.put([replace(LINK, number=OTHER)]) == 1
    assert await acts(store, CHILD) == ["crosswalk-unlinked", "crosswalk-linked"]
    assert await store.verify() == []


async def test_a_record_that_no_longer_matches_is_no_longer_linked(store: Store) -> None:
    await stage(store, RECORD)
    await store.local_records.settle([settled(RECORD, LINK, UPN)], NOW, by="matching")
    await stage(store, replace(RECORD, given="Elias"), digest="renamed")
    assert (await store.local_records.settle([settled(replace(RECORD, given="Elias"))], NOW, by="matching")).records == 0
    assert await store.crosswalk.number_of("authority", "LA-1") is None
    assert await store.crosswalk.number_of_upn("authority", RECORD.upn) is None
    assert await acts(store, CHILD) == ["crosswalk-unlinked"] * 2 + ["crosswalk-linked"] * 2
    assert [item.reason for item in await store.work.list()] == ["several"]
    found = await store.local_records.find("authority", "LA-1")
    assert found is not None
    assert found.given == "Elias"


async def ended(store: Store) -> None:
    """Everything a child may have here, and then the number dies."""
    await stage(store, RECORD)
    await store.local_records.settle([settled(RECORD, LINK, UPN)], NOW, by="matching")
    await store.consents.put(
        CHILD, scope="store", decision="permit", given_by="p", recorded_by="x", starts=NOW, ends=None, evidence="e"
    )
    await store.relationships.put("caseload", CHILD, organisation="o", staff=None, case_reference=None, starts=NOW, ends=None)
    await store.work.open([replace(TASK, key="a task about the child", person=CHILD)], NOW)
    kept = ShelfRow("authority", "s", "flag", "1", "LA-1", NOW, b"{}", NOW + timedelta(days=9))
    await store.shelf.put([kept, replace(kept, business_id="2", holder=CHILD)], entry(kind="intake", person=None))
    trace = {"name": [{"family": "Firstname", "given": ["Eli"]}]}
    await store.persons.admit(Traced(CHILD, BORN, False, False, None, trace, "1"), NOW)
    await store.persons.seal(CHILD, NOW)


async def test_with_an_invalidated_number_everything_that_hung_on_it_ends_in_one_event(store: Store) -> None:
    await ended(store)
    (event,) = [
        one for one in await store.log.ask(LogQuestion(person=CHILD)) if one.body["detail"]["act"] == "number-invalidated"
    ]
    assert event.body["detail"]["ended"] == {"links": 2, "consents": 1, "relationships": 1, "work": 1, "copies": 2, "parcels": 0}
    assert await store.crosswalk.local_ids("authority", CHILD) == []
    assert await store.crosswalk.number_of("authority", "LA-1") is None
    assert await store.crosswalk.number_of_upn("authority", RECORD.upn) is None
    assert await store.work.list() == []
    assert await store.shelf.newest("authority", "LA-1", NOW) == []
    facts = await store.facts.read(CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW + timedelta(1))
    assert (facts.consents, facts.relationships) == (frozenset(), frozenset())
    await store.persons.seal(CHILD, NOW)
    assert (await acts(store, CHILD)).count("number-invalidated") == 1, "PDS says it at every question; it happened once"
    assert await store.verify() == []


@pytest.mark.parametrize(
    ("record", "link"),
    [
        (replace(RECORD, upn="", family="Other", given="Name"), replace(LINK, number=FRESH)),
        (replace(RECORD, local_id="LA-9", upn="", given="ELI"), replace(LINK, local_id="LA-9", number=FRESH)),
    ],
    ids=["the old id", "the old name and birth date, under a new id"],
)
async def test_what_was_buried_with_a_number_is_joined_to_no_other_by_a_program(
    store: Store, record: LocalRecord, link: CrosswalkRow
) -> None:
    await ended(store)
    await stage(store, record, digest="after")
    assert (await store.local_records.settle([settled(record, link)], NOW, by="matching")).records == 0
    assert await store.crosswalk.local_ids("authority", FRESH) == []
    assert await store.crosswalk.buried([LINK, replace(LINK, local_id="LA-0"), UPN]) == [LINK, UPN]
    assert [(item.kind, item.owner) for item in await store.work.list()] == [("guardian", "the adoption guardian")]
    assert await acts(store, FRESH) == []
    assert await store.local_records.counts("authority") == {"NoMatch": 1}


async def test_a_buried_pupil_number_keeps_its_whole_record_back_in_every_authority(store: Store) -> None:
    await ended(store)
    record = replace(RECORD, source="elsewhere", local_id="X-1", number=FRESH, family="Newhome", given="Elliot")
    links = [replace(LINK, source="elsewhere", local_id="X-1", number=FRESH), replace(UPN, source="elsewhere", number=FRESH)]
    await store.local_records.begin("elsewhere", "f", NOW)
    await store.local_records.stage("elsewhere", "f", [record], (), cursor=1, at=NOW)
    assert (await store.local_records.settle([settled(record, *links)], NOW, by="matching")).records == 0
    assert await store.crosswalk.local_ids("elsewhere", FRESH) == []
    assert await store.crosswalk.put(links) == 1, "an operator's own list still passes over the pupil number"
    assert await store.crosswalk.number_of_upn("elsewhere", RECORD.upn) is None


async def test_the_new_number_under_a_new_id_is_linked_like_anybody_and_leads_to_nothing_old(store: Store) -> None:
    await ended(store)
    record = replace(RECORD, local_id="LA-77", number=FRESH, family="Newhome", given="Elliot", upn="B123456789012")
    links = [replace(LINK, local_id="LA-77", number=FRESH), replace(UPN, local_id="B123456789012", number=FRESH)]
    await stage(store, record, digest="after")
    assert (await store.local_records.settle([settled(record, *links)], NOW, by="matching")).records == 1
    assert await store.crosswalk.local_ids("authority", FRESH) == [("LA-77", BORN)]
    assert await store.log.ask(LogQuestion(person=FRESH, kind="intake")) == []
    assert {event.body["detail"]["act"] for event in await store.log.ask(LogQuestion(person=FRESH))} == {"crosswalk-linked"}


async def test_from_a_placement_for_adoption_on_what_was_permitted_before_permits_nothing_and_a_refusal_stands(
    store: Store,
) -> None:
    for scope, decision, giver in (
        ("store", "permit", "mother"),
        ("share-health", "permit", "father"),
        ("direct-care", "deny", "mother"),
    ):
        await store.consents.put(
            CHILD, scope=scope, decision=decision, given_by=giver, recorded_by="x", starts=NOW, ends=None, evidence="e"
        )
    await store.protections.add_locks("authority", {CHILD: frozenset({"adoption"})}, NOW + timedelta(days=1))

    async def consents(at: timedelta) -> set[tuple[str, str]]:
        facts = await store.facts.read(CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW + at)
        assert facts.locks == {"adoption"}
        return {(consent.scope, consent.decision) for consent in facts.consents}

    assert await consents(timedelta(days=2)) == {("direct-care", "deny")}
    await store.consents.put(
        CHILD,
        scope="store",
        decision="permit",
        given_by="adopter",
        recorded_by="x",
        starts=NOW + timedelta(days=3),
        ends=None,
        evidence="e",
    )
    assert await consents(timedelta(days=4)) == {("direct-care", "deny"), ("store", "permit")}
    await store.protections.assert_locks("authority", {}, NOW + timedelta(days=5), snapshot=True)
    facts = await store.facts.read(
        CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW + timedelta(days=6)
    )
    assert len(facts.consents) == 3, "a placement order that was revoked"


async def test_links_consents_and_events_of_a_superseded_number_are_the_new_ones_and_their_history_stays(store: Store) -> None:
    await store.crosswalk.put([LINK])
    await store.consents.put(
        CHILD, scope="store", decision="permit", given_by="p", recorded_by="x", starts=NOW, ends=None, evidence="e"
    )
    await store.persons.supersede(CHILD, Traced(OTHER, BORN, False, False, None, {}, "2"), NOW)
    assert await store.crosswalk.local_ids("authority", OTHER) == [("LA-1", BORN)]
    facts = await store.facts.read(OTHER, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    assert {(consent.scope, consent.decision) for consent in facts.consents} == {("store", "permit")}
    assert sorted(await acts(store, OTHER)) == ["consent-recorded", "crosswalk-linked"]
    assert sorted(await acts(store, CHILD)) == ["consent-recorded", "crosswalk-linked"]
    assert await store.crosswalk.number_of("authority", "LA-1") == CHILD, "as it was recorded: that is its history"

"""Clients, limits, crosswalk, shelf and policy activation on both databases."""

import asyncio
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from store_world import CHILD, NOW, OTHER, entry

from gateway.nhs_number import NhsNumber
from gateway.ports import Client, CrosswalkRow, Listed, LogQuestion, NewWork, ShelfRow, ShelfStored, Traced
from gateway.store import Keys, Store, open_store

pytestmark = pytest.mark.anyio

CLIENT = Client(
    id="riverside",
    name="Riverside EHR",
    organisations=frozenset({"ods:A99901", "ods:A99902"}),
    roles=frozenset({"https://example.org/role|R1"}),
    purposes=frozenset({"TREAT"}),
    scopes=frozenset({"system/*.rs"}),
    algorithms=frozenset({"ES384"}),
    jwks={"keys": [{"kty": "EC", "kid": "1"}]},
    jwks_url=None,
    version=0,
    revoked=False,
    certificate_thumbprint="abc",
    strict=True,
    audiences=frozenset({"https://example.org/token"}),
)
ROW = ShelfRow("child-health", "ods:RXX99", "vaccinations-1", "b-1", CHILD, NOW, b'{"dose":1}', NOW + timedelta(days=30))


async def test_a_client_is_read_back_whole_under_the_stores_own_version(store: Store) -> None:
    assert await store.clients.get("riverside") is None
    await store.clients.put(replace(CLIENT, version=99))
    assert await store.clients.get("riverside") == replace(CLIENT, version=1)
    await store.clients.put(replace(CLIENT, id="a-first"))
    assert [client.id for client in await store.clients.all()] == ["a-first", "riverside"]
    assert not await store.clients.revoke("nobody")


@pytest.mark.parametrize("per_minute", [3, 600])
async def test_a_minutes_worth_is_taken_and_the_next_waits(store: Store, per_minute: int) -> None:
    taken = [await store.limits.take("c", per_minute=per_minute, now=NOW) for _ in range(per_minute)]
    assert taken == [None] * per_minute
    wait = await store.limits.take("c", per_minute=per_minute, now=NOW)
    assert wait is not None
    assert 1 <= wait <= 60 // per_minute + 1
    assert await store.limits.take("somebody-else", per_minute=per_minute, now=NOW) is None
    assert await store.limits.take("c", per_minute=per_minute, now=NOW + timedelta(seconds=wait)) is None


async def test_two_workers_together_never_exceed_the_rate(url: str, keys: Keys) -> None:
    one = await open_store(url, keys, name="a")
    two = await open_store(url, keys, name="b", serve=False)
    try:
        taken = [await worker.limits.take("c", per_minute=100, now=NOW) for _ in range(100) for worker in (one, two)]
        assert taken.count(None) == 100
    finally:
        await two.close()
        await one.close()


async def test_a_crosswalk_gives_local_ids_and_numbers_both_ways(store: Store) -> None:
    row = CrosswalkRow("authority", "LA-1", CHILD, date(2020, 2, 29), date(2026, 1, 1), "a.n.other")
    assert await store.crosswalk.put([row, replace(row, local_id="LA-2", birth_date=None)]) == 2
    assert await store.crosswalk.local_ids("authority", CHILD) == [("LA-1", date(2020, 2, 29)), ("LA-2", None)]
    assert await store.crosswalk.local_ids("centre", CHILD) == []
    assert await store.crosswalk.number_of("authority", "LA-1") == CHILD
    assert await store.crosswalk.number_of("centre", "LA-1") is None
    await store.crosswalk.put([replace(row, number=OTHER)])
    assert await store.crosswalk.number_of("authority", "LA-1") == OTHER
    assert await store.crosswalk.local_ids("authority", CHILD) == [("LA-2", None)]


async def test_the_newest_shelf_row_wins_by_the_senders_clock(store: Store) -> None:
    assert await store.shelf.put([ROW], entry(kind="intake", person=None)) == 1
    assert await store.shelf.put([replace(ROW, body=b"older", as_of=NOW - timedelta(1))], entry(kind="intake", person=None)) == 0
    assert await store.shelf.put([replace(ROW, body=b"equal")], entry(kind="intake", person=None)) == 0
    stored = ShelfStored("vaccinations-1", "b-1", "ods:RXX99", NOW, b'{"dose":1}')
    assert await store.shelf.newest("child-health", CHILD, NOW) == [stored]
    assert await store.shelf.newest("authority", CHILD, NOW) == []
    assert await store.shelf.newest("child-health", OTHER, NOW) == []
    assert await store.shelf.delivered_at("child-health") == NOW
    assert await store.shelf.delivered_at("authority") is None
    events = await store.log.ask(LogQuestion(kind="intake"))
    assert [event.body["detail"]["rows_changed"] for event in events] == [0, 0, 1]
    assert await store.verify() == []


async def test_a_deletion_by_the_sender_stays_deleted_when_an_older_row_comes_late(store: Store) -> None:
    await store.shelf.put([ROW], entry(kind="intake"))
    await store.shelf.put([replace(ROW, body=None, as_of=NOW + timedelta(1))], entry(kind="intake"))
    await store.shelf.put([ROW], entry(kind="intake"))
    assert await store.shelf.newest("child-health", CHILD, NOW) == []


async def test_a_snapshot_removes_what_it_no_longer_lists_and_an_old_one_changes_nothing(store: Store) -> None:
    first = replace(ROW, source="authority", holder="LA-1", business_id="1")
    second = replace(first, holder="LA-2", business_id="2")
    assert await store.shelf.replace("authority", [first, second], NOW, entry(kind="intake")) == 2
    other_kind, gone = replace(second, kind="other"), replace(second, body=None)
    assert await store.shelf.unlisted("authority", [second], NOW) == (2, 1)
    assert await store.shelf.unlisted("authority", [first, second, other_kind], NOW) == (2, 0)
    assert await store.shelf.unlisted("authority", [other_kind, gone], NOW) == (2, 2)
    assert await store.shelf.unlisted("authority", [], second.keep_until) == (0, 0)
    assert await store.shelf.unlisted("child-health", [], NOW) == (0, 0)
    assert await store.shelf.replace("authority", [second], NOW + timedelta(1), entry(kind="intake")) == 1
    assert await store.shelf.replace("authority", [first], NOW, entry(kind="intake")) == 0
    assert await store.shelf.newest("authority", "LA-1", NOW) == []
    assert [row.business_id for row in await store.shelf.newest("authority", "LA-2", NOW)] == ["2"]
    assert await store.shelf.delivered_at("authority") == NOW + timedelta(1)
    facts = await store.facts.read(None, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    assert facts.feeds == {}  # records alone do not make a source fresh: its locks do


async def test_a_shelf_row_past_its_date_is_not_shown_and_its_purge_is_in_the_log(store: Store) -> None:
    await store.shelf.put([ROW, replace(ROW, business_id="b-2", keep_until=NOW + timedelta(60))], entry(kind="intake"))
    late = NOW + timedelta(days=30)
    assert [row.business_id for row in await store.shelf.newest("child-health", CHILD, late)] == ["b-2"]
    assert await store.shelf.purge(late) == 1
    assert await store.shelf.purge(late) == 0
    (event,) = await store.log.ask(LogQuestion(kind="administration"))
    assert event.body["detail"] == {"action": "shelf-purge", "rows": 1}


async def test_the_shelf_follows_a_superseded_number(store: Store) -> None:
    await store.shelf.put([ROW], entry(kind="intake"))
    traced = Traced(OTHER, None, False, False, None, {}, "1")
    await store.persons.supersede(CHILD, traced, NOW)
    assert [row.body for row in await store.shelf.newest("child-health", OTHER, NOW)] == [b'{"dose":1}']
    assert await store.shelf.newest("child-health", NhsNumber("9990000034"), NOW) == []


async def test_one_thing_told_of_two_people_is_shown_of_neither_until_its_sender_deletes_one(store: Store) -> None:
    mine, theirs = ROW, replace(ROW, holder=OTHER, as_of=NOW + timedelta(1))
    for first, second in ((mine, theirs), (theirs, mine)):
        pair = [replace(each, business_id=f"b-{first.as_of}") for each in (first, second)]
        for row in pair:
            await store.shelf.put([row], entry(kind="intake", person=None))
        assert await store.shelf.newest("child-health", CHILD, NOW) == []
        assert await store.shelf.newest("child-health", OTHER, NOW) == []
        gone = replace(pair[0], body=None, as_of=NOW + timedelta(2))
        assert await store.shelf.put([gone], entry(kind="intake", person=None)) == 1
        assert [row.body for row in await store.shelf.newest("child-health", pair[1].holder, NOW)] == [ROW.body]
        await store.shelf.put([replace(pair[1], body=None, as_of=NOW + timedelta(2))], entry(kind="intake", person=None))
    contested = [event.body["detail"].get("contested") for event in await store.log.ask(LogQuestion(kind="intake"))]
    assert contested == [None, 1, 1, None, None, 1, 1, None]


async def test_a_record_that_moves_is_its_newest_holders_whichever_came_first(store: Store) -> None:
    was, now_ = replace(ROW, moves=True), replace(ROW, holder=OTHER, body=b"corrected", as_of=NOW + timedelta(1), moves=True)
    for number, rows in enumerate(((was, now_), (now_, was), (was, now_, was))):
        for row in rows:
            await store.shelf.put([replace(row, business_id=f"b-{number}")], entry(kind="intake", person=None))
    assert await store.shelf.heard("child-health", CHILD, NOW) == []
    held = await store.shelf.newest("child-health", OTHER, NOW)
    assert [(row.body, row.contested) for row in held] == [(b"corrected", False)] * 3
    told = [event.body["detail"] for event in await store.log.ask(LogQuestion(kind="intake"))]
    assert [detail.get("moved") for detail in reversed(told)] == [None, 1, None, None, None, 1, None]
    assert not any("contested" in detail for detail in told)
    assert await store.verify() == []


async def test_of_two_holders_at_one_instant_nobody_can_say_which_is_right_and_somebody_is_told(store: Store) -> None:
    owed = NewWork("contested", "r", "child-health", "o", NOW, "k")
    for row in (replace(ROW, moves=True), replace(ROW, holder=OTHER, moves=True)):
        assert await store.work.list() == []
        await store.shelf.put_each([([row], entry(kind="intake", person=None))], if_contested=[owed])
    assert [item.kind for item in await store.work.list()] == ["contested"]
    for holder in (CHILD, OTHER):
        assert await store.shelf.newest("child-health", holder, NOW) == []
        assert [row.contested for row in await store.shelf.heard("child-health", holder, NOW)] == [True]
    settled = replace(ROW, as_of=NOW + timedelta(1), moves=True)  # the next list settles it
    await store.shelf.put([settled], entry(kind="intake", person=None))
    assert len(await store.shelf.newest("child-health", CHILD, NOW)) == 1
    assert await store.shelf.heard("child-health", OTHER, NOW) == []


@pytest.mark.parametrize("hours", [-1, 0, 1])
async def test_a_deletion_that_names_another_child_removes_nothing(store: Store, hours: int) -> None:
    gone = replace(ROW, holder=OTHER, body=None, as_of=NOW + timedelta(hours=hours))
    for order in ((ROW, gone), (gone, ROW)):
        for row in order:
            await store.shelf.put([row], entry(kind="intake", person=None))
        assert [row.body for row in await store.shelf.newest("child-health", CHILD, NOW)] == [ROW.body]


async def test_under_a_new_number_the_newest_of_both_counts_and_a_deletion_deletes_both(store: Store) -> None:
    await store.shelf.put([ROW], entry(kind="intake"))
    await store.persons.supersede(CHILD, Traced(OTHER, None, False, False, None, {}, "1"), NOW)
    await store.shelf.put([replace(ROW, holder=OTHER, body=b"newer", as_of=NOW + timedelta(1))], entry(kind="intake"))
    assert [row.body for row in await store.shelf.newest("child-health", OTHER, NOW)] == [b"newer"]
    await store.shelf.put([replace(ROW, holder=OTHER, body=None, as_of=NOW + timedelta(2))], entry(kind="intake"))
    assert await store.shelf.newest("child-health", OTHER, NOW) == []


async def test_several_deliveries_are_one_transaction_and_an_event_each(store: Store) -> None:
    owed = NewWork("quarantine", "r", "child-health", "o", NOW, "k")
    deliveries = [([ROW], entry(kind="intake", detail={"delivery": "a"})), ([], entry(kind="intake", detail={"delivery": "b"}))]
    assert await store.shelf.put_each(deliveries, [owed]) == [1, 0]
    events = await store.log.ask(LogQuestion(kind="intake"))
    assert [(event.body["detail"]["delivery"], event.body["detail"]["rows_changed"]) for event in events] == [("b", 0), ("a", 1)]
    assert [item.kind for item in await store.work.list()] == ["quarantine"]
    assert await store.verify() == []


def rows_of(*ids: str, at: datetime) -> list[ShelfRow]:
    return [replace(ROW, business_id=one, as_of=at, keep_until=NOW + timedelta(days=40_000)) for one in ids]


async def delivered(store: Store, at: datetime | None, *ids: str, unread: int = 0) -> int:
    """A list made at that time, with these records and so many rows that nobody could read -> how the source stands then."""
    aside = NewWork("set-aside", "no number", "child-health", "o", NOW, "aside:child-health")
    rows, owed = rows_of(*ids, at=at or NOW), [aside] if unread else []
    listed = [Listed("child-health", at, unread)]
    await store.shelf.put_each([(rows if at else [], entry(kind="intake"))], owed, listed=listed)
    return await store.shelf.unread("child-health")


async def test_a_list_with_a_row_nobody_could_read_marks_its_source_until_a_newer_one_is_whole(store: Store) -> None:
    assert await delivered(store, NOW, "a", "b") == 0
    assert await delivered(store, NOW + timedelta(hours=1), "a", "b", unread=2) == 2
    assert await delivered(store, NOW, "a", "b") == 2  # an older one settles nothing
    assert await delivered(store, NOW + timedelta(hours=2), "c") == 2  # nor a part of a list
    assert await delivered(store, NOW + timedelta(hours=3), "a", "b", unread=1) == 1
    assert await delivered(store, NOW + timedelta(hours=3), "a", "b", "c") == 0  # the same, put right
    assert await delivered(store, NOW + timedelta(hours=1), "a", unread=1) == 0  # an older list, late: this one is whole
    assert await delivered(store, None, unread=1) == 1
    assert await delivered(store, NOW + timedelta(hours=3), "a", "b", "c") == 1
    assert await delivered(store, NOW + timedelta(hours=4), "a", "b", "c") == 0
    assert await store.shelf.unread("authority") == 0


async def test_a_snapshot_without_rows_that_could_not_be_taken_marks_its_source_too_until_the_next(store: Store) -> None:
    for hour, unread in ((1, 2), (2, 0), (3, 1), (1, 0)):  # the last is older than what is held, and changes nothing
        at = NOW + timedelta(hours=hour)
        await store.shelf.replace("child-health", rows_of("a", at=at), at, entry(kind="intake"), unread=unread)
        assert await store.shelf.unread("child-health") == (unread or int(hour == 1))


async def test_a_mark_ends_when_a_person_has_settled_all_that_was_set_aside(store: Store) -> None:
    other = NewWork("set-aside", "a birth date that cannot be read", "child-health", "o", NOW, "another")
    await store.work.open([other, replace(other, source="authority", key="elsewhere")], NOW)
    assert await delivered(store, NOW, "a", unread=1) == 1
    left = []
    for item in await store.work.list(source="child-health"):
        assert await store.work.close(item.id, by="ig", outcome="source-corrected", at=NOW)
        left.append(await store.shelf.unread("child-health"))
    assert left == [1, 0]
    said = [event.body["detail"].get("source_is", "") for event in await store.log.ask(LogQuestion(kind="administration"))]
    assert [text for text in said if text] == ["whole, by this decision"]
    assert await store.verify() == []


async def test_one_policy_is_active_for_every_worker(url: str, keys: Keys) -> None:
    one = await open_store(url, keys, name="a")
    two = await open_store(url, keys, name="b", serve=False)
    try:
        assert await one.policy_activation.active() is None
        await two.policy_activation.activate("h1", at=NOW, by="x")
        assert await one.policy_activation.active() == "h1"
        await one.policy_activation.activate("h2", at=NOW, by="x")
        assert await two.policy_activation.active() == "h2"
    finally:
        await asyncio.gather(one.close(), two.close())


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\ud800", "x" * 10_000])
async def test_text_from_outside_that_no_database_can_hold_finds_nothing_and_breaks_nothing(store: Store, text: str) -> None:
    assert await store.clients.get(text) is None
    assert await store.log.event(text) is None
    assert await store.log.ask(LogQuestion(organisation=text)) == []
    assert await store.log.ask(LogQuestion(staff=text)) == []
    assert await store.limits.take(text, per_minute=600, now=NOW) is None
    assert await store.crosswalk.number_of("authority", text) is None
    once = await store.log.append_once(entry(kind="token"), client="c", jti=text, expires=NOW)
    assert once is not None
    receipts = await store.log.append([entry(request_id=text, system=text, organisation=text, purpose=text)])
    assert receipts is not None
    facts = await store.facts.read(CHILD, organisation="o", staff=text, case_reference=text, client="c", at=NOW)
    assert facts.relationships == frozenset()
    assert await store.verify() == []


async def test_expired_assertions_are_forgotten_after_every_leeway(store: Store) -> None:
    await store.log.append_once(entry(kind="token"), client="c", jti="j", expires=NOW)
    assert await store.log.purge_replays(NOW + timedelta(seconds=299)) == 0
    assert await store.log.purge_replays(NOW + timedelta(seconds=301)) == 1


async def test_a_full_bucket_needs_no_row(store: Store) -> None:
    await store.limits.take("c", per_minute=60, now=NOW)
    await store.limits.purge(NOW + timedelta(minutes=1))
    taken = [await store.limits.take("c", per_minute=60, now=NOW + timedelta(minutes=1)) for _ in range(60)]
    assert taken == [None] * 60


async def test_of_two_rows_of_one_instant_neither_order_decides(store: Store) -> None:
    one, two, gone = replace(ROW, body=b'{"dose":1}'), replace(ROW, body=b'{"dose":2}'), replace(ROW, body=None)
    orders = [(one, two), (two, one), (two, one, two), (one, gone, two), (gone, one), (two, one, gone)]
    ends = []
    for number, rows in enumerate(orders):
        for row in rows:
            await store.shelf.put([replace(row, source=f"child-health-{number}")], entry(kind="intake"))
        ends.append([kept.body for kept in await store.shelf.newest(f"child-health-{number}", CHILD, NOW)])
    assert ends == [[b'{"dose":2}']] * 3 + [[]] * 3
    again = await store.shelf.put([replace(two, source="child-health-0")], entry(kind="intake"))
    assert again == 0  # a repeat changes nothing

"""The work list on both databases: one open item for each matter, taken by one person, closed with who and how."""

from dataclasses import replace
from datetime import timedelta

import pytest
from store_world import CHILD, NOW, OTHER, entry

from gateway.ports import LogQuestion, NewWork
from gateway.store import Store

pytestmark = pytest.mark.anyio

ITEM = NewWork(
    kind="match",
    reason="more than one person fits",
    source="authority",
    owner="northshire records",
    due=NOW + timedelta(days=5),
    key="match:authority:LA-1",
    person=CHILD,
    local_ref="LA-1",
)


async def test_the_same_matter_is_one_open_item_however_often_it_is_found(store: Store) -> None:
    assert await store.work.open([ITEM, ITEM, replace(ITEM, key="another")], NOW) == 2
    assert await store.work.open([ITEM], NOW) == 0
    listed = await store.work.list(source="authority", kind="match")
    assert len(listed) == 2
    assert {(item.reason, item.owner, item.due) for item in listed} == {(ITEM.reason, ITEM.owner, ITEM.due)}
    assert await store.work.list(owner="nobody") == []


async def test_the_most_urgent_item_is_listed_first(store: Store) -> None:
    await store.work.open([ITEM, replace(ITEM, key="urgent", kind="wrong-person", due=NOW)], NOW)
    assert [item.kind for item in await store.work.list()] == ["wrong-person", "match"]


async def test_only_who_took_an_item_learns_whom_it_is_about_and_may_close_it(store: Store) -> None:
    await store.work.open([ITEM], NOW)
    (item,) = await store.work.list()
    assert "LA-1" not in repr(item)
    subject = await store.work.take(item.id, by="sds|200", at=NOW)
    assert subject is not None
    assert (subject.person, subject.local_ref) == (CHILD, "LA-1")
    assert await store.work.take(item.id, by="Somebody Else", at=NOW) is None
    assert not await store.work.close(item.id, by="Somebody Else", outcome="no-action", at=NOW)
    assert await store.work.close(item.id, by="sds|200", outcome="not-the-same-person", at=NOW)
    assert not await store.work.close(item.id, by="sds|200", outcome="no-action", at=NOW)
    assert await store.work.list() == []
    (closed,) = await store.work.list(closed=True)
    assert (closed.outcome, closed.closed_at, closed.taken_by) == ("not-the-same-person", NOW, "sds|200")
    assert await store.work.open([ITEM], NOW) == 1, "a matter that comes up again is a new item"


async def test_taking_and_closing_are_events_of_the_person_and_say_who(store: Store) -> None:
    await store.work.open([ITEM, replace(ITEM, key="other", person=OTHER)], NOW)
    (item,) = [i for i in await store.work.list() if (s := await store.work.take(i.id, by="R", at=NOW)) and s.person == CHILD]
    await store.work.close(item.id, by="R", outcome="linked", at=NOW)
    said = [
        (event.body["detail"]["act"], event.body["detail"]["item"]) for event in await store.log.ask(LogQuestion(person=CHILD))
    ]
    assert said == [("work-closed", item.id), ("work-taken", item.id)]
    assert await store.verify() == []


async def test_one_decision_settles_the_items_of_its_keys_each_with_its_event_and_none_that_somebody_else_has_taken(
    store: Store,
) -> None:
    await store.work.open([ITEM, replace(ITEM, key="second"), replace(ITEM, key="third"), replace(ITEM, key="fourth")], NOW)
    for item in await store.work.list():
        subject = await store.work.take(item.id, by="R", at=NOW)
        assert subject is not None
    await store.work.open([replace(ITEM, key="free", kind="held-twice", person=OTHER)], NOW)
    assert await store.work.settle([ITEM.key, "free"], by="Somebody Else", outcome="linked", at=NOW) == {"held-twice": 1}
    keys = [ITEM.key, "second", ITEM.key, "no-such-key", "free"]
    assert await store.work.settle(keys, by="R", outcome="linked", at=NOW) == {"match": 2}
    assert len(await store.work.list()) == 2
    assert {closed.outcome for closed in await store.work.list(closed=True)} == {"linked"}
    said = [event.body["detail"]["act"] for event in await store.log.ask(LogQuestion(person=CHILD))]
    assert (said.count("work-taken"), said.count("work-closed")) == (4, 2)
    assert await store.work.settle([ITEM.key], by="\0", outcome="linked", at=NOW) == {}
    assert await store.verify() == []


async def test_an_item_owed_by_an_event_is_written_with_it_or_not_at_all(store: Store) -> None:
    assert await store.log.append([entry()], [ITEM], unless_moved=(CHILD, 99)) is None
    assert await store.work.list() == []
    assert await store.log.append([entry()], [ITEM])
    assert len(await store.work.list()) == 1


@pytest.mark.parametrize("text", ["", "no-such-item", "\0", "\ud800"])
async def test_an_item_that_does_not_exist_is_taken_and_closed_by_nobody(store: Store, text: str) -> None:
    assert await store.work.take(text, by="R", at=NOW) is None
    assert not await store.work.close(text, by="R", outcome="linked", at=NOW)
    assert await store.work.list(source=text) == []

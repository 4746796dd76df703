"""Deaths and losses on both databases: told in any order, ended by a person alone."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from store_world import CHILD, NOW, OTHER, entry, version

from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion, Suppression, Traced
from gateway.store import Store

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
DEATH = Suppression(CHILD, "death", "child-health", NOW)
BACK = replace(DEATH, as_of=NOW + DAY, taken_back=True)
RESUMED = entry(kind="administration", outcome="success", at=NOW + 2 * DAY, detail={"act": "suppression-resumed"})


async def test_a_death_stops_contact_about_that_person_and_nobody_else(store: Store) -> None:
    assert await store.suppressions.of(CHILD) == frozenset()
    assert await store.suppressions.put([DEATH]) == 1
    assert await store.suppressions.of(CHILD) == {"death"}
    assert await store.suppressions.of(OTHER) == frozenset()
    assert await store.suppressions.put([]) == 0


async def test_a_new_fact_moves_the_facts_version_so_what_is_on_its_way_is_decided_again(store: Store) -> None:
    before = await version(store)
    await store.suppressions.put([DEATH])
    told = await version(store)
    await store.suppressions.put([DEATH, BACK])
    assert (told, await version(store)) == (before + 1, before + 1)
    await store.suppressions.resume(CHILD, "death", RESUMED)
    assert await version(store) == before + 2


async def test_whatever_the_order_a_fact_taken_back_stays_and_waits_for_a_person(store: Store) -> None:
    late = replace(DEATH, as_of=NOW - DAY)
    for place, told in enumerate(permutations((DEATH, BACK, late, DEATH))):
        source = f"try-{place}"
        for each in told:
            await store.suppressions.put([replace(each, source=source)])
        assert await store.suppressions.of(CHILD) == {"death"}
        assert await store.suppressions.taken_back(CHILD) == {"death"}
        assert await store.suppressions.resume(CHILD, "death", RESUMED) == 1


async def test_what_was_never_told_cannot_be_taken_back_into_force(store: Store) -> None:
    await store.suppressions.put([BACK])
    assert await store.suppressions.of(CHILD) == frozenset()
    assert await store.suppressions.taken_back(CHILD) == frozenset()
    assert await store.suppressions.resume(CHILD, "death", RESUMED) == 0
    assert await store.log.ask(LogQuestion(kind="administration")) == []


async def test_a_person_ends_it_with_an_event_and_only_newer_news_brings_it_back(store: Store) -> None:
    await store.suppressions.put([DEATH])
    assert await store.suppressions.resume(CHILD, "stillbirth", RESUMED) == 0
    assert await store.suppressions.resume(CHILD, "death", RESUMED) == 1
    assert await store.suppressions.of(CHILD) == frozenset()
    (event,) = await store.log.ask(LogQuestion(person=CHILD, kind="administration"))
    assert event.body["detail"] == {"act": "suppression-resumed", "kind": "death", "rows": 1}
    assert await store.suppressions.put([DEATH]) == 0  # the same message, come again
    assert await store.suppressions.of(CHILD) == frozenset()
    assert await store.suppressions.put([replace(DEATH, as_of=NOW + 3 * DAY)]) == 1
    assert await store.suppressions.of(CHILD) == {"death"}
    assert await store.verify() == []


async def test_it_is_known_when_a_source_last_spoke_of_a_fact_in_force(store: Store) -> None:
    assert await store.suppressions.told_at(CHILD, "death") is None
    await store.suppressions.put([DEATH])
    assert await store.suppressions.told_at(CHILD, "death") == DEATH.as_of
    await store.suppressions.put([BACK])
    assert await store.suppressions.told_at(CHILD, "death") == BACK.as_of
    assert await store.suppressions.told_at(CHILD, "stillbirth") is None
    await store.suppressions.resume(CHILD, "death", RESUMED)
    assert await store.suppressions.told_at(CHILD, "death") is None


async def test_two_pregnancies_of_one_woman_are_two_facts(store: Store) -> None:
    first = Suppression(CHILD, "pregnancy-loss", "child-health", NOW, episode="birth-1")
    await store.suppressions.put([first])
    await store.suppressions.resume(CHILD, "pregnancy-loss", RESUMED)
    assert await store.suppressions.put([first]) == 0
    assert await store.suppressions.put([replace(first, episode="birth-2")]) == 1
    assert await store.suppressions.of(CHILD) == {"pregnancy-loss"}


async def test_a_fact_follows_a_superseded_number_and_ends_under_the_new_one(store: Store) -> None:
    await store.suppressions.put([DEATH])
    await store.persons.supersede(CHILD, Traced(OTHER, None, False, False, None, {}, "1"), NOW)
    assert await store.suppressions.of(OTHER) == {"death"}
    assert await store.suppressions.of(NhsNumber("9990000034")) == frozenset()
    assert await store.suppressions.resume(OTHER, "death", RESUMED) == 1
    assert await store.suppressions.of(OTHER) == frozenset()

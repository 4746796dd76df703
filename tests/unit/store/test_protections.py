"""The protected index as its operators see it: counted, shown of one person, lifted by somebody's decision with its event."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from store_world import CHILD, NOW, OTHER, entry, version
from typer.testing import CliRunner

from gateway.cli import main
from gateway.ports import LogQuestion, Traced
from gateway.store import Keys, Store, open_store

pytestmark = pytest.mark.anyio

LIFTED = entry(kind="administration", outcome="success", detail={"act": "protection-lifted"})


async def test_locks_are_counted_by_source_and_kind_and_nobody_is_listed(store: Store) -> None:
    await store.protections.add_locks("authority", {CHILD: frozenset({"refuge", "placement"})}, NOW)
    await store.protections.add_locks("authority", {OTHER: frozenset({"refuge"})}, NOW + timedelta(days=2))
    found = [(one.source, one.kind, one.people, one.oldest, one.newest) for one in await store.protections.counted()]
    later = NOW + timedelta(days=2)
    assert found == [("authority", "placement", 1, NOW, NOW), ("authority", "refuge", 2, NOW, later)]


async def test_one_lock_ends_with_its_event_and_the_others_stand(store: Store) -> None:
    await store.protections.add_locks("authority", {CHILD: frozenset({"refuge", "placement"}), OTHER: frozenset({"refuge"})}, NOW)
    before = await version(store)
    assert await store.protections.lift(CHILD, "authority", "refuge", LIFTED) == 1
    assert await store.protections.of(CHILD) == [("authority", "placement", NOW)]
    assert await store.protections.of(OTHER) == [("authority", "refuge", NOW)]
    assert await version(store) > before, "whoever is being answered just now is decided again"
    assert [event.body["detail"]["act"] for event in await store.log.ask(LogQuestion(person=CHILD))] == ["protection-lifted"]
    for source, kind in (("authority", "refuge"), ("elsewhere", "placement"), ("authority\0", "placement")):
        assert await store.protections.lift(CHILD, source, kind, LIFTED) == 0
    assert len(await store.log.ask(LogQuestion(person=CHILD))) == 1, "where nothing ended nothing is said to have"


async def test_a_lock_under_a_number_of_before_is_shown_and_lifted_too(store: Store) -> None:
    await store.protections.add_locks("authority", {OTHER: frozenset({"refuge"})}, NOW)
    traced = Traced(CHILD, None, False, False, None, {"resourceType": "Patient"}, "2")
    await store.persons.supersede(OTHER, traced, NOW)
    assert await store.protections.of(CHILD) == [("authority", "refuge", NOW)]
    assert await store.protections.lift(CHILD, "authority", "refuge", LIFTED) == 1
    assert await store.protections.of(OTHER) == []


async def test_what_the_source_says_again_counts_again(store: Store) -> None:
    locks = {CHILD: frozenset({"refuge"})}
    await store.protections.assert_locks("authority", locks, NOW, snapshot=True)
    await store.protections.lift(CHILD, "authority", "refuge", LIFTED)
    await store.protections.assert_locks("authority", locks, NOW + timedelta(days=1), snapshot=True)
    assert [kind for _, kind, _ in await store.protections.of(CHILD)] == ["refuge"]


def test_by_command_with_reason_and_name_and_no_number_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GATEWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'g.db'}",
        "GATEWAY_KEYS": str(tmp_path / "keys"),
        "GATEWAY_SOURCES": "{}",
        "GATEWAY_PDS__BASE_URL": "http://127.0.0.1:1",
        "GATEWAY_PDS__ODS": "A99901",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    keys = Keys.create_sandbox(tmp_path / "keys")

    async def locked() -> None:
        store = await open_store(f"sqlite:///{tmp_path / 'g.db'}", keys, name="t")
        await store.protections.add_locks("authority", {CHILD: frozenset({"refuge"})}, NOW)
        await store.close()

    async def events() -> list[tuple[str, str]]:
        store = await open_store(f"sqlite:///{tmp_path / 'g.db'}", keys, name="t")
        found = await store.log.ask(LogQuestion(kind="administration"))
        await store.close()
        assert not any(CHILD.value in str(event.body) for event in found)
        return [(event.body["detail"]["act"], event.body["staff"]) for event in found][::-1]

    def said(*arguments: str, stdin: str = "") -> tuple[int, str]:
        answer = CliRunner().invoke(main, ["protection", *arguments, "--by", "sds|1"], input=stdin)
        return answer.exit_code, answer.output

    asyncio.run(locked())
    for form in ("Olive", "sds|", "|1", " sds|1", "sds|1|2", "sds|\n1", ""):
        for command in (["protection", "list"], ["protection", "show"], ["suppression", "show"]):
            refused = CliRunner().invoke(main, [*command, "--by", form], input=CHILD.value)
            assert (refused.exit_code, "write SYSTEM|ID" in refused.output) == (2, True)
    ended = ["relationship", "end", "caseload", "--organisation", "ods:A99901", "--staff", "Olive"]
    assert CliRunner().invoke(main, ended, input=CHILD.value).exit_code == 2
    assert said("list") == (0, "authority  refuge  1 people  2026-03-02 to 2026-03-02\n")
    assert said("show", stdin=CHILD.value) == (0, "authority  refuge  since 2026-03-02\n")
    lift = ("lift", "authority", "refuge", "--reason")
    assert said(*lift, "because", stdin=CHILD.value)[0] == 1
    assert said(*lift, "asserted-in-error", stdin="9990000108")[0] == 1
    assert said(*lift, "asserted-in-error", stdin=CHILD.value) == (0, "Lifted; the decision is in the log.\n")
    assert said(*lift, "asserted-in-error", stdin=CHILD.value)[0] == 1
    assert said("show", stdin=CHILD.value)[1] == "No lock of a source is on this person.\n"
    assert said("list")[1] == "No source protects anybody.\n"
    acts = ["protection-listed", "protection-shown", "protection-lifted", "protection-shown", "protection-listed"]
    assert asyncio.run(events()) == [(act, "sds|1") for act in acts]

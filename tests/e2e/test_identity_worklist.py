"""A custodian's people to NHS numbers, by the operator's commands against the simulator's PDS, on both databases."""

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import postgres_server
import pytest
from identity_lists import Registry, registry, row, write
from sandbox_process import sandbox
from whole_place import eventually, holds_a_number

from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion
from gateway.store import Keys, Store, open_store
from sandbox import crowd
from sandbox.families import BY_KEY

CROWD = 1_200


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox(tmp_path_factory.mktemp("identity-sandbox"), "--people", str(CROWD)) as running:
        yield running.base


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server.server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path, outside: str) -> Registry:
    """A gateway with one source and an empty database of each kind."""
    if request.param == "sqlite":
        return registry(tmp_path / "gateway", outside, per_second=100_000)
    url: str = request.getfixturevalue("server")
    name = f"i{abs(hash(request.node.nodeid)) % 10**12}"

    async def make() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(make())
    return registry(tmp_path / "gateway", outside, per_second=100_000, database=url.rsplit("/", 1)[0] + "/" + name)


def asked(place: Registry, question: Any) -> Any:
    """What its store says: an async function of the store -> its answer."""

    async def inside() -> Any:
        url = place.environment.get("GATEWAY_DATABASE_URL", f"sqlite:///{place.folder / 'gateway.db'}")
        store = await open_store(url, Keys.load(place.folder / "keys", mode="sandbox"), name="test", serve=False)
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(inside())


def linked(place: Registry, *local_ids: str) -> dict[str, str]:
    """Local id -> NHS number, of those that are linked."""

    async def look(store: Store) -> dict[str, str]:
        found = {local_id: await store.crosswalk.number_of("authority", local_id) for local_id in local_ids}
        return {local_id: number.value for local_id, number in found.items() if number is not None}

    return asked(place, look)  # type: ignore[no-any-return]


def tasks(place: Registry) -> list[tuple[str, str, str]]:
    async def look(store: Store) -> list[tuple[str, str, str]]:
        return sorted((item.kind, item.reason, item.owner) for item in await store.work.list())

    return asked(place, look)  # type: ignore[no-any-return]


def import_(place: Registry, rows: list[dict[str, str]], name: str = "list.csv", *, source: str = "authority") -> str:
    done = place.command("identity", "import", str(write(place.folder / name, rows)), "--source", source)
    assert done.returncode == 0, done.stderr
    assert holds_a_number(done.stdout + done.stderr) is None
    return done.stdout


def figures(said: str) -> dict[str, int]:
    """Kind -> how many work items an import says it opened."""
    (listed,) = re.findall(r"Opened on the work list: ([^.]*)\.", said) or [""]
    return {kind: int(count) for count, kind in (part.split(" ") for part in listed.split(", ") if part)}


def test_only_a_match_links_and_everything_else_is_a_task_with_a_reason_an_owner_and_a_due_time(place: Registry) -> None:
    amara, grace, hugo, dara, chloe, ben, eli = (
        BY_KEY[key] for key in ("amara", "grace", "hugo", "dara", "chloe", "ben", "eli-before")
    )
    rows = [
        row(amara, "by-number", number=True),
        row(ben, "by-name"),
        row(chloe, "superseded", nhs_number="9990002126"),
        row(grace, "twin-grace"),
        row(hugo, "twin-hugo"),
        row(grace, "twins-number", nhs_number=hugo.nhs_number),  # the twins' numbers, mixed up at the desk
        row(grace, "initial", given="G"),
        row(dara, "restricted"),  # PDS does not find a restricted person by address
        row(dara, "restricted-by-number", number=True),
        row(eli, "invalidated", number=True),
        row(eli, "invalidated-by-name"),
        row(amara, "estimated", birth_date_status="Y"),
        row(amara, "expected", birth_date_status="expected"),
        row(amara, "unborn", birth_date=""),
        row(amara, "elsewhere", postcode="ZZ99 9ZZ"),
        row(amara, "failing-number", nhs_number="9990000108"),
        row(amara, "born-on-another-day", number=True, birth_date="2024-03-13"),
        row(amara, "no-such-number", nhs_number="9990020302"),
        row(amara, "twice"),
        row(ben, "twice"),
        row(amara, "no-day", birth_date="14th of March"),
        row(amara, ""),
    ]
    said = import_(place, rows)
    assert "22 rows of list.csv: 17 new or changed, 0 unchanged, 5 refused." in said
    assert "17 waited: 6 newly linked, 11 not linked." in said
    assert figures(said) == {"bad-row": 4, "guardian": 1, "match": 10}
    assert linked(place, *(one["local_id"] for one in rows if one["local_id"])) == {
        "by-number": amara.nhs_number,
        "by-name": ben.nhs_number,
        "superseded": chloe.nhs_number,
        "twin-grace": grace.nhs_number,
        "twin-hugo": hugo.nhs_number,
        "restricted-by-number": dara.nhs_number,
    }
    found = tasks(place)
    assert figures(said) == Counter(kind for kind, _, _ in found), "what was said is what is on the list"
    reasons = [(kind, reason) for kind, reason, _ in found]
    assert reasons == [
        ("bad-row", "LocalNhsNumberIsNotValid"),
        ("bad-row", "a birth date that is none"),
        ("bad-row", "no local id"),
        ("bad-row", "the same local id in more than one row"),  # one task for both rows
        ("guardian", "belongs to a number that is no longer in use"),
        *[("match", "NoMatch: Differences")] * 2,
        *[("match", "NoMatch: LocalDemographicsDidNotMatchToAnNhsNumber")] * 3,
        ("match", "NoMatch: LocalNhsNumberIsNotFoundInNhs"),
        *[("match", "NoMatch: the birth date is missing, estimated or expected")] * 3,
        ("match", "PotentialMatch: the score is below 0.95"),  # found by the beginning of the postcode only
    ]
    assert {owner for kind, _, owner in found if kind == "guardian"} == {"northshire adoption guardian"}
    assert {owner for kind, _, owner in found if kind != "guardian"} == {"northshire records"}
    listed = place.command("identity", "worklist")
    assert listed.stdout.count("due ") == len(found)
    assert not any(one["family"] in listed.stdout for one in rows)


def test_each_persons_link_is_an_event_and_the_same_file_again_changes_nothing(place: Registry) -> None:
    amara = BY_KEY["amara"]
    rows = [row(amara, "LA-1", number=True, upn="A123456789012"), row(BY_KEY["ben"], "LA-2")]

    async def events(store: Store) -> list[tuple[str, str]]:
        await store.log.sequence()
        found = await store.log.ask(LogQuestion(person=NhsNumber(amara.nhs_number)))
        return [(event.body["detail"]["act"], event.body["detail"]["kind"]) for event in found]

    import_(place, rows)
    before = asked(place, events)
    assert sorted(before) == [("crosswalk-linked", "person"), ("crosswalk-linked", "upn")]
    said = import_(place, rows)
    assert "2 rows of list.csv: 2 taken in before, 0 new or changed, 0 unchanged, 0 refused." in said
    assert "0 waited: 0 newly linked, 0 not linked. Nothing new on the work list." in said
    more = [row(amara, "", number=True), *rows[::-1], row(BY_KEY["chloe"], "LA-3", nhs_number="9990002126")]
    said = import_(place, more, "in-another-order.csv")
    assert "4 rows of in-another-order.csv: 1 new or changed, 2 unchanged, 1 refused." in said
    assert "1 waited: 1 newly linked, 0 not linked. Opened on the work list: 1 bad-row." in said
    assert asked(place, events) == before
    assert [kind for kind, _, _ in tasks(place)] == ["bad-row"]
    assert place.command("log", "verify").stdout == "The log holds together.\n"


def test_killed_in_the_middle_the_same_command_goes_on_and_every_good_row_is_linked_once(place: Registry) -> None:
    people = [crowd.person(number) for number in crowd.numbers(CROWD)]
    rows = [row(person, f"LA{place_:06}", number=bool(place_ % 2)) for place_, person in enumerate(people)]
    rows[7]["nhs_number"] = "9991000000"
    file = write(place.folder / "list.csv", rows)
    settings = place.folder / "gateway.toml"
    settings.write_text(settings.read_text("utf-8").replace("per_second = 100000", "per_second = 600"), "utf-8")
    started = time.monotonic()
    while True:
        process = place.start("identity", "import", str(file), "--source", "authority")
        assert process.stderr is not None
        for line in process.stderr:  # the second line of progress: something is settled, and not everything
            if not line.startswith("0 of"):
                break
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

        async def counts(store: Store) -> Any:
            return await store.local_records.counts("authority")

        held = asked(place, counts)
        assert time.monotonic() - started < 60
        if held.get("pending") and held.get("Match"):
            break
        assert not held.get("Match"), "killed too late to say anything: make the crowd larger"
    said = import_(place, rows)
    found = linked(place, *(one["local_id"] for one in rows))
    wanted = {one["local_id"]: person.nhs_number for one, person in zip(rows, people, strict=True)}
    wrong = {local_id: number for local_id, number in found.items() if wanted[local_id] != number}
    assert wrong == {}
    assert len(found) >= CROWD * 0.97, said
    assert rows[7]["local_id"] not in found

    async def twice(store: Store) -> int:
        await store.log.sequence()
        seen = []
        for number in list(found.values())[::40]:
            seen.append(len(await store.log.ask(LogQuestion(person=NhsNumber(number)))))
        return max(seen)

    assert asked(place, twice) == 1, "a person is linked by one event, however often the import was begun"


def test_with_pds_down_nothing_is_lost_and_nothing_is_guessed(place: Registry, outside: str) -> None:
    (place.folder / "gateway.toml").write_text(
        (place.folder / "gateway.toml").read_text("utf-8").replace(outside, "http://127.0.0.1:9"), "utf-8"
    )
    rows = [row(BY_KEY["ben"], "LA-2"), row(BY_KEY["amara"], "LA-1", birth_date="")]
    file = write(place.folder / "list.csv", rows)
    assert tasks(place) == []
    process = place.start("identity", "import", str(file), "--source", "authority")
    try:
        eventually(lambda: tasks(place), seconds=30)  # what needs no PDS is settled
    finally:
        process.terminate()
        process.communicate()
    assert linked(place, "LA-1", "LA-2") == {}
    assert [reason for _, reason, _ in tasks(place)] == ["NoMatch: the birth date is missing, estimated or expected"]
    (place.folder / "gateway.toml").write_text(
        (place.folder / "gateway.toml").read_text("utf-8").replace("http://127.0.0.1:9", outside), "utf-8"
    )
    assert place.command("identity", "match", "--source", "authority").returncode == 0
    assert linked(place, "LA-1", "LA-2") == {"LA-2": BY_KEY["ben"].nhs_number}


def test_a_person_settles_an_item_by_name_and_a_birth_date_that_differs_is_refused_to_them_too(place: Registry) -> None:
    dara = BY_KEY["dara"]
    import_(place, [row(dara, "LA-4")])

    async def only(store: Store) -> str:
        (item,) = await store.work.list()
        return str(item.id)

    item = asked(place, only)
    taken = place.command("identity", "take", item, "--by", "sds|200")
    assert taken.stdout == "LA-4\n"
    link = ("identity", "resolve", item, "--outcome", "linked", "--source", "authority", "--by")
    assert "somebody else" in place.command(*link, "sds|201", stdin=dara.nhs_number).stderr
    assert "birth date" in place.command(*link, "sds|200", stdin=BY_KEY["amara"].nhs_number).stderr
    assert linked(place, "LA-4") == {}
    assert place.command(*link, "sds|200", stdin=dara.nhs_number).returncode == 0
    assert linked(place, "LA-4") == {"LA-4": dara.nhs_number}
    assert tasks(place) == []

    async def said(store: Store) -> list[str]:
        await store.log.sequence()
        found = await store.log.ask(LogQuestion(person=NhsNumber(dara.nhs_number)))
        return [event.body["agent"]["name"] if "agent" in event.body else str(event.body["staff"]) for event in found]

    assert asked(place, said) == ["sds|200"]


def test_one_person_held_twice_is_linked_by_their_own_numbers_and_by_nothing_else(place: Registry) -> None:
    amara, ben = BY_KEY["amara"], BY_KEY["ben"]
    import_(place, [row(amara, "LA-1", number=True), row(amara, "LA-1b", number=True), row(ben, "LA-2"), row(ben, "LA-2b")])
    assert linked(place, "LA-1", "LA-1b", "LA-2", "LA-2b") == {"LA-1": amara.nhs_number, "LA-1b": amara.nhs_number}
    assert sorted({(kind, reason.split(":")[0]) for kind, reason, _ in tasks(place)}) == [
        ("held-twice", "another local record of this source is linked to this person"),
        ("match", "PotentialMatch"),
    ]


def test_two_authorities_that_hold_one_child_each_have_their_own_id_and_neither_sees_the_others(place: Registry) -> None:
    amara = BY_KEY["amara"]
    import_(place, [row(amara, "LA-1", number=True, upn="A123456789012")])
    import_(place, [row(amara, "X-9")], "elsewhere.csv", source="elsewhere")

    async def look(store: Store) -> Any:
        number = NhsNumber(amara.nhs_number)
        ids = {source: await store.crosswalk.local_ids(source, number) for source in ("authority", "elsewhere")}
        across = (
            await store.crosswalk.number_of("elsewhere", "LA-1"),
            await store.crosswalk.number_of_upn("elsewhere", "A123456789012"),
        )
        await store.protections.add_locks("elsewhere", {number: frozenset({"refuge"})}, amara_at)
        facts = await store.facts.read(number, organisation="o", staff="s", case_reference=None, client="c", at=amara_at)
        return {source: [local_id for local_id, _ in found] for source, found in ids.items()}, across, facts.locks

    amara_at = datetime(2026, 11, 22, tzinfo=UTC)
    ids, across, locks = asked(place, look)
    assert ids == {"authority": ["LA-1"], "elsewhere": ["X-9"]}
    assert across == (None, None)
    assert locks == {"refuge"}, "a lock of either protects the child from both"
    assert tasks(place) == [], "two authorities are not one source that holds a person twice"

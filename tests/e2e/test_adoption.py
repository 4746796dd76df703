"""A child placed for adoption and then adopted: what closes with the placement, what dies with the number, what never rejoins."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import postgres_server
import pytest
from identity_lists import row, write
from lxml import etree
from whole_place import World, a_place, eventually, resources, running, shape, states

from gateway.nhs_number import NhsNumber
from gateway.ports import LogQuestion
from gateway.store import Keys, Store, open_store
from sandbox import authority
from sandbox.demo import AUDITOR, CENTRE, GP, VISITOR
from sandbox.families import AUTHORITY_GSS, BY_KEY, UNKNOWN, address_of
from sandbox.folders import put

CHILD, NEW = BY_KEY["amara"], BY_KEY["ben"]  # ben stands for the identity that PDS gives after the adoption
UPN = "A123456789012"
HOME = address_of(CHILD)


@dataclass(frozen=True)
class Story:
    """The place, and what was seen at each stage."""

    world: World
    before: dict[str, Any]
    placed: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A whole place of its own, on each database: here somebody's number dies for good."""
    place = a_place(Path(tmp_path_factory.mktemp("adoption")))
    server = postgres_server.server() if request.param == "postgresql" else contextlib.nullcontext("")
    with server as url, running(place, database=url), httpx.Client(base_url=place.base, timeout=20) as http:
        yield World(place, http)


def asked(world: World, question: Any) -> Any:
    """What the store says: an async function of the store -> its answer."""

    async def inside() -> Any:
        url = world.place.environment.get("GATEWAY_DATABASE_URL", f"sqlite:///{world.place.folder / 'gateway.db'}")
        store = await open_store(url, Keys.load(world.place.folder / "keys", mode="sandbox"), name="test", serve=False)
        try:
            return await question(store)
        finally:
            await store.close()

    return asyncio.run(inside())


def seen(world: World) -> dict[str, Any]:
    """What each asker gets just now."""
    return {
        "gp": world.everything(GP, CHILD.key),
        "visitor": world.everything(VISITOR, CHILD.key),
        "centre": world.everything(CENTRE, CHILD.key),
    }


def take_in(world: World, *rows: dict[str, str]) -> str:
    file = write(world.place.folder / f"list-{datetime.now(UTC).timestamp()}.csv", rows)
    done = world.command("identity", "import", str(file), "--source", "authority")
    assert done.returncode == 0, done.stderr
    return done.stdout


def place_for_adoption(world: World) -> None:
    """The authority's next extract says so; wait until it is taken."""
    tree = etree.fromstring(authority.extract(datetime.now(UTC) + timedelta(minutes=1)))
    (child,) = [one for one in tree.iter("Child") if one.findtext("ChildIdentifiers/LAchildID") == CHILD.local_id]
    etree.SubElement(etree.SubElement(child, "LocalExtras"), "DisclosureLock", kind="adoption")
    folder = world.place.folder / "drops" / "authority"
    put(folder / "placed.xml", bytes(etree.tostring(tree)))
    eventually(
        lambda: not [path for path in (*folder.glob("[!.]*.*"), *(folder / "taken").glob("*")) if path.is_file()], seconds=20
    )


@pytest.fixture(scope="module")
def story(world: World) -> Story:
    take_in(world, row(CHILD, CHILD.local_id, number=True, upn=UPN))
    before = seen(world)
    (patient,) = resources(before["gp"], "Patient")
    before["id"] = patient["id"]
    first = world.get(GP, f"/fhir/Patient/{patient['id']}/$everything?_count=3")
    before["next"] = next(link["url"] for link in first.json()["link"] if link["relation"] == "next").removeprefix(
        world.place.base
    )
    assert world.get(GP, before["next"]).status_code == 200
    place_for_adoption(world)
    placed = seen(world)
    world.sandbox("invalidated", "pds", CHILD.nhs_number, seconds=600)
    asked(world, lambda store: store.persons.expire(NhsNumber(CHILD.nhs_number)))  # as PDS's own change event does
    after = {
        "found": world.find(GP, CHILD.nhs_number),
        "nobody": world.find(GP, UNKNOWN[0]),
        "next": world.get(GP, before["next"]),
        "by id": world.get(GP, f"/fhir/Patient/{before['id']}"),
    }
    return Story(world, before, placed, after)


def test_before_the_placement_every_asker_has_their_part(story: Story) -> None:
    assert states(story.before["gp"])["authority"] == "answered"
    assert resources(story.before["centre"], "Encounter")
    assert HOME.postcode in story.before["gp"].text


def test_from_the_placement_on_the_child_is_protected_and_clinical_facts_stay(story: Story) -> None:
    for asker in ("gp", "visitor"):
        answer = story.placed[asker]
        assert resources(answer, "Immunization")
        assert not resources(answer, "RelatedPerson"), "no mother, no father"
        for word in (HOME.postcode, HOME.line, CHILD.practice, "Willow", "Riverside", "07700900", CHILD.local_id, UPN):
            assert word not in answer.text


def test_from_the_placement_on_what_birth_relatives_permitted_permits_nothing(story: Story) -> None:
    assert not resources(story.placed["centre"])
    assert shape(story.placed["centre"])[0] == 200


def test_an_invalidated_number_is_answered_like_one_that_nobody_has(story: Story) -> None:
    found, nobody = shape(story.after["found"]), shape(story.after["nobody"])
    assert json.loads(found[1])["entry"] == json.loads(nobody[1])["entry"]
    assert (found[0], found[2]) == (nobody[0], nobody[2])


def test_ids_and_paging_links_given_out_before_lead_nowhere(story: Story) -> None:
    for key in ("next", "by id"):
        answer = story.after[key]
        assert not ([] if answer.json()["resourceType"] != "Bundle" else resources(answer)), key
        assert CHILD.family not in answer.text


def test_consents_relationships_local_ids_and_copies_died_in_one_event(story: Story) -> None:
    async def look(store: Store) -> Any:
        await store.log.sequence()
        events = await store.log.ask(LogQuestion(person=NhsNumber(CHILD.nhs_number), kind="administration"))
        ended = [event.body["detail"]["ended"] for event in events if event.body["detail"]["act"] == "number-invalidated"]
        ids = await store.crosswalk.local_ids("authority", NhsNumber(CHILD.nhs_number))
        held = await store.crosswalk.number_of("authority", CHILD.local_id)
        return ended, ids, held, await store.crosswalk.number_of_upn("authority", UPN)

    ended, ids, held, by_upn = asked(story.world, look)
    assert len(ended) == 1
    assert ended[0]["links"] == 2
    assert ended[0]["consents"] >= 2
    assert ended[0]["relationships"] >= 2
    assert ended[0]["copies"] >= 2
    assert (ids, held, by_upn) == ([], None, None)


def test_no_program_joins_the_old_id_pupil_number_or_name_to_anybody_again(story: Story) -> None:
    world = story.world
    world.heal()  # PDS finds somebody by the old name again: not a reason to join
    said = take_in(
        world,
        row(NEW, CHILD.local_id, number=True),  # the old id, under the new identity
        row(NEW, "LA90001", number=True, upn=UPN),  # the old pupil number
        row(CHILD, "LA90002"),  # the old name and birth date, under a new id
        row(NEW, "LA90003", number=True, upn="B123456789012"),  # the new record, with nothing of the old one
    )
    assert "1 newly linked" in said

    async def look(store: Store) -> Any:
        new = await store.crosswalk.local_ids("authority", NhsNumber(NEW.nhs_number))
        items = [(item.reason, item.owner) for item in await store.work.list(source="authority", kind="guardian")]
        return [local_id for local_id, _ in new], items, await store.crosswalk.local_ids("authority", NhsNumber(CHILD.nhs_number))

    new, items, old = asked(world, look)
    assert (new, old) == (["LA90003"], [])
    assert items == [("belongs to a number that is no longer in use", f"Caldicott Guardian of gss:{AUTHORITY_GSS}")] * 3


def test_the_new_identity_shows_nothing_of_the_old_one_to_callers_or_auditors(story: Story) -> None:
    answer = story.world.everything(GP, NEW.key)
    for word in (CHILD.nhs_number, CHILD.family, CHILD.local_id, UPN, story.before["id"]):
        assert word not in answer.text
    form = {"patient:identifier": f"https://fhir.nhs.uk/Id/nhs-number|{NEW.nhs_number}"}
    audit = story.world.http.post("/fhir/AuditEvent/_search", data=form, headers=story.world.headers(AUDITOR))
    assert audit.status_code == 200
    assert resources(audit, "AuditEvent")
    assert story.before["id"] not in audit.text


def test_what_a_verified_list_says_of_a_buried_id_is_linked_by_its_guardian_alone_from_a_record_that_was_taken_in(
    story: Story,
) -> None:
    world = story.world
    guardian = ("--source", "authority", "--by", "sds|300")

    def newest(where: str) -> str:
        """The guardian's open item whose record is found there."""

        async def look(store: Store) -> str:
            for item in await store.work.list(source="authority", kind="guardian"):
                subject = await store.work.take(item.id, by="sds|300", at=datetime.now(UTC))
                if subject is not None and subject.local_ref == where:
                    return str(item.id)
            raise AssertionError(where)

        found: str = asked(world, look)
        return found

    file = world.place.folder / "verified.csv"
    file.write_text(f"local_id,nhs_number\n{CHILD.local_id},{NEW.nhs_number}\n", "utf-8")
    refused = world.command("crosswalk", "import", str(file), "--source", "authority", "--moved-by", "sds|200")
    assert "belongs to a number that is no longer in use" in refused.stderr
    assert "Opened on the work list: 1 guardian." in refused.stdout
    link = ("--outcome", "linked", *guardian)
    item = newest(f"line 2, {CHILD.local_id}")
    assert "`gateway identity import`" in world.command("identity", "resolve", item, *link, stdin=NEW.nhs_number).stderr
    take_in(world, row(NEW, CHILD.local_id, number=True))
    linked = world.command("identity", "resolve", newest(CHILD.local_id), *link, stdin=NEW.nhs_number)
    assert linked.stdout.startswith("Settled: linked."), linked.stderr
    assert world.command("identity", "resolve", item, "--outcome", "no-action", *guardian).returncode == 0

    async def number(store: Store) -> NhsNumber | None:
        return await store.crosswalk.number_of("authority", CHILD.local_id)

    assert asked(world, number) == NhsNumber(NEW.nhs_number)

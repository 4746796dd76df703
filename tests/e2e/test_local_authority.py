"""The returns of authorities over the whole place: who sees what, and that nothing of the authority's own ever leaves."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from whole_place import World, a_place, eventually, resources, running, states

from sandbox import authority_returns, demo
from sandbox.demo import CENTRE, GP, VISITOR, WORKER
from sandbox.families import AUTHORITY_GSS, BY_KEY
from sandbox.folders import put

SOURCES = {  # name -> (custodian, agreement, format, hours)
    "looked-after": (f"gss:{AUTHORITY_GSS}", "authority-looked-after", "ssda903", 840),
    "lists": (f"gss:{AUTHORITY_GSS}", "authority-annex-a", "annex-a", 168),
    "dataset": (f"gss:{AUTHORITY_GSS}", "authority-dataset", "ssd", 48),
    "southshire": (f"gss:{authority_returns.SOUTHSHIRE_GSS}", "authority-southshire", "cin", 48),
}
S17 = replace(WORKER, client="northshire-s17", purpose="S17", case="S17-2026-0042")
LOCATING = {"address", "telecom", "generalPractitioner", "managingOrganization", "author", "location"}


def more_sources(place: demo.Place) -> str:
    beside = place.folder.with_name(f"{place.folder.name}-case-system.db")  # the place itself begins empty
    database = f'database_url = "sqlite:///{authority_returns.dataset_database(beside, datetime.now(UTC))}"'
    return "".join(
        f"""
[sources.{name}]
adapter = "local_authority"
custodian = "{custodian}"
agreement = "{agreement}"
title = "Children's services: {name}"
max_age_h = {hours}
[sources.{name}.options]
{database if form == "ssd" else f'drop = "{place.folder / "returns" / name}"'}
format = "{form}"
quiet_s = 1
"""
        for name, (custodian, agreement, form, hours) in SOURCES.items()
    )


def crosswalks() -> dict[str, list[tuple[str, Any]]]:
    own = [(BY_KEY[key].local_id, BY_KEY[key]) for key in ("amara", "noor", "mia", "hugo", "grace", "kiran")]
    south = [("S00001", BY_KEY["amara"]), ("S00005", BY_KEY["farah"])]
    south += [(local_id, BY_KEY["grace"]) for local_id in authority_returns.TWICE]
    south.append((authority_returns.UNBORN, BY_KEY["leah"]))  # the unborn child's record is kept under its mother
    return {"looked-after": own, "lists": own, "dataset": own, "southshire": south}


@pytest.fixture(scope="module")
def place_of_returns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole place with four more sources, each of another format, all of them delivered."""
    plain = a_place(Path(tmp_path_factory.mktemp("returns")))
    place = replace(plain, more=more_sources(plain))
    with running(place), httpx.Client(base_url=place.base, timeout=20) as http:
        world = World(place, http)
        _prepare(world)
        yield world


def ours(said: dict[str, str]) -> list[str]:
    """The states of the sources that this place has more than others."""
    return [state for name, state in said.items() if name in SOURCES]


def _prepare(world: World) -> None:
    folder, now = world.place.folder, datetime.now(UTC)
    today = now.date().isoformat()
    related = ["kind,nhs_number,organisation,staff,case_reference,starts,ends"]
    for key in ("amara", "noor", "mia", "hugo"):
        for asker in (WORKER, S17):
            staff = f"{asker.organisation}|{asker.subject}"
            related.append(f"allocated-worker,{BY_KEY[key].nhs_number},{asker.organisation},{staff},{asker.case},{today},")
    relationships = put(folder / "allocated.csv", ("\n".join(related) + "\n").encode())
    commands = [("relationship", "import", str(relationships))]
    for name, rows in crosswalks().items():
        file = authority_returns.write_crosswalk(folder / f"{name}.csv", rows)
        commands.append(("crosswalk", "import", str(file), "--source", name))
    with ThreadPoolExecutor(max_workers=3) as several:
        assert {done.returncode for done in several.map(lambda command: world.command(*command), commands)} == {0}
    world.register(S17, S17.client)
    drops = folder / "returns"
    for name, body in authority_returns.ssda903(now).items():
        put(drops / "looked-after" / name, body)
    put(drops / "lists" / "annex a.xlsx", authority_returns.annex_a(now))
    put(drops / "southshire" / "extract.xml", authority_returns.southshire(now))
    dropped = [name for name in SOURCES if name != "dataset"]  # its tables are read where they lie, from the first moment on
    eventually(lambda: all(list((drops / name / "done").glob("*.sealed")) for name in dropped), seconds=60)
    eventually(lambda: "stale" not in ours(states(world.everything(VISITOR, "amara"))), seconds=60)  # states are read at times


def given(world: World, asker: demo.Asker, key: str, source: str = "local-authority") -> list[dict[str, Any]]:
    """What an asker gets of the authorities' own, as $everything has it."""
    found = resources(world.everything(asker, key))
    return [one for one in found if one["resourceType"] != "Patient" and one["id"].split(".")[1] == source]


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return sorted(one["resourceType"] for one in found if one["resourceType"] != "Provenance")


def codes(found: list[dict[str, Any]], kind: str) -> list[str]:
    return sorted(one["code"]["coding"][0]["code"] for one in found if one["resourceType"] == kind)


def test_each_return_is_taken_by_the_source_that_sends_it(place_of_returns: World) -> None:
    answer = place_of_returns.everything(GP, "amara")
    assert {name: states(answer)[name] for name in ("lists", "dataset", "southshire", "authority")} == {
        "lists": "answered",
        "dataset": "answered",
        "southshire": "answered",
        "authority": "answered",
    }
    assert states(answer)["looked-after"] == "nothing-to-show"


def test_health_sees_a_warning_and_an_involvement_and_nothing_else(place_of_returns: World) -> None:
    for asker in (GP, VISITOR):
        found = given(place_of_returns, asker, "amara")
        assert set(kinds(found)) == {"Flag", "EpisodeOfCare"}
        assert set(codes(found, "Flag")) == {"342191000000101"}
        assert not re.search(r'"(NEG|EMO|16A|3B|N1)"', json.dumps(found))
    looked_after = given(place_of_returns, VISITOR, "noor")
    assert "looked-after" in codes(looked_after, "Flag")
    assert "C2" not in json.dumps(looked_after)
    assert "ZZ99 9ZZ" not in json.dumps(looked_after)


def test_the_allocated_worker_sees_what_was_done_and_for_an_enquiry_why(place_of_returns: World) -> None:
    enquiry = given(place_of_returns, WORKER, "amara")
    assert {"Flag", "EpisodeOfCare", "ServiceRequest", "CarePlan", "CareTeam", "Task", "Observation", "Organization"} <= set(
        kinds(enquiry)
    )
    assert '"NEG"' in json.dumps(enquiry)
    assessment = given(place_of_returns, S17, "amara")
    assert {"ServiceRequest", "Task"} <= set(kinds(assessment))
    assert "Observation" not in kinds(assessment)
    assert '"NEG"' not in json.dumps(assessment)


def test_facts_about_a_parent_are_for_the_enquiry_alone(place_of_returns: World) -> None:
    def factors(asker: demo.Asker) -> str:
        return json.dumps([one for one in given(place_of_returns, asker, "amara") if one["resourceType"] == "Observation"])

    assert '"4B"' in factors(WORKER)
    assert '"16A"' in factors(WORKER)
    for asker in (GP, VISITOR, S17):
        assert factors(asker) == "[]"


def test_a_centre_sees_that_social_care_is_involved_and_no_more(place_of_returns: World) -> None:
    found = given(place_of_returns, CENTRE, "amara")
    assert set(kinds(found)) == {"EpisodeOfCare"}
    assert {one["type"][0]["text"] for one in found if one["resourceType"] == "EpisodeOfCare"} == {
        "Known to children's social care"
    }
    assert kinds(given(place_of_returns, CENTRE, "noor")) == []  # looked after is no involvement that a centre is told of
    assert kinds(given(place_of_returns, CENTRE, "jonah")) == []  # nobody agreed


def test_placed_for_adoption_is_protected_from_the_delivery_on(place_of_returns: World) -> None:
    for asker in (VISITOR, CENTRE):
        answer = place_of_returns.everything(asker, "mia")
        for one in resources(answer):
            assert not LOCATING & one.keys()
        for word in ("Northshire", "E08999901", "Willow", "Meadowvale", "ZZ99", "A5", "E1", "adopt"):
            assert word not in json.dumps(answer.json()).replace("Extension", "")
    rows = place_of_returns.ask_database("select source, kind from protection where kind = 'adoption'")
    assert {row[0] for row in rows} == {"looked-after", "lists", "authority"}


def deliver_looked_after(world: World, adoptions: int) -> None:
    """The authority's next set of files; wait until as many children as this are protected by it for adoption."""
    for name, body in authority_returns.ssda903(datetime.now(UTC)).items():
        put(world.place.folder / "returns" / "looked-after" / name, body)
    counted = "select count(*) from protection where source = 'looked-after' and kind = 'adoption'"
    eventually(lambda: world.ask_database(counted)[0][0] == adoptions, seconds=40)


def test_a_placement_order_and_every_kind_of_placement_for_adoption_protects_by_itself_until_it_is_over(
    place_of_returns: World,
) -> None:
    told = {"amara": ("E1", "U6"), "noor": ("C2", "A3"), "hugo": ("C2", "A4"), "grace": ("C2", "A5"), "kiran": ("C2", "A6")}
    plain = authority_returns.EPISODES
    placed = {key: [authority_returns.Episode("2026-09-01", "S", legal, where)] for key, (legal, where) in told.items()}
    assert resources(place_of_returns.everything(CENTRE, "amara"))
    assert resources(place_of_returns.everything(VISITOR, "grace"), "Patient")[0].get("address")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authority_returns, "EPISODES", {**plain, **placed})
        deliver_looked_after(place_of_returns, len(told) + 1)
    try:
        for key in told:
            answer = place_of_returns.everything(VISITOR, key)
            assert resources(answer)
            for one in resources(answer):
                assert not LOCATING & one.keys(), (key, one["resourceType"])
            assert not resources(answer, "RelatedPerson"), "neither mother nor father"
            assert "looked-after" not in states(answer), "the sources of a protected person are named by kind"
        assert not resources(place_of_returns.everything(CENTRE, "amara")), "what a birth parent permitted permits nothing"
    finally:
        deliver_looked_after(place_of_returns, 1)
    assert resources(place_of_returns.everything(CENTRE, "amara"))
    assert resources(place_of_returns.everything(VISITOR, "grace"), "Patient")[0].get("address")


def test_short_breaks_are_no_looked_after_flag(place_of_returns: World) -> None:
    assert codes(given(place_of_returns, VISITOR, "hugo"), "Flag") == []


def test_a_confidential_address_in_the_dataset_protects(place_of_returns: World) -> None:
    for one in resources(place_of_returns.everything(VISITOR, "hugo")):
        assert not LOCATING & one.keys()


def test_who_is_linked_after_a_delivery_is_protected_by_what_it_said_and_by_nothing_else(place_of_returns: World) -> None:
    """The dataset is read as the gateway starts; its people were linked after that."""
    rows = place_of_returns.ask_database("select kind, count(*) from protection where source = 'dataset' group by kind")
    assert [tuple(row) for row in rows] == [("address-lock", 1)]
    waiting = "select count(*) from protection where kind = 'awaiting-next-delivery'"
    assert place_of_returns.ask_database(waiting)[0][0] == 0
    assert resources(place_of_returns.everything(VISITOR, "grace"), "Patient")[0].get("address")


def test_two_authorities_that_hold_one_child_are_two_flags_of_two_sources(place_of_returns: World) -> None:
    flags = [one for one in given(place_of_returns, VISITOR, "amara") if one["resourceType"] == "Flag"]
    assert sorted(one["author"]["identifier"]["value"] for one in flags) == [AUTHORITY_GSS] * 3 + [
        authority_returns.SOUTHSHIRE_GSS
    ]
    assert len({one["id"] for one in flags}) == 4


def test_one_person_held_twice_by_an_authority_is_both_records_with_ids_of_their_own(place_of_returns: World) -> None:
    flags = [one for one in given(place_of_returns, VISITOR, "grace") if one["resourceType"] == "Flag"]
    assert len(flags) == 2
    assert len({one["id"] for one in flags}) == 2
    assert {one["author"]["identifier"]["value"] for one in flags} == {authority_returns.SOUTHSHIRE_GSS}


def test_an_unborn_childs_plan_is_a_flag_of_the_mother(place_of_returns: World) -> None:
    found = given(place_of_returns, VISITOR, "leah")
    assert kinds(found) == ["Flag"]
    assert codes(found, "Flag") == ["878111000000109"]


def test_a_child_who_has_died_has_no_open_plan(place_of_returns: World) -> None:
    found = given(place_of_returns, VISITOR, "farah")
    assert "Flag" not in kinds(found)


def test_no_number_of_an_authority_and_no_pupil_number_is_in_any_answer(place_of_returns: World) -> None:
    numbers = [BY_KEY[key].local_id for key in BY_KEY if BY_KEY[key].local_id]
    for asker in (GP, VISITOR, CENTRE, WORKER):
        for key in ("amara", "noor", "mia", "grace", "leah"):
            answer = place_of_returns.everything(asker, key)
            said = answer.text + json.dumps(dict(answer.headers))
            assert not [number for number in numbers if number in said]
            assert not re.search(r"S000\d\d|A9{12}|SC9{6}|LEA0|[A-Z]\d{11}[A-Z0-9]\b", said)
    log = place_of_returns.log_text()
    assert not [number for number in numbers if number in log]


def test_a_code_that_no_code_map_knows_is_counted_for_operators(place_of_returns: World) -> None:
    assert "gateway_unmapped_codes_total" in place_of_returns.metrics()

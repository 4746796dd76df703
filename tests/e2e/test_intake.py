"""What pushing sources deliver: newest copies, whoever sends what and in whatever order; and what is doubtful stays outside."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from whole_place import World, eventually, holds_a_number, resources, states, told

from gateway.flows.intake import BIRTH_DATE, NOT_TRACED
from sandbox import authority, child_health, child_publisher
from sandbox.demo import GP, VISITOR
from sandbox.families import BY_KEY
from sandbox.folders import put

DAY = timedelta(days=1)


def drop(world: World, source: str) -> Path:
    return world.place.folder / "drops" / source


def deliver(world: World, source: str, **files: bytes) -> None:
    """Put files as a careful sender does, and wait until the gateway has taken them all."""
    folder = drop(world, source)
    for name, body in files.items():
        put(folder / name.replace("_", "."), body)
    eventually(
        lambda: not [path for path in (*folder.glob("[!.]*.*"), *(folder / "taken").glob("*")) if path.is_file()], seconds=20
    )


def message(key: str, *, lot: str, hours: int, name: str, **changed: str) -> bytes:
    """One vaccination message of this person."""
    bundle: dict[str, Any] = child_health._vaccination(BY_KEY[key], child_health._JABS[0], lot=lot, hours=hours, key=name)
    text = json.dumps(bundle)
    for was, becomes in changed.items():
        text = text.replace(was.removeprefix("n"), becomes)
    return text.encode()


def extract(at: datetime, *, without_plans: bool = False) -> bytes:
    """The authority's extract, with or without its child protection plans."""
    tree = etree.fromstring(authority.extract(at))
    for plan in tree.findall(".//ChildProtectionPlans") if without_plans else []:
        plan.getparent().remove(plan)
    return bytes(etree.tostring(tree))


def lots(world: World, key: str) -> set[str]:
    answer = world.search(VISITOR, "Immunization", BY_KEY[key].nhs_number)
    return {jab["lotNumber"] for jab in resources(answer, "Immunization") if ".child-health." in jab["id"] and "lotNumber" in jab}


def refused(world: World, source: str) -> Mapping[str, str]:
    """Refused delivery -> its reason."""
    folder = drop(world, source) / "refused"
    return {note.name.removesuffix(".reason"): note.read_text("utf-8").splitlines()[0] for note in folder.glob("*.reason")}


def test_a_message_whose_header_and_body_name_different_children_is_kept_aside_and_reaches_neither(world: World) -> None:
    reasons = refused(world, "child-health")
    (mixed_up,) = [name for name, reason in reasons.items() if "differ" in reason or "header" in reason]
    (kept,) = [path for path in (drop(world, "child-health") / "refused").glob(f"{mixed_up}*") if path.suffix != ".reason"]
    assert holds_a_number(kept.read_bytes().decode("latin-1")) is None  # sealed while it waits for its owner
    for key in ("grace", "hugo"):
        assert (
            len([jab for jab in resources(world.everything(VISITOR, key), "Immunization") if ".child-health." in jab["id"]]) == 2
        )
    intake = [event for event in world.events(kind="intake") if event["detail"]["delivery"] == mixed_up]
    assert [event["outcome"] for event in intake] == ["failure"]


def test_what_is_refused_is_named_by_a_digest_and_explained_without_a_value(world: World) -> None:
    reasons = refused(world, "child-health")
    assert any(reason.startswith("an event that is known but not mapped yet: ") for reason in reasons.values())
    for name, reason in reasons.items():
        assert name.startswith("delivery-")
        assert holds_a_number(name + reason) is None
    for path in drop(world, "child-health").rglob("*"):
        assert holds_a_number(path.name) is None


def test_messages_in_any_order_and_twice_leave_the_newest_and_doubtful_ones_nothing(world: World) -> None:
    assert "OLD001" not in lots(world, "amara")  # an older one was among the first deliveries
    before = len(refused(world, "child-health"))
    born, number = BY_KEY["hugo"].birth_date.isoformat(), BY_KEY["hugo"].nhs_number
    deliver(
        world,
        "child-health",
        newest_json=message("hugo", lot="NEW777", hours=48, name="newest"),
        again_json=message("hugo", lot="NEW777", hours=48, name="newest"),
        late_json=message("hugo", lot="LATE77", hours=24, name="late"),
        born_json=message("hugo", lot="BORN77", hours=72, name="born", **{born: "2024-08-06"}),
        nobody_json=message("hugo", lot="NOBO77", hours=72, name="nobody", **{"n" + number: "9990020302"}),
        broken_json=b'{"resourceType": "Bundle", "type": "mess',
        page_html=b"<!DOCTYPE html><html></html>",
        bomb_xml=b'<!DOCTYPE a [<!ENTITY b "c">]><Bundle xmlns="http://hl7.org/fhir">&b;</Bundle>',
    )
    assert "NEW777" in lots(world, "hugo")
    assert not {"LATE77", "BORN77", "NOBO77"} & lots(world, "hugo")
    assert len(refused(world, "child-health")) == before + 5
    assert {BIRTH_DATE, NOT_TRACED} <= set(refused(world, "child-health").values())


def test_a_publisher_with_every_fault_loses_no_good_message_and_gets_no_bad_one_in(world: World) -> None:
    folder, before = drop(world, "child-health"), refused(world, "child-health")
    faults = dict.fromkeys(child_publisher.FAULTS, 0.12) | {"duplicate": 0.5, "out-of-order": 1.0}
    files = child_publisher.published(child_publisher.vaccinations(30, ("petra",)), faults, seed=7)
    whole = {letter.name: letter.body() for letter in child_publisher.vaccinations(30, ("petra",))}
    named = {name: name.removeprefix("again-").removeprefix(child_publisher.DRIPS) for name, _ in files}
    good = {named[name] for name, body in files if whole.get(named[name]) == body}
    bad = [name for name, body in files if named[name] not in good and not name.endswith(child_publisher.LEFT)]
    assert len(bad) >= 5
    assert any(name.startswith(child_publisher.DRIPS) for name, _ in files)
    child_publisher.publish(folder, files)
    waiting = lambda: [path for path in folder.glob("[!.]*.*") if path.suffix != child_publisher.LEFT]  # noqa: E731
    eventually(lambda: not [*waiting(), *(path for path in (folder / "taken").glob("*"))], seconds=30)
    shown = {f"{number:06}" for number in range(30) if f"LOT{number:05}" in lots(world, "petra")}
    assert shown == {name.partition(".")[0] for name in good}
    assert len(refused(world, "child-health")) == len(before) + len(bad)
    for left in folder.glob(f"*{child_publisher.LEFT}"):
        left.unlink()
    taken_back = child_publisher.vaccinations(30, ("petra",), change="delete", hours=1)
    child_publisher.publish(folder, child_publisher.published(taken_back, {}))
    eventually(lambda: not [lot for lot in lots(world, "petra") if lot.startswith("LOT0")], seconds=30)


def test_a_deleted_vaccination_is_gone(world: World) -> None:
    shown = resources(world.search(VISITOR, "Immunization", BY_KEY["ben"].nhs_number), "Immunization")
    assert len([jab for jab in shown if ".child-health." in jab["id"]]) == 1  # of the two, one was deleted by its sender


def test_news_of_a_move_has_the_person_traced_again_and_keeps_nothing(world: World) -> None:
    oscar = BY_KEY["oscar"]
    assert world.search(VISITOR, "Immunization", oscar.nhs_number).status_code == 200
    rows = world.ask_database("select count(*) from shelf")
    expired = "select count(*) from person where expired"
    ((others,),) = world.ask_database(expired)  # left so by other tests
    moved = {"resourceType": "Communication", "id": "told", "status": "completed"}
    about = ("pds-change-of-address-1", "PDS Change of Address", "told", datetime.now(UTC), "new", "moved")
    deliver(world, "child-health", moved_json=json.dumps(child_health._message(oscar, about, [moved])).encode())
    eventually(lambda: world.ask_database(expired) == [(others + 1,)])
    assert world.ask_database("select count(*) from shelf") == rows
    assert world.search(VISITOR, "Immunization", oscar.nhs_number).status_code == 200
    assert world.ask_database(expired) == [(others,)]  # traced anew, and only because somebody asked


def test_a_late_older_extract_changes_nothing_and_a_newer_one_counts_at_once(world: World) -> None:
    amara = BY_KEY["amara"].nhs_number
    before = world.search(GP, "Flag", amara)
    assert resources(before, "Flag")
    deliver(world, "authority", older_xml=extract(datetime.now(UTC) - DAY, without_plans=True))
    late = world.search(GP, "Flag", amara)
    assert resources(late) == resources(before)
    assert late.headers["gateway-sources"] == before.headers["gateway-sources"]
    deliver(world, "authority", newer_xml=extract(datetime.now(UTC), without_plans=True))
    assert resources(world.search(GP, "Flag", amara)) == []
    deliver(world, "authority", newest_xml=extract(datetime.now(UTC) + timedelta(seconds=2)))
    assert [flag["code"] for flag in resources(world.search(GP, "Flag", amara), "Flag")] == [
        flag["code"] for flag in resources(before, "Flag")
    ]


def test_an_extract_that_cannot_be_used_leaves_the_last_good_one(world: World) -> None:
    whole = extract(datetime.now(UTC) + timedelta(seconds=4))
    before = len(refused(world, "authority"))
    deliver(
        world,
        "authority",
        half_xml=whole[: len(whole) // 2],
        doctype_xml=b"<!DOCTYPE a []>" + whole,
        future_xml=extract(datetime.now(UTC) + DAY),
    )
    assert len(refused(world, "authority")) == before + 3
    assert resources(world.search(GP, "Flag", BY_KEY["amara"].nhs_number), "Flag")


@pytest.fixture
def three_days_later(world: World) -> Iterator[datetime]:
    """The authority has delivered nothing for three days, as far as the gateway holds."""
    ((delivered,),) = world.ask_database("select delivered_at from shelf_delivery where source = 'authority'")
    old = delivered - 3 * 86_400_000_000
    for table in ("shelf_delivery", "feed"):
        world.change(f"update {table} set delivered_at = ? where source = 'authority'", old)
    time.sleep(2.2)  # two looks of the worker at what was delivered
    yield datetime.fromtimestamp(old / 1_000_000, UTC)
    for table in ("shelf_delivery", "feed"):
        world.change(f"update {table} set delivered_at = ? where source = 'authority'", delivered)
    time.sleep(2.2)


def test_a_too_old_extract_is_stale_shows_no_active_flag_says_its_date_and_protects_everybody(
    three_days_later: datetime, world: World
) -> None:
    answer = world.everything(GP, "amara")
    assert states(answer)["local-authority"] == "stale"
    assert not [flag for flag in resources(answer, "Flag") if flag["status"] == "active"]
    assert f"{three_days_later:%Y-%m-%d}" in told(answer)["local-authority"]
    assert "no plan" not in answer.text.lower()
    (patient,) = resources(answer, "Patient")
    assert not {"address", "telecom", "generalPractitioner"} & patient.keys()  # silence of a source that locks is a lock
    nothing = world.search(GP, "Flag", BY_KEY["ben"].nhs_number)
    assert states(nothing) == {"authority": "stale"}
    assert f"{three_days_later:%Y-%m-%d}" in told(nothing)["authority"]

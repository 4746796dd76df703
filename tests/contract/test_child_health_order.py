"""Messages come in any order and more than once: the shelf ends the same. Real connector, intake and SQLite store."""

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import adapters.child_health
from gateway.connectors import message_drop
from gateway.connectors.message_batch import COLUMNS
from gateway.flows.intake import intake
from gateway.nhs_number import NhsNumber
from gateway.registry import load_manifest
from gateway.store import Keys, Store, open_store
from sandbox import child_health as service
from sandbox.child_events import allergies, blood_spot, circumstances, early_years, feeding, medicines
from sandbox.families import BY_KEY, PEOPLE
from tests import fakes

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
SENDER, NEIGHBOUR = "ods:RXX99", "ods:RYY99"
BEN, OSCAR = BY_KEY["ben"], BY_KEY["oscar"]
SIX, MMR = service._JABS
EVENT = "https://fhir.nhs.uk/STU3/CodeSystem/EventType-1"


def later(bundle: dict[str, Any], hours: int) -> dict[str, Any]:
    """The same message, changed so many hours later, under an id of its own."""
    moved = deepcopy(bundle)
    header = moved["entry"][0]["resource"]
    at = datetime.fromisoformat(header["meta"]["lastUpdated"]) + timedelta(hours=hours)
    header["meta"]["lastUpdated"] = at.isoformat()
    header["id"] += f"-{hours}"
    return moved


def without_patient(bundle: dict[str, Any]) -> dict[str, Any]:
    """A deletion as NEMS allows it: the header, its focus, and no Patient."""
    bare = deepcopy(bundle)
    bare["entry"] = [each for each in bare["entry"] if each["resource"]["resourceType"] not in ("Patient", "Practitioner")]
    for each in bare["entry"]:
        each["resource"].pop("patient", None)
        each["resource"].pop("practitioner", None)
    return bare


def repeated_screening() -> dict[str, Any]:
    """A second blood spot outcome of the same visit, with one test less: it replaces the first, whole."""
    again = later(service._told(BEN, blood_spot), 30)
    tests = [each for each in again["entry"] if each["resource"]["resourceType"] == "Procedure"]
    again["entry"].remove(tests[0])
    return again


def moved_house() -> dict[str, Any]:
    told = {"resourceType": "Communication", "id": "told", "status": "completed"}
    told["subject"] = {"reference": "urn:uuid:" + service._id(BEN, "patient")}
    about = ("pds-change-of-address-1", "PDS Change of Address", "told", service._at(BEN, 40), "new", "moved")
    return service._message(BEN, about, [told])


def gone_by_another_number() -> dict[str, Any]:
    """A deletion under the key of Ben's record that names Oscar: it deletes nothing of Ben's."""
    bundle = without_patient(service._vaccination(BEN, SIX, change="delete", hours=9, key="strayed", header=OSCAR))
    assert BEN.nhs_number not in json.dumps(bundle)
    return bundle


def at_one_visit(vaccine: str, lot: str, hours: int, change: str = "new") -> dict[str, Any]:
    """A vaccination of Oscar in the older header style: it points at the visit, which several messages share."""
    bundle = service._vaccination(OSCAR, MMR, lot=lot, hours=hours, change=change, key=f"{vaccine}-{lot}")
    header = bundle["entry"][0]["resource"]
    (immunization,) = (each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Immunization")
    immunization["identifier"][0]["value"] = vaccine
    header["focus"] = [{"reference": "urn:uuid:one-visit"}]
    visit = {"resourceType": "Encounter", "id": "one-visit", "status": "finished", "subject": immunization["patient"]}
    visit["identifier"] = [{"system": "https://tests.example/visit", "value": "E1"}]
    bundle["entry"].append({"fullUrl": "urn:uuid:one-visit", "resource": visit})
    return bundle


def of_the_neighbour(bundle: dict[str, Any]) -> dict[str, Any]:
    """The same message as another service sends it: of a record of its own, though both are called alike."""
    told = json.loads(json.dumps(bundle).replace(SENDER.removeprefix("ods:"), NEIGHBOUR.removeprefix("ods:")))
    told["entry"][0]["resource"]["id"] += "-next-door"
    return dict(told)


def died(person: Any, status: str, hours: int) -> dict[str, Any]:
    """A notice of a death, or of one taken back."""
    told = {"resourceType": "Communication", "id": "told", "status": "completed"}
    about = ("pds-death-notification-1", "PDS Death Notification", "told", service._at(person, 40), "new", f"died-{status}")
    bundle = later(service._message(person, about, [told]), hours)
    (patient,) = (each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Patient")
    inner = {"url": "deathNotificationStatus", "valueCodeableConcept": {"coding": [{"code": status}]}}
    url = "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-DeathNotificationStatus-1"
    patient["extension"] = [{"url": url, "extension": [inner]}]
    return bundle


def batch_row(flag: str, day: int) -> str:
    cells = {
        "NHS_NUMBER": BEN.nhs_number, "PERSON_DOB": BEN.birth_date.strftime("%Y%m%d"), "DATE_AND_TIME": "20250306T101500",
        "UNIQUE_ID": "V1", "UNIQUE_ID_URI": "https://tests.example/v", "ACTION_FLAG": flag, "RECORDED_DATE": f"2025030{day}",
        "VACCINATION_PROCEDURE_CODE": "1082441000000108", "BATCH_NUMBER": flag,
    }  # fmt: skip
    return "|".join(f'"{cells.get(name, "")}"' for name in COLUMNS)


DAY = [
    service._vaccination(BEN, SIX, lot="FIRST", key="1"),
    service._vaccination(BEN, SIX, lot="SECOND", change="update", hours=1, key="2"),
    service._vaccination(BEN, SIX, lot="NEWEST", change="update", hours=2, key="3"),
    service._vaccination(BEN, MMR, lot="GONE", key="4"),
    service._vaccination(BEN, MMR, lot="GONE", change="update", hours=1, key="5"),
    without_patient(service._vaccination(BEN, MMR, change="delete", hours=2, key="6")),
    service._vaccination(OSCAR, SIX, lot="ONE", change="update", hours=3, key="7"),
    service._vaccination(OSCAR, SIX, lot="OTHER", change="update", hours=3, key="8"),  # of the same instant
    service._vaccination(OSCAR, MMR, lot="GONE", change="update", hours=4, key="9"),
    service._vaccination(OSCAR, MMR, change="delete", hours=4, key="10"),  # of the same instant
    service._told(BEN, blood_spot),
    repeated_screening(),
    service._told(BEN, feeding),
    service._contact(OSCAR),
    service._review(OSCAR),
    moved_house(),
    service._vaccination(BEN, SIX, key="mixed-up", header=OSCAR),
    service._told(BEN, allergies),
    later(service._told(BEN, medicines), 5),
    service._told(BEN, circumstances),
    service._told(OSCAR, lambda person, at: early_years(person, at, consent="N")),
    later(service._told(OSCAR, lambda person, at: early_years(person, at, consent="Y")), 1),  # a parent said yes an hour later
    gone_by_another_number(),
    of_the_neighbour(service._vaccination(BEN, SIX, lot="NEXT-DOOR", change="update", hours=1, key="2")),
    of_the_neighbour(without_patient(service._vaccination(BEN, MMR, change="delete", hours=1, key="6"))),  # never of the first's
    service._vaccination(OSCAR, MMR, lot="AGAIN", change="new", hours=2, key="11"),  # before its deletion, whenever it comes
    at_one_visit("V-MMR", "V-FIRST", 5),
    at_one_visit("V-MENB", "V-OTHER", 6),  # of the same visit: it takes nobody's place
    at_one_visit("V-MMR", "V-LATER", 7, "update"),
    at_one_visit("V-BCG", "V-GONE", 5),
    at_one_visit("V-BCG", "V-GONE", 8, "delete"),
    died(OSCAR, "1", 50),
    died(OSCAR, "U", 51),  # taken back: a person decides, whatever came first
]
LETTERS = [json.dumps(bundle).encode() for bundle in DAY]
LETTERS += [
    b"|".join(f'"{name}"'.encode() for name in COLUMNS) + b"\n" + batch_row(flag, day).encode() + b"\n"
    for flag, day in (("new", 1), ("update", 3), ("delete", 2))
]


class Tracer:
    """Everybody of the sandbox is traced; expiries are remembered."""

    def __init__(self) -> None:
        self.persons, self.expired = self, set[str]()

    async def expire(self, number: NhsNumber) -> None:
        self.expired.add(number.value)

    async def trace(self, number: NhsNumber, **_: Any) -> Any:
        (born,) = (person.birth_date for person in PEOPLE if person.nhs_number == number.value)
        return fakes.identity(number=number, birth_date=born)


class Told:
    """Deaths that were told, and those taken back."""

    def __init__(self) -> None:
        self.facts = set[str]()

    async def put(self, told: Sequence[Any]) -> int:
        self.facts |= {f"{each.kind} {each.taken_back} {each.number.value}" for each in told}
        return len(told)


@dataclass
class Place:
    """One store for every try; each try is a source of its own, and so has a shelf of its own."""

    store: Store
    runner: asyncio.Runner
    folder: Path
    tries: "count[int]"

    async def take(self, letters: Sequence[bytes]) -> tuple[dict[tuple[str, ...], Any], set[str]]:
        """What the shelf holds, and whose trace expired, once these letters are delivered in this order."""
        name = f"child-health-{next(self.tries)}"
        drop = self.folder / name
        drop.mkdir()
        for place, letter in enumerate(letters):
            path = drop / (f"{place:03}.csv" if letter.startswith(b'"NHS') else f"{place:03}.json")
            path.write_bytes(letter)
            os.utime(path, times=(NOW.timestamp() - 900 + place,) * 2)
        active = fakes.active(name, fakes.FakeSource(), custodian=SENDER)
        source = replace(active.settings, name=name, keep_days=7, options={"drop": str(drop), "senders": [NEIGHBOUR]})
        tools: Any = SimpleNamespace(var=drop, now=lambda: NOW, seal=bytes, shelf=None)
        adapter: Any = message_drop.build(load_manifest(adapters.child_health), source, tools)
        told = Told()
        parts: Any = SimpleNamespace(
            log=self.store.log, shelf=self.store.shelf, protections=self.store.protections, crosswalk=self.store.crosswalk,
            suppressions=told,
            identity=Tracer(), now=lambda: NOW, allow_test_numbers=True, policy=SimpleNamespace(hash="hash"),
        )  # fmt: skip
        async for delivery, arrivals in adapter.arrivals():
            await intake(parts, replace(active, settings=source), delivery, arrivals)
        held = [
            (person.key, row)
            for person in (BEN, OSCAR)
            for row in await self.store.shelf.newest(name, NhsNumber(person.nhs_number), NOW)
        ]
        shelf = {(key, row.kind, row.sender, row.business_id): (row.as_of, json.loads(row.body)["data"]) for key, row in held}
        return shelf, {*parts.identity.expired, *told.facts}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("order")
    with asyncio.Runner() as runner:
        keys = Keys.create_sandbox(folder / "keys")
        store = runner.run(open_store(f"sqlite:///{folder / 'gateway.db'}", keys, name="order"))
        yield Place(store, runner, folder, count())
        runner.run(store.close())


@pytest.fixture(scope="module")
def in_order(place: Place) -> tuple[dict[tuple[str, ...], Any], set[str]]:
    return place.runner.run(place.take(LETTERS))


def test_a_day_in_order_leaves_the_newest_of_each_and_nothing_that_was_deleted(
    in_order: tuple[dict[tuple[str, ...], Any], set[str]],
) -> None:
    shelf, expired = in_order
    theirs = [held for (_, _, sender, _), (_, held) in shelf.items() if sender == NEIGHBOUR]
    assert [each["immunizations"][0]["lotNumber"] for each in theirs] == ["NEXT-DOOR"]
    assert sorted((key, kind) for key, kind, sender, _ in shelf if sender == SENDER) == [
        ("ben", "CH003"),
        ("ben", "CH019"),
        ("ben", "blood-spot-test-outcome-1"),
        ("ben", "feeding-status-1"),
        ("ben", "immunisation"),
        ("ben", "social-context-1"),
        ("ben", "vaccinations-1"),
        ("oscar", "early-years-progress-1"),
        ("oscar", "observations-1"),
        ("oscar", "professional-contacts-1"),
        ("oscar", "vaccinations-1"),
        ("oscar", "vaccinations-1"),
        ("oscar", "vaccinations-1"),
    ]
    lots = [
        held["immunizations"][0]["lotNumber"]
        for (key, kind, _, _), (_, held) in shelf.items()
        if key == "oscar" and kind == "vaccinations-1"
    ]
    assert sorted(lots)[1:] == ["V-LATER", "V-OTHER"]  # the first is one of two of the same instant
    data = {(key, kind): held for (key, kind, sender, _), (_, held) in shelf.items() if sender == SENDER}
    assert data["ben", "vaccinations-1"]["immunizations"][0]["lotNumber"] == "NEWEST"
    assert len(data["ben", "blood-spot-test-outcome-1"]["procedures"]) == 1
    assert data["ben", "immunisation"]["BATCH_NUMBER"] == "update"
    oscar = OSCAR.nhs_number
    assert expired == {BEN.nhs_number, oscar, f"death False {oscar}", f"death True {oscar}"}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(len(LETTERS))),
    repeats=st.lists(st.tuples(st.integers(0, len(LETTERS) - 1), st.integers(0, len(LETTERS))), max_size=6),
)
def test_any_order_with_any_repeats_leaves_the_same_shelf(
    place: Place, in_order: tuple[dict[tuple[str, ...], Any], set[str]], order: list[int], repeats: list[tuple[int, int]]
) -> None:
    letters = [LETTERS[number] for number in order]
    for number, where in repeats:
        letters.insert(where, LETTERS[number])
    assert place.runner.run(place.take(letters)) == in_order

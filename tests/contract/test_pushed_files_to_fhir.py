"""From a file somebody left to FHIR: drop, intake, the store's encrypted shelf, fetch, map. Real parts but for the tracer."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import mapping
from gateway.adapter import Manifest, Purpose, SourceFacts, SourceRecord, SourceSettings, Want
from gateway.connectors import csv_drop, hl7v2_drop
from gateway.flows.intake import SHRINKS, intake
from gateway.flows.shelving import SourceLocalIds, SourceShelf
from gateway.registry import ActiveSource
from gateway.store import Keys, Store, open_store
from tests import fakes

pytestmark = pytest.mark.anyio
NOW = fakes.NOW
SENDER = "ods:RXX99"
NUMBER = fakes.AMARA.value

SOURCE = """
schemas:
  - schema: height-1
    about: one child's heights
    fields:
      rows: {type: object, repeats: true, meaning: one for each day}
      "rows.`Pupil no`": {type: string, class: identity, meaning: the school's number}
      "rows.`NHS number`": {type: string, class: identity, meaning: the claim}
      rows.Born: {type: date, class: identity, meaning: the claim}
      rows.Day: {type: date, class: health, meaning: when it was measured}
      rows.Height: {type: decimal, class: health, meaning: in cm}
      rows.Extract: {type: date, class: operational, meaning: when the extract was true}
      _stale: {type: boolean, class: operational, meaning: written by the connector past the age an extract may have}
  - schema: result-1
    about: one report of a laboratory
    fields:
      order: {type: string, class: operational, meaning: the filler's number}
      results: {type: object, repeats: true, meaning: one for each OBX}
      results.code: {type: code, class: health, meaning: what was measured}
      results.value: {type: decimal, class: health, meaning: in g/L}
      results.at: {type: string, class: health, meaning: when}
"""
MAP = """
map: clinic/{name}
version: 1.0.0
reads: {schema}
because: A made-up agreement
resources:
  Observation:
    category: child-health-reviews
    key: [{key}]
    each: {each}
    set:
      status: = 'final'
      code.text: = '{text}'
      subject: = ref('Patient')
      valueQuantity.value: {value} | decimal
      valueQuantity.unit: = '{unit}'
ignore: {{{ignore}}}
undecided: []
"""
HEIGHTS = MAP.format(
    name="height", schema="height-1", key="'`Pupil no`', Day", each="rows", text="Body height", value="Height", unit="cm",
    ignore="rows.`NHS number`: the claim, rows.Born: the claim, rows.Extract: of the file, rows.Day: in the key, "
    "_stale: heights stay true",
)  # fmt: skip
RESULTS = MAP.format(
    name="result", schema="result-1", key="'%record.order', code", each="results", text="Haemoglobin", value="value", unit="g/L",
    ignore="results.at: not passed on",
)  # fmt: skip
TERMS: dict[str, Any] = {"identity": "nhs_number", "kind": "child-health", "reads": ("height-1", "result-1")}
CSV = {
    "schema": "height-1",
    "kind": "height",
    "delivers": "snapshot",
    "columns": ["Pupil no", "NHS number", "Born", "Day", "Height", "Extract"],
    "identity": "NHS number",
    "birth_date": "Born",
    "key": "Pupil no",
    "as_of": "Extract",
    "group": True,
}
HL7 = {
    "number_type": ["NH"],
    "events": {
        "ORU^R01": {
            "schema": "result-1",
            "kind": "result",
            "key": "OBR-3.1",
            "fields": {"order": "OBR-3.1"},
            "each": {"segment": "OBX", "as": "results", "fields": {"code": "OBX-3.1", "value": "OBX-5", "at": "OBX-14"}},
        }
    },
}


def manifest(**options: Any) -> Manifest:
    gives, none = {"Observation": "child-health-reviews"}, frozenset[str]()
    return Manifest("clinic", "A clinic", None, "nobody", gives=gives, purposes=none, never_for=none, feeds_protection=False,
                    budget_s=1.0, options=options, **TERMS)  # fmt: skip


class Tracer:
    async def trace(self, number: Any, **_: Any) -> Any:
        return fakes.identity(number=number)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'g.db'}", Keys.create_sandbox(tmp_path / "keys"), name="test")
    yield opened
    await opened.close()


@pytest.fixture
def maps(tmp_path: Path) -> mapping.Maps:
    folder = tmp_path / "mappings" / "clinic"
    folder.mkdir(parents=True)
    for name, text in (("source.yaml", SOURCE), ("height.yaml", HEIGHTS), ("result.yaml", RESULTS)):
        (folder / name).write_text(text)
    return mapping.load(tmp_path / "mappings")


class Place:
    def __init__(self, folder: Path, store: Store, made: Any, held: Manifest) -> None:
        tools: Any = SimpleNamespace(
            now=lambda: NOW,
            shelf=SourceShelf(store.shelf, "clinic", lambda: NOW),
            local_ids=SourceLocalIds(store.crosswalk, "clinic"),
            var=folder,
            seal=bytes,
        )
        settings = SourceSettings("clinic", "clinic", SENDER, "A", "Clinic", 1.0, None, 7, {})
        self.source = ActiveSource(held, settings, made.build(held, settings, tools))
        self.folder = folder / "drop"
        self.parts: Any = SimpleNamespace(
            log=store.log, shelf=store.shelf, protections=store.protections, crosswalk=store.crosswalk, identity=Tracer(),
            now=lambda: NOW, allow_test_numbers=True, policy=SimpleNamespace(hash="h"),
        )  # fmt: skip

    async def leave(self, name: str, body: str) -> list[str]:
        path = self.folder / name
        path.write_text(body)
        os.utime(path, times=(NOW.timestamp() - 60,) * 2)
        taker = self.source.intake
        assert taker is not None
        return [await intake(self.parts, self.source, delivery, held) async for delivery, held in taker.arrivals()]

    async def values(self, maps: mapping.Maps) -> list[str]:
        want = Want(frozenset({"Observation"}), Purpose.TREAT, {}, "c")
        *records, facts = [item async for item in self.source.adapter.fetch(fakes.identity(), want)]
        assert isinstance(facts, SourceFacts)
        found = []
        for record in records:
            assert isinstance(record, SourceRecord)
            assert record.about.birth_date == fakes.BORN
            context = mapping.Context("clinic", lambda type_, key: "p.clinic.x", fakes.PERSON, fakes.AMARA, NOW, SENDER)
            result = mapping.map_record(maps, "clinic", record, context, account=True)
            assert result.refused == ()
            assert result.accounting is not None
            assert result.accounting.unmapped == ()
            found += [str(resource.body["valueQuantity"]["value"]) for resource in result.resources]
        return found


def heights(*children: str, day: str = "2026-11-20") -> str:
    born = fakes.BORN.isoformat()
    rows = [
        f"{child},{NUMBER},{born},{on},{height},{day}" for child in children for on, height in (("a", "98.50"), ("b", "99.0"))
    ]
    return "\n".join(["Pupil no,NHS number,Born,Day,Height,Extract", *rows])


async def test_a_csv_someone_left_becomes_observations_of_the_child(tmp_path: Path, store: Store, maps: mapping.Maps):
    place = Place(tmp_path, store, csv_drop, manifest(csv=CSV))
    assert await place.leave("heights.csv", heights("P1", "P2", "P3")) == ["taken"]
    assert await place.values(maps) == ["98.50", "99.0"] * 3


async def test_a_snapshot_that_would_empty_the_shelf_leaves_it_as_it_was(tmp_path: Path, store: Store, maps: mapping.Maps):
    place = Place(tmp_path, store, csv_drop, manifest(csv=CSV))
    assert await place.leave("a.csv", heights("P1", "P2", "P3")) == ["taken"]
    for number, body in enumerate([heights(), heights("P1", day="2026-11-21"), heights("P1", "P2", "P3", day="2026-11-19"), ""]):
        assert await place.leave(f"{number}.csv", body) == ["refused"]
    assert len(await place.values(maps)) == 6
    notes = "".join(path.read_text() for path in (tmp_path / "drop" / "refused").glob("*.reason"))
    assert SHRINKS in notes
    assert await place.leave("later.csv", heights("P1", "P2", day="2026-11-22")) == ["taken"]
    assert len(await place.values(maps)) == 4


async def test_a_report_by_hl7_becomes_an_observation_and_its_correction_replaces_it(
    tmp_path: Path, store: Store, maps: mapping.Maps
):
    place = Place(tmp_path, store, hl7v2_drop, manifest(hl7=HL7))

    def report(at: str, value: str) -> str:
        born = f"{fakes.BORN:%Y%m%d}"
        return (
            f"MSH|^~\\&|LAB|X|GW|Y|{at}||ORU^R01|{at}|P|2.5.1\rPID|1||{NUMBER}^^^NHS^NH||||{born}\r"
            f"OBR|1||F1\rOBX|1|NM|HB||{value}\r"
        )

    assert await place.leave("1.hl7", report("20261120100000", "112.0")) == ["taken"]
    assert await place.leave("2.hl7", report("20261120110000", "121.0")) == ["taken"]
    assert await place.leave("3.hl7", report("20261120103000", "99.0")) == ["taken"]
    assert await place.values(maps) == ["121.0"]

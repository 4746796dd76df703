"""What the sandbox's centre and authority hold, through their adapters and maps: every record R4, every field decided."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import adapters.childrens_centre
import adapters.local_authority
from gateway import mapping
from gateway.adapter import Adapter, Claim, Purpose, ShelfRecord, SourceFacts, SourceRecord, SourceSettings, Want
from gateway.connectors import returns_drop, sql
from gateway.connectors.returns_read import read
from gateway.connectors.returns_shape import read_formats
from gateway.model import CareClass, Mark
from gateway.nhs_number import NhsNumber
from gateway.registry import load_manifest
from sandbox import authority, centre
from sandbox.families import BY_KEY, PEOPLE, REFUGE

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
GP = {"organisation": "ods:A99901", "organisation_kind": "gp-practice"}


@pytest.fixture(scope="module")
def maps() -> mapping.Maps:
    return mapping.load(files("mappings"))


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    path = centre.write(tmp_path_factory.mktemp("centre") / "centretrack.db", NOW.date())
    options = {"database_url": f"sqlite:///{path}"}
    settings = SourceSettings("centre", "childrens_centre", "dfe-urn:199901", "A", "Willow", 5.0, None, 7, options)
    tools: Any = SimpleNamespace(now=lambda: NOW)
    return sql.build(load_manifest(adapters.childrens_centre), settings, tools)


class Shelved:
    """The extract as the shelf would give it back, and a crosswalk that knows every child of it."""

    def __init__(self, delivered: datetime) -> None:
        formats = read_formats(load_manifest(adapters.local_authority))
        self._delivered = delivered
        self._everyone = returns_drop.everyone(read(formats, authority.extract(delivered), whole=True), "gss:E08999901")

    async def newest(self, holder: object) -> Sequence[ShelfRecord]:
        return [
            ShelfRecord(
                one.kind, one.business_id, one.sender, one.as_of, one.record.data, one.about, one.record.where, one.record.schema
            )
            for one in self._everyone
            if one.record is not None and one.about.local_id == holder
        ]

    async def delivered_at(self) -> datetime:
        return self._delivered

    async def of(self, patient: Any) -> Sequence[Claim]:
        return [Claim(local_id=one.local_id) for one in PEOPLE if one.local_id and one.nhs_number == patient.number.value]


def case_system(tmp_path: Path, delivered: datetime = NOW - timedelta(hours=4)) -> returns_drop.ReturnsDrop:
    shelved = Shelved(delivered)
    settings = SourceSettings("authority", "local_authority", "gss:E08999901", "A", "Northshire", 1.0, 48, 7, {})
    tools: Any = SimpleNamespace(now=lambda: NOW, shelf=shelved, local_ids=shelved, var=tmp_path, seal=bytes)
    return returns_drop.build(load_manifest(adapters.local_authority), settings, tools)


def said(source: Adapter, key: str, requester: dict[str, str] = GP) -> tuple[list[SourceRecord], SourceFacts]:
    patient: Any = SimpleNamespace(number=NhsNumber(BY_KEY[key].nhs_number), superseded=())

    async def run() -> list[SourceRecord | SourceFacts]:
        return [item async for item in source.fetch(patient, Want(frozenset({"*"}), Purpose.TREAT, requester, "c-1"))]

    items = asyncio.run(run())
    facts = items.pop()
    assert isinstance(facts, SourceFacts)
    return [item for item in items if isinstance(item, SourceRecord)], facts


def mapped(maps: mapping.Maps, adapter: str, record: SourceRecord) -> mapping.MapResult:
    context = mapping.Context(adapter, lambda type_, key: f"person.x.{len(type_)}", "person", None, NOW, "")
    result = mapping.map_record(maps, adapter, record, context, account=True)
    assert result.refused == ()
    assert result.accounting is not None
    for resource in result.resources:
        assert mapping.shape_faults(resource.body) == []
    return result


CENTRE_PEOPLE = [person.key for person in PEOPLE if person.centre_id]
AUTHORITY_PEOPLE = [person.key for person in PEOPLE if person.local_id]


@pytest.mark.parametrize("key", CENTRE_PEOPLE)
def test_every_child_of_the_centre_maps_to_registration_and_visits(register: Adapter, maps: mapping.Maps, key: str):
    records, facts = said(register, key)
    assert {record.about for record in records} == {Claim(nhs_number=BY_KEY[key].nhs_number, birth_date=BY_KEY[key].birth_date)}
    assert facts == SourceFacts()
    results = [mapped(maps, "childrens_centre", record) for record in records]
    types = [resource.body["resourceType"] for result in results for resource in result.resources]
    offer = ["Flag"] if key in ("amara", "jonah", "mia") else []
    assert types == ["EpisodeOfCare", "CareTeam", *offer, *["Encounter"] * (3 if key == "amara" else 2), *["Consent"] * 5]
    assert all(result.accounting is not None and result.accounting.unmapped == () for result in results)
    assert {record.locked for record in records} == {key == "jonah"}


def test_the_centre_is_named_only_where_it_is_marked_as_locating(register: Adapter, maps: mapping.Maps):
    records, _ = said(register, "amara")
    for record in records:
        for resource in mapped(maps, "childrens_centre", record).resources:
            stripped = dict(resource.body)
            for path in resource.paths[Mark.LOCATING]:
                stripped.pop(path[0], None)
            said_at_all = mapping.encode(stripped).decode()
            assert not any(word in said_at_all for word in ("Willow", "room", "Home", "Library", "WC0", "Amara", "Testwell"))


def test_a_parent_on_a_sensitive_course_is_not_told_of(register: Adapter):
    records, _ = said(register, "leah", {"organisation": "dfe-urn:199901", "organisation_kind": "childrens-centre"})
    assert [record.schema for record in records] == ["centre-registration-1", "centre-contact-1"]


@pytest.mark.parametrize("key", AUTHORITY_PEOPLE)
def test_every_child_of_the_extract_maps_to_what_is_open_today(tmp_path: Path, maps: mapping.Maps, key: str):
    [record], facts = said(case_system(tmp_path), key)
    adopted = {"adoption"} if key == "eli-before" else set()
    assert facts.protected == ({"refuge"} if key in REFUGE else set()) | adopted
    assert facts.stale is False
    result = mapped(maps, "local_authority", record)
    cases = authority.CASES.get(key, ())
    episodes = [one.body for one in result.resources if one.body["resourceType"] == "EpisodeOfCare"]
    flags = [one for one in result.resources if one.body["resourceType"] == "Flag"]
    assert [one["period"].get("end") for one in episodes] == [case.closed or None for case in cases]
    assert [one["status"] for one in episodes] == ["finished" if case.closed else "active" for case in cases]
    assert [flag.body["period"]["start"] for flag in flags] == [
        plan.start for case in cases for plan in case.plans if not plan.end
    ]
    assert {flag.care_class for flag in flags} <= {CareClass.SAFEGUARDING}
    if cases:
        assert result.accounting is not None
        assert result.accounting.unmapped == ()


@pytest.mark.parametrize("key", AUTHORITY_PEOPLE)
def test_past_its_age_an_extract_raises_no_flag(tmp_path: Path, maps: mapping.Maps, key: str):
    [record], facts = said(case_system(tmp_path, NOW - timedelta(hours=49)), key)
    assert facts.stale is True
    assert facts.as_of is not None
    assert facts.as_of.date() == date(2026, 11, 19)
    types = {resource.body["resourceType"] for resource in mapped(maps, "local_authority", record).resources}
    assert not types & {"Flag", "CareTeam"}


@pytest.mark.parametrize("key", AUTHORITY_PEOPLE)
def test_no_child_id_leaves_the_authority_and_categories_and_factors_are_for_an_enquiry(
    tmp_path: Path, maps: mapping.Maps, key: str
):
    [record], _ = said(case_system(tmp_path), key)
    secrets = ["NEG", "EMO", "PHY", *(factor for case in authority.CASES.get(key, ()) for factor in case.factors)]
    for resource in mapped(maps, "local_authority", record).resources:
        text = mapping.encode(dict(resource.body)).decode()
        assert BY_KEY[key].local_id not in text
        if any(f'"{secret}"' in text for secret in secrets) and resource.body["resourceType"] != "ServiceRequest":
            assert resource.care_class is CareClass.SPECIAL


def test_somebody_the_crosswalk_does_not_hold_is_found_by_nobody(tmp_path: Path):
    records, facts = said(case_system(tmp_path), "ben")
    assert records == []
    assert facts.as_of is not None

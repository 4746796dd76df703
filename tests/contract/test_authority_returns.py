"""Every return a synthetic authority writes, through the connector and the maps: recognised, whole, R4."""

import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from importlib.resources import files

import openpyxl
import pytest

import adapters.local_authority
from gateway import mapping
from gateway.adapter import Claim, SourceContractBroken, SourceRecord
from gateway.connectors import returns_drop
from gateway.connectors.returns_read import LACKS_TABLE, read
from gateway.connectors.returns_shape import read_formats
from gateway.model import CareClass, MappedResource, Mark
from gateway.registry import load_manifest
from sandbox import authority, authority_returns
from sandbox.families import BY_KEY

AT = datetime(2026, 11, 21, 2, tzinfo=UTC)
MANIFEST = load_manifest(adapters.local_authority)
FORMATS = read_formats(MANIFEST)
CSVS = authority_returns.ssda903(AT)
BODIES: Mapping[str, tuple[str, bytes]] = {
    "census": ("cin", authority.extract(AT)),
    "second authority's census": ("cin", authority_returns.southshire(AT)),
    "ssda903 as csv": ("ssda903", authority_returns.zipped(CSVS, AT)),
    "ssda903 as xml": ("ssda903", authority_returns.zipped({"return.xml": authority_returns.ssda903_xml()}, AT)),
    "annex a": ("annex-a", authority_returns.annex_a(AT)),
    "dataset": ("ssd", authority_returns.zipped(authority_returns.dataset(AT), AT)),
    "dataset with the other name of the number": (
        "ssd",
        authority_returns.zipped(authority_returns.dataset(AT, number_column="pers_single_unique_id"), AT),
    ),
}


@pytest.fixture(scope="module")
def maps() -> mapping.Maps:
    return mapping.load(files("mappings"))


def records(body: bytes) -> dict[str, SourceRecord]:
    return {record.about.local_id or "": record for record in returns_drop.read_file(MANIFEST, "any.name", body)}


def mapped(maps: mapping.Maps, record: SourceRecord) -> Sequence[MappedResource]:
    def mint(type_: str, key: str) -> str:
        return f"person.authority.{abs(hash((type_, key)))}"

    context = mapping.Context("authority", mint, "person", None, AT, "gss:E08999901")
    result = mapping.map_record(maps, "local_authority", record, context, account=True)
    assert result.refused == ()
    assert result.accounting is not None
    assert result.accounting.unmapped == ()
    assert [mapping.shape_faults(one.body) for one in result.resources] == [[]] * len(result.resources)
    ids = [(one.body["resourceType"], one.body["id"]) for one in result.resources]
    assert len(set(ids)) == len(ids)
    return result.resources


def types(resources: Sequence[MappedResource]) -> list[str]:
    return sorted(one.body["resourceType"] for one in resources)


@pytest.mark.parametrize("name", BODIES)
def test_a_return_is_recognised_by_what_is_in_it_and_says_when_it_was_true(name: str):
    form, body = BODIES[name]
    reading = read(FORMATS, body, whole=True)
    assert reading.format.name == form
    assert reading.as_of == AT
    assert len(returns_drop.everyone(reading, "gss:E08999901")) == len(reading.people) > 0


@pytest.mark.parametrize("name", BODIES)
def test_every_record_of_a_return_becomes_r4_and_no_field_is_left_without_a_decision(name: str, maps: mapping.Maps):
    made = [one for record in records(BODIES[name][1]).values() for one in mapped(maps, record)]
    assert {"Flag", "EpisodeOfCare"} <= set(types(made))


@pytest.mark.parametrize("name", BODIES)
def test_no_number_of_the_authority_and_no_pupil_number_leaves_in_any_resource(name: str, maps: mapping.Maps):
    body = BODIES[name][1]
    for local_id, record in records(body).items():
        said = mapping.encode([dict(one.body) for one in mapped(maps, record)]).decode()
        assert local_id not in said
        assert not re.search(r"A9{12}|[A-Z]\d{11}[A-Z0-9]|LA0\d{4}|S0\d{4}|\b999\d{7}\b|SC9{6}", said)


def test_the_two_forms_of_ssda903_say_the_same(maps: mapping.Maps):
    by_form = []
    for name in ("ssda903 as csv", "ssda903 as xml"):
        found = records(BODIES[name][1])
        by_form.append({key: [one.body for one in mapped(maps, record)] for key, record in found.items()})
    assert by_form[0] == by_form[1]


def test_one_csv_of_the_return_alone_can_be_read(maps: mapping.Maps):
    for name in ("header.csv", "episodes.csv", "placed_adoption.csv", "reviews.csv"):
        found = records(CSVS[name])
        assert found
        for record in found.values():
            mapped(maps, record)


@pytest.mark.parametrize(("gone", "name"), [("List 10", "adoption"), ("List 7", "plans"), ("List 8", "looked_after")])
def test_a_workbook_without_a_list_that_a_flag_or_a_lock_is_read_from_is_refused_by_the_lists_name(gone: str, name: str):
    book = openpyxl.load_workbook(io.BytesIO(BODIES["annex a"][1]))
    del book[gone]
    out = io.BytesIO()
    book.save(out)
    for reading in (lambda: read(FORMATS, out.getvalue(), whole=True), lambda: records(out.getvalue())):
        with pytest.raises(SourceContractBroken) as refused:
            reading()
        assert refused.value.reason == f"{LACKS_TABLE}: {name}"


def test_a_child_looked_after_has_one_period_of_care_and_short_breaks_and_ended_care_raise_no_flag(maps: mapping.Maps):
    found = records(BODIES["ssda903 as csv"][1])
    now = mapped(maps, found[BY_KEY["noor"].local_id])
    assert types(now) == ["CarePlan", "EpisodeOfCare", "Flag", "Location"]
    (episode,) = [one.body for one in now if one.body["resourceType"] == "EpisodeOfCare"]
    assert (episode["status"], episode["period"]) == ("active", {"start": "2026-02-01"})
    assert types(mapped(maps, found[BY_KEY["hugo"].local_id])) == []
    (ended, *_) = [
        one.body for one in mapped(maps, found[BY_KEY["grace"].local_id]) if one.body["resourceType"] == "EpisodeOfCare"
    ]
    assert (ended["status"], ended["period"]["end"]) == ("finished", "2025-11-30")
    assert "Flag" not in types(mapped(maps, found[BY_KEY["grace"].local_id]))


@pytest.mark.parametrize("name", ["ssda903 as csv", "ssda903 as xml", "annex a"])
def test_a_placement_order_or_a_placement_for_adoption_protects_with_the_delivery_itself(name: str):
    arrivals = returns_drop.everyone(read(FORMATS, BODIES[name][1], whole=True), "gss:E08999901")
    locks = {arrival.business_id: arrival.protected for arrival in arrivals}
    assert locks.pop(BY_KEY["mia"].local_id) == {"adoption"}
    assert set(locks.values()) == {frozenset()}


@pytest.mark.parametrize("form", ["csv", "xml"])
@pytest.mark.parametrize(
    ("legal", "where", "ceased", "locks", "closed"),
    [
        ("E1", "U6", "", {"adoption"}, False),
        *[("C2", placement, "", {"adoption"}, False) for placement in ("A3", "A4", "A5", "A6")],
        *[("E1", "A5", reason, {"adoption"}, True) for reason in ("E11", "E12")],
        ("C2", "U6", "", set(), False),
        ("V2", "P1", "E4A", set(), False),
    ],
)
def test_each_order_and_placement_for_adoption_protects_by_itself_and_an_adoption_closes_the_record(
    form: str, legal: str, where: str, ceased: str, locks: set[str], closed: bool, monkeypatch: pytest.MonkeyPatch
):
    end = "2026-10-01" if ceased else ""
    episodes = {"kiran": [authority_returns.Episode("2026-09-01", "S", legal, where, end, ceased)]}
    monkeypatch.setattr(authority_returns, "EPISODES", episodes)
    monkeypatch.setattr(authority_returns, "PLACED", {})
    files_of = authority_returns.ssda903(AT) if form == "csv" else {"return.xml": authority_returns.ssda903_xml()}
    files_of.pop("reviews.csv", None)  # of somebody else
    arrivals = returns_drop.everyone(read(FORMATS, authority_returns.zipped(files_of, AT), whole=True), "gss:E08999901")
    (arrival,) = arrivals
    assert arrival.protected == locks
    assert arrival.record is not None
    assert arrival.record.locked is closed


def test_a_date_of_placement_for_adoption_and_a_confidential_address_of_the_dataset_protect():
    tables = authority_returns.dataset(AT)
    tables["ssd_permanence.csv"] += f"{BY_KEY['amara'].local_id},2026-10-10\r\n".encode()
    arrivals = returns_drop.everyone(read(FORMATS, authority_returns.zipped(tables, AT), whole=True), "gss:E08999901")
    locks = {arrival.business_id: arrival.protected for arrival in arrivals if arrival.protected}
    assert locks == {BY_KEY["amara"].local_id: {"adoption"}, BY_KEY["hugo"].local_id: {"address-lock"}}


@pytest.mark.parametrize("reason", ["RC1", "rc1"])
def test_an_adoption_in_the_census_locks_the_whole_record(reason: str):
    body = BODIES["census"][1].replace(b"<ReasonForClosure>RC7<", f"<ReasonForClosure>{reason}<".encode())
    locked = {
        one.business_id: one for one in returns_drop.everyone(read(FORMATS, body, whole=True), "") if "adoption" in one.protected
    }
    assert set(locked) == {BY_KEY["chloe"].local_id, BY_KEY["eli-before"].local_id}
    assert all(one.record is not None and one.record.locked for one in locked.values())


def test_an_unborn_childs_plan_is_a_flag_about_the_pregnancy_and_nothing_else(maps: mapping.Maps):
    record = records(BODIES["second authority's census"][1])[authority_returns.UNBORN]
    assert record.about.birth_date is None
    (flag,) = mapped(maps, record)
    assert flag.body["code"]["coding"][0]["code"] == "878111000000109"


def test_a_child_who_has_died_has_no_flag(maps: mapping.Maps):
    assert "Flag" not in types(mapped(maps, records(BODIES["second authority's census"][1])["S00005"]))


def test_facts_about_others_and_places_go_whole_where_their_mark_is_not_kept(maps: mapping.Maps):
    census = [one for record in records(BODIES["census"][1]).values() for one in mapped(maps, record)]
    others = [
        one for one in census if one.body["resourceType"] == "Observation" and ("*",) in one.paths.get(Mark.THIRD_PARTY, ())
    ]
    assert others
    assert {one.care_class for one in others} == {CareClass.SPECIAL}
    for one in census:
        if one not in others:
            said = mapping.encode(dict(one.body)).decode()
            assert not re.search(r'"code":"\d{1,2}[BC]"', said) or one.body["resourceType"] == "ServiceRequest"
    dataset = [one for record in records(BODIES["dataset"][1]).values() for one in mapped(maps, record)]
    (mother,) = [one for one in dataset if one.body["resourceType"] == "RelatedPerson"]
    assert ("*",) in mother.paths[Mark.THIRD_PARTY]


@pytest.mark.parametrize("category", ["NEG", "EMO", "PHY"])
def test_the_category_of_abuse_is_in_the_plan_alone_and_of_the_most_restricted_class(category: str, maps: mapping.Maps):
    for name in ("census", "annex a", "dataset"):
        for record in records(BODIES[name][1]).values():
            for one in mapped(maps, record):
                if f'"{category}"' in mapping.encode(dict(one.body)).decode():
                    assert (one.body["resourceType"], one.care_class) == ("CarePlan", CareClass.SPECIAL)


def test_letters_of_abuse_that_nobody_reviewed_stay_text_and_are_counted_and_an_authoritys_own_map_reads_them(
    maps: mapping.Maps, tmp_path_factory: pytest.TempPathFactory
):
    letter = {"_id": "1", "plans": [{"_key": "1/a/1", "Latest Category of Abuse": "C3"}]}
    record = SourceRecord("annex-a-child", letter, "row 2", AT, Claim(local_id="1"))
    folder = tmp_path_factory.mktemp("codes")
    (folder / "ofsted-abuse-category.csv").write_text(
        "# title: Letters of one authority\n# licence: its own\n"
        "source,source_display,target_system,target,target_display,equivalence,note,approved_by,on\n"
        "C3,C3 Emotional,urn:shared-care-gateway:CodeSystem:cin-abuse-category,EMO,Emotional,equivalent,,Data team,2026-11-21\n"
    )
    own = mapping.with_code_maps(maps, files("mappings"), {"northshire": folder})
    assert own.hash != maps.hash
    said = {}
    for source in ("northshire", "southshire"):
        context = mapping.Context(source, lambda type_, key: f"p.x.{type_}", "p", None, AT, "")
        result = mapping.map_record(own, "local_authority", record, context)
        (plan,) = [one.body for one in result.resources if one.body["resourceType"] == "CarePlan"]
        said[source] = (plan["category"][1], dict(result.unknown_codes))
    assert said["southshire"] == ({"text": "C3"}, {"ofsted-abuse-category": 1})
    assert said["northshire"][0]["coding"][0]["code"] == "EMO"
    assert said["northshire"][1] == {}


def test_a_reference_date_is_as_good_as_a_time_and_the_year_is_never_asked():
    body = BODIES["census"][1].replace(b"<Year>2026<", b"<Year>1999<")
    assert read(FORMATS, body, whole=True).as_of == AT
    body = re.sub(rb"<DateTime>[^<]*</DateTime>", b"", body)
    as_of = read(FORMATS, body, whole=True).as_of
    assert as_of is not None
    assert as_of.date() == date(2026, 11, 21)


def test_warnings_and_involvement_are_of_classes_that_health_may_see(maps: mapping.Maps):
    shown = {"Flag": {CareClass.SAFEGUARDING}, "EpisodeOfCare": {CareClass.SOCIAL_CARE, CareClass.SAFEGUARDING}}
    for _, body in BODIES.values():
        for record in records(body).values():
            for one in mapped(maps, record):
                assert one.care_class in shown.get(one.body["resourceType"], {one.care_class})

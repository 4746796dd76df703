"""Published samples of the Children in Need census through the authority's reader and maps: all read, refusals explained."""

import re
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest
from lxml import etree

import adapters.local_authority
from gateway import mapping
from gateway.adapter import SourceRecord
from gateway.connectors import returns_drop
from gateway.connectors.returns_shape import read_formats
from gateway.model import CareClass, Mark
from gateway.registry import load_manifest

pytestmark = pytest.mark.samples
BE_CIN = "data-to-insight__csc-validator-be-cin/fake_data"
SAMPLES = (
    f"{BE_CIN}/CIN2rows.xml",
    f"{BE_CIN}/CIN_Census_2021.xml",
    f"{BE_CIN}/CIN_Census_2021_no_assessment_factors.xml",
    f"{BE_CIN}/CIN_header_issues_100.xml",
    "SocialFinanceDigitalLabs__liia-tools-pipeline/liiatools/cin_census_pipeline/spec/samples/BAR_cin_2022.xml",
)
ANY = pytest.mark.parametrize("sample", SAMPLES)


@pytest.fixture(scope="module")
def maps() -> mapping.Maps:
    return mapping.load(files("mappings"))


def body_of(samples: Path, sample: str) -> bytes:
    path = samples / sample
    if not path.is_file():
        pytest.skip(f"the published sample {path.name} is not here: nothing to read")
    return path.read_bytes()


def read(body: bytes) -> Sequence[SourceRecord]:
    return list(returns_drop.read_file(load_manifest(adapters.local_authority), "sample.xml", body))


def mapped(maps: mapping.Maps, record: SourceRecord) -> mapping.MapResult:
    def mint(type_: str, key: str) -> str:
        return f"person.authority.{abs(hash((type_, key)))}"

    context = mapping.Context("authority", mint, "person", None, record.as_of, "gss:E08999901")
    return mapping.map_record(maps, "local_authority", record, context, account=True)


@ANY
def test_a_published_sample_is_mapped_and_what_is_mapped_is_r4(samples: Path, maps: mapping.Maps, sample: str):
    records = read(body_of(samples, sample))
    assert [record.where for record in records] == [f"Child {number}" for number in range(1, len(records) + 1)]
    for record in records:
        result = mapped(maps, record)
        assert [mapping.shape_faults(resource.body) for resource in result.resources] == [[]] * len(result.resources)
        made = {resource.body["resourceType"] for resource in result.resources}
        assert {"EpisodeOfCare", "ServiceRequest", "CarePlan", "Task"} <= made  # every plan of them ended long ago
        assert "Flag" not in made
        assert not result.refused


@ANY
def test_no_element_of_a_published_sample_is_left_without_a_decision(samples: Path, maps: mapping.Maps, sample: str):
    for record in read(body_of(samples, sample)):
        accounting = mapped(maps, record).accounting
        assert accounting is not None
        assert accounting.unmapped == ()
        assert accounting.mapped > 0


@ANY
def test_nothing_that_must_stay_leaves_a_published_sample(samples: Path, maps: mapping.Maps, sample: str):
    for record in read(body_of(samples, sample)):
        made = mapped(maps, record).resources
        said = mapping.encode([dict(resource.body) for resource in made]).decode()
        identifiers = record.data["ChildIdentifiers"]
        for name in ("LAchildID", "UPN", "FormerUPN", "PersonBirthDate"):
            assert identifiers.get(name, "?") not in said
        assert not re.search(r"WBRI|HAND|RC1", said)
        for resource in made:  # a reason is of the class that an enquiry alone may see; what is about others goes whole
            text = mapping.encode(dict(resource.body)).decode()
            assert not re.search(r"PHY|NEG|\b2A\b", text) or resource.care_class is CareClass.SPECIAL
            assert not re.search(r"\b2B\b", text) or ("*",) in resource.paths[Mark.THIRD_PARTY]


def test_an_expected_birth_in_1066_is_read_without_harm(samples: Path, maps: mapping.Maps):
    body = body_of(samples, f"{BE_CIN}/CIN_Census_2021.xml")
    assert b"1066" in body
    [record] = read(body.replace(b"1965-03-27", b"1066-10-14"))
    assert record.about.birth_date == date(1066, 10, 14)
    assert not mapped(maps, record).refused


@ANY
def test_a_sample_with_broken_days_is_refused_with_place_and_reason_and_no_value(samples: Path, maps: mapping.Maps, sample: str):
    body = re.sub(rb"<CINreferralDate>[^<]*<", b"<CINreferralDate>someday<", body_of(samples, sample))
    for record in read(body):
        result = mapped(maps, record)
        assert not [one for one in result.resources if one.body["resourceType"] in ("EpisodeOfCare", "ServiceRequest")]
        assert result.refused
        for refused in result.refused:
            assert refused.where.startswith(record.where)
            assert refused.reason.startswith("not a date")
            assert "someday" not in refused.reason


SSDA903 = (
    "SocialFinanceDigitalLabs__liia-tools-pipeline/liiatools/ssda903_pipeline/spec/samples/SSDA903_2020_header.csv",
    *(
        f"data-to-insight__csc-validator-be-903/tests/fake_data/{name}.csv"
        for name in ("ad1", "oc2", "oc3", "previous_permanence", "reviews")
    ),
)


@pytest.mark.parametrize("sample", SSDA903)
def test_a_published_table_of_ssda903_is_read_and_none_of_its_columns_is_left_without_a_decision(
    samples: Path, maps: mapping.Maps, sample: str
):
    body = body_of(samples, sample)
    records = read(body)
    assert len(records) == len({line.split(b",")[0] for line in body.splitlines()[1:] if line.strip(b", ")})
    for record in records:
        result = mapped(maps, record)
        assert result.accounting is not None
        assert result.accounting.unmapped == ()
        assert result.resources == ()  # no episode is among them, and nothing else is told by this route
        assert result.refused == ()


def test_one_child_with_three_birth_dates_is_nobodys(samples: Path):
    [record] = read(body_of(samples, SSDA903[0]))[:1]
    assert record.about.birth_date is None
    assert "_id" not in record.data


CODE_SETS = {  # type of the published schemas -> code map with its labels
    "unknownupntype": "cin-upn-unknown",
    "gendertype": "dfe-sex",
    "sextype": "dfe-sex",
    "ethnicitytype": "dfe-ethnicity",
    "disabilitytype": "cin-disability",
    "referralsourcetype": "cin-referral-source",
    "categoryofabusetype": "cin-abuse-category",
    "primaryneedcodetype": "cin-primary-need",
    "reasonforclosuretype": "cin-closure-reason",
    "assessmentfactorstype": "cin-assessment-factor",
}
XSD = "SocialFinanceDigitalLabs__liia-tools-pipeline/liiatools/cin_census_pipeline/spec/CIN_schema_{}.xsd"
NAMESPACE = {"x": "http://www.w3.org/2001/XMLSchema"}


@pytest.mark.parametrize("year", range(2022, 2027))
def test_every_code_of_the_published_schema_has_a_label(samples: Path, maps: mapping.Maps, year: int):
    schema = etree.fromstring(body_of(samples, XSD.format(year)))
    checked = 0
    for kind in schema.iterfind(".//x:simpleType", NAMESPACE):
        name = kind.get("name") or ""
        if name not in CODE_SETS:
            continue
        labels = maps.codes[CODE_SETS[name]].rows
        codes = {str(one.get("value")) for one in kind.iterfind(".//x:enumeration", NAMESPACE)}
        assert codes <= labels.keys()
        assert all(labels[code].source_display for code in codes)
        checked += 1
    assert checked >= 9


@pytest.mark.parametrize("year", range(2022, 2027))
def test_every_factor_of_the_published_schema_that_is_about_somebody_else_is_withheld_as_such(samples: Path, year: int):
    (others,) = read_formats(load_manifest(adapters.local_authority))["cin"].others
    schema = etree.fromstring(body_of(samples, XSD.format(year)))
    (kind,) = schema.iterfind(".//x:simpleType[@name='assessmentfactorstype']", NAMESPACE)
    codes = {str(one.get("value")) for one in kind.iterfind(".//x:enumeration", NAMESPACE)}
    assert set(others.own) <= codes
    assert not {code for code in others.own if code.endswith(("B", "C"))}
    assert all(code.endswith(("B", "C")) for code in codes - set(others.own))

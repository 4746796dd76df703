"""`gateway map explain`: a value, its line, its field, its reviewed row."""

from importlib.resources import files
from pathlib import Path

import pytest

from gateway.kit.explain import NotThere, explain
from gateway.mapping import Maps, load
from gateway.mapping.cases import cases

FOLDER = Path(str(files("mappings")))


@pytest.fixture(scope="module")
def maps() -> Maps:
    return load(FOLDER)


def told(maps: Maps, map_: str, case: str, field: str) -> list[str]:
    adapter = map_.partition("/")[0]
    plan = next(plan for plan in maps.plans(adapter) if plan.source.map == map_)
    found = next(one for one in cases(FOLDER, adapter) if one.name == case)
    return [str(origin) for origin in explain(FOLDER, maps, plan, found, field)]


def test_a_translated_code_names_line_field_place_and_reviewed_row(maps: Maps):
    assert told(maps, "childrens_centre/attendance", "attended", "Encounter.status") == [
        "\"finished\" <- line 10 translate('centre-attendance-status') <- status of attendance, row 1"
        " <- codes/centre-attendance-status.csv:5 (equivalent, approved 2026-11-21)"
    ]


def test_a_constant_comes_from_its_line_alone(maps: Maps):
    assert told(maps, "childrens_centre/attendance", "attended", "Encounter.class.code") == ["\"AMB\" <- line 12 = 'AMB'"]


def test_of_first_the_choice_that_gave_the_value_is_named(maps: Maps):
    assert told(maps, "local_authority/child", "two-referrals-one-open", "EpisodeOfCare.status") == [
        '"finished" <- line 52 first() choice 1 finished <- _ended in CINdetails of Child 1',
        "\"active\" <- line 52 first() choice 2 = 'active'",
    ]


def test_of_two_lines_of_one_element_the_one_that_wrote_it_is_named(maps: Maps):
    found = told(maps, "gp/allergy", "allergy-no-time-has-its-zone", "AllergyIntolerance.recordedDate")
    assert [line.split(" <- ")[1] for line in found] == ["line 40 without_zone"]


def test_an_item_of_a_list_comes_from_its_group(maps: Maps):
    found = told(maps, "gp/allergy", "allergy-no-time-has-its-zone", "AllergyIntolerance.reaction[0].note[0].text")
    assert found == ['"On both arms" <- line 64 <- text in note in resource.reaction of entry 4, AllergyIntolerance']


def test_what_the_table_of_units_gave_names_it_before_the_line_it_was_read_by(maps: Maps):
    case = ("child_health/review", "measurements-in-every-unit")
    values = told(maps, *case, "Observation.valueQuantity.value")
    assert values[0].startswith('"3.450" <- child_health/units.yaml <- line ')
    assert values[1].startswith('"3.450" <- line ')
    assert "277 <- child_health/units.yaml" in values  # of weeks and days in words: no line makes a number of them
    assert set(told(maps, *case, "Observation.interpretation.coding.code")) == {
        '"unit-unclear" <- child_health/units.yaml',
        '"outside-plausible-range" <- child_health/units.yaml',
    }


def test_an_id_is_the_gateways_own(maps: Maps):
    assert told(maps, "childrens_centre/attendance", "attended", "Encounter.id")[0].endswith("<- the gateway itself, no line")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("Encounter.foo", "no line of this map writes it"),
        ("Encounter", "say one of Encounter.element"),
        ("Patient.name", "say one of Encounter.element"),
        ("Encounter.type[x]", "an element's path is names and list places"),
        ("Encounter.type[0].text", "this case makes no such value; it would come from line 14"),
    ],
)
def test_what_is_not_there_is_said(maps: Maps, field: str, said: str):
    with pytest.raises(NotThere, match="^" + said.replace("[", r"\[")):
        told(maps, "childrens_centre/attendance", "attended", field)

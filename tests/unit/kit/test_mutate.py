"""`gateway map mutate`: a line that no case notices is found, and every shipped line is noticed."""

from importlib.resources import files
from pathlib import Path

import pytest

from gateway.kit.mutate import Score, mutants, score
from gateway.mapping import load
from gateway.mapping.cases import cases
from tests.unit.kit.clinic import ROW, make

FOLDER = Path(str(files("mappings")))
MAPS = load(FOLDER)
PLANS = [plan for adapter in MAPS.adapters() for plan in MAPS.plans(adapter)]


def scored(folder: Path) -> Score:
    maps = load(folder)
    return score(folder, maps, maps.plans("clinic")[0], list(cases(folder)))


def missed(made: Score) -> list[tuple[int, str]]:
    return [(mutant.line, mutant.what) for mutant in made.survived]


def test_a_case_that_shows_every_line_leaves_only_conditions_unshown(tmp_path: Path):
    made = scored(make(tmp_path))
    assert missed(made) == [
        (6, "Encounter: condition dropped"),
        (6, "Encounter: 'day.exists()' of its condition dropped"),
        (6, "Encounter: 'kind != 'x'' of its condition dropped"),
        (16, "choice 2 of first() dropped"),
    ]
    assert 0 < made.percent < 95


def test_cases_for_the_rest_make_it_whole(tmp_path: Path):
    rows = {
        "a-visit": ROW,
        "still-there": {name: value for name, value in ROW.items() if name != "left"},
        "without-a-day": {name: value for name, value in ROW.items() if name != "day"},
        "of-kind-x": {**ROW, "kind": "x"},
    }
    assert missed(scored(make(tmp_path, rows=rows))) == []


def test_without_cases_only_what_the_check_refuses_is_noticed(tmp_path: Path):
    made = scored(make(tmp_path, rows={}))
    assert (17, "dropped") in missed(made)
    assert (11, "dropped") not in missed(made)  # Encounter.status is required


def test_every_line_is_dropped_once(tmp_path: Path):
    plan = load(make(tmp_path)).plans("clinic")[0]
    dropped = [mutant.line for mutant in mutants(plan.source) if mutant.what == "dropped"]
    assert dropped == list(range(11, 18))


@pytest.mark.parametrize("plan", PLANS, ids=[plan.source.map for plan in PLANS])
def test_every_shipped_map_is_at_95_percent_or_more(plan):
    made = score(FOLDER, MAPS, plan, list(cases(FOLDER, plan.adapter)))
    assert made.percent >= 95, missed(made)

"""The view of the Healthy Child Programme is as honest as the answer it is made of."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.bundle import Delivered
from gateway.flows.healthy_child import CANNOT_SAY, STOPPED, TOO_LATE, _view
from gateway.flows.programme import VISIT_TYPES, Programme, load_programme
from gateway.mapping import shape_faults
from gateway.model import Category, SourceReport, SourceState

PROGRAMME = load_programme(files("mappings"))
OPEN = replace(PROGRAMME, reviews=tuple(replace(one, until="") for one in PROGRAMME.reviews))  # no age ends a review
ON = date(2026, 3, 1)
BOTH = (Category.CHILD_HEALTH_REVIEWS, Category.IMMUNISATIONS)
TELLS = {"tells_since": "2020-01-01", "shelf_days": 2200}
PATIENT = {"resourceType": "Patient", "id": "p", "birthDate": "2025-01-09"}
DONE = {
    "resourceType": "Encounter", "id": "p.e", "status": "finished",
    "type": [{"coding": [{"system": VISIT_TYPES, "code": "0023"}]}],
}  # fmt: skip


def view(
    *bodies: Any,
    states: tuple[tuple[str, SourceState], ...] = (("child-health", SourceState.ANSWERED),),
    allowed: tuple[Category, ...] = BOTH,
    stale: bool = False,
    prompts: bool = True,
    next_key: str | None = None,
    category: Category = BOTH[0],
    options: Mapping[str, Any] = TELLS,
    programme: Programme = OPEN,
) -> list[Any]:
    gives = SimpleNamespace(types=frozenset({("Encounter", BOTH[0]), ("Immunization", BOTH[1])}))
    centre = SimpleNamespace(types=frozenset({("Encounter", Category.CENTRE_ATTENDANCE)}))
    parts: Any = SimpleNamespace(
        programme=programme,
        registry=SimpleNamespace(
            sources={
                "child-health": SimpleNamespace(intake=object(), settings=SimpleNamespace(options=options)),
                "gp": SimpleNamespace(intake=None, settings=SimpleNamespace(options={})),
                "centre": SimpleNamespace(intake=None, settings=SimpleNamespace(options={})),
            }
        ),
        terms={"child-health": gives, "gp": gives, "centre": centre},
        standing=SimpleNamespace(deliveries={"child-health": Delivered(None, stale), "centre": Delivered(None, True)}),
    )
    shown = SimpleNamespace(
        resources=[SimpleNamespace(body=body, category=category) for body in bodies],
        reports=[SourceReport(source, state) for source, state in states],
        permit=SimpleNamespace(value=SimpleNamespace(allowed=dict.fromkeys(allowed, ()))),
        next_key=next_key,
    )
    recorded: Any = SimpleNamespace(value=shown)
    return list(_view(parts, recorded, ON, prompts=prompts))


def states_of(made: list[Any]) -> dict[str, str]:
    plan = made[0]
    return {each["detail"]["code"]["text"]: each["detail"]["statusReason"]["coding"][0]["code"] for each in plan["activity"]}


def test_what_is_worked_out_is_sound_r4_and_points_at_what_it_was_made_of() -> None:
    made = view(PATIENT, DONE)
    assert [one["resourceType"] for one in made] == ["CarePlan", "ImmunizationRecommendation"]
    assert [fault for one in made for fault in shape_faults(one)] == []
    assert made[0]["activity"][1]["outcomeReference"] == [{"reference": "Encounter/p.e"}]
    assert states_of(made)["6 to 8 week review"] == "overdue"


@pytest.mark.parametrize(
    "changes",
    [
        {"states": (("child-health", SourceState.FAILED),)},
        {"states": (("child-health", SourceState.TIMED_OUT),)},
        {"states": (("child-health", SourceState.STALE),)},
        {"states": (("child-health", SourceState.NOTHING),)},
        {"states": (("child-health", SourceState.ANSWERED), ("gp", SourceState.FAILED))},
        {"states": (("centre", SourceState.ANSWERED),)},
        {"states": ()},
        {"stale": True},
        {"allowed": ()},
        {"next_key": "Encounter/x"},
    ],
)
def test_where_what_would_know_is_missing_nothing_is_called_overdue(changes: dict[str, Any]) -> None:
    made = view(PATIENT, DONE, **changes)
    said = states_of(made)
    assert (said["New baby review"], said["6 to 8 week review"]) == ("done", "cannot-say")
    assert CANNOT_SAY in str(made)
    assert "overdue" not in str(made[1])


def test_another_source_that_is_stale_or_silent_takes_nothing_from_those_who_know() -> None:
    both = (("child-health", SourceState.ANSWERED), ("gp", SourceState.NOTHING), ("centre", SourceState.FAILED))
    assert states_of(view(PATIENT, states=both))["6 to 8 week review"] == "overdue"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ("cannot-say", "cannot-say")),
        ({"tells_since": "some day"}, ("cannot-say", "cannot-say")),
        ({"tells_since": "2025-01-20", "shelf_days": 2200}, ("cannot-say", "overdue")),  # born on the 9th
        ({"tells_since": "2020-01-01", "shelf_days": 400}, ("cannot-say", "overdue")),  # forgotten since the 25th
        ({"tells_since": "2020-01-01", "shelf_days": 300}, ("cannot-say", "cannot-say")),
        (TELLS, ("overdue", "overdue")),
    ],
)
def test_of_what_was_due_before_a_service_told_or_longer_ago_than_its_shelf_keeps_nothing_is_called_missing(
    options: dict[str, Any], said: tuple[str, str]
) -> None:
    made = view(PATIENT, options=options)
    states = states_of(made)
    assert (states["New baby review"], states["6 to 8 week review"]) == said
    first = made[1]["recommendation"][0]["forecastStatus"]["coding"][0]["code"]  # of eight weeks
    assert first == said[1]


def test_a_source_that_is_asked_has_what_it_has_since_ever() -> None:
    both = (("child-health", SourceState.ANSWERED), ("gp", SourceState.ANSWERED))
    assert states_of(view(PATIENT, states=both, options={}))["New baby review"] == "overdue"


def test_once_contact_has_stopped_only_what_was_done_is_said() -> None:
    assert states_of(view(PATIENT, DONE, prompts=False)) == {"New baby review": "done"}
    assert STOPPED not in str(view(PATIENT, DONE))


def test_once_contact_has_stopped_the_view_says_why_nothing_is_called_due_to_those_who_may_see_it() -> None:
    for bodies in ((PATIENT, DONE), (PATIENT,)):
        (plan,) = view(*bodies, prompts=False)
        assert STOPPED in plan["description"]
        assert shape_faults(plan) == []
    assert "activity" not in plan
    assert view(PATIENT, prompts=False, allowed=()) == []
    assert view(prompts=False) == []


def test_what_can_no_longer_be_made_or_given_is_missed_and_says_that_a_clinician_confirms_it() -> None:
    plan, recommended = view(PATIENT, programme=PROGRAMME)
    states = states_of([plan])
    assert (states["New baby review"], states["6 to 8 week review"], states["1 year review"]) == ("missed", "missed", "overdue")
    assert plan["activity"][1]["detail"]["description"] == TOO_LATE
    rotavirus = [one for one in recommended["recommendation"] if one["vaccineCode"][0]["text"] == "Rotavirus"]
    assert {one["forecastStatus"]["coding"][0]["code"] for one in rotavirus} == {"missed"}
    assert all(one["description"].startswith(TOO_LATE) for one in rotavirus)
    assert shape_faults(plan) + shape_faults(recommended) == []


@pytest.mark.parametrize("patient", [{"resourceType": "Patient", "id": "p"}, {**PATIENT, "birthDate": "2025"}])
def test_without_the_day_of_birth_there_is_nothing_to_work_out(patient: Any) -> None:
    assert view(patient, DONE) == []
    assert view(DONE) == []


def test_a_visit_to_a_practice_or_a_centre_is_no_review_whatever_its_type_says() -> None:
    assert states_of(view(PATIENT, DONE, category=Category.OTHER_HEALTH))["New baby review"] == "overdue"
    assert states_of(view(PATIENT, DONE, category=Category.CENTRE_ATTENDANCE))["New baby review"] == "overdue"

"""The Healthy Child Programme as of a day: done, due, overdue, not attended, and what nobody here can say."""

from dataclasses import replace
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StartupRefused
from gateway.flows.programme import ATTENDANCE, VISIT_TYPES, Item, at_age, doses_of, load_programme, reviews_of

PROGRAMME = load_programme(files("mappings"))
OPEN = replace(  # no age ends anything: what records tell is looked at apart from how old a child is
    PROGRAMME,
    reviews=tuple(replace(one, until="") for one in PROGRAMME.reviews),
    doses=tuple(replace(one, until="") for one in PROGRAMME.doses),
)
BORN = date(2025, 9, 1)
LATER = date(2035, 1, 1)


def visit(code: str, status: str = "finished", key: str = "v") -> dict[str, Any]:
    type_ = [{"coding": [{"system": VISIT_TYPES, "code": code}]}]
    return {"resourceType": "Encounter", "id": key, "status": status, "type": type_}


def jab(procedure: str, on: str, status: str = "completed", **more: Any) -> dict[str, Any]:
    coded = {"coding": [{"system": "http://snomed.info/sct", "code": procedure}]}
    extension = {
        "url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-VaccinationProcedure",
        "valueCodeableConcept": coded,
    }
    plain = {"resourceType": "Immunization", "id": f"{procedure}-{on}", "status": status, "occurrenceDateTime": on}
    return {**plain, "extension": [extension], **more}


def reviews(on: date, *visits: Any, can_say: bool = True) -> dict[str, str]:
    return {item.id: item.state for item in reviews_of(OPEN, BORN, on, visits, can_say=can_say)}


def doses(born: date, on: date, *given: Any, can_say: bool = True) -> dict[tuple[str, int], Item]:
    return {(item.id, item.dose): item for item in doses_of(OPEN, born, on, given, can_say=can_say)}


@pytest.mark.parametrize(("days", "state"), [(9, "not-yet-due"), (10, "due"), (14, "due"), (15, "overdue")])
def test_a_review_is_due_in_its_days_and_overdue_after_them(days: int, state: str) -> None:
    assert reviews(BORN + timedelta(days))["new-birth"] == state


def test_a_review_that_was_made_is_done_however_late_and_one_nobody_came_to_is_not_attended() -> None:
    assert reviews(LATER, visit("0023"))["new-birth"] == "done"
    assert reviews(LATER, called_off("3"))["new-birth"] == "not-attended"
    assert reviews(LATER, called_off("3"), visit("0023", key="b"))["new-birth"] == "done"
    assert reviews(LATER, visit("0023", "planned"))["new-birth"] == "overdue"
    assert reviews(LATER, visit("23"), visit("00023"))["new-birth"] == "overdue"  # compared as text
    other = visit("0023") | {"type": [{"coding": [{"system": "https://example.org", "code": "0023"}]}]}
    assert reviews(LATER, other)["new-birth"] == "overdue"


def called_off(attendance: str | None) -> dict[str, Any]:
    coded = {"coding": [{"system": "urn:shared-care-gateway:CodeSystem:csds-attendance", "code": attendance}]}
    said = {"extension": [{"url": ATTENDANCE, "valueCodeableConcept": coded}]} if attendance else {}
    return visit("0023", "cancelled", f"off-{attendance}") | said


@pytest.mark.parametrize(
    ("attendance", "state"),
    [("3", "not-attended"), ("7", "not-attended"), ("2", "cancelled"), ("4", "cancelled"), (None, "cancelled")],
)
def test_only_a_record_that_says_so_says_that_nobody_came(attendance: str | None, state: str) -> None:
    assert reviews(LATER, called_off(attendance))["new-birth"] == state
    items = reviews_of(OPEN, BORN, LATER, [called_off("4"), called_off("3")], can_say=True)
    assert [item.evidence for item in items if item.id == "new-birth"] == [("Encounter/off-3",)]


def test_a_visit_that_has_not_been_yet_is_not_done() -> None:
    to_come = visit("0023") | {"period": {"start": "2025-09-20T10:00:00Z"}}
    assert reviews(date(2025, 9, 19), to_come)["new-birth"] == "cannot-say"
    assert reviews(date(2025, 9, 20), to_come)["new-birth"] == "done"


def score(code: str, on: str, status: str = "final") -> dict[str, Any]:
    coded = {"coding": [{"system": "http://snomed.info/sct", "code": code}]}
    return {"resourceType": "Observation", "id": f"o-{code}", "status": status, "code": coded, "effectiveDateTime": on}


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (score("953271000000105", "2027-11-20"), "done"),  # ASQ-3, 27 months
        (score("716619000", "2027-08-01T10:00:00Z"), "done"),  # the whole score, from 23 months on
        (score("716619000", "2026-09-01"), "overdue"),  # the same at one year is of another review
        (score("716619000", "2027-11-20", "entered-in-error"), "overdue"),
        (score("716619000", "2027"), "overdue"),
        (score("27113001", "2027-11-20"), "overdue"),  # a weight is measured at every review
    ],
)
def test_the_two_year_review_is_known_by_the_questionnaire_of_its_age_too(made: dict[str, Any], state: str) -> None:
    (found,) = [item for item in reviews_of(OPEN, BORN, LATER, [], [made], can_say=True) if item.id == "two-years"]
    assert found.state == state
    assert found.evidence == ((f"Observation/{made['id']}",) if state == "done" else ())


def test_early_years_progress_at_two_is_no_health_visitors_review() -> None:
    assert reviews(LATER, visit("0019"))["two-years"] == "overdue"


def test_a_finished_visit_that_says_its_type_in_words_alone_leaves_what_was_due_by_then_in_doubt() -> None:
    unnamed = visit("0021") | {"type": [{"text": "1 year check"}], "period": {"start": "2026-06-20T10:00:00Z"}}
    found = reviews(LATER, unnamed)
    assert (found["new-birth"], found["one-year"], found["two-years"]) == ("cannot-say", "cannot-say", "overdue")
    assert reviews(LATER, unnamed | {"status": "cancelled"})["one-year"] == "overdue"
    assert reviews(LATER, unnamed | {"period": {}})["two-years"] == "cannot-say"
    assert reviews(LATER, unnamed, visit("0021"))["one-year"] == "done"


def test_a_vaccine_told_in_words_alone_leaves_what_was_due_by_then_in_doubt() -> None:
    words = {"resourceType": "Immunization", "id": "i", "status": "completed", "vaccineCode": {"text": "6 in 1"}}
    found = doses(BORN, LATER, words | {"occurrenceDateTime": "2025-11-20"})
    assert (found["six-in-one", 1].state, found["rotavirus", 1].state) == ("cannot-say", "cannot-say")
    assert found["mmr", 1].state == "overdue"  # due a year later
    unknown = {"text": "MMR", "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}]}
    found = doses(BORN, LATER, words | {"vaccineCode": unknown, "occurrenceString": "unknown"})
    assert (found["mmr", 1].state, found["mmr", 1].evidence) == ("cannot-say", ())
    assert doses(BORN, LATER, words | {"status": "not-done"})["mmr", 1].state == "overdue"


def test_a_vaccine_under_a_code_of_no_list_leaves_what_was_due_by_then_in_doubt_and_one_outside_the_schedule_does_not() -> None:
    second_menb = jab("957581000000102", "2025-11-24")  # given by somebody else: a code the configuration does not hold
    found = doses(BORN, LATER, second_menb)
    assert (found["menb", 2].state, found["mmr", 1].state) == ("cannot-say", "overdue")
    assert doses(BORN, LATER, jab("42284007", "2025-11-24"))["menb", 2].state == "overdue"  # BCG


def test_a_vaccine_given_before_the_birth_or_on_a_day_to_come_is_not_done() -> None:
    for day in ("2025-08-01", "2025-12-24"):
        assert doses(BORN, date(2025, 12, 1), jab("1082441000000108", day))["six-in-one", 1].state == "cannot-say"


def test_a_vaccine_refused_one_day_says_nothing_of_a_dose_that_was_due_later() -> None:
    refused = jab("1082441000000108", "2025-10-27", "not-done")
    found = doses(BORN, LATER, refused)
    assert (found["six-in-one", 1].state, found["six-in-one", 3].state) == ("not-given", "overdue")
    undated = {name: value for name, value in refused.items() if name != "occurrenceDateTime"}
    assert doses(BORN, LATER, undated)["six-in-one", 3].state == "not-given"


def test_a_vaccine_not_given_here_because_somebody_else_gave_it_is_not_called_missing() -> None:
    reason = {"coding": [{"system": "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ReasonNotGiven-1", "code": "2"}]}
    item = doses(BORN, LATER, jab("308081000000105", "2026-09-10", "not-done", statusReason=reason))["mmr", 1]
    assert (item.state, item.evidence) == ("cannot-say", ("Immunization/308081000000105-2026-09-10",))


def test_where_a_source_is_missing_nothing_is_called_due_or_overdue() -> None:
    found = reviews(LATER, visit("0021"), can_say=False)
    assert (found["one-year"], found["new-birth"], found["two-years"]) == ("done", "cannot-say", "cannot-say")
    assert reviews(BORN, can_say=False)["new-birth"] == "not-yet-due"
    item = doses(BORN, LATER, can_say=False)["menb", 1]
    assert (item.state, item.evidence) == ("cannot-say", ())


def test_nobody_can_say_from_a_childs_record_whether_the_antenatal_visit_was_made() -> None:
    assert reviews(LATER)["antenatal"] == "cannot-say"


def test_the_schedule_is_that_of_the_childs_own_dates() -> None:
    before = doses(date(2023, 3, 1), LATER)
    between = doses(date(2025, 3, 1), LATER)
    after = doses(BORN, LATER)
    assert {("hib-menc", 1)} == before.keys() - after.keys()
    assert {("six-in-one", 4)} == after.keys() - before.keys()
    weeks = lambda found, key: (found[key].due - found_born[id(found)]).days // 7  # noqa: E731
    found_born = {id(before): date(2023, 3, 1), id(between): date(2025, 3, 1), id(after): BORN}
    assert [weeks(found, ("pneumococcal", 1)) for found in (before, between, after)] == [12, 12, 16]
    assert [weeks(found, ("menb", 2)) for found in (before, between, after)] == [16, 16, 12]
    assert before["mmr", 2].due == date(2026, 7, 1)  # at three years and four months
    assert after["mmr", 2].due == date(2027, 3, 1)  # at eighteen months


@pytest.mark.parametrize("born", [date(2023, 1, 1) + timedelta(days=9 * n) for n in range(160)])
def test_every_child_is_offered_each_dose_once_and_in_order(born: date) -> None:
    found = doses_of(PROGRAMME, born, born, [], can_say=True)
    assert len({(item.id, item.dose) for item in found}) == len(found)
    for name in {item.id for item in found}:
        numbers = [item.dose for item in found if item.id == name]
        assert numbers == list(range(1, len(numbers) + 1))
    assert {"mmr", "menb", "pneumococcal", "rotavirus", "six-in-one", "four-in-one"} <= {item.id for item in found}


def test_doses_are_counted_by_the_days_they_were_given_on() -> None:
    first, again = jab("1082441000000108", "2025-10-27"), jab("1082441000000108", "2025-10-27T10:00:00Z", id="other-source")
    found = doses(BORN, date(2025, 12, 1), first, again)
    assert (found["six-in-one", 1].state, found["six-in-one", 2].state) == ("done", "due")
    assert found["six-in-one", 1].evidence == ("Immunization/1082441000000108-2025-10-27", "Immunization/other-source")
    found = doses(BORN, date(2025, 12, 1), first, jab("1082451000000106", "2025-11-24"))
    assert found["six-in-one", 2].state == "done"
    assert found["six-in-one", 3].state == "not-yet-due"


def test_one_dose_told_by_two_sources_with_days_that_differ_is_one_dose() -> None:
    told = [jab("1082441000000108", day, protocolApplied=[{"doseNumberPositiveInt": 1}]) for day in ("2025-10-27", "2025-10-28")]
    found = doses(BORN, LATER, *told)
    assert (found["six-in-one", 1].state, found["six-in-one", 2].state) == ("done", "overdue")
    assert doses(BORN, LATER, jab("1082441000000108", "2025-10-27"), jab("1082441000000108", "2025-11-16"))[
        "six-in-one", 2
    ].state == ("overdue")  # twenty days: told twice, and never two doses


def test_where_records_disagree_about_which_dose_it_was_or_have_no_day_nobody_can_say() -> None:
    one = jab("1082441000000108", "2025-10-27", protocolApplied=[{"doseNumberPositiveInt": 1}])
    same = jab("1082441000000108", "2025-12-27", protocolApplied=[{"doseNumberPositiveInt": 1}])
    assert doses(BORN, LATER, one, same)["six-in-one", 2].state == "cannot-say"
    assert doses(BORN, LATER, jab("1082441000000108", "2025-10-27", protocolApplied=[{"doseNumberPositiveInt": 2}]))[
        "six-in-one", 1
    ].state == ("cannot-say")
    undated = jab("1082441000000108", "") | {"occurrenceString": "unknown"}
    found = doses(BORN, LATER, one, undated)
    assert (found["six-in-one", 1].state, found["six-in-one", 2].state) == ("done", "cannot-say")


def test_a_dose_whose_number_is_stated_is_that_dose() -> None:
    second = jab("1082441000000108", "2025-12-27", protocolApplied=[{"doseNumberPositiveInt": 2}])
    assert doses(BORN, LATER, second)["six-in-one", 2].state == "done"


def test_a_vaccine_is_known_by_every_disease_it_is_against_too() -> None:
    against = lambda *codes: [{"targetDisease": [{"coding": [{"code": code}]} for code in codes]}]  # noqa: E731
    whole = jab("1", "2026-09-02", protocolApplied=against("14189004", "36989005", "36653000", "38907003"))
    part = jab("1", "2026-09-02", protocolApplied=against("14189004"))
    assert doses(BORN, LATER, whole)["mmr", 1].state == "done"
    assert doses(BORN, LATER, part)["mmr", 1].state == "overdue"
    assert doses(BORN, LATER, part)["four-in-one", 1].state == "overdue"  # which has no diseases here


def test_a_vaccine_not_given_is_never_done_and_says_so_once_it_was_due() -> None:
    refused = jab("308081000000105", "2026-09-10", "not-done", protocolApplied=[{"doseNumberPositiveInt": 1}])
    found = doses(BORN, LATER, refused)
    assert (found["mmr", 1].state, found["mmr", 2].state) == ("not-given", "overdue")
    assert doses(BORN, BORN, refused)["mmr", 1].state == "not-yet-due"
    assert doses(BORN, LATER, jab("308081000000105", "2026-09-10", "entered-in-error"))["mmr", 1].state == "overdue"


@pytest.mark.parametrize(
    ("born", "age", "day"),
    [
        (date(2024, 1, 31), "1mo", date(2024, 2, 29)),
        (date(2024, 2, 29), "1y", date(2025, 2, 28)),
        (date(2024, 11, 30), "3mo", date(2025, 2, 28)),
        (date(2024, 1, 1), "8wk", date(2024, 2, 26)),
    ],
)
def test_an_age_is_a_day_of_the_calendar(born: date, age: str, day: date) -> None:
    assert at_age(born, age) == day


@pytest.mark.parametrize(
    ("review", "age", "before"),
    [
        ("new-birth", "6wk", "overdue"),
        ("six-to-eight-weeks", "9mo", "overdue"),
        ("one-year", "24mo", "overdue"),
        ("two-years", "5y", "overdue"),
    ],
)
def test_a_review_of_an_age_that_is_past_was_missed_and_is_not_overdue_for_ever(review: str, age: str, before: str) -> None:
    end = at_age(BORN, age)
    said = lambda on, *visits, **more: {  # noqa: E731
        item.id: item.state for item in reviews_of(PROGRAMME, BORN, on, visits, **{"can_say": True, **more})
    }[review]
    assert (said(end - timedelta(days=1)), said(end)) == (before, "missed")
    assert said(end, can_say=False) == "cannot-say"
    code = next(iter(next(one for one in PROGRAMME.reviews if one.id == review).types))
    assert said(end, visit(code)) == "done"


def test_rotavirus_is_missed_from_the_age_at_which_it_is_given_no_more() -> None:
    said = lambda weeks, *given: [  # noqa: E731
        item.state
        for item in doses_of(PROGRAMME, BORN, BORN + timedelta(weeks=weeks), given, can_say=True)
        if item.id == "rotavirus"
    ]
    first = jab("868631000000102", "2025-10-27")
    assert said(14) == ["overdue", "due"]
    assert said(15) == ["missed", "missed"]  # a course that was never begun has no second dose
    assert said(23, first) == ["done", "overdue"]
    assert said(24, first) == ["done", "missed"]
    assert said(200)[0] == "missed"
    assert doses_of(PROGRAMME, BORN, LATER, [], can_say=True)[0].state == "overdue"  # meningococcal B: no age ends it here


MMR_BORN = date(2024, 3, 1)
MMR_ON = date(2026, 11, 22)
ANY_MMR = "38598009"  # says that it was MMR, and not which dose


def numbered(procedure: str, on: str, number: int) -> dict[str, Any]:
    return jab(procedure, on, protocolApplied=[{"doseNumberPositiveInt": number}])


def test_a_code_that_says_second_dose_is_the_second_dose_before_its_day_too() -> None:
    second, batch = jab("170433008", "2026-11-18"), numbered("308081000000105", "2025-11-10", 1)
    found = doses(MMR_BORN, MMR_ON, jab("308081000000105", "2025-03-05"), second, batch)
    assert found["mmr", 2].due > MMR_ON
    assert (found["mmr", 2].state, found["mmr", 2].evidence) == ("done", ("Immunization/170433008-2026-11-18",))
    assert found["mmr", 1].evidence == ("Immunization/308081000000105-2025-03-05",)
    alone = doses(MMR_BORN, MMR_ON, second)
    assert (alone["mmr", 1].state, alone["mmr", 2].state) == ("cannot-say", "done")
    assert alone["mmr", 1].evidence == ("Immunization/170433008-2026-11-18",)


def test_records_that_are_counted_for_no_dose_are_pointed_at_and_no_dose_is_called_missing_or_to_come_beside_them() -> None:
    told = [jab(ANY_MMR, "2025-03-05"), numbered(ANY_MMR, "2025-11-10", 1), jab(ANY_MMR, "2026-11-18")]
    second = doses(MMR_BORN, MMR_ON, *told)["mmr", 2]
    assert second.due > MMR_ON
    assert second.state == "cannot-say"
    assert second.evidence == (f"Immunization/{ANY_MMR}-2025-03-05", f"Immunization/{ANY_MMR}-2026-11-18")
    refused = numbered(ANY_MMR, "2026-11-20", 2) | {"status": "not-done"}
    assert doses(MMR_BORN, MMR_ON, *told, refused)["mmr", 2].evidence[-1] == f"Immunization/{ANY_MMR}-2026-11-20"
    undated = jab(ANY_MMR, "") | {"occurrenceString": "unknown"}
    second = doses(MMR_BORN, MMR_ON, jab(ANY_MMR, "2025-03-05"), undated)["mmr", 2]
    assert (second.state, second.evidence) == ("cannot-say", (f"Immunization/{ANY_MMR}-",))
    assert doses(MMR_BORN, MMR_ON, jab(ANY_MMR, "2025-03-05"))["mmr", 2].state == "not-yet-due"


@pytest.mark.parametrize(
    ("vaccine", "first", "second"),
    [
        ("six-in-one", "1082441000000108", "1082451000000106"),
        ("menb", "720539004", "720540002"),
        ("rotavirus", "868631000000102", "868651000000109"),
        ("pneumococcal", "247631000000101", "247641000000105"),
    ],
)
def test_a_second_dose_whose_first_nobody_told_of_is_no_first_dose(vaccine: str, first: str, second: str) -> None:
    alone = doses(BORN, LATER, jab(second, "2025-12-20"))
    assert (alone[vaccine, 1].state, alone[vaccine, 2].state) == ("cannot-say", "done")
    both = doses(BORN, LATER, jab(first, "2025-11-20"), jab(second, "2025-12-20"))
    assert (both[vaccine, 1].state, both[vaccine, 2].state) == ("done", "done")


def test_a_stated_number_outweighs_what_a_code_says() -> None:
    found = doses(MMR_BORN, LATER, numbered("308081000000105", "2025-03-05", 1), numbered("308081000000105", "2026-11-18", 2))
    assert (found["mmr", 1].state, found["mmr", 2].state) == ("done", "done")


@pytest.mark.parametrize("text", ["", "version = 1", "[[review]]\nid = 'x'", "not toml ="])
def test_a_programme_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "healthy-child-programme.toml").write_text(text)
    with pytest.raises(StartupRefused):
        load_programme(tmp_path)


def refusal(tmp_path: Path, old: str, new: str) -> str:
    """Why the shipped file is refused with one place of it changed."""
    text = files("mappings").joinpath("healthy-child-programme.toml").read_text("utf-8")
    assert old in text
    (tmp_path / "healthy-child-programme.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(StartupRefused) as refused:
        load_programme(tmp_path)
    told = str(refused.value)
    assert str(tmp_path / "healthy-child-programme.toml") in told
    return told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('by = "14d"', 'bye = "14d"', "[[review]] number 2 a key that is not known: bye (line 26)"),
        ('by = "14d"\n', "", "[[review]] number 2 the key by"),
        ('due = "8wk"', 'due = "8 weeks"', "[[immunisation]] number 1 under due no age"),
        ('vaccine = "menb"', 'vaccine = "menx"', "[[immunisation]] number 2 a vaccine that has no [vaccine.X]"),
        ("[vaccine.menb]\n", "[vaccine.menb]\ncodes = []\n", "[vaccine.menb] a key that is not known: codes (line "),
        ("other_vaccines =", "others =", "in the file a key that is not known: others (line "),
        ('version = "', "version = ", "is not TOML at line "),
        ("dose = 1", "dose = 'one'", "has a value that is not of its kind"),
        ('"170433008" = 2', '"999" = 2', "has a value that is not of its kind"),
    ],
)
def test_a_place_that_cannot_be_used_is_named_with_its_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in refusal(tmp_path, old, new)


def test_an_age_nobody_can_read_stops_the_start(tmp_path: Path) -> None:
    text = files("mappings").joinpath("healthy-child-programme.toml").read_text("utf-8")
    (tmp_path / "healthy-child-programme.toml").write_text(text.replace("12wk", "three months"))
    with pytest.raises(StartupRefused):
        load_programme(tmp_path)

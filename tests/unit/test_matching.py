"""The six outcomes: only what agrees in full is a Match, whatever score PDS gives."""

from dataclasses import replace
from datetime import date
from typing import Any

import fakes
import pytest

from gateway import matching
from gateway.matching import judge, reconcile, unfit
from gateway.model import NotUsable
from gateway.nhs_number import NhsNumber
from gateway.ports import Candidate, LocalRecord, Traced

OTHER = NhsNumber("9990001111")
RECORD = LocalRecord("authority", "LA-1", None, "O'Test-Well", "Amara", fakes.BORN, "", "female", "zz99 1az", "")
NUMBERED = replace(RECORD, number=fakes.AMARA)
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "name": [
        {"use": "usual", "family": "Otestwell", "given": ["Amara", "Jane"]},
        {"use": "old", "family": "Before", "given": ["Amy"]},
    ],
    "gender": "female",
    "address": [{"postalCode": "ZZ99 1AZ"}],
}


def candidate(score: float = 1.0, born: date | None = fakes.BORN, **patient: Any) -> Candidate:
    return Candidate(score, Traced(fakes.AMARA, born, False, False, None, {**PATIENT, **patient}, "1"))


def test_a_sole_candidate_who_agrees_in_name_birth_date_and_address_is_a_match() -> None:
    verdict = judge(RECORD, [candidate()])
    assert (verdict.outcome, verdict.number) == ("Match", fakes.AMARA)
    assert judge(RECORD, [candidate(0.95)]).outcome == "Match"


@pytest.mark.parametrize(
    ("score", "outcome"),
    [(0.9499, "PotentialMatch"), (0.85, "PotentialMatch"), (0.8499, "LowConfidenceMatch"), (0.0, "LowConfidenceMatch")],
)
def test_the_national_thresholds_are_kept_however_well_the_rest_agrees(score: float, outcome: str) -> None:
    verdict = judge(RECORD, [candidate(score)])
    assert (verdict.outcome, verdict.number) == (outcome, None)


def test_more_than_one_nobody_and_a_refused_search_link_nobody() -> None:
    assert judge(RECORD, "many").outcome == judge(RECORD, [candidate(), candidate()]).outcome == "ManyMatch"
    assert judge(RECORD, []).outcome == "NoMatch"
    assert judge(RECORD, "refused").outcome == "Error"


@pytest.mark.parametrize(
    ("record", "patient", "reason"),
    [
        (replace(RECORD, given="Amelia"), {}, matching.OTHER_GIVEN),  # a twin: all else is alike
        (replace(RECORD, given="A"), {}, matching.OTHER_GIVEN),
        (replace(RECORD, family="Before"), {}, matching.OTHER_FAMILY),  # a name of before proves nothing
        (replace(RECORD, postcode="ZZ99 2AZ"), {}, matching.NO_ADDRESS),
        (replace(RECORD, postcode=""), {}, matching.NO_ADDRESS),
        (RECORD, {"address": []}, matching.NO_ADDRESS),  # a restricted person has none to compare
        (RECORD, {"name": []}, matching.OTHER_FAMILY),
        (RECORD, {"gender": "male"}, matching.OTHER_GENDER),
        (replace(RECORD, birth_date=date(2024, 3, 15)), {}, matching.OTHER_BIRTH_DATE),
    ],
)
def test_a_full_score_is_not_enough_where_one_fact_does_not_agree(
    record: LocalRecord, patient: dict[str, Any], reason: str
) -> None:
    verdict = judge(record, [candidate(1.0, **patient)])
    assert (verdict.outcome, verdict.reason, verdict.number) == ("PotentialMatch", reason, None)


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, birth_date=None),
        replace(RECORD, birth_date_doubt="estimated"),
        replace(RECORD, birth_date_doubt="expected"),
        replace(NUMBERED, birth_date_doubt="expected"),
        replace(NUMBERED, birth_date=None),
        replace(RECORD, given=" - "),
        replace(RECORD, family=""),
    ],
)
def test_without_a_true_birth_date_and_a_whole_name_nobody_is_asked_for(record: LocalRecord) -> None:
    verdict = unfit(record)
    assert verdict is not None
    assert (verdict.outcome, verdict.number) == ("NoMatch", None)


def test_a_record_that_can_be_asked_about_is_fit() -> None:
    assert unfit(RECORD) is None
    assert unfit(replace(NUMBERED, family="", given="")) is None


def test_a_number_whose_birth_date_and_given_name_agree_is_a_match_and_a_superseded_one_leads_to_the_new() -> None:
    who = fakes.identity(patient=PATIENT)
    assert reconcile(NUMBERED, who) == matching.Verdict("Match", matching.AGREES, fakes.AMARA)
    assert reconcile(replace(NUMBERED, given="Jane Ann"), who).outcome == "Match"
    assert reconcile(replace(NUMBERED, family="Married"), who).outcome == "Match"
    assert reconcile(replace(NUMBERED, number=OTHER), who) == matching.Verdict("Match", matching.SUPERSEDED, fakes.AMARA)


def test_a_twins_number_is_a_difference_though_the_birth_date_agrees() -> None:
    verdict = reconcile(replace(NUMBERED, given="Amelia"), fakes.identity(patient=PATIENT))
    assert (verdict.outcome, verdict.reason, verdict.number) == ("NoMatch", matching.DIFFERENCES, None)


def test_another_birth_date_or_none_in_pds_is_a_difference() -> None:
    for born in (date(2020, 1, 1), None):
        assert reconcile(NUMBERED, fakes.identity(patient=PATIENT, birth_date=born)).reason == matching.DIFFERENCES


def test_a_restricted_person_without_a_name_in_pds_is_known_by_number_and_birth_date() -> None:
    assert reconcile(NUMBERED, fakes.identity(patient={"resourceType": "Patient"})).outcome == "Match"


@pytest.mark.parametrize(("why", "reason"), [("unknown", matching.NOT_FOUND), ("invalidated", matching.INVALIDATED)])
def test_a_number_that_pds_does_not_use_links_nobody(why: str, reason: str) -> None:
    verdict = reconcile(NUMBERED, NotUsable(why, NUMBERED.number))
    assert (verdict.outcome, verdict.reason, verdict.number) == ("NoMatch", reason, None)

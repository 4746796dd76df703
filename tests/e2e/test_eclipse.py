"""The authority's live case system over the whole place: what is told, what its own locks do, what never leaves."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from whole_place import World, a_place, holds_a_number, outcome, resources, running, states

from gateway.connectors.credential import NOT_ABLE, NOT_ACCEPTED
from sandbox import demo, eclipse
from sandbox.demo import CENTRE, GP, VISITOR, WORKER
from sandbox.families import AUTHORITY_GSS, BY_KEY, SUPERSEDED

PLAN, UNBORN = "342191000000101", "818901000000100"
LOCKED = "under a lock of its own"


def live(place: demo.Place) -> str:
    maps = place.folder.with_name(f"{place.folder.name}-northshire")  # beside it: the place itself begins empty
    maps.mkdir(exist_ok=True)
    reviewed = files("mappings").joinpath("codes/eclipse-classification.csv").read_text("utf-8")
    (maps / "eclipse-classification.csv").write_text(reviewed, "utf-8")
    return f"""
[sources.live]
adapter = "local_authority_eclipse"
custodian = "gss:{AUTHORITY_GSS}"
agreement = "authority-live"
title = "Northshire Council case system"
[sources.live.options]
base_url = "http://127.0.0.1:{place.sandbox_port}/eclipse"
token_url = "http://127.0.0.1:{place.sandbox_port}/eclipse/token"
client_id = "{eclipse.CLIENT_ID}"
client_secret = "{eclipse.CLIENT_SECRET}"
scope = "{eclipse.SCOPE}"
code_maps = "{maps}"
"""


@pytest.fixture(scope="module")
def asked_live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole place with one more source."""
    plain = a_place(Path(tmp_path_factory.mktemp("live")))
    place = replace(plain, more=live(plain))
    answers: list[httpx.Response] = []

    def keep(response: httpx.Response) -> None:
        response.read()
        answers.append(response)

    with running(place), httpx.Client(base_url=place.base, timeout=20, event_hooks={"response": [keep]}) as http:
        yield World(place, http, answers)


@pytest.fixture(autouse=True)
def _well(asked_live: World) -> Iterator[None]:
    """No test leaves a fault behind, nor a row of failures."""
    yield
    asked_live.heal()


def of_live(answer: httpx.Response) -> list[dict[str, Any]]:
    """What the live source gave: its periods have a time, those of the nightly extract have not."""
    timed = [one for one in resources(answer) if "T" in one.get("period", {}).get("start", "")]
    found = [one for one in timed if one["resourceType"] in ("Flag", "EpisodeOfCare", "CarePlan")]
    return found + [one for one in resources(answer, "CareTeam") if eclipse.WORKER in json.dumps(one)]


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return sorted(f"{one['resourceType']} {one['status']}" for one in found)


def flags(found: list[dict[str, Any]]) -> list[str]:
    return sorted(one["code"]["coding"][0]["code"] for one in found if one["resourceType"] == "Flag")


def said(answer: httpx.Response) -> str:
    """Every text of the outcome entry."""
    return " ".join(issue["details"]["text"] for issue in outcome(answer)["issue"])


def address(answer: httpx.Response) -> Any:
    (patient,) = resources(answer, "Patient")
    return patient.get("address")


def test_health_sees_what_is_open_today_and_what_was_but_neither_worker_nor_reason(asked_live: World) -> None:
    for asker in (GP, VISITOR):
        answer = asked_live.everything(asker, "amara")
        assert states(answer)["live"] == "answered"
        assert kinds(of_live(answer)) == ["EpisodeOfCare active", "EpisodeOfCare finished", "Flag active"]
        assert flags(of_live(answer)) == [PLAN]


def test_the_allocated_worker_of_an_enquiry_sees_the_plan_and_who_works_with_the_child(asked_live: World) -> None:
    found = of_live(asked_live.everything(WORKER, "amara"))
    assert kinds(found) == ["CarePlan active", "CareTeam active", "EpisodeOfCare active", "EpisodeOfCare finished", "Flag active"]


def test_a_centre_is_no_party_to_the_agreement_and_the_source_is_not_asked(asked_live: World) -> None:
    assert of_live(asked_live.everything(CENTRE, "amara")) == []


def test_an_ended_plan_is_no_warning_and_is_found_under_the_number_before(asked_live: World) -> None:
    (before,) = SUPERSEDED
    assert kinds(of_live(asked_live.search(VISITOR, "EpisodeOfCare", before))) == ["EpisodeOfCare finished"]
    assert flags(of_live(asked_live.search(VISITOR, "Flag", before))) == []


def test_a_child_held_twice_has_one_warning(asked_live: World) -> None:
    assert flags(of_live(asked_live.everything(VISITOR, "grace"))) == [PLAN]


def test_an_unborn_childs_plan_is_a_flag_of_its_mother(asked_live: World) -> None:
    assert flags(of_live(asked_live.everything(GP, "leah"))) == [UNBORN]


def test_a_birth_date_that_is_only_a_year_is_no_other_person(asked_live: World) -> None:
    assert flags(of_live(asked_live.everything(VISITOR, "oscar"))) == [PLAN]


def test_a_warning_against_disclosure_that_ended_locks_no_more_and_a_code_nobody_reviewed_makes_nothing(
    asked_live: World,
) -> None:
    answer = asked_live.everything(VISITOR, "noor")
    assert kinds(of_live(answer)) == ["EpisodeOfCare active", "EpisodeOfCare active", "Flag active"]
    assert flags(of_live(answer)) == ["looked-after"]
    assert 'gateway_unmapped_codes_total{code_map="eclipse-classification",source="live"}' in asked_live.metrics()


@pytest.mark.parametrize("key", ["jonah", "mia"])
def test_what_the_authority_locks_nobody_sees_and_the_person_is_protected_at_once(asked_live: World, key: str) -> None:
    for asker in (VISITOR, GP):
        answer = asked_live.everything(asker, key)
        assert of_live(answer) == []
        assert address(answer) is None
        assert LOCKED not in said(answer)
        assert "live" not in states(answer), "the sources of a protected person are named by kind"


def test_an_address_not_to_be_disclosed_hides_where_the_child_is_and_the_warning_stays(asked_live: World) -> None:
    assert address(asked_live.everything(VISITOR, "grace")) is not None
    answer = asked_live.everything(VISITOR, "hugo")
    assert address(answer) is None
    assert kinds(of_live(answer)) == ["EpisodeOfCare active"]
    assert BY_KEY["hugo"].practice not in answer.text


def test_a_redacted_result_protects_the_person_and_is_never_none(asked_live: World) -> None:
    answer = asked_live.everything(VISITOR, "ben")
    assert address(answer) is None
    assert of_live(answer) == []
    assert "Local authority: none shareable by this route." in said(answer)
    assert LOCKED not in said(answer), "that there is a lock is not for everybody to know"


def test_somebody_who_may_know_what_is_withheld_hears_of_the_lock(asked_live: World) -> None:
    assert LOCKED in said(asked_live.everything(WORKER, "kiran"))


def test_a_lock_once_seen_holds_while_the_source_is_down(asked_live: World) -> None:
    assert address(asked_live.everything(VISITOR, "ben")) is None
    asked_live.sandbox("down", "eclipse")
    answer = asked_live.everything(VISITOR, "ben")
    assert address(answer) is None
    assert "failed" in states(answer).values()


@pytest.mark.parametrize("fault", ["wrong-child", "other-birth-date"])
def test_an_answer_about_somebody_else_is_discarded_whole(asked_live: World, fault: str) -> None:
    asked_live.sandbox(fault, "eclipse", BY_KEY["amara"].nhs_number)
    answer = asked_live.everything(VISITOR, "amara")
    assert states(answer)["live"] == "failed"
    assert of_live(answer) == []
    assert address(answer) is not None


@pytest.mark.parametrize(
    ("fault", "state"), [("down", "failed"), ("401", "failed"), ("bad-json", "failed"), ("slow", "timed-out")]
)
def test_a_source_that_fails_is_said_and_the_others_answer(asked_live: World, fault: str, state: str) -> None:
    asked_live.sandbox(fault, "eclipse", BY_KEY["amara"].nhs_number)
    answer = asked_live.everything(VISITOR, "amara")
    assert (states(answer)["live"], states(answer)["child-health"]) == (state, "answered")


def test_a_token_that_ends_before_its_time_is_got_anew_once_and_the_answer_comes(asked_live: World) -> None:
    asked_live.everything(VISITOR, "amara")
    before = len(asked_live.seen("eclipse-token"))
    asked_live.everything(VISITOR, "amara")
    assert len(asked_live.seen("eclipse-token")) == before, "one token serves until it ends"
    asked_live.sandbox("401", "eclipse", BY_KEY["amara"].nhs_number, times=1)
    answer = asked_live.everything(VISITOR, "amara")
    assert states(answer)["live"] == "answered"
    assert len(asked_live.seen("eclipse-token")) == before + 1


@pytest.mark.parametrize(("fault", "reason"), [("down", NOT_ABLE), ("401", NOT_ACCEPTED)])
def test_without_a_token_the_source_has_failed_and_the_audit_says_why(asked_live: World, fault: str, reason: str) -> None:
    number = BY_KEY["amara"].nhs_number
    asked_live.sandbox("401", "eclipse", number, times=1)  # the token that is held has ended
    asked_live.sandbox(fault, "eclipse-token")
    answer = asked_live.everything(VISITOR, "amara")
    assert (states(answer)["live"], states(answer)["child-health"]) == ("failed", "answered")
    assert reason in json.dumps(asked_live.of_request(answer)[-1])


def test_no_secret_and_no_token_is_in_any_log_answer_or_event(asked_live: World) -> None:
    asked_live.everything(VISITOR, "amara")
    said = asked_live.log_text() + json.dumps(asked_live.events()) + "".join(answer.text for answer in asked_live.answers)
    for secret in (eclipse.CLIENT_SECRET, "Bearer", "Basic "):
        assert secret not in said


def test_nothing_of_the_authoritys_own_leaves_over_the_whole_run(asked_live: World) -> None:
    for answer in asked_live.answers:
        for own in ("CHILD.", "RISK_", "DUPLICATE", "ZZ99 4EC", '"70', "CPR_ATHOME"):
            assert own not in answer.text
    assert holds_a_number(asked_live.log_text()) is None

"""A source that is slow, down, malformed or answers for somebody else: the others answer, its state is shown, nothing leaks."""

import time

import pytest
from whole_place import World, resources, shape, states, told

from sandbox.demo import GP, VISITOR
from sandbox.families import BY_KEY

pytestmark = pytest.mark.usefixtures("breaker_closed")

SLOWEST_S = 4.0  # deadline_s of the whole answer


def test_a_source_that_answers_for_another_child_is_failed_and_nothing_of_that_child_leaks(world: World) -> None:
    world.change("update work_item set closed_at = 0 where kind = 'wrong-person' and closed_at is null")  # of other tests
    answer = world.everything(GP, "mia")
    assert states(answer) == {"gp": "failed", "child-health": "answered", "authority": "answered", "centre": "answered"}
    assert resources(answer, "Immunization")
    assert not [resource for resource in resources(answer) if ".gp." in resource["id"]]
    ben = BY_KEY["ben"]
    for word in (ben.nhs_number, ben.given, ben.family, ben.birth_date.isoformat()):
        assert word not in answer.text
    disclosure = world.of_request(answer)[-1]
    said = {source["source"]: (source["state"], source["reason"]) for source in disclosure["detail"]["sources"]}
    assert said["gp"] == ("failed", "identity-mismatch")
    world.everything(GP, "mia")
    ((jobs,),) = world.ask_database("select count(*) from work_item where kind = 'wrong-person' and closed_at is null")
    assert jobs == 1  # one for this child and source, however often it is seen


def test_a_slow_source_is_timed_out_within_its_budget_and_the_others_answer(world: World) -> None:
    found = world.find(GP, BY_KEY["noor"].nhs_number)
    (patient,) = resources(found, "Patient")
    started = time.monotonic()
    answer = world.get(GP, f"/fhir/Patient/{patient['id']}/$everything")
    assert time.monotonic() - started < SLOWEST_S
    assert states(answer) == {"gp": "timed-out", "child-health": "answered", "authority": "answered", "centre": "answered"}
    assert resources(answer, "Immunization")
    assert "did not answer in time" in told(answer)["gp"]


def test_a_source_that_is_down_is_failed_and_the_others_answer(world: World) -> None:
    answer = world.everything(GP, "oscar")
    assert states(answer) == {"gp": "failed", "child-health": "answered", "authority": "answered", "centre": "answered"}
    assert resources(answer, "Immunization")
    assert "missing from this answer" in told(answer)["gp"]


@pytest.mark.parametrize("fault", ["bad-json", "html", "truncated", "huge", "500", "429", "401", "reset"])
def test_whatever_a_broken_source_sends_the_others_answer_and_no_word_of_it_is_shown(fault: str, world: World) -> None:
    world.sandbox(fault, "gp", BY_KEY["amara"].nhs_number)
    answer = world.everything(GP, "amara")
    assert answer.status_code == 200
    assert states(answer) == {"gp": "failed", "child-health": "answered", "authority": "answered", "centre": "answered"}
    assert len(resources(answer)) > 5
    assert "We will be back soon" not in answer.text
    assert "Traceback" not in world.log_text()


def test_a_source_that_sends_a_byte_at_a_time_is_timed_out_within_its_budget(world: World) -> None:
    (patient,) = resources(world.find(GP, BY_KEY["hugo"].nhs_number), "Patient")
    world.sandbox("drip", "gp", BY_KEY["hugo"].nhs_number)
    started = time.monotonic()
    answer = world.get(GP, f"/fhir/Patient/{patient['id']}/$everything")
    assert time.monotonic() - started < SLOWEST_S
    assert states(answer)["gp"] == "timed-out"
    assert states(answer)["child-health"] == "answered"


def test_records_sent_twice_are_shown_once(world: World) -> None:
    once = world.everything(GP, "amara")
    world.sandbox("duplicates", "gp", BY_KEY["amara"].nhs_number)
    twice = world.everything(GP, "amara")
    assert [resource["id"] for resource in resources(twice)] == [resource["id"] for resource in resources(once)]


def test_a_sources_state_stands_in_the_entry_the_header_and_the_tags(world: World) -> None:
    answer = world.everything(GP, "oscar")
    expected = states(answer)
    (entry,) = [entry["resource"] for entry in answer.json()["entry"] if entry["search"]["mode"] == "outcome"]
    in_entry = {}
    for issue in entry["issue"]:
        codes = {coding["system"].rsplit(":", 1)[-1]: coding["code"] for coding in issue["details"].get("coding", [])}
        if "source-state" in codes:
            in_entry[codes["source"]] = codes["source-state"]
    tags = answer.json()["meta"]["tag"]
    assert in_entry == expected
    assert sorted(tag["code"] for tag in tags) == sorted(expected.values())
    assert {"failed"} == {tag["code"] for tag in tags if tag["display"].startswith("GP practice")}


def test_whoever_asks_for_all_or_nothing_gets_nothing_when_a_source_is_missing(world: World) -> None:
    (patient,) = resources(world.find(GP, BY_KEY["oscar"].nhs_number), "Patient")
    answer = world.get(GP, f"/fhir/Patient/{patient['id']}/$everything", prefer="handling=strict")
    assert answer.status_code == 504
    assert answer.json()["issue"][0]["code"] == "incomplete"
    assert world.get(GP, f"/fhir/Patient/{patient['id']}/$everything", prefer="handling=lenient").status_code == 200
    whole = world.search(GP, "Immunization", BY_KEY["amara"].nhs_number, prefer="handling=strict")
    assert whole.status_code == 200


def test_the_tracer_down_is_503_for_known_unknown_invalidated_numbers_and_ids_alike(world: World) -> None:
    (patient,) = resources(world.find(VISITOR, BY_KEY["farah"].nhs_number), "Patient")
    world.change("update person set expired = true")  # no trace may be used again: PDS has to be asked
    world.sandbox("down", "pds")
    try:
        answers = [
            world.find(VISITOR, BY_KEY["farah"].nhs_number),
            world.find(VISITOR, "9990022321"),
            world.find(VISITOR, BY_KEY["eli-before"].nhs_number),
            world.find(VISITOR, BY_KEY["dara"].nhs_number),
            world.get(VISITOR, f"/fhir/Patient?_id={patient['id']}"),
            world.get(VISITOR, f"/fhir/Patient?_id={'b' * 26}"),
            world.get(VISITOR, "/fhir/Patient?_id=1"),
        ]
    finally:
        world.heal()
    assert all(shape(answer) == shape(answers[0]) for answer in answers)
    assert answers[0].status_code == 503
    assert answers[0].json()["issue"][0]["code"] == "transient"
    assert resources(world.find(VISITOR, BY_KEY["farah"].nhs_number))


def test_with_the_tracer_down_a_person_not_for_this_caller_looks_like_nobody_even_if_just_traced(world: World) -> None:
    assert resources(world.find(VISITOR, BY_KEY["petra"].nhs_number), "Patient")
    world.sandbox("down", "pds")
    unrelated, nobody = world.find(GP, BY_KEY["petra"].nhs_number), world.find(GP, "9990022321")
    assert unrelated.status_code == nobody.status_code == 503
    assert shape(unrelated) == shape(nobody)


def test_the_tracers_429_is_503_with_a_time_to_wait(world: World) -> None:
    world.sandbox("429", "pds")
    answer = world.find(VISITOR, "9990022321")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("fault", ["slow", "reset", "500", "bad-json", "html", "truncated", "wrong-child"])
def test_no_broken_answer_of_the_tracer_is_taken_for_a_person(fault: str, world: World) -> None:
    world.change("update person set expired = true")
    world.sandbox(fault, "pds")
    answer = world.find(VISITOR, BY_KEY["grace"].nhs_number)
    assert answer.status_code == 503
    assert "Twinning" not in answer.text


def test_a_person_restricted_from_now_on_loses_every_locating_fact_from_the_next_trace_on(world: World) -> None:
    ben = BY_KEY["ben"].nhs_number
    (before,) = resources(world.find(VISITOR, ben), "Patient")
    assert "address" in before
    world.sandbox("restricted", "pds", ben)
    world.change("update person set expired = true")
    seen = world.seen("gp")
    answer = world.everything(VISITOR, "ben")
    (after,) = resources(answer, "Patient")
    assert not {"address", "telecom", "generalPractitioner"} & after.keys()
    assert after["id"] == before["id"]
    assert world.seen("gp") == seen
    world.heal()
    (again,) = resources(world.find(VISITOR, ben), "Patient")
    assert again == before

"""Deaths, losses and the Healthy Child Programme, from the message in the drop to the answer a partner system gets."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from test_intake import deliver, eventually
from whole_place import World, resources

from sandbox import child_health
from sandbox.child_events import early_years
from sandbox.demo import CENTRE, GP, VISITOR
from sandbox.families import BY_KEY, Person

STATE = "urn:shared-care-gateway:CodeSystem:programme-state"


def programme(world: World, asker: Any, key: str, **more: str) -> Any:
    (patient,) = resources(world.find(asker, BY_KEY[key].nhs_number), "Patient")
    return world.get(asker, f"/fhir/Patient/{patient['id']}/$healthy-child-programme", **more)


def states(answer: Any) -> dict[str, str]:
    (plan,) = resources(answer, "CarePlan")
    return {each["detail"]["code"]["text"]: each["detail"]["statusReason"]["coding"][0]["code"] for each in plan["activity"]}


def doses(answer: Any) -> dict[tuple[str, int], str]:
    (recommended,) = resources(answer, "ImmunizationRecommendation")
    return {
        (each["vaccineCode"][0]["text"].split()[0], each["doseNumberPositiveInt"]): each["forecastStatus"]["coding"][0]["code"]
        for each in recommended["recommendation"]
    }


def death(person: Person, status: str) -> dict[str, Any]:
    bundle = child_health._message(
        person,
        ("pds-death-notification-1", "PDS Death Notification", "told", datetime.now(UTC), "new", f"death-{status}"),
        [{"resourceType": "Communication", "id": "told", "status": "completed"}],
    )
    (patient,) = (each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Patient")
    inner = {"url": "deathNotificationStatus", "valueCodeableConcept": {"coding": [{"code": status}]}}
    url = "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-DeathNotificationStatus-1"
    patient["extension"] = [{"url": url, "extension": [inner]}]
    return bundle


def facts(world: World, number: str) -> str:
    done = world.command("suppression", "show", "--by", "test|1", stdin=number + "\n")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("asker", [GP, VISITOR])
def test_the_programme_says_what_was_done_and_what_is_overdue_and_points_at_the_records(world: World, asker: Any) -> None:
    answer = programme(world, asker, "hugo")
    assert answer.status_code == 200
    said = states(answer)
    assert said["1 year review"] == "done"
    assert said["New baby review"] == "missed"
    assert said["Antenatal visit"] == "cannot-say"
    assert doses(answer)["6-in-1", 1] == "done"
    assert {entry["resource"]["resourceType"] for entry in answer.json()["entry"]} == {
        "CarePlan",
        "ImmunizationRecommendation",
        "OperationOutcome",
    }
    (plan,) = resources(answer, "CarePlan")
    (seen,) = [each["outcomeReference"][0]["reference"] for each in plan["activity"] if "outcomeReference" in each][:1]
    assert world.get(asker, f"/fhir/{seen}").status_code == 200


def test_a_caller_who_may_not_see_the_child_gets_the_empty_answer(world: World) -> None:
    hugo = resources(world.find(VISITOR, BY_KEY["hugo"].nhs_number), "Patient")[0]["id"]
    nobody = world.get(CENTRE, f"/fhir/Patient/{'a' * 26}/$healthy-child-programme")
    jonah = resources(world.find(VISITOR, BY_KEY["jonah"].nhs_number), "Patient")[0]["id"]
    refused = world.get(CENTRE, f"/fhir/Patient/{jonah}/$healthy-child-programme")
    assert resources(nobody) == resources(refused) == []
    assert (
        world.get(VISITOR, f"/fhir/Patient/{hugo}/$healthy-child-programme?_count=1&x=1", prefer="handling=strict").status_code
        == 400
    )


def test_nothing_is_called_due_for_a_child_who_has_died_and_what_was_done_is_still_said(world: World) -> None:
    answer = programme(world, GP, "farah")
    said = set(states(answer).values())
    assert "done" in said
    assert not said & {"due", "overdue", "missed", "not-yet-due", "cannot-say"}
    (plan,) = resources(answer, "CarePlan")
    assert "because contact has stopped" in plan["description"]


def test_a_death_told_by_a_message_stops_contact_until_a_person_says_otherwise(world: World) -> None:
    mia = BY_KEY["mia"]
    assert "overdue" in states(programme(world, VISITOR, "mia")).values()
    deliver(world, "child-health", death_json=json.dumps(death(mia, "1")).encode())
    eventually(lambda: "death: in force" in facts(world, mia.nhs_number))
    assert "overdue" not in states(programme(world, VISITOR, "mia")).values()
    assert resources(world.search(VISITOR, "Immunization", mia.nhs_number), "Immunization")  # reading stays lawful
    deliver(world, "child-health", undone_json=json.dumps(death(mia, "U")).encode())
    eventually(lambda: "taken back" in facts(world, mia.nhs_number))
    resumed = ("suppression", "resume", "death", "--by", "test|1", "--reason")
    early = world.command(*resumed, "taken-back-and-traced-again", stdin=mia.nhs_number + "\n")
    assert early.returncode != 0
    assert "the tracer was not asked" in early.stderr
    assert "overdue" not in states(programme(world, VISITOR, "mia")).values()  # nothing resumes by itself
    assert world.command(*resumed, "because", stdin=mia.nhs_number + "\n").returncode != 0
    done = world.command(*resumed, "taken-back-and-traced-again", stdin=mia.nhs_number + "\n")
    assert done.returncode == 0, done.stderr
    assert "overdue" in states(programme(world, VISITOR, "mia")).values()
    assert "Nothing stops contact" in facts(world, mia.nhs_number)
    (event,) = [one for one in world.events(kind="administration") if one["detail"].get("act") == "suppression-resumed"]
    assert event["detail"]["reason"] == "taken-back-and-traced-again"
    assert mia.nhs_number not in json.dumps(event)


def test_progress_that_no_parent_agreed_to_share_reaches_the_gp_and_not_the_centre(world: World) -> None:
    noor = BY_KEY["noor"]
    centre = world.register(replace(CENTRE, purpose="COC"), "willow-coordinates", "system/*.rs")
    told = child_health._told(noor, lambda person, at: early_years(person, at, consent="N"))
    deliver(world, "child-health", progress_json=json.dumps(told).encode())

    def forms(asker: Any) -> list[Any]:
        shown = resources(world.search(asker, "QuestionnaireResponse", noor.nhs_number), "QuestionnaireResponse")
        return [one for one in shown if ".child-health." in one["id"]]

    eventually(lambda: len(forms(VISITOR)) == 1)
    assert forms(centre) == []
    kept = resources(world.search(centre, "Encounter", noor.nhs_number), "Encounter")
    assert [one for one in kept if ".child-health." in one["id"]]  # the rest of what a parent agreed to

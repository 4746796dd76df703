"""An emergency: a clinician without a relationship, a reason, an answer, and somebody told of it."""

from dataclasses import replace

from whole_place import World, resources, states

from sandbox.demo import GP
from sandbox.families import BY_KEY

WHY = "Unconscious child at our door, allergies not known."
STRANGER = replace(GP, organisation="ods:A99902", purpose="TREAT")


def in_emergency(world: World, why: str, client: str):
    return world.register(replace(STRANGER, purpose="BTG", case=why), client, "system/*.rs")


def test_a_clinician_without_a_relationship_opens_the_record_in_an_emergency_and_its_lead_is_told(world: World) -> None:
    everyday = world.register(STRANGER, "hilltop-everyday", "system/*.rs")
    assert not resources(world.everything(everyday, "isla"))  # no relationship, and an objection
    breaking = in_emergency(world, WHY, "hilltop-emergency")
    answer = world.search(breaking, "Immunization", BY_KEY["isla"].nhs_number)
    assert states(answer)["child-health"] == "answered"
    assert resources(answer, "Immunization")
    decision, disclosure = world.of_request(answer)
    assert (decision["purpose"], decision["detail"]["case_reference"]) == ("BTG", WHY)
    assert {rule["id"] for rule in decision["detail"]["rules"]} == {"break-glass"}
    assert decision["detail"]["obligations"] == ["break-glass-notice"]
    assert disclosure["kind"] == "disclosure"
    told = world.command("identity", "worklist", "--kind", "break-glass")
    assert "Information Governance Lead, Meadowvale Community Health" in told.stdout
    world.search(breaking, "Immunization", BY_KEY["isla"].nhs_number)
    again = world.command("identity", "worklist", "--kind", "break-glass")
    assert again.stdout.count("Meadowvale") == told.stdout.count("Meadowvale")  # one token, one person: one emergency
    assert WHY not in world.log_text()


def test_the_glass_without_a_reason_stays_whole_for_everybody(world: World) -> None:
    breaking = in_emergency(world, "", "hilltop-no-reason")
    known, unknown = (world.find(breaking, number) for number in (BY_KEY["isla"].nhs_number, "9990000999"))
    assert known.status_code == unknown.status_code == 403
    assert known.json()["issue"] == unknown.json()["issue"]
    assert "needs a reason" in known.text


def test_an_emergency_shows_no_place_of_a_protected_child_and_lifts_no_lock(world: World) -> None:
    breaking = in_emergency(world, WHY, "hilltop-protected")
    answer = world.everything(breaking, "dara")
    assert states(answer)["gp"] == "nothing-to-show"
    (patient,) = resources(answer, "Patient")
    assert not {"address", "telecom", "generalPractitioner"} & set(patient)

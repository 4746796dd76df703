"""The GP record at full depth, through the real gateway: what a practice holds, warns of, withholds and refuses."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from whole_place import World, eventually, outcome, references, resources, states

from sandbox.demo import GP, VISITOR
from sandbox.families import BY_KEY
from sandbox.faults import PROXY, SPINE

pytestmark = pytest.mark.usefixtures("breaker_closed")

CONSULTATION, TOPIC, HEADING = "325851000000107", "25851000000105", "24781000000107"
TITLE = "GP practice (GP Connect)"
COPIES = 540  # of one observation, by the fault 512-kb
NOTHING = {"patient-not-found", "no-record-found", "organisation-not-found", "practitioner-not-found"}
TIMED_OUT = {"plain-504", "plain-599"}


def said(answer: httpx.Response) -> list[str]:
    return [issue["details"]["text"] for issue in outcome(answer)["issue"]]


def gp_only(answer: httpx.Response, kind: str = "") -> list[dict]:
    return [resource for resource in resources(answer, kind) if ".gp." in resource["id"]]


def reason(world: World, answer: httpx.Response) -> tuple[str, str]:
    """What the audit has of the GP source."""
    (said,) = [source for source in world.of_request(answer)[-1]["detail"]["sources"] if source["source"] == "gp"]
    return said["state"], said["reason"]


def test_every_area_of_the_record_reaches_a_gp_and_a_health_visitor(world: World) -> None:
    for asker in (GP, VISITOR):
        kinds = Counter(resource["resourceType"] for resource in gp_only(world.everything(asker, "amara")))
        assert kinds >= Counter(
            Encounter=1,
            Observation=6,
            DiagnosticReport=1,
            Specimen=1,
            ServiceRequest=3,
            DocumentReference=2,
            QuestionnaireResponse=1,
            AllergyIntolerance=2,
            MedicationRequest=5,
            Immunization=3,
            Condition=3,
            List=15,
        )


def test_a_consultation_keeps_its_topic_and_headings_and_every_reference_leads_somewhere(world: World) -> None:
    answer = world.everything(GP, "amara")
    held = {f"{resource['resourceType']}/{resource['id']}": resource for resource in resources(answer)}
    for resource in gp_only(answer):
        assert [reference for reference in references(resource) if reference not in held] == []
    lists = {resource["code"]["coding"][0]["code"]: resource for resource in gp_only(answer, "List")}
    (topic,) = [held[entry["item"]["reference"]] for entry in lists[CONSULTATION]["entry"]]
    headings = [held[entry["item"]["reference"]] for entry in topic["entry"]]
    assert (topic["code"]["coding"][0]["code"], topic["title"]) == (TOPIC, "Wheezing")
    assert [heading["title"] for heading in headings] == ["History", "Examination", "Plan"]
    assert {heading["code"]["coding"][0]["code"] for heading in headings} == {HEADING}
    under = [held[entry["item"]["reference"]]["resourceType"] for entry in headings[2]["entry"]]
    assert under == ["ServiceRequest", "Condition", "DocumentReference", "DocumentReference"]
    (encounter,) = gp_only(answer, "Encounter")
    assert topic["encounter"] == {"reference": f"Encounter/{encounter['id']}"}
    assert encounter["participant"][0]["individual"] == {"display": "Dr Robin Example"}


def test_a_report_leads_to_its_results_its_specimen_and_what_was_asked_for(world: World) -> None:
    answer = world.everything(GP, "amara")
    held = {f"{resource['resourceType']}/{resource['id']}": resource for resource in resources(answer)}
    (report,) = gp_only(answer, "DiagnosticReport")
    assert [held[result["reference"]]["valueQuantity"]["value"] for result in report["result"]] == [118, 301]
    assert held[report["basedOn"][0]["reference"]]["intent"] == "order"
    assert held[report["specimen"][0]["reference"]]["type"]["text"] == "Venous blood specimen"
    diary = [request for request in gp_only(answer, "ServiceRequest") if request["intent"] == "plan"]
    assert [entry["occurrenceDateTime"] for entry in diary] == ["2099-10-01"]


def test_a_letter_that_is_not_for_the_family_carries_its_label(world: World) -> None:
    letters = gp_only(world.search(GP, "DocumentReference", BY_KEY["amara"].nhs_number), "DocumentReference")
    labels = {letter["type"]["text"]: {label["code"] for label in letter["meta"]["security"]} for letter in letters}
    assert "NOPAT" in labels["Social report"]
    assert "NOPAT" not in labels["Clinical letter"]
    assert all("url" not in content["attachment"] for letter in letters for content in letter["content"])


def test_a_view_for_the_family_asks_no_practice_so_that_nothing_kept_from_them_can_reach_them(world: World) -> None:
    family = world.register(replace(VISITOR, purpose="FAMRQT"), "meadowvale-family", "system/*.rs")
    asked = len(world.seen("gp"))
    for kind in ("DocumentReference", "Condition", "Observation"):
        answer = world.search(family, kind, BY_KEY["amara"].nhs_number)
        assert gp_only(answer) == []
        assert "NOPAT" not in answer.text
        assert "Social report" not in answer.text
    assert len(world.seen("gp")) == asked


def test_a_record_over_256_kb_is_read_and_mapped_apart_and_every_item_of_it_arrives(world: World) -> None:
    number = BY_KEY["amara"].nhs_number
    usual = {resource["id"] for resource in gp_only(world.search(GP, "Observation", number))}
    world.sandbox("512-kb", "gp", number, seconds=120)

    def answered(ask: Callable[[], httpx.Response]) -> httpx.Response:
        """The process that reads apart starts with the first large body and gives way to all others: a busy machine waits."""
        said: list[httpx.Response] = []
        eventually(lambda: said.append(ask()) or states(said[-1])["gp"] == "answered", seconds=60)
        return said[-1]

    answer = answered(lambda: world.search(GP, "Observation", number))
    found = gp_only(answer)
    while following := [link["url"] for link in answer.json()["link"] if link["relation"] == "next"]:
        path = following[0].removeprefix(world.place.base)
        answer = answered(lambda path=path: world.get(GP, path))
        found += gp_only(answer)
    ids = [resource["id"] for resource in found]
    assert len(ids) == len(set(ids)) == len(usual) + COPIES
    assert usual < set(ids)
    copies = [resource for resource in found if resource["id"] not in usual]
    assert {resource["valueQuantity"]["value"] for resource in copies} == {11.2}
    assert {resource["subject"]["reference"] for resource in found} == {f"Patient/{ids[0].split('.')[0]}"}


def test_what_an_area_warns_of_is_said_with_its_area(world: World) -> None:
    texts = said(world.everything(GP, "grace"))
    left_out = "Items were left out at the source for confidentiality or at the person's wish."
    assert f"{TITLE}, problems: {left_out}" in texts
    assert f"{TITLE}, other health: {left_out}" in texts
    assert [text for text in texts if text.startswith(f"{TITLE}, other health: Information from a third party")]
    texts = said(world.everything(GP, "hugo"))
    for area in ("allergies", "medications", "immunisations", "problems", "other health"):
        assert [text for text in texts if text.startswith(f"{TITLE}, {area}: The record is still being transferred")]
    assert f"{TITLE}, other health: The source has switched this area off." in texts


def test_none_known_none_recorded_and_withheld_are_not_the_same_answer(world: World) -> None:
    known = world.search(GP, "AllergyIntolerance", BY_KEY["ben"].nhs_number)
    (allergy,) = gp_only(known)
    assert allergy["code"]["coding"][0]["code"] == "716186003"
    unrecorded = world.search(GP, "AllergyIntolerance", BY_KEY["chloe"].nhs_number)
    assert (gp_only(unrecorded), states(unrecorded)["gp"]) == ([], "nothing-to-show")
    assert [text for text in said(unrecorded) if text.startswith(f"{TITLE}, allergies: Nothing is recorded")]
    withheld = world.search(GP, "Condition", BY_KEY["grace"].nhs_number)
    assert (gp_only(withheld), states(withheld)["gp"]) == ([], "nothing-to-show")
    assert [text for text in said(withheld) if text.startswith(f"{TITLE}, problems: Items were left out")]


def test_the_right_number_with_another_birth_date_is_discarded_and_audited(world: World) -> None:
    world.sandbox("other-birth-date", "gp", BY_KEY["amara"].nhs_number)
    answer = world.everything(GP, "amara")
    assert gp_only(answer) == []
    assert states(answer)["gp"] == "failed"
    assert reason(world, answer) == ("failed", "identity-mismatch")


def test_a_bad_resource_is_refused_with_its_place_and_takes_nothing_with_it(world: World) -> None:
    number = BY_KEY["amara"].nhs_number
    before = {resource["id"] for resource in gp_only(world.search(GP, "Observation", number))}
    world.sandbox("one-bad", "gp", number)
    answer = world.search(GP, "Observation", number)
    assert {resource["id"] for resource in gp_only(answer)} == before
    refused = world.of_request(answer)[-1]["detail"]["refused"]
    assert [one["where"].partition(", ")[2] for one in refused] == ["", "Observation"]
    assert all(one["where"].startswith("entry ") and one["reason"] for one in refused)


@pytest.mark.parametrize("fault", sorted(SPINE | PROXY))
def test_every_refusal_of_gp_connect_is_sorted_asked_once_and_nothing_of_it_is_repeated(fault: str, world: World) -> None:
    number = BY_KEY["amara"].nhs_number
    world.sandbox(fault, "gp", number)
    before = len(world.seen("gp"))
    answer = world.search(GP, "AllergyIntolerance", number)
    state = "nothing-to-show" if fault in NOTHING else "timed-out" if fault in TIMED_OUT else "failed"
    assert states(answer)["gp"] == state
    recorded, why = reason(world, answer)
    assert recorded == state
    assert why
    for word in ("ordered fault", "sandbox.invalid", "MESSAGESENDER", "200000000001"):
        assert word not in answer.text + why
    assert len(world.seen("gp")) in (before + 1, before)  # the simulator keeps the last 200


def test_a_provider_that_fails_is_asked_once_more_with_another_trace_id(world: World) -> None:
    number = BY_KEY["amara"].nhs_number
    world.sandbox("500", "gp", number)
    answer = world.search(GP, "AllergyIntolerance", number)
    first, second = world.seen("gp")[-2:]
    assert states(answer)["gp"] == "failed"
    assert first["ssp-traceid"] != second["ssp-traceid"]


def test_a_practice_that_has_not_activated_the_service_has_nothing_to_show_and_the_audit_says_why(world: World) -> None:
    answer = world.search(VISITOR, "AllergyIntolerance", BY_KEY["petra"].nhs_number)
    assert states(answer)["gp"] == "nothing-to-show"
    assert "activated" not in answer.text
    assert reason(world, answer) == ("nothing-to-show", "practice-not-activated")


def test_permission_to_view_is_in_the_audit_of_the_one_request_that_asserted_it(world: World) -> None:
    number = BY_KEY["amara"].nhs_number
    given = world.search(GP, "AllergyIntolerance", number, **{"gateway-permission-to-view": "given"})
    after = world.search(GP, "AllergyIntolerance", number)
    wrong = world.search(GP, "AllergyIntolerance", number, **{"gateway-permission-to-view": "always"})
    assert world.of_request(given)[0]["detail"]["permission_to_view"] is True
    assert world.of_request(after)[0]["detail"]["permission_to_view"] is False
    assert wrong.status_code == 400
    assert "always" not in wrong.text

"""The log: two events for every answer, readable by auditors alone, receipts that hold, and nothing without it."""

import subprocess
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from whole_place import NHS_NUMBER, World, eventually, holds_a_number, resources, shape

from gateway.audit import disclosed_items
from sandbox import demo
from sandbox.demo import AUDITOR, CENTRE, GP, VISITOR, WORKER
from sandbox.families import BY_KEY

AMARA = BY_KEY["amara"].nhs_number


def asked(world: World, query: str = "", **form: str) -> list[dict]:
    """AuditEvents that a question finds."""
    if query:
        answer = world.get(AUDITOR, f"/fhir/AuditEvent{query}")
    else:
        answer = world.http.post("/fhir/AuditEvent/_search", data=form, headers=world.headers(AUDITOR))
    assert answer.status_code == 200, answer.text
    return resources(answer, "AuditEvent")


def requests_of(events: list[dict]) -> Counter[str]:
    return Counter(event["entity"][0]["what"]["identifier"]["value"] for event in events)


def organisations(events: list[dict]) -> set[str]:
    return {agent["who"]["identifier"]["value"] for event in events for agent in event["agent"] if "PROV" in str(agent["type"])}


def test_every_permitted_request_leaves_two_events_and_a_denial_one(world: World) -> None:
    permitted = world.search(GP, "Immunization", AMARA)
    assert [(event["kind"], event["outcome"]) for event in world.of_request(permitted)] == [
        ("decision", "permit"),
        ("disclosure", "success"),
    ]
    for denied in (
        world.find(GP, BY_KEY["isla"].nhs_number),
        world.search(CENTRE, "Condition", AMARA),
        world.find(GP, "9990020302"),
    ):
        assert [(event["kind"], event["outcome"]) for event in world.of_request(denied)] == [("decision", "deny")]


def test_failures_before_and_after_authentication_are_in_the_log(world: World) -> None:
    unread = world.get(GP, "/fhir/Immunization?patient=a&patient=b")
    assert [event["kind"] for event in world.of_request(unread)] == ["failure"]
    nobody = world.http.get("/fhir/Patient")
    assert nobody.status_code == 401
    eventually(lambda: world.of_request(nobody))
    (event,) = world.of_request(nobody)
    assert (event["kind"], event["outcome"]) == ("refusal", "failure")


def test_every_token_is_in_the_log(world: World) -> None:
    world.token(GP)
    tokens = world.events(kind="token")
    assert GP.client in {event["system"] for event in tokens}
    assert world._tokens[GP][0] not in str(tokens)


def test_the_disclosure_names_each_resource_its_rules_and_a_digest_and_no_content(world: World) -> None:
    answer = world.everything(GP, "amara")
    decision, disclosure = world.of_request(answer)
    shown = {(resource["resourceType"], resource["id"]) for resource in resources(answer)}
    items = list(disclosed_items(disclosure["detail"]))
    assert {(item["type"], item["id"]) for item in items} == shown
    assert all(item["rules"] and item["digest"] for item in items)
    assert {"direct-care-gp", "warnings-to-gp", "centre-involvement-to-health"} == {
        rule["id"] for rule in decision["detail"]["rules"]
    }
    for word in ("Testwell", "Amara", "Eczema", "peanut", AMARA):
        assert word not in str(decision) + str(disclosure)


def test_an_auditor_searches_by_patient(world: World) -> None:
    mine, other = world.find(GP, AMARA), world.find(GP, BY_KEY["ben"].nhs_number)
    for form in ({"patient:identifier": f"{NHS_NUMBER}|{AMARA}"}, {"patient": resources(mine, "Patient")[0]["id"]}):
        found = requests_of(asked(world, **form))
        assert found[mine.headers["x-request-id"]] == 2
        assert other.headers["x-request-id"] not in found


def test_an_auditor_finds_what_was_asked_by_a_superseded_number_under_the_new_one(world: World) -> None:
    by_old = world.find(VISITOR, "9990002126")
    found = requests_of(asked(world, **{"patient:identifier": f"{NHS_NUMBER}|{BY_KEY['chloe'].nhs_number}"}))
    assert found[by_old.headers["x-request-id"]] == 2


def test_no_audit_search_links_the_number_before_an_adoption_with_the_one_after(world: World) -> None:
    before, after = world.find(VISITOR, BY_KEY["eli-before"].nhs_number), world.find(VISITOR, BY_KEY["eli-after"].nhs_number)
    by_before = asked(world, **{"patient:identifier": f"{NHS_NUMBER}|{BY_KEY['eli-before'].nhs_number}"})
    by_after = asked(world, **{"patient:identifier": f"{NHS_NUMBER}|{BY_KEY['eli-after'].nhs_number}"})
    assert before.headers["x-request-id"] in requests_of(by_before)
    assert after.headers["x-request-id"] in requests_of(by_after)
    assert not requests_of(by_before).keys() & requests_of(by_after).keys()
    by_id = asked(world, patient=resources(after, "Patient")[0]["id"])
    assert requests_of(by_after) < requests_of(by_id)  # the same, and the reading just done
    assert not requests_of(by_id).keys() & requests_of(by_before).keys()


def test_an_auditor_searches_by_agent_organisation_outcome_and_purpose(world: World) -> None:
    world.find(GP, AMARA)
    world.find(GP, BY_KEY["isla"].nhs_number)
    world.find(WORKER, BY_KEY["kiran"].nhs_number)
    by_agent = asked(world, agent=f"https://fhir.nhs.uk/Id/sds-user-id|{GP.subject}")
    assert by_agent
    assert {agent["name"] for event in by_agent for agent in event["agent"] if agent["requestor"]} == {GP.name}
    assert organisations(asked(world, organisation=WORKER.organisation)) == {WORKER.organisation}
    denied = asked(world, outcome="4")
    assert denied
    assert {event["outcome"] for event in denied} == {"4"}
    enquiries = asked(world, purpose="S47")
    assert enquiries
    assert {event["purposeOfEvent"][0]["coding"][0]["code"] for event in enquiries} == {"S47"}
    both = asked(world, outcome="4", organisation=GP.organisation)
    assert both
    assert {event["outcome"] for event in both} == {"4"}
    assert organisations(both) == {GP.organisation}
    assert asked(world, organisation="ods:NOSUCH") == []


def test_an_auditor_searches_by_date(world: World) -> None:
    answer = world.find(GP, AMARA)
    now = datetime.now(UTC)
    today, tomorrow, yesterday = (f"{now + timedelta(days=days):%Y-%m-%d}" for days in (0, 1, -1))
    mine = answer.headers["x-request-id"]
    assert requests_of(asked(world, f"?date=ge{yesterday}&date=lt{tomorrow}"))[mine] == 2
    assert asked(world, f"?date=ge{tomorrow}") == []
    assert asked(world, f"?date=lt{yesterday}") == []
    exact = f"?date=ge{now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}Z"
    assert mine in requests_of(asked(world, exact))
    assert mine in requests_of(asked(world, f"?date={today}"))


def test_the_true_reason_of_an_empty_answer_is_told_to_the_auditor_alone(world: World) -> None:
    empty = world.find(CENTRE, BY_KEY["jonah"].nhs_number)
    assert "consent" not in empty.text.lower()
    events = asked(
        world, **{"patient:identifier": f"{NHS_NUMBER}|{BY_KEY['jonah'].nhs_number}"}, organisation=CENTRE.organisation
    )
    (event,) = [one for one in events if one["entity"][0]["what"]["identifier"]["value"] == empty.headers["x-request-id"]]
    assert event["outcomeDesc"] == "decision: deny by centre-consent-missing-or-refused"


def test_an_auditors_reading_is_itself_in_the_log_and_shows_no_record(world: World) -> None:
    form = {"patient:identifier": f"{NHS_NUMBER}|{AMARA}"}
    answer = world.http.post("/fhir/AuditEvent/_search", data=form, headers=world.headers(AUDITOR))
    events = world.of_request(answer)
    assert [event["kind"] for event in events] == ["decision", "audit-read"]
    assert answer.headers["gateway-receipt"]
    assert holds_a_number(answer.text) is None
    assert {resource["resourceType"] for resource in resources(answer)} == {"AuditEvent"}
    found = requests_of(asked(world, agent=f"https://fhir.nhs.uk/Id/sds-user-id|{AUDITOR.subject}"))
    assert answer.headers["x-request-id"] in found


def test_an_auditor_follows_the_next_link_to_the_oldest_event(world: World) -> None:
    since = f"ge{datetime.now(UTC) - timedelta(milliseconds=5):%Y-%m-%dT%H:%M:%S.%f}Z"
    mine = [world.find(GP, AMARA).headers["x-request-id"] for _ in range(3)]
    form = {"patient:identifier": f"{NHS_NUMBER}|{AMARA}", "organisation": GP.organisation, "date": since}
    whole = [event["id"] for event in asked(world, **form)]
    assert len(whole) == 6
    page = world.http.post("/fhir/AuditEvent/_search", data={**form, "_count": "4"}, headers=world.headers(AUDITOR))
    (link,) = [link["url"] for link in page.json()["link"] if link["relation"] == "next"]
    assert holds_a_number(link) is None
    assert "OperationOutcome" in page.text, "clients that drop links are told too"
    assert world.get(GP, link).status_code == 400, "a link is its caller's alone"
    world.find(GP, AMARA)  # newer than the question: on no further page
    rest = world.get(AUDITOR, link)
    assert [event["kind"] for event in world.of_request(rest)] == ["decision", "audit-read"], "each page is the whole line"
    assert [link["relation"] for link in rest.json()["link"]] == ["self"]
    assert [event["id"] for answer in (page, rest) for event in resources(answer, "AuditEvent")] == whole
    assert requests_of(resources(page) + resources(rest)) == Counter(mine * 2)


@pytest.mark.parametrize("asker", [GP, VISITOR, CENTRE, WORKER], ids=lambda asker: asker.client)
def test_nobody_but_an_auditor_reads_the_log(asker, world: World) -> None:
    answers = [
        world.get(asker, "/fhir/AuditEvent"),
        world.search(asker, "AuditEvent", AMARA),
        world.search(asker, "AuditEvent", "9990020302"),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert shape(answers[1]) == shape(answers[2])
    assert [event["kind"] for event in world.of_request(answers[1])] == ["decision"]


@pytest.mark.parametrize(
    "query",
    [
        *("?outcome=5", "?purpose=CURIOSITY", "?date=yesterday", "?agent=", "?patient=a&patient:identifier=b"),
        *("?organisation=A99901", "?agent=100000000001"),  # would find nobody, and read as "nobody looked"
    ],
)
def test_a_question_the_log_cannot_answer_is_400(query: str, world: World) -> None:
    answer = world.get(AUDITOR, "/fhir/AuditEvent" + query)
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_a_receipt_names_an_event_that_the_log_holds_and_explains_in_english(world: World) -> None:
    answer = world.find(VISITOR, AMARA)
    event, writer, commitment, signature = answer.headers["gateway-receipt"].split(".")
    assert answer.json()["identifier"]["value"] == event
    assert world.ask_database("select writer from event where event = ?", event) == [(writer,)]
    assert len(commitment) == 43
    assert len(signature) == 86
    done = world.command("log", "why", event)
    assert done.returncode == 0
    assert "A health visitor who has this child on the caseload" in done.stdout
    assert world.command("log", "why", "0" * 32).returncode == 1


def test_an_event_shown_can_be_saved_and_explained(world: World, tmp_path) -> None:
    answer = world.find(VISITOR, AMARA)
    decision, disclosure = (event["event"] for event in world.of_request(answer))
    shown, file = world.command("log", "show", decision), tmp_path / "event.json"
    file.write_text(shown.stdout, "utf-8")
    assert "direct-care-health-visitor" in world.command("policy", "explain", str(file)).stdout
    file.write_text(world.command("log", "show", disclosure).stdout, "utf-8")
    assert "direct-care-health-visitor" in world.command("policy", "explain", str(file)).stdout
    assert world.command("log", "show", "0" * 32).returncode == 1


def test_every_answer_has_a_receipt_of_its_own_over_the_whole_run(world: World) -> None:
    answers = [answer for answer in world.answers if "gateway-receipt" in answer.headers]
    receipts = [answer.headers["gateway-receipt"] for answer in answers]
    assert len(set(receipts)) == len(receipts) > 5
    held = {row[0] for row in world.ask_database("select event from event")}
    assert {receipt.split(".")[0] for receipt in receipts} <= held
    without = [
        answer
        for answer in world.answers
        if answer.status_code == 200 and "/fhir/" in str(answer.url) and "gateway-receipt" not in answer.headers
    ]
    assert {answer.url.path for answer in without} <= {"/fhir/metadata", "/fhir/.well-known/smart-configuration"}


def test_the_log_holds_together_over_the_whole_run(world: World) -> None:
    done = world.command("log", "verify")
    assert (done.returncode, done.stdout) == (0, "The log holds together.\n")


def test_with_the_audit_store_down_nothing_is_answered_no_source_is_asked_and_no_token_is_given(world: World) -> None:
    bearer = world.headers(GP)
    world.find(GP, AMARA)
    before = world.seen("gp")
    key = world.place.folder / "clients" / f"{GP.client}.jwk"
    command = [demo.GATEWAY, "token", "--server", world.place.base, "--client", GP.client, "--key", str(key)]
    command += ["--organisation", GP.organisation, "--subject", GP.subject, "--role", GP.role, "--purpose", GP.purpose]
    world.change("alter table event rename to event_out_of_reach")  # the log cannot be written
    try:
        token = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        form = {"patient:identifier": f"{NHS_NUMBER}|{AMARA}"}
        answer = world.http.post("/fhir/AllergyIntolerance/_search", data=form, headers=bearer)
        ready = httpx.get(f"http://127.0.0.1:{world.place.port + 1}/ready")
        printed, _ = token.communicate(timeout=30)
    finally:
        world.change("alter table event_out_of_reach rename to event")
    assert answer.status_code == 503
    assert answer.json()["issue"][0]["code"] == "transient"
    assert "peanut" not in answer.text
    assert world.seen("gp") == before
    assert (token.returncode, printed) == (1, "")
    assert (ready.status_code, ready.json()["log"]) == (503, False)
    assert resources(world.search(GP, "AllergyIntolerance", AMARA))

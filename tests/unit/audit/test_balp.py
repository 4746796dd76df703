"""AuditEvents as auditors read them: who looked, and nothing that says where the person is."""

import base64
import json
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from gateway.audit.balp import audit_event
from gateway.ports import StoredEvent
from tests import fakes

PROFILES = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
ITEM = {"type": "Flag", "rules": ["s47-enquiry"], "each": [[f"{fakes.PERSON}.leeds.x", "d"]]}
BODY = {
    "kind": "disclosure",
    "outcome": "success",
    "organisation": "gss:E08999901",
    "system": "northshire-case",
    "staff": "gss:E08999901|SW0001",
    "staff_name": "Sam Worker",
    "role": "urn:role|social-worker",
    "purpose": "S47",
    "request_id": "request-1",
    "address": "127.0.0.1",
    "detail": {
        "interaction": "search",
        "types": ["Flag"],
        "items": [{**ITEM, "source": "leeds"}, {**ITEM, "source": "gone-since"}, {**ITEM, "source": ""}],
    },
}


def test_what_was_disclosed_is_named_by_kind_of_source_and_never_by_the_sources_name() -> None:
    stored = StoredEvent(1, "event-1", "writer", 1, fakes.NOW, "commitment", BODY)
    event = audit_event(stored, gateway="http://gateway", person="Patient/x", kinds={"leeds": "local-authority"})
    shown = [entity["what"].get("display") for entity in event["entity"][3:]]
    assert shown == ["Flag of local-authority", "Flag of a source", "Flag of the trace"]
    assert "leeds" not in json.dumps(event)


def test_the_system_of_a_persons_id_is_an_absolute_uri():
    said = {
        "https://fhir.nhs.uk/Id/sds-user-id|1": "https://fhir.nhs.uk/Id/sds-user-id",
        "gss:E08999901|1": "urn:shared-care-gateway:staff-of:gss:E08999901",
    }
    for staff, system in said.items():
        event = StoredEvent(1, "e", "w", 1, fakes.NOW, "c", {**BODY, "staff": staff})
        (person,) = [agent for agent in audit_event(event, gateway="g", person=None, kinds={})["agent"] if agent["requestor"]]
        assert person["who"]["identifier"] == {"system": system, "value": "1"}
        assert "policy" not in person  # BODY was asked under no token: what leaves under a mandate names none


def rendered(kind: str, outcome: str = "success", **detail: object) -> dict[str, Any]:
    body = {**BODY, "kind": kind, "outcome": outcome, "detail": detail}
    stored = StoredEvent(1, "e", "w", 1, fakes.NOW, "c", body)
    return audit_event(stored, gateway="http://gateway", person="Patient/x", kinds={})


ITEMS = [{**ITEM, "source": ""}]


@pytest.mark.parametrize(
    ("kind", "detail", "type_", "subtype", "action"),
    [
        ("disclosure", {"interaction": "read", "items": ITEMS}, "rest", "read", "R"),
        ("disclosure", {"interaction": "search", "types": ["Flag"], "items": ITEMS}, "rest", "search", "E"),
        ("disclosure", {"interaction": "everything", "items": ITEMS}, "rest", "operation", "E"),
        ("disclosure", {"interaction": "deliver", "items": ITEMS}, "110106", "disclose", "R"),
        ("decision", {"interaction": "search"}, "110113", "AuthZ-Consent", "E"),
        ("decision", {"interaction": "audit-search"}, "110113", "AuthZ-Role", "E"),
        ("audit-read", {}, "rest", "search", "E"),
        ("submission", {}, "rest", "create", "C"),
        ("parcel-taken-back", {}, "rest", "create", "C"),
        ("parcel-read", {}, "rest", "read", "R"),
        ("delivery", {}, "110106", "disclose", "R"),
        ("recall", {}, "110106", "transmit", "R"),
        ("intake", {}, "110107", "receive", "C"),
        ("token", {}, "110114", "110122", "E"),
        ("refusal", {}, "110114", "110122", "E"),
        ("failure", {}, "rest", None, "E"),
        ("administration", {"act": "client-add"}, "110100", None, "E"),
        ("administration", {"act": "log-why"}, "110101", None, "R"),
    ],
)
def test_each_event_says_what_happened_in_the_words_of_audit(
    kind: str, detail: dict[str, Any], type_: str, subtype: str | None, action: str
) -> None:
    event = rendered(kind, **detail)
    assert (event["type"]["code"], event["action"]) == (type_, action)
    assert [one["code"] for one in event.get("subtype", [])] == ([subtype] if subtype else [])
    AuditEvent.model_validate(event)


def test_of_a_read_we_are_the_source_and_of_a_search_the_one_who_asks_is():
    read, search = (rendered("disclosure", interaction=name, types=["Flag"], items=ITEMS) for name in ("read", "search"))
    assert [one["type"]["coding"][0]["code"] for one in read["agent"][:2]] == ["110152", "110153"]
    assert [one["type"]["coding"][0]["code"] for one in search["agent"][:2]] == ["110153", "110152"]


def test_a_profile_is_named_where_all_it_wants_is_there_and_nowhere_else():
    """BALP 1.1.3: of System Objects Read wants one, the resource, and Query one, which has a query and no `what`."""
    read, search = (rendered("disclosure", interaction=name, types=["Flag"], items=ITEMS) for name in ("read", "search"))
    assert read["meta"]["profile"] == [f"{PROFILES}PatientRead"]
    assert search["meta"]["profile"] == [f"{PROFILES}PatientQuery"]
    (resource,) = [one for one in read["entity"] if one["type"]["code"] == "2"]
    (question,) = [one for one in search["entity"] if one["type"]["code"] == "2"]
    assert (resource["role"]["code"], "what" in resource) == ("4", True)
    assert (question["role"]["code"], "what" in question) == ("24", False)
    assert base64.b64decode(question["query"]).decode() == question["description"] == "Flag?patient=x"
    assert all("network" in agent for event in (read, search) for agent in event["agent"][:2])
    for other in (
        rendered("disclosure", interaction="everything", items=ITEMS),
        rendered("disclosure", interaction="read", items=[]),
        rendered("decision", "permit", interaction="search"),
        rendered("failure", "failure"),
    ):
        assert "meta" not in other

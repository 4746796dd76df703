"""AuditEvents as auditors read them: who looked, and nothing that says where the person is."""

import json

from gateway.audit.balp import audit_event
from gateway.ports import StoredEvent
from tests import fakes

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
        "items": [{**ITEM, "source": "leeds"}, {**ITEM, "source": "gone-since"}, {**ITEM, "source": ""}],
    },
}


def test_what_was_disclosed_is_named_by_kind_of_source_and_never_by_the_sources_name() -> None:
    stored = StoredEvent(1, "event-1", "writer", 1, fakes.NOW, "commitment", BODY)
    event = audit_event(stored, gateway="http://gateway", person="Patient/x", kinds={"leeds": "local-authority"})
    shown = [entity["what"].get("display") for entity in event["entity"][2:]]
    assert shown == ["Flag of local-authority", "Flag of a source", "Flag of the trace"]
    assert "leeds" not in json.dumps(event)


def test_the_system_of_a_persons_id_is_an_absolute_uri():
    said = {
        "https://fhir.nhs.uk/Id/sds-user-id|1": "https://fhir.nhs.uk/Id/sds-user-id",
        "gss:E08999901|1": "urn:shared-care-gateway:staff-of:gss:E08999901",
    }
    for staff, system in said.items():
        event = StoredEvent(1, "e", "w", 1, fakes.NOW, "c", {**BODY, "staff": staff})
        (person,) = [agent for agent in audit_event(event, gateway="g", person=None, kinds={})["agent"] if "policy" in agent]
        assert person["who"]["identifier"] == {"system": system, "value": "1"}

"""A stored event -> IHE BALP AuditEvent (R4), rendered when read and never stored.

Source: IHE ITI Basic Audit Log Patterns 1.1.3. Its profiles fix the outcome as success, so only a success carries one.
Who the person is stays a keyed hash in the log; the asker, who named the person, gets the reference the asker used.
"""

from collections.abc import Mapping
from typing import Any

from gateway import systems
from gateway.audit.entries import disclosed_items
from gateway.ports import StoredEvent

_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_REST = "http://hl7.org/fhir/restful-interaction"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_OUTCOME = {"permit": "0", "success": "0", "deny": "4", "failure": "8"}
_SUBTYPE = {"read": ("read", "R"), "search": ("search", "E"), "everything": ("search", "E"), "audit-search": ("search", "E")}


def audit_event(stored: StoredEvent, *, gateway: str, person: str | None, kinds: Mapping[str, str]) -> dict[str, Any]:
    """One event -> AuditEvent. `person` is the reference by which the asker named the person, when one was named.

    `kinds` says of each source what kind it is: a source's own name can say where a protected person is.
    """
    body, detail = stored.body, stored.body.get("detail", {})
    subtype, action = _SUBTYPE.get(detail.get("interaction", ""), ("search", "E"))
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": stored.event,
        "type": {"system": _TYPE, "code": "rest", "display": "RESTful Operation"},
        "subtype": [{"system": _REST, "code": subtype, "display": subtype}],
        "action": action,
        "recorded": stored.recorded_at.isoformat(),
        "outcome": _OUTCOME.get(body["outcome"], "8"),
        "outcomeDesc": _described(body),
        "agent": _agents(body, gateway),
        "source": {"observer": {"display": gateway}, "site": stored.writer},
        "entity": _entities(stored, person, kinds),
    }
    if body["kind"] == "disclosure" and person is not None and event["outcome"] == "0":
        event["meta"] = {"profile": [_BALP + ("PatientRead" if subtype == "read" else "PatientQuery")]}
    if body["purpose"]:
        event["purposeOfEvent"] = [{"coding": [_purpose(body["purpose"])]}]
    return event


def _described(body: Mapping[str, Any]) -> str:
    detail = body.get("detail", {})
    rules = ", ".join(dict.fromkeys(rule["id"] for rule in detail.get("rules", []) if isinstance(rule, dict)))
    return f"{body['kind']}: {body['outcome']}" + (f" by {rules}" if rules else "")


def _agents(body: Mapping[str, Any], gateway: str) -> list[dict[str, Any]]:
    unnamed = "the gateway's operator" if body["kind"] == "administration" else "unknown"
    client = {
        "type": {"coding": [{"system": _DCM, "code": "110153", "display": "Source Role ID"}]},
        "who": {"identifier": {"value": body["system"]}, "display": body["system"]} if body["system"] else {"display": unnamed},
        "requestor": False,
    }
    if body["address"]:
        client["network"] = {"address": body["address"], "type": "2"}
    server = {
        "type": {"coding": [{"system": _DCM, "code": "110152", "display": "Destination Role ID"}]},
        "who": {"display": gateway},
        "requestor": False,
    }
    if not body["staff"]:
        return [{**client, "requestor": True}, server]
    user: dict[str, Any] = {
        "type": {"coding": [{"system": _PARTICIPATION, "code": "IRCP", "display": "information recipient"}]},
        "who": {"identifier": _identifier(body["staff"]), "display": body["staff_name"]},
        "name": body["staff_name"],
        "requestor": True,
        "policy": [f"urn:ietf:params:oauth:jti:{body['detail'].get('token', '')}"],
    }
    role_system, _, role = body["role"].partition("|")
    user["role"] = [{"coding": [{"system": role_system, "code": role}]}]
    if body["purpose"]:
        user["purposeOfUse"] = [{"coding": [_purpose(body["purpose"])]}]
    organisation = {
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "code": "PROV"}]},
        "who": {"identifier": {"value": body["organisation"]}, "display": body["organisation"]},
        "requestor": False,
    }
    return [client, server, user, organisation]


def _identifier(staff: str) -> dict[str, str]:
    """`<system>|<id>` of a partner's token. R4 wants an absolute URI: an organisation's code becomes its staff register's."""
    system, _, value = staff.partition("|")
    absolute = system.startswith(("urn:", "http://", "https://"))
    return {"system": system if absolute else systems.STAFF_OF + system, "value": value}


def _entities(stored: StoredEvent, person: str | None, kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = [
        {
            "what": {"identifier": {"value": stored.body["request_id"] or stored.event}},
            "type": {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "code": "XrequestId"},
        }
    ]
    if person is not None:
        entities.append(
            {
                "what": {"reference": person},
                "type": {"system": _ENTITY, "code": "1", "display": "Person"},
                "role": {"system": _ROLE, "code": "1", "display": "Patient"},
            }
        )
    return [*entities, *(_disclosed(item, kinds) for item in disclosed_items(stored.body.get("detail", {})))]


def _disclosed(item: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """One disclosed resource, by type, kind of source, rules and salted hash: never by its id, which is the person's."""
    of = kinds.get(item["source"], "a source") if item["source"] else "the trace"
    return {
        "what": {"display": f"{item['type']} of {of}"},
        "type": {"system": _ENTITY, "code": "2", "display": "System Object"},
        "role": {"system": _ROLE, "code": "4", "display": "Domain Resource"},
        "detail": [
            {"type": "rules", "valueString": ", ".join(item["rules"])},
            {"type": "digest", "valueString": item["digest"]},
        ],
    }


def _purpose(code: str) -> dict[str, str]:
    ours = {"S17", "S47", "MASH", "CASECONF", "EARLYHELP"}
    return {"system": systems.LOCAL_PURPOSE if code in ours else systems.V3_ACT_REASON, "code": code}

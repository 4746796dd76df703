"""A stored event -> IHE BALP AuditEvent (R4), rendered when read and never stored.

Source: IHE ITI Basic Audit Log Patterns 1.1.3. Its profiles fix the outcome as success, so only a success carries one, and only
where all that the profile wants is there: the one resource of a read, the question of a search. A decision is of its pattern for
authorisation without the profile, which wants a Consent to point at.
Who the person is stays a keyed hash in the log; the asker, who named the person, gets the reference the asker used.
"""

import base64
from collections.abc import Mapping
from typing import Any

from gateway import systems
from gateway.audit.entries import disclosed_items
from gateway.ports import StoredEvent

_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_BALP_CODES = "https://profiles.ihe.net/ITI/BALP/CodeSystem/"
_RESTFUL = "http://hl7.org/fhir/restful-interaction"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_RESOURCE = "http://hl7.org/fhir/resource-types"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_OUTCOME = {"permit": "0", "success": "0", "deny": "4", "failure": "8"}
_Coding = Mapping[str, str]
_REST: _Coding = {
    "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
    "code": "rest",
    "display": "RESTful Operation",
}
_ALERT: _Coding = {"system": _DCM, "code": "110113", "display": "Security Alert"}
_LOG_USED: _Coding = {"system": _DCM, "code": "110101", "display": "Audit Log Used"}
_SIGN_IN: _Coding = {"system": _DCM, "code": "110114", "display": "User Authentication"}
_LOGIN: _Coding = {"system": _DCM, "code": "110122", "display": "Login"}
_SOURCE: _Coding = {"system": _DCM, "code": "110153", "display": "Source Role ID"}
_DESTINATION: _Coding = {"system": _DCM, "code": "110152", "display": "Destination Role ID"}
_APPLICATION: _Coding = {"system": _DCM, "code": "110150", "display": "Application"}
_SYSTEM_OBJECT: _Coding = {"system": _ENTITY, "code": "2", "display": "System Object"}
_AUTHORISER: _Coding = {"system": "http://terminology.hl7.org/CodeSystem/extra-security-role-type", "code": "authserver"}


def _rest(code: str) -> _Coding:
    return {"system": _RESTFUL, "code": code, "display": code}


_EXPORT = ({"system": _DCM, "code": "110106", "display": "Export"}, {"system": _LIFECYCLE, "code": "disclose"}, "R")
_BY_INTERACTION: Mapping[str, tuple[_Coding, _Coding | None, str]] = {
    "read": (_REST, _rest("read"), "R"),
    "search": (_REST, _rest("search"), "E"),
    "everything": (_REST, _rest("operation"), "E"),
    "deliver": _EXPORT,
}
_BY_KIND: Mapping[str, tuple[_Coding, _Coding | None, str]] = {
    "audit-read": (_REST, _rest("search"), "E"),
    "submission": (_REST, _rest("create"), "C"),
    "parcel-taken-back": (_REST, _rest("create"), "C"),
    "parcel-read": (_REST, _rest("read"), "R"),
    "failure": (_REST, None, "E"),  # of any interaction, known or not
    "delivery": _EXPORT,
    "recall": ({"system": _DCM, "code": "110106", "display": "Export"}, {"system": _LIFECYCLE, "code": "transmit"}, "R"),
    "intake": ({"system": _DCM, "code": "110107", "display": "Import"}, {"system": _LIFECYCLE, "code": "receive"}, "C"),
    "token": (_SIGN_IN, _LOGIN, "E"),
    "refusal": (_SIGN_IN, _LOGIN, "E"),  # nobody who had proved who they are
    "administration": ({"system": _DCM, "code": "110100", "display": "Application Activity"}, None, "E"),
}
_LOG_ACTS = frozenset({"log-why", "log-show", "log-verify", "policy-explain"})
_OUTWARD = frozenset({"110106"})  # and a read: what leaves flows from us, so we are the source
_SAID_BY_SERVER = (_DESTINATION, _SOURCE)  # type of the client's agent, and of ours
_SAID_BY_CLIENT = (_SOURCE, _DESTINATION)
_DECIDED = (_APPLICATION, _AUTHORISER)


def audit_event(stored: StoredEvent, *, gateway: str, person: str | None, kinds: Mapping[str, str]) -> dict[str, Any]:
    """One event -> AuditEvent. `person` is the reference by which the asker named the person, when one was named.

    `kinds` says of each source what kind it is: a source's own name can say where a protected person is.
    """
    body = stored.body
    type_, subtype, action = _happened(body)
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": stored.event,
        "type": dict(type_),
        "action": action,
        "recorded": stored.recorded_at.isoformat(),
        "outcome": _OUTCOME.get(body["outcome"], "8"),
        "outcomeDesc": _described(body),
        "agent": _agents(body, gateway, _roles(type_, action)),
        "source": {"observer": {"display": gateway}, "site": stored.writer},
        "entity": _entities(stored, person, kinds),
    }
    if subtype is not None:
        event["subtype"] = [dict(subtype)]
    profile = _profile(body, person)
    if profile is not None:
        event["meta"] = {"profile": [_BALP + profile]}
    if body["purpose"]:
        event["purposeOfEvent"] = [{"coding": [_purpose(body["purpose"])]}]
    return event


def _happened(body: Mapping[str, Any]) -> tuple[_Coding, _Coding | None, str]:
    """What an event's kind and interaction are in the words of audit: type, subtype where there is one, action."""
    kind, detail = body["kind"], body.get("detail", {})
    interaction = detail.get("interaction", "")
    if kind == "decision":
        by = "AuthZ-Role" if interaction == "audit-search" else "AuthZ-Consent"
        return _ALERT, {"system": _BALP_CODES + "AuthZsubType", "code": by}, "E"
    if kind == "administration" and detail.get("act") in _LOG_ACTS:
        return _LOG_USED, None, "R"
    return _BY_KIND.get(kind) or _BY_INTERACTION.get(interaction) or _BY_KIND["administration"]


def _roles(type_: _Coding, action: str) -> tuple[_Coding, _Coding]:
    """BALP: whoever asks a question or sends is the source; of a read and of what is sent out, we are."""
    if type_ in (_ALERT, _SIGN_IN):
        return _DECIDED
    return _SAID_BY_SERVER if type_["code"] in _OUTWARD or (type_ == _REST and action == "R") else _SAID_BY_CLIENT


def _profile(body: Mapping[str, Any], person: str | None) -> str | None:
    """The profile an event keeps to, if it is a success that has all which that profile wants."""
    if (
        body["kind"] != "disclosure"
        or person is None
        or body["outcome"] != "success"
        or not body["address"]
        or not body["system"]
    ):
        return None
    detail = body["detail"]
    if detail.get("interaction") == "search":
        return "PatientQuery"
    whole = detail.get("interaction") == "read" and len(list(disclosed_items(detail))) == 1
    return "PatientRead" if whole else None


def _described(body: Mapping[str, Any]) -> str:
    detail = body.get("detail", {})
    rules = ", ".join(dict.fromkeys(rule["id"] for rule in detail.get("rules", []) if isinstance(rule, dict)))
    return f"{body['kind']}: {body['outcome']}" + (f" by {rules}" if rules else "")


def _agents(body: Mapping[str, Any], gateway: str, roles: tuple[_Coding, _Coding]) -> list[dict[str, Any]]:
    unnamed = "the gateway's operator" if body["kind"] == "administration" else "unknown"
    client = {
        "type": {"coding": [dict(roles[0])]},
        "who": {"identifier": {"value": body["system"]}, "display": body["system"]} if body["system"] else {"display": unnamed},
        "requestor": False,
    }
    if body["address"]:
        client["network"] = {"address": body["address"], "type": "2"}
    server = {
        "type": {"coding": [dict(roles[1])]},
        "who": {"display": gateway},
        "requestor": False,
        "network": {"address": gateway, "type": "5"},
    }
    if not body["staff"]:
        return [{**client, "requestor": True}, server]
    user: dict[str, Any] = {
        "type": {"coding": [{"system": _PARTICIPATION, "code": "IRCP", "display": "information recipient"}]},
        "who": {"identifier": _identifier(body["staff"]), "display": body["staff_name"]},
        "name": body["staff_name"],
        "requestor": True,
    }
    if body["detail"].get("token"):  # none where something leaves under a mandate
        user["policy"] = [f"urn:ietf:params:oauth:jti:{body['detail']['token']}"]
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
            "type": {"system": _BALP_CODES + "BasicAuditEntityType", "code": "XrequestId"},
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
    detail = stored.body.get("detail", {})
    if person is not None and stored.body["kind"] == "disclosure" and detail.get("interaction") == "search":
        entities.append(_question(detail, person))
    read = detail.get("interaction") == "read"
    return [*entities, *(_disclosed(item, kinds, read=read) for item in disclosed_items(detail))]


def _question(detail: Mapping[str, Any], person: str) -> dict[str, Any]:
    """The search as it was understood: the words sent are kept nowhere, for they may hold an NHS number."""
    name, own_id = min(detail["types"]), person.removeprefix("Patient/")
    asked = f"{name}?{'_id' if name == 'Patient' else 'patient'}={own_id}"
    return {
        "type": dict(_SYSTEM_OBJECT),
        "role": {"system": _ROLE, "code": "24", "display": "Query"},
        "description": asked,
        "query": base64.b64encode(asked.encode()).decode(),
    }


def _disclosed(item: Mapping[str, Any], kinds: Mapping[str, str], *, read: bool) -> dict[str, Any]:
    """One disclosed resource, by type, kind of source, rules and salted hash: never by its id, which is the person's."""
    of = kinds.get(item["source"], "a source") if item["source"] else "the trace"
    return {
        "what": {"display": f"{item['type']} of {of}"},
        # BALP: of a read the one System Object is the resource, of a search it is the question.
        "type": dict(_SYSTEM_OBJECT) if read else {"system": _RESOURCE, "code": item["type"], "display": item["type"]},
        "role": {"system": _ROLE, "code": "4", "display": "Domain Resource"},
        "detail": [
            {"type": "rules", "valueString": ", ".join(item["rules"])},
            {"type": "digest", "valueString": item["digest"]},
        ],
    }


def _purpose(code: str) -> dict[str, str]:
    ours = {"S17", "S47", "MASH", "CASECONF", "EARLYHELP"}
    return {"system": systems.LOCAL_PURPOSE if code in ours else systems.V3_ACT_REASON, "code": code}

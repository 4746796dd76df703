"""The API's description, OpenAPI 3.1: written to openapi/gateway.json, compared in `make check`, fuzzed in tests."""

from collections.abc import Iterable
from typing import Any

from gateway.api.capability import VERSION
from gateway.api.examples import EXAMPLES

_ERRORS = {
    "400": "The request cannot be read; nothing of it is echoed.",
    "401": "No valid access token.",
    "403": "This caller may not do this for this purpose; the same for every NHS number.",
    "404": "Nothing that can be shown here by this route.",
    "405": "This method is not offered here.",
    "406": "The answer's media type is not offered.",
    "413": "The request is too large.",
    "429": "Too many requests; see Retry-After.",
    "503": "The gateway cannot answer safely just now.",
    "504": "A source is missing and the request asked for all or nothing.",
}
_FHIR = "application/fhir+json"
_PERSON = {"type": "string", "pattern": "^[a-z2-7]{26}$", "description": "The person's id, as an earlier answer gave it."}
_IDENTIFIER = {
    "type": "string",
    "pattern": r"^https://fhir\.nhs\.uk/Id/nhs-number\|[0-9]{10}$",
    "example": "https://fhir.nhs.uk/Id/nhs-number|9990000107",
}


def document(base_url: str, types: Iterable[str]) -> dict[str, Any]:
    """The types that can be asked for -> the whole description."""
    clinical = sorted(set(types) - {"Patient"})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Shared care gateway",
            "version": VERSION,
            "description": "FHIR R4 (UK Core) over several custodians, decided on each request, recorded before anything leaves.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "security": [{"smart": []}],
        "paths": {
            "/fhir/metadata": {"get": _open("metadata", "What works here", "CapabilityStatement")},
            "/fhir/.well-known/smart-configuration": {
                "get": _open("discovery", "SMART discovery", "object", media="application/json")
            },
            "/oauth/jwks": {"get": _open("jwks", "Keys that sign access tokens", "object", media="application/json")},
            "/oauth/token": {"post": _token()},
            "/fhir": {
                "get": _operation(
                    "page",
                    "A further page, by the sealed cursor of a next link",
                    [_query("_cursor", {"type": "string"}, required=True)],
                )
            },
            "/fhir/Patient": {
                "get": _operation(
                    "findPatient",
                    "Find a person by NHS number",
                    [_query("identifier", _IDENTIFIER), _query("_id", _PERSON), _count()],
                )
            },
            "/fhir/Patient/_search": {
                "post": _search(
                    "findPatientByForm",
                    "Find a person; the NHS number stays out of the URL",
                    {"identifier": _IDENTIFIER, "_id": _PERSON},
                )
            },
            "/fhir/Patient/{id}": {"get": _operation("readPatient", "Read the person, as traced", [_path("id", _PERSON)])},
            "/fhir/Patient/{id}/$everything": {
                "get": _operation(
                    "everything",
                    "All that may be shown of one person",
                    [_path("id", _PERSON), _query("_type", {"type": "string", "example": "Immunization,Encounter"}), _count()],
                )
            },
            "/fhir/Patient/{id}/$healthy-child-programme": {
                "get": _operation(
                    "healthyChildProgramme",
                    "Reviews and immunisations done, due, overdue or not attended, worked out when asked",
                    [_path("id", _PERSON)],
                )
            },
            "/fhir/Patient/{id}/$cp-is-access-history": {
                "get": _operation(
                    "cpIsAccessHistory",
                    "The last 25 unscheduled looks at what CP-IS holds: organisation, role and time",
                    [_path("id", _PERSON)],
                )
            },
            "/fhir/AuditEvent": {
                "get": _operation(
                    "auditEvents",
                    "Who saw whom, for auditors",
                    [_query(name, {"type": "string"}) for name in _AUDIT] + [_count()],
                )
            },
            "/fhir/AuditEvent/_search": {
                "post": _search(
                    "auditEventsByForm",
                    "The same question, parameters in the body",
                    {name: {"type": "string"} for name in _AUDIT},
                )
            },
            "/fhir/{type}": {
                "get": _operation(
                    "search",
                    "Search one type by patient",
                    [
                        _path("type", {"type": "string", "enum": clinical}),
                        _query("patient", _PERSON),
                        _query("patient:identifier", _IDENTIFIER),
                        _count(),
                    ],
                ),
                "post": _submission(),
            },
            "/fhir/{type}/_search": {
                "post": _search(
                    "searchByForm",
                    "The same search, parameters in the body",
                    {"patient": _PERSON, "patient:identifier": _IDENTIFIER},
                    [_path("type", {"type": "string", "enum": clinical})],
                )
            },
            "/fhir/{type}/{id}": {
                "get": _operation(
                    "read",
                    "Read one resource, or the Task of a parcel, which its sender alone may read",
                    [
                        _path("type", {"type": "string", "enum": sorted({*clinical, "Task"})}),
                        _path("id", {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}),
                    ],
                )
            },
        },
        "components": {
            "securitySchemes": {
                "smart": {
                    "type": "oauth2",
                    "description": "SMART Backend Services: private_key_jwt with the UDAP hl7-b2b extension (docs/tokens.md).",
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": "/oauth/token",
                            "scopes": {f"system/{name}.rs": f"read and search {name}" for name in sorted(types)},
                        }
                    },
                }
            },
            "schemas": {
                "OperationOutcome": {
                    "type": "object",
                    "required": ["resourceType", "issue"],
                    "properties": {"resourceType": {"const": "OperationOutcome"}, "issue": {"type": "array", "minItems": 1}},
                },
                "Bundle": {
                    "type": "object",
                    "required": ["resourceType", "type"],
                    "properties": {"resourceType": {"const": "Bundle"}, "type": {"const": "searchset"}},
                },
                "Resource": {"type": "object", "required": ["resourceType"]},
                "CapabilityStatement": {"type": "object", "required": ["resourceType"]},
                "object": {"type": "object"},
            },
        },
    }


_AUDIT = ("patient", "patient:identifier", "agent", "organisation", "outcome", "purpose", "date")


def _operation(name: str, summary: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    headers = {
        "Gateway-Sources": {"description": "Every source's state (RFC 8941 dictionary).", "schema": {"type": "string"}},
        "Gateway-Receipt": {"description": "Signed proof that this answer is in the log.", "schema": {"type": "string"}},
    }
    schema = "Resource" if name in ("read", "readPatient") else "Bundle"
    ok = {
        "description": "The answer; every source's state is in it.",
        "headers": headers,
        "content": {_FHIR: {"schema": _ref(schema)}},
    }
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [*parameters, _prefer(), _permission_to_view(), _access_event()],
        "responses": {"200": ok, **_failures()},
    }


def _search(name: str, summary: str, fields: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    operation = _operation(name, summary, parameters or [])
    properties = {**fields, "_count": _count()["schema"]}
    form = {"type": "object", "properties": properties, "additionalProperties": False}
    operation["requestBody"] = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
    operation["responses"]["415"] = _failure("The body is not a form.")
    return operation


def _submission() -> dict[str, Any]:
    """A resource to be delivered: docs/adr/0015 says its form."""
    ok = {
        "description": "Accepted; the Task says what becomes of it.",
        "headers": {
            "Gateway-Receipt": {"description": "Signed proof that it was accepted.", "schema": {"type": "string"}},
            "Location": {"description": "Where its sender may ask what became of it.", "schema": {"type": "string"}},
        },
        "content": {_FHIR: {"schema": _ref("Resource")}},
    }
    failures = _failures() | {
        "409": _failure("Something else was submitted under this identifier before."),
        "415": _failure("The body is not FHIR JSON."),
    }
    return {
        "operationId": "submit",
        "summary": "Submit a referral, a concern or a notice for delivery to the organisation it names",
        "description": "One whose status is entered-in-error takes back what was submitted under the same identifier.",
        "parameters": [_path("type", {"type": "string", "enum": ["ServiceRequest", "Task"]})],
        "requestBody": {
            "required": True,
            "content": {_FHIR: {"schema": _ref("Resource"), "examples": _examples()}},
        },
        "responses": {"202": ok, **failures},
    }


def _examples() -> dict[str, Any]:
    return {name: {"summary": summary, "value": body} for name, (summary, body) in EXAMPLES.items()}


def _token() -> dict[str, Any]:
    fields = {
        "grant_type": {"const": "client_credentials"},
        "client_assertion_type": {"const": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
        "client_assertion": {"type": "string"},
        "scope": {"type": "string"},
    }
    form = {"type": "object", "properties": fields, "required": sorted(fields), "additionalProperties": False}
    refusals = {
        status: {"description": "RFC 6749 section 5.2", "content": {"application/json": {"schema": _ref("object")}}}
        for status in ("400", "401", "413", "415", "429", "503")
    }
    return {
        "operationId": "token",
        "summary": "Exchange a signed client assertion for an access token",
        "security": [],
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {
            "200": {"description": "RFC 6749 section 5.1", "content": {"application/json": {"schema": _ref("object")}}},
            **refusals,
        },
    }


def _open(name: str, summary: str, schema: str, *, media: str = _FHIR) -> dict[str, Any]:
    ok = {"description": summary, "content": {media: {"schema": _ref(schema)}}}
    return {"operationId": name, "summary": summary, "security": [], "responses": {"200": ok, "406": _failure(_ERRORS["406"])}}


def _failures() -> dict[str, Any]:
    return {status: _failure(text) for status, text in _ERRORS.items()}


def _failure(text: str) -> dict[str, Any]:
    return {"description": text, "content": {_FHIR: {"schema": _ref("OperationOutcome")}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _count() -> dict[str, Any]:
    return _query("_count", {"type": "integer", "minimum": 1, "maximum": 999999})


def _permission_to_view() -> dict[str, Any]:
    return {
        "name": "Gateway-Permission-To-View",
        "in": "header",
        "required": False,
        "description": "The person agreed, for this request, to their record being seen; some agreements want it.",
        "schema": {"type": "string", "enum": ["given"]},
    }


def _access_event() -> dict[str, Any]:
    return {
        "name": "Gateway-Access-Event",
        "in": "header",
        "required": False,
        "description": "What kind of visit this is. CP-IS is closed where it is not said; unscheduled tells the authority.",
        "schema": {"type": "string", "enum": ["scheduled", "unscheduled"]},
    }


def _prefer() -> dict[str, Any]:
    return {
        "name": "Prefer",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "enum": ["handling=strict", "handling=lenient"]},
    }

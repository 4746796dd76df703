"""openapi/: what the code says, no route undocumented, and a CapabilityStatement that is one."""

import json
import re
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from starlette.routing import Route

from gateway.api.capability import capability
from gateway.api.openapi import document
from gateway.api.submission import SENDABLE, read_submission
from gateway.app import create
from gateway.cli.openapi import documents
from gateway.mapping.shape import shape_faults
from gateway.policy import load

FOLDER = Path(__file__).parents[2] / "openapi"


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_committed_description_is_what_the_code_says(name):
    assert (FOLDER / name).read_text("utf-8") == documents()[name], "run make openapi and commit the result"


def test_the_committed_statement_lists_create_of_what_a_post_takes_and_of_nothing_else():
    """A CP-IS access notice is delivered too, as an AuditEvent: but it is made here and nobody can submit one."""
    (rest,) = json.loads((FOLDER / "capability-statement.json").read_text("utf-8"))["rest"]
    creating = {one["type"] for one in rest["resource"] if "create" in {said["code"] for said in one.get("interaction", ())}}
    assert creating == SENDABLE.keys()


@pytest.mark.parametrize("name", ["concern", "notice", "referral"])
def test_each_example_of_a_submission_is_one_that_is_accepted(name):
    body = (FOLDER / "examples" / f"{name}.json").read_bytes()
    submission = read_submission(json.loads(body)["resourceType"], body, allow_test=True)
    assert load(files("consent_policy")).organisation(submission.recipient) is not None


def test_every_route_is_described_and_every_description_has_a_route():
    parts = SimpleNamespace(types=lambda: frozenset({"Patient", "Flag"}), caller=SimpleNamespace(), base_url="http://x")
    edge = create(parts, SimpleNamespace(body_bytes=1))  # type: ignore[arg-type]
    routes = [route for route in edge._app.app._whole.routes if isinstance(route, Route)]
    served = {
        (re.sub(r"{[^}]+}", "{}", route.path), method) for route in routes for method in route.methods or () if method != "HEAD"
    }
    paths = document("http://x", {"Patient", "Flag"})["paths"]
    described = {(re.sub(r"{[^}]+}", "{}", path), method.upper()) for path, item in paths.items() for method in item}
    by_type = {(re.sub("/(Patient|AuditEvent)(?=/|$)", "/{}", path, count=1), method) for path, method in described}
    assert served - described - by_type == set()
    assert {path for path, _ in described} <= {path for path, _ in served} | {
        "/fhir/Patient",
        "/fhir/Patient/_search",
        "/fhir/Patient/{}",
        "/fhir/AuditEvent",
        "/fhir/AuditEvent/_search",
    }


def faults_of(statement: dict[str, Any]) -> list[str]:
    """All but one: docs/conformance.md says why the extension stays without an address that Backend Services do not have."""
    return [fault for fault in shape_faults(statement) if "its part authorize must be there" not in fault]


def test_the_capability_statement_is_valid_r4_and_claims_only_read_and_search():
    statement = capability("http://127.0.0.1:8000", {"Patient", "Flag", "Immunization"})
    assert faults_of(statement) == []
    CapabilityStatement.model_validate(statement)
    codes = {item["code"] for resource in statement["rest"][0]["resource"] for item in resource["interaction"]}
    assert codes == {"read", "search-type"}


def test_the_capability_statement_says_what_may_be_submitted_and_who_may_read_a_parcel():
    statement = capability("http://127.0.0.1:8000", {"Patient", "ServiceRequest"}, {"ServiceRequest", "Task"})
    assert faults_of(statement) == []
    CapabilityStatement.model_validate(statement)
    said = {one["type"]: [item["code"] for item in one["interaction"]] for one in statement["rest"][0]["resource"]}
    assert said["ServiceRequest"] == ["read", "search-type", "create"]
    assert said["Task"] == ["read", "create"]
    assert said["Patient"] == ["read", "search-type"]

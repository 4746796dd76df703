"""The door: discovery, metadata, tokens, GET and POST alike, media types, ids kept, operations on their own port."""

import json
import uuid

import httpx
import pytest
from whole_place import NHS_NUMBER, World, resources, shape

from sandbox import demo
from sandbox.demo import CENTRE, GP, VISITOR, WORKER
from sandbox.families import BY_KEY

AMARA = BY_KEY["amara"].nhs_number
FHIR = "application/fhir+json"


def test_discovery_names_the_token_endpoint_to_anyone(world: World) -> None:
    said = world.http.get("/fhir/.well-known/smart-configuration", headers={"authorization": "Bearer long-expired"})
    assert said.status_code == 200
    document = said.json()
    assert document["token_endpoint"] == f"{world.place.base}/oauth/token"
    assert document["grant_types_supported"] == ["client_credentials"]
    assert document["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert {"client-confidential-asymmetric", "permission-v2"} <= set(document["capabilities"])


def test_metadata_says_what_works_and_all_it_says_works(world: World) -> None:
    statement = world.http.get("/fhir/metadata").json()
    assert (statement["resourceType"], statement["fhirVersion"], statement["kind"]) == (
        "CapabilityStatement",
        "4.0.1",
        "instance",
    )
    (rest,) = statement["rest"]
    (patient,) = resources(world.find(VISITOR, AMARA), "Patient")
    offered = {resource["type"]: resource for resource in rest["resource"]}
    assert {"Patient", "AuditEvent", "Immunization", "Flag", "EpisodeOfCare"} <= offered.keys()
    for name, resource in offered.items():
        codes = {interaction["code"] for interaction in resource.get("interaction", [])}
        if name in ("AuditEvent", "Patient") or not codes:
            continue
        for parameter in (one["name"] for one in resource["searchParam"]):
            asked = [
                (asker, world.get(asker, f"/fhir/{name}?{parameter}={patient['id']}")) for asker in (VISITOR, WORKER, CENTRE)
            ]
            asker, found = next((one for one in asked if one[1].status_code == 200), asked[0])  # no role may ask for all of them
            assert found.status_code == 200, (name, parameter)
            assert {one["resourceType"] for one in resources(found)} <= {name}
        for one in resources(found)[:1]:
            assert world.get(asker, f"/fhir/{name}/{one['id']}").json() == one


def test_a_token_comes_only_by_the_real_exchange_and_nothing_is_answered_without_one(world: World) -> None:
    for headers in ({}, {"authorization": "Bearer x.y.z"}, {"authorization": "Basic YTpi"}):
        refused = world.http.post("/fhir/Patient/_search", data={"identifier": f"{NHS_NUMBER}|{AMARA}"}, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.json()["issue"][0]["code"] == "login"
    said = world.http.post("/oauth/token", data={"grant_type": "client_credentials"})
    assert said.status_code == 400
    assert said.json()["error"] == "invalid_client"


def test_a_token_lives_five_minutes_and_carries_only_registered_scopes(world: World) -> None:
    key = world.place.folder / "clients" / f"{GP.client}.jwk"
    command = ["token", "--server", world.place.base, "--client", GP.client, "--key", str(key), "--organisation", GP.organisation]
    command += ["--subject", GP.subject, "--role", GP.role, "--purpose", GP.purpose, "--json"]
    said = json.loads(world.command(*command, "--scope", "system/Immunization.rs system/Patient.cruds").stdout)
    assert said["expires_in"] == 300
    assert said["scope"].split() == ["system/Immunization.rs", "system/Patient.rs"]
    headers = {"authorization": f"Bearer {said['access_token']}", "accept": FHIR}
    form = {"patient:identifier": f"{NHS_NUMBER}|{AMARA}"}
    assert world.http.post("/fhir/Immunization/_search", data=form, headers=headers).status_code == 200
    refused = world.http.post("/fhir/Condition/_search", data=form, headers=headers)
    assert refused.status_code == 403
    assert "scopes" in refused.json()["issue"][0]["details"]["text"]
    (patient,) = resources(world.find(GP, AMARA), "Patient")
    everything = world.http.get(f"/fhir/Patient/{patient['id']}/$everything", headers=headers)
    assert {resource["resourceType"] for resource in resources(everything)} == {"Patient", "Immunization"}


@pytest.mark.parametrize(
    ("option", "value"),
    [("--organisation", "ods:RXX99"), ("--role", "R0690"), ("--purpose", "S47"), ("--subject", "")],
)
def test_no_client_claims_what_it_is_not_registered_for(option: str, value: str, world: World) -> None:
    key = world.place.folder / "clients" / f"{GP.client}.jwk"
    asked = {
        "--organisation": GP.organisation,
        "--subject": GP.subject,
        "--role": GP.role,
        "--purpose": GP.purpose,
        option: value,
    }
    command = ["token", "--server", world.place.base, "--client", GP.client, "--key", str(key)]
    done = world.command(*command, *(part for pair in asked.items() for part in pair))
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


def test_get_and_post_search_are_equal_by_number_and_by_id(world: World) -> None:
    (patient,) = resources(world.find(GP, AMARA), "Patient")
    by_number = f"{NHS_NUMBER}|{AMARA}"
    for kind, name, value in (
        ("Patient", "identifier", by_number),
        ("Patient", "_id", patient["id"]),
        ("Immunization", "patient", patient["id"]),
        ("Immunization", "patient", f"Patient/{patient['id']}"),
        ("Immunization", "subject", patient["id"]),
        ("Immunization", "patient:identifier", by_number),
        ("Immunization", "patient.identifier", by_number),
        ("Immunization", "subject:identifier", by_number),
    ):
        posted = world.http.post(f"/fhir/{kind}/_search", data={name: value}, headers=world.headers(GP))
        got = world.http.get(f"/fhir/{kind}", params={name: value}, headers=world.headers(GP))
        assert posted.status_code == got.status_code == 200, name
        assert resources(posted) == resources(got) != []
        assert shape(posted)[2].keys() == shape(got)[2].keys()


def test_everything_narrows_by_type(world: World) -> None:
    (patient,) = resources(world.find(GP, AMARA), "Patient")
    answer = world.get(GP, f"/fhir/Patient/{patient['id']}/$everything?_type=Patient,Flag")
    assert {resource["resourceType"] for resource in resources(answer)} == {"Patient", "Flag"}
    assert world.get(GP, f"/fhir/Patient/{patient['id']}/$everything?_type=Claim").status_code == 400


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("application/fhir+json", FHIR),
        ("application/json", "application/json"),
        ("*/*", FHIR),
        ("application/fhir+xml, application/json;q=0.5", "application/json"),
        ("application/fhir+json; fhirVersion=4.0", FHIR),
    ],
)
def test_answers_are_fhir_json_or_json_as_accepted(accept: str, given: str, world: World) -> None:
    answer = world.http.get("/fhir/metadata", headers={"accept": accept})
    assert answer.headers["content-type"].split(";")[0] == given
    read = world.find(GP, AMARA, accept=accept)
    assert (read.status_code, read.headers["content-type"].split(";")[0]) == (200, given)


def test_xml_is_not_offered_and_a_json_body_is_no_search(world: World) -> None:
    assert world.find(GP, AMARA, accept="application/fhir+xml").status_code == 406
    assert world.get(GP, "/fhir/metadata?_format=xml").status_code == 406
    sent = world.http.post("/fhir/Patient/_search", json={"identifier": "x"}, headers=world.headers(GP))
    assert sent.status_code == 415


def test_request_and_correlation_ids_are_kept_and_stand_in_the_log(world: World) -> None:
    ids = {"x-request-id": str(uuid.uuid4()), "x-correlation-id": str(uuid.uuid4())}
    answer = world.find(GP, AMARA, **ids)
    assert {name: answer.headers[name] for name in ids} == ids
    events = world.of_request(answer)
    assert {event["correlation_id"] for event in events} == {ids["x-correlation-id"]}


def test_an_id_that_could_hold_an_nhs_number_is_replaced_and_never_echoed(world: World) -> None:
    for bad in (AMARA, f"x-{AMARA}", "a b", "x" * 65, "é"):
        answer = world.http.get("/fhir/metadata", headers={"x-request-id": bad.encode()})
        assert bad not in answer.headers["x-request-id"]
        assert uuid.UUID(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("path", "strict", "status"),
    [
        ("Immunization?patient=ID&colour=red", False, 200),
        ("Immunization?patient=ID&colour=red", True, 400),
        ("Immunization?patient=ID&_include=Immunization:patient", False, 400),
        ("Immunization?patient=ID&_count=0", False, 400),
        ("Immunization?patient=ID&patient=ID", False, 400),
        ("Immunization", False, 400),
        ("Patient", False, 400),
        ("Claim?patient=ID", False, 400),
        ("nothing-here", False, 404),
        ("Patient/ID/$meta", False, 400),
    ],
)
def test_what_is_not_offered_is_an_operation_outcome_with_a_true_code(path: str, strict: bool, status: int, world: World) -> None:
    (patient,) = resources(world.find(GP, AMARA), "Patient")
    prefer = "handling=strict" if strict else "handling=lenient"
    answer = world.get(GP, "/fhir/" + path.replace("ID", patient["id"]), prefer=prefer)
    assert answer.status_code == status
    if status != 200:
        (issue,) = answer.json()["issue"]
        assert issue["code"] in {"invalid", "not-supported", "not-found", "value", "required", "structure"}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_nothing_can_be_written(method: str, world: World) -> None:
    answer = world.http.request(method, "/fhir/Patient", headers=world.headers(GP))
    assert answer.status_code == 405
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_health_readiness_and_metrics_answer_on_their_own_port_only(world: World) -> None:
    beside = f"http://127.0.0.1:{world.place.port + 1}"
    assert httpx.get(beside + "/health").json() == {"alive": True}
    assert httpx.get(beside + "/ready").json() == {"log": True, "policy": True, "migrations": True}
    assert "gateway_request_seconds" in httpx.get(beside + "/metrics").text
    for path in ("/health", "/ready", "/metrics", "/docs", "/openapi.json"):
        assert world.http.get(path).status_code == 404
    assert httpx.get(beside + "/fhir/metadata").status_code == 404


def test_the_printed_way_to_call_works_as_printed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess

    demo.how_to_call(world.place)
    printed = capsys.readouterr().out
    script = printed[printed.index("TOKEN=") : printed.index("Ctrl-C")]
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert json.loads(done.stdout)["entry"][0]["resource"]["resourceType"] == "Patient", done.stderr

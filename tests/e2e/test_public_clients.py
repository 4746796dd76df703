"""Public FHIR clients, as their users write with them: discovery, token, search, read; and they can tell a failed source."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from fhirclient import client as fhirclient
from fhirclient.models.bundle import Bundle
from fhirclient.models.immunization import Immunization
from fhirclient.models.patient import Patient
from fhirpy import SyncFHIRClient
from whole_place import NHS_NUMBER, World, resources, states

from gateway.outside.token_client import Asked, assertion, read_key
from sandbox.demo import GP
from sandbox.families import BY_KEY

pytestmark = pytest.mark.usefixtures("breaker_closed")

OSCAR = f"{NHS_NUMBER}|{BY_KEY['oscar'].nhs_number}"  # whose GP system is down
SOURCES = {"gp": "failed", "child-health": "answered", "authority": "answered", "centre": "answered"}
STATE = "urn:shared-care-gateway:CodeSystem:source-state"
NODE = Path(__file__).parent / "node"


def signed(world: World) -> str:
    """The client assertion, signed with the client's own key as any client library would."""
    key = read_key(world.place.folder / "clients" / f"{GP.client}.jwk")
    asked = Asked(GP.client, GP.organisation, GP.role, GP.purpose, GP.subject, GP.name, None, "system/*.rs")
    return assertion(asked, key, f"{world.place.base}/oauth/token")


def test_fhirclient_discovers_authorizes_searches_reads_and_can_tell_a_failed_source(world: World) -> None:
    settings = {"app_id": GP.client, "api_base": f"{world.place.base}/fhir", "jwt_token": signed(world), "scope": "system/*.rs"}
    smart = fhirclient.FHIRClient(settings=settings)
    assert not smart.prepare()  # read /metadata, and found where tokens are
    assert smart.server.capabilityStatement.fhirVersion == "4.0.1"
    smart.authorize()
    assert smart.ready

    (patient,) = [
        one for one in Patient.where({"identifier": OSCAR}).perform_resources_iter(smart.server) if type(one) is Patient
    ]
    assert patient.name[0].family == "Downing"
    assert Patient.read(patient.id, smart.server).as_json() == patient.as_json()
    jabs = list(Immunization.where({"patient": patient.id}).perform_resources_iter(smart.server))
    assert [jab for jab in jabs if isinstance(jab, Immunization)]

    everything = Bundle.read_from(f"Patient/{patient.id}/$everything", smart.server)
    failed = [tag for tag in everything.meta.tag if tag.system == STATE and tag.code == "failed"]
    assert [tag.display for tag in failed] == ["GP practice (GP Connect): failed"]
    (outcome,) = [entry.resource for entry in everything.entry if entry.search.mode == "outcome"]
    read, unsaid = [issue.details.text for issue in outcome.issue if issue.severity == "warning"]
    assert read == "GP practice (GP Connect): could not be read. What it may hold is missing from this answer."
    assert unsaid.startswith("CP-IS was not asked")


def test_fhirpy_discovers_authorizes_searches_reads_and_can_tell_a_failed_source(world: World) -> None:
    base = f"{world.place.base}/fhir"
    anyone = SyncFHIRClient(base)
    discovery = anyone.execute(".well-known/smart-configuration", method="get")
    assert anyone.execute("metadata", method="get")["fhirVersion"] == "4.0.1"
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": signed(world),
    }
    token = world.http.post(discovery["token_endpoint"], data=form).json()
    client = SyncFHIRClient(base, authorization=f"{token['token_type'].capitalize()} {token['access_token']}")

    patient = client.resources("Patient").search(identifier=OSCAR).first()
    assert patient["name"][0]["family"] == "Downing"
    read = client.reference("Patient", patient.id).to_resource()
    assert read.serialize() == patient.serialize()
    jabs = client.resources("Immunization").search(patient=patient.id).fetch()
    assert {jab["resourceType"] for jab in jabs} == {"Immunization"}
    paged = client.resources("Observation").search(patient=patient.id).limit(1).fetch_all()
    assert len(paged) == 3

    everything = patient.execute("$everything", method="get")
    assert sorted(tag["code"] for tag in everything["meta"]["tag"] if tag["system"] == STATE) == sorted(SOURCES.values())
    (outcome,) = [entry["resource"] for entry in everything["entry"] if entry["search"]["mode"] == "outcome"]
    missing = [issue["details"]["text"] for issue in outcome["issue"] if issue["code"] == "incomplete"]
    assert [text.partition(":")[0] for text in missing] == ["GP practice (GP Connect)", "CP-IS was not asked"]


@pytest.mark.node
def test_fhir_kit_client_discovers_authorizes_searches_reads_pages_and_can_tell_a_failed_source(
    world: World, tmp_path: Path
) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not here: apt-get install nodejs npm")
    if not (NODE / "node_modules" / "fhir-kit-client").is_dir():
        pytest.skip("fhir-kit-client is not here: make node (needs nodejs, npm and a package registry)")
    b2b = {
        "version": "1",
        "organization_id": GP.organisation,
        "subject_id": GP.subject,
        "subject_name": GP.name,
        "subject_role": GP.role,
        "purpose_of_use": [GP.purpose],
    }
    claims = {"iss": GP.client, "sub": GP.client, "extensions": {"hl7-b2b": b2b}}
    (tmp_path / "ask.json").write_text(json.dumps({"claims": claims, "number": BY_KEY["oscar"].nhs_number}), "utf-8")
    key = world.place.folder / "clients" / f"{GP.client}.jwk"
    command = ["node", str(NODE / "client.mjs"), world.place.base, str(key), str(tmp_path / "ask.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    whole = world.everything(GP, "oscar")
    assert (said["token_status"], said["fhir"], said["same"]) == (200, "4.0.1", True)
    assert said["patient"] == resources(whole, "Patient")[0]["id"]
    assert said["immunizations"] == len(resources(whole, "Immunization")) > 0
    assert said["all"] == [resource["id"] for resource in resources(whole)]
    assert said["states"] == states(whole) == SOURCES
    assert said["refused"] == {"status": 404, "code": "not-found"}

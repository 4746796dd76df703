"""The simulators keep the formats they simulate, and refuse what the real systems refuse."""

import base64
import csv
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pydantic
import pytest
from fhir.resources.R4B.patient import Patient
from lxml import etree

from sandbox import authority, authority_plans, authority_returns, child_health, gp_record, pds
from sandbox.families import BY_KEY, PEOPLE
from sandbox.stu3 import to_xml
from tests.sandbox_process import Sandbox, sandbox

AREAS = frozenset({"includeAllergies", "includeMedication", "includeProblems", "includeImmunisations"})
ROOT = "https://gpconnect.sandbox.invalid/A99901/STU3/1/gpconnect/structured/fhir"
OPERATION = "/Patient/$gpc.getstructuredrecord"
AMARA, KIRAN, DARA, MIA, NOOR, HUGO = (BY_KEY[key].nhs_number for key in ("amara", "kiran", "dara", "mia", "noor", "hugo"))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(outside: Sandbox) -> Iterator[None]:
    yield
    outside.heal()


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    body = {
        "iss": "https://gateway.invalid",
        "sub": "user-1",
        "aud": ROOT,
        "iat": now,
        "exp": now + 300,
        "reason_for_request": "directcare",
        "requested_scope": "patient/*.read",
        "requesting_device": {
            "resourceType": "Device",
            "identifier": [{"system": "s", "value": "v"}],
            "model": "gateway",
            "version": "1",
        },
        "requesting_organization": {
            "resourceType": "Organization",
            "identifier": [{"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A99901"}],
            "name": "Riverside Surgery",
        },
        "requesting_practitioner": {
            "resourceType": "Practitioner",
            "id": "user-1",
            "identifier": [
                {"system": "https://fhir.nhs.uk/Id/sds-user-id", "value": "UNK"},
                {"system": "https://fhir.nhs.uk/Id/sds-role-profile-id", "value": "UNK"},
                {"system": "https://gateway.invalid/user", "value": "user-1"},
            ],
            "name": [{"family": "Example", "given": ["Robin"]}],
        },
    }
    return {**body, **changes}


def token(said: dict[str, Any], head: Any = None, signature: str = "") -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"} if head is None else head, said))
    return ".".join((*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature))


def headers(**changes: str) -> dict[str, str]:
    said = {
        "Ssp-TraceID": "09a01679-2564-0fb4-5129-aecc81ea2706",
        "Ssp-From": "200000000001",
        "Ssp-To": "200000099901",
        "Ssp-InteractionID": "urn:nhs:names:services:gpconnect:fhir:operation:gpc.getstructuredrecord-1",
        "Authorization": "Bearer " + token(claims()),
        "Accept": "application/fhir+json",
        "Content-Type": "application/fhir+json;charset=utf-8",
    }
    changed = {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in {**said, **changed}.items() if value}


def parameters(number: str = AMARA, *areas: dict[str, Any]) -> dict[str, Any]:
    identifier = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": number}
    wanted = areas or (
        {"name": "includeAllergies", "part": [{"name": "includeResolvedAllergies", "valueBoolean": True}]},
        {"name": "includeMedication"},
        {"name": "includeProblems"},
        {"name": "includeImmunisations", "part": [{"name": "includeNotGiven", "valueBoolean": True}]},
    )
    return {"resourceType": "Parameters", "parameter": [{"name": "patientNHSNumber", "valueIdentifier": identifier}, *wanted]}


def ask(outside: Sandbox, body: Any, said: dict[str, str] | None = None, target: str = ROOT + OPERATION) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{outside.base}/ssp/{target}", headers=said or headers(), content=content, timeout=3)


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["issue"][0]["details"]["coding"][0]["code"])


# ------------------------------------------------------------------------------------------------------- formats


def resources_of_every_gp_record() -> Iterator[dict[str, Any]]:
    for person in PEOPLE:
        told = gp_record.encoded(
            person.key, AREAS, (("includeReferrals", True),), resolved=True, not_given=True, issues=True, twice=False
        )
        yield from (entry["resource"] for entry in json.loads(told)["entry"])


def faults_of(resource: dict[str, Any]) -> list[tuple[Any, ...]]:
    kind = resource["resourceType"]
    model = getattr(import_module(f"fhir.resources.STU3.{kind.lower()}"), kind)
    try:
        model.model_validate(resource)
    except pydantic.ValidationError as invalid:
        return [(kind, *fault["loc"]) for fault in invalid.errors()]
    return []


def test_every_gp_resource_is_stu3_but_for_the_one_time_without_a_zone() -> None:
    faults = [fault for resource in resources_of_every_gp_record() for fault in faults_of(resource)]
    assert faults == [("AllergyIntolerance", "assertedDate")]


def test_every_child_health_resource_is_stu3() -> None:
    for letter in child_health.letters():
        assert [fault for entry in letter.bundle["entry"] for fault in faults_of(entry["resource"])] == []


def test_every_pds_record_is_an_r4_patient() -> None:
    for person in PEOPLE:
        for restricted in (False, True):
            Patient.model_validate(pds.patient(person, restricted=restricted))


def test_the_xml_of_a_message_is_well_formed_and_says_what_the_json_says() -> None:
    letter = next(letter for letter in child_health.letters() if letter.name.endswith(".xml"))
    root = etree.fromstring(to_xml(letter.bundle).encode())
    names = {"f": "http://hl7.org/fhir"}
    assert root.tag == "{http://hl7.org/fhir}Bundle"
    kinds = [etree.QName(node).localname for node in root.findall("f:entry/f:resource/*", names)]
    assert kinds == [entry["resource"]["resourceType"] for entry in letter.bundle["entry"]]
    given = root.find(".//f:Immunization/f:notGiven", names)
    assert given is not None
    assert given.get("value") == "false"
    extension = root.find(".//f:MessageHeader/f:extension", names)
    assert extension is not None
    assert extension.get("url") == "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-RoutingDemographics-1"


def test_the_extract_keeps_the_published_census_schema_but_for_its_own_extras(samples: Path) -> None:
    folder = samples / "SocialFinanceDigitalLabs__liia-tools-pipeline/liiatools/cin_census_pipeline/spec"
    schema = etree.XMLSchema(etree.parse(str(folder / "CIN_schema_2026.xsd")))
    message = etree.fromstring(authority.extract(datetime(2026, 11, 22, tzinfo=UTC)))
    for child in list(message.iter("Child")):
        for extras in child.findall("LocalExtras"):
            child.remove(extras)
        if child.find("CINdetails") is None:  # a parent: the authority's own, never in the return
            child.getparent().remove(child)
    schema.assertValid(message)


def test_the_refuge_lock_is_on_mother_and_child_and_one_child_has_no_crosswalk_row(outside: Sandbox) -> None:
    (file,) = (outside.drops / "authority").iterdir()
    message = etree.fromstring(file.read_bytes())
    locked = [child.findtext(".//LAchildID") for child in message.iter("Child") if child.find(".//DisclosureLock") is not None]
    assert locked == [BY_KEY["kiran"].local_id, BY_KEY["leah"].local_id]
    with (outside.var / "crosswalk.csv").open(encoding="utf-8", newline="") as rows:
        known = {row["local_id"]: row["nhs_number"] for row in csv.DictReader(rows)}
    assert {node.text for node in message.iter("LAchildID")} - set(known) == {authority.STRANGER}
    assert known == {person.local_id: person.nhs_number for person in PEOPLE if person.local_id}


def test_the_centre_holds_consents_attendance_and_one_child_without_a_number(outside: Sandbox) -> None:
    with sqlite3.connect(f"file:{outside.var / 'centretrack.db'}?mode=ro", uri=True) as database:
        refused = database.execute(
            "select distinct m.nhs_number from consent c join member m on m.member_id = c.subject_member_id"
            " where c.decision = 'deny'"
        ).fetchall()
        assert refused == [(BY_KEY["jonah"].nhs_number,)]
        sensitive = database.execute(
            "select distinct m.role from attendance a join event e using (event_id) join member m using (member_id)"
            " where e.sensitive"
        ).fetchall()
        assert sensitive == [("carer",)]
        assert database.execute("select count(*) from member where role = 'child' and nhs_number is null").fetchone() == (1,)


def test_no_delivered_file_is_named_after_anybody_or_half_written(outside: Sandbox) -> None:
    names = [path.name for path in (outside.drops / "child-health").iterdir()]
    assert len(names) == sum(1 for _ in child_health.letters()) + 1  # and one of today
    assert not [name for name in names if name.startswith(".") or any(p.nhs_number in name for p in PEOPLE)]
    assert {Path(name).suffix for name in names} == {".xml", ".json"}


# ---------------------------------------------------------------------------------------------------- GP Connect


def test_a_right_request_gets_the_record_also_with_an_escaped_target(outside: Sandbox) -> None:
    for target in (ROOT + OPERATION, quote(ROOT + OPERATION, safe=""), ROOT + quote(OPERATION, safe="/")):
        answer = ask(outside, parameters(), target=target)
        assert (answer.status_code, answer.json()["type"]) == (200, "collection")
        assert answer.headers["cache-control"] == "no-store"
    people = [entry["resource"] for entry in answer.json()["entry"] if entry["resource"]["resourceType"] == "Patient"]
    assert [person["identifier"][0]["value"] for person in people] == [AMARA]


@pytest.mark.parametrize(
    ("changes", "status", "display"),
    [
        ({"Ssp_TraceID": ""}, 400, "SSP_TRACEID"),
        ({"Ssp_TraceID": "not-a-uuid"}, 400, "SSP_TRACEID"),
        ({"Ssp_From": ""}, 403, "ASID_CHECK_FAILED_MESSAGESENDER"),
        ({"Ssp_To": "200000000009"}, 403, "ASID_CHECK_FAILED_MESSAGERECEIVER"),
        ({"Ssp_InteractionID": "urn:other"}, 403, "PARTYKEY_INTERACTION_CHECK_FAILED"),
    ],
)
def test_the_proxy_checks_every_header_of_its_own(outside: Sandbox, changes: dict[str, str], status: int, display: str) -> None:
    answer = ask(outside, parameters(), headers(**changes))
    assert answer.status_code == status
    assert answer.json()["issue"][0]["details"]["coding"][0]["display"].startswith(display)


def test_the_proxy_reaches_no_practice_that_the_directory_does_not_list(outside: Sandbox) -> None:
    assert ask(outside, parameters(), target=ROOT.replace("A99901", "A99902") + OPERATION).status_code == 502


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "not base64": lambda: "a.b.",
    "no signature part": lambda: token(claims()).rstrip("."),
    "signed": lambda: token(claims(), signature="c2lnbmF0dXJl"),
    "other algorithm": lambda: token(claims(), head={"alg": "HS256", "typ": "JWT"}),
    "lives too long": lambda: token(claims(exp=int(time.time()) + 301)),
    "expired": lambda: token(claims(iat=int(time.time()) - 400, exp=int(time.time()) - 100)),
    "other audience": lambda: token(claims(aud="https://other.invalid")),
    "other reason": lambda: token(claims(reason_for_request="safeguarding")),
    "other scope": lambda: token(claims(requested_scope="patient/*.write")),
    "other subject": lambda: token(claims(sub="somebody-else")),
    "no practitioner": lambda: token(claims(requesting_practitioner={})),
    "no organisation": lambda: token(claims(requesting_organization={"resourceType": "Organization", "name": "x"})),
    "no device": lambda: token(claims(requesting_device={})),
}


@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_the_provider_refuses_a_token_that_breaks_the_specification(outside: Sandbox, bad: Callable[[], str]) -> None:
    answer = ask(outside, parameters(), headers(Authorization="Bearer " + bad()))
    assert (answer.status_code, code_of(answer)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "BAD_REQUEST"),
        ({"resourceType": "Patient"}, 422, "INVALID_RESOURCE"),
        ({"resourceType": "Parameters"}, 400, "BAD_REQUEST"),
        (parameters("12345"), 400, "INVALID_NHS_NUMBER"),
        (parameters(AMARA, {"name": "includeAllergies"}), 422, "INVALID_PARAMETER"),
        (parameters(AMARA, {"name": "includeProblems"}, {"name": "includeProblems"}), 422, "INVALID_PARAMETER"),
        (parameters("9990020302"), 404, "PATIENT_NOT_FOUND"),
        (parameters(DARA), 404, "PATIENT_NOT_FOUND"),
        (parameters(BY_KEY["petra"].nhs_number), 404, "PATIENT_NOT_FOUND"),
        (parameters(BY_KEY["farah"].nhs_number), 404, "PATIENT_NOT_FOUND"),
        (parameters(BY_KEY["eli-before"].nhs_number), 404, "PATIENT_NOT_FOUND"),
    ],
)
def test_the_provider_refuses_in_its_own_words(outside: Sandbox, body: Any, status: int, code: str) -> None:
    answer = ask(outside, body)
    assert (answer.status_code, code_of(answer)) == (status, code)


def test_the_provider_refuses_a_request_without_a_token(outside: Sandbox) -> None:
    assert code_of(ask(outside, parameters(), headers(Authorization=""))) == "BAD_REQUEST"


def entries(answer: httpx.Response, kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in answer.json()["entry"] if entry["resource"]["resourceType"] == kind]


def test_none_recorded_and_no_known_allergies_are_told_apart(outside: Sandbox) -> None:
    none = ask(outside, parameters(BY_KEY["chloe"].nhs_number))
    known = ask(outside, parameters(BY_KEY["ben"].nhs_number))
    assert entries(none, "AllergyIntolerance") == []
    lists = {resource["code"]["coding"][0]["code"]: resource for resource in entries(none, "List")}
    assert lists["886921000000105"]["emptyReason"]["coding"][0]["code"] == "no-content-recorded"
    assert [a["code"]["coding"][0]["code"] for a in entries(known, "AllergyIntolerance")] == ["716186003"]


def test_ended_allergies_are_inside_their_list_and_only_where_asked_for(outside: Sandbox) -> None:
    with_ended = ask(outside, parameters())
    ended = next(r for r in entries(with_ended, "List") if r["code"]["coding"][0]["code"] == "1103671000000101")
    assert [inside["clinicalStatus"] for inside in ended["contained"]] == ["resolved"]
    assert ended["entry"][0]["item"]["reference"] == "#" + ended["contained"][0]["id"]
    part = {"name": "includeAllergies", "part": [{"name": "includeResolvedAllergies", "valueBoolean": False}]}
    without = ask(outside, parameters(AMARA, part))
    assert [r["code"]["coding"][0]["code"] for r in entries(without, "List")] == ["886921000000105"]


def test_warnings_are_on_the_lists_they_are_about(outside: Sandbox) -> None:
    url = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-CareConnect-GPC-ListWarningCode-1"

    def warned(key: str) -> dict[str, list[str]]:
        lists = entries(ask(outside, parameters(BY_KEY[key].nhs_number)), "List")
        return {
            r["code"]["coding"][0]["code"]: [e["valueCode"] for e in r.get("extension", []) if e["url"] == url] for r in lists
        }

    assert warned("grace")["717711000000103"] == ["confidential-items"]
    assert warned("grace")["886921000000105"] == []
    assert set(map(tuple, warned("hugo").values())) == {("data-in-transit",)}


def test_a_vaccine_that_was_refused_is_completed_and_not_given(outside: Sandbox) -> None:
    refused = [r for r in entries(ask(outside, parameters(BY_KEY["jonah"].nhs_number)), "Immunization") if r["notGiven"]]
    assert [r["status"] for r in refused] == ["completed"]


def test_an_area_the_provider_does_not_offer_is_a_warning_in_the_answer(outside: Sandbox) -> None:
    answer = ask(outside, parameters(HUGO, {"name": "includeProblems"}, {"name": "includeReferrals"}, {"name": "includeMore"}))
    (outcome,) = entries(answer, "OperationOutcome")
    assert [issue["details"]["text"] for issue in outcome["issue"]] == [
        "includeMore is an unrecognised parameter",
        "includeReferrals has been disabled",
    ]


def test_references_dangle_where_the_family_says_so(outside: Sandbox) -> None:
    answer = ask(outside, parameters(KIRAN))
    ids = {f"{e['resource']['resourceType']}/{e['resource'].get('id')}" for e in answer.json()["entry"]}
    assert entries(answer, "AllergyIntolerance")[0]["recorder"]["reference"] not in ids


def test_the_wrong_child_and_the_duplicates_are_right_in_form(outside: Sandbox) -> None:
    wrong = entries(ask(outside, parameters(MIA)), "Patient")[0]
    assert wrong["identifier"][0]["value"] == BY_KEY["ben"].nhs_number
    outside.order("gp", "duplicates", AMARA)
    twice = [r["identifier"][0]["value"] for r in entries(ask(outside, parameters()), "AllergyIntolerance")]
    assert len(twice) == 2 * len(set(twice))


@pytest.mark.parametrize(
    ("fault", "status"), [("500", 500), ("429", 429), ("401", 401), ("down", 502), ("bad-json", 200), ("html", 200)]
)
def test_a_fault_is_ordered_for_one_person_and_ends(outside: Sandbox, fault: str, status: int) -> None:
    outside.order("gp", fault, AMARA)
    answer = ask(outside, parameters())
    assert answer.status_code == status
    if status == 200:
        with pytest.raises(json.JSONDecodeError):
            answer.json()
    assert ask(outside, parameters(KIRAN)).status_code == 200
    outside.heal()
    assert ask(outside, parameters()).json()["type"] == "collection"


def test_broken_connections_break(outside: Sandbox) -> None:
    outside.order("gp", "reset", AMARA)
    with pytest.raises(httpx.ReadError):
        ask(outside, parameters())
    outside.order("gp", "truncated", AMARA)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        ask(outside, parameters())
    for fault, number in (("slow", AMARA), ("drip", KIRAN)):
        outside.order("gp", fault, number)
        with (
            pytest.raises(httpx.ReadTimeout),
            httpx.stream(
                "POST",
                f"{outside.base}/ssp/{ROOT}{OPERATION}",
                headers=headers(),
                content=json.dumps(parameters(number)).encode(),
                timeout=0.2,
            ) as answer,
        ):
            answer.read()


def test_what_a_family_always_shows_is_there_without_an_order(outside: Sandbox) -> None:
    assert ask(outside, parameters(BY_KEY["oscar"].nhs_number)).status_code == 502
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{outside.base}/ssp/{ROOT}{OPERATION}",
            headers=headers(),
            content=json.dumps(parameters(NOOR)).encode(),
            timeout=0.3,
        )


# ----------------------------------------------------------------------------------------------------- PDS and SDS


def pds_get(outside: Sandbox, path: str, **changes: str) -> httpx.Response:
    said = {"X-Request-ID": "60e0b220-8136-4ca5-ae46-1d97ef59d068", "NHSD-End-User-Organisation-ODS": "A99901"}
    changed = {**said, **{name.replace("_", "-"): value for name, value in changes.items()}}
    present = {name: value for name, value in changed.items() if value}
    return httpx.get(f"{outside.base}/pds/personal-demographics/FHIR/R4/Patient{path}", headers=present, timeout=3)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"X_Request_ID": ""}, "MISSING_VALUE"),
        ({"NHSD_End_User_Organisation_ODS": ""}, "MISSING_VALUE"),
        ({"X_Request_ID": "1"}, "INVALID_VALUE"),
        ({"X_Correlation_ID": "1"}, "INVALID_VALUE"),
        ({"NHSD_End_User_Organisation_ODS": "no such code"}, "INVALID_VALUE"),
    ],
)
def test_pds_wants_its_headers(outside: Sandbox, changes: dict[str, str], code: str) -> None:
    answer = pds_get(outside, "/" + AMARA, **changes)
    assert (answer.status_code, code_of(answer)) == (400, code)


def test_pds_reads_by_number(outside: Sandbox) -> None:
    answer = pds_get(outside, "/" + AMARA)
    assert (answer.status_code, answer.headers["etag"], answer.json()["id"]) == (200, 'W/"2"', AMARA)
    assert pds_get(outside, "/9990002126").json()["id"] == "9990003130"
    assert not {"address", "telecom", "generalPractitioner"} & set(pds_get(outside, "/" + DARA).json())
    refusals = [pds_get(outside, "/" + number) for number in ("9990006164", "9990020302", "9990000108")]
    assert [(r.status_code, code_of(r)) for r in refusals] == [
        (404, "INVALIDATED_RESOURCE"),
        (404, "RESOURCE_NOT_FOUND"),
        (400, "INVALID_RESOURCE_ID"),
    ]


def test_pds_may_come_to_say_something_else_of_somebody(outside: Sandbox) -> None:
    outside.order("pds", "restricted", AMARA)
    assert pds_get(outside, "/" + AMARA).json()["meta"]["security"][0]["code"] == "R"
    for turn, code in (("invalidated", "INVALIDATED_RESOURCE"), ("unknown", "RESOURCE_NOT_FOUND")):
        outside.order("pds", turn, AMARA)
        assert code_of(pds_get(outside, "/" + AMARA)) == code


def test_pds_search_says_too_many_with_status_200_and_never_finds_a_restricted_person_by_place(outside: Sandbox) -> None:
    twins = pds_get(outside, "?family=Twinning&birthdate=eq2024-08-05")
    assert (twins.status_code, code_of(twins)) == (200, "TOO_MANY_MATCHES")
    one = pds_get(outside, "?family=Twinning&birthdate=2024-08-05&given=Hugo").json()
    assert [entry["resource"]["id"] for entry in one["entry"]] == ["9990011214"]
    assert one["entry"][0]["search"]["score"] == 1
    assert pds_get(outside, "?family=Shieldby&birthdate=2022-06-21").json()["total"] == 1
    assert pds_get(outside, "?family=Shieldby&birthdate=2022-06-21&address-postalcode=ZZ99%204AZ").json()["total"] == 0
    assert code_of(pds_get(outside, "?family=Twinning")) == "INVALID_SEARCH_DATA"


def test_an_order_that_makes_no_sense_is_refused(outside: Sandbox) -> None:
    for wanted in ({"simulator": "nobody", "fault": "slow"}, {"simulator": "gp", "fault": "fire"}):
        assert httpx.post(outside.base + "/control/faults", json=wanted, timeout=3).status_code == 400


def test_a_busy_port_gets_one_line_and_exit_1(outside: Sandbox, tmp_path: Path) -> None:
    port = outside.base.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "sandbox", "--port", port, "--var", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [f"port {port} is taken: choose another with --port"]


def test_the_list_for_cp_is_dates_what_goes_on_as_the_authoritys_own_record_and_returns_do():
    starts = {row[0]: row[4] for row in authority_plans.plans(datetime(2026, 11, 22, 23, 30, tzinfo=UTC))}
    own = {key: authority.CASES[key][0].plans[0].start for key in ("amara", "kiran")}
    care = authority_returns.EPISODES["noor"][0].start
    assert (starts["CP-001"], starts["CP-008"], starts["CP-002"]) == (own["amara"], own["kiran"], care)

"""What the GP adapter sends: address, headers, token, body. The real adapter over a fake network."""

import base64
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import adapters.gp
import mappings
from gateway.adapter import (
    HttpAnswer,
    Provider,
    Purpose,
    SourceContractBroken,
    SourceFacts,
    SourceRefused,
    SourceSettings,
    SourceTimedOut,
    SourceUnavailable,
    StartupRefused,
    Tools,
    Want,
)
from gateway.nhs_number import NhsNumber
from gateway.registry import load_manifest
from tests.unit.adapters.gp_records import ALLERGY, NUMBER, WARNING, listed, record, traced

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
ALL_TYPES = frozenset(
    {"AllergyIntolerance", "Immunization", "Condition", "MedicationRequest", "MedicationStatement", "Medication"}
)
REQUESTER = {
    "organisation": "ods:A99901",
    "organisation_name": "Riverside Surgery",
    "person_system": "https://fhir.nhs.uk/Id/sds-user-id",
    "person": "G9999901",
    "person_name": "Alex Example",
    "role": "R0260",
}
SPINE = "https://fhir.nhs.uk/STU3/ValueSet/Spine-ErrorOrWarningCode-1"


class Network:
    """Answers in order; keeps what was sent."""

    def __init__(self, *answers: HttpAnswer | Exception, seconds_each: float = 0.0) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []
        self.now = NOW
        self._each = timedelta(seconds=seconds_each)

    async def request(self, method: str, url: str, **parts: Any) -> HttpAnswer:
        self.sent.append({"method": method, "url": url, **parts})
        self.now += self._each
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Phonebook:
    """One practice has activated the service."""

    def __init__(self, provider: Provider | None) -> None:
        self.provider = provider
        self.asked: list[tuple[str, str]] = []

    async def find(self, ods: str, interaction: str) -> Provider | None:
        self.asked.append((ods, interaction))
        return self.provider


ROOT = "https://provider.test/A99901/STU3/1/gpconnect/structured/fhir"
PROVIDER = Provider("918999198999", ROOT)


def said(status: int, body: object) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {"content-type": "application/fhir+json"}, raw)


def outcome(code: str, system: str = SPINE) -> dict[str, Any]:
    coding = {"system": system, "code": code, "display": "ERROR_COMMUNICATING_TO_ENDPOINT_URL_https://secret.test"}
    issue = {"severity": "error", "code": "not-found", "details": {"coding": [coding]}, "diagnostics": "secret 9990000107"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def source(**options: Any) -> SourceSettings:
    return SourceSettings(
        name="gp",
        adapter="gp",
        custodian="registered-practice",
        agreement="direct-care",
        title="GP record",
        budget_s=3.0,
        max_age_h=None,
        keep_days=7,
        options={"ssp": "https://proxy.test/", "consumer_asid": "200000000001", "issuer": "https://gateway.test", **options},
    )


async def ask(
    network: Network,
    *,
    provider: Provider | None = PROVIDER,
    purpose: Purpose = Purpose.TREAT,
    types: frozenset[str] = ALL_TYPES,
    requester: dict[str, str] = REQUESTER,
    settings: SourceSettings | None = None,
    **of_patient: Any,
) -> list[Any]:
    phonebook = Phonebook(provider)
    tools = Tools(
        http=network,
        shelf=None,  # type: ignore[arg-type]
        local_ids=None,  # type: ignore[arg-type]
        directory=phonebook,
        now=lambda: network.now,
        var=Path("var"),
        seal=bytes,
    )
    adapter = adapters.gp.build(load_manifest(adapters.gp), settings or source(), tools)
    want = Want(types, purpose, requester, "7c2a9c3e-0000-4000-8000-000000000001")
    return [item async for item in adapter.fetch(traced(**of_patient), want)]


def claims_of(sent: dict[str, Any]) -> dict[str, Any]:
    token = sent["headers"]["Authorization"].removeprefix("Bearer ")
    head, body, signature = token.split(".")
    assert signature == ""
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "none", "typ": "JWT"}
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return read


async def test_one_post_goes_through_the_proxy_to_the_practice_with_the_headers_of_the_spine():
    network = Network(said(200, record(ALLERGY)))
    await ask(network)
    (sent,) = network.sent
    assert sent["method"] == "POST"
    assert sent["url"] == f"https://proxy.test/{ROOT}/Patient/$gpc.getstructuredrecord"
    headers = sent["headers"]
    assert UUID(headers["Ssp-TraceID"])
    assert headers["Ssp-From"] == "200000000001"
    assert headers["Ssp-To"] == "918999198999"
    assert headers["Ssp-InteractionID"] == "urn:nhs:names:services:gpconnect:fhir:operation:gpc.getstructuredrecord-1"
    assert headers["Content-Type"] == headers["Accept"] == "application/fhir+json;charset=utf-8"
    assert sent["cap_bytes"] == 20_000_000
    assert sent["deadline_s"] == 3.0


async def test_the_token_names_the_organisation_and_the_person_who_ask_and_lives_five_minutes():
    network = Network(said(200, record(ALLERGY)))
    await ask(network)
    claims = claims_of(network.sent[0])
    assert claims["iss"] == "https://gateway.test"
    assert claims["aud"] == ROOT
    assert claims["sub"] == claims["requesting_practitioner"]["id"] == "G9999901"
    assert claims["iat"] == int(NOW.timestamp())
    assert claims["exp"] - claims["iat"] == 300
    assert claims["reason_for_request"] == "directcare"
    assert claims["requested_scope"] == "patient/*.read"
    assert claims["requesting_organization"]["identifier"] == [
        {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A99901"}
    ]
    assert claims["requesting_organization"]["name"] == "Riverside Surgery"
    practitioner = claims["requesting_practitioner"]
    assert practitioner["name"] == [{"family": "Example", "given": ["Alex"]}]
    assert [entry["value"] for entry in practitioner["identifier"]] == ["G9999901", "UNK", "G9999901"]


async def test_a_person_without_an_sds_id_is_sent_as_unknown_to_sds():
    network = Network(said(200, record(ALLERGY)))
    await ask(network, requester=REQUESTER | {"person_system": "urn:local"})
    assert claims_of(network.sent[0])["requesting_practitioner"]["identifier"][0]["value"] == "UNK"


async def test_the_nhs_number_is_in_the_body_and_nowhere_else():
    network = Network(said(200, record(ALLERGY)))
    await ask(network)
    (sent,) = network.sent
    claims = json.dumps(claims_of(sent))
    assert NUMBER.encode() in sent["body"]
    assert NUMBER not in sent["url"] + json.dumps(sent["headers"]) + claims


@pytest.mark.parametrize(
    ("types", "areas"),
    [
        ({"AllergyIntolerance"}, {"includeAllergies"}),
        ({"Medication"}, {"includeMedication"}),
        ({"MedicationStatement", "MedicationRequest"}, {"includeMedication"}),
        ({"Condition"}, {"includeProblems"}),
        ({"Immunization"}, {"includeImmunisations"}),
        (ALL_TYPES, {"includeAllergies", "includeMedication", "includeProblems", "includeImmunisations"}),
        ({"Encounter"}, {"includeConsultations"}),
        ({"Observation"}, {"includeUncategorisedData", "includeInvestigations", "includeImmunisations"}),
        ({"DiagnosticReport"}, {"includeInvestigations"}),
        ({"Specimen"}, {"includeInvestigations"}),
        ({"ServiceRequest"}, {"includeReferrals", "includeDiaryEntries", "includeInvestigations"}),
        ({"DocumentReference"}, {"includeConsultations", "includeReferrals", "includeInvestigations"}),
        ({"QuestionnaireResponse"}, {"includeConsultations", "includeUncategorisedData"}),
    ],
)
async def test_no_more_is_asked_for_than_is_wanted(types: set[str], areas: set[str]):
    network = Network(said(200, record(ALLERGY)))
    await ask(network, types=frozenset(types))
    parameters = json.loads(network.sent[0]["body"])["parameter"]
    assert parameters[0]["valueIdentifier"] == {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": NUMBER}
    assert {parameter["name"] for parameter in parameters[1:]} == areas


async def test_refused_vaccines_and_ended_allergies_are_asked_for():
    network = Network(said(200, record(ALLERGY)))
    await ask(network)
    parts = {
        part["name"]: part["valueBoolean"]
        for parameter in json.loads(network.sent[0]["body"])["parameter"]
        for part in parameter.get("part", ())
    }
    assert parts == {
        "includeResolvedAllergies": True,
        "includePrescriptionIssues": True,
        "includeNotGiven": True,
        "includeStatus": True,
    }


async def test_what_comes_beside_the_wanted_types_goes_no_further():
    network = Network(said(200, record(ALLERGY)))
    items = await ask(network, types=frozenset({"Condition"}))
    assert [type(item) for item in items] == [SourceFacts]


async def test_an_area_of_which_the_answer_says_nothing_is_not_taken_for_an_empty_one():
    network = Network(said(200, record(ALLERGY, listed("886921000000105", "AllergyIntolerance/a1"))))
    facts, *_ = await ask(network, types=frozenset({"AllergyIntolerance", "Condition"}))
    assert isinstance(facts, SourceFacts)
    assert facts.warnings == (("problems", "not-answered"),)


async def test_that_something_not_asked_for_is_withheld_is_not_said():
    warned = [{"url": WARNING, "valueCode": "confidential-items"}]
    lists = (listed("717711000000103", extension=warned), listed("886921000000105", extension=warned))
    network = Network(said(200, record(ALLERGY, *lists)))
    facts, *_ = await ask(network, types=frozenset({"AllergyIntolerance"}))
    assert facts.warnings == (("allergies", "confidential-items"),)


@pytest.mark.parametrize("purpose", [Purpose.S47, Purpose.S17, Purpose.FAMRQT, Purpose.HCOMPL, Purpose.MASH])
async def test_directcare_is_never_claimed_for_another_purpose(purpose: Purpose):
    network = Network()
    with pytest.raises(SourceRefused):
        await ask(network, purpose=purpose)
    assert network.sent == []


@pytest.mark.parametrize("lost", ["person", "person_name", "organisation"])
async def test_a_request_that_names_nobody_is_not_sent(lost: str):
    network = Network()
    with pytest.raises(SourceRefused):
        await ask(network, requester={name: value for name, value in REQUESTER.items() if name != lost})
    assert network.sent == []


@pytest.mark.parametrize(
    "of_patient", [{"restricted": True, "practice": None}, {"restricted": True}, {"practice": None}], ids=str
)
async def test_a_restricted_person_or_one_without_a_practice_is_not_asked_about(of_patient: dict[str, Any]):
    network = Network()
    reason = "restricted-not-asked" if "restricted" in of_patient else "no-registered-practice"
    assert await ask(network, **of_patient) == [SourceFacts(reason=reason)]
    assert network.sent == []


async def test_a_practice_that_has_not_activated_the_service_has_nothing_to_show_and_the_audit_hears_why():
    network = Network()
    assert await ask(network, provider=None) == [SourceFacts(reason="practice-not-activated")]
    assert network.sent == []


async def test_types_that_gp_connect_does_not_give_are_not_asked_for():
    network = Network()
    assert await ask(network, types=frozenset({"Flag"})) == [SourceFacts(reason="no-such-area")]
    assert network.sent == []


@pytest.mark.parametrize(
    "address",
    [
        "https://provider.test/fhir/Patient/$gpc.migratestructuredrecord?x=",
        "https://provider.test/fhir/Patient/$gpc.migratestructuredrecord#",
        "https://provider.test/fhir/Patient/%24gpc.migratestructuredrecord",
        "https://provider.test/fhir/Patient/$gpc.migratestructuredrecord",
        "https://user:password@provider.test/fhir",
        "ftp://provider.test/fhir",
        "https://provider.test/fhir\r\nHost: other",
        "",
    ],
)
async def test_a_service_root_that_hides_another_operation_is_never_called(address: str):
    network = Network()
    with pytest.raises(SourceContractBroken):
        await ask(network, provider=Provider("918999198999", address))
    assert network.sent == []


def test_no_line_of_the_adapter_or_its_maps_names_the_operation_that_migrates_records():
    for folder in (Path(adapters.gp.__path__[0]), Path(mappings.__path__[0]) / "gp"):
        for file in (*folder.rglob("*.py"), *folder.rglob("*.yaml"), *folder.rglob("*.toml")):
            assert "migratestructuredrecord" not in file.read_text("utf-8").lower(), file.name
            assert "includesensitiveinformation" not in file.read_text("utf-8").lower(), file.name


async def test_whatever_is_asked_for_one_operation_is_called():
    for kind in sorted(load_manifest(adapters.gp).gives):
        network = Network(said(200, record(ALLERGY)))
        await ask(network, types=frozenset({kind}))
        assert network.sent[0]["url"].endswith("/Patient/$gpc.getstructuredrecord")


async def test_each_organisation_may_have_its_own_asid():
    network = Network(said(200, record(ALLERGY)))
    await ask(network, settings=source(consumer_asids={"A99901": "200000000077"}))
    assert network.sent[0]["headers"]["Ssp-From"] == "200000000077"


@pytest.mark.parametrize("wrong", [{"consumer_asid": ""}, {"consumer_asids": "200000000077"}])
async def test_a_source_that_cannot_say_who_asks_does_not_start(wrong: dict[str, Any]):
    with pytest.raises(StartupRefused):
        await ask(Network(), settings=source(**wrong))


async def test_a_misspelt_option_is_named_and_its_value_is_not():
    with pytest.raises(StartupRefused) as refused:
        await ask(Network(), settings=source(consumer_asd="secret"))
    assert "consumer_asd is not known here" in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_a_failing_provider_is_asked_once_more_with_a_new_token_and_trace_id():
    network = Network(said(500, outcome("INTERNAL_SERVER_ERROR")), said(200, record(ALLERGY)), seconds_each=1.0)
    items = await ask(network)
    first, second = network.sent
    assert first["headers"]["Ssp-TraceID"] != second["headers"]["Ssp-TraceID"]
    assert first["headers"]["Authorization"] != second["headers"]["Authorization"]
    assert claims_of(second)["iat"] == claims_of(first)["iat"] + 1
    assert second["deadline_s"] == 2.0
    assert len(items) == 2


async def test_a_provider_that_fails_twice_is_unavailable_and_not_asked_a_third_time():
    network = Network(said(500, b""), said(500, b"<html>"))
    with pytest.raises(SourceUnavailable):
        await ask(network)
    assert len(network.sent) == 2


async def test_no_second_try_when_the_budget_is_spent():
    network = Network(said(500, b""), seconds_each=3.5)
    with pytest.raises(SourceTimedOut):
        await ask(network)
    assert len(network.sent) == 1


SSP = "http://fhir.nhs.net/ValueSet/gpconnect-schedule-response-code-1-0"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, outcome("INVALID_NHS_NUMBER"), SourceRefused),
        (400, outcome("INVALID_IDENTIFIER_SYSTEM"), SourceRefused),
        (400, outcome("INVALID_IDENTIFIER_VALUE"), SourceRefused),
        (400, outcome("INVALID_PATIENT_DEMOGRAPHICS"), SourceRefused),
        (400, outcome("BAD_REQUEST"), SourceRefused),
        (401, b"", SourceRefused),
        (403, outcome("NO_PATIENT_CONSENT"), SourceRefused),
        (403, outcome("NO_ORGANISATION_CONSENT"), SourceRefused),
        (403, outcome("NO_ORGANISATIONAL_CONSENT"), SourceRefused),
        (403, outcome("ACCESS_DENIED"), SourceRefused),
        (403, outcome("NO_RELATIONSHIP"), SourceRefused),
        (403, outcome("ASID_CHECK_FAILED"), SourceRefused),
        (403, outcome("403", SSP), SourceRefused),
        (404, b"<html>no such page 9990000107</html>", SourceContractBroken),
        (404, outcome("PATIENT_NOT_FOUND", "https://somebody.else/codes"), SourceContractBroken),
        (404, outcome("404", SSP), SourceContractBroken),
        (404, {"resourceType": "OperationOutcome", "issue": [7, {"details": 7}]}, SourceContractBroken),
        (404, {"issue": [{"details": {"coding": [7, {"system": [], "code": {}}]}}]}, SourceContractBroken),
        (404, {"issue": {"details": []}}, SourceContractBroken),
        (404, [], SourceContractBroken),
        (405, outcome("405", SSP), SourceRefused),
        (408, b"", SourceTimedOut),
        (409, outcome("DUPLICATE_REJECTED"), SourceContractBroken),
        (415, b"", SourceRefused),
        (422, outcome("INVALID_RESOURCE"), SourceRefused),
        (422, outcome("INVALID_PARAMETER"), SourceRefused),
        (422, outcome("REFERENCE_NOT_FOUND"), SourceRefused),
        (429, b"", SourceUnavailable),
        (501, outcome("NOT_IMPLEMENTED"), SourceRefused),
        (502, outcome("502", SSP), SourceUnavailable),
        (502, b"Bad gateway", SourceUnavailable),
        (503, b"", SourceUnavailable),
        (504, b"<html>", SourceTimedOut),
        (599, b"", SourceTimedOut),
        (302, b"", SourceContractBroken),
        (204, b"", SourceContractBroken),
    ],
)
async def test_every_refusal_is_sorted_by_who_must_act_and_tried_once(status: int, body: object, error: type[Exception]):
    network = Network(said(status, body))
    with pytest.raises(error) as caught:
        await ask(network)
    assert type(caught.value) is error
    assert len(network.sent) == 1
    for secret in ("secret", "https://", NUMBER, "no such page"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("code", ["PATIENT_NOT_FOUND", "NO_RECORD_FOUND", "ORGANISATION_NOT_FOUND", "PRACTITIONER_NOT_FOUND"])
@pytest.mark.parametrize("system", [SPINE, SPINE.replace("ValueSet", "CodeSystem"), SPINE.lower() + " "])
async def test_a_record_that_is_not_shared_is_nothing_to_show(code: str, system: str):
    assert await ask(Network(said(404, outcome(code, system)))) == [SourceFacts(reason="record-not-shared")]


WHOLE = json.dumps(record(ALLERGY)).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Sign in</body></html>",
        WHOLE[: len(WHOLE) // 2],
        b"[" * 100_000,
        b'{"resourceType": "Bundle", "type": "collection", "entry": NaN}',
        b'{"resourceType": "Patient"}',
        b'{"resourceType": "OperationOutcome", "issue": []}',
        b'{"resourceType": "Bundle", "type": "message", "entry": []}',
        b'{"resourceType": "Bundle", "type": "collection", "entry": {}}',
        b'"\xff\xfe"',
    ],
    ids=["empty", "html", "truncated", "deep", "nan", "patient", "outcome", "message", "no-list", "not-utf8"],
)
async def test_a_good_status_with_a_bad_body_breaks_the_contract(body: bytes):
    with pytest.raises(SourceContractBroken):
        await ask(Network(said(200, body)))


async def test_what_the_network_raises_is_what_the_gateway_sees():
    with pytest.raises(SourceTimedOut):
        await ask(Network(SourceTimedOut("over-budget")))


async def test_a_full_answer_gives_facts_and_records_that_say_whose_they_are():
    facts, item = await ask(Network(said(200, record(ALLERGY))))
    assert facts.as_of == NOW
    assert item.schema == "gpc-allergyintolerance-stu3"
    assert (item.about.nhs_number, item.about.birth_date) == (NUMBER, date(2024, 3, 14))


async def test_an_empty_record_says_whose_it_is_so_that_somebody_elses_is_known():
    network = Network(said(200, record(number="9990001111")))
    (facts,) = await ask(network)
    assert facts.about.nhs_number == "9990001111"


async def test_a_record_under_a_superseded_number_is_the_persons_own():
    network = Network(said(200, record(number="9990001111")))
    items = await ask(network, superseded=(NhsNumber("9990001111"),))
    assert len(items) == 1

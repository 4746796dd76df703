"""What PDS says -> what we believe. Anything doubtful is an outage or a restriction, never a guess."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from gateway import settings
from gateway.adapter import HttpAnswer, SourceContractBroken, SourceTimedOut, SourceUnavailable
from gateway.errors import TracerDown
from gateway.nhs_number import NhsNumber
from gateway.outside.pds import Pds
from gateway.ports import Traced

pytestmark = pytest.mark.anyio

NUMBER = "9990000107"
OTHER = "9990003130"
CORRELATION = "5f8a3d0e-0d1c-4a49-8d8e-6a4d4a1f0a11"
STATUS = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus"
SPINE = "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode"


class FakeHttp:
    """Answers in order, and remembers what was asked."""

    def __init__(self, *answers: HttpAnswer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, deadline_s: float, cap_bytes: int
    ) -> HttpAnswer:
        self.asked.append((url, headers))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None: ...


def patient(number: str = NUMBER, **changes: Any) -> dict[str, Any]:
    coding = {"system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatus", "code": "01"}
    body = {
        "resourceType": "Patient",
        "id": number,
        "meta": {"versionId": "7", "security": [{"code": "U"}]},
        "identifier": [
            {
                "extension": [{"url": STATUS, "valueCodeableConcept": {"coding": [coding]}}],
                "system": "https://fhir.nhs.uk/Id/nhs-number",
                "value": number,
            }
        ],
        "name": [{"id": "n1", "use": "usual", "family": "Testwell", "given": ["Amara"]}],
        "gender": "female",
        "birthDate": "2024-03-14",
        "multipleBirthInteger": 1,
        "maritalStatus": {"text": "S"},
        "contact": [{"telecom": [{"value": "07700900999"}]}],
        "extension": [{"url": "https://example.invalid/birth-place", "valueString": "Northtown"}],
        "address": [{"line": ["1 Sample Lane"], "postalCode": "ZZ99 1AZ", "extension": [{"url": "key", "valueString": "1"}]}],
        "telecom": [{"system": "phone", "value": "07700900000"}],
        "generalPractitioner": [{"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A99901"}}],
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


def outcome(code: str, system: str = SPINE) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"details": {"coding": [{"system": system, "code": code}]}}]}


def said(body: Any, status: int = 200, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def asking(http: FakeHttp, api_key: str | None = None) -> Pds:
    key = None if api_key is None else SecretStr(api_key)
    return Pds(settings.Pds(base_url="https://pds.invalid/R4/", ods="X99990", api_key=key), http)


async def trace(*answers: HttpAnswer | Exception, number: str = NUMBER, correlation: str = CORRELATION) -> Any:
    return await asking(FakeHttp(*answers)).trace(NhsNumber(number), correlation)


async def usable(body: dict[str, Any], number: str = NUMBER) -> Traced:
    traced = await trace(said(body), number=number)
    assert isinstance(traced, Traced)
    return traced


async def test_only_what_we_show_is_kept() -> None:
    traced = await usable(patient())
    assert set(traced.patient) == {
        *("resourceType", "meta", "identifier", "name", "gender", "birthDate", "address", "telecom", "generalPractitioner")
    }
    assert traced.patient["name"] == [{"use": "usual", "family": "Testwell", "given": ["Amara"]}]
    assert traced.patient["address"] == [{"line": ["1 Sample Lane"], "postalCode": "ZZ99 1AZ"}]
    assert (traced.birth_date, traced.practice, traced.version) == (date(2024, 3, 14), "ods:A99901", "7")
    assert (traced.restricted, traced.deceased) == (False, False)


async def test_the_retired_verification_system_is_normalised() -> None:
    coding = (await usable(patient())).patient["identifier"][0]["extension"][0]["valueCodeableConcept"]["coding"][0]
    assert coding == {
        "system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland",
        "code": "01",
        "display": "Number present and verified",
    }


async def test_another_id_than_the_one_asked_is_the_number_that_replaced_it() -> None:
    assert (await usable(patient(OTHER))).number == NhsNumber(OTHER)


@pytest.mark.parametrize(
    "security", [[{"code": "R"}], [{"code": "V"}], [{"code": "REDACTED"}], [], None, [{"code": "U"}, {"code": "R"}], "U"]
)
async def test_anything_but_unrestricted_is_restricted_and_shows_no_place(security: Any) -> None:
    traced = await usable(patient(meta={"versionId": "7", "security": security}))
    assert traced.restricted
    assert traced.practice is None
    assert not {"address", "telecom", "generalPractitioner"} & set(traced.patient)


@pytest.mark.parametrize("meta", [None, "text", {}])
async def test_a_record_that_says_nothing_of_restriction_is_restricted(meta: Any) -> None:
    assert (await usable(patient(meta=meta))).restricted


DEATH = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-DeathNotificationStatus"


def notice(code: str) -> list[dict[str, Any]]:
    concept = {"coding": [{"code": code}]}
    return [{"url": DEATH, "extension": [{"url": "deathNotificationStatus", "valueCodeableConcept": concept}]}]


@pytest.mark.parametrize(
    ("changes", "deceased"),
    [
        ({"deceasedDateTime": "2026-01-15"}, True),
        ({"deceasedBoolean": True}, True),
        ({"deceasedBoolean": False}, False),
        ({"extension": notice("1")}, True),
        ({"extension": notice("2")}, True),
        ({"extension": notice("U")}, False),
    ],
)
async def test_a_death_counts_from_its_first_notice(changes: dict[str, Any], deceased: bool) -> None:
    assert (await usable(patient(**changes))).deceased is deceased


@pytest.mark.parametrize(
    ("given", "expected"),
    [("2024-03-14", date(2024, 3, 14)), ("2024-03", None), ("2024", None), ("2024-02-30", None), (20240314, None), (None, None)],
)
async def test_only_a_whole_birth_date_is_one(given: Any, expected: date | None) -> None:
    assert (await usable(patient(birthDate=given))).birth_date == expected


@pytest.mark.parametrize(
    "identifier",
    [
        {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A99901", "period": {"end": "2025-01-01"}},
        {"system": "https://example.invalid", "value": "A99901"},
        {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "a/../b"},
        {"system": "https://fhir.nhs.uk/Id/ods-organization-code"},
        "A99901",
    ],
)
async def test_a_practice_that_is_not_plainly_the_current_one_is_none(identifier: Any) -> None:
    assert (await usable(patient(generalPractitioner=[{"identifier": identifier}]))).practice is None


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": OTHER}]},
        {"identifier": []},
        {"identifier": "text"},
        {"id": None},
        {"id": "1234567890"},
        {"id": 9990000107},
        {"resourceType": "Person"},
        {"identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": n} for n in (NUMBER, OTHER)]},
    ],
)
async def test_a_record_whose_id_and_number_disagree_is_nobodys(changes: dict[str, Any]) -> None:
    with pytest.raises(TracerDown):
        await trace(said(patient(**changes)))


@pytest.mark.parametrize(
    "odd", [{"name": "Amara"}, {"name": [{"given": "Amara"}]}, {"gender": ["female"]}, {"address": [[]]}, {"telecom": {}}]
)
async def test_an_element_of_the_wrong_shape_is_left_out_and_the_person_stays(odd: dict[str, Any]) -> None:
    assert not set(odd) & set((await usable(patient(**odd))).patient)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "RESOURCE_NOT_FOUND", "unknown"),
        (404, "INVALIDATED_RESOURCE", "invalidated"),
        (400, "INVALID_RESOURCE_ID", "bad-number"),
    ],
)
async def test_pds_says_in_a_code_why_there_is_nobody(status: int, code: str, expected: str) -> None:
    assert await trace(said(outcome(code), status)) == expected


@pytest.mark.parametrize(
    "answer",
    [
        said(outcome("SOMETHING_NEW"), 404),
        said(outcome("RESOURCE_NOT_FOUND", system="https://example.invalid"), 404),
        said(b"<html>not found</html>", 404),
        said(b"", 404),
        said({"issue": "none"}, 404),
        said({"issue": [{"details": "none"}]}, 404),
        said(outcome("INVALIDATED_RESOURCE"), 400),
        said(outcome("RESOURCE_NOT_FOUND"), 200),
        said(outcome("ACCESS_DENIED"), 401),
        said(outcome("ACCESS_DENIED"), 403),
        said(patient(), 201),
        said(b"", 302, location="https://example.invalid/"),
        said(b"{", 200),
        said(b"[]", 200),
        said(b"\xff\xfe", 200),
        said(b"[" * 100_000, 200),
    ],
)
async def test_an_answer_we_cannot_be_sure_of_is_an_outage(answer: HttpAnswer) -> None:
    with pytest.raises(TracerDown):
        await trace(answer)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("soon", None), ("", None), ("99999999", None)])
async def test_too_many_requests_is_an_outage_and_is_not_tried_again(header: str, seconds: int | None) -> None:
    http = FakeHttp(said(b"", 429, **({"retry-after": header} if header else {})))
    with pytest.raises(TracerDown) as raised:
        await asking(http).trace(NhsNumber(NUMBER), CORRELATION)
    assert raised.value.retry_after_s == seconds
    assert len(http.asked) == 1


@pytest.mark.parametrize("first", [SourceUnavailable("gone"), *(said(b"", status) for status in (408, 500, 502, 503, 504))])
async def test_one_retry_says_the_same_request_id(first: HttpAnswer | Exception) -> None:
    http = FakeHttp(first, said(patient()))
    traced = await asking(http).trace(NhsNumber(NUMBER), CORRELATION)
    assert isinstance(traced, Traced)
    ids = {headers["X-Request-ID"] for _, headers in http.asked}
    assert len(http.asked) == 2
    assert len(ids) == 1
    assert UUID(ids.pop()).version == 4


@pytest.mark.parametrize("last", [SourceUnavailable("gone"), said(b"", 503)])
async def test_a_second_failure_is_an_outage(last: HttpAnswer | Exception) -> None:
    with pytest.raises(TracerDown):
        await trace(SourceUnavailable("gone"), last)


@pytest.mark.parametrize("fault", [SourceTimedOut("late"), SourceContractBroken("large")])
async def test_what_is_late_or_too_large_is_not_tried_again(fault: Exception) -> None:
    http = FakeHttp(fault)
    with pytest.raises(TracerDown):
        await asking(http).trace(NhsNumber(NUMBER), CORRELATION)
    assert len(http.asked) == 1


async def test_every_request_says_who_asks_and_has_its_own_id() -> None:
    http = FakeHttp(said(patient()), said(patient()))
    pds = asking(http, "secret")
    await pds.trace(NhsNumber(NUMBER), CORRELATION)
    await pds.trace(NhsNumber(NUMBER), "a caller's own text")
    (url, first), (_, second) = http.asked
    assert url == f"https://pds.invalid/R4/Patient/{NUMBER}"
    assert first["NHSD-End-User-Organisation-ODS"] == "X99990"
    assert first["Authorization"] == "Bearer secret"
    assert first["X-Correlation-ID"] == CORRELATION
    assert "X-Correlation-ID" not in second  # it may hold anything
    assert first["X-Request-ID"] != second["X-Request-ID"]


async def test_no_error_holds_the_number_or_the_exception_that_does() -> None:
    for answers in ([SourceTimedOut("late")], [SourceContractBroken("x")], [SourceUnavailable("x")] * 2, [said(b"{")]):
        with pytest.raises(TracerDown) as raised:
            await trace(*answers)
        assert NUMBER not in repr(raised.value) + str(raised.value)
        assert raised.value.__context__ is None


async def test_the_published_example_of_a_patient_is_read(samples: Any) -> None:
    stubs = samples / "NHSDigital__personal-demographics-service-api/karate-tests/src/test/java/mocks/stubs"
    body = (stubs / "patientResponses/patient_9000000009.json").read_bytes()
    traced = await trace(said(body), number="9000000009")
    assert isinstance(traced, Traced)
    assert (traced.number.value, traced.deceased, traced.restricted) == ("9000000009", True, False)
    for name, expected in (("RESOURCE_NOT_FOUND", "unknown"), ("INVALID_RESOURCE_ID", "bad-number")):
        refusal = (stubs / f"errorResponses/{name}.json").read_bytes()
        assert await trace(said(refusal, 404 if expected == "unknown" else 400)) == expected

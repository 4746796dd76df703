"""The fhir-rest connector: whose each resource is, what is asked, where the number goes, and how failures are sorted."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from gateway import mapping
from gateway.adapter import (
    Claim,
    HttpAnswer,
    Manifest,
    Purpose,
    SourceContractBroken,
    SourceError,
    SourceFacts,
    SourceRecord,
    SourceRefused,
    SourceSettings,
    SourceUnavailable,
    Want,
)
from gateway.connectors import fhir_rest
from gateway.errors import StartupRefused
from gateway.nhs_number import NhsNumber

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NUMBER, OTHER = "9990000107", "9990001111"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
BASE = "http://127.0.0.1:9/fhir"
FORM = {"patient.identifier": f"{NHS}|:nhs_number", "_count": 50}
SEARCH = {"observations": {"type": "Observation", "form": FORM}}


def manifest(search: Any = None, identity: str = "nhs_number") -> Manifest:
    return Manifest(
        name="lake",
        title="A lake",
        connector="fhir-rest",
        owner="nobody",
        identity=identity,
        kind="gp",
        reads=("fhir-r4",),
        gives={"Observation": "other-health", "Immunization": "immunisations", "Organization": "other-health"},
        purposes=frozenset({"TREAT"}),
        never_for=frozenset(),
        feeds_protection=False,
        budget_s=1.0,
        options={"search": SEARCH if search is None else search},
    )


class FakeHttp:
    def __init__(self, *answers: HttpAnswer | SourceError) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str, Mapping[str, str], bytes | None, float, int]] = []

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None, deadline_s: float, cap_bytes: int
    ) -> HttpAnswer:
        self.asked.append((method, url, headers, body, deadline_s, cap_bytes))
        answer = self._answers.pop(0)
        if isinstance(answer, SourceError):
            raise answer
        return answer


def said(*resources: dict[str, Any], following: str | None = None) -> HttpAnswer:
    links = [{"relation": "self", "url": "x"}] + ([{"relation": "next", "url": following}] if following else [])
    entries = [{"fullUrl": f"urn:uuid:{n}", "resource": resource} for n, resource in enumerate(resources)]
    bundle = {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries}
    return HttpAnswer(200, {}, json.dumps(bundle).encode())


def observation(id_: str = "o1", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "subject": {"identifier": {"system": NHS, "value": NUMBER}}, **more}


def patient(number: str = NUMBER, id_: str = "p1", **more: Any) -> dict[str, Any]:
    identifiers = [{"system": "urn:x", "value": "7"}, {"system": NHS, "value": number}]
    return {"resourceType": "Patient", "id": id_, "identifier": identifiers, "birthDate": "2024-03-14", **more}


async def ask(
    http: FakeHttp, search: Any = None, types: tuple[str, ...] = ("Observation",)
) -> tuple[list[SourceRecord], SourceFacts]:
    tools: Any = SimpleNamespace(now=lambda: NOW, http=http)
    settings = SourceSettings("lake", "lake", "ods:A1", "A", "Lake", 1.0, None, 7, {"base_url": BASE})
    person: Any = SimpleNamespace(number=NhsNumber(NUMBER), superseded=())
    source = fhir_rest.build(manifest(search), settings, tools)
    items = [item async for item in source.fetch(person, Want(frozenset(types), Purpose.TREAT, {}, "c-1"))]
    facts = items.pop()
    assert isinstance(facts, SourceFacts)
    return [one for item in items if isinstance(item, SourceRecord) for one in fhir_rest.each(item)], facts


async def test_the_number_goes_in_the_form_and_never_in_the_url():
    http = FakeHttp(said())
    assert await ask(http) == ([], SourceFacts())
    [(method, url, headers, body, deadline_s, cap_bytes)] = http.asked
    assert (method, url) == ("POST", f"{BASE}/Observation/_search")
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["X-Correlation-ID"] == "c-1"
    assert parse_qsl((body or b"").decode()) == [("patient.identifier", f"{NHS}|{NUMBER}"), ("_count", "50")]
    assert NUMBER not in url + str(headers)
    assert 0 < deadline_s <= 1.0
    assert cap_bytes == fhir_rest.CAP_BYTES


@pytest.mark.parametrize("text", ["yesterday", "2026-01-02T03:04:05", "0001-01-01T00:00:00+14:00", 7])
async def test_a_time_that_is_no_instant_of_the_calendar_counts_as_now(text):
    [record], _ = await ask(FakeHttp(said(observation(meta={"lastUpdated": text}))))
    assert record.as_of == NOW


async def test_a_resource_that_states_the_number_is_claimed_by_it():
    records, _ = await ask(FakeHttp(said(observation(meta={"lastUpdated": "2026-01-02T03:04:05Z"}))))
    [record] = records
    assert record.schema == "fhir-r4"
    assert record.where == "entry 1"
    assert record.about == Claim(nhs_number=NUMBER)
    assert record.as_of == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "reference", ["Patient/p1", "Patient/p1/_history/3", f"{BASE}/Patient/p1", f"{BASE}/Patient/p1/_history/3", "urn:uuid:0"]
)
async def test_a_resource_that_refers_to_the_bundles_patient_is_claimed_by_that(reference: str):
    records, _ = await ask(FakeHttp(said(patient(), observation(subject={"reference": reference}))))
    assert [record.about for record in records] == [Claim(nhs_number=NUMBER, birth_date=date(2024, 3, 14))]


async def test_the_source_says_whose_it_is_even_when_it_is_somebody_elses():
    records, _ = await ask(FakeHttp(said(patient(OTHER), observation(subject={"reference": "Patient/p1"}))))
    assert [record.about.nhs_number for record in records] == [OTHER]


@pytest.mark.parametrize(
    "resources",
    [
        [observation(subject={"reference": "Patient/p1"})],
        [observation(subject={"display": "Somebody"})],
        [{"resourceType": "Observation", "id": "o1"}],
        [patient(identifier=[{"system": "urn:x", "value": NUMBER}]), observation(subject={"reference": "Patient/p1"})],
        [patient(OTHER), observation(subject={"reference": "Patient/p1", "identifier": {"system": NHS, "value": NUMBER}})],
        [patient(birthDate="soon"), observation()],
        [{"resourceType": "Organization", "id": "g1"}],
        [patient(), patient(OTHER, "p2"), {"resourceType": "Organization", "id": "g1"}],
    ],
)
async def test_a_resource_that_does_not_say_whose_it_is_breaks_the_contract(resources: list[dict[str, Any]]):
    with pytest.raises(SourceContractBroken):
        await ask(FakeHttp(said(*resources)))


async def test_what_is_about_nobody_comes_along_with_the_one_person_of_the_bundle():
    records, _ = await ask(FakeHttp(said({"resourceType": "Organization", "id": "g1"}, observation())))
    assert [(record.where, record.about.nhs_number) for record in records] == [("entry 2", NUMBER), ("entry 1", NUMBER)]


async def test_a_patient_is_evidence_and_no_record_and_other_types_are_not_taken():
    condition = {"resourceType": "Condition", "id": "c1", "subject": {"reference": "Patient/p1"}}
    assert await ask(FakeHttp(said(patient(), condition))) == ([], SourceFacts())


async def test_an_outcome_of_the_source_is_a_warning():
    _, facts = await ask(FakeHttp(said(observation(), {"resourceType": "OperationOutcome", "issue": []})))
    assert facts.warnings == (("", "source-outcome"),)


async def test_decimals_keep_their_digits():
    body = said(observation(valueQuantity={"value": "@"})).body.replace(b'"@"', b"3.10")
    records, _ = await ask(FakeHttp(HttpAnswer(200, {}, body)))
    value = records[0].data["valueQuantity"]["value"]
    assert (type(value), str(value)) == (Decimal, "3.10")


async def test_a_search_that_brings_nothing_wanted_is_not_run():
    search = {
        "o": {"type": "Observation", "form": FORM},
        "i": {"type": "Patient", "types": ["Immunization"], "form": {"identifier": ":nhs_number", "_revinclude": ["a", "b"]}},
    }
    http = FakeHttp(said())
    await ask(http, search, ("Immunization",))
    [(_, url, _, body, _, _)] = http.asked
    assert url == f"{BASE}/Patient/_search"
    assert parse_qsl((body or b"").decode()) == [("identifier", NUMBER), ("_revinclude", "a"), ("_revinclude", "b")]


async def test_pages_are_followed_within_one_cap():
    http = FakeHttp(said(observation("o1"), following="?page=2"), said(observation("o2")))
    records, _ = await ask(http)
    assert [record.data["id"] for record in records] == ["o1", "o2"]
    assert [(method, url) for method, url, *_ in http.asked][1] == ("GET", f"{BASE}/?page=2")
    assert http.asked[1][5] < fhir_rest.CAP_BYTES


@pytest.mark.parametrize(
    "link", [f"?patient={NUMBER}", "http://elsewhere/fhir?page=2", "https://127.0.0.1:9/fhir?page=2", "//elsewhere/x"]
)
async def test_a_paging_link_that_leads_away_or_holds_the_number_is_not_followed(link: str):
    http = FakeHttp(said(observation(), following=link))
    with pytest.raises(SourceContractBroken):
        await ask(http)
    assert len(http.asked) == 1


async def test_pages_without_end_break_the_contract():
    http = FakeHttp(*[said(following="?page=2")] * (fhir_rest.PAGES + 1))
    with pytest.raises(SourceContractBroken, match="pages"):
        await ask(http)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, SourceRefused),
        (403, SourceRefused),
        (429, SourceUnavailable),
        (500, SourceUnavailable),
        (503, SourceUnavailable),
        (302, SourceContractBroken),
        (400, SourceContractBroken),
        (404, SourceContractBroken),
    ],
)
async def test_a_status_is_sorted_by_what_to_do(status: int, error: type[SourceError]):
    with pytest.raises(error):
        await ask(FakeHttp(HttpAnswer(status, {}, b"{}")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Bundle/>",
        b"[]",
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Bundle","entry":{}}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"resourceType":"Bundle","entry":[{}]}',
        b'{"resourceType":"Bundle","entry":[7]}',
        b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":7}}]}',
    ],
)
async def test_a_body_that_is_no_bundle_breaks_the_contract(body: bytes):
    with pytest.raises(SourceContractBroken):
        await ask(FakeHttp(HttpAnswer(200, {}, body)))


@pytest.mark.parametrize(
    "search",
    [{}, {"o": {"type": "Observation"}}, {"o": {"form": FORM}}, {"o": {"type": "Observation", "form": {"_count": "1"}}}],
)
def test_a_search_that_is_not_keyed_by_the_person_is_refused_at_start(search: Any):
    with pytest.raises(StartupRefused, match=r"adapters/lake/manifest\.toml"):
        fhir_rest.read_searches(manifest(search))


def test_a_source_keyed_by_local_ids_is_refused_at_start():
    with pytest.raises(StartupRefused):
        fhir_rest.read_searches(manifest(identity="local_id"))


@pytest.mark.parametrize("base_url", [None, "ftp://x", "x"])
def test_settings_without_a_base_url_are_refused_at_start(base_url: str | None):
    settings = SourceSettings("lake", "lake", "ods:A1", "A", "Lake", 1.0, None, 7, {"base_url": base_url})
    tools: Any = SimpleNamespace()
    with pytest.raises(StartupRefused, match="base_url"):
        fhir_rest.build(manifest(), settings, tools)


def test_a_bundle_in_a_file_is_read_without_a_source():
    records = list(fhir_rest.read_file(manifest(), "b.json", said(patient(), observation()).body))
    assert [record.where for record in records] == ["entry 2"]


def test_an_answer_read_at_once_and_one_read_piece_by_piece_give_the_same():
    extension = [{"url": "urn:x", "valueReference": {"reference": "Organization/1"}}]
    resources = [
        observation("o1", meta={"lastUpdated": "2026-03-01T09:30:00Z"}, performer=[{"reference": "Practitioner/7"}]),
        observation("o2", subject={"identifier": {"system": NHS, "value": "999 000 0107"}}, extension=extension),
        {"resourceType": "Organization", "id": "1", "name": "A clinic"},
        observation("o3", code={"id": "c", "text": "Weight"}),
    ]
    body, reader = said(*resources).body, mapping.Reader(frozenset(manifest().gives))
    whole = fhir_rest.read_structs(body, reader)
    assert whole is not None
    at_once = fhir_rest.of_structs(whole.entry, NOW)
    in_pieces, _ = fhir_rest.several_of(fhir_rest.read_bundle(body, reader), frozenset(manifest().gives), NOW)
    assert [seen(record) for record in at_once] == [seen(record) for record in in_pieces]
    assert [len(record.data.resources) for record in at_once] == [3, 1]


def seen(record: SourceRecord) -> tuple[Any, ...]:
    several = record.data
    resources = [(one.kind, one.plain(), one.met) for one in several.resources]
    return record.about, record.as_of, resources, several.places, several.updated


def test_an_entry_cannot_bring_what_only_the_reader_finds():
    reader = mapping.Reader(frozenset(manifest().gives))
    body = json.dumps({"resourceType": "Bundle", "entry": [{"met": [["x", {}]], "resource": observation()}]}).encode()
    whole = fhir_rest.read_structs(body, reader)
    assert whole is not None
    assert [entry.met for entry in whole.entry] == [()]
    last = json.dumps({"resourceType": "Bundle", "entry": [{"resource": observation(), "met": [["x", {}]]}]}).encode()
    assert fhir_rest.read_structs(last, reader).entry[0].met == ()  # type: ignore[union-attr]


async def test_a_source_whose_answers_are_not_of_the_usual_shape_is_read_all_the_same_every_time():
    odd = observation("o1", valueString="")  # an empty text is read plain
    for _ in range(2):
        records, _ = await ask(FakeHttp(said(odd, observation("o2"))))
        assert [record.data["id"] for record in records] == ["o1", "o2"]

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adapters.child_health
from gateway.adapter import (
    Arrival,
    Claim,
    Delivery,
    Intake,
    Manifest,
    NhsNumber,
    ShelfRecord,
    SourceFacts,
    SourceRecord,
    SourceSettings,
)
from gateway.connectors import drop, message_drop
from gateway.errors import SourceContractBroken, StartupRefused
from gateway.registry import load_manifest

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
BEN, AMARA = "9990001111", "9990000107"
EVENT = "https://fhir.nhs.uk/STU3/CodeSystem/EventType-1"
OLD_EVENT = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ChildHealthEventType-1"
CHANGE = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-MessageEventType-1"
ROUTING = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-RoutingDemographics-1"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"


def entry(key: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {"fullUrl": f"urn:uuid:{key}", "resource": {"id": key, **resource}}


def message(**changes: Any) -> dict[str, Any]:
    """A vaccination message about Ben as STU3 JSON; `changes` replace whole resources by their key (None takes one away)."""
    header = {
        "resourceType": "MessageHeader",
        "meta": {"lastUpdated": "2026-03-02T10:00:00+00:00"},
        "extension": [
            {
                "url": ROUTING,
                "extension": [
                    {"url": "nhsNumber", "valueIdentifier": {"system": NHS, "value": BEN}},
                    {"url": "birthDateTime", "valueDateTime": "2025-01-09T04:10:00+00:00"},
                ],
            },
            {"url": CHANGE, "valueCodeableConcept": {"coding": [{"code": "new"}]}},
        ],
        "event": {"system": EVENT, "code": "vaccinations-1"},
        "timestamp": "2026-03-02T10:05:00+00:00",
        "source": {"endpoint": "urn:nhs:addressing:asid:477121000325"},
        "responsible": {"reference": "urn:uuid:org"},
        "focus": [{"reference": "urn:uuid:imm"}],
    }
    resources: dict[str, Any] = {
        "head": header,
        "prac": {"resourceType": "Practitioner", "name": [{"family": "Pricker", "given": ["Pat"], "prefix": ["Nurse"]}]},
        "imm": {
            "resourceType": "Immunization",
            "identifier": [{"system": "https://tests.example/imm", "value": "V1"}],
            "status": "completed",
            "notGiven": False,
            "patient": {"reference": "urn:uuid:ben", "display": "SAMPLESON, Ben"},
            "encounter": {"reference": "urn:uuid:visit"},
            "date": "2026-03-01",
            "practitioner": [{"actor": {"reference": "urn:uuid:prac"}}],
            "doseQuantity": {"value": Decimal("0.5"), "code": "mL"},
        },
        "visit": {"resourceType": "Encounter", "status": "finished", "subject": {"reference": "urn:uuid:ben"}},
        "org": {"resourceType": "Organization", "identifier": [{"system": ODS, "value": "RXX99"}], "name": "Meadowvale"},
        "ben": {
            "resourceType": "Patient",
            "identifier": [{"system": NHS, "value": BEN}],
            "name": [{"family": "Sampleson"}],
            "birthDate": "2025-01-09",
            "address": [{"line": ["1 No Street"]}],
        },
    }
    resources |= changes
    bundle = {"resourceType": "Bundle", "type": "message", "meta": {}, "entry": []}
    bundle["entry"] = [entry(key, value) for key, value in resources.items() if value is not None]
    return bundle


def header(**changes: Any) -> dict[str, Any]:
    resource: dict[str, Any] = message()["entry"][0]["resource"]
    return {**{name: value for name, value in resource.items() if name != "id"}, **changes}


def body(key: str, **changes: Any) -> dict[str, Any]:
    found = next(each["resource"] for each in message()["entry"] if each["resource"]["id"] == key)
    return {**{name: value for name, value in found.items() if name != "id"}, **changes}


def as_bytes(bundle: dict[str, Any]) -> bytes:
    return json.dumps(bundle, default=float).encode()


def as_change(code: str) -> list[dict[str, Any]]:
    return [header()["extension"][0], {"url": CHANGE, "valueCodeableConcept": {"coding": [{"code": code}]}}]


@pytest.fixture
def manifest() -> Manifest:
    return load_manifest(adapters.child_health)


def read(manifest: Manifest, bundle: dict[str, Any]) -> SourceRecord:
    (record,) = message_drop.read_file(manifest, "message.json", as_bytes(bundle))
    return record


def refused(manifest: Manifest, content: dict[str, Any] | bytes) -> str:
    with pytest.raises(SourceContractBroken) as caught:
        message_drop.read_file(manifest, "m", content if isinstance(content, bytes) else as_bytes(content))
    assert not any(value in caught.value.reason for value in (BEN, AMARA, "Sampleson", "2025-01-09"))
    return caught.value.reason


def reason_of(manifest: Manifest, bundle: dict[str, Any]) -> str:
    """What it was refused for; empty when it was read. Any other exception is a crash, and the test's."""
    try:
        message_drop.read_file(manifest, "m", as_bytes(bundle))
    except SourceContractBroken as broken:
        return broken.reason
    return ""


def test_a_vaccination_is_read_with_whose_it_is_and_when(manifest: Manifest) -> None:
    record = read(manifest, message())
    assert record.schema == "dch-vaccinations-1"
    assert record.about == Claim(nhs_number=BEN, birth_date=date(2025, 1, 9))
    assert record.as_of == datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
    assert [each["key"] for each in record.data["immunizations"]] == ["https://tests.example/imm|V1"]


def test_no_demographic_is_left_in_the_record(manifest: Manifest) -> None:
    text = json.dumps(read(manifest, message()).data, default=str)
    assert not any(value in text for value in (BEN, "Sampleson", "SAMPLESON", "No Street", "2025-01-09"))


def test_a_reference_stands_by_itself_with_identifier_and_name(manifest: Manifest) -> None:
    given = read(manifest, message()).data["immunizations"][0]
    assert given["practitioner"] == [{"actor": {"display": "Nurse Pat Pricker"}}]
    assert given["patient"] == {"reference": "Patient"}
    assert given["encounter"] == {"key": "vaccinations-1 visit"}


def test_a_resource_whose_type_is_not_read_is_accounted_for(manifest: Manifest) -> None:
    other = {"resourceType": "AllergyIntolerance", "code": {"text": "peanut"}}
    data = read(manifest, message(other=other)).data
    assert data["unread"] == ["AllergyIntolerance", "Encounter"]
    assert "peanut" not in json.dumps(data, default=str)


def test_xml_and_json_of_one_message_read_alike(manifest: Manifest) -> None:
    from_xml = list(message_drop.read_file(manifest, "m.xml", XML.encode()))
    from_json = read(manifest, message())
    assert from_xml == [from_json]


def test_the_older_header_style_is_the_same_event(manifest: Manifest) -> None:
    old = header(event={"system": OLD_EVENT, "code": "CH015"}, focus=[{"reference": "urn:uuid:visit"}], meta={})
    old["extension"] = [{**as_change("new")[1], "url": CHANGE.replace("Extension-", "Extension-DCH-")}]
    record = read(manifest, message(head=old))
    assert record.schema == "dch-vaccinations-1"
    assert record.as_of == datetime(2026, 3, 2, 10, 5, tzinfo=UTC)


def test_a_confidential_message_is_locked(manifest: Manifest) -> None:
    label = {"system": "http://hl7.org/fhir/v3/Confidentiality", "code": "V"}
    assert not read(manifest, message()).locked
    assert read(manifest, message(imm=body("imm", meta={"security": [label]}))).locked


def labelled(system: str, code: str) -> dict[str, Any]:
    return {"security": [{"system": system, "code": code}]}


@pytest.mark.parametrize("where", ["visit", "ben", "prac"])
def test_a_label_on_any_resource_of_the_message_locks_it(manifest: Manifest, where: str) -> None:
    restricted = labelled("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "R")
    assert read(manifest, message(**{where: body(where, meta=restricted)})).locked


def test_a_label_inside_a_resource_locks_the_message(manifest: Manifest) -> None:
    inside = {"resourceType": "Medication", "id": "m", "meta": labelled("http://hl7.org/fhir/v3/Confidentiality", "V")}
    assert read(manifest, message(imm=body("imm", contained=[inside]))).locked


def test_a_label_that_stands_where_nobody_would_see_it_refuses_the_message(manifest: Manifest) -> None:
    hidden = [labelled("http://hl7.org/fhir/v3/Confidentiality", "R")]
    assert refused(manifest, message(imm=body("imm", meta=hidden))) == "an element of the wrong shape"


def test_a_label_of_a_kind_nobody_knows_locks_and_normal_does_not(manifest: Manifest) -> None:
    assert read(manifest, message(imm=body("imm", meta=labelled("http://hl7.org/fhir/v3/ActCode", "NOPAT")))).locked
    assert not read(manifest, message(imm=body("imm", meta=labelled("http://hl7.org/fhir/v3/Confidentiality", "N")))).locked


@pytest.mark.parametrize(
    "said",
    [
        {"reference": f"https://demographics.spineservices.nhs.uk/STU3/Patient/{AMARA}"},
        {"reference": "urn:uuid:nobody"},
        {"identifier": {"system": NHS, "value": AMARA}},
    ],
)
@pytest.mark.parametrize("where", [("imm", "patient"), ("visit", "subject")])
def test_a_resource_about_somebody_who_is_not_in_the_message_refuses_it(
    manifest: Manifest, said: dict[str, Any], where: tuple[str, str]
) -> None:
    key, name = where
    assert refused(manifest, message(**{key: body(key, **{name: said})})) == "a resource about another person than the message"


def test_a_deletion_need_bring_nobody_its_focus_could_be_about(manifest: Manifest) -> None:
    gone = message(head=header(extension=as_change("delete")), ben=None)
    assert reason_of(manifest, gone) == ""


def test_a_message_that_deletes_has_no_record(manifest: Manifest) -> None:
    assert list(message_drop.read_file(manifest, "m", as_bytes(message(head=header(extension=as_change("delete")))))) == []


def test_a_birth_just_after_midnight_in_summer_time_may_be_written_in_utc(manifest: Manifest) -> None:
    head = header()
    head["extension"][0]["extension"][1]["valueDateTime"] = "2025-06-30T23:40:00Z"
    record = read(manifest, message(head=head, ben=body("ben", birthDate="2025-07-01")))
    assert record.about.birth_date == date(2025, 7, 1)


OTHER_CHILD = {"resourceType": "Patient", "identifier": [{"system": NHS, "value": AMARA}], "birthDate": "2024-03-14"}
BAD_NUMBER = body("ben", identifier=[{"system": NHS, "value": "9990001112"}])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ben": body("ben", identifier=[{"system": NHS, "value": AMARA}])}, "the NHS numbers in the message differ"),
        ({"ben": BAD_NUMBER}, "an NHS number that fails its check digit"),
        ({"ben": body("ben", birthDate="2025-01-10")}, "the birth dates in the message differ"),
        ({"ben": None}, "no NHS number in the message"),
        (
            {"ben": body("ben", birthDate=None), "head": header(extension=as_change("new")[1:])},
            "no birth date in the message",
        ),
        (
            {"other": OTHER_CHILD, "visit": body("visit", subject={"reference": "urn:uuid:other"})},
            "a resource about another person than the message",
        ),
        ({"other": OTHER_CHILD, "imm": body("imm", patient={})}, "several people, and the focus names none of them"),
        ({"org": None}, "no responsible organisation with an ODS code"),
        ({"imm": None}, "the focus of the message is not in it"),
        ({"head": header(focus=[{"reference": "urn:uuid:prac"}])}, message_drop.WRONG_FOCUS),
        ({"head": header(extension=[])}, "no message type of new, update or delete"),
        ({"head": header(meta={}, timestamp="2026-03-02")}, "a time without its offset from UTC"),
        (
            {"head": header(event={"system": EVENT, "code": "admission-details-1"})},
            f"{message_drop.NOT_MAPPED}: admission-details-1",
        ),
        ({"head": header(event={"system": EVENT, "code": "nipe-outcome-1"})}, message_drop.WRONG_FOCUS),
        ({"head": header(event={"system": EVENT, "code": "made-up-1"})}, message_drop.NOT_KNOWN),
        ({"head": header(event={"system": "urn:x", "code": "vaccinations-1"})}, "no event that the header names"),
        (
            {"head": header(extension=as_change("update")), "imm": body("imm", identifier=[])},
            "an update or delete of nothing that has an identifier",
        ),
    ],
)
def test_a_message_that_cannot_be_trusted_is_refused_with_its_reason(
    manifest: Manifest, changes: dict[str, Any], reason: str
) -> None:
    assert refused(manifest, message(**changes)) == reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a message",
        b"{",
        b'{"resourceType": "Bundle", "type": "message", "type": "message", "entry": []}',
        b'{"resourceType": "Bundle", "type": "message", "entry": [NaN]}',
        b'{"resourceType": "Bundle", "type": "message", "entry": [], "x": 1e99999999999999999999}',
        b'{"resourceType": "Bundle", "type": "message"}',
        b'{"resourceType": "Bundle", "type": "message", "entry": [{"fullUrl": "urn:uuid:1"}]}',
        b'{"resourceType": "Bundle", "type": "message", "entry": [[]]}',
        b'{"a":' * 3000,
        b'{"resourceType":"Bundle","type":"message","entry":[],"x":' + b"[" * 200 + b"]" * 200 + b"}",
        b"<Bundle xmlns='http://hl7.org/fhir'>",
        b"<Bundle/>",
        b"<Bundle xmlns='http://hl7.org/fhir'><type value='message'/></Bundle>",
        b"<!DOCTYPE Bundle [<!ENTITY a 'b'>]><Bundle xmlns='http://hl7.org/fhir'><type value='&a;'/></Bundle>",
        "<!DOCTYPE Bundle><Bundle xmlns='http://hl7.org/fhir'/>".encode("utf-16"),
        b"<Bundle xmlns='http://hl7.org/fhir'><type value='message'/><entry><fullUrl value='urn:uuid:1'/></entry></Bundle>",
        b"<Bundle xmlns='http://hl7.org/fhir'>" + b"<entry>" * 100 + b"</entry>" * 100 + b"</Bundle>",
        b"<Bundle xmlns='http://hl7.org/fhir'><type value='message'/><type value='message'/></Bundle>",
        "<Bundle xmlns='http://hl7.org/fhir'><type value='é'/></Bundle>".encode("latin-1"),
    ],
)
def test_a_hostile_or_broken_file_is_refused_as_a_whole(manifest: Manifest, content: bytes) -> None:
    assert refused(manifest, content)


@pytest.mark.parametrize("name", ["extension", "focus", "responsible", "meta", "event", "source"])
@pytest.mark.parametrize("value", ["text", 7, [], ["text"], {}, None, [{"a": {}}]])
def test_a_header_of_the_wrong_shape_is_refused_or_read_never_a_crash(manifest: Manifest, name: str, value: Any) -> None:
    reason_of(manifest, message(head=header(**{name: value})))


@pytest.mark.parametrize("key", ["imm", "ben", "org", "prac"])
@pytest.mark.parametrize("value", ["text", 7, ["text"], {"a": []}, [[]], [{"system": 3, "value": {}}]])
def test_a_resource_of_the_wrong_shape_is_refused_or_read_never_a_crash(manifest: Manifest, key: str, value: Any) -> None:
    for name in ("identifier", "name", "patient", "meta", "birthDate"):
        reason_of(manifest, message(**{key: body(key, **{name: value})}))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "urn:uuid:imm", "Patient", "delete"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["reference", "code", "value"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_damage_to_one_place_of_a_message_is_more_than_a_refusal(data: st.DataObject) -> None:
    bundle = message()
    node: Any = bundle
    while True:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.integers(0, 5)) == 0:
            node[key] = data.draw(JUNK)
            break
        node = node[key]
    assert BEN not in reason_of(load_manifest(adapters.child_health), bundle)


# ------------------------------------------------------------------------------------------------- folder and shelf


class FakeShelf:
    def __init__(self) -> None:
        self.kept: dict[str, list[ShelfRecord]] = {}
        self.delivered: datetime | None = None

    async def newest(self, holder: Any) -> Sequence[ShelfRecord]:
        return self.kept.get(holder.value, [])

    async def delivered_at(self) -> datetime | None:
        return self.delivered


class FakeTools:
    def __init__(self, var: Path) -> None:
        self.shelf, self.var, self.now, self.seal = FakeShelf(), var, lambda: NOW, bytes
        self.local_ids = self

    async def of(self, _: Any) -> Sequence[Claim]:
        return ()  # no local id of anybody is verified here


def source(drop: Path, max_age_h: float | None = None) -> SourceSettings:
    return SourceSettings("child-health", "child_health", "ods:RXX99", "A1", "CHIS", 1.0, max_age_h, 7, {"drop": str(drop)})


def leave(drop: Path, name: str, content: bytes) -> None:
    (drop / name).write_bytes(content)
    os.utime(drop / name, times=(NOW.timestamp() - 60,) * 2)


async def arrivals(intake: Intake) -> list[tuple[Delivery, Sequence[Arrival]]]:
    return [each async for each in intake.arrivals()]


@pytest.fixture
def tools(tmp_path: Path) -> Any:
    return FakeTools(tmp_path)


def make(manifest: Manifest, tools: Any, **settings: Any) -> Any:
    return message_drop.build(manifest, source(tools.var, **settings), tools)


def test_since_when_a_service_tells_is_a_day_or_the_start_is_refused(manifest: Manifest, tools: Any, tmp_path: Path) -> None:
    settings = source(tmp_path)
    for day, sound in (("2024-04-01", True), ("April 2024", False), ("20240401", False)):
        told = replace(settings, options={**settings.options, "tells_since": day})
        if sound:
            assert message_drop.build(manifest, told, tools)
        else:
            with pytest.raises(StartupRefused):
                message_drop.build(manifest, told, tools)


async def test_a_message_arrives_with_its_business_key_and_sender(manifest: Manifest, tools: Any) -> None:
    adapter = make(manifest, tools)
    assert isinstance(adapter, Intake)
    leave(tools.var, "m.json", as_bytes(message()))
    ((delivery, (arrival,)),) = await arrivals(adapter)
    assert (arrival.kind, arrival.business_id) == ("vaccinations-1", "https://tests.example/imm|V1")
    assert (arrival.sender, arrival.as_of) == ("ods:RXX99", delivery.as_of)
    assert arrival.record is not None
    delivery.done()
    assert await arrivals(adapter) == []


async def test_a_deletion_arrives_without_a_record_and_without_a_patient(manifest: Manifest, tools: Any) -> None:
    adapter = make(manifest, tools)
    bundle = message(head=header(extension=as_change("delete")), ben=None, imm=body("imm", patient={}))
    leave(tools.var, "m.json", as_bytes(bundle))
    ((_, (arrival,)),) = await arrivals(adapter)
    assert arrival.record is None
    assert arrival.about.nhs_number == BEN
    assert arrival.business_id == "https://tests.example/imm|V1"


VISIT = {
    "resourceType": "Encounter",
    "identifier": [{"system": "https://tests.example/visit", "value": "E1"}],
    "status": "finished",
}


def at_visit(*vaccines: str, change: str = "new") -> dict[str, Any]:
    """A message in the older header style: it points at the visit of these vaccines ("": one without identifier)."""
    given = {
        f"imm{place}": body("imm", identifier=[{"system": "https://tests.example/imm", "value": one}] if one else [])
        for place, one in enumerate(vaccines)
    }
    points = header(extension=as_change(change), focus=[{"reference": "urn:uuid:visit"}])
    return message(head=points, imm=None, visit=VISIT | {"subject": {"reference": "urn:uuid:ben"}}, **given)


async def keys_of(manifest: Manifest, tools: Any, bundle: dict[str, Any]) -> dict[str, list[str] | None]:
    """Each key that a message brings, and which vaccines stand under it; None: it deletes it."""
    leave(tools.var, "m.json", as_bytes(bundle))
    ((_, came),) = await arrivals(make(manifest, tools))
    said: dict[str, list[str] | None] = {}
    for one in came:
        given: Any = None if one.record is None else one.record.data["immunizations"]
        said[one.business_id.rpartition("/")[2]] = None if given is None else [each["key"].rpartition("|")[2] for each in given]
    assert len(said) == len(came)
    return said


async def test_each_vaccine_of_one_visit_stands_under_its_own_identifier(manifest: Manifest, tools: Any) -> None:
    assert await keys_of(manifest, tools, at_visit("MMR")) == {"imm|MMR": ["MMR"]}
    assert await keys_of(manifest, tools, at_visit("MENB")) == {"imm|MENB": ["MENB"]}
    assert await keys_of(manifest, tools, at_visit("MMR", "MENB")) == {"imm|MMR": ["MMR"], "imm|MENB": ["MENB"]}
    assert await keys_of(manifest, tools, at_visit("MMR", "MMR")) == {"imm|MMR": ["MMR", "MMR"]}


async def test_a_vaccine_without_identifier_stands_under_the_focus_beside_those_that_have_one(
    manifest: Manifest, tools: Any
) -> None:
    assert await keys_of(manifest, tools, at_visit("")) == {"visit|E1": ["imm0"]}
    assert await keys_of(manifest, tools, at_visit("MMR", "")) == {"imm|MMR": ["MMR"], "visit|E1": ["imm1"]}
    beside = message(nameless=body("imm", identifier=[]))
    assert await keys_of(manifest, tools, beside) == {"imm|V1": ["V1", "nameless"]}


async def test_a_deletion_of_a_visit_deletes_what_it_names_and_one_that_names_nothing_is_refused(
    manifest: Manifest, tools: Any
) -> None:
    gone = await keys_of(manifest, tools, at_visit("MMR", "MENB", change="delete"))
    assert gone == {"imm|MMR": None, "imm|MENB": None, "visit|E1": None}
    assert reason_of(manifest, at_visit(change="delete")) == message_drop.NOT_NAMED
    assert reason_of(manifest, at_visit("", change="delete")) == message_drop.NOT_NAMED


async def test_a_message_without_identifier_is_its_own_business_key(manifest: Manifest, tools: Any) -> None:
    adapter = make(manifest, tools)
    leave(tools.var, "m.json", as_bytes(message(imm=body("imm", identifier=[]))))
    ((_, (arrival,)),) = await arrivals(adapter)
    assert arrival.business_id == "head"


async def test_an_event_not_mapped_yet_is_handed_over_as_a_fault_and_lands_in_refused(manifest: Manifest, tools: Any) -> None:
    adapter = make(manifest, tools)
    event = {"system": EVENT, "code": "additional-demographics-1"}
    leave(tools.var, "a.json", as_bytes(message(head=header(event=event))))
    leave(tools.var, "b.xml", XML.encode())
    found = await arrivals(adapter)
    fault = f"{message_drop.NOT_MAPPED}: additional-demographics-1"
    assert sorted((delivery.fault or "", len(held)) for delivery, held in found) == [("", 1), (fault, 0)]
    for delivery, _ in found:
        delivery.done()
    (reason,) = (tools.var / "refused").glob("*.reason")
    assert reason.read_text("utf-8").startswith(f"{fault}\n")


async def test_a_message_from_the_future_cannot_outrank_what_comes_after(manifest: Manifest, tools: Any) -> None:
    adapter = make(manifest, tools)
    leave(tools.var, "m.json", as_bytes(message(head=header(meta={"lastUpdated": "2036-01-01T00:00:00Z"}))))
    ((delivery, held),) = await arrivals(adapter)
    assert (delivery.fault, held) == (drop.FROM_THE_FUTURE, ())


class Patient:
    def __init__(self, number: str, *superseded: str) -> None:
        self.number, self.superseded = NhsNumber(number), tuple(NhsNumber(each) for each in superseded)


class Wanted:
    def __init__(self, *types: str) -> None:
        self.types = frozenset(types)


KEPT = ShelfRecord(
    "vaccinations-1", "V1", "ods:RXX99", NOW, {}, Claim(BEN, None, date(2025, 1, 9)), "here", "dch-vaccinations-1", True
)


async def fetched(adapter: Any, patient: Patient, wanted: Wanted) -> tuple[SourceFacts, list[SourceRecord]]:
    facts, *records = [each async for each in adapter.fetch(patient, wanted)]
    return facts, records


async def test_the_shelf_is_read_by_every_number_of_the_person(manifest: Manifest, tools: Any) -> None:
    tools.shelf.kept = {BEN: [KEPT]}
    tools.shelf.delivered = NOW
    facts, records = await fetched(make(manifest, tools), Patient(AMARA, BEN), Wanted("Immunization"))
    assert facts == SourceFacts(as_of=NOW)
    assert records == [SourceRecord(KEPT.schema, {}, "here", NOW, KEPT.about, locked=True)]


async def test_a_kind_nobody_asked_for_stays_on_the_shelf(manifest: Manifest, tools: Any) -> None:
    tools.shelf.kept = {BEN: [KEPT, replace(KEPT, kind="observations-1"), replace(KEPT, kind="retired-1")]}
    _, records = await fetched(make(manifest, tools), Patient(BEN), Wanted("Encounter"))
    assert len(records) == 1


@pytest.mark.parametrize(("hours", "stale"), [(None, False), (47, True), (49, False)])
async def test_a_sender_gone_silent_is_stale(manifest: Manifest, tools: Any, hours: float | None, stale: bool) -> None:
    tools.shelf.delivered = NOW - timedelta(hours=48)
    facts, _ = await fetched(make(manifest, tools, max_age_h=hours), Patient(BEN), Wanted("Encounter"))
    assert facts.stale is stale


XML = f"""<?xml version="1.0" encoding="UTF-8"?>
<Bundle xmlns="http://hl7.org/fhir">
 <type value="message"/>
 <entry><fullUrl value="urn:uuid:head"/><resource><MessageHeader><id value="head"/>
  <meta><lastUpdated value="2026-03-02T10:00:00+00:00"/></meta>
  <extension url="{ROUTING}">
   <extension url="nhsNumber"><valueIdentifier><system value="{NHS}"/><value value="{BEN}"/></valueIdentifier></extension>
  </extension>
  <extension url="{CHANGE}"><valueCodeableConcept><coding><code value="new"/></coding></valueCodeableConcept></extension>
  <event><system value="{EVENT}"/><code value="vaccinations-1"/></event>
  <timestamp value="2026-03-02T10:05:00+00:00"/>
  <source><endpoint value="urn:nhs:addressing:asid:477121000325"/></source>
  <responsible><reference value="urn:uuid:org"/></responsible>
  <focus><reference value="urn:uuid:imm"/></focus>
 </MessageHeader></resource></entry>
 <!-- any order: found by fullUrl -->
 <entry><fullUrl value="urn:uuid:ben"/><resource><Patient><id value="ben"/>
  <text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p>Ben</p></div></text>
  <identifier><system value="{NHS}"/><value value="{BEN}"/></identifier>
  <birthDate value="2025-01-09"><extension url="urn:t"><valueDateTime value="2025-01-09T04:10:00Z"/></extension></birthDate>
 </Patient></resource></entry>
 <entry><fullUrl value="urn:uuid:imm"/><resource><Immunization><id value="imm"/>
  <identifier><system value="https://tests.example/imm"/><value value="V1"/></identifier>
  <status value="completed"/><notGiven value="false"/>
  <patient><reference value="urn:uuid:ben"/></patient><encounter><reference value="urn:uuid:visit"/></encounter>
  <date value="2026-03-01"/>
  <doseQuantity><value value="0.5"/><code value="mL"/></doseQuantity>
  <practitioner><actor><reference value="urn:uuid:prac"/></actor></practitioner>
 </Immunization></resource></entry>
 <entry><fullUrl value="urn:uuid:prac"/><resource><Practitioner><id value="prac"/>
  <name><family value="Pricker"/><given value="Pat"/><prefix value="Nurse"/></name></Practitioner></resource></entry>
 <entry><fullUrl value="urn:uuid:visit"/><resource><Encounter><id value="visit"/><status value="finished"/>
  <subject><reference value="urn:uuid:ben"/></subject></Encounter></resource></entry>
 <entry><fullUrl value="urn:uuid:org"/><resource><Organization><id value="org"/>
  <identifier><system value="{ODS}"/><value value="RXX99"/></identifier>
  <name value="Meadowvale"/></Organization></resource></entry>
</Bundle>
"""


def early_years(manifest: Manifest, *items: dict[str, Any]) -> SourceRecord:
    form = {"resourceType": "QuestionnaireResponse", "status": "completed", "subject": {"reference": "urn:uuid:ben"}}
    head = header(event={"system": EVENT, "code": "early-years-progress-1"}, focus=[{"reference": "urn:uuid:visit"}])
    return read(manifest, message(head=head, form={**form, "item": list(items)}))


def test_early_years_progress_goes_on_only_with_a_parents_yes(manifest: Manifest) -> None:
    system = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ParentalConsentToShareInformation-1"
    yes, no = ({"linkId": "parentalConsent", "answer": [{"valueCoding": {"system": system, "code": code}}]} for code in "YN")
    assert early_years(manifest).not_early_years
    assert early_years(manifest, no).not_early_years
    assert not early_years(manifest, yes).not_early_years


def test_several_events_of_one_visit_each_keep_their_own_part_of_it(manifest: Manifest) -> None:
    visit = body("visit", identifier=[{"system": "https://tests.example/visit", "value": "E1"}])
    keys = set()
    for code in ("observations-1", "feeding-status-1"):
        head = header(event={"system": EVENT, "code": code}, focus=[{"reference": "urn:uuid:visit"}])
        keys |= {each["key"] for each in read(manifest, message(head=head, visit=visit)).data["encounters"]}
    assert keys == {f"{code} https://tests.example/visit|E1" for code in ("observations-1", "feeding-status-1")}


def test_a_score_inside_another_observation_is_held_beside_it(manifest: Manifest) -> None:
    about = {"subject": {"reference": "urn:uuid:ben"}, "status": "final"}
    part = {"resourceType": "Observation", "id": "gross", "valueQuantity": {"value": 40}, **about}
    whole = {"resourceType": "Observation", "contained": [part], **about}
    whole["related"] = [{"type": "derived-from", "target": {"reference": "#gross"}}]
    head = header(event={"system": OLD_EVENT, "code": "CH004"}, focus=[{"reference": "urn:uuid:visit"}])
    first, second = read(manifest, message(head=head, total=whole)).data["observations"]
    assert first["related"] == [{"type": "derived-from", "target": {"key": second["key"]}}]
    assert (second["key"], second["valueQuantity"]) == ("total#gross", {"value": 40})
    assert "contained" not in first


def test_a_score_inside_another_that_is_about_another_person_refuses_the_message(manifest: Manifest) -> None:
    part = {"resourceType": "Observation", "id": "gross", "subject": {"reference": "urn:uuid:other"}}
    whole = {"resourceType": "Observation", "contained": [part], "subject": {"reference": "urn:uuid:ben"}}
    head = header(event={"system": OLD_EVENT, "code": "CH004"}, focus=[{"reference": "urn:uuid:visit"}])
    about = "a resource about another person than the message"
    assert refused(manifest, message(head=head, total=whole, other=OTHER_CHILD)) == about


def change(code: str, **changes: Any) -> dict[str, Any]:
    """A message of the demographics service about Ben, with a place in it that must go no further."""
    about = {"resourceType": "Communication", "status": "completed", "subject": {"reference": "urn:uuid:ben"}}
    head = header(event={"system": EVENT, "code": code}, focus=[{"reference": "urn:uuid:told"}])
    return message(**{"head": head, "told": about, "imm": None, "visit": None, "prac": None, **changes})


@pytest.mark.parametrize(
    "code", ["pds-change-of-address-1", "pds-change-of-gp-1", "pds-death-notification-1", "pds-record-change-1"]
)
async def test_news_that_a_person_changed_holds_nothing_but_whose_news_it_is(manifest: Manifest, tools: Any, code: str) -> None:
    leave(tools.var, "a.json", as_bytes(change(code)))
    ((delivery, (told,)),) = await arrivals(make(manifest, tools))
    assert delivery.fault is None
    assert told.expires_trace
    assert told.record is None
    assert told.about == Claim(nhs_number=BEN)
    assert list(message_drop.read_file(manifest, "m", as_bytes(change(code)))) == []


def test_news_about_two_people_or_nobody_is_refused(manifest: Manifest) -> None:
    other = body("ben", identifier=[{"system": NHS, "value": AMARA}])
    assert refused(manifest, change("pds-change-of-gp-1", ben=other)) == "the NHS numbers in the message differ"
    unnamed = header(event={"system": EVENT, "code": "pds-record-change-1"}, extension=as_change("new")[1:])
    assert refused(manifest, change("pds-record-change-1", ben=None, head=unnamed)) == "no NHS number in the message"


def test_a_mother_who_is_pointed_at_leaves_no_name_and_no_number(manifest: Manifest) -> None:
    mother = {"resourceType": "RelatedPerson", "identifier": [{"system": NHS, "value": AMARA}], "name": [{"family": "Momson"}]}
    seen: dict[str, Any] = {"resourceType": "Observation", "status": "final", "subject": {"reference": "urn:uuid:ben"}}
    seen["performer"] = [{"reference": "urn:uuid:mum", "display": "MOMSON, Mary"}]
    head = header(event={"system": EVENT, "code": "observations-1"}, focus=[{"reference": "urn:uuid:visit"}])
    told = repr(read(manifest, message(head=head, mum=mother, seen=seen)).data["observations"])
    assert not any(word in told for word in (AMARA, "Momson", "MOMSON"))

"""R4 in, R4 out: nothing of the source's own ids, text or unknown content passes."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from gateway.adapter import Claim, SourceRecord
from gateway.mapping import Context, MapResult, Maps, Unusable, encode, map_record, parse, shape_faults
from gateway.model import CareClass, Category, Mark

MARKS = """
types:
  Observation:
    category: other-health
    class: health
    plain: [status, code, subject, encounter, effectiveDateTime, valueQuantity, category, hasMember, derivedFrom, focus]
    locating: [performer, encounter.display, identifier]
    third-party: [note]
  Encounter: {category: other-health, class: health, plain: [status, class, subject]}
extensions: [urn:listed]
"""


@pytest.fixture
def lane(loaded: Callable[..., Maps], context: Context) -> Callable[..., MapResult]:
    maps = loaded(("r4-marks.yaml", "", MARKS))

    def rewrite(resource: Any) -> MapResult:
        record = SourceRecord("fhir-r4", resource, "entry 1", context.as_of, Claim(nhs_number="9990000107"))
        return map_record(maps, "any", record, context, account=True)

    return rewrite


@pytest.fixture
def observation() -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "o1",
        "meta": {
            "versionId": "3",
            "lastUpdated": "2026-01-01T00:00:00Z",
            "source": "urn:site",
            "tag": [{"code": "x"}],
            "profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-Observation"],
            "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
        },
        "implicitRules": "urn:rules",
        "text": {"status": "generated", "div": "<div>secret</div>"},
        "contained": [{"resourceType": "Practitioner", "id": "c"}],
        "status": "final",
        "code": {"coding": [{"id": "x", "system": "http://snomed.info/sct", "code": "27113001"}]},
        "subject": {
            "reference": "Patient/p1",
            "identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000107"},
        },
        "encounter": {"reference": "Encounter/e1/_history/2"},
        "effectiveDateTime": "2025-03-04",
        "performer": [{"reference": "#c", "display": "Dr Example"}, {"reference": "https://site.example/Practitioner/2"}],
        "valueQuantity": {"value": Decimal("12.50"), "unit": "kg"},
        "note": [{"authorReference": {"reference": "Practitioner/9"}, "text": "said"}],
    }


def test_ids_meta_and_references_become_ours(lane: Callable[..., MapResult], observation: dict[str, Any]):
    (made,) = lane(observation).resources
    assert made.body == {
        "resourceType": "Observation",
        "id": "p.clinic.Observation-o1",
        "meta": {
            "profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-Observation"],
            "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
        },
        "status": "final",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "27113001"}]},
        "subject": {"reference": "Patient/" + "p" * 26},
        "encounter": {"reference": "Encounter/p.clinic.Encounter-e1"},
        "effectiveDateTime": "2025-03-04",
        "performer": [{"display": "Dr Example"}],
        "valueQuantity": {"value": Decimal("12.50"), "unit": "kg"},
        "note": [{"authorReference": {"reference": "Practitioner/p.clinic.Practitioner-9"}, "text": "said"}],
    }
    assert b'"value":12.50' in encode(made.body)
    assert shape_faults(made.body) == []
    assert (made.category, made.care_class) == (Category.OTHER_HEALTH, CareClass.HEALTH)


def test_an_element_that_the_marks_do_not_list_carries_every_mark(lane: Callable[..., MapResult], observation: dict[str, Any]):
    (made,) = lane(observation).resources
    assert ("performer",) in made.paths[Mark.LOCATING]
    assert ("encounter", "display") in made.paths[Mark.LOCATING]
    assert ("note",) not in made.paths[Mark.LOCATING]
    for mark in Mark:
        assert ("valueString",) in made.paths[mark]
        assert ("status",) not in made.paths[mark]


def test_an_extension_that_is_not_listed_carries_every_mark_where_it_stands(
    lane: Callable[..., MapResult], observation: dict[str, Any]
):
    observation["code"]["coding"][0]["extension"] = [{"url": "urn:unlisted", "valueString": "1 Secret Street"}]
    observation["extension"] = [{"url": "urn:listed", "valueReference": {"reference": "Location/7"}}]
    (made,) = lane(observation).resources
    assert made.body["extension"] == [{"url": "urn:listed", "valueReference": {"reference": "Location/p.clinic.Location-7"}}]
    assert all(("code", "coding", "extension") in made.paths[mark] for mark in Mark)
    assert all(("extension",) not in made.paths[mark] for mark in Mark)


def test_an_extension_beside_a_primitive_is_rewritten_too(lane: Callable[..., MapResult], observation: dict[str, Any]):
    observation["_status"] = {"id": "s", "extension": [{"url": "urn:unlisted", "valueReference": {"reference": "Patient/p1"}}]}
    (made,) = lane(observation).resources
    assert made.body["_status"] == {
        "extension": [{"url": "urn:unlisted", "valueReference": {"reference": "Patient/" + "p" * 26}}]
    }
    assert ("_status", "extension") in made.paths[Mark.LOCATING]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}, "a modifier extension that this gateway does not know"),
        ({"secretWord": "x"}, "an element that R4 does not have"),
        ({"note": {"text": "x"}}, "an element is not the list R4 has"),
        ({"code": "x"}, "a text or list stands where an element with parts belongs"),
        ({"status": {"x": 1}}, "an element is of another kind than R4 has"),
        ({"status": 7}, "an element is of another kind than R4 has"),
        ({"valueQuantity": {"value": Decimal("1E+999999999")}}, "a number of more digits than anything has"),
        ({"valueQuantity": {"value": Decimal("9" * 4200)}}, "a number of more digits than anything has"),
        ({"valueQuantity": {"value": 10**41}}, "a number of more digits than anything has"),
        ({"valueQuantity": {"value": "7"}}, "an element is of another kind than R4 has"),
        ({"valueInteger": 2**31}, "a number of more digits than anything has"),
        ({"valueInteger": "7"}, "an element is of another kind than R4 has"),
        ({"focus": [{"reference": "Patient/p2"}]}, "two different patients are referred to"),
        ({"id": None}, "the resource has no id"),
        ({"resourceType": "Observationn"}, "not an R4 resource"),
        ({"resourceType": []}, "not an R4 resource"),
        ({"resourceType": "Basic", "status": None}, "an element that R4 does not have"),
        ({"meta": []}, None),
        ({"meta": ["x"]}, "a text or list stands where an element with parts belongs"),
    ],
)
def test_what_r4_does_not_have_is_refused(
    lane: Callable[..., MapResult], observation: dict[str, Any], change: dict[str, Any], reason: str | None
):
    result = lane({**observation, **change})
    assert [one.reason for one in result.refused] == ([reason] if reason else [])
    assert len(result.resources) == (0 if reason else 1)


NUMBER = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000107"}


@pytest.mark.parametrize(
    "subject",
    [{"identifier": NUMBER}, {"reference": "https://source/fhir/Patient/p1"}, {"reference": "urn:uuid:1", "identifier": NUMBER}],
    ids=["by number", "by address", "by the bundle's own name"],
)
def test_a_resource_whose_own_word_for_the_patient_cannot_leave_names_ours(
    lane: Callable[..., MapResult], observation: dict[str, Any], subject: dict[str, Any], context: Context
):
    (made,) = lane({**observation, "subject": subject}).resources
    assert made.body["subject"] == {"reference": f"Patient/{context.person}"}


@pytest.mark.parametrize("subject", [{"identifier": NUMBER}, {"reference": "https://source/fhir/Patient/p1"}])
def test_another_patient_beside_one_that_is_not_named_by_id_is_not_taken_for_ours(
    lane: Callable[..., MapResult], observation: dict[str, Any], subject: dict[str, Any]
):
    result = lane({**observation, "subject": subject, "focus": [{"reference": "Patient/p2"}]})
    assert [one.reason for one in result.refused] == ["two different patients are referred to"]


@pytest.mark.parametrize("about", ["Group/g1", "Device/d1", "Location/l1"])
def test_a_resource_about_something_else_than_a_patient_is_refused(
    lane: Callable[..., MapResult], observation: dict[str, Any], about: str
):
    result = lane({**observation, "subject": {"reference": about, "identifier": NUMBER}})
    assert [one.reason for one in result.refused] == ["it is about something other than a patient"]


def nested(depth: int) -> list[dict[str, Any]]:
    extension: dict[str, Any] = {"url": "urn:listed", "valueString": "x"}
    for _ in range(depth):
        extension = {"url": "urn:listed", "extension": [extension]}
    return [extension]


@pytest.mark.parametrize(
    "change", [{"encounter": {"reference": "Encounter/1", "extension": 5}}, {"extension": nested(450)}], ids=["a number", "depth"]
)
def test_a_record_odd_in_a_way_nobody_foresaw_is_refused_and_breaks_nothing_else(
    lane: Callable[..., MapResult], observation: dict[str, Any], change: dict[str, Any]
):
    result = lane({**observation, **change})
    assert len(result.refused) == 1
    assert result.resources == ()


@pytest.mark.parametrize(
    "inner",
    [
        {"extension": [{"url": "urn:hidden", "valueString": "Willow refuge"}]},
        {"valueCodeableConcept": {"text": "x", "extension": [{"url": "urn:hidden", "valueString": "Willow refuge"}]}},
    ],
    ids=["a part", "a value's own"],
)
def test_an_unlisted_extension_inside_a_listed_one_counts_as_every_mark(
    lane: Callable[..., MapResult], observation: dict[str, Any], inner: dict[str, Any]
):
    (made,) = lane({**observation, "extension": [{"url": "urn:listed", **inner}]}).resources
    assert all(("extension",) in made.paths[mark] for mark in Mark)


@pytest.mark.parametrize("odd", [None, [], "x", 7])
def test_what_is_no_resource_is_refused(lane: Callable[..., MapResult], odd: Any):
    assert len(lane(odd).refused) == 1


def test_a_type_without_marks_is_not_taken(lane: Callable[..., MapResult]):
    (refused,) = lane({"resourceType": "Organization", "id": "1", "name": "secret"}).refused
    assert refused.reason == "a resource type that mappings/r4-marks.yaml does not list"


def test_json_that_cannot_be_read_is_unusable():
    for body in (b"{", b"[1,]", b"NaN", b"\xff", b"[" * 100_000):
        with pytest.raises(Unusable, match="not JSON"):
            parse(body)
    assert encode(parse(b'{"a":1.10,"b":[1,2.0]}')) == b'{"a":1.10,"b":[1,2.0]}'

"""The short way of R4 and the long way: one answer, whatever a source says."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapter import Claim, SourceRecord
from gateway.mapping import Context, Maps, Reader, encode, map_record, parse
from gateway.mapping.r4 import index
from gateway.resource import Several, Typed, encoded

MARKS = """
types:
  Observation:
    category: other-health
    class: health
    plain: [status, code, subject, encounter, effectiveDateTime, valueQuantity, category, hasMember]
    locating: [performer, encounter.display, identifier]
    third-party: [note]
extensions: [urn:listed]
"""
NOW = datetime(2026, 11, 22, tzinfo=UTC)
READER = Reader(["Observation"])
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"versionId": "3", "lastUpdated": "2026-01-01T00:00:00Z"},
    "identifier": [{"system": "urn:ids", "value": "1"}],
    "status": "final",
    "category": [{"coding": [{"system": "urn:c", "code": "vital-signs"}]}],
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "27113001", "userSelected": True}], "text": "Weight"},
    "subject": {"reference": "Patient/p1", "identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000107"}},
    "encounter": {"reference": "Encounter/e1", "display": "Clinic"},
    "performer": [{"reference": "Practitioner/1"}, {"display": "A nurse"}],
    "effectiveDateTime": "2025-03-04",
    "valueQuantity": {"value": Decimal("11.20"), "unit": "kg"},
    "component": [{"code": {"text": "a"}, "valueInteger": 3}],
    "note": [{"text": "of the mother", "authorReference": {"reference": "Practitioner/1"}}],
}
ODD: tuple[Any, ...] = (
    *(None, "", {}, [], "text", 7, Decimal("1.50"), True, [None], ["x"], [{}], {"id": "x"}, [{"id": "x"}], {"extension": []}),
    *({"reference": "#c"}, {"reference": "Patient/p2"}, {"reference": "urn:uuid:1"}, {"reference": 7}, {"type": "Patient"}),
    *([{"reference": "#c"}], [{"reference": "Observation/2"}, {"reference": "#c"}], {"identifier": {"value": "1"}}),
    *([{"url": "urn:listed", "valueString": "x"}], [{"url": "urn:other", "valueString": "x"}], [{"url": "urn:listed"}]),
    *({"extension": [{"url": "urn:listed", "valueReference": {"reference": "Patient/p1"}}]}, {"extension": [{"url": "u"}]}),
    *({"profile": ["urn:p"], "security": [{"code": "R"}]}, {"profile": []}, {"source": "urn:site"}, {"profile": "urn:p"}),
    *({"coding": [{"code": "1", "id": "x"}]}, {"text": "x", "id": "y"}, [{"text": "x", "time": "2026-01-01"}], {"value": "1.5"}),
)
NAMES = (
    *("id", "meta", "text", "contained", "implicitRules", "language", "extension", "modifierExtension", "subject", "status"),
    *("_status", "_effectiveDateTime", "_note", "code", "valueQuantity", "valueInteger", "valueString", "hasMember", "note"),
    *(
        "performer",
        "unknown",
        "component",
        "referenceRange",
        "valueSampledData",
        "category",
        "value",
        "coding",
        "display",
        "__class__",
    ),
)


@pytest.fixture
def maps(loaded: Callable[..., Maps]) -> Maps:
    return loaded(("r4-marks.yaml", "", MARKS))


def same_answer(maps: Maps, context: Context, resource: dict[str, Any]) -> bool:
    """Whether the short way took it; fails when the two answers differ."""
    raw = encode(resource)
    typed = READER.read(msgspec.Raw(raw))
    if typed is None:
        return False

    def mapped(body: Any) -> Any:
        record = SourceRecord("fhir-r4", body, "entry 1", context.as_of, Claim(nhs_number="9990000107"))
        return map_record(maps, "any", record, context)

    short, long = mapped(typed), mapped(parse(raw))
    assert short.refused == long.refused
    assert [encoded(made.body) for made in short.resources] == [encoded(made.body) for made in long.resources]
    assert [(made.paths, made.category, made.care_class) for made in short.resources] == [
        (made.paths, made.category, made.care_class) for made in long.resources
    ]
    return True


def test_a_resource_of_the_usual_shape_goes_the_short_way(maps: Maps, context: Context) -> None:
    assert same_answer(maps, context, OBSERVATION)


@pytest.mark.parametrize(
    "odd",
    [
        {"text": {"status": "generated", "div": "<div>secret</div>"}},
        {"contained": [{"resourceType": "Practitioner", "id": "c"}]},
        {"meta": {"profile": ["urn:p"], "security": [{"code": "R"}], "tag": [{"code": "x"}]}},
        {"extension": [{"url": "urn:listed", "valueReference": {"reference": "Patient/p1"}}]},
        {"extension": [{"url": "urn:other", "valueString": "x"}]},
        {"extension": [{"url": "urn:listed"}]},
        {"extension": [{"url": "urn:other", "valueString": "x"}], "component": [{}]},
        {
            "extension": [{"url": "urn:listed"}],
            "component": [{}],
            "code": {"extension": [{"url": "urn:other", "valueCode": "x"}]},
        },
        {"code": {"id": "x", "text": "Weight"}},
        {"code": {}},
        {"category": [{}, {"coding": [{}]}]},
        {"category": [{"id": "x"}]},
        {"performer": [{"reference": "#c"}]},
        {"subject": {"reference": "Patient/p2"}},
        {"subject": {"display": "A child"}},
        {"subject": {"type": "Patient", "reference": "Patient/p1", "display": "A child"}},
        {"subject": {"reference": "https://elsewhere.example.org/Patient/1"}},
        {"subject": {"reference": "Group/1"}},
        {"subject": {"identifier": {"system": "urn:x", "value": "1", "assigner": {"reference": "Organization/1"}}}},
        {"subject": {}},
        {"encounter": {"identifier": {"system": "urn:x", "value": "1", "assigner": {"reference": "Organization/1"}}}},
        {"encounter": {"reference": "Patient/p2"}},
        {"hasMember": [{"reference": "Observation/o2"}, {"reference": "https://elsewhere.example.org/Observation/1"}]},
    ],
)
def test_what_has_to_go_or_change_goes_the_short_way_too(maps: Maps, context: Context, odd: dict[str, Any]) -> None:
    assert same_answer(maps, context, OBSERVATION | odd)


@pytest.mark.parametrize(
    "odd",
    [
        {"modifierExtension": [{"url": "urn:listed", "valueBoolean": True}]},
        {"unknown": 1},
        {"status": 7},
        {"_status": {"extension": [{"url": "urn:listed", "valueCode": "x"}], "id": "y"}},
        {"status": None},
        {"status": ""},
        {"category": []},
        {"valueQuantity": {"value": "11.20"}},
        {"valueInteger": Decimal("1.0")},
        {"valueInteger": 2**31},
        {"valueQuantity": {"value": Decimal("1E+999999999")}},
        {"valueQuantity": {"value": Decimal("9" * 41)}},
        {"extension": {"url": "urn:listed"}},
        {"subject": "Patient/p1"},
        {"meta": []},
        {"resourceType": "Encounter"},
    ],
)
def test_another_shape_is_left_to_the_long_way(odd: dict[str, Any]) -> None:
    assert READER.read(msgspec.Raw(encode(OBSERVATION | odd))) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"resourceType":"Observation","status":"\xff"}', b"[" * 4000])
def test_what_is_no_resource_is_left_to_the_long_way(body: bytes) -> None:
    assert READER.read(msgspec.Raw(body)) is None
    assert Reader([]).read(msgspec.Raw(encode(OBSERVATION))) is None


def test_every_type_of_r4_can_be_read() -> None:
    reader = Reader(index().resources())
    for name in index().resources():
        made = reader.read(msgspec.Raw(encode({"resourceType": name, "id": "x"})))
        assert made is not None
        assert dict(made) == {"resourceType": name, "id": "x"}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(NAMES), st.sampled_from(ODD)), min_size=1, max_size=3))
def test_both_ways_give_one_answer(maps: Maps, context: Context, changes: list[tuple[int, str, Any]]) -> None:
    resource = copy.deepcopy(OBSERVATION)
    for place, name, odd in changes:
        objects = list(_objects(resource))
        objects[place % len(objects)][name] = copy.deepcopy(odd)
    same_answer(maps, context, resource)


def _objects(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from _objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from _objects(part)


def test_a_typed_resource_reads_like_the_plain_one() -> None:
    raw = encode(OBSERVATION)
    typed = READER.read(msgspec.Raw(raw))
    assert isinstance(typed, Typed)
    assert dict(typed) == parse(raw) == typed.plain()
    assert len(typed) == len(OBSERVATION)
    assert "status" in typed
    assert "issued" not in typed
    assert typed.get("__class__") is None
    assert typed.get("issued", 1) == 1
    with pytest.raises(KeyError):
        typed["issued"]
    assert repr(typed) == "Typed(Observation)"
    assert parse(encoded(typed)) == OBSERVATION
    assert list(parse(encoded(typed))) == sorted(OBSERVATION)


def several(*resources: dict[str, Any]) -> SourceRecord:
    typed = [READER.read(msgspec.Raw(encode(one))) or one for one in resources]
    data = Several(typed, list(range(1, len(typed) + 1)), [None] * len(typed))  # type: ignore[arg-type]
    return SourceRecord("fhir-r4", data, "entries", NOW, Claim(nhs_number="9990000107"))


def test_resources_of_one_answer_are_made_as_each_by_itself(maps: Maps, context: Context) -> None:
    others = [
        OBSERVATION,
        OBSERVATION | {"id": "o2", "extension": [{"url": "urn:other", "valueString": "x"}]},
        OBSERVATION | {"id": "o3", "subject": {"reference": "Patient/another"}},
        OBSERVATION | {"id": "o4", "modifierExtension": [{"url": "urn:x", "valueBoolean": True}]},
        OBSERVATION | {"id": "o5", "hasMember": [{"reference": "Patient/p2"}]},
        OBSERVATION | {"id": "o6"},
    ]
    together = map_record(maps, "any", several(*others), context)
    alone = [map_record(maps, "any", SourceRecord("fhir-r4", one, "", NOW, Claim()), context) for one in copy.deepcopy(others)]
    assert [encoded(made.body) for made in together.resources] == [encoded(made.body) for one in alone for made in one.resources]
    assert [made.paths for made in together.resources] == [made.paths for one in alone for made in one.resources]
    assert [(one.where, one.reason) for one in together.refused] == [
        (f"entry {n}", refused.reason) for n, one in enumerate(alone, start=1) for refused in one.refused
    ]
    assert [one.where for one in together.refused] == ["entry 4", "entry 5"]


def test_several_are_accounted_for_as_they_came_and_the_refused_as_withheld(maps: Maps, context: Context) -> None:
    bad = OBSERVATION | {"id": "o2", "modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}
    counted = map_record(maps, "any", several(OBSERVATION, bad), context, account=True).accounting
    alone = map_record(maps, "any", SourceRecord("fhir-r4", OBSERVATION, "", NOW, Claim()), context, account=True).accounting
    assert counted is not None
    assert alone is not None
    assert (counted.mapped, counted.ignored, counted.unmapped_leaves) == (alone.mapped, alone.ignored, 0)
    assert counted.withheld == alone.leaves + 2

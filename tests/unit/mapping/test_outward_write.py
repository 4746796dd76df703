"""Writing: whole or refused, no value in a refusal, every leaf accounted for, the same functions turned round."""

import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.mapping import Maps, Reader, WriteContext, Written, load, write_record
from gateway.mapping.codes import read_code_map
from gateway.mapping.context import Unusable, Writing
from gateway.mapping.functions import SHARED as INWARD
from gateway.mapping.outward import functions as out
from gateway.mapping.outward.functions import SHARED
from gateway.nhs_number import NhsNumber
from tests.unit.mapping.test_outward_faults import FILES, MAP

NUMBER = NhsNumber("9990000107")
CTX = WriteContext(NUMBER, "ods:A99901", "ods:RXX99", datetime(2026, 1, 5, 9, 0, tzinfo=UTC), "key-1")
ASK: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "p.s.1",
    "status": "active",
    "intent": "order",
    "priority": "urgent",
    "subject": {"reference": "Patient/p"},
    "encounter": {"reference": "Encounter/e", "display": "Monday clinic"},
    "authoredOn": "2026-01-05",
    "code": {"id": "c", "text": "Help"},
    "reasonCode": [{"text": "one"}, {"text": "two"}],
    "note": [{"text": "a"}, {"time": "2026-01-05"}, {"text": "b"}],
}
ROLE: dict[str, Any] = {"resourceType": "PractitionerRole", "id": "r", "telecom": [{"system": "phone", "value": "1"}]}


@pytest.fixture
def desk(tmp_path: Path) -> Maps:
    for name, text in FILES.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    return load(tmp_path)


@pytest.fixture
def written(desk: Maps) -> Callable[..., Written]:
    return lambda *resources: write_record(desk, "desk", "desk-ask-1", resources, CTX, account=True)


def without(resource: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if name not in names}


PLAIN = without(ASK, "status", "intent")


def test_a_record_is_written_whole_in_the_order_of_the_dictionary(written: Callable[..., Written]):
    came = written(PLAIN, ROLE)
    assert came.refused == ()
    assert list(came.data) == ["ref", "number", "day", "urgency", "words", "lines", "coded"]
    assert came.data["lines"] == [
        {"text": "a", "kind": "note"},
        {"text": "b", "kind": "note"},
        {"text": "1", "kind": "phone"},
    ]
    assert came.data["coded"] == {"text": "Help"}  # our own element id stays here


def test_every_leaf_is_accounted_for_by_path_and_never_by_value(written: Callable[..., Written]):
    came = written(
        {**PLAIN, "patientInstruction": "secret words"}, ROLE, {"resourceType": "Observation", "id": "o", "valueString": "x"}
    )
    made = came.accounting
    assert made is not None
    assert made.leaves == 22
    assert made.withheld == (("ServiceRequest.encounter.display", "leads to the record"),)
    assert ("ServiceRequest.subject.reference", out_own()) in made.ignored
    assert came.not_sent == ("Observation.valueString", "ServiceRequest.note.time", "ServiceRequest.patientInstruction")
    assert "secret" not in repr(made)


def out_own() -> str:
    from gateway.mapping.outward.accounting import OWN

    return OWN


def test_an_element_that_turns_the_others_round_and_is_not_read_refuses_the_record(written: Callable[..., Written]):
    for name, value in (("status", "draft"), ("intent", "order")):
        came = written({**PLAIN, name: value})
        assert came.data is None
        assert [one.reason for one in came.refused] == [
            f"an element that changes what the others mean, and no line reads it ({MAP}:6)"
        ]
    assert written({**PLAIN, "doNotPerform": True}).data["sure"] is True  # a line reads it
    deep = {**PLAIN, "note": [{"text": "a", "modifierExtension": [{"url": "urn:not", "valueBoolean": True}]}]}
    assert written(deep).data is None
    assert written(PLAIN, {**ROLE, "active": False}).data is not None  # of a role, R4 says it modifies nothing


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        ((), f"a resource that the map takes is not there ({MAP}:6)"),
        ((PLAIN, PLAIN), f"more than one of a resource that the map takes once ({MAP}:6)"),
        ((PLAIN, ROLE, ROLE), f"more than one of a resource that the map takes once ({MAP}:7)"),
        (({**PLAIN, "priority": "secret"},), f"a code that the code map cannot turn back ({MAP}:13)"),
        (({**PLAIN, "authoredOn": "2026-01"},), f"a date without its day, where a whole one belongs ({MAP}:11)"),
        (({**PLAIN, "authoredOn": {"secret": 1}},), f"not a date and time ({MAP}:11)"),
        (({**PLAIN, "note": [{"text": {"secret": 1}}]},), f"not a text ({MAP}:19)"),
        (({**PLAIN, "note": "secret"},), f"a text stands where the field dictionary has fields ({MAP}:15)"),
    ],
)
def test_a_refusal_says_why_and_on_which_line_and_holds_no_value(
    written: Callable[..., Written], resources: tuple[Any, ...], reason: str
):
    came = written(*resources)
    assert came.data is None
    assert [one.reason for one in came.refused] == [reason]


def test_what_no_map_writes_is_refused(desk: Maps):
    came = write_record(desk, "desk", "desk-ask-9", [PLAIN], CTX)
    assert [one.reason for one in came.refused] == ["no map writes this kind of record"]
    assert came.data is None


def test_a_traceback_names_the_line_of_the_map(desk: Maps):
    plan = desk.outward["desk", "desk-ask-1"]
    try:
        plan.build(Writing(CTX, desk.codes), {"ServiceRequest": [{**PLAIN, "priority": "odd"}]})
    except Unusable as error:
        frames = traceback.extract_tb(error.__traceback__)
        mine = [frame for frame in frames if frame.filename.endswith("ask-out.yaml")]
        assert [(frame.lineno, frame.line) for frame in mine] == [
            (13, "urgency: ServiceRequest.priority | translate('desk-urgency')")
        ]


def test_a_resource_held_as_a_struct_is_written_like_a_plain_one(written: Callable[..., Written]):
    typed = Reader({"ServiceRequest"}).read(msgspec.Raw(msgspec.json.encode(PLAIN)))
    assert typed is not None
    assert written(typed).data == written(PLAIN).data


def test_accounting_comes_when_asked_for_and_what_is_not_sent_always(desk: Maps):
    came = write_record(desk, "desk", "desk-ask-1", [{**PLAIN, "patientInstruction": "x"}], CTX)
    assert came.accounting is None
    assert came.not_sent == ("ServiceRequest.note.time", "ServiceRequest.patientInstruction")


# ------------------------------------------------------------------------------------------------------------ functions


def test_every_outward_function_has_the_name_of_an_inward_one():
    assert set(SHARED) == set(INWARD) - {"ref"}


CODES, _ = read_code_map(
    "m",
    "m.csv",
    "# licence: ours\n# source_system: urn:own\n"
    "source,source_display,target_system,target,target_display,equivalence,note,approved_by,on\n"
    "a,A,urn:t,1,One,equivalent,,R,2026-01-05\n"
    "b,B,urn:t,2,Two,wider,,R,2026-01-05\n"
    "c,C,,,,unmatched,,R,2026-01-05\n",
)
RUN = Writing(CTX, {"m": CODES})


@pytest.mark.parametrize(
    ("codings", "found"),
    [
        ([{"system": "urn:t", "code": "1"}], "a"),
        ([{"system": "urn:own", "code": "b"}], "b"),
        ([{"system": "urn:t", "code": "2"}, {"system": "urn:own", "code": "b"}], "b"),
        ([{"system": "urn:own", "code": "c"}], "c"),
    ],
)
def test_a_concept_goes_back_by_its_own_coding_or_by_a_row_of_one_meaning(codings: list[dict[str, str]], found: str):
    assert out.codeable(RUN, {"coding": codings}, "m") == found  # type: ignore[arg-type]


@pytest.mark.parametrize("concept", [{"coding": [{"system": "urn:t", "code": "2"}]}, {"text": "a"}, {"coding": [{"code": "1"}]}])
def test_a_wider_row_a_text_and_a_code_of_no_system_are_no_way_back(concept: dict[str, Any]):
    with pytest.raises(Unusable):
        out.codeable(RUN, concept, "m")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "value", "arguments", "came"),
    [
        (out.date, "2024-03-14", ("%d/%m/%Y",), "14/03/2024"),
        (out.date, "2024-07-01T23:30:00Z", ("", "Europe/London"), "2024-07-02"),
        (out.date, "2024-07-01T23:30:00Z", (), "2024-07-01"),
        (out.dateTime, "2024-07-01T09:30:00Z", ("", "Europe/London"), "2024-07-01T10:30:00"),
        (out.dateTime, "2024-07-01T09:30:00Z", ("%d/%m/%Y %H:%M", "Europe/London"), "01/07/2024 10:30"),
        (out.dateTime, "2024-07", (), "2024-07"),
        (out.boolean, False, ("Y", "N"), "N"),
        (out.boolean, True, (), True),
        (out.identifier, {"system": "urn:a", "value": " 7 "}, ("urn:a",), "7"),
        (out.identifier, {"system": "urn:b", "value": "7"}, ("urn:a",), None),
        (out.quantity, {"value": Decimal("3.20"), "system": "http://unitsofmeasure.org", "code": "kg"}, ("kg",), Decimal("3.20")),
        (out.reference, {"reference": "Patient/p", "display": "N"}, (), {"display": "N"}),
        (
            out.reference,
            {"identifier": {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000107"}, "display": "N"},
            (),
            {"display": "N"},
        ),
        (out.nhsNumber, NUMBER, (), "9990000107"),
        (out.nhsNumber, "999 000 0107", (), "9990000107"),
    ],
)
def test_functions_write_what_their_inward_twin_reads(call: Any, value: Any, arguments: tuple[str, ...], came: Any):
    assert call(value, *arguments) == came


@pytest.mark.parametrize(
    ("call", "value", "arguments", "reason"),
    [
        (out.dateTime, "2024-10-27T00:30:00Z", ("", "Europe/London"), "an hour that comes twice, where no zone is written"),
        (out.dateTime, "2024-10-27", ("%d/%m/%Y %H:%M",), "a day without its time, where a time belongs"),
        (out.quantity, {"value": 3, "system": "http://unitsofmeasure.org", "code": "g"}, ("kg",), "a quantity in another unit"),
        (
            out.quantity,
            {"value": 3, "comparator": "<", "system": "http://unitsofmeasure.org", "code": "kg"},
            ("kg",),
            "another unit",
        ),
        (out.nhsNumber, "9990000108", (), "not an NHS number"),
    ],
)
def test_functions_refuse_what_would_be_lost_or_misread(call: Any, value: Any, arguments: tuple[str, ...], reason: str):
    with pytest.raises(Unusable, match=reason):
        call(value, *arguments)


def test_stu3_spellings_are_those_that_the_inward_functions_read():
    from gateway.mapping.stu3 import description_extension, description_in_stu3, system_in_r4, system_in_stu3

    for system in ("v3-NullFlavor", "v2-0131", "condition-clinical", "observation-category"):
        r4 = f"http://terminology.hl7.org/CodeSystem/{system}"
        assert system_in_r4(system_in_stu3(r4)) == r4
    assert system_in_stu3("http://snomed.info/sct") == "http://snomed.info/sct"
    told = {"url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-CodingSCTDescDisplay", "valueString": "A rash"}
    assert description_extension(description_in_stu3(told)) == told

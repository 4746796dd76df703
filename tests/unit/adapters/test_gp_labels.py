"""Labels of a structured record that are said in words, in odd shapes, of a copy, or over what a List refers to in any way."""

from typing import Any

import pytest

from adapters.gp.record import split
from gateway.adapter import SourceRecord
from tests.unit.adapters.gp_records import ALLERGY, listed, patient, record
from tests.unit.adapters.test_gp_whole_record import ALLERGIES, NOPAT, NOW, OBSERVATION, TOPIC, VERY, labels, like

DOCUMENT = {"resourceType": "DocumentReference", "id": "d1", "subject": {"reference": "Patient/p1"}}
BESIDE = like(OBSERVATION, id="o2")


def by_place(bundle: dict[str, Any]) -> dict[str, SourceRecord]:
    return {item.where.partition(",")[0]: item for item in split(bundle, as_of=NOW).records}


def locked(bundle: dict[str, Any]) -> list[bool]:
    """All but the Lists, in their order."""
    return [item.locked for item in split(bundle, as_of=NOW).records if item.schema != "gpc-list-stu3"]


@pytest.mark.parametrize(
    "said",
    [
        [{"text": "Restricted: not for the family"}],
        [{"coding": [], "text": "Restricted"}],
        [{"coding": [{"display": "Restricted"}]}],
        [{"coding": [{"system": VERY["system"]}]}],
        [{"coding": ["R"]}],
        [{"coding": VERY}],
        [{"coding": NOPAT}],
        [{"coding": [NOPAT]}, {"text": "Restricted"}],
        [{}],
        ["Restricted"],
        {"coding": [VERY]},
        "Restricted",
    ],
)
def test_a_label_of_a_document_that_is_in_words_or_in_an_odd_shape_locks_it(said: Any):
    assert locked(record(like(DOCUMENT, securityLabel=said))) == [True]


def test_a_label_that_is_known_goes_with_its_words_and_an_empty_one_is_none():
    said = [{"coding": [NOPAT], "text": "Not for patient, family or carer view"}]
    assert locked(record(*(like(DOCUMENT, id=f"d{n}", securityLabel=v) for n, v in enumerate((said, [], None))))) == [False] * 3


ODD = (
    {"security": VERY},
    {"security": NOPAT},
    {"security": "V"},
    {"security": [[VERY]]},
    {"security": [{"extension": [{"url": "x", "valueCode": "R"}]}]},
    {"_security": [VERY]},
    {"security": [NOPAT], "_security": [None]},
    [{"security": [VERY]}],
    "V",
)


@pytest.mark.parametrize("meta", ODD, ids=str)
def test_a_label_in_an_odd_shape_locks_what_it_is_of_what_the_list_holds_and_all_of_the_bundle(meta: Any):
    assert locked(record(like(OBSERVATION, meta=meta), BESIDE)) == [True, False]
    assert locked(record(OBSERVATION, BESIDE, listed(TOPIC, "Observation/o1", meta=meta))) == [True, False]
    assert locked(record(OBSERVATION, BESIDE, meta=meta)) == [True, True]


@pytest.mark.parametrize("meta", [None, {}, {"security": []}, {"security": None}, {"profile": ["p"]}], ids=str)
def test_no_label_is_none_however_it_is_said(meta: Any):
    assert locked(record(like(OBSERVATION, meta=meta), meta=meta)) == [False]


def holding(*items: Any, address: str = "", **parts: Any) -> dict[str, Any]:
    """An allergy, an observation beside it, and a labelled List with these items."""
    kept = {**listed(ALLERGIES, id="l1", **parts), "entry": [{"item": item} for item in items]}
    whole = record(ALLERGY, BESIDE, kept)
    if address:
        whole["entry"][1]["fullUrl"] = address
    return whole


FOUND: list[tuple[dict[str, Any], str]] = [
    ({"reference": "AllergyIntolerance/a1"}, ""),
    ({"reference": "https://gp.test/STU3/AllergyIntolerance/a1"}, ""),
    ({"reference": "AllergyIntolerance/a1/_history/1"}, ""),
    ({"reference": "https://gp.test/AllergyIntolerance/a1/_history/1"}, ""),
    ({"reference": " urn:uuid:1 "}, "urn:uuid:1"),
    ({"reference": "AllergyIntolerance/other"}, "https://gp.test/AllergyIntolerance/other"),
    ({"identifier": {"system": "https://provider.test/id", "value": "allergy-1"}}, ""),
    ({"reference": "AllergyIntolerance/gone", "identifier": {"system": "https://provider.test/ID", "value": "allergy-1"}}, ""),
]


@pytest.mark.parametrize(("item", "address"), FOUND)
def test_a_label_of_a_list_covers_what_it_refers_to_in_whichever_way(item: dict[str, Any], address: str):
    assert locked(holding(item, address=address, meta={"security": [VERY]})) == [True, False]
    hidden = by_place(holding(item, address=address, meta={"security": [NOPAT]}))
    assert (labels(hidden["entry 2"]), labels(hidden["entry 3"])) == ([NOPAT], [])


@pytest.mark.parametrize(
    "item",
    [
        {"reference": "AllergyIntolerance/gone"},
        {"reference": "#gone"},
        {"reference": "urn:uuid:2"},
        {"identifier": {"system": "https://provider.test/id", "value": "allergy-2"}},
        {"identifier": {"value": "allergy-1"}},
        {"display": "the letter of May"},
        {},
        None,
        "AllergyIntolerance/a1",
    ],
)
def test_a_labelled_list_that_leads_to_nothing_anybody_finds_covers_the_whole_record(item: Any):
    allergy = {"reference": "AllergyIntolerance/a1"}
    assert locked(holding(allergy, item, meta={"security": [VERY]})) == [True, True]
    assert locked(holding(allergy, item)) == [False, False]
    within = holding(item)
    within["entry"].append({"resource": listed(TOPIC, "List/l1", id="l2", meta={"security": [VERY]})})
    assert locked(within) == [True, True]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"item": {"reference": "AllergyIntolerance/a1"}}, [True, False]),
        ("AllergyIntolerance/a1", [True, True]),
        ([[]], [True, True]),
    ],
)
def test_entries_of_a_labelled_list_in_an_odd_shape_cover_what_they_lead_to_or_the_whole_record(entry: Any, expected: list[bool]):
    whole = holding(meta={"security": [VERY]})
    whole["entry"][3]["resource"]["entry"] = entry
    assert locked(whole) == expected


def test_a_placeholder_in_a_labelled_list_stands_for_no_resource():
    items = {"reference": "AllergyIntolerance/a1"}, {"display": "Referral items are not supported"}
    assert locked(holding(*items, meta={"security": [VERY]})) == [True, False]


@pytest.mark.parametrize("inner", [{}, {"id": "a"}], ids=["no id", "id"])
def test_what_a_labelled_list_contains_is_covered_with_an_id_or_without(inner: dict[str, str]):
    contained = {name: value for name, value in OBSERVATION.items() if name != "id"} | inner
    assert locked(record(BESIDE, listed(TOPIC, contained=contained, meta={"security": [VERY]}))) == [False, True]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "copy",
    [
        like(ALLERGY, id="a2"),
        like(ALLERGY, id="a2", code={"text": "Nuts"}, identifier=[{"system": "s", "value": "1"}, *ALLERGY["identifier"]]),
        {name: value for name, value in ALLERGY.items() if name != "identifier"},
    ],
    ids=["identifier", "second identifier", "id"],
)
def test_a_label_of_one_copy_holds_for_each(copy: dict[str, Any], first: bool):
    kept = like(ALLERGY, meta={"security": [VERY]})
    assert locked(record(*((kept, copy) if first else (copy, kept)), BESIDE)) == [True, True, False]
    hidden = like(ALLERGY, meta={"security": [NOPAT]})
    assert [labels(item) for item in split(record(hidden, copy, BESIDE), as_of=NOW).records] == [[NOPAT], [NOPAT], []]


def test_a_label_of_a_list_over_one_copy_holds_for_each():
    over = listed(ALLERGIES, "AllergyIntolerance/a2", meta={"security": [VERY]})
    assert locked(record(ALLERGY, like(ALLERGY, id="a2"), BESIDE, over)) == [True, False]  # two alike are given once
    assert locked(record(ALLERGY, like(ALLERGY, id="a2", code={"text": "Nuts"}), BESIDE, over)) == [True, True, False]


def test_one_identifier_of_two_types_is_two_things():
    other = like(OBSERVATION, identifier=ALLERGY["identifier"])
    assert locked(record(like(ALLERGY, meta={"security": [VERY]}), other)) == [True, False]


@pytest.mark.parametrize(
    "whom",
    [
        {"display": "Somebody Else"},
        {"reference": "", "display": "Somebody Else"},
        {"reference": 7},
        {"identifier": {"system": "https://another.test/id", "value": "77"}},
        {"identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990001111"}]},
        [{"reference": "Patient/p2"}],
        {},
        "Patient/p2",
    ],
)
def test_a_resource_about_somebody_it_does_not_name_is_refused_with_its_place(whom: Any):
    for resource in (like(ALLERGY, patient=whom), like(OBSERVATION, subject=whom)):
        refused, given = split(record(resource, BESIDE), as_of=NOW).records
        assert (refused.schema, refused.data) == ("gpc-unreadable-entry", {})
        assert refused.where == f"entry 2, {resource['resourceType']}, about somebody it does not name"
        assert given.schema == "gpc-observation-stu3"


def test_a_resource_that_names_the_child_by_number_alone_is_theirs():
    whom = {"identifier": patient()["identifier"][0], "display": "The child"}
    (item,) = split(record(like(OBSERVATION, subject=whom)), as_of=NOW).records
    assert item.schema == "gpc-observation-stu3"

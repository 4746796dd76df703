"""Disclosing a typed resource: the same bytes leave, and the same is withheld, as of the plain one."""

import msgspec
import pytest
from policy_world import EVERY_TYPE, PERSON, identity, mapped, policy, recorded, request
from test_disclosure import ANSWERED, WIDE, permit

from gateway.disclosure import disclose
from gateway.mapping import Reader, encode
from gateway.model import CareClass, Category, Mark
from gateway.resource import Typed

READER = Reader(["AllergyIntolerance", "Immunization", "Goal", "Medication"])
SUBJECT = {"reference": f"Patient/{PERSON}"}
JAB = {
    "status": "completed",
    "vaccineCode": {"text": "MMR"},
    "patient": SUBJECT,
    "occurrenceDateTime": "2025-03-01",
    "note": [{"text": "of the mother", "authorString": "A"}],
    "performer": [{"actor": {"display": "A nurse"}}],
    "location": {"display": "The clinic"},
}


def jab(paths, **elements):
    elements = {name: value for name, value in (JAB | elements).items() if value is not None}
    return mapped("Immunization", "child-health", Category.IMMUNISATIONS, CareClass.HEALTH, paths=paths, **elements)


def typed(item):
    body = READER.read(msgspec.Raw(encode(item.body)))
    assert isinstance(body, Typed)
    return msgspec.structs.replace(item, body=body)


def both(item, **kwargs):
    """The plain and the typed way -> what leaves (the Patient aside) and what is withheld, which must be the same."""
    under = permit(**kwargs)
    ways = [disclose([one], ANSWERED, [], recorded(under), identity(), policy(), page=WIDE) for one in (item, typed(item))]
    plain, other = (([(out.encoded, out.stripped, dict(out.body)) for out in way.resources[1:]], way.withheld) for way in ways)
    assert plain == other
    return other


@pytest.mark.parametrize(
    ("paths", "gone"),
    [
        ((), set()),
        ((("note",),), {"note"}),
        ((("education",),), set()),
        ((("education", "reference"),), set()),
        ((("note",), ("location",), ("nothing",)), {"note", "location"}),
        ((("note", "authorString"),), set()),
        ((("note", "text"),), {"note"}),
        ((("note", "time"),), set()),
        ((("performer", "actor"), ("location",)), {"performer", "location"}),
        ((("occurrenceDateTime",),), None),
        ((("status",),), None),
        ((("*",),), None),
        (((),), None),
    ],
)
def test_a_marked_part_goes_from_a_typed_resource_as_from_a_plain_one(paths, gone):
    ((*left,), withheld) = both(jab({Mark.THIRD_PARTY: paths}))
    if gone is None:
        assert (left, withheld) == ([], {"mark:third-party": 1})
    else:
        assert set(left[0][2]) == {"resourceType", "id", "meta", *JAB} - gone


def test_a_choice_element_counts_whichever_type_it_has():
    item = jab({Mark.THIRD_PARTY: (("note",),)}, occurrenceDateTime=None, occurrenceString="in spring")
    assert len(both(item)[0]) == 1
    item = jab({Mark.THIRD_PARTY: (("note",),)}, occurrenceDateTime=None)
    assert both(item) == ([], {"mark:third-party": 1})


def test_a_type_whose_needs_are_not_known_is_withheld_when_stripped():
    paths = {Mark.THIRD_PARTY: (("note",),)}
    item = mapped("Goal", "gp", Category.ALLERGIES, CareClass.HEALTH, paths=paths, note=[{"text": "x"}], subject=SUBJECT)
    assert both(item, asked=request(types=EVERY_TYPE | {"Goal"})) == ([], {"mark:third-party": 1})


def test_a_type_that_requires_nothing_may_lose_anything():
    paths = {Mark.THIRD_PARTY: (("code",),)}
    elements = {"code": {"text": "Penicillin"}, "status": "active"}
    item = mapped("Medication", "gp", Category.ALLERGIES, CareClass.HEALTH, paths=paths, **elements)
    ((left,), _) = both(item, asked=request(types=EVERY_TYPE | {"Medication"}))
    assert "code" not in left[2]


def test_what_locates_a_protected_person_is_swept_from_a_typed_resource():
    ((left,), _) = both(jab({}), protected=True)
    assert "location" not in left[2]
    assert "performer" not in left[2]
    ((left,), _) = both(jab({}, location=None, performer=None, note=None), protected=True)
    assert left[2]["status"] == "completed"


@pytest.mark.parametrize(
    "meta",
    [
        {"profile": ["p"]},
        {"profile": ["p"], "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}]},
        {"security": [{"system": "urn:unknown", "code": "X"}]},
    ],
)
def test_labels_and_profiles_of_a_typed_resource_are_kept(meta):
    both(jab({}, meta=meta))

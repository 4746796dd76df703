"""What was made ready in another process is decided on here exactly as what was not."""

import pickle

import msgspec
import pytest
from policy_world import PERSON, identity, policy, recorded
from test_disclosure import ANSWERED, WIDE, allergy, flag, jab, permit

from gateway.disclosure import AT_A_TIME, Ready, disclose, disclose_in_turns, readied
from gateway.errors import InternalFault
from gateway.model import CareClass, Mark

NOTE = {"note": [{"text": "of the mother"}]}
NOPAT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
ITEMS = {
    "usual": allergy(elements={"meta": {"profile": ["p"]}}),
    "a marked note": allergy(paths={Mark.THIRD_PARTY: (("note",),)}, elements=NOTE),
    "a marked whole": allergy(paths={Mark.THIRD_PARTY: (("*",),)}),
    "a mark that nobody knows": allergy(paths={"odd": (("note",),)}, elements=NOTE),
    "locked": allergy(locked=True),
    "special": flag(CareClass.SPECIAL),
    "for nobody in the family": allergy(elements={"meta": {"security": [NOPAT]}}),
    "a label that nobody knows": allergy(elements={"meta": {"security": [{"code": "ODD"}]}}),
    "a category that nobody knows": msgspec.structs.replace(allergy(), category="odd"),
    "a class that nobody knows": msgspec.structs.replace(allergy(), care_class="odd"),
    "a place": jab(paths={Mark.LOCATING: (("location",),)}, elements={"location": {"display": "The clinic"}}),
    "what it requires": jab(paths={Mark.THIRD_PARTY: (("status",),)}),
}


def ready(item, under):
    there = pickle.loads(pickle.dumps(readied(item, under.strip)))
    return msgspec.structs.replace(item, body=Ready(*there), paths={})


def shown(made):
    return [(out.encoded, out.category, out.care_class, out.rules, out.stripped, dict(out.body)) for out in made.resources]


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS.keys())
@pytest.mark.parametrize("facts", [{}, {"protected": True}], ids=["", "protected"])
def test_the_same_leaves_and_the_same_is_withheld_as_without(item, facts):
    under = permit(**facts)
    ways = [disclose([one], ANSWERED, [], recorded(under), identity(), policy(), page=WIDE) for one in (item, ready(item, under))]
    assert shown(ways[0]) == shown(ways[1])
    assert ways[0].withheld == ways[1].withheld
    assert ways[0].withheld_known == ways[1].withheld_known


def test_what_was_made_ready_for_other_marks_is_refused():
    calm, protected = permit(), permit(protected=True)
    assert calm.strip != protected.strip
    with pytest.raises(InternalFault):
        disclose([ready(allergy(), calm)], ANSWERED, [], recorded(protected), identity(), policy(), page=WIDE)


def test_it_is_read_like_any_other_resource_and_prints_nothing_of_itself():
    body = ready(allergy(), permit()).body
    assert (body["resourceType"], body["id"], body.get("nothing")) == ("AllergyIntolerance", f"{PERSON}.gp.a1", None)
    assert body["code"] == {"text": "Penicillin"}
    assert len(body) == len(dict(body))
    assert "Penicillin" not in repr(body)


@pytest.mark.anyio
async def test_a_large_answer_is_disclosed_in_turns_as_it_is_at_once():
    items = [allergy(f"a{number}") for number in range(AT_A_TIME * 3)]
    under = recorded(permit())
    turns = await disclose_in_turns(items, ANSWERED, [], under, identity(), policy(), page=WIDE)
    assert turns == disclose(items, ANSWERED, [], under, identity(), policy(), page=WIDE)

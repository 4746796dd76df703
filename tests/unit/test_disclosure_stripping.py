"""What is taken out along many paths at once is what would be taken out along one after another."""

from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.disclosure.stripping import WHOLE, strip
from gateway.model import Unless

NAMES = ("item", "answer", "note", "text", "linkId", "description")
PATHS = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple), max_size=6)
WORDS = frozenset({"our words"})
LEAVES = st.sampled_from(["our words", "theirs", "", None, 1])
ELEMENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, *(f"_{name}" for name in NAMES)]), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from([*NAMES, "_note", "_item"]), ELEMENTS, max_size=4)
KINDS = st.sampled_from(["QuestionnaireResponse", "AllergyIntolerance", "DocumentReference"])
REQUIRED = {"status": "final", "patient": {"reference": "Patient/x"}, "content": [{}]}


def _one_by_one(body, paths):
    return reduce(lambda left, path: None if left is None else strip(left, [path]), paths, body)


@settings(max_examples=300, deadline=None)
@given(KINDS, BODIES, PATHS, st.booleans())
def test_paths_taken_together_leave_what_they_leave_one_after_another(kind, elements, paths, own_words):
    body = {**elements, "resourceType": kind, **REQUIRED}
    if own_words:  # as maps mark them: every path that ends at this name, none that goes through it
        paths = [(*path[:-1], Unless("description", WORDS)) for path in paths if "description" not in path[:-1]]
    before = repr(body)
    assert strip(body, paths) == _one_by_one(body, paths)
    assert repr(body) == before


def test_a_path_that_ends_where_another_goes_on_takes_both():
    body = {"resourceType": "QuestionnaireResponse", "status": "completed", "item": [{"linkId": "1", "text": "t", "answer": [1]}]}
    assert strip(body, [("item", "answer"), ("item", "answer", "valueString")])["item"] == [{"linkId": "1", "text": "t"}]
    assert strip(body, [("item", "0", "text"), ("item", "0")]) == {"resourceType": "QuestionnaireResponse", "status": "completed"}


def test_the_whole_goes_whatever_other_path_there_is():
    assert strip({"resourceType": "Condition"}, [("note", "text"), WHOLE]) is None
    assert strip({"resourceType": "Condition"}, [("note",), ()]) is None

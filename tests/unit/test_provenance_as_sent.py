"""What was sent of a value that is given in another unit: told beside its resource in Provenance, and nowhere it may not be."""

import pickle
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from policy_world import EVERY_TYPE, identity, mapped, policy, recorded, request
from test_disclosure import ANSWERED, WIDE, jab, permit

from gateway import systems
from gateway.disclosure import Ready, disclose, readied
from gateway.model import CareClass, Category, MappedResource, Mark, Original, Permit

ASKED = request(types=EVERY_TYPE | {"Observation", "Provenance"})
UCUM = "http://unitsofmeasure.org"
GAVE = {"value": Decimal("3.450"), "unit": "kilogram", "system": UCUM, "code": "kg"}
SENT = {"value": 3450, "unit": "at 12 High Street", "system": UCUM, "code": "g"}
SPOKEN = {"value": 3450, "unit": "grams"}


def weighed(*sent: dict[str, Any], key: str = "o1", **more: Any) -> MappedResource:
    labels = {name: more.pop(name) for name in ("paths", "locked") if name in more}
    item = mapped(
        *("Observation", "child-health", Category.CHILD_HEALTH_REVIEWS, CareClass.HEALTH),
        key=key,
        **labels,
        **{"status": "final", "code": {"text": "Birth weight"}, "valueQuantity": GAVE, **more},
    )
    original = Original(("valueQuantity",), GAVE, tuple(("valueQuantity", one) for one in sent or (SENT,)))
    return msgspec.structs.replace(item, originals=(original,))


def provenance(*items: MappedResource, under: Permit | None = None) -> Any:
    permitted = permit(asked=ASKED) if under is None else under
    made = disclose(items, ANSWERED, (), recorded(permitted), identity(), policy(), page=WIDE)
    return next((one for one in made.resources if one.body["resourceType"] == "Provenance"), None)


def told(*items: MappedResource, under: Permit | None = None) -> list[Any]:
    found = provenance(*items, under=under)
    return [] if found is None else [target.get("extension") for target in found.body["target"]]


def as_sent(element: str, *values: tuple[str, Any]) -> dict[str, Any]:
    parts = [{"url": "element", "valueString": element}, *({"url": "value", name: value} for name, value in values)]
    return {"url": systems.AS_SENT, "extension": parts}


def test_what_was_sent_stands_beside_the_reference_to_its_resource_and_nowhere_else() -> None:
    assert told(weighed(), jab()) == [None, [as_sent("Observation.value", ("valueQuantity", SENT))]]
    sent = b'"valueQuantity":{"code":"g","system":"http://unitsofmeasure.org","unit":"at 12 High Street","value":3450}'
    assert sent in provenance(weighed()).encoded


def test_a_provenance_that_tells_values_has_the_class_of_what_they_are_of() -> None:
    assert provenance(jab()).care_class is CareClass.OPERATIONAL
    found = provenance(weighed(), jab())
    assert found.care_class is CareClass.HEALTH
    assert {"system": systems.CARE_CLASS, "code": "health"} in found.body["meta"]["security"]


def test_a_label_that_a_resource_came_with_is_on_the_provenance_that_tells_of_it() -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
    found = provenance(weighed(meta={"security": [label]}), weighed(key="o2", meta={"security": [label]}))
    assert found.body["meta"]["security"].count(label) == 1
    assert label not in provenance(jab(elements={"meta": {"security": [label]}})).body["meta"]["security"]


def test_several_that_were_joined_are_told_in_their_order() -> None:
    weeks, days = {"value": 39, "unit": "wk"}, {"value": 4, "unit": "d"}
    assert told(weighed(weeks, days)) == [[as_sent("Observation.value", ("valueQuantity", weeks), ("valueQuantity", days))]]


def test_of_a_withheld_resource_nothing_is_told() -> None:
    assert told(weighed(locked=True)) == []
    assert told(weighed(locked=True), jab()) == [None]
    whole = {Mark.THIRD_PARTY: (("*",),)}
    assert told(weighed(paths=whole), jab()) == [None]


def test_of_an_element_that_was_stripped_nothing_is_told() -> None:
    assert told(weighed(paths={Mark.THIRD_PARTY: (("valueQuantity",),)}, note=[{"text": "x"}])) == [None]
    assert told(weighed(paths={Mark.THIRD_PARTY: (("valueQuantity", "unit"),)})) == [None]


def test_of_a_part_whose_place_went_nothing_is_told() -> None:
    part = {"code": {"text": "x"}, "valueQuantity": GAVE}
    item = weighed(component=[part], paths={Mark.THIRD_PARTY: (("component",),)})
    item = msgspec.structs.replace(
        item, originals=(Original(("component", 0, "valueQuantity"), GAVE, (("valueQuantity", SENT),)),)
    )
    assert told(item) == [None]
    kept = msgspec.structs.replace(item, paths={})
    assert told(kept) == [[as_sent("Observation.component[0].value", ("valueQuantity", SENT))]]
    assert told(msgspec.structs.replace(kept, body={**kept.body, "component": [{"code": {"text": "x"}}]})) == [None]


def test_of_a_protected_person_no_word_that_somebody_may_have_typed_is_told() -> None:
    under = permit(asked=ASKED, protected=True)
    assert told(weighed(), under=under) == [
        [as_sent("Observation.value", ("valueQuantity", {"value": 3450, "system": UCUM, "code": "g"}))]
    ]
    assert told(weighed(SPOKEN), under=under) == [
        [as_sent("Observation.value", ("valueQuantity", SPOKEN))]
    ]  # a word of the table


def test_where_provenance_is_not_asked_nothing_of_it_is_told() -> None:
    assert provenance(weighed(), under=permit(asked=request(types=EVERY_TYPE | {"Observation"}))) is None


@pytest.mark.parametrize("paths", [{}, {Mark.THIRD_PARTY: (("valueQuantity",),)}], ids=["whole", "stripped"])
def test_the_same_is_told_of_what_was_made_ready_in_another_process(paths: Any) -> None:
    under = permit(asked=ASKED)
    item = weighed(paths=paths, note=[{"text": "x"}])
    ready, originals = pickle.loads(pickle.dumps((readied(item, under.strip), item.originals)))
    there = msgspec.structs.replace(item, body=Ready(*ready), paths={}, originals=originals)
    assert provenance(item, under=under).encoded == provenance(there, under=under).encoded

"""A birth weight in grams, from the child health service's message to the answer: given in kilograms, told as it was sent."""

from decimal import Decimal
from typing import Any

import msgspec
from whole_place import World

from gateway.systems import AS_SENT
from sandbox.demo import VISITOR
from sandbox.families import BY_KEY

UCUM = "http://unitsofmeasure.org"
BORN = "364589006"


def test_a_reader_sees_one_unit_and_in_provenance_the_number_and_unit_that_were_sent(world: World) -> None:
    answer = world.everything(VISITOR, "ben")
    shown = [one["resource"] for one in msgspec.json.Decoder(float_hook=Decimal).decode(answer.content)["entry"]]
    (born,) = [one for one in shown if one["resourceType"] == "Observation" and BORN in str(one["code"])]
    gave = {"value": Decimal("3.410"), "unit": "kilogram", "system": UCUM, "code": "kg"}
    assert born["valueQuantity"] == gave
    assert str(born["valueQuantity"]["value"]) == "3.410"
    targets = [target for one in shown if one["resourceType"] == "Provenance" for target in one["target"]]
    (target,) = [one for one in targets if one["reference"] == f"Observation/{born['id']}"]
    sent = {"value": 3410, "unit": "gram", "system": UCUM, "code": "g"}
    parts = [{"url": "element", "valueString": "Observation.value"}, {"url": "value", "valueQuantity": sent}]
    assert target["extension"] == [{"url": AS_SENT, "extension": parts}]


def test_who_asks_for_observations_alone_gets_the_value_and_no_provenance(world: World) -> None:
    answer: Any = world.search(VISITOR, "Observation", BY_KEY["ben"].nhs_number).json()
    assert answer["entry"]
    assert not [one for one in answer["entry"] if one["resource"]["resourceType"] == "Provenance"]

"""UK Core slices that fixed values tell apart: what a map's constants can never make right is named at load."""

from pathlib import Path

import pytest

from gateway.mapping import MappingFaults, load
from gateway.mapping.check import Checker
from gateway.mapping.functions import SHARED
from gateway.mapping.r4 import Index, index
from gateway.mapping.reading import MapReader
from gateway.mapping.source import read_source

SOURCE = """\
schemas:
  - schema: place-1
    about: a place
    fields:
      id: {type: string, class: operational}
      code: {type: string, class: operational}
"""
MAP = """\
map: place/one
version: 1.0.0
reads: place-1
because: synthetic
resources:
  Location:
    category: other-health
    key: id
    set:
      identifier[0].system: = 'https://fhir.nhs.uk/Id/ods-site-code'
      identifier[0].value: code
  Observation:
    category: other-health
    key: id
    profile: https://fhir.hl7.org.uk/StructureDefinition/UKCore-Observation-Lab
    set:
      status: = 'final'
      category[0].coding[0].system: = 'http://terminology.hl7.org/CodeSystem/observation-category'
      category[0].coding[0].code: = 'laboratory'
      code.text: code
      subject: = ref('Patient')
      effectiveDateTime: = '2026-01-05'
ignore: {}
undecided: []
"""


def faults(folder: Path, old: str = "", new: str = "") -> list[str]:
    assert old in MAP
    (folder / "place").mkdir()
    (folder / "place" / "source.yaml").write_text(SOURCE, "utf-8")
    (folder / "place" / "one.yaml").write_text(MAP.replace(old, new, 1) if old else MAP, "utf-8")
    try:
        load(folder)
    except MappingFaults as caught:
        return [str(fault) for fault in caught.faults]
    return []


def test_a_map_that_keeps_the_slices_loads(tmp_path: Path):
    assert faults(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "      identifier[0].value: code\n",
            "      identifier[0].value: code\n"
            "      identifier[1].system: = 'https://fhir.nhs.uk/Id/ods-site-code'\n      identifier[1].value: id\n",
            "place/one.yaml:6:3: UK Core allows 1 identifier with system 'https://fhir.nhs.uk/Id/ods-site-code', and 2 lines",
        ),
        (
            "identifier[0].value: code",
            "identifier[0].use: = 'usual'",
            "place/one.yaml:6:3: UK Core wants value of identifier with system 'https://fhir.nhs.uk/Id/ods-site-code'",
        ),
        (
            "coding[0].code: = 'laboratory'",
            "coding[0].code: = 'survey'",
            "place/one.yaml:12:3: UK Core wants category with coding.code 'laboratory', and no line writes it",
        ),
    ],
)
def test_a_slice_that_no_record_could_keep_is_named(tmp_path: Path, old: str, new: str, message: str):
    assert message in [fault[: len(message)] for fault in faults(tmp_path, old, new)]


def test_what_a_value_decides_is_not_guessed(tmp_path: Path):
    assert faults(tmp_path, "coding[0].code: = 'laboratory'", "coding[0].code: code | code") == []


WEIGHT = """\
  Observation:
    category: other-health
    key: id
    profile: https://fhir.hl7.org.uk/StructureDefinition/UKCore-Observation-VitalSigns-BodyWeight
    set:
      status: = 'final'
      category[0].coding[0].system: = 'http://terminology.hl7.org/CodeSystem/observation-category'
      category[0].coding[0].code: = 'vital-signs'
      code.coding[0].system: = 'http://snomed.info/sct'
      code.coding[0].code: code | code
      subject: = ref('Patient')
      effectiveDateTime: = '2026-01-05'
      valueQuantity: code | quantity('kg')
ignore: {}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", ""),
        ("valueQuantity: code | quantity('kg')", "valueString: code", "UK Core allows Quantity here, not string"),
        ("      effectiveDateTime: = '2026-01-05'\n", "", "Observation.effective[x] is required (min 1) and no line sets it"),
        ("= 'final'", "= 'amended'", "status takes only: final"),
        ("= 'vital-signs'", "= 'survey'", "code takes only: vital-signs"),
    ],
)
def test_a_profile_holds_to_what_the_profile_it_is_made_from_says(tmp_path: Path, old: str, new: str, message: str):
    found = faults(tmp_path, "ignore: {}\n", WEIGHT.replace("Observation:", "Observation#weight:").replace(old, new, 1))
    assert (len(found) == 1 and message in found[0]) if message else found == []


@pytest.mark.parametrize(
    ("line", "said"), [("valueQuantity: code | quantity('kg')", []), ("valueString: code", ["valueQuantity"])]
)
def test_a_slice_by_type_of_a_choice_element_is_that_elements_own_rule(line: str, said: list[str]):
    raw = {**index()._raw}
    own = {"type": "Observation", "version": "1", "elements": {"valueQuantity": {"min": 1}}}
    made = Index({**raw, "profiles": {**raw["profiles"], "urn:weighed": own}})
    text = MAP[: MAP.index("  Location:")] + (
        "  Observation:\n    category: other-health\n    key: id\n    profile: urn:weighed\n    set:\n"
        f"      status: = 'final'\n      code.text: code\n      {line}\n"
    )
    schemas, _ = read_source(SOURCE, "place/source.yaml", made)
    read = MapReader(text, "place/one.yaml").read()
    checker = Checker("place", read, schemas["place-1"], made, {}, SHARED, frozenset(), frozenset())
    checker.check("one.yaml")
    wanted = [f"Observation.{name} is required (min 1) and no line sets it: add one for it" for name in said]
    assert [fault.message for fault in checker.faults] == wanted

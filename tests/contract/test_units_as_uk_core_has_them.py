"""The units of child health are those that UK Core's vital signs fix, spelling included; those of GP systems are their own."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.mapping.rewrite import parse
from gateway.mapping.unit_tables import read_units

F = "{http://hl7.org/fhir}"
PROFILES = {
    "BodyWeight": ("weight", "birth weight"),
    "HeadCircumference": ("head circumference",),
    "BodyTemperature": ("temperature",),
    "HeartRate": ("heart rate",),
    "RespirationRate": ("respiratory rate",),
    "BloodPressure": ("blood pressure",),
    "OxygenSaturation": ("oxygen saturation",),
    "BMI": ("body mass index",),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_unit_of_a_kind_is_the_one_its_uk_core_profile_fixes(samples: Path, profile: str) -> None:
    table, _ = read_units((files("mappings") / "child_health" / "units.yaml").read_text("utf-8"), "units.yaml")
    place = samples / "NHSDigital__FHIR-R4-UKCORE-STAGING-MAIN" / "structuredefinitions"
    root = etree.parse(place / f"UKCore-Observation-VitalSigns-{profile}.xml")
    fixed = {
        str(element.get("id")).rpartition(".")[2]: {child.get("value") for child in element if "fixed" in str(child.tag)}
        for element in root.iter(f"{F}element")
        if ".value[x]." in str(element.get("id"))
    }
    assert fixed["code"]
    kinds = [kind for kind in table.kinds if kind.name in PROFILES[profile]]
    assert len(kinds) == len(PROFILES[profile])
    for kind in kinds:
        assert {kind.gives} == fixed["code"]
        assert fixed.get("unit", {table.names[kind.gives]}) <= {table.names[kind.gives]}
    loinc = {code for (system, code), place in table.places.items() if "loinc" in system and table.kinds[place] in kinds}
    named = {
        str(child.get("value"))
        for element in root.iter(f"{F}element")
        if str(element.get("id")).endswith("coding:loinc.code")
        for child in element
        if child.tag == f"{F}fixedCode"
    }
    assert named & loinc


def quantities(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "unit" in value and not isinstance(value.get("value"), dict):
            yield {name: value[name] for name in ("value", "unit", "system", "code") if name in value}
        value = list(value.values())
    for part in value if isinstance(value, list) else ():
        yield from quantities(part)


def test_a_gp_systems_unit_is_as_the_practice_recorded_it_and_no_word_of_it_becomes_a_code() -> None:
    seen = 0
    for case in (Path(str(files("mappings"))) / "gp" / "cases").glob("*.out.json"):
        sent = list(quantities(parse(case.with_name(case.name.replace(".out.", ".in.")).read_bytes())))
        for given in quantities(parse(case.read_bytes())):
            assert given in sent, case.name
            seen += "code" not in given
    assert seen > 5

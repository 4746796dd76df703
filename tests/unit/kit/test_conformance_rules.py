"""Each rule of the conformance kit finds what it is for."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gateway.adapter import Manifest, PatientIdentity, SourceContractBroken, SourceRecord, Tools
from gateway.cli.check import noticed
from gateway.kit.conformance import RULES, TIERS, Subject, examine, subject
from gateway.kit.readme import made as readme_of
from gateway.kit.readme import renewed
from gateway.mapping import load
from gateway.mapping.cases import cases
from tests.unit.kit.clinic import MAP, ROW, make

ROWS = {
    "a-visit": ROW,
    "still-there": {name: value for name, value in ROW.items() if name != "left"},
    "without-a-day": {name: value for name, value in ROW.items() if name != "day"},
    "of-kind-x": {**ROW, "kind": "x"},
    "on-a-day-that-is-none": {**ROW, "day": "soon"},
}
README = """# Clinic

```toml
[sources.clinic]
adapter = "clinic"
custodian = "ods:X99901"
agreement = "clinic"
title = "Clinic"
```
"""
SANDBOX: dict[str, Any] = {"tier": "sandbox", "done": {"cases": "some"}, "exempt": {}, "missing": {}}


def manifest() -> Manifest:
    return Manifest(
        name="clinic",
        title="Clinic",
        connector=None,
        owner="A team",
        identity="nhs_number",
        kind="gp",
        reads=("clinic-1",),
        gives={"Encounter": "child-health-reviews"},
        purposes=frozenset({"TREAT"}),
        never_for=frozenset(),
        feeds_protection=False,
        budget_s=1.0,
    )


class Silent:
    """An adapter that asks nothing of anybody: nothing can be seen of it."""

    async def fetch(self, patient: Any, want: Any) -> AsyncIterator[SourceRecord]:
        for item in ():
            yield item


class Shelved:
    """An adapter of what was delivered: it passes on what lies on its shelf, each with the key it came with."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def fetch(self, patient: PatientIdentity, want: Any) -> AsyncIterator[SourceRecord]:
        for held in await self._tools.shelf.newest(patient.number):
            yield SourceRecord("clinic-1", held.data, held.where, held.as_of, held.about)


def package(place: Path, reader: Any = None) -> ModuleType:
    (place / "__init__.py").touch()
    spec = spec_from_file_location("clinic", place / "__init__.py", submodule_search_locations=[str(place)])
    assert spec is not None
    made = module_from_spec(spec)

    def refuses(manifest: Manifest, name: str, body: bytes) -> list[Any]:
        raise SourceContractBroken("not-a-file-of-ours")

    made.read_file = reader or refuses  # type: ignore[attr-defined]
    made.build = lambda manifest, source, tools: Shelved(tools)  # type: ignore[attr-defined]
    return made


@pytest.fixture
def clinic(tmp_path: Path) -> Subject:
    folder = make(tmp_path / "mappings", rows=ROWS)
    place = tmp_path / "package"
    place.mkdir()
    (place / "README.md").write_text(README, "utf-8")
    made = package(place)
    maps = load(folder)
    for case in cases(folder):
        case.accept(case.run(maps))
    one = replace(subject("clinic", made, manifest(), maps, folder, lambda name: made), quality=SANDBOX)
    return replace(one, readme=renewed(one.readme, readme_of(one)))


def found(one: Subject, rule: str) -> list[str]:
    return list(RULES[rule](one))


def test_a_whole_adapter_meets_sandbox_and_pilot_and_needs_to_be_tried_for_live(clinic: Subject):
    report = examine(clinic)
    assert (report.claimed, report.met, report.needs()) == ("sandbox", "pilot", ("live", ["tried"]))
    assert report.holds


def test_an_adapter_that_was_tried_and_whose_every_line_is_shown_is_exemplary(clinic: Subject):
    told = {**SANDBOX, "tier": "exemplary", "done": {"tried": "against a real clinic, 2026-10, by A. Person"}}
    report = examine(replace(clinic, quality=told))
    assert (report.met, report.needs()) == ("exemplary", ("", []))


def test_a_rule_that_could_look_at_nothing_says_why_and_is_not_met(clinic: Subject):
    clinic.package.build = lambda manifest, source, tools: Silent()  # type: ignore[attr-defined]
    report = examine(replace(clinic, quality={**SANDBOX, "tier": "pilot"}))
    nothing = "it asked neither a service nor its shelf, so there was nothing to see"
    assert report.unchecked == dict.fromkeys(("errors", "slow", "empty", "wrong-person"), nothing)
    assert (report.met, report.holds) == ("sandbox", False)
    assert report.needs() == ("pilot", ["errors", "slow", "empty", "wrong-person"])


def test_without_a_case_what_cases_show_is_not_checked_even_of_a_source_that_speaks_r4(clinic: Subject):
    speaks = replace(clinic.manifest, reads=("fhir-r4",))
    report = examine(replace(clinic, manifest=speaks, cases=()))
    why = "there is no case: lay an invented record under mappings/clinic/cases"
    assert {rule for rule, said in report.unchecked.items() if said == why} == {"leaves", "goldens", "same", "order"}
    assert report.met == ""


def test_settings_that_start_no_adapter_leave_every_running_rule_unchecked(clinic: Subject):
    report = examine(replace(clinic, readme="# Clinic"))
    assert report.unchecked.keys() >= {"errors", "slow", "empty", "wrong-person", "read-only", "number-in-url", "no-network"}
    assert set(report.unchecked.values()) == {"the adapter does not start with its README's settings"}


def test_a_tier_for_which_the_author_says_something_is_missing_is_not_met(clinic: Subject):
    report = examine(replace(clinic, quality={**SANDBOX, "tier": "pilot", "missing": {"pilot": "a test system"}}))
    assert report.met == "sandbox"
    assert not report.holds


def test_nobody_is_exempt_from_the_rules_of_the_lowest_tier(clinic: Subject):
    told = replace(clinic, quality={**SANDBOX, "exempt": {"hostile": "hard", "unknown": "what", "lines": "soon"}})
    assert found(told, "quality") == [
        "quality.yaml: nobody is exempt from hostile",
        "quality.yaml: exempt names a rule that does not exist",
    ]


def test_a_tier_that_does_not_exist_is_no_claim(clinic: Subject):
    assert not examine(replace(clinic, quality={**SANDBOX, "tier": "gold"})).holds
    assert not examine(replace(clinic, quality={})).holds


def test_a_manifest_that_gives_what_no_map_makes_is_found(clinic: Subject):
    assert found(replace(clinic, manifest=replace(clinic.manifest, gives={"Flag": "child-protection"})), "manifest")
    assert found(replace(clinic, manifest=replace(clinic.manifest, reads=("clinic-2",))), "manifest")
    assert found(replace(clinic, manifest=replace(clinic.manifest, purposes=frozenset())), "manifest")


def test_a_field_that_nobody_decided_about_is_found(clinic: Subject):
    (clinic.cases[0].folder / "a-visit.in.json").write_text(
        json.dumps({"schema": "clinic-1", "data": {**ROW, "shoe_size": "3"}}), "utf-8"
    )
    assert found(clinic, "leaves") == ["case a-visit: no line reads and no map ignores shoe_size"]


def test_a_case_without_a_golden_is_called_so_and_measures_no_line(clinic: Subject):
    assert noticed(clinic) == ["clinic/visit@1.0.0: 18 of 18 changes noticed by cases"]
    for case in clinic.cases:
        for ending in ("out.json", "refused.txt"):
            (case.folder / f"{case.name}.{ending}").unlink(missing_ok=True)
    assert noticed(clinic) == ["clinic/visit@1.0.0: not measurable: a case has no golden yet"]
    told = "no golden yet: gateway map cases clinic --accept writes what comes out, for you to read in the diff"
    assert found(clinic, "goldens")[0] == f"case {clinic.cases[0].name}: {told}"


def test_a_golden_that_differs_and_one_that_is_not_r4_are_found(clinic: Subject):
    golden = clinic.cases[0].folder / "a-visit.out.json"
    golden.write_text(golden.read_text("utf-8").replace("finished", "done"), "utf-8")
    assert any("golden is not R4 UK Core" in fault for fault in found(clinic, "goldens"))
    assert any("status: differs" in fault for fault in found(clinic, "goldens"))


def test_a_reader_that_lets_another_error_through_is_found(clinic: Subject):
    def careless(manifest: Manifest, name: str, body: bytes) -> list[Any]:
        return [body.decode("ascii")]

    faults = found(replace(clinic, package=package(clinic.folder, careless)), "hostile")
    assert "hostile file not-text: UnicodeDecodeError instead of one of the four errors" in faults


def test_a_reader_whose_error_tells_a_value_is_found(clinic: Subject):
    def telling(manifest: Manifest, name: str, body: bytes) -> list[Any]:
        raise SourceContractBroken(body.decode("latin-1"))

    assert "hostile file zip: its error holds a value" in found(
        replace(clinic, package=package(clinic.folder, telling)), "hostile"
    )


def test_what_could_be_somebodys_number_is_found_and_is_not_told(clinic: Subject):
    (clinic.cases[0].folder / "a-visit.refused.txt").write_text("9434765919 and 9990000107\n", "utf-8")
    faults = found(clinic, "synthetic")
    assert len(faults) == 1
    assert "943" not in faults[0]


def test_an_owner_a_readme_and_a_refused_case_are_asked_for(clinic: Subject):
    assert found(replace(clinic, manifest=replace(clinic.manifest, owner="TODO")), "owner")
    (clinic.cases[0].folder / "on-a-day-that-is-none.refused.txt").unlink()
    assert found(clinic, "refusals") == ["no case is refused: show a record that must be"]
    assert found(clinic, "readme") == []
    assert len(found(replace(clinic, readme="# Clinic"), "readme")) == 2


def test_a_made_part_of_a_readme_that_is_not_current_is_found_and_made_anew(clinic: Subject):
    other = replace(clinic, manifest=replace(clinic.manifest, owner="Another team"))
    assert found(other, "readme") == ["README.md: its made part is missing or not current: gateway adapter readme clinic --write"]
    again = replace(other, readme=renewed(other.readme, readme_of(other)))
    assert found(again, "readme") == []
    assert again.readme.count("## In short") == 1
    assert "| owner | Another team |" in again.readme


def test_a_line_that_no_case_exercises_is_found(clinic: Subject, tmp_path: Path):
    folder = make(tmp_path / "fewer", rows={"a-visit": {"visit": "1", "day": "2026-01-02"}})
    fewer = subject("clinic", clinic.package, clinic.manifest, load(folder), folder, clinic.connector)
    assert found(fewer, "lines") == ["clinic/visit.yaml:17: no case exercises this line"]
    assert found(fewer, "mutation")


def test_every_rule_belongs_to_one_tier():
    assert sorted(RULES) == sorted(rule for rules in TIERS.values() for rule in rules)


def test_a_map_that_says_an_order_about_a_child_in_the_mental_health_acts_extension_is_found(tmp_path: Path):
    legal = "extension('https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-LegalStatus')"
    line = "".join(
        f"      {legal}.extension('legalStatus{part}').valueCodeableConcept.text: kind | text\n"
        for part in ("Classification", "Context")
    )
    made = load(make(tmp_path / "mappings", map_=MAP.replace("      period.start", f"{line}      period.start")))
    one: Any = SimpleNamespace(name="clinic", maps=made)
    assert found(one, "mental-health-status") == ["clinic/visit.yaml: Encounter sets Extension-UKCore-LegalStatus"]


def test_no_map_that_ships_says_a_legal_status_in_the_mental_health_acts_extension():
    maps = load(files("mappings"))
    shipped: list[Any] = [SimpleNamespace(name=name, maps=maps) for name in maps.adapters()]
    assert [found(one, "mental-health-status") for one in shipped] == [[]] * len(shipped)

"""`gateway map diff`, `docs` and `export`."""

import json
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gateway.kit.diff import NoSuchRevision, changes
from gateway.kit.docs import tables
from gateway.kit.export import export
from gateway.kit.lines import lines
from gateway.mapping import Maps, load, shape_faults
from gateway.mapping.cases import cases
from gateway.mapping.outward.cases import write_cases
from gateway.mapping.tree import Constant, Ext, Name
from gateway.mapping.tree import Path as Path_
from tests.unit.kit.clinic import MAP, make
from tests.unit.mapping.test_outward_faults import FILES
from tests.unit.mapping.test_outward_faults import MAP as DESK

MAPS = load(files("mappings"))
PLANS = [plan for adapter in MAPS.adapters() for plan in MAPS.plans(adapter)]
each_plan = pytest.mark.parametrize("plan", PLANS, ids=[plan.source.map for plan in PLANS])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository whose folder `maps` is committed."""
    make(tmp_path / "maps")
    return committed(tmp_path)


def committed(folder: Path) -> Path:
    run = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run([*run, "init", "-q"], check=True)
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-qm", "first"], check=True)
    return folder


def test_no_change_of_the_maps_changes_nothing(repository: Path):
    folder = repository / "maps"
    assert changes(folder, "HEAD", list(cases(folder))) == []


def test_a_changed_line_shows_what_comes_out_otherwise_in_which_case(repository: Path):
    folder = repository / "maps"
    changed = MAP.replace("= 'finished'", "= 'planned'").replace("      period.end: first(left, day)\n", "")
    make(folder, map_=changed.replace("remark: not", "left: not told\n  remark: not"))
    found = [str(change) for change in changes(folder, "HEAD", list(cases(folder)))]
    assert len(found) == 2
    assert found[0].startswith("clinic/a-visit: Encounter/")
    assert found[0].endswith('.period.end: "2026-01-03" -> absent')
    assert found[1].endswith('.status: "finished" -> "planned"')


def test_a_record_that_is_newly_refused_is_shown(repository: Path):
    folder = repository / "maps"
    make(folder, map_=MAP.replace("first(left, day)", "kind | dateTime").replace("undecided", "  left: no\nundecided"))
    assert any(
        "refused: not before -> record 1: not a date and time" in str(one) for one in changes(folder, "HEAD", list(cases(folder)))
    )


def test_a_changed_line_of_an_outward_map_shows_what_would_leave_otherwise(tmp_path: Path):
    folder = tmp_path / "maps"
    request = {"resourceType": "ServiceRequest", "status": "active", "priority": "urgent", "authoredOn": "2026-01-05"}
    code = {"coding": [{"system": "urn:x", "code": "a"}]}
    given = {"schema": "desk-ask-1", "resources": [{**request, "intent": "order", "doNotPerform": False, "code": code}]}
    active = "ServiceRequest.status = 'active' and ServiceRequest.intent = 'order'"
    day = "day: ServiceRequest.authoredOn | date"
    desk = FILES[DESK].replace(day, f'day: {{from: ServiceRequest.authoredOn | date, when: "{active}"}}')
    for name, text in {**FILES, DESK: desk, "desk/cases/urgent.write.json": json.dumps(given)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    committed(tmp_path)
    assert changes(folder, "HEAD", list(write_cases(folder))) == []
    (folder / DESK).write_text(desk.replace("  coded: ServiceRequest.code | copy\n", ""), "utf-8")
    found = [str(change) for change in changes(folder, "HEAD", list(write_cases(folder)))]
    assert [one.partition(" -> ")[0].partition(": ")[2].partition(": ")[0] for one in found] == ["not sent", "written.coded"]
    assert found[1].endswith(" -> absent")


@pytest.mark.parametrize("revision", ["nowhere", "--help", "HEAD:maps"])
def test_a_revision_that_does_not_exist_is_said(repository: Path, revision: str):
    with pytest.raises(NoSuchRevision):
        changes(repository / "maps", revision, [])


def test_a_folder_outside_git_is_said(tmp_path: Path):
    with pytest.raises(NoSuchRevision):
        changes(make(tmp_path / "maps"), "HEAD", [])


@each_plan
def test_an_export_is_r4_and_every_line_is_said_or_named(plan):
    made = export(MAPS, plan)
    for entry in made.bundle.get("entry", ()):
        assert shape_faults(entry["resource"]) == []
    said = json.dumps(made.bundle)
    for line in lines(plan):
        assert f'"line{line.line.pos.line}"' in said
    by_hand = {one.partition(":")[0] for one in made.by_hand}
    assert by_hand == {
        f"line {one}" for one in re.findall(r'"name": "line(\d+)", "source": [^{]*{[^}]*}], "documentation"', said)
    }


Spoken = dict[str, tuple[tuple[str, ...], Any]]  # rule -> the element it writes, and the field or constant it takes


def read_again(rules: list[dict[str, Any]], sources: dict[str, Any], targets: dict[str, Any], found: Spoken) -> Spoken:
    """What the rules of a StructureMap do, followed variable by variable as an engine would."""
    for rule in rules:
        (source,) = rule["source"]
        here, there = dict(sources), dict(targets)
        at = here[source["context"]] + ((source["element"],) if "element" in source else ())
        here[source.get("variable", "")] = at
        for target in rule.get("target", ()):
            place = there[target["context"]] + (target["element"],)
            there[target.get("variable", "")] = place
            if "transform" in target:
                ((kind, given),) = target["parameter"][0].items()
                found[rule["name"]] = (place, here[given] if kind == "valueId" else given)
        read_again(rule.get("rule", []), here, there, found)
    return found


def named(path: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple("extension" if isinstance(step, Ext) else step.name for step in path if isinstance(step, Ext | Name))


def from_record(path: Path_, around: tuple[str, ...]) -> tuple[str, ...]:
    return named(path.steps) if path.scope == "record" else around + named(path.steps)


@each_plan
def test_what_was_exported_says_when_read_again_what_the_map_says(plan):
    made = export(MAPS, plan)
    by_hand = {int(one.partition(":")[0].removeprefix("line ")) for one in made.by_hand}
    said: Spoken = {}
    for group in made.bundle["entry"][0]["resource"]["group"] if made.bundle.get("entry") else ():
        read_again(group["rule"], {"record": ()}, {"target": ()}, said)
    compared = 0
    for one in lines(plan):
        if one.line.pos.line in by_hand or any(group.pos.line in by_hand for group in one.groups):
            continue
        around = named(one.block.block.each.steps) if one.block.block.each is not None else ()
        parts: tuple[str, ...] = ()
        for group in one.groups:
            around = from_record(group.each, around)
            parts += tuple(part.name for part in group.target)
        source = one.line.flow.source
        wanted = source.value if isinstance(source, Constant) else from_record(source, around)
        assert said[f"line{one.line.pos.line}"] == (parts + tuple(part.name for part in one.line.target), wanted)
        compared += 1
    assert compared or by_hand or not plan.blocks


def test_a_plain_map_is_exported_whole_but_for_its_person(tmp_path: Path):
    maps: Maps = load(make(tmp_path, map_=MAP.replace("first(left, day)", "left")))
    made = export(maps, maps.plans("clinic")[0])
    assert made.by_hand == ("line 14: = ref('Patient')",)
    group = made.bundle["entry"][0]["resource"]["group"][0]
    assert group["rule"][0]["source"][0]["condition"] == "day.exists() and (kind != 'x')"


def test_the_two_tables_say_where_each_element_comes_from_and_why_not(tmp_path: Path):
    said = tables(load(make(tmp_path)).plans("clinic")[0])
    assert "| `Encounter.period.end` | `first(left, day)` | dateTime |  | health | 16 |" in said
    assert (
        "| `Encounter.participant[0].individual.display` | `seen_by` | string |  | operational, locating, third-party | 17 |"
        in said
    )
    assert "| `remark` | not for anybody |" in said
    assert "only when `day.exists() and kind != 'x'` (line 6)" in said


@each_plan
def test_the_tables_of_a_shipped_map_hold_every_ignored_field(plan):
    said = tables(plan)
    assert all(f"| {reason} |" in said for _, reason in plan.source.ignore)

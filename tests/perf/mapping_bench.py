"""The mapping engine beside typed plain Python, jsonata-python and FPML on three maps, in one run: ratios are the result.

Part of `make bench`; alone: `python -m tests.perf.mapping_bench`. jsonata-python and fpml are no dependencies of the gateway:
requirements-bench.lock pins them by hash, `make bench` lays them into .bench, and without them their columns are left out.
Rounds are short, interleaved, timed by the CPU of this process, and the best of each counts: so other work on the machine, which
slows whatever runs beside it, is left out as far as it can be.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.adapter import Claim, SourceRecord
from gateway.mapping import Context, Maps, load, map_record
from gateway.model import CareClass, Category, MappedResource, RefusedRecord
from tests.perf import mapping_rivals as rivals

HERE: Final = Path(__file__).parent
AT: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
PERSON: Final = "abcdefghijklmnopqrstuvwxyz"
RECORDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "cin-child": {
        "id": "C-1",
        "born": "2016-02-03",
        "sex": "F",
        "referrals": [{"began": "2025-05-01", "need": "N1", "nfa": "0", "plans": [{"start": "2025-06-01", "category": "NEG"}]}],
    },
    "contact-row": {
        "contact_id": "K-1",
        "nhs_number": "9990000107",
        "seen_on": "02/12/2025",
        "kind": "6-8-week",
        "outcome": "attended",
        "weight_kg": "4.85",
        "height_cm": "55.5",
        "seen_by": "A. Visitor",
        "team": "East",
    },
    "allergy-stu3": {
        "resourceType": "AllergyIntolerance",
        "id": "a-1",
        "clinicalStatus": "active",
        "verificationStatus": "unconfirmed",
        "type": "allergy",
        "category": ["medication"],
        "code": {
            "coding": [
                {"system": "http://snomed.info/sct", "code": "91936005", "display": "Allergy to penicillin"},
                {"system": "http://read.info/readv2", "code": "SN52.", "display": "Penicillin allergy"},
            ],
            "text": "Allergy to penicillin",
        },
        "patient": {"reference": "Patient/p-9"},
        "onsetDateTime": "2019-04-03",
        "assertedDate": "2019-04-05T10:30:00+01:00",
        "recorder": {"display": "Dr A. Bright"},
        "note": [{"text": "rash on arms"}],
        "reaction": [
            {
                "manifestation": [
                    {"coding": [{"system": "http://snomed.info/sct", "code": "271807003", "display": "Rash"}], "text": "Rash"}
                ],
                "description": "rash",
                "severity": "mild",
            }
        ],
    },
}
PYTHON: Final = {
    "cin-child": rivals.python_cin,
    "contact-row": rivals.python_contact,
    "allergy-stu3": rivals.python_allergy,
}
COMMITTED: Final = {"ours/python": 2.0, "accounted/python": 5.0, "jsonata/ours": 10.0, "fpml/ours": 100.0}
AT_MOST: Final = frozenset({"ours/python", "accounted/python"})
BARE: Final = ("ours/bare", "accounted/bare")  # printed beside them; the exit code is not theirs
FAIR: Final = """The goal is taken against `python`: by hand, the same resources with the same checks (kind of each value,
dates, codes, required elements, elements unknown to R4), refused with the record's place, and in the envelope that
the gateway goes on with (MappedResource: labels, place, time), as ours are. `bare` is the same function, its
resources as plain dicts without the envelope. Neither isolates one bad resource from the others of its record, nor
names the line that refused it: ours does both."""
ROUNDS: Final = 60
SLICE_S: Final = 0.006  # short enough that some round of each is left alone by other work
CATEGORY: Final = Category.OTHER_HEALTH

Run = Callable[[], Any]


@dataclass(frozen=True)
class Figures:
    """Microseconds a record, by who did it."""

    schema: str
    us: Mapping[str, float]

    def ratios(self) -> dict[str, float]:
        """What is committed to, as far as the rivals are here."""
        us = self.us
        found = {f"{ours}/{by}": us[ours] / us[by] for by in ("python", "bare") for ours in ("ours", "accounted")}
        found |= {f"{name}/ours": us[name] / us["ours"] for name in ("jsonata", "fpml", "fpml cached") if name in us}
        return found


def mint(type_: str, key: str) -> str:
    return f"{PERSON}.bench.{type_}-{key}"


def runs(maps: Maps, schema: str) -> dict[str, Run]:
    """Each way to map one record of a kind, ready to be called."""
    data = RECORDS[schema]
    record = SourceRecord(schema, data, "row 1", AT, Claim(local_id="x"))
    ctx = Context("bench", mint, PERSON, None, AT, "ods:X99901")
    python = PYTHON[schema]

    def bare() -> Any:
        """The resources, or the refusal with its place."""
        try:
            return python(data, PERSON, mint)
        except rivals.NotMapped as error:
            return RefusedRecord("bench", record.where, str(error))

    def in_the_line() -> list[Any]:
        """What the gateway needs of either: each resource with its labels, place and time."""
        made = bare()
        given = [MappedResource(one, "bench", CATEGORY, CareClass.HEALTH, {}, "row 1", AT, "bench@1", False) for one in made]
        return [one.body for one in given]

    found: dict[str, Run] = {
        "bare": bare,
        "python": in_the_line,
        "ours": lambda: [made.body for made in map_record(maps, "bench", record, ctx).resources],
        "accounted": lambda: [made.body for made in map_record(maps, "bench", record, ctx, account=True).resources],
    }
    if importlib.util.find_spec("jsonata") is not None:
        found["jsonata"] = _jsonata(schema, data)
    if importlib.util.find_spec("fpml") is not None:
        found["fpml"] = _fpml(schema, data, cached=False)
        found["fpml cached"] = _fpml(schema, data, cached=True)
    return found


def _jsonata(schema: str, data: Mapping[str, Any]) -> Run:
    from jsonata import Jsonata

    expression = Jsonata(rivals.JSONATA[schema])
    tables = {name: {code: list(row) for code, row in rows.items()} for name, rows in rivals.TABLES.items()}
    for name, value in (("person", PERSON), ("uk", rivals.UK), ("tables", tables)):
        expression.assign(name, value)
    expression.register_lambda("mint", mint)
    return lambda: expression.evaluate(data)


def _fpml(schema: str, data: Mapping[str, Any], *, cached: bool) -> Run:
    from fhirpathpy import compile as compiled
    from fpml import make_evaluator, resolve_template

    table = {
        "mint": {
            "fn": lambda inputs, type_, key: [mint(type_[0], key[0])] if isinstance(type_, list) else [mint(type_, key)],
            "arity": {2: ["String", "String"]},
        }
    }
    context = {"person": PERSON, "tables": rivals.TABLE_ROWS, "record": dict(data)}
    template: Any = rivals.FPML[schema]
    known: dict[str, Any] = {}

    def evaluate(resource: Any, expression: str, given: Any) -> Any:
        call = known.get(expression)
        if call is None:
            call = known[expression] = compiled(expression, None, {"userInvocationTable": table})
        return call(resource, given)

    evaluator: Any = evaluate if cached else make_evaluator(None, {"userInvocationTable": table})  # type: ignore[typeddict-item]
    return lambda: resolve_template(dict(data), template, context, evaluate=evaluator)


def plain(value: Any) -> Any:
    """An output as JSON has it, empty parts left out, numbers as numbers: what two ways are compared by."""
    if isinstance(value, Mapping):
        return {name: kept for name, part in value.items() if (kept := plain(part)) not in (None, {}, [])}
    if isinstance(value, list | tuple):
        return [kept for part in value if (kept := plain(part)) is not None]
    return float(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else value


def measured(maps: Maps, schema: str) -> Figures:
    """Every way on one record: compared first, then timed in turns."""
    ways = runs(maps, schema)
    wanted = plain(ways["ours"]())
    for name, run in ways.items():
        came = plain(run())
        if came != wanted:
            raise SystemExit(f"{schema}: {name} gives something else than ours:\n{json.dumps(came)}\n{json.dumps(wanted)}")
    best = dict.fromkeys(ways, float("inf"))
    counts = {name: _count(run) for name, run in ways.items()}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            began = time.process_time()
            for _ in range(counts[name]):
                run()
            best[name] = min(best[name], (time.process_time() - began) / counts[name] * 1e6)
    return Figures(schema, best)


def _count(run: Run) -> int:
    """How often to run it for one slice."""
    began = time.process_time()
    for _ in range(3):
        run()
    return max(1, int(SLICE_S * 3 / max(time.process_time() - began, 1e-6)))


def loading() -> dict[str, float]:
    """Seconds to load all shipped maps with every check, beside parsing the same YAML to nodes and nothing more."""
    folder = Path(str(files("mappings")))
    texts = [file.read_text("utf-8") for file in sorted(folder.rglob("*.yaml"))]
    load(folder)  # the index and the compiled patterns are a process's once
    began = time.perf_counter()
    load(folder)
    whole = time.perf_counter() - began
    began = time.perf_counter()
    for text in texts:
        yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    parsed = time.perf_counter() - began
    return {"load_s": whole, "parse_s": parsed, "load/parse": whole / parsed, "files": float(len(texts))}


def section() -> tuple[list[str], dict[str, Any], bool]:
    """The whole part of `make bench` -> its lines, its figures, and whether all that is committed holds."""
    maps = load(HERE / "mapping")
    figures = [measured(maps, schema) for schema in RECORDS]
    names = list(figures[0].us)
    lines = [
        "mapping, microseconds of CPU a record (best of interleaved rounds), load average {:.1f} {:.1f} {:.1f}".format(
            *os.getloadavg()
        ),
        *FAIR.splitlines(),
        "",
        " ".join(f"{name:>13}" for name in ("record", *names)),
    ]
    lines += [" ".join([f"{one.schema:>13}", *(f"{one.us[name]:13.1f}" for name in names)]) for one in figures]
    lines.append("")
    holds = True
    for name in figures[0].ratios():
        values = [one.ratios()[name] for one in figures]
        goal = COMMITTED.get(name.replace("/bare", "/python"))
        met = goal is None or (max(values) <= goal if name in (*AT_MOST, *BARE) else min(values) >= goal)
        holds = holds and (met or name in BARE)
        most = "at most" if name in (*AT_MOST, *BARE) else "at least"
        said = "" if goal is None else f"   {most} {goal:g}: {'met' if met else 'MISSED'}"
        lines.append(f"{name:>18}  {'  '.join(f'{value:8.2f}' for value in values)}{said}")
    for rival in ("jsonata", "fpml"):
        if rival not in names:
            lines.append(f"{rival}: not here: make bench lays it into .bench")
    took = loading()
    met = took["load_s"] < 2
    lines.append(
        f"\nloading all shipped maps with all checks: {took['load_s']:.2f} s, {took['load/parse']:.1f} times parsing the same"
        f" {took['files']:.0f} YAML files ({took['parse_s']:.2f} s)   under 2 s: {'met' if met else 'MISSED'}"
    )
    found = {one.schema: {"us": dict(one.us), "ratios": one.ratios()} for one in figures}
    return lines, {"maps": found, "loading": took}, holds and met


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--json", action="store_true", help="figures alone, for machines")
    lines, figures, holds = section()
    print(json.dumps(figures) if asked.parse_args().json else "\n".join(lines))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

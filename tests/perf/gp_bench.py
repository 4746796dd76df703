"""A GP record through the gateway: what 1.4 MB costs beside json, and what 20 MB reads cost everybody else.

`python -m tests.perf.gp_bench`. The first figure is CPU of one process in one run: bytes of a structured record to the bytes of
the answer's first page, with the person check, mapping, policy, labels and both audit events; json loads and dumps the same
bytes. The second is `tests.perf.gp_beside`: 64 KB reads one after another, alone and while four callers read 20 MB records.
"""

import gc
import json
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import adapters.gp
from adapters.gp import answer
from adapters.gp.record import split
from gateway import bundle, consent, fetch, mapping, registry
from gateway.audit.canonical import settled
from gateway.audit.entries import decision_entry, disclosure_entry
from gateway.disclosure import Page, disclose
from gateway.model import Category, Permit, Recorded, SourceReport, SourceState, SourceTerms
from gateway.nhs_number import NhsNumber
from gateway.store.keys import Keys
from sandbox.families import BY_KEY
from tests import policy_world
from tests.perf.gp_beside import beside
from tests.perf.gp_record import structured

RECORD_BYTES = 1_400_000
ROUNDS = 25
PERSON_KEY = b"k" * 32


def cost() -> dict[str, float]:
    """CPU of the line over 1.4 MB, in ms and against json.loads plus json.dumps of it.

    The garbage collector is off, and looks once after each record, as where large bodies are read (connectors/apart_there.py);
    `ratio_collecting` is with the thresholds of `gateway serve`, under which the smaller ones are.
    """
    body = structured("amara", RECORD_BYTES)
    line = _line()
    line(body)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.disable()
    plain, ours, collecting = _best(lambda: json.dumps(json.loads(body)), lambda: _apart(line, body), lambda: _beside(line, body))
    return {
        "record_mb": len(body) / 1e6,
        "json_ms": plain,
        "line_ms": ours,
        "ratio": ours / plain,
        "ratio_collecting": collecting / plain,
    }


def _apart(line: Callable[[bytes], bytes], body: bytes) -> None:
    line(body)
    gc.collect()


def _beside(line: Callable[[bytes], bytes], body: bytes) -> None:
    gc.enable()
    line(body)
    gc.disable()


def _line() -> Callable[[bytes], bytes]:
    """Bytes of a record -> bytes of the first page, by the gateway's own steps in their order."""
    maps, rules = mapping.load(files("mappings")), policy_world.policy()
    with tempfile.TemporaryDirectory() as folder:
        keys = Keys.create_sandbox(Path(folder) / "keys")
    terms = _terms(maps)
    asked = policy_world.request(types=frozenset(name for name, _ in terms.types))
    permit = consent.decide(policy_world.facts(asked=asked), rules, {"gp": terms})
    assert isinstance(permit, Permit)
    recorded, person = policy_world.recorded(permit), str(policy_world.PERSON)
    look = bundle.Look("https://gateway.test", {"gp": ("gp", "GP")}, lambda plain: plain.hex(), {})

    def line(body: bytes) -> bytes:
        mint = keys.resource_ids(person, "gp", "gp")
        settled(decision_entry(permit, policy_world.NOW), PERSON_KEY)
        whole = split(answer.bundle(body))
        assert fetch.is_about(whole.about, policy_world.identity(number=NhsNumber(BY_KEY["amara"].nhs_number)), ())
        context = mapping.Context("gp", mint, person, policy_world.NUMBER, policy_world.NOW, "ods:A99901")
        made = [one for record in whole.records for one in mapping.map_record(maps, "gp", record, context).resources]
        report = SourceReport("gp", SourceState.ANSWERED, as_of=whole.facts.as_of, warnings=whole.facts.warnings)
        disclosure = disclose(made, [report], [], recorded, policy_world.identity(), rules, page=Page(500, 1_000_000))
        settled(disclosure_entry(disclosure, policy_world.NOW), PERSON_KEY)
        return bundle.answer(Recorded(disclosure, recorded.receipt), look).body

    return line


def _terms(maps: mapping.Maps) -> SourceTerms:
    manifest = registry.load_manifest(adapters.gp)
    types = frozenset((name, Category(category)) for name, category in manifest.gives.items())
    return SourceTerms(
        "gp", "gp", "gp-record", maps.gives("gp"), manifest.purposes, manifest.never_for, types, "registered-practice", "GP"
    )


def _best(*calls: Callable[[], object]) -> list[float]:
    """Milliseconds of CPU of each, the least of several, in turns: what else this machine does meets them all."""
    spent: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, spent, strict=True):
            started = time.process_time()
            call()
            times.append((time.process_time() - started) * 1000)
    return [min(times) for times in spent]


def report() -> dict[str, float]:
    """Both figures, printed, in the form the benchmark keeps."""
    found = {}
    for name, figures in (("structured record", cost()), ("beside full records", beside())):
        print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in figures.items()), flush=True)
        found |= figures
    return {
        "structured_record_over_json": round(found["ratio"], 2),
        "p95_of_64_kb_beside_20_mb": round(found["growth"], 3),
        "memory_beside_20_mb": round(found["memory_mb"]),
    }


def main() -> None:
    report()


if __name__ == "__main__":
    main()

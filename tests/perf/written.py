"""Figures -> the summary, the tables of docs/performance.md, the .json and the picture."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.perf.load import Figure, by_median, median

BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
STEPS = {
    "_who": "trace and gather",
    "decide": "decide",
    "record_decision": "record the decision",
    "plan": "plan",
    "fetch: parse": "fetch: reading four bodies",
    "fetch: whose it is": "fetch: whose each resource is",
    "fetch": "fetch, whole",
    "_map": "map",
    "disclose_in_turns": "disclose",
    "record_disclosure": "record the disclosure",
    "bundle.answer": "answer",
    "whole line": "the whole line",
    "whole line with the writer thread": "with the log's writer thread",
}


def at(figures: Sequence[Figure], name: str, *, concurrency: int = 16, delay_ms: float = 0) -> list[Figure]:
    return [f for f in figures if (f.name, f.concurrency, f.delay_ms) == (name, concurrency, delay_ms)]


def summary(figures: Sequence[Figure], more: Mapping[str, float]) -> dict[str, float]:
    """Medians at concurrency 16 with sources at 0 ms -> the ratios of docs/performance.md."""
    cpu = {name: median([f.cpu_ms for f in at(figures, name)]) for name in ("gateway", "lean", "floor", "naive")}
    found: dict[str, float] = {
        **{f"cpu_ms_{name}": round(value, 3) for name, value in cpu.items()},
        "naive_over_gateway": round(cpu["naive"] / cpu["gateway"], 1),
        "gateway_over_lean": round(cpu["gateway"] / cpu["lean"], 2),
        "gateway_over_floor": round(cpu["gateway"] / cpu["floor"], 2),
        "p99_over_p50": round(median([f.p99_ms / f.p50_ms for f in at(figures, "gateway")]), 2),
    }
    for concurrency in (1, 16):
        slow = {name: at(figures, name, concurrency=concurrency, delay_ms=100) for name in ("gateway", "floor")}
        if slow["gateway"] and slow["floor"]:
            ours, floor = slow["gateway"][0], slow["floor"][0]
            found[f"delayed_p50_over_100ms_c{concurrency}"] = round(ours.p50_ms - 100, 1)
            found[f"delayed_p95_over_120ms_c{concurrency}"] = round(ours.p95_ms - 120, 1)
            found[f"delayed_p50_over_floor_c{concurrency}"] = round(ours.p50_ms - floor.p50_ms, 1)
            found[f"delayed_p95_over_floor_c{concurrency}"] = round(ours.p95_ms - floor.p95_ms, 1)
    p95 = {name: [f.p95_ms for f in figures if f.name == name] for name in ("alone", "beside")}
    if p95["alone"] and p95["beside"]:
        found["p95_beside_a_dead_source"] = round(median(p95["beside"]) / median(p95["alone"]), 2)
    mapped, naive = at(figures, "mapped"), at(figures, "naive-mapped")
    if mapped and naive:
        found["cpu_ms_mapped"] = round(median([f.cpu_ms for f in mapped]), 3)
        found["cpu_ms_naive_mapped"] = round(median([f.cpu_ms for f in naive]), 3)
        found["naive_over_mapped"] = round(found["cpu_ms_naive_mapped"] / found["cpu_ms_mapped"], 1)
    return {**found, **more, "errors": sum(f.errors for f in figures)}


def table(figures: Sequence[Figure]) -> str:
    """Every figure, for a terminal."""
    heads = ("server", "c", "delay", "req/s", "CPU ms", "p50", "p95", "p99", "KB", "RSS", "errors")
    lines = [" ".join(f"{head:>12}" if head == "server" else f"{head:>8}" for head in heads)]
    for f in figures:
        cells = (f.rate, f.cpu_ms, f.p50_ms, f.p95_ms, f.p99_ms, f.body_kb, f.rss_mb)
        numbers = " ".join(f"{cell:8.1f}" for cell in cells)
        lines.append(f"{f.name:>12} {f.concurrency:8} {f.delay_ms:8.0f} {numbers} {f.errors:8}")
    return "\n".join(lines)


def record(kept: Mapping[str, Any], figures: Sequence[Figure], docs: Path) -> None:
    """docs/performance.json, the tables between the marks of docs/performance.md, docs/performance.svg."""
    from tests.perf.plot import draw

    before = docs / "performance.json"
    summed = {**_held(before), **kept["summary"]}  # what only FULL=1 measures stays until it is measured again
    (docs / "performance.json").write_text(json.dumps({**kept, "summary": summed}, indent=1) + "\n")
    page = docs / "performance.md"
    text = page.read_text()
    head, rest = text.split(BEGIN)
    page.write_text(f"{head}{BEGIN}\n\n{_tables(summed, kept['steps_us'], figures)}\n\n{END}{rest.split(END)[1]}")
    draw(figures, docs / "performance.svg")


def _held(path: Path) -> dict[str, float]:
    """Figures of an earlier FULL=1 run."""
    try:
        held: dict[str, float] = json.loads(path.read_text())["summary"]
    except (OSError, ValueError, KeyError):
        return {}
    return {name: value for name, value in held.items() if name.startswith(("memory_", "many_people", "people", "full_run"))}


def _tables(found: Mapping[str, float], steps: Mapping[str, float], figures: Sequence[Figure]) -> str:
    names = ("gateway", "lean", "floor", "naive")
    middle = {name: by_median(at(figures, name)) for name in names}
    day = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"Written {day}. Concurrency 16, sources at 0 ms, SQLite; medians.",
        "",
        "| | gateway | lean | floor | naive |",
        "|---|---:|---:|---:|---:|",
        "| CPU for each request, ms | " + " | ".join(f"{middle[name].cpu_ms:.2f}" for name in names) + " |",
        "| p50 / p95 / p99, ms | "
        + " | ".join(f"{middle[name].p50_ms:.0f} / {middle[name].p95_ms:.0f} / {middle[name].p99_ms:.0f}" for name in names)
        + " |",
        "| memory, MB | " + " | ".join(f"{middle[name].rss_mb:.0f}" for name in names) + " |",
        "",
        "| what | found | commit | aim | met |",
        "|---|---:|---:|---:|---|",
        *_goals(found),
        "",
        "| step, one request at a time | µs |",
        "|---|---:|",
        *(f"| {text} | {steps[name]:,.0f} |" for name, text in STEPS.items() if name in steps),
    ]
    return "\n".join(lines)


def _goals(found: Mapping[str, float]) -> list[str]:
    """(what, key, commit, aim, whether more is better)."""
    many = round(found.get("people", 10_000_000))
    rows = [
        ("naive / gateway, CPU", "naive_over_gateway", 40, 80, True),
        ("gateway / lean, CPU", "gateway_over_lean", 1.0, 0.6, False),
        ("gateway / floor, CPU", "gateway_over_floor", 3.0, 2.0, False),
        ("p99 / p50", "p99_over_p50", 2.5, 1.8, False),
        ("four mapped sources: naive / gateway, CPU", "naive_over_mapped", 20, 40, True),
        ("sources at 100 ms: p50 above 100 ms, concurrency 16", "delayed_p50_over_100ms_c16", 10, 5, False),
        ("sources at 100 ms: p95 above 120 ms, concurrency 16", "delayed_p95_over_120ms_c16", 30, 15, False),
        ("the same above the floor's p50, which waits for the same sources", "delayed_p50_over_floor_c16", 10, 5, False),
        ("the same above the floor's p95", "delayed_p95_over_floor_c16", 30, 15, False),
        ("a dead source: p95 of requests that do not ask it, ratio", "p95_beside_a_dead_source", 1.10, 1.03, False),
        ("two workers on PostgreSQL / one, requests a second", "two_workers_rate", 1.7, 1.9, True),
        ("the same by CPU for each request (2 x one / two)", "two_workers_by_cpu", 1.7, 1.9, True),
        ("memory after 100,000 requests / after 10,000 (FULL=1)", "memory_100000_over_10000", 1.10, 1.02, False),
        (f"CPU with {many:,} people / 10,000 (FULL=1)", "many_people_over_10000", 1.2, 1.05, False),
    ]
    lines = []
    for what, key, commit, aim, more in rows:
        if key not in found:
            lines.append(f"| {what} | not measured | {commit:g} | {aim:g} | |")
            continue
        value = found[key]
        reached = [value >= goal if more else value <= goal for goal in (commit, aim)]
        met = "aim" if reached[1] else "yes" if reached[0] else "**no**"
        lines.append(f"| {what} | {value:g} | {commit:g} | {aim:g} | {met} |")
    return lines

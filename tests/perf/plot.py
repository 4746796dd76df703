"""Figures -> one picture: CPU for each request, and the latency of each server."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from tests.perf.bench import Figure

NAMES = ("floor", "lean", "gateway", "naive")
COLOURS = {"floor": "#768692", "lean": "#41B6E6", "gateway": "#005EB8", "naive": "#DA291C"}


def draw(figures: "Sequence[Figure]", path: Path) -> None:
    """Medians at concurrency 16, sources at 0 ms."""
    mpl.rcParams["svg.hashsalt"] = "performance"
    at = {name: [f for f in figures if f.name == name and f.concurrency == 16 and f.delay_ms == 0] for name in NAMES}
    left_right, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    for n, name in enumerate(NAMES):
        runs = sorted(at[name], key=lambda f: f.cpu_ms)
        middle = runs[len(runs) // 2]
        left.barh(n, middle.cpu_ms, color=COLOURS[name])
        left.text(middle.cpu_ms * 1.08, n, f"{middle.cpu_ms:.2f} ms", va="center")
        right.plot(range(3), [middle.p50_ms, middle.p95_ms, middle.p99_ms], marker="o", label=name, color=COLOURS[name])
    left.set_yticks(range(len(NAMES)), NAMES)
    left.set_xscale("log")
    left.set_xlim(0.3, 1000)
    left.set_xlabel("ms")
    left.set_title("CPU for each request (log scale)")
    right.set_yscale("log")
    right.set_xticks(range(3), ["p50", "p95", "p99"])
    right.set_ylabel("ms")
    right.set_title("Latency at concurrency 16")
    right.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    left_right.tight_layout()
    left_right.savefig(path, metadata={"Date": None})

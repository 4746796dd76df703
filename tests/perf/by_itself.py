"""The long parts of `make bench FULL=1`, each by itself: memory over 100,000 requests, CPU with many people known.

    python -m tests.perf.by_itself memory|people [--record]

`--record` puts what was found into docs/performance.json and its lines of docs/performance.md; every other figure stays.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.perf import more, written
from tests.perf.bench import Bench

SECONDS = 6.0  # of one round


def measure(part: str) -> dict[str, float]:
    """One part, on simulators and a gateway of its own -> what it found."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), full=True)
        try:
            sources = bench.simulators(9610, 0)
            if part == "memory":
                server = bench.gateway(sources, 9620)
                bench.measure(server, seconds=2, keep=False)
                more.memory(bench, server)
            else:
                more.many_people(bench, sources, SECONDS)
        finally:
            bench.stop()
    return bench.found


def record(found: dict[str, float], docs: Path) -> None:
    """What was found -> the summary, and its lines of the table."""
    held = json.loads((docs / "performance.json").read_text())
    held["summary"].update(found)
    (docs / "performance.json").write_text(json.dumps(held, indent=1) + "\n")
    lines = {_begins(line): line for line in written._goals(held["summary"])}
    before = (docs / "performance.md").read_text().split("\n")
    after = [lines.get(_begins(line), line) if line.startswith("| ") else line for line in before]
    (docs / "performance.md").write_text("\n".join(after))


def _begins(line: str) -> str:
    """A line of the table by its first words: how many people stands in the words behind them."""
    return " ".join(line.split()[:3]) if line.startswith(("| memory after", "| CPU with")) else line


def main() -> int:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("part", choices=("memory", "people"))
    reader.add_argument("--record", action="store_true", help="write what was found into docs/")
    asked = reader.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is missing: apt-get install wrk", file=sys.stderr)
        return 1
    found = measure(asked.part)
    print(json.dumps(found, indent=1))
    if asked.record:
        record(found, Path("docs"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

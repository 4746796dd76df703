"""`make conformance`: goldens and answers before validators not ours, samples through the maps -> docs/conformance.md."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from tests.conformance import gathering, judges, page, samples
from tests.conformance.gathering import SEEDED, Named
from tests.conformance.judges import HERE, Finding, Unreachable

JUDGES: Final[tuple[tuple[tuple[str, ...], Callable[[Sequence[Named]], list[Finding]]], ...]] = (
    (("HAPI",), judges.hapi),
    (("medplum", "fhir"), judges.node),
)


BLIND: Final = {("medplum", "seeded/not-in-the-binding")}  # @medplum/core looks at no bindings: docs/conformance.md says so
CLEARS: Final = ("theirs", "advice")  # of an error
EXCUSES: Final = (*CLEARS, "source", "cannot look")  # of a warning


@dataclass(slots=True)
class Verdict:
    """One row of verdicts.yaml, and how often it was needed."""

    judge: str
    said: str
    verdict: str
    because: str
    where: str = ""
    needed: int = 0

    def fits(self, finding: Finding) -> bool:
        """Whether this row speaks of this finding."""
        if self.judge != finding.judge or not re.search(self.said, finding.said):
            return False
        return re.search(self.where, finding.where) is not None


def main() -> int:
    """Write the page. Exit 1: a finding without a verdict that clears it, a verdict without a finding, a missed seeded fault.

    And a leaf of a published sample that no map maps and no map ignores with a reason.
    """
    verdicts = [Verdict(**row) for row in yaml.safe_load((HERE / "verdicts.yaml").read_text("utf-8"))]
    _say("gathering goldens and the answers of the demonstration's place ...")
    judged = [*gathering.goldens(), *gathering.answers()]
    findings: list[Finding] = []
    present: list[str] = []
    absent: list[str] = []
    for names, judge in JUDGES:
        _say(f"{' and '.join(names)}: {len(judged)} resources and Bundles ...")
        try:
            found = judge([*SEEDED, *judged])
        except Unreachable as why:
            absent.append(f"{' and '.join(names)} did not look: {why}")
            continue
        present += names
        findings += found
    missed = [f"{name} of {judge}" for judge, name in missed_by(present, findings, verdicts)]
    ours = [finding for finding in findings if not finding.name.startswith("seeded/")]
    for finding in ours:
        if (fitting := _verdict(verdicts, finding)) is not None:
            fitting.needed += 1
    unexplained = Counter(_row(finding) for finding in ours if not _cleared(finding, _verdict(verdicts, finding)))
    stale = [verdict for verdict in verdicts if verdict.judge in present and not verdict.needed]
    _say("published samples through `gateway map run` ...")
    rows = list(samples.rows())
    undecided = [row for row in rows if row.unmapped]
    text = page.written(judged, present, absent, ours, lambda finding: _verdict(verdicts, finding), rows)
    (HERE.parents[1] / "docs" / "conformance.md").write_text(text, "utf-8")
    for line in absent:
        _say(line)
    for name in missed:
        _say(f"NOT SEEN  seeded fault {name}")
    for (judge, severity, where, said), count in sorted(unexplained.items()):
        _say(f"NO VERDICT  {count} × {judge} {severity}: {where}: {said}")
    for row in undecided:
        _say(f"NOT DECIDED  {row.unmapped} leaves of {row.sample}")
    for verdict in stale:
        _say(f"NOT NEEDED  {verdict.judge}: {verdict.said}")
    _say(f"docs/conformance.md written: {len(ours)} findings, {sum(unexplained.values())} without a verdict")
    return 1 if missed or unexplained or stale or undecided else 0


def missed_by(judges_here: Sequence[str], findings: Sequence[Finding], verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Each judge and seeded fault that it can see and did not find, or found only with words that a verdict clears."""
    found = {(one.judge, one.name) for one in findings if not _cleared(one, _verdict(verdicts, one))}
    return sorted({(judge, name) for judge in judges_here for name, _ in SEEDED} - found - BLIND)


def _verdict(verdicts: Sequence[Verdict], finding: Finding) -> Verdict | None:
    return next((verdict for verdict in verdicts if verdict.fits(finding)), None)


def _cleared(finding: Finding, verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.verdict in (EXCUSES if finding.severity == "warning" else CLEARS)


def _row(finding: Finding) -> tuple[str, str, str, str]:
    return finding.judge, finding.severity, finding.where, finding.said


def _say(line: str) -> None:
    print(f"conformance: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

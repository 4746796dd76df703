"""docs/conformance.md: judges, what each found and the verdict on it; what came of each published sample."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.registry import installed
from tests.conformance.gathering import Named
from tests.conformance.judges import UK_CORE, Finding
from tests.conformance.samples import Row

HEAD = """# Conformance

Written by `make conformance`: do not edit. First, every golden beside the maps and every answer that the families of the
demonstration get from the gateway, before validators that are not ours. Each judge must also find each of three seeded faults
that it can see. Then every published sample through `gateway map run`. The command fails for a seeded fault not found, for a
finding without a verdict in tests/conformance/verdicts.yaml, for an error whose verdict is not "advice" or "theirs", and for a
leaf of a sample that no map maps and none ignores with a reason.
"""

LOOKS = {
    "medplum": "R4: elements and constraints, no bindings",
    "fhir": "R4: elements and bindings to HL7's own lists",
}


UNUSABLE = {  # words of a reason -> why nothing may be made of such a file, for whoever reads the table
    "a resource of the record names another Patient": "A resource is about somebody else than the record's Patient. Whose record "
    "it is cannot be said, and of the wrong person nothing is shown: the service discards such an answer whole.",
    "resources of more than one Patient": "A fixture of fragments about several Patients, none of whom is in the file. Which of "
    "them belong together cannot be said.",
    "not a structured record: a collection with entries": "A searchset: the answer to another question. What it leaves out "
    "cannot be told from what there is not.",
    "no responsible organisation with an ODS code": "The message does not say by a code who sent it. The newest message of each "
    "sender counts, so what it replaces cannot be told. It waits for its owner.",
    "an event that is known but not mapped yet": "Demographics, which no answer takes from a source: the tracer's alone are "
    "shown. The message waits for its owner.",
}


class Judged(Protocol):
    """A row of verdicts.yaml."""

    verdict: str
    because: str


def written(
    judged: Sequence[Named],
    present: Sequence[str],
    absent: Sequence[str],
    findings: Sequence[Finding],
    verdict: Callable[[Finding], Judged | None],
    rows: Sequence[Row],
) -> str:
    """The page."""
    return "\n".join([HEAD, *_judges(judged, present, absent, findings), *_findings(findings, verdict), *_samples(rows)]) + "\n"


def _judges(judged: Sequence[Named], present: Sequence[str], absent: Sequence[str], findings: Sequence[Finding]) -> list[str]:
    types = Counter(resource["resourceType"] for _, resource in judged)
    inside = sum(len(resource.get("entry", ())) for _, resource in judged if resource["resourceType"] == "Bundle")
    severities = Counter((finding.judge, finding.severity) for finding in findings)
    profiles = "with the UK Core profile of each type" if UK_CORE.is_dir() else "without UK Core: its definitions were not here"
    return [
        "## Judges",
        "",
        f"{len(judged)} judged: "
        + ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
        + f". In the Bundles: {inside}.",
        "",
        "| judge | looks at | errors | warnings |",
        "|---|---|---|---|",
        *(
            f"| {judge} | {LOOKS.get(judge, 'R4, ' + profiles)} "
            f"| {severities[judge, 'error'] + severities[judge, 'fatal']} | {severities[judge, 'warning']} |"
            for judge in present
        ),
        "",
        *(f"**{line}**\n" for line in absent),
        *_adapters(judged),
    ]


def _adapters(judged: Sequence[Named]) -> list[str]:
    """How much of each adapter was looked at: no adapter is passed over in silence."""
    own = Counter(name.partition("/")[0] for name, _ in judged)
    lines = ["## Adapters", "", "| adapter | goldens judged |", "|---|---|"]
    return [*lines, *(f"| {adapter} | {own[adapter] or '**none**'} |" for adapter in sorted(installed())), ""]


def _findings(findings: Sequence[Finding], verdict: Callable[[Finding], Judged | None]) -> list[str]:
    places: dict[tuple[str, str, str, str, str], Counter[str]] = defaultdict(Counter)
    for finding in findings:
        row = verdict(finding)
        said = ("none", "") if row is None else (row.verdict, row.because)
        places[finding.judge, finding.severity, finding.said, *said][finding.where] += 1
    lines = ["## Findings and verdicts", "", "| judge | says | where (how often) | verdict |", "|---|---|---|---|"]
    for (judge, severity, words, name, because), where in sorted(places.items()):
        spots = ", ".join(f"{place} ({count})" for place, count in sorted(where.items()))
        lines.append(f"| {judge} | {severity}: {_cell(words)} | {_cell(spots)} | **{name}**: {_cell(because)} |")
    return [*lines, ""]


def _samples(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return ["## Published samples", "", "The folder of published samples was not here: nothing was read."]
    lines = [
        "## Published samples",
        "",
        "Exit 0: nothing refused; 1: something refused, with its reason; 2: the file as a whole is unusable, with its reason.",
        "Leaves: mapped / ignored with a reason / withheld. Not mapped: source paths without a line and without a reason.",
        "",
        "| adapter | exit 0 | exit 1 | exit 2 | leaves not mapped |",
        "|---|---|---|---|---|",
    ]
    for adapter in sorted({row.adapter for row in rows}):
        exits = Counter(row.exit_code for row in rows if row.adapter == adapter)
        left = sum(row.unmapped for row in rows if row.adapter == adapter)
        lines.append(f"| {adapter} | {exits[0]} | {exits[1]} | {exits[2]} | {left} |")
    lines += [*_unusable(rows)]
    lines += ["", "| adapter | sample | exit | made | leaves | not mapped | refused, and why |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row.adapter} | {row.sample} | {row.exit_code} | {row.made} | {row.leaves} | {row.unmapped} | {_cell(row.refused)} |"
        for row in rows
    ]
    return lines


def _unusable(rows: Sequence[Row]) -> list[str]:
    """Each file that is unusable as a whole, and why no more may be made of it."""
    lines = ["", "Files unusable as a whole, and why nothing may be made of them:", ""]
    for row in rows:
        if row.exit_code == 2:
            why = next((text for words, text in UNUSABLE.items() if words in row.refused), "**none**")
            lines.append(f"- {row.sample}: {_cell(why)}")
    return lines if len(lines) > 3 else []


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())

"""What became of each source, in words, in a tag and in a header: unavailable never looks like none."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway import systems
from gateway.adapter import LOCKED_AT_SOURCE
from gateway.bundle.parts import Look, issue_of
from gateway.model import SourceReport, SourceState

KIND_TITLES = {
    "gp": "The registered practice",
    "child-health": "Child health",
    "childrens-centre": "Children's centre",
    "local-authority": "Local authority",
    "cp-is": "CP-IS",
}
UNREACHED = (SourceState.FAILED, SourceState.TIMED_OUT)
_AS_FOR_NOBODY = (SourceState.NOTHING, SourceState.STALE)
_ISSUE = {
    SourceState.ANSWERED: ("information", "informational"),
    SourceState.NOTHING: ("information", "informational"),
    SourceState.TIMED_OUT: ("warning", "timeout"),
    SourceState.FAILED: ("warning", "incomplete"),
    SourceState.STALE: ("warning", "incomplete"),
}
_SAYS = {
    SourceState.ANSWERED: "answered.",
    SourceState.NOTHING: "none shareable by this route.",
    SourceState.TIMED_OUT: "did not answer in time. What it may hold is missing from this answer.",
    SourceState.FAILED: "could not be read. What it may hold is missing from this answer.",
    SourceState.STALE: "the copy held is out of date. Nothing in it may be taken as current.",
}
NONE_RECORDED = "none-recorded"
UNREAD_ROWS = "unread-rows"
_WARNING_SAYS = {
    "confidential-items": "Items were left out at the source for confidentiality or at the person's wish.",
    "data-in-transit": "The record is still being transferred between practices: earlier items may be missing.",
    "data-awaiting-filing": "Information from a third party waits to be filed and is missing.",
    "not-supported": "The source does not offer this area.",
    "not-answered": "The source said nothing of this area, not even that it is empty.",
    "temporary-registration": "The person is registered there for a time only: most of the record may be held elsewhere.",
    "disabled": "The source has switched this area off.",
    LOCKED_AT_SOURCE: "The source holds something of this person under a lock of its own and keeps it back. Ring its duty team.",
    "records-refused": "Something it holds could not be read and is missing from this answer.",
    UNREAD_ROWS: (
        "Rows of what it delivered last could not be read, and of whom they are nobody can say. "
        "That nothing is shown here does not mean that there is nothing. Ring its duty team."
    ),
    NONE_RECORDED: "Nothing is recorded, neither an item nor that there is none: not the same as none known.",
}


def names_of(look: Look, *, protected: bool) -> Callable[[str], tuple[str, str]]:
    """How to name a source: (code, title). For a protected person by kind, never by organisation."""

    def name(source: str) -> tuple[str, str]:
        kind, title = look.titles[source]
        return (kind, KIND_TITLES.get(kind, "A source")) if protected else (source, title)

    return name


def with_delivery(report: SourceReport, look: Look) -> SourceReport:
    """The age of a pushing source's copy is the source's, not the person's: it shows alike for everybody.

    A source that is asked live has no such age: with nothing to show it says as little of when as for nobody. One of whose
    newest list rows could not be read has failed for all of whom it shows nothing: whose they are nobody can say.
    """
    last = look.deliveries.get(report.source)
    if last is not None and last.unread:
        report = replace(report, warnings=(*report.warnings, ("", UNREAD_ROWS)))
        if report.state is SourceState.NOTHING and not last.stale:
            return replace(report, state=SourceState.FAILED, as_of=None)
    if report.state in UNREACHED:
        return report
    if last is None:
        return replace(report, as_of=None) if report.state is SourceState.NOTHING else report
    state = SourceState.STALE if last.stale else report.state
    return replace(report, state=state, as_of=last.at)


def is_everybodys(report: SourceReport, look: Look) -> bool:
    """Whether this is how the source stands for a person of whom it holds nothing, and for nobody: it tells of no one."""
    last = look.deliveries.get(report.source)
    unread = last is not None and last.unread
    return report.state in _AS_FOR_NOBODY or (unread and report.state is SourceState.FAILED)


def source_issue(report: SourceReport, names: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    """What became of one source -> the issue that says it, with its age where it has one."""
    code, title = names(report.source)
    severity, issue_type = _ISSUE[report.state]
    text = f"{title}: {_SAYS[report.state]}"
    if report.as_of is not None and report.state is SourceState.NOTHING:
        text = f"{title}: not on the delivery of {_day(report.as_of)}; none shareable by this route."
    elif report.as_of is not None:
        text += f" As of {_day(report.as_of)}."
    issue = issue_of(severity, issue_type, text)
    issue["details"]["coding"] = [
        {"system": systems.SOURCE, "code": code, "display": title},
        {"system": systems.SOURCE_STATE, "code": report.state.value},
    ]
    return issue


def warning_issue(report: SourceReport, area: str, code: str, names: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    """What a source warns of, for one area: an area with something withheld must never read as one with nothing in it."""
    name, title = names(report.source)
    text = _WARNING_SAYS.get(code, "The source says its answer is not complete.")
    about = f"{title}, {area.replace('-', ' ')}" if area else title
    severity, kind = ("information", "informational") if code == NONE_RECORDED else ("warning", "incomplete")
    issue = issue_of(severity, "suppressed" if code == "confidential-items" else kind, f"{about}: {text}")
    issue["details"]["coding"] = [{"system": systems.SOURCE, "code": name, "display": title}]
    return issue


def sources_header(reports: Sequence[SourceReport], names: Callable[[str], tuple[str, str]]) -> tuple[str, str]:
    """RFC 8941 dictionary: clients that drop outcome entries still see what is missing."""
    items = []
    for report in reports:
        aged = f';as-of="{_day(report.as_of)}"' if report.as_of is not None else ""
        items.append(f"{names(report.source)[0]}={report.state.value}{aged}")
    return ("Gateway-Sources", ", ".join(items))


def _day(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")

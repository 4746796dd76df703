"""What each source said, as this caller may hear it: one report for each source that the permit covers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.adapter import LOCKED_AT_SOURCE
from gateway.model import Permit, SourceReport, SourceState

UNREAD = (
    "records-refused"  # a source gave records of this person, and none of them could be shown because of how they are written
)


def reports_of(permit: Permit, reports: Sequence[SourceReport], gave: set[str], refused: set[str]) -> Iterator[SourceReport]:
    """One report for each source the permit covers. A source whose all was withheld looks like one that held nothing.

    One of which nothing is shown while a record of it was refused has failed: what nobody could read is not "none".
    """
    by_source = {report.source: report for report in reports}
    for source in sorted(permit.sources):
        report = by_source.get(source) or SourceReport(source, SourceState.NOTHING, reason="not-asked")
        if source in refused and source not in gave and report.state in (SourceState.ANSWERED, SourceState.STALE):
            report = replace(report, state=SourceState.FAILED, reason=UNREAD, as_of=None, warnings=())
        if report.state is SourceState.ANSWERED and source not in gave:
            report = replace(report, state=SourceState.NOTHING, reason="nothing-released")
        if report.warnings:
            # an area that is empty because something was left out must not read as one with nothing in it
            shown = report.state is not SourceState.NOTHING or not report.reason
            warnings = tuple(warning for warning in report.warnings if shown and _may_hear(warning, permit))
            report = replace(report, warnings=warnings)
        if source in refused and source in gave:
            report = replace(report, warnings=(*report.warnings, ("", UNREAD)))
        yield report


def _may_hear(warning: tuple[str, str], permit: Permit) -> bool:
    """That a source locks something of this person is itself kept from all but those who may know what is withheld."""
    category, code = warning
    return category in (permit.may_know_withheld if code == LOCKED_AT_SOURCE else permit.allowed)

"""What became of a list of local people, in figures that add up.

Rows of the file = taken in before + new or changed + unchanged + refused. Records that waited = linked + not linked + still
waiting. The work items named are those that were opened now: two rows may share one, and one that is open is not opened again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.connectors.drop import REASON, ROWS, called
from gateway.flows.identify import Progress
from gateway.flows.linking import Heard
from gateway.ports import Chunk

A_DELIVERY: Final = called("")


@dataclass(slots=True)
class Staged:
    """How many rows of a file came to what."""

    before: int  # by an earlier run that was stopped, or of this very file
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    opened: Counter[str] = field(default_factory=Counter)

    def add(self, good: int, refused: int, done: Chunk) -> None:
        """One chunk more."""
        self.changed += done.records
        self.unchanged += good - done.records
        self.refused += refused
        self.opened.update(done.opened)

    def said(self, name: str, rows: int) -> str:
        """The line that tells it."""
        before = f"{self.before} taken in before, " if self.before else ""
        here = f"{self.changed} new or changed, {self.unchanged} unchanged, {self.refused} refused"
        return f"{rows} rows of {name}: {before}{here}."


def settled(progress: Progress) -> str:
    """What became of the records that waited."""
    left = progress.waiting - progress.settled
    waiting = f", {left} still waiting" if left > 0 else ""
    return f"{progress.waiting} waited: {progress.linked} newly linked, {progress.settled - progress.linked} not linked{waiting}."


def opened(items: Counter[str]) -> str:
    """Which work items are new."""
    said = ", ".join(f"{items[kind]} {kind}" for kind in sorted(items))
    return f"Opened on the work list: {said}." if said else "Nothing new on the work list."


def where_it_is(delivery: str) -> str:
    """How who took an item gets at the delivery that it is about."""
    return (
        f"A delivery: `gateway drop open {delivery} --source SOURCE` shows it, SOURCE as the work list names it. Beside it in the"
        f" drop's done/ or refused/ stand {delivery}{REASON} if it was refused, and {delivery}{ROWS} of rows not taken."
    )


def closed(items: Counter[str]) -> str:
    """Which work items a decision settled."""
    return f"Settled on the work list: {', '.join(f'{items[kind]} {kind}' for kind in sorted(items))}."


def nothing(
    there: Mapping[tuple[str, str, str], int], *, owner: str | None, source: str | None, kind: str | None, closed: bool
) -> str:
    """No item fits what was asked: an empty list is told from one whose items are others'. `there`: by owner, source, kind."""
    asked = {"owner": owner, "source": source, "kind": kind}
    words = [word for word, value in asked.items() if value is not None]
    if not words or not there:
        return "Nothing was settled yet." if closed else "Nothing is on the work list."
    one = "this " + " and this ".join(words)
    others = [f"{word}s: {_each(there, place)}" for place, word in enumerate(asked) if word in words]
    listed = "settled" if closed else "open"
    return f"Nothing {listed} is of {one}; {sum(there.values())} items in all are {listed}. Their {'; '.join(others)}."


def _each(there: Mapping[tuple[str, str, str], int], place: int) -> str:
    counts: Counter[str] = Counter()
    for which, count in there.items():
        counts[which[place] or "none"] += count
    return ", ".join(f"{name} ({counts[name]})" for name in sorted(counts))


def of_locks(source: str, heard: Heard) -> Iterator[str]:
    """Whom linking protects, and why: nobody is protected without a word."""
    if heard.protected:
        yield f"{heard.protected} of those linked are protected, by a lock that {source} has delivered."
    if heard.awaiting:
        yield f"{heard.awaiting} of those linked count as protected until the next delivery of {source}: it says who is."

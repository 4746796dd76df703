"""Failures before authentication -> the log: in full up to ten a second an address, then as one counted event.

The counters are this process's own: with N workers an address may fill 10 x N full events a second. What is over is
never dropped: it is added up and written as one event when the second is over.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from gateway.errors import AuditDown
from gateway.ports import Entry, Log

FULL_PER_SECOND = 10
MOST_ADDRESSES = 4_096
ALL_OTHERS = "(others)"  # counted together once too many addresses fail at the same time


@dataclass(slots=True)
class _Second:
    number: int
    written: int = 0


@dataclass(slots=True)
class _Owed:
    first: datetime
    last: datetime
    count: int = 0


class Failures:
    """Holds the counters of the second that runs and of those not yet written."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._seconds: dict[str, _Second] = {}
        self._owed: dict[str, _Owed] = {}

    async def record(self, entry: Entry) -> None:
        """One failure -> the log now, or the count of its second. Raises `AuditDown`: the caller of the API gets 503."""
        number = int(entry.at.timestamp())
        address = entry.address
        if address not in self._seconds and len(self._seconds) >= MOST_ADDRESSES:
            self._forget_before(number)
            address = entry.address if len(self._seconds) < MOST_ADDRESSES else ALL_OTHERS
        second = self._seconds.get(address)
        if second is None or second.number != number:
            second = self._seconds[address] = _Second(number)
        if second.written < FULL_PER_SECOND:
            second.written += 1
            await self._log.append([entry])
        else:
            owed = self._owed.setdefault(address, _Owed(entry.at, entry.at))
            owed.count += 1
            owed.last = max(owed.last, entry.at)

    async def flush(self, now: datetime) -> None:
        """Write what is owed of seconds that are over. Run once a second, and at the end with the time a second ahead.

        Raises `AuditDown`: nothing is lost, the counts wait for the next flush.
        """
        number = int(now.timestamp())
        self._forget_before(number)
        due = {address: owed for address, owed in self._owed.items() if int(owed.first.timestamp()) < number}
        if not due:
            return
        for address in due:
            del self._owed[address]
        try:
            await self._log.append([_counted(address, owed) for address, owed in due.items()])
        except AuditDown:
            for address, owed in due.items():
                newer = self._owed.get(address)
                kept = owed if newer is None else replace(owed, last=newer.last, count=owed.count + newer.count)
                self._owed[address] = kept
            raise

    def _forget_before(self, number: int) -> None:
        self._seconds = {address: second for address, second in self._seconds.items() if second.number >= number}


def _counted(address: str, owed: _Owed) -> Entry:
    return Entry(
        kind="refusal",
        at=owed.last,
        outcome="failure",
        person=None,
        address=address,
        detail={"reason": "counted", "count": owed.count, "first": owed.first.isoformat(), "last": owed.last.isoformat()},
    )

"""Where a period stands today: to come, current, in the tail after its end, or over. Worked out when asked, never stored."""

from calendar import monthrange
from datetime import date
from typing import Final

PERIOD: Final = "_period"  # of a record's data
TO_COME: Final = "to-come"
CURRENT: Final = "current"
ENDED: Final = "ended"  # over, and still told of for `tail_months`
OVER: Final = "over"
DELETED: Final = "deleted"  # it never was true
DOUBTFUL: Final = "doubtful"  # current, ended or deleted: nobody can read which, and no map may take it for one of them


def period_now(start: date | None, end: date | None, today: date, tail_months: int) -> str:
    """First and last day -> where the period stands. A day that is not known neither begins nor ends anything.

    The last day is part of the period. The tail ends on the same day of the month, or the month's last where it has none.
    """
    if end is not None and end < today:
        return ENDED if today <= _months_after(end, tail_months) else OVER
    return TO_COME if start is not None and start > today else CURRENT


def voided(stands: str, deleted: date | None) -> str:
    """Where a period stands, of a record with a day of its deletion; None: there is such a day, and it cannot be read."""
    if deleted is not None:
        return DELETED
    return DOUBTFUL if stands in (CURRENT, ENDED) else stands


def _months_after(day: date, months: int) -> date:
    years, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(years, month + 1, min(day.day, monthrange(years, month + 1)[1]))

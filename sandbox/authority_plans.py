"""What the authority tells CP-IS every night: one row a plan, keyed on the NHS number it verified. Nobody here exists.

Reasons and categories stand in the list as they do in an authority's own extract: they are there so that it shows if they leave.
"""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.families import AUTHORITY_GSS, BY_KEY
from sandbox.folders import put

COLUMNS = (
    "RecordId", "RecordType", "NHSNumber", "BirthDate", "StartDate", "EndDate", "DeleteDate", "AuthorityCode", "AuthorityName",
    "OfficePhone", "EmergencyDutyPhone", "CategoryOfAbuse", "Reason", "DisclosureLock", "Extracted",
)  # fmt: skip
OFFICE, DUTY = "01632 960100", "01632 960199"
REASON = "Left alone at night"


def write_plans(folder: Path, at: datetime) -> Path:
    """The whole list as it was at `at` -> plans-YYYYMMDD.csv in the folder."""
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    rows.writerows(plans(at))
    return put(folder / f"plans-{at.astimezone(UTC):%Y%m%d}.csv", out.getvalue().encode("utf-8"))


def plans(at: datetime) -> Sequence[Sequence[str]]:
    """Plans that go on, one that ended within twelve months, one long ago, and two that were never true.

    Whose plan or care the authority's own record or returns date, has that date here too.
    """
    return [
        _row(at, "CP-001", "CPP", "amara", since="2026-03-06"),
        _row(at, "CP-002", "LAC", "noor", since="2026-02-01"),
        _row(at, "CP-003", "UCPP", "leah", start=50),  # of a child not yet born: nothing of it but that there is a plan
        _row(at, "CP-004", "CPP", "chloe", start=600, end=150),
        _row(at, "CP-005", "CPP", "grace", start=1500, end=800),
        _row(at, "CP-006", "CPP", "hugo", start=30, deleted=10),
        _row(at, "CP-007", "LAC", "jonah", start=200, end=100, deleted=90),
        _row(at, "CP-008", "CPP", "kiran", since="2026-05-19"),
        _row(at, "CP-009", "CPP", "isla", start=90),
    ]


def _row(
    at: datetime, record: str, kind: str, key: str, *, since: str = "", start: int = 0, end: int = 0, deleted: int = 0
) -> Sequence[str]:
    """One plan; days are told by how long ago they were, 0 for none, or the first by its date: `since`."""
    person = BY_KEY[key]
    days = [(at - timedelta(days=ago)).date().isoformat() if ago else "" for ago in (start, end, deleted)]
    days[0] = since or days[0]
    who = [person.nhs_number, person.birth_date.isoformat()]
    authority = [AUTHORITY_GSS, "Northshire Council", OFFICE, DUTY]
    return [record, kind, *who, *days, *authority, "NEG", REASON, "N", at.astimezone(UTC).isoformat(timespec="seconds")]

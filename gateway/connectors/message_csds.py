"""Contact and activity extracts in the shape of the Community Services Data Set: two CSV files, joined when they are read.

A contact is of a child by the service's local id, which the crosswalk holds once it is verified; an activity is of its contact.
Only attendance 5 and 6 is a contact that was had. An extract says when a contact was, not when the row was written, so of two
rows of one contact the one delivered later counts. Source: NHS Data Dictionary, CSDS v1.6, CYP201 and CYP202.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.adapter import Arrival, Claim, ShelfRecord, SourceContractBroken, SourceRecord, Tools
from gateway.connectors.csv_rows import Row, rows_of
from gateway.connectors.drop import Opened

SCHEMA: Final = "csds-contact-1"
CONTACT: Final = "csds-contact"
ACTIVITY: Final = "csds-activity"
GIVES: Final = frozenset(("Encounter", "Observation"))

NO_KEY: Final = "a row without its contact"
NO_CHILD: Final = "a contact without the child's local id"
NO_DATE: Final = "a contact without a readable date"

_HERE: Final = ZoneInfo("Europe/London")
_CONTACTS: Final = (
    "CCI SRI LPI CContactDate CContactTime OrgCodeComm ConsultType CCSubject Medium LocCode SiteCode AttendCode TeamType"
)
_ACTIVITIES: Final = "CAI CCI ActivityCode ProcScheme ProcCode FindingScheme FindingCode ObsScheme ObsCode ObsValue UCUMUnit"


@dataclass(frozen=True, slots=True)
class Extract:
    """One of the two files."""

    kind: str
    columns: tuple[str, ...]


_EXTRACTS: Final = (Extract(CONTACT, tuple(_CONTACTS.split())), Extract(ACTIVITY, tuple(_ACTIVITIES.split())))


class _Refused(Exception):
    """A row that cannot be used."""


def extract_of(body: bytes) -> Extract | None:
    """Which extract a file is, by the columns of its first line; None: neither."""
    header = body.lstrip(b"\xef\xbb\xbf \r\n").split(b"\n", 1)[0].decode("ascii", "replace").replace('"', "").strip()
    return next((each for each in _EXTRACTS if set(each.columns) == set(header.split(","))), None)


def read_extract(extract: Extract, body: bytes, sender: str, now: datetime) -> Opened:
    """An extract -> its records, and the rows refused. Raises `SourceContractBroken` when it is unusable as a whole."""
    arrivals, refused = [], []
    for row in rows_of(body, columns=extract.columns, encoding=_encoding(body), delimiter=",", quote='"'):
        try:
            arrivals.append(_contact(row, sender, now) if extract.kind == CONTACT else _activity(row, sender, now))
        except _Refused as refusal:
            refused.append((row.where, str(refusal)))
    if not arrivals and not refused:
        raise SourceContractBroken("an extract that lists nobody")
    return Opened(None, arrivals, refused)


async def contacts_of(tools: Tools, child: Claim, born: date | None) -> AsyncIterator[SourceRecord]:
    """A child's contacts, each with its activities: they are found by the contact that the child's own row names.

    One of a day before the child was born says so: it is of the mother, whose local id it can bear until the birth is told.
    """
    for kept in await tools.shelf.newest(child.local_id or ""):
        if kept.kind == CONTACT and not kept.data:  # held of another child, too
            yield SourceRecord(kept.schema, kept.data, kept.where, kept.as_of, kept.about, kept.locked)
        elif kept.kind == CONTACT:
            found = [each for each in await tools.shelf.newest(_holder(kept.data["CCI"])) if each.kind == ACTIVITY]
            done: list[ShelfRecord] = [each for each in found if each.data]
            for each in found:
                if not each.data:
                    yield SourceRecord(each.schema, each.data, each.where, each.as_of, kept.about, each.locked)
            activities = [dict(each.data) for each in sorted(done, key=lambda each: str(each.data["CAI"]))]
            early = born is not None and date.fromisoformat(str(kept.data["began"])[:10]) < born
            data: Mapping[str, Any] = {**kept.data, "activities": activities, **({"before_birth": True} if early else {})}
            yield SourceRecord(SCHEMA, data, kept.where, kept.as_of, kept.about, kept.locked)


def _contact(row: Row, sender: str, now: datetime) -> Arrival:
    cells = _sound(row)
    if "LPI" not in cells:
        raise _Refused(NO_CHILD)
    data = {name: cell for name, cell in cells.items() if name not in ("LPI", "CContactDate", "CContactTime")}
    data["began"] = _moment(cells.get("CContactDate", ""), cells.get("CContactTime", ""))
    about = Claim(local_id=cells["LPI"])
    return Arrival(CONTACT, cells["CCI"], sender, now, about, SourceRecord(SCHEMA, data, row.where, now, about))


def _activity(row: Row, sender: str, now: datetime) -> Arrival:
    cells = _sound(row)
    if "CAI" not in cells:
        raise _Refused(NO_KEY)
    about = Claim(local_id=_holder(cells["CCI"]))
    return Arrival(ACTIVITY, cells["CAI"], sender, now, about, SourceRecord(SCHEMA, dict(cells), row.where, now, about))


def _sound(row: Row) -> Mapping[str, str]:
    if row.fault is not None:
        raise _Refused(row.fault)
    if "CCI" not in row.cells:
        raise _Refused(NO_KEY)
    return row.cells


def _holder(contact: object) -> str:
    """Where a contact's activities are held: never a child's own local id, whatever the two are called."""
    return f"contact {contact}"


def _moment(day: str, time: str) -> str:
    try:
        if not time:
            return datetime.strptime(day, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a day
        return datetime.strptime(f"{day} {time[:5]}", "%Y-%m-%d %H:%M").replace(tzinfo=_HERE).isoformat()
    except ValueError:
        raise _Refused(NO_DATE) from None


def _encoding(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"

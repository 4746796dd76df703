"""Immunisations that come otherwise than as messages: the national batch file, and single R4 Immunization resources.

The batch file has 34 columns, in their order, between pipes, in UTF-8 or Windows-1252. It says when a vaccine was given and
recorded, not when a row was sent, so of two rows of one record the later RECORDED_DATE counts, then delete before update
before new. A correction mostly keeps its RECORDED_DATE: of two updates of one day the one delivered later counts.
Source: NHS England Immunisation FHIR API, batch specification.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from gateway.adapter import Arrival, Claim, Loss, SourceContractBroken, SourceRecord, Tree
from gateway.connectors.csv_rows import Row, rows_of
from gateway.connectors.drop import Opened, utc
from gateway.connectors.message_losses import DEATH, death_told, screening_says_died
from gateway.connectors.message_nodes import is_locked, number_of, objects
from gateway.nhs_number import SYSTEM as NHS_NUMBER
from gateway.unseen import has_unseen

BATCH: Final = "imms-batch-1"
R4: Final = "imms-r4-1"
# fmt: off
COLUMNS: Final = (
    "NHS_NUMBER", "PERSON_FORENAME", "PERSON_SURNAME", "PERSON_DOB", "PERSON_GENDER_CODE", "PERSON_POSTCODE",
    "DATE_AND_TIME", "SITE_CODE", "SITE_CODE_TYPE_URI", "UNIQUE_ID", "UNIQUE_ID_URI", "ACTION_FLAG",
    "PERFORMING_PROFESSIONAL_FORENAME", "PERFORMING_PROFESSIONAL_SURNAME", "RECORDED_DATE", "PRIMARY_SOURCE",
    "VACCINATION_PROCEDURE_CODE", "VACCINATION_PROCEDURE_TERM", "DOSE_SEQUENCE", "VACCINE_PRODUCT_CODE",
    "VACCINE_PRODUCT_TERM", "VACCINE_MANUFACTURER", "BATCH_NUMBER", "EXPIRY_DATE", "SITE_OF_VACCINATION_CODE",
    "SITE_OF_VACCINATION_TERM", "ROUTE_OF_VACCINATION_CODE", "ROUTE_OF_VACCINATION_TERM", "DOSE_AMOUNT", "DOSE_UNIT_CODE",
    "DOSE_UNIT_TERM", "INDICATION_CODE", "LOCATION_CODE", "LOCATION_CODE_TYPE_URI",
)
# fmt: on
KIND: Final = "immunisation"  # one kind for both, so that a record told by both ways is one record

WRONG_HEADER: Final = "a batch file whose header is not the columns in their order"
NO_NUMBER: Final = "a row without an NHS number"
NO_BIRTH_DATE: Final = "a row without a readable birth date"
NO_KEY: Final = "a row without its unique id"
NO_FLAG: Final = "an action flag that is not new, update or delete"
NO_TIME: Final = "a vaccination without a readable date and time"
NO_RECORDED: Final = "a row without a readable recorded date"
UNSEEN: Final = "a cell that holds what nobody sees"
BEFORE_BIRTH: Final = "of a day before the child was born"
NOT_YET: Final = "a day that has not come yet"
NOT_ONE_PATIENT: Final = "an Immunization without exactly one contained Patient"
NO_IDENTIFIER: Final = "an Immunization without an identifier"
NO_BIRTH_DATE_R4: Final = "an Immunization without a readable birth date"

_PERSON: Final = frozenset(
    ("NHS_NUMBER", "PERSON_FORENAME", "PERSON_SURNAME", "PERSON_DOB", "PERSON_GENDER_CODE", "PERSON_POSTCODE", "ACTION_FLAG")
)
_HEADER_BYTES: Final = 4_096  # of 34 names of at most 34 letters; whatever else a file is, no more of it is looked at
_RANK: Final = {"new": 0, "update": 1, "delete": 2}
_WHEN: Final = re.compile(r"([0-9]{8}T[0-9]{6})(00|01)?")
_SAID: Final = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")
_CLOCKS_APART: Final = timedelta(days=1)
_SINCE: Final = datetime(2020, 1, 1, tzinfo=UTC)
_OFFSET: Final = {"": "+00:00", "00": "+00:00", "01": "+01:00"}  # UTC; 01 is British Summer Time


class _Refused(Exception):
    """A row that cannot be used."""


def is_batch(body: bytes) -> bool:
    """Whether a file begins with the batch's header, or with one in which most of its columns stand."""
    header = _header(body)
    return (header[0] == COLUMNS[0] and len(header) > 1) or 2 * len(set(header) & set(COLUMNS)) > len(COLUMNS)


def is_r4(bundle: Tree) -> bool:
    """Whether a JSON file is one Immunization."""
    return isinstance(bundle, dict) and bundle.get("resourceType") == "Immunization"


def read_batch(body: bytes, sender: str, now: datetime) -> Opened:
    """A batch file -> its records, and the rows refused. Raises `SourceContractBroken` when it is unusable as a whole."""
    wrong = _wrong_column(_header(body))
    if wrong:
        raise SourceContractBroken(f"{WRONG_HEADER}: {wrong}")
    arrivals, refused = [], []
    unescaped = body.replace(b"\\'", b"'")  # as systems that make these files write an apostrophe
    for row in rows_of(unescaped, columns=COLUMNS, encoding=_encoding(body), delimiter="|", quote='"'):
        try:
            arrivals.append(_row(row, sender, now))
        except _Refused as refusal:
            refused.append((row.where, str(refusal)))
    return Opened(None, arrivals, refused)


def read_r4(body: bytes, sender: str) -> Opened:
    """One R4 Immunization with its contained Patient -> its record. Raises `SourceContractBroken`."""
    tree = json.loads(body, parse_float=Decimal)
    people = [each for each in objects(tree.get("contained")) if each.get("resourceType") == "Patient"]
    if len(people) != 1 or tree.get("patient") != {"reference": f"#{people[0].get('id')}"}:
        raise SourceContractBroken(NOT_ONE_PATIENT)
    numbers = {number_of(each) for each in objects(people[0].get("identifier")) if each.get("system") == NHS_NUMBER}
    keys = [
        f"{each['system']}|{each['value']}"
        for each in objects(tree.get("identifier"))
        if each.get("system") and each.get("value")
    ]
    if len(numbers) != 1 or not keys:
        raise SourceContractBroken(NO_IDENTIFIER if numbers else "no NHS number in the message")
    born = _day(str(people[0].get("birthDate", "")), "%Y-%m-%d")
    if born is None:
        raise SourceContractBroken(NO_BIRTH_DATE_R4)
    if _is_before(str(tree.get("occurrenceDateTime", "")), born):
        raise SourceContractBroken(BEFORE_BIRTH)
    about = Claim(nhs_number=numbers.pop(), birth_date=born)
    meta = tree.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    as_of = utc(str(updated or tree.get("recorded") or ""))
    staff = {f"#{each.get('id')}": each for each in objects(tree.get("contained")) if each.get("resourceType") == "Practitioner"}
    data = {
        name: value for name, value in tree.items() if name not in ("contained", "patient", "meta", "text", "id", "resourceType")
    }
    data["performer"] = [_named(each, staff) for each in objects(tree.get("performer"))]
    record = SourceRecord(R4, {**data, "key": keys[0]}, "resource 1", as_of, about, locked=is_locked(tree))
    return Opened(as_of, (Arrival(KIND, keys[0], sender, as_of, about, record, losses=_losses(people[0], tree, about)),))


def _losses(person: Mapping[str, Tree], tree: Mapping[str, Tree], about: Claim) -> tuple[Loss, ...]:
    """What the contained Patient, or the reason why nothing was given, tells of a death."""
    told, why = death_told(person), tree.get("statusReason")
    reasons = {"Immunization": [{"explanation": {"reasonNotGiven": [why]}}]} if isinstance(why, dict) else {}
    died = told == "died" or screening_says_died(reasons)
    return (Loss(about.nhs_number or "", DEATH, taken_back=not died),) if died or told else ()


def _named(performer: Mapping[str, Tree], staff: Mapping[str, Mapping[str, Tree]]) -> Tree:
    """Who gave it, by name: a contained Practitioner does not leave its resource."""
    actor = performer.get("actor")
    found = staff.get(str(actor.get("reference"))) if isinstance(actor, dict) else None
    if found is None:
        return performer
    names = [_spoken(each) for each in objects(found.get("name"))]
    return {**performer, "actor": {"display": names[0]} if names and names[0] else {}}


def _spoken(name: Mapping[str, Tree]) -> str:
    given, family = name.get("given") or [], name.get("family") or ""
    words = [*given, family] if isinstance(given, list) else []
    if not words or not all(isinstance(word, str) for word in words):
        raise SourceContractBroken("a name of the wrong shape")
    return " ".join(words).strip()


def _header(body: bytes) -> Sequence[str]:
    """The names in a file's first line, as a batch file writes them."""
    line = body[:_HEADER_BYTES].lstrip(b"\xef\xbb\xbf \r\n").split(b"\n", 1)[0]
    return line.decode("ascii", "replace").replace('"', "").strip().split("|")


def _wrong_column(header: Sequence[str]) -> str:
    """The first column that is not the one that stands there, by its place: a file's own words are not repeated. "": none."""
    for place, name in enumerate(COLUMNS, start=1):
        if place > len(header) or header[place - 1] != name:
            return f"column {place} should be {name}"
    return "" if len(header) == len(COLUMNS) else f"there are {len(COLUMNS)} columns, and it has more"


def _encoding(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _row(row: Row, sender: str, now: datetime) -> Arrival:
    if row.fault is not None:
        raise _Refused(row.fault)
    cells = row.cells
    if any(has_unseen(cell) for name, cell in cells.items() if name not in _PERSON):
        raise _Refused(UNSEEN)
    flag = cells.get("ACTION_FLAG", "").lower()
    if "NHS_NUMBER" not in cells:
        raise _Refused(NO_NUMBER)
    if flag not in _RANK:
        raise _Refused(NO_FLAG)
    if "UNIQUE_ID" not in cells or "UNIQUE_ID_URI" not in cells:
        raise _Refused(NO_KEY)
    born, recorded = _day(cells.get("PERSON_DOB", ""), "%Y%m%d"), _day(cells.get("RECORDED_DATE", ""), "%Y%m%d")
    if born is None:
        raise _Refused(NO_BIRTH_DATE)
    if recorded is None:
        raise _Refused(NO_RECORDED)
    if recorded > (now + _CLOCKS_APART).date():  # it would outrank every correction that comes after it
        raise _Refused(NOT_YET)
    if _is_before(recorded.isoformat(), born):
        raise _Refused(BEFORE_BIRTH)
    about = Claim(nhs_number=cells["NHS_NUMBER"].replace(" ", ""), birth_date=born)
    delivered = timedelta(microseconds=int((now - _SINCE).total_seconds()))  # as a fraction of an hour: seconds until 2134 fit
    as_of = datetime(recorded.year, recorded.month, recorded.day, tzinfo=UTC) + timedelta(hours=_RANK[flag]) + delivered
    key = f"{cells['UNIQUE_ID_URI']}|{cells['UNIQUE_ID']}"
    if flag == "delete":
        return Arrival(KIND, key, sender, as_of, about, None)
    occurred = _moment(cells.get("DATE_AND_TIME", ""))
    if occurred > now + _CLOCKS_APART:
        raise _Refused(NOT_YET)
    if _is_before(occurred.isoformat(), born):
        raise _Refused(BEFORE_BIRTH)
    data = {name: cell for name, cell in cells.items() if name not in _PERSON} | {"occurred": occurred.isoformat()}
    del data["DATE_AND_TIME"]
    return Arrival(KIND, key, sender, as_of, about, SourceRecord(BATCH, data, row.where, as_of, about))


def _moment(text: str) -> datetime:
    said = _WHEN.fullmatch(text)
    try:
        if said is None:
            raise ValueError
        return datetime.strptime(said[1] + _OFFSET[said[2] or ""], "%Y%m%dT%H%M%S%z")
    except ValueError:
        raise _Refused(NO_TIME) from None


def _is_before(text: str, born: date) -> bool:
    """Whether a day, a month or a year is over before a birth. Of a moment the day before counts too: it may be in UTC."""
    said = _SAID.match(text)
    earliest = date.fromordinal(max(1, born.toordinal() - 1)).isoformat()
    return said is not None and said[0] < earliest[: len(said[0])]


def _day(text: str, form: str) -> date | None:
    try:
        return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day
    except ValueError:
        return None

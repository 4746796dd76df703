"""The children's centre: a relational database, as a small vendor's product keeps it, and the two other ways it may share.

Tables: setting, reach_postcode, family, member, relationship, address, professional_link, eligibility, consent, event,
attendance, contact; and referral_in and recall_in, which others may insert into. `bundle` is the nightly export of the same
tables as CSV in one ZIP; `Register` answers over HTTP with one person's rows.
"""

import csv
import hashlib
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.families import AUTHORITY_GSS, CENTRE_URN, PARENT, PEOPLE, Person, address_of
from sandbox.faults import Faults, Spoiled

CENTRE_TOKEN = "centre-sandbox-token"  # noqa: S105 - of a simulator
FILES = {
    "setting": "settings",
    "family": "families",
    "member": "members",
    "relationship": "relationships",
    "address": "addresses",
    "eligibility": "eligibility",
    "consent": "consents",
    "event": "events",
    "attendance": "attendance",
}  # table -> what its rows are called outside

Row = Mapping[str, object]

SCHEMA = """
create table setting (setting_id integer primary key, prefix text unique, name text, urn text, la_code text, postcode text, phone text, active boolean);
create table reach_postcode (postcode text, lsoa11 text, lsoa21 text, setting_id integer references setting, from_date date, to_date date);
create table family (family_id text primary key, setting_id integer references setting, registered_on date, registered_by text, source text, status text, left_on date);
create table member (member_id text primary key, family_id text references family, role text, first_name text, known_as text, middle_name text, surname text,
  dob date, edd date, sex text, ethnicity_dfe text, first_language text, interpreter boolean, disability text, nhs_number char(10), nhs_status text,
  deceased_on date, do_not_contact boolean);
create index member_nhs_number on member (nhs_number);
create table relationship (child_member_id text references member, carer_member_id text references member, type text, parental_responsibility text, lives_with boolean, from_date date, to_date date);
create table address (address_id integer primary key, family_id text references family, member_id text references member, line1 text, line2 text, line3 text, line4 text,
  postcode text, uprn text, from_date date, to_date date, confidential boolean);
create table professional_link (member_id text references member, kind text, name text, organisation text, ods_code text, phone text);
create table eligibility (eligibility_id integer primary key, member_id text references member, scheme text, basis text, code_dern text, status text,
  valid_from date, valid_to date);
create table consent (consent_id integer primary key, subject_member_id text references member, given_by_member_id text references member, capacity text, form_version text,
  scope text, decision text, obtained_on date, expires_on date, withdrawn_on date, evidence text, given_in text, helped_by text,
  recorded_by text);
create table event (event_id text primary key, setting_id integer references setting, category text, title text, starts_at text, ends_at text,
  universal_or_targeted text, sensitive boolean, venue text);
create table attendance (event_id text references event, member_id text references member, status text, recorded_at text, recorded_by text);
create index attendance_member on attendance (member_id);
create table contact (contact_id integer primary key, family_id text references family, occurred_at text, kind text, with_org text, note text, note_sensitive boolean);
create table referral_in (referral_id text primary key, nhs_number char(10) not null, status text not null, kind text not null, priority text,
  requested_at text not null, service text, reason text, from_org text not null, from_name text, contact_name text, contact_phone text, note text);
create table recall_in (recall_id text primary key, referral_id text not null, status text not null, because text not null, receipt text not null,
  recalled_at text not null);
"""

_SCOPES = ("store", "share_health", "share_la", "share_centres", "research")
_TWIN_OF = {"hugo": "grace"}
_OFFER = {"amara": "taken-up", "jonah": "eligible", "mia": "applied"}
_IN_ANOTHER_LANGUAGE = {"noor": ("ur", "interpreter")}
_DAYS = frozenset(
    (
        "registered_on",
        "left_on",
        "dob",
        "edd",
        "deceased_on",
        "from_date",
        "to_date",
        "valid_from",
        "valid_to",
        "obtained_on",
        "expires_on",
        "withdrawn_on",
    )
)
_TIMES = frozenset(("starts_at", "ends_at", "recorded_at"))
_FLAGS = frozenset(("active", "interpreter", "do_not_contact", "lives_with", "confidential", "sensitive"))


def write(path: Path, today: date) -> Path:
    """The families the centre knows -> a fresh database at the path; whoever has the old one open keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.unlink(missing_ok=True)
    connection = sqlite3.connect(hidden)
    try:
        fill(connection, today)
    finally:
        connection.close()
    return hidden.rename(path)


def fill(connection: sqlite3.Connection, today: date) -> None:
    """Every table, and in them the families the centre knows."""
    connection.executescript(SCHEMA)
    setting = {"setting_id": 1, "prefix": "WC", "name": "Willow Children's Centre", "urn": CENTRE_URN, "la_code": AUTHORITY_GSS}
    _put(connection, "setting", {**setting, "postcode": "ZZ99 9WZ", "phone": "01632 960190", "active": 1})
    _put(connection, "reach_postcode", {"postcode": "ZZ99 1AZ", "setting_id": 1, "from_date": "2020-04-01"})
    for event in _events(today):
        _put(connection, "event", event)
    for person in PEOPLE:
        if person.centre_id:
            _household(connection, person, today)
    _number_not_known(connection, today)
    connection.commit()


def bundle(connection: sqlite3.Connection, written: datetime) -> bytes:
    """The nightly export: one CSV a table, as spreadsheets of this country write them, and the list that proves it whole."""
    files = {f"{name}.csv": _csv(_rows(connection, f"select * from {table}")) for table, name in FILES.items()}
    listed = [
        {"file": name, "rows": body.count(b"\r\n") - 1, "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in files.items()
    ]
    files["manifest.csv"] = _csv(listed)
    made = io.BytesIO()
    local = written.astimezone(ZoneInfo("Europe/London")).timetuple()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name, (*local[:5], local.tm_sec)), body)
    return made.getvalue()


class Register:
    """The simulator of the centre's service: one person's rows for a number in the body, a page at a time."""

    def __init__(self, faults: Faults, connection: sqlite3.Connection) -> None:
        self.connection = connection  # tests change what the centre holds
        self._faults = faults

    def routes(self) -> list[Route]:
        return [Route("/centre/members/search", self._search, methods=["POST"])]

    async def _search(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {CENTRE_TOKEN}":
            return Response(b"", 401)
        number = str(json.loads(await request.body()).get("nhsNumber", ""))
        page, size = int(request.query_params.get("page", "1")), int(request.query_params.get("size", "20"))
        members = _rows(self.connection, "select * from member where nhs_number = ? order by member_id", number)
        pages = -(-len(members) // size)
        items = [self._item(member) for member in members[(page - 1) * size : page * size]]
        good = JSONResponse({"items": items, "page": page, "pages": pages}) if members else JSONResponse({}, 404)
        fault = self._faults.of("centre", number)
        return Spoiled(fault, good, Response(b"", 503)) if fault else good

    def _item(self, member: Row) -> Mapping[str, object]:
        whose, family = member["member_id"], member["family_id"]
        attended = "select * from attendance where member_id = ?"
        asked: Mapping[str, tuple[str, object]] = {
            "setting": ("select * from setting where setting_id in (select setting_id from family where family_id = ?)", family),
            "family": ("select * from family where family_id = ?", family),
            "relationship": ("select * from relationship where child_member_id = ?", whose),
            "eligibility": ("select * from eligibility where member_id = ?", whose),
            "consent": ("select * from consent where subject_member_id = ?", whose),
            "event": ("select * from event where event_id in (select event_id from attendance where member_id = ?)", whose),
            "attendance": (attended, whose),
        }
        tables = {table: _rows(self.connection, sql, value) for table, (sql, value) in asked.items()}
        tables["member"] = [member]
        tables["address"] = _rows(self.connection, "select * from address where member_id = ? or family_id = ?", whose, family)
        named = {FILES[table]: [_as_json(row) for row in rows] for table, rows in tables.items()}
        return {"nhsNumber": member["nhs_number"], "dateOfBirth": member["dob"], **named}


def _household(connection: sqlite3.Connection, person: Person, today: date) -> None:
    first = next(p for p in PEOPLE if p.key == _TWIN_OF.get(person.key, person.key))
    family, child, carer = "WC5" + first.centre_id[-5:], person.centre_id, "WC9" + first.centre_id[-5:]
    since = (person.birth_date + timedelta(days=90)).isoformat()
    everyday = {"ethnicity_dfe": "NOBT", "first_language": "eng", "interpreter": 0, "do_not_contact": 0}
    if first is person:
        parent = next((p for p in PEOPLE if p.key == PARENT.get(person.key)), None)
        address = address_of(person)
        held = {"family_id": family, "setting_id": 1, "registered_on": since, "registered_by": "reception", "source": "hv"}
        _put(connection, "family", {**held, "status": "registered"})
        named = (parent.given, parent.family, parent.birth_date.isoformat()) if parent else ("Alex", person.family, "1994-07-01")
        known = {"nhs_number": parent.nhs_number, "nhs_status": "stated"} if parent else {"nhs_status": "none"}
        adult = {"member_id": carer, "family_id": family, "role": "carer", "sex": "F", **everyday, **known}
        _put(connection, "member", {**adult, "first_name": named[0], "surname": named[1], "dob": named[2]})
        place = {"family_id": family, "line1": address.line, "line2": address.town, "postcode": address.postcode}
        _put(connection, "address", {**place, "from_date": since, "confidential": 0})
        call = {"family_id": family, "occurred_at": f"{since}T09:00:00", "kind": "visit", "note": "Came to look round"}
        _put(connection, "contact", {**call, "note_sensitive": 0})
    young = {"member_id": child, "family_id": family, "role": "child", "first_name": person.given, "surname": person.family}
    young |= {"dob": person.birth_date.isoformat(), "sex": "F" if person.gender == "female" else "M"}
    _put(connection, "member", {**young, **everyday, "nhs_number": person.nhs_number, "nhs_status": "traced"})
    tie = {"child_member_id": child, "carer_member_id": carer, "type": "mother", "parental_responsibility": "Y"}
    _put(connection, "relationship", {**tie, "lives_with": 1, "from_date": person.birth_date.isoformat()})
    visitor = {"member_id": child, "kind": "health_visitor", "organisation": "Meadowvale Community Health", "ods_code": "RXX99"}
    _put(connection, "professional_link", visitor)
    if person.key in _OFFER:
        window = {"valid_from": (today - timedelta(days=60)).isoformat(), "valid_to": (today + timedelta(days=120)).isoformat()}
        offer = {"member_id": child, "scheme": "2YO", "basis": "ECO", "code_dern": "50012345678", "status": _OFFER[person.key]}
        _put(connection, "eligibility", {**offer, **window})
    language, helped = _IN_ANOTHER_LANGUAGE.get(person.key, ("en", "none"))
    for scope in _SCOPES:
        refuses = person.key == "jonah" and scope != "store"
        given = {
            "subject_member_id": child,
            "given_by_member_id": carer,
            "capacity": "PR",
            "form_version": "2025-1",
            "scope": scope,
        }
        how = {"obtained_on": since, "evidence": "paper", "given_in": language, "helped_by": helped, "recorded_by": "reception"}
        _put(connection, "consent", {**given, **how, "decision": "deny" if refuses else "permit"})
    visits = [("E001", child, "attended"), ("E002", child, "attended"), ("E003", child, "dna"), ("E005", child, "booked")]
    visits.append(("E004", carer, "attended"))
    if person.key == "amara":
        visits.append(("E006", child, "cancelled"))
    for event, member, status in visits:
        noted = {"recorded_at": f"{today.isoformat()}T08:00:00", "recorded_by": "reception"}
        _put(connection, "attendance", {"event_id": event, "member_id": member, "status": status, **noted})


def _number_not_known(connection: sqlite3.Connection, today: date) -> None:
    """A family that gave no NHS number: nobody finds it by one."""
    since = (today - timedelta(days=30)).isoformat()
    family = {"family_id": "WC599999", "setting_id": 1, "registered_on": since, "registered_by": "reception", "source": "self"}
    _put(connection, "family", {**family, "status": "prospective"})
    child = {"member_id": "WC000099", "family_id": "WC599999", "role": "child", "first_name": "Quill", "surname": "Unnumbered"}
    _put(connection, "member", {**child, "dob": "2026-02-02", "sex": "F", "ethnicity_dfe": "NOBT", "nhs_status": "none"})


def _events(today: date) -> Iterable[Row]:
    kinds = (
        ("E001", "stay-and-play", "Stay and play", -21, 0, "Garden room"),
        ("E002", "weigh-in", "Baby weigh-in clinic", -14, 0, "Health room"),
        ("E003", "rhyme-time", "Rhyme time", -7, 0, "Library"),
        ("E004", "parenting-course", "Safer relationships group", -10, 1, "Quiet room"),
        ("E005", "speech-and-language", "Speech and language group", 7, 0, "Garden room"),
        ("E006", "outreach-visit", "Outreach visit", -5, 0, "Home visit"),
    )
    for event, category, title, days, sensitive, venue in kinds:
        day = (today + timedelta(days=days)).isoformat()
        when = {"starts_at": f"{day}T10:00:00", "ends_at": f"{day}T11:30:00"}
        what = {"event_id": event, "setting_id": 1, "category": category, "title": title, "venue": venue, "sensitive": sensitive}
        yield {**what, **when, "universal_or_targeted": "targeted" if sensitive else "universal"}


def _put(connection: sqlite3.Connection, table: str, row: Row) -> None:
    named = ", ".join(f":{name}" for name in row)
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({named})", dict(row))


def _rows(connection: sqlite3.Connection, sql: str, *values: object) -> list[Row]:
    found = connection.execute(sql, values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _csv(rows: Sequence[Row]) -> bytes:
    """UTF-8 with a byte order mark, CRLF, days as 31/12/2026, flags as Y and N."""
    made = io.StringIO(newline="")
    writer = csv.DictWriter(made, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows([{name: _cell(name, value) for name, value in row.items()} for row in rows])
    return made.getvalue().encode("utf-8-sig")


def _cell(name: str, value: object) -> object:
    if value is None:
        return ""
    if name in _DAYS:
        return date.fromisoformat(str(value)).strftime("%d/%m/%Y")
    if name in _TIMES:
        return datetime.fromisoformat(str(value)).strftime("%d/%m/%Y %H:%M")
    return ("Y" if value else "N") if name in _FLAGS else value


def _as_json(row: Row) -> dict[str, object]:
    """As services write it: nhsNumber, true and false."""
    return {_camel(name): bool(value) if name in _FLAGS and value is not None else value for name, value in row.items()}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)

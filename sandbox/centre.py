"""The children's centre: a relational database, as a small vendor's product keeps it.

Tables: setting, family, member, relationship, address, consent, event, attendance; and referral_in, which others may insert into.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path

from sandbox.families import AUTHORITY_GSS, CENTRE_URN, PARENT, PEOPLE, Person, address_of

_SCHEMA = """
create table setting (setting_id integer primary key, prefix text unique, name text, urn text, la_code text, postcode text, active boolean);
create table family (family_id text primary key, setting_id integer references setting, registered_on date, registered_by text, source text, status text, left_on date);
create table member (member_id text primary key, family_id text references family, role text, first_name text, known_as text, middle_name text, surname text,
  dob date, edd date, sex text, ethnicity_dfe text, first_language text, interpreter boolean, disability text, nhs_number char(10), nhs_status text,
  deceased_on date, do_not_contact boolean);
create index member_nhs_number on member (nhs_number);
create table relationship (child_member_id text references member, carer_member_id text references member, type text, parental_responsibility text, lives_with boolean, from_date date, to_date date);
create table address (address_id integer primary key, family_id text references family, member_id text references member, line1 text, line2 text, line3 text, line4 text,
  postcode text, uprn text, from_date date, to_date date, confidential boolean);
create table consent (consent_id integer primary key, subject_member_id text references member, given_by_member_id text references member, capacity text, form_version text,
  scope text, decision text, obtained_on date, expires_on date, withdrawn_on date, evidence text, recorded_by text);
create table event (event_id text primary key, setting_id integer references setting, category text, title text, starts_at text, ends_at text,
  universal_or_targeted text, sensitive boolean, venue text);
create table attendance (event_id text references event, member_id text references member, status text, recorded_at text, recorded_by text);
create index attendance_member on attendance (member_id);
create table referral_in (referral_id text primary key, nhs_number char(10) not null, status text not null, kind text not null, priority text,
  requested_at text not null, service text, reason text, from_org text not null, from_name text, contact_name text, contact_phone text, note text);
"""

_SCOPES = ("store", "share_health", "share_la", "share_centres")
_TWIN_OF = {"hugo": "grace"}


def write(path: Path, today: date) -> Path:
    """The families the centre knows -> a fresh database at the path; whoever has the old one open keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.unlink(missing_ok=True)
    connection = sqlite3.connect(hidden)
    try:
        connection.executescript(_SCHEMA)
        _put(connection, "setting", [(1, "WC", "Willow Children's Centre", CENTRE_URN, AUTHORITY_GSS, "ZZ99 9WZ", 1)])
        _put(connection, "event", list(_events(today)))
        for person in PEOPLE:
            if person.centre_id:
                _household(connection, person, today)
        _number_not_known(connection, today)
        connection.commit()
    finally:
        connection.close()
    return hidden.rename(path)


def _household(connection: sqlite3.Connection, person: Person, today: date) -> None:
    first = next(p for p in PEOPLE if p.key == _TWIN_OF.get(person.key, person.key))
    family, child, carer = "WC5" + first.centre_id[-5:], person.centre_id, "WC9" + first.centre_id[-5:]
    since = (person.birth_date + timedelta(days=90)).isoformat()
    if first is person:
        parent = next((p for p in PEOPLE if p.key == PARENT.get(person.key)), None)
        address = address_of(person)
        _put(connection, "family", [(family, 1, since, "reception", "hv", "registered", None)])
        named = (
            (parent.given, parent.family, parent.birth_date.isoformat(), parent.nhs_number)
            if parent
            else ("Alex", person.family, "1994-07-01", None)
        )
        status = "stated" if parent else "none"
        _put(
            connection,
            "member",
            [
                (
                    carer,
                    family,
                    "carer",
                    named[0],
                    None,
                    None,
                    named[1],
                    named[2],
                    None,
                    "F",
                    "NOBT",
                    "eng",
                    0,
                    None,
                    named[3],
                    status,
                    None,
                    0,
                )
            ],
        )
        _put(
            connection,
            "address",
            [(None, family, None, address.line, address.town, None, None, address.postcode, None, since, None, 0)],
        )
    sex = "F" if person.gender == "female" else "M"
    row = (
        child,
        family,
        "child",
        person.given,
        None,
        None,
        person.family,
        person.birth_date.isoformat(),
        None,
        sex,
        "NOBT",
        "eng",
        0,
        None,
    )
    _put(connection, "member", [(*row, person.nhs_number, "traced", None, 0)])
    _put(connection, "relationship", [(child, carer, "mother", "Y", 1, person.birth_date.isoformat(), None)])
    refuses = person.key == "jonah"
    consents = [
        (
            None,
            child,
            carer,
            "PR",
            "2025-1",
            scope,
            "deny" if refuses and scope != "store" else "permit",
            since,
            None,
            None,
            "paper",
            "reception",
        )
        for scope in _SCOPES
    ]
    _put(connection, "consent", consents)
    visits = [
        ("E001", child, "attended"),
        ("E002", child, "attended"),
        ("E003", child, "dna"),
        ("E005", child, "booked"),
        ("E004", carer, "attended"),
    ]
    if person.key == "amara":
        visits.append(("E006", child, "cancelled"))
    _put(
        connection,
        "attendance",
        [(event, member, status, f"{today.isoformat()}T08:00:00", "reception") for event, member, status in visits],
    )


def _number_not_known(connection: sqlite3.Connection, today: date) -> None:
    """A family that gave no NHS number: nobody finds it by one."""
    since = (today - timedelta(days=30)).isoformat()
    _put(connection, "family", [("WC599999", 1, since, "reception", "self", "prospective", None)])
    row = ("WC000099", "WC599999", "child", "Quill", None, None, "Unnumbered", "2026-02-02", None, "F", "NOBT", "eng", 0, None)
    _put(connection, "member", [(*row, None, "none", None, 0)])


def _events(today: date) -> Iterable[tuple[object, ...]]:
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
        yield (
            event,
            1,
            category,
            title,
            f"{day}T10:00:00",
            f"{day}T11:30:00",
            "targeted" if sensitive else "universal",
            sensitive,
            venue,
        )


def _put(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        connection.executemany(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", rows)

"""The other returns of synthetic authorities: SSDA903 as CSV and XML, an Annex A workbook, dataset tables, a second authority.

Each is what an authority's own system writes every night in the shape of a return. Nobody here exists.
Source: DfE SSDA903 column names; Ofsted Annex A list and column names; Standard Safeguarding Dataset table and column names.
"""

import contextlib
import csv
import io
import re
import sqlite3
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
from lxml import etree

from sandbox.families import BY_KEY, Person
from sandbox.folders import put

SOUTHSHIRE_GSS = "E08999902"
SOUTHSHIRE_LEA = "998"
UNBORN = "S00090"  # Southshire's record of an unborn child: its crosswalk row is the mother's
TWICE = ("S00002", "S00003")  # one child held twice

_LONDON = ZoneInfo("Europe/London")


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode of care."""

    start: str
    why: str  # S started, L legal status, P placement, B both
    legal: str
    placement: str
    end: str = ""
    ceased: str = ""


EPISODES: Mapping[str, Sequence[Episode]] = {
    "noor": (Episode("2026-02-01", "S", "V2", "U6", "2026-05-01", "X1"), Episode("2026-05-01", "L", "C2", "U6")),
    "mia": (Episode("2025-12-01", "S", "C2", "U6", "2026-09-01", "X1"), Episode("2026-09-01", "B", "E1", "A5")),
    "hugo": (Episode("2026-08-01", "S", "V4", "U6"),),
    "grace": (Episode("2025-03-01", "S", "C2", "K2", "2025-11-30", "E4A"),),
}
PLACED = {"mia": "2026-09-01"}  # placed for adoption
PLANS = {"amara": ("2026-03-06", "", "NEG"), "noor": ("2026-01-10", "2026-02-01", "EMO")}  # of the dataset: start, end, category
MOTHERS = {"kiran": "leah"}


def ssda903(at: datetime) -> dict[str, bytes]:
    """The return as it was at `at` -> its CSV files by name."""
    header = [["CHILD", "SEX", "DOB", "ETHNIC", "UPN", "MOTHER", "MC_DOB"]]
    episodes = [["CHILD", "DECOM", "RNE", "LS", "CIN", "PLACE", "PLACE_PROVIDER", "DEC", "REC", "REASON_PLACE_CHANGE"]]
    episodes[0] += ["HOME_POST", "PL_POST", "URN"]
    placed = [["CHILD", "DOB", "DATE_PLACED", "DATE_PLACED_CEASED", "REASON_PLACED_CEASED"]]
    for key, own in EPISODES.items():
        person = BY_KEY[key]
        header.append([person.local_id, person.gender[0].upper(), _day(person), "NOBT", "", "", ""])
        for one in own:
            row = [person.local_id, _english(one.start), one.why, one.legal, "N1", one.placement, "PR1", _english(one.end)]
            episodes.append([*row, one.ceased, "", "ZZ99 1ZZ", "ZZ99 9ZZ", "SC999999"])
        if key in PLACED:
            placed.append([person.local_id, _day(person), _english(PLACED[key]), "", ""])
    reviews = [["CHILD", "DOB", "REVIEW", "REVIEW_CODE"], [BY_KEY["noor"].local_id, _day(BY_KEY["noor"]), "20/06/2026", "PN0"]]
    tables = {"header": header, "episodes": episodes, "placed_adoption": placed, "reviews": reviews}
    return {f"{name}.csv": _csv(rows) for name, rows in tables.items()}


def ssda903_xml() -> bytes:
    """The same return in its XML form, which has other names for some elements."""
    root = etree.Element("EXPSSDA903")
    for key, own in EPISODES.items():
        person = BY_KEY[key]
        child = etree.SubElement(root, "CHILD")
        header = etree.SubElement(child, "HEADER")
        _texts(header, CHILDID=person.local_id, SEX=person.gender[0].upper(), DOB=person.birth_date.isoformat(), ETHNIC="NOBT")
        _texts(header, UPN="")
        review = etree.SubElement(header, "AREVIEW")
        _texts(review, REVIEW="2026-06-20", REVIEW_CODE="PN0")
        for one in own:
            episode = etree.SubElement(child, "EPISODE")
            _texts(episode, DECOM=one.start, RNE=one.why, LS=one.legal, CIN="N1", PL=one.placement, PLACE_PROVIDER="PR1")
            _texts(episode, DEC=one.end, REC=one.ceased, PL_POST="ZZ99 9ZZ")
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def annex_a(at: datetime) -> bytes:
    """The lists as they were at `at` -> a workbook. List 11 is of adopters, who are nobody's record here."""
    book = openpyxl.Workbook(write_only=True)
    own = ["Child Unique ID", "Gender", "Ethnicity", "Date of Birth", "Age of Child (Years)"]
    who = ["Allocated Team", "Allocated Worker"]
    lists: dict[str, list[list[object]]] = {
        "List 1": [[*own, "Date of Contact", "Contact Source"], [*_child("amara"), datetime(2026, 2, 2), "Health visitor"]],  # noqa: DTZ001 - a day
        "List 3": [
            [*own, "Date of Referral", "Referral Source", "Referral NFA?", "Number of Referrals in Last 12 Months", *who],
            [*_child("amara"), datetime(2026, 2, 3), "3B: Health visitor", "No", 1, "North team", "Wren Worker"],  # noqa: DTZ001
        ],
        "List 6": [
            [*own, "CIN Start Date", "Primary Need Code", "CIN Closure Date", "Reason for Closure", "Case Status", *who],
            [*_child("amara"), datetime(2026, 2, 3), "N1", None, None, "b) Child Protection plan", "North team", "Wren Worker"],  # noqa: DTZ001
            [*_child("mia"), datetime(2025, 11, 3), "N1", None, None, "a) Looked after child", "South team", "Robin Worker"],  # noqa: DTZ001
        ],
        "List 7": [
            [*own, "CP Plan Start Date", "Initial Category of Abuse", "Latest Category of Abuse", "CP Plan End Date", *who],
            [*_child("amara"), "06/03/2026", "a) Neglect", "a) Neglect", None, "North team", "Wren Worker"],
        ],
        "List 8": [
            [*own, "Date Started to be Looked After", "Child's Legal Status", "Placement Type", "Placement Postcode", *who],
            [*_child("mia"), datetime(2025, 12, 1), "E1: Placement order", "A5", "ZZ99 9ZZ", "South team", "Robin Worker"],  # noqa: DTZ001
            [*_child("hugo"), datetime(2026, 8, 1), "V4: Short breaks", "U6", "ZZ99 9ZZ", "South team", "Robin Worker"],  # noqa: DTZ001
        ],
        "List 10": [
            [*own, "Date of the Decision that the Child Should be Placed for Adoption", "Date of Placement Order"],
            [*_child("mia"), "01/08/2026", "01/09/2026"],
        ],
        "List 11": [["Individual adopter identifier", "Family Identifier"], ["AD1", "FAM1"]],
    }
    for name, rows in lists.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return _saved(out.getvalue(), at)


def _saved(body: bytes, at: datetime) -> bytes:
    """A workbook -> the same, saved at `at`: the library always says now."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            part = old.read(info)
            if info.filename == "docProps/core.xml":
                part = re.sub(
                    rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}".encode(), part
                )
            new.writestr(info.filename, part)
    return out.getvalue()


def dataset(at: datetime, *, number_column: str = "pers_common_child_id") -> dict[str, bytes]:
    """The dataset's tables -> CSV files by name. The NHS number's column has had two names, and is NULL as it is shipped."""
    people = [["pers_person_id", "pers_upn", "pers_forename", "pers_surname", "pers_sex", "pers_dob", number_column]]
    for key in ("amara", "noor", "kiran", "leah", "grace", "hugo"):
        one = BY_KEY[key]
        number = one.nhs_number if key in ("amara", "noor") else "NULL"
        people.append([one.local_id, "NULL", one.given, one.family, one.gender[0].upper(), one.birth_date.isoformat(), number])
    plans = [["cppl_cp_plan_id", "cppl_referral_id", "cppl_person_id", "cppl_cp_plan_start_date", "cppl_cp_plan_end_date"]]
    plans[0] += ["cppl_cp_plan_ola", "cppl_cp_plan_initial_category", "cppl_cp_plan_latest_category"]
    for place, (key, (start, end, category)) in enumerate(PLANS.items(), start=1):
        plans.append([f"CP{place}", "R1", BY_KEY[key].local_id, f"{start} 00:00:00", end or "NULL", "N", category, category])
    referrals = [["cine_referral_id", "cine_person_id", "cine_referral_date", "cine_cin_primary_need_code", "cine_close_date"]]
    referrals[0] += ["cine_referral_source_code", "cine_referral_nfa", "cine_close_reason"]
    for place, key in enumerate(("amara", "grace", "kiran"), start=1):
        referrals.append([f"R{place}", BY_KEY[key].local_id, "2026-02-03", "N1", "NULL", "3B", "N", "NULL"])
    care = [["clae_cla_episode_id", "clae_person_id", "clae_cla_episode_start_date", "clae_cla_episode_start_reason"]]
    care[0] += ["clae_cla_episode_ceased", "clae_cla_episode_ceased_reason", "clae_cla_id"]
    care.append(["E1", BY_KEY["noor"].local_id, "2026-02-01", "S", "NULL", "NULL", "CLA1"])
    mothers = [["moth_table_id", "moth_person_id", "moth_childs_person_id"]]
    mothers += [["M1", BY_KEY[mother].local_id, BY_KEY[child].local_id] for child, mother in MOTHERS.items()]
    tables: dict[str, list[list[str]]] = {
        "ssd_person": people,
        "ssd_cp_plans": plans,
        "ssd_cin_episodes": referrals,
        "ssd_cla_episodes": care,
        "ssd_mother": mothers,
        "ssd_address": [
            ["addr_table_id", "addr_person_id", "addr_address_type", "addr_address_postcode"],
            ["1", BY_KEY["hugo"].local_id, "HOME", "CONFIDENTIAL"],
        ],
        "ssd_cla_placement": [["clap_cla_placement_id", "clap_person_id", "clap_cla_placement_type"]],
        "ssd_legal_status": [["lega_legal_status_id", "lega_person_id", "lega_legal_status"]],
        "ssd_permanence": [["perm_person_id", "perm_placed_for_adoption_date"]],
        "ssd_involvements": [
            [
                "invo_involvements_id",
                "invo_person_id",
                "invo_professional_id",
                "invo_professional_team",
                "invo_involvement_end_date",
            ],
            ["I1", BY_KEY["amara"].local_id, "P1", "North team", "NULL"],
        ],
        "ssd_professionals": [
            ["prof_professional_id", "prof_professional_name", "prof_professional_job_title"],
            ["P1", "Wren Worker", "Social worker"],
        ],
        "ssd_send": [["send_table_id", "send_person_id"], ["1", BY_KEY["amara"].local_id]],  # one of the tables nobody asks for
    }
    return {f"{name}.csv": _csv(rows) for name, rows in tables.items()}


def dataset_database(path: Path, at: datetime) -> Path:
    """The same tables where they lie in the case system: a SQLite file in which what is not known is NULL."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for name, body in dataset(at, number_column="pers_single_unique_id").items():
            columns, *rows = csv.reader(io.StringIO(body.decode("utf-8")))
            database.execute(f"create table {name.removesuffix('.csv')} ({', '.join(columns)})")
            values = [[None if cell == "NULL" else cell for cell in row] for row in rows]
            database.executemany(f"insert into {name.removesuffix('.csv')} values ({', '.join('?' * len(columns))})", values)
    return path


def zipped(files: Mapping[str, bytes], at: datetime) -> bytes:
    """Files -> one ZIP whose entries were written at `at`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name, at.astimezone(_LONDON).timetuple()[:6]), body)
    return out.getvalue()


def southshire(at: datetime) -> bytes:
    """A second authority's extract: a child both hold, a child it holds twice, an unborn child, one who has died."""
    message = etree.Element("Message")
    header = etree.SubElement(message, "Header")
    source = etree.SubElement(header, "Source")
    local = at.astimezone(_LONDON).replace(tzinfo=None)
    _texts(source, SourceLevel="L", LEA=SOUTHSHIRE_LEA, DateTime=local.isoformat(timespec="seconds"))
    children = etree.SubElement(message, "Children")
    _case(children, "S00001", BY_KEY["amara"], "2026-05-05", plan="2026-06-01")
    _case(children, TWICE[0], BY_KEY["grace"], "2026-04-04", plan="2026-04-20")
    _case(children, TWICE[1], BY_KEY["grace"], "2026-04-04", plan="2026-04-20")
    _case(children, UNBORN, None, "2026-10-01", plan="2026-11-01")
    _case(children, "S00005", BY_KEY["farah"], "2025-10-01", plan="2025-11-01", died="2026-01-15")
    return bytes(etree.tostring(message, xml_declaration=True, encoding="UTF-8"))


def write_crosswalk(path: Path, rows: Sequence[tuple[str, Person]]) -> Path:
    """Pairs of local id and person -> a CSV that the operator imports."""
    lines = [f"{local},{one.nhs_number},{one.birth_date.isoformat()},2026-06-01,matching team" for local, one in rows]
    return put(path, ("\n".join(["local_id,nhs_number,birth_date,verified_on,verified_by", *lines]) + "\n").encode())


def _case(children: "etree._Element", local_id: str, person: Person | None, referred: str, *, plan: str, died: str = "") -> None:
    child = etree.SubElement(children, "Child")
    identifiers = etree.SubElement(child, "ChildIdentifiers")
    if person is None:
        _texts(identifiers, LAchildID=local_id, UPNunknown="UN1", ExpectedPersonBirthDate="2027-01-20", Sex="U")
    else:
        _texts(identifiers, LAchildID=local_id, UPN="A999999999999", PersonBirthDate=person.birth_date.isoformat(), Sex="U")
    if died:
        _texts(identifiers, PersonDeathDate=died)
    details = etree.SubElement(child, "CINdetails")
    _texts(details, CINreferralDate=referred, ReferralSource="3A", PrimaryNeedCode="N1", ReferralNFA="0")
    told = etree.SubElement(details, "ChildProtectionPlans")
    _texts(told, CPPstartDate=plan, InitialCategoryOfAbuse="NEG", LatestCategoryOfAbuse="NEG", NumberOfPreviousCPP="0")


def _child(key: str) -> list[object]:
    person = BY_KEY[key]
    born = datetime.combine(person.birth_date, datetime.min.time())
    return [person.local_id, "b) Female" if person.gender == "female" else "a) Male", "a) WBRI", born, 2]


def _day(person: Person) -> str:
    return person.birth_date.strftime("%d/%m/%Y")


def _english(day: str) -> str:
    return "/".join(reversed(day.split("-")))


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8")


def _texts(parent: "etree._Element", **texts: str) -> None:
    for name, text in texts.items():
        etree.SubElement(parent, name).text = text

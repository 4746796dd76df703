"""The local authority: its nightly extract in CIN census XML shape, and the crosswalk from its child ids to NHS numbers.

The extract is the authority's own and not the statutory return: beside the census elements it carries LocalExtras.
Source: DfE Children in Need census 2026, element names and code sets.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from lxml import etree

from sandbox.families import AUTHORITY_LEA, BY_KEY, PEOPLE, REFUGE, Person
from sandbox.folders import put

STRANGER = "LA00099"  # in the extract, in no crosswalk row
_SEX = {"female": "F", "male": "M"}


@dataclass(frozen=True, slots=True)
class Plan:
    """One child protection plan."""

    start: str
    category: str  # NEG PHY SAB EMO MUL
    end: str = ""
    reviews: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One referral and what came of it."""

    referred: str
    source: str  # 3B health visitor, 2A school, 6 police ...
    need: str
    closed: str = ""
    reason: str = ""
    factors: tuple[str, ...] = ()  # ...B and ...C are about a parent or another household member
    section47: str = ""
    plans: tuple[Plan, ...] = ()


CASES: dict[str, tuple[Case, ...]] = {
    "amara": (
        Case(
            "2026-02-03", "3B", "N1", factors=("3B", "4B", "16A"), section47="2026-02-20",
            plans=(Plan("2026-03-06", "NEG", reviews=("2026-06-02",)),),
        ),
    ),
    "chloe": (Case("2024-09-10", "6", "N1", "2025-08-29", "RC7", ("2B",), "2024-09-20", (Plan("2024-10-01", "EMO", "2025-06-30", ("2025-01-07",)),)),),
    "dara": (Case("2025-11-11", "6", "N1", factors=("3B",), section47="2025-11-12", plans=(Plan("2025-11-27", "PHY"),)),),
    "eli-before": (Case("2021-03-01", "3D", "N1", "2023-05-05", "RC1", ("16A",)),),
    "grace": (Case("2026-06-15", "1A", "N4"),),
    "hugo": (Case("2026-06-15", "1A", "N4"),),
    "isla": (Case("2025-01-20", "3A", "N2", "2025-07-01", "RC8"),),
    "jonah": (Case("2026-08-18", "2B", "N4", factors=("4B",)),),
    "kiran": (Case("2026-05-02", "6", "N1", factors=("3B", "3C"), section47="2026-05-04", plans=(Plan("2026-05-19", "EMO"),)),),
    "mia": (Case("2026-09-01", "4", "N7"),),
    "noor": (Case("2026-07-07", "3B", "N3"),),
    "oscar": (Case("2024-02-02", "9", "N1", "2024-03-15", "RC8"),),
}  # fmt: skip


def write_extract(folder: Path, at: datetime) -> Path:
    """The whole extract as it was at `at` -> extract-YYYYMMDD.xml in the folder."""
    return put(folder / f"extract-{at.astimezone(UTC):%Y%m%d}.xml", extract(at))


def write_crosswalk(path: Path) -> Path:
    """The verified pairs of child id and NHS number -> a CSV. One child of the extract is not in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("local_id", "nhs_number", "birth_date", "verified_on", "verified_by"))
        for person in PEOPLE:
            if person.local_id:
                rows.writerow((person.local_id, person.nhs_number, person.birth_date.isoformat(), "2026-06-01", "matching team"))
    return path


def extract(at: datetime) -> bytes:
    """The extract as it was at `at` -> its XML."""
    message = etree.Element("Message")
    header = etree.SubElement(message, "Header")
    collection = etree.SubElement(header, "CollectionDetails")
    _texts(collection, Collection="CIN", Year="2026", ReferenceDate=at.date().isoformat())
    source = etree.SubElement(header, "Source")
    local = at.astimezone(ZoneInfo("Europe/London")).replace(tzinfo=None)  # the census format has no zone
    _texts(source, SourceLevel="L", LEA=AUTHORITY_LEA, SoftwareCode="Sandbox case system", Release="1", SerialNo="001")
    _texts(source, DateTime=local.isoformat(timespec="seconds"))
    children = etree.SubElement(message, "Children")
    for person in PEOPLE:
        if person.local_id:
            _child(children, person.local_id, person.birth_date, _SEX[person.gender], CASES.get(person.key, ()), person)
    _child(children, STRANGER, date(2019, 5, 5), "U", (Case("2026-10-10", "10", "N0"),), None)
    return bytes(etree.tostring(message, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _child(children: "etree._Element", local_id: str, born: date, sex: str, cases: Sequence[Case], person: Person | None) -> None:
    child = etree.SubElement(children, "Child")
    identifiers = etree.SubElement(child, "ChildIdentifiers")
    _texts(identifiers, LAchildID=local_id, UPNunknown="UN1", PersonBirthDate=born.isoformat(), Sex=sex)
    characteristics = etree.SubElement(child, "ChildCharacteristics")
    _texts(characteristics, Ethnicity="NOBT")
    _texts(etree.SubElement(characteristics, "Disabilities"), Disability="NONE")
    for case in cases:
        _details(child, case)
    if person is not None and person.key in REFUGE:
        extras = etree.SubElement(child, "LocalExtras")
        etree.SubElement(extras, "DisclosureLock", kind="refuge")
        if person is BY_KEY["leah"]:
            _texts(extras, Role="parent")


def _details(child: "etree._Element", case: Case) -> None:
    details = etree.SubElement(child, "CINdetails")
    _texts(details, CINreferralDate=case.referred, ReferralSource=case.source, PrimaryNeedCode=case.need)
    if case.closed:
        _texts(details, CINclosureDate=case.closed, ReasonForClosure=case.reason)
    if case.plans:
        _texts(details, DateOfInitialCPC=case.plans[0].start)
    if case.factors:
        assessment = etree.SubElement(details, "Assessments")
        _texts(assessment, AssessmentActualStartDate=case.referred)
        factors = etree.SubElement(assessment, "FactorsIdentifiedAtAssessment")
        for factor in case.factors:
            _texts(factors, AssessmentFactors=factor)
    if case.section47:
        enquiry = etree.SubElement(details, "Section47")
        _texts(enquiry, S47ActualStartDate=case.section47, ICPCnotRequired="0")
    _texts(details, ReferralNFA="0")
    for number, plan in enumerate(case.plans):
        told = etree.SubElement(details, "ChildProtectionPlans")
        _texts(told, CPPstartDate=plan.start, **({"CPPendDate": plan.end} if plan.end else {}))
        _texts(told, InitialCategoryOfAbuse=plan.category, LatestCategoryOfAbuse=plan.category, NumberOfPreviousCPP=str(number))
        if plan.reviews:
            reviews = etree.SubElement(told, "Reviews")
            for review in plan.reviews:
                _texts(reviews, CPPreviewDate=review)


def _texts(parent: "etree._Element", **texts: str) -> None:
    for name, text in texts.items():
        etree.SubElement(parent, name).text = text

"""What the practices hold: one synthetic structured record per person, as plain rows. Written for this sandbox; nobody's record."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Allergy:
    """One allergy. `ended`: the day it was found not to be one."""

    code: str
    term: str
    since: str
    reaction: tuple[str, str] | None = None
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Medicine:
    """One course: a statement, its plan and its issues."""

    code: str
    term: str
    dose: str
    start: str
    kind: str  # acute | repeat
    status: str  # active | completed | stopped
    issues: tuple[str, ...]
    quantity: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Jab:
    """One vaccination, given or not."""

    code: str
    term: str
    days: int  # after birth
    lot: str = ""
    dose: int = 1
    disease: tuple[str, str] = ("", "")
    refused: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem header."""

    code: str
    term: str
    since: str
    major: bool = False
    ended: str | None = None
    private: bool = False  # NOPAT: not for the patient's or family's eyes


@dataclass(frozen=True, slots=True)
class Consultation:
    """One consultation: its topic, and under which headings what was found, by name of other held items."""

    day: str
    kind: str
    topic: str
    headings: tuple[tuple[str, tuple[str, ...]], ...]  # heading -> "finding-0", "problem-1", "referral-0" ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One observation. `parts`: components, `members`: others that belong to it."""

    code: str
    term: str
    day: str
    value: tuple[str, str] | None = None  # number and unit
    parts: tuple[tuple[str, str, str, str], ...] = ()  # code, term, number, unit
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """One investigation: what was asked for, taken, found."""

    term: str
    day: str
    specimen: str
    results: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A referral, or a diary entry for a day to come."""

    code: str
    term: str
    day: str
    to: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """One document on file. `private`: labelled not for the family."""

    term: str
    day: str
    author: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """One record. `allergies` None: nothing was ever recorded, which is not "no known allergies"."""

    allergies: tuple[Allergy, ...] | None = ()
    no_known_allergies: str = ""  # the day it was asked and answered
    medicines: tuple[Medicine, ...] = ()
    jabs: tuple[Jab, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # area or "*" -> codes
    consultations: tuple[Consultation, ...] = ()
    findings: tuple[Finding, ...] = ()
    tests: tuple[Test, ...] = ()
    referrals: tuple[Asked, ...] = ()
    diary: tuple[Asked, ...] = ()
    letters: tuple[Letter, ...] = ()
    answers: tuple[tuple[str, str], ...] = ()  # one questionnaire: question and answer
    odd: bool = False  # dangling references and a time without a zone


# fmt: off
_PEANUT = Allergy("91935009", "Allergy to peanut", "2025-06-02", ("126485001", "Urticaria"))
_EGG = Allergy("91930004", "Allergy to egg", "2024-11-20", None, "2026-02-12")
_PENICILLIN = Allergy("91936005", "Allergy to penicillin", "2025-04-11", ("271807003", "Rash"))
_INHALER = Medicine(
    "39113611000001102", "Salbutamol 100micrograms/dose inhaler CFC free", "2 puffs when needed by spacer", "2026-01-14", "repeat", "active",
    ("2026-01-14", "2026-05-06"), ("1", "inhaler"),
)
_AMOXICILLIN = Medicine(
    "323509004", "Amoxicillin 250mg capsules", "One three times a day for 5 days", "2026-03-02", "acute", "completed", ("2026-03-02",), ("15", "capsule")
)
_SIX = Jab("1082441000000108", "First hexavalent vaccination", 56, "HX4471", 1, ("76902006", "Tetanus"))
_MEN_B = Jab("720539004", "First meningitis B vaccination", 56, "MB2209", 1, ("1354584007", "Meningococcal B disease"))
_MMR = Jab("308081000000105", "First measles, mumps and rubella vaccination", 371, "MM8812", 1, ("14189004", "Measles"))
_NO_MMR = Jab("308081000000105", "First measles, mumps and rubella vaccination", 371, refused=("310376006", "Immunisation consent not given"))
_ECZEMA = Problem("43116000", "Eczema", "2024-12-03")
_WHEEZE = Problem("56018004", "Wheezing", "2026-01-14", major=True)
_EARS = Problem("65363002", "Otitis media", "2025-10-07", ended="2025-10-21")
_PRESSURE = Finding(
    "75367002", "Blood pressure", "2026-01-14",
    parts=(("72313002", "Systolic arterial pressure", "94", "mm[Hg]"), ("1091811000000102", "Diastolic arterial pressure", "58", "mm[Hg]")),
)
_WEIGHT = Finding("27113001", "Body weight", "2026-01-14", ("11.2", "kg"))
_CONSENTED = Finding("268559007", "Consent given for immunisations", "2024-05-01")
_COUGH = Finding("272039006", "Dry cough", "2026-01-14", comment="Worse at night")
_BLOODS = Test("Full blood count", "2026-01-16", "Venous blood specimen", (Finding("1022431000000105", "Haemoglobin estimation", "2026-01-16", ("118", "g/L")), Finding("1022651000000100", "Platelet count", "2026-01-16", ("301", "10*9/L"))))
_CHEST = Asked("306114009", "Referral to paediatrician", "2026-01-14", "Northtown Children's Hospital", "Wheeze in a toddler, please see")
_FLU = Asked("86198006", "Administration of influenza vaccine", "2099-10-01")
_LETTER = Letter("Clinical letter", "2026-02-20", "Northtown Children's Hospital")
_REPORT = Letter("Social report", "2026-02-21", "Riverside Surgery", private=True)
_SEEN = Consultation("2026-01-14", "Face to face consultation", "Wheezing", (("History", ("finding-3",)), ("Examination", ("finding-0", "finding-1")), ("Plan", ("referral-0", "problem-0", "letter-0", "letter-1"))))

RECORDS: Mapping[str, Held] = {
    "amara": Held((_PEANUT, _EGG), "", (_INHALER, _AMOXICILLIN), (_SIX, _MEN_B, _MMR), (_WHEEZE, _ECZEMA, _EARS),
        consultations=(_SEEN,), findings=(_PRESSURE, _WEIGHT, _CONSENTED, _COUGH), tests=(_BLOODS,), referrals=(_CHEST,), diary=(_FLU,), letters=(_LETTER, _REPORT),
        answers=(("Does your child cough at night?", "Yes"), ("How many nights a week?", "3"))),
    "ben": Held((), "2025-07-01", (), (_SIX,), ()),
    "chloe": Held(None, "", (_AMOXICILLIN,), (_SIX, _MMR), (_EARS,)),
    "eli-after": Held((_PENICILLIN,), "", (), (_MMR,), ()),
    "grace": Held((), "2025-02-04", (), (_SIX, _MMR), (), {"includeProblems": ("confidential-items",), "includeReferrals": ("confidential-items", "data-awaiting-filing")}),
    "hugo": Held((_PENICILLIN,), "", (), (_SIX,), (_ECZEMA,), {"*": ("data-in-transit",)}),
    "isla": Held((), "2024-01-09", (), (_MMR,), (_WHEEZE,)),
    "jonah": Held(None, "", (), (_SIX, _NO_MMR), ()),
    "kiran": Held((_PENICILLIN,), "", (_INHALER,), (_SIX, _MMR), (_WHEEZE,), {}, odd=True),
    "leah": Held((), "2023-03-03", (), (), (Problem("35489007", "Depressive disorder", "2025-05-05", private=True),)),
    "mia": Held((_PEANUT,), "", (), (_SIX,), ()),
    "noor": Held((_PENICILLIN,), "", (), (_MMR,), ()),
    "oscar": Held((_PEANUT,), "", (), (_SIX,), ()),
}
USUAL = Held((), "2024-01-01", (), (_SIX,), ())
# fmt: on

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
class Held:
    """One record. `allergies` None: nothing was ever recorded, which is not "no known allergies"."""

    allergies: tuple[Allergy, ...] | None = ()
    no_known_allergies: str = ""  # the day it was asked and answered
    medicines: tuple[Medicine, ...] = ()
    jabs: tuple[Jab, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # area or "*" -> codes
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

RECORDS: Mapping[str, Held] = {
    "amara": Held((_PEANUT, _EGG), "", (_INHALER, _AMOXICILLIN), (_SIX, _MEN_B, _MMR), (_WHEEZE, _ECZEMA, _EARS)),
    "ben": Held((), "2025-07-01", (), (_SIX,), ()),
    "chloe": Held(None, "", (_AMOXICILLIN,), (_SIX, _MMR), (_EARS,)),
    "eli-after": Held((_PENICILLIN,), "", (), (_MMR,), ()),
    "grace": Held((), "2025-02-04", (), (_SIX, _MMR), (), {"includeProblems": ("confidential-items",)}),
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

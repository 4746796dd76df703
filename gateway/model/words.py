"""The words of the domain: purposes, kinds, classes, marks, categories, states, and the small values named by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NewType, TypeAlias

PersonId = NewType("PersonId", str)  # random 128 bits as 26 base32 letters: opaque, ours
Resource: TypeAlias = Mapping[str, Any]  # R4 JSON, read-only by agreement


class Purpose(StrEnum):
    """Why the caller asks. HL7 v3-ActReason where it has a code; ours where it has none (law table, consent_policy/law)."""

    TREAT = "TREAT"  # direct care
    ETREAT = "ETREAT"  # emergency treatment
    COC = "COC"  # coordination of care
    BTG = "BTG"  # break the glass, an emergent health condition
    HCOMPL = "HCOMPL"  # audit of access
    FAMRQT = "FAMRQT"  # the family asks
    PATRQT = "PATRQT"  # the person asks
    HLEGAL = "HLEGAL"  # a court's order
    S17 = "S17"  # Children Act 1989 s.17 assessment
    S47 = "S47"  # Children Act 1989 s.47 enquiry
    MASH = "MASH"
    CASECONF = "CASECONF"  # child protection conference
    EARLYHELP = "EARLYHELP"


class Access(StrEnum):
    """What the caller says of the visit it asks for. CP-IS wants it said each time: nothing is taken for granted."""

    UNSAID = "unsaid"
    SCHEDULED = "scheduled"  # by appointment: a silent look
    UNSCHEDULED = "unscheduled"  # walked in, brought in, called for: the authority is told


class OrganisationKind(StrEnum):
    """What kind of party an organisation is, as rules speak of it."""

    GP_PRACTICE = "gp-practice"
    COMMUNITY_HEALTH = "community-health"
    HOSPITAL = "hospital"
    CHILDRENS_CENTRE = "childrens-centre"
    LOCAL_AUTHORITY = "local-authority"
    GOVERNANCE = "governance"
    OTHER = "other"


class CareClass(StrEnum):
    """What kind of fact a field is. Order matters: a resource takes the most restricted class of its fields."""

    IDENTITY = "identity"
    OPERATIONAL = "operational"
    HEALTH = "health"
    SOCIAL_CARE = "social-care"
    SAFEGUARDING = "safeguarding"
    SPECIAL = "special"


class Mark(StrEnum):
    """What else must be known of a field before it may leave."""

    LOCATING = "locating"
    THIRD_PARTY = "third-party"
    OPINION = "opinion"
    INTELLIGENCE = "intelligence"
    NOT_FOR_FAMILY = "not-for-family"


class Unless(str):
    """The last name of a marked path at which a map can also write words of its own: those stay, whatever else is there goes."""

    words: frozenset[str]

    def __new__(cls, name: str, words: frozenset[str] = frozenset()) -> "Unless":
        """Equal to its name: a path is the same path with it."""
        made = super().__new__(cls, name)
        made.words = words
        return made


class Category(StrEnum):
    """What agreements and permits speak of: the smallest thing a governance lead decides about."""

    DEMOGRAPHICS = "demographics"
    ALLERGIES = "allergies"
    MEDICATIONS = "medications"
    PROBLEMS = "problems"
    IMMUNISATIONS = "immunisations"
    CHILD_HEALTH_REVIEWS = "child-health-reviews"
    OTHER_HEALTH = "other-health"
    CENTRE_INVOLVEMENT = "centre-involvement"
    CENTRE_ATTENDANCE = "centre-attendance"
    CENTRE_CONSENT = "centre-consent"  # what a centre's registration form says of who may be told
    CHILDCARE_OFFER = "childcare-offer"  # that there is one, never on what grounds
    SOCIAL_CARE_INVOLVEMENT = "social-care-involvement"
    CHILD_PROTECTION = "child-protection"
    SOCIAL_CARE_RECORD = "social-care-record"
    CP_IS = "cp-is"  # that a plan is known to CP-IS: which kind and since when, never why
    REFERRAL = "referral"  # what one organisation asks another to do for somebody
    ACCESS_NOTICE = "access-notice"  # who looked at what CP-IS holds: for the authority that answers for the plan
    ACCESS_LOG = "access-log"


class SourceState(StrEnum):
    """What became of one source in one answer. NOTHING reads "none shareable by this route", never "none"."""

    ANSWERED = "answered"
    NOTHING = "nothing-to-show"
    TIMED_OUT = "timed-out"
    FAILED = "failed"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Coding:
    """A code and the system that gives it meaning."""

    system: str
    code: str
    display: str = ""


@dataclass(frozen=True, slots=True)
class Organisation:
    """A party, by its canonical code: `ods:A82038`, `gss:E08000035` or `dfe-urn:123456`. `all_codes` are its other names."""

    code: str
    name: str
    kind: OrganisationKind
    all_codes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Staff:
    """The human being at the keyboard, as named at the time."""

    system: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Grain:
    """What policy decides about: one kind of thing, from one kind of source, with its labels."""

    category: Category
    care_class: CareClass
    source: str  # settings name of the source
    locked: bool = False
    not_early_years: bool = False  # no parent agreed that this item goes on to early years


@dataclass(frozen=True, slots=True)
class SourceTerms:
    """What one configured source can give, under which agreement, and the purposes its own terms allow."""

    source: str  # settings name
    kind: str  # the manifest's: "gp", "child-health" ...: how a protected person's sources are named
    agreement: str  # id under consent_policy/agreements
    gives: frozenset[tuple[Category, CareClass]]
    purposes: frozenset[str]
    never_for: frozenset[str] = frozenset()
    types: frozenset[tuple[str, Category]] = frozenset()  # R4 type and its category: lets a request for types narrow
    custodian: str = ""  # organisation code, or "registered-practice": named in Provenance
    title: str = ""

    def allow(self, purpose: str) -> bool:
        """Whether the source's own terms allow this purpose."""
        return purpose in self.purposes and purpose not in self.never_for

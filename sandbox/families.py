"""The synthetic people of the sandbox: who they are and what is odd about them. Every number is of the 999 range.

Nobody here exists. The postcodes are of ZZ99, which no street has.
"""

from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class Person:
    """One synthetic person as the simulators know them."""

    key: str
    nhs_number: str
    given: str
    family: str
    gender: str
    birth_date: date
    practice: str  # ODS code
    known_to: frozenset[str]  # "gp", "child-health", "centre", "authority"
    local_id: str = ""  # the authority's child id
    centre_id: str = ""  # the centre's member id
    oddity: str = ""  # what this family is here to show
    faults: dict[str, str] = field(default_factory=dict)  # simulator -> fault


RIVERSIDE = "A99901"  # GP practice, GP Connect active
HILLTOP = "A99902"  # GP practice, GP Connect not activated
COMMUNITY = "RXX99"  # health visiting and child health
AUTHORITY_GSS = "E08999901"  # the authority
AUTHORITY_LEA = "999"
CENTRE_URN = "199901"  # the children's centre
EVERYONE = frozenset({"gp", "child-health", "centre", "authority"})

# fmt: off
PEOPLE = (
    Person("amara", "9990000107", "Amara", "Testwell", "female", date(2024, 3, 14), RIVERSIDE, EVERYONE, "LA00001", "WC000001", "known to all four"),
    Person("ben", "9990001111", "Ben", "Sampleson", "male", date(2025, 1, 9), RIVERSIDE, frozenset({"gp", "child-health"}), oddity="known to two"),
    Person("chloe", "9990003130", "Chloe", "Mergeford", "female", date(2023, 11, 2), RIVERSIDE, EVERYONE, "LA00003", "WC000003", "superseded: 9990002126 became 9990003130"),
    Person("dara", "9990004145", "Dara", "Shieldby", "female", date(2022, 6, 21), RIVERSIDE, EVERYONE, "LA00004", "WC000004", "restricted in PDS"),
    Person("eli-before", "9990006164", "Eli", "Firstname", "male", date(2021, 2, 3), RIVERSIDE, EVERYONE, "LA00005", "WC000005", "invalidated after adoption"),
    Person("eli-after", "9990007179", "Elliot", "Newhome", "male", date(2021, 2, 3), RIVERSIDE, frozenset({"gp", "child-health"}), oddity="the number given after adoption; linked to nothing"),
    Person("farah", "9990008183", "Farah", "Lateson", "female", date(2020, 9, 30), RIVERSIDE, frozenset({"gp", "child-health"}), oddity="deceased"),
    Person("grace", "9990009198", "Grace", "Twinning", "female", date(2024, 8, 5), RIVERSIDE, EVERYONE, "LA00006", "WC000006", "twin of hugo"),
    Person("hugo", "9990011214", "Hugo", "Twinning", "male", date(2024, 8, 5), RIVERSIDE, EVERYONE, "LA00007", "WC000007", "twin of grace"),
    Person("isla", "9990012229", "Isla", "Sayno", "female", date(2023, 4, 17), RIVERSIDE, EVERYONE, "LA00008", "WC000008", "objection to sharing for direct care recorded"),
    Person("jonah", "9990013233", "Jonah", "Decline", "male", date(2023, 12, 1), RIVERSIDE, EVERYONE, "LA00009", "WC000009", "consent refused at the centre"),
    Person("kiran", "9990014248", "Kiran", "Harbour", "male", date(2022, 1, 26), RIVERSIDE, EVERYONE, "LA00010", "WC000010", "in a refuge: locked in the authority's system only"),
    Person("leah", "9990015252", "Leah", "Harbour", "female", date(1995, 5, 8), RIVERSIDE, frozenset({"gp", "authority"}), "LA00011", "", "kiran's mother, in the same refuge"),
    Person("mia", "9990016267", "Mia", "Mixup", "female", date(2024, 2, 11), RIVERSIDE, EVERYONE, "LA00012", "WC000012", "the GP system answers with another child", {"gp": "wrong-child"}),
    Person("noor", "9990017271", "Noor", "Waitlong", "female", date(2024, 5, 19), RIVERSIDE, EVERYONE, "LA00013", "WC000013", "the GP system is slow", {"gp": "slow"}),
    Person("oscar", "9990018286", "Oscar", "Downing", "male", date(2023, 7, 7), RIVERSIDE, EVERYONE, "LA00014", "WC000014", "the GP system is down", {"gp": "down"}),
    Person("petra", "9990019290", "Petra", "Hillside", "female", date(2024, 10, 23), HILLTOP, frozenset({"gp", "child-health"}), oddity="her practice has not activated GP Connect"),
)
# fmt: on

SUPERSEDED = {"9990002126": "9990003130"}  # old -> new
INVALIDATED = frozenset({"9990006164"})
RESTRICTED = frozenset({"9990004145"})
DECEASED = {"9990008183": date(2026, 1, 15)}
UNKNOWN = ("9990020302", "9990021317", "9990022321")  # well-formed, nobody

NAMES = {RIVERSIDE: "Riverside Surgery", HILLTOP: "Hilltop Surgery", COMMUNITY: "Meadowvale Community Health"}
PARENT = {"kiran": "leah"}  # child -> the parent who is one of these people too
REFUGE = frozenset({"kiran", "leah"})  # disclosure lock in the authority's system


@dataclass(frozen=True, slots=True)
class Address:
    """Where a household lives. No street has these postcodes."""

    line: str
    town: str
    postcode: str


BY_NUMBER = {person.nhs_number: person for person in PEOPLE}
BY_KEY = {person.key: person for person in PEOPLE}

_HOUSEHOLD = {"hugo": "grace", "leah": "kiran"}  # same address as
_STREETS = ("Sample Lane", "Fixture Road", "Example Close", "Placeholder Way")


def address_of(person: Person) -> Address:
    """A person -> the address every system knows them at."""
    place = [known.key for known in PEOPLE].index(_HOUSEHOLD.get(person.key, person.key))
    return Address(
        f"{place + 1} {_STREETS[place % len(_STREETS)]}", "Northtown", f"ZZ99 {place % 9 + 1}{'ABDEFGHJL'[place // 9]}Z"
    )

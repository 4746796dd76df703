"""Dated data beside the rules: law rows, agreements, organisations and job roles.

An agreement that is unsigned, not begun or expired closes its flows by itself, and so does a basis that is not in
force: nobody has to remember.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources.abc import Traversable
from typing import Any

from gateway import systems
from gateway.model import Category, Organisation, OrganisationKind, Purpose
from gateway.policy.faults import Broken, exactly, read_yaml, words

REGISTERED_PRACTICE = "registered-practice"  # whichever practice the trace names
THE_GATEWAY = "gateway"  # gives its own access log

_SYSTEMS = {"ods": systems.ODS_CODE, "gss": systems.GSS_CODE}


@dataclass(frozen=True, slots=True)
class LawRow:
    """One basis in law, with the days it is in force. `starts` None: commencement not known, so off."""

    id: str
    text: str
    citation: str
    starts: date | None
    ends: date | None

    def in_force(self, on: date) -> bool:
        """Both days included."""
        return self.starts is not None and self.starts <= on and (self.ends is None or on <= self.ends)


@dataclass(frozen=True, slots=True)
class Flow:
    """One thing an agreement lets happen: to whom, for what, which categories, on which basis."""

    id: str
    to: frozenset[str]
    purposes: frozenset[str]
    categories: frozenset[str]
    basis: frozenset[str]


@dataclass(frozen=True, slots=True)
class Signature:
    """One party's signature."""

    organisation: str
    by: str
    on: date


@dataclass(frozen=True, slots=True)
class Agreement:
    """Who may have what of whom, and why; reviewed, dated and signed."""

    id: str
    title: str
    because: str
    gives: str  # organisation code, "registered-practice" or "gateway"
    owner: str
    dpia: str
    starts: date
    review_by: date
    expires: date
    flows: tuple[Flow, ...]
    contact: str
    signatures: tuple[Signature, ...]
    permission_to_view: str = "not_required"  # or "required": closed unless the caller asserts it for the request

    def signed(self, organisation: str, on: date) -> bool:
        """Whether this party had signed by that day."""
        return any(mark.organisation == organisation and mark.on <= on for mark in self.signatures)

    def open_to(self, organisation: str, on: date) -> bool:
        """In its dates, and signed by the giver and by this receiver."""
        giver_signed = self.gives in (REGISTERED_PRACTICE, THE_GATEWAY) or self.signed(self.gives, on)
        return self.starts <= on <= self.expires and giver_signed and self.signed(organisation, on)


@dataclass(frozen=True, slots=True)
class Party:
    """An organisation and the contact of its own governance lead."""

    organisation: Organisation
    contact: str


def read_law(file: Traversable) -> list[LawRow]:
    """One file of law/ -> its rows. Raises `Broken`."""
    tree = exactly(read_yaml(file), {"owner": str, "review_by": date, "law": list}, {}, "the file")
    return [_law_row(item) for item in tree["law"]]


def read_organisations(file: Traversable) -> list[Party]:
    """organisations.yaml -> the parties. Raises `Broken`."""
    tree = exactly(read_yaml(file), {"owner": str, "review_by": date, "organisations": list}, {}, "the file")
    parties = [_party(item) for item in tree["organisations"]]
    names = [name for party in parties for name in party.organisation.all_codes]
    twice = len(names) - len(set(names))
    if twice:
        raise Broken("two organisations share an identifier: each identifier belongs to one")
    return parties


def read_roles(file: Traversable, groups: frozenset[str]) -> Mapping[str, str]:
    """roles.yaml -> "<system>|<code>" to role group. Raises `Broken`."""
    tree = exactly(read_yaml(file), {"owner": str, "review_by": date, "groups": dict}, {}, "the file")
    found: dict[str, str] = {}
    for group, codings in tree["groups"].items():
        if group not in groups or group == "unknown":
            raise Broken(f"group {group} is not in the schema's list of roles, or may not be given a code")
        for item in codings if isinstance(codings, list) else ():
            coding = exactly(item, {"system": str, "code": str, "display": str}, {}, f"group {group}")
            key = f"{coding['system']}|{coding['code']}"
            if key in found:
                raise Broken(f"group {group}: a code belongs to one group only")
            found[key] = group
    if not found:
        raise Broken("name at least one role")
    return found


def read_agreement(file: Traversable, law: Mapping[str, LawRow], parties: frozenset[str]) -> Agreement:
    """One file of agreements/ -> its `Agreement`. Raises `Broken`."""
    tree = exactly(
        read_yaml(file),
        {
            **dict.fromkeys(("id", "title", "because", "gives", "owner", "dpia", "contact"), str),
            **dict.fromkeys(("starts", "review_by", "expires"), date),
            **dict.fromkeys(("flows", "signatures"), list),
        },
        {"permission_to_view": str},
        "the agreement",
    )
    if tree.get("permission_to_view", "not_required") not in ("required", "not_required"):
        raise Broken("permission_to_view is required or not_required")
    if f"{tree['id']}.yaml" != file.name:
        raise Broken("id must be the file's name")
    if tree["gives"] not in parties | {REGISTERED_PRACTICE, THE_GATEWAY}:
        raise Broken("gives must be an organisation of organisations.yaml, registered-practice or gateway")
    if not tree["starts"] <= tree["review_by"] <= tree["expires"]:
        raise Broken("starts, review_by and expires must follow each other")
    flows = tuple(_flow(item, law, parties) for item in tree["flows"])
    if not flows or len({flow.id for flow in flows}) != len(flows):
        raise Broken("flows: at least one, each with its own id")
    signatures = tuple(_signature(item, parties) for item in tree["signatures"])
    return Agreement(**{**tree, "flows": flows, "signatures": signatures})


def _law_row(item: object) -> LawRow:
    row = exactly(item, {"id": str, "text": str, "citation": str}, {"from": date, "to": date}, "a row of law")
    if "from" not in row:
        raise Broken(f"{row['id']}: add from, and leave it empty if no commencement date is known")
    return LawRow(row["id"], row["text"], row["citation"], row["from"], row.get("to"))


def _party(item: object) -> Party:
    row = exactly(item, {"code": str, "name": str, "kind": str, "contact": str}, {"also": list}, "an organisation")
    scheme, colon, value = row["code"].partition(":")
    if not colon or not value or scheme not in ("ods", "gss", "dfe-urn"):
        raise Broken("code must be ods:, gss: or dfe-urn: and the organisation's code there")
    if row["kind"] not in set(OrganisationKind):
        raise Broken("kind must be one of: " + ", ".join(OrganisationKind))
    names = {row["code"], *(words(row["also"], "also") if row.get("also") else ())}
    if scheme in _SYSTEMS:
        names.add(f"{_SYSTEMS[scheme]}|{value}")
    return Party(Organisation(row["code"], row["name"], OrganisationKind(row["kind"]), frozenset(names)), row["contact"])


def _flow(item: object, law: Mapping[str, LawRow], parties: frozenset[str]) -> Flow:
    lists = dict.fromkeys(("to", "purposes", "categories", "basis"), list)
    row: Mapping[str, Any] = exactly(item, {"id": str, **lists}, {}, "a flow")
    flow = Flow(row["id"], *(frozenset(words(row[name], f"flow {row['id']}: {name}")) for name in lists))
    for name, given, known in (
        ("to", flow.to, parties),
        ("purposes", flow.purposes, frozenset(Purpose)),
        ("categories", flow.categories, frozenset(Category)),
        ("basis", flow.basis, frozenset(law)),
    ):
        if given - known:
            raise Broken(f"flow {flow.id}: {name} names what does not exist: {', '.join(sorted(given - known))}")
    return flow


def _signature(item: object, parties: frozenset[str]) -> Signature:
    row = exactly(item, {"organisation": str, "by": str, "date": date}, {}, "a signature")
    if row["organisation"] not in parties:
        raise Broken("a signature names an organisation that organisations.yaml does not")
    return Signature(row["organisation"], row["by"], row["date"])

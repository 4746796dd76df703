"""All that a rule can read of one request, as plain values: `Facts` without what they carry for others.

The memo of decisions is keyed by it, so that nothing policy reads can be missing from the key, and so that no person
is kept in memory by the memo.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gateway.model import Facts
from gateway.policy.faults import Broken

UNSAID = "unsaid"
ACCESSES = (UNSAID, "scheduled", "unscheduled")
AGE_BANDS = ("under-1", "1-4", "5-12", "13-15", "16-17", "adult", "unknown")


class Circumstances(NamedTuple):
    """The comparable part of `Facts`, field for field (a test compares the two lists)."""

    organisation: str
    organisation_kind: str
    role: str
    role_group: str
    purpose: str
    agreements: frozenset[str]
    has_case_reference: bool
    usable: bool
    relationships: frozenset[str]
    consents: frozenset[tuple[str, str]]  # (scope, "permit" | "deny")
    objection: bool
    protected: bool
    deceased: bool
    age_band: str
    access: str = UNSAID

    @property
    def consents_refused(self) -> frozenset[str]:
        """Scopes somebody refused."""
        return frozenset(scope for scope, decision in self.consents if decision != "permit")

    @property
    def consents_given(self) -> frozenset[str]:
        """Scopes consented to and refused by nobody: of two that conflict, the refusal counts."""
        return frozenset(scope for scope, decision in self.consents if decision == "permit") - self.consents_refused


def of(facts: Facts) -> Circumstances:
    """`Facts` -> what policy reads of them."""
    return Circumstances(
        facts.organisation,
        facts.organisation_kind.value,
        facts.role,
        facts.role_group,
        facts.purpose.value,
        facts.agreements,
        facts.has_case_reference,
        facts.usable,
        facts.relationships,
        frozenset([(consent.scope, consent.decision) for consent in facts.consents]),
        facts.objection,
        facts.protected,
        facts.deceased,
        facts.age_band,
        facts.access.value,
    )


def as_plain(circumstances: Circumstances) -> dict[str, Any]:
    """-> JSON values, in a stable order: what the audit stores, so that a decision can be explained later."""
    plain = {name: _plain(value) for name, value in circumstances._asdict().items()}
    plain["consents"] = [list(consent) for consent in sorted(circumstances.consents)]
    return plain


def from_plain(plain: Mapping[str, Any]) -> Circumstances:
    """What `as_plain` wrote -> `Circumstances`. Raises `Broken` for a name too many, too few or of another type."""
    plain = {"access": UNSAID, **plain}  # what was stored before anybody could say it
    if set(plain) != set(Circumstances._fields):
        raise Broken("facts must name exactly: " + ", ".join(Circumstances._fields))
    for name in ("organisation", "organisation_kind", "role", "role_group", "purpose", "age_band", "access"):
        if not isinstance(plain[name], str):
            raise Broken(f"facts: {name} must be text")
    for name in ("has_case_reference", "usable", "objection", "protected", "deceased"):
        if not isinstance(plain[name], bool):
            raise Broken(f"facts: {name} must be true or false")
    return Circumstances(
        **{name: plain[name] for name in Circumstances._fields if name not in ("agreements", "relationships", "consents")},
        agreements=_texts(plain["agreements"], "agreements"),
        relationships=_texts(plain["relationships"], "relationships"),
        consents=_consents(plain["consents"]),
    )


def cedar_context(circumstances: Circumstances) -> dict[str, Any]:
    """-> the part of the Cedar context that does not depend on what is asked for."""
    return {
        "purpose": _entity("Purpose", circumstances.purpose),
        "organisation_kind": _entity("OrganisationKind", circumstances.organisation_kind),
        "case_reference": circumstances.has_case_reference,
        "traced": circumstances.usable,
        "relationships": _entities("Relationship", circumstances.relationships),
        "consents_given": _entities("Scope", circumstances.consents_given),
        "consents_refused": _entities("Scope", circumstances.consents_refused),
        "objection": circumstances.objection,
        "protected": circumstances.protected,
        "deceased": circumstances.deceased,
        "age_band": _entity("AgeBand", circumstances.age_band),
        "access": _entity("Access", circumstances.access),
    }


def _entity(kind: str, name: str) -> dict[str, dict[str, str]]:
    return {"__entity": {"type": kind, "id": name}}


def _entities(kind: str, names: Iterable[str]) -> list[dict[str, dict[str, str]]]:
    return [_entity(kind, name) for name in sorted(names)]


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def _texts(value: object, name: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Broken(f"facts: {name} must be a list of texts")
    return frozenset(value)


def _consents(value: object) -> frozenset[tuple[str, str]]:
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and pair[1] in ("permit", "deny") for pair in value
    ):
        raise Broken('facts: consents must be a list of [scope, "permit" or "deny"]')
    return frozenset((scope, decision) for scope, decision in value)

"""`Policy`: everything a consent_policy folder says, validated, hashed, and asked one grain at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from typing import Any

from gateway.model import CareClass, Category, Coding, Facts, Grain, Mark, Organisation, RuleUse, SourceTerms
from gateway.policy.agreements import Agreement, LawRow, Party
from gateway.policy.cases import Case
from gateway.policy.circumstances import Circumstances, cedar_context, of
from gateway.policy.rules import DEFAULT_DENY, Rules, Verdict

REMEMBERED = 4_096  # circumstances whose decisions are kept; the oldest go first
NO_CONTACT = "The governance lead of your own organisation"


@dataclass(frozen=True, slots=True)
class GrainDecision:
    """Whether one grain may be shared, and the rules that decided. Any evaluation error: not allowed."""

    allowed: bool
    rules: tuple[RuleUse, ...]  # the permits that held
    forbidden_by: tuple[RuleUse, ...]  # the forbids that held; "default-deny" when nothing permitted
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rulings:
    """All decisions in one set of circumstances, each made once."""

    policy: "Policy"
    circumstances: Circumstances
    context: Mapping[str, object]
    made: dict[tuple[object, ...], GrainDecision] = field(default_factory=dict)
    kept: dict[object, Any] = field(default_factory=dict)  # what steps worked out from these decisions alone

    def see(self, grain: Grain, terms: SourceTerms | None = None) -> GrainDecision:
        """One grain; `terms` are its source's. None: not from a source (the trace's demographics, the access log)."""
        allow = terms is None or terms.allow(self.circumstances.purpose)
        agreed = self.policy.agreed(self.circumstances, grain.category, terms)
        key = (grain.category, grain.care_class, grain.locked, grain.not_early_years, agreed, allow)
        made = self.made.get(key)
        if made is None:
            action = "audit" if grain.category is Category.ACCESS_LOG else "see"
            made = self._ask(action, grain, agreed, allow)
            self.made[key] = made
        return made

    def may_know(self, category: Category) -> GrainDecision:
        """Whether this caller may be told that something of the category is withheld."""
        key = ("know", category)
        made = self.made.get(key)
        if made is None:
            agreed = self.policy.agreed(self.circumstances, category, None)
            made = self.made[key] = self._ask("know", Grain(category, CareClass.IDENTITY, ""), agreed, True)
        return made

    def send(self, category: Category, care_class: CareClass, *, agreed: bool) -> GrainDecision:
        """Whether this caller may send something of the category; `agreed` is about whom it goes to."""
        key = ("send", category, care_class, agreed)
        made = self.made.get(key)
        if made is None:
            made = self.made[key] = self._ask("send", Grain(category, care_class, ""), agreed, True)
        return made

    def keep(self, mark: Mark) -> GrainDecision:
        """Whether what carries this mark stays in the resources that are shared."""
        key = ("keep", mark)
        made = self.made.get(key)
        if made is None:
            purpose, role = self.circumstances.purpose, self.circumstances.role_group
            verdict = self.policy.rules.ask("keep", purpose, role, ("Mark", mark), self.context)
            made = self.made[key] = self.policy.decided(verdict, self.circumstances)
        return made

    def _ask(self, action: str, grain: Grain, agreed: bool, allow: bool) -> GrainDecision:
        context = {
            **self.context,
            "care_class": {"__entity": {"type": "CareClass", "id": grain.care_class}},
            "locked": grain.locked,
            "not_early_years": grain.not_early_years,
            "agreed": agreed,
            "source_terms_allow": allow,
        }
        purpose, role = self.circumstances.purpose, self.circumstances.role_group
        verdict = self.policy.rules.ask(action, purpose, role, ("Category", grain.category), context)
        return self.policy.decided(verdict, self.circumstances)


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole consent_policy folder. Made by `load` alone, which refuses one with any fault."""

    hash: str
    rules: Rules
    law: Mapping[str, LawRow]
    agreements: Mapping[str, Agreement]
    parties: Mapping[str, Party]  # by every identifier
    roles: Mapping[str, str]
    cases: tuple[Case, ...]
    _flows: Mapping[tuple[str, str, str], tuple[tuple[str, str], ...]]
    _in_force: dict[tuple[str, date], frozenset[str]] = field(default_factory=dict)
    _rulings: dict[Circumstances, Rulings] = field(default_factory=dict)
    _kindest: dict[Circumstances, tuple[Rulings, ...]] = field(default_factory=dict)

    def organisation(self, identifier: str) -> Organisation | None:
        """A canonical code or `system|value` -> the organisation, or None."""
        party = self.parties.get(identifier)
        return party.organisation if party else None

    def role_group(self, coding: Coding) -> str:
        """A job role -> the group rules speak of; "unknown" is granted nothing."""
        return self.roles.get(f"{coding.system}|{coding.code}", "unknown")

    def agreement(self, name: str) -> Agreement | None:
        """An agreement by its id."""
        return self.agreements.get(name)

    def agreements_in_force(self, organisation: str, on: date) -> frozenset[str]:
        """What is in force that day for this organisation: agreement ids, "agreement#flow" and "law:row"."""
        known = self._in_force.get((organisation, on))
        if known is None:
            if len(self._in_force) >= REMEMBERED:
                self._in_force.clear()
            known = self._in_force[organisation, on] = frozenset(self._names_in_force(organisation, on))
        return known

    def needing_permission(self, agreements: frozenset[str]) -> frozenset[str]:
        """Of names in force, those of agreements that stay closed unless the person's permission to view is asserted."""
        closed = {name for name, agreement in self.agreements.items() if agreement.permission_to_view == "required"}
        return frozenset(name for name in agreements if name.partition("#")[0] in closed) if closed else frozenset()

    def contact(self, organisation: str, categories: Iterable[Category]) -> str:
        """Whom to ask: the contact of the one agreement about these categories, else the caller's own governance lead.

        It follows from the caller and the question alone, so it never tells who holds something.
        """
        wanted = frozenset(categories)
        contacts = {
            agreement.contact
            for agreement in self.agreements.values()
            if any(organisation in flow.to and flow.categories & wanted for flow in agreement.flows)
        }
        if len(contacts) == 1:
            return contacts.pop()
        party = self.parties.get(organisation)
        return party.contact if party else NO_CONTACT

    def agreed(self, circumstances: Circumstances, category: Category, terms: SourceTerms | None) -> bool:
        """Whether an agreement in force (the source's own, where there is a source) gives this category to this caller."""
        for agreement, flow in self._flows.get((circumstances.organisation, circumstances.purpose, category), ()):
            if flow not in circumstances.agreements:
                continue
            if terms is None:
                return True
            if terms.agreement == agreement and terms.custodian in ("", self.agreements[agreement].gives):
                return True
        return False

    def opening(self, circumstances: Circumstances, category: Category) -> list[str]:
        """Which agreements in force give this category to this caller for this purpose, as "agreement#flow"."""
        flows = self._flows.get((circumstances.organisation, circumstances.purpose, category), ())
        return sorted(flow for _, flow in flows if flow in circumstances.agreements)

    def agreed_with(self, recipient: str, purpose: str, category: Category, terms: SourceTerms, on: date) -> bool:
        """Whether an agreement in force that day, given by the sender (the custodian of `terms`), lets this recipient have it."""
        in_force = self.agreements_in_force(recipient, on)
        return terms.allow(purpose) and any(
            flow in in_force and terms.agreement == agreement and terms.custodian == self.agreements[agreement].gives
            for agreement, flow in self._flows.get((recipient, purpose, category), ())
        )

    def evaluate(self, facts: Facts, grain: Grain, terms: SourceTerms | None = None) -> GrainDecision:
        """One grain of one request -> its decision, remembered."""
        return self.rulings(of(facts)).see(grain, terms)

    def rulings(self, circumstances: Circumstances) -> Rulings:
        """The decisions made so far in these circumstances."""
        known = self._rulings.get(circumstances)
        if known is None:
            if len(self._rulings) >= REMEMBERED:
                self._rulings.pop(next(iter(self._rulings)), None)
            known = self._rulings[circumstances] = Rulings(self, circumstances, cedar_context(circumstances))
        return known

    def decided(self, verdict: Verdict, circumstances: Circumstances) -> GrainDecision:
        """Cedar's verdict -> a decision: a permit whose basis in law is not in force does not count."""
        uses = tuple(self.rules.by_id[name].use for name in verdict.rules)
        if not verdict.allowed:
            return GrainDecision(False, (), uses or (DEFAULT_DENY,), verdict.errors)
        standing = tuple(use for use in uses if set(self.rules.by_id[use.id].basis) <= circumstances.agreements)
        return GrainDecision(bool(standing), standing, () if standing else (DEFAULT_DENY,))

    def kindest(self, circumstances: Circumstances) -> tuple[Rulings, ...]:
        """The same caller with the people for whom rules are kindest: every relationship and consent, nothing against.

        What no rule reads is not varied. Rules only ever gain by a relationship or a consent (a test holds them to it).
        """
        caller = circumstances._replace(
            usable=True,
            relationships=self.rules.enums["Relationship"],
            consents=frozenset((scope, "permit") for scope in self.rules.enums["Scope"]),
            objection=False,
            protected=False,
            deceased=False,
            age_band="unknown",
        )
        known = self._kindest.get(caller)
        if known is None:
            if len(self._kindest) >= REMEMBERED:
                self._kindest.clear()
            known = self._kindest[caller] = tuple(self.rulings(other) for other in self._kinds(caller))
        return known

    def _kinds(self, caller: Circumstances) -> Iterator[Circumstances]:
        read = frozenset().union(*(rule.reads for rule in self.rules.by_id.values() if rule.actions != {"keep"}))
        for protected, deceased, age_band in product(
            (False, True) if "protected" in read else (False,),
            (False, True) if "deceased" in read else (False,),
            sorted(self.rules.enums["AgeBand"]) if "age_band" in read else ("unknown",),
        ):
            yield caller._replace(protected=protected, deceased=deceased, age_band=age_band)

    def _names_in_force(self, organisation: str, on: date) -> Iterator[str]:
        law = {name for name, row in self.law.items() if row.in_force(on)}
        yield from (f"law:{name}" for name in law)
        for name, agreement in self.agreements.items():
            if not agreement.open_to(organisation, on):
                continue
            flows = [flow for flow in agreement.flows if organisation in flow.to and flow.basis <= law]
            if flows:
                yield name
                yield from (f"{name}#{flow.id}" for flow in flows)

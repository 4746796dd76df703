"""Running the cases against the real engine: what is wrong with a policy that loads."""

from gateway.model import Coding, Grain, SourceTerms
from gateway.policy.agreements import REGISTERED_PRACTICE
from gateway.policy.cases import Case
from gateway.policy.circumstances import UNSAID, Circumstances
from gateway.policy.engine import GrainDecision, Policy
from gateway.policy.faults import Fault
from gateway.policy.rules import DEFAULT_DENY


def check(policy: Policy) -> list[Fault]:
    """A loaded policy -> what its cases find wrong; empty when it may be activated."""
    faults = [fault for case in policy.cases if (fault := run(policy, case))]
    for name, rule in sorted(policy.rules.by_id.items()):
        shown = [case for case in policy.cases if case.shows == name]
        for permit, folder in ((True, "permit"), (False, "deny")):
            if not any(case.permit is permit for case in shown):
                faults.append(Fault(rule.file, f"{name}: add a case that shows it to cases/{folder}/"))
        acts = [case for case in shown if case.permit is (rule.effect == "permit")]
        if acts and not any(name in case.decided_by for case in acts):
            faults.append(Fault(rule.file, f"{name}: no case sees it decide, so it may never apply: add one"))
    return faults


def run(policy: Policy, case: Case) -> Fault | None:
    """One case -> what it finds wrong, or None."""
    decision = decide(policy, case)
    where = f"cases/{'permit' if case.permit else 'deny'}/{case.name}.json"
    if decision.errors:
        return Fault(where, "the rules could not be evaluated on it")
    if decision.allowed is not case.permit:
        return Fault(where, f"came out the other way: decided by {_names(decision)}")
    if case.decided_by != deciding(decision):
        return Fault(where, f"was decided by {_names(decision)}, not by what decided_by says")
    return None


def decide(policy: Policy, case: Case) -> GrainDecision:
    """One case -> the engine's decision."""
    rulings = policy.rulings(circumstances_of(policy, case))
    if case.mark is not None:
        return rulings.keep(case.mark)
    assert case.category is not None  # read_case refuses a case with neither
    if case.action == "know":
        return rulings.may_know(case.category)
    if case.action == "send":
        terms = terms_of(policy, case)
        agreed = terms is not None and policy.agreed_with(case.send_to, case.purpose, case.category, terms, case.on)
        return rulings.send(case.category, case.care_class, agreed=agreed)
    grain = Grain(case.category, case.care_class, "a-source", case.locked, case.not_early_years)
    return rulings.see(grain, terms_of(policy, case))


def deciding(decision: GrainDecision) -> frozenset[str]:
    """The ids of the rules that decided."""
    return frozenset(use.id for use in (*decision.rules, *decision.forbidden_by))


def circumstances_of(policy: Policy, case: Case) -> Circumstances:
    """What a case says is given -> circumstances; what it leaves out is the ordinary: traced, nothing against, nothing for."""
    given = case.given
    organisation = policy.organisation(case.organisation)
    system, _, code = case.role.rpartition("|")
    return Circumstances(
        organisation=organisation.code if organisation else case.organisation,
        organisation_kind=organisation.kind.value if organisation else "other",
        role=case.role,
        role_group=policy.role_group(Coding(system, code)),
        purpose=case.purpose,
        agreements=policy.agreements_in_force(organisation.code if organisation else case.organisation, case.on),
        has_case_reference=given.get("case_reference", False),
        usable=given.get("traced", True),
        relationships=frozenset(given.get("relationships", ())),
        consents=frozenset((scope, decision) for scope, decision in given.get("consents", {}).items()),
        objection=given.get("objection", False),
        protected=given.get("protected", False),
        deceased=given.get("deceased", False),
        age_band=given.get("age_band", "unknown"),
        access=given.get("access", UNSAID),
    )


def terms_of(policy: Policy, case: Case) -> SourceTerms | None:
    """The terms of the source a case asks; None when it asks none."""
    if case.agreement is None:
        return None
    assert case.category is not None
    agreement = policy.agreement(case.agreement)
    gives = agreement.gives if agreement else REGISTERED_PRACTICE
    every = policy.rules.enums["Purpose"]
    return SourceTerms(
        source="a-source",
        kind="",
        agreement=case.agreement,
        gives=frozenset({(case.category, case.care_class)}),
        purposes=every if case.terms is None else case.terms,
        custodian=gives,
    )


def _names(decision: GrainDecision) -> str:
    return ", ".join(sorted(deciding(decision))) or DEFAULT_DENY.id

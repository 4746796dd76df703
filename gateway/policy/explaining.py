"""Which rules decided and why, in English: for a case, and for a decision the log holds."""

from collections.abc import Iterator

from gateway.model import CareClass, Category, Grain, SourceTerms
from gateway.policy.cases import Case
from gateway.policy.checking import circumstances_of, decide, deciding, terms_of
from gateway.policy.circumstances import UNSAID, Circumstances
from gateway.policy.engine import GrainDecision, Policy

_CLASS_OF = {
    Category.DEMOGRAPHICS: CareClass.IDENTITY,
    Category.CENTRE_INVOLVEMENT: CareClass.SOCIAL_CARE,
    Category.CENTRE_ATTENDANCE: CareClass.SOCIAL_CARE,
    Category.SOCIAL_CARE_INVOLVEMENT: CareClass.SOCIAL_CARE,
    Category.CHILD_PROTECTION: CareClass.SAFEGUARDING,
    Category.SOCIAL_CARE_RECORD: CareClass.SOCIAL_CARE,
    Category.CP_IS: CareClass.SAFEGUARDING,
    Category.REFERRAL: CareClass.SOCIAL_CARE,
    Category.ACCESS_NOTICE: CareClass.SAFEGUARDING,
    Category.ACCESS_LOG: CareClass.OPERATIONAL,
}  # the rest are health


def explain_case(policy: Policy, case: Case, *, every_agreement: bool = False) -> list[str]:
    """A case -> lines of English."""
    circumstances = circumstances_of(policy, case)
    decision = decide(policy, case)
    asked = f"what is marked {case.mark}" if case.mark else f"{case.category} ({case.care_class})"
    if case.agreement:
        asked += f" of a source under the agreement {case.agreement}"
    if case.locked:
        asked += ", locked by its source"
    if case.not_early_years:
        asked += ", not agreed to go on to early years"
    why = _why(policy, circumstances, decision, case.category, every_agreement=every_agreement)
    lines = [*_who(policy, circumstances), "", f"Asked for: {asked}.", *why]
    if case.mark is None and case.action == "see" and not decision.allowed:
        assert case.category is not None
        grain = Grain(case.category, case.care_class, "a-source", case.locked, case.not_early_years)
        lines.extend(_nearest(policy, circumstances, grain, terms_of(policy, case)))
    return lines


def explain_decision(
    policy: Policy, circumstances: Circumstances, policy_hash: str, *, every_agreement: bool = False
) -> list[str]:
    """What the log holds of a decision -> lines of English, category by category, as the policy at hand decides it."""
    lines = _who(policy, circumstances)
    if policy_hash != policy.hash:
        lines.append("The decision was made under another policy: what follows is how this one decides the same facts.")
    for category in Category:
        if category is Category.ACCESS_LOG and circumstances.purpose != "HCOMPL":
            continue
        grain = Grain(category, _CLASS_OF.get(category, CareClass.HEALTH), "a-source")
        decision = policy.rulings(circumstances).see(grain)
        why = _why(policy, circumstances, decision, category, every_agreement=every_agreement)
        lines += ["", f"{category}:", *why]
        if not decision.allowed:
            lines.extend(_nearest(policy, circumstances, grain, None))
    return lines


def _who(policy: Policy, circumstances: Circumstances) -> list[str]:
    organisation = policy.organisation(circumstances.organisation)
    name = organisation.name if organisation else "an organisation this policy does not know"
    consents = ", ".join(f"{scope}: {decision}" for scope, decision in sorted(circumstances.consents)) or "none recorded"
    against = [
        words
        for true, words in (
            (not circumstances.usable, "not traced"),
            (circumstances.objection, "objects to sharing for direct care"),
            (circumstances.protected, "protected"),
            (circumstances.deceased, "has died"),
        )
        if true
    ]
    return [
        f"Caller: {name}, as {circumstances.role_group}, for {circumstances.purpose}"
        + (", with a case reference" if circumstances.has_case_reference else ", without a case reference")
        + ("." if circumstances.access == UNSAID else f", of a visit it calls {circumstances.access}."),
        f"Person: {', '.join(against) or 'traced, nothing against sharing'}; "
        f"relationships in force: {', '.join(sorted(circumstances.relationships)) or 'none'}; consents: {consents}.",
    ]


def _why(
    policy: Policy, circumstances: Circumstances, decision: GrainDecision, category: Category | None, *, every_agreement: bool
) -> Iterator[str]:
    yield "  May be shared." if decision.allowed else "  May not be shared."
    for use in (*decision.rules, *decision.forbidden_by):
        rule = policy.rules.by_id.get(use.id)
        yield f"  {use.id}: {use.because}"
        if rule:
            rows = [policy.law[name.removeprefix("law:")].citation for name in rule.basis]
            yield f"    Basis: {'; '.join(rows)}. Owner: {rule.owner}. To be reviewed by {rule.review_by.isoformat()}."
    if decision.errors:
        yield "  The rules could not be evaluated, and what cannot be evaluated is not shared."
    opening = [] if category is None else policy.opening(circumstances, category)
    if not decision.allowed or not opening:
        return
    yield f"    Opened by the agreement {', or '.join(opening)}."
    others = [name for name in sorted(circumstances.agreements) if "#" in name and name not in opening]
    if others and every_agreement:
        yield f"    In force for this organisation, and not about this: {', '.join(others)}."
    elif others:
        said = "other agreement in force does" if len(others) == 1 else "other agreements in force do"
        yield f"    {len(others)} {said} not concern this (--all names them)."


def _nearest(policy: Policy, circumstances: Circumstances, grain: Grain, terms: SourceTerms | None) -> Iterator[str]:
    """One change that would have let it through, for each that would; the engine itself is asked."""
    found = [words for words, other in _changes(policy, circumstances) if policy.rulings(other).see(grain, terms).allowed]
    if found:
        yield f"  It would be shared if {', or '.join(found)}."
    elif deciding(policy.rulings(circumstances).see(grain, terms)):
        yield "  No single change of the person's or the caller's facts would let it through."


def _changes(policy: Policy, circumstances: Circumstances) -> Iterator[tuple[str, Circumstances]]:
    for name in sorted(policy.rules.enums["Relationship"] - circumstances.relationships):
        yield f"the relationship {name} were in force", circumstances._replace(relationships=circumstances.relationships | {name})
    for scope in sorted(policy.rules.enums["Scope"] - circumstances.consents_given):
        given = frozenset(consent for consent in circumstances.consents if consent[0] != scope) | {(scope, "permit")}
        yield f"a consent for {scope} were in force", circumstances._replace(consents=given)
    yield "a case reference were given", circumstances._replace(has_case_reference=True)
    yield "the person had been traced", circumstances._replace(usable=True)
    yield "the objection were withdrawn", circumstances._replace(objection=False)

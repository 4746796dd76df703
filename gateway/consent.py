"""Step 5, decide: `Facts` and policy -> `Permit` or `Deny`. Pure: no clock, no store, no person.

`allowed = requested & (permitted - forbidden)`. A refusal that would be the same for every person is told to the caller;
any other looks like a person with nothing to show. Which sources an answer names never depends on the person.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.model import (
    Access,
    CareClass,
    Category,
    Deny,
    Facts,
    Grain,
    Mark,
    PatientIdentity,
    Permit,
    Purpose,
    RuleUse,
    SourceTerms,
)
from gateway.policy import DEFAULT_DENY, Circumstances, Policy, Rulings, of

NO_SCOPE = "The access token's scopes cover none of the resource types that were asked for."
NO_ROLE = "This job role is not one that this gateway's policy grants anything to."
NO_AGREEMENT = "No agreement in force lets your organisation have this for this purpose."
NO_PERMISSION = "The agreement for this needs the person's permission to view, asserted for each request."
NO_ACCESS = "CP-IS needs to know of each request whether the visit is scheduled or unscheduled: say it, it is never assumed."
NO_CASE = "This purpose needs the reference of the case you are working on."
NO_REASON = "Breaking the glass needs a reason, in words: it is recorded, and the governance lead is told."
NO_SOURCE = "No source gives what was asked for by itself."
NO_SEND_SCOPE = "The access token's scopes do not let this resource type be sent: it needs system/{}.c."  # {}: one we take
NO_SEND_AGREEMENT = "No agreement in force lets the recipient have this of your organisation for this purpose."
NO_SEND_RULE = "No rule lets this role at this kind of organisation send this for this purpose."
NO_RULE = "No rule lets this role at this kind of organisation have this for this purpose."

KEPT = 64  # questions in one set of circumstances whose permit is remembered; others are decided each time

_TRACE_TYPES = {"Patient": Category.DEMOGRAPHICS}
_LOG_TYPES = {"AuditEvent": Category.ACCESS_LOG}
_VIEW_OF = {"cp-is-access-history": frozenset({Category.CP_IS})}  # a view of one thing asks for nothing else of the same types


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One grain that the request could lead to, and the terms of its source."""

    grain: Grain
    terms: SourceTerms | None


@dataclass(frozen=True, slots=True)
class _Shape:
    """A permit without its person: the same for every request that asks this in these circumstances."""

    sources: Mapping[str, SourceTerms]  # all that were there to be asked
    allowed: Mapping[Category, tuple[RuleUse, ...]]
    named: frozenset[str]
    strip: frozenset[Mark]
    may_know: frozenset[Category]
    obligations: tuple[str, ...]
    terms: Mapping[str, SourceTerms]
    access_unsaid: bool


def decide(facts: Facts, policy: Policy, sources: Mapping[str, SourceTerms]) -> Permit | Deny:
    """Facts, policy and what each source gives -> `Permit` or `Deny`."""
    wanted = facts.request.types_in_scope
    here = of(facts)
    rulings = policy.rulings(here)
    key = ("permit", wanted, facts.request.query.interaction, facts.request.query.view, _kind_read(facts, sources))
    shape = rulings.kept.get(key)
    if shape is None or shape.sources is not sources:
        shape = _shape(facts, policy, sources, wanted, here)
        if isinstance(shape, Deny):
            return shape
        if len(rulings.kept) < KEPT:
            rulings.kept[key] = shape
    return Permit(
        facts=facts,
        allowed=shape.allowed,
        sources=shape.named,
        strip=shape.strip | {Mark.LOCATING} if _stale(facts) else shape.strip,
        may_know_withheld=shape.may_know,
        obligations=shape.obligations,
        policy_hash=policy.hash,
        terms=shape.terms,
        access_unsaid=shape.access_unsaid,
    )


def decide_sending(
    facts: Facts, policy: Policy, category: Category, care_class: CareClass, terms: SourceTerms, to: str
) -> Permit | Deny:
    """Whether this caller may send one kind of thing to one organisation -> `Permit` or `Deny`.

    `terms`: the route's, whose custodian is the sender. Whether the recipient may have it is decided when it leaves.
    """
    here = of(facts)
    agreed = policy.agreed_with(to, here.purpose, category, terms, facts.request.received_at.date())
    kindest = policy.kindest(here)
    if not facts.request.types_in_scope:
        reason, public = "scope", NO_SEND_SCOPE.format(min(facts.request.query.types))
    elif here.role_group == "unknown":
        reason, public = "role-unknown", NO_ROLE
    elif not agreed:
        reason, public = "no-agreement", NO_SEND_AGREEMENT
    elif not any(rulings.send(category, care_class, agreed=agreed).allowed for rulings in kindest):
        reason, public = "no-rule", NO_SEND_RULE
    else:
        return _sending_of_person(facts, policy, here, category, care_class, terms)
    return Deny(
        facts=facts,
        caller_level=True,
        reason=reason,
        public_reason=public,
        contact=policy.contact(here.organisation, {category}),
        rules=kindest[0].send(category, care_class, agreed=agreed).forbidden_by or (DEFAULT_DENY,),
        sources=frozenset(),
        policy_hash=policy.hash,
    )


def waits_for_consent(facts: Facts, policy: Policy, sources: Mapping[str, SourceTerms]) -> bool:
    """Whether a consent alone stands in the way: nothing of these sources may be had, and with every consent something might."""
    here, wanted = of(facts), facts.request.types_in_scope
    given = frozenset((scope, "permit") for scope in policy.rules.enums["Scope"])
    now, then = policy.rulings(here), policy.rulings(here._replace(consents=given, objection=False))
    candidates = [one for one in _candidates(facts, sources, wanted) if one.terms is not None]
    refused = not any(now.see(one.grain, one.terms).allowed for one in candidates)
    return refused and any(then.see(one.grain, one.terms).allowed for one in candidates)


def _sending_of_person(
    facts: Facts, policy: Policy, here: Circumstances, category: Category, care_class: CareClass, terms: SourceTerms
) -> Permit | Deny:
    """What depends on the person: nobody traced, or no relationship where a rule asks for one."""
    decision = policy.rulings(here).send(category, care_class, agreed=True)
    if decision.allowed:
        return Permit(
            facts=facts,
            allowed={category: decision.rules},
            sources=frozenset({terms.source}),
            strip=frozenset(),
            may_know_withheld=frozenset(),
            obligations=(),
            policy_hash=policy.hash,
            terms={terms.source: terms},
        )
    related = policy.rulings(here._replace(relationships=policy.rules.enums["Relationship"]))
    missing = related.send(category, care_class, agreed=True).allowed
    return Deny(
        facts=facts,
        caller_level=False,
        reason="no-relationship" if missing else decision.forbidden_by[0].id,
        public_reason="",
        contact=policy.contact(here.organisation, {category}),
        rules=decision.forbidden_by,
        sources=frozenset({terms.source}),
        policy_hash=policy.hash,
    )


def _shape(
    facts: Facts, policy: Policy, sources: Mapping[str, SourceTerms], wanted: frozenset[str], here: Circumstances
) -> _Shape | Deny:
    candidates = tuple(_candidates(facts, sources, wanted))
    kindest = policy.kindest(here)
    possible = tuple(candidate for candidate in candidates if _possible(kindest, candidate))
    if not possible:
        return _refused(facts, policy, here, candidates, wanted)
    named = frozenset(candidate.grain.source for candidate in possible if candidate.terms is not None)
    rulings = policy.rulings(here)
    allowed: dict[Category, tuple[RuleUse, ...]] = {}
    forbidden: Counter[RuleUse] = Counter()
    for candidate in candidates:
        decision = rulings.see(candidate.grain, candidate.terms)
        if decision.allowed:
            allowed[candidate.grain.category] = _joined(allowed.get(candidate.grain.category, ()), decision.rules)
        elif candidate in possible:
            forbidden.update(decision.forbidden_by)
    unsaid = _left_unsaid(policy, here, candidates, possible)
    if not allowed:
        return _nothing_to_show(facts, policy, here, possible, forbidden, named, unsaid=unsaid)
    uses = [policy.rules.by_id[use.id].obliges for rules in allowed.values() for use in rules]
    return _Shape(
        sources=sources,
        allowed=allowed,
        named=named,
        strip=frozenset(mark for mark in Mark if not rulings.keep(mark).allowed),
        may_know=frozenset(category for category in Category if rulings.may_know(category).allowed),
        obligations=tuple(sorted({name for name in uses if name})),
        terms={name: sources[name] for name in named},
        access_unsaid=unsaid,
    )


def _candidates(facts: Facts, sources: Mapping[str, SourceTerms], wanted: frozenset[str]) -> Iterator[_Candidate]:
    if facts.request.query.interaction == "audit-search":
        for name in _LOG_TYPES.keys() & wanted:
            yield _Candidate(Grain(_LOG_TYPES[name], CareClass.OPERATIONAL, ""), None)
        return
    for name in _TRACE_TYPES.keys() & wanted:
        yield _Candidate(Grain(_TRACE_TYPES[name], CareClass.IDENTITY, ""), None)
    viewed, kind = _VIEW_OF.get(facts.request.query.view, frozenset(Category)), _kind_read(facts, sources)
    for source, terms in sorted(sources.items()):
        if kind not in ("", terms.kind):
            continue
        reached = {category for name, category in terms.types if name in wanted}
        for category, care_class in sorted(terms.gives):
            if category in viewed and (category in reached or not terms.types):
                yield _Candidate(Grain(category, care_class, source), terms)


def _kind_read(facts: Facts, sources: Mapping[str, SourceTerms]) -> str:
    """The kind of source that the id of a read names: nothing else can give it. "": no read, or an id that names none of ours."""
    kind = (facts.request.query.resource_id or "").partition(".")[2].partition(".")[0]
    return kind if any(terms.kind == kind for terms in sources.values()) else ""


def _possible(kindest: tuple[Rulings, ...], candidate: _Candidate) -> bool:
    """Whether this caller could have this grain of any person at all."""
    return any(rulings.see(candidate.grain, candidate.terms).allowed for rulings in kindest)


def _refused(
    facts: Facts, policy: Policy, here: Circumstances, candidates: tuple[_Candidate, ...], wanted: frozenset[str]
) -> Deny:
    """The refusal that is the same for every NHS number, with the first of the reasons that holds."""
    if not wanted:
        reason, public = "scope", NO_SCOPE
    elif not candidates:
        reason, public = "no-source", NO_SOURCE
    elif here.role_group == "unknown":
        reason, public = "role-unknown", NO_ROLE
    elif not any(policy.agreed(here, candidate.grain.category, candidate.terms) for candidate in candidates):
        reason, public = _why_not_agreed(facts, policy, here, candidates)
    elif _left_unsaid(policy, here, candidates, ()):
        reason, public = "access-unsaid", NO_ACCESS
    elif any(_possible(policy.kindest(here._replace(has_case_reference=True)), candidate) for candidate in candidates):
        broken = facts.purpose is Purpose.BTG
        reason, public = ("no-reason", NO_REASON) if broken else ("no-case-reference", NO_CASE)
    else:
        reason, public = "no-rule", NO_RULE
    return Deny(
        facts=facts,
        caller_level=True,
        reason=reason,
        public_reason=public,
        contact=policy.contact(here.organisation, {candidate.grain.category for candidate in candidates}),
        rules=_forbidding(policy, here, candidates),
        sources=frozenset(),
        policy_hash=policy.hash,
    )


def _left_unsaid(
    policy: Policy, here: Circumstances, candidates: tuple[_Candidate, ...], possible: tuple[_Candidate, ...]
) -> bool:
    """Whether this caller could have more of some person, had it been said what kind of visit it is: alike for everybody."""
    if here.access != Access.UNSAID:
        return False
    said = _said(policy, here)
    return any(_possible(said, candidate) for candidate in candidates if candidate not in possible)


def _said(policy: Policy, here: Circumstances) -> tuple[Rulings, ...]:
    """The same caller having said what kind of visit it is, either way."""
    return tuple(
        rulings
        for access in (Access.SCHEDULED, Access.UNSCHEDULED)
        for rulings in policy.kindest(here._replace(access=access.value))
    )


def _why_not_agreed(facts: Facts, policy: Policy, here: Circumstances, candidates: tuple[_Candidate, ...]) -> tuple[str, str]:
    """No agreement at all, or one that waits for a permission to view."""
    in_force = policy.agreements_in_force(here.organisation, facts.request.received_at.date())
    asserted = here._replace(agreements=here.agreements | policy.needing_permission(in_force))
    if any(policy.agreed(asserted, candidate.grain.category, candidate.terms) for candidate in candidates):
        return "no-permission-to-view", NO_PERMISSION
    return "no-agreement", NO_AGREEMENT


def _nothing_to_show(
    facts: Facts,
    policy: Policy,
    here: Circumstances,
    possible: tuple[_Candidate, ...],
    forbidden: Counter[RuleUse],
    named: frozenset[str],
    *,
    unsaid: bool,
) -> Deny:
    """The refusal that depends on the person: the reason is for the audit, the caller sees an empty answer."""
    firm = tuple(use for use, _ in forbidden.most_common() if use != DEFAULT_DENY)  # the widest first
    if any(
        policy.rulings(here._replace(relationships=policy.rules.enums["Relationship"])).see(item.grain, item.terms).allowed
        for item in possible
    ):
        reason = "no-relationship"
    else:
        reason = firm[0].id if firm else DEFAULT_DENY.id
    return Deny(
        facts=facts,
        caller_level=False,
        reason=reason,
        public_reason="",
        contact=policy.contact(here.organisation, {candidate.grain.category for candidate in possible}),
        rules=firm or (DEFAULT_DENY,),
        sources=named,
        policy_hash=policy.hash,
        access_unsaid=unsaid,
    )


def _forbidding(policy: Policy, here: Circumstances, candidates: Iterable[_Candidate]) -> tuple[RuleUse, ...]:
    """The forbids that hold even for the people for whom rules are kindest."""
    kindest = policy.kindest(here)[0]
    found = {use.id: use for item in candidates for use in kindest.see(item.grain, item.terms).forbidden_by}
    found.pop(DEFAULT_DENY.id, None)
    return tuple(use for _, use in sorted(found.items())) or (DEFAULT_DENY,)


def _joined(known: tuple[RuleUse, ...], more: tuple[RuleUse, ...]) -> tuple[RuleUse, ...]:
    return tuple(dict.fromkeys((*known, *more)))


def _stale(facts: Facts) -> bool:
    return isinstance(facts.person_ref, PatientIdentity) and facts.person_ref.stale

"""Step 7, plan: a recorded permit -> which sources to ask, for which types, for how long."""

from collections.abc import Collection

from gateway.model import Ask, Category, FetchPlan, PatientIdentity, Permit, Recorded
from gateway.registry import REGISTERED_PRACTICE, ActiveSource, Registry


def plan(permit: Recorded[Permit], identity: PatientIdentity, registry: Registry) -> FetchPlan:
    """What the permit covers and the locator points to -> `FetchPlan`; a source not asked shows as "nothing to show".

    The source's own terms are applied whatever policy permits: GP Connect is for direct care only, and a restricted
    person, whose practice PDS withholds, is not asked for at all.
    """
    asks: list[Ask] = []
    not_asked: dict[str, str] = {}
    allowed, request = permit.value.allowed, permit.value.facts.request
    in_scope = request.caller.may_ask_for
    wanted = request.query.types if "*" in in_scope else request.query.types & in_scope
    for name in sorted(permit.value.sources):
        source = registry.sources[name]
        reason = _why_not(source, permit.value, identity)
        types = frozenset() if reason else _types(source, allowed, wanted)
        if reason or not types:
            not_asked[name] = reason or "not-permitted"
            continue
        given = frozenset(source.manifest.gives.values())
        categories = frozenset(category for category in allowed if category in given)
        asks.append(Ask(name, types, categories, source.settings.budget_s))
    return FetchPlan(permit, identity, tuple(asks), not_asked)


def _why_not(source: ActiveSource, permit: Permit, identity: PatientIdentity) -> str:
    purpose = permit.facts.purpose
    if purpose in source.manifest.never_for or purpose not in source.manifest.purposes:
        return "outside-source-terms"
    if source.settings.custodian == REGISTERED_PRACTICE and identity.practice is None:
        return "no-registered-practice"
    return ""


def _types(source: ActiveSource, allowed: Collection[Category], wanted: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name, category in source.manifest.gives.items() if category in allowed and name in wanted)

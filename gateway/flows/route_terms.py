"""What policy may know of a way to deliver: its sender stands where a source's custodian stands."""

from gateway.model import CareClass, Category, SourceTerms
from gateway.policy import Policy
from gateway.registry import Route


def terms_of(route: Route, sender: str, policy: Policy) -> SourceTerms:
    """A route and who sends -> terms under the agreement that this sender gave; without one, under none."""
    given = (name for name in route.settings.agreements if _gives(policy, name, sender))
    category, care_class = kind_of(route)
    return SourceTerms(
        source=route.name,
        kind=route.manifest.kind,
        agreement=next(given, ""),
        gives=frozenset({(category, care_class)}),
        purposes=route.table.purposes,
        types=frozenset((name, category) for name in (*route.table.types, "PractitionerRole")),
        custodian=sender,
        title=route.source.title,
    )


def kind_of(route: Route) -> tuple[Category, CareClass]:
    """What is decided about on this route."""
    return Category(route.table.category), CareClass(route.table.care_class)


def _gives(policy: Policy, name: str, sender: str) -> bool:
    agreement = policy.agreement(name)
    return agreement is not None and agreement.gives == sender

"""The Cedar rules: text -> `Rules`, which decide one question at a time and name the rules that decided.

Cedar skips a rule that fails to evaluate, and calls a request that breaks the schema "no decision": here both are a
refusal. Source: cedarpy 4.12; reference of the traps in docs/writing-a-policy.md.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import cedarpy
from cedarpy import pst

from gateway.model import Access, CareClass, Category, Mark, OrganisationKind, Purpose, RuleUse
from gateway.policy.faults import Fault, PolicyFaults

ACTIONS = ("see", "audit", "know", "send", "keep")
NEVER_NEEDS_CONSENT = frozenset({Purpose.S47, Purpose.ETREAT, Purpose.BTG, Purpose.HLEGAL})
DEFAULT_DENY = RuleUse("default-deny", "No rule permits this, and what no rule permits is not shared.")

_ANNOTATIONS = frozenset({"id", "because", "basis", "owner", "review_by", "needs_consent", "obliges"})
_REQUIRED = ("because", "basis", "owner", "review_by")
_NAME = re.compile(r"[a-z][a-z0-9-]{2,60}")
_ENUM = re.compile(r"entity\s+(\w+)\s+enum\s*\[([^\]]*)\]")
_MIRRORED: Mapping[str, type[StrEnum]] = {
    "Category": Category,
    "CareClass": CareClass,
    "Mark": Mark,
    "Purpose": Purpose,
    "OrganisationKind": OrganisationKind,
    "Access": Access,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One Cedar rule with what it says of itself."""

    id: str
    file: str
    effect: str  # "permit" | "forbid"
    because: str
    basis: tuple[str, ...]  # "law:<row>"
    owner: str
    review_by: date
    needs_consent: str  # a consent scope, or empty
    obliges: str  # an obligation the permit brings with it, or empty
    actions: frozenset[str]
    purposes: frozenset[str]  # the purposes it can apply to; all when it leaves them open
    reads: frozenset[str]  # names of the context it reads
    about: str  # the one category or mark it speaks of, or empty: it may speak of any

    @property
    def use(self) -> RuleUse:
        """As decisions carry it."""
        return RuleUse(self.id, self.because)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Cedar said to one question."""

    allowed: bool
    rules: tuple[str, ...]  # the permits that held, or the forbids
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, parsed once and sliced by action and purpose."""

    by_id: Mapping[str, Rule]
    enums: Mapping[str, frozenset[str]]
    whole: cedarpy.PolicySet
    slices: Mapping[tuple[str, str], cedarpy.PolicySet]
    schema: cedarpy.Schema
    nobody: cedarpy.Entities  # the rules need no stored entities: everything travels in the request

    def ask(
        self, action: str, purpose: str, role: str, resource: tuple[str, str], context: Mapping[str, Any], *, whole: bool = False
    ) -> Verdict:
        """One question -> its verdict. Anything but a clean Allow is not allowed."""
        rules = self.whole if whole else self.slices.get((action, purpose))
        if rules is None:
            return Verdict(False, (), ("unknown-purpose",))
        request = {
            "principal": {"type": "Role", "id": role},
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource[0], "id": resource[1]},
            "context": json.dumps(context),
        }
        result = cedarpy.is_authorized(request, rules, self.nobody, schema=self.schema)
        errors = ("evaluation-error",) * len(result.diagnostics.errors)  # Cedar's own text may quote values
        if result.decision is cedarpy.Decision.NoDecision and not errors:
            errors = ("no-decision",)
        allowed = result.decision is cedarpy.Decision.Allow and not errors
        return Verdict(allowed, tuple(sorted(result.diagnostics.id_annotations_by_reason.values())), errors)


def parse(files: Mapping[str, str], schema_text: str, law: Iterable[str]) -> Rules:
    """Cedar files by name, the schema and the ids of the law rows -> `Rules`. Raises `PolicyFaults` with every fault."""
    try:
        schema = cedarpy.Schema.from_str(schema_text)
    except ValueError as error:
        raise PolicyFaults([Fault("schema.cedarschema", f"mend the schema: {_first_line(error)}")]) from error
    enums = {
        name: frozenset(re.findall(r'"([^"]*)"', body)) for name, body in _ENUM.findall(re.sub(r"//[^\n]*", "", schema_text))
    }
    faults = [
        Fault("schema.cedarschema", f"entity {name} must list exactly what the model does: {', '.join(sorted(kind))}")
        for name, kind in _MIRRORED.items()
        if enums.get(name) != frozenset(kind)
    ]
    known_law = frozenset(f"law:{row}" for row in law)
    rules: dict[str, Rule] = {}
    nodes: dict[str, pst.Template] = {}
    for name, text in sorted(files.items()):
        for node in _nodes(name, text, schema, faults):
            rule = _rule(name, node, known_law, enums, faults)
            if rule is None:
                continue
            if rule.id in rules:
                faults.append(Fault(name, f"@id {rule.id} is used twice: ids are unique over all files"))
                continue
            rules[rule.id], nodes[rule.id] = rule, node
    if faults:
        raise PolicyFaults(faults)
    if not rules:
        raise PolicyFaults([Fault("*.cedar", "add at least one rule")])
    slices = {
        (action, purpose): _set(nodes[key] for key, rule in rules.items() if action in rule.actions and purpose in rule.purposes)
        for action in ACTIONS
        for purpose in enums["Purpose"]
    }
    nobody = cedarpy.Entities.from_json_str("[]", schema)
    return Rules(rules, enums, _set(nodes.values()), slices, schema, nobody)


def _nodes(name: str, text: str, schema: cedarpy.Schema, faults: list[Fault]) -> list[pst.Template]:
    try:
        parsed = cedarpy.policies_to_pst(text)
    except ValueError as error:
        faults.append(Fault(name, f"not Cedar: {_first_line(error)}"))
        return []
    checked = cedarpy.validate_policies(text, schema)
    if not checked.validation_passed:
        faults.extend(Fault(name, f"does not fit the schema: {error.error}") for error in checked.errors)
        return []
    if parsed.templates:
        faults.append(Fault(name, "templates are not used here: write each rule out"))
    return list(parsed.static_policies.values())


def _rule(
    name: str, node: pst.Template, law: frozenset[str], enums: Mapping[str, frozenset[str]], faults: list[Fault]
) -> Rule | None:
    notes = node.annotations
    own = notes.get("id", "")
    if not _NAME.fullmatch(own):
        faults.append(Fault(name, "give every rule an @id of small letters, digits and hyphens"))
        return None
    before = len(faults)
    faults.extend(Fault(name, f"{own}: add @{key}") for key in _REQUIRED if not notes.get(key, "").strip())
    faults.extend(Fault(name, f"{own}: remove @{key}, which nothing reads") for key in notes.keys() - _ANNOTATIONS)
    basis = tuple(part.strip() for part in notes.get("basis", "").split(",") if part.strip())
    faults.extend(Fault(name, f"{own}: @basis {part} is no row of law/") for part in basis if part not in law)
    review = _day(notes.get("review_by", ""))
    if review is None:
        faults.append(Fault(name, f"{own}: write @review_by as YYYY-MM-DD"))
    actions = _actions(node.action, enums)
    purposes = _purposes(node, enums["Purpose"])
    scope = notes.get("needs_consent", "")
    named = frozenset(uid.id for uid in pst.entity_uids(node) if str(uid.type) == "Scope")
    if scope and scope not in named:
        faults.append(Fault(name, f'{own}: needs_consent says {scope}, so a condition must name Scope::"{scope}"'))
    if named - {scope}:
        faults.append(Fault(name, f"{own}: its conditions read a consent, so add @needs_consent with that scope"))
    if scope and purposes & NEVER_NEEDS_CONSENT:
        faults.append(Fault(name, f"{own}: consent is never needed for {', '.join(sorted(purposes & NEVER_NEEDS_CONSENT))}"))
    if len(faults) > before or review is None:
        return None
    return Rule(
        own,
        name,
        node.effect,
        notes["because"],
        basis,
        notes["owner"],
        review,
        scope,
        notes.get("obliges", ""),
        actions,
        purposes,
        _reads(node.clauses),
        _about(node.resource),
    )


def _set(nodes: Iterable[pst.Template]) -> cedarpy.PolicySet:
    numbered = {f"policy{number}": _numbered(node, f"policy{number}") for number, node in enumerate(nodes)}
    return cedarpy.PolicySet.from_pst(pst.PolicySet(templates={}, static_policies=numbered, template_links=()))


def _numbered(node: pst.Template, key: str) -> pst.Template:
    return pst.Template(key, node.effect, node.principal, node.action, node.resource, node.clauses, node.annotations)


def _actions(scope: pst.ActionConstraint, enums: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if isinstance(scope, pst.ActionEq):
        return frozenset({scope.entity.id})
    if isinstance(scope, pst.ActionIn):
        return frozenset(uid.id for uid in scope.entities)
    return frozenset(ACTIONS)


def _about(scope: pst.PrincipalOrResourceConstraint) -> str:
    return scope.entity.id if isinstance(scope, pst.ScopeEq) and isinstance(scope.entity, pst.EntityUid) else ""


def _purposes(node: pst.Template, every: frozenset[str]) -> frozenset[str]:
    """The purposes a rule can apply to: narrowed only by a plain `when` on context.purpose, else all of them."""
    purposes = every
    for clause in node.clauses:
        for part in _parts(clause.expr) if isinstance(clause, pst.When) else ():
            listed = _listed(part)
            if listed is not None:
                purposes &= listed
    return purposes


def _parts(expression: pst.Expr) -> list[pst.Expr]:
    if isinstance(expression, pst.BinaryOp) and expression.op == "and":
        return _parts(expression.left) + _parts(expression.right)
    return [expression]


def _listed(part: pst.Expr) -> frozenset[str] | None:
    if not isinstance(part, pst.BinaryOp):
        return None
    if part.op == "contains" and _is_purpose(part.right) and isinstance(part.left, pst.Set):
        items = [item.value.id for item in part.left.elements if isinstance(item, pst.EntityLit)]
        return frozenset(items) if len(items) == len(part.left.elements) else None
    if part.op == "eq" and _is_purpose(part.left) and isinstance(part.right, pst.EntityLit):
        return frozenset({part.right.value.id})
    return None


def _is_purpose(expression: pst.Expr) -> bool:
    return isinstance(expression, pst.GetAttr) and expression.attr == "purpose" and expression.base == pst.Var("context")


def _reads(clauses: Iterable[pst.Clause]) -> frozenset[str]:
    """Names of the context that any condition mentions."""
    found: set[str] = set()
    waiting: list[Any] = list(clauses)
    while waiting:
        value = waiting.pop()
        if isinstance(value, pst.GetAttr) and value.base == pst.Var("context"):
            found.add(value.attr)
        elif isinstance(value, tuple):
            waiting.extend(value)
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif hasattr(value, "__dataclass_fields__"):
            waiting.extend(getattr(value, field) for field in value.__dataclass_fields__)
    return frozenset(found)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None


def _first_line(error: ValueError) -> str:
    return str(error).splitlines()[0][:200] if str(error) else "cannot be parsed"

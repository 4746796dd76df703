"""consent_policy/ -> `Policy`: loaded, validated, hashed, and asked one grain at a time, for consent and disclosure alike."""

from gateway.policy.agreements import REGISTERED_PRACTICE, Agreement, Flow, LawRow, Signature
from gateway.policy.cases import Case, read_case
from gateway.policy.checking import check, run
from gateway.policy.circumstances import AGE_BANDS, Circumstances, as_plain, from_plain, of
from gateway.policy.engine import GrainDecision, Policy, Rulings
from gateway.policy.explaining import explain_case, explain_decision
from gateway.policy.faults import Broken, Fault, PolicyFaults
from gateway.policy.folder import fingerprint, load
from gateway.policy.rules import DEFAULT_DENY, Rule

__all__ = [
    "AGE_BANDS",
    "DEFAULT_DENY",
    "REGISTERED_PRACTICE",
    "Agreement",
    "Broken",
    "Case",
    "Circumstances",
    "Fault",
    "Flow",
    "GrainDecision",
    "LawRow",
    "Policy",
    "PolicyFaults",
    "Rule",
    "Rulings",
    "Signature",
    "as_plain",
    "check",
    "explain_case",
    "explain_decision",
    "fingerprint",
    "from_plain",
    "load",
    "of",
    "read_case",
    "run",
]

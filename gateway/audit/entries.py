"""What each event says. No NHS number, no patient's name and no content: ids, labels, rules, counts and salted hashes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gateway.audit.canonical import digesting
from gateway.errors import GatewayError
from gateway.model import AccessRequest, Caller, Deny, Disclosed, Disclosure, Facts, PatientIdentity, Permit, Query, RuleUse
from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.resource import Typed, encoded

_SALT_BYTES = 16


def decision_entry(decision: Permit | Deny, now: datetime) -> Entry:
    """A decision -> its event: the facts policy saw, the rules that decided, and their English."""
    facts = decision.facts
    detail: dict[str, Any] = {"policy": decision.policy_hash, "facts": _facts(facts), **_query(facts.request.query)}
    detail["permission_to_view"] = facts.request.permission_to_view
    detail["sources"] = sorted(decision.sources)
    if isinstance(decision, Permit):
        detail["rules"] = [
            {**_rule(rule), "category": category} for category, rules in sorted(decision.allowed.items()) for rule in rules
        ]
        detail["allowed"] = sorted(decision.allowed)
        detail["strip"] = sorted(decision.strip)
        detail["obligations"] = list(decision.obligations)
        entry = _of_request(facts.request, "decision", "permit", facts.person_ref.number, detail, now)
        return replace(entry, signed=False)  # the answer carries the disclosure's receipt
    detail["rules"] = [_rule(rule) for rule in decision.rules]
    detail["reason"] = decision.reason
    detail["caller_level"] = decision.caller_level
    if not isinstance(facts.person_ref, PatientIdentity):
        detail["not_usable"] = facts.person_ref.reason
    return _of_request(facts.request, "decision", "deny", facts.person_ref.number, detail, now)


def disclosure_entry(disclosure: Disclosure, now: datetime) -> Entry:
    """A disclosure -> its event, itemised: each resource by id, labels and rules, with a salted hash of what leaves."""
    permit, identity, salt = disclosure.permit, disclosure.identity, os.urandom(_SALT_BYTES)
    detail = {
        "decision": permit.receipt.event,
        "policy": permit.value.policy_hash,
        "person_id": identity.alias or identity.person,
        "salt": salt.hex(),
        "items": _items(disclosure.resources, salt),
        "sources": [
            {
                "source": report.source,
                "state": report.state,
                "as_of": None if report.as_of is None else report.as_of.isoformat(),
                "reason": report.reason,
                "took_ms": report.took_ms,
            }
            for report in disclosure.reports
        ],
        "withheld": dict(disclosure.withheld),
        "withheld_known": sorted(disclosure.withheld_known),
        "refused": [{"source": one.source, "where": one.where, "reason": one.reason} for one in disclosure.refused],
        "more": disclosure.next_key is not None,
        "access": permit.value.facts.access,
        "trace": {"at": identity.traced_at.isoformat(), "stale": identity.stale},
        **_query(permit.value.facts.request.query),
    }
    return _of_request(permit.value.facts.request, "disclosure", "success", identity.number, detail, now)


def failure_entry(error: GatewayError, caller: Caller, *, request_id: str, correlation_id: str, now: datetime) -> Entry:
    """What a known caller is refused before or instead of a decision."""
    detail: dict[str, Any] = {"error": type(error).__name__, "status": error.status, "reason": error.reason}
    detail["expression"] = error.expression
    return of_caller(caller, "failure", "failure", None, detail, now, request_id, correlation_id)


def audit_read_entry(
    request: AccessRequest, *, person: NhsNumber | None, asked: Mapping[str, str], found: int, now: datetime
) -> Entry:
    """An auditor's own read: which criteria, how many answers. A person asked about is known by keyed hash only."""
    detail = {"asked": {name: asked[name] for name in sorted(asked)}, "found": found}
    return _of_request(request, "audit-read", "success", person, detail, now)


def _of_request(
    request: AccessRequest, kind: str, outcome: str, person: NhsNumber | None, detail: Mapping[str, Any], now: datetime
) -> Entry:
    return of_caller(request.caller, kind, outcome, person, detail, now, request.request_id, request.correlation_id)


def of_caller(
    caller: Caller,
    kind: str,
    outcome: str,
    person: NhsNumber | None,
    detail: Mapping[str, Any],
    now: datetime,
    request_id: str,
    correlation_id: str,
) -> Entry:
    """What a caller did -> its event, with who they are and in which role, as of every caller."""
    return Entry(
        kind=kind,
        at=now,
        outcome=outcome,
        person=person,
        organisation=caller.organisation.code,
        system=caller.system,
        staff=f"{caller.staff.system}|{caller.staff.id}",
        staff_name=caller.staff.name,
        role=f"{caller.role.system}|{caller.role.code}",
        purpose=caller.purpose,
        request_id=request_id,
        correlation_id=correlation_id,
        address=caller.address,
        detail={
            "organisation_name": caller.organisation.name,
            "role_name": caller.role.display,
            "token": caller.token_id,
            "case_reference": caller.case_reference,
            **detail,
        },
    )


def _facts(facts: Facts) -> dict[str, Any]:
    """All that policy could read, so that a stored decision can be decided again."""
    return {
        "organisation": facts.organisation,
        "organisation_kind": facts.organisation_kind,
        "role": facts.role,
        "role_group": facts.role_group,
        "purpose": facts.purpose,
        "agreements": sorted(facts.agreements),
        "has_case_reference": facts.has_case_reference,
        "usable": facts.usable,
        "relationships": sorted(facts.relationships),
        "consents": sorted([consent.scope, consent.decision] for consent in facts.consents),
        "objection": facts.objection,
        "protected": facts.protected,
        "protected_because": sorted(facts.protected_because),
        "deceased": facts.deceased,
        "age_band": facts.age_band,
        "access": facts.access,
        "version": facts.version,
    }


def _query(query: Query) -> dict[str, Any]:
    return {"interaction": query.interaction, "types": sorted(query.types), "resource": query.resource_id}


def _items(resources: Sequence[Disclosed], salt: bytes) -> list[dict[str, Any]]:
    """Resources of one type and source with the same labels and rules are one row, and in it each by id and digest."""
    rows: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    firsts: dict[tuple[Any, ...], Disclosed] = {}
    begun = digesting(salt).copy
    for item in resources:
        body = item.body
        if body.__class__ is Typed:
            form: Any = body.form
            kind, own_id, meta = body.kind, form.id, form.meta
        else:
            kind, own_id, meta = body["resourceType"], body["id"], body.get("meta")
        version = meta.get("versionId") if meta.__class__ is dict else None
        # members of enums live for ever and hash slowly; a disclosure holds its rules
        key = (kind, item.source, id(item.category), id(item.care_class), id(item.rules), item.stripped, version)
        row = rows.get(key)
        if row is None:
            row, firsts[key] = rows.setdefault(key, []), item
        digest = begun()
        digest.update(item.encoded or encoded(body))
        row.append((own_id, digest.hexdigest()))
    return [
        {
            "type": key[0],
            "version": key[-1],
            "source": first.source,
            "category": first.category,
            "class": first.care_class,
            "rules": sorted(first.rules),
            "stripped": sorted(first.stripped),
            "each": rows[key],
        }
        for key, first in firsts.items()
    ]


def disclosed_items(detail: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A stored disclosure's detail -> what left, one by one: type, id, version, source, category, class, rules, digest."""
    rows = detail.get("items", ())
    for row in rows if isinstance(rows, list) else ():  # another kind of event may have counted items, by this name
        shared = {name: value for name, value in row.items() if name != "each"}
        for own_id, digest in row["each"]:
            yield {**shared, "id": own_id, "digest": digest}


def _rule(rule: RuleUse) -> dict[str, str]:
    return {"id": rule.id, "because": rule.because}

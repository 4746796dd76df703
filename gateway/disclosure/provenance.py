"""Where each released resource came from: one Provenance for each source, when the caller asks for them.

What a resource gives in another unit than was sent, it tells as it was sent, beside the reference to that resource. For a
protected person neither an organisation nor a source's name appears: the kind of source alone does.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from gateway import systems
from gateway.disclosure.labels import ORDER, labelled, labels_of, security_of
from gateway.model import CareClass, Disclosed, MappedResource, Original, PatientIdentity, SourceTerms
from gateway.policy import REGISTERED_PRACTICE, Policy

KIND_TITLES = {
    "gp": "A GP record",
    "child-health": "A child health record",
    "childrens-centre": "A children's centre's record",
    "local-authority": "A local authority's record",
    "cp-is": "A record of CP-IS",
}

_SYSTEMS = {"ods": systems.ODS_CODE, "gss": systems.GSS_CODE}
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def provenance(
    terms: SourceTerms,
    released: Sequence[tuple[MappedResource, Disclosed]],
    identity: PatientIdentity,
    person: str,
    policy: Policy,
    *,
    protected: bool,
) -> Disclosed:
    """What one source gave to this answer -> its Provenance."""
    as_of = max(item.as_of for item, _ in released)
    body: dict[str, Any] = {
        "resourceType": "Provenance",
        "id": f"{person}.{terms.kind}.{_id(released)}",
        "target": [{"reference": f"{out.body['resourceType']}/{out.body['id']}"} for _, out in released],
        "recorded": as_of.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "agent": [
            {
                "type": {"coding": [{"system": _PARTICIPANT, "code": "custodian"}]},
                "who": {"display": KIND_TITLES.get(terms.kind, "A record")} if protected else _who(terms, identity, policy),
            }
        ],
    }
    if not protected:
        maps = sorted({item.mapping for item, _ in released})
        body["entity"] = [{"role": "source", "what": {"display": f"mapped by {name}"}} for name in maps]
    rules = tuple(dict.fromkeys(rule for _, out in released for rule in out.rules))
    category = released[0][0].category
    care_class, labels = CareClass.OPERATIONAL, []
    for number, (item, out) in enumerate(released):
        told = _told(item, out, protected) if item.originals else None
        if told:
            body["target"][number]["extension"] = told
            care_class = max(care_class, out.care_class, key=ORDER.__getitem__)
            ours = security_of(out.care_class)
            labels += [label for label in labels_of(out.body) if label not in ours and label not in labels]
    return Disclosed(labelled(body, care_class, labels), terms.source, category, care_class, rules, ())


def _told(item: MappedResource, out: Disclosed, protected: bool) -> list[dict[str, Any]]:
    """What was sent of those elements of a resource that left as they were made."""
    left = [one for one in item.originals if _at(out.body, one.path) == one.gave]
    return [_as_sent(out.body["resourceType"], one, protected) for one in left]


def _as_sent(kind: str, original: Original, protected: bool) -> dict[str, Any]:
    """Of a protected person a word goes where there is a code: somebody typed it."""
    parts: list[dict[str, Any]] = [{"url": "element", "valueString": f"{kind}.{original.element}"}]
    for name, value in original.sent:
        hidden = protected and isinstance(value, Mapping) and "code" in value
        parts.append({"url": "value", name: {key: value[key] for key in value if key != "unit"} if hidden else value})
    return {"url": systems.AS_SENT, "extension": parts}


def _at(element: Any, path: Sequence[str | int]) -> Any:
    """What stands at a path, or None."""
    for step in path:
        if isinstance(step, int):
            element = element[step] if isinstance(element, list | tuple) and step < len(element) else None
        else:
            element = element.get(step) if isinstance(element, Mapping) else None
    return element


def _who(terms: SourceTerms, identity: PatientIdentity, policy: Policy) -> dict[str, Any]:
    code = identity.practice or "" if terms.custodian == REGISTERED_PRACTICE else terms.custodian
    organisation = policy.organisation(code)
    scheme, _, value = code.partition(":")
    who: dict[str, Any] = {"type": "Organization"}
    if scheme in _SYSTEMS and value:
        who["identifier"] = {"system": _SYSTEMS[scheme], "value": value}
    who["display"] = organisation.name if organisation else KIND_TITLES.get(terms.kind, "A record")
    return who


def _id(released: Sequence[tuple[MappedResource, Disclosed]]) -> str:
    """Of the keyed ids it is about, and so as unguessable: a source's name is not found by trying names."""
    first = min(str(out.body["id"]) for _, out in released)
    return hashlib.sha256(f"Provenance/{first}".encode()).hexdigest()[:20]

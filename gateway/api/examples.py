"""What a partner submits for delivery, one example for each way that ships: in openapi/examples/ and in the API's description.

The person is one of the sandbox, so that each can be sent to the demonstration as it stands (docs/delivery.md).
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway import nhs_number, systems

_CHILD: Final = {
    "resourceType": "Patient",
    "id": "child",
    "identifier": [{"system": nhs_number.SYSTEM, "value": "9990000107"}],
    "birthDate": "2024-03-14",
}


def _sender(name: str, phone: str) -> dict[str, Any]:
    return {
        "resourceType": "PractitionerRole",
        "id": "sender",
        "practitioner": {"display": name},
        "telecom": [{"system": "phone", "value": phone}],
    }


_REFERRAL: Final = {
    "resourceType": "ServiceRequest",
    "contained": [_CHILD, _sender("Hazel Visitor", "01632 960001")],
    "identifier": [{"system": "https://meadowvale.example.org/referral", "value": "R-2026-0417"}],
    "status": "active",
    "intent": "order",
    "priority": "routine",
    "code": {"coding": [{"system": systems.OURS + "CodeSystem:family-support", "code": "play", "display": "Play session"}]},
    "subject": {"reference": "#child"},
    "authoredOn": "2026-11-20T09:30:00Z",
    "requester": {"reference": "#sender", "display": "Meadowvale Community Health"},
    "performer": [{"identifier": {"system": systems.OURS + "dfe-urn", "value": "199901"}}],
    "reasonCode": [{"text": "New to the area"}],
    "note": [{"text": "Would like to come on Tuesdays"}],
}
_CONCERN: Final = {
    **_REFERRAL,
    "identifier": [{"system": "https://meadowvale.example.org/concern", "value": "C-2026-0031"}],
    "priority": "stat",
    "code": {
        "coding": [
            {
                "system": systems.OURS + "CodeSystem:front-door-request",
                "code": "child-protection",
                "display": "Concern for a child's safety",
            }
        ]
    },
    "performer": [{"identifier": {"system": systems.GSS_CODE, "value": "E08999901"}}],
    "reasonCode": [{"text": "Bruises nobody can explain"}],
    "note": [{"time": "2026-11-20T09:00:00Z", "text": "Seen at the two-year review"}],
}
_NOTICE: Final = {
    "resourceType": "Task",
    "contained": [_CHILD, _sender("Cara Centre", "01632 960190")],
    "identifier": [{"system": "https://willow.example.org/task", "value": "T-2026-0009"}],
    "status": "requested",
    "intent": "order",
    "priority": "routine",
    "code": {"text": "For information"},
    "description": "This family comes to Willow Children's Centre",
    "for": {"reference": "#child"},
    "authoredOn": "2026-11-20T09:30:00Z",
    "requester": {"reference": "#sender", "display": "Willow Children's Centre"},
    "owner": {"identifier": {"system": systems.ODS_CODE, "value": "A99901"}},
}
EXAMPLES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "referral": ("A health visitor refers a family to a children's centre", _REFERRAL),
    "concern": ("Somebody worried about a child tells the authority's front door", _CONCERN),
    "notice": ("A children's centre tells the practice that a family comes, and whom to ring", _NOTICE),
}

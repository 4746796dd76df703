"""What an assertion says about the human caller, checked against what its client may say.

Source: HL7 UDAP Security, B2B authorization extension object `hl7-b2b` version 1; `case_reference` is our own.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.caller.jose import text_of
from gateway.errors import OAuthRefused
from gateway.model import Coding, Organisation, Purpose, Staff
from gateway.nhs_number import NotAnNhsNumber, parse
from gateway.ports import Client
from gateway.systems import LOCAL_PURPOSE, LOCAL_ROLE, SDS_JOB_ROLE, SDS_USER_ID, V3_ACT_REASON

B2B = "hl7-b2b"
OUR_EXTENSION = "shared-care-gateway"
Resolve = Callable[[str], Organisation | None]  # a canonical code or `system|value` -> the organisation

_ACT_REASON_URN = "urn:oid:2.16.840.1.113883.5.8#"  # UDAP writes HL7 purposes like this
_REASON = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ,.:;()'/_-]{8,178}[A-Za-z0-9.)]", re.ASCII)
_CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_-]{0,62}[A-Za-z0-9]", re.ASCII)
_ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", re.ASCII)
_SDS_ROLE = re.compile(r"R[0-9]{4}", re.ASCII)
_SDS_USER = re.compile(r"[0-9]{12}", re.ASCII)
_TEN_DIGITS = re.compile(r"(?<![0-9])[0-9](?:[^A-Za-z0-9]*[0-9]){9}(?![^A-Za-z0-9]*[0-9])", re.ASCII)  # however they are grouped


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who asks and why, allowed by the client's registration."""

    organisation: Organisation
    staff: Staff
    role: Coding
    purpose: Purpose
    case_reference: str | None  # of BTG: why the glass is broken, in the caller's words


def check(claims: Mapping[str, Any], client: Client, resolve: Resolve) -> Claimed:
    """Verified claims and the client's registration -> who asks and why.

    Raises `OAuthRefused` (invalid_grant) when the extension is missing, unreadable, or says what this client may not say.
    """
    extensions = claims.get("extensions")
    b2b = extensions.get(B2B) if isinstance(extensions, dict) else None
    if not isinstance(extensions, dict) or not isinstance(b2b, dict) or b2b.get("version") != "1":
        raise _refused("b2b-extension")
    organisation = _organisation(b2b, client, resolve)
    purpose = _purpose(b2b, client)
    case = _case(extensions.get(OUR_EXTENSION), purpose)
    return Claimed(organisation, _staff(b2b, organisation), _role(b2b, client), purpose, case)


def role_coding(text: str) -> Coding | None:
    """`system|code`, or a bare code (R and four digits: SDS job role; else one of our own) -> Coding, or None."""
    system, bar, code = text.rpartition("|")
    if not _ROLE.fullmatch(code) or (bar and system not in (SDS_JOB_ROLE, LOCAL_ROLE)):
        return None
    return Coding(system or (SDS_JOB_ROLE if _SDS_ROLE.fullmatch(code) else LOCAL_ROLE), code)


def purpose_of(text: str) -> Purpose | None:
    """A purpose as UDAP, FHIR or this project writes it -> Purpose, or None."""
    for prefix in (_ACT_REASON_URN, V3_ACT_REASON + "|", LOCAL_PURPOSE + "|"):
        text = text.removeprefix(prefix)
    return Purpose(text) if text in Purpose.__members__ else None


def _organisation(b2b: Mapping[str, Any], client: Client, resolve: Resolve) -> Organisation:
    text = text_of(b2b.get("organization_id"), 200)
    found = resolve(text) if text else None
    if found is None or found.code not in client.organisations:
        raise _refused("organisation")
    return found


def _staff(b2b: Mapping[str, Any], organisation: Organisation) -> Staff:
    text = text_of(b2b.get("subject_id"), 200)
    name = text_of(b2b.get("subject_name"), 140)
    if not text or not name or _holds_nhs_number(text) or _holds_nhs_number(name):
        raise _refused("subject")
    system, bar, id_ = text.rpartition("|")
    if bar and not (system and id_):
        raise _refused("subject")
    # A bare id is an SDS user id if it looks like one; else it means something within the caller's organisation only.
    own = SDS_USER_ID if _SDS_USER.fullmatch(text) else organisation.code
    return Staff(system or own, id_, name)


def _role(b2b: Mapping[str, Any], client: Client) -> Coding:
    text = text_of(b2b.get("subject_role"), 200)
    role = role_coding(text) if text else None
    if role is None or f"{role.system}|{role.code}" not in client.roles:
        raise _refused("role")
    return role


def _purpose(b2b: Mapping[str, Any], client: Client) -> Purpose:
    given = b2b.get("purpose_of_use")
    text = text_of(given[0], 100) if isinstance(given, list) and len(given) == 1 else None
    purpose = purpose_of(text) if text else None
    if purpose is None or purpose.value not in client.purposes:
        raise _refused("purpose")
    return purpose


def _case(ours: object, purpose: Purpose) -> str | None:
    """The case that is worked on; for BTG the reason, which is a sentence and not a number. The log keeps it in clear."""
    name, form = ("reason", _REASON) if purpose is Purpose.BTG else ("case_reference", _CASE)
    if ours is None:
        return None
    reference = ours.get(name) if isinstance(ours, dict) else ""
    if reference is None:
        return None
    if not isinstance(reference, str) or not form.fullmatch(reference) or _holds_nhs_number(reference):
        raise _refused(name.replace("_", "-"))
    return reference


def _holds_nhs_number(text: str) -> bool:
    """These texts are kept in the log in clear, so nobody's NHS number may ride in them."""
    for found in _TEN_DIGITS.findall(text):
        try:
            parse(re.sub(r"[^0-9]", "", found), allow_test=True)
        except NotAnNhsNumber:
            continue
        return True
    return False


def _refused(what: str) -> OAuthRefused:
    return OAuthRefused("invalid_grant", reason=what + "-not-allowed")

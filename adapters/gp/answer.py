"""What comes back from GP Connect: HTTP answer -> Bundle, nothing to show, or one of the four source errors.

Source: GP Connect 1.6.2 "Error handling"; the proxy's own answers are of the Spine Secure Proxy. Nothing of a body, display or
diagnostics is ever part of a reason: the proxy's texts carry addresses.
"""

import re
from decimal import Decimal
from typing import Any, Literal

import msgspec

from gateway.adapter import (
    HttpAnswer,
    SourceContractBroken,
    SourceError,
    SourceRefused,
    SourceTimedOut,
    SourceUnavailable,
)

# Deliberately one answer for a sensitive, inactive, deceased or temporary patient and for an unknown one.
NOTHING_TO_SHOW = frozenset({"PATIENT_NOT_FOUND", "NO_RECORD_FOUND", "ORGANISATION_NOT_FOUND", "PRACTITIONER_NOT_FOUND"})

_SPINE_SYSTEMS = frozenset(  # in lower case
    {
        "https://fhir.nhs.uk/stu3/valueset/spine-errororwarningcode-1",
        "https://fhir.nhs.uk/stu3/codesystem/spine-errororwarningcode-1",
    }
)
_NO_CONSENT = frozenset({"NO_PATIENT_CONSENT", "NO_ORGANISATION_CONSENT", "NO_ORGANISATIONAL_CONSENT"})
_BOM = b"\xef\xbb\xbf"

_ON_A_PAGE = re.compile(rb"\s*\{% highlight json %\}(.*)\{% endhighlight %\}\s*", re.DOTALL)

_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def bundle(body: bytes) -> dict[str, Any]:
    """Bytes -> the Bundle. Raises `SourceContractBroken` for anything else: truncated, HTML, another resource."""
    read = _json(body)
    if not isinstance(read, dict) or read.get("resourceType") != "Bundle":
        raise SourceContractBroken("the answer is not a FHIR Bundle in JSON")
    return _collection(read)


def saved(body: bytes) -> dict[str, Any]:
    """The bytes of a file -> the Bundle, or a resource saved by itself. Raises `SourceContractBroken` for anything else.

    The specification's own examples stand between two marks of the web page they are shown on.
    """
    shown = _ON_A_PAGE.fullmatch(body)
    read = _json(body if shown is None else shown[1])
    if not isinstance(read, dict) or not isinstance(read.get("resourceType"), str):
        raise SourceContractBroken("not a FHIR resource in JSON")
    return _collection(read) if read["resourceType"] == "Bundle" else read


def read(answer: HttpAnswer) -> Literal["record", "nothing", "again"]:
    """An answer -> "record" (its body is to be read), "nothing" (no shareable record), or "again" (one retry is allowed).

    Raises one of the four source errors; which one says who acts.
    """
    if answer.status == 200:
        return "record"
    if answer.status == 500:
        return "again"
    codes = _spine_codes(answer.body)
    if answer.status == 404 and codes & NOTHING_TO_SHOW:
        return "nothing"
    raise _error(answer.status, codes)


def still_failing() -> SourceError:
    """The error of a provider that answered 500 twice."""
    return SourceUnavailable("the provider failed twice")


def _collection(bundle: dict[str, Any]) -> dict[str, Any]:
    if bundle.get("type") != "collection" or not isinstance(bundle.get("entry"), list):
        raise SourceContractBroken("the answer is not a structured record: a collection with entries")
    return bundle


def _error(status: int, codes: frozenset[str]) -> SourceError:
    if status == 400 and "INVALID_PATIENT_DEMOGRAPHICS" in codes:
        return SourceRefused("the provider holds other demographics for this number")
    if status == 403 and codes & _NO_CONSENT:
        return SourceRefused("the practice or the patient does not share this record")
    if status in (401, 403):
        return SourceRefused("the provider or the proxy refused this system")
    if status in (400, 405, 415, 422):
        return SourceRefused("the provider or the proxy refused the form of the request")
    if status == 501:
        return SourceRefused("the provider does not offer this operation")
    if status in (408, 504, 599):  # 599 is no standard status; the proxy is known to send it
        return SourceTimedOut("the proxy gave up waiting for the provider")
    if status == 429 or 500 < status < 600:
        return SourceUnavailable("the provider cannot be reached just now")
    if status == 404:
        return SourceContractBroken("not found, without a GP Connect reason")
    return SourceContractBroken("a status that GP Connect does not use for a read")


def _spine_codes(body: bytes) -> frozenset[str]:
    try:
        outcome = _json(body)
    except SourceContractBroken:
        return frozenset()  # the proxy also speaks HTML and plain text
    found: set[str] = set()
    for issue in _dicts(outcome, "issue"):
        details = issue.get("details")
        for coding in _dicts(details, "coding"):
            system, code = coding.get("system"), coding.get("code")
            if isinstance(system, str) and isinstance(code, str) and system.strip().lower() in _SPINE_SYSTEMS:
                found.add(code.strip())
    return frozenset(found)


def _dicts(parent: Any, name: str) -> list[dict[str, Any]]:
    children = parent.get(name) if isinstance(parent, dict) else None
    return [child for child in children if isinstance(child, dict)] if isinstance(children, list) else []


def _json(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        raise SourceContractBroken("the answer is not JSON, or only a part of it") from None

"""A resource to be delivered: HTTP body -> `Submission`, read strictly and checked against R4; nothing of it is echoed.

Source: FHIR R4 3.1.0.8 (create), ServiceRequest, Task; docs/adr/0015 for the form: whom it is about is a contained Patient with
NHS number and birth date, whom to ring back may be a contained PractitionerRole.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway import nhs_number
from gateway.caller.jose import Broken, strict_json
from gateway.errors import (
    BadRequest,
    InvalidNhsNumber,
    InvalidParameter,
    MissingElement,
    TooLarge,
    UnknownElement,
    UnusableText,
)
from gateway.model import Content, Submission
from gateway.unseen import has_unseen

MOST_BYTES: Final = 65_536
MOST_DEPTH: Final = 16
SENDABLE: Final[Mapping[str, tuple[str, str]]] = {  # R4 type -> (element of the person, element of the recipient)
    "ServiceRequest": ("subject", "performer"),
    "Task": ("for", "owner"),
}

_WORD = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_ANYWHERE = frozenset({"implicitRules", "modifierExtension"})


def read_submission(resource_type: str, body: bytes, *, allow_test: bool) -> Submission:
    """The body of a POST -> what is to be delivered, to whom, about whom.

    Raises `TooLarge`, `BadRequest` (not strict JSON, or not this type), `InvalidParameter` with the element, `InvalidNhsNumber`,
    `MissingElement`, `UnknownElement` with the element it stands in, `UnusableText` with where in the resource the text stands.
    """
    if len(body) > MOST_BYTES:
        raise TooLarge(reason="submission-too-large")
    try:
        resource = strict_json(body)
    except Broken as broken:
        raise BadRequest(reason="not-strict-json") from broken
    if not isinstance(resource, dict) or resource.get("resourceType") != resource_type:
        raise BadRequest(reason="not-this-type")
    if _depth(resource, MOST_DEPTH) > MOST_DEPTH:
        raise TooLarge(reason="submission-too-deep")
    if _has(resource, _ANYWHERE):
        raise InvalidParameter(reason="modifier-not-understood", expression=resource_type)
    if resource.get("doNotPerform", False) is not False:  # left out, it would turn to its opposite
        raise _wrong("modifier-not-understood", resource_type, "doNotPerform")
    _refuse_invalid(resource_type, resource)
    unseen = _unseen(resource, resource_type)  # after R4 had its word: so the names in it are R4's, and nothing is echoed
    if unseen is not None:
        raise UnusableText(reason="characters-unseen", expression=unseen)
    person, recipient = SENDABLE[resource_type]
    patient, others = _contained(resource_type, resource)
    if resource.get(person, {}).get("reference") != f"#{patient['id']}":
        raise _wrong("the-contained-patient", resource_type, person)
    content = {name: value for name, value in resource.items() if name not in ("contained", "id", "meta", "text")}
    if others:
        content["contained"] = others
    return Submission(
        content=Content(_number(patient, allow_test=allow_test), _born(patient), content),
        type=resource_type,
        recipient=_token(_one(resource.get(recipient), resource_type, recipient).get("identifier"), resource_type, recipient),
        identifier=_token(_one(resource.get("identifier"), resource_type, "identifier"), resource_type, "identifier"),
    )


def _refuse_invalid(resource_type: str, resource: Mapping[str, Any]) -> None:
    """fhir.resources (R4B; the two types are the same in R4) has the last word. Its own text may hold values: it goes nowhere.

    Where it found a fault is a path of R4's own names, as it descends by them alone; the name of an unknown element ends its path
    and is left out.
    """
    model = getattr(importlib.import_module(f"fhir.resources.R4B.{resource_type.lower()}"), resource_type)
    try:
        model.model_validate(resource)
    except ValidationError as invalid:
        raise _first_fault(resource_type, invalid.errors(include_url=False, include_context=False, include_input=False)) from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise InvalidParameter(reason="not-r4", expression=resource_type) from None


def _first_fault(resource_type: str, faults: Sequence[ErrorDetails]) -> InvalidParameter:
    """What to say first: what is missing, then what R4 does not know, then a value that is not R4's."""
    missing = [fault["loc"] for fault in faults if fault["type"].endswith("missing")]
    if missing:
        return MissingElement(reason="element-missing", expression=_path(resource_type, missing[0]))
    unknown = [fault["loc"][:-1] for fault in faults if fault["type"] == "extra_forbidden"]
    if unknown:
        return UnknownElement(reason="element-unknown", expression=_path(resource_type, unknown[0]))
    return InvalidParameter(reason="not-r4", expression=_path(resource_type, faults[0]["loc"]))


def _path(resource_type: str, where: Sequence[str | int]) -> str:
    return resource_type + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)


def _contained(resource_type: str, resource: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Any]]:
    """The contained Patient, and at most one PractitionerRole; nothing else is read, so nothing else is taken."""
    held = resource.get("contained", [])
    patients = [one for one in held if one.get("resourceType") == "Patient"]
    others = [one for one in held if one.get("resourceType") == "PractitionerRole"]
    if len(patients) != 1 or len(others) > 1 or len(held) != len(patients) + len(others) or not patients[0].get("id"):
        raise _wrong("one-patient-and-whom-to-ring", resource_type, "contained")
    return patients[0], others


def _number(patient: Mapping[str, Any], *, allow_test: bool) -> nhs_number.NhsNumber:
    values = [one.get("value") for one in patient.get("identifier", ()) if one.get("system") == nhs_number.SYSTEM]
    try:
        (value,) = values
        return nhs_number.parse(str(value), allow_test=allow_test)
    except (ValueError, nhs_number.NotAnNhsNumber) as error:
        raise InvalidNhsNumber(reason="nhs-number", expression="Patient.identifier") from error


def _born(patient: Mapping[str, Any]) -> date:
    """Whole, so that it can be compared with the trace's: a wrong number must not reach somebody else's record."""
    text = patient.get("birthDate")
    if text is None:
        raise MissingElement(reason="birth-date", expression="Patient.birthDate")
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise _wrong("birth-date", "Patient", "birthDate")
    return date.fromisoformat(text)


def _one(value: Any, resource_type: str, name: str) -> Mapping[str, Any]:
    """An element, or the only one of a list."""
    if value is None or value == []:
        raise MissingElement(reason="exactly-one", expression=f"{resource_type}.{name}")
    found = value if isinstance(value, list) else [value]
    if len(found) != 1 or not isinstance(found[0], Mapping):
        raise _wrong("exactly-one", resource_type, name)
    return found[0]


def _token(identifier: Any, resource_type: str, name: str) -> str:
    where = f"{name}.identifier" if name != "identifier" else name
    if identifier is None:
        raise MissingElement(reason="system-and-value", expression=f"{resource_type}.{where}")
    system, value = (identifier.get("system"), identifier.get("value")) if isinstance(identifier, Mapping) else (None, None)
    if not all(isinstance(part, str) and _WORD.fullmatch(part) for part in (system, value)):
        raise _wrong("system-and-value", resource_type, where)
    return f"{system}|{value}"


def _depth(value: Any, left: int) -> int:
    """How deep a value is, as far as `left` and one."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 0 if left < 0 else 1 + max((_depth(part, left - 1) for part in parts), default=0)


def _has(value: Any, names: frozenset[str]) -> bool:
    if isinstance(value, dict):
        return bool(names & value.keys()) or any(_has(part, names) for part in value.values())
    return isinstance(value, list) and any(_has(part, names) for part in value)


def _unseen(value: Any, path: str) -> str | None:
    """Where a text stands that holds what nobody sees, as FHIRPath would name it; None: nowhere."""
    if isinstance(value, str):
        return path if has_unseen(value) else None
    if isinstance(value, dict):
        parts = [(f"{path}.{name}", part) for name, part in value.items()]
    else:
        parts = [(f"{path}[{place}]", part) for place, part in enumerate(value)] if isinstance(value, list) else []
    return next((found for where, part in parts if (found := _unseen(part, where)) is not None), None)


def _wrong(reason: str, resource_type: str, name: str) -> InvalidParameter:
    return InvalidParameter(reason=reason, expression=f"{resource_type}.{name}")

"""Consent that a questionnaire carries in its own answers -> whether what the message tells may go on.

Early years progress has an item `parentalConsent`. Only a yes, in the code system made for it, is a yes.
Source: DCH-EarlyYearsProgress-QuestionnaireResponse-1.
"""

from collections.abc import Sequence
from typing import Any, Final

_YES: Final = {"system": "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ParentalConsentToShareInformation-1", "code": "Y"}


def is_agreed(forms: Sequence[Any], item: str) -> bool:
    """Whether every questionnaire asks `item` and every answer to it is yes. Not asked, not answered and not sure are no."""
    return bool(forms) and all(_says_yes(form, item) for form in forms)


def _says_yes(form: Any, item: str) -> bool:
    asked = [each for each in _objects(form, "item") if each.get("linkId") == item]
    answers = [_objects(each, "answer") for each in asked]
    return bool(answers) and all(said and all(_is_yes(each) for each in said) for said in answers)


def _is_yes(answer: dict[str, Any]) -> bool:
    coding = answer.get("valueCoding")
    return isinstance(coding, dict) and {name: coding.get(name) for name in _YES} == _YES


def _objects(node: Any, name: str) -> list[dict[str, Any]]:
    found = node.get(name) if isinstance(node, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

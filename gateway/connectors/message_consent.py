"""What a questionnaire says of itself in its own answers: whether what it tells may go on, and whom it is about.

Early years progress has an item `parentalConsent`. Only a yes, in the code system made for it, is a yes. Individual requirements
have one that says whose needs they are: the child's, a parent's or a legal representative's.
Source: DCH-EarlyYearsProgress-QuestionnaireResponse-1; DCH-IndividualRequirements-QuestionnaireResponse-1.
"""

from collections.abc import Sequence
from typing import Any, Final

_YES: Final = {"system": "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ParentalConsentToShareInformation-1", "code": "Y"}

_CHILD: Final = "1"  # DCH-IndividualRequirement-IndividualNeedsPersonIndicator-1; 2 a parent or guardian, 3 a representative


def is_agreed(forms: Sequence[Any], item: str) -> bool:
    """Whether every questionnaire asks `item` and every answer to it is yes. Not asked, not answered and not sure are no."""
    return bool(forms) and all(_says_yes(form, item) for form in forms)


def is_of_child(form: Any, item: str) -> bool:
    """Whether a questionnaire is about the child: it does not ask whom it is about, or every answer says so."""
    said = [answer for each in _objects(form, "item") if each.get("linkId") == item for answer in _objects(each, "answer")]
    return all(isinstance(coding := each.get("valueCoding"), dict) and coding.get("code") == _CHILD for each in said)


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

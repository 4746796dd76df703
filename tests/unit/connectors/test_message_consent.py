from typing import Any

import pytest

from gateway.connectors.message_consent import is_agreed, is_of_child

CODES = "https://fhir.nhs.uk/STU3/CodeSystem/DCH-ParentalConsentToShareInformation-1"


def said(code: Any, system: Any = CODES) -> dict[str, Any]:
    return {"linkId": "parentalConsent", "answer": [{"valueCoding": {"system": system, "code": code, "display": "?"}}]}


def form(*items: Any) -> dict[str, Any]:
    return {"item": [{"linkId": "physicalDevelopment", "answer": [{"valueString": "Y"}]}, *items]}


def test_a_yes_to_every_questionnaire_lets_it_go_on() -> None:
    assert is_agreed([form(said("Y"))], "parentalConsent")
    assert is_agreed([form(said("Y")), form(said("Y"))], "parentalConsent")


@pytest.mark.parametrize(
    "forms",
    [
        [],
        [form()],
        [form(said("N"))],
        [form(said("y"))],
        [form(said("Y", "https://elsewhere.example"))],
        [form(said("Y", None))],
        [form(said("Y"), said("N"))],
        [form(said("Y")), form()],
        [form({"linkId": "parentalConsent"})],
        [form({"linkId": "parentalConsent", "answer": []})],
        [form({"linkId": "parentalConsent", "answer": [{"valueString": "Y"}]})],
        [form({"linkId": "parentalConsent", "answer": [*said("Y")["answer"], {"valueBoolean": False}]})],
        [form(said("Y") | {"linkId": "parentalconsent"})],
        [{"item": [{"linkId": "group", "item": [said("Y")]}]}],
        [{"item": "parentalConsent"}],
        [{"item": ["parentalConsent"]}],
        ["parentalConsent"],
    ],
)
def test_anything_but_a_yes_is_no(forms: list[Any]) -> None:
    assert not is_agreed(forms, "parentalConsent")


def needs_of(code: Any) -> dict[str, Any]:
    return form({"linkId": "whose", "answer": [{"valueCoding": {"code": code}}]})


@pytest.mark.parametrize(
    ("asked", "of_child"),
    [
        (needs_of("1"), True),
        (form(), True),
        (needs_of("2"), False),
        (needs_of("3"), False),
        (needs_of(None), False),
        (form({"linkId": "whose", "answer": [{"valueString": "child"}]}), False),
        (form({"linkId": "whose", "answer": [{"valueCoding": {"code": "1"}}, {"valueCoding": {"code": "2"}}]}), False),
    ],
)
def test_a_form_is_about_the_child_unless_it_says_otherwise(asked: dict[str, Any], of_child: bool) -> None:
    assert is_of_child(asked, "whose") is of_child

"""The simulator's search behaves as PDS's is documented to: whole names, wildcards, history, refusals, one person or none."""

import itertools

import pytest

from sandbox import crowd
from sandbox.pds_search import Addresses, Index, search

INDEX = Index(crowd.person(number) for number in crowd.numbers(400))
AMARA = {"family": "Testwell", "given": "Amara", "birthdate": "eq2024-03-14"}


def found(**asked: str) -> object:
    answer = search(
        INDEX, {name.replace("__", "_").replace("postcode", "address-postalcode"): v for name, v in asked.items()}, Addresses()
    )
    return answer if isinstance(answer, str) else [(person.key, score) for person, score in answer]


def test_whole_names_score_one_whatever_their_case_and_wildcards_and_names_of_before_a_little_less() -> None:
    assert found(**AMARA) == [("amara", 1.0)]
    assert found(**{**AMARA, "family": "TESTWELL"}) == [("amara", 1.0)]
    assert found(**{**AMARA, "given": "Am*"}) == [("amara", 0.98)]
    chloe = {"family": "Beforename", "given": "Chloe", "birthdate": "2023-11-02"}
    assert found(**chloe) == []
    assert found(**chloe, _history="true") == [("chloe", 0.95)]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"family": "Testwell"}, "INVALID_SEARCH_DATA"),
        ({**AMARA, "given": "A*"}, "INVALID_SEARCH_DATA"),
        ({**AMARA, "given": "Am*", "_exact-match": "true"}, "INVALID_SEARCH_DATA"),
        ({**AMARA, "_fuzzy-match": "true", "_exact-match": "true"}, "INVALID_SEARCH_DATA"),
        ({**AMARA, "_max-results": "51"}, "INVALID_VALUE"),
        ({**AMARA, "nhs-number": "1"}, "ADDITIONAL_PROPERTIES"),
        ({"family": "Twinning", "birthdate": "2024-08-05"}, "TOO_MANY_MATCHES"),
    ],
)
def test_what_cannot_be_searched_by_is_refused_by_its_code(asked: dict[str, str], code: str) -> None:
    assert search(INDEX, asked, Addresses()) == code


def test_a_fuzzy_search_finds_who_only_sounds_alike_and_an_invalidated_person_is_never_found() -> None:
    sounds = {"family": "Tastwel", "given": "Amora", "birthdate": "2024-03-14"}
    assert found(**sounds) == []
    assert [key for key, _ in found(**sounds, **{"_fuzzy-match": "true"})] == ["amara"]  # type: ignore[attr-defined]
    assert found(family="Firstname", given="Eli", birthdate="2021-02-03") == []


def test_the_crowd_has_numbers_that_hold_and_twins_at_one_address() -> None:
    people = [crowd.person(number) for number in crowd.numbers(400)]
    assert len({person.nhs_number for person in people}) == 400
    twins = [
        (one, two)
        for one, two in itertools.pairwise(people)
        if one.family == two.family and one.birth_date == two.birth_date and crowd.address(one) == crowd.address(two)
    ]
    assert len(twins) > 5
    assert all(one.given != two.given for one, two in twins)

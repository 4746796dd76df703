"""NHS numbers: what is one, what is not, and that none ever shows itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nhs_number import NhsNumber, NotAnNhsNumber, parse


def check_digit(first_nine: str) -> int:
    """An independent oracle: the Data Dictionary's own steps, written out."""
    total = sum(int(digit) * (11 - place) for place, digit in enumerate(first_nine, start=1))
    remainder = 11 - total % 11
    return 0 if remainder == 11 else remainder


@pytest.mark.parametrize("text", ["9434765919", "943 476 5919", "943-476-5919", "9000000009"])
def test_published_examples_are_read_with_and_without_separators(text):
    assert parse(text, allow_test=True).value == text.replace(" ", "").replace("-", "")


@pytest.mark.parametrize(
    "text",
    [
        "9000000000",  # wrong check digit
        "1234567890",
        "943476591",  # nine digits
        "94347659190",  # eleven
        "",
        "          ",
        "９４３４７６５９１９",  # fullwidth digits
        "٩٤٣٤٧٦٥٩١٩",  # other scripts
        "943476591x",
        "+943476591",
        "9434765919\n",
        "9434765919\x00",
        *[str(digit) * 10 for digit in range(10)],
    ],
)
def test_what_is_not_an_nhs_number_is_refused_and_never_quoted(text):
    with pytest.raises(NotAnNhsNumber) as refused:
        parse(text, allow_test=True)
    if text.strip():
        assert text.strip() not in str(refused.value)


@given(st.from_regex(r"[0-9]{9}", fullmatch=True))
def test_exactly_the_right_check_digit_is_accepted(first_nine):
    right = check_digit(first_nine)
    for digit in range(10):
        text = f"{first_nine}{digit}"
        if digit == right and len(set(text)) > 1:
            assert NhsNumber(text).value == text
        else:
            with pytest.raises(NotAnNhsNumber):
                NhsNumber(text)


def test_test_numbers_are_refused_where_real_people_are_served():
    assert parse("9990000107", allow_test=True).is_test
    with pytest.raises(NotAnNhsNumber):
        parse("9990000107", allow_test=False)


@pytest.mark.parametrize(
    ("first", "accepted"),
    [("4", True), ("6", True), ("7", True), ("0", False), ("1", False), ("2", False), ("3", False), ("8", False)],
)
def test_only_ranges_issued_in_england_wales_and_man_are_accepted(first, accepted):
    found = next(f"{first}{n:08d}{check_digit(f'{first}{n:08d}')}" for n in range(1, 50) if check_digit(f"{first}{n:08d}") < 10)
    if accepted:
        assert parse(found, allow_test=False).value == found
    else:
        with pytest.raises(NotAnNhsNumber):
            parse(found, allow_test=False)


def test_a_number_never_prints_itself():
    number = NhsNumber("9434765919")
    assert "9434765919" not in f"{number} {number!r} {[number]} {[number, number]}"

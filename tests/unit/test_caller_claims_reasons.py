"""A reason or a case is kept in the log in clear: nobody's NHS number rides in it, however it is written."""

import pytest

from gateway.caller.claims import _holds_nhs_number


@pytest.mark.parametrize(
    "text", ["9990000107", "999 000 0107", "999-000-0107", "999.000.0107 x", "999/000/0107", "9 9 9 0 0 0 0 1 0 7 ill"]
)
def test_a_number_is_seen_however_it_is_grouped(text: str) -> None:
    assert _holds_nhs_number(text)


@pytest.mark.parametrize("text", ["case 12345", "9990000108", "999a0000107", "call 01234 567890 ext 99"])
def test_what_is_no_number_is_none(text: str) -> None:
    assert not _holds_nhs_number(text)

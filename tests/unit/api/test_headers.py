"""Headers: one of ours twice is none, lists are whole, and what is refused is named only where the name is ours."""

from typing import Any

import pytest
from starlette.requests import Request

from gateway.api.fhir import _headers
from gateway.errors import BadRequest


def request(*headers: tuple[str, str]) -> Request:
    scope: dict[str, Any] = {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers]}
    return Request(scope)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gateway-permission-to-view", "Gateway-Permission-To-View"),
        ("gateway-anything-new", None),
        ("content-type", "Content-Type"),
        ("x-correlation-id", None),
    ],
)
def test_a_header_that_comes_once_is_refused_twice_whether_the_two_agree_or_not(name: str, said: str | None) -> None:
    for second in ("given", "no"):
        with pytest.raises(BadRequest) as refused:
            _headers(request((name, "given"), ("accept", "*/*"), (name, second)))
        assert (refused.value.reason, refused.value.expression) == ("header-repeated", said)


def test_a_header_that_is_a_list_is_read_whole() -> None:
    found = _headers(request(("prefer", "respond-async"), ("prefer", "handling=strict"), ("accept", "a/b"), ("accept", "c/d")))
    assert found == {"prefer": "respond-async, handling=strict", "accept": "a/b, c/d"}

"""Which requests go straight to the records' endpoint, and which through the whole application."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.middleware import Straight

pytestmark = pytest.mark.anyio


async def way(method: str, path: str, kind: str = "http") -> str:
    taken: list[str] = []

    async def records(request: Request) -> Response:
        taken.append("straight")
        return Response(b"")

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        taken.append("whole")

    async def send(message: Any) -> None:
        return None

    await Straight(records, whole)({"type": kind, "method": method, "path": path, "headers": []}, send, send)  # type: ignore[arg-type]
    return taken[0]


@pytest.mark.parametrize("path", ["/fhir/Patient", "/fhir/Patient/a", "/fhir/Patient/a/$everything", "/fhir/Observation/a.b.c"])
async def test_a_get_of_records_goes_straight(path: str) -> None:
    assert await way("GET", path) == "straight"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/fhir/Patient/_search"),
        ("HEAD", "/fhir/Patient"),
        ("GET", "/fhir"),
        ("GET", "/fhir/metadata"),
        ("GET", "/fhir/.well-known/smart-configuration"),
        ("GET", "/fhir/Observation/a/$everything"),
        ("GET", "/fhir/Patient/a/b"),
        ("GET", "/oauth/token"),
        ("GET", "/fhir/Patient/a\n/b"),
    ],
)
async def test_everything_else_goes_through_the_whole_application(method: str, path: str) -> None:
    assert await way(method, path) == "whole"


async def test_what_is_no_request_goes_through_the_whole_application() -> None:
    assert await way("GET", "/fhir/Patient", kind="lifespan") == "whole"

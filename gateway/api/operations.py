"""/health, /ready and /metrics, on a port of their own that is not for callers."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Readiness = Callable[[], Awaitable[Mapping[str, bool]]]


def operations(ready: Readiness) -> Starlette:
    """A readiness question -> the little app. Ready is 200 only when the log, the policy hash and the migrations all hold."""

    async def health(_: Request) -> Response:
        return Response(b'{"alive":true}', media_type="application/json")

    async def readiness(_: Request) -> Response:
        holds = await ready()
        return Response(
            msgspec.json.encode(holds), status_code=200 if all(holds.values()) else 503, media_type="application/json"
        )

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/health", health), Route("/ready", readiness), Route("/metrics", metrics)])

"""Every simulator that is asked over HTTP, as one application."""

import sqlite3
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.centre import Register, fill
from sandbox.eclipse import Eclipse
from sandbox.faults import Faults
from sandbox.gp_connect import GpConnect
from sandbox.pds import Pds
from sandbox.recipients import FrontDoor, PracticeInbox
from sandbox.sds import Sds


def build(*, people: int = 0, pds_per_second: float = 0) -> Starlette:
    """PDS, SDS, the Spine Secure Proxy with GP Connect behind it, and the control endpoints."""
    faults = Faults()
    pds, sds, gp = Pds(faults, people=people, per_second=pds_per_second), Sds(faults), GpConnect(faults)

    front_door, inbox, eclipse = FrontDoor(faults), PracticeInbox(faults), Eclipse(faults)
    held = sqlite3.connect(":memory:", check_same_thread=False)
    fill(held, datetime.now(UTC).date())
    centre = Register(faults, held)

    async def received(request: Request) -> Response:
        """What the systems that take were given: read back by tests."""
        return JSONResponse(
            {"front-door": front_door.taker.held(), "accesses": front_door.accesses.held(), "inbox": inbox.taker.held()}
        )

    async def seen(request: Request) -> Response:
        """What the last requests said of themselves in headers: no body, no path."""
        return JSONResponse({"pds": pds.seen, "gp": gp.seen, "eclipse-token": eclipse.given})

    async def about(request: Request) -> Response:
        return PlainTextResponse("Simulators of outside systems. Everybody here is synthetic.\n")

    control = [
        Route("/", about),
        Route("/control/faults", faults.control, methods=["GET", "POST", "DELETE"]),
        Route("/control/seen", seen),
        Route("/control/received", received),
    ]
    return Starlette(
        routes=[
            *pds.routes(),
            *sds.routes(),
            *gp.routes(),
            *front_door.routes(),
            *inbox.routes(),
            *centre.routes(),
            *eclipse.routes(),
            *control,
        ]
    )

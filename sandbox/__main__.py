"""`python -m sandbox --port 8100 --var DIR [--drops DIR]`: every outside system on one port and in two folders."""

import argparse
import asyncio
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from sandbox import app, authority, authority_plans, centre, child_health, child_publisher


def main() -> int:
    """Write what is written, then serve until told to stop. 1 when the port is taken."""
    reader = argparse.ArgumentParser(
        prog="python -m sandbox", description="Simulators of every outside system, with synthetic families."
    )
    reader.add_argument("--port", type=int, default=8100, help="0 takes any free port")
    reader.add_argument("--var", type=Path, required=True, help="folder for the centre's database and the crosswalk")
    reader.add_argument("--drops", type=Path, help="folder for what the child health and authority systems deliver")
    reader.add_argument("--people", type=int, default=0, help="how many more people PDS knows")
    reader.add_argument("--pds-per-second", type=float, default=0, help="the rate that PDS answers, 0 for no limit")
    asked = reader.parse_args()
    # By name TCP: only then asyncio turns off Nagle's delay, which held up every answer for 40 ms.
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind(("127.0.0.1", asked.port))
        door.listen(2048)
    except OSError:
        print(f"port {asked.port} is taken: choose another with --port", file=sys.stderr, flush=True)
        return 1
    write(asked.var, asked.drops)
    asyncio.run(_serve(door, app.build(people=asked.people, pds_per_second=asked.pds_per_second)))
    return 0


def write(var: Path, drops: Path | None) -> None:
    """The files and databases of the systems that are not asked over HTTP."""
    now = datetime.now(UTC)
    centre.write(var / "centretrack.db", now.date())
    authority.write_crosswalk(var / "crosswalk.csv")
    print(f"centre database and crosswalk written in {var}", flush=True)
    if drops is not None:
        count = child_publisher.publish(drops / "child-health", child_publisher.published(child_health.delivered(now), {}))
        authority.write_extract(drops / "authority", now)
        authority_plans.write_plans(drops / "cp-is", now)
        print(f"{count} child health messages and the authority's extract delivered in {drops}", flush=True)


async def _serve(door: socket.socket, application: Starlette) -> None:
    config = uvicorn.Config(
        application,
        log_level="critical",
        access_log=False,
        http="httptools",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,  # a slow answer on order is not waited for
    )
    await _Server(config).serve(sockets=[door])


class _Server(uvicorn.Server):
    """Says when it is ready: whoever started it waits for that line."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            print(f"ready on http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

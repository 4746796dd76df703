"""`make demo`: sandbox and gateway on embedded defaults, one journey as a partner system sees it, then it keeps serving.

Everything here goes through the public doors: the `gateway` command and HTTP. Nothing of the gateway is imported.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sandbox.demo.journey import how_to_call, journey
from sandbox.demo.place import Place
from sandbox.demo.serving import free, running


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration. 0: done; 1: something could not start, said in one line."""
    options = argparse.ArgumentParser(prog="make demo", description=__doc__)
    options.add_argument("--once", action="store_true", help="stop after the journey")
    options.add_argument("--setup-only", action="store_true", help="serve, without the journey")
    options.add_argument("--folder", type=Path, default=Path("var/demo"))
    chosen = options.parse_args(arguments)
    place = Place(chosen.folder.resolve(), int(os.environ.get("GATEWAY_PORT", "8000")))
    for port in (place.port, place.port + 1, place.sandbox_port):
        if not free(port):
            print(
                f"Port {port} is busy: stop what listens there, or choose another with make demo GATEWAY_PORT=8080",
                file=sys.stderr,
            )
            return 1
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        with running(place):
            if not chosen.setup_only:
                journey(place)
            if not chosen.once:
                how_to_call(place)
                while True:
                    time.sleep(3600)
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _stop(*_: object) -> None:
    """Once: a second signal would end the stopping, and leave alive what is not stopped yet."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())

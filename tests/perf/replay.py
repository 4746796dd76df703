"""Simulators that replay bytes: four R4 sources and PDS on one port, as cheap as a socket allows.

`python -m tests.perf.replay --port P --people N [--delay-ms M]`. A path /SOURCE/... is answered with that source's body for
the NHS number in the request's body, /pds/... with the Patient of the number at the end of the path.
"""

import argparse
import asyncio
import random
import re

from sandbox import gp_record
from tests.perf.people import SOURCES, body, numbers

AREAS = frozenset({"includeAllergies", "includeImmunisations", "includeMedication", "includeProblems"})
_NUMBER = re.compile(rb"999[0-9]{7}")
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


class Replay(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, read just far enough to know who is asked for."""

    bodies: dict[bytes, tuple[bytes, ...]]
    stu3: bytes = b""  # a GP record of the demonstration, for the naive mapper
    delay_s: float = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.held = b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.held) < whole:
                return
            request, self.held = self.held[:whole], self.held[whole:]
            answer = self._answer(request, head)
            if self.delay_s:
                later = max(0.0, random.gauss(self.delay_s, self.delay_s / 10))
                asyncio.get_running_loop().call_later(later, self.transport.write, answer)
            else:
                self.transport.write(answer)

    def _answer(self, request: bytes, head: bytes) -> bytes:
        place = head.split(b" ", 2)[1].split(b"/")[1].decode()
        found = _NUMBER.search(request if place != "pds" else head)
        bodies = self.bodies.get(found[0]) if found else None
        if place == "stu3":
            bodies = (self.stu3, self.stu3)
        if bodies is None:
            return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        content = bodies[-1] if place in ("pds", "stu3") else bodies[SOURCES.index(place)]
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)


async def main() -> None:
    reader = argparse.ArgumentParser()
    reader.add_argument("--port", type=int, required=True)
    reader.add_argument("--people", type=int, default=50)
    reader.add_argument("--delay-ms", type=float, default=0)
    asked = reader.parse_args()
    made = [body(number) for number in numbers(asked.people)]
    Replay.bodies = {one.number.encode(): (*one.sources, one.pds) for one in made}
    Replay.stu3 = gp_record.encoded("amara", AREAS, (), resolved=True, not_given=False, issues=True, twice=False)
    Replay.delay_s = asked.delay_ms / 1000
    server = await asyncio.get_running_loop().create_server(Replay, "127.0.0.1", asked.port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())

"""The demonstration: one synthetic place over real sockets, seeded, served, and asked as partner systems ask."""

from sandbox.demo.journey import how_to_call, journey
from sandbox.demo.people import ASKERS, AUDITOR, CENTRE, GP, REFERRER, VISITOR, WORKER, Asker
from sandbox.demo.place import GATEWAY, Place, token
from sandbox.demo.serving import running, wait

__all__ = [
    "ASKERS",
    "AUDITOR",
    "CENTRE",
    "GATEWAY",
    "GP",
    "REFERRER",
    "VISITOR",
    "WORKER",
    "Asker",
    "Place",
    "how_to_call",
    "journey",
    "running",
    "token",
    "wait",
]

"""What is judged: every golden beside the maps, every answer of the whole place, and the seeded faults no judge may miss."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from sandbox import demo
from sandbox.families import PEOPLE
from tests.e2e.whole_place import World, a_place

Named = tuple[str, dict[str, Any]]
ROOT = Path(__file__).resolve().parent.parent.parent

SEEDED: tuple[Named, ...] = (  # each judge must find fault with each: a judge that accepts everything proves nothing
    ("seeded/no-status", {"resourceType": "Observation", "code": {"text": "weight"}}),
    (
        "seeded/no-such-element",
        {"resourceType": "Flag", "status": "active", "code": {"text": "x"}, "subject": {}, "flagged": True},
    ),
    ("seeded/not-in-the-binding", {"resourceType": "Encounter", "status": "over", "class": {"code": "AMB"}}),
)


def goldens() -> Iterator[Named]:
    """Each resource of each golden of an inward map."""
    for file in sorted((ROOT / "mappings").glob("*/cases/*.out.json")):
        made = json.loads(file.read_text("utf-8"))
        for number, resource in enumerate(made if isinstance(made, list) else []):
            if isinstance(resource, dict) and "resourceType" in resource:
                yield f"{file.parent.parent.name}/{file.name.removesuffix('.out.json')}[{number}]", resource


def answers() -> Iterator[Named]:
    """Each Bundle of the demonstration's place: every asker about every person of the families, and the auditor's."""
    with TemporaryDirectory() as folder:
        place = a_place(Path(folder))
        with demo.running(place), httpx.Client(base_url=place.base, timeout=30) as http:
            world = World(place, http)
            for asker in (demo.GP, demo.VISITOR, demo.CENTRE, demo.WORKER):
                for person in PEOPLE:
                    answer = world.everything(asker, person.key)
                    yield f"answer/{asker.client}/{person.key}", answer.json()
            yield "answer/metadata", http.get("/fhir/metadata").json()
            yield "answer/audit", world.get(demo.AUDITOR, "/fhir/AuditEvent?_count=100").json()

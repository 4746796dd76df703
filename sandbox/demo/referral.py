"""One delivery as its sender sees it: a health visitor refers a family to the children's centre, which writes it in its own table."""

import json
import sqlite3
import time
from typing import Any

import httpx

from sandbox.demo.people import CENTRE, REFERRER
from sandbox.demo.place import Place, token
from sandbox.families import BY_KEY, CENTRE_URN, Person

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
FAMILY_SUPPORT = "urn:shared-care-gateway:CodeSystem:family-support"


def referral(person: Person, name: str) -> dict[str, Any]:
    """A referral to play sessions: about whom (contained), to whom (performer), the sender's own name for it (identifier)."""
    number = {"system": NHS_NUMBER, "value": person.nhs_number}
    about = {"resourceType": "Patient", "id": "child", "identifier": [number], "birthDate": person.birth_date.isoformat()}
    ring = {
        "resourceType": "PractitionerRole",
        "id": "sender",
        "practitioner": {"display": REFERRER.name},
        "telecom": [{"system": "phone", "value": "01632 960001"}],
    }
    return {
        "resourceType": "ServiceRequest",
        "contained": [about, ring],
        "identifier": [{"system": "https://meadowvale.example.org/referral", "value": name}],
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "code": {"coding": [{"system": FAMILY_SUPPORT, "code": "play", "display": "Play session"}]},
        "subject": {"reference": "#child"},
        "authoredOn": "2026-11-20T09:30:00Z",
        "requester": {"reference": "#sender", "display": "Meadowvale Community Health"},
        "performer": [{"identifier": {"system": "urn:shared-care-gateway:dfe-urn", "value": CENTRE_URN}}],
        "reasonCode": [{"text": "New to the area"}],
    }


def refer(place: Place, http: httpx.Client, key: str) -> None:
    """Sent, asked after until the centre has it, and seen there."""
    body = referral(BY_KEY[key], "R-0001")
    print("\n== The health visitor refers Amara's family to the children's centre, as a parent agreed.")
    print(f"   caller    {REFERRER.name}, {REFERRER.role}, {REFERRER.organisation}")
    print(f"   purpose   {REFERRER.purpose}")
    print(f"   sends     {body['resourceType']}: {body['code']['coding'][0]['display']}, to {CENTRE.organisation}")
    headers = {"authorization": f"Bearer {token(place, REFERRER)}", "content-type": "application/fhir+json"}
    answer = http.post("/fhir/ServiceRequest", content=json.dumps(body), headers=headers)
    print(f"   status    {answer.status_code}")
    task = answer.json()
    if task["resourceType"] != "Task":
        print(f"   reason    {task['issue'][0]['details']['text']}")
        return
    print(f"   told      {task['note'][0]['text']}")
    _show(answer)
    until = time.monotonic() + 30
    while task["status"] == "requested" and time.monotonic() < until:
        time.sleep(0.2)
        answer = http.get(f"/fhir/Task/{task['id']}", headers=headers)
        task = answer.json()
    _show(answer)
    for service, sender, ring in _at_the_centre(place, task["id"]):
        print(f"   centre    has it: {service}, from {sender}; ring {ring}")


def _show(answer: httpx.Response) -> None:
    task = answer.json()
    print(f"   parcel    {task['id']}: {task['status']}. {task['businessStatus']['text']}")
    print(f"   receipt   {answer.headers['gateway-receipt'].split('.')[0]}")


def _at_the_centre(place: Place, parcel: str) -> list[tuple[str, str, str]]:
    """What the centre's own staff see in their own software."""
    connection = sqlite3.connect(place.folder / "sandbox" / "centretrack.db", timeout=10)
    try:
        wanted = "select service, from_name, contact_name from referral_in where referral_id = ?"
        return connection.execute(wanted, (parcel,)).fetchall()
    finally:
        connection.close()

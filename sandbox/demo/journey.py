"""What people at partner systems see when they ask, what becomes of what one of them sends, and what the log says afterwards."""

import subprocess
from typing import Any

import httpx

from sandbox.demo.people import AUDITOR, CENTRE, GP, VISITOR, WORKER, Asker
from sandbox.demo.place import GATEWAY, Place, token
from sandbox.demo.referral import refer
from sandbox.demo.words import record
from sandbox.families import BY_KEY

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"


def journey(place: Place) -> None:
    """What five people see when they ask, what becomes of a referral, and what the log says afterwards."""
    with httpx.Client(base_url=place.base, timeout=15) as http:
        _ask(place, http, GP, "amara", "A GP at the registered practice asks for Amara, for direct care.")
        _ask(place, http, VISITOR, "amara", "A health visitor with Amara on her caseload asks for the same child.")
        _ask(place, http, CENTRE, "amara", "A children's centre asks, with the parent's consent.")
        _ask(place, http, WORKER, "kiran", "A social worker with an open section 47 enquiry asks for Kiran, who is in a refuge.")
        _ask(place, http, GP, "oscar", "The GP asks for Oscar while the practice's system is down.")
        _ask(place, http, GP, "isla", "The GP asks for Isla, whose parents object to sharing.")
        _ask(place, http, CENTRE, "jonah", "The centre asks for Jonah, whose parents refused consent.")
        refer(place, http, "amara")
        _audit(place, http)


def _ask(place: Place, http: httpx.Client, asker: Asker, key: str, story: str) -> None:
    person = BY_KEY[key]
    print(f"\n== {story}")
    print(f"   caller    {asker.name}, {asker.role.rsplit('|', 1)[-1]}, {asker.organisation}")
    print(f"   purpose   {asker.purpose}")
    bearer = token(place, asker)
    headers = {"authorization": f"Bearer {bearer}", "accept": "application/fhir+json"}
    found = http.post("/fhir/Patient/_search", data={"identifier": f"{NHS_NUMBER}|{person.nhs_number}"}, headers=headers)
    patients = [entry["resource"] for entry in found.json().get("entry", []) if entry["resource"]["resourceType"] == "Patient"]
    if found.status_code == 200 and patients:
        found = http.get(f"/fhir/Patient/{patients[0]['id']}/$everything", headers=headers)
    _show(place, found)


def _show(place: Place, response: httpx.Response) -> None:
    body: dict[str, Any] = response.json()
    print(f"   status    {response.status_code}")
    if body["resourceType"] == "OperationOutcome":
        print(f"   reason    {body['issue'][0]['details']['text']}")
        return
    for rule in _rules(place, response.headers.get("gateway-receipt", "")):
        print(f"   because   {rule}")
    found = [entry["resource"] for entry in body["entry"]]
    for line in record([resource for resource in found if resource["resourceType"] != "OperationOutcome"]):
        print(f"   record    {line}")
    for issue in (
        issue for resource in found if resource["resourceType"] == "OperationOutcome" for issue in resource["issue"][:-1]
    ):
        print(f"   source    {issue['details']['text']}")
    if not any(resource["resourceType"] != "OperationOutcome" for resource in found):
        print("   record    nothing that can be shown; the same answer as for a number nobody has")
    print(f"   receipt   {response.headers['gateway-receipt'].split('.')[0]}")


def _rules(place: Place, receipt: str) -> list[str]:
    """Which rules decided, in English, as the audit log holds them: the operator's view, by receipt."""
    event = receipt.split(".")[0]
    done = subprocess.run([GATEWAY, "log", "why", event], env=place.environment, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def _audit(place: Place, http: httpx.Client) -> None:
    print("\n== An auditor asks who looked at Amara.")
    bearer = token(place, AUDITOR)
    headers = {"authorization": f"Bearer {bearer}", "accept": "application/fhir+json"}
    form = {"patient:identifier": f"{NHS_NUMBER}|{BY_KEY['amara'].nhs_number}"}
    found = http.post("/fhir/AuditEvent/_search", data=form, headers=headers)
    print(f"   status    {found.status_code}")
    for entry in found.json().get("entry", []):
        event = entry["resource"]
        if event["resourceType"] != "AuditEvent":
            continue
        who: dict[str, Any] = next((agent for agent in event.get("agent", []) if agent.get("requestor")), {})
        if "name" not in who:
            continue  # who recorded a consent or a link is another question
        purpose = ", ".join(coding["code"] for item in event.get("purposeOfEvent", []) for coding in item.get("coding", []))
        print(f"   event     {who.get('name', '-')} for {purpose or '-'}: {event.get('outcomeDesc', '-')}")


def how_to_call(place: Place) -> None:
    """The same from another shell, to be copied."""
    key = place.folder / "clients" / f"{GP.client}.jwk"
    print(f"""
The gateway serves on {place.base} (operations on port {place.port + 1}). In another shell:

  TOKEN=$({GATEWAY} token --server {place.base} --client {GP.client} --key {key} \\
    --organisation {GP.organisation} --subject {GP.subject} --subject-name '{GP.name}' --role {GP.role} --purpose {GP.purpose})
  curl -s -H "Authorization: Bearer $TOKEN" --data-urlencode 'identifier={NHS_NUMBER}|{BY_KEY["amara"].nhs_number}' \\
    {place.base}/fhir/Patient/_search

Ctrl-C stops it.""")

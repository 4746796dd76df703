"""`make demo`: sandbox and gateway on embedded defaults, one journey as a partner system sees it, then it keeps serving.

Everything here goes through the public doors: the `gateway` command and HTTP. Nothing of the gateway is imported.
"""

import argparse
import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from sandbox.families import AUTHORITY_GSS, BY_KEY, CENTRE_URN, COMMUNITY, PEOPLE, RIVERSIDE, SUPERSEDED

GATEWAY = str(Path(sys.executable).parent / "gateway")
NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
SDS_ROLE = "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName"
LOCAL_ROLE = "urn:shared-care-gateway:CodeSystem:role"


@dataclass(frozen=True, slots=True)
class Asker:
    """A person at a partner system."""

    client: str
    organisation: str
    name: str
    subject: str
    role: str
    purpose: str
    case: str = ""
    scope: str = ""  # asked for beside nothing else; "": reading alone


GP = Asker("riverside-emis", f"ods:{RIVERSIDE}", "Dr Ada Bright", "100000000001", "R0260", "TREAT")
VISITOR = Asker("meadowvale-system", f"ods:{COMMUNITY}", "Hazel Visitor", "100000000002", "R0690", "TREAT")
CENTRE = Asker("willow-centre", f"dfe-urn:{CENTRE_URN}", "Cara Centre", "willow-7", f"{LOCAL_ROLE}|centre-worker", "EARLYHELP")
WORKER = Asker(
    "northshire-case", f"gss:{AUTHORITY_GSS}", "Sam Worker", "SW0001", f"{LOCAL_ROLE}|social-worker", "S47", "S47-2026-0107"
)
AUDITOR = Asker("audit-office", "ods:Z99901", "Audra Check", "100000000009", f"{LOCAL_ROLE}|auditor", "HCOMPL")
ASKERS = (GP, VISITOR, CENTRE, WORKER, AUDITOR)


@dataclass(frozen=True, slots=True)
class Place:
    """Where this demonstration lives: folder and ports."""

    folder: Path
    port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_port(self) -> int:
        return self.port + 100

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GATEWAY_CONFIG": str(self.folder / "gateway.toml"),
            "GATEWAY_VAR": str(self.folder),
            "GATEWAY_KEYS": str(self.folder / "keys"),
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_OPERATIONS_PORT": str(self.port + 1),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration. 0: done; 1: something could not start, said in one line."""
    options = argparse.ArgumentParser(prog="make demo", description=__doc__)
    options.add_argument("--once", action="store_true", help="stop after the journey")
    options.add_argument("--setup-only", action="store_true", help="serve, without the journey")
    options.add_argument("--folder", type=Path, default=Path("var/demo"))
    chosen = options.parse_args(arguments)
    place = Place(chosen.folder.resolve(), int(os.environ.get("GATEWAY_PORT", "8000")))
    for port in (place.port, place.port + 1, place.sandbox_port):
        if not _free(port):
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
                _how_to_call(place)
                while True:
                    time.sleep(3600)
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


@contextmanager
def running(place: Place) -> Iterator[None]:
    """A fresh folder, a sandbox, a seeded gateway; both stopped at the end."""
    shutil.rmtree(place.folder, ignore_errors=True)
    place.folder.mkdir(parents=True)
    started: list[subprocess.Popen[bytes]] = []
    try:
        _say("Starting the sandbox: PDS, SDS, a GP system, child health, a children's centre, an authority (all synthetic) ...")
        command = [sys.executable, "-m", "sandbox", "--port", str(place.sandbox_port), "--var", str(place.folder / "sandbox")]
        started.append(_start([*command, "--drops", str(place.folder / "drops")], place, "sandbox.log"))
        _wait(f"http://127.0.0.1:{place.sandbox_port}/", started[0], place.folder / "sandbox.log")
        _say("Making keys, activating the policy, registering five partner systems, loading who cares for whom ...")
        _seed(place)
        _say("Starting the gateway ...")
        started.append(_start([GATEWAY, "serve"], place, "gateway.log"))
        _wait(f"http://127.0.0.1:{place.port + 1}/ready", started[1], place.folder / "gateway.log", want=200)
        _say("Waiting for the first deliveries of child health and the authority to be taken ...")
        _delivered(place)
        yield
    finally:
        for process in reversed(started):
            _signal_all(process, signal.SIGTERM)
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            _signal_all(process, signal.SIGKILL)  # whatever of its group is left


def journey(place: Place) -> None:
    """What five people see when they ask, and what the log says afterwards."""
    with httpx.Client(base_url=place.base, timeout=15) as http:
        _ask(place, http, GP, "amara", "A GP at the registered practice asks for Amara, for direct care.")
        _ask(place, http, VISITOR, "amara", "A health visitor with Amara on her caseload asks for the same child.")
        _ask(place, http, CENTRE, "amara", "A children's centre asks, with the parent's consent.")
        _ask(place, http, WORKER, "kiran", "A social worker with an open section 47 enquiry asks for Kiran, who is in a refuge.")
        _ask(place, http, GP, "oscar", "The GP asks for Oscar while the practice's system is down.")
        _ask(place, http, GP, "isla", "The GP asks for Isla, whose parents object to sharing.")
        _ask(place, http, CENTRE, "jonah", "The centre asks for Jonah, whose parents refused consent.")
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
    for line in _record([resource for resource in found if resource["resourceType"] != "OperationOutcome"]):
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


def _record(resources: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A record as lines a person can read: one for each type, what is in it in words."""
    words: dict[str, list[str]] = {}
    by_reference = {f"{resource['resourceType']}/{resource['id']}": resource for resource in resources}
    for resource in resources:
        kind = resource["resourceType"]
        if kind != "Provenance":
            words.setdefault(kind, []).append(_in_words(resource, by_reference))
    for kind, lines in words.items():
        yield f"{kind}: {'; '.join(sorted(lines))}"


def _in_words(resource: dict[str, Any], others: Mapping[str, dict[str, Any]]) -> str:
    """What one resource says first."""
    if resource["resourceType"] == "Patient":
        name = resource.get("name", [{}])[0]
        where = "address shown" if resource.get("address") else "no address"
        return f"{' '.join(name.get('given', []))} {name.get('family', '')}, born {resource.get('birthDate', '-')}, {where}"
    if resource["resourceType"] == "List":
        return str(resource.get("title", "see the resource"))
    if resource["resourceType"] == "CareTeam":
        reached = [resource.get("name"), *(one.get("value") for one in resource.get("telecom", []))]
        return ", ".join(filter(None, [*map(_text, resource.get("category", [])), *reached]))
    if resource["resourceType"] == "Consent":
        return f"{_text(resource['category'][-1])} ({resource.get('provision', {}).get('type', 'unsaid')}, {resource['status']})"
    candidates = [resource.get(name) for name in ("code", "medicationCodeableConcept", "vaccineCode", "type", "reasonCode")]
    medication = others.get(resource.get("medicationReference", {}).get("reference", ""), {})
    candidates[0:0] = [medication.get("code")]
    candidates[3:3] = [item.get("valueCodeableConcept") for item in resource.get("extension", [])]
    texts = [text for text in map(_text, candidates) if text and text != "unknown"]
    said = texts[0] if texts else "see the resource"
    status = resource.get("status", "")
    return f"{said} ({status})" if status in ("not-done", "inactive", "cancelled", "finished") else said


def _text(value: Any) -> str:
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, dict):
        return ""
    displays = [coding.get("display", "") for coding in value.get("coding", [])]
    return str(value.get("text") or next((display for display in displays if display), ""))


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


def _how_to_call(place: Place) -> None:
    key = place.folder / "clients" / f"{GP.client}.jwk"
    print(f"""
The gateway serves on {place.base} (operations on port {place.port + 1}). In another shell:

  TOKEN=$({GATEWAY} token --server {place.base} --client {GP.client} --key {key} \\
    --organisation {GP.organisation} --subject {GP.subject} --subject-name '{GP.name}' --role {GP.role} --purpose {GP.purpose})
  curl -s -H "Authorization: Bearer $TOKEN" --data-urlencode 'identifier={NHS_NUMBER}|{BY_KEY["amara"].nhs_number}' \\
    {place.base}/fhir/Patient/_search

Ctrl-C stops it.""")


def _seed(place: Place) -> None:
    config = _config(place)
    (place.folder / "gateway.toml").write_text(config, "utf-8")
    _gateway(place, "keys", "create", "--sandbox")
    _gateway(place, "policy", "activate")
    (place.folder / "clients").mkdir()
    imports = (
        ("crosswalk", "import", str(place.folder / "sandbox" / "crosswalk.csv"), "--source", "authority"),
        ("relationship", "import", str(_relationships(place.folder / "relationships.csv"))),
        ("consent", "import", str(_consents(place.folder / "consents.csv"))),
    )
    with ThreadPoolExecutor(
        max_workers=4
    ) as several:  # each command is a process of its own, and they do not wait for each other
        done = [several.submit(_register, place, asker) for asker in ASKERS]
        done += [several.submit(_gateway, place, *command) for command in imports]
        for one in done:
            one.result()


def _register(place: Place, asker: Asker) -> str:
    key = place.folder / "clients" / f"{asker.client}.jwk"
    _gateway(place, "key", "new", str(key))
    return _gateway(
        place,
        *("client", "add", asker.client, "--name", asker.client, "--jwks", str(key.with_suffix(".jwks.json"))),
        *("--organisation", asker.organisation, "--role", asker.role, "--purpose", asker.purpose, "--scope", "system/*.rs"),
    )


def _relationships(path: Path) -> Path:
    today = datetime.now(UTC).date().isoformat()
    numbers = [person.nhs_number for person in PEOPLE] + list(SUPERSEDED)
    rows = [["kind", "nhs_number", "organisation", "staff", "case_reference", "starts", "ends"]]
    rows += [["caseload", number, VISITOR.organisation, "", "", today, ""] for number in numbers]
    staff = f"{WORKER.organisation}|{WORKER.subject}"
    rows += [
        ["allocated-worker", BY_KEY[key].nhs_number, WORKER.organisation, staff, WORKER.case, today, ""]
        for key in ("kiran", "amara")
    ]
    at_centre = [person.nhs_number for person in PEOPLE if person.centre_id]
    rows += [["centre-registration", number, CENTRE.organisation, "", "", today, ""] for number in at_centre]
    return _csv(path, rows)


def _consents(path: Path) -> Path:
    today = datetime.now(UTC).date().isoformat()
    rows = [["nhs_number", "scope", "decision", "given_by", "recorded_by", "starts", "ends", "evidence"]]
    for person in PEOPLE:
        if person.centre_id:
            decision = "deny" if person.key == "jonah" else "permit"
            given = ["parent", CENTRE.organisation, today, "", "registration form"]
            rows += [[person.nhs_number, scope, decision, *given] for scope in ("share-centres", "share-health")]
    rows.append([BY_KEY["isla"].nhs_number, "direct-care", "deny", "parent", GP.organisation, today, "", "letter"])
    return _csv(path, rows)


def _csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def _config(place: Place) -> str:
    outside = f"http://127.0.0.1:{place.sandbox_port}"
    return f"""# Written by the demonstration: four sources of one synthetic place.
mode = "sandbox"

[pds]
base_url = "{outside}/pds/personal-demographics/FHIR/R4"
ods = "X99990"
per_second = 50

[sds]
base_url = "{outside}/sds/FHIR/R4"

[sources.gp]
adapter = "gp"
custodian = "registered-practice"
agreement = "gp-record"
title = "GP practice (GP Connect)"
[sources.gp.options]
ssp = "{outside}/ssp/"
consumer_asid = "200000000001"
[sources.gp.deliver.notice]
agreements = ["centre-record"]
[sources.gp.deliver.notice.options]
base_url = "{outside}/inbox"
credential = "inbox-sandbox-token"

[sources.child-health]
adapter = "child_health"
custodian = "ods:{COMMUNITY}"
agreement = "child-health-record"
title = "Meadowvale child health"
[sources.child-health.options]
drop = "{place.folder / "drops" / "child-health"}"

[sources.centre]
adapter = "childrens_centre"
custodian = "dfe-urn:{CENTRE_URN}"
agreement = "centre-record"
title = "Willow Children's Centre"
[sources.centre.options]
database_url = "sqlite:///{place.folder / "sandbox" / "centretrack.db"}"
[sources.centre.deliver.referral]
agreements = ["referral-health-centre"]
[sources.centre.deliver.referral.options]
database_url = "sqlite:///{place.folder / "sandbox" / "centretrack.db"}"

[sources.authority]
adapter = "local_authority"
custodian = "gss:{AUTHORITY_GSS}"
agreement = "authority-record"
title = "Northshire Council children's services"
max_age_h = 48
[sources.authority.options]
drop = "{place.folder / "drops" / "authority"}"
[sources.authority.deliver.concern]
agreements = ["referral-health-authority", "referral-centre-authority"]
[sources.authority.deliver.concern.options]
base_url = "{outside}/front-door"
credential = "front-door-sandbox-key"
"""


def token(place: Place, asker: Asker) -> str:
    """An access token for this person, by the real exchange."""
    key = place.folder / "clients" / f"{asker.client}.jwk"
    command = ["token", "--server", place.base, "--client", asker.client, "--key", str(key), "--organisation", asker.organisation]
    command += ["--subject", asker.subject, "--subject-name", asker.name, "--role", asker.role, "--purpose", asker.purpose]
    if asker.case:
        command += ["--case-reference", asker.case]
    if asker.scope:
        command += ["--scope", asker.scope]
    return _gateway(place, *command).strip()


def _gateway(place: Place, *arguments: str) -> str:
    done = subprocess.run([GATEWAY, *arguments], env=place.environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"gateway {' '.join(arguments[:2])} failed:\n{done.stderr}", file=sys.stderr)
        raise SystemExit(1)
    return done.stdout


def _start(command: Sequence[str], place: Place, log: str) -> "subprocess.Popen[bytes]":
    with (place.folder / log).open("wb") as out:
        return subprocess.Popen(command, env=place.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)


def _signal_all(process: "subprocess.Popen[bytes]", which: signal.Signals) -> None:
    """To the process and all that it started: each of ours leads a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, which)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path, *, want: int | None = None, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            status = httpx.get(url, timeout=1).status_code
        except httpx.TransportError:
            status = 0
        if status and (want is None or status == want):
            return
        time.sleep(0.1)
    print(
        f"It did not start. Its last lines ({log}):\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:]),
        file=sys.stderr,
    )
    raise SystemExit(1)


def _delivered(place: Place, *, seconds: float = 60) -> None:
    """Until no drop folder holds a file that waits."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        drops = [folder for folder in (place.folder / "drops").iterdir() if folder.is_dir()]
        waiting = [path for folder in drops for path in (*folder.glob("*.*"), *(folder / "taken").glob("*"))]
        if drops and not waiting:
            return
        time.sleep(0.2)
    print("The deliveries were not taken; the answers will say so.", file=sys.stderr)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _say(line: str) -> None:
    print(line, flush=True)


def _stop(*_: object) -> None:
    """Once: a second signal would end the stopping, and leave alive what is not stopped yet."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())

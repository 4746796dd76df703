"""What the demonstration begins with: keys, policy, partner systems, who cares for whom, who agreed to what, the settings."""

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from sandbox.demo.people import ASKERS, CENTRE, GP, READS, VISITOR, WORKER, Asker
from sandbox.demo.place import Place, gateway
from sandbox.families import AUTHORITY_GSS, BY_KEY, CENTRE_URN, COMMUNITY, PEOPLE, SUPERSEDED


def seed(place: Place) -> None:
    """Everything but the two processes."""
    config = _config(place)
    (place.folder / "gateway.toml").write_text(config, "utf-8")
    gateway(place, "keys", "create", "--sandbox")
    gateway(place, "policy", "activate")
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
        done += [several.submit(gateway, place, *command) for command in imports]
        for one in done:
            one.result()


def _register(place: Place, asker: Asker) -> str:
    key = place.folder / "clients" / f"{asker.client}.jwk"
    gateway(place, "key", "new", str(key))
    return gateway(
        place,
        *("client", "add", asker.client, "--name", asker.client, "--jwks", str(key.with_suffix(".jwks.json"))),
        *("--organisation", asker.organisation, "--role", asker.role, "--purpose", asker.purpose),
        *(part for scope in (asker.scope or READS).split() for part in ("--scope", scope)),
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
    return f"""# Written by the demonstration: the sources of one synthetic place.
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
max_age_h = 168
[sources.child-health.options]
drop = "{place.folder / "drops" / "child-health"}"
senders = ["ods:X26"]
tells_since = "2015-01-01"
shelf_days = 2200

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

[sources.cp-is]
adapter = "local_authority_cpis"
custodian = "gss:{AUTHORITY_GSS}"
agreement = "cp-is"
title = "CP-IS records of Northshire Council"
max_age_h = 48
[sources.cp-is.options]
drop = "{place.folder / "drops" / "cp-is"}"
[sources.cp-is.deliver.access]
agreements = ["cp-is-access"]
[sources.cp-is.deliver.access.options]
base_url = "{outside}/front-door"
credential = "front-door-sandbox-key"
{place.more}"""
